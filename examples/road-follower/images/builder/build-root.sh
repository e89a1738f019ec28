#!/bin/sh
# Builds a root file system tree from Debian packages. It needs no root, and it runs nothing from the
# packages: they are unpacked, and the few things that their maintainer scripts would have done are done
# at the end. So it works in a job's sandbox, and for other architectures than the runner's.
#
#   build-root.sh --packages FILE --out DIR [--arch amd64|arm64] [--compile "MODULE ..."]
#
# FILE names one package a line; `#` starts a comment. --compile byte-compiles what importing these
# Python modules loads (only when the runner can run the tree's Python).
set -eu
export LC_ALL=C

here=$(cd "$(dirname "$0")" && pwd)
suite=bookworm
packages='' out='' compile='' arch=''
while [ $# -gt 0 ]; do
  case $1 in
    --packages) packages=$2 ;;
    --out) out=$2 ;;
    --arch) arch=$2 ;;
    --compile) compile=$2 ;;
    *) echo "build-root.sh: unknown option $1" >&2; exit 2 ;;
  esac
  shift 2
done
[ -n "$packages" ] && [ -n "$out" ] || { echo 'build-root.sh: --packages and --out are required' >&2; exit 2; }

for tool in apt-get dpkg-deb tar; do
  command -v "$tool" >/dev/null ||
    { echo "build-root.sh: this runner has no $tool; use one with Debian or a relative" >&2; exit 1; }
done
native=$(dpkg --print-architecture)
[ -n "$arch" ] || arch=$native

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
lines_of() { sed -e 's/#.*//' -e '/^[[:space:]]*$/d' "$1"; }

# --- apt with a world of its own, but with the host's settings (proxies, …) --------------------------------
mkdir -p "$work/state/lists/partial" "$work/cache/archives/partial"
for package in $(lines_of "$here/left-out.txt"); do
  printf 'Package: %s\nStatus: install ok installed\nArchitecture: %s\nMulti-Arch: foreign\nMaintainer: none\nVersion: 9999\n\n' \
    "$package" "$arch"
done >"$work/state/status"

. "$here/debian-sources.sh"
debian_sources "$suite" >"$work/sources.list"

apt() {
  lists=$1 && shift
  apt-get -q -y -o Dir::Etc::sourcelist="$work/sources.list" -o Dir::Etc::sourceparts=- \
    -o Dir::Etc::preferences=- -o Dir::Etc::preferencesparts=- -o Dir::State="$work/state" \
    -o Dir::State::lists="$lists" -o Dir::State::status="$work/state/status" -o Dir::Cache="$work/cache" \
    -o Dir::Cache::pkgcache=packages.bin -o APT::Architecture="$arch" -o APT::Architectures="$arch" \
    -o APT::Sandbox::User= -o Debug::NoLocking=1 -o Acquire::Languages=none -o Acquire::Retries=3 \
    -o APT::Update::Post-Invoke-Success= "$@"
}
download() {
  # shellcheck disable=SC2046 # package names have no blanks
  apt "$1" --no-install-recommends --download-only install $(lines_of "$packages")
}
started=$(date +%s)
# The host's lists save a download of 9 MB. They may be missing, for another architecture, or so old that the
# mirror has newer packages only: then we fetch our own.
if download /var/lib/apt/lists >"$work/log" 2>&1; then
  echo "packages: with the host's lists"
else
  echo "packages: with fresh lists"
  rm -f "$work"/cache/archives/*.deb # older versions than those that come now
  if ! apt "$work/state/lists" update >"$work/log" 2>&1 || ! download "$work/state/lists" >>"$work/log" 2>&1; then
    cat "$work/log" >&2
    echo 'build-root.sh: apt could not fetch the packages (its messages are above)' >&2
    exit 1
  fi
fi
echo "packages: $(ls "$work/cache/archives" | grep -c '\.deb$') in $(($(date +%s) - started)) s," \
  "$(du -sm "$work/cache/archives" | cut -f1) MB"

# --- unpack ----------------------------------------------------------------------------------------------
mkdir -p "$out/usr"
for dir in bin sbin lib lib64; do # usr-merge: packages may still ship /lib/…; tar follows these links
  mkdir -p "$out/usr/$dir"
  ln -s "usr/$dir" "$out/$dir"
done
started=$(date +%s)
lines_of "$here/prune.txt" >"$work/prune"
unpack="dpkg-deb --fsys-tarfile \"\$1\" | tar -x -C '$out' --no-same-owner --keep-directory-symlink \
  --exclude-from='$work/prune'"
find "$work/cache/archives" -name '*.deb' -print0 | sort -z |
  xargs -0 -n 1 -P "$(nproc)" sh -c "set -eu; $unpack" unpack

# --- what maintainer scripts would have done --------------------------------------------------------------
mkdir -p "$out/dev" "$out/proc" "$out/sys" "$out/run" "$out/tmp" "$out/root" "$out/home" "$out/var/tmp" "$out/etc"
chmod 1777 "$out/tmp" "$out/var/tmp"
[ -e "$out/usr/bin/sh" ] || ln -s dash "$out/usr/bin/sh"
for library in blas/libblas.so.3 lapack/liblapack.so.3; do # update-alternatives
  for file in "$out"/usr/lib/*-linux-gnu*/$library; do
    [ ! -e "$file" ] || ln -sf "$library" "$(dirname "$(dirname "$file")")/"
  done
done
cat >"$out/etc/passwd" <<'EOF'
root:x:0:0:root:/root:/bin/sh
nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin
EOF
cat >"$out/etc/group" <<'EOF'
root:x:0:
nogroup:x:65534:
EOF
printf 'passwd: files\ngroup: files\nhosts: files dns\n' >"$out/etc/nsswitch.conf"
rm -rf "$out/var/lib/dpkg" "$out/var/cache" "$out/var/log"

# The packages and versions in the tree, for people, and for whoever asks later what was in a release.
mkdir -p "$out/usr/share/treeline"
for deb in "$work"/cache/archives/*.deb; do
  dpkg-deb --showformat='${Package} ${Version} ${Architecture}\n' --show "$deb"
done | sort >"$out/usr/share/treeline/packages.txt"

# --- byte code: the tree is read-only when it is used, so Python could never store it then ----------------
# "unchecked": every file's time is 1970 in a checkout, so a time says nothing about a source file.
loader=$(ls "$out"/lib64/ld-linux-*.so.2 "$out"/lib/ld-linux-*.so.1 2>/dev/null | head -n 1)
if [ -n "$compile" ] && [ "$arch" = "$native" ]; then
  libraries=$(ls -d "$out"/usr/lib/*-linux-gnu*)
  PYTHONHOME="$out/usr" PYTHONDONTWRITEBYTECODE=1 "$loader" --library-path "$libraries" \
    "$out/usr/bin/python3" "$here/compile_modules.py" "$out" $compile
fi
echo "tree: $(du -sm "$out" | cut -f1) MB, $(find "$out" -type f | wc -l) files, unpacked in $(($(date +%s) - started)) s"
