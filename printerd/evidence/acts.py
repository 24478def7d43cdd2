"""The acts of people: each changes rows and is a ledger entry with who and why, in one transaction.

One rule: an act writes what is wanted and never does the work; the worker finds
the row. An act that does not fit the state of things is a
:class:`RequestError`, and nothing changes.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from printerd import reasons
from printerd.errors import RequestError
from printerd.evidence import ledger
from printerd.model import DeliveryState, InvoiceState, JobState, Mode, Route
from printerd.storage import instance
from printerd.storage.claims import UNCLAIMED
from printerd.storage.jobs import AT_WORK, last_number, queued
from printerd.storage.schema import deliveries, dispatches, invoices, jobs

_INVOICE = ("number", "kind", "issued_on", "due_on", "customer_code", "net", "vat", "total", "currency", "iban")
_PARTIES = ("seller_siren", "seller_vat_id", "seller_name", "buyer_name", "buyer_vat_id")
FIELDS = frozenset({*_INVOICE, *_PARTIES})
"""What a person may correct: the reading. The page itself never changes."""
OPEN = (InvoiceState.WAITING, InvoiceState.CHECKING)
AGAIN = (JobState.DONE, JobState.ABORTED, JobState.HELD)


def correct(
    connection: sa.Connection, invoice: str, fields: Mapping[str, str], who: str, reason: str, now: datetime
) -> None:
    """Lay corrections over what was read, and have it checked again. An empty value takes a field away."""
    row = _waiting(connection, invoice)
    if unknown := sorted(set(fields) - FIELDS):
        raise RequestError(f"There is no field {unknown[0]!r}.", remedy=f"Fields: {', '.join(sorted(FIELDS))}")
    body = {"who": who, "reason": reason, "fields": dict(fields)}
    _check_again(connection, row, now, corrections={**row.corrections, **fields})
    ledger.append(connection, "act.correct", invoice, body, now)


def release(connection: sa.Connection, invoice: str, who: str, reason: str, now: datetime) -> None:
    """Have an invoice checked again, answering for those of its reasons that a person may accept."""
    row = _waiting(connection, invoice)
    need(reason)
    accepted = sorted({*row.accepted, *(one["code"] for one in row.reasons if one["code"] in reasons.ACCEPTABLE)})
    _check_again(connection, row, now, accepted=accepted)
    ledger.append(connection, "act.release", invoice, {"who": who, "reason": reason, "accepted": accepted}, now)


def reject(connection: sa.Connection, invoice: str, who: str, reason: str, now: datetime) -> None:
    """End an invoice unsealed and unsent; its bytes are kept, its number is free again.

    The first of its reprints stands for itself from now on: it is checked, and waits saying that this one was rejected.
    """
    row = _waiting(connection, invoice)
    need(reason)
    _reject(connection, row.id, who, reason, now)
    _take_its_place(connection, row.id, now)


def retry_job(connection: sa.Connection, job: str, who: str, reason: str, now: datetime) -> None:
    """Have a job read again. Invoices of it that are archived or rejected stay as they are."""
    row = connection.execute(sa.select(jobs).where(jobs.c.id == job)).one()
    need(reason)
    _not_rehearsed(connection, row.number, f"Job {row.number}")
    if row.state not in AGAIN or row.original is None:
        raise RequestError(
            f"Job {row.number} is {row.state}: it cannot be read again.",
            remedy="Jobs that are done, aborted or held and have a document can.",
        )
    again = {"state": JobState.RECEIVED, "reason": None, **UNCLAIMED}
    connection.execute(jobs.update().where(jobs.c.id == job).values(**again))
    ledger.append(connection, "act.retry", job, {"who": who, "reason": reason}, now)


def resend(connection: sa.Connection, invoice: str, who: str, reason: str, now: datetime, contact: str = "") -> str:
    """Order one more message with a link of its own, to one contact or (empty) to all. Returns the dispatch's id."""
    need(reason)
    delivery = _sent(connection, invoice)
    if delivery.expires_at is not None and delivery.expires_at <= now:
        raise RequestError(
            f"The links of this delivery ended on {delivery.expires_at:%Y-%m-%d}; a new one would not work.",
            remedy="Send the sealed PDF in another way: its page has it for download.",
        )
    known = [one["id"] for one in delivery.facts["contacts"]]
    if contact and contact not in known:
        raise RequestError(f"The delivery has no contact {contact!r}.", remedy=f"Contacts: {', '.join(known)}")
    dispatch = str(uuid.uuid4())
    row = {"id": dispatch, "delivery": delivery.id, "contact": contact, "who": who, "reason": reason}
    connection.execute(dispatches.insert().values(row | {"state": DeliveryState.DUE, "created_at": now}))
    body = {"who": who, "reason": reason, "dispatch": dispatch, "contact": contact}
    ledger.append(connection, "act.resend", delivery.invoice, body, now)
    return dispatch


