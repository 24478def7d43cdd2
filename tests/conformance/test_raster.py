"""Our PWG rasters, read by the library of CUPS: samples that were wrong would prove nothing."""

from __future__ import annotations

import ctypes
import ctypes.util
import os
from pathlib import Path

import pytest

from tests.conformance.raster import HEADER, SPACES, raster

READ = 0


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize(("size", "dots"), [("a4", 150), ("letter", 600), ("4x6", 300)])
def test_cups_reads_every_line(tmp_path: Path, space: str, size: str, dots: int) -> None:
    """Header and lines of each page are there, white and ink alternate, and nothing is left."""
    name = ctypes.util.find_library("cups")
    assert name, "libcups is not installed"
    cups = ctypes.CDLL(name)
    cups.cupsRasterOpen.restype = ctypes.c_void_p
    (tmp_path / "sample.pwg").write_bytes(raster(space, dots, size, pages=2))
    file = os.open(tmp_path / "sample.pwg", os.O_RDONLY)
    stream = ctypes.c_void_p(cups.cupsRasterOpen(file, READ))
    header = ctypes.create_string_buffer(HEADER)
    for _ in range(2):
        assert cups.cupsRasterReadHeader2(stream, header) == 1
        rows, length = (int.from_bytes(header.raw[offset : offset + 4], "little") for offset in (376, 392))
        line = ctypes.create_string_buffer(length)
        for _ in range(rows):
            assert cups.cupsRasterReadPixels(stream, line, length) == length
        assert line.raw.startswith(SPACES[space].white) and line.raw.endswith(SPACES[space].ink)
    assert cups.cupsRasterReadHeader2(stream, header) == 0
    cups.cupsRasterClose(stream)
    os.close(file)
