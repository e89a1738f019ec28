import contextlib
import io
import json
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from road_follower import cli, pgm, simulator
from tests import models


def run(*arguments: object) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = cli.main([str(argument) for argument in arguments])
    return code, out.getvalue(), err.getvalue()


class CommandLine(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.model = self.folder / "model.npz"
        models.write_balance(self.model)

    def test_a_drive_that_fails_exits_1_and_says_why(self) -> None:
        code, _, err = run("drive", "--track", "circuit", "--model", self.model)
        self.assertEqual(code, 1)
        self.assertIn("left the road", err)

    def test_a_drive_can_be_read_by_programs(self) -> None:
        _, out, _ = run("drive", "--track", "straight", "--model", self.model, "--json")
        self.assertEqual(json.loads(out)["track"], "straight")

    def test_laps_are_driven_one_after_the_other_until_one_fails(self) -> None:
        paced: list[object] = []

        def drive(*arguments: object) -> simulator.Journey:
            paced.append(arguments[-1])
            return simulator.Journey("circuit", len(paced) < 3, 10.2, 34.0, 0.02, 0.05, 3.0, "a bend")

        with mock.patch("road_follower.simulator.drive", drive):
            code, out, _ = run("run", "--model", self.model)
            self.assertEqual(code, 1)
            self.assertRegex(out, r"^lap 1: track circuit: finished.*\nlap 2: .*finished.*\nlap 3: .*stuck")
            self.assertEqual(len(set(paced)), 1)
            self.assertEqual(run("run", "--model", self.model, "--laps", 1)[0], 1)
            paced.clear()
            self.assertEqual(run("run", "--model", self.model, "--laps", 2)[0], 0)

    def test_what_the_camera_saw_can_be_steered_by(self) -> None:
        picture = self.folder / "view.pgm"
        self.assertEqual(run("look", "--at", 1, "--out", picture)[0], 0)
        self.assertEqual(pgm.read(picture).shape, (24, 32))
        code, out, _ = run("steer", "--model", self.model, picture)
        self.assertEqual(code, 0)
        self.assertRegex(out, r"^[+-]\d\.\d{3} ")

    def test_a_missing_model_is_a_message_and_exit_code_2(self) -> None:
        code, _, err = run("drive", "--model", self.folder / "none.npz")
        self.assertEqual(code, 2)
        self.assertIn("none.npz", err)
