"""The steering model: a small neural network, evaluated with numpy alone.

Format 1, an .npz file as the `model` repository exports it:

    format          1
    image_shape     (height, width) of the images that it was trained with
    weights_0, biases_0, weights_1, …    one pair per layer; every layer but the last is followed by max(0, x)

Input: the pixels, minus their mean, divided by their standard deviation (so the lamp's brightness
doesn't matter), row by row. Output: one number, the steering: -1 is hard right, 1 is hard left.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from road_follower.pgm import Image

FORMAT = 1


class ModelError(ValueError):
    """The file is no steering model, or doesn't fit the image."""


@dataclass(frozen=True)
class Layer:
    """One layer: output = input @ weights + biases."""

    weights: NDArray[np.float32]
    biases: NDArray[np.float32]


@dataclass(frozen=True)
class SteeringModel:
    """What the robot sees -> how far it should turn."""

    image_shape: tuple[int, int]
    layers: tuple[Layer, ...]

    def steer(self, image: Image) -> float:
        """Steering from -1 (right) to 1 (left) for a camera image. Raises ModelError."""
        if image.shape != self.image_shape:
            raise ModelError(f"the model wants images of {self.image_shape}, the camera gave {image.shape}")
        values = normalise(image).ravel()
        for layer in self.layers[:-1]:
            values = np.maximum(0, values @ layer.weights + layer.biases)
        last = self.layers[-1]
        return float(np.clip((values @ last.weights + last.biases)[0], -1, 1))


def normalise(image: Image) -> NDArray[np.float32]:
    """Pixels with mean 0 and standard deviation 1 (all 0 for an image of one colour)."""
    values = image.astype(np.float32)
    values -= values.mean()
    deviation = values.std()
    return values / deviation if deviation > 0 else values


def load(path: Path) -> SteeringModel:
    """Read a model file. Raises ModelError (which names the file) and OSError."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return _from_arrays(dict(arrays))
    except FileNotFoundError:
        raise
    except Exception as error:  # numpy raises half a dozen kinds for damaged files
        raise ModelError(f"{path} is no steering model: {error}") from error


def _from_arrays(arrays: dict[str, NDArray]) -> SteeringModel:
    found = int(arrays["format"])
    if found != FORMAT:
        raise ModelError(f"format {found}, this program reads format {FORMAT}")
    height, width = (int(size) for size in arrays["image_shape"])
    count = sum(name.startswith("weights_") for name in arrays)
    layers = tuple(Layer(arrays[f"weights_{i}"], arrays[f"biases_{i}"]) for i in range(count))
    size = height * width
    for index, layer in enumerate(layers):
        if layer.weights.shape[0] != size or layer.weights.shape[1:] != layer.biases.shape:
            raise ModelError(f"layer {index} has weights of {layer.weights.shape}, expected {size} inputs")
        if not (np.isfinite(layer.weights).all() and np.isfinite(layer.biases).all()):
            raise ModelError(f"layer {index} has weights that are no numbers")
        size = layer.weights.shape[1]
    if size != 1:
        raise ModelError(f"{size} outputs, expected 1: the steering")
    return SteeringModel((height, width), layers)
