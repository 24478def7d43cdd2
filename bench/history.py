"""History: what a print costs when many were printed before, and what it costs to ask about them.

One rule: the history is what the pipeline leaves: each job has a document of its own bytes, and its invoice a number
of its own, findable words and an entry in the ledger. Only the sealed PDF is one for all, for sealing each would take
half an hour, and none has a delivery. ``verify --all`` finds it clean.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import statistics
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from bench import load, measure
from bench.instance import Ours, served
from bench.run import HELD, Bench, warm
from bench.table import Row
from printerd.evidence import ledger, records
from printerd.ipp.attributes import Plain
from printerd.ipp.registry import Operation
from printerd.model import Blob, CapturedJob, Digest, InvoiceState, JobState
from printerd.storage import jobs, messages, schema
from printerd.storage.blobs import Blobs
from printerd.storage.database import Database, index_texts

CLIENTS = 8
PART = 1000
"""Jobs of one transaction."""
ASKED = 300
"""How often each question is asked."""
GROWTH = 1.3
"""How many times what it costs without history counts as the same: the machine is not more exact than that."""
QUESTIONS: Mapping[str, tuple[Operation, Mapping[str, Plain]]] = {
    "Get-Jobs, not completed": (Operation.GET_JOBS, {"which-jobs": "not-completed"}),
    "Get-Jobs, 50 completed": (Operation.GET_JOBS, {"which-jobs": "completed", "limit": 50}),
    "Get-Job-Attributes, the first job": (Operation.GET_JOB_ATTRIBUTES, {"job-id": 1}),
}


@dataclass(frozen=True, slots=True)
class Cost:
    """Milliseconds of capture's CPU for one act, and what else is to be told of it."""

    cpu: float
    note: str


def history(bench: Bench) -> Iterator[Row]:
    """The same acts with more and more jobs of history."""
    with served(bench.folder, "history") as ours:
        warm(bench, ours)
        _print_model(bench, ours)
        there, first = 0, dict[str, Cost]()
        for size in bench.histories:
            grow(ours, size - there)
            there = size
            found = _costs(bench, ours)
            first = first or found
            for act, cost in found.items():
                reached = cost.cpu <= GROWTH * first[act].cpu
                yield Row(
                    "history", f"{act}; {size} jobs before", cost.cpu, "ms CPU", {},
                    f"<= {GROWTH} × with {bench.histories[0]}", reached, note=cost.note,
                )  # fmt: skip


# What is measured


def _costs(bench: Bench, ours: Ours) -> dict[str, Cost]:
    """What capture spends on a print and on each question."""
    costs = {"Print-Job": _printed(bench, ours)}
    ours.rest()
    return costs | asked_all(ours)


def _printed(bench: Bench, ours: Ours) -> Cost:
    """Prints of eight clients while the worker is held."""
    files = bench.book.singles(min(bench.jobs, HELD))
    with ours.held_worker():
        sent, cpu = _spent(ours, lambda: load.send(ours.printer, files, CLIENTS))
    middle = 1000 * statistics.median(sent.taken)
    return Cost(cpu / sent.total, f"{sent.rate:.0f} jobs/s, answered in {middle:.1f} ms; {sent.turned_away} refused")


def asked_all(ours: Ours) -> dict[str, Cost]:
    """Each of :data:`QUESTIONS`. Raises :class:`ValueError` when one is not answered successful-ok."""
    return {name: _asked(ours, operation, said) for name, (operation, said) in QUESTIONS.items()}


def _asked(ours: Ours, operation: Operation, said: Mapping[str, Plain]) -> Cost:
    request = load.post(ours.printer, load.message(ours.printer, operation, said))
    taken, cpu = _spent(ours, lambda: asyncio.run(_ask(ours.printer, request)))
    return Cost(cpu / ASKED, f"answered in {1000 * statistics.median(taken):.1f} ms")


async def _ask(printer: str, request: bytes) -> list[float]:
    """Seconds of each answer. Raises :class:`ValueError` when one of them is not successful-ok."""
    taken = []
    for _ in range(ASKED):
        began = time.perf_counter()
        status = await load.ask(printer, request)
        if status not in load.OK:
            raise ValueError(f"the printer answered 0x{status:04x}")
        taken.append(time.perf_counter() - began)
    return taken


