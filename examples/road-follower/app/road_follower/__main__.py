"""`python3 -m road_follower`."""

import sys

from road_follower.cli import main

sys.exit(main())
