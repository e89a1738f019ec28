"""Make the labelled pictures in dataset/: python3 make_dataset.py --app ../app

Stands in for an afternoon with the robot and a camera: pictures of random roads from random places on
them, in changing light, each with the steering that would have been right. The pictures are committed,
as photographs would be; this script is run again only to make others. The same seed gives the same files.
"""

import argparse
import csv
import importlib
import sys
from pathlib import Path

import numpy as np

COUNT, HELD_OUT = 800, 160


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--app", type=Path, required=True, help="checkout of the app repository: its camera is used")
    parser.add_argument("--out", type=Path, default=Path("dataset"))
    parser.add_argument("--seed", type=int, default=2020)
    options = parser.parse_args()
    sys.path.insert(0, str(options.app))
    names = ("camera", "pgm", "simulator", "track", "wheels")
    camera, pgm, simulator, track, wheels = (importlib.import_module(f"road_follower.{name}") for name in names)

    def random_track(random: np.random.Generator):
        pieces = [track.Straight(0.4)]
        for _ in range(3):
            degrees = random.uniform(30, 100) * random.choice([-1, 1])
            pieces += [track.Bend(random.uniform(0.35, 1.2), degrees), track.Straight(random.uniform(0.1, 0.7))]
        length = sum(piece.length for piece in pieces)
        shadows = [
            track.Shadow(start, start + random.uniform(0.1, 0.8), random.uniform(0.35, 0.8))
            for start in random.uniform(0, length, random.integers(0, 4))
        ]
        return track.lay("random", tuple(pieces), tuple(shadows))

    def random_pose(road, random: np.random.Generator):
        """Mostly where a robot is that drives well, sometimes where it must find its way back from."""
        x, y, heading = road.middle(random.uniform(0, road.length - 0.5))
        left = np.clip(random.normal(0, 0.045), -0.14, 0.14)
        turned = np.clip(random.normal(0, 0.17), -0.5, 0.5)
        return wheels.Pose(x - left * np.sin(heading), y + left * np.cos(heading), heading + turned)

    random = np.random.default_rng(options.seed)
    options.out.mkdir(parents=True, exist_ok=True)
    rows = []
    for index in range(COUNT):
        road = random_track(random)
        pose = random_pose(road, random)
        weather = camera.Weather(
            brightness=random.uniform(0.5, 1.25),
            slope=random.uniform(-0.3, 0.3),
            noise=random.uniform(2, 7),
            seed=int(random.integers(2**31)),
        )
        name = f"{index:03}.pgm"
        pgm.write(options.out / name, camera.view(road, pose, weather))
        part = "held-out" if index % (COUNT // HELD_OUT) == 0 else "train"
        rows.append((name, f"{simulator.true_steering(road, pose):.4f}", part))
    with (options.out / "labels.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("file", "steering", "part"))
        writer.writerows(rows)


if __name__ == "__main__":
    main()
