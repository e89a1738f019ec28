"""Roads to drive on: a middle line made of straights and bends, and what light falls on it."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

HALF_WIDTH = 0.15
"""From the middle of the road to its edge, metres."""

_STEP = 0.02


@dataclass(frozen=True)
class Straight:
    """A straight piece of `length` metres."""

    length: float

    def __str__(self) -> str:
        return f"a straight of {self.length:g} m"


@dataclass(frozen=True)
class Bend:
    """An arc of `radius` metres that turns by `degrees`, to the left when positive."""

    radius: float
    degrees: float

    @property
    def length(self) -> float:
        return self.radius * math.radians(abs(self.degrees))

    def __str__(self) -> str:
        return f"a {'left' if self.degrees > 0 else 'right'} bend of {self.radius:g} m radius"


Piece = Straight | Bend


@dataclass(frozen=True)
class Shadow:
    """Light is `factor` of full daylight between two distances along the track."""

    start: float
    end: float
    factor: float


@dataclass(frozen=True)
class Track:
    """A road. Its middle line is stored as points; `along` is the distance from the start in metres."""

    name: str
    pieces: tuple[Piece, ...]
    shadows: tuple[Shadow, ...]
    points: NDArray[np.float64]
    """(n, 2): x and y of the middle line."""
    headings: NDArray[np.float64]
    along: NDArray[np.float64]

    @property
    def length(self) -> float:
        return float(sum(piece.length for piece in self.pieces))

    def piece_at(self, along: float) -> Piece:
        """The piece that is `along` metres from the start."""
        for piece in self.pieces:
            if along < piece.length:
                return piece
            along -= piece.length
        return self.pieces[-1]

    def locate(self, x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[NDArray, NDArray]:
        """For points of any shape: distance along the track, and distance left of its middle."""
        where = np.stack((x.ravel(), y.ravel()), axis=1)
        # |a - b|² without |a|², which is the same for all candidates of one point
        squared = (self.points**2).sum(axis=1) - 2 * where @ self.points.T
        nearest = squared.argmin(axis=1)
        offset = where - self.points[nearest]
        cosine, sine = np.cos(self.headings[nearest]), np.sin(self.headings[nearest])
        along = self.along[nearest] + offset[:, 0] * cosine + offset[:, 1] * sine
        left = -offset[:, 0] * sine + offset[:, 1] * cosine
        return along.reshape(x.shape), left.reshape(x.shape)

    def middle(self, along: float) -> tuple[float, float, float]:
        """x, y and heading of the middle line, `along` metres from the start."""
        index = min(max(round(along / _STEP), 0), len(self.along) - 1)
        rest = along - self.along[index]
        heading = float(self.headings[index])
        x, y = self.points[index]
        return float(x + rest * math.cos(heading)), float(y + rest * math.sin(heading)), heading

    def light(self, along: NDArray[np.float64]) -> NDArray[np.float64]:
        """Brightness (1 = full daylight) at distances along the track."""
        brightness = np.ones_like(along)
        for shadow in self.shadows:
            brightness[(along >= shadow.start) & (along < shadow.end)] *= shadow.factor
        return brightness


def lay(name: str, pieces: tuple[Piece, ...], shadows: tuple[Shadow, ...] = ()) -> Track:
    """Put pieces one after the other, from the origin along the x axis."""
    total = sum(piece.length for piece in pieces)
    along = np.arange(0, total + 1.0, _STEP)  # one more metre: the camera looks beyond the end
    turn = np.zeros_like(along)
    start = 0.0
    for piece in pieces:
        if isinstance(piece, Bend):
            inside = (along >= start) & (along < start + piece.length)
            turn[inside] = math.copysign(1 / piece.radius, piece.degrees)
        start += piece.length
    headings = np.concatenate(([0.0], np.cumsum(turn[:-1] * _STEP)))
    middle = headings[:-1] + np.diff(headings) / 2
    x = np.concatenate(([0.0], np.cumsum(np.cos(middle) * _STEP)))
    y = np.concatenate(([0.0], np.cumsum(np.sin(middle) * _STEP)))
    return Track(name, pieces, shadows, np.stack((x, y), axis=1), headings, along)


TRACKS: dict[str, Track] = {
    track.name: track
    for track in (
        lay("straight", (Straight(2.5),)),
        lay("bends", (Straight(0.6), Bend(0.8, 60), Straight(0.3), Bend(0.8, -90), Straight(0.5))),
        lay(
            "circuit",
            (
                Straight(1.0),
                Bend(0.8, 90),
                Straight(0.5),
                Bend(0.6, -90),
                Straight(0.4),
                Bend(0.55, 120),
                Straight(0.6),
                Bend(0.6, 60),
                Straight(0.8),
                Bend(0.5, 90),
                Straight(0.4),
                Bend(0.6, -60),
                Straight(0.6),
            ),
            (Shadow(1.8, 2.3, 0.55), Shadow(4.2, 4.5, 0.5), Shadow(6.4, 7.2, 0.6)),
        ),
    )
}
"""The tracks by name. `circuit` is the one that decides: every kind of bend, and shadows."""
