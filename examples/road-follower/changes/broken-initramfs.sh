#!/bin/sh
# A release whose kernel panics: broken-initramfs.sh CHECKOUT-OF-MACHINE
#
# Puts garbage in the place of the initial file system, as a build on a full disk does. The kernel finds no root file
# system and panics; nothing of the release ever runs, so only the boot loader can go back. Edits the checkout and
# prints a commit message.
set -eu
python3 - "$1/treeline.yaml" <<'EDIT'
import sys
from pathlib import Path

file = Path(sys.argv[1])
text = file.read_text(encoding="utf-8")
job = """  garbage:
    image: host
    paths: []
    inputs: { kernel: kernel }
    run: |
      place="$OUT/garbage/usr/lib/modules/$(cat /in/kernel/version)"
      mkdir -p "$place"
      yes garbage | head -c 4000000 >"$place/initramfs.img"
    outputs: { garbage: garbage }

  system:
"""
text = text.replace("  system:\n", job, 1)
text = text.replace("      - tree: debian\n", "      - tree: debian\n      - tree: garbage\n", 1)
file.write_text(text, encoding="utf-8")
EDIT
echo 'Take a smaller initial file system'
