"""Rows of the print jobs: how they come, what state they are in, what becomes of them.

One rule: the jobs row is the durable intent. Capture writes it, the worker
takes up what is ``received``; whoever asks reads the row and nothing else.
Every function works inside the caller's transaction, and costs the same with
ten jobs and with a million.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from printerd.model import Blob, CapturedJob, Digest, InvoiceState, JobId, JobState, Ticket
from printerd.storage.schema import invoices, jobs

QUEUED = (JobState.INCOMING, JobState.RECEIVED, JobState.PROCESSING)
"""States that something will change by itself."""
AT_WORK = (InvoiceState.READY, InvoiceState.CHECKING)
"""Invoices that are neither archived nor waiting for a person."""
HISTORY = 1000
"""How many job numbers back the list of ended jobs reaches (the Job History phase of RFC 8011 section 5.3.7.1)."""
REPEATED_WITHIN = timedelta(minutes=10)
"""A sender that was never answered and sends the same again within this time means the same job."""


@dataclass(frozen=True, slots=True)
class Job:
    """One job as its row tells it.

    ``reason`` is ``{"code", "facts"}`` of a job that was aborted or is held; ``message`` is for people;
    ``invoices`` counts what the pipeline found in it by state; ``size`` is in bytes.
    """

    id: JobId
    number: int
    ticket: Ticket
    state: JobState
    original: Digest | None
    size: int
    answered: bool
    reason: Mapping[str, Any] | None
    message: str
    created_at: datetime
    received_at: datetime | None
    completed_at: datetime | None
    invoices: Mapping[InvoiceState, int] = field(default_factory=dict)

    def settled(self, cutoff: datetime) -> bool:
        """Whether the sender's queue may let go: all is done, or the job came before ``cutoff``."""
        if self.state in (JobState.ABORTED, JobState.CANCELED):
            return True
        if self.received_at is None:
            return False
        done = self.state is JobState.DONE and not any(self.invoices.get(state) for state in AT_WORK)
        return done or self.received_at <= cutoff

    def captured(self) -> CapturedJob:
        """The job as one whose bytes are durable. Raises ``ValueError`` while it has none."""
        if self.original is None or self.received_at is None:
            raise ValueError(f"job {self.number} has no document yet")
        blob = Blob(self.original, self.size, self.ticket.media_type)
        return CapturedJob(self.id, self.number, self.ticket, blob, self.received_at)


# Coming in


@dataclass(frozen=True, slots=True)
class Arrival:
    """A document that came whole: its bytes are durable, its row is not there yet.

    A ``sender_key`` names one document of one job of the sender.
    """

    ticket: Ticket
    original: Blob
    sender_key: str | None = None

    @property
    def likeness(self) -> tuple[str, ...]:
        """What is the same when the sender sends the same job again: its key; or, sent again within ten minutes to a
        printer whose answer never went out, the bytes, the user, the host and the title.
        """
        if self.sender_key is not None:
            return (self.sender_key,)
        return (self.original.digest, self.ticket.host, self.ticket.user, self.ticket.title)


def take(connection: sa.Connection, arrivals: Sequence[Arrival], now: datetime) -> list[CapturedJob]:
    """The jobs of documents that came whole, in their order: one that is sent again is there already, all others are
    new and ``received``, under the next numbers.
    """
    found = _repeated(connection, arrivals, now)
    number, rows = last_number(connection), []
    for arrival in arrivals:
        if arrival.likeness not in found:
            number += 1
            job = CapturedJob(JobId(str(uuid.uuid4())), number, arrival.ticket, arrival.original, now)
            rows.append(_row(job.id, number, arrival.ticket, JobState.RECEIVED, now) | _came(arrival, now))
            found[arrival.likeness] = job
    if rows:
        connection.execute(jobs.insert(), rows)
    return [found[arrival.likeness] for arrival in arrivals]


def _repeated(
    connection: sa.Connection, arrivals: Sequence[Arrival], now: datetime
) -> dict[tuple[str, ...], CapturedJob]:
    """The jobs that are sent again, by their likeness."""
    found: dict[tuple[str, ...], CapturedJob] = {}
    if keys := [arrival.sender_key for arrival in arrivals if arrival.sender_key is not None]:
        for row in connection.execute(_SENT_AS, {"keys": keys}):
            found[row.sender_key,] = _job(row, {}).captured()
    if originals := [arrival.original.digest for arrival in arrivals if arrival.sender_key is None]:
        for row in connection.execute(_SENT_AGAIN, {"originals": originals, "since": now - REPEATED_WITHIN}):
            found.setdefault((row.original, row.host, row.user, row.title), _job(row, {}).captured())
    return found


