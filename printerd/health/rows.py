"""What the rows tell of the work: how much there is, how long it has waited, what fails again and again.

One rule: every query begins with an index on the state, so it costs what is due and not what is archived; only
:func:`counts` walks along the states, and it is asked once a scrape.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from printerd.metrics import AUTHORITY
from printerd.model import DeliveryState, InvoiceState, JobState, ReceiptState
from printerd.storage.schema import deliveries, dispatches, edges, invoices, jobs, receipts

OFTEN = 3
"""Attempts after which a row that fails is told: one or two are a restart or a slow answer."""
AWAY = "The delivery server did not answer"
"""How a row's trouble begins while the edge is away, of which the check of the edge tells."""


@dataclass(frozen=True, slots=True)
class Work:
    """Where the work of a stage lies: rows of ``table`` in ``state``, due since ``since`` or their ``next_at``."""

    table: sa.Table
    state: str
    since: sa.Column[datetime]


STAGES: Mapping[str, Work] = {
    "process": Work(jobs, JobState.RECEIVED, jobs.c.received_at),
    "check": Work(invoices, InvoiceState.CHECKING, invoices.c.updated_at),
    "seal": Work(invoices, InvoiceState.READY, invoices.c.updated_at),
    "deliver": Work(deliveries, DeliveryState.DUE, deliveries.c.created_at),
    "remind": Work(dispatches, DeliveryState.DUE, dispatches.c.created_at),
    "acknowledge": Work(receipts, ReceiptState.DUE, receipts.c.created_at),
    "hand back": Work(receipts, ReceiptState.FILED, receipts.c.sealed_at),
}
"""The worker's stages (a test compares them with what it runs)."""


@dataclass(frozen=True, slots=True)
class Due:
    """How many rows of a stage are due, and since when the oldest is."""

    count: int
    since: datetime | None


def due(connection: sa.Connection, work: Work, now: datetime) -> Due:
    """What a stage could take up at this moment."""
    table = work.table
    free = (table.c.state == work.state, table.c.batch.is_(None))
    ripe = sa.or_(table.c.next_at.is_(None), table.c.next_at <= now)
    since = sa.func.min(sa.func.coalesce(table.c.next_at, work.since), type_=table.c.next_at.type)
    count, oldest = connection.execute(sa.select(sa.func.count(), since).where(*free, ripe)).one()
    return Due(count, oldest)


@dataclass(frozen=True, slots=True)
class Trouble:
    """Rows of a stage that fail again and again, and what most of them say."""

    stage: str
    count: int
    why: str


def troubles(connection: sa.Connection) -> list[Trouble]:
    """What fails often, for a reason that no other check tells."""
    found = []
    for stage, work in STAGES.items():
        table = work.table
        known = (table.c.trouble.startswith(AUTHORITY), table.c.trouble.startswith(AWAY))
        rows = (table.c.state == work.state, table.c.attempts >= OFTEN, sa.not_(sa.or_(*known)))
        count = sa.func.count()
        query = sa.select(count, table.c.trouble).where(*rows).group_by(table.c.trouble).order_by(count.desc())
        found += [Trouble(stage, row[0], row[1]) for row in connection.execute(query.limit(1))]
    return found


def unstamped(connection: sa.Connection) -> tuple[int, str]:
    """How many documents wait for the timestamp authority, and what is wrong with it."""
    count, why = 0, ""
    for stage in ("seal", "acknowledge"):
        table, state = STAGES[stage].table, STAGES[stage].state
        rows = (table.c.state == state, table.c.attempts > 0, table.c.trouble.startswith(AUTHORITY))
        more, said = connection.execute(sa.select(sa.func.count(), sa.func.max(table.c.trouble)).where(*rows)).one()
        count, why = count + more, said or why
    return count, why


def counts(connection: sa.Connection, table: sa.Table) -> Mapping[str, int]:
    """How many rows of a table are in each state."""
    query = sa.select(table.c.state, sa.func.count()).group_by(table.c.state)
    return {state: count for state, count in connection.execute(query)}


def cursors(connection: sa.Connection) -> list[sa.Row[tuple[str, int, str]]]:
    """The last event that was collected from each edge, and its alert."""
    return list(connection.execute(sa.select(edges.c.edge, edges.c.seq, edges.c.alert)))
