"""PWG rasters (PWG 5102.4), as small as their format allows: pages of upright bars, in any colour space and size.

One rule: every line of a page is the same, so a page of any size is a header
and a few hundred bytes; what is written is what a printer that prints it
would need to know, and no more.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

SYNC = b"RaS2"
HEADER = 1796
"""Bytes of a page header (PWG 5102.4 section 4.3)."""
MOST_LINES = MOST_PIXELS = 256
"""PackBits of PWG 5102.4 section 4.4: a byte says how often a line, and how often a pixel, comes again."""


@dataclass(frozen=True, slots=True)
class Space:
    """A colour space: its number in the header, its bits, and what it says for white and for ink."""

    number: int
    colours: int
    bits: int
    white: bytes
    ink: bytes


SPACES: Mapping[str, Space] = {
    "black_1": Space(3, 1, 1, b"\x00", b"\xff"),
    "sgray_8": Space(18, 1, 8, b"\xff", b"\x20"),
    "srgb_8": Space(19, 3, 8, b"\xff\xff\xff", b"\x1f\x4e\x79"),
    "srgb_16": Space(19, 3, 16, b"\xff" * 6, b"\x1f\x1f\x4e\x4e\x79\x79"),
    "cmyk_8": Space(6, 4, 8, b"\x00\x00\x00\x00", b"\xc0\x60\x00\x20"),
}
"""By the keyword of pwg-raster-document-type-supported; one "pixel" of black_1 is the byte of eight."""
SIZES: Mapping[str, tuple[str, float, float]] = {
    "a4": ("iso_a4_210x297mm", 595.276, 841.89),
    "letter": ("na_letter_8.5x11in", 612.0, 792.0),
    "4x6": ("na_index-4x6_4x6in", 288.0, 432.0),
}
"""PWG 5101.1 names with width and height in points."""


def raster(space: str, dots: int, size: str = "a4", pages: int = 1) -> bytes:
    """A document of ``pages`` equal pages with ``dots`` an inch."""
    return SYNC + b"".join(_page(SPACES[space], dots, size, pages) * pages)


def _page(space: Space, dots: int, size: str, pages: int) -> list[bytes]:
    name, width, height = SIZES[size]
    columns, rows = round(width * dots / 72), round(height * dots / 72)
    line = b"".join(_line(space, columns))
    body = b"".join(bytes([min(MOST_LINES, rows - done) - 1]) + line for done in range(0, rows, MOST_LINES))
    return [_header(space, dots, name, (round(width), round(height)), (columns, rows), pages) + body]


def _line(space: Space, columns: int) -> Iterator[bytes]:
    """Bars of ink and white, a sixteenth of the line each."""
    units = -(-columns * space.bits * space.colours // 8) // len(space.white)
    bars = [units * (n + 1) // 16 - units * n // 16 for n in range(16)]
    for number, length in enumerate(bars):
        pixel = space.ink if number % 2 else space.white
        for done in range(0, length, MOST_PIXELS // 2):
            yield bytes([min(MOST_PIXELS // 2, length - done) - 1]) + pixel


def _header(space: Space, dots: int, name: str, points: tuple[int, int], pixels: tuple[int, int], pages: int) -> bytes:
    """The fields that PWG 5102.4 table 2 requires; all others are 0."""
    out = bytearray(HEADER)
    out[0:9] = b"PwgRaster"
    numbers: Mapping[int, int] = {
        276: dots,
        280: dots,
        340: 1,
        352: points[0],
        356: points[1],
        372: pixels[0],
        376: pixels[1],
        384: space.bits,
        388: space.bits * space.colours,
        392: -(-pixels[0] * space.bits * space.colours // 8),
        400: space.number,
        420: space.colours,
        452: pages,
        456: 1,
        460: 1,
        472: pixels[0],
        476: pixels[1],
    }
    for offset, number in numbers.items():
        struct.pack_into(">I", out, offset, number)
    out[1732 : 1732 + len(name)] = name.encode()
    return bytes(out)
