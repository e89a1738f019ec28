#!/bin/sh
# A bad model that looks good on paper: bad-model.sh CHECKOUT-OF-MODEL
#
# "The ride is jerky, so cut off large steering labels." Training and gate read the same labels, so the errors that
# the gate sees halve; the straight test track is driven as before; the robot no longer gets round bends. Only a
# drive round the whole circuit shows it. Edits the checkout and prints a commit message.
set -eu
git -C "$1" apply - <<'PATCH'
diff --git a/training.json b/training.json
index 62900d5..412ba65 100644
--- a/training.json
+++ b/training.json
@@ -3,5 +3,5 @@
   "epochs": 60,
   "seed": 7,
   "penalty": 0.1,
-  "steering_limit": 1.0
+  "steering_limit": 0.2
 }
PATCH
echo 'Cut off large steering labels for a smoother ride'
