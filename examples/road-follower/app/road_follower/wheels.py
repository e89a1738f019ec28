"""The two driven wheels: the interface to the board, and a simulated board.

The robot has one motor on either side and turns by driving them at different speeds. A driver for real
motors (I2C, PWM) is a class with the same one method.
"""

import math
from dataclasses import dataclass, field
from typing import Protocol

WHEEL_BASE = 0.12
"""Distance between the wheels, metres."""

TOP_SPEED = 0.6
"""What the motors can do, metres per second."""


class Wheels(Protocol):
    """A board that drives two wheels."""

    def drive(self, left: float, right: float) -> None:
        """Set the wheels' speeds in metres per second; faster than TOP_SPEED means TOP_SPEED."""


@dataclass(frozen=True)
class Pose:
    """Where the robot is: metres, and radians anticlockwise from the x axis."""

    x: float
    y: float
    heading: float


@dataclass
class SimulatedWheels:
    """Motors with inertia, one of them a little weaker, as motors are."""

    pose: Pose
    left: float = 0.0
    right: float = 0.0
    inertia: float = 0.08
    """Time constant of the motors, seconds."""
    weakness: float = 0.03
    """By how much the left motor is slower than it is told."""
    _wanted: tuple[float, float] = field(default=(0.0, 0.0))

    def drive(self, left: float, right: float) -> None:
        """See Wheels."""
        self._wanted = (_limited(left) * (1 - self.weakness), _limited(right))

    def advance(self, seconds: float) -> None:
        """Let time pass: the motors follow what they were told, the robot moves along an arc."""
        blend = 1 - math.exp(-seconds / self.inertia)
        self.left += (self._wanted[0] - self.left) * blend
        self.right += (self._wanted[1] - self.right) * blend
        distance = (self.left + self.right) / 2 * seconds
        turn = (self.right - self.left) / WHEEL_BASE * seconds
        middle = self.pose.heading + turn / 2
        self.pose = Pose(
            self.pose.x + distance * math.cos(middle),
            self.pose.y + distance * math.sin(middle),
            self.pose.heading + turn,
        )


def _limited(speed: float) -> float:
    return max(-TOP_SPEED, min(TOP_SPEED, speed))
