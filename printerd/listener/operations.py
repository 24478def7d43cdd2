"""What the printer does: one row of a table for each operation, one handler for each row.

One rule: *operations-supported* is the keys of :data:`OPERATIONS`. A handler
gets a request that :func:`printerd.ipp.request.check` has passed, and returns
an answer or raises :class:`IppError`; it knows nothing of HTTP.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol, TypeVar

import sqlalchemy as sa

from printerd import formats
from printerd.errors import IppError
from printerd.intake import Intake
from printerd.ipp.attributes import select
from printerd.ipp.codec import encode
from printerd.ipp.message import Attribute, Group, GroupTag, Message, unsupported
from printerd.ipp.registry import Operation as Code
from printerd.ipp.registry import Status
from printerd.ipp.request import Request
from printerd.listener import jobs as shown
from printerd.listener import printer as claims
from printerd.listener.printer import Condition, Printer
from printerd.model import CapturedJob, JobId, JobState, Ticket
from printerd.refusals import CAUSES, Refused
from printerd.storage import jobs
from printerd.storage.database import Database

log = logging.getLogger(__name__)

CONDITION_AGE: Final = timedelta(seconds=1)
"""How old the count of queued jobs may be: clients ask for it in crowds."""
KEPT_ANSWERS: Final = 64
JOB_DEFAULT: Final = ("job-uri", "job-id")
"""What Get-Jobs answers when nothing is requested (RFC 8011 section 4.2.6.1)."""
KEPT: Final = frozenset({"document-name", "document-format", "document-charset", "document-natural-language"})
"""Operation attributes that are kept with the job's options."""

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
    """The world of the handlers."""

    def __init__(
        self, database: Database, intake: Intake, printer: Printer, *, report_within: float, now: Callable[[], datetime]
    ) -> None:
        self.intake = intake
        self.printer = printer
        self.now = now
        self._database = database
        self._report_within = timedelta(seconds=report_within)
        self._condition = Condition(0, True, printer.started_at)
        self._counted_at: datetime | None = None
        self._kept: OrderedDict[tuple[object, ...], bytes] = OrderedDict()

    async def read(self, query: Callable[[sa.Connection], T]) -> T:
        """Ask the database in a thread."""

        def inside() -> T:
            with self._database.read() as connection:
                return query(connection)

        return await asyncio.to_thread(inside)

    def viewer(self, call: Call) -> shown.Viewer:
        return shown.Viewer(call.request.user, call.host, call.base, self.now(), self._report_within, self.printer)

    async def job(self, call: Call) -> jobs.Job:
        """The job that the request is about (RFC 8011 section 4.1.5)."""
        number = call.request.job_id
        job = await self.read(lambda connection: jobs.get(connection, number)) if number else None
        if job is None:
            raise IppError(Status.CLIENT_ERROR_NOT_FOUND, "There is no such job.")
        return job

    async def own_job(self, call: Call) -> jobs.Job:
        """The same, for acts that only its owner may do."""
        job = await self.job(call)
        if not self.viewer(call).owns(job):
            raise IppError(Status.CLIENT_ERROR_NOT_AUTHORIZED, "The job belongs to somebody else.")
        return job

    async def condition(self) -> Condition:
        """How the printer is, counted at most once a second."""
        now = self.now()
        if self._counted_at is None or not timedelta() <= now - self._counted_at < CONDITION_AGE:
            self._counted_at = now
            new = replace(self._condition, queued=await self.read(jobs.queued), has_room=self.intake.has_room())
            changed = (new.state, new.reason) != (self._condition.state, self._condition.reason)
            self._condition = replace(new, since=now) if changed else new
        return self._condition

    async def printer_answer(self, call: Call) -> bytes:
        """The Printer's attributes as octets, built once a second for each way of asking."""
        condition, now = await self.condition(), self.now()
        moment = (condition, self.printer.up_time(now))
        key = (call.base, call.request.requested, call.request.version, moment)
        octets = self._kept.get(key)
        if octets is None:
            group = select(claims.group(self.printer, call.base, condition, now), call.request.requested)
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
        self, call: Call, job: jobs.Job, ignored: tuple[Attribute, ...] = (), *, waits: bool = True
    ) -> Answer:
        """What every operation answers that makes a job or adds to it."""
        group = shown.group(job, self.viewer(call), shown.CREATED)
        return Answer(encode(self.ok(call, group, ignored=ignored)), job.id if waits else None)


Handler = Callable[[Service, Call], Awaitable[Answer]]


# Making jobs


def _checked(call: Call) -> tuple[Attribute, ...]:
    """What will be ignored of the request; raises for what cannot be (RFC 8011 section 4.2.1.1)."""
    operation = call.request.attributes
    compression, media_type = operation.text("compression", "none"), operation.text("document-format")
    if compression not in claims.COMPRESSIONS:
        raise _refused(Status.CLIENT_ERROR_COMPRESSION_NOT_SUPPORTED, operation, "compression")
    if not formats.known(media_type):
        raise _refused(Status.CLIENT_ERROR_DOCUMENT_FORMAT_NOT_SUPPORTED, operation, "document-format")
    ignored = tuple(_unsupported(given) for given in call.request.job_attributes if not claims.takes(given))
    if ignored and operation.number("ipp-attribute-fidelity"):
        status = Status.CLIENT_ERROR_ATTRIBUTES_OR_VALUES_NOT_SUPPORTED
        raise IppError(status, "The job asks for what this printer does not do.", unsupported=ignored)
    return ignored


