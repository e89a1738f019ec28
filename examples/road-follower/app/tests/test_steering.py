import unittest

from road_follower.steering import curvature, wheel_speeds


class Steering(unittest.TestCase):
    def test_straight_ahead_drives_both_wheels_at_cruising_speed(self) -> None:
        self.assertEqual(wheel_speeds(0, 0.3), (0.3, 0.3))

    def test_to_turn_left_the_right_wheel_is_faster(self) -> None:
        left, right = wheel_speeds(0.5, 0.3)
        self.assertLess(left, right)

    def test_left_and_right_are_mirror_images(self) -> None:
        self.assertEqual(wheel_speeds(-0.4, 0.3), tuple(reversed(wheel_speeds(0.4, 0.3))))

    def test_the_arc_gets_tighter_with_more_steering(self) -> None:
        self.assertLess(curvature(0.2), curvature(0.4))
