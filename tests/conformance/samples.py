"""The sample documents that the suites name and Debian leaves out, made anew.

One rule: a sample is made from its name alone, and is of the format that its
name says.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

from PIL import Image
from reportlab.lib.pagesizes import A4, LETTER  # type: ignore[import-untyped]
from reportlab.pdfgen.canvas import Canvas  # type: ignore[import-untyped]

from tests.conformance.raster import raster

NAMED = re.compile(r'^\s*FILE "?([\w./-]+?)"?\s*$', re.MULTILINE)
RASTER = re.compile(r"(?P<size>4x6|a4|letter)-(?P<space>black-1|sgray-8|srgb-8|srgb-16|cmyk-8)-(?P<dots>\d+)dpi\.pwg$")
GENERATED = re.compile(r"GENERATE-FILE\s*\{([^}]*)\}")
LEAST, MOST = 150, 600
"""The lowest and the highest resolution that the printer claims."""


def write(folder: Path, name: str) -> None:
    """The sample called ``name``, unless it is there. Raises ``KeyError`` for a kind that nobody makes."""
    path = folder / name
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        MAKERS[path.suffix](path)


def write_all(folder: Path, suite: str) -> None:
    """Every sample that a suite sends; Makers overwrite nothing."""
    for name in NAMED.findall((folder / suite).read_text()):
        write(folder, name)


def _pdf(path: Path) -> None:
    canvas = Canvas(str(path), pagesize=LETTER if "letter" in path.name else A4)
    for page in range(1, 1 if "onepage" in path.name else 4):
        canvas.drawString(72, 700, f"Page {page}")
        canvas.showPage()
    canvas.drawString(72, 700, "Invoice FA-1")
    canvas.save()


def _postscript(path: Path) -> None:
    path.write_text("%!PS-Adobe-3.0\n/Helvetica findfont 12 scalefont setfont 72 700 moveto (FA-1) show showpage\n")


def _jpeg(path: Path) -> None:
    picture = Image.linear_gradient("L").resize((600, 900))
    (picture if "gray" in path.name else Image.merge("RGB", (picture, picture, picture.rotate(180)))).save(path)


def _raster(path: Path) -> None:
    found = RASTER.search(path.name)
    assert found, path
    path.write_bytes(raster(found["space"].replace("-", "_"), int(found["dots"]), found["size"]))


MAKERS: Mapping[str, Callable[[Path], None]] = {
    ".pdf": _pdf,
    ".ps": _postscript,
    ".jpg": _jpeg,
    ".pwg": _raster,
}


def expand(folder: Path, suite: str) -> None:
    """Give a suite of libcups 3 to ipptool 2.4: a raster that it would make (GENERATE-FILE) becomes a file of ours."""
    path = folder / suite
    number = 0

    def made(block: re.Match[str]) -> str:
        nonlocal number
        number += 1
        wanted = dict(line.split(None, 1) for line in block[1].strip().splitlines())
        dots = LEAST if wanted["RESOLUTION"].strip() == "min" else MOST
        space = wanted["COLORSPACE"].strip().replace("auto", "srgb_8")
        name = f"generated-{number}.pwg"
        (folder / name).write_bytes(raster(space, dots, pages=int(wanted.get("NUM-PAGES", "1"))))
        return f'FILE "{name}"'

    path.write_text(GENERATED.sub(made, path.read_text()))
