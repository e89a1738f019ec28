#!/bin/sh
# Turns a root file system into the form that OSTree deploys: read-only /usr, the machine's own state in /var,
# and /usr/etc as the release's settings, which a deployment merges with the machine's /etc.
# https://ostreedev.github.io/ostree/adapting-existing/
set -eu
root=$1

mv "$root/etc" "$root/usr/etc"
rm -rf "$root/var" "$root/home" "$root/root" "$root/opt" "$root/srv" "$root/mnt" "$root/media" "$root/usr/local"
mkdir -p "$root/var" "$root/sysroot" "$root/boot"
for link in home=var/home root=var/roothome opt=var/opt srv=var/srv mnt=var/mnt media=run/media \
  ostree=sysroot/ostree usr/local=../var/usrlocal; do
  ln -s "${link#*=}" "$root/${link%%=*}"
done
mkdir -p "$root/usr/lib/tmpfiles.d"
cat >"$root/usr/lib/tmpfiles.d/ostree-layout.conf" <<'EOF'
# /var is empty in a release: what the links in / lead to is made at boot.
d /var/home 0755 root root -
d /var/roothome 0700 root root -
d /var/opt 0755 root root -
d /var/srv 0755 root root -
d /var/mnt 0755 root root -
d /var/usrlocal 0755 root root -
d /run/media 0755 root root -
EOF
