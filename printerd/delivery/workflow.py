"""From an archived invoice to the filed receipt: deliver, remind, collect, acknowledge, hand back.

One rule: we open every connection. A delivery is a row before it is a call, an
event of the edge is a claim until its chain, its delivery and the clock agree;
every call may be repeated, for the edge makes nothing new of a repetition.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

import sqlalchemy as sa

from printerd import choices, logs, metrics
from printerd.delivery import collect, contract, journal, paper, routes
from printerd.delivery.collect import Due, Ordered
from printerd.delivery.edge import EdgeClient
from printerd.errors import ConfigurationError, DocumentError, Failure, IntegrityError, RequestError, TransientError
from printerd.evidence import ledger, receipt, records
from printerd.model import (
    BatchId,
    Blob,
    Customer,
    DeliveryId,
    DeliveryState,
    Digest,
    Event,
    InvoiceKind,
    Issuer,
    Mode,
    Money,
    ReceiptState,
    Route,
)
from printerd.storage import archive, customers, instance, messages, schema
from printerd.storage.blobs import Blobs
from printerd.storage.claims import Stage, done, done_all, held, later
from printerd.storage.database import Database
from printerd.storage.schema import deliveries, dispatches, edges, events, invoices, receipts, rfc3339

PDF = "application/pdf"
TOGETHER = 1.0
"""Seconds of calls whose rows move on in one transaction: what a crash repeats at the most."""
PATIENCE = 15.0
"""Seconds by which mails wait at the most for prints that are being archived: these free the print queue."""

T = TypeVar("T")

log = logging.getLogger(__name__)


class Sealers(Protocol):
    """The part of a pool of sealers that this room needs; its answer is left like a context."""

    def call(self, task: str, values: Mapping[str, Any], files: Sequence[Any] = ()) -> Any: ...


@dataclass(frozen=True, slots=True)
class Delivering:
    """What the stages work with. ``expiry`` is how long a link works; ``zone`` is the receipts' time zone."""

    database: Database
    blobs: Blobs
    edge: EdgeClient
    sealers: Sealers
    issuers: Sequence[Issuer]
    language: str
    out_tray: Path
    rehearsal_to: str
    zone: str
    expiry: timedelta = timedelta(days=90)
    now: Callable[[], datetime] = field(default=lambda: datetime.now(UTC))

    def stages(self) -> tuple[Stage, ...]:
        """The work of this room, in the order in which an invoice comes through it."""
        return (
            Stage("deliver", deliveries, DeliveryState.DUE, 50, self.deliver, patience=PATIENCE),
            Stage("remind", dispatches, DeliveryState.DUE, 50, self.remind),
            Stage("acknowledge", receipts, ReceiptState.DUE, 50, self.acknowledge),
            Stage("hand back", receipts, ReceiptState.FILED, 50, self.hand_back),
        )

    # Going out

    def archived(self, connection: sa.Connection, fresh: Sequence[sa.Row[Any]], now: datetime) -> None:
        """The deliveries of freshly archived invoices, in the transaction that archives them: facts are fixed here.

        Raises :class:`DocumentError` when what the check found does not hold any more.
        """
        known = customers.find(connection, {(invoice.customer_code, "") for invoice in fresh})
        doubt, mode, head = _doubt(connection), instance.mode(connection), _witness(connection)
        rows = [
            row | {"state": DeliveryState.HELD if doubt(invoice.number) else DeliveryState.DUE}
            for invoice in fresh
            for row in self._deliveries_of(invoice, known.get((invoice.customer_code, "")), mode, head, now)
        ]
        connection.execute(_DELIVER, rows)

    def _deliveries_of(
        self, invoice: sa.Row[Any], customer: Customer | None, mode: Mode, head: tuple[int, Digest], now: datetime
    ) -> list[dict[str, Any]]:
        """One for each way that the invoice goes."""
        if customer is None:
            raise DocumentError(
                f"Customer {invoice.customer_code} left the list while invoice {invoice.number} was being sealed.",
                code="unknown-customer",
                remedy="Import the customer again: invoice-printer customers import FILE.csv",
            )
        choice = choices.chosen(invoice.options)
        decision = routes.decide(customer, choice.way)
        chosen = decision if isinstance(decision, routes.Decision) else routes.Decision(Route.PAPER, "no address")
        expires_at = now + self.expiry
        facts = contract.delivery_facts(
            issuer=next(issuer for issuer in self.issuers if issuer.key == invoice.issuer),
            customer=customer,
            number=invoice.number,
            kind=InvoiceKind(invoice.kind),
            issued_on=date.fromisoformat(invoice.issued_on),
            due_on=date.fromisoformat(invoice.due_on) if invoice.due_on else None,
            total=Money(Decimal(invoice.total), invoice.currency),
            document=Blob(Digest(invoice.sealed), self.blobs.path(Digest(invoice.sealed)).stat().st_size, PDF),
            pages=invoice.last_page - invoice.first_page + 1,
            file_name=paper.plain(invoice.number) + ".pdf",
            expires_at=expires_at,
            head=head,
            mode=mode,
            rehearsal_to=self.rehearsal_to,
            copies=choice.copy_to,
        )
        row = {"invoice": invoice.id, "why": chosen.why, "expires_at": expires_at, "created_at": now, "mode": mode}
        return [row | {"id": str(uuid.uuid4()), "route": route, "facts": facts} for route in chosen.routes]

    def deliver(self, batch: BatchId) -> None:
        """Give each delivery to the edge, or lay it into the out-tray."""
        ways: Mapping[str, Callable[[sa.Row[Any]], dict[str, Any]]] = {Route.MAIL: self._mail, Route.PAPER: self._paper}
        self._one_by_one(0, batch, lambda row: ways[row.route](row))

    def _mail(self, delivery: sa.Row[Any]) -> dict[str, Any]:
        self._order(delivery, letters=True)
        return {"state": DeliveryState.SENT, "paper": None, "sent_at": self.now()}

    def _order(self, delivery: sa.Row[Any], *, letters: bool) -> None:
        """Give the edge the document and the delivery. What it has already stays as it is."""
        facts = delivery.facts
        if delivery.mode == Mode.REHEARSAL and not facts["rehearsal_to"]:
            facts = self._addressed(delivery)
        digest, size = Digest(facts["document"]["sha256"]), facts["document"]["size"]
        with self.blobs.open(digest) as file:
            self.edge.put_document(digest, file, size)
        self.edge.put_delivery(DeliveryId(delivery.id), facts, letters=letters)

    def _addressed(self, delivery: sa.Row[Any]) -> dict[str, Any]:
        """A rehearsal whose address was not set when the invoice was archived gets the one that is set now."""
        if not self.rehearsal_to:
            raise ConfigurationError(
                "The instance is in rehearsal and rehearsal.to is not set: its mail goes nowhere.",
                remedy="Set rehearsal.to, or end the rehearsal: invoice-printer go-live",
            )
        facts = {**delivery.facts, "rehearsal_to": self.rehearsal_to}
        with self.database.write() as connection:
            connection.execute(deliveries.update().where(deliveries.c.id == delivery.id).values(facts=facts))
        return facts

    def _paper(self, delivery: sa.Row[Any]) -> dict[str, Any]:
        """A rehearsal prints nothing that could be posted."""
        if delivery.mode == Mode.REHEARSAL:
            return {"state": DeliveryState.SENT, "paper": "", "sent_at": self.now()}
        number, identity = delivery.facts["invoice"]["number"], DeliveryId(delivery.id)
        with self.blobs.open(Digest(delivery.facts["document"]["sha256"])) as pdf:
            path = paper.put(self.out_tray, pdf, day=delivery.created_at.date(), number=number, delivery=identity)
        return {"state": DeliveryState.SENT, "paper": path.name, "sent_at": self.now()}

    def remind(self, batch: BatchId) -> None:
        """One more message, with a link of its own, for each dispatch that a person ordered.

        The edge may be another one by now, or have deleted the document: it is given all that the link needs. What it
        refuses for good ends the dispatch, and the invoice's time line says so.
        """

        def call(row: sa.Row[Any]) -> dict[str, Any]:
            try:
                self._order(self._delivery(row.delivery), letters=False)
                self.edge.remind(DeliveryId(row.delivery), row.id, row.contact, row.reason)
            except RequestError as error:
                log.error("a resend is refused", extra={"row": row.id, "why": error.what})
                return {"state": DeliveryState.REVOKED, "trouble": error.what}
            return {"state": DeliveryState.SENT, "trouble": ""}

        self._one_by_one(1, batch, call)

    def _delivery(self, identity: str) -> sa.Row[Any]:
        with self.database.read() as connection:
            return connection.execute(sa.select(deliveries).where(deliveries.c.id == identity)).one()

    # Coming back

    def collect(self, wait: int) -> int:
        """Pull the events that are new, waiting up to ``wait`` seconds; events, cursor and receipts in one transaction.

        Returns how many came. An :class:`IntegrityError` is written beside the cursor and raised: collecting stops.
        """
        name = self.edge.status().edge_id
        with self.database.read() as connection:
            after, head = _cursor(connection, name)
        try:
            found = self.edge.events(after, head, wait)
        except IntegrityError as error:
            with self.database.write() as connection:
                self._move(connection, name, after, head, "\n".join(error.lines()))
            raise
        with self.database.write() as connection:
            if _cursor(connection, name) != (after, head):
                return 0  # another worker has kept this page meanwhile
            looked = _looked(connection, name, after)
            if found:
                self._keep(connection, found)
                self._move(connection, name, found[-1].seq, found[-1].digest, "")
            # A full page may end between an act and its handover: by then nothing is known to be missing.
            until = self.now() if len(found) < contract.PAGE_LIMIT else found[-1].time
            self._make_due(connection, found, self._patient(connection, name, looked, until), until)
            if came_until := instance.take_unjudged(connection):
                self._make_due(connection, (), _without_receipt(connection), datetime.fromisoformat(came_until))
        with self.database.read() as connection:
            journal.tell(connection, found)
        return len(found)

    def _keep(self, connection: sa.Connection, found: Sequence[Event]) -> None:
        now = self.now()
        connection.execute(events.insert(), [contract.wire(event) | {"collected_at": now} for event in found])
        archive.follow(connection, {event.delivery for event in found})

    def _move(self, connection: sa.Connection, edge: str, seq: int, head: Digest, alert: str) -> None:
        values = {"seq": seq, "head": head, "alert": alert}
        if connection.execute(edges.update().where(edges.c.edge == edge).values(values)).rowcount == 0:
            connection.execute(edges.insert().values(**values, edge=edge))

    def _patient(self, connection: sa.Connection, edge: str, looked: datetime, until: datetime) -> set[DeliveryId]:
        """Deliveries whose handover is known to be missing: an act without receipt, by now older than the hour.

        Acts that were so old at the last look were judged then: however long the history, this reads the latest.
        """
        query = sa.select(events.c.delivery).outerjoin(
            receipts, sa.and_(receipts.c.delivery == events.c.delivery, receipts.c.contact == events.c.contact)
        )
        begin, end = rfc3339(looked - collect.PATIENCE), rfc3339(until - collect.PATIENCE)
        acts = (events.c.edge == edge, events.c.name == collect.ACT, events.c.time.between(begin, end))
        late = query.where(*acts, receipts.c.id.is_(None))
        return {DeliveryId(one) for one in connection.scalars(late.distinct())}

    def _make_due(
        self, connection: sa.Connection, found: Sequence[Event], patient: set[DeliveryId], until: datetime
    ) -> None:
        """The receipts that new events or the hour make due, and the sentence of the jobs concerned."""
        told = {event.delivery for event in found}
        _is_there(connection, told, self.now())
        ids = list(told | patient)
        rows = connection.execute(
            sa.select(deliveries, invoices.c.job).join(invoices).where(deliveries.c.id.in_(ids))
        ).all()
        if strangers := told - {row.id for row in rows}:
            log.warning("events of deliveries that are not ours: %s", ", ".join(sorted(strangers)))
        known, receipted = _events(connection, ids), _receipted(connection, ids)
        for row in rows:
            order = collect.ordered(DeliveryId(row.id), row.facts, row.created_at)
            _tell_objections([event for event in found if event.delivery == row.id], order, until)
            for due in collect.due_receipts(known[row.id], order, until, receipted[row.id]):
                self._receipt_due(connection, row.id, due)
        messages.refresh(connection, {row.job for row in rows}, self.language)

    def _receipt_due(self, connection: sa.Connection, delivery: str, due: Due) -> None:
        last = connection.scalar(_LAST_RECEIPT) or 0
        number = max(last + 1, instance.first_receipt(connection))
        connection.execute(
            receipts.insert(),
            {
                "id": str(uuid.uuid4()),
                "number": number,
                "delivery": delivery,
                "contact": due.contact,
                "state": ReceiptState.DUE,
                "edge": due.acceptance.edge,
                "acceptance": due.acceptance.seq,
                "handover": due.handover.seq if due.handover else None,
                "created_at": self.now(),
            },
        )

    # Receipts

    def acknowledge(self, batch: BatchId) -> None:
        """Seal the receipts of a batch and file them: archive and ledger in one transaction each."""
        stage = self.stages()[2]
        with self.database.read() as connection:
            rows = held(connection, stage, batch)
        for row in rows:
            failure = self._attempt(stage, row, partial(self._receipt, stage))
            if failure is not None:
                with self.database.write() as connection:
                    later(connection, stage, [row], self.now(), _trouble(failure))

    def _receipt(self, stage: Stage, row: sa.Row[Any]) -> None:
        with self.database.read() as connection:
            facts = self._facts(connection, row)
        with self.sealers.call("receipt", {"facts": facts, "reason": f"receipt {row.number}"}) as answer:
            sealed = answer.values
            pdf = self.blobs.put(answer.file(sealed["file"]).read_bytes(), PDF)
        columns = {name: sealed[name] for name in ("certificate", "timestamp")}
        with self.database.write() as connection:
            sealed_at = datetime.fromisoformat(sealed["sealed_at"])
            if not done(connection, stage, row, ReceiptState.FILED, pdf=pdf.digest, sealed_at=sealed_at, **columns):
                return
            act = connection.scalar(
                sa.select(events.c.digest).where(events.c.edge == row.edge, events.c.seq == row.acceptance)
            )
            filed = connection.execute(sa.select(receipts).where(receipts.c.id == row.id)).one()
            body = records.receipt(filed._asdict(), act, sealed["record"])
            ledger.append(connection, "receipt", row.id, body, self.now())
        log.info("receipt filed", extra={"receipt": row.id, "number": row.number, "delivery": row.delivery})

    def _facts(self, connection: sa.Connection, row: sa.Row[Any]) -> Mapping[str, Any]:
        """The record of a receipt, from the rows that are there."""
        delivery = connection.execute(sa.select(deliveries).where(deliveries.c.id == row.delivery)).one()
        told = _events(connection, [row.delivery])[row.delivery]
        by_seq = {event.seq: event for event in told if event.edge == row.edge}
        size, root = _witness(connection)
        filed = sa.select(schema.ledger.c.index).where(
            schema.ledger.c.subject == delivery.invoice, schema.ledger.c.kind == "invoice"
        )
        before = sa.select(receipts.c.pdf).where(receipts.c.number < row.number, receipts.c.pdf.is_not(None))
        return receipt.facts(
            id=row.id,
            number=row.number,
            delivery=delivery.facts,
            events=told,
            acceptance=by_seq[row.acceptance],
            handover=by_seq[row.handover] if row.handover is not None else None,
            previous=connection.scalar(before.order_by(receipts.c.number.desc()).limit(1)) or "",
            ledger={"size": size, "root": root, "invoice": connection.scalar(filed)},
            made_at=self.now(),
            zone=self.zone,
        )

    def hand_back(self, batch: BatchId) -> None:
        """Give the sealed receipts to the edge, for the customers to download."""

        def call(row: sa.Row[Any]) -> dict[str, Any]:
            try:
                self._put_receipt(row)
            except RequestError:  # another edge has taken the place of the one that told of the act
                delivery = self._delivery(row.delivery)
                if delivery.expires_at > self.now():  # else no link leads there any more
                    self._order(delivery, letters=False)
                    self._put_receipt(row)
            return {"state": ReceiptState.PUSHED}

        self._one_by_one(3, batch, call)

    def _put_receipt(self, row: sa.Row[Any]) -> None:
        path = self.blobs.path(Digest(row.pdf))
        with path.open("rb") as file:
            self.edge.put_receipt(DeliveryId(row.delivery), row.contact, file, path.stat().st_size)

    # One row at a time

    def _one_by_one(self, stage_index: int, batch: BatchId, work: Callable[[sa.Row[Any]], dict[str, Any]]) -> None:
        """``work`` on each row; it gives the state that the row moves on to, and the columns that it takes along.

        In one stage these are always the same columns.
        """
        stage = self.stages()[stage_index]
        with self.database.read() as connection:
            rows = iter(held(connection, stage, batch))
        while outcomes := self._worked(stage, rows, work):
            with self.database.write() as connection:
                for row, outcome in outcomes:
                    if isinstance(outcome, Exception):
                        later(connection, stage, [row], self.now(), _trouble(outcome))
                moves = [(row, end["state"], end) for row, end in outcomes if not isinstance(end, Exception)]
                done_all(connection, stage, moves)
                if stage.table is deliveries:
                    self._tell(connection, {row.invoice for row, _ in outcomes})

    def _worked(
        self, stage: Stage, rows: Iterator[sa.Row[Any]], work: Callable[[sa.Row[Any]], dict[str, Any]]
    ) -> list[tuple[sa.Row[Any], dict[str, Any] | Exception]]:
        """What became of the next rows, as many as are done in :data:`TOGETHER`."""
        outcomes, end = [], time.monotonic() + TOGETHER
        for row in rows:
            outcomes.append((row, self._attempt(stage, row, work)))
            if time.monotonic() >= end:
                break
        return outcomes

    def _tell(self, connection: sa.Connection, changed: Iterable[str]) -> None:
        """Let the print queue say what became of these invoices' jobs."""
        told = connection.scalars(sa.select(invoices.c.job).where(invoices.c.id.in_(list(changed))).distinct())
        messages.refresh(connection, told.all(), self.language)

    def _attempt(self, stage: Stage, row: sa.Row[Any], work: Callable[[sa.Row[Any]], T]) -> T | Exception:
        """What ``work`` gives or raises for a row; the others go on."""
        try:
            with logs.bound(row=row.id):
                return work(row)
        except Exception as error:
            metrics.failed(stage.name, error)
            if not isinstance(error, TransientError):
                log.error("%s failed", stage.name, exc_info=error, extra={"row": row.id})
            return error


