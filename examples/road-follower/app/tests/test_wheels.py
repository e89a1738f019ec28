import math
import unittest

from road_follower.wheels import TOP_SPEED, Pose, SimulatedWheels


def drive(left: float, right: float, seconds: float = 1.0) -> SimulatedWheels:
    wheels = SimulatedWheels(Pose(0, 0, 0), weakness=0)
    wheels.drive(left, right)
    for _ in range(round(seconds * 100)):
        wheels.advance(0.01)
    return wheels


class Wheels(unittest.TestCase):
    def test_equal_speeds_drive_straight(self) -> None:
        pose = drive(0.3, 0.3).pose
        self.assertEqual((pose.y, pose.heading), (0, 0))
        self.assertAlmostEqual(pose.x, 0.3, delta=0.04)

    def test_a_faster_right_wheel_turns_left(self) -> None:
        self.assertGreater(drive(0.2, 0.3).pose.heading, 0.3)

    def test_motors_need_time_to_reach_their_speed(self) -> None:
        self.assertLess(drive(0.3, 0.3, 0.05).left, 0.2)

    def test_no_motor_is_faster_than_it_can_be(self) -> None:
        self.assertLessEqual(drive(9, 9).left, TOP_SPEED)

    def test_a_weak_motor_pulls_to_its_side(self) -> None:
        wheels = SimulatedWheels(Pose(0, 0, 0), weakness=0.1)
        wheels.drive(0.3, 0.3)
        wheels.advance(1)
        self.assertGreater(wheels.pose.heading, 0)
        self.assertTrue(math.isfinite(wheels.pose.x))
