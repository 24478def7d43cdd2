"""After a restore: what may have been sent in the time that was lost, and what a person decides about it.

A backup knows what waited when it was made, not what became of it. So a
restored instance sends nothing by itself: deliveries and dispatches are held,
letters on the edge are in doubt (:func:`hold`, and the edge's own first start).
:func:`doubts` lists all of it; a person sends or keeps each, or ends the doubt
for all that is to come. Every decision is an entry of the ledger.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from printerd.errors import RequestError
from printerd.evidence import acts, ledger
from printerd.model import DeliveryState, Route
from printerd.storage import archive, instance, messages
from printerd.storage.instance import Restored
from printerd.storage.schema import deliveries, dispatches, events, invoices, receipts
from printerd.storage.schema import ledger as entries

EVERYTHING = "all"
LET_GO, KEPT = "act.resume.send", "act.resume.keep"
RECEIPTS_LEFT_FREE = 10_000
"""Numbers that are left to receipts of the lost time: two receipts must not bear the same one."""


@dataclass(frozen=True, slots=True)
class Doubt:
    """One thing that may be sent for the second time.

    ``kind``: "held" waited in the backup, "again" is a person's order that waited in it, "uncertain" is a letter that
    waited on the edge, "new" was printed since. ``sent_before`` tells that the edge knows of an invoice of this number
    that this instance has forgotten.
    """

    kind: str
    id: str
    invoice: str
    number: str
    customer: str
    to: str
    since: datetime
    contact: str = ""
    sent_before: bool = False


def hold(connection: sa.Connection, facts: Restored, who: str, now: datetime, language: str) -> int:
    """Turn a backup's database into a new epoch: what was about to go out is held. Returns how much was.

    Everything else that was claimed goes on: it makes documents and receipts, and sends nothing.
    """
    held = 0
    there = deliveries.c.id.in_(sa.select(events.c.delivery))  # what the edge told of, it has
    waiting = sa.and_(deliveries.c.state == DeliveryState.DUE, there)
    connection.execute(deliveries.update().where(waiting).values(state=DeliveryState.SENT, batch=None, sent_at=now))
    concerned = connection.scalars(sa.select(deliveries.c.invoice).where(deliveries.c.state == DeliveryState.DUE)).all()
    for table in (deliveries, dispatches):
        due = table.update().where(table.c.state == DeliveryState.DUE)
        held += connection.execute(due.values(state=DeliveryState.HELD, batch=None, next_at=None)).rowcount
    instance.set_restored(connection, facts)
    last = connection.scalar(sa.select(sa.func.max(receipts.c.number))) or 0
    instance.set_first_receipt(connection, last + 1 + RECEIPTS_LEFT_FREE)
    body = {"who": who, "backup": facts.backup, "made_at": facts.made_at, "held": held, "lost": "unknown"}
    ledger.append(connection, "act.restore", instance.identity(connection), body, now)
    _say_so(connection, concerned, language)
    return held


def doubts(connection: sa.Connection) -> tuple[Doubt, ...]:
    """All that is in doubt, oldest first."""
    known = instance.sent_before(connection)
    begun = instance.restored(connection)
    since = begun.restored_at if begun else ""
    found = [*_held(connection, since, known), *_ordered(connection), *_uncertain(connection)]
    return tuple(sorted(found, key=lambda one: (one.since, one.number)))


def _held(connection: sa.Connection, since: str, known: Collection[str]) -> Iterator[Doubt]:
    query = sa.select(deliveries, invoices.c.number, invoices.c.customer_name).join(invoices)
    for row in connection.execute(query.where(deliveries.c.state == DeliveryState.HELD)):
        is_new = bool(since) and row.created_at >= datetime.fromisoformat(since)
        kind = "new" if is_new or row.number in known else "held"
        yield _doubt(kind, row, row.created_at, row.number in known)


def _ordered(connection: sa.Connection) -> Iterator[Doubt]:
    query = sa.select(dispatches, deliveries.c.invoice, deliveries.c.route, deliveries.c.facts, invoices.c.number)
    query = query.add_columns(invoices.c.customer_name).select_from(dispatches.join(deliveries).join(invoices))
    for row in connection.execute(query.where(dispatches.c.state == DeliveryState.HELD)):
        yield _doubt("again", row, row.created_at)


def _uncertain(connection: sa.Connection) -> Iterator[Doubt]:
    """Letters that their edge put in doubt, as far as nothing and nobody has resolved it since."""
    told = sa.select(events.c.delivery, events.c.contact, sa.func.max(events.c.collected_at).label("told_at"))
    doubted = told.where(events.c.name == "MailUncertain").group_by(events.c.delivery, events.c.contact).subquery()
    query = sa.select(doubted, deliveries.c.invoice).join(deliveries, deliveries.c.id == doubted.c.delivery)
    for row in connection.execute(query).all():
        detail = archive.invoice(connection, row.invoice)
        contacts = (one for sent in detail.deliveries if sent.id == row.delivery for one in sent.contacts)
        standing = next((one for one in contacts if one.id == row.contact), None)
        if standing and standing.step == "uncertain" and not _decided(connection, row):
            number, name = detail.line.number, detail.line.customer_name
            yield Doubt("uncertain", row.delivery, row.invoice, number, name, standing.email, row.told_at, row.contact)


def _decided(connection: sa.Connection, doubted: sa.Row[Any]) -> bool:
    """Whether a person has had another letter written since, or has said that the first one arrived."""
    newer = sa.select(dispatches.c.id).where(
        dispatches.c.delivery == doubted.delivery,
        dispatches.c.contact.in_(["", doubted.contact]),
        dispatches.c.created_at > doubted.told_at,
    )
    kept = sa.select(entries.c.index).where(
        entries.c.subject == doubted.invoice, entries.c.kind == KEPT, entries.c.recorded_at > doubted.told_at
    )
    return any(connection.scalar(query.limit(1)) is not None for query in (newer, kept))


def _doubt(kind: str, row: sa.Row[Any], since: datetime, sent_before: bool = False) -> Doubt:
    people = row.facts.get("contacts", ())
    to = ", ".join(one["email"] for one in people) if row.route == Route.MAIL else Route.PAPER.value
    return Doubt(kind, row.id, row.invoice, row.number, row.customer_name, to, since, sent_before=sent_before)


def send(
    connection: sa.Connection, keys: Sequence[str], who: str, reason: str, now: datetime, language: str
) -> tuple[Doubt, ...]:
    """Let what is in doubt go out. Returns it; ``all`` also ends the doubt about what is printed from now on.

    ``all`` does not mean what is known to have been sent before: who wants that sent twice names it.
    """
    chosen = tuple(one for one in _chosen(connection, keys, reason) if not one.sent_before or _named(keys, one))
    for one in chosen:
        if one.kind == "uncertain":
            acts.resend(connection, one.invoice, who, reason, now, one.contact)
        else:
            _move(connection, one, DeliveryState.DUE)
            _tell(connection, LET_GO, one, who, reason, now)
    _settle(connection, keys, chosen, who, reason, now, language)
    return chosen


def keep(
    connection: sa.Connection, keys: Sequence[str], who: str, reason: str, now: datetime, language: str
) -> tuple[Doubt, ...]:
    """Never send what is in doubt, for it left before. Returns it; ``all`` also ends the doubt, as above.

    A letter that is uncertain stays so in the books: only its customer's click would tell.
    """
    chosen = _chosen(connection, keys, reason)
    for one in chosen:
        if one.kind != "uncertain":
            _move(connection, one, DeliveryState.ELSEWHERE)
        _tell(connection, KEPT, one, who, reason, now)
    _settle(connection, keys, chosen, who, reason, now, language)
    return chosen


def remember_sent(connection: sa.Connection, numbers: Collection[str]) -> None:
    """Invoices that the edge was given in the lost time: printed again, they are held as long as nobody decides."""
    known = instance.sent_before(connection)
    if not known.issuperset(numbers):
        instance.set_sent_before(connection, known.union(numbers))


def strangers(connection: sa.Connection) -> Mapping[str, tuple[str, ...]]:
    """Deliveries that the edge told of and that are not known here, each with the addresses its letters went to."""
    query = sa.select(events.c.delivery, events.c.data).outerjoin(deliveries, deliveries.c.id == events.c.delivery)
    told: dict[str, dict[str, None]] = {}
    for delivery, data in connection.execute(query.where(deliveries.c.id.is_(None)).order_by(*archive.CHAINED)):
        told.setdefault(delivery, {}).update({data["to"]: None} if "to" in data else {})
    return {delivery: tuple(addresses) for delivery, addresses in told.items()}


def _chosen(connection: sa.Connection, keys: Sequence[str], reason: str) -> tuple[Doubt, ...]:
    """The doubts that keys (an id, the beginning of one, a number, ``all``) mean."""
    acts.need(reason)
    found = doubts(connection)
    if EVERYTHING in keys:
        return found
    for key in keys:
        if not any(_means(key, one) for one in found):
            raise RequestError(f"Nothing in doubt is called {key!r}.", remedy="See what is: invoice-printer resume")
    return tuple(one for one in found if _named(keys, one))


def _named(keys: Sequence[str], one: Doubt) -> bool:
    return any(_means(key, one) for key in keys)


def _means(key: str, one: Doubt) -> bool:
    long_enough = len(key) >= archive.SHORTEST_PREFIX
    return key == one.number or (long_enough and (one.id.startswith(key) or one.invoice.startswith(key)))


def _move(connection: sa.Connection, one: Doubt, state: DeliveryState) -> None:
    table = dispatches if one.kind == "again" else deliveries
    connection.execute(table.update().where(table.c.id == one.id).values(state=state, attempts=0, next_at=None))


def _tell(connection: sa.Connection, kind: str, one: Doubt, who: str, reason: str, now: datetime) -> None:
    body = {"who": who, "reason": reason, "doubt": one.kind, "delivery": one.id, "contact": one.contact}
    ledger.append(connection, kind, one.invoice, body, now)


def _settle(
    connection: sa.Connection,
    keys: Sequence[str],
    chosen: Sequence[Doubt],
    who: str,
    reason: str,
    now: datetime,
    language: str,
) -> None:
    _say_so(connection, [one.invoice for one in chosen], language)
    begun = instance.restored(connection)
    if EVERYTHING in keys and begun:
        instance.set_restored(connection, None)
        body = {"who": who, "reason": reason, "backup": begun.backup}
        ledger.append(connection, "act.resume", instance.identity(connection), body, now)


def _say_so(connection: sa.Connection, of: Sequence[str], language: str) -> None:
    """Let the print queue say what became of these invoices' jobs."""
    told = connection.scalars(sa.select(invoices.c.job).where(invoices.c.id.in_(of)).distinct())
    messages.refresh(connection, told.all(), language)
