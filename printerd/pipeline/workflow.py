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
from itertools import count, groupby
from pathlib import Path
from typing import Any, BinaryIO

import sqlalchemy as sa

from printerd import choices, logs, metrics, reasons
from printerd.errors import ConfigurationError, DocumentError, TransientError
from printerd.evidence import ledger, records
from printerd.model import BatchId, Digest, InvoiceState, Issuer, JobState, Reason
from printerd.pipeline import distiller, journal, judging, ranges
from printerd.pipeline.pools import Pool, PoolBroken
from printerd.pipeline.readers import Readers
from printerd.storage import database, messages
from printerd.storage.blobs import Blobs
from printerd.storage.claims import UNCLAIMED, Stage, done, done_all, held, later
from printerd.storage.database import Apart, Database
from printerd.storage.schema import invoices, jobs, rfc3339

PDF, POSTSCRIPT = "application/pdf", "application/postscript"
PART = 25
"""Rows of one transaction: others write between two, so that a print never waits for a whole batch."""
READ_ATTEMPTS = 2
"""A document that breaks its reader so often waits for a person."""
ENDED = (InvoiceState.ARCHIVED, InvoiceState.SPECIMEN, InvoiceState.REJECTED)
"""What reading a job again does not touch."""
UNTOUCHED: Mapping[str, Any] = {"corrections": {}, "accepted": []}
"""The columns in which people say something, while nobody has."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Piece:
    """One invoice of a document as its reader found it: columns of its row, and what they say by themselves.

    Its PDF is in the archive already.
    """

    row: Mapping[str, Any]
    checked: judging.Checked


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
        read = [(row, pieces) for row, pieces in part if not isinstance(pieces, Exception)]
        with self.database.write() as connection:
            filed = database.together(connection, partial(self._filed, connection, stage), read)
            outcomes = [*((row, failure) for (row, _), failure in zip(read, filed, strict=True)), *part]
            for row, failure in outcomes:
                if isinstance(failure, Exception) and not isinstance(failure, Apart):
                    self._unread(connection, stage, row, failure)
            messages.refresh(connection, [row.id for row in rows], self.language)
            told = journal.lines(connection, [row.id for row in rows])
        journal.tell(told)

    def _read(self, readers: Pool, job: sa.Row[Any]) -> list[Piece]:
        """The pieces of one document; the reader has nothing but the document."""
        with (
            ExitStack() as opened,
            ranges.read(readers, *self._asked(job, opened), self.reader_seconds) as reading,
            self.blobs.together() as put,
        ):
            whole = Digest(job.original)
            if reading.converted and not all(found.pdf for found in reading.invoices):  # else no row would speak of it
                whole = put(reading.converted.read_bytes())
            pdfs = self._pdfs(put, [found.pdf for found in reading.invoices], whole)
            return list(map(self._piece, count(), reading.invoices, pdfs))

    def _asked(self, job: sa.Row[Any], opened: ExitStack) -> tuple[Mapping[str, Any], Sequence[Path | BinaryIO]]:
        """What a reader gets: the document, and what Ghostscript made of it where that has a unit of its own."""
        source, asked = self.blobs.path(Digest(job.original)), {"media_type": job.media_type}
        if job.source == "ipp" and "page-ranges" in job.options:  # through other doors, filters have chosen already
            asked |= {"pages": job.options["page-ranges"]}
        if template := choices.chosen(job.options).template:
            asked |= {"template": template}
        if job.media_type != POSTSCRIPT or not distiller.usable(self.ghostscript):
            return asked, [source]
        drawn = opened.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 - as long as the call
        with source.open("rb") as postscript:
            ended = distiller.ask(self.ghostscript, postscript, drawn)
        return asked | {"drawn": distiller.values(ended)}, [source, drawn]

    def _pdfs(self, put: Callable[[bytes], Digest], files: Sequence[Path | None], whole: Digest) -> list[Digest]:
        """The PDFs of invoices, archived: several at a time, a lone one here, for a thread costs more than that."""

        def archived(file: Path | None) -> Digest:
            return put(file.read_bytes()) if file else whole

        if len(files) == 1:
            return [archived(files[0])]
        with ThreadPoolExecutor(self.threads) as threads:
            return list(threads.map(archived, files))

    def _piece(self, position: int, found: ranges.Found, pdf: Digest) -> Piece:
        """What makes two prints the same content is their words, for a print client rewrites the bytes."""
        row = {
            "position": position,
            "first_page": found.reading["first"],
            "last_page": found.reading["last"],
            "reading": {name: found.reading[name] for name in ("fields", "ibans", "text")},
            "template": found.reading["template"],
            "pdf": pdf,
            "content": Digest(found.reading["words"] or pdf),
        }
        return Piece(row, judging.checked({**row, **UNTOUCHED}, self.issuers, self.now().date()))

    def _filed(
        self, connection: sa.Connection, stage: Stage, read: Sequence[tuple[sa.Row[Any], Sequence[Piece]]]
    ) -> Sequence[None]:
        """The rows of jobs' invoices. What ended in an earlier reading stays as it is, the rest gives way."""
        now, ids = self.now(), [job.id for job, _ in read]
        moves = [(job, JobState.DONE, {"completed_at": now, "reason": None}) for job, _ in read]
        before = {row.id: row for row in connection.execute(_OF_JOBS, {"jobs": ids})}
        if done_all(connection, stage, moves) < len(moves) or (before and len(read) > 1):
            raise Apart  # a job that is read again finds what the one before it has left
        found = {_identity(job, piece): (job, piece) for job, pieces in read for piece in pieces}
        ended = self._given_way(connection, before, found, now)
        rows = [
            self._row(job, identity, piece, before.get(identity), now)
            for identity, (job, piece) in found.items()
            if identity not in ended
        ]
        judged = judging.judge(connection, rows, self.issuers, now, {job.id: job.options for job, _ in read})
        whole = [{**UNCLAIMED, **row, **columns} for (row, _), columns in zip(rows, judged, strict=True)]
        self._write(connection, whole, before)
        return [None] * len(read)

    def _given_way(
        self, connection: sa.Connection, before: Mapping[str, sa.Row[Any]], found: Collection[str], now: datetime
    ) -> set[str]:
        """The ids of what ended. Of the rest the texts go, and what a new reading no longer finds."""
        ended = {row.id for row in before.values() if row.state in ENDED}
        database.forget_text(connection, before.keys() - ended)
        if gone := before.keys() - ended - set(found):
            self._drop(connection, gone, now)
        return ended

    def _drop(self, connection: sa.Connection, gone: Collection[str], now: datetime) -> None:
        """Take invoices away; what was a reprint of one is checked again."""
        again = {"state": InvoiceState.CHECKING, "reprint_of": None, "updated_at": now, **UNCLAIMED}
        connection.execute(invoices.update().where(invoices.c.reprint_of.in_(gone)).values(again))
        connection.execute(invoices.delete().where(invoices.c.id.in_(gone)))

    def _row(
        self, job: sa.Row[Any], identity: str, piece: Piece, before: sa.Row[Any] | None, now: datetime
    ) -> tuple[dict[str, Any], judging.Checked]:
        """The row of one piece. A second reading keeps what people said of it, and the reprints that point at it."""
        row = {"id": identity, "job": job.id, **piece.row, **UNTOUCHED, "created_at": now}
        if before is None:
            return row, piece.checked
        row |= {name: getattr(before, name) for name in (*UNTOUCHED, "created_at")}
        return row, judging.checked(row, self.issuers, now.date())

    def _write(self, connection: sa.Connection, rows: Sequence[dict[str, Any]], before: Collection[str]) -> None:
        """In their order: one may be a reprint of another, or take the number that it leaves."""
        for again, some in groupby(rows, key=lambda row: row["id"] in before):
            connection.execute(
                _AGAIN if again else _FIRST, [row | {"own": row["id"]} if again else row for row in some]
            )
        database.index_texts(connection, {row["id"]: row["reading"]["text"] for row in rows})

    def _unread(self, connection: sa.Connection, stage: Stage, job: sa.Row[Any], error: Exception) -> None:
        """A document that could not be read: the sender's to mend, ours to try again, or a person's to look at."""
        metrics.failed(stage.name, error)
        if isinstance(error, PoolBroken) and job.attempts + 1 >= READ_ATTEMPTS:
            self._held(connection, stage, job, "reader-died")
        elif isinstance(error, TransientError | ConfigurationError):
            later(connection, stage, [job], self.now(), error.what)
        elif isinstance(error, DocumentError) and error.code in reasons.HELD:
            self._held(connection, stage, job, error.code)
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
            judged = database.together(connection, partial(self._judged, connection, stage), rows)
            for row, failure in zip(rows, judged, strict=True):
                if isinstance(failure, Exception):
                    log.error("invoice could not be checked", exc_info=failure, extra={"invoice": row.id})
                    values = {**judging.BLANK, **judging.waiting(Reason("internal"))}
                    done(connection, stage, row, **values)
            messages.refresh(connection, {row.job for row in rows}, self.language)
            told = journal.lines(connection, {row.job for row in rows})
        journal.tell(told)

    def _judged(self, connection: sa.Connection, stage: Stage, rows: Sequence[sa.Row[Any]]) -> Sequence[None]:
        now = self.now()
        found = [(row._asdict(), judging.checked(row._asdict(), self.issuers, now.date())) for row in rows]
        asked = {job.id: job.options for job in connection.execute(_OPTIONS, {"ids": [row.job for row in rows]})}
        judged = judging.judge(connection, found, self.issuers, now, asked)
        done_all(connection, stage, [(row, what["state"], what) for row, what in zip(rows, judged, strict=True)])
        return [None] * len(rows)

    # Sealing

    def seal(self, batch: BatchId) -> None:
        """Sign and timestamp, then archive: rows, ledger and deliveries together."""
        stage = self.stages()[2]
        with self.database.read() as connection:
            rows = held(connection, stage, batch)
        for part in _parts(list(zip(rows, self._sealed_all(rows), strict=True))):
            self._archive_all(stage, part)

    def _sealed_all(self, rows: Sequence[sa.Row[Any]]) -> Sequence[Any]:
        """Each sealed PDF, in the archive, with what its sealer told; or why there is none."""
        try:
            with self.blobs.together() as put:
                return self._each(partial(self._sealed, put), rows)
        except TransientError as error:
            return [error] * len(rows)

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

    def _sealed(self, put: Callable[[bytes], Digest], invoice: sa.Row[Any]) -> tuple[Digest, Mapping[str, Any]]:
        reason = f"{invoice.kind} {invoice.number}"
        with self.sealers.call("seal", {"reason": reason}, [self.blobs.path(Digest(invoice.pdf))]) as answer:
            return put(answer.file(answer.values["file"]).read_bytes()), answer.values

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
        done(connection, stage, invoice, updated_at=self.now(), **judging.waiting(Reason(code)))

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
    return str(uuid.uuid5(uuid.UUID(job.id), f"{piece.row['first_page']}-{piece.row['last_page']}"))


_OF_JOBS = sa.select(invoices).where(invoices.c.job.in_(sa.bindparam("jobs", expanding=True)))
_OPTIONS = sa.select(jobs.c.id, jobs.c.options).where(jobs.c.id.in_(sa.bindparam("ids", expanding=True)))
_FIRST, _AGAIN = invoices.insert(), invoices.update().where(invoices.c.id == sa.bindparam("own"))
_PLAIN = [column for column in invoices.c if column.name not in ("reading", "corrections", "reasons", "accepted")]
_WITH_ORIGINAL: sa.Select[Any] = (
    sa.select(*_PLAIN, jobs.c.original, jobs.c.options)
    .join(jobs)
    .where(invoices.c.id.in_(sa.bindparam("ids", expanding=True)))
)
"""Archived invoices without what was only of use to read and check them."""


def _sentence(error: DocumentError, language: str) -> str:
    return reasons.sentence(Reason(error.code), language) if error.code in reasons.REASONS else error.what