def _spent(ours: Ours, act: Callable[[], Any]) -> tuple[Any, float]:
    """What an act gave, and the milliseconds of CPU that capture spent on it."""
    before = measure.cpu(ours.supervisor)["capture"]
    return act(), 1000 * (measure.cpu(ours.supervisor)["capture"] - before)


# How it comes about


def _print_model(bench: Bench, ours: Ours) -> None:
    """The job of which there are to be many: 100,000 times 4 KB have room on any disk."""
    before = ours.archived()
    load.send(ours.printer, bench.book.small(1), 1)
    ours.wait_archived(before + 1)
    ours.rest()


def grow(ours: Ours, number: int) -> None:
    """So many jobs more, written while the service does not run."""
    if number:
        ours.service.stop()
        write(ours.service.layout.root, number)
        ours.service.start()
        ours.service.wait()


def write(root: Path, number: int) -> None:
    """Add so many jobs like the one whose invoice was archived last to the state of a service that is stopped."""
    blobs = Blobs(root)
    with closing(Database(f"sqlite:///{root / 'printerd.db'}")) as database:
        with database.read() as connection:
            model = Model.latest(connection, blobs)
        for start in range(0, number, PART):
            with database.write() as connection:
                model.repeat(connection, blobs, min(PART, number - start))
    os.sync()


@dataclass(frozen=True, slots=True)
class Model:
    """One archived invoice, of whose kind there are to be many: its job, its row, and the document that was printed."""

    job: jobs.Job
    invoice: Mapping[str, Any]
    document: bytes

    @classmethod
    def latest(cls, connection: sa.Connection, blobs: Blobs) -> Model:
        archived = sa.select(schema.invoices).where(schema.invoices.c.state == InvoiceState.ARCHIVED)
        invoice = connection.execute(archived.order_by(schema.invoices.c.created_at.desc()).limit(1)).one()
        job = jobs.find(connection, invoice.job)
        if job is None or job.original is None:
            raise LookupError(f"invoice {invoice.id} has no printed document")
        return cls(job, invoice._asdict(), blobs.read(job.original))

    def repeat(self, connection: sa.Connection, blobs: Blobs, number: int) -> None:
        """So many jobs in one transaction, as capture and worker write them."""
        now, first = datetime.now(UTC), jobs.last_number(connection) + 1
        arrivals = [jobs.Arrival(self.job.ticket, self._print(blobs, first + n)) for n in range(number)]
        taken = jobs.take(connection, arrivals, now)
        done = sa.update(schema.jobs).where(schema.jobs.c.number >= first)
        connection.execute(done.values(state=JobState.DONE, answered=True, completed_at=now))
        rows = [self._row(job, now) for job in taken]
        connection.execute(schema.invoices.insert(), rows)
        index_texts(connection, {row["id"]: row["reading"]["text"] for row in rows})
        _record(connection, taken, rows, now)
        messages.refresh(connection, [job.id for job in taken], "en")

    def _print(self, blobs: Blobs, number: int) -> Blob:
        """The same page once more, with a comment of its own behind it; :func:`write` syncs all of them at the end."""
        document = self.document + b"%% %d\n" % number
        digest = Digest(hashlib.sha256(document).hexdigest())
        blobs.path(digest).write_bytes(document)
        return Blob(digest, len(document), self.job.ticket.media_type)

    def _row(self, job: CapturedJob, now: datetime) -> dict[str, Any]:
        number = f"{self.invoice['number']}-{job.number}"
        text = self.invoice["reading"]["text"].replace(self.invoice["number"], number)
        return {
            **self.invoice,
            "id": str(uuid.uuid5(uuid.UUID(job.id), "1-1")),
            "job": job.id,
            "number": number,
            "reading": {**self.invoice["reading"], "text": text},
            "content": hashlib.sha256(text.encode()).hexdigest(),
            "pdf": job.original.digest,
            "created_at": now,
            "updated_at": now,
        }


def _record(
    connection: sa.Connection, taken: Sequence[CapturedJob], rows: Sequence[Mapping[str, Any]], now: datetime
) -> None:
    """The invoices' entries in the ledger."""
    bodies = [
        records.invoice({**row, "original": job.original.digest, "options": job.ticket.options})
        for job, row in zip(taken, rows, strict=True)
    ]
    ledger.extend(connection, "invoice", [(row["id"], body) for row, body in zip(rows, bodies, strict=True)], now)