def _trouble(error: Exception) -> str:
    """What stands beside a row that is due again later."""
    return error.what if isinstance(error, Failure) else type(error).__name__


_DELIVER = deliveries.insert()


def _doubt(connection: sa.Connection) -> Callable[[str], bool]:
    """Of which numbers an invoice must be held: after a restore nothing leaves by itself that may have left in the time
    that was lost."""
    lost, sent = instance.restored(connection) is not None, instance.sent_before(connection)
    return lambda number: lost or number in sent


def _is_there(connection: sa.Connection, told: Iterable[DeliveryId], now: datetime) -> None:
    """What the edge tells of, it has: after a restore this settles what was held."""
    held_back = sa.and_(deliveries.c.id.in_(list(told)), deliveries.c.state == DeliveryState.HELD)
    connection.execute(deliveries.update().where(held_back).values(state=DeliveryState.SENT, sent_at=now))


def _without_receipt(connection: sa.Connection) -> set[DeliveryId]:
    """Every delivery with an act that no receipt answers."""
    query = sa.select(events.c.delivery).outerjoin(
        receipts, sa.and_(receipts.c.delivery == events.c.delivery, receipts.c.contact == events.c.contact)
    )
    acts = query.where(events.c.name == collect.ACT, receipts.c.id.is_(None))
    return {DeliveryId(one) for one in connection.scalars(acts.distinct())}


