#!/bin/sh
# A release whose init dies: broken-init.sh CHECKOUT-OF-MACHINE
#
# Puts something that is no program in the place of systemd. The kernel finds its root file system, starts its first
# process, loses it and panics: no agent runs that could see it. Edits the checkout and prints a commit message.
set -eu
mkdir -p "$1/init"
echo 'This is no program.' >"$1/init/systemd"
chmod 755 "$1/init/systemd"
python3 - "$1/treeline.yaml" <<'EDIT'
import sys
from pathlib import Path

file = Path(sys.argv[1])
text = file.read_text(encoding="utf-8")
layer = "      - source: init\n        at: /usr/lib/systemd\n"
text = text.replace("      - tree: treeline/agent", f"{layer}      - tree: treeline/agent", 1)
file.write_text(text, encoding="utf-8")
EDIT
echo 'Bring an init of our own'
