"""Does the tool image do what jobs want from it? Run inside that image."""

import subprocess

import numpy
import sklearn
from sklearn.neural_network import MLPRegressor


def main() -> None:
    for command in (["sh", "-c", "ls / | sort | head -n 1"], ["grep", "-q", "root", "/etc/passwd"]):
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

    x = numpy.linspace(-1, 1, 64).reshape(-1, 1)
    network = MLPRegressor(hidden_layer_sizes=(8,), solver="lbfgs", random_state=1, max_iter=500)
    network.fit(x, numpy.abs(x).ravel())
    error = float(numpy.abs(network.predict(x) - numpy.abs(x).ravel()).mean())
    assert error < 0.05, f"a small network did not learn |x|: mean error {error:.3f}"
    print(f"numpy {numpy.__version__} and scikit-learn {sklearn.__version__} work")


if __name__ == "__main__":
    main()