def _witness(connection: sa.Connection) -> tuple[int, Digest]:
    """What a mail or a receipt bears witness to: the latest checkpoint or, before the first one, the ledger's head."""
    checkpoint = ledger.latest(connection)
    return (checkpoint.size, checkpoint.root) if checkpoint else ledger.head(connection)


def _cursor(connection: sa.Connection, edge: str) -> tuple[int, Digest]:
    """The last event that was collected from an edge."""
    row = connection.execute(sa.select(edges).where(edges.c.edge == edge)).one_or_none()
    return (row.seq, Digest(row.head)) if row else (0, contract.GENESIS)


def _looked(connection: sa.Connection, edge: str, seq: int) -> datetime:
    """Up to when acts were judged at the latest when event ``seq`` was collected, by the slower of both clocks."""
    query = sa.select(events.c.time, events.c.collected_at).where(events.c.edge == edge, events.c.seq == seq)
    row = connection.execute(query).one_or_none()
    return min(datetime.fromisoformat(row.time), row.collected_at) if row else datetime.max.replace(tzinfo=UTC)


def _tell_objections(found: Iterable[Event], order: Ordered, now: datetime) -> None:
    for event in found:
        if why := collect.objection(event, order, now):
            log.warning("event %d of %s does not count: %s", event.seq, event.edge, why)


