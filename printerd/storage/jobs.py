"""Rows of the print jobs: how they come, what state they are in, what becomes of them.

One rule: the jobs row is the durable intent. Capture writes it, the worker
takes up what is ``received``; whoever asks reads the row and nothing else.
Every function works inside the caller's transaction, and costs the same with
ten jobs and with a million.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from printerd.model import Blob, CapturedJob, Digest, InvoiceState, JobId, JobState, Ticket
from printerd.storage.schema import invoices, jobs

ACTIVE = (JobState.INCOMING, JobState.RECEIVED, JobState.PROCESSING)
"""States that something will change by itself, at once."""
QUEUED = (*ACTIVE, JobState.PENDING)
"""States of jobs that are still to come (RFC 8011 section 5.4.24)."""
WAITING = (JobState.INCOMING, JobState.PENDING)
"""States of jobs that wait for a document, for their hour or for somebody, however long that is."""
UNTAKEN = (*WAITING, JobState.RECEIVED, JobState.HELD)
"""States of jobs that the pipeline has not taken up, or has let go of."""
AT_WORK = (InvoiceState.READY, InvoiceState.CHECKING)
"""Invoices that are neither archived nor waiting for a person."""
HISTORY = 1000
"""How many job numbers back the list of ended jobs reaches (the Job History phase of RFC 8011 section 5.3.7.1)."""
EVER = datetime.min.replace(tzinfo=UTC)
"""A cutoff before which nothing came: each job stays in the queue until it is really done."""
REPEATED_WITHIN = timedelta(minutes=10)
"""A sender that was never answered and sends the same again within this time means the same job."""
MOST_DOCUMENTS = 500
"""Documents of one job at most."""
ORDER = (*QUEUED, JobState.HELD, JobState.DONE, JobState.ABORTED, JobState.CANCELED)
"""A job of several documents is where the first of these states is that one of them has."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Why a document waits for its release, as an IPP job-state-reason; ``until`` is when it goes by itself."""

    code: str
    until: datetime | None = None

    def columns(self) -> dict[str, Any]:
        return {"state": JobState.PENDING, "reason": {"code": self.code, "facts": {}}, "next_at": self.until}


OPEN = "job-incoming"
"""The wait of documents whose job takes more of them (RFC 8011 section 5.3.8)."""


@dataclass(frozen=True, slots=True)
class Job:
    """One job as its row tells it.

    ``reason`` is ``{"code", "facts"}`` of a job that was aborted, waits or is held; ``message`` is for people;
    ``invoices`` counts what the pipeline found in it by state; ``size`` is in bytes. ``parts`` are its documents
    after the first: rows of their own, which the pipeline works on like any other.
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
    until: datetime | None = None
    part_of: JobId | None = None
    parts: tuple[Job, ...] = ()

    @property
    def code(self) -> str:
        """Why it was aborted, waits or is held."""
        return str(self.reason["code"]) if self.reason else ""

    @property
    def documents(self) -> tuple[Job, ...]:
        """Each document as the job that it would be alone; none while the first is still to come."""
        return (replace(self, parts=()), *self.parts) if self.original is not None else ()

    @property
    def is_open(self) -> bool:
        """Whether it takes documents."""
        return self.state is JobState.INCOMING or (self.state is JobState.PENDING and self.code == OPEN)

    def whole(self) -> Job:
        """All documents as one job: the sum of what was found, and the state of the one that is least far."""
        if not self.parts:
            return self
        last = min(self.documents, key=lambda one: ORDER.index(one.state))
        found: Counter[InvoiceState] = Counter()
        for one in self.documents:
            found.update(one.invoices)
        said = dict.fromkeys(one.message for one in self.documents if one.message)
        return replace(
            last, **self._own(), invoices=found, size=sum(one.size for one in self.documents), message=" ".join(said)
        )

    def _own(self) -> dict[str, Any]:
        """What the job is called, whichever of its documents is looked at."""
        names = ("id", "number", "ticket", "created_at", "parts", "part_of", "original")
        return {name: getattr(self, name) for name in names}

    def settled(self, cutoff: datetime) -> bool:
        """Whether the sender's queue may let go: all is done, or what goes by itself came before ``cutoff``."""
        if self.parts:
            return all(one.settled(cutoff) for one in self.documents)
        if self.state in (JobState.ABORTED, JobState.CANCELED):
            return True
        if self.received_at is None or self.state is JobState.PENDING:
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

Likeness = str | tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Arrival:
    """A document that came whole: its bytes are durable, its row is not there yet.

    A ``sender_key`` names one document of one job of the sender. With a ``wait`` it is not worked on yet.
    """

    ticket: Ticket
    original: Blob
    sender_key: str | None = None
    wait: Wait | None = None

    @property
    def likeness(self) -> Likeness:
        """What is the same when the sender sends the same job again: its key; or, sent again within ten minutes to a
        printer whose answer never went out, the bytes and all that was said of them (other pages are another job).
        """
        return self.sender_key or _likeness(self.original.digest, self.ticket)


