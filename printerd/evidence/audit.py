"""Checking everything that an instance keeps: database, ledger, checkpoints, blobs, seals, and that they agree.

Each check is a generator over rows or files that yields what it finds; nothing
is held in memory but the findings. All of them read one and the same state of
the database, so that the service may go on working. What a crash may leave
behind is a note; what cannot be explained is a problem.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from printerd.errors import ConfigurationError, Failure, IntegrityError
from printerd.evidence import canonical, ledger, merkle, records, signatures, trust, verify
from printerd.evidence.verify import Verdict
from printerd.model import Digest, InvoiceState, ReceiptState, Timestamp
from printerd.storage import database as store
from printerd.storage import schema
from printerd.storage.blobs import Blobs, digest_of
from printerd.storage.database import Database

LISTED = 1000
"""So many problems are named; beyond that they are counted."""
WRITTEN: Mapping[str, Callable[[Any], str]] = {"sealed_at": canonical.instant, "timestamp": json.dumps}
"""Columns whose value can be written in several ways, and the way in which we write it."""
COMPARE = "Keep everything as it is and compare with a backup from before."
SEALED = (InvoiceState.ARCHIVED, InvoiceState.SPECIMEN)
FILED = (ReceiptState.FILED, ReceiptState.PUSHED)


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is not as it was recorded: what, at which row or file, and what to do."""

    what: str
    where: str
    remedy: str = COMPARE


@dataclass(frozen=True, slots=True)
class Note:
    """Something worth knowing that breaks nothing."""

    what: str


Found = Iterator[Problem | Note]


@dataclass(frozen=True, slots=True)
class Findings:
    """What was checked and found. ``counts`` are numbers of things checked; ``more`` problems are not listed."""

    problems: tuple[Problem, ...]
    notes: tuple[str, ...]
    counts: Mapping[str, int]
    more: int = 0

    @property
    def exit_code(self) -> int:
        return verify.BROKEN if self.problems else verify.VALID

    def lines(self) -> Iterator[str]:
        """The findings as people read them, problems first."""
        checked = ", ".join(f"{count} {name}" for name, count in self.counts.items())
        total = len(self.problems) + self.more
        yield f"{total} {'PROBLEM' if total == 1 else 'PROBLEMS'}" if total else "CLEAN: everything agrees"
        for problem in self.problems:
            yield f"- {problem.where}: {problem.what}"
            yield f"  {problem.remedy}"
        if self.more:
            yield f"- and {self.more} more"
        yield f"checked: {checked}"
        yield from (f"note: {note}" for note in self.notes)


def verify_all(database: Database, blobs: Blobs, keys: Path) -> Findings:
    """Check all that ``STATE`` holds. ``keys`` is the folder whose ``*.crt`` files are the anchors of trust."""
    problems: list[Problem] = []
    notes: list[str] = []
    counts: Counter[str] = Counter()
    total = 0
    for found in _everything(database, blobs, keys, counts):
        if isinstance(found, Note):
            notes.append(found.what)
            continue
        total += 1
        if len(problems) < LISTED:
            problems.append(found)
    return Findings(tuple(problems), tuple(dict.fromkeys(notes)), dict(counts), total - len(problems))


def _everything(database: Database, blobs: Blobs, keys: Path, counts: Counter[str]) -> Found:
    try:
        anchors = trust.load(sorted(keys.glob("*.crt")))
        with database.read() as connection, store.damaged_text(connection):
            audit = Audit(connection.execution_options(yield_per=200), blobs, anchors, counts)
            for name, check in audit.checks().items():
                yield from _to_the_end(name, check)
    except ConfigurationError as error:
        yield Problem(error.what, error.where, "Restore the certificate from a backup.")
    except (Failure, sa.exc.SQLAlchemyError) as error:
        yield Problem(f"The database cannot be read: {str(error).splitlines()[0]}", "database")


def _to_the_end(where: str, check: Callable[[], Found]) -> Found:
    """A check that a damaged row or file breaks off is a finding too, and the others go on."""
    try:
        yield from check()
    except Exception as error:  # what drivers and parsers raise on damaged data cannot be listed
        yield Problem(f"It cannot be read to the end: {type(error).__name__}: {str(error)[:200]}", where)


