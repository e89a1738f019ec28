#!/bin/sh
# Installs a whole Debian with mmdebstrap: packages are set up, users made, services enabled. It has to be root, such as
# a job with "root: true" is; other architectures need qemu-user-static and binfmt_misc on the runner, and patience.
#
#   build-debian.sh --packages FILE --out DIR [--arch amd64|arm64] [--enable "UNIT ..."] [--compile "MODULE ..."]
#
# FILE names one package a line; `#` starts a comment. --enable switches units of systemd on. --compile byte-compiles
# what importing these Python modules loads; all other byte code is left out.
set -eu
export LC_ALL=C

here=$(cd "$(dirname "$0")" && pwd)
suite=bookworm
packages='' out='' arch='' enable='' compile=''
while [ $# -gt 0 ]; do
  case $1 in
    --packages) packages=$2 ;;
    --out) out=$2 ;;
    --arch) arch=$2 ;;
    --enable) enable=$2 ;;
    --compile) compile=$2 ;;
    *) echo "build-debian.sh: unknown option $1" >&2; exit 2 ;;
  esac
  shift 2
done
[ -n "$packages" ] && [ -n "$out" ] || { echo 'build-debian.sh: --packages and --out are required' >&2; exit 2; }
if ! command -v mmdebstrap >/dev/null; then
  echo 'build-debian.sh: this runner has no mmdebstrap: apt-get install mmdebstrap' >&2
  exit 1
fi
[ -n "$arch" ] || arch=$(dpkg --print-architecture)

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
. "$here/debian-sources.sh"
debian_sources "$suite" >"$work/sources.list"
include=$(sed -e 's/#.*//' -e '/^[[:space:]]*$/d' "$packages" | tr -s '[:space:]' ,)

# What nobody reads on a robot. Licences (usr/share/doc/*/copyright) stay: whoever publishes a tree has to publish
# them with it.
started=$(date +%s)
# INITRD=No: the kernel's package makes no initial file system. It would not know of OSTree; ostreeify makes one.
INITRD=No mmdebstrap --quiet --mode=root --variant=minbase --architectures="$arch" --include="${include%,}" \
  --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright' \
  --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
  --dpkgopt='path-exclude=/usr/share/info/*' --dpkgopt='path-exclude=/usr/share/lintian/*' \
  --aptopt='Acquire::Retries "3"' --aptopt='APT::Install-Recommends "false"' \
  "$suite" "$out" "$work/sources.list"
echo "packages: $(grep -c '^Package:' "$out/var/lib/dpkg/status") installed in $(($(date +%s) - started)) s"

# The mirror that was built from is this machine's business; a robot that installs packages by hand uses the official one.
printf 'deb http://deb.debian.org/%s main\n' "debian $suite" "debian $suite-updates" \
  "debian-security $suite-security" >"$out/etc/apt/sources.list"
rm -f "$out"/etc/apt/sources.list.d/*

for unit in $enable; do chroot "$out" systemctl enable --quiet "$unit"; done

# Byte code of Debian's packages names the times of sources, which are all 1970 in a checkout: Python would not take it,
# compile anew at each start, and have no place to keep it. "unchecked" names no time.
find "$out/usr" -name __pycache__ -prune -exec rm -rf {} +
if [ -n "$compile" ]; then
  cp "$here/compile_modules.py" "$out/tmp/"
  chroot "$out" env PYTHONDONTWRITEBYTECODE=1 python3 /tmp/compile_modules.py / $compile
  rm "$out/tmp/compile_modules.py"
fi

# Which packages and versions are in the tree, for people, and for whoever asks later what was in a release.
mkdir -p "$out/usr/share/treeline"
chroot "$out" dpkg-query --show --showformat='${Package} ${Version} ${Architecture}\n' >"$out/usr/share/treeline/packages.txt"
echo "tree: $(du -sm "$out" | cut -f1) MB, $(find "$out" -type f | wc -l) files"
