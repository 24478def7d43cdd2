"""A delivery begins, is repeated, and ends: each in one transaction with the letters that follow from it."""

from __future__ import annotations

import hashlib
import sqlite3
from datetime import datetime
from pathlib import Path
from uuid import NAMESPACE_URL, uuid5

from . import documents, events, links
from .contract import Contact, Delivery, Refusal, Reminder, content_digest
from .database import stamp
from .letters import Letter, Office, compose, compose_copy

COPY = ""
"""The contact of an outbox row that is a copy, accounting's or the sender's: no customer's, so it makes no event."""


def accept(
    connection: sqlite3.Connection,
    office: Office,
    delivery_id: str,
    delivery: Delivery,
    at: datetime,
    letters: bool = True,
) -> bool:
    """Take a delivery and put its letters in the outbox; ``False`` when it was taken before, and nothing is new.

    Without ``letters`` nobody is written to: an earlier service wrote them, and this one only has to know the delivery.

    Raises:
        Refusal: 409 same id, other content; 424 the document is not here; 422 its size or the expiry is wrong.
    """
    digest = content_digest(delivery)
    known = connection.execute("SELECT digest FROM deliveries WHERE id = ?", (delivery_id,)).fetchone()
    if known:
        if known["digest"] != digest:
            raise Refusal(409, f"delivery {delivery_id} is here with other content")
        return False
    _check(connection, delivery, at)
    connection.execute(
        "INSERT INTO deliveries VALUES (?, ?, ?, ?, ?, ?, NULL)",
        (
            delivery_id,
            digest,
            delivery.model_dump_json(),
            delivery.document.sha256,
            stamp(at),
            stamp(delivery.policy.expiry),
        ),
    )
    if letters:
        _write_to_all(connection, office, delivery_id, delivery, at)
    return True


def _write_to_all(
    connection: sqlite3.Connection, office: Office, delivery_id: str, delivery: Delivery, at: datetime
) -> None:
    for contact in delivery.contacts:
        _write_to(connection, office, delivery_id, delivery_id, delivery, contact, at)
    if delivery.specimen:
        return
    if office.copy_to:
        _put(connection, office, delivery_id, delivery_id, COPY, compose_copy(office, delivery, office.copy_to, at), at)
    for address in delivery.copies:
        dispatch = str(uuid5(NAMESPACE_URL, f"{delivery_id} {address}"))
        _put(connection, office, dispatch, delivery_id, COPY, compose_copy(office, delivery, address, at), at)


def _check(connection: sqlite3.Connection, delivery: Delivery, at: datetime) -> None:
    size = documents.size_of(connection, delivery.document.sha256)
    if size is None:
        raise Refusal(424, f"document {delivery.document.sha256} is not here: upload it first")
    if size != delivery.document.size:
        raise Refusal(422, f"document.size: the document has {size} bytes")
    if delivery.policy.expiry <= at:
        raise Refusal(422, "policy.expires_at: lies in the past")


def _write_to(
    connection: sqlite3.Connection,
    office: Office,
    dispatch: str,
    delivery_id: str,
    delivery: Delivery,
    contact: Contact,
    at: datetime,
) -> None:
    token = links.new_token()
    letter = compose(office, delivery, contact, token, at, again=dispatch != delivery_id)
    message = _put(connection, office, dispatch, delivery_id, contact.id, letter, at)
    connection.execute(
        "INSERT INTO links VALUES (?, ?, ?, ?)", (links.fingerprint(token), message, delivery_id, contact.id)
    )


def _put(
    connection: sqlite3.Connection,
    office: Office,
    dispatch: str,
    delivery_id: str,
    contact_id: str,
    letter: Letter,
    at: datetime,
) -> str:
    """A row in the outbox, unique per dispatch and contact; gives its id."""
    row = str(uuid5(NAMESPACE_URL, letter.message_id))
    connection.execute(
        """INSERT INTO outbox (id, dispatch, delivery, contact, message_id, sender, recipient,
               next_at, created_at, wire, digest, masked) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)""",
        (
            row,
            dispatch,
            delivery_id,
            contact_id,
            letter.message_id,
            letter.sender,
            letter.recipient,
            at.timestamp(),
            at.timestamp(),
            office.encrypt(row, letter.wire),
            hashlib.sha256(letter.wire).hexdigest(),
            letter.masked,
        ),
    )
    return row


def find(connection: sqlite3.Connection, delivery_id: str) -> tuple[Delivery, bool]:
    """A delivery, and whether it is revoked.

    Raises:
        Refusal: 404, it is not known.
    """
    row = connection.execute("SELECT body, revoked_at FROM deliveries WHERE id = ?", (delivery_id,)).fetchone()
    if row is None:
        raise Refusal(404, f"delivery {delivery_id} is not known")
    return Delivery.model_validate_json(row["body"]), row["revoked_at"] is not None


