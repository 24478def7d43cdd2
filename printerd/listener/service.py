"""The world in which operations are done: what a call is, what an answer is, and what all handlers share.

One rule: a handler gets a request that :func:`printerd.ipp.request.check` has
passed, and returns an :class:`Answer` or raises :class:`IppError`; it knows
nothing of HTTP.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, tzinfo
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

import sqlalchemy as sa

from printerd.errors import IppError
from printerd.intake import Intake
from printerd.ipp.attributes import select
from printerd.ipp.codec import encode
from printerd.ipp.message import Attribute, Group, GroupTag, Message
from printerd.ipp.registry import Status
from printerd.ipp.request import Request
from printerd.listener import jobs as shown
from printerd.listener import printer as claims
from printerd.listener.printer import Condition, Printer
from printerd.model import JobId
from printerd.storage import jobs
from printerd.storage.database import Database

if TYPE_CHECKING:
    from printerd.listener.subscriptions import Hub

CONDITION_AGE: Final = timedelta(seconds=1)
"""How old the count of queued jobs may be: clients ask for it in crowds."""
KEPT_ANSWERS: Final = 64

T = TypeVar("T")


class Document(Protocol):
    """The bytes behind a request. Iterating raises :class:`ConnectionError` when the client goes away."""

    @property
    def length(self) -> int | None:
        """Bytes still to come, when the client told."""
        ...

    def __aiter__(self) -> AsyncIterator[bytes]: ...

    async def empty(self) -> bool:
        """Whether there are none at all; waits for the first of them."""
        ...


@dataclass(frozen=True, slots=True)
class Call:
    """One request with its circumstances: the client's ``host`` and the ``base`` under which it reached us."""

    request: Request
    document: Document
    host: str
    base: str


@dataclass(frozen=True, slots=True)
class Answer:
    """``octets`` are the answer as it goes out; ``job`` is the one whose sender waits for exactly this answer."""

    octets: bytes
    job: JobId | None = None


