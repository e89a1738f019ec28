"""The model file that the app reads (format 1; the app's road_follower/model.py describes it)."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.dataset import SHAPE

Layers = list[tuple[NDArray[np.float32], NDArray[np.float32]]]
"""Weights and biases, from the picture to the steering."""


def write(path: Path, weights: Sequence[NDArray], biases: Sequence[NDArray]) -> None:
    """Store a network."""
    arrays = {f"weights_{i}": w.astype(np.float32) for i, w in enumerate(weights)}
    arrays |= {f"biases_{i}": b.astype(np.float32) for i, b in enumerate(biases)}
    np.savez(path, format=np.int32(1), image_shape=np.array(SHAPE, dtype=np.int32), **arrays)


def read(path: Path) -> Layers:
    """The layers of a stored network."""
    with np.load(path, allow_pickle=False) as arrays:
        count = sum(name.startswith("weights_") for name in arrays.files)
        return [(arrays[f"weights_{i}"], arrays[f"biases_{i}"]) for i in range(count)]


def predict(layers: Layers, images: NDArray[np.float32]) -> NDArray[np.float32]:
    """Steering for normalised pictures of shape (n, 768), computed as the app does."""
    values = images
    for weights, biases in layers[:-1]:
        values = np.maximum(0, values @ weights + biases)
    weights, biases = layers[-1]
    return np.clip(values @ weights + biases, -1, 1)[:, 0]