def _likeness(original: str, told: Ticket | sa.Row[Any]) -> Likeness:
    return (original, told.printer, told.host, told.user, told.title, frozenset(told.options.items()))


def take(connection: sa.Connection, arrivals: Sequence[Arrival], now: datetime) -> list[CapturedJob]:
    """The jobs of documents that came whole, in their order: one that is sent again is there already, all others are
    new and ``received``, under the next numbers.
    """
    found = _repeated(connection, arrivals, now)
    number, rows, waits = last_number(connection), [], []
    for arrival in arrivals:
        if arrival.likeness not in found:
            number += 1
            job = CapturedJob(JobId(str(uuid.uuid4())), number, arrival.ticket, arrival.original, now)
            rows.append(_row(job.id, number, arrival.ticket, JobState.RECEIVED, now) | _came(arrival, now))
            found[arrival.likeness] = job
            if arrival.wait:
                waits.append((job.id, arrival.wait))
    if rows:
        connection.execute(jobs.insert(), rows)
    for own, wait in waits:
        _change(connection, own, (JobState.RECEIVED,), wait.columns())
    return [found[arrival.likeness] for arrival in arrivals]


def _repeated(connection: sa.Connection, arrivals: Sequence[Arrival], now: datetime) -> dict[Likeness, CapturedJob]:
    """The jobs that are sent again, by their likeness."""
    found: dict[Likeness, CapturedJob] = {}
    if keys := [arrival.sender_key for arrival in arrivals if arrival.sender_key is not None]:
        for row in connection.execute(_SENT_AS, {"keys": keys}):
            found[row.sender_key] = _job(row, {}).captured()
    if originals := [arrival.original.digest for arrival in arrivals if arrival.sender_key is None]:
        for row in connection.execute(_SENT_AGAIN, {"originals": originals, "since": now - REPEATED_WITHIN}):
            found.setdefault(_likeness(row.original, row), _job(row, {}).captured())
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


def receive(
    connection: sa.Connection, job: JobId, ticket: Ticket, original: Blob, now: datetime, wait: Wait | None = None
) -> bool:
    """Give an ``incoming`` job its first document; false when it is no longer waiting for one."""
    going = wait.columns() if wait else {"state": JobState.RECEIVED, "next_at": None}
    return _change(connection, job, (JobState.INCOMING,), _told(ticket) | _document(original, now) | going)


def add(
    connection: sa.Connection, job: JobId, ticket: Ticket, original: Blob, now: datetime, wait: Wait
) -> CapturedJob:
    """One more document of an open job, which waits as the others do."""
    values = _document(original, now) | {"part_of": job}
    own, number = _insert(connection, ticket, JobState.RECEIVED, now, **values)
    _change(connection, own, (JobState.RECEIVED,), wait.columns())
    return CapturedJob(own, number, ticket, original, now)


def wait(connection: sa.Connection, job: JobId, reason: Wait, cutoff: datetime) -> bool:
    """Hold what has come and is not taken up yet; false when there is nothing of it. The queue has let go of what came
    before ``cutoff``: that waits no more."""
    statement = sa.update(jobs).where(_documents_of(job), sa.or_(jobs.c.state == JobState.PENDING, _in_queue(cutoff)))
    return connection.execute(statement.values(**reason.columns())).rowcount > 0


def _in_queue(cutoff: datetime) -> sa.ColumnElement[bool]:
    """Whether it would be taken up next, and has not been shown as completed."""
    return sa.and_(jobs.c.state == JobState.RECEIVED, jobs.c.batch.is_(None), jobs.c.received_at > cutoff)


def release(connection: sa.Connection, job: JobId, now: datetime) -> bool:
    """Let what waits go its way; false when nothing of it does. Its time in the queue begins now."""
    statement = sa.update(jobs).where(_documents_of(job), jobs.c.state == JobState.PENDING)
    return connection.execute(statement.values(**_going(now))).rowcount > 0


def wait_all(connection: sa.Connection, reason: Wait, cutoff: datetime) -> None:
    """Hold everything that would be taken up next, but for what the queue has let go of."""
    connection.execute(sa.update(jobs).where(_in_queue(cutoff)).values(**reason.columns()))


def release_all(connection: sa.Connection, reason: Wait, now: datetime, wait: Wait | None = None) -> None:
    """Let everything go that waits for that reason, or have it ``wait`` for another."""
    statement = sa.update(jobs).where(_waits_for(reason.code))
    connection.execute(statement.values(**(wait.columns() if wait else _going(now))))


