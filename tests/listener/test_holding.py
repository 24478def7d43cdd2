"""Jobs that wait for their sender, for their hour, or for nothing any more."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from printerd.ipp.attributes import attribute
from printerd.ipp.codec import encode
from printerd.ipp.message import Attribute, GroupTag, Message, Range, Tag, Value, integer
from printerd.ipp.registry import JobState, Operation, Status
from printerd.listener.periods import PERIODS, begin
from printerd.model import JobState as Row
from tests.waiting import until

from .printing import PDF, RunningPrinter

Start = Callable[..., RunningPrinter]
JOB = attribute("job-id", 1)
INDEFINITE = attribute("job-hold-until", "indefinite")


def ask(printer: RunningPrinter, code: Operation, *more: Attribute, user: str = "anna", **groups: object) -> Message:
    return printer.ask(printer.request(code, JOB, *more, user=user, **groups))  # type: ignore[arg-type]


def shown(printer: RunningPrinter) -> tuple[int, str]:
    job = ask(printer, Operation.GET_JOB_ATTRIBUTES).first(GroupTag.JOB)
    return job.number("job-state"), job.text("job-state-reasons")


def test_a_held_job_is_not_worked_on_until_it_is_released(printer: RunningPrinter) -> None:
    """Print-Job with a hold is durable and answered; with Release-Job it is the worker's, which is woken."""
    answer = printer.print_job(job=(INDEFINITE,))
    assert answer.first(GroupTag.JOB).number("job-state") == JobState.PENDING_HELD
    time.sleep(0.4)  # longer than report_within: the queue never lets go of what waits
    assert shown(printer) == (JobState.PENDING_HELD, "job-hold-until-specified")
    (row,) = printer.rows()
    assert (row.state, row.original is not None) == (Row.PENDING, True)
    woken = printer.woken
    assert ask(printer, Operation.RELEASE_JOB).code == Status.SUCCESSFUL_OK
    assert printer.rows()[0].state is Row.RECEIVED
    assert printer.woken > woken
    assert shown(printer)[0] == JobState.PROCESSING  # its time in the queue begins now


def test_holding_what_has_come(printer: RunningPrinter) -> None:
    """Hold-Job alone holds until the release; a time that has passed releases; what is worked on is not held."""
    printer.print_job()
    assert ask(printer, Operation.HOLD_JOB).code == Status.SUCCESSFUL_OK
    assert printer.rows()[0].state is Row.PENDING
    past = attribute("job-hold-until-time", datetime.now(UTC) - timedelta(hours=1))
    assert ask(printer, Operation.HOLD_JOB, past).code == Status.SUCCESSFUL_OK
    assert printer.rows()[0].state is Row.RECEIVED
    assert ask(printer, Operation.RELEASE_JOB).code == Status.SUCCESSFUL_OK  # nothing changes
    printer.change(1, state="processing")
    for code in (Operation.HOLD_JOB, Operation.RELEASE_JOB):
        assert ask(printer, code).code == Status.CLIENT_ERROR_NOT_POSSIBLE
    unknown = attribute("job-hold-until", "full-moon")
    assert ask(printer, Operation.HOLD_JOB, unknown).code == Status.CLIENT_ERROR_ATTRIBUTES_OR_VALUES_NOT_SUPPORTED


def test_a_job_goes_when_its_hour_has_come(start: Start) -> None:
    """A held job whose time has come is let go by itself, whoever asks or not."""
    printer = start(document_timeout=1)  # the sweep comes four times in that
    until = attribute("job-hold-until-time", datetime.now(UTC) + timedelta(seconds=1))
    printer.print_job(job=(until,))
    assert printer.rows()[0].state is Row.PENDING
    deadline = time.monotonic() + 10
    while printer.rows()[0].state is Row.PENDING and time.monotonic() < deadline:
        time.sleep(0.05)
    assert printer.rows()[0].state is Row.RECEIVED


def test_a_held_job_outlives_a_restart(start: Start) -> None:
    """The hold is in the row: nothing is worked on because the service was started again."""
    first = start()
    first.print_job(job=(INDEFINITE,))
    first.stop()
    again = RunningPrinter(first.folder)
    assert again.rows()[0].state is Row.PENDING
    assert ask(again, Operation.RELEASE_JOB).code == Status.SUCCESSFUL_OK
    again.stop()


