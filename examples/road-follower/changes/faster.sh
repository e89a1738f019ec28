#!/bin/sh
# A small good change to the settings: faster.sh CHECKOUT-OF-SYSTEM
#
# The robot drives a little faster, and still gets round every bend. Edits the checkout and prints a commit message.
set -eu
sed -i 's/^cruise = 0\.3 /cruise = 0.33 /' "$1/config/road-follower/drive.toml"
echo 'Drive a little faster'
