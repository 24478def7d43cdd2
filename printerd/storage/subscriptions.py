"""Rows of the subscriptions to events: they outlive a restart, their events do not (RFC 3995 section 5.4, RFC 3996).

One rule: a row is written when somebody subscribes, renews or cancels, and
when events were found for it; never because something was printed.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime

import sqlalchemy as sa

from printerd.storage.schema import subscriptions


@dataclass(frozen=True, slots=True)
class Subscription:
    """``job`` is the number of the job that it is about, missing for one to the printer; then ``lease`` is in seconds
    and ``expires_at`` its end. ``sequence`` is the number of the latest event; ``interval`` is in seconds.
    """

    id: int
    user: str
    host: str
    job: int | None
    events: tuple[str, ...]
    language: str
    lease: int
    expires_at: datetime | None
    interval: int
    user_data: bytes | None
    sequence: int = 0


def every(connection: sa.Connection) -> list[Subscription]:
    rows = connection.execute(sa.select(subscriptions).order_by(subscriptions.c.id))
    return [Subscription(**{**row._mapping, "events": tuple(row.events)}) for row in rows]


def put(connection: sa.Connection, one: Subscription) -> None:
    """Write a new one, or one that changed."""
    values = asdict(one)
    update = subscriptions.update().where(subscriptions.c.id == one.id).values(values)
    if connection.execute(update).rowcount == 0:
        connection.execute(subscriptions.insert().values(values))


def remove(connection: sa.Connection, ids: Collection[int]) -> None:
    connection.execute(subscriptions.delete().where(subscriptions.c.id.in_(list(ids))))


def count(connection: sa.Connection, sequences: Mapping[int, int]) -> None:
    """How many events each has had by now."""
    for own, sequence in sequences.items():
        connection.execute(subscriptions.update().where(subscriptions.c.id == own).values(sequence=sequence))
