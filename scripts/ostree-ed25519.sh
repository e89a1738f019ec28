#!/bin/sh
# Builds this Debian's own version of libostree once more, with ed25519 signatures, which Debian leaves out, and installs
# it below a folder; the system's own stays as it is. Half a minute to a minute.
#
#   scripts/ostree-ed25519.sh /tmp/ostree-ed25519
#   TREELINE_OSTREE_ED25519=/tmp/ostree-ed25519 npm test -- e2e/ed25519.test.ts
#
# What it needs to build is only named when it is missing: a test should not install a compiler.
set -eu

[ $# -eq 1 ] || { echo "usage: $0 FOLDER" >&2; exit 2; }
mkdir -p "$1"
prefix=$(cd "$1" && pwd)

needed='bison build-essential libarchive-dev libcurl4-openssl-dev libext2fs-dev libglib2.0-dev liblzma-dev libsodium-dev
libssl-dev pkg-config xz-utils zlib1g-dev'
missing=
for package in $needed; do
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing="$missing $package"
done
if [ -n "$missing" ]; then
  echo "install these first: apt-get install --no-install-recommends$missing" >&2
  exit 1
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# Lists of apt's own, so that the machine's know nothing of sources.
mkdir -p "$work/apt/lists/partial" "$work/apt/cache/archives/partial" "$work/source"
release=$(. /etc/os-release && echo "$VERSION_CODENAME")
echo "deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian $release main" \
  > "$work/apt/sources.list"
source_apt() {
  apt-get -qq -o Dir::Etc::sourcelist="$work/apt/sources.list" -o Dir::Etc::sourceparts=/dev/null \
    -o Dir::State::lists="$work/apt/lists" -o Dir::Cache="$work/apt/cache" -o APT::Sandbox::User="$(id -un)" "$@"
}
source_apt update
# Downloaded, not unpacked: Debian's patches are to configure.ac, and would take the whole of autoconf.
(cd "$work/source" && source_apt source --download-only ostree)
tar -C "$work/source" --strip-components=1 -xf "$work/source"/ostree_*.orig.tar.xz

cd "$work/source"
quietly() {
  "$@" > "$work/log" 2>&1 || { tail -n 40 "$work/log" >&2; exit 1; }
}
quietly ./configure -q --prefix="$prefix" --with-ed25519-libsodium --with-curl --without-soup --with-openssl \
  --without-gpgme --without-avahi --without-selinux --without-libmount --without-libsystemd \
  --disable-introspection --disable-gtk-doc --disable-man --disable-rofiles-fuse CFLAGS='-O1 -w'
quietly make
quietly make install
LD_LIBRARY_PATH="$prefix/lib" "$prefix/bin/ostree" --version | grep -q sign-ed25519
echo "libostree with ed25519 is in $prefix"
