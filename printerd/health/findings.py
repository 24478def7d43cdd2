"""What a check is, and what it finds.

One rule: a check is a row of a table. Its function only looks and gives facts; what they mean, and what to do, are
the table's sentences, so that /healthz, ``doctor`` and the documents say the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import StrEnum

from printerd.errors import Failure
from printerd.health.site import Site

THREADS = 8


class Level(StrEnum):
    """``WARNING`` is worth knowing and stops nothing; ``FAULT`` is to be mended."""

    FINE = "fine"
    WARNING = "warning"
    FAULT = "fault"


@dataclass(frozen=True, slots=True)
class Seen:
    """What a check saw: whether it is as it should be, and the facts for the sentences."""

    fine: bool
    facts: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Check:
    """One question. ``fine``, ``what`` and ``remedy`` are sentences with the facts of ``look`` in braces.

    ``always`` checks belong to /healthz too, the others to doctor alone; those that need a ``running`` service are
    left out by doctor when none runs.
    """

    name: str
    look: Callable[[Site], Seen]
    fine: str
    what: str
    remedy: str
    level: Level = Level.FAULT
    always: bool = False
    running: bool = False


@dataclass(frozen=True, slots=True)
class Finding:
    """A check's answer for people and machines."""

    name: str
    level: Level
    what: str
    where: str = ""
    remedy: str = ""

    @property
    def ok(self) -> bool:
        return self.level is not Level.FAULT

    def as_json(self) -> dict[str, object]:
        """Without ``where``: /healthz asks nobody who he is."""
        return {"name": self.name, "ok": self.ok, "level": self.level, "what": self.what, "remedy": self.remedy}


def ask(check: Check, site: Site) -> Finding:
    """The finding of one check. A failure is one in its own words; a check that breaks is a fault as well."""
    try:
        seen = check.look(site)
    except Failure as error:
        return Finding(check.name, check.level, error.what, error.where, error.remedy or check.remedy)
    except Exception as error:
        what = f"It could not be checked: {type(error).__name__}: {error}"
        return Finding(check.name, check.level, " ".join(what.split())[:300], "", check.remedy)
    if seen.fine:
        return Finding(check.name, Level.FINE, check.fine.format(**seen.facts))
    return Finding(check.name, check.level, check.what.format(**seen.facts), "", check.remedy.format(**seen.facts))


def ask_all(checks: Iterable[Check], site: Site) -> tuple[Finding, ...]:
    """The findings in the order of the checks, which are asked side by side: one that waits keeps no other."""
    round_ = site.once()
    with ThreadPoolExecutor(THREADS) as threads:
        return tuple(threads.map(lambda check: ask(check, round_), checks))


MARKS: Mapping[Level, str] = {Level.FINE: "✓", Level.WARNING: "!", Level.FAULT: "✗"}


def table(findings: Sequence[Finding]) -> Iterable[str]:
    """A line for each finding and, where something is wrong, up to two more: where it comes from, what to do."""
    width = max((len(finding.name) for finding in findings), default=0)
    for finding in findings:
        yield f"{MARKS[finding.level]} {finding.name:{width}}  {finding.what}"
        yield from (f"  {'':{width}}  {line}" for line in (finding.where, finding.remedy) if line)
    yield from ("", summary(findings))


def summary(findings: Sequence[Finding]) -> str:
    """How many of each, in a sentence."""
    faults = sum(finding.level is Level.FAULT for finding in findings)
    warnings = sum(finding.level is Level.WARNING for finding in findings)
    if not faults and not warnings:
        return f"All {len(findings)} checks are fine."
    return f"{len(findings)} checks: {faults} to mend, {warnings} to know, {len(findings) - faults - warnings} fine."
