#!/bin/sh
# A release that boots and then finds fault with itself: failing-check.sh CHECKOUT-OF-SYSTEM
#
# Adds a required health check that always fails, as a check does that waits for hardware which is not there. The robot
# boots the release, the check fails, and it goes back by itself. Edits the checkout and prints a commit message.
set -eu
cat >"$1/health/required.d/30-second-camera" <<'CHECK'
#!/bin/sh
# The new robots have two cameras.
[ -e /dev/video1 ] && exit 0
echo 'no second camera: /dev/video1 is not there'
exit 1
CHECK
chmod 755 "$1/health/required.d/30-second-camera"
echo 'Demand a second camera'
