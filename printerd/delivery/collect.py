"""What the delivery server's claims amount to: which are believed, and which make a receipt.

Pure functions over events whose chain :mod:`printerd.delivery.contract` has
checked. An event counts when it fits the delivery that we ordered and the
clock; a receipt is due once for each contact, from the first act on which the
whole document was handed over. Where a contact's mail stands is told by
:func:`printerd.storage.archive.standings`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from printerd.model import DeliveryId, Digest, Event

SKEW = timedelta(minutes=5)
"""How far the clocks of both servers may stand apart."""
PATIENCE = timedelta(hours=1)
"""How long an act waits for its handover; then the receipt says that there was none."""

ACT = "ConsignmentAcceptance"
HANDOVER = "ContentHandover"


@dataclass(frozen=True, slots=True)
class Ordered:
    """What we ordered, as far as claims are held against it. ``specimen`` is a rehearsal: its receipts do not count."""

    id: DeliveryId
    contacts: frozenset[str]
    document: Digest
    size: int
    sent_at: datetime
    specimen: bool


def ordered(delivery: DeliveryId, facts: Mapping[str, Any], sent_at: datetime) -> Ordered:
    """From a ``deliveries`` row: ``facts`` are those of :func:`printerd.delivery.contract.delivery_facts`.

    ``sent_at`` is when the row was made: nothing of it can have happened before.
    """
    return Ordered(
        id=delivery,
        contacts=frozenset(contact["id"] for contact in facts["contacts"]),
        document=Digest(facts["document"]["sha256"]),
        size=facts["document"]["size"],
        sent_at=sent_at,
        specimen=facts["mode"] != "live",
    )


def objection(event: Event, order: Ordered, now: datetime) -> str:
    """Why an event does not count, as one clause for the log and the alert; empty when it does."""
    faults = (
        (event.delivery != order.id, "it belongs to another delivery"),
        (event.contact not in order.contacts, "its contact is none of the delivery's"),
        (event.time < order.sent_at - SKEW, "its time is before the delivery was ordered"),
        (event.time > now + SKEW, "its time has not come yet"),
        (("mode" in event.data) != order.specimen, "live and rehearsal disagree"),
        (event.name == HANDOVER and not _is_whole(event, order), "the bytes handed over are not the document's"),
    )
    return next((words for is_so, words in faults if is_so), "")


def _is_whole(event: Event, order: Ordered) -> bool:
    size = str(order.size)
    return (event.data["sha256"], event.data["size"], event.data["bytes_sent"]) == (order.document, size, size)


@dataclass(frozen=True, slots=True)
class Due:
    """A receipt to be made: the act, and its handover (``None``: there was none within the hour, and it says so)."""

    contact: str
    acceptance: Event
    handover: Event | None
    specimen: bool


def due_receipts(
    events: Sequence[Event], order: Ordered, until: datetime, receipted: Collection[str] = ()
) -> tuple[Due, ...]:
    """The receipts that the events of one delivery make due, at most one for each contact.

    Args:
        events: all events of the delivery that were collected, in their order.
        until: the moment up to which everything was collected: only by then is a handover known to be missing.
        receipted: contacts whose receipt was made before; later presses are events only.
    """
    believed = [event for event in events if not objection(event, order, until)]
    waiting = (contact for contact in sorted(order.contacts) if contact not in receipted)
    found = (_due([event for event in believed if event.contact == contact], order, until) for contact in waiting)
    return tuple(due for due in found if due)


def _due(events: Sequence[Event], order: Ordered, until: datetime) -> Due | None:
    acts = [event for event in events if event.name == ACT]
    complete = next(_handed_over(acts, events), None)
    if complete:
        return Due(complete[0].contact, *complete, order.specimen)
    if acts and acts[0].time + PATIENCE <= until:
        return Due(acts[0].contact, acts[0], None, order.specimen)
    return None


def _handed_over(acts: Iterable[Event], events: Iterable[Event]) -> Iterator[tuple[Event, Event]]:
    """Each handover with the act that it answers: the first of the same ``act``, and earlier in the chain."""
    by_act: dict[str, Event] = {}
    for event in acts:
        by_act.setdefault(event.data["act"], event)
    for event in events:
        act = by_act.get(event.data["act"]) if event.name == HANDOVER else None
        if act and act.seq < event.seq:
            yield act, event
