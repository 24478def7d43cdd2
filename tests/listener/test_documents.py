"""Jobs of several documents, and the documents of a job."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
import sqlalchemy as sa

from printerd.ipp.attributes import attribute
from printerd.ipp.message import Attribute, Group, GroupTag, Message
from printerd.ipp.registry import DocumentState, JobState, Operation, Status
from printerd.model import JobState as Row
from printerd.storage import jobs, schema

from .printing import PDF, RunningPrinter

Start = Callable[..., RunningPrinter]
JOB, MORE, LAST = attribute("job-id", 1), attribute("last-document", False), attribute("last-document", True)


def ask(printer: RunningPrinter, code: Operation, *more: Attribute, user: str = "anna") -> Message:
    return printer.ask(printer.request(code, JOB, *more, user=user))


def send(printer: RunningPrinter, number: int, last: Attribute = MORE) -> Message:
    named = attribute("document-name", f"FA-{number}")
    return printer.ask(printer.request(Operation.SEND_DOCUMENT, JOB, last, named), PDF + b"%d" % number)


def three(printer: RunningPrinter) -> None:
    printer.ask(printer.request(Operation.CREATE_JOB, attribute("job-name", "November")))
    for number, last in ((1, MORE), (2, MORE), (3, LAST)):
        assert send(printer, number, last).code == Status.SUCCESSFUL_OK


def states(printer: RunningPrinter) -> list[str]:
    with printer.database.read() as connection:
        return list(connection.scalars(sa.select(schema.jobs.c.state).order_by(schema.jobs.c.number)))


def shown(printer: RunningPrinter) -> Group:
    return ask(printer, Operation.GET_JOB_ATTRIBUTES).first(GroupTag.JOB)


def test_documents_of_a_job_go_together(printer: RunningPrinter) -> None:
    """None is worked on before the last one has come; then each is a row of its own, and IPP sees one job."""
    printer.ask(printer.request(Operation.CREATE_JOB))
    send(printer, 1)
    send(printer, 2)
    assert states(printer) == [Row.PENDING, Row.PENDING]
    assert (shown(printer).number("job-state"), shown(printer).text("job-state-reasons")) == (
        JobState.PENDING_HELD,
        "job-incoming",
    )
    send(printer, 3, LAST)
    assert states(printer) == [Row.RECEIVED] * 3
    assert (shown(printer).number("number-of-documents"), shown(printer).number("job-state")) == (
        3,
        JobState.PROCESSING,
    )
    listed = printer.ask(printer.request(Operation.GET_JOBS))
    assert [group.number("job-id") for group in listed.all(GroupTag.JOB)] == [1]
    assert send(printer, 4, LAST).code == Status.CLIENT_ERROR_NOT_POSSIBLE


def test_a_job_is_where_its_least_document_is(start: Start) -> None:
    """Completed only when all of them are; one that failed beside others is said."""
    printer = start(claims={"report_within": 60})
    three(printer)
    printer.change(1, state="done")
    printer.change(2, state="done")
    assert shown(printer).number("job-state") == JobState.PROCESSING
    printer.change(3, state="aborted", reason={"code": "encrypted", "facts": {}}, message="It is protected.")
    job = shown(printer)
    reasons = job.get("job-state-reasons")
    assert job.number("job-state") == JobState.COMPLETED
    assert reasons is not None and "job-completed-with-errors" in reasons.data
    assert "It is protected." in job.text("job-state-message")


def test_close_job_ends_the_sequence(printer: RunningPrinter) -> None:
    printer.ask(printer.request(Operation.CREATE_JOB))
    send(printer, 1)
    assert ask(printer, Operation.CLOSE_JOB).code == Status.SUCCESSFUL_OK
    assert states(printer) == [Row.RECEIVED]


def test_documents_that_came_are_processed_when_no_more_come(start: Start) -> None:
    """multiple-operation-time-out-action is process-job, and is kept."""
    printer = start(document_timeout=1)
    printer.ask(printer.request(Operation.CREATE_JOB))
    send(printer, 1)
    deadline = time.monotonic() + 10
    while states(printer) != [Row.RECEIVED] and time.monotonic() < deadline:
        time.sleep(0.05)
    assert states(printer) == [Row.RECEIVED]


def test_a_held_job_of_several_documents_waits_whole(printer: RunningPrinter) -> None:
    """job-hold-until of Create-Job holds all of its documents, and one release lets them all go."""
    hold = (attribute("job-hold-until", "indefinite"),)
    printer.ask(printer.request(Operation.CREATE_JOB, job=hold))
    send(printer, 1)
    send(printer, 2, LAST)
    assert states(printer) == [Row.PENDING] * 2
    assert shown(printer).text("job-state-reasons") == "job-hold-until-specified"
    assert ask(printer, Operation.RELEASE_JOB).code == Status.SUCCESSFUL_OK
    assert states(printer) == [Row.RECEIVED] * 2


def test_cancel_takes_all_documents(printer: RunningPrinter) -> None:
    three(printer)
    assert ask(printer, Operation.CANCEL_JOB).code == Status.SUCCESSFUL_OK
    assert states(printer) == [Row.CANCELED] * 3


def test_one_document_is_canceled_alone(printer: RunningPrinter) -> None:
    """Cancel-Document ends a later document; the first of several ends with its job."""
    three(printer)
    second = attribute("document-number", 2)
    assert ask(printer, Operation.CANCEL_DOCUMENT, second).code == Status.SUCCESSFUL_OK
    assert states(printer) == [Row.RECEIVED, Row.CANCELED, Row.RECEIVED]
    first, ninth = attribute("document-number", 1), attribute("document-number", 9)
    assert ask(printer, Operation.CANCEL_DOCUMENT, first).code == Status.CLIENT_ERROR_NOT_POSSIBLE
    assert ask(printer, Operation.CANCEL_DOCUMENT, ninth).code == Status.CLIENT_ERROR_NOT_FOUND
    assert ask(printer, Operation.CANCEL_DOCUMENT).code == Status.CLIENT_ERROR_BAD_REQUEST


def test_documents_are_listed_and_told(printer: RunningPrinter) -> None:
    """Get-Documents and Get-Document-Attributes tell name, format, size and state of each."""
    three(printer)
    listed = ask(printer, Operation.GET_DOCUMENTS, attribute("requested-attributes", "all")).all(GroupTag.DOCUMENT)
    assert [(one.number("document-number"), one.text("document-name")) for one in listed] == [
        (1, "FA-1"),
        (2, "FA-2"),
        (3, "FA-3"),
    ]
    assert [bool(one.number("last-document")) for one in listed] == [False, False, True]
    one = ask(printer, Operation.GET_DOCUMENT_ATTRIBUTES, attribute("document-number", 2)).first(GroupTag.DOCUMENT)
    assert (one.number("document-state"), one.text("document-format")) == (DocumentState.PROCESSING, "application/pdf")
    assert one.text("document-state-reasons") == "transforming"
    assert len(ask(printer, Operation.GET_DOCUMENTS, attribute("limit", 2)).all(GroupTag.DOCUMENT)) == 2


def test_others_do_not_see_the_names_of_documents(printer: RunningPrinter) -> None:
    three(printer)
    answer = ask(printer, Operation.GET_DOCUMENTS, attribute("requested-attributes", "all"), user="bert")
    assert len(answer.all(GroupTag.DOCUMENT)) == 3
    assert "FA-" not in repr(answer)


def test_a_document_is_described_anew(printer: RunningPrinter) -> None:
    """Set-Document-Attributes changes one document of its job."""
    three(printer)
    request = printer.request(Operation.SET_DOCUMENT_ATTRIBUTES, JOB, attribute("document-number", 2))
    named = Group(GroupTag.DOCUMENT, (attribute("document-name", "Rectifiée"), attribute("copies", 2)))
    answer = printer.ask(Message(request.version, request.code, 1, (*request.groups, named)))
    assert answer.code == Status.SUCCESSFUL_OK
    listed = ask(printer, Operation.GET_DOCUMENTS, attribute("requested-attributes", "document-name"))
    assert [one.text("document-name") for one in listed.all(GroupTag.DOCUMENT)] == ["FA-1", "Rectifiée", "FA-3"]


def test_a_job_has_a_bound(printer: RunningPrinter, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job takes some hundred documents, and says so to who sends more."""
    monkeypatch.setattr(jobs, "MOST_DOCUMENTS", 2)
    printer.ask(printer.request(Operation.CREATE_JOB))
    send(printer, 1)
    send(printer, 2)
    assert send(printer, 3).code == Status.SERVER_ERROR_TOO_MANY_DOCUMENTS
