"""The few facts of an instance that are no settings: whether it is live, and who it is."""

from __future__ import annotations

import uuid

import sqlalchemy as sa

from printerd.model import Mode
from printerd.storage.schema import instance


def mode(connection: sa.Connection) -> Mode:
    """A new instance is in rehearsal."""
    return Mode(_get(connection, "mode") or Mode.REHEARSAL)


def set_mode(connection: sa.Connection, chosen: Mode) -> None:
    _put(connection, "mode", chosen)


def identity(connection: sa.Connection) -> str:
    """The instance's UUID, also the ``printer-uuid`` (PWG 5100.13 section 6.6.43); made at the first call."""
    found = _get(connection, "identity")
    if not found:
        found = str(uuid.uuid4())
        _put(connection, "identity", found)
    return found


def _get(connection: sa.Connection, name: str) -> str:
    return connection.scalar(sa.select(instance.c.value).where(instance.c.name == name)) or ""


def _put(connection: sa.Connection, name: str, value: str) -> None:
    if connection.execute(instance.update().where(instance.c.name == name).values(value=value)).rowcount == 0:
        connection.execute(instance.insert().values(name=name, value=value))
