"""What a job's row means in IPP."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from printerd.ipp.message import Group
from printerd.ipp.registry import JobState as Ipp
from printerd.listener.jobs import INVOICES, PRIVATE, Viewer, group, standing
from printerd.listener.printer import CHOICES, Printer
from printerd.model import Digest, InvoiceState, JobId, JobState, Ticket
from printerd.storage.jobs import Job

NOW = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
FRESH, OLD = NOW - timedelta(seconds=1), NOW - timedelta(minutes=5)
PRINTER = Printer("inv", "u", "fr", (), 1 << 20, 60, NOW - timedelta(minutes=2))
VIEWER = Viewer("anna", "192.0.2.7", "ipp://host:8631", NOW, timedelta(seconds=30), PRINTER)
JOB = Job(
    id=JobId("3f0c6ae2-5d7e-4f58-9d0b-5f6c1f0a7d11"),
    number=12,
    ticket=Ticket("inv", "anna", "192.0.2.7", "FA-1", "application/pdf", "ipp"),
    state=JobState.DONE,
    original=Digest("a" * 64),
    size=2049,
    answered=True,
    reason=None,
    message="",
    created_at=FRESH,
    received_at=FRESH,
    completed_at=NOW,
)
TRUTHS: list[tuple[dict[str, Any], Ipp, str]] = [
    ({"state": JobState.INCOMING, "received_at": None}, Ipp.PENDING_HELD, "job-incoming"),
    ({"state": JobState.INCOMING, "received_at": None, "created_at": OLD}, Ipp.PENDING_HELD, "job-incoming"),
    ({"state": JobState.RECEIVED}, Ipp.PROCESSING, "job-transforming"),
    ({"state": JobState.PROCESSING}, Ipp.PROCESSING, "job-transforming"),
    ({"state": JobState.PROCESSING, "received_at": OLD}, Ipp.COMPLETED, "queued-in-device"),
    ({"state": JobState.HELD}, Ipp.PROCESSING, "job-transforming"),
    ({"state": JobState.HELD, "received_at": OLD}, Ipp.COMPLETED, "queued-in-device job-completed-with-warnings"),
    ({"invoices": {InvoiceState.READY: 1, InvoiceState.WAITING: 1}}, Ipp.PROCESSING, "job-transforming"),
    ({"invoices": {InvoiceState.READY: 1}, "received_at": OLD}, Ipp.COMPLETED, "queued-in-device"),
    ({"invoices": {InvoiceState.ARCHIVED: 2}}, Ipp.COMPLETED, "job-completed-successfully"),
    ({"invoices": {InvoiceState.REPRINT: 2}}, Ipp.COMPLETED, "job-completed-successfully"),
    (
        {"invoices": {InvoiceState.ARCHIVED: 2, InvoiceState.WAITING: 1}},
        Ipp.COMPLETED,
        "job-completed-with-warnings",
    ),
    ({"state": JobState.CANCELED}, Ipp.CANCELED, "job-canceled-by-user"),
    (
        {"state": JobState.ABORTED, "reason": {"code": "format-error"}},
        Ipp.ABORTED,
        "aborted-by-system document-format-error",
    ),
    ({"state": JobState.ABORTED, "reason": {"code": "new"}}, Ipp.ABORTED, "aborted-by-system"),
]


@pytest.mark.parametrize(("row", "state", "reasons"), TRUTHS)
def test_the_queue_tells_the_truth(row: dict[str, Any], state: Ipp, reasons: str) -> None:
    """Processing until every invoice is archived or waits, at most report_within; then what became of it."""
    found = standing(replace(JOB, **row), VIEWER.now, VIEWER.report_within)
    assert (found.state, " ".join(found.reasons)) == (state, reasons)


@pytest.mark.parametrize("row", [row for row, _, _ in TRUTHS])
def test_every_job_can_be_shown(row: dict[str, Any]) -> None:
    """Whatever a row holds, all its attributes are of the syntax of the registry, and a time ends with the job."""
    job = replace(JOB, **row)
    shown = group(job, VIEWER, ())
    assert shown.number("job-k-octets") == 3
    ended = shown.get("time-at-completed")
    assert ended is not None
    assert (ended.value is not None) is (shown.number("job-state") >= Ipp.CANCELED)


def test_what_came_before_this_start_has_no_positive_time() -> None:
    """time-at-creation counts from the printer's start, so an older job's is not positive."""
    assert group(replace(JOB, created_at=OLD), VIEWER, ("time-at-creation",)).number("time-at-creation") < 1


def test_the_message_is_the_pipelines_or_ours() -> None:
    """job-state-message is the row's; until there is one, the counts in the operator's language."""
    job = replace(JOB, invoices={InvoiceState.ARCHIVED: 2, InvoiceState.WAITING: 1})
    assert _message(job) == "Factures archivées\u00a0: 2\u00a0; en attente de la comptabilité\u00a0: 1."
    assert _message(replace(job, message="FA-1 mailed to c***@client.fr")) == "FA-1 mailed to c***@client.fr"


def _message(job: Job) -> str:
    return group(job, VIEWER, ("job-state-message",)).text("job-state-message")


@pytest.mark.parametrize(("user", "host"), [("bert", "192.0.2.7"), ("anna", "192.0.2.8")])
def test_others_see_the_state_alone(user: str, host: str) -> None:
    """Name, user and message of a job are for the same user on the same host."""
    everything = group(JOB, VIEWER, ())
    others = group(JOB, replace(VIEWER, user=user, host=host), ())
    assert _names(everything) - _names(others) == PRIVATE - {"job-more-info", INVOICES, *CHOICES}
    assert {"job-id", "job-state", "job-state-reasons"} <= _names(others)
    assert "FA-1" not in repr(others)


def _names(shown: Group) -> set[str]:
    return {attribute.name for attribute in shown}


def test_an_unknown_language_is_answered_in_english() -> None:
    """A language that has no sentences does not break the queue."""
    viewer = replace(VIEWER, printer=replace(PRINTER, language="de"))
    shown = group(JOB, viewer, ("job-description",))
    assert shown.text("job-state-message") == "Invoices archived: 0."