@dataclass(frozen=True, slots=True)
class Audit:
    """One state of the database, and what its rows are held against."""

    connection: sa.Connection
    blobs: Blobs
    anchors: trust.Trust
    counts: Counter[str] = field(default_factory=Counter)

    def checks(self) -> Mapping[str, Callable[[], Found]]:
        """Every check, in the order in which a reader wants to know."""
        return {
            "database": self.database,
            "ledger": self.ledger,
            "checkpoints": self.checkpoints,
            "events": self.events,
            "blobs": self.blob_files,
            "jobs": self.jobs,
            "invoices": self.invoices,
            "receipts": self.receipts,
            "entries": self.entries,
        }

    def database(self) -> Found:
        """The file as its engine sees it."""
        for fault in store.integrity(self.connection):
            yield Problem(f"The database file is damaged: {fault}", "database")

    # The ledger

    def ledger(self) -> Found:
        """Every entry from its columns, every link, every record from its salt and body, every checkpoint's root."""
        over = self.connection.execute(sa.select(schema.checkpoints.c.size, schema.checkpoints.c.root))
        roots: dict[int, str] = {size: root for size, root in over}
        tree, previous, latest, erased = merkle.Tree(), ledger.FIRST, "", 0
        for row in self.connection.execute(_ENTRIES):
            where = f"ledger entry {row.place}"
            yield from _entry(row, tree.size, previous, latest)
            erased += row.body is None and row.salt is None
            if tree.append(_bytes(row.leaf)).hex() != row.node:
                yield Problem("Its node is not that of the entries up to it.", where)
            previous, latest = Digest(row.digest), row.recorded_at
            if tree.size in roots and roots.pop(tree.size) != tree.root().hex():
                yield Problem(f"The first {tree.size} entries are not those of their checkpoint.", where)
        for size in roots:
            yield Problem(f"The ledger has {tree.size} entries, but a checkpoint is over {size}.", f"checkpoint {size}")
        self.counts["ledger entries"] = tree.size
        for place in self.connection.scalars(_STRAY_RECORDS):
            yield Problem("It is the record of no entry.", f"ledger record {place}")
        if erased:
            yield Note(f"{erased} ledger records have been erased; their entries hold without them.")

    def checkpoints(self) -> Found:
        """Every checkpoint's signature and timestamp over its statement."""
        query = sa.select(
            schema.checkpoints.c.size,
            schema.checkpoints.c.root,
            sa.type_coerce(schema.checkpoints.c.recorded_at, sa.String).label("recorded_at"),
            schema.checkpoints.c.signature,
            schema.checkpoints.c.timestamp,
        )
        for row in self.connection.execute(query.order_by(schema.checkpoints.c.size)):
            self.counts["checkpoints"] += 1
            where = f"checkpoint {row.size}"
            yield from _to_the_end(where, partial(self._checkpoint, row, where))

    def _checkpoint(self, row: sa.Row[Any], where: str) -> Found:
        statement = canonical.checkpoint(row.size, Digest(row.root), row.recorded_at)
        try:
            signer = signatures.detached(row.signature, statement)
            token = signatures.response(row.timestamp, statement) if row.timestamp is not None else None
        except IntegrityError as error:
            yield Problem(error.what, where)
            return
        moment = token.timestamp.time if token else datetime.now(UTC)
        if not self.anchors.covers(signer, (), moment):
            yield _stranger(signatures.common_name(signer), where)
        if token is None:
            yield Note(f"Checkpoint {row.size} bears no timestamp.")
            return
        if row.timestamp != signatures.granted(signatures.enclosed_token(row.timestamp)):
            yield Problem("Its timestamp is not written as it was.", where)
        if not self.anchors.covers(token.certificate, token.others, moment):
            yield _authority(token.timestamp, where)

    # The delivery servers' chains

    def events(self) -> Found:
        """Every event that was collected, its link to the one before, and that each chain ends where we left it."""
        heads: dict[str, tuple[int, str]] = {}
        for row in self.connection.execute(_EVENTS):
            self.counts["events"] += 1
            where = f"event {row.seq} of {row.edge}"
            seq, previous = heads.get(row.edge, (0, ledger.FIRST))
            if row.seq != seq + 1:
                yield Problem(f"Event {seq + 1} is missing.", where)
            if row.previous != previous:
                yield Problem("It does not follow the event before it.", where)
            yield from _to_the_end(where, partial(_event, row, where))
            heads[row.edge] = (row.seq, row.digest)
        for row in self.connection.execute(sa.select(schema.edges)):
            if (row.seq, row.head) != heads.pop(row.edge, (0, ledger.FIRST)):
                yield Problem(f"Its last event is not event {row.seq}, as collected.", f"delivery server {row.edge}")
        for edge, (seq, _) in heads.items():
            yield Problem(f"It has events up to {seq}, but none was collected.", f"delivery server {edge}")

    # Blobs

    def blob_files(self) -> Found:
        """Every file's bytes against its name, and whether a row speaks of it."""
        orphans = 0
        for digest in self.blobs.digests():
            self.counts["blobs"] += 1
            with self.blobs.path(digest).open("rb") as file:
                if digest_of(file) != digest:
                    yield Problem("The bytes are not those of the file's name.", f"blob {digest}")
            if not self._spoken_of(digest):
                orphans += 1
                yield Note(f"No row speaks of blob {digest}: work that is going on, or was cut off by a crash.")
        if orphans:
            self.counts["orphan blobs"] = orphans

    def _spoken_of(self, digest: Digest) -> bool:
        return any(self.connection.scalar(query, {"digest": digest}) for query in _REFERENCES)

    def _blobs_of(self, row: sa.Row[Any], names: Mapping[str, str], where: str) -> Found:
        for column, noun in names.items():
            digest = getattr(row, column)
            if digest is not None and not self.blobs.path(digest).is_file():
                remedy = "Restore the blobs folder from the backup."
                yield Problem(f"Its {noun} is missing: blob {digest}.", where, remedy)

    # Rows

    def jobs(self) -> Found:
        """Every job's received bytes are there."""
        query: sa.Select[Any] = sa.select(schema.jobs.c.number, schema.jobs.c.original)
        for row in self.connection.execute(query):
            self.counts["jobs"] += 1
            yield from self._blobs_of(row, {"original": "document"}, f"job {row.number}")

    def invoices(self) -> Found:
        """Every invoice's files; every sealed one's seal, and its row against the ledger."""
        printed = (schema.jobs.c.original, schema.jobs.c.options)
        query = sa.select(schema.invoices, *_written(schema.invoices), *printed).outerjoin(schema.jobs)
        yield from self._each("invoice", schema.invoices, query, self._invoice)

    def _invoice(self, row: sa.Row[Any], where: str) -> Found:
        self.counts["invoices"] += 1
        yield from self._blobs_of(row, {"pdf": "PDF", "sealed": "sealed PDF"}, where)
        if row.state in SEALED or row.sealed is not None:
            self.counts["sealed invoices"] += 1
            yield from self._filed("invoice", row, records.invoice(row._asdict()), where)
            yield from self._sealed(row, row.sealed, where, "invoice")

    def receipts(self) -> Found:
        """Every filed receipt's seal and record, and its row against the ledger."""
        act = sa.and_(
            schema.events.c.edge == schema.receipts.c.edge, schema.events.c.seq == schema.receipts.c.acceptance
        )
        event = schema.events.c.digest.label("event")
        query = sa.select(schema.receipts, *_written(schema.receipts), event).outerjoin(schema.events, act)
        yield from self._each("receipt", schema.receipts, query, self._receipt)

    def _each(
        self, noun: str, table: sa.Table, query: sa.Select[Any], check: Callable[[sa.Row[Any], str], Found]
    ) -> Found:
        """``check`` on every row, read by itself: one that cannot be read is named, and the others are checked."""
        for key in self.connection.execute(sa.select(table.c.id, table.c.number)):
            where = f"{noun} {key.number or key.id} ({key.id})"
            yield from _to_the_end(where, partial(self._one, query.where(table.c.id == key.id), check, where))

    def _one(self, query: sa.Select[Any], check: Callable[[sa.Row[Any], str], Found], where: str) -> Found:
        yield from check(self.connection.execute(query).one(), where)

    def _receipt(self, row: sa.Row[Any], where: str) -> Found:
        yield from self._blobs_of(row, {"pdf": "PDF"}, where)
        if row.state in FILED or row.pdf is not None:
            self.counts["receipts"] += 1
            yield from self._filed_receipt(row, where)

    def _filed_receipt(self, row: sa.Row[Any], where: str) -> Found:
        verdict = self._verdict(row.pdf)
        body = records.receipt(row._asdict(), row.event, verdict.record_digest if verdict else None)
        yield from self._filed("receipt", row, body, where)
        if verdict:
            yield from self._agrees(row, verdict, where, "receipt")

    def entries(self) -> Found:
        """Every invoice and receipt of the ledger still has its row, in a state that fits."""
        tables: tuple[tuple[str, sa.Table, tuple[str, ...]], ...] = (
            ("invoice", schema.invoices, SEALED),
            ("receipt", schema.receipts, FILED),
        )
        for kind, table, states in tables:
            query = sa.select(schema.ledger.c.index.label("place"), schema.ledger.c.subject, table.c.state).outerjoin(
                table, table.c.id == schema.ledger.c.subject
            )
            for row in self.connection.execute(query.where(schema.ledger.c.kind == kind)):
                if row.state not in states:
                    state = f"is {row.state}" if row.state else "is gone"
                    yield Problem(f"The {kind} that it records ({row.subject}) {state}.", f"ledger entry {row.place}")

    def _filed(self, kind: str, row: sa.Row[Any], shown: Mapping[str, Any], where: str) -> Found:
        """A row against its ledger entry's body. A body that was erased leaves only the entry."""
        query = (
            sa.select(schema.ledger.c.index.label("place"), schema.ledger_records.c.body)
            .outerjoin(schema.ledger_records, schema.ledger_records.c.index == schema.ledger.c.index)
            .where(schema.ledger.c.subject == row.id, schema.ledger.c.kind == kind)
        )
        found = self.connection.execute(query).all()
        if len(found) != 1:
            yield Problem(f"It has {len(found)} ledger entries where there must be one.", where)
            return
        try:
            recorded = json.loads(found[0].body) if found[0].body is not None else shown
        except ValueError:
            yield Problem(f"The record of ledger entry {found[0].place} cannot be read.", where)
            return
        for name in sorted({*shown, *recorded}):
            if shown.get(name) != recorded.get(name):
                yield Problem(f"Its {name} is not the one in ledger entry {found[0].place}.", where)
        for name, form in WRITTEN.items():
            value = getattr(row, name)
            if value is not None and getattr(row, f"{name}_written") != form(value):
                yield Problem(f"Its {name} is not written as it was.", where)

    def _sealed(self, row: sa.Row[Any], digest: str | None, where: str, kind: str) -> Found:
        verdict = self._verdict(digest)
        if verdict:
            yield from self._agrees(row, verdict, where, kind)

    def _verdict(self, digest: str | None) -> Verdict | None:
        """What the sealed file itself proves; nothing when there is none, which is a problem of its own."""
        path = self.blobs.path(Digest(digest or ""))
        return verify.verify_path(path, self.anchors) if digest and path.is_file() else None

    def _agrees(self, row: sa.Row[Any], verdict: Verdict, where: str, kind: str) -> Found:
        """A sealed file against its row: it holds, we sealed it, and it bears the timestamp that is shown."""
        for fault in verdict.faults:
            yield Problem(fault, where)
        if verdict.faults:
            return
        if verdict.kind != kind:
            yield Problem(f"The sealed document is no {kind}.", where)
        if verdict.certificate != row.certificate:
            yield Problem("Its certificate is not the one of the seal.", where)
        if not verdict.origin:
            yield _stranger(verdict.signer, where)
        stamp = verdict.timestamp
        if (stamp and signatures.values(stamp)) != row.timestamp:
            yield Problem("Its timestamp is not the one of the seal.", where)
        elif stamp and not verdict.time:
            yield _authority(stamp, where)


