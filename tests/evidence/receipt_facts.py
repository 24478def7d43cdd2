"""A press as the delivery server tells it, for tests of the receipt."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from printerd.delivery import contract
from printerd.evidence import canonical, receipt, timestamp
from printerd.model import DeliveryId, Digest, Event

DELIVERY = DeliveryId("7d444840-9dc0-11d1-b245-5ffdce74fad2")
ACT = "0b9e1c1e-6f4f-4bd0-8a52-0d2b6f5a7c11"
DOCUMENT = "3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b8557"
PRESSED = datetime(2026, 11, 24, 9, 5, 0, 123456, tzinfo=UTC)


def event(seq: int, name: str, after: float, **data: str) -> Event:
    """An event ``after`` so many seconds from the press."""
    digest = Digest(f"{seq:02x}" * 32)
    return Event("edge-1", seq, name, PRESSED + timedelta(seconds=after), DELIVERY, "c1", data, digest, digest)


def delivery(**changes: Any) -> dict[str, Any]:
    """The facts of a delivery as they were ordered."""
    return {
        "mode": "live",
        "rehearsal_to": None,
        "language": "fr",
        "issuer": {
            "name": "Au bon moulin SAS",
            "siren": "123456782",
            "vat_id": "FR11123456782",
            "address": "12, chemin du Bief\n28190 Vaucourt-sur-Eure",
            "email": "comptabilite@aubonmoulin.example",
            "reply_to": "compta@aubonmoulin.example",
            "phone": "",
            "colour": "#1f4e79",
        },
        "customer": {"code": "C0042", "name": "Boulangerie Lefèvre & Fils SARL"},
        "contacts": [
            {"id": "c1", "name": "Hélène Lefèvre", "email": "helene@lefevre.example", "role": ""},
            {"id": "c2", "name": "Comptabilité", "email": "compta@lefevre.example", "role": ""},
        ],
        "invoice": {
            "number": "FA-2026-0042",
            "kind": "invoice",
            "issued_on": "2026-11-24",
            "due_on": "2026-12-31",
            "total": "1234.56",
            "currency": "EUR",
        },
        "document": {"sha256": DOCUMENT, "size": 61234, "pages": 2, "file_name": "FA-2026-0042.pdf"},
        "policy": {"level": "L3", "expires_at": "2027-02-22T09:00:00.000000Z"},
        "checkpoint": {"size": 7, "root": "cd" * 32},
    } | changes


def events(signs: str = "", agent: str = "Firefox") -> list[Event]:
    """Mailed, visited, pressed, handed over."""
    about = {"message": "m1", "message_id": "<20261124.4f2c@aubonmoulin.example>", "to": "helene@lefevre.example"}
    return [
        event(11, "ConsignmentNotification", -3600, **about, reply="250 2.0.0 Ok: queued as 4F2C81A0", queue_id="4F2C"),
        event(12, "NotificationAccessTracking", -19, address="192.0.2.0/24", agent=agent, **{"class": "person?"}),
        event(
            13,
            "ConsignmentAcceptance",
            0,
            act=ACT,
            requested_at=canonical.instant(PRESSED - timedelta(seconds=19)),
            address="192.0.2.0/24",
            agent=agent,
            signs=signs,
            level="L3",
            identified_by="link sent to h***@lefevre.example",
            first="yes",
        ),
        event(14, "ContentHandover", 0.4, act=ACT, sha256=DOCUMENT, size="61234", bytes_sent="61234"),
    ]


def chained(told: list[Event]) -> list[Event]:
    """The same events as a chain of their own, numbered from 1."""
    head, chain = contract.GENESIS, []
    for seq, each in enumerate(told, 1):
        linked = replace(each, seq=seq, previous=head)
        head = canonical.event_digest(contract.wire(linked))
        chain.append(replace(linked, digest=head))
    return chain


def facts(told: list[Event] | None = None, *, whole: bool = True, **changes: Any) -> receipt.Facts:
    """The record of the press; ``changes`` go into the delivery's facts."""
    told = told or events()
    acceptance = next(each for each in told if each.name == "ConsignmentAcceptance")
    return receipt.facts(
        id="5b7e2d0e-3c55-4d8e-9a34-1b2f8a8d9c10",
        number=42,
        delivery=delivery(**changes),
        events=told,
        acceptance=acceptance,
        handover=told[-1] if whole else None,
        previous="ef" * 32,
        ledger={"size": 1207, "root": "ab12" * 16, "invoice": 1204},
        certificate="9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        made_at=PRESSED + timedelta(seconds=75),
        zone="Europe/Paris",
    )


def stamped(keys: Path, record: receipt.Facts) -> tuple[bytes, bytes]:
    """The record's bytes, and a timestamp over them by the local authority."""
    data = canonical.encode(record)
    return data, timestamp.connect("local:", keys, "Au bon moulin SAS").stamp(data).response
