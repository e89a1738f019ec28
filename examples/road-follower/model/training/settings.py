"""What can be tuned without touching code: training.json and gate.json."""

import json
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Training:
    """training.json."""

    hidden: tuple[int, ...]
    """Neurons in each hidden layer."""
    epochs: int
    seed: int
    penalty: float
    """L2 penalty on the weights: keeps the network from learning the noise by heart."""
    steering_limit: float
    """Labels beyond ±this are cut off there."""


@dataclass(frozen=True)
class Gate:
    """gate.json: what a model must reach on pictures that it has not seen."""

    mean_error: float
    """Mean absolute difference to the right steering."""
    worst_tenth: float
    """Mean absolute difference over the worst tenth of the pictures."""


def read_training(path: Path = Path("training.json")) -> Training:
    """The training's settings."""
    values = json.loads(path.read_text(encoding="utf-8"))
    return Training(**{**values, "hidden": tuple(values["hidden"])})


def read_gate(path: Path = Path("gate.json")) -> Gate:
    """The gate's thresholds."""
    return Gate(**json.loads(path.read_text(encoding="utf-8")))
