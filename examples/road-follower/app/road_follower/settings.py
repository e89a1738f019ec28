"""The robot's settings: a TOML file that the system brings along, and that an operator may change.

On an OSTree system /usr/etc has the release's files and /etc the machine's; where there is no /etc yet
(a job that runs in the tree), the release's count.
"""

import os
import tomllib
from dataclasses import dataclass
from pathlib import Path

PLACES = (Path("/etc/road-follower/drive.toml"), Path("/usr/etc/road-follower/drive.toml"))


class SettingsError(ValueError):
    """The file has a value that can't be used."""


@dataclass(frozen=True)
class Settings:
    """All of them, with the values that hold when no file says otherwise."""

    model: Path = Path("/usr/share/road-follower/model/model.npz")
    cruise: float = 0.3
    """Metres per second on a straight."""


def load(path: Path | None = None) -> Settings:
    """Settings from `path`, else $ROAD_FOLLOWER_SETTINGS, else the first of PLACES. Raises SettingsError, OSError."""
    named = path or (Path(os.environ["ROAD_FOLLOWER_SETTINGS"]) if "ROAD_FOLLOWER_SETTINGS" in os.environ else None)
    found = named or next((place for place in PLACES if place.exists()), None)
    if found is None:
        return Settings()
    try:
        values = tomllib.loads(found.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{found}: {error}") from error
    unknown = sorted(set(values) - {"model", "cruise"})
    if unknown:
        raise SettingsError(f"{found}: unknown setting {unknown[0]!r}; known are model and cruise")
    cruise = values.get("cruise", Settings.cruise)
    if not isinstance(cruise, (int, float)) or not 0 < cruise <= 0.6:
        raise SettingsError(f"{found}: cruise is {cruise!r}, expected metres per second between 0 and 0.6")
    return Settings(Path(values.get("model", Settings.model)), float(cruise))