def remind(connection: sqlite3.Connection, office: Office, delivery_id: str, reminder: Reminder, at: datetime) -> bool:
    """Write again, with a link of its own; ``False`` when this dispatch was done before.

    A doubtful letter to the same contact is settled by it: a person decided.

    Raises:
        Refusal: 404 unknown delivery or contact; 409 revoked, expired, or the dispatch is here with other content.
    """
    dispatch, digest = str(reminder.dispatch), content_digest(reminder, delivery_id)
    known = connection.execute("SELECT digest FROM reminders WHERE dispatch = ?", (dispatch,)).fetchone()
    if known:
        if known["digest"] != digest:
            raise Refusal(409, f"dispatch {dispatch} is here with other content")
        return False
    delivery, revoked = find(connection, delivery_id)
    if revoked or delivery.policy.expiry <= at:
        raise Refusal(409, f"delivery {delivery_id} is {'revoked' if revoked else 'expired'}")
    people = delivery.contacts if reminder.contact is None else (delivery.contact(reminder.contact),)
    connection.execute("INSERT INTO reminders VALUES (?, ?, ?, ?)", (dispatch, delivery_id, digest, stamp(at)))
    for contact in people:
        _supersede(connection, delivery_id, contact.id)
        _write_to(connection, office, dispatch, delivery_id, delivery, contact, at)
    return True


def _supersede(connection: sqlite3.Connection, delivery_id: str, contact_id: str) -> None:
    """No event: that the letter failed is not known, only that nobody waits for it any more."""
    connection.execute(
        """UPDATE outbox SET state = 'FAILED', reply = 'superseded', wire = NULL
           WHERE delivery = ? AND contact = ? AND state = 'UNCERTAIN'""",
        (delivery_id, contact_id),
    )


def revoke(
    connection: sqlite3.Connection, folder: Path, delivery_id: str, at: datetime, days_after_handover: float
) -> None:
    """End a delivery: its links are unknown from now on, waiting letters are dropped, and so is a document that
    nobody else needs. Repeating it changes nothing."""
    delivery, revoked = find(connection, delivery_id)
    if not revoked:
        connection.execute("UPDATE deliveries SET revoked_at = ? WHERE id = ?", (stamp(at), delivery_id))
        _drop_waiting(connection, delivery_id, delivery.specimen, "revoked", at)
        documents.release(connection, folder, at, days_after_handover)


def _drop_waiting(connection: sqlite3.Connection, delivery_id: str, specimen: bool, reason: str, at: datetime) -> None:
    """Letters that have not been begun are not sent any more; each is a negative event with its reason."""
    rows = connection.execute(
        """UPDATE outbox SET state = 'FAILED', reply = ?, wire = NULL
           WHERE delivery = ? AND state = 'PENDING' RETURNING id, contact, message_id, recipient""",
        (reason, delivery_id),
    ).fetchall()
    for row in rows:
        if row["contact"] != COPY:
            data = {"message": row["id"], "message_id": row["message_id"], "to": row["recipient"]}
            data |= {"reply": "", "reason": reason} | mark(specimen)
            events.append(connection, "ConsignmentNotificationFailure", delivery_id, row["contact"], at, data)


def mark(specimen: bool) -> dict[str, str]:
    """What an event of a rehearsal carries, so that it never counts."""
    return {"mode": "rehearsal"} if specimen else {}


def keep_receipt(
    connection: sqlite3.Connection,
    folder: Path,
    delivery_id: str,
    contact_id: str,
    sha256: str,
    size: int,
    at: datetime,
) -> bool:
    """Offer a sealed receipt on the contact's page, instead of an older one; ``False`` when this one was there."""
    delivery, _ = find(connection, delivery_id)
    delivery.contact(contact_id)
    documents.record(connection, folder, sha256, size, at)
    known = connection.execute(
        "SELECT sha256 FROM receipts WHERE delivery = ? AND contact = ?", (delivery_id, contact_id)
    ).fetchone()
    connection.execute("INSERT OR REPLACE INTO receipts VALUES (?, ?, ?, ?)", (delivery_id, contact_id, sha256, size))
    return known is None or known["sha256"] != sha256


def sweep(connection: sqlite3.Connection, folder: Path, at: datetime, days_after_handover: float) -> int:
    """The periodic cleaning: documents that nobody needs, and the marks of old visits. Gives how many files went."""
    connection.execute("DELETE FROM visits WHERE hour < ?", (stamp(at)[:13],))
    return documents.release(connection, folder, at, days_after_handover)
