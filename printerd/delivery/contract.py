"""The contract with the delivery server as values: what we send is exact, what we get is a claim.

Nothing that comes back is believed: unknown keys are refused, every digest is
computed again, and the chain of events must follow the head that we know.
Everything here is pure; :mod:`printerd.delivery.edge` does the calls.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from printerd.errors import ConfigurationError, IntegrityError
from printerd.evidence import canonical
from printerd.model import Blob, Customer, DeliveryId, Digest, Event, InvoiceKind, Issuer, Mode, Money

GENESIS = Digest("0" * 64)
"""The head before the first event."""
PAGE_LIMIT = 500
"""Events in one answer."""
ETSI = "http://uri.etsi.org/19522/Event/"


class ContractError(ConfigurationError):
    """The delivery server and this one do not understand each other (secret, version or limits differ).

    Repeating the call does not help. Compare the settings and the versions of both sides.
    """


# --- What we send --------------------------------------------------------------------------------------------


def delivery_facts(
    *,
    issuer: Issuer,
    customer: Customer,
    number: str,
    kind: InvoiceKind,
    issued_on: date,
    due_on: date | None,
    total: Money,
    document: Blob,
    pages: int,
    file_name: str,
    expires_at: datetime,
    head: tuple[int, Digest],
    mode: Mode,
    rehearsal_to: str,
    copies: Sequence[str] = (),
) -> dict[str, Any]:
    """The body of ``PUT /deliveries/{id}``. The same arguments give the same body: repeating it makes nothing new.

    ``head`` is the ledger's size and RFC 6962 root. In rehearsal the mail goes to ``rehearsal_to`` alone. ``copies``
    are addresses that are told of the mail; without any the key is left out, as before there was one.
    """
    return ({"copies": list(copies)} if copies else {}) | {
        "mode": mode.value,
        "rehearsal_to": rehearsal_to or None if mode is Mode.REHEARSAL else None,
        "language": customer.language,
        "issuer": {
            "name": issuer.party.name,
            "siren": issuer.party.siren,
            "vat_id": issuer.party.vat_id,
            "address": issuer.party.address,
            "email": issuer.party.email,
            "reply_to": issuer.reply_to,
            "phone": issuer.phone,
            "colour": issuer.colour,
        },
        "customer": {"code": customer.code, "name": customer.name},
        "contacts": [
            {"id": contact.id, "name": contact.name, "email": contact.email, "role": contact.role}
            for contact in customer.contacts
        ],
        "invoice": {
            "number": number,
            "kind": kind.value,
            "issued_on": issued_on.isoformat(),
            "due_on": due_on.isoformat() if due_on else None,
            "total": f"{total.amount:.2f}",
            "currency": total.currency,
        },
        "document": {"sha256": document.digest, "size": document.size, "pages": pages, "file_name": file_name},
        "policy": {"level": "L3", "expires_at": _utc(expires_at)},
        "checkpoint": {"size": head[0], "root": head[1]},
    }


def _utc(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


# --- What comes back -----------------------------------------------------------------------------------------

_TIME = r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z"
_UUID = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_DIGEST = r"[0-9a-f]{64}"
_COUNT = r"[0-9]{1,15}"
_LINE = r"[^\x00-\x1f\x7f\ud800-\udfff]{0,2000}"

SHAPES: Mapping[str, str] = {
    "sha256": _DIGEST,
    "act": _UUID,
    "size": _COUNT,
    "bytes_sent": _COUNT,
    "requested_at": f"({_TIME})?",
    "class": r"person\?|automatic|speculative",
    "level": "L[1-5]",
    "first": "yes|no",
    "mode": "rehearsal",
    "text": r"[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]{1,2000}",
}
"""How the values of an event's data look, by key; every other value is one line of at most 2000 characters.

``mode`` marks what happens in a rehearsal.
"""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of event: the keys that its data has, those that it may have, and its name's URI ("" for our own)."""

    required: frozenset[str]
    optional: frozenset[str] = frozenset()
    uri: str = ETSI


def _kind(required: str, optional: str = "", uri: str = ETSI) -> Kind:
    return Kind(frozenset(required.split()), frozenset(f"mode {optional}".split()), uri)


KINDS: Mapping[str, Kind] = {
    "ConsignmentNotification": _kind("message message_id to reply", "queue_id"),
    "ConsignmentNotificationFailure": _kind("message message_id to reply reason"),
    "MailUncertain": _kind("message message_id to reason", uri=""),
    "NotificationAccessTracking": _kind("address agent class"),
    "ConsignmentAcceptance": _kind("act address agent signs level identified_by first", "requested_at"),
    "ContentHandover": _kind("act sha256 size bytes_sent"),
    "ContentHandoverFailure": _kind("act bytes_sent reason"),
    "ConsignmentRejection": _kind("reason address agent"),
    "Question": _kind("text", uri=""),
}
"""The events of the contract (names after ETSI EN 319 522); claims derive from it: any other name is refused."""

_EVENT_SHAPES: Mapping[str, str] = {
    "edge": r"[^\x00-\x1f\x7f\ud800-\udfff]{1,80}",
    "time": _TIME,
    "delivery": _UUID,
    "contact": r"[^\x00-\x1f\x7f\ud800-\udfff]{0,36}",
    "previous": _DIGEST,
    "digest": _DIGEST,
}
_EVENT_KEYS = frozenset({*_EVENT_SHAPES, "seq", "name", "uri", "data"})


