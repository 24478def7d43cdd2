"""The one door: a document is on disk, in its folder and in a row before its sender is answered.

One rule: what :meth:`Intake.accept` returns survives the next power cut; what
it raises left nothing but, at most, a row that says why. Whichever way a
document came (IPP, a CUPS queue, a folder), it comes through here::

    stream → spool file, inflated, hashed, limited    while it arrives, the last piece by the writer
           → file synced, renamed to its digest, folder synced, row committed
                                                      by one writer for all that wait

The document is what the sender meant to print: a compressed one is archived
inflated, because compression belongs to the transport (RFC 8011 section
5.4.32), and its digest is that of the inflated bytes.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final, Self, TypeVar

import sqlalchemy as sa

from printerd.choices import ANYTHING, DEFAULTS, Policy
from printerd.errors import TransientError
from printerd.model import CapturedJob, JobId, JobState, Ticket
from printerd.refusals import Refused
from printerd.storage import instance, jobs
from printerd.storage.blobs import Blobs
from printerd.storage.database import Database
from printerd.storage.instance import Switches
from printerd.storage.jobs import Wait
from printerd.storage.spool import PIECE, SPOOLED, Room, Spool, Upload
from printerd.storage.writer import Writer
from printerd.terminal import plain

THREADS: Final = 8
PAUSED: Final = Wait("printer-stopped")
HELD_BACK: Final = Wait("job-held-for-release")
"""What documents wait for that come while the printer is paused, or holds new jobs back."""
UNRECORDED: Final = frozenset({"closed", "too-many-documents"})
"""Refusals that say nothing of a document: they leave no row, and no job as other than it was."""

T = TypeVar("T")


class NotAccepting(TransientError):
    """The operator has closed the printer. Print clients, raw senders, LPD and the hot folder wait until it is open."""

    ipp_status = 0x0506  # server-error-not-accepting-jobs (RFC 8011 appendix B.1.5.7)

    def __init__(self) -> None:
        super().__init__("The printer takes no jobs for now: its operator has closed it.", remedy="Open it again.")


@dataclass(frozen=True, slots=True)
class _Incoming:
    """A document that has come, as a new job or for the open ``job``."""

    ticket: Ticket
    spool: Spool
    job: JobId | None
    sender_key: str | None
    wait: Wait | None = None
    last: bool = True

    def arrival(self) -> jobs.Arrival:
        """With what the bytes are, once they are all there."""
        ticket = replace(self.ticket, media_type=self.spool.media_type)
        return jobs.Arrival(ticket, self.spool.blob(), self.sender_key, self.wait)


class Intake:
    """Takes documents in for one event loop: ``async with`` it around everything that prints.

    ``document_limit`` bounds one document and ``free_space`` is what stays free on
    the disk, both in bytes. ``committed`` is called, in the loop, whenever there is
    something for the worker. ``document_timeout`` is how many seconds a job without
    a document waits for it (RFC 8011 section 5.4.31, multiple-operation-time-out).
    ``policy`` is what senders may choose for their invoices.
    Messages for people are written in ``language``.
    """

    def __init__(
        self,
        database: Database,
        blobs: Blobs,
        *,
        document_limit: int,
        free_space: int,
        committed: Callable[[], None],
        document_timeout: int = 60,
        policy: Policy = ANYTHING,
        language: str = "en",
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.document_limit = document_limit
        self.document_timeout = document_timeout
        self.policy = policy
        self._database = database
        self._blobs = blobs
        self._language = language
        self._now = now
        self.switches = Switches()
        self._committed = committed
        self._room = Room(blobs, free_space)
        self._writer = Writer(database, blobs, self._take, committed)
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="spool")
        self._uploading: set[JobId] = set()  # the sweep leaves them alone
        self._answered: list[JobId] = []
        self._sweeper: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await self.recover()
        self._sweeper = asyncio.create_task(self._sweep_for_ever())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._sweeper is not None:
            self._sweeper.cancel()
            await asyncio.gather(self._sweeper, return_exceptions=True)
        await self._writer.close()
        self._threads.shutdown()

    # Taking a document

    async def accept(
        self,
        ticket: Ticket,
        stream: AsyncIterator[bytes],
        *,
        job_id: JobId | None = None,
        sender_key: str | None = None,
        compression: str = "none",
        expected: int | None = None,
        wait: Wait | None = None,
        last: bool = True,
    ) -> CapturedJob:
        """Take one document: as a new job, or as a document of the open job ``job_id``, the ``last`` of it or not.

        With a ``wait``, and while an operator wants it, nothing is done with it until its release. ``stream`` raises
        :class:`ConnectionError` or :class:`TimeoutError` when the sender goes away before the end. ``expected`` is the
        length in bytes when the sender told it. ``ticket.media_type`` is what the sender declared, the job's what the
        bytes are. A repetition of a job that is already here (:attr:`printerd.storage.jobs.Arrival.likeness`) returns
        that job.

        Raises :class:`Refused`, with the job ``aborted`` (but an open job whose upload was cut stays open),
        and :class:`TransientError` when the disk or the database is away, or the printer is closed.
        """
        uploading = {job_id} if job_id is not None else set()
        self._uploading |= uploading
        try:
            self._require_accepting()
            self._require_allowed(ticket)
            if expected is not None and expected > self.document_limit:
                raise Refused("too-large", limit=self.document_limit)
            with Upload(self._room, expected) as upload:
                with Spool(self._blobs.spool, self.document_limit, ticket.media_type, compression) as spool:
                    await self._fill(spool, upload, stream)
                incoming = _Incoming(ticket, spool, job_id, sender_key, wait, last)
                job = await self._writer.take(incoming, spool)
                upload.ended(spool.size)
                return job
        except Refused as refused:
            await self._record(ticket, job_id, refused)
            raise
        finally:
            self._uploading -= uploading

    def _require_allowed(self, ticket: Ticket) -> None:
        """IPP has left out what is not to be had, and told its client; other doors have no way but this to say so."""
        if wrong := self.policy.wrong(ticket.options):
            raise Refused(
                "choice" if wrong.allowed else "unknown-choice",
                option=plain(wrong.name[:80]),
                value=plain(wrong.value[:80]),
                allowed=", ".join(wrong.allowed or DEFAULTS),
            )

    async def _fill(self, spool: Spool, upload: Upload, stream: AsyncIterator[bytes]) -> None:
        """The whole document; a plain small one is left to the writer. No other waits for what a large one costs."""
        received = 0
        try:
            async for chunk in stream:
                spool.keep(chunk)
                received += len(chunk)
                if received > self.document_limit:  # compressed bytes, too, that inflate to nothing
                    raise Refused("too-large", limit=self.document_limit)
                if spool.waiting >= PIECE:
                    await self._write(spool, upload)
        except (ConnectionError, TimeoutError) as error:
            raise Refused("cut") from error
        if spool.compressed:
            await self._write(spool, upload)
        if received >= PIECE or spool.compressed:
            await asyncio.get_running_loop().run_in_executor(self._threads, spool.finish)

    async def _write(self, spool: Spool, upload: Upload) -> None:
        """Some bytes may inflate to very many: there must be room for each part of them."""
        writes = True
        while writes:
            await asyncio.get_running_loop().run_in_executor(self._threads, spool.write)
            upload.written(spool.size)
            writes = spool.behind

    def _take(self, connection: sa.Connection, incoming: Sequence[_Incoming]) -> list[CapturedJob]:
        """Inside the writer's transaction: the rows that make documents jobs."""
        now, operators = self._now(), _operators_wait(connection)
        incoming = [replace(one, wait=one.wait or operators) for one in incoming]
        new = iter(jobs.take(connection, [one.arrival() for one in incoming if one.job is None], now))
        return [next(new) if one.job is None else self._give(connection, one.job, one, now) for one in incoming]

    def _give(self, connection: sa.Connection, job_id: JobId, one: _Incoming, now: datetime) -> CapturedJob:
        """A document of a job that came in steps. The same one again, whose answer never went out, is there already."""
        job = jobs.find(connection, job_id)
        if job is None:
            raise Refused("no-document")
        if job.state is JobState.ABORTED and job.original is None and job.reason:
            raise Refused(job.reason["code"], **job.reason["facts"])
        if job.state is JobState.CANCELED:
            raise Refused("canceled")
        latest = job.documents[-1:]
        if latest and not latest[0].answered and latest[0].original == one.spool.digest:
            given = latest[0].captured()
        else:
            given = self._add(connection, job, one, now)
        if one.last:
            self._close(connection, job, one.wait, now)
        return given

    def _add(self, connection: sa.Connection, job: jobs.Job, one: _Incoming, now: datetime) -> CapturedJob:
        if not job.is_open:
            raise Refused("closed")
        if len(job.documents) >= jobs.MOST_DOCUMENTS:
            raise Refused("too-many-documents", limit=jobs.MOST_DOCUMENTS)
        arrival, deadline = one.arrival(), self._deadline(now)
        if job.original is not None:  # the job's own row has the deadline, for all of them
            jobs.postpone(connection, job.id, deadline)
            return jobs.add(connection, job.id, arrival.ticket, arrival.original, now, Wait(jobs.OPEN))
        more = Wait(jobs.OPEN, deadline)
        jobs.receive(connection, job.id, arrival.ticket, arrival.original, now, one.wait if one.last else more)
        return CapturedJob(job.id, job.number, arrival.ticket, arrival.original, now)

    def _close(self, connection: sa.Connection, job: jobs.Job, wait: Wait | None, now: datetime) -> None:
        """Its documents have all come: they go their way, or wait as the sender wants."""
        if job.is_open and job.original is not None:
            if wait:
                jobs.wait(connection, job.id, wait, now)
            else:
                jobs.release(connection, job.id, now)

    def _require_accepting(self) -> None:
        if not self.switches.accepting:
            raise NotAccepting

    async def _record(self, ticket: Ticket, job_id: JobId | None, refused: Refused) -> None:
        """The row of a refusal. A cut Send-Document may be sent again (RFC 8011 section 4.3.1)."""
        now, told = self._now(), (refused.reason, refused.sentence(self._language))
        if refused.code in UNRECORDED:
            return
        if job_id is None:
            await self._writer.write(lambda connection: jobs.refuse(connection, ticket, now, *told))
        elif refused.code == "cut":
            deadline = self._deadline(now)
            await self._writer.write(lambda connection: jobs.postpone(connection, job_id, deadline))
        else:
            await self._writer.write(lambda connection: jobs.abort(connection, job_id, now, *told))

    def answered(self, job: JobId) -> None:
        """The answer about this job went out whole: the same bytes again are a reprint."""
        self._answered.append(job)
        self._writer.note(self._mark_answered)

    def _mark_answered(self, connection: sa.Connection) -> None:
        """In the writer's thread. What the loop adds meanwhile is in the old list in time, or in the new one."""
        answered, self._answered = self._answered, []
        jobs.mark_answered(connection, answered)

    # Jobs that come in steps

    async def open_job(self, ticket: Ticket) -> jobs.Job:
        """A job whose documents come later, each within ``document_timeout`` seconds."""
        self._require_accepting()
        self._room.require(0)
        now = self._now()
        deadline = self._deadline(now)
        return await self._writer.write(lambda connection: jobs.open_job(connection, ticket, now, deadline))

    async def close_job(self, job: JobId, wait: Wait | None = None) -> None:
        """No more documents come: a job that has none is aborted, any other goes its way, or waits."""
        if job not in self._uploading:
            await self._abort([job], Refused("no-document"))
            await self.act(partial(self._closed, job, wait))

    def _closed(self, job_id: JobId, wait: Wait | None, connection: sa.Connection, now: datetime) -> None:
        if (job := jobs.find(connection, job_id)) is not None:
            self._close(connection, job, wait or _operators_wait(connection), now)

    async def act(self, change: Callable[[sa.Connection, datetime], T]) -> T:
        """Change rows on a sender's word; the worker looks whether there is something for it."""
        now = self._now()
        done = await self._writer.write(lambda connection: change(connection, now))
        self._committed()
        return done

    def note(self, change: Callable[[sa.Connection], None]) -> None:
        """Write something soon that may be lost in a crash."""
        self._writer.note(change)

    async def cancel(self, *ids: JobId) -> bool:
        """Cancel these jobs; none of them when the pipeline has taken one up, or one has ended."""
        return await self._writer.write(partial(_canceled, ids, *self._ending()))

    async def cancel_all(self, cutoff: datetime, owner: tuple[str, str] | None = None) -> None:
        """Cancel what can be of all jobs, or of an owner's, as :func:`printerd.storage.jobs.cancel_all` has it."""
        now, message = self._ending()
        await self._writer.write(lambda connection: jobs.cancel_all(connection, cutoff, now, message, owner))

    def _ending(self) -> tuple[datetime, str]:
        return self._now(), Refused("canceled").sentence(self._language)

    # The operator's switches

    @property
    def waits(self) -> bool:
        """Whether new documents wait for the operator."""
        return self.switches.paused or self.switches.holding

    async def operate(self, words: Mapping[str, str], cutoff: datetime, **changes: bool) -> Switches:
        """Set switches and words of the printer. What waits because of a switch goes, or stops, with it; but the queue
        has let go of what came before ``cutoff``.
        """
        self.switches = await self.act(partial(_switch, words, changes, cutoff))
        return self.switches

    async def release(self, job: JobId) -> bool:
        """Let a job go on its sender's word; a paused printer still keeps it. False when it does not wait."""
        return await self.act(partial(_released, job))

    async def restart(self, job: JobId) -> bool:
        """Work again on what came to nothing, as :func:`printerd.storage.jobs.restart` has it."""
        return await self.act(partial(_restarted, job))

    async def again(self, arrival: jobs.Arrival) -> JobId:
        """The same document as a new job."""
        return await self.act(partial(_again, arrival))

    # Housekeeping

    async def recover(self) -> None:
        """After a crash: what was still arriving is gone, and so are its spool files."""
        self.switches = await asyncio.get_running_loop().run_in_executor(self._threads, self._found_switches)
        for path in self._blobs.spool.glob(f"{SPOOLED}*"):
            path.unlink(missing_ok=True)
        await self.sweep()

    async def sweep(self) -> None:
        """Let go what waited for its hour: a job whose next document did not come in time, too, goes with those that
        it has (multiple-operation-time-out-action 'process-job'); one without any is aborted.
        """
        late, due = await asyncio.get_running_loop().run_in_executor(self._threads, self._overdue)
        await self._abort(
            [job for job in late if job not in self._uploading], Refused("timeout", seconds=self.document_timeout)
        )
        for job in due:
            if job not in self._uploading:
                await self.act(partial(_let_go, job))

    def _overdue(self) -> tuple[list[JobId], list[JobId]]:
        with self._database.read() as connection:
            return jobs.overdue(connection, self._now()), jobs.due(connection, self._now())

    def _found_switches(self) -> Switches:
        with self._database.read() as connection:
            return instance.switches(connection)

    async def _abort(self, ids: list[JobId], refused: Refused) -> None:
        now, told = self._now(), (refused.reason, refused.sentence(self._language))
        await asyncio.gather(*(self._writer.write(partial(_abort, job, now, told)) for job in ids))

    async def _sweep_for_ever(self) -> None:
        while True:
            await asyncio.sleep(min(10.0, self.document_timeout / 4))
            try:
                await self.sweep()
            except TransientError:
                continue  # the database is away; the jobs are still overdue at the next turn

    def _deadline(self, now: datetime) -> datetime:
        return now + timedelta(seconds=self.document_timeout)

    def is_ready(self) -> bool:
        """Whether a new job would be taken: the printer is open, and there is room."""
        return self.switches.accepting and self.has_room()

    def has_room(self) -> bool:
        """Whether a new job would find space on the disk."""
        return self._room.left() >= 0

    def level(self) -> int:
        """Percent of the disk that is free for documents."""
        return self._room.level()


