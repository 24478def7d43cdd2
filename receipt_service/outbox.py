"""The outbox's rows: each letter's state, and the event that goes with every change of it, in one transaction.

    PENDING → SENDING(phase, attempt) → ACCEPTED(reply, queue id) | FAILED | UNCERTAIN

SENDING is committed before anything is sent, and each phase before it begins. So
after a crash the phase tells what may have happened: in ``data`` the final dot may
have gone, before it cannot.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from random import SystemRandom
from typing import Any, Literal

import structlog

from . import deliveries, events
from .database import now, stamp
from .letters import Office

Phase = Literal["connect", "mail", "rcpt", "data"]

WEARY = 4
"""Attempts after which a letter that waits is trouble: a relay that asks for patience takes it before."""

_log = structlog.get_logger("outbox")
_ADDRESS = re.compile(r"(?<![^\s<>@])[^\s<>@]+@[^\s<>@]+")
_random = SystemRandom()
_QUEUE_IDS = (
    re.compile(r"queued as ([A-Za-z0-9._-]+)", re.I),  # Postfix, OpenSMTPD
    re.compile(r"\bid=([A-Za-z0-9._-]+)", re.I),  # Exim
    re.compile(r"InternalId=(\d+)", re.I),  # Exchange
    re.compile(r"^(?:2\.\d\.\d )?([A-Za-z0-9]+) Message accepted", re.I),  # Sendmail
)


@dataclass(frozen=True, slots=True)
class Patience:
    """Waiting times in seconds."""

    first: float
    most: float
    give_up_after: float

    def pause(self, attempt: int) -> float:
        """How long to wait after this attempt (from 1): doubled each time, a quarter more or less, at most ``most``."""
        doubled = self.first * 2.0 ** min(attempt - 1, 30)
        return min(self.most, doubled * _random.uniform(0.75, 1.25))


@dataclass(frozen=True, slots=True)
class Sending:
    """A row that this process has claimed. ``attempt`` counts from 1."""

    id: str
    delivery: str
    contact: str
    message_id: str
    sender: str
    recipient: str
    attempt: int
    created_at: float
    wire: bytes = field(repr=False)

    @property
    def needs_utf8(self) -> bool:
        """Whether the relay must know SMTPUTF8 (RFC 6531)."""
        return not (
            self.recipient.isascii() and self.sender.isascii() and self.wire.partition(b"\r\n\r\n")[0].isascii()
        )


@dataclass(frozen=True, slots=True)
class Accepted:
    """The relay answered 250 after the dot: from here on it is responsible."""

    reply: str


@dataclass(frozen=True, slots=True)
class Refused:
    """The relay will never take this letter."""

    reply: str
    reason: str


@dataclass(frozen=True, slots=True)
class Deferred:
    """Not this time. ``account`` tells that no other letter would fare better now."""

    reply: str
    account: bool


@dataclass(frozen=True, slots=True)
class Doubtful:
    """The dot went out and no answer came back."""

    reason: str


Outcome = Accepted | Refused | Deferred | Doubtful


def queue_id(reply: str) -> str:
    """The relay's own name for the letter, found in its 250; empty when it gives none."""
    text = reply[4:]
    return next((found[1] for pattern in _QUEUE_IDS if (found := pattern.search(text))), "")


def recover(connection: sqlite3.Connection, at: datetime) -> tuple[int, int]:
    """After a stop of any kind: what may have gone is in doubt, what cannot have waits again. Gives both counts."""
    doubtful = connection.execute("SELECT * FROM outbox WHERE state = 'SENDING' AND phase = 'data'").fetchall()
    for row in doubtful:
        _doubt(connection, row, "the service stopped while the relay's answer was awaited", at)
    waiting = connection.execute(
        "UPDATE outbox SET state = 'PENDING', phase = '', next_at = ? WHERE state = 'SENDING'", (at.timestamp(),)
    )
    return len(doubtful), waiting.rowcount


def doubt_everything(connection: sqlite3.Connection, at: datetime) -> int:
    """After restoring a backup: what waits in it may have gone since. Gives how many letters are in doubt."""
    rows = connection.execute("SELECT * FROM outbox WHERE state IN ('PENDING', 'SENDING')").fetchall()
    for row in rows:
        _doubt(connection, row, "a backup was restored", at)
    return len(rows)


def claim(connection: sqlite3.Connection, office: Office, patience: Patience, at: datetime) -> Sending | float | None:
    """Take the next letter that is due, in phase ``connect``; else the time when one will be, else ``None``."""
    while (row := _first(connection, "ASC")) and _has_ended(connection, row, at):
        _fail(connection, row, "", "expired", at)
    if row is None:
        return None
    if row["next_at"] > at.timestamp():
        soonest, row = float(row["next_at"]), _first(connection, "DESC")
        if row["next_at"] <= at.timestamp() + patience.most:
            return soonest
        # It waits longer than any letter may: the clock was ahead when it was put off, and has been set back since.
    connection.execute(
        "UPDATE outbox SET state = 'SENDING', phase = 'connect', attempt = attempt + 1 WHERE id = ?", (row["id"],)
    )
    return Sending(
        row["id"],
        row["delivery"],
        row["contact"],
        row["message_id"],
        row["sender"],
        row["recipient"],
        row["attempt"] + 1,
        row["created_at"],
        office.decrypt(row["id"], row["wire"]),
    )


def _first(connection: sqlite3.Connection, order: Literal["ASC", "DESC"]) -> Any:
    """The letter that waits for the earliest time, or for the latest."""
    query = f"SELECT * FROM outbox WHERE state = 'PENDING' ORDER BY next_at {order}, id LIMIT 1"  # noqa: S608 - one of two words
    return connection.execute(query).fetchone()