_ENTRIES = (
    sa.select(
        schema.ledger.c.index.label("place"),
        sa.type_coerce(schema.ledger.c.recorded_at, sa.String).label("recorded_at"),
        schema.ledger.c.kind,
        schema.ledger.c.subject,
        schema.ledger.c.record,
        schema.ledger.c.leaf,
        schema.ledger.c.previous,
        schema.ledger.c.digest,
        schema.ledger.c.node,
        schema.ledger_records.c.salt,
        schema.ledger_records.c.body,
    )
    .outerjoin(schema.ledger_records, schema.ledger_records.c.index == schema.ledger.c.index)
    .order_by(schema.ledger.c.index)
)
"""Times as they are written, not as they are read: another spelling of the same moment is a change too."""

_EVENTS: sa.Select[Any] = sa.select(
    *(column for column in schema.events.c if column.name not in ("data", "collected_at")),
    sa.type_coerce(schema.events.c.data, sa.String).label("data"),
).order_by(schema.events.c.edge, schema.events.c.seq)

_STRAY_RECORDS = sa.select(schema.ledger_records.c.index).where(
    schema.ledger_records.c.index.not_in(sa.select(schema.ledger.c.index))
)

_REFERENCES = tuple(
    sa.select(sa.literal(1)).where(column == sa.bindparam("digest")).limit(1)
    for column in (
        schema.jobs.c.original,
        schema.invoices.c.pdf,
        schema.invoices.c.sealed,
        schema.receipts.c.pdf,
    )
)