def again(connection: sa.Connection, arrival: Arrival, now: datetime) -> JobId:
    """The same document as a new job."""
    job, _ = _insert(connection, arrival.ticket, JobState.RECEIVED, now, **_came(arrival, now))
    if arrival.wait:
        _change(connection, job, (JobState.RECEIVED,), arrival.wait.columns())
    return job


def restart(connection: sa.Connection, job: JobId, now: datetime) -> bool:
    """Work again on what came to nothing; false when it is another job's state, or an invoice was made of it."""
    nothing = sa.not_(sa.exists().where(invoices.c.job == jobs.c.id))
    ended = (JobState.ABORTED, JobState.HELD)
    statement = sa.update(jobs).where(
        _documents_of(job), jobs.c.state.in_(ended), jobs.c.original.is_not(None), nothing
    )
    values = _going(now) | {"message": "", "completed_at": None, "attempts": 0}
    return connection.execute(statement.values(**values)).rowcount > 0


def describe(
    connection: sa.Connection, job: JobId, *, title: str | None = None, options: Mapping[str, str] | None = None
) -> bool:
    """Change what the sender said, while the pipeline has not taken it up; false when it is too late."""
    values = ({} if title is None else {"title": title}) | ({} if options is None else {"options": dict(options)})
    return _change(connection, job, (JobState.INCOMING, JobState.PENDING, JobState.RECEIVED), values)


def _documents_of(job: JobId) -> sa.ColumnElement[bool]:
    return sa.or_(jobs.c.id == job, jobs.c.part_of == job)


def _going(now: datetime) -> dict[str, Any]:
    return {"state": JobState.RECEIVED, "reason": None, "next_at": None, "received_at": now}


def postpone(connection: sa.Connection, job: JobId, deadline: datetime) -> bool:
    """Let an open job, with all its documents, wait for the next one until ``deadline``; false for any other job."""
    is_open = sa.or_(jobs.c.state == JobState.INCOMING, _waits_for(OPEN))
    statement = sa.update(jobs).where(_documents_of(job), is_open)
    return connection.execute(statement.values(next_at=deadline)).rowcount > 0


def _waits_for(code: str) -> sa.ColumnElement[bool]:
    return sa.and_(jobs.c.state == JobState.PENDING, jobs.c.reason["code"].as_string() == code)


def abort(connection: sa.Connection, job: JobId, now: datetime, reason: Mapping[str, Any], message: str) -> bool:
    """End a job that waits for its document; false when it does not."""
    values = {"state": JobState.ABORTED, "reason": dict(reason), "message": message, "completed_at": now}
    return _change(connection, job, (JobState.INCOMING,), values | {"next_at": None})


def cancel(connection: sa.Connection, job: JobId, now: datetime, message: str) -> bool:
    """Cancel what the pipeline has not taken up; false when it is too late, or ended."""
    values = {"state": JobState.CANCELED, "message": message, "completed_at": now, "next_at": None, "reason": None}
    statement = sa.update(jobs).where(_documents_of(job), jobs.c.state.in_(UNTAKEN))
    return connection.execute(statement.values(**values)).rowcount > 0


def cancel_all(
    connection: sa.Connection, cutoff: datetime, now: datetime, message: str, owner: tuple[str, str] | None = None
) -> None:
    """Cancel what waits, and what came after ``cutoff`` and is not taken up; ``owner`` is (user, host)."""
    values = {"state": JobState.CANCELED, "message": message, "completed_at": now, "next_at": None, "reason": None}
    fresh = sa.or_(jobs.c.state.in_(WAITING), jobs.c.received_at > cutoff)
    statement = sa.update(jobs).where(jobs.c.state.in_(UNTAKEN), fresh)
    if owner is not None:
        statement = statement.where(jobs.c.user == owner[0], jobs.c.host == owner[1])
    connection.execute(statement.values(**values))


def mark_answered(connection: sa.Connection, ids: Collection[JobId]) -> None:
    """The sender has its answer: the same bytes again are a reprint, no longer a repetition."""
    if ids:
        connection.execute(_ANSWERED, [{"own": job} for job in ids])


_ANSWERED = sa.update(jobs).where(jobs.c.id == sa.bindparam("own")).values(answered=True)


# Asking