# Built once: every print asks.
_SENT_AS = sa.select(jobs).where(jobs.c.sender_key.in_(sa.bindparam("keys", expanding=True)))
_SENT_AGAIN = (
    sa.select(jobs)
    .where(jobs.c.original.in_(sa.bindparam("originals", expanding=True)))
    .where(jobs.c.answered.is_(False), jobs.c.state != JobState.CANCELED)
    .where(jobs.c.received_at >= sa.bindparam("since"))
    .order_by(jobs.c.number)
)


def open_job(connection: sa.Connection, ticket: Ticket, now: datetime, deadline: datetime) -> Job:
    """A job that waits for its document until ``deadline`` (RFC 8011 section 4.2.4)."""
    job, number = _insert(connection, ticket, JobState.INCOMING, now, next_at=deadline)
    return Job(job, number, ticket, JobState.INCOMING, None, 0, False, None, "", now, None, None)


def refuse(
    connection: sa.Connection, ticket: Ticket, now: datetime, reason: Mapping[str, Any], message: str
) -> tuple[JobId, int]:
    """Record a job whose document was not taken: ``aborted`` from the start."""
    return _insert(connection, ticket, JobState.ABORTED, now, reason=dict(reason), message=message, completed_at=now)


def receive(connection: sa.Connection, job: JobId, ticket: Ticket, original: Blob, now: datetime) -> bool:
    """Give an ``incoming`` job its document; false when it is no longer waiting for one."""
    values = _told(ticket) | _document(original, now) | {"state": JobState.RECEIVED, "next_at": None}
    return _change(connection, job, (JobState.INCOMING,), values)


def postpone(connection: sa.Connection, job: JobId, deadline: datetime) -> bool:
    """Let an ``incoming`` job wait until ``deadline``."""
    return _change(connection, job, (JobState.INCOMING,), {"next_at": deadline})


def abort(connection: sa.Connection, job: JobId, now: datetime, reason: Mapping[str, Any], message: str) -> bool:
    """End a job that waits for its document; false when it does not."""
    values = {"state": JobState.ABORTED, "reason": dict(reason), "message": message, "completed_at": now}
    return _change(connection, job, (JobState.INCOMING,), values | {"next_at": None})


def cancel(connection: sa.Connection, job: JobId, now: datetime, message: str) -> bool:
    """Cancel what the pipeline has not taken up; false when it is too late, or ended."""
    values = {"state": JobState.CANCELED, "message": message, "completed_at": now, "next_at": None}
    return _change(connection, job, (JobState.INCOMING, JobState.RECEIVED, JobState.HELD), values)


def mark_answered(connection: sa.Connection, ids: Collection[JobId]) -> None:
    """The sender has its answer: the same bytes again are a reprint, no longer a repetition."""
    if ids:
        connection.execute(_ANSWERED, [{"own": job} for job in ids])


_ANSWERED = sa.update(jobs).where(jobs.c.id == sa.bindparam("own")).values(answered=True)


# Asking


def get(connection: sa.Connection, number: int) -> Job | None:
    """The job of that IPP job-id."""
    return next(iter(_select(connection, sa.select(jobs).where(jobs.c.number == number))), None)


def find(connection: sa.Connection, job: JobId) -> Job | None:
    return next(iter(_select(connection, sa.select(jobs).where(jobs.c.id == job))), None)


def several(connection: sa.Connection, ids: Collection[str]) -> list[Job]:
    """The jobs of these ids, by number."""
    return _select(connection, sa.select(jobs).where(jobs.c.id.in_(list(ids))).order_by(jobs.c.number)) if ids else []


def listed(
    connection: sa.Connection,
    cutoff: datetime,
    *,
    settled: bool | None = None,
    owner: tuple[str, str] | None = None,
    first: int = 1,
    limit: int = HISTORY,
) -> list[Job]:
    """Jobs among the last :data:`HISTORY`, by :meth:`Job.settled`: those settled newest first, others oldest first.

    ``settled=None`` means both, newest first; ``owner`` is (user, host); ``first`` is the lowest number.
    """
    oldest = max(first, last_number(connection) - HISTORY + 1)
    query = sa.select(jobs).where(jobs.c.number >= oldest)
    if settled is not None:
        query = query.where(_settled(cutoff) if settled else sa.not_(_settled(cutoff)))
    if owner is not None:
        query = query.where(jobs.c.user == owner[0], jobs.c.host == owner[1])
    order = jobs.c.number.asc() if settled is False else jobs.c.number.desc()
    return _select(connection, query.order_by(order).limit(limit))


