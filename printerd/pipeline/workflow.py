"""From a received job to sealed invoices in the archive: read, check, seal.

One rule: each function does one batch and may be called again with the same
batch at any moment. Bytes are stored first, under their digest; then the rows
are written, some in a transaction. A document harms only its own row.
"""

from __future__ import annotations

import base64
import logging
import tempfile
import uuid
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from contextvars import copy_context
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, BinaryIO

import sqlalchemy as sa

from printerd import logs, metrics, reasons
from printerd.errors import ConfigurationError, DocumentError, TransientError
from printerd.evidence import ledger, records
from printerd.model import BatchId, Box, Digest, Found, Invoice, InvoiceState, Issuer, JobState, Reason
from printerd.pipeline import check, distiller, issuing, journal, ranges
from printerd.pipeline.pools import Pool, PoolBroken
from printerd.pipeline.readers import Readers
from printerd.storage import customers, database, messages
from printerd.storage.blobs import Blobs
from printerd.storage.claims import Stage, done, done_all, held, later
from printerd.storage.database import Apart, Database
from printerd.storage.schema import invoices, jobs, rfc3339

PDF, POSTSCRIPT = "application/pdf", "application/postscript"
PART = 16
"""Rows of one transaction: others write between two, so that a print never waits for a whole batch."""
READ_ATTEMPTS = 2
"""A document that breaks its reader so often waits for a person."""
ENDED = (InvoiceState.ARCHIVED, InvoiceState.SPECIMEN, InvoiceState.REJECTED)
"""What reading a job again does not touch."""
IN_FORCE = (InvoiceState.WAITING, InvoiceState.CHECKING, InvoiceState.READY, InvoiceState.ARCHIVED)
"""An invoice in one of these states is the first of its number; the same again is a reprint."""

FACTS = (
    *("issuer", "kind", "number", "issued_on", "due_on", "customer_code", "customer_name"),
    *("net", "vat", "total", "currency", "iban"),
)
"""The columns that a check fills in."""
BLANK: Mapping[str, Any] = {**dict.fromkeys(FACTS, ""), "reprint_of": None}
UNCLAIMED: Mapping[str, Any] = {"batch": None, "attempts": 0, "next_at": None, "trouble": ""}

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Piece:
    """One invoice of a document as its reader found it, its PDF in the archive already."""

    position: int
    reading: Mapping[str, Any]
    pdf: Digest
    content: Digest


Sealed = tuple[sa.Row[Any], Digest, Mapping[str, Any]]
"""An invoice, its sealed PDF, and what its sealer told of it."""