def _receipted(connection: sa.Connection, of: Collection[str]) -> Mapping[str, set[str]]:
    """The contacts of each delivery whose receipt was made."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for row in connection.execute(_RECEIPTED, {"ids": list(of)}):
        found[row.delivery].add(row.contact)
    return found


_IDS: sa.BindParameter[Any] = sa.bindparam("ids", expanding=True)
_RECEIPTED = sa.select(receipts.c.delivery, receipts.c.contact).where(receipts.c.delivery.in_(_IDS))
_LAST_RECEIPT = sa.select(sa.func.max(receipts.c.number))


def _events(connection: sa.Connection, of: Collection[str]) -> Mapping[str, list[Event]]:
    """All that was collected of each delivery, in the order of the edge's chains."""
    found: defaultdict[str, list[Event]] = defaultdict(list)
    for row in connection.execute(_TOLD, {"ids": list(of)}):
        found[row.delivery].append(_event(row))
    return found


_TOLD = sa.select(events).where(events.c.delivery.in_(_IDS)).order_by(*archive.CHAINED)


def _event(row: sa.Row[Any]) -> Event:
    return Event(
        edge=row.edge,
        seq=row.seq,
        name=row.name,
        time=datetime.fromisoformat(row.time),
        delivery=DeliveryId(row.delivery),
        contact=row.contact,
        data=row.data,
        previous=Digest(row.previous),
        digest=Digest(row.digest),
    )
