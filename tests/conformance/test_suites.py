"""The suites of CUPS, whole: ``make conformance``."""

from __future__ import annotations

import re
import shutil
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from tests.conformance import ipptool, samples
from tests.listener.printing import RunningPrinter

SUITES = Path("/usr/share/cups/ipptool")
STANDARDS = Path(__file__).parents[2] / "docs/standards.md"
TESTS = {
    "ipp-1.1.test": ("1.1", 66),
    "ipp-2.0.test": ("2.0", 67),
    "ipp-2.1.test": ("2.1", 68),
    "ipp-2.2.test": ("2.2", 69),
    "ipp-everywhere.test": ("2.0", 500),
}
"""Each suite with the version that it is run in, and how many tests of it there are."""


@pytest.fixture(scope="module")
def suites(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("conformance") / "suites"
    shutil.copytree(SUITES, folder)
    for suite in TESTS:
        samples.write_all(folder, suite)
    return folder


def explained() -> list[str]:
    """The patterns of the tests that docs/standards.md says are skipped."""
    table = STANDARDS.read_text(encoding="utf-8").partition("\n| Skipped |")[2].partition("\n\n")[0]
    return re.findall(r"^\| `([^`]+)` \|", table, re.MULTILINE)


@pytest.mark.parametrize("suite", TESTS)
def test_a_suite_fails_nowhere(printer: RunningPrinter, suites: Path, suite: str) -> None:
    """Every test of the suite is run, none fails, and each that is skipped is explained."""
    version, tests = TESTS[suite]
    assert ipptool.count(suites / suite) == tests, "another version of cups-ipp-utils: look at what is new"
    score = ipptool.run(printer.uri, suites / suite, version=version, document=suites / "document-a4.pdf")
    print(f"{suite}: {len(score.passed)} passed, {len(score.failed)} failed, {len(score.skipped)} skipped")
    assert score.failed == (), score.output
    assert score.run == tests
    patterns = explained()
    unexplained = [name for name in score.skipped if not any(fnmatchcase(name, one) for one in patterns)]
    assert unexplained == []
