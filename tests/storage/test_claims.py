"""Batches: what is taken up together, what alone, and what a batch may still change."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from printerd.model import JobState
from printerd.storage import claims
from printerd.storage.claims import LAST_RETRY, Stage
from printerd.storage.database import Apart, together
from printerd.storage.schema import jobs
from tests import archive_rows

NOW = datetime(2026, 11, 24, 9, 5, tzinfo=UTC)
STAGE = Stage("process", jobs, JobState.RECEIVED, 50, lambda _batch: None, working=JobState.PROCESSING)


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sa.Connection]:
    database, _ = archive_rows.opened(tmp_path)
    with database.write() as connection:
        yield connection
    database.close()


def received(connection: sa.Connection, number: int, **changes: Any) -> str:
    return archive_rows.job(connection, number, state=JobState.RECEIVED, at=NOW + timedelta(seconds=number), **changes)


def claimed(connection: sa.Connection, now: datetime = NOW) -> list[int]:
    """The numbers of the jobs in the next batch."""
    batch = claims.claim(connection, STAGE, now)
    return [row.number for row in claims.held(connection, STAGE, batch)] if batch else []


def test_what_interrupted_its_worker_is_tried_alone(connection: sa.Connection) -> None:
    """When a worker dies in a batch, each of its rows is tried by itself: the one that kills workers kills no other."""
    for number in range(1, 4):
        received(connection, number)
    batch = claims.claim(connection, STAGE, NOW)
    assert batch is not None
    claims.let_go(connection, STAGE, batch, NOW)
    received(connection, 4)
    received(connection, 5)
    later = NOW + timedelta(minutes=1)
    assert [claimed(connection, later) for _ in range(4)] == [[1], [2], [3], [4, 5]]


def test_rows_that_wait_for_better_times_go_together(connection: sa.Connection) -> None:
    """After an outage of something outside, what was postponed is taken up in one batch again."""
    for number in range(1, 4):
        received(connection, number)
    batch = claims.claim(connection, STAGE, NOW)
    assert batch is not None
    claims.later(connection, STAGE, claims.held(connection, STAGE, batch), NOW, "The edge is away.")
    assert claimed(connection) == []
    assert claimed(connection, NOW + timedelta(minutes=1)) == [1, 2, 3]


def test_a_clock_that_was_set_back_postpones_nothing(connection: sa.Connection) -> None:
    """A pause that is longer than any pause was written by a clock that went wrong: the row is due now."""
    received(connection, 1, next_at=NOW + timedelta(days=1))
    received(connection, 2, next_at=NOW + LAST_RETRY - timedelta(seconds=1))
    assert claimed(connection) == [1]


def test_a_batch_changes_only_what_it_still_holds(connection: sa.Connection) -> None:
    """What a person or another worker took out of a batch is not moved by it: neither on nor back."""
    received(connection, 1)
    batch = claims.claim(connection, STAGE, NOW)
    assert batch is not None
    (row,) = claims.held(connection, STAGE, batch)
    connection.execute(jobs.update().values(state=JobState.RECEIVED, batch=None))
    assert not claims.done(connection, STAGE, row, JobState.DONE)
    claims.later(connection, STAGE, [row], NOW, "too late")
    now = connection.execute(sa.select(jobs)).one()
    assert (now.state, now.batch, now.attempts, now.trouble) == (JobState.RECEIVED, None, 0, "")


def test_a_batch_moves_on_as_a_whole_or_row_by_row(connection: sa.Connection) -> None:
    """Who moves all rows at once is told when one has been taken away; the others move by themselves."""
    for number in (1, 2, 3):
        received(connection, number)
    batch = claims.claim(connection, STAGE, NOW)
    assert batch is not None
    rows = claims.held(connection, STAGE, batch)
    connection.execute(jobs.update().where(jobs.c.number == 2).values(state=JobState.RECEIVED, batch=None))

    def move(some: Sequence[sa.Row[Any]]) -> list[str]:
        if claims.done_all(connection, STAGE, [(row, JobState.DONE, {"message": "read"}) for row in some]) < len(some):
            raise Apart
        return [row.id for row in some]

    assert claims.done_all(connection, STAGE, []) == 0
    outcomes = together(connection, move, rows)
    assert [type(outcome) for outcome in outcomes] == [str, Apart, str]
    now = connection.execute(sa.select(jobs).order_by(jobs.c.number)).all()
    assert [(row.state, row.batch, row.message) for row in now] == [
        (JobState.DONE, None, "read"),
        (JobState.RECEIVED, None, ""),
        (JobState.DONE, None, "read"),
    ]


def test_a_look_tells_of_each_stage_when_it_has_work(connection: sa.Connection) -> None:
    """One query for all stages: what is new is due now, what was postponed at its time, what is claimed not at all."""
    others = (Stage("rest", jobs, JobState.DONE, 50, lambda _batch: None), STAGE)
    query = claims.first_free(others)
    assert claims.due(connection, query, NOW) == {}
    received(connection, 1, next_at=NOW + timedelta(minutes=2))
    received(connection, 2, next_at=NOW + timedelta(minutes=1))
    assert claims.due(connection, query, NOW) == {"process": NOW + timedelta(minutes=1)}
    received(connection, 3)
    assert claims.due(connection, query, NOW) == {"process": NOW}
    assert claimed(connection) == [3]
    assert claims.due(connection, query, NOW) == {"process": NOW + timedelta(minutes=1)}


def test_a_look_is_not_deceived_by_a_clock_that_was_set_back(connection: sa.Connection) -> None:
    """What seems to be due in a day is due now."""
    received(connection, 1, next_at=NOW + timedelta(days=1))
    assert claims.due(connection, claims.first_free([STAGE]), NOW) == {"process": NOW}
