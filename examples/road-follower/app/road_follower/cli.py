"""The command line.

Exit codes: 0 it went well, 1 the drive failed, 2 wrong usage or files that can't be used.
"""

import argparse
import itertools
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from road_follower import __version__, camera, model, pgm, service, settings, simulator
from road_follower.track import TRACKS
from road_follower.wheels import Pose


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        return options.command(options)
    except (OSError, ValueError) as error:
        print(f"road-follower: {error}", file=sys.stderr)
        return 2


def _drive(options: argparse.Namespace) -> int:
    chosen = settings.load(options.settings)
    pilot = model.load(options.model or chosen.model)
    started = time.monotonic()
    journey = simulator.drive(TRACKS[options.track], pilot, chosen.cruise)
    frames = round(journey.seconds / simulator.FRAME)
    if options.json:
        print(json.dumps({**journey.as_dict(), "frames": frames, "wall_seconds": time.monotonic() - started}))
    else:
        print(journey, file=sys.stdout if journey.finished else sys.stderr)
    return 0 if journey.finished else 1


def _run(options: argparse.Namespace) -> int:
    chosen = settings.load(options.settings)
    pilot = model.load(options.model or chosen.model)
    pace = service.pace(simulator.FRAME)
    service.notify("READY=1")
    for lap in itertools.count(1):
        journey = simulator.drive(TRACKS[options.track], pilot, chosen.cruise, pace)
        print(f"lap {lap}: {journey}", flush=True)
        service.notify(f"STATUS=lap {lap}: {journey}")
        if not journey.finished:
            return 1
        if lap == options.laps:
            break
    return 0


def _steer(options: argparse.Namespace) -> int:
    pilot = model.load(options.model or settings.load(options.settings).model)
    for image in options.image:
        print(f"{pilot.steer(pgm.read(image)):+.3f} {image}")
    return 0


def _look(options: argparse.Namespace) -> int:
    track = TRACKS[options.track]
    x, y, heading = track.middle(options.at)
    image = camera.view(track, Pose(x, y, heading), camera.Weather())
    if options.out:
        pgm.write(options.out, image)
    else:
        for row in image:
            print("".join(" .:-=+*#%@"[value * 10 // 256] * 2 for value in row))
    return 0


def _tracks(_: argparse.Namespace) -> int:
    for track in TRACKS.values():
        print(f"{track.name:10} {track.length:5.1f} m, {len(track.pieces)} pieces, {len(track.shadows)} shadows")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="road-follower", description=__doc__.splitlines()[0])
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(required=True, metavar="command")

    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--model", type=Path, help="model file (default: the one that the settings name)")
    common.add_argument("--settings", type=Path, help="settings file (default: /etc/road-follower/drive.toml)")

    drive = commands.add_parser("drive", parents=[common], help="drive a virtual track from start to end")
    drive.add_argument("--track", choices=TRACKS, default="circuit")
    drive.add_argument("--json", action="store_true", help="print the journey as JSON")
    drive.set_defaults(command=_drive)

    run = commands.add_parser("run", parents=[common], help="drive lap after lap, as fast as a robot does")
    run.add_argument("--track", choices=TRACKS, default="circuit")
    run.add_argument("--laps", type=int, help="stop after so many (default: never)")
    run.set_defaults(command=_run)

    steer = commands.add_parser("steer", parents=[common], help="say what the model does for camera images")
    steer.add_argument("image", type=Path, nargs="+", help="PGM file")
    steer.set_defaults(command=_steer)

    look = commands.add_parser("look", help="show what the camera sees on a track")
    look.add_argument("--track", choices=TRACKS, default="circuit")
    look.add_argument("--at", type=float, default=0.0, help="metres from the start")
    look.add_argument("--out", type=Path, help="PGM file to write (default: draw it here)")
    look.set_defaults(command=_look)

    commands.add_parser("tracks", help="list the tracks").set_defaults(command=_tracks)
    return parser
