"""What the robot's camera sees of a track: one grey value per pixel, computed from the ground that it shows.

The camera sits above the front axle and looks ahead and down. Every pixel is a ray that meets the floor at a
fixed place relative to the robot, so an image is: those places, moved to where the robot is, and painted.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from road_follower.pgm import Image
from road_follower.track import HALF_WIDTH, Track
from road_follower.wheels import Pose

WIDTH, HEIGHT = 32, 24
_ABOVE_FLOOR = 0.12
_DOWNWARD = math.radians(30)
_VIEW_WIDTH, _VIEW_HEIGHT = math.radians(75), math.radians(48)

_ASPHALT, _LINE, _FLOOR = 70.0, 225.0, 140.0
_LINE_WIDTH = 0.022


@dataclass(frozen=True)
class Weather:
    """What differs between two pictures of the same place."""

    brightness: float = 1.0
    """Of the lamps."""
    slope: float = 0.0
    """How much brighter the left edge of the picture is than its middle, as a fraction."""
    noise: float = 3.0
    """Standard deviation of the sensor's noise, in grey values."""
    seed: int = 0
    """Of the noise."""


def view(track: Track, pose: Pose, weather: Weather) -> Image:
    """The picture that the camera takes at `pose`. The same arguments give the same picture."""
    cosine, sine = math.cos(pose.heading), math.sin(pose.heading)
    x = pose.x + _AHEAD * cosine - _LEFT * sine
    y = pose.y + _AHEAD * sine + _LEFT * cosine
    along, left = track.locate(x, y)
    grey = _paint(along, left) + _grain(x, y)
    grey *= track.light(along) * weather.brightness * (1 + weather.slope * _SIDE)
    grey += np.random.default_rng(weather.seed).normal(0, weather.noise, grey.shape)
    return np.clip(np.rint(grey), 0, 255).astype(np.uint8)


def _paint(along: NDArray, left: NDArray) -> NDArray:
    """Grey values of the floor: the road, a line along both edges, and dashes in the middle."""
    distance = np.abs(left)
    grey = np.where(distance < HALF_WIDTH, _ASPHALT, _FLOOR)
    edge = np.abs(distance - (HALF_WIDTH - _LINE_WIDTH)) < _LINE_WIDTH / 2
    dash = (distance < _LINE_WIDTH / 2) & (np.mod(along, 0.2) < 0.1)
    return np.where(edge | dash, _LINE, grey)


def _grain(x: NDArray, y: NDArray) -> NDArray:
    """A floor is not of one colour: stains that stay in their place."""
    return 9 * np.sin(23 * x + 5 * np.sin(7 * y)) * np.sin(19 * y + 4 * np.sin(11 * x))


def _rays() -> tuple[NDArray, NDArray, NDArray]:
    """Where every pixel meets the floor (metres ahead, metres left), and how far left it is in the picture."""
    column = (np.arange(WIDTH) + 0.5) / WIDTH * 2 - 1
    row = (np.arange(HEIGHT) + 0.5) / HEIGHT * 2 - 1
    side, up = np.meshgrid(-column * math.tan(_VIEW_WIDTH / 2), -row * math.tan(_VIEW_HEIGHT / 2))
    forward = math.cos(_DOWNWARD) + up * math.sin(_DOWNWARD)
    down = math.sin(_DOWNWARD) - up * math.cos(_DOWNWARD)
    scale = _ABOVE_FLOOR / down
    return forward * scale, side * scale, np.broadcast_to(-column, side.shape)


_AHEAD, _LEFT, _SIDE = _rays()
