"""From the model's steering to the speeds of the wheels: pure pursuit.

The model says where the road's middle will be, LOOK_AHEAD metres on. One arc leads there:
https://www.ri.cmu.edu/pub_files/pub3/coulter_r_craig_1992_1/coulter_r_craig_1992_1.pdf
"""

from road_follower.wheels import WHEEL_BASE

LOOK_AHEAD = 0.4
"""How far ahead the robot aims, metres along the road's middle."""

FULL_STEERING = 0.3
"""Steering 1 means: the point to aim at is this far to the left, metres."""


def curvature(steering: float) -> float:
    """1 / radius of the arc to the point that `steering` (-1…1) stands for; left is positive."""
    return 2 * steering * FULL_STEERING / LOOK_AHEAD**2


def wheel_speeds(steering: float, cruise: float) -> tuple[float, float]:
    """Speeds of the left and the right wheel, metres per second, for a robot that drives at `cruise`."""
    speed = cruise
    difference = speed * curvature(steering) * WHEEL_BASE / 2
    return speed - difference, speed + difference
