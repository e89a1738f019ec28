"""Train the steering model from scratch: python3 -m training.train --out DIR

Writes model.npz and metrics.json. The same pictures and settings give the same model.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
from sklearn.neural_network import MLPRegressor

from training import dataset, model_file
from training.settings import read_training


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", type=Path, default=Path("dataset"))
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()

    settings = read_training()
    pictures = dataset.mirrored(dataset.load(options.dataset, "train", settings.steering_limit))
    print(f"{len(pictures.steering)} pictures, {settings.epochs} epochs", flush=True)

    network = MLPRegressor(
        hidden_layer_sizes=settings.hidden,
        alpha=settings.penalty,
        batch_size=32,
        learning_rate_init=1e-3,
        random_state=np.random.RandomState(settings.seed),  # one stream: each epoch in another order
    )
    random = np.random.default_rng(settings.seed)
    started = time.monotonic()
    for epoch in range(1, settings.epochs + 1):
        network.partial_fit(dataset.disturbed(pictures.images, random), pictures.steering)
        if epoch % max(1, settings.epochs // 6) == 0:
            print(f"epoch {epoch:3}: loss {network.loss_:.5f}, {time.monotonic() - started:.1f} s", flush=True)

    options.out.mkdir(parents=True, exist_ok=True)
    model_file.write(options.out / "model.npz", network.coefs_, network.intercepts_)
    layers = model_file.read(options.out / "model.npz")
    error = np.abs(model_file.predict(layers, pictures.images) - pictures.steering)
    metrics = {
        "pictures": len(pictures.steering),
        "epochs": settings.epochs,
        "training_error": round(float(error.mean()), 5),
    }
    (options.out / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")
    print(f"mean error on the training pictures: {error.mean():.4f}")


if __name__ == "__main__":
    main()
