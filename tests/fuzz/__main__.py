"""The long run: every target with atheris, and the lives of jobs with hypothesis, as many at a time as there are cores.

One rule: it ends well only when nothing was found and everything was tried. ``make fuzz`` runs it; by hand::

    python -m tests.fuzz --minutes 30                 # in all, shared out evenly
    python -m tests.fuzz --executions 100000 ipp lpd  # of each target that is named

What is found lies in ``build/fuzz/NAME/crash-…`` (also ``timeout-…`` and ``oom-…``), what was said in ``log`` beside
it, and ``python -m tests.fuzz.plain NAME FILE`` shows it once more.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz.target import names

BUILD = Path("build/fuzz")
LIVES = "lives"
"""Beside the targets: the state machine of :mod:`tests.listener.lives`."""
GRACE = 300.0
"""Seconds for a child to begin and to end beside its own time."""
NEVER = -1
"""The exit code of a child that did not end."""
_COVERAGE = re.compile(r"^#\d+\s+(?:INITED|NEW|REDUCE|pulse|DONE|RELOAD)\s+cov: (\d+) ft: (\d+)", re.MULTILINE)
_EXECUTED = re.compile(r"^(?:stat::number_of_executed_units: |executions: )(\d+)$", re.MULTILINE)
_FOUND = re.compile(r"Test unit written to (\S+)")


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one target went. ``coverage`` and ``features`` are libFuzzer's, at the start and at the end."""

    name: str
    executions: int
    seconds: float
    coverage: tuple[int, int]
    features: tuple[int, int]
    finds: tuple[str, ...]
    ended: int

    @property
    def is_well(self) -> bool:
        return self.ended == 0 and not self.finds and self.executions > 0

    def line(self) -> str:
        grown = "{:>5} → {:<5} {:>6} → {:<6}".format(*self.coverage, *self.features)
        rate = self.executions / max(self.seconds, 1)
        verdict = "" if self.is_well else f"  FOUND (exit {self.ended}): {', '.join(self.finds) or 'see its log'}"
        return f"{self.name:<11}{self.executions:>11,}{rate:>9,.0f}   {grown}{verdict}"


HEAD = f"{'target':<11}{'executions':>11}{'a second':>9}   {'coverage':^13} {'features':^15}"


def command(name: str, into: Path, seconds: int, executions: int) -> list[str]:
    if name == LIVES:
        return [sys.executable, "-m", "tests.listener.lives", "--seconds", str(seconds)]
    end = ["--runs", str(executions)] if executions else ["--seconds", str(seconds)]
    return [sys.executable, "-m", "tests.fuzz.guided", name, "--into", str(into), *end]


def run(name: str, seconds: int, executions: int) -> Outcome:
    """One target in a process of its own, which is given up when it does not end."""
    into, began = BUILD / name, time.monotonic()
    into.mkdir(parents=True, exist_ok=True)
    limit = None if executions else seconds + GRACE
    with (into / "log").open("wb") as log:
        try:
            asked = command(name, into, seconds, executions)
            ended = subprocess.run(asked, stdout=log, stderr=log, timeout=limit, check=False).returncode
        except subprocess.TimeoutExpired:
            ended = NEVER
    return read(name, (into / "log").read_text("utf-8", "replace"), time.monotonic() - began, ended)


def read(name: str, said: str, seconds: float, ended: int) -> Outcome:
    """What the log of a target tells."""
    grown = [(int(coverage), int(features)) for coverage, features in _COVERAGE.findall(said)] or [(0, 0)]
    (first, first_features), (last, last_features) = grown[0], grown[-1]
    executions = int((_EXECUTED.findall(said) or [0])[-1])
    finds = tuple(_FOUND.findall(said))
    return Outcome(name, executions, seconds, (first, last), (first_features, last_features), finds, ended)


def main(words: Sequence[str]) -> int:
    """0 when every target was tried and nothing was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", help="all of them when none is named")
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--executions", type=int, default=0)
    parser.add_argument("--cores", type=int, default=os.cpu_count() or 1)
    asked = parser.parse_args(words)
    chosen = asked.targets or [*names(), LIVES]
    seconds = max(1, int(asked.minutes * 60 * asked.cores / len(chosen)))
    share = f"{asked.executions:,} executions" if asked.executions else f"{seconds} s"
    print(f"{len(chosen)} targets, {share} each, {asked.cores} at a time\n{HEAD}", flush=True)
    outcomes: list[Outcome] = []
    with ThreadPoolExecutor(asked.cores) as threads:
        for outcome in threads.map(lambda name: run(name, seconds, asked.executions), chosen):
            print(outcome.line(), flush=True)
            outcomes.append(outcome)
    print(f"executions: {sum(one.executions for one in outcomes):,}; finds: {sum(not one.is_well for one in outcomes)}")
    return 0 if all(one.is_well for one in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
