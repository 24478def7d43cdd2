"""How a worker takes rows up: it claims some that are due, and lets go of each when its state has changed.

One rule: a row is in at most one batch. Whoever wants work done writes a row in
the right state; batches are bookkeeping on top, which a crash may lose at any
moment without losing the work.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any

import sqlalchemy as sa

from printerd.model import BatchId

FIRST_RETRY = timedelta(seconds=2)
LAST_RETRY = timedelta(minutes=10)
INTERRUPTED = "interrupted"
UNCLAIMED: Mapping[str, Any] = {"batch": None, "attempts": 0, "next_at": None, "trouble": ""}
"""The claimed columns of a row that nobody works on."""


@dataclass(frozen=True, slots=True)
class Stage:
    """One kind of work: rows of ``table`` in ``state`` are what it has to do, at most ``most`` of them in a batch.

    Claimed rows are put into ``working`` when that differs. ``run`` does a batch; it may be called again with the
    same batch at any time, and does what is left. ``patience``: for how many seconds the work of stages without any
    goes before.
    """

    name: str
    table: sa.Table
    state: str
    most: int
    run: Callable[[BatchId], None]
    working: str = ""
    patience: float = 0.0

    @property
    def claimed(self) -> str:
        return self.working or self.state


def first_free(stages: Collection[Stage]) -> sa.CompoundSelect[Any]:
    """The query for :func:`due`: of each stage the free row that is due first. It is built once and asked often."""
    firsts = {stage.name: _first(stage).subquery() for stage in stages}
    return sa.union_all(*(sa.select(sa.literal(name).label("stage"), one.c.next_at) for name, one in firsts.items()))


def due(connection: sa.Connection, query: sa.CompoundSelect[Any], now: datetime) -> dict[str, datetime]:
    """Stage name → when its first free row is due: ``now`` or later. Stages without free rows are left out."""
    return {row.stage: _due_at(row.next_at, now) for row in connection.execute(query)}


def claim(connection: sa.Connection, stage: Stage, now: datetime) -> BatchId | None:
    """Put the oldest due rows into a new batch; ``None`` when nothing is due.

    What an interrupted batch held is taken up one by one: if a row was the cause, it is alone the next time.
    """
    table = stage.table
    oldest = _due(stage, now).add_columns(table.c.trouble).order_by(table.c.created_at).limit(stage.most)
    rows = connection.execute(oldest).all()
    if not rows:
        return None
    together = rows[:1] if rows[0].trouble == INTERRUPTED else [row for row in rows if row.trouble != INTERRUPTED]
    ids, batch = [row.id for row in together], BatchId(str(uuid.uuid4()))
    connection.execute(table.update().where(table.c.id.in_(ids)).values(batch=batch, state=stage.claimed))
    return batch


def held(connection: sa.Connection, stage: Stage, batch: BatchId) -> Sequence[sa.Row[Any]]:
    """The rows of a batch that are still to be done, oldest first: a batch that runs again finds only these."""
    table = stage.table
    query = sa.select(table).where(table.c.batch == batch, table.c.state == stage.claimed)
    return connection.execute(query.order_by(table.c.created_at, table.c.id)).all()


def later(connection: sa.Connection, stage: Stage, rows: Collection[sa.Row[Any]], now: datetime, trouble: str) -> None:
    """Let go of rows that could not be done now; each is due again after twice its last pause."""
    for row in rows:
        pause = min(FIRST_RETRY * 2 ** min(row.attempts, 16), LAST_RETRY)
        again = {"attempts": row.attempts + 1, "next_at": now + pause, "trouble": trouble}
        _change(connection, stage, row, state=stage.state, batch=None, **again)


def done(connection: sa.Connection, stage: Stage, row: sa.Row[Any], state: str, **values: Any) -> bool:
    """Move a row on to a new state and out of its batch; ``False``, and nothing changes, when it has left that already.

    A person may act on what is being worked on: what he wants goes before what the batch found.
    """
    return _change(connection, stage, row, **{**UNCLAIMED, "state": state, **values})


Move = tuple[sa.Row[Any], str, Mapping[str, Any]]
"""A row, the state that it moves on to, and the columns that it takes along."""


def done_all(connection: sa.Connection, stage: Stage, moves: Sequence[Move]) -> int:
    """Move rows on, each as :func:`done` does one, and return how many have moved. All moves name the same columns."""
    values = [{**_held(stage, row), **UNCLAIMED, "state": state, **columns} for row, state, columns in moves]
    return connection.execute(_own(stage.table), values).rowcount if values else 0


def batches(connection: sa.Connection, stage: Stage) -> list[BatchId]:
    """Every batch that holds rows of this stage."""
    query = sa.select(stage.table.c.batch).where(stage.table.c.batch.is_not(None), stage.table.c.state == stage.claimed)
    return [BatchId(batch) for batch in connection.scalars(query.distinct())]


def let_go(connection: sa.Connection, stage: Stage, batch: BatchId, now: datetime) -> None:
    """Free what an interrupted batch still holds; it counts as an attempt."""
    later(connection, stage, held(connection, stage, batch), now, INTERRUPTED)


def _first(stage: Stage) -> sa.Select[Any]:
    next_at = stage.table.c.next_at
    return _free(stage).with_only_columns(next_at).order_by(next_at.nulls_first()).limit(1)


def _due_at(next_at: datetime | None, now: datetime) -> datetime:
    """What waits longer than any row may was postponed by a clock that has been set back since."""
    return next_at if next_at and now < next_at <= now + LAST_RETRY else now


def _due(stage: Stage, now: datetime) -> sa.Select[Any]:
    """The same in SQL."""
    next_at = stage.table.c.next_at
    return _free(stage).where(sa.or_(next_at.is_(None), next_at <= now, next_at > now + LAST_RETRY))


def _free(stage: Stage) -> sa.Select[Any]:
    return sa.select(stage.table.c.id).where(stage.table.c.state == stage.state, stage.table.c.batch.is_(None))


def _change(connection: sa.Connection, stage: Stage, row: sa.Row[Any], **values: Any) -> bool:
    return connection.execute(_own(stage.table), _held(stage, row) | values).rowcount == 1


def _held(stage: Stage, row: sa.Row[Any]) -> dict[str, Any]:
    return {"own_id": row.id, "own_batch": row.batch, "own_state": stage.claimed}


@cache
def _own(table: sa.Table) -> sa.Update:
    own = (("own_id", table.c.id), ("own_batch", table.c.batch), ("own_state", table.c.state))
    return table.update().where(*(column == sa.bindparam(name) for name, column in own))
