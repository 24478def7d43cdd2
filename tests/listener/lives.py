"""The lives of jobs: a printer that runs, what clients, the worker and the operator do with it, and what must hold.

One rule: what a client was told is the model. A job that was acknowledged is there, once, with its documents to the
last byte; its state moves as RFC 8011 section 5.3.7 lets it, and an end is an end. By hand, for as long as one likes::

    python -m tests.listener.lives --seconds 600
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import shutil
import socket
import sys
import tempfile
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)

from printerd.ipp.attributes import attribute
from printerd.ipp.codec import encode
from printerd.ipp.message import Attribute, GroupTag, Message
from printerd.ipp.registry import JobState, Operation, Status
from printerd.model import JobState as Row
from printerd.storage import jobs, schema
from tests.waiting import until

from .printing import RunningPrinter

REPORT_WITHIN, TIMEOUT = 30.0, 60
"""Seconds until the queue lets go of a job, and that an open one waits for its document."""
ENDS = frozenset({JobState.CANCELED, JobState.ABORTED, JobState.COMPLETED})
FIRST_ERROR = 0x0100
DOCUMENTS = tuple(b"%%PDF-1.7\n%% FA-%d\nstartxref\n9\n%%%%EOF\n" % number for number in range(4))
USERS = ("anna", "bert")
HEAD = b"POST /ipp/print HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/ipp\r\nContent-Length: %d\r\n\r\n"
HOLD = attribute("job-hold-until", "indefinite")

Template = tuple[Attribute, ...]
MANY = settings(deadline=None, suppress_health_check=list(HealthCheck))
"""A life has many steps, and each asks a printer that runs."""
AT_ONCE = 20
"""Lives between two looks at the clock."""


@dataclass(eq=False)
class Told:
    """A job as its sender was told of it. ``state`` is the last that was seen."""

    number: int
    user: str
    title: str
    deadline: datetime
    """Until when it waits for its next document, while it is open."""
    documents: list[bytes] = field(default_factory=list)
    is_open: bool = False
    is_held: bool = False
    """Its sender wants it to wait."""
    state: JobState = JobState.PENDING


class Lives(RuleBasedStateMachine):
    """One printer on one folder, restarted now and then; its clock stands still unless time passes."""

    told = Bundle("told")

    def __init__(self) -> None:
        super().__init__()
        self.now = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
        self.folder = Path(tempfile.mkdtemp(prefix="lives-"))
        self.jobs: dict[int, Told] = {}
        self.refused = 0
        """Documents of which a row says that they were not taken."""
        self.restarted: set[int] = set()
        """Jobs that may come back from their end, for once."""
        self.closed = False
        self.start()

    def start(self) -> None:
        clock: dict[str, Any] = {"now": lambda: self.now}
        self.printer = RunningPrinter(
            self.folder,
            clock | {"document_timeout": TIMEOUT},
            clock | {"report_within": REPORT_WITHIN, "operators": ["127.0.0.1"]},
        )

    def teardown(self) -> None:
        self.printer.stop()
        shutil.rmtree(self.folder)

    # Asking

    def ask(
        self, code: Operation, *more: Attribute, document: bytes = b"", user: str = "anna", **groups: Any
    ) -> Message:
        return self.printer.ask(self.printer.request(code, *more, user=user, **groups), document)

    def of(self, job: Told, code: Operation, *more: Attribute, document: bytes = b"") -> Message:
        return self.ask(code, attribute("job-id", job.number), *more, document=document, user=job.user)

    def breaks_off(self, request: Message, document: bytes, *, whole: bool) -> None:
        """Send a request, and hang up before its last byte, or right behind it without hearing the answer."""
        body, server = encode(request) + document, self.printer.server.server_state
        head = HEAD % len(body)
        with socket.create_connection(("127.0.0.1", self.printer.port), 20) as connection:
            connection.sendall(head + body[:-1])
            until(lambda: self.closed or server.tasks, 20)
            if whole:
                connection.sendall(body[-1:])
        until(lambda: not server.connections and not server.tasks, 20)

    # Printing

    @rule(target=told, user=st.sampled_from(USERS), document=st.sampled_from(DOCUMENTS), held=st.booleans())
    def print_job(self, user: str, document: bytes, held: bool) -> Any:
        """Print-Job: one job more, whatever was printed before."""
        title = f"FA-{len(self.jobs)}"
        answer = self.ask(
            Operation.PRINT_JOB, attribute("job-name", title), document=document, user=user, job=(HOLD,) if held else ()
        )
        if self.closed:
            return self.not_accepted(answer)
        job = self.made(answer, user, title, document)
        job.is_held = held
        return job

    @rule(user=st.sampled_from(USERS), document=st.sampled_from(DOCUMENTS))
    def print_and_break_off(self, user: str, document: bytes) -> None:
        """A document that is cut makes no job but one that says so."""
        request = self.printer.request(Operation.PRINT_JOB, attribute("job-name", "FA-cut"), user=user)
        self.breaks_off(request, document, whole=False)
        self.refused += not self.closed

    @precondition(lambda self: not self.closed)
    @rule(target=told, user=st.sampled_from(USERS), document=st.sampled_from(DOCUMENTS))
    def print_and_never_hear(self, user: str, document: bytes) -> Told:
        """Whoever has sent all and heard nothing sends again, and has printed once."""
        title = f"FA-{len(self.jobs)}"
        request = self.printer.request(Operation.PRINT_JOB, attribute("job-name", title), user=user)
        self.breaks_off(request, document, whole=True)
        return self.made(self.printer.ask(request, document), user, title, document)

    @rule(target=told, user=st.sampled_from(USERS))
    def create_job(self, user: str) -> Any:
        title = f"FA-{len(self.jobs)}"
        answer = self.ask(Operation.CREATE_JOB, attribute("job-name", title), user=user)
        return self.not_accepted(answer) if self.closed else self.made(answer, user, title, None)

    @rule(job=told, document=st.sampled_from(DOCUMENTS), last=st.booleans())
    def send_document(self, job: Told, document: bytes, last: bool) -> None:
        """A document of an open job is acknowledged and there; of any other it is refused and changes nothing."""
        answer = self.of(job, Operation.SEND_DOCUMENT, attribute("last-document", last), document=document)
        if self.closed or not job.is_open:
            assert answer.code >= FIRST_ERROR
            return
        assert answer.code < FIRST_ERROR, answer
        job.documents.append(document)
        job.is_open, job.deadline = not last, self.later()

    @rule(job=told, document=st.sampled_from(DOCUMENTS))
    def send_and_break_off(self, job: Told, document: bytes) -> None:
        """An open job goes on waiting for its document; any other is what it was."""
        more = (attribute("job-id", job.number), attribute("last-document", True))
        self.breaks_off(self.printer.request(Operation.SEND_DOCUMENT, *more, user=job.user), document, whole=False)
        if job.is_open and not self.closed:
            job.deadline = self.later()

    @rule(job=told)
    def close_job(self, job: Told) -> None:
        answer = self.of(job, Operation.CLOSE_JOB)
        assert (answer.code < FIRST_ERROR) or not job.is_open
        job.is_open = False

    # What senders do

    @rule(job=told)
    def cancel_job(self, job: Told) -> None:
        """What was canceled stays so; what cannot be is as it was."""
        answer = self.of(job, Operation.CANCEL_JOB)
        if answer.code < FIRST_ERROR:
            assert self.seen(job) is JobState.CANCELED
            job.is_open = False
        else:
            assert not job.is_open
            assert self.seen(job) is job.state

    @rule(job=told)
    def hold_job(self, job: Told) -> None:
        """A job that was held waits, at once or when its documents are there."""
        answer = self.of(job, Operation.HOLD_JOB)
        job.is_held = job.is_held or answer.code < FIRST_ERROR

    @rule(job=told)
    def release_job(self, job: Told) -> None:
        answer = self.of(job, Operation.RELEASE_JOB)
        if answer.code < FIRST_ERROR:
            assert self.seen(job) is not JobState.PENDING_HELD
            job.is_held = False

    @rule(job=told)
    def restart_job(self, job: Told) -> None:
        """RFC 8011 section 4.3.7: the one way back from an end."""
        answer = self.of(job, Operation.RESTART_JOB)
        if answer.code < FIRST_ERROR:
            assert job.state in ENDS or job.state is JobState.PROCESSING  # what waits for a person is processing
            job.is_held = False
            self.restarted.add(job.number)
        else:
            assert self.seen(job) is job.state

    # What the operator does

    @rule(
        code=st.sampled_from(
            (
                Operation.PAUSE_PRINTER,
                Operation.RESUME_PRINTER,
                Operation.HOLD_NEW_JOBS,
                Operation.RELEASE_HELD_NEW_JOBS,
                Operation.DISABLE_PRINTER,
                Operation.ENABLE_PRINTER,
            )
        )
    )
    def operate(self, code: Operation) -> None:
        assert self.ask(code).code == Status.SUCCESSFUL_OK
        self.closed = {Operation.DISABLE_PRINTER: True, Operation.ENABLE_PRINTER: False}.get(code, self.closed)

    # What the worker does

    @rule(data=st.data())
    def take_up(self, data: st.DataObject) -> None:
        """The worker begins with a document that has come."""
        if waiting := self.rows(Row.RECEIVED):
            self.printer.change(data.draw(st.sampled_from(waiting)), state=Row.PROCESSING)

    @rule(data=st.data(), end=st.sampled_from((Row.DONE, Row.HELD, Row.ABORTED)))
    def finish(self, data: st.DataObject, end: Row) -> None:
        """It has made invoices of it, or waits for a person, or can make nothing of it."""
        if at_work := self.rows(Row.PROCESSING):
            reason = None if end is Row.DONE else {"code": "unreadable", "facts": {}}
            completed = None if end is Row.HELD else self.now
            self.printer.change(data.draw(st.sampled_from(at_work)), state=end, reason=reason, completed_at=completed)

    def rows(self, state: Row) -> list[int]:
        with self.printer.database.read() as connection:
            query = sa.select(schema.jobs.c.number).where(schema.jobs.c.state == state)
            return list(connection.scalars(query.order_by(schema.jobs.c.number)))

    # What happens by itself

    @rule(seconds=st.sampled_from((1, 29, 31, 61, 700)))
    def time_passes(self, seconds: int) -> None:
        """Whoever waits for a document too long goes without, or is aborted."""
        self.now += timedelta(seconds=seconds)
        loop = self.printer.intake._sweeper.get_loop()  # type: ignore[union-attr]
        asyncio.run_coroutine_threadsafe(self.printer.intake.sweep(), loop).result(20)
        for job in self.jobs.values():
            if job.is_open and (job.deadline < self.now or (job.documents and job.deadline == self.now)):
                job.is_open = False

    @rule()
    def restart(self) -> None:
        """The process ends and begins again: nothing is other than it was."""
        self.printer.stop()
        before = {number: job.state for number, job in self.jobs.items()}
        self.start()
        assert {number: JobState(state) for number, (state, _) in self.listed().items() if number in before} == before

    # What must hold

    def made(self, answer: Message, user: str, title: str, document: bytes | None) -> Told:
        """A new job that was acknowledged."""
        assert answer.code < FIRST_ERROR, answer
        group = answer.first(GroupTag.JOB)
        number = group.number("job-id")
        assert number not in self.jobs, "somebody else was told this job already"
        job = Told(number, user, title, self.later(), [document] if document else [], document is None)
        job.state = JobState(group.number("job-state"))
        self.jobs[number] = job
        return job

    def not_accepted(self, answer: Message) -> Any:
        assert answer.code == Status.SERVER_ERROR_NOT_ACCEPTING_JOBS
        return multiple()

    def later(self) -> datetime:
        return self.now + timedelta(seconds=TIMEOUT)

    def seen(self, job: Told) -> JobState:
        return JobState(self.listed()[job.number][0])

    def listed(self) -> dict[int, tuple[int, int]]:
        """State and number of documents of every job, as anybody is told."""
        names = attribute("requested-attributes", "job-id", "job-state", "number-of-documents")
        answer = self.ask(Operation.GET_JOBS, attribute("which-jobs", "all"), names, user="eve")
        told = [
            (group.number("job-id"), group.number("job-state"), group.number("number-of-documents"))
            for group in answer.all(GroupTag.JOB)
        ]
        assert len({number for number, _, _ in told}) == len(told)
        return {number: (state, documents) for number, state, documents in told}

    @invariant()
    def nothing_is_lost_or_doubled(self) -> None:
        listed = self.listed()
        assert self.jobs.keys() <= listed.keys()
        others = [state for number, (state, _) in listed.items() if number not in self.jobs]
        assert others == [JobState.ABORTED] * self.refused
        for number, job in self.jobs.items():
            with self.printer.database.read() as connection:
                row = jobs.get(connection, number)
            assert row is not None
            kept = [document.original for document in row.documents]
            assert kept == [hashlib.sha256(document).hexdigest() for document in job.documents]
            assert listed[number][1] == len(kept)
            assert all(self.printer.blobs.path(digest).is_file() for digest in kept if digest)
            assert row.is_open == job.is_open

    @invariant()
    def states_move_as_they_may(self) -> None:
        for number, (state, _) in self.listed().items():
            if (job := self.jobs.get(number)) is not None:
                now = JobState(state)
                assert job.state not in ENDS or now is job.state or number in self.restarted, (job, now)
                assert not job.is_held or now is JobState.PENDING_HELD or now in ENDS, (job, now)
                job.state = now
        self.restarted.clear()


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.listener.lives", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    asked = parser.parse_args(words)
    end, lives = time.monotonic() + asked.seconds, 0
    many = settings(
        max_examples=20, stateful_step_count=60, deadline=None, database=None, suppress_health_check=list(HealthCheck)
    )
    while time.monotonic() < end:
        run_state_machine_as_test(Lives, settings=many)
        lives += 20
    print(f"executions: {lives}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