class Service:
    """The world of the handlers. ``operators`` are the hosts from which the printer is managed, as jobs keep them;
    ``zone`` is local time. Each of the ``onlookers`` is called when the printer has changed.
    """

    def __init__(
        self,
        database: Database,
        intake: Intake,
        printer: Printer,
        *,
        report_within: float,
        now: Callable[[], datetime],
        operators: Collection[str] = (),
        zone: tzinfo = UTC,
    ) -> None:
        self.intake = intake
        self.printer = printer
        self.now = now
        self.zone = zone
        self._operators = frozenset(operators)
        self._database = database
        self.report_within = timedelta(seconds=report_within)
        self.hub: Hub
        self.onlookers: list[Callable[[], None]] = []
        self._condition = Condition(0, True, printer.started_at)
        self._counted_at: datetime | None = None
        self._kept: OrderedDict[tuple[object, ...], bytes] = OrderedDict()

    async def read(self, query: Callable[[sa.Connection], T]) -> T:
        """Ask the database in a thread."""

        def inside() -> T:
            with self._database.read() as connection:
                return query(connection)

        return await asyncio.to_thread(inside)

    def cutoff(self) -> datetime:
        """Jobs that came before it are no longer processing."""
        return self.now() - self.report_within

    @property
    def known_condition(self) -> Condition:
        """How the printer was when somebody looked last."""
        return self._condition

    def tell_change(self, job: jobs.Job) -> None:
        """A job was set otherwise by its sender."""
        self.hub.tell("job-config-changed", job)

    def viewer(self, call: Call) -> shown.Viewer:
        return shown.Viewer(call.request.user, call.host, call.base, self.now(), self.report_within, self.printer)

    def is_operator(self, call: Call) -> bool:
        """Whether the printer may be managed from there (RFC 8011 section 9.1: by the policy of its administrator)."""
        return call.host in self._operators

    def require_operator(self, call: Call) -> None:
        if not self.is_operator(call):
            raise IppError(Status.CLIENT_ERROR_NOT_AUTHORIZED, "That is for the operator: see listen.operators.")

    async def job(self, call: Call) -> jobs.Job:
        """The job that the request is about (RFC 8011 section 4.1.5)."""
        number = call.request.job_id
        job = await self.read(lambda connection: jobs.get(connection, number)) if number else None
        if job is None:
            raise IppError(Status.CLIENT_ERROR_NOT_FOUND, "There is no such job.")
        return job

    async def own_job(self, call: Call) -> jobs.Job:
        """The same, for acts that only its owner and the operator may do."""
        job = await self.job(call)
        if not self.viewer(call).owns(job) and not self.is_operator(call):
            raise IppError(Status.CLIENT_ERROR_NOT_AUTHORIZED, "The job belongs to somebody else.")
        return job

    async def condition(self) -> Condition:
        """How the printer is, counted at most once a second."""
        now = self.now()
        if self._counted_at is None or not timedelta() <= now - self._counted_at < CONDITION_AGE:
            self._counted_at = now
            queued, waiting = await self.read(jobs.counted)
            new = replace(
                self._condition,
                queued=queued,
                waiting=waiting,
                has_room=self.intake.has_room(),
                level=self.intake.level(),
                accepting=self.intake.switches.accepting,
                paused=self.intake.switches.paused,
            )
            self._condition = new if new.standing == self._condition.standing else replace(new, since=now)
        return self._condition

    def changed(self, **settings: Any) -> None:
        """Something that an operator set is seen at once, by everybody."""
        self._counted_at = None
        self._kept.clear()
        if settings:
            self.printer = replace(self.printer, changed_at=self.now(), **settings)
            self.hub.tell("printer-config-changed")
            for look in self.onlookers:
                look()

    def known_as(self, dns_sd_name: str) -> None:
        """Others on the network see the printer under this name from now on (PWG 5100.13 section 5.6.8)."""
        if dns_sd_name != self.printer.seen_as:
            self.changed(dns_sd_name=dns_sd_name)

    async def printer_answer(self, call: Call) -> bytes:
        """The Printer's attributes as octets, built once a second for each way of asking."""
        condition, now = await self.condition(), self.now()
        moment, language = (condition, self.printer.up_time(now)), call.request.language[:2]
        key = (call.base, call.request.requested, language, call.request.version, moment)
        octets = self._kept.get(key)
        if octets is None:
            group = select(claims.group(self.printer, call.base, language, condition, now), call.request.requested)
            octets = self._kept[key] = encode(self.ok(call, group))
            if len(self._kept) > KEPT_ANSWERS:
                self._kept.popitem(last=False)
        return octets[:4] + call.request.message.request_id.to_bytes(4) + octets[8:]

    def ok(self, call: Call, *groups: Group, ignored: tuple[Attribute, ...] = ()) -> Message:
        """A successful answer that names what was ignored (RFC 8011 section 4.1.7)."""
        if not ignored:
            return call.request.answer(Status.SUCCESSFUL_OK, *groups, language=self.printer.language)
        status = Status.SUCCESSFUL_OK_IGNORED_OR_SUBSTITUTED_ATTRIBUTES
        refused = Group(GroupTag.UNSUPPORTED, ignored)
        return call.request.answer(status, refused, *groups, language=self.printer.language)

    def job_answer(
        self,
        call: Call,
        job: jobs.Job,
        ignored: tuple[Attribute, ...] = (),
        *,
        more: tuple[Group, ...] = (),
        waits: JobId | None = None,
    ) -> Answer:
        """What every operation answers that makes a job or adds to it; ``waits`` is the document that it took."""
        group = shown.group(job, self.viewer(call), shown.CREATED)
        return Answer(encode(self.ok(call, group, *more, ignored=ignored)), waits)


Handler = Callable[[Service, Call], Awaitable[Answer]]


@dataclass(frozen=True, slots=True)
class Operation:
    """How one operation is done, and whether a document may follow its attributes."""

    handler: Handler
    takes_document: bool = False


def refused(status: Status, operation: Group, name: str, advice: str = "") -> IppError:
    """The error for the value of one attribute, which goes back to the client."""
    given = operation.get(name)
    what = f"{name} '{operation.text(name)}' is not supported. {advice}".strip()
    return IppError(status, what, unsupported=(given,) if given else ())


def not_possible(what: str) -> IppError:
    return IppError(Status.CLIENT_ERROR_NOT_POSSIBLE, what)


def utc_now() -> datetime:
    return datetime.now(UTC)
