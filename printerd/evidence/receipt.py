"""A receipt's record: what a customer did with an invoice, for machines. It is the evidence.

One rule: nothing but facts of our rows is in it, and nothing is computed twice:
the page (:mod:`printerd.evidence.receipt_page`) says the same in words, and the
file (:mod:`printerd.evidence.receipt_file`) holds both. No PDF library is
needed here, so that the worker, which opens no document, loads none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypedDict

from printerd.evidence import canonical
from printerd.model import Event

SCHEMA = "invoice-printer/receipt/1"
ETSI = "http://uri.etsi.org/19522/Event/"
NOTIFICATION = "ConsignmentNotification"


class Mail(TypedDict):
    """How the mail server took the message whose link was used, or the last one before the act."""

    time: str
    to: str
    message_id: str
    reply: str
    queue_id: str


class Act(TypedDict):
    """The deliberate act. ``requested_at`` is empty when the page's request is not known; ``address`` is truncated."""

    name: str
    uri: str
    act: str
    requested_at: str
    time: str
    level: str
    identified_by: str
    address: str
    agent: str
    signs: list[str]


class Handover(TypedDict):
    """The bytes that were handed over; ``time`` is when the last one was given to the socket."""

    name: str
    uri: str
    time: str
    sha256: str
    size: int
    bytes_sent: int


class Claim(TypedDict):
    """An event in the delivery server's chain."""

    seq: int
    time: str
    name: str
    digest: str


class Server(TypedDict):
    """Who recorded the events, and those that this receipt stands on."""

    name: str
    act: Claim
    handover: Claim | None


class Ledger(TypedDict):
    """The issuer's ledger when the receipt was made, and where the invoice stands in it (``None``: not known)."""

    size: int
    root: str
    invoice: int | None


class Facts(TypedDict):
    """The record, as canonical JSON in ``receipt.json``. Times are RFC 3339 in UTC with microseconds.

    ``issuer``, ``customer``, ``contact``, ``others``, ``invoice`` and ``document`` are those of the delivery as it
    was ordered. ``previous`` is the SHA-256 of the PDF of the receipt before this one (empty for the first),
    ``certificate`` the SHA-256 of the certificate that seals (empty when not known beforehand), ``zone`` an IANA
    time zone, ``kept_until`` a date.
    """

    schema: str
    id: str
    number: int
    specimen: bool
    language: str
    zone: str
    issuer: dict[str, str]
    customer: dict[str, str]
    contact: dict[str, str]
    others: list[dict[str, str]]
    invoice: dict[str, str | None]
    document: dict[str, Any]
    mail: Mail | None
    act: Act
    handover: Handover | None
    history: list[Claim]
    server: Server
    previous: str
    ledger: Ledger
    certificate: str
    made_at: str
    kept_until: str


def facts(
    *,
    id: str,
    number: int,
    delivery: Mapping[str, Any],
    events: Sequence[Event],
    acceptance: Event,
    handover: Event | None,
    previous: str,
    ledger: Ledger,
    made_at: datetime,
    zone: str,
    certificate: str = "",
    keep_years: int = 10,
) -> Facts:
    """The record of one receipt.

    Args:
        id: the receipt's UUID; ``number`` counts the receipts of this instance from 1.
        delivery: the facts that were sent to the delivery server (``deliveries.facts``).
        events: the collected events of this delivery, in their order; those of other contacts are left out.
        acceptance: the act; ``handover`` the complete handover that answers it, or ``None`` when there was none.
        made_at: now. Everything else was recorded before; the seal and the timestamp come after.
    """
    mine = [event for event in events if event.contact == acceptance.contact and event.seq < acceptance.seq]
    contacts = {contact["id"]: dict(contact) for contact in delivery["contacts"]}
    return Facts(
        schema=SCHEMA,
        id=id,
        number=number,
        specimen=delivery["mode"] != "live",
        language=delivery["language"],
        zone=zone,
        issuer={key: delivery["issuer"][key] for key in ("name", "siren", "vat_id", "address", "email")},
        customer=dict(delivery["customer"]),
        contact=contacts.pop(acceptance.contact),
        others=list(contacts.values()),
        invoice=dict(delivery["invoice"]),
        document=dict(delivery["document"]),
        mail=_mail(mine),
        act=_act(acceptance),
        handover=_handover(handover) if handover else None,
        history=[_claim(event) for event in mine],
        server=Server(name=acceptance.edge, act=_claim(acceptance), handover=_claim(handover) if handover else None),
        previous=previous,
        ledger=ledger,
        certificate=certificate,
        made_at=canonical.instant(made_at),
        kept_until=_years_later(made_at, keep_years),
    )


def _mail(events: Sequence[Event]) -> Mail | None:
    taken = [event for event in events if event.name == NOTIFICATION]
    if not taken:
        return None
    last = taken[-1]
    return Mail(
        time=canonical.instant(last.time),
        to=last.data["to"],
        message_id=last.data["message_id"],
        reply=last.data["reply"],
        queue_id=last.data.get("queue_id", ""),
    )


def _act(event: Event) -> Act:
    return Act(
        name=event.name,
        uri=ETSI + event.name,
        act=event.data["act"],
        requested_at=event.data.get("requested_at", ""),
        time=canonical.instant(event.time),
        level=event.data["level"],
        identified_by=event.data["identified_by"],
        address=event.data["address"],
        agent=event.data["agent"],
        signs=[sign.strip() for sign in event.data["signs"].split(";") if sign.strip()],
    )


def _handover(event: Event) -> Handover:
    return Handover(
        name=event.name,
        uri=ETSI + event.name,
        time=canonical.instant(event.time),
        sha256=event.data["sha256"],
        size=int(event.data["size"]),
        bytes_sent=int(event.data["bytes_sent"]),
    )


def _claim(event: Event) -> Claim:
    return Claim(seq=event.seq, time=canonical.instant(event.time), name=event.name, digest=event.digest)


def _years_later(moment: datetime, years: int) -> str:
    """The last day of the year in which the time is over: a date that exists in every year."""
    return f"{moment.astimezone(UTC).year + years}-12-31"