@dataclass(frozen=True, slots=True)
class Pipeline:
    """What the stages work with. ``archived`` gives fresh archive rows their deliveries, in the same transaction."""

    database: Database
    blobs: Blobs
    readers: Readers
    sealers: Pool
    issuers: Sequence[Issuer]
    language: str
    archived: Callable[[sa.Connection, Sequence[sa.Row[Any]], datetime], None]
    reader_seconds: float = 60.0
    threads: int = 8
    """More than there are readers and sealers: who waits for the disk lets others work, and syncs are done together."""
    ghostscript: Path = distiller.SOCKET
    now: Callable[[], datetime] = field(default=lambda: datetime.now(UTC))

    def stages(self) -> tuple[Stage, ...]:
        """The work of this room, in the order in which documents come through it."""
        return (
            Stage("process", jobs, JobState.RECEIVED, 50, self.process, working=JobState.PROCESSING),
            Stage("check", invoices, InvoiceState.CHECKING, 50, self.check),
            Stage("seal", invoices, InvoiceState.READY, 50, self.seal),
        )

    # Reading

    def process(self, batch: BatchId) -> None:
        """Convert, split, parse and check the jobs of a batch."""
        stage = self.stages()[0]
        with self.database.read() as connection:
            rows = held(connection, stage, batch)
        read = self._each(partial(self._read, self.readers.pool()), rows)
        for part in _parts(list(zip(rows, read, strict=True))):
            self._file_all(stage, part)

    def _file_all(self, stage: Stage, part: Sequence[tuple[sa.Row[Any], Any]]) -> None:
        """What was read of some jobs, or why they could not be read, in one transaction."""
        rows = [row for row, _ in part]
        with self.database.write() as connection:
            for row, outcome in part:
                failure = outcome
                if not isinstance(outcome, Exception):
                    failure = database.attempt(connection, partial(self._filed, connection, stage, row, outcome))
                if isinstance(failure, Exception):
                    self._unread(connection, stage, row, failure)
            messages.refresh(connection, [row.id for row in rows], self.language)
            told = journal.lines(connection, [row.id for row in rows])
        journal.tell(told)

    def _read(self, readers: Pool, job: sa.Row[Any]) -> list[Piece]:
        """The pieces of one document; the reader has nothing but the document."""
        with (
            ExitStack() as opened,
            ranges.read(readers, *self._asked(job, opened), self.reader_seconds) as reading,
        ):
            whole = Digest(job.original)
            if reading.converted and not all(found.pdf for found in reading.invoices):  # else no row would speak of it
                whole = self.blobs.put(reading.converted.read_bytes(), PDF).digest
            with ThreadPoolExecutor(self.threads) as threads:
                pdfs = threads.map(lambda found: self._pdf(found.pdf, whole), reading.invoices)
                return list(map(self._piece, count(), reading.invoices, pdfs))

    def _asked(self, job: sa.Row[Any], opened: ExitStack) -> tuple[Mapping[str, Any], Sequence[Path | BinaryIO]]:
        """What a reader gets: the document, and what Ghostscript made of it where that has a unit of its own."""
        source, asked = self.blobs.path(Digest(job.original)), {"media_type": job.media_type}
        if job.media_type != POSTSCRIPT or not distiller.usable(self.ghostscript):
            return asked, [source]
        drawn = opened.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 - as long as the call
        with source.open("rb") as postscript:
            ended = distiller.ask(self.ghostscript, postscript, drawn)
        return asked | {"drawn": distiller.values(ended)}, [source, drawn]

    def _pdf(self, file: Path | None, whole: Digest) -> Digest:
        return self.blobs.put(file.read_bytes(), PDF).digest if file else whole

    def _piece(self, position: int, found: ranges.Found, pdf: Digest) -> Piece:
        """What makes two prints the same content is their words, for a print client rewrites the bytes."""
        return Piece(position, found.reading, pdf, Digest(found.reading["words"] or pdf))

    def _filed(self, connection: sa.Connection, stage: Stage, job: sa.Row[Any], pieces: Iterable[Piece]) -> None:
        """The rows of a job's invoices. What ended in an earlier reading stays as it is, the rest gives way."""
        now = self.now()
        if not done(connection, stage, job, JobState.DONE, completed_at=now, reason=None):
            return
        found = {_identity(job, piece): piece for piece in pieces}
        before = {row.id: row for row in connection.execute(_OF_JOB, {"job": job.id})}
        ended = {row.id for row in before.values() if row.state in ENDED}
        database.forget_text(connection, before.keys() - ended)
        self._drop(connection, before.keys() - ended - found.keys(), now)
        for identity, piece in found.items():
            if identity not in ended:
                self._file(connection, job, identity, piece, before.get(identity), now)

    def _drop(self, connection: sa.Connection, gone: Collection[str], now: datetime) -> None:
        """Invoices that a new reading no longer finds; what was a reprint of one is checked again."""
        if not gone:
            return
        again = {"state": InvoiceState.CHECKING, "reprint_of": None, "updated_at": now, **UNCLAIMED}
        connection.execute(invoices.update().where(invoices.c.reprint_of.in_(gone)).values(again))
        connection.execute(invoices.delete().where(invoices.c.id.in_(gone)))

    def _file(
        self,
        connection: sa.Connection,
        job: sa.Row[Any],
        identity: str,
        piece: Piece,
        before: sa.Row[Any] | None,
        now: datetime,
    ) -> None:
        """The row of one piece. A second reading keeps what people said of it, and the reprints that point at it."""
        row = {
            "id": identity,
            "job": job.id,
            "position": piece.position,
            "first_page": piece.reading["first"],
            "last_page": piece.reading["last"],
            "reading": {name: piece.reading[name] for name in ("fields", "ibans", "text")},
            "template": piece.reading["template"],
            "pdf": piece.pdf,
            "content": piece.content,
            "corrections": before.corrections if before else {},
            "accepted": before.accepted if before else [],
            "created_at": before.created_at if before else now,
        }
        values = {**BLANK, **UNCLAIMED, **row, **self._judged(connection, row, now)}
        write = invoices.update().where(invoices.c.id == identity) if before else invoices.insert()
        connection.execute(write, values)
        database.index_text(connection, identity, piece.reading["text"])

    def _unread(self, connection: sa.Connection, stage: Stage, job: sa.Row[Any], error: Exception) -> None:
        """A document that could not be read: the sender's to mend, ours to try again, or a person's to look at."""
        metrics.failed(stage.name, error)
        if isinstance(error, PoolBroken) and job.attempts + 1 >= READ_ATTEMPTS:
            self._held(connection, stage, job, "reader-died")
        elif isinstance(error, TransientError | ConfigurationError):
            later(connection, stage, [job], self.now(), error.what)
        elif isinstance(error, DocumentError):
            reason = {"code": error.code, "facts": {}}
            message = _sentence(error, self.language)
            done(connection, stage, job, JobState.ABORTED, reason=reason, message=message, completed_at=self.now())
        else:
            log.error("job could not be processed", exc_info=error, extra={"job": job.id})
            self._held(connection, stage, job, "internal")

    def _held(self, connection: sa.Connection, stage: Stage, job: sa.Row[Any], code: str) -> None:
        message = reasons.sentence(Reason(code), self.language)
        done(connection, stage, job, JobState.HELD, reason={"code": code, "facts": {}}, message=message)

    # Checking

    def check(self, batch: BatchId) -> None:
        """Check invoices again after a person corrected or released them."""
        stage = self.stages()[1]
        with self.database.write() as connection:
            rows = held(connection, stage, batch)
            for row in rows:
                values = database.attempt(connection, partial(self._judged, connection, row._asdict(), self.now()))
                if isinstance(values, Exception):
                    log.error("invoice could not be checked", exc_info=values, extra={"invoice": row.id})
                    values = {"state": InvoiceState.WAITING, "reasons": [_reason(Reason("internal"))]}
                done(connection, stage, row, **{**BLANK, **values})
            messages.refresh(connection, {row.job for row in rows}, self.language)
            told = journal.lines(connection, {row.job for row in rows})
        journal.tell(told)

    def _judged(self, connection: sa.Connection, row: Mapping[str, Any], now: datetime) -> dict[str, Any]:
        """The columns that say what became of a reading: a reprint, ready, or waiting and why."""
        if first := _twin(connection, row):
            return {"state": InvoiceState.REPRINT, "reprint_of": first.id, "reasons": [], "updated_at": now} | _copied(
                first
            )
        fields = check.overlay(_fields(row["reading"]["fields"]), row["corrections"])
        ibans = [_found(one) for one in row["reading"]["ibans"]]
        invoice = check.check(
            fields,
            ibans,
            self.issuers,
            now.date(),
            row["accepted"],
            found_by=row["template"],
            text=row["reading"]["text"],
        )
        if isinstance(invoice, Invoice):
            return self._matched(connection, row, invoice, now)
        return {"state": InvoiceState.WAITING, "reasons": [_reason(one) for one in invoice], "updated_at": now}

    def _matched(
        self, connection: sa.Connection, row: Mapping[str, Any], invoice: Invoice, now: datetime
    ) -> dict[str, Any]:
        """An invoice that agrees with itself must also agree with what we know: its customer, and earlier numbers."""
        issuer = issuing.issuer_of(invoice, self.issuers)
        named = (invoice.customer_code, invoice.buyer.vat_id)
        customer = customers.find(connection, [named]).get(named)
        found = [
            *check.customer(invoice, customer, row["accepted"]),
            *_used(connection, row, issuer, invoice),
            *_rejected(connection, row),
        ]
        state = InvoiceState.WAITING if found else InvoiceState.READY
        known = {"customer_code": customer.code, "customer_name": customer.name} if customer else {}
        return (
            {"state": state, "reasons": [_reason(one) for one in found], "updated_at": now}
            | issuing.columns(invoice, issuer)
            | known
        )

    # Sealing

    def seal(self, batch: BatchId) -> None:
        """Sign and timestamp, then archive: rows, ledger and deliveries together."""
        stage = self.stages()[2]
        with self.database.read() as connection:
            rows = held(connection, stage, batch)
        for part in _parts(list(zip(rows, self._each(self._sealed, rows), strict=True))):
            self._archive_all(stage, part)

    def _archive_all(self, stage: Stage, part: Sequence[tuple[sa.Row[Any], Any]]) -> None:
        """The sealed invoices, or why they could not be sealed, in one transaction."""
        rows = [row for row, _ in part]
        sealed = [(row, *outcome) for row, outcome in part if not isinstance(outcome, Exception)]
        with self.database.write() as connection:
            archived = database.together(connection, partial(self._archive, connection, stage), sealed)
            for (row, *_), failure in zip(sealed, archived, strict=True):
                if isinstance(failure, DocumentError):  # its check does not hold any more
                    done(connection, stage, row, InvoiceState.CHECKING, updated_at=self.now())
                elif isinstance(failure, Exception) and not isinstance(failure, Apart):
                    self._unsealed(connection, stage, row, failure)
            for row, failure in part:
                if isinstance(failure, Exception):
                    self._unsealed(connection, stage, row, failure)
            messages.refresh(connection, {row.job for row in rows}, self.language)
            told = journal.lines(connection, {row.job for row in rows}, {row.id for row in rows})
        journal.tell(told)

    def _sealed(self, invoice: sa.Row[Any]) -> tuple[Digest, Mapping[str, Any]]:
        reason = f"{invoice.kind} {invoice.number}"
        with self.sealers.call("seal", {"reason": reason}, [self.blobs.path(Digest(invoice.pdf))]) as answer:
            return self.blobs.put(answer.file(answer.values["file"]).read_bytes(), PDF).digest, answer.values

    def _archive(self, connection: sa.Connection, stage: Stage, sealed: Sequence[Sealed]) -> Sequence[None]:
        """The rows of sealed invoices, their entries in the ledger, and their deliveries."""
        now = self.now()
        moves = [(row, InvoiceState.ARCHIVED, _seal(pdf, seal, now)) for row, pdf, seal in sealed]
        if done_all(connection, stage, moves) < len(moves):
            raise Apart
        ids = [row.id for row, *_ in sealed]
        found = {row.id: row for row in connection.execute(_WITH_ORIGINAL, {"ids": ids})}
        rows = [found[own] for own in ids]
        ledger.extend(connection, "invoice", [(row.id, records.invoice(row._asdict())) for row in rows], now)
        self.archived(connection, rows, now)
        return [None] * len(rows)

    def _unsealed(self, connection: sa.Connection, stage: Stage, invoice: sa.Row[Any], error: Exception) -> None:
        """What cannot be sealed now is tried again; a PDF that cannot be sealed at all waits for a person."""
        metrics.failed(stage.name, error)
        if isinstance(error, TransientError | ConfigurationError):
            later(connection, stage, [invoice], self.now(), error.what)
            return
        if not isinstance(error, DocumentError):
            log.error("invoice could not be sealed", exc_info=error, extra={"invoice": invoice.id})
        code = error.code if isinstance(error, DocumentError) and error.code in reasons.REASONS else "internal"
        done(connection, stage, invoice, InvoiceState.WAITING, reasons=[_reason(Reason(code))], updated_at=self.now())

    # The ledger's head

    def checkpoint(self) -> None:
        """Sign and timestamp the ledger's head if it has grown: one token covers all that came before."""
        with self.database.read() as connection:
            latest = ledger.latest(connection)
            if ledger.size(connection) <= (latest.size if latest else 0):
                return
            size, root = ledger.head(connection)
        now = self.now()
        statement = {"size": size, "root": root, "recorded_at": rfc3339(now)}
        with self.sealers.call("checkpoint", statement) as answer:
            signature, token = (base64.b64decode(answer.values[name]) for name in ("signature", "timestamp"))
        with self.database.write() as connection:
            ledger.save_checkpoint(connection, size, Digest(root), now, signature, token)

    def _each(self, work: Callable[[sa.Row[Any]], Any], rows: Sequence[sa.Row[Any]]) -> list[Any]:
        """``work`` on every row, some at a time; an exception is the result of its row alone."""

        def attempt(row: sa.Row[Any]) -> Any:
            try:
                with logs.bound(row=row.id):
                    return work(row)
            except Exception as error:
                return error

        contexts = [copy_context() for _ in rows]  # what the log has bound goes along into the threads
        with ThreadPoolExecutor(self.threads) as threads:
            return list(threads.map(lambda context, row: context.run(attempt, row), contexts, rows))


