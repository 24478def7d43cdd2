"""What happened, in an append-only chain: each event holds the digest of the one before.

Names are after ETSI EN 319 522; ``Question`` and ``MailUncertain`` are ours. The
digest of an event is the SHA-256 of its canonical JSON without the key
``digest``, so anybody can recompute the chain from what the contract hands out.

A restored database begins a new chain under a new name, for the old one may have
gone on after the backup: two events must never share a name and a number. What
was told before keeps its bytes, stands at numbers below zero, and is not handed
out again.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

from .database import edge_id, new_edge_id, stamp

Name = Literal[
    "ConsignmentNotification",
    "ConsignmentNotificationFailure",
    "MailUncertain",
    "NotificationAccessTracking",
    "ConsignmentAcceptance",
    "ContentHandover",
    "ContentHandoverFailure",
    "ConsignmentRejection",
    "Question",
]
OURS = frozenset({"MailUncertain", "Question"})
FIRST = "0" * 64
"""``previous`` of the first event, and the head of an empty chain."""
PAGE = 500


class HeadMismatch(Exception):
    """The chain that the caller knows is not ours: both sides stop and alert."""


def canonical(value: Mapping[str, Any]) -> str:
    """The one text of a JSON object: sorted keys, no spaces, UTF-8 characters as they are."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def digest_of(event: Mapping[str, Any]) -> str:
    """SHA-256 of an event's canonical JSON without its ``digest``, as 64 hex digits."""
    body = {key: value for key, value in event.items() if key != "digest"}
    return hashlib.sha256(canonical(body).encode()).hexdigest()


def append(
    connection: sqlite3.Connection,
    name: Name,
    delivery: str,
    contact: str,
    time: datetime,
    data: Mapping[str, str],
) -> dict[str, Any]:
    """Add one event to the chain. Call it inside a write transaction: the single writer keeps the order."""
    last = connection.execute("SELECT seq, digest FROM events WHERE seq > 0 ORDER BY seq DESC LIMIT 1").fetchone()
    event: dict[str, Any] = {
        "edge": edge_id(connection),
        "seq": last["seq"] + 1 if last else 1,
        "name": name,
        "uri": "" if name in OURS else f"http://uri.etsi.org/19522/Event/{name}",
        "time": stamp(time),
        "delivery": delivery,
        "contact": contact,
        "data": dict(data),
        "previous": last["digest"] if last else FIRST,
    }
    body = canonical(event)
    event["digest"] = hashlib.sha256(body.encode()).hexdigest()
    connection.execute(
        "INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?)",
        (event["seq"], name, delivery, contact, event["time"], body, event["digest"]),
    )
    return event


def begin_chain(connection: sqlite3.Connection, server_name: str) -> str:
    """Begin a new chain under a new name, after a backup was restored; gives the name.

    Numbers of earlier events move by more than they span: none meets another on its way.
    """
    guard = connection.execute("SELECT sql FROM sqlite_master WHERE name = 'events_are_not_changed'").fetchone()[0]
    connection.execute("DROP TRIGGER events_are_not_changed")
    connection.execute("UPDATE events SET seq = seq - (SELECT max(seq) - min(min(seq), 0) + 1 FROM events)")
    connection.execute(guard)
    name = new_edge_id(server_name)
    connection.execute("UPDATE meta SET value = ? WHERE key = 'edge_id'", (name,))
    return name


def last(connection: sqlite3.Connection) -> int:
    """The number of the newest event of this chain; 0 when there is none."""
    number: int = connection.execute("SELECT max(0, coalesce(max(seq), 0)) FROM events").fetchone()[0]
    return number


def after(connection: sqlite3.Connection, seq: int, head: str) -> list[dict[str, Any]]:
    """At most 500 events that follow event ``seq``, whose digest the caller believes to be ``head``.

    Raises:
        HeadMismatch: there is no such event, or its digest is another.
    """
    known = connection.execute("SELECT digest FROM events WHERE seq = ?", (seq,)).fetchone()
    if head != (FIRST if seq == 0 else known and known["digest"]):
        raise HeadMismatch(f"event {seq} is not here with digest {head}")
    rows = connection.execute("SELECT body, digest FROM events WHERE seq > ? ORDER BY seq LIMIT ?", (seq, PAGE))
    return [{**json.loads(row["body"]), "digest": row["digest"]} for row in rows]


def first_time(connection: sqlite3.Connection, name: Name, delivery: str, contact: str) -> datetime | None:
    """When something first happened to a contact of a delivery; ``None`` when it has not."""
    row = connection.execute(
        "SELECT time FROM events WHERE delivery = ? AND contact = ? AND name = ? ORDER BY seq LIMIT 1",
        (delivery, contact, name),
    ).fetchone()
    return datetime.fromisoformat(row["time"]) if row else None