def go_live(connection: sa.Connection, who: str, now: datetime) -> Sequence[str]:
    """End the rehearsal: what was rehearsed becomes specimens that go on saying so, and its numbers are free again.

    What of it still waits for a person is ended unsealed: released one day, it would go to a customer. Returns the ids
    of the jobs that were rehearsed: the print queue says something else of them now.
    """
    if instance.mode(connection) is Mode.LIVE:
        raise RequestError("The instance is live already.", remedy="Nothing needs to be done.")
    if _on_their_way(connection):
        raise RequestError(
            "Documents of the rehearsal are still on their way: they would go to customers.",
            remedy="Wait until every job is done and no invoice is being checked or sealed.",
        )
    instance.set_mode(connection, Mode.LIVE)
    instance.set_last_rehearsed(connection, last_number(connection))
    waiting = connection.scalars(sa.select(invoices.c.id).where(invoices.c.state == InvoiceState.WAITING)).all()
    for invoice in waiting:
        _reject(connection, invoice, who, "go-live", now)
    rehearsed = sa.select(deliveries.c.invoice).where(deliveries.c.mode == Mode.REHEARSAL)
    specimens = (
        invoices.update().where(invoices.c.id.in_(rehearsed)).values(state=InvoiceState.SPECIMEN, updated_at=now)
    )
    count = connection.execute(specimens).rowcount
    open_ones = deliveries.c.state.in_([DeliveryState.DUE, DeliveryState.HELD])
    unsent = sa.and_(deliveries.c.mode == Mode.REHEARSAL, open_ones)
    connection.execute(deliveries.update().where(unsent).values(state=DeliveryState.REVOKED, batch=None, next_at=None))
    body = {"who": who, "specimens": count, "ended": len(waiting)}
    ledger.append(connection, "act.go-live", instance.identity(connection), body, now)
    return connection.scalars(sa.select(jobs.c.id)).all()


def _on_their_way(connection: sa.Connection) -> bool:
    """What would be archived in a moment, in whichever mode the instance is then."""
    at_work = sa.select(invoices.c.id).where(invoices.c.state.in_(AT_WORK)).limit(1)
    return bool(queued(connection)) or connection.scalar(at_work) is not None


def _reject(connection: sa.Connection, invoice: str, who: str, reason: str, now: datetime) -> None:
    _change(connection, invoice, state=InvoiceState.REJECTED, updated_at=now, batch=None, next_at=None)
    ledger.append(connection, "act.reject", invoice, {"who": who, "reason": reason}, now)


def _take_its_place(connection: sa.Connection, rejected: str, now: datetime) -> None:
    reprints = sa.and_(invoices.c.reprint_of == rejected, invoices.c.state == InvoiceState.REPRINT)
    query = sa.select(invoices).join(jobs).where(reprints).order_by(jobs.c.number, invoices.c.position)
    first = connection.execute(query.limit(1)).one_or_none()
    if first is not None:
        _check_again(connection, first, now, reprint_of=None)
        connection.execute(invoices.update().where(reprints).values(reprint_of=first.id))


def _not_rehearsed(connection: sa.Connection, number: int, what: str) -> None:
    """What was printed to try things out, up to a job's number, reaches no customer, however late it is taken up."""
    if number <= instance.last_rehearsed(connection):
        raise RequestError(
            f"{what} was printed in the rehearsal, which has ended: it would go to a customer.",
            remedy="If it is to be sent, print it again: then it counts.",
        )


def _waiting(connection: sa.Connection, invoice: str) -> sa.Row[Any]:
    number = connection.execute(sa.select(jobs.c.number).join(invoices).where(invoices.c.id == invoice)).scalar_one()
    _not_rehearsed(connection, number, f"Invoice {invoice[:8]}")
    return _in_state(connection, invoice, OPEN, "Only invoices that wait can be corrected, released or rejected.")


def _in_state(connection: sa.Connection, invoice: str, states: Collection[str], remedy: str) -> sa.Row[Any]:
    row = connection.execute(sa.select(invoices).where(invoices.c.id == invoice)).one()
    if row.state not in states:
        raise RequestError(f"Invoice {row.number or row.id[:8]} is {row.state}.", remedy=remedy)
    return row


def _sent(connection: sa.Connection, invoice: str) -> sa.Row[Any]:
    """The mail delivery of an archived invoice."""
    archived = (InvoiceState.ARCHIVED, InvoiceState.SPECIMEN)
    row = _in_state(connection, invoice, archived, "Only archived invoices can be sent again.")
    query = sa.select(deliveries).where(
        deliveries.c.invoice == invoice, deliveries.c.route == Route.MAIL, deliveries.c.state == DeliveryState.SENT
    )
    delivery = connection.execute(query.order_by(deliveries.c.created_at.desc()).limit(1)).one_or_none()
    if delivery is None:
        raise RequestError(
            f"Invoice {row.number} was not sent by mail.", remedy="Its page says which way it went and why."
        )
    return delivery


def _check_again(connection: sa.Connection, row: sa.Row[Any], now: datetime, **values: Any) -> None:
    again = {"state": InvoiceState.CHECKING, "updated_at": now, **UNCLAIMED}
    _change(connection, row.id, **again, **values)


def _change(connection: sa.Connection, invoice: str, **values: Any) -> None:
    connection.execute(invoices.update().where(invoices.c.id == invoice).values(**values))


def need(reason: str) -> None:
    if not reason.strip():
        raise RequestError("A reason is missing.", remedy="Say why in a few words; the ledger keeps it: --reason …")