def _settled(cutoff: datetime) -> sa.ColumnElement[bool]:
    """:meth:`Job.settled` as the database sees it."""
    at_work = sa.exists().where(invoices.c.job == jobs.c.id, invoices.c.state.in_(AT_WORK))
    return sa.or_(
        jobs.c.state.in_((JobState.ABORTED, JobState.CANCELED)),
        sa.func.coalesce(jobs.c.received_at <= cutoff, False),
        sa.and_(jobs.c.state == JobState.DONE, sa.not_(at_work)),
    )


def overdue(connection: sa.Connection, now: datetime) -> list[JobId]:
    """Jobs whose document did not come in time."""
    query = sa.select(jobs.c.id).where(jobs.c.state == JobState.INCOMING, jobs.c.next_at < now)
    return list(connection.scalars(query))


def queued(connection: sa.Connection) -> int:
    """How many jobs wait or are at work (RFC 8011 section 5.4.24, queued-job-count)."""
    return connection.scalar(sa.select(sa.func.count()).where(jobs.c.state.in_(QUEUED))) or 0


def last_number(connection: sa.Connection) -> int:
    return connection.scalar(_LAST_NUMBER) or 0


_LAST_NUMBER = sa.select(sa.func.max(jobs.c.number))


# Rows


def _insert(
    connection: sa.Connection, ticket: Ticket, state: JobState, now: datetime, **values: Any
) -> tuple[JobId, int]:
    """Numbers are dense from 1: the caller's transaction holds the write lock (``Database.write``)."""
    job, number = JobId(str(uuid.uuid4())), last_number(connection) + 1
    connection.execute(jobs.insert(), _row(job, number, ticket, state, now) | values)
    return job, number


def _row(job: JobId, number: int, ticket: Ticket, state: JobState, now: datetime) -> dict[str, Any]:
    return {"id": job, "number": number, "state": state, "created_at": now} | _told(ticket)


def _told(ticket: Ticket) -> dict[str, Any]:
    names = ("printer", "user", "host", "title", "media_type", "source")
    return {name: getattr(ticket, name) for name in names} | {"options": dict(ticket.options)}


def _came(arrival: Arrival, now: datetime) -> dict[str, Any]:
    return _document(arrival.original, now) | {"sender_key": arrival.sender_key}


def _document(original: Blob, now: datetime) -> dict[str, Any]:
    return {"original": original.digest, "size": original.size, "received_at": now}


def _change(connection: sa.Connection, job: JobId, states: Iterable[JobState], values: Mapping[str, Any]) -> bool:
    statement = sa.update(jobs).where(jobs.c.id == job, jobs.c.state.in_(list(states))).values(**values)
    return connection.execute(statement).rowcount == 1


def _select(connection: sa.Connection, query: sa.Select[Any]) -> list[Job]:
    """The jobs of a query in its order, each with the count of its invoices by state."""
    rows = connection.execute(query).all()
    counts = _invoice_counts(connection, [row.id for row in rows])
    return [_job(row, counts.get(row.id, {})) for row in rows]


def _invoice_counts(connection: sa.Connection, ids: list[str]) -> dict[str, dict[InvoiceState, int]]:
    if not ids:
        return {}
    query = sa.select(invoices.c.job, invoices.c.state, sa.func.count().label("count"))
    counts: dict[str, dict[InvoiceState, int]] = {}
    for row in connection.execute(query.where(invoices.c.job.in_(ids)).group_by(invoices.c.job, invoices.c.state)):
        counts.setdefault(row.job, {})[InvoiceState(row.state)] = row[2]
    return counts


def _job(row: sa.Row[Any], counts: Mapping[InvoiceState, int]) -> Job:
    return Job(
        id=JobId(row.id),
        number=row.number,
        ticket=Ticket(row.printer, row.user, row.host, row.title, row.media_type, row.source, row.options),
        state=JobState(row.state),
        original=row.original,
        size=row.size or 0,
        answered=row.answered,
        reason=row.reason,
        message=row.message,
        created_at=row.created_at,
        received_at=row.received_at,
        completed_at=row.completed_at,
        invoices=counts,
    )