def test_only_the_owner_holds_and_changes(printer: RunningPrinter) -> None:
    printer.print_job()
    for code in (Operation.HOLD_JOB, Operation.RELEASE_JOB, Operation.RESTART_JOB, Operation.SET_JOB_ATTRIBUTES):
        answer = ask(printer, code, user="bert", job=(attribute("copies", 2),))
        assert answer.code == Status.CLIENT_ERROR_NOT_AUTHORIZED


def test_a_held_job_can_be_canceled(printer: RunningPrinter) -> None:
    printer.print_job(job=(INDEFINITE,))
    assert ask(printer, Operation.CANCEL_JOB).code == Status.SUCCESSFUL_OK
    assert printer.rows()[0].state is Row.CANCELED
    assert ask(printer, Operation.RELEASE_JOB).code == Status.CLIENT_ERROR_NOT_POSSIBLE


@pytest.mark.parametrize("name", PERIODS)
@pytest.mark.parametrize("hour", range(0, 24, 3))
@pytest.mark.parametrize("day", [24, 27, 28])  # Tuesday, Friday, Saturday
def test_a_period_begins_within_a_week_or_is_now(name: str, hour: int, day: int) -> None:
    """Each named period is now, or begins at one of its hours within a week."""
    now = datetime(2026, 11, day, hour, 30, tzinfo=UTC)
    begins = begin(name, now)
    assert begins is None or (now < begins < now + timedelta(days=7) and begins.hour == PERIODS[name][0])
    assert begins is None or begin(name, begins) is None


def test_periods_by_the_clock() -> None:
    morning = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
    assert begin("day-time", morning) is None
    assert begin("night", morning) == morning.replace(hour=18)
    assert begin("night", morning.replace(hour=2)) is None
    assert begin("third-shift", morning) == datetime(2026, 11, 25, tzinfo=UTC)
    assert begin("weekend", morning) == datetime(2026, 11, 28, tzinfo=UTC)


# An end is an end (RFC 8011 section 5.3.7)


