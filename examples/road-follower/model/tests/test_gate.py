import tempfile
import unittest
from pathlib import Path

import numpy as np

from training import dataset, gate, model_file
from training.settings import Gate

PICTURES = dataset.Pictures(np.zeros((20, 768), dtype=np.float32), np.linspace(-1, 1, 20, dtype=np.float32))
STRICT = Gate(mean_error=0.1, worst_tenth=0.2)


class QualityGate(unittest.TestCase):
    def test_errors_are_measured_on_average_and_at_worst(self) -> None:
        always_zero: model_file.Layers = [(np.zeros((768, 1), np.float32), np.zeros(1, np.float32))]
        metrics = gate.measure(always_zero, PICTURES)
        self.assertAlmostEqual(metrics["mean_error"], 0.526, places=3)
        self.assertAlmostEqual(metrics["worst_tenth"], 1.0, places=3)
        self.assertFalse(gate.passes(metrics, STRICT))

    def test_a_model_passes_only_when_both_errors_are_small(self) -> None:
        self.assertTrue(gate.passes({"mean_error": 0.05, "worst_tenth": 0.1}, STRICT))
        self.assertFalse(gate.passes({"mean_error": 0.05, "worst_tenth": 0.3}, STRICT))
        self.assertFalse(gate.passes({"mean_error": float("nan"), "worst_tenth": 0.1}, STRICT))

    def test_a_model_file_survives_a_round_trip(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.npz"
            weights = [np.ones((768, 2)), np.array([[1.0], [-1.0]])]
            biases = [np.array([0.0, -5.0]), np.array([0.25])]
            model_file.write(path, weights, biases)
            steering = model_file.predict(model_file.read(path), np.full((1, 768), 1 / 768, dtype=np.float32))
        self.assertAlmostEqual(float(steering[0]), 1.0, places=4)  # max(0, 1) - max(0, -4) + 0.25, cut off
