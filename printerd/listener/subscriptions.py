"""Who has subscribed to events, and how they fetch them (RFC 3995, RFC 3996: Get-Notifications alone, no pushing).

One rule: while nobody has subscribed nothing runs here. With the first
subscription the hub looks once a second at how jobs and printer stand, and
puts what changed into a short queue for each subscriber.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final

import sqlalchemy as sa

from printerd.errors import IppError, TransientError
from printerd.ipp.attributes import ATTRIBUTES, Kind, attribute, select
from printerd.ipp.codec import encode
from printerd.ipp.message import Attribute, Group, GroupTag
from printerd.ipp.registry import Status
from printerd.listener import events
from printerd.listener import jobs as shown
from printerd.listener import printer as claims
from printerd.listener.events import Event, State
from printerd.listener.service import Answer, Call, Service, not_possible
from printerd.storage import jobs
from printerd.storage import subscriptions as rows
from printerd.storage.subscriptions import Subscription

log = logging.getLogger(__name__)

LOOK_EVERY: Final = 1.0
"""Seconds between two looks while somebody has subscribed."""
SWEPT: Final = timedelta(seconds=events.EVENT_LIFE)
_SENTENCES: Final = {
    "job-created": {"en": "Job {job} has come.", "fr": "Le travail {job} est arrivé."},
    "job-completed": {"en": "Job {job} has ended.", "fr": "Le travail {job} est terminé."},
    "job-stopped": {"en": "Job {job} waits.", "fr": "Le travail {job} attend."},
    "job-state-changed": {"en": "The state of job {job} has changed.", "fr": "L’état du travail {job} a changé."},
    "job-config-changed": {"en": "Job {job} was changed.", "fr": "Le travail {job} a été modifié."},
    "printer-config-changed": {"en": "The printer was set otherwise.", "fr": "L’imprimante a été réglée autrement."},
}
"""What everybody may read of an event; what became of a job is its owner's to ask for."""


@dataclass
class Mailbox:
    """One subscription and the events that wait to be fetched, each with its sequence number."""

    subscription: Subscription
    events: deque[tuple[int, str, Event]] = field(default_factory=lambda: deque(maxlen=events.KEPT))
    over_at: datetime | None = None

    def deliver(self, event: Event) -> None:
        name = event.heard_as(self.subscription.events)
        about = self.subscription.job
        if name is None or (about is not None and (event.job is None or event.job.number != about)):
            return
        self.subscription = replace(self.subscription, sequence=self.subscription.sequence + 1)
        self.events.append((self.subscription.sequence, name, event))
        if about is not None and event.job is not None and event.job.over:
            self.over_at = event.at

    def is_over(self, now: datetime) -> bool:
        """Whether its lease has ended or, of one to a job, the job has, and what was to hear of it was heard."""
        ends = self.subscription.expires_at
        return (ends is not None and ends <= now) or (self.over_at is not None and now - self.over_at > SWEPT)


