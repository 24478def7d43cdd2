"""Asks pip-audit whether a pinned requirement has a published vulnerability.

One rule: silence is no good news. What nobody answered for is said to be not audited, by name; only a vulnerability
that was found fails. One requirement is asked about first: where nobody answers for it, the others are not asked about.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
LOCKS = tuple(ROOT / "requirements" / f"{name}.txt" for name in ("build", "runtime", "cups", "test", "fuzz"))
PATIENCE = 60.0
"""Seconds for one run of pip-audit."""
NOBODY = (
    "not audited: no answer from the advisory service, so nothing is known about {count} pinned requirements ({why})"
)


@dataclass(frozen=True, slots=True)
class Report:
    """What pip-audit answered: lines about vulnerabilities, and the requirements that nobody answered for."""

    asked: int
    found: tuple[str, ...]
    unanswered: tuple[str, ...]


def pinned(*locks: str) -> list[str]:
    """The requirements of lock files as NAME==VERSION, each once."""
    return sorted({one for lock in locks for one in re.findall(r"^[A-Za-z0-9][\w.-]*==[^\s;\\]+", lock, re.MULTILINE)})


def read(report: dict[str, Any]) -> Report:
    """The JSON of ``pip-audit --format json``."""
    found, unanswered = [], []
    for one in report["dependencies"]:
        if "skip_reason" in one:
            unanswered.append(f"{one['name']}: {one['skip_reason']}")
        for flaw in one.get("vulns", ()):
            mended = ", ".join(flaw["fix_versions"]) or "no version yet"
            found.append(f"{one['name']} {one['version']}: {flaw['id']}, mended in {mended}")
    return Report(len(report["dependencies"]), tuple(found), tuple(unanswered))


def ask(requirements: Sequence[str]) -> Report | str:
    """Run pip-audit over requirements; what it complained of when it gave no report."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write("\n".join(requirements))
        file.flush()
        command = [sys.executable, "-m", "pip_audit", "--requirement", file.name, "--disable-pip", "--no-deps"]
        options = ["--format", "json", "--progress-spinner", "off", "--timeout", "5"]
        try:
            ended = subprocess.run(  # noqa: S603 - our own interpreter and a file of ours
                [*command, *options], capture_output=True, text=True, timeout=PATIENCE, check=False
            )
        except subprocess.TimeoutExpired:
            return f"nothing within {PATIENCE:.0f} s"
    try:
        return read(json.loads(ended.stdout))
    except json.JSONDecodeError:
        return (ended.stderr.strip().splitlines() or ["it said nothing"])[-1]


def told(report: Report | str, count: int) -> tuple[list[str], int]:
    """The lines to print about ``count`` requirements, and the exit code: 1 when a vulnerability was found."""
    if isinstance(report, str):
        return [NOBODY.format(count=count, why=report)], 0
    if len(report.unanswered) == report.asked:
        return [NOBODY.format(count=count, why=report.unanswered[0])], 0
    lines = [f"vulnerable: {one}" for one in report.found] + [f"not audited: {one}" for one in report.unanswered]
    audited = report.asked - len(report.unanswered)
    lines.append(f"audited: {audited} of {count} pinned requirements, vulnerabilities: {len(report.found)}")
    return lines, 1 if report.found else 0


def main() -> int:
    """The exit code of :func:`told`."""
    requirements = pinned(*(lock.read_text("utf-8") for lock in LOCKS))
    report = ask(requirements[:1])
    if isinstance(report, Report) and not report.unanswered:
        report = ask(requirements)
    lines, code = told(report, len(requirements))
    print("\n".join(lines))
    return code


if __name__ == "__main__":
    sys.exit(main())
