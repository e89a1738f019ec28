import tempfile
import unittest
from pathlib import Path

import numpy as np

from training import dataset


class Dataset(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def test_pictures_are_read_by_part_and_labels_cut_off(self) -> None:
        for name, value in (("a", 10), ("b", 200)):
            pixels = bytes([value] * 384 + [0] * 384)
            (self.folder / f"{name}.pgm").write_bytes(b"P5\n32 24\n255\n" + pixels)
        (self.folder / "labels.csv").write_text("file,steering,part\na.pgm,0.9,train\nb.pgm,-0.2,held-out\n")
        train = dataset.load(self.folder, "train", 0.5)
        self.assertEqual(train.steering.tolist(), [0.5])
        self.assertEqual(train.images.shape, (1, 768))
        self.assertAlmostEqual(float(train.images.mean()), 0, places=5)

    def test_a_damaged_picture_is_named(self) -> None:
        (self.folder / "c.pgm").write_bytes(b"P5\n32 24\n255\n\x00")
        with self.assertRaisesRegex(ValueError, "c.pgm"):
            dataset.read_pgm(self.folder / "c.pgm")

    def test_a_mirror_turns_left_into_right(self) -> None:
        image = np.zeros((24, 32), dtype=np.float32)
        image[:, 0] = 1
        both = dataset.mirrored(dataset.Pictures(image.reshape(1, -1), np.array([0.3], dtype=np.float32)))
        np.testing.assert_allclose(both.steering, [0.3, -0.3])
        self.assertTrue((both.images[1].reshape(24, 32)[:, -1] == 1).all())

    def test_disturbing_is_the_same_for_the_same_seed_and_leaves_the_pictures_alone(self) -> None:
        images = np.zeros((3, 768), dtype=np.float32)
        first, second = (dataset.disturbed(images, np.random.default_rng(4)) for _ in range(2))
        np.testing.assert_array_equal(first, second)
        self.assertEqual(first.dtype, np.float32)
        self.assertFalse(images.any())
