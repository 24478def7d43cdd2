"""Two of the suites of CUPS's ipptool, whole; ``make conformance`` runs all of them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.conformance import ipptool, samples
from tests.conformance.ipptool import Score

from .printing import RunningPrinter

SUITES = Path("/usr/share/cups/ipptool")
TESTS = {"1.1": 66, "2.2": 69}
"""How many there are by version; those of 2.2 hold those of 2.0 and 2.1."""


@pytest.fixture
def suites(tmp_path: Path) -> Path:
    """The suites beside all their samples, which Debian leaves out: without them most tests would not run."""
    folder = tmp_path / "suites"
    shutil.copytree(SUITES, folder)
    samples.write_all(folder, "ipp-1.1.test")
    return folder


def test_suites_of_ipptool(start: Callable[..., RunningPrinter], suites: Path) -> None:
    """No test of ipp-1.1 and ipp-2.2 fails, and each is run to its last test."""

    def score(version: str) -> Score:
        printer = start(claims={"report_within": 1.0, "console": "/"})
        suite, document = suites / f"ipp-{version}.test", suites / "document-a4.pdf"
        return ipptool.run(printer.uri, suite, version=version, document=document)

    with ThreadPoolExecutor() as pool:  # the suites sleep most of the time
        for version, found in zip(TESTS, pool.map(score, TESTS), strict=True):
            assert found.failed == (), found.output
            assert found.run == TESTS[version], found.output
            assert len(found.passed) >= TESTS[version] - 20, found.output
