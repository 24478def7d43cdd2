"""The rows of the capture side."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from printerd.model import Blob, CapturedJob, Digest, InvoiceState, JobId, JobState, Ticket
from printerd.storage import jobs, schema
from printerd.storage.database import Database

NOW = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
LATER = NOW + timedelta(minutes=1)
TICKET = Ticket("inv", "anna", "192.0.2.7", "FA-1", "application/pdf", "ipp", {"copies": "2"})
ORIGINAL = Blob(Digest("a" * 64), 62_526, "application/pdf")


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{tmp_path / 'printerd.db'}")
    schema.metadata.create_all(database.engine)
    yield database
    database.close()


def _taken(
    connection: sa.Connection, ticket: Ticket = TICKET, now: datetime = NOW, key: str | None = None
) -> CapturedJob:
    (job,) = jobs.take(connection, [jobs.Arrival(ticket, ORIGINAL, key)], now)
    return job


def _invoice(connection: sa.Connection, job: JobId, position: int, state: InvoiceState) -> None:
    columns = {"reading": {}, "corrections": {}, "reasons": [], "accepted": [], "first_page": 1, "last_page": 1}
    when = {"created_at": NOW, "updated_at": NOW}
    values = {"id": f"{job[:30]}-{position}", "job": job, "position": position, "state": state, "pdf": "b" * 64}
    connection.execute(
        sa.insert(schema.invoices).values(content="c" * 64, number=values["id"], **values, **columns, **when)
    )


def test_numbers_are_dense_from_one(database: Database) -> None:
    """Whatever becomes of a job, the next one has the next number."""
    with database.write() as connection:
        first = _taken(connection)
        _, second = jobs.refuse(connection, TICKET, NOW, {"code": "cut"}, "The document was cut.")
        third = jobs.open_job(connection, TICKET, NOW, LATER)
    assert (first.number, second, third.number) == (1, 2, 3)


def test_a_job_is_read_back_as_it_was_told(database: Database) -> None:
    """User, host, title and options come back character by character, control characters included."""
    ticket = replace(TICKET, title="../..;rm\x07 é", user="nobody\n")
    with database.write() as connection:
        added = _taken(connection, ticket)
    with database.read() as connection:
        job = jobs.get(connection, 1)
        assert job == jobs.find(connection, added.id)
    assert job is not None
    assert job.captured() == added
    assert (job.ticket, job.state, job.answered) == (ticket, JobState.RECEIVED, False)


def test_an_open_job_takes_one_document(database: Database) -> None:
    """Only a job that waits for its document can be given one, and then it no longer waits."""
    with database.write() as connection:
        job = jobs.open_job(connection, TICKET, NOW, LATER)
        assert jobs.receive(connection, job.id, TICKET, ORIGINAL, NOW)
        assert not jobs.receive(connection, job.id, TICKET, ORIGINAL, NOW)
        assert not jobs.abort(connection, job.id, NOW, {"code": "timeout"}, "")
        assert jobs.overdue(connection, LATER + timedelta(days=1)) == []


def test_a_job_without_a_document_has_no_capture(database: Database) -> None:
    """What has no bytes cannot be handed to the pipeline."""
    with database.write() as connection, pytest.raises(ValueError, match="no document"):
        jobs.open_job(connection, TICKET, NOW, LATER).captured()


def test_an_open_job_is_overdue_at_its_deadline(database: Database) -> None:
    """multiple-operation-time-out counts from the last operation on the job."""
    with database.write() as connection:
        job = jobs.open_job(connection, TICKET, NOW, LATER)
        assert jobs.overdue(connection, LATER) == []
        assert jobs.overdue(connection, LATER + timedelta(seconds=1)) == [job.id]
        jobs.postpone(connection, job.id, LATER + timedelta(hours=1))
        assert jobs.overdue(connection, LATER + timedelta(seconds=1)) == []


def test_cancel_before_the_worker_takes_it(database: Database) -> None:
    """What the pipeline has taken up can no longer be canceled."""
    with database.write() as connection:
        taken, waiting = (_taken(connection, key=key) for key in "ab")
        connection.execute(sa.update(schema.jobs).where(schema.jobs.c.id == taken.id).values(state="processing"))
        assert not jobs.cancel(connection, taken.id, NOW, "")
        assert jobs.cancel(connection, waiting.id, NOW, "Canceled by anna")
        assert not jobs.cancel(connection, waiting.id, NOW, "")


@pytest.mark.parametrize(
    ("change", "later", "found"),
    [
        ({}, timedelta(minutes=9), True),
        ({}, timedelta(minutes=11), False),
        ({"title": "FA-2"}, timedelta(), False),
        ({"user": "bert"}, timedelta(), False),
        ({"host": "192.0.2.8"}, timedelta(), False),
        ({"printer": "other"}, timedelta(), False),
        ({"options": {"page-ranges": "2-2"}}, timedelta(), False),
    ],
)
def test_the_same_again_without_an_answer(
    database: Database, change: dict[str, Any], later: timedelta, found: bool
) -> None:
    """The same bytes, user, host, title, printer and options within ten minutes of an unanswered job are that job."""
    with database.write() as connection:
        first = _taken(connection)
        again = _taken(connection, replace(TICKET, **change), NOW + later)
    assert (again == first) is found


def test_the_same_again_after_an_answer_is_a_reprint(database: Database) -> None:
    """A sender that had its answer and prints again means another job."""
    with database.write() as connection:
        first = _taken(connection)
        jobs.mark_answered(connection, [first.id])
        assert _taken(connection).number == 2


def test_a_crowd_is_taken_as_one_after_the_other_would_be(database: Database) -> None:
    """Documents of one transaction are numbered in their order, and one that comes twice in it is one job."""
    titles = ("a", "b", "a", "c")
    with database.write() as connection:
        earlier = _taken(connection, replace(TICKET, title="c"))
        arrivals = [jobs.Arrival(replace(TICKET, title=title), ORIGINAL) for title in titles]
        arrivals += [jobs.Arrival(TICKET, ORIGINAL, key) for key in ("u:1", "u:2", "u:1")]
        taken = jobs.take(connection, arrivals, LATER)
    assert [job.number for job in taken] == [2, 3, 2, 1, 4, 5, 4]
    assert taken[3] == earlier


def test_a_sender_key_names_one_job_for_ever(database: Database) -> None:
    """A backend's key finds its job whether or not it was answered, and no other key does."""
    with database.write() as connection:
        first = _taken(connection, key="u:1")
        jobs.mark_answered(connection, [first.id])
        other = Blob(Digest("f" * 64), 1, "application/pdf")
        assert jobs.take(connection, [jobs.Arrival(TICKET, other, "u:1")], NOW + timedelta(days=9)) == [first]
        assert _taken(connection, key="u:2") != first