class Hub:
    """All mailboxes. ``start`` and ``stop`` it with the service."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._boxes: dict[int, Mailbox] = {}
        self._known: dict[int, State] = {}
        self._highest = 0
        self._standing: tuple[object, ...] = ()
        self._last = 0
        self._looking = asyncio.Lock()
        self._watch: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Take up the subscriptions that were there before this start."""
        for one in await self._service.read(rows.every):
            self._boxes[one.id] = Mailbox(one)
            self._last = max(self._last, one.id)
        if self._boxes:
            await self._begin()

    async def stop(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)

    async def _begin(self) -> None:
        """Remember how things stand, from which they will differ."""
        if self._watch is None or self._watch.done():
            self._known, self._highest = {}, 0
            open_ones, self._highest = await self._service.read(self._open)
            self._known = {job.number: self._state(job) for job in open_ones}
            self._standing = (await self._service.condition()).standing
            self._watch = asyncio.create_task(self._watch_on())

    def _open(self, connection: sa.Connection) -> tuple[list[jobs.Job], int]:
        cutoff = self._service.cutoff()
        return jobs.listed(connection, cutoff, settled=False), jobs.last_number(connection)

    async def _watch_on(self) -> None:
        while self._boxes:
            await asyncio.sleep(LOOK_EVERY)
            try:
                await self.look()
            except TransientError:
                continue  # the database is away; what changed meanwhile is seen at the next look
            except Exception:
                log.exception("events could not be found")

    async def look(self) -> None:
        """Compare, deliver, and let go of what is over."""
        async with self._looking:
            now = self._service.now()
            found = await self._service.read(lambda one: jobs.moving(one, self._known, self._highest))
            states = [self._state(job) for job in found]
            happened = [*events.of_jobs(self._known, states, now), *await self._of_printer(now)]
            self._known = {state.number: state for state in states[-jobs.HISTORY :] if not state.over}
            self._highest = max([self._highest, *(state.number for state in states)])
            self._deliver(happened)
            await self._sweep(now)

    def _state(self, job: jobs.Job) -> State:
        standing = shown.standing(job, self._service.now(), self._service.report_within)
        return State(job.number, job.id, standing.state, standing.reasons)

    async def _of_printer(self, now: datetime) -> Iterator[Event]:
        before, condition = self._standing, await self._service.condition()
        self._standing = condition.standing
        return events.of_printer(before, condition.standing, condition.reasons[0], now)

    def _deliver(self, happened: Sequence[Event]) -> None:
        before = {own: box.subscription.sequence for own, box in self._boxes.items()}
        for event in happened:
            for box in self._boxes.values():
                box.deliver(event)
        after = {own: box.subscription.sequence for own, box in self._boxes.items()}
        changed = dict(after.items() - before.items())
        if changed:
            self._service.intake.note(partial(rows.count, sequences=changed))

    async def _sweep(self, now: datetime) -> None:
        over = [own for own, box in self._boxes.items() if box.is_over(now)]
        for own in over:
            del self._boxes[own]
        if over:
            await self._service.intake.act(lambda connection, _now: rows.remove(connection, over))
        for box in self._boxes.values():
            while box.events and not events.is_alive(box.events[0][2], now):
                box.events.popleft()

    def tell(self, name: str, job: jobs.Job | None = None) -> None:
        """Something was changed through us that no comparison shows."""
        state = self._state(job) if job is not None else None
        self._deliver([Event((name,), self._service.now(), "none", state)])

    async def add(self, one: Subscription) -> Subscription:
        """Raises :class:`IppError` when there are too many."""
        of_one = sum((box.subscription.user, box.subscription.host) == (one.user, one.host) for box in self.all())
        if len(self._boxes) >= events.MOST or of_one >= events.MOST_OF_ONE:
            raise IppError(Status.CLIENT_ERROR_TOO_MANY_SUBSCRIPTIONS, "There are too many subscriptions.")
        self._last += 1
        new = replace(one, id=self._last)
        self._boxes[new.id] = Mailbox(new)  # its place is taken before anybody else asks
        await self._service.intake.act(lambda connection, _now: rows.put(connection, new))
        await self._begin()
        return new

    async def renew(self, box: Mailbox, lease: int) -> None:
        ends = self._service.now() + timedelta(seconds=lease)
        box.subscription = new = replace(box.subscription, lease=lease, expires_at=ends)
        await self._service.intake.act(lambda connection, _now: rows.put(connection, new))

    async def cancel(self, own: int) -> None:
        self._boxes.pop(own, None)
        await self._service.intake.act(lambda connection, _now: rows.remove(connection, [own]))

    def all(self) -> list[Mailbox]:
        return list(self._boxes.values())

    def find(self, own: int) -> Mailbox | None:
        return self._boxes.get(own)


# Subscribing