def _seal(pdf: Digest, seal: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    """The columns that a sealer's answer fills in."""
    at = datetime.fromisoformat(seal["sealed_at"])
    told = {"certificate": seal["certificate"], "timestamp": seal["timestamp"]}
    return {"sealed": pdf, **told, "sealed_at": at, "updated_at": now}


def _parts(whole: Sequence[Any]) -> Iterable[Sequence[Any]]:
    return (whole[start : start + PART] for start in range(0, len(whole), PART))


def _identity(job: sa.Row[Any], piece: Piece) -> str:
    """An invoice of a job is its pages: another reading of the same pages is the same invoice."""
    return str(uuid.uuid5(uuid.UUID(job.id), f"{piece.reading['first']}-{piece.reading['last']}"))


_OF_JOB = sa.select(invoices).where(invoices.c.job == sa.bindparam("job"))
_PLAIN = [column for column in invoices.c if column.name not in ("reading", "corrections", "reasons", "accepted")]
_WITH_ORIGINAL: sa.Select[Any] = (
    sa.select(*_PLAIN, jobs.c.original).join(jobs).where(invoices.c.id.in_(sa.bindparam("ids", expanding=True)))
)
"""Archived invoices without what was only of use to read and check them."""


def _twin(connection: sa.Connection, row: Mapping[str, Any]) -> sa.Row[Any] | None:
    """The earlier invoice with the same content, if there is one in force."""
    return connection.execute(_SAME_CONTENT, {"content": row["content"], "own": row["id"]}).one_or_none()


_OTHER = (invoices.c.id != sa.bindparam("own"), invoices.c.state.in_(IN_FORCE))
_SAME_CONTENT = sa.select(invoices).where(invoices.c.content == sa.bindparam("content"), *_OTHER)
_SAME_CONTENT = _SAME_CONTENT.order_by(invoices.c.created_at).limit(1)
_SAME_NUMBER = sa.select(invoices.c.id).where(
    invoices.c.issuer == sa.bindparam("issuer"), invoices.c.number == sa.bindparam("number"), *_OTHER
)
_SAME_NUMBER = _SAME_NUMBER.limit(1)


def _used(connection: sa.Connection, row: Mapping[str, Any], issuer: Issuer, invoice: Invoice) -> list[Reason]:
    """The number of another invoice with another content is nobody's guess to make."""
    first = connection.scalar(_SAME_NUMBER, {"issuer": issuer.key, "number": invoice.number, "own": row["id"]})
    return [Reason("number-used", {"number": invoice.number, "first": first[:8]})] if first else []


def _rejected(connection: sa.Connection, row: Mapping[str, Any]) -> list[Reason]:
    """Who rejected an invoice did not know of the prints of it that were here already; a later print is meant."""
    own = {"content": row["content"], "own": row["id"], "since": row["created_at"]}
    first = None if "first-rejected" in row["accepted"] else connection.scalar(_REJECTED_SINCE, own)
    return [Reason("first-rejected", {"first": first[:8]})] if first else []


_REJECTED_SINCE = sa.select(invoices.c.id).where(
    invoices.c.content == sa.bindparam("content"),
    invoices.c.id != sa.bindparam("own"),
    invoices.c.state == InvoiceState.REJECTED,
    invoices.c.updated_at >= sa.bindparam("since"),
)
_REJECTED_SINCE = _REJECTED_SINCE.limit(1)


def _copied(first: sa.Row[Any]) -> dict[str, Any]:
    """A reprint shows the facts of the invoice that it repeats."""
    return {name: getattr(first, name) for name in FACTS}


def _fields(stored: Mapping[str, Any]) -> dict[str, Found]:
    return {name: _found(one) for name, one in stored.items()}


def _found(stored: Mapping[str, Any]) -> Found:
    box = stored["box"]
    return Found(stored["value"], Box(*box) if box else None)


def _reason(reason: Reason) -> dict[str, Any]:
    box = reason.box
    place = [box.page, box.left, box.bottom, box.right, box.top] if box else None
    return {"code": reason.code, "facts": dict(reason.facts), "box": place}


def _sentence(error: DocumentError, language: str) -> str:
    return reasons.sentence(Reason(error.code), language) if error.code in reasons.REASONS else error.what
