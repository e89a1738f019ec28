import unittest

import numpy as np

from road_follower import pgm


class Pgm(unittest.TestCase):
    def test_an_image_survives_a_round_trip(self) -> None:
        image = np.arange(12, dtype=np.uint8).reshape(3, 4)
        np.testing.assert_array_equal(pgm.decode(pgm.encode(image)), image)

    def test_a_header_may_have_comments(self) -> None:
        image = pgm.decode(b"P5\n# made by a camera\n2 1\n255\n\x00\xff")
        self.assertEqual(image.tolist(), [[0, 255]])

    def test_bytes_that_are_no_image_are_refused_with_a_reason(self) -> None:
        for data, reason in (
            (b"", "no PGM header"),
            (b"P6\n1 1\n255\n\x00", "no PGM header"),
            (b"P5\n2 2\n255\n\x00", "1 bytes found"),
            (b"P5\n1 1\n65535\n\x00\x00", "brightest value"),
        ):
            with self.subTest(data=data), self.assertRaisesRegex(pgm.PgmError, reason):
                pgm.decode(data)