async def subscribed(service: Service, call: Call, job: jobs.Job | None) -> tuple[Group, ...]:
    """Make what the request's subscription groups ask for: an answering group for each, in their order."""
    wanted = call.request.message.all(GroupTag.SUBSCRIPTION)
    return tuple([await _subscribe(service, call, given, job) for given in wanted])


async def _subscribe(service: Service, call: Call, given: Group, job: jobs.Job | None) -> Group:
    """RFC 3995 section 5.2: one that cannot be is answered with notify-status-code."""
    try:
        made = await service.hub.add(_wanted(service, call, given, job))
    except IppError as error:
        return Group(GroupTag.SUBSCRIPTION, (attribute("notify-status-code", error.status),))
    lease = () if made.job is not None else (attribute("notify-lease-duration", made.lease),)
    return Group(GroupTag.SUBSCRIPTION, (attribute("notify-subscription-id", made.id), *lease))


def _wanted(service: Service, call: Call, given: Group, job: jobs.Job | None) -> Subscription:
    """Raises :class:`IppError` for what RFC 3995 section 5.3 does not allow."""
    _require_sound(given)
    heard = tuple(event for event in events.EVENTS if event in given.texts("notify-events"))
    if "notify-events" in given and not heard:
        raise IppError(Status.CLIENT_ERROR_ATTRIBUTES_OR_VALUES_NOT_SUPPORTED, "There are no such events.")
    data = given.get("notify-user-data")
    lease = 0 if job is not None else _lease(given.number("notify-lease-duration", events.LEASE))
    return Subscription(
        id=0,
        user=call.request.user,
        host=call.host,
        job=job.number if job is not None else None,
        events=heard or events.EVENTS[:1],
        language=given.text("notify-natural-language") or call.request.language,
        lease=lease,
        expires_at=service.now() + timedelta(seconds=lease) if lease else None,
        interval=given.number("notify-time-interval"),
        user_data=data.value if data is not None and isinstance(data.value, bytes) else None,
    )


def _require_sound(given: Group) -> None:
    for one in given:
        syntax = ATTRIBUTES[Kind.SUBSCRIPTION_TEMPLATE].get(one.name)
        if syntax is not None and not syntax.accepts(one):
            raise IppError(Status.CLIENT_ERROR_BAD_REQUEST, f"{one.name} does not have its syntax.")
    if "notify-recipient-uri" in given:
        raise IppError(Status.CLIENT_ERROR_URI_SCHEME_NOT_SUPPORTED, "Events are fetched, not sent.")
    if given.text("notify-pull-method") != "ippget":
        raise IppError(Status.CLIENT_ERROR_BAD_REQUEST, "notify-pull-method must be ippget.")
    if given.text("notify-charset", "utf-8").lower() != "utf-8":
        raise IppError(Status.CLIENT_ERROR_CHARSET_NOT_SUPPORTED, "notify-charset is not supported.")


def _lease(wanted: int) -> int:
    """Seconds; 0 asks for ever, which nobody gets (RFC 3995 section 5.3.8)."""
    return min(wanted, events.LONGEST_LEASE) if wanted > 0 else events.LONGEST_LEASE


async def create_printer_subscriptions(service: Service, call: Call) -> Answer:
    """RFC 3995 section 11.1.2."""
    return await _created(service, call, None)


async def create_job_subscriptions(service: Service, call: Call) -> Answer:
    """RFC 3995 section 11.1.1."""
    number = call.request.attributes.number("notify-job-id")
    job = await service.read(lambda connection: jobs.get(connection, number)) if number else None
    if job is None:
        raise IppError(Status.CLIENT_ERROR_NOT_FOUND, "There is no such job.")
    if not service.viewer(call).owns(job):
        raise IppError(Status.CLIENT_ERROR_NOT_AUTHORIZED, "The job belongs to somebody else.")
    if job.settled(service.cutoff()):
        raise not_possible("The job has ended already.")
    return await _created(service, call, job)