def _has_ended(connection: sqlite3.Connection, row: sqlite3.Row, at: datetime) -> bool:
    """A letter that is due and whose link has ended is not mailed any more."""
    query = "SELECT 1 FROM deliveries WHERE id = ? AND expires_at <= ?"
    ended = connection.execute(query, (row["delivery"], stamp(at))).fetchone()
    return row["next_at"] <= at.timestamp() and ended is not None


def enter(connection: sqlite3.Connection, row: str, phase: Phase) -> None:
    """Commit that a phase begins, before it does."""
    connection.execute("UPDATE outbox SET phase = ? WHERE id = ? AND state = 'SENDING'", (phase, row))


def settle(connection: sqlite3.Connection, row: str, outcome: Outcome, patience: Patience, at: datetime) -> None:
    """Write down how an attempt ended, with its event, in one transaction."""
    found = connection.execute("SELECT * FROM outbox WHERE id = ? AND state = 'SENDING'", (row,)).fetchone()
    match outcome:
        case Accepted(reply):
            _close(connection, found, "ACCEPTED", reply)
            data = {"reply": reply, "queue_id": queue_id(reply)}
            _tell(connection, "ConsignmentNotification", found, data, at)
        case Refused(reply, reason):
            _fail(connection, found, reply, reason, at)
        case Doubtful(reason):
            _doubt(connection, found, reason, at)
        case Deferred(reply, _):
            _wait(connection, found, reply, patience, at)


def _close(connection: sqlite3.Connection, row: sqlite3.Row, state: str, reply: str) -> None:
    connection.execute(
        "UPDATE outbox SET state = ?, phase = '', reply = ?, queue_id = ?, wire = NULL WHERE id = ?",
        (state, reply, queue_id(reply) if state == "ACCEPTED" else "", row["id"]),
    )


def _fail(connection: sqlite3.Connection, row: sqlite3.Row, reply: str, reason: str, at: datetime) -> None:
    _close(connection, row, "FAILED", reply or reason)
    _tell(connection, "ConsignmentNotificationFailure", row, {"reply": reply, "reason": reason}, at)


def _doubt(connection: sqlite3.Connection, row: sqlite3.Row, reason: str, at: datetime) -> None:
    connection.execute("UPDATE outbox SET state = 'UNCERTAIN', phase = '', reply = ? WHERE id = ?", (reason, row["id"]))
    _tell(connection, "MailUncertain", row, {"reason": reason}, at)
    used = "SELECT 1 FROM visits JOIN links USING (token_hash) WHERE links.message = ?"
    if connection.execute(used, (row["id"],)).fetchone():  # a scanner may be faster than a timeout
        link_was_used(connection, row["id"])


def _wait(connection: sqlite3.Connection, row: sqlite3.Row, reply: str, patience: Patience, at: datetime) -> None:
    delivery, revoked = deliveries.find(connection, row["delivery"])
    next_at = at.timestamp() + patience.pause(row["attempt"])
    reasons = (
        (revoked, "revoked"),
        (delivery.policy.expiry.timestamp() < next_at, "expired"),
        (row["created_at"] + patience.give_up_after < next_at, "retries exhausted"),
    )
    reason = next((words for true, words in reasons if true), None)
    if reason:
        _fail(connection, row, reply, reason, at)
        return
    connection.execute(
        "UPDATE outbox SET state = 'PENDING', phase = '', reply = ?, next_at = ? WHERE id = ?",
        (reply, next_at, row["id"]),
    )


def _tell(
    connection: sqlite3.Connection, name: events.Name, row: sqlite3.Row, data: Mapping[str, str], at: datetime
) -> None:
    if row["contact"] == deliveries.COPY:
        return
    delivery, _ = deliveries.find(connection, row["delivery"])
    about = {"message": row["id"], "message_id": row["message_id"], "to": row["recipient"]}
    everything = {**about, **data, **deliveries.mark(delivery.specimen)}
    events.append(connection, name, row["delivery"], row["contact"], at, everything)


def backlog(connection: sqlite3.Connection) -> int:
    """How many letters wait or are on their way."""
    count: int = connection.execute("SELECT count(*) FROM outbox WHERE state IN ('PENDING', 'SENDING')").fetchone()[0]
    return count


def trouble(connection: sqlite3.Connection) -> str:
    """What the relay said last of a letter that was tried :data:`WEARY` times in vain; empty when there is none."""
    row = connection.execute(
        "SELECT reply FROM outbox WHERE state = 'PENDING' AND attempt >= ? ORDER BY next_at DESC LIMIT 1", (WEARY,)
    ).fetchone()
    return nameless(row["reply"]) if row else ""


def nameless(reply: str) -> str:
    """A reply without the addresses in it: who asks how the service is need not know whom it writes to."""
    return _ADDRESS.sub("…", reply)


def link_was_used(connection: sqlite3.Connection, row: str) -> None:
    """A link exists only in its letter: whoever uses it proves that a doubtful letter arrived."""
    connection.execute(
        """UPDATE outbox SET state = 'ACCEPTED', reply = 'arrived: its link was used', wire = NULL
           WHERE id = ? AND state = 'UNCERTAIN'""",
        (row,),
    )


def put_in_order(connection: sqlite3.Connection, server_name: str, restored: bool) -> None:
    """Put the outbox in order before the first letter; after a restore, under a new name."""
    if restored:
        name = events.begin_chain(connection, server_name)
        _log.warning("backup restored", doubtful=doubt_everything(connection, now()), edge=name)
    doubtful, waiting = recover(connection, now())
    if doubtful or waiting:
        _log.warning("letters were on their way", doubtful=doubtful, waiting=waiting)
