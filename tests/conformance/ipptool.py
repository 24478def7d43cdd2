"""Runs a file of ipptool against a printer, to its last test.

One rule: a run counts for nothing unless as many tests were run as the file
and those that it includes hold: ipptool stops early without a word.
"""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

NAME = re.compile(r'^\s*NAME "(.*)"', re.MULTILINE)
INCLUDED = re.compile(r'^\s*INCLUDE "(.*)"', re.MULTILINE)
LINE = re.compile(r"^ {4}(\S.*?) *\[(PASS|FAIL|SKIP)\]$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Score:
    """What was said of each test: its name (cut to 68 characters) under its outcome."""

    passed: tuple[str, ...]
    failed: tuple[str, ...]
    skipped: tuple[str, ...]
    output: str

    @property
    def run(self) -> int:
        return len(self.passed) + len(self.failed) + len(self.skipped)


def count(suite: Path) -> int:
    """How many tests a file holds, with those of the files that it includes."""
    text = suite.read_text()
    return len(NAME.findall(text)) + sum(count(suite.parent / name) for name in INCLUDED.findall(text))


def run(uri: str, suite: Path, *, version: str, document: Path, patience: int = 900) -> Score:
    """``patience`` is in seconds, for the whole of it. Raises ``AssertionError`` when ipptool cannot read the file."""
    command = ["ipptool", "-T", "30", "-V", version, "-tI", "-f", str(document), uri, suite.name]
    done = subprocess.run(
        command,
        cwd=suite.parent,
        capture_output=True,
        text=True,
        timeout=patience,
        stdin=subprocess.DEVNULL,
        env=os.environ | {"LANG": "C.UTF-8"},
    )
    assert "ipptool:" not in done.stderr, done.stderr
    found: dict[str, list[str]] = {"PASS": [], "FAIL": [], "SKIP": []}
    for name, outcome in LINE.findall(done.stdout):
        found[outcome].append(name)
    return Score(*(tuple(found[outcome]) for outcome in ("PASS", "FAIL", "SKIP")), done.stdout)
