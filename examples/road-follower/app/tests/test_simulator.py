import unittest
from dataclasses import dataclass

import numpy as np

from road_follower import camera
from road_follower.pgm import Image
from road_follower.simulator import drive, true_steering
from road_follower.track import TRACKS, Bend, Straight, lay
from road_follower.wheels import Pose


@dataclass
class Constant:
    """A pilot that always says the same."""

    steering: float

    def steer(self, image: Image) -> float:
        return self.steering


class MiddleOfTheDark:
    """A pilot that can be written by hand: aims at the middle of the dark road in some rows ahead."""

    def steer(self, image: Image) -> float:
        left = np.linspace(1, -1, camera.WIDTH)
        dark = image[4:10] < 100
        return float(0.9 * (left * dark).sum() / max(1, dark.sum()))


class Simulator(unittest.TestCase):
    def test_a_pilot_that_looks_stays_on_a_gentle_road(self) -> None:
        journey = drive(lay("gentle", (Straight(0.5), Bend(1.5, 40), Straight(0.5))), MiddleOfTheDark(), 0.3)
        self.assertTrue(journey.finished, str(journey))

    def test_a_pilot_that_never_steers_leaves_the_road_and_is_told_where(self) -> None:
        journey = drive(TRACKS["circuit"], Constant(0), 0.3)
        self.assertFalse(journey.finished)
        self.assertRegex(str(journey), r"left the road .* m from the start, in a left bend of 0.8 m")

    def test_a_pilot_that_turns_on_the_spot_is_noticed(self) -> None:
        self.assertFalse(drive(TRACKS["straight"], Constant(1), 0.3).finished)

    def test_a_journey_is_the_same_every_time(self) -> None:
        self.assertEqual(*(drive(TRACKS["bends"], MiddleOfTheDark(), 0.3) for _ in range(2)))

    def test_the_right_steering_leads_back_to_the_middle(self) -> None:
        straight = TRACKS["straight"]
        self.assertEqual(true_steering(straight, Pose(0.5, 0, 0)), 0)
        self.assertLess(true_steering(straight, Pose(0.5, 0.1, 0)), -0.2)
        self.assertGreater(true_steering(straight, Pose(0.5, 0, -0.3)), 0.2)
