"""What an operator does with the printer, and what nobody else may."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from printerd.ipp.attributes import attribute
from printerd.ipp.message import Attribute, Group, GroupTag, Message, Tag
from printerd.ipp.registry import JobState, Operation, PrinterState, Status
from printerd.listener.managing import SWITCHES
from printerd.model import JobState as Row
from printerd.storage import jobs

from .printing import PDF, RunningPrinter

Start = Callable[..., RunningPrinter]
OPERATORS_ONLY = (
    *SWITCHES,
    Operation.SET_PRINTER_ATTRIBUTES,
    Operation.PURGE_JOBS,
    Operation.CANCEL_JOBS,
    Operation.SUSPEND_CURRENT_JOB,
)


@pytest.fixture
def printer(start: Start) -> RunningPrinter:
    return start(claims={"operators": ["127.0.0.1"], "report_within": 60})


def do(printer: RunningPrinter, code: Operation, *more: Attribute, user: str = "anna") -> Status:
    return Status(printer.ask(printer.request(code, *more, user=user)).code)


def claims(printer: RunningPrinter) -> Group:
    return printer.ask(printer.request(Operation.GET_PRINTER_ATTRIBUTES)).first(GroupTag.PRINTER)


@pytest.mark.parametrize("code", OPERATORS_ONLY)
def test_nobody_manages_the_printer_until_somebody_is_named(start: Start, code: Operation) -> None:
    """Without listen.operators no client pauses, closes or clears the printer, not even on this machine."""
    printer = start()
    printer.print_job()
    assert do(printer, code) == Status.CLIENT_ERROR_NOT_AUTHORIZED
    assert [row.state for row in printer.rows()] == [Row.RECEIVED]


def test_a_paused_printer_takes_jobs_and_they_wait(printer: RunningPrinter) -> None:
    """What is in the queue stops and what comes waits; the printer says so, and Resume-Printer lets all of it go."""
    printer.print_job(title="before")
    assert do(printer, Operation.PAUSE_PRINTER) == Status.SUCCESSFUL_OK
    answer = printer.print_job(PDF + b"2", title="after")
    assert answer.first(GroupTag.JOB).number("job-state") == JobState.PENDING
    assert [row.state for row in printer.rows()] == [Row.PENDING] * 2
    paused = claims(printer)
    assert (paused.number("printer-state"), paused.text("printer-state-reasons")) == (PrinterState.STOPPED, "paused")
    alert = paused.get("printer-alert")
    assert alert is not None and bytes(alert.value).startswith(b"code=")  # type: ignore[arg-type]
    assert do(printer, Operation.RESUME_PRINTER) == Status.SUCCESSFUL_OK
    assert [row.state for row in printer.rows()] == [Row.RECEIVED] * 2
    assert claims(printer).number("printer-state") == PrinterState.PROCESSING


def test_a_sender_s_hold_outlasts_the_pause(printer: RunningPrinter) -> None:
    """Resume-Printer lets go of what waited for it alone; a release during the pause still waits for its end."""
    job = attribute("job-id", 1)
    printer.print_job(job=(attribute("job-hold-until", "indefinite"),))
    do(printer, Operation.PAUSE_PRINTER)
    do(printer, Operation.RESUME_PRINTER)
    assert printer.rows()[0].state is Row.PENDING
    do(printer, Operation.PAUSE_PRINTER)
    do(printer, Operation.RELEASE_JOB, job)
    assert (printer.rows()[0].state, printer.rows()[0].code) == (Row.PENDING, "printer-stopped")
    do(printer, Operation.RESUME_PRINTER)
    assert printer.rows()[0].state is Row.RECEIVED


def test_new_jobs_are_held_back(printer: RunningPrinter) -> None:
    printer.print_job()
    do(printer, Operation.HOLD_NEW_JOBS)
    printer.print_job(PDF + b"2", title="FA-2")
    assert [row.state for row in printer.rows()] == [Row.RECEIVED, Row.PENDING]
    do(printer, Operation.RELEASE_HELD_NEW_JOBS)
    assert [row.state for row in printer.rows()] == [Row.RECEIVED] * 2


def test_a_pause_and_a_hold_outlast_one_another(printer: RunningPrinter) -> None:
    """What is held back does not go while the printer is paused, nor what came while it was held back at the resume."""
    do(printer, Operation.HOLD_NEW_JOBS)
    printer.print_job()
    do(printer, Operation.PAUSE_PRINTER)
    do(printer, Operation.RELEASE_HELD_NEW_JOBS)
    assert [row.code for row in printer.rows()] == ["printer-stopped"]
    do(printer, Operation.HOLD_NEW_JOBS)
    printer.print_job(PDF + b"2", title="FA-2")
    do(printer, Operation.RESUME_PRINTER)
    assert [(row.state, row.code) for row in printer.rows()] == [
        (Row.RECEIVED, ""),
        (Row.PENDING, "job-held-for-release"),
    ]


@pytest.mark.parametrize("code", [Operation.RESTART_JOB, Operation.RESUBMIT_JOB])
def test_nothing_begins_again_while_the_printer_is_paused(printer: RunningPrinter, code: Operation) -> None:
    printer.print_job()
    printer.change(1, state="aborted")
    do(printer, Operation.PAUSE_PRINTER)
    assert do(printer, code, attribute("job-id", 1)) == Status.SUCCESSFUL_OK
    assert [row.code for row in printer.rows()][-1] == "printer-stopped"
    do(printer, Operation.RESUME_PRINTER)
    assert printer.rows()[-1].state is Row.RECEIVED


def test_a_closed_printer_takes_no_job(printer: RunningPrinter) -> None:
    """server-error-not-accepting-jobs in one step or two, and no row is left of it."""
    do(printer, Operation.DISABLE_PRINTER)
    assert claims(printer).number("printer-is-accepting-jobs", 1) == 0
    assert printer.print_job().code == Status.SERVER_ERROR_NOT_ACCEPTING_JOBS
    assert do(printer, Operation.CREATE_JOB) == Status.SERVER_ERROR_NOT_ACCEPTING_JOBS
    assert printer.rows() == []
    do(printer, Operation.ENABLE_PRINTER)
    assert printer.print_job().code == Status.SUCCESSFUL_OK


def test_switches_outlive_a_restart(printer: RunningPrinter) -> None:
    do(printer, Operation.SHUTDOWN_PRINTER, attribute("printer-message-from-operator", "Inventaire"))
    printer.stop()
    again = RunningPrinter(printer.folder, {}, {"operators": ["localhost"]})
    assert again.print_job().code == Status.SERVER_ERROR_NOT_ACCEPTING_JOBS
    assert claims(again).text("printer-message-from-operator") == "Inventaire"
    assert do(again, Operation.RESTART_PRINTER) == Status.SUCCESSFUL_OK
    assert again.print_job().code == Status.SUCCESSFUL_OK
    again.stop()


def test_words_of_the_operator(printer: RunningPrinter) -> None:
    """Set-Printer-Attributes sets words that are told; what is not settable changes nothing."""

    def setting(*wanted: Attribute) -> Message:
        request = printer.request(Operation.SET_PRINTER_ATTRIBUTES)
        return printer.ask(
            Message(request.version, request.code, 1, (*request.groups, Group(GroupTag.PRINTER, wanted)))
        )

    before = claims(printer).number("printer-config-change-time")
    assert setting(attribute("printer-location", "Rez-de-chaussée")).code == Status.SUCCESSFUL_OK
    assert claims(printer).text("printer-location") == "Rez-de-chaussée"
    assert claims(printer).number("printer-config-change-time") >= before
    refused = setting(attribute("printer-name", "mine"), attribute("printer-info", "mine"))
    assert refused.code == Status.CLIENT_ERROR_ATTRIBUTES_NOT_SETTABLE
    wrong = refused.first(GroupTag.UNSUPPORTED).get("printer-name")
    assert wrong is not None and wrong.values[0].tag == Tag.NOT_SETTABLE
    assert claims(printer).text("printer-info") == "Invoice Printer"
    values = printer.ask(printer.request(Operation.GET_PRINTER_SUPPORTED_VALUES)).first(GroupTag.PRINTER)
    assert {one.name for one in values} == set(claims(printer).texts("printer-settable-attributes-supported"))


def test_the_operator_acts_on_jobs_of_others(printer: RunningPrinter) -> None:
    """Cancel-Jobs, Purge-Jobs and Cancel-Current-Job end what is not worked on, whoever printed it."""
    for number in range(5):
        printer.print_job(PDF + b"%d" % number, title=f"FA-{number}", user=f"user {number}")
    assert do(printer, Operation.CANCEL_JOBS, attribute("job-ids", 2), user="root") == Status.SUCCESSFUL_OK
    assert do(printer, Operation.CANCEL_CURRENT_JOB, user="root") == Status.SUCCESSFUL_OK
    printer.change(3, state="processing")
    assert do(printer, Operation.PURGE_JOBS, user="root") == Status.SUCCESSFUL_OK
    assert [row.state for row in printer.rows()] == [
        Row.CANCELED,
        Row.CANCELED,
        Row.PROCESSING,
        Row.CANCELED,
        Row.CANCELED,
    ]
    assert do(printer, Operation.CANCEL_CURRENT_JOB, user="root") == Status.CLIENT_ERROR_NOT_POSSIBLE


def test_what_waits_for_long_is_still_shown_and_purged(printer: RunningPrinter) -> None:
    """A held job is found by its owner, and purged, however many were printed since."""
    printer.print_job(job=(attribute("job-hold-until", "indefinite"),))
    printer.print_job(PDF + b"2", title="FA-2")
    printer.change(2, number=2 * jobs.HISTORY, state="done")
    for which in ("not-completed", "pending-held", "all"):
        listed = printer.ask(printer.request(Operation.GET_JOBS, attribute("which-jobs", which)))
        assert listed.all(GroupTag.JOB)[-1].number("job-id") == 1
    assert do(printer, Operation.PURGE_JOBS) == Status.SUCCESSFUL_OK
    shown = printer.ask(printer.request(Operation.GET_JOB_ATTRIBUTES, attribute("job-id", 1))).first(GroupTag.JOB)
    assert shown.number("job-state") == JobState.CANCELED


def test_a_job_is_suspended_and_resumed(printer: RunningPrinter) -> None:
    printer.print_job()
    job = attribute("job-id", 1)
    assert do(printer, Operation.SUSPEND_CURRENT_JOB) == Status.SUCCESSFUL_OK
    shown = printer.ask(printer.request(Operation.GET_JOB_ATTRIBUTES, job)).first(GroupTag.JOB)
    assert shown.number("job-state") == JobState.PROCESSING_STOPPED
    assert do(printer, Operation.RESUME_JOB, job) == Status.SUCCESSFUL_OK
    assert printer.rows()[0].state is Row.RECEIVED
    assert do(printer, Operation.RESUME_JOB, job) == Status.CLIENT_ERROR_NOT_POSSIBLE


@pytest.mark.parametrize("code", [Operation.RELEASE_JOB, Operation.HOLD_JOB, Operation.SET_JOB_ATTRIBUTES])
@pytest.mark.parametrize("reason", ["job-suspended-by-operator", "job-held-for-release"])
def test_a_sender_does_not_undo_what_the_operator_does(start: Start, code: Operation, reason: str) -> None:
    printer = start()
    printer.print_job()
    printer.change(1, state="pending", reason={"code": reason, "facts": {}})
    wanted = (attribute("job-hold-until", "no-hold"),)
    answer = printer.ask(printer.request(code, attribute("job-id", 1), job=wanted))
    assert (answer.code, printer.rows()[0].code) == (Status.CLIENT_ERROR_NOT_AUTHORIZED, reason)


@pytest.mark.parametrize("code", [Operation.PROMOTE_JOB, Operation.SCHEDULE_JOB_AFTER])
def test_no_job_goes_before_another(printer: RunningPrinter, code: Operation) -> None:
    printer.print_job()
    assert do(printer, code, attribute("job-id", 1)) == Status.CLIENT_ERROR_NOT_POSSIBLE