def _every_kind(connection: sa.Connection) -> None:
    """Jobs in every state, with and without invoices at work, old and new."""
    for received in (NOW, NOW - timedelta(hours=1)):
        for state in JobState:
            for invoice in (None, *InvoiceState):
                job = _taken(connection, now=received, key=f"{received} {state} {invoice}").id
                values = {"state": state, "received_at": None if state == "incoming" else received}
                connection.execute(sa.update(schema.jobs).where(schema.jobs.c.id == job).values(values))
                if invoice:
                    _invoice(connection, job, 0, invoice)


def test_lists_and_jobs_agree_on_what_is_settled(database: Database) -> None:
    """Each job is in exactly one of the two lists, the one that the job itself would say."""
    cutoff = NOW - timedelta(seconds=30)
    with database.write() as connection:
        _every_kind(connection)
        settled = jobs.listed(connection, cutoff, settled=True)
        others = jobs.listed(connection, cutoff, settled=False)
        everything = jobs.listed(connection, cutoff)
    assert all(job.settled(cutoff) for job in settled)
    assert not any(job.settled(cutoff) for job in others)
    assert sorted(job.number for job in settled + others) == sorted(job.number for job in everything)
    assert [job.number for job in settled] == sorted((job.number for job in settled), reverse=True)
    assert [job.number for job in others] == sorted(job.number for job in others)