def _unsupported(given: Attribute) -> Attribute:
    """As it was given when only its value is unsupported, else with the value 'unsupported'."""
    return given if given.name in claims.OPTIONS else Attribute.of(given.name, unsupported())


def _refused(status: Status, operation: Group, name: str) -> IppError:
    given = operation.get(name)
    what = f"{name} '{operation.text(name)}' is not supported."
    return IppError(status, what, unsupported=(given,) if given else ())


def _ticket(service: Service, call: Call) -> Ticket:
    """What the sender said, as it was said."""
    operation = call.request.attributes
    options = claims.options(call.request.job_attributes, KEPT, operation)
    if (compression := operation.text("compression", "none")) != "none":
        options["compression"] = compression
    return Ticket(
        printer=service.printer.name,
        user=call.request.user,
        host=call.host,
        title=operation.text("job-name") or operation.text("document-name"),
        media_type=operation.text("document-format"),
        source="ipp",
        options=options,
    )


async def _accepted(service: Service, call: Call, ticket: Ticket, job: JobId | None = None) -> CapturedJob:
    operation = call.request.attributes
    try:
        return await service.intake.accept(
            ticket,
            aiter(call.document),
            job_id=job,
            compression=operation.text("compression", "none"),
            expected=call.document.length,
        )
    except Refused as refused:
        given = operation.get("document-format")
        if refused.status == CAUSES["unknown-format"].status and given:
            refused.unsupported = (given,)
        raise


async def _captured(service: Service, captured: CapturedJob, began: datetime) -> jobs.Job:
    """The job as it is now: fresh, or further on when this was a repetition."""
    if captured.received_at < began:
        known = await service.read(lambda connection: jobs.find(connection, captured.id))
        if known is not None:
            return known
    return jobs.Job(
        id=captured.id,
        number=captured.number,
        ticket=captured.ticket,
        state=JobState.RECEIVED,
        original=captured.original.digest,
        size=captured.original.size,
        answered=False,
        reason=None,
        message="",
        created_at=captured.received_at,
        received_at=captured.received_at,
        completed_at=None,
    )


async def _print_job(service: Service, call: Call) -> Answer:
    """RFC 8011 section 4.2.1."""
    ignored, began = _checked(call), service.now()
    captured = await _accepted(service, call, _ticket(service, call))
    return service.job_answer(call, await _captured(service, captured, began), ignored)


async def _validate_job(service: Service, call: Call) -> Answer:
    """RFC 8011 section 4.2.3."""
    return Answer(encode(service.ok(call, ignored=_checked(call))))


async def _create_job(service: Service, call: Call) -> Answer:
    """RFC 8011 section 4.2.4."""
    ignored = _checked(call)
    job = await service.intake.open_job(_ticket(service, call))
    return service.job_answer(call, job, ignored, waits=False)


async def _send_document(service: Service, call: Call) -> Answer:
    """RFC 8011 section 4.3.1. The first document closes the job: it takes one."""
    operation = call.request.attributes
    if "last-document" not in operation:
        raise IppError(Status.CLIENT_ERROR_BAD_REQUEST, "last-document is missing")
    ignored = _checked(call)
    job, began = await service.own_job(call), service.now()
    if await call.document.empty():
        return await _closed(service, call, job, last=bool(operation.number("last-document")))
    captured = await _accepted(service, call, _joined(job.ticket, _ticket(service, call)), job.id)
    return service.job_answer(call, await _captured(service, captured, began), ignored)


def _joined(created: Ticket, sent: Ticket) -> Ticket:
    """Create-Job names the job, Send-Document describes the document."""
    options = {**created.options, **sent.options}
    return replace(created, title=created.title or sent.title, media_type=sent.media_type, options=options)


async def _closed(service: Service, call: Call, job: jobs.Job, *, last: bool) -> Answer:
    """A Send-Document without data ends the sequence, and means nothing unless it is the last one."""
    if not last:
        raise IppError(Status.CLIENT_ERROR_BAD_REQUEST, "The document is empty.")
    await service.intake.close_job(job.id)
    return service.job_answer(call, await service.job(call), waits=False)


async def _close_job(service: Service, call: Call) -> Answer:
    """PWG 5100.7 section 5.1."""
    job = await service.own_job(call)
    if job.state in (JobState.ABORTED, JobState.CANCELED, JobState.DONE):
        raise IppError(Status.CLIENT_ERROR_NOT_POSSIBLE, "The job has ended already.")
    return await _closed(service, call, job, last=True)


# Ending jobs


