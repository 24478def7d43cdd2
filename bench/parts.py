"""What one invoice and many cost, at rest and at work: each part starts what it needs afresh and yields its rows.

One rule: the service runs with the defaults of the product and is driven as its users drive it. Targets are set for
seals without a timestamp (PAdES B-B); with one (B-T, the default), the built-in authority's key is used as well.
"""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from bench import documents, floors, load, measure, peers
from bench.instance import Ours, prepared, seconds, served
from bench.run import SEALS, Bench, largest, percentiles, warm
from bench.table import Row
from printerd.demo.service import Service
from printerd.evidence import cms, keys, signatures, timestamp
from printerd.evidence.sign import Sealer
from printerd.pipeline import layouts, reading

TARGETED = "B-B"
PAUSE = 0.5
"""Seconds of rest before each print on an idle service."""


# One print


def idle(bench: Bench) -> Iterator[Row]:
    """From the first octet of a print to its invoice in the archive, on a service that rests."""
    floor = floors.invoice(bench.folder / "idle-floor", bench.book.batch(1).read_bytes())
    for level in bench.seal:
        with served(bench.folder, f"idle-{level}", timestamps=SEALS[level]) as ours, asyncio.Runner() as runner:
            warm(bench, ours)
            steps = [_print_one(ours, runner, file) for file in bench.book.singles(bench.prints)]
        yield from _idle(f"print → archived, {level}", steps, floor.wall, level == TARGETED)


def _idle(what: str, steps: Sequence[Mapping[str, float]], floor: float, targeted: bool) -> Iterator[Row]:
    middle, late = percentiles([sum(step.values()) for step in steps])
    target, reached = ("< 150", middle < 150) if targeted else ("", None)
    yield Row("idle", what, middle, "ms", {}, target, reached, floor, f"p95 {late:.0f} ms of {len(steps)}")
    for name in steps[0]:
        middle, late = percentiles([step[name] for step in steps])
        yield Row("idle", f"of it: {name}", middle, "ms", note=f"p95 {late:.0f} ms")


def _print_one(ours: Ours, runner: asyncio.Runner, file: Path) -> dict[str, float]:
    """The steps of one print in milliseconds, by the times that the service wrote down itself."""
    ours.rest()
    time.sleep(PAUSE)
    total = ours.archived() + 1
    database = ours.service.layout.root / "printerd.db"
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        began = time.time()
        runner.run(load.ask(ours.printer, load.print_job(ours.printer, file)))
        while connection.execute("SELECT count(*) FROM ledger WHERE kind = 'invoice'").fetchone()[0] < total:
            time.sleep(0.001)
        ended = time.time()
    (times,) = ours.query(
        "SELECT j.received_at, i.created_at, i.sealed_at, l.recorded_at FROM jobs j JOIN invoices i ON i.job = j.id"
        " JOIN ledger l ON l.subject = i.id WHERE j.title = ?",
        file.stem,
    )
    moments = [began, *map(seconds, times), ended]
    names = ("received", "claimed and read", "claimed for sealing", "sealed", "archived")
    return {name: 1000 * (moments[n + 1] - moments[n]) for n, name in enumerate(names)}


# Many prints


def rate(bench: Bench) -> Iterator[Row]:
    """Jobs of one invoice each, sent by eight clients: invoices a second, and what each costs."""
    for level in bench.seal:
        files = bench.book.singles(bench.batch)
        yield from _worked(bench, files, level, Work("rate", f"{bench.batch} single invoices", 60))


def batch(bench: Bench) -> Iterator[Row]:
    """The same invoices in one job."""
    for level in bench.seal:
        files = [bench.book.batch(bench.batch)]
        yield from _worked(bench, files, level, Work("batch", f"a batch of {bench.batch}", 120))


@dataclass(frozen=True, slots=True)
class Work:
    """What a part is called, what is printed, and how many invoices a second are wanted."""

    part: str
    what: str
    target: float


def _worked(bench: Bench, files: Sequence[Path], level: str, work: Work) -> Iterator[Row]:
    name = f"{work.part}-{level}"
    floor = floors.invoice(bench.folder / f"{name}-floor", bench.book.batch(1).read_bytes())
    with served(bench.folder, name, timestamps=SEALS[level]) as ours:
        warm(bench, ours)
        yield from _archived(bench, ours, files, level, work, floor.cpu)


def _archived(bench: Bench, ours: Ours, files: Sequence[Path], level: str, work: Work, floor: float) -> Iterator[Row]:
    total, before = ours.archived() + bench.batch, measure.cpu(ours.supervisor)
    sent = load.send(ours.printer, files, min(8, len(files)))
    ours.wait_archived(total)
    used = _each(measure.cpu(ours.supervisor), before, bench.batch)
    figure = bench.batch / (ours.archived_at() - sent.began)
    ours.rest()
    whole = _each(measure.cpu(ours.supervisor), before, bench.batch)
    targeted, cost = level == TARGETED, sum(used.values())
    note = f"sent in {sent.ended - sent.began:.1f} s; {sent.refused + sent.failed} refused"
    yield Row(
        work.part, f"{work.what}, {level}", figure, "invoices/s", {}, f">= {work.target}" if targeted else "",
        figure >= work.target if targeted else None, note=note,
    )  # fmt: skip
    yield Row(
        work.part, "CPU an invoice until the last is archived", cost, "ms", {},
        "<= 12 and <= 4 × floor" if targeted else "", cost <= min(12, 4 * floor) if targeted else None, floor,
    )  # fmt: skip
    for name, figure in largest(used):
        yield Row(work.part, f"of it: {name}", figure, "ms", note=f"{whole[name]:.1f} ms with its delivery to the edge")
    yield from _stages(ours, work.part)


