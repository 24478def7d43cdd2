"""The log tells the way of every job and invoice, after the commit, in fixed words with ids beside them."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Any

import pytest

from printerd.delivery import journal as of_delivery
from printerd.health.site import Site
from printerd.model import DeliveryId, Digest, Event
from printerd.pipeline import journal as of_pipeline
from printerd.storage.blobs import Blobs
from tests import archive_rows

HOSTILE = "\x1b[2J\r\nERROR forged"


def facts(record: logging.LogRecord, *names: str) -> dict[str, Any]:
    return {name: vars(record).get(name) for name in names}


def test_a_job_of_which_nothing_moves_is_one_line(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """Number, user, title and the count of its invoices by state; a line for each invoice that is archived by now."""
    with site.database.write() as connection:
        job = archive_rows.job(connection, 7, title=HOSTILE)
        blobs = Blobs(site.root)
        archived = archive_rows.invoice(connection, blobs, job)
        waiting = archive_rows.invoice(connection, blobs, job, 1, state="waiting")
        told = of_pipeline.lines(connection, [job], [archived, waiting])
    with caplog.at_level(logging.INFO):
        of_pipeline.tell(told)
    one, settled = caplog.records
    assert (one.message, facts(one, "invoice", "job", "number")) == (
        "invoice archived",
        {"invoice": archived, "job": job, "number": "FA-2026-0042"},
    )
    assert (settled.message, settled.levelno) == ("job settled", logging.INFO)
    assert facts(settled, "job", "number", "user", "title", "state", "invoices") == {
        "job": job,
        "number": 7,
        "user": "marie",
        "title": HOSTILE,
        "state": "done",
        "invoices": {"archived": 1, "waiting": 1},
    }


def test_a_job_that_is_at_work_is_not_told(site: Site) -> None:
    """While one of its invoices is sealed or checked, or the job itself is read, nothing is settled."""
    with site.database.write() as connection:
        sealing = archive_rows.job(connection, 1)
        archive_rows.invoice(connection, Blobs(site.root), sealing, state="ready")
        reading = archive_rows.job(connection, 2, state="processing")
        assert of_pipeline.lines(connection, [sealing, reading]) == ()
        assert of_pipeline.lines(connection, []) == ()


@pytest.mark.parametrize(("state", "level"), [("aborted", logging.INFO), ("held", logging.ERROR)])
def test_a_job_that_ended_badly_says_why(site: Site, state: str, level: int) -> None:
    """An aborted job is the sender's matter; one that is held is ours, and loud."""
    with site.database.write() as connection:
        job = archive_rows.job(connection, 1, state=state, reason={"code": "truncated", "facts": {}})
        (line,) = of_pipeline.lines(connection, [job])
    assert (line.level, line.facts["reason"]) == (level, "truncated")


def test_events_are_told_without_names_and_addresses(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """Mailed, failed, in doubt, acknowledged: with the ids of invoice, job and contact; strangers are not told."""
    with site.database.write() as connection:
        job = archive_rows.job(connection)
        invoice = archive_rows.invoice(connection, Blobs(site.root), job)
        delivery = archive_rows.delivery(connection, invoice)
        names = ("ConsignmentNotification", "MailUncertain", "NotificationAccessTracking", "ConsignmentAcceptance")
        found = [event(seq, name, delivery) for seq, name in enumerate(names)]
        with caplog.at_level(logging.INFO):
            of_delivery.tell(connection, [*found, event(9, "ConsignmentNotification", "stranger")])
    assert [(record.message, record.levelno) for record in caplog.records] == [
        ("invoice mailed", logging.INFO),
        ("invoice perhaps mailed: accounting decides", logging.WARNING),
        ("invoice acknowledged", logging.INFO),
    ]
    expected = {"invoice": invoice, "job": job, "number": "FA-2026-0042", "delivery": delivery, "contact": "k1"}
    assert facts(caplog.records[0], *expected) == expected
    assert "@" not in "".join(str(vars(record)) for record in caplog.records)


def event(seq: int, name: str, delivery: str) -> Event:
    digest, data = Digest("0" * 64), {"to": "claire@canal.example", "reply": "250 ok"}
    return Event("edge-1", seq, name, datetime.now(UTC), DeliveryId(delivery), "k1", data, digest, digest)