@dataclass
class Clock:
    """It stands still until somebody moves it."""

    now: datetime = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def move(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def slow(start: Start, clock: Clock) -> RunningPrinter:
    """The queue lets go of a job after thirty seconds of the clock."""
    return start(claims={"now": clock, "report_within": 30.0, "operators": ["127.0.0.1"]}, now=clock)


@pytest.mark.parametrize(
    "code", [Operation.HOLD_JOB, Operation.SUSPEND_CURRENT_JOB, Operation.PAUSE_PRINTER, Operation.SET_JOB_ATTRIBUTES]
)
def test_what_the_queue_has_let_go_of_does_not_come_back(slow: RunningPrinter, clock: Clock, code: Operation) -> None:
    """A job that was shown as completed is not held, suspended or stopped; it goes its way."""
    slow.print_job()
    clock.move(30)
    assert shown(slow)[0] == JobState.COMPLETED
    ask(slow, code, job=(INDEFINITE,) if code is Operation.SET_JOB_ATTRIBUTES else ())
    assert (shown(slow)[0], slow.rows()[0].state) == (JobState.COMPLETED, Row.RECEIVED)


@pytest.mark.parametrize(("seconds", "state"), [(29, JobState.ABORTED), (30, JobState.COMPLETED)])
def test_what_fails_late_stays_completed(slow: RunningPrinter, clock: Clock, seconds: float, state: JobState) -> None:
    """A document that turns out unreadable makes its job aborted, or one that was completed one with errors."""
    slow.print_job()
    clock.move(seconds)
    slow.change(1, state=Row.ABORTED, reason={"code": "unreadable", "facts": {}}, completed_at=clock.now)
    clock.move(100)
    reason = "job-completed-with-errors" if state is JobState.COMPLETED else "aborted-by-system"
    job = ask(slow, Operation.GET_JOB_ATTRIBUTES).first(GroupTag.JOB)
    assert job.number("job-state") == state
    assert job.texts("job-state-reasons") == (reason, "document-format-error")


def test_a_document_that_was_cut_releases_no_job(slow: RunningPrinter, clock: Clock) -> None:
    """Whoever begins to send to a held job and breaks off has changed nothing."""
    slow.print_job(job=(INDEFINITE,))
    request = slow.request(Operation.SEND_DOCUMENT, JOB, attribute("last-document", True))
    told = {"Content-Type": "application/ipp", "Host": "localhost", "Content-Length": "9999"}
    connection = slow.connect()
    connection.request("POST", "/ipp/print", encode(request) + PDF[:100], told)
    until(lambda: slow.server.server_state.tasks)
    connection.close()
    until(lambda: not slow.server.server_state.tasks)
    clock.move(3600)
    sweep(slow)
    assert shown(slow)[0] == JobState.PENDING_HELD


def sweep(printer: RunningPrinter) -> None:
    """What happens by itself, now."""
    loop = printer.intake._sweeper.get_loop()  # type: ignore[union-attr]
    asyncio.run_coroutine_threadsafe(printer.intake.sweep(), loop).result(20)


def test_each_document_gives_its_job_a_minute_more(slow: RunningPrinter, clock: Clock) -> None:
    """An open job is closed a minute after the last of its documents, not after an earlier one."""
    ask(slow, Operation.CREATE_JOB)
    for number in range(4):
        more = (JOB, attribute("last-document", False))
        answer = slow.ask(slow.request(Operation.SEND_DOCUMENT, *more), PDF + bytes([number]))
        assert answer.code == Status.SUCCESSFUL_OK
        clock.move(40)
        sweep(slow)
        assert slow.rows()[0].is_open
    clock.move(20)
    sweep(slow)
    assert not slow.rows()[0].is_open


# Changing


def test_what_a_sender_may_change(printer: RunningPrinter) -> None:
    """Set-Job-Attributes changes name and options while nobody works on the job, and Get-Job-Attributes tells them."""
    printer.print_job(job=(INDEFINITE,))
    wanted = (attribute("job-name", "FA-9"), attribute("copies", 3), attribute("page-ranges", Range(2, 3)))
    assert ask(printer, Operation.SET_JOB_ATTRIBUTES, job=wanted).code == Status.SUCCESSFUL_OK
    job = ask(printer, Operation.GET_JOB_ATTRIBUTES).first(GroupTag.JOB)
    assert (job.text("job-name"), job.number("copies")) == ("FA-9", 3)
    pages = job.get("page-ranges")
    assert pages is not None and pages.value == Range(2, 3)
    assert printer.rows()[0].ticket.options["page-ranges"] == "2-3"
    gone = (Attribute.of("copies", Value(Tag.DELETE_ATTRIBUTE, None)), attribute("job-hold-until", "no-hold"))
    assert ask(printer, Operation.SET_JOB_ATTRIBUTES, job=gone).code == Status.SUCCESSFUL_OK
    assert "copies" not in printer.rows()[0].ticket.options
    assert printer.rows()[0].state is Row.RECEIVED


@pytest.mark.parametrize(
    ("wanted", "status"),
    [
        ((), Status.CLIENT_ERROR_BAD_REQUEST),
        ((attribute("job-id", 7), attribute("copies", 2)), Status.CLIENT_ERROR_ATTRIBUTES_NOT_SETTABLE),
        ((Attribute("copies", (integer(1), integer(2))),), Status.CLIENT_ERROR_ATTRIBUTES_OR_VALUES_NOT_SUPPORTED),
        ((attribute("sides", "tumble"),), Status.CLIENT_ERROR_ATTRIBUTES_OR_VALUES_NOT_SUPPORTED),
        ((attribute("page-ranges", Range(3, 2)),), Status.CLIENT_ERROR_ATTRIBUTES_OR_VALUES_NOT_SUPPORTED),
        ((attribute("page-ranges", Range(3, 4), Range(1, 2)),), Status.CLIENT_ERROR_ATTRIBUTES_OR_VALUES_NOT_SUPPORTED),
    ],
)
def test_all_attributes_are_set_or_none(printer: RunningPrinter, wanted: tuple[Attribute, ...], status: Status) -> None:
    printer.print_job()
    before = printer.rows()
    assert ask(printer, Operation.SET_JOB_ATTRIBUTES, job=wanted).code == status
    assert [row.ticket for row in printer.rows()] == [row.ticket for row in before]


def test_options_that_are_not_taken_rest_with_nobody(printer: RunningPrinter) -> None:
    """A value that is answered as ignored is not kept: nothing would be done by it later."""
    answer = printer.print_job(job=(attribute("page-ranges", Range(5, 2)), attribute("sides", "tumble")))
    assert answer.code == Status.SUCCESSFUL_OK_IGNORED_OR_SUBSTITUTED_ATTRIBUTES
    assert printer.rows()[0].ticket.options == {}


def test_what_is_kept_with_a_job_has_a_bound(printer: RunningPrinter) -> None:
    """One value where the standard has one, some hundreds where it has a set; names as long as names are."""
    pages = [Range(2 * number, 2 * number) for number in range(1, 502)]
    job = (Attribute("copies", attribute("copies", 3).values * 2), attribute("page-ranges", *pages), INDEFINITE)
    assert printer.print_job(job=job).code == Status.SUCCESSFUL_OK_IGNORED_OR_SUBSTITUTED_ATTRIBUTES
    assert printer.rows()[0].ticket.options == {"job-hold-until": "indefinite"}
    long = Attribute.of("job-name", Value(Tag.NAME, "x" * 256))
    wrong = ask(printer, Operation.SET_JOB_ATTRIBUTES, job=(long,))
    assert wrong.code == Status.CLIENT_ERROR_ATTRIBUTES_OR_VALUES_NOT_SUPPORTED


def test_preferred_attributes(printer: RunningPrinter) -> None:
    """Validate-Job says what would be done instead (PWG 5100.13, preferred-attributes)."""
    answer = printer.ask(printer.request(Operation.VALIDATE_JOB, job=(attribute("sides", "tumble"),)))
    preferred = answer.operation.get("preferred-attributes")
    assert preferred is not None and isinstance(preferred.value, tuple)
    assert [(one.name, one.value) for one in preferred.value] == [("sides", "one-sided")]


# Beginning again


@pytest.mark.parametrize("state", [Row.DONE, Row.PROCESSING, Row.RECEIVED, Row.CANCELED])
@pytest.mark.parametrize("code", [Operation.RESTART_JOB, Operation.REPROCESS_JOB, Operation.RESUBMIT_JOB])
def test_no_invoice_is_made_twice(printer: RunningPrinter, state: Row, code: Operation) -> None:
    """A job that was worked on, or may be, is not begun again by whoever printed it."""
    printer.print_job()
    printer.change(1, state=state)
    assert ask(printer, code).code == Status.CLIENT_ERROR_NOT_POSSIBLE
    assert [row.state for row in printer.rows()] == [state]


@pytest.mark.parametrize("state", [Row.ABORTED, Row.HELD])
def test_what_came_to_nothing_is_begun_again(printer: RunningPrinter, state: Row) -> None:
    """Restart-Job takes the job itself, Resubmit-Job makes a new one of the same bytes."""
    printer.print_job()
    printer.change(1, state=state, reason={"code": "raster", "facts": {}}, message="It is a picture.")
    answer = ask(printer, Operation.RESUBMIT_JOB)
    assert answer.first(GroupTag.JOB).number("job-id") == 2
    assert ask(printer, Operation.RESTART_JOB).code == Status.SUCCESSFUL_OK
    first, second = printer.rows()
    assert (first.state, first.message, first.reason) == (Row.RECEIVED, "", None)
    assert (second.state, second.original) == (Row.RECEIVED, first.original)


def test_a_picture_is_taken_and_its_type_kept(printer: RunningPrinter) -> None:
    """IPP Everywhere and AirPrint clients are served; what becomes of it is the pipeline's to say."""
    for media_type, head in (
        ("image/pwg-raster", b"RaS2"),
        ("image/urf", b"UNIRAST\0"),
        ("image/jpeg", b"\xff\xd8\xff\xe0"),
    ):
        for declared in (
            attribute("document-format", media_type),
            attribute("document-format", "application/octet-stream"),
        ):
            answer = printer.print_job(head + bytes(2000) + declared.name.encode(), declared, title=str(declared.value))
            assert answer.code == Status.SUCCESSFUL_OK
            assert printer.rows()[-1].ticket.media_type == media_type


def test_a_format_that_is_not_taken_says_how_to_print(printer: RunningPrinter) -> None:
    answer = printer.print_job(PDF, attribute("document-format", "application/vnd.hp-pcl"))
    assert answer.code == Status.CLIENT_ERROR_DOCUMENT_FORMAT_NOT_SUPPORTED
    assert "Print as PDF" in answer.operation.text("status-message")