def _written(table: sa.Table) -> list[sa.Label[str]]:
    """The columns of :data:`WRITTEN` as their text stands in the table."""
    return [sa.type_coerce(table.c[name], sa.String).label(f"{name}_written") for name in WRITTEN]


def _entry(row: sa.Row[Any], index: int, previous: Digest, latest: str) -> Found:
    """One entry against its place, the entry before it, its own columns and its record."""
    where = f"ledger entry {row.place}"
    if row.place != index:
        yield Problem(f"Entry {index} is missing.", where)
    if row.previous != previous:
        yield Problem("It does not follow the entry before it.", where)
    if row.recorded_at < latest:
        yield Problem("It is older than the entry before it.", where)
    try:
        recorded_at = datetime.fromisoformat(row.recorded_at)
        proper = ledger.link(row.place, recorded_at, row.kind, row.subject, row.record, Digest(row.previous))
        if row.recorded_at != canonical.instant(recorded_at):
            yield Problem("Its time is not written as it was.", where)
    except (ValueError, OverflowError) as error:
        yield Problem(f"Its columns cannot be read ({error}).", where)
        return
    if row.leaf != proper.leaf:
        yield Problem("Its leaf is not that of its columns.", where)
    if row.digest != proper.digest:
        yield Problem("Its digest is not that of its leaf and the entry before it.", where)
    if not _record_holds(row):
        yield Problem("Its record is not the one whose digest it bears.", where)


