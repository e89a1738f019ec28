"""The labelled pictures: dataset/labels.csv and the PGM files beside it."""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

SHAPE = (24, 32)
"""Rows and columns of every picture."""


@dataclass(frozen=True)
class Pictures:
    """n pictures and what to do about each."""

    images: NDArray[np.float32]
    """(n, 768), normalised."""
    steering: NDArray[np.float32]
    """(n,): -1 is hard right, 1 is hard left."""


def load(folder: Path, part: str, steering_limit: float) -> Pictures:
    """The pictures of one part ("train" or "held-out"), labels cut off at ±steering_limit."""
    with (folder / "labels.csv").open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["part"] == part]
    images = np.stack([normalise(read_pgm(folder / row["file"])) for row in rows])
    steering = np.array([float(row["steering"]) for row in rows], dtype=np.float32)
    return Pictures(images, np.clip(steering, -steering_limit, steering_limit))


def mirrored(pictures: Pictures) -> Pictures:
    """Every picture as it is, and in a mirror: then the right answer is the opposite."""
    flipped = pictures.images.reshape(-1, *SHAPE)[:, :, ::-1].reshape(len(pictures.images), -1)
    return Pictures(np.concatenate((pictures.images, flipped)), np.concatenate((pictures.steering, -pictures.steering)))


def disturbed(images: NDArray[np.float32], random: np.random.Generator) -> NDArray[np.float32]:
    """Normalised pictures with noise and a lighter or darker band each, so that no pixel is learnt by heart."""
    count = len(images)
    noise = random.normal(0, 0.3, images.shape)
    row = np.repeat(np.arange(SHAPE[0]), SHAPE[1])
    first = random.integers(0, SHAPE[0], (count, 1))
    inside = (row >= first) & (row < first + random.integers(1, 8, (count, 1)))
    return (images + noise + inside * random.uniform(-0.8, 0.8, (count, 1))).astype(np.float32)


def read_pgm(path: Path) -> NDArray[np.uint8]:
    """The pixels of a picture: binary PGM, 8 bits, of SHAPE. Raises ValueError."""
    header = b"P5\n%d %d\n255\n" % (SHAPE[1], SHAPE[0])
    data = path.read_bytes()
    if not data.startswith(header) or len(data) != len(header) + SHAPE[0] * SHAPE[1]:
        raise ValueError(f"{path}: expected a PGM picture of {SHAPE[1]}x{SHAPE[0]} pixels")
    return np.frombuffer(data, dtype=np.uint8, offset=len(header))


def normalise(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Mean 0 and standard deviation 1: the lamp's brightness must not matter. The app does the same."""
    values = pixels.astype(np.float32)
    values -= values.mean()
    deviation = values.std()
    return values / deviation if deviation > 0 else values