def _each(after: Mapping[str, float], before: Mapping[str, float], invoices: int) -> dict[str, float]:
    """Milliseconds of CPU an invoice."""
    return {name: 1000 * (after[name] - before[name]) / invoices for name in after}


def _stages(ours: Ours, part: str) -> Iterator[Row]:
    """How long batches were in each stage, as the engine noted it."""
    rows = ours.query("SELECT name, count(*), avg(completed_at - created_at) FROM workflow_status GROUP BY name")
    for name, times, middle in rows:
        yield Row(part, f"stage {name}: a batch", middle or 0.0, "ms", note=f"{times} batches, warming up included")


# Pieces


def tasks(bench: Bench) -> Iterator[Row]:
    """What reading and sealing one invoice cost alone, and of what they are made; CPU and time are nearly the same."""
    folder, document = bench.folder / "tasks", bench.book.batch(1).read_bytes()
    folder.mkdir()
    pair, stamper = keys.seal(folder, "Bench"), timestamp.connect("local:", folder, "Bench")
    read = reading.start(layouts.templates(folder / "templates"))["read"]
    sealer, sealed = Sealer(pair, stamper), BytesIO()
    for output in (BytesIO(), sealed):  # the first keeps more room than a token needs
        sealer.seal(BytesIO(document), output, "bench")
    pieces: Mapping[str, Callable[[], object]] = {
        "read": lambda: read({"media_type": "application/pdf"}, [BytesIO(document)], folder),
        "seal, B-B": lambda: sealer.seal(BytesIO(document), BytesIO(), "bench", stamped=False),
        "seal, B-T": lambda: sealer.seal(BytesIO(document), BytesIO(), "bench"),
        "one key operation with its CMS": lambda: cms.sign(pair, "data", bytes(32)),
        "a timestamp, made and checked": lambda: stamper.stamp(b"bench"),
        "check of a seal in an audit, B-T": lambda: signatures.of_pdf(sealed),
    }
    for name, act in pieces.items():
        yield Row("tasks", name, floors.timed(act).cpu, "ms CPU")


# Memory


def memory(bench: Bench) -> Iterator[Row]:
    """The service at rest once every process has worked, and capture while it takes a large document; peers too."""
    large = documents.large(bench.folder / "large.pdf", bench.large << 20)
    with peers.started(bench.folder) as others:
        resting = {peer.name: sum(measure.pss(peer.process).values()) for peer in others}
        taking = {peer.name: _peak(peer.printer, peer.process, large) for peer in others}
    with served(bench.folder, "memory") as ours:
        warm(bench, ours)
        time.sleep(2)
        used = measure.pss(ours.supervisor)
        total = sum(used.values())
        yield Row("memory", "whole service at rest (PSS)", total, "MiB", resting, "< 450", total < 450)
        for name, figure in largest(used):
            yield Row("memory", f"of it: {name}", figure, "MiB")
        most, taken = _peak(ours.printer, ours.process("capture"), large)
        refused = [name for name, (_, taken) in (taking | {"ours": (most, taken)}).items() if not taken]
        yield Row(
            "memory", f"capture's peak, {bench.large} MiB job", most, "MiB",
            {name: figure for name, (figure, _) in taking.items()}, "< 150", most < 150 and taken,
            note=f"refused by {', '.join(refused)}" if refused else "taken by all",
        )  # fmt: skip


def _peak(printer: str, process: int, document: Path) -> tuple[float, bool]:
    """MiB that a process holds at most while it takes a document, and whether it took it."""
    measure.forget_peak(process)
    sent = load.send(printer, [document], 1)
    return measure.peak(process), bool(sent.accepted)


# Start


def start(bench: Bench) -> Iterator[Row]:
    """The command line's help, and the time from ``serve`` to a job that was taken."""
    command = [sys.executable, "-m", "printerd", "--help"]
    helped = floors.timed(lambda: subprocess.run(command, capture_output=True, check=True), 5)  # noqa: S603 - our own program
    python = floors.timed(lambda: subprocess.run([sys.executable, "-c", ""], capture_output=True, check=True), 5)
    yield Row("start", "invoice-printer --help", helped.wall, "ms", floor=python.wall, note="floor: an empty Python")
    service = prepared(bench.folder / "start")
    for what in ("a fresh state folder", "an initialised one"):
        taken = _first_job(service, bench.book.batch(1))
        yield Row("start", f"serve → a job is taken, {what}", taken, "s", {}, "2", taken <= 2)


def _first_job(service: Service, file: Path) -> float:
    began = time.perf_counter()
    service.start()
    try:
        with asyncio.Runner() as runner:
            while not _taken(service, runner, file):
                time.sleep(0.01)
        return time.perf_counter() - began
    finally:
        service.stop()


def _taken(service: Service, runner: asyncio.Runner, file: Path) -> bool:
    try:
        return runner.run(load.ask(service.printer, load.print_job(service.printer, file))) == 0
    except (OSError, ValueError):
        return False
