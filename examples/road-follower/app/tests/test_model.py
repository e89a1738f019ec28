import tempfile
import unittest
from pathlib import Path

import numpy as np

from road_follower import camera, model
from tests import models

PIXELS = camera.WIDTH * camera.HEIGHT


class Model(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = Path(folder.name) / "model.npz"

    def test_steers_to_the_side_that_its_weights_prefer(self) -> None:
        models.write_balance(self.path)
        image = np.zeros((camera.HEIGHT, camera.WIDTH), dtype=np.uint8)
        image[:, : camera.WIDTH // 2] = 200
        pilot = model.load(self.path)
        self.assertGreater(pilot.steer(image), 0.5)
        self.assertLess(pilot.steer(image[:, ::-1]), -0.5)

    def test_the_brightness_of_the_lamp_does_not_matter(self) -> None:
        models.write_balance(self.path)
        image = np.random.default_rng(1).integers(0, 100, (camera.HEIGHT, camera.WIDTH)).astype(np.uint8)
        pilot = model.load(self.path)
        self.assertAlmostEqual(pilot.steer(image), pilot.steer(image * 2), places=5)

    def test_a_picture_of_one_colour_is_no_reason_to_fail(self) -> None:
        models.write_balance(self.path)
        black = np.zeros((camera.HEIGHT, camera.WIDTH), dtype=np.uint8)
        self.assertEqual(model.load(self.path).steer(black), 0)

    def test_steering_stays_within_its_range(self) -> None:
        models.write(self.path, np.zeros((PIXELS, 1)), np.array([40.0]))
        black = np.zeros((camera.HEIGHT, camera.WIDTH), dtype=np.uint8)
        self.assertEqual(model.load(self.path).steer(black), 1)

    def test_a_picture_of_another_size_is_refused(self) -> None:
        models.write_balance(self.path)
        with self.assertRaisesRegex(model.ModelError, "wants images"):
            model.load(self.path).steer(np.zeros((2, 2), dtype=np.uint8))

    def test_files_that_are_no_model_are_refused_with_a_reason(self) -> None:
        self.path.write_bytes(b"no zip")
        with self.assertRaisesRegex(model.ModelError, "no steering model"):
            model.load(self.path)
        for weights, biases, number, reason in (
            (np.zeros((PIXELS, 1)), np.zeros(1), 2, "format 2"),
            (np.zeros((5, 1)), np.zeros(1), 1, "expected 768 inputs"),
            (np.zeros((PIXELS, 3)), np.zeros(3), 1, "3 outputs"),
            (np.full((PIXELS, 1), np.nan), np.zeros(1), 1, "no numbers"),
        ):
            models.write(self.path, weights, biases, number)
            with self.subTest(reason=reason), self.assertRaisesRegex(model.ModelError, reason):
                model.load(self.path)

    def test_a_missing_file_says_so(self) -> None:
        with self.assertRaises(FileNotFoundError):
            model.load(self.path)