# The operator's switches in the rows. They are read and set in the writer's transactions, one after the other: whatever
# comes is there before a switch is set, and moves with it, or knows it.


def _switch(
    words: Mapping[str, str], changes: Mapping[str, bool], cutoff: datetime, connection: sa.Connection, now: datetime
) -> Switches:
    """Set them, and move what waits because of them."""
    before = instance.switches(connection)
    after = replace(before, **changes, said=tuple({**dict(before.said), **words}.items()))
    instance.set_switches(connection, after)
    if before.holding and not after.holding:
        jobs.release_all(connection, HELD_BACK, now, PAUSED if after.paused else None)
    if after.paused and not before.paused:
        jobs.wait_all(connection, PAUSED, cutoff)
    if before.paused and not after.paused:
        jobs.release_all(connection, PAUSED, now)
    return after


def _operators_wait(connection: sa.Connection) -> Wait | None:
    """What a document waits for that comes now, because an operator wants it."""
    switches = instance.switches(connection)
    if switches.holding:
        return HELD_BACK
    return PAUSED if switches.paused else None


def _released(job: JobId, connection: sa.Connection, now: datetime) -> bool:
    if instance.switches(connection).paused:
        return jobs.wait(connection, job, PAUSED, now)
    return jobs.release(connection, job, now)


def _let_go(job: JobId, connection: sa.Connection, now: datetime) -> None:
    if wait := _operators_wait(connection):
        jobs.wait(connection, job, wait, now)
    else:
        jobs.release(connection, job, now)


def _restarted(job: JobId, connection: sa.Connection, now: datetime) -> bool:
    done = jobs.restart(connection, job, now)
    if done and (wait := _operators_wait(connection)):
        jobs.wait(connection, job, wait, jobs.EVER)
    return done


def _again(arrival: jobs.Arrival, connection: sa.Connection, now: datetime) -> JobId:
    return jobs.again(connection, replace(arrival, wait=arrival.wait or _operators_wait(connection)), now)


def _canceled(ids: Sequence[JobId], now: datetime, message: str, connection: sa.Connection) -> bool:
    savepoint = connection.begin_nested()
    done = all(jobs.cancel(connection, job, now, message) for job in ids)
    (savepoint.commit if done else savepoint.rollback)()
    return done


def _abort(job: JobId, now: datetime, told: tuple[Mapping[str, Any], str], connection: sa.Connection) -> bool:
    return jobs.abort(connection, job, now, *told)
