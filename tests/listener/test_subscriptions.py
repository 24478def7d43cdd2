"""Events: who hears what, how it is fetched, and what it may cost."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from printerd.ipp.attributes import attribute
from printerd.ipp.message import Attribute, Group, GroupTag, Message
from printerd.ipp.registry import JobState, Operation, Status
from printerd.listener import events, subscriptions

from .printing import PDF, RunningPrinter

Start = Callable[..., RunningPrinter]
PULL = attribute("notify-pull-method", "ippget")
EVERYTHING = attribute("notify-events", *events.EVENTS)


def subscribe(
    printer: RunningPrinter,
    *wanted: tuple[Attribute, ...],
    code: Operation = Operation.CREATE_PRINTER_SUBSCRIPTIONS,
    more: tuple[Attribute, ...] = (),
    user: str = "anna",
    document: bytes = b"",
) -> Message:
    request = printer.request(code, *more, user=user)
    groups = tuple(Group(GroupTag.SUBSCRIPTION, one) for one in wanted)
    return printer.ask(Message(request.version, request.code, 1, (*request.groups, *groups)), document)


def subscribed(printer: RunningPrinter, *wanted: Attribute, **options: object) -> int:
    answer = subscribe(printer, (PULL, *wanted), **options)  # type: ignore[arg-type]
    assert answer.code == Status.SUCCESSFUL_OK, answer
    return answer.first(GroupTag.SUBSCRIPTION).number("notify-subscription-id")


def fetch(printer: RunningPrinter, *ids: int, first: int = 1, user: str = "anna") -> Message:
    more = (
        attribute("notify-subscription-ids", *ids),
        attribute("notify-sequence-numbers", *(first for _ in ids)),
    )
    return printer.ask(printer.request(Operation.GET_NOTIFICATIONS, *more, user=user))


def heard(answer: Message) -> list[str]:
    return [one.text("notify-subscribed-event") for one in answer.all(GroupTag.EVENT_NOTIFICATION)]


def test_what_happens_to_jobs_is_heard(start: Start) -> None:
    """Each thing is told once, in its order, with numbers from 1, the job and its state."""
    printer = start(claims={"report_within": 60})
    own = subscribed(printer, EVERYTHING, attribute("notify-user-data", b"mine"))
    printer.print_job()
    assert heard(fetch(printer, own)) == ["job-created"]
    printer.change(1, state="done")
    answer = fetch(printer, own)
    assert heard(answer) == ["job-created", "job-completed"]
    created, completed = answer.all(GroupTag.EVENT_NOTIFICATION)
    assert [one.number("notify-sequence-number") for one in (created, completed)] == [1, 2]
    assert (completed.number("job-id"), completed.number("job-state")) == (1, JobState.COMPLETED)
    assert completed.get("notify-user-data") == attribute("notify-user-data", b"mine")
    assert completed.text("notify-text") == "Job 1 has ended."
    assert answer.operation.number("notify-get-interval") == events.INTERVAL
    assert heard(fetch(printer, own, first=2)) == ["job-completed"]
    assert heard(fetch(printer, own, first=3)) == []


def test_events_do_not_tell_what_others_print(printer: RunningPrinter) -> None:
    """Whoever subscribes to the printer hears of all jobs, and reads neither title nor user nor what became of it."""
    own = subscribed(printer, EVERYTHING, user="eve")
    printer.print_job(title="FA-SECRET", user="anna")
    printer.change(1, state="done", message="FA-SECRET mailed to c***@client.fr")
    told = repr(fetch(printer, own, user="eve"))
    assert "job-completed" in told
    assert "SECRET" not in told and "anna" not in told


def test_events_are_told_once_however_often_they_are_asked_for(printer: RunningPrinter) -> None:
    """A request of some bytes is not answered with the same events a thousand times."""
    own = subscribed(printer, attribute("notify-events", *["job-created"] * 1000))
    printer.print_job()
    assert heard(fetch(printer, *[own] * 1000)) == ["job-created"]
    about = attribute("notify-subscription-id", own)
    told = printer.ask(printer.request(Operation.GET_SUBSCRIPTION_ATTRIBUTES, about)).first(GroupTag.SUBSCRIPTION)
    assert told.texts("notify-events") == ("job-created",)


def test_only_what_was_asked_for_is_heard(printer: RunningPrinter) -> None:
    """job-state-changed stands for what it includes; the default is job-completed."""
    broad, default = subscribed(printer, attribute("notify-events", "job-state-changed")), subscribed(printer)
    printer.print_job()
    printer.ask(printer.request(Operation.CANCEL_JOB, attribute("job-id", 1)))
    assert heard(fetch(printer, broad))[-1:] == ["job-state-changed"]
    assert heard(fetch(printer, default)) == ["job-completed"]


def test_a_subscription_that_comes_with_its_job(printer: RunningPrinter) -> None:
    """RFC 3995 section 11.1.3: it is about this job alone, and is complete when the job is."""
    answer = subscribe(printer, (PULL, EVERYTHING), code=Operation.PRINT_JOB, document=PDF)
    own = answer.first(GroupTag.SUBSCRIPTION).number("notify-subscription-id")
    assert answer.first(GroupTag.JOB).number("job-id") == 1
    printer.print_job(PDF + b"2", title="FA-2")
    printer.ask(printer.request(Operation.CANCEL_JOB, attribute("job-id", 1)))
    answer = fetch(printer, own)
    assert {one.number("job-id") for one in answer.all(GroupTag.EVENT_NOTIFICATION)} == {1}
    assert (answer.code, heard(answer)[-1]) == (Status.SUCCESSFUL_OK_EVENTS_COMPLETE, "job-completed")


def test_a_subscription_to_a_job_that_is_there(start: Start) -> None:
    printer = start(claims={"report_within": 60})
    printer.print_job()
    about = (attribute("notify-job-id", 1),)
    own = subscribed(printer, EVERYTHING, code=Operation.CREATE_JOB_SUBSCRIPTIONS, more=about)
    hold = printer.request(Operation.HOLD_JOB, attribute("job-id", 1))
    assert printer.ask(hold).code == Status.SUCCESSFUL_OK
    assert heard(fetch(printer, own)) == ["job-stopped"]
    stranger = subscribe(printer, (PULL,), code=Operation.CREATE_JOB_SUBSCRIPTIONS, more=about, user="bert")
    assert stranger.code == Status.CLIENT_ERROR_NOT_AUTHORIZED
    nowhere = subscribe(
        printer, (PULL,), code=Operation.CREATE_JOB_SUBSCRIPTIONS, more=(attribute("notify-job-id", 9),)
    )
    assert nowhere.code == Status.CLIENT_ERROR_NOT_FOUND


def test_what_is_set_is_heard(start: Start) -> None:
    """Changes of a job and of the printer are events, too."""
    printer = start(claims={"operators": ["localhost"], "report_within": 60})
    printer.print_job()
    own = subscribed(printer, EVERYTHING)
    change = printer.request(Operation.SET_JOB_ATTRIBUTES, attribute("job-id", 1), job=(attribute("copies", 2),))
    assert printer.ask(change).code == Status.SUCCESSFUL_OK
    words = attribute("printer-message-from-operator", "Pause")
    assert printer.ask(printer.request(Operation.PAUSE_PRINTER, words)).code == Status.SUCCESSFUL_OK
    answer = fetch(printer, own)
    assert heard(answer) == ["job-config-changed", "printer-config-changed", "job-state-changed", "printer-stopped"]
    assert answer.all(GroupTag.EVENT_NOTIFICATION)[-1].text("printer-state-reasons") == "paused"


@pytest.mark.parametrize(
    ("wanted", "status"),
    [
        ((), Status.CLIENT_ERROR_BAD_REQUEST),
        (
            (PULL, attribute("notify-recipient-uri", "mailto:anna@example.org")),
            Status.CLIENT_ERROR_URI_SCHEME_NOT_SUPPORTED,
        ),
        (
            (PULL, attribute("notify-events", "printer-media-changed")),
            Status.CLIENT_ERROR_ATTRIBUTES_OR_VALUES_NOT_SUPPORTED,
        ),
        ((PULL, attribute("notify-charset", "iso-8859-1")), Status.CLIENT_ERROR_CHARSET_NOT_SUPPORTED),
        ((PULL, Attribute("notify-user-data", PULL.values)), Status.CLIENT_ERROR_BAD_REQUEST),
    ],
)
def test_what_cannot_be_subscribed_to(printer: RunningPrinter, wanted: tuple[Attribute, ...], status: Status) -> None:
    """Each has its own status; beside one that can be, the operation succeeds."""
    alone = subscribe(printer, wanted)
    assert alone.code == Status.CLIENT_ERROR_IGNORED_ALL_SUBSCRIPTIONS
    assert alone.first(GroupTag.SUBSCRIPTION).number("notify-status-code") == status
    both = subscribe(printer, wanted, (PULL,))
    assert both.code == Status.SUCCESSFUL_OK_IGNORED_SUBSCRIPTIONS
    assert ["notify-status-code" in group for group in both.all(GroupTag.SUBSCRIPTION)] == [True, False]
    assert subscribe(printer).code == Status.CLIENT_ERROR_BAD_REQUEST


def test_subscriptions_are_bounded(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """One user has some, all together have some, a queue holds some, and a lease ends."""
    clock = [datetime.now(UTC)]
    printer = start(now=lambda: clock[0], claims={"now": lambda: clock[0], "report_within": 3600})
    for _ in range(events.MOST_OF_ONE):
        own = subscribed(printer, EVERYTHING)
    too_many = subscribe(printer, (PULL,)).first(GroupTag.SUBSCRIPTION).number("notify-status-code")
    assert too_many == Status.CLIENT_ERROR_TOO_MANY_SUBSCRIPTIONS
    monkeypatch.setattr(events, "MOST", events.MOST_OF_ONE + 1)
    lease = subscribe(printer, (PULL, attribute("notify-lease-duration", 67_108_863)), user="bert")
    assert lease.first(GroupTag.SUBSCRIPTION).number("notify-lease-duration") == events.LONGEST_LEASE
    assert subscribe(printer, (PULL,), user="carl").code == Status.CLIENT_ERROR_IGNORED_ALL_SUBSCRIPTIONS
    for number in range(events.KEPT // 2 + 10):
        printer.print_job(PDF + b"%d" % number, title=str(number))
        printer.ask(printer.request(Operation.CANCEL_JOB, attribute("job-id", number + 1)))
    assert len(heard(fetch(printer, own))) == events.KEPT
    clock[0] += timedelta(seconds=events.EVENT_LIFE + 1)
    assert heard(fetch(printer, own)) == []
    clock[0] += timedelta(seconds=events.LEASE)
    assert fetch(printer, own).code == Status.CLIENT_ERROR_NOT_FOUND
    assert subscribe(printer, (PULL,), user="carl").code == Status.SUCCESSFUL_OK


def test_nothing_looks_while_nobody_has_subscribed(printer: RunningPrinter, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first subscription begins the looks, the end of the last one ends them."""
    looks: list[float] = []
    look = subscriptions.Hub.look

    async def counted(hub: subscriptions.Hub) -> None:
        looks.append(time.monotonic())
        await look(hub)

    monkeypatch.setattr(subscriptions, "LOOK_EVERY", 0.02)
    monkeypatch.setattr(subscriptions.Hub, "look", counted)
    printer.print_job()
    time.sleep(0.2)
    assert looks == []
    own = subscribed(printer)
    time.sleep(0.3)
    assert len(looks) > 2
    ended = printer.request(Operation.CANCEL_SUBSCRIPTION, attribute("notify-subscription-id", own))
    assert printer.ask(ended).code == Status.SUCCESSFUL_OK
    time.sleep(0.2)
    looks.clear()
    time.sleep(0.2)
    assert looks == []