async def _created(service: Service, call: Call, job: jobs.Job | None) -> Answer:
    groups = await subscribed(service, call, job)
    if not groups:
        raise IppError(Status.CLIENT_ERROR_BAD_REQUEST, "There is no subscription group.")
    failed = sum("notify-status-code" in group for group in groups)
    status = Status.SUCCESSFUL_OK
    if failed:
        everything = failed == len(groups)
        status = (
            Status.CLIENT_ERROR_IGNORED_ALL_SUBSCRIPTIONS if everything else Status.SUCCESSFUL_OK_IGNORED_SUBSCRIPTIONS
        )
    return Answer(encode(call.request.answer(status, *groups, language=service.printer.language)))


# Managing subscriptions


def _own(service: Service, call: Call) -> Mailbox:
    """The subscription that the request is about, of whoever made it, or for the operator."""
    box = service.hub.find(call.request.attributes.number("notify-subscription-id"))
    if box is None or box.is_over(service.now()):
        raise IppError(Status.CLIENT_ERROR_NOT_FOUND, "There is no such subscription.")
    if not _may(service, call, box):
        raise IppError(Status.CLIENT_ERROR_NOT_AUTHORIZED, "The subscription belongs to somebody else.")
    return box


def _may(service: Service, call: Call, box: Mailbox) -> bool:
    one = box.subscription
    return (one.user, one.host) == (call.request.user, call.host) or service.is_operator(call)


def _group(service: Service, call: Call, box: Mailbox, requested: tuple[str, ...]) -> Group:
    one = box.subscription
    told: dict[str, Any] = {
        "notify-subscription-id": one.id,
        "notify-printer-uri": call.base + claims.PATH,
        "notify-subscriber-user-name": one.user,
        "notify-sequence-number": one.sequence,
        "notify-printer-up-time": service.printer.up_time(service.now()),
        "notify-pull-method": "ippget",
        "notify-charset": "utf-8",
        "notify-natural-language": one.language,
        "notify-time-interval": one.interval,
    }
    told |= {"notify-user-data": one.user_data} if one.user_data is not None else {}
    if one.expires_at is not None:
        told["notify-lease-duration"] = one.lease
        told["notify-lease-expiration-time"] = service.printer.up_time(one.expires_at)
    if one.job is not None:
        told["notify-job-id"] = one.job
    built = (attribute("notify-events", *one.events), *(attribute(name, data) for name, data in told.items()))
    return select(Group(GroupTag.SUBSCRIPTION, built), requested)


async def get_subscription_attributes(service: Service, call: Call) -> Answer:
    """RFC 3995 section 11.2.4."""
    group = _group(service, call, _own(service, call), call.request.requested)
    return Answer(encode(service.ok(call, group)))


async def get_subscriptions(service: Service, call: Call) -> Answer:
    """RFC 3995 section 11.2.5. Only the operator sees those of others, so my-subscriptions is for him alone."""
    operation = call.request.attributes
    job = operation.number("notify-job-id") or None
    visible = [box for box in service.hub.all() if box.subscription.job == job and _may(service, call, box)]
    if operation.number("my-subscriptions"):
        me = (call.request.user, call.host)
        visible = [box for box in visible if (box.subscription.user, box.subscription.host) == me]
    requested = call.request.requested or ("notify-subscription-id",)
    listed = visible[: operation.number("limit", events.MOST)]
    return Answer(encode(service.ok(call, *(_group(service, call, box, requested) for box in listed))))


async def renew_subscription(service: Service, call: Call) -> Answer:
    """RFC 3995 section 11.2.6."""
    box = _own(service, call)
    if box.subscription.job is not None:
        raise not_possible("A subscription to a job ends with the job.")
    given = call.request.message.first(GroupTag.SUBSCRIPTION)
    asked = next((one for one in (given, call.request.attributes) if "notify-lease-duration" in one), given)
    lease = _lease(asked.number("notify-lease-duration", events.LEASE))
    await service.hub.renew(box, lease)
    group = Group(GroupTag.SUBSCRIPTION, (attribute("notify-lease-duration", lease),))
    return Answer(encode(service.ok(call, group)))


