"""Model files for tests, small enough to be made by hand."""

from pathlib import Path

import numpy as np

from road_follower import camera


def write_balance(path: Path) -> None:
    """A one-layer model that steers towards the brighter half of the picture."""
    half = camera.WIDTH // 2
    row = np.concatenate((np.ones(half), -np.ones(half)))
    weights = np.tile(row, camera.HEIGHT).reshape(-1, 1) / (camera.WIDTH * camera.HEIGHT)
    write(path, weights, np.zeros(1))


def write(path: Path, weights: np.ndarray, biases: np.ndarray, format: int = 1) -> None:
    """A one-layer model with these weights."""
    np.savez(
        path,
        format=format,
        image_shape=(camera.HEIGHT, camera.WIDTH),
        weights_0=weights.astype(np.float32),
        biases_0=biases.astype(np.float32),
    )
