import os
import socket
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from road_follower import service


class Pace(unittest.TestCase):
    def test_frames_come_at_the_same_distance_and_lost_time_is_not_made_up_for(self) -> None:
        now = 100.0
        slept: list[float] = []

        def sleep(seconds: float) -> None:
            nonlocal now
            slept.append(round(seconds, 3))
            now += seconds

        wait = service.pace(0.1, clock=lambda: now, sleep=sleep)
        wait()
        now += 0.03
        wait()
        self.assertEqual(slept, [0.07])
        now += 5.0
        wait()
        wait()
        self.assertEqual(slept, [0.07, 0.1])


class Notify(unittest.TestCase):
    def test_systemd_is_told_by_its_socket(self) -> None:
        with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
            place = str(Path(folder) / "notify")
            receiver.bind(place)
            with mock.patch.dict(os.environ, {"NOTIFY_SOCKET": place}):
                service.notify("READY=1")
            self.assertEqual(receiver.recv(100), b"READY=1")

    def test_without_systemd_nothing_is_told(self) -> None:
        with mock.patch.dict(os.environ, clear=True):
            service.notify("READY=1")
