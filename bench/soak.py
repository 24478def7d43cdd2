"""The soak: very many jobs, hostile neighbours, and the account afterwards.

One rule: what must hold on every machine is a promise (nothing lost, nothing refused, no descriptor left, the archive
clean); time and memory are told.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench import load, measure
from bench.instance import Ours, alone, served, until
from bench.measure import Sample
from bench.programs import running
from bench.run import Bench, largest, percentiles
from bench.table import Row

CLIENTS = 8
SAMPLED = 1.0
"""Seconds between two looks at the memory."""
WARM = 200
"""Jobs at most that are printed before anything counts: pools, caches and connections are there."""
FLAT = 0.1
"""MiB that 1,000 jobs may add: a hundred bytes each."""
HONEST = 400
"""Prints of the honest client at most, half of them while the neighbours are still coming."""
KEEPS = 2
"""How many times its p95 alone the honest client may wait beside the neighbours."""
ASSEMBLED = 60.0
"""Seconds in which all neighbours are there."""
POOLED = 4
"""Descriptors more or less that mean nothing: connections to the edge are kept for a while."""
SETTLES = 15.0
"""Seconds in which descriptors of connections that have ended are given back."""


@dataclass(frozen=True, slots=True)
class Crowd:
    """Neighbours of one kind, one ``of`` so many of ``--crowd``."""

    kind: str
    of: int
    does: str


CROWDS = (
    Crowd("slowloris", 10, "send a head by one byte a second"),
    Crowd("half-open", 1, "stop in the middle of a print"),
    Crowd("garbage", 200, "send noise ten times a second"),
)


@dataclass(frozen=True, slots=True)
class Account:
    """All that was sent to one instance."""

    sent: list[load.Sent] = field(default_factory=list)

    def send(self, ours: Ours, files: Sequence[Path], clients: int) -> load.Sent:
        self.sent.append(load.send(ours.printer, files, clients))
        return self.sent[-1]

    def sum(self, count: Callable[[load.Sent], int]) -> int:
        return sum(map(count, self.sent))


def soak(bench: Bench) -> Iterator[Row]:
    """The whole service follows many jobs to the end, beside hostile neighbours; then capture alone takes very many."""
    account = Account()
    with served(bench.folder, "soak") as ours:
        account.send(ours, bench.book.small(min(WARM, bench.processed)), CLIENTS)
        ours.rest()
        before = measure.descriptors(ours.supervisor)
        yield from _processed(bench, ours, account)
        yield from _beside(bench, ours, account)
        ours.rest()
        yield _left("the whole service", ours, before)
    with alone(ours.service, "capture") as door:
        account.send(door, bench.book.alike(min(WARM, bench.accepted)), CLIENTS)
        before = measure.descriptors(door.supervisor)
        yield from _accepted(bench, door, account)
        yield _left("capture", door, before)
    yield from _accounted(ours, account)


# Work


def _processed(bench: Bench, ours: Ours, account: Account) -> Iterator[Row]:
    """Jobs that are followed until their invoices are archived."""
    files, before = bench.book.small(bench.processed), ours.archived()
    with measure.sampled(ours.supervisor, ours.archived, SAMPLED) as samples:
        sent = account.send(ours, files, CLIENTS)
        ours.wait_archived(before + len(sent.accepted))
    archived, took = ours.archived() - before, ours.archived_at() - sent.began
    ours.rest()
    yield Row("soak", "processed to the end", archived / took, "invoices/s", note=f"{archived} in {took:.0f} s")
    yield _promised("not processed to the end", bench.processed - archived, "jobs", f"of {bench.processed}")
    yield _flat("the whole service", samples)


def _accepted(bench: Bench, door: Ours, account: Account) -> Iterator[Row]:
    """Very many jobs into a capture that runs by itself: nobody works on them meanwhile."""
    files = bench.book.alike(bench.accepted)
    with measure.sampled(door.supervisor, door.last_number, SAMPLED) as samples:
        sent = account.send(door, files, CLIENTS)
    note = f"{sent.total} in {sent.ended - sent.began:.0f} s; p95 {_late(sent.taken):.1f} ms"
    yield Row("soak", "accepted by capture alone", sent.rate, "jobs/s", note=note)
    yield _flat("capture", samples)


def _flat(what: str, samples: Sequence[Sample]) -> Row:
    """What memory a job leaves behind, and in which parts."""
    each = {part: 1000 * slope for part, slope in measure.slopes(samples).items()}
    first, last, figure = samples[0], samples[-1], sum(each.values())
    told = ", ".join(f"{part} {slope:+.2f}" for part, slope in largest(each))
    note = f"{first.total:.0f} MiB before, {last.total:.0f} after {last.done - first.done}; {told}"
    what = f"PSS (written) that 1,000 jobs add, {what}"
    return Row("soak", what, figure, "MiB", {}, f"<= {FLAT}", figure <= FLAT, note=note)


# Hostile neighbours


def _beside(bench: Bench, ours: Ours, account: Account) -> Iterator[Row]:
    """An honest client alone, and beside each crowd, while the worker is held."""
    prints = min(HONEST, max(20, bench.accepted // 10))
    with ours.held_worker():
        by_itself = _late(account.send(ours, bench.book.alike(prints), 1).taken)
        yield Row("soak", "p95 of an honest client alone", by_itself, "ms", note=f"{prints} prints")
        for crowd in CROWDS:
            number, told = max(1, bench.crowd // crowd.of), bench.folder / f"{crowd.kind}.json"
            late = _among(ours, account, bench.book.alike(prints), (crowd.kind, str(number)), told)
            note = f"{crowd.kind}: {{open}} open at the end, {{opened}} in all, {{cut}} cut"
            yield Row(
                "soak", f"the same beside {number} who {crowd.does}", late, "ms", {}, f"<= {KEEPS} × alone",
                late <= KEEPS * by_itself, note=note.format(**json.loads(told.read_text())),
            )  # fmt: skip


def _among(ours: Ours, account: Account, files: Sequence[Path], crowd: tuple[str, str], told: Path) -> float:
    """The p95 of prints while the neighbours come, and once all of them are there."""
    half, (kind, number) = len(files) // 2, crowd
    neighbours = ("-m", "bench.neighbours", kind, ours.printer, number, str(files[0]), str(told))
    with running(sys.executable, *neighbours):
        coming = account.send(ours, files[:half], 1)
        until(told.exists, f"{number} neighbours ({kind})", ASSEMBLED)
        there = account.send(ours, files[half:], 1)
    return _late([*coming.taken, *there.taken])


def _late(taken: Sequence[float]) -> float:
    """The 95th percentile of the answers in milliseconds."""
    return 1000 * percentiles(taken)[1]


# The account


def _left(what: str, ours: Ours, before: Mapping[str, int]) -> Row:
    """Descriptors that are open though nothing is going on, beyond those from before."""

    def more() -> dict[str, int]:
        after = measure.descriptors(ours.supervisor)
        return {part: after[part] - before.get(part, 0) for part in after if after[part] > before.get(part, 0)}

    deadline = time.monotonic() + SETTLES
    while sum((left := more()).values()) > POOLED and time.monotonic() < deadline:
        time.sleep(0.2)
    note = "; ".join((f"{sum(before.values())} before", *(f"{part} {number} more" for part, number in left.items())))
    return _promised(f"descriptors left, {what}", sum(left.values()), "descriptors", note, POOLED)


def _accounted(ours: Ours, account: Account) -> Iterator[Row]:
    """What became of everything that was sent, once the service has ended."""
    kept, total = ours.kept(), f"of {account.sum(lambda sent: sent.total)}"
    yield _promised("refused", account.sum(lambda sent: sent.turned_away), "jobs", total)
    yield _promised("lost", account.sum(lambda sent: sent.lost(kept)), "jobs", total)
    began = time.monotonic()
    problems, told = ours.problems()
    yield _promised("problems that verify --all finds", problems, "problems", told)
    yield Row("soak", "verify --all", time.monotonic() - began, "s")


def _promised(what: str, figure: int, unit: str, note: str, most: int = 0) -> Row:
    return Row("soak", what, figure, unit, {}, f"<= {most}" if most else "0", figure <= most, note=note, promise=True)
