"""The suites of CUPS's ipptool, with every sample document that they name."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from reportlab.pdfgen.canvas import Canvas  # type: ignore[import-untyped]

from .printing import RunningPrinter

SUITES = Path("/usr/share/cups/ipptool")
SAMPLE = re.compile(r"^\s*FILE ([\w.-]+)", re.MULTILINE)
NOT_CLAIMED = {"2.1": 1, "2.2": 2}
"""What IPP/2.1 and 2.2 demand beyond what an archive has: subscriptions, holding, overrides of single pages."""


@dataclass(frozen=True, slots=True)
class Score:
    passed: int
    failed: tuple[str, ...]
    skipped: int


def _pdf(path: Path) -> None:
    canvas = Canvas(str(path))
    canvas.drawString(72, 700, "Invoice FA-1")
    canvas.save()


def _postscript(path: Path) -> None:
    path.write_text("%!PS-Adobe-3.0\n/Helvetica findfont 12 scalefont setfont 72 700 moveto (FA-1) show showpage\n")


WRITERS: dict[str, Callable[[Path], object]] = {
    ".pdf": _pdf,
    ".ps": _postscript,
    ".jpg": lambda path: path.write_bytes(b"\xff\xd8\xff\xe0 no format of ours, so never sent"),
}


@pytest.fixture
def suites(tmp_path: Path) -> Path:
    """The suites beside all their samples, which Debian leaves out: without them most tests would not run."""
    folder = tmp_path / "suites"
    shutil.copytree(SUITES, folder)
    for suite in folder.glob("ipp-[12].*.test"):
        for name in SAMPLE.findall(suite.read_text()):
            WRITERS[Path(name).suffix](folder / name)
    return folder


def _run(printer: RunningPrinter, suites: Path, version: str) -> Score:
    sample = suites / "document-a4.pdf"
    command = ["ipptool", "-T", "20", "-V", version, "-tI", "-f", str(sample), printer.uri, f"ipp-{version}.test"]
    done = subprocess.run(
        command, cwd=suites, capture_output=True, text=True, timeout=120, env=os.environ | {"LANG": "C.UTF-8"}
    )
    assert "ipptool:" not in done.stderr, done.stderr
    lines = done.stdout.splitlines()
    failed = tuple(line.strip() for line in lines if line.endswith("[FAIL]"))
    return Score(done.stdout.count("[PASS]"), failed, done.stdout.count("[SKIP]"))


def test_suites_of_ipptool(start: Callable[..., RunningPrinter], suites: Path) -> None:
    """No test of ipp-1.1 and ipp-2.0 fails; of 2.1 and 2.2 only the lists of what we do not claim."""
    versions = ("1.1", "2.0", "2.1", "2.2")
    with ThreadPoolExecutor() as pool:  # the suites sleep most of the time
        scores = pool.map(lambda version: _run(start(claims={"report_within": 1.0}), suites, version), versions)
        for version, score in zip(versions, scores, strict=True):
            assert len(score.failed) == NOT_CLAIMED.get(version, 0), score
            assert all("Required Printer Description Attributes" in name for name in score.failed), score
            assert score.passed >= 38, score
            assert score.passed + len(score.failed) + score.skipped >= 66, score