def parse_number(raw: object) -> str:
    """The invoice's number in the answer of ``GET /deliveries/{id}``: all that is read of it."""
    invoice = raw.get("invoice") if isinstance(raw, dict) else None
    number = invoice.get("number") if isinstance(invoice, dict) else None
    _text(number, _LINE, "number")
    return str(number)


def event_uri(name: str) -> str:
    """The URI of an event's name; empty for the names that are ours alone."""
    prefix = KINDS[name].uri
    return prefix and prefix + name


def wire(event: Event) -> dict[str, Any]:
    """An event as the contract writes it: ``wire(parse_event(x)) == x``, so its digest can be checked at any time."""
    return {
        "edge": event.edge,
        "seq": event.seq,
        "name": event.name,
        "uri": event_uri(event.name),
        "time": _utc(event.time),
        "delivery": event.delivery,
        "contact": event.contact,
        "data": dict(event.data),
        "previous": event.previous,
        "digest": event.digest,
    }


def parse_event(raw: object) -> Event:
    """One event of the contract.

    Raises:
        ContractError: a key is missing, unknown, or has a value of another shape.
        IntegrityError: the event's digest is not that of its content.
    """
    event = _object(raw, _EVENT_KEYS, "an event")
    for key, shape in _EVENT_SHAPES.items():
        _text(event[key], shape, key)
    if type(event["seq"]) is not int or event["seq"] < 1:
        raise malformed(f"seq is {event['seq']!r}")
    _named(event)
    if canonical.event_digest(event) != event["digest"]:
        raise IntegrityError(
            f"Event {event['seq']} of {event['edge']} does not have the digest that it states.",
            where=f"stated {event['digest']}",
            remedy="Collecting stops; compare the delivery server's database with its backup.",
        )
    return Event(
        edge=event["edge"],
        seq=event["seq"],
        name=event["name"],
        time=_moment(event["time"]),
        delivery=DeliveryId(event["delivery"]),
        contact=event["contact"],
        data=event["data"],
        previous=Digest(event["previous"]),
        digest=Digest(event["digest"]),
    )


def _named(event: Mapping[str, Any]) -> None:
    kind = KINDS.get(event["name"]) if isinstance(event["name"], str) else None
    if kind is None:
        raise malformed(f"the event name {event['name']!r} is unknown")
    if event["uri"] != event_uri(event["name"]):
        raise malformed(f"{event['name']} has the URI {event['uri']!r}")
    given = event["data"].keys() if isinstance(event["data"], dict) else frozenset("?")
    if not kind.required <= given <= kind.required | kind.optional:
        raise malformed(f"the data of {event['name']} has the keys {', '.join(sorted(given))}")
    for key, value in event["data"].items():
        _text(value, SHAPES.get(key, _LINE), f"{event['name']}.{key}")


def parse_events(raw: object, after: int, head: Digest) -> tuple[Event, ...]:
    """The events of one answer, which must follow event ``after`` whose digest is ``head``, without a gap.

    Raises:
        ContractError: the answer is not of the contract.
        IntegrityError: a digest, the order or a link of the chain is wrong; nothing of the answer may be used.
    """
    answer = _object(raw, frozenset({"edge_id", "events"}), "the answer")
    if not isinstance(answer["events"], list) or len(answer["events"]) > PAGE_LIMIT:
        raise malformed(f"events is not a list of at most {PAGE_LIMIT}")
    events = tuple(parse_event(item) for item in answer["events"])
    for event in events:
        if (event.edge, event.seq, event.previous) != (answer["edge_id"], after + 1, head):
            raise _broken_chain(after, head)
        after, head = event.seq, event.digest
    return events


def _object(raw: object, keys: frozenset[str], what: str) -> dict[str, Any]:
    if not isinstance(raw, dict) or raw.keys() != keys:
        found = ", ".join(sorted(map(str, raw))) if isinstance(raw, dict) else type(raw).__name__
        raise malformed(f"{what} has the keys {found}, not {', '.join(sorted(keys))}")
    return raw


def _text(value: object, shape: str, key: str) -> None:
    if not isinstance(value, str) or not re.fullmatch(shape, value):
        raise malformed(f"{key} is {str(value)[:80]!r}")
    if shape == _TIME:
        _moment(value)


def _moment(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise malformed(f"{text!r} is no time") from None


def malformed(what: str) -> ContractError:
    return ContractError(
        f"The delivery server's answer is not of the contract: {what}.",
        remedy="Nothing of it was used. Bring both sides to the same version.",
    )


def _broken_chain(after: int, head: str) -> IntegrityError:
    return IntegrityError(
        f"The delivery server's events do not follow event {after}, whose digest is {head}.",
        remedy="Collecting stops. One side was restored or changed: compare both databases with their backups.",
    )


@dataclass(frozen=True, slots=True)
class Status:
    """Who answers, how many of its messages still wait for the mail server, and how far its chain has come.

    ``mail_trouble`` is what the mail server says while it takes no mail, or not some of it for long; else empty.
    """

    edge_id: str
    mail_backlog: int
    mail_trouble: str
    last_event: int
    version: str


def parse_status(raw: object) -> Status:
    """The answer of ``GET /status``; raises :class:`ContractError` for anything else."""
    keys = frozenset({"edge_id", "mail_backlog", "mail_trouble", "last_event", "version"})
    answer = _object(raw, keys, "the status")
    _text(answer["edge_id"], _EVENT_SHAPES["edge"], "edge_id")
    _text(answer["version"], _LINE, "version")
    _text(answer["mail_trouble"], _LINE, "mail_trouble")
    for key in ("mail_backlog", "last_event"):
        if type(answer[key]) is not int:
            raise malformed(f"{key} is {answer[key]!r}")
    return Status(**answer)