async def _cancel_job(service: Service, call: Call) -> Answer:
    """RFC 8011 section 4.3.3."""
    job = await service.own_job(call)
    over = job.settled(service.viewer(call).cutoff)  # the queue has let go of it
    if over or not await service.intake.cancel(job.id):
        raise IppError(Status.CLIENT_ERROR_NOT_POSSIBLE, "The job is being worked on, or has ended already.")
    return Answer(encode(service.ok(call)))


async def _cancel_my_jobs(service: Service, call: Call) -> Answer:
    """PWG 5100.11 section 5.2: all of them or, when one of job-ids cannot be, none."""
    given = call.request.attributes.get("job-ids")
    mine = await (_named(service, call, given) if given else _unfinished(service, call))
    for job in mine:
        await service.intake.cancel(job.id)
    return Answer(encode(service.ok(call)))


async def _unfinished(service: Service, call: Call) -> list[jobs.Job]:
    viewer = service.viewer(call)
    owner = (viewer.user, viewer.host)
    return await service.read(lambda connection: jobs.listed(connection, viewer.cutoff, settled=False, owner=owner))


async def _named(service: Service, call: Call, given: Attribute) -> list[jobs.Job]:
    numbers = [number for number in given.data if isinstance(number, int)]
    found = await service.read(lambda connection: [jobs.get(connection, number) for number in numbers])
    viewer = service.viewer(call)
    mine = [job for job in found if job is not None]
    if len(mine) < len(found):
        raise IppError(Status.CLIENT_ERROR_NOT_FOUND, "There is no such job.", unsupported=(given,))
    if not all(viewer.owns(job) for job in mine):
        status = Status.CLIENT_ERROR_NOT_AUTHORIZED
        raise IppError(status, "One of the jobs belongs to somebody else.", unsupported=(given,))
    if any(job.settled(viewer.cutoff) for job in mine):
        raise IppError(Status.CLIENT_ERROR_NOT_POSSIBLE, "One of the jobs has ended.", unsupported=(given,))
    return mine


# Asking


async def _get_job_attributes(service: Service, call: Call) -> Answer:
    """RFC 8011 section 4.3.4."""
    group = shown.group(await service.job(call), service.viewer(call), call.request.requested)
    return Answer(encode(service.ok(call, group)))


async def _get_jobs(service: Service, call: Call) -> Answer:
    """RFC 8011 section 4.2.6; which-jobs of PWG 5100.7 as far as they are claimed."""
    operation, viewer = call.request.attributes, service.viewer(call)
    which = operation.text("which-jobs", "not-completed")
    if which not in claims.WHICH_JOBS:
        raise _refused(Status.CLIENT_ERROR_ATTRIBUTES_OR_VALUES_NOT_SUPPORTED, operation, "which-jobs")
    settled = {"completed": True, "not-completed": False}.get(which)
    owner = (viewer.user, viewer.host) if operation.number("my-jobs") else None
    limit, first = operation.number("limit", jobs.HISTORY), operation.number("first-job-id", 1)
    found = await service.read(
        lambda connection: jobs.listed(
            connection, viewer.cutoff, settled=settled, owner=owner, first=first, limit=min(limit, jobs.HISTORY)
        )
    )
    requested = call.request.requested or JOB_DEFAULT
    return Answer(encode(service.ok(call, *(shown.group(job, viewer, requested) for job in found))))


async def _get_printer_attributes(service: Service, call: Call) -> Answer:
    """RFC 8011 section 4.2.5."""
    media_type = call.request.attributes.text("document-format")
    if not formats.known(media_type):
        raise _refused(Status.CLIENT_ERROR_DOCUMENT_FORMAT_NOT_SUPPORTED, call.request.attributes, "document-format")
    return Answer(await service.printer_answer(call))


async def _identify_printer(service: Service, call: Call) -> Answer:
    """PWG 5100.13 section 5.1: a program has neither lamp nor bell; the operator's log says who asked."""
    log.warning("%s asks which printer this is: %s", call.host, service.printer.name)
    return Answer(encode(service.ok(call)))


@dataclass(frozen=True, slots=True)
class Operation:
    """How one operation is done, and whether a document may follow its attributes."""

    handler: Handler
    takes_document: bool = False


OPERATIONS: Final[Mapping[Code, Operation]] = {
    Code.PRINT_JOB: Operation(_print_job, takes_document=True),
    Code.VALIDATE_JOB: Operation(_validate_job),
    Code.CREATE_JOB: Operation(_create_job),
    Code.SEND_DOCUMENT: Operation(_send_document, takes_document=True),
    Code.CANCEL_JOB: Operation(_cancel_job),
    Code.GET_JOB_ATTRIBUTES: Operation(_get_job_attributes),
    Code.GET_JOBS: Operation(_get_jobs),
    Code.GET_PRINTER_ATTRIBUTES: Operation(_get_printer_attributes),
    Code.CANCEL_MY_JOBS: Operation(_cancel_my_jobs),
    Code.CLOSE_JOB: Operation(_close_job),
    Code.IDENTIFY_PRINTER: Operation(_identify_printer),
}


def utc_now() -> datetime:
    return datetime.now(UTC)