def _event(row: sa.Row[Any], where: str) -> Found:
    """One event from its columns, which are those of the contract. When we collected it is nobody's claim."""
    data = json.loads(row.data)
    if canonical.event_digest(row._asdict() | {"data": data}) != row.digest:
        yield Problem("Its digest is not that of its columns.", where)
    elif row.data != json.dumps(data):
        yield Problem("Its data is not written as it was.", where)


def _bytes(leaf: str) -> bytes:
    """A leaf's hash; what is none any more makes a root that no checkpoint has."""
    try:
        return bytes.fromhex(leaf)
    except ValueError:
        return b""


def _record_holds(row: sa.Row[Any]) -> bool:
    """An erased record is gone as a whole; what is there must give the digest."""
    if row.salt is None and row.body is None:
        return True
    try:
        salt = bytes.fromhex(row.salt)
    except (ValueError, TypeError):
        return False
    return bool(salt.hex() == row.salt and ledger.record_digest(salt, row.body.encode()) == row.record)


def _stranger(signer: str, where: str) -> Problem:
    return Problem(
        f"It was sealed by {signer}, whose certificate is not among the keys.",
        where,
        "If it is an earlier certificate of yours, put it back into the keys folder as NAME.crt.",
    )


def _authority(timestamp: Timestamp, where: str) -> Problem | Note:
    """Our own authority must be ours. Of another one we may lack the root: then its time is not established."""
    if timestamp.local:
        return Problem("Its timestamp is by a local authority that is not ours.", where)
    return Note(
        f"The time by {timestamp.authority} is not established: "
        "put the root certificate of that authority into the keys folder as NAME.crt."
    )
