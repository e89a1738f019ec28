"""Integration tests: run inside the composed system, with its program, model and settings.

Driving here is one straight track, because every push waits for it. The whole circuit is driven by the board
itself, as a health check after the update.
"""

import json
import os
import subprocess
import unittest
from pathlib import Path


def road_follower(*arguments: str) -> str:
    return subprocess.run(["road-follower", *arguments], check=True, capture_output=True, text=True).stdout


class System(unittest.TestCase):
    def test_the_robot_drives_a_straight_track(self) -> None:
        journey = json.loads(road_follower("drive", "--track", "straight", "--json"))
        print(f"mean distance from the middle: {journey['mean_deviation'] * 100:.1f} cm")
        self.assertTrue(journey["finished"])
        self.assertLess(journey["mean_deviation"], 0.06)

    def test_the_model_came_through_the_gate(self) -> None:
        metrics = json.loads(Path("/usr/share/road-follower/model/metrics.json").read_text(encoding="utf-8"))
        self.assertIn("mean_error", metrics)

    def test_the_network_is_set_up_in_the_image(self) -> None:
        text = Path("/usr/etc/systemd/network/20-wlan.network").read_text(encoding="utf-8")
        self.assertIn("DHCP=yes", text)

    def test_health_checks_can_be_run(self) -> None:
        checks = sorted(Path("/usr/lib/treeline/check").glob("*.d/*"))
        self.assertEqual([check.name for check in checks], ["10-drive-track", "20-program-runs", "50-frame-rate"])
        for check in checks:
            self.assertTrue(os.access(check, os.X_OK), check)

    def test_systemd_starts_the_program(self) -> None:
        units = Path("/usr/lib/systemd/system")
        self.assertIn("ExecStart=/usr/bin/road-follower run", (units / "road-follower.service").read_text("utf-8"))
        dropin = units / "multi-user.target.d/50-road-follower.conf"
        self.assertIn("Wants=road-follower.service", dropin.read_text("utf-8"))

    def test_state_and_settings_lie_where_ostree_expects_them(self) -> None:
        self.assertEqual(os.readlink("/home"), "var/home")
        self.assertTrue(Path("/usr/etc/passwd").is_file())
        self.assertTrue(Path("/sysroot").is_dir())


if __name__ == "__main__":
    unittest.main()
