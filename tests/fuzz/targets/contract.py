"""The contract of both programs: what printerd takes from the delivery server, and the other way round.

One rule: JSON is a value of the contract, which says the same when it is written again, or it is refused by the failure
that is meant for that. An input begins with a letter for what it claims to be.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from random import Random
from typing import Any

from pydantic import ValidationError

from printerd.delivery.contract import GENESIS, ContractError, parse_events, parse_number, parse_status, wire
from printerd.errors import IntegrityError
from printerd.evidence import canonical
from receipt_service.contract import Delivery, Reminder, content_digest
from receipt_service.events import digest_of
from receipt_service.render import facts
from tests.delivery.test_contract import DATA, chain
from tests.fuzz.mutation import octets, of_json
from tests.fuzz.target import Target
from tests.receipt_service.harness import delivery


def once(data: bytes) -> None:
    kind, body = data[:1], data[1:]
    try:
        raw = json.loads(body)
    except (ValueError, RecursionError):
        return
    try:
        if kind == b"e":
            events = parse_events(raw, 0, GENESIS)
            assert [wire(event) for event in events] == raw["events"]
            assert all(digest_of(wire(event)) == event.digest for event in events)
        elif kind == b"s":
            parse_status(raw)
        elif kind == b"n":
            parse_number(raw)
    except (ContractError, IntegrityError) as failure:
        assert failure.lines()[0]
    if kind in b"dr":
        _taken_by_the_edge(kind, body)


def _taken_by_the_edge(kind: bytes, body: bytes) -> None:
    try:
        given = (Delivery if kind == b"d" else Reminder).model_validate_json(body)
    except ValidationError:
        return
    digest = content_digest(given)
    assert content_digest(type(given).model_validate_json(given.model_dump_json(exclude_unset=True))) == digest
    if isinstance(given, Delivery):
        for contact in given.contacts:
            assert given.contact(contact.id) is contact
            assert "\n" not in contact.shown + given.address_of(contact)
            facts(given, contact)


def _answer(events: list[dict[str, Any]]) -> dict[str, Any]:
    return {"edge_id": "edge-1", "events": events}


def seeds() -> dict[str, bytes]:
    status = {"edge_id": "edge-1", "mail_backlog": 2, "mail_trouble": "", "last_event": 7, "version": "1.0"}
    reminder = {"dispatch": "6c4f0d0e-3f43-4c68-9c1c-8f3a5b0c7a11", "contact": None, "reason": "unread\nfor a week"}
    told = {
        "events": ("e", _answer(chain(*DATA))),
        "one-event": ("e", _answer(chain("Question"))),
        "no-events": ("e", _answer([])),
        "status": ("s", status),
        "number": ("n", {"invoice": {"number": "FA-2026-0042"}}),
        "delivery": ("d", delivery()),
        "rehearsal": ("d", delivery(mode="rehearsal", rehearsal_to="compta@moulin.example", language="en")),
        "reminder": ("r", reminder),
    }
    return {
        name: kind.encode() + json.dumps(value, ensure_ascii=False).encode() for name, (kind, value) in told.items()
    }


def _chained(value: Any) -> Any:
    """The digests made anew, as whoever lies would: what lies behind them is looked at then."""
    events = value.get("events") if isinstance(value, dict) else None
    previous = GENESIS
    for event in events if isinstance(events, list) else ():
        if isinstance(event, dict) and "digest" in event:
            event["previous"] = previous
            event["digest"] = previous = _digest(event)
    return value


def _digest(event: Mapping[str, Any]) -> str:
    try:
        return canonical.event_digest(event)
    except (ValueError, RecursionError):
        return hashlib.sha256(b"").hexdigest()


_words = (
    "9999-12-31T23:59:59.999999Z", "2026-02-30T00:00:00.000000Z", "a@b.fr", "=?utf-8?q?a?=", "0" * 64, "L3", "fr",
    "1e9", "-0.0", "#FFFFFF", *DATA,
)  # fmt: skip
WORDS = (b"\\ud800", b"\\u0000", b"NaN", b"1e999", b"[" * 1000)
_lying, _plain, _bytewise = of_json(_words, _chained), of_json(_words), octets(WORDS)


def mutate(data: bytes, random: Random) -> bytes:
    if random.random() < 0.1:
        return data[:1] + _bytewise(data[1:], random)
    change = _lying if data[:1] == b"e" and random.random() < 0.8 else _plain
    return data[:1] + change(data[1:], random)


TARGET = Target(once, seeds, mutate, WORDS, longest=16 * 1024)
