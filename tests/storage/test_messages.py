"""The sentence of a job in the print queue."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

import pytest
import sqlalchemy as sa

from printerd.choices import IN_VAIN, TWICE
from printerd.model import InvoiceState
from printerd.storage import archive, messages, schema
from tests import archive_rows


@pytest.mark.parametrize("language", ["en", "fr"])
def test_every_standing_has_its_words(language: str) -> None:
    """Whatever state an invoice is in and however far its delivery came, the print queue can say it."""
    states = set(InvoiceState) - {InvoiceState.ARCHIVED}
    assert set(messages.STANDINGS[language]) == states | set(archive.STEPS)


@pytest.mark.parametrize("state", InvoiceState)
def test_no_invoice_keeps_a_job_from_its_sentence(tmp_path: Path, state: InvoiceState) -> None:
    """A job is told about whatever becomes of its invoices: a specimen of a rehearsal, too."""
    database, blobs = archive_rows.opened(tmp_path)
    with database.write() as connection:
        job = archive_rows.job(connection)
        for position in range(2):
            archive_rows.invoice(connection, blobs, job, position, state=state, issuer=str(position))
        messages.refresh(connection, [job], "fr")
        assert str(connection.scalar(sa.select(schema.jobs.c.message))).startswith("2 factures")
    database.close()


def test_the_count_is_what_the_events_say(tmp_path: Path) -> None:
    """Counted in the database or derived from every event of every invoice: the print queue says the same."""
    database, blobs = archive_rows.opened(tmp_path)
    archive_rows.day(database, blobs)
    with database.write() as connection:
        job = connection.execute(sa.select(schema.jobs.c.id).where(schema.jobs.c.number == 1)).scalar_one()
        lines = archive.invoices_of(connection, job)
        found = archive.tallies(connection, [job])[job]
        assert found.standings == Counter(line.delivery or line.state for line in lines)
        assert len(found.standings) > 5
        assert list(found.standings.values()) == sorted(found.standings.values(), reverse=True)
        assert found.number == ""  # it is that of the only invoice, and there are several
        waiting = [line.reasons[0] for line in lines if line.state == InvoiceState.WAITING]
        assert list(found.reasons) == waiting
    database.close()


@pytest.mark.parametrize(
    ("sent", "told", "said"),
    [
        ({"state": "held"}, "ConsignmentNotification", "held after a restore, accounting decides"),
        ({"route": "paper"}, "ConsignmentNotification", "put into the out-tray for paper"),
        ({}, "ConsignmentNotification", "mailed"),
        ({}, "ConsignmentNotificationFailure", "could not be mailed"),
        ({}, "MailUncertain", "perhaps mailed, accounting decides"),
        ({}, "ConsignmentAcceptance", "acknowledged by the customer"),
        ({}, "Question", "archived, mail under way"),
    ],
)
def test_one_invoice_is_called_by_its_number(tmp_path: Path, sent: dict[str, str], told: str, said: str) -> None:
    """How far its delivery came is the last thing that the edge told of it."""
    database, blobs = archive_rows.opened(tmp_path)
    with database.write() as connection:
        invoice = archive_rows.invoice(connection, blobs, archive_rows.job(connection))
        archive_rows.event(connection, archive_rows.delivery(connection, invoice, **sent), told, 1)
        messages.refresh(connection, connection.scalars(sa.select(schema.jobs.c.id)).all(), "en")
        assert connection.scalar(sa.select(schema.jobs.c.message)) == f"FA-2026-0042 {said}"
    database.close()


@pytest.mark.parametrize(
    ("ways", "said"),
    [
        (
            [("paper", IN_VAIN)],
            "put into the out-tray for paper (mail was chosen, but the customer has not agreed to electronic invoices)",
        ),
        ([("mail", TWICE), ("paper", TWICE)], "mailed (and on paper)"),
        ([("paper", "paper was chosen")], "put into the out-tray for paper"),
    ],
)
def test_the_sender_reads_what_became_of_the_choice(tmp_path: Path, ways: list[tuple[str, str]], said: str) -> None:
    """Mail that may not be is paper, and the print queue says so; what went twice is told once."""
    database, blobs = archive_rows.opened(tmp_path)
    with database.write() as connection:
        job = archive_rows.job(connection)
        for number, name in enumerate(("FA-1", "FA-2")):
            one = archive_rows.invoice(connection, blobs, job, number, number=name)
            for route, why in ways:
                sent = archive_rows.delivery(connection, one, id=f"{name} {route}", route=route, why=why)
                if route == "mail":
                    archive_rows.event(connection, sent, "ConsignmentNotification", number + 1)
            messages.refresh(connection, [job], "en")
            alone = "FA-1 " if number == 0 else "2 invoices: 2 "
            assert connection.scalar(sa.select(schema.jobs.c.message)) == alone + said
    database.close()


def test_a_large_job_keeps_the_other_writers_waiting_for_a_moment(tmp_path: Path) -> None:
    """The sentence of 500 invoices reads no document's text and no event."""
    database, blobs = archive_rows.opened(tmp_path)
    with database.write() as connection:
        job = archive_rows.job(connection)
        pattern = archive_rows.invoice(connection, blobs, job)
        row = connection.execute(sa.select(schema.invoices).where(schema.invoices.c.id == pattern)).one()._asdict()
        row["reading"] = row["reading"] | {"text": "a long text " * 4000}
        sent = {"route": "mail", "state": "sent", "mode": "live", "facts": {}, "created_at": archive_rows.NOW}
        for number in range(1, 500):
            one = {"id": f"invoice-{number}", "position": number, "number": f"FA-{number}"}
            connection.execute(schema.invoices.insert().values(row | one))
            connection.execute(schema.deliveries.insert().values(sent | {"id": f"d-{number}", "invoice": one["id"]}))
        begun = time.process_time()
        messages.refresh(connection, [job], "en")
        spent = time.process_time() - begun
        said = connection.scalar(sa.select(schema.jobs.c.message))
    database.close()
    assert said == "500 invoices: 499 archived, mail under way, 1 archived, about to be sent"
    assert spent < 0.05
