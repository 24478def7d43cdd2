"""The outbox across crashes and restores, and the documents across time: plain functions on a database file."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from receipt_service import database, deliveries, documents, events, outbox, render
from receipt_service.contract import Delivery, Reminder
from receipt_service.letters import Office

from .harness import DELIVERY, DIGEST, PDF, delivery

NOW = datetime(2026, 11, 24, 9, 5, tzinfo=UTC)
PATIENCE = outbox.Patience(60, 21600, 259200)


@pytest.fixture
def office() -> Office:
    return Office(render.environment(), "Compta <compta@moulin.example>", "https://f.example", "", bytes(32))


@pytest.fixture
def connection(tmp_path: Path, office: Office) -> Iterator[sqlite3.Connection]:
    """A database with one delivery to two contacts, whose document is stored."""
    opened = database.connect(tmp_path / "receipts.db")
    database.make_tables(opened, "edge-1")
    store(opened, tmp_path, DIGEST)
    people = [{"id": f"k{n}", "name": "", "email": f"p{n}@client.fr", "role": ""} for n in (1, 2)]
    body = Delivery.model_validate(delivery(contacts=people))
    assert deliveries.accept(opened, office, DELIVERY, body, NOW)
    yield opened
    opened.close()


def store(connection: sqlite3.Connection, folder: Path, digest: str) -> Path:
    file = documents.path_of(folder, digest)
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(PDF)
    documents.record(connection, folder, digest, len(PDF), NOW)
    return file


def states(connection: sqlite3.Connection) -> list[str]:
    return [row["state"] for row in connection.execute("SELECT state FROM outbox ORDER BY contact")]


@pytest.mark.parametrize(
    ("phase", "state"),
    [("connect", "PENDING"), ("mail", "PENDING"), ("rcpt", "PENDING"), ("data", "UNCERTAIN")],
)
def test_after_a_crash_the_phase_decides(
    connection: sqlite3.Connection, office: Office, phase: outbox.Phase, state: str
) -> None:
    """Before DATA the letter cannot have gone and waits again; in it nobody knows, and it is never sent by itself."""
    sending = outbox.claim(connection, office, PATIENCE, NOW)
    assert isinstance(sending, outbox.Sending)
    outbox.enter(connection, sending.id, phase)
    assert outbox.recover(connection, NOW) == ((1, 0) if state == "UNCERTAIN" else (0, 1))
    (row,) = connection.execute("SELECT state, wire FROM outbox WHERE id = ?", (sending.id,))
    assert row["state"] == state and row["wire"] is not None
    doubts = [event["name"] for event in events.after(connection, 0, events.FIRST)]
    assert doubts == (["MailUncertain"] if state == "UNCERTAIN" else [])


def test_a_restored_backup_sends_nothing(connection: sqlite3.Connection, office: Office) -> None:
    """What waits in a backup may have gone since: all of it is in doubt, nothing is claimed."""
    outbox.claim(connection, office, PATIENCE, NOW)
    outbox.put_in_order(connection, "edge-1", restored=True)
    assert states(connection) == ["UNCERTAIN", "UNCERTAIN"]
    assert outbox.claim(connection, office, PATIENCE, NOW) is None
    assert len(events.after(connection, 0, events.FIRST)) == 2


def test_each_restore_begins_a_chain_of_its_own(connection: sqlite3.Connection, office: Office) -> None:
    """No two events share the name of a server and a number; what was told before keeps its bytes and its order."""
    names, bodies = {database.edge_id(connection)}, []
    for _ in range(3):
        for name in ("NotificationAccessTracking", "Question"):
            bodies.append(events.append(connection, name, "d", "c", NOW, {})["digest"])  # type: ignore[arg-type]
        names.add(events.begin_chain(connection, "edge-1"))
        assert events.after(connection, 0, events.FIRST) == []
    first = events.append(connection, "Question", "d", "c", NOW, {})
    assert (first["seq"], first["previous"], first["edge"]) == (1, events.FIRST, database.edge_id(connection))
    assert len(names) == 4
    kept = [row["digest"] for row in connection.execute("SELECT digest FROM events ORDER BY seq")]
    assert kept == [*bodies, first["digest"]]
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        connection.execute("UPDATE events SET body = ''")


def test_the_same_bytes_leave_at_every_attempt(connection: sqlite3.Connection, office: Office) -> None:
    """Message-ID, Date and boundary were fixed when the delivery was accepted."""
    first = outbox.claim(connection, office, PATIENCE, NOW)
    assert isinstance(first, outbox.Sending)
    outbox.settle(connection, first.id, outbox.Deferred("450 later", account=False), PATIENCE, NOW)
    assert isinstance(outbox.claim(connection, office, PATIENCE, NOW), outbox.Sending)  # the other contact's
    later = NOW + timedelta(minutes=2)
    second = outbox.claim(connection, office, PATIENCE, later)
    assert isinstance(second, outbox.Sending) and (second.id, second.attempt) == (first.id, 2)
    assert second.wire == first.wire
    (row,) = connection.execute("SELECT digest FROM outbox WHERE id = ?", (first.id,))
    assert row["digest"] == hashlib.sha256(first.wire).hexdigest()


def test_a_clock_that_is_set_back_does_not_keep_a_letter(connection: sqlite3.Connection, office: Office) -> None:
    """Put off while the clock was days ahead, a letter leaves now, before those that rightly wait."""
    ahead = NOW + timedelta(days=2)
    first = outbox.claim(connection, office, PATIENCE, ahead)
    assert isinstance(first, outbox.Sending)
    outbox.settle(connection, first.id, outbox.Deferred("450 later", account=False), PATIENCE, ahead)
    second = outbox.claim(connection, office, PATIENCE, NOW)
    assert isinstance(second, outbox.Sending) and second.id != first.id
    outbox.settle(connection, second.id, outbox.Deferred("450 later", account=False), PATIENCE, NOW)
    again = outbox.claim(connection, office, PATIENCE, NOW)
    assert isinstance(again, outbox.Sending) and again.id == first.id
    waits = outbox.claim(connection, office, PATIENCE, NOW)
    assert isinstance(waits, float) and 0 < waits - NOW.timestamp() <= PATIENCE.most


def test_a_letter_whose_link_has_ended_is_not_sent(connection: sqlite3.Connection, office: Office) -> None:
    """It fails with the reason, rather than mail a link that opens nothing."""
    assert outbox.claim(connection, office, PATIENCE, datetime(2100, 1, 1, tzinfo=UTC)) is None
    found = events.after(connection, 0, events.FIRST)
    assert [event["data"]["reason"] for event in found] == ["expired", "expired"]


def test_a_letter_revoked_on_its_way_is_not_tried_again(
    connection: sqlite3.Connection, office: Office, tmp_path: Path
) -> None:
    """Revoked while the relay was asked: if the relay puts it off, that was the last attempt."""
    sending = outbox.claim(connection, office, PATIENCE, NOW)
    assert isinstance(sending, outbox.Sending)
    deliveries.revoke(connection, tmp_path, DELIVERY, NOW, 30)
    outbox.settle(connection, sending.id, outbox.Deferred("450 later", account=False), PATIENCE, NOW)
    assert states(connection) == ["FAILED", "FAILED"]


def handed_over(connection: sqlite3.Connection, contact: str, at: datetime) -> None:
    events.append(connection, "ContentHandover", DELIVERY, contact, at, {})


def test_a_document_goes_some_days_after_everybody_has_it(connection: sqlite3.Connection, tmp_path: Path) -> None:
    """As long as one contact has not got it, it stays; then for thirty days more; then row and file are gone."""
    file = documents.path_of(tmp_path, DIGEST)
    late = NOW + timedelta(days=2)
    handed_over(connection, "k1", NOW)
    assert documents.release(connection, tmp_path, late, 30) == 0
    handed_over(connection, "k2", late)
    assert documents.release(connection, tmp_path, late + timedelta(days=29), 30) == 0
    assert file.exists()
    assert documents.release(connection, tmp_path, late + timedelta(days=31), 30) == 1
    assert not file.exists() and documents.size_of(connection, DIGEST) is None


def test_a_document_stays_for_who_is_reminded(connection: sqlite3.Connection, tmp_path: Path, office: Office) -> None:
    """A link that is mailed long after the first handover needs the document as long as the first one did."""
    for contact in ("k1", "k2"):
        handed_over(connection, contact, NOW)
    late = NOW + timedelta(days=40)
    deliveries.remind(connection, office, DELIVERY, Reminder(dispatch=uuid4(), contact=None, reason=""), late)
    assert documents.release(connection, tmp_path, late + timedelta(days=29), 30) == 0
    assert documents.release(connection, tmp_path, late + timedelta(days=31), 30) == 1


def test_a_document_goes_when_the_link_ends(connection: sqlite3.Connection, tmp_path: Path) -> None:
    assert deliveries.sweep(connection, tmp_path, datetime(2100, 1, 1, tzinfo=UTC), 30) == 1
    assert not documents.path_of(tmp_path, DIGEST).exists()


def test_an_upload_waits_two_days_for_its_delivery(connection: sqlite3.Connection, tmp_path: Path) -> None:
    """A document that no delivery names yet is on its way; after two days it is forgotten."""
    file = store(connection, tmp_path, "ee" * 32)
    assert documents.release(connection, tmp_path, NOW + timedelta(days=1), 30) == 0
    assert documents.release(connection, tmp_path, NOW + timedelta(days=3), 30) == 1
    assert not file.exists()


def test_what_an_upload_left_behind_is_deleted(tmp_path: Path) -> None:
    """A crash within an upload leaves a file without a name; the next start removes it."""
    (tmp_path / ".0123").write_bytes(b"%PDF-half")
    documents.discard_partial(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_link_used_before_the_doubt_resolves_it_at_once(connection: sqlite3.Connection, office: Office) -> None:
    """A scanner opens the link while the relay's answer is still awaited: the answer is lost, the letter is not."""
    sending = outbox.claim(connection, office, PATIENCE, NOW)
    assert isinstance(sending, outbox.Sending)
    (link,) = connection.execute("SELECT token_hash FROM links WHERE message = ?", (sending.id,))
    connection.execute("INSERT INTO visits VALUES (?, 'automatic', '2026-11-24T09')", (link["token_hash"],))
    outbox.settle(connection, sending.id, outbox.Doubtful("timed out"), PATIENCE, NOW)
    (row,) = connection.execute("SELECT state, wire FROM outbox WHERE id = ?", (sending.id,))
    assert (row["state"], row["wire"]) == ("ACCEPTED", None)
    assert [event["name"] for event in events.after(connection, 0, events.FIRST)] == ["MailUncertain"]