async def cancel_subscription(service: Service, call: Call) -> Answer:
    """RFC 3995 section 11.2.7."""
    await service.hub.cancel(_own(service, call).subscription.id)
    return Answer(encode(service.ok(call)))


# Fetching events


async def get_notifications(service: Service, call: Call) -> Answer:
    """RFC 3996 section 5. notify-wait is not kept: notify-get-interval says when to ask again."""
    wanted = _wanted_from(call)
    if not wanted:
        raise IppError(Status.CLIENT_ERROR_BAD_REQUEST, "notify-subscription-ids is missing")
    if service.hub.all():
        await service.hub.look()
    found = [(service.hub.find(own), first) for own, first in wanted.items()]
    mine = [(box, first) for box, first in found if box is not None and _may(service, call, box)]
    if not mine:
        raise IppError(Status.CLIENT_ERROR_NOT_FOUND, "There is no such subscription.")
    groups = [
        _event(service, call, box.subscription, number, name, event)
        for box, first in mine
        for number, name, event in box.events
        if number >= first
    ]
    complete = all(box.over_at is not None for box, _ in mine)
    status = Status.SUCCESSFUL_OK_EVENTS_COMPLETE if complete else Status.SUCCESSFUL_OK
    answer = call.request.answer(status, *groups, language=service.printer.language)
    told = [attribute("printer-up-time", service.printer.up_time(service.now()))]
    told += [] if complete else [attribute("notify-get-interval", events.INTERVAL)]
    head = replace(answer.groups[0], attributes=(*answer.groups[0], *told))
    return Answer(encode(replace(answer, groups=(head, *answer.groups[1:]))))


def _wanted_from(call: Call) -> dict[int, int]:
    """The subscriptions that are asked for, each once, with the lowest sequence number that is still wanted."""
    ids, firsts = (_numbers(call, name) for name in ("notify-subscription-ids", "notify-sequence-numbers"))
    return {own: firsts[place] if place < len(firsts) else 1 for place, own in enumerate(ids)}


def _numbers(call: Call, name: str) -> list[int]:
    given = call.request.attributes.get(name)
    return [value.data for value in given.values if isinstance(value.data, int)] if given else []


def _event(service: Service, call: Call, one: Subscription, number: int, name: str, event: Event) -> Group:
    """RFC 3996 section 5.2.2, RFC 3995 section 9.1."""
    told: dict[str, Any] = {
        "notify-subscription-id": one.id,
        "notify-printer-uri": call.base + claims.PATH,
        "notify-subscribed-event": name,
        "notify-sequence-number": number,
        "notify-charset": "utf-8",
        "notify-natural-language": service.printer.language,
        "printer-up-time": service.printer.up_time(event.at),
        "printer-current-time": event.at,
        "notify-text": _words(service.printer.language, name, event),
    }
    told |= {"notify-user-data": one.user_data} if one.user_data is not None else {}
    about = _of_job(event.job) if event.job is not None else _of_printer(service)
    return Group(GroupTag.EVENT_NOTIFICATION, (*(attribute(key, data) for key, data in told.items()), *about))


def _of_job(job: State) -> tuple[Attribute, ...]:
    return (
        attribute("job-id", job.number),
        attribute("job-uuid", f"urn:uuid:{job.uuid}"),
        attribute("job-state", job.state),
        attribute("job-state-reasons", *job.reasons),
    )


def _of_printer(service: Service) -> tuple[Attribute, ...]:
    condition = service.known_condition
    return (
        attribute("printer-state", condition.state),
        attribute("printer-state-reasons", *condition.reasons),
        attribute("printer-is-accepting-jobs", condition.accepting),
    )


def _words(language: str, name: str, event: Event) -> str:
    sentences = _SENTENCES.get(name) or claims.STATES[event.words]
    return sentences.get(language, sentences["en"]).format(job=event.job.number if event.job else 0)