def test_subscriptions_outlive_a_restart(start: Start) -> None:
    """The subscription is a row and its numbers go on; what happened while nobody looked is not made up."""
    first = start(claims={"report_within": 60})
    own = subscribed(first, EVERYTHING)
    first.print_job()
    assert heard(fetch(first, own)) == ["job-created"]
    first.stop()
    again = RunningPrinter(first.folder, {}, {"report_within": 60})
    again.change(1, state="done")
    answer = fetch(again, own)
    assert heard(answer) == ["job-completed"]
    assert answer.first(GroupTag.EVENT_NOTIFICATION).number("notify-sequence-number") == 2
    again.stop()


def test_subscriptions_are_their_makers(printer: RunningPrinter) -> None:
    """Others neither see, renew, end nor read them."""
    own = subscribed(printer, EVERYTHING)
    named = attribute("notify-subscription-id", own)
    for code in (
        Operation.GET_SUBSCRIPTION_ATTRIBUTES,
        Operation.RENEW_SUBSCRIPTION,
        Operation.CANCEL_SUBSCRIPTION,
    ):
        answer = printer.ask(printer.request(code, named, user="bert"))
        assert answer.code == Status.CLIENT_ERROR_NOT_AUTHORIZED
    assert fetch(printer, own, user="bert").code == Status.CLIENT_ERROR_NOT_FOUND
    listed = printer.ask(printer.request(Operation.GET_SUBSCRIPTIONS, user="bert"))
    assert listed.all(GroupTag.SUBSCRIPTION) == ()


def test_subscriptions_are_told_and_renewed(printer: RunningPrinter) -> None:
    own = subscribed(printer, EVERYTHING, attribute("notify-lease-duration", 60))
    named = attribute("notify-subscription-id", own)
    told = printer.ask(printer.request(Operation.GET_SUBSCRIPTION_ATTRIBUTES, named)).first(GroupTag.SUBSCRIPTION)
    assert (told.number("notify-lease-duration"), told.text("notify-subscriber-user-name")) == (60, "anna")
    assert told.texts("notify-events") == events.EVENTS
    longer = printer.request(Operation.RENEW_SUBSCRIPTION, named, attribute("notify-lease-duration", 120))
    renewed = printer.ask(longer).first(GroupTag.SUBSCRIPTION)
    assert renewed.number("notify-lease-duration") == 120
    listed = printer.ask(printer.request(Operation.GET_SUBSCRIPTIONS)).all(GroupTag.SUBSCRIPTION)
    assert [one.number("notify-subscription-id") for one in listed] == [own]