def test_lists_are_limited_by_owner_number_and_length(database: Database) -> None:
    """my-jobs, first-job-id and limit narrow the list."""
    with database.write() as connection:
        for number, user in enumerate(("anna", "bert", "anna", "anna")):
            _taken(connection, replace(TICKET, user=user), key=f"{number}")
        mine = jobs.listed(connection, NOW, owner=("anna", TICKET.host))
        assert [job.number for job in mine] == [4, 3, 1]
        assert [job.number for job in jobs.listed(connection, NOW, first=3)] == [4, 3]
        assert [job.number for job in jobs.listed(connection, NOW, limit=1)] == [4]
        assert jobs.listed(connection, NOW, owner=("anna", "192.0.2.8")) == []


def test_invoices_are_counted_by_state(database: Database) -> None:
    """A job tells how many of its invoices are archived and how many wait."""
    with database.write() as connection:
        job = _taken(connection)
        for position, state in enumerate((InvoiceState.ARCHIVED, InvoiceState.WAITING, InvoiceState.ARCHIVED)):
            _invoice(connection, job.id, position, state)
        found = jobs.get(connection, job.number)
    assert found is not None
    assert found.invoices == {InvoiceState.ARCHIVED: 2, InvoiceState.WAITING: 1}


def _history(connection: sa.Connection, numbers: range) -> None:
    """Jobs of long ago: the same document each time, answered and done."""
    then = NOW - timedelta(days=1)
    rows = [
        jobs._row(JobId(f"{number:036}"), number, TICKET, JobState.DONE, then)
        | {"original": ORIGINAL.digest, "size": 1, "received_at": then, "answered": True}
        for number in numbers
    ]
    connection.execute(schema.jobs.insert(), rows)


def _steps(database: Database, ask: Callable[[sa.Connection], object]) -> int:
    """How many instructions of SQLite's machine a question takes."""
    steps = 0

    def step() -> None:
        nonlocal steps
        steps += 1

    with database.read() as connection:
        driver: Any = connection.connection.dbapi_connection
        driver.set_progress_handler(step, 1)
        ask(connection)
        driver.set_progress_handler(None, 1)
    return steps


@pytest.mark.parametrize(
    "ask",
    [
        lambda one: jobs._repeated(one, [jobs.Arrival(TICKET, ORIGINAL)], NOW),
        lambda one: jobs._repeated(one, [jobs.Arrival(TICKET, ORIGINAL, "key")], NOW),
        lambda one: jobs.moving(one, [3, 7], jobs.last_number(one)),
        lambda one: jobs.moving(one, [], jobs.last_number(one)),
        jobs.last_number,
        lambda one: jobs.get(one, 7),
        lambda one: jobs.several(one, [f"{7:036}"]),
        lambda one: jobs.oldest(one, (JobState.RECEIVED, JobState.PROCESSING)),
        lambda one: jobs.listed(one, NOW, settled=False),
        lambda one: jobs.listed(one, NOW, states=(JobState.CANCELED,)),
        jobs.counted,
        jobs.queued,
        lambda one: jobs.due(one, NOW),
        lambda one: jobs.overdue(one, NOW),
    ],
)
def test_the_door_costs_the_same_whatever_the_history(
    database: Database, ask: Callable[[sa.Connection], object]
) -> None:
    """No question of the door looks at what ended long ago, be it the same document every day."""
    with database.write() as connection:
        _history(connection, range(1, jobs.HISTORY + 1))
    before = _steps(database, ask)
    with database.write() as connection:
        _history(connection, range(jobs.HISTORY + 1, 4 * jobs.HISTORY))
    assert _steps(database, ask) < 1.2 * before + 100
