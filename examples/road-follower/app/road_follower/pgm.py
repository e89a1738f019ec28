"""Grey images as binary PGM files (P5, 8 bits): https://netpbm.sourceforge.net/doc/pgm.html"""

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
"""Rows of pixels from top to bottom: shape (height, width), 0 is black."""

_HEADER = re.compile(rb"P5(?:\s|#.*\n)+(\d+)(?:\s|#.*\n)+(\d+)(?:\s|#.*\n)+(\d+)\s")


class PgmError(ValueError):
    """The bytes are no 8-bit binary PGM image."""


def decode(data: bytes) -> Image:
    """The image in `data`. Raises PgmError."""
    header = _HEADER.match(data)
    if header is None:
        raise PgmError("no PGM header: expected `P5 <width> <height> 255`")
    width, height, maximum = (int(group) for group in header.groups())
    if maximum != 255:
        raise PgmError(f"the brightest value is {maximum}, only 255 is supported")
    pixels = data[header.end() :]
    if len(pixels) != width * height:
        raise PgmError(f"{width}x{height} pixels announced, {len(pixels)} bytes found")
    return np.frombuffer(pixels, dtype=np.uint8).reshape(height, width)


def encode(image: Image) -> bytes:
    """The bytes of a PGM file."""
    height, width = image.shape
    return b"P5\n%d %d\n255\n" % (width, height) + image.astype(np.uint8).tobytes()


def read(path: Path) -> Image:
    """The image in a file. Raises PgmError (which names the file) and OSError."""
    try:
        return decode(path.read_bytes())
    except PgmError as error:
        raise PgmError(f"{path}: {error}") from error


def write(path: Path, image: Image) -> None:
    """Store an image as a PGM file."""
    path.write_bytes(encode(image))
