import unittest

import numpy as np

from road_follower.camera import HEIGHT, WIDTH, Weather, view
from road_follower.track import TRACKS, Shadow, Straight, lay
from road_follower.wheels import Pose

AHEAD = Pose(0.5, 0, 0)


class Camera(unittest.TestCase):
    def test_the_same_place_and_weather_give_the_same_picture(self) -> None:
        first, second = (view(TRACKS["circuit"], AHEAD, Weather(seed=5)) for _ in range(2))
        np.testing.assert_array_equal(first, second)
        self.assertEqual((first.shape, first.dtype), ((HEIGHT, WIDTH), np.dtype(np.uint8)))

    def test_the_road_is_dark_between_bright_lines(self) -> None:
        row = view(TRACKS["straight"], AHEAD, Weather(noise=0))[12].astype(int)
        self.assertLess(row[WIDTH // 2 - 5], 100)
        self.assertGreater(row[: WIDTH // 2].max(), 180)
        self.assertGreater(row[WIDTH // 2 :].max(), 180)

    def test_a_robot_that_turned_right_sees_the_road_on_its_left(self) -> None:
        top = view(TRACKS["straight"], Pose(0.5, 0, -0.35), Weather(noise=0))[2].astype(int)
        self.assertLess(top[: WIDTH // 2].mean(), top[WIDTH // 2 :].mean())

    def test_shadows_and_lamps_change_the_picture(self) -> None:
        light = view(lay("a", (Straight(2),)), AHEAD, Weather(noise=0)).mean()
        shade = view(lay("b", (Straight(2),), (Shadow(0, 9, 0.5),)), AHEAD, Weather(noise=0)).mean()
        dim = view(lay("a", (Straight(2),)), AHEAD, Weather(brightness=0.5, noise=0)).mean()
        self.assertAlmostEqual(shade, light / 2, delta=1)
        self.assertAlmostEqual(dim, light / 2, delta=1)
