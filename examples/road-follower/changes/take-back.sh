#!/bin/sh
# Takes the newest commit of a checkout back: take-back.sh CHECKOUT
#
# The files are again what they were before it. Edits the checkout and prints a commit message; commit it like the others.
set -eu
subject=$(git -C "$1" log -1 --format=%s)
git -C "$1" -c user.name=x -c user.email=x@example.org revert --no-commit HEAD
git -C "$1" revert --quit 2>/dev/null || true
echo "Take back: $subject"