def crowd(connection: sqlite3.Connection, state: str) -> list[int]:
    """50,000 letters more; gives a list that grows by one with each thousand steps that the database takes."""
    connection.execute(
        """WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 50000)
           INSERT INTO outbox SELECT 'old-' || i, 'old-' || i, delivery, contact, 'old-' || i, sender, recipient,
               ?1, '', 1, next_at + i, created_at, reply, queue_id, iif(?1 = 'PENDING', wire, NULL), digest, masked
           FROM n, (SELECT * FROM outbox ORDER BY contact LIMIT 1)""",
        (state,),
    )
    ticks: list[int] = []
    connection.set_progress_handler(lambda: ticks.append(1), 1000)
    return ticks


def test_a_long_history_of_letters_costs_the_next_one_nothing(connection: sqlite3.Connection, office: Office) -> None:
    """The mailer finds the next one, and the backlog, in as few steps as with none behind it."""
    ticks = crowd(connection, "ACCEPTED")
    assert isinstance(outbox.claim(connection, office, PATIENCE, NOW), outbox.Sending)
    assert outbox.backlog(connection) == 2
    assert len(ticks) < 5


def test_a_crowd_of_waiting_letters_costs_the_next_one_nothing(connection: sqlite3.Connection, office: Office) -> None:
    """A month's invoices wait for the account's rate: whether a link has ended is asked of the next letter alone."""
    ticks = crowd(connection, "PENDING")
    assert isinstance(outbox.claim(connection, office, PATIENCE, NOW + timedelta(days=1)), outbox.Sending)
    assert len(ticks) < 5
