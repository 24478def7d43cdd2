"""Draws the printer's icons: ``python tools/icons.py`` writes them anew.

One rule: the drawing is numbers, so that each size is drawn for itself and
the same run gives the same bytes. Lengths are in twentieths of the edge.
"""

from __future__ import annotations

import struct
import zlib
from itertools import pairwise
from math import hypot
from pathlib import Path

SIZES = (48, 128, 512)
FOLDER = Path(__file__).parents[1] / "printerd/listener/static"
BLUE, WHITE = (0x1F, 0x4E, 0x79), (0xFF, 0xFF, 0xFF)
EDGE, CORNER, PEN = 20.0, 3.0, 0.65
LINES = (
    ((6, 8), (6, 4), (14, 4), (14, 8)),
    ((6, 14), (4, 14), (4, 8), (16, 8), (16, 14), (14, 14)),
    ((7, 12), (13, 12), (13, 16), (7, 16), (7, 12)),
)
"""A sheet going in, the printer, a sheet coming out."""
STROKES = tuple(stroke for line in LINES for stroke in pairwise(line))


def png(size: int) -> bytes:
    """The icon in RGBA, ``size`` pixels wide and high (ISO 15948)."""
    rows = b"".join(b"\0" + b"".join(pixel(x, y, size) for x in range(size)) for y in range(size))
    header = struct.pack(">IIBBBBB", size, size, 8, 6, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b"")


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def pixel(column: int, row: int, size: int) -> bytes:
    """White on blue on nothing; how far a shape covers the pixel is how far its edge is from the pixel's middle."""
    x, y, width = (column + 0.5) * EDGE / size, (row + 0.5) * EDGE / size, EDGE / size
    white = covered(PEN - min(distance(x, y, *start, *end) for start, end in STROKES), width)
    colour = (round(blue + (bright - blue) * white) for blue, bright in zip(BLUE, WHITE, strict=True))
    return bytes((*colour, round(255 * covered(-outside(x, y), width))))


def covered(inside: float, width: float) -> float:
    return min(1.0, max(0.0, inside / width + 0.5))


def outside(x: float, y: float) -> float:
    """How far a point is outside of the square with round corners; less than 0 inside."""
    right, down = abs(x - EDGE / 2) - EDGE / 2 + CORNER, abs(y - EDGE / 2) - EDGE / 2 + CORNER
    return hypot(max(right, 0.0), max(down, 0.0)) + min(max(right, down), 0.0) - CORNER


def distance(x: float, y: float, x0: float, y0: float, x1: float, y1: float) -> float:
    """From a point to a stroke."""
    along = ((x - x0) * (x1 - x0) + (y - y0) * (y1 - y0)) / ((x1 - x0) ** 2 + (y1 - y0) ** 2)
    along = min(1.0, max(0.0, along))
    return hypot(x - x0 - along * (x1 - x0), y - y0 - along * (y1 - y0))


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for size in SIZES:
        (FOLDER / f"icon-{size}.png").write_bytes(png(size))
