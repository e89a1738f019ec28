#!/bin/sh
# A board that every release is tried on before it goes out: try-on-board.sh CHECKOUT-OF-MACHINE
#
# Adds a board job: an emulated board boots what robots run now, takes the new release, goes back, and takes it again, and
# its health check drives the circuit each time. The server needs such a board: treeline up --boards qemu-x86_64. Edits the
# checkout and prints a commit message.
set -eu
edited=$(mktemp)
trap 'rm -f "$edited"' EXIT
awk '
  /^publish:/ {
    print "  try:"
    print "    board: qemu-x86_64"
    print "    system: system"
    print "    timeout: 1h"
    print ""
  }
  { print }
  /^    channel: robot\/stable$/ { print "    after: [try]" }
' "$1/treeline.yaml" >"$edited"
cat "$edited" >"$1/treeline.yaml"
echo 'Try each release on a board before it goes out'
