"""Drive a virtual robot along a virtual track: camera -> pilot -> wheels -> new place -> camera …

Deterministic: the same track, pilot and speed give the same journey, on every run.
"""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Protocol

import numpy as np

from road_follower.camera import Weather, view
from road_follower.pgm import Image
from road_follower.steering import FULL_STEERING, LOOK_AHEAD, wheel_speeds
from road_follower.track import HALF_WIDTH, Track
from road_follower.wheels import Pose, SimulatedWheels

FRAME = 0.1
"""Seconds between two pictures."""


class Pilot(Protocol):
    """Whoever turns a picture into steering."""

    def steer(self, image: Image) -> float:
        """Steering from -1 (right) to 1 (left)."""


@dataclass(frozen=True)
class Journey:
    """How a drive went. Distances in metres, from the middle of the road where not said otherwise."""

    track: str
    finished: bool
    driven: float
    seconds: float
    mean_deviation: float
    worst_deviation: float
    worst_at: float
    place: str
    """The piece of the track where the drive ended."""

    def __str__(self) -> str:
        if self.finished:
            return (
                f"track {self.track}: finished {self.driven:.1f} m in {self.seconds:.0f} s; distance from the middle: "
                f"{self.mean_deviation * 100:.1f} cm on average, {self.worst_deviation * 100:.1f} cm at worst "
                f"(at {self.worst_at:.1f} m; the edge is at {HALF_WIDTH * 100:.0f} cm)"
            )
        if self.worst_deviation > HALF_WIDTH:
            return f"track {self.track}: left the road {self.driven:.1f} m from the start, in {self.place}"
        return f"track {self.track}: stuck {self.driven:.1f} m from the start, in {self.place}"

    def as_dict(self) -> dict[str, object]:
        return asdict(self)


def drive(track: Track, pilot: Pilot, cruise: float, pace: Callable[[], None] = lambda: None) -> Journey:
    """Drive until the end of the track, or until the robot leaves the road or gets nowhere.

    `pace` is called before each picture; it may wait.
    """
    wheels = SimulatedWheels(Pose(0.0, 0.0, 0.0))
    deviations: list[float] = []
    worst, worst_at, along = 0.0, 0.0, 0.0
    frames_allowed = math.ceil(track.length / cruise / FRAME * 3)
    for frame in range(frames_allowed):
        pace()
        steering = pilot.steer(view(track, wheels.pose, Weather(seed=frame)))
        wheels.drive(*wheel_speeds(steering, cruise))
        wheels.advance(FRAME)
        along, left = position(track, wheels.pose)
        deviations.append(abs(left))
        if abs(left) > worst:
            worst, worst_at = abs(left), along
        if along >= track.length or abs(left) > HALF_WIDTH:
            break
    return Journey(
        track=track.name,
        finished=along >= track.length and worst <= HALF_WIDTH,
        driven=min(along, track.length),
        seconds=len(deviations) * FRAME,
        mean_deviation=sum(deviations) / len(deviations),
        worst_deviation=worst,
        worst_at=worst_at,
        place=str(track.piece_at(along)),
    )


def position(track: Track, pose: Pose) -> tuple[float, float]:
    """Metres along the track, and metres left of its middle."""
    along, left = track.locate(np.array([pose.x]), np.array([pose.y]))
    return float(along[0]), float(left[0])


def true_steering(track: Track, pose: Pose) -> float:
    """The right answer: where the road's middle is, LOOK_AHEAD on, seen from the robot. Labels are made so."""
    along, _ = position(track, pose)
    x, y, _ = track.middle(along + LOOK_AHEAD)
    left = -(x - pose.x) * math.sin(pose.heading) + (y - pose.y) * math.cos(pose.heading)
    return max(-1.0, min(1.0, left / FULL_STEERING))