def get(connection: sa.Connection, number: int) -> Job | None:
    """The job of that IPP job-id, with all its documents."""
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
    states: Collection[JobState] = (),
    owner: tuple[str, str] | None = None,
    first: int = 1,
    limit: int = HISTORY,
) -> list[Job]:
    """Jobs by :meth:`Job.settled`, those settled newest first, others oldest first: what waits, and of all others those
    among the last :data:`HISTORY`.

    ``settled=None`` means both, newest first; ``states`` those in one of them; ``owner`` is (user, host); ``first`` is
    the lowest number.
    """
    late = jobs.c.number > last_number(connection) - HISTORY
    reached = sa.union(*(sa.select(jobs.c.number).where(one) for one in (late, jobs.c.state.in_(WAITING))))
    query = sa.select(jobs).where(jobs.c.number.in_(reached), jobs.c.number >= first, jobs.c.part_of.is_(None))
    if states:
        query = query.where(jobs.c.state.in_(list(states)))
    if settled is not None:
        query = query.where(_settled(cutoff) if settled else sa.not_(_settled(cutoff)))
    if owner is not None:
        query = query.where(jobs.c.user == owner[0], jobs.c.host == owner[1])
    order = jobs.c.number.asc() if settled is False else jobs.c.number.desc()
    return _select(connection, query.order_by(order).limit(limit))


def _settled(cutoff: datetime) -> sa.ColumnElement[bool]:
    """:meth:`Job.settled` as the database sees it."""
    part = jobs.alias("part")
    unsettled = sa.exists().where(part.c.part_of == jobs.c.id, sa.not_(_is_settled(part, cutoff)))
    return sa.and_(_is_settled(jobs, cutoff), sa.not_(unsettled))


def _is_settled(row: sa.FromClause, cutoff: datetime) -> sa.ColumnElement[bool]:
    at_work = sa.exists().where(invoices.c.job == row.c.id, invoices.c.state.in_(AT_WORK))
    late = sa.and_(sa.func.coalesce(row.c.received_at <= cutoff, False), row.c.state != JobState.PENDING)
    return sa.or_(
        row.c.state.in_((JobState.ABORTED, JobState.CANCELED)),
        late,
        sa.and_(row.c.state == JobState.DONE, sa.not_(at_work)),
    )


def moving(connection: sa.Connection, known: Collection[int], above: int) -> list[Job]:
    """The jobs of these numbers, and the first :data:`HISTORY` that came after ``above``, by number."""
    query = sa.select(jobs).where(jobs.c.part_of.is_(None)).order_by(jobs.c.number)
    return [  # two questions: asked as one, SQLite reads all jobs there are
        *_select(connection, query.where(jobs.c.number.in_(list(known)))),
        *_select(connection, query.where(jobs.c.number > above).limit(HISTORY)),
    ]


def due(connection: sa.Connection, now: datetime) -> list[JobId]:
    """Jobs that wait for their hour, which has come."""
    query = sa.select(sa.func.coalesce(jobs.c.part_of, jobs.c.id)).where(jobs.c.state == JobState.PENDING)
    return list(connection.scalars(query.where(jobs.c.next_at <= now).distinct()))


def overdue(connection: sa.Connection, now: datetime) -> list[JobId]:
    """Jobs whose document did not come in time."""
    query = sa.select(jobs.c.id).where(jobs.c.state == JobState.INCOMING, jobs.c.next_at < now)
    return list(connection.scalars(query))


def oldest(connection: sa.Connection, states: Collection[JobState]) -> Job | None:
    """The first job in one of these states."""
    query = sa.select(jobs).where(jobs.c.state.in_(list(states)), jobs.c.part_of.is_(None))
    return next(iter(_select(connection, query.order_by(jobs.c.number).limit(1))), None)


def queued(connection: sa.Connection) -> int:
    """How many jobs wait or are at work (RFC 8011 section 5.4.24, queued-job-count)."""
    return connection.scalar(sa.select(sa.func.count()).where(jobs.c.state.in_(QUEUED))) or 0


def counted(connection: sa.Connection) -> tuple[int, int]:
    """How many jobs wait or are at work, and how many of them wait for their release."""
    query = sa.select(jobs.c.state, sa.func.count()).where(jobs.c.state.in_(QUEUED)).group_by(jobs.c.state)
    found = {JobState(state): count for state, count in connection.execute(query)}
    return sum(found.values()), found.get(JobState.PENDING, 0)


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
    """The jobs of a query in its order, each with its other documents and the count of its invoices by state."""
    rows = connection.execute(query).all()
    parts = _parts(connection, [row.id for row in rows])
    counts = _invoice_counts(connection, [row.id for row in (*rows, *parts)])
    others: dict[str, list[Job]] = {}
    for row in parts:
        others.setdefault(row.part_of, []).append(_job(row, counts.get(row.id, {})))
    return [replace(_job(row, counts.get(row.id, {})), parts=tuple(others.get(row.id, ()))) for row in rows]


def _parts(connection: sa.Connection, ids: list[str]) -> Sequence[sa.Row[Any]]:
    query = sa.select(jobs).where(jobs.c.part_of.in_(ids)).order_by(jobs.c.number)
    return connection.execute(query).all() if ids else []


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
        until=row.next_at if row.state == JobState.PENDING else None,
        part_of=row.part_of,
    )
