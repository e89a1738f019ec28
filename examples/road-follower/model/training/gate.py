"""Judge a model on pictures that it has not seen: python3 -m training.gate --model DIR --out DIR

Passes the model on (model.npz, and metrics.json with what was measured) when it is good enough for
gate.json, else exits 1. Systems are made from what passed here, never from what was only trained.
"""

import argparse
import json
import shutil
import sys
from pathlib import Path

import numpy as np

from training import dataset, model_file
from training.settings import Gate, read_gate, read_training


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", type=Path, default=Path("dataset"))
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()

    pictures = dataset.load(options.dataset, "held-out", read_training().steering_limit)
    metrics = measure(model_file.read(options.model / "model.npz"), pictures)
    gate = read_gate()
    print(f"{len(pictures.steering)} held-out pictures: {describe(metrics, gate)}")
    if not passes(metrics, gate):
        print("the model is not good enough for the road: it stays here", file=sys.stderr)
        return 1

    options.out.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(options.model / "model.npz", options.out / "model.npz")
    trained = json.loads((options.model / "metrics.json").read_text(encoding="utf-8"))
    (options.out / "metrics.json").write_text(json.dumps({**trained, **metrics}, indent=2) + "\n", encoding="utf-8")
    return 0


def measure(layers: model_file.Layers, pictures: dataset.Pictures) -> dict[str, float]:
    """The model's errors on some pictures, rounded."""
    error = np.sort(np.abs(model_file.predict(layers, pictures.images) - pictures.steering))
    worst = error[-max(1, len(error) // 10) :]
    return {"mean_error": round(float(error.mean()), 5), "worst_tenth": round(float(worst.mean()), 5)}


def passes(metrics: dict[str, float], gate: Gate) -> bool:
    """Good enough? A number that is none (nan) never is."""
    return metrics["mean_error"] <= gate.mean_error and metrics["worst_tenth"] <= gate.worst_tenth


def describe(metrics: dict[str, float], gate: Gate) -> str:
    """One line for people."""
    return (
        f"mean error {metrics['mean_error']:.4f} (at most {gate.mean_error}), "
        f"worst tenth {metrics['worst_tenth']:.4f} (at most {gate.worst_tenth})"
    )


if __name__ == "__main__":
    sys.exit(main())
