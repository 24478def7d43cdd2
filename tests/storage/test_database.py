"""The database keeps what it is told, whoever else writes at the same time."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone
from functools import partial
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from printerd.errors import ConfigurationError, TransientError
from printerd.storage import migrations
from printerd.storage.database import (
    BUSY_TIMEOUT,
    Database,
    forget_text,
    index_texts,
    integrity,
    search_text,
    together,
)
from printerd.storage.schema import instance, metadata, rfc3339


@pytest.fixture
def database(tmp_path: Path) -> Database:
    database = Database(f"sqlite:///{tmp_path / 'printerd.db'}")
    migrations.upgrade(database)
    return database


def test_the_migrated_schema_is_the_declared_one(database: Database) -> None:
    """A fresh instance has exactly the tables that the code speaks of."""
    with database.read() as connection:
        difference = compare_metadata(MigrationContext.configure(connection), metadata)
    ours = [change for change in difference if "invoice_text" not in str(change)]
    assert ours == []
    assert migrations.current(database) == migrations.HEAD


def test_an_upgrade_can_be_repeated(database: Database) -> None:
    """Starting the program twice changes nothing."""
    migrations.upgrade(database)
    assert migrations.current(database) == migrations.HEAD


def test_a_newer_database_is_refused(database: Database) -> None:
    """An older program does not touch what a newer one wrote."""
    with database.write() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(ConfigurationError, match="9999"):
        migrations.upgrade(database)


def test_read_then_write_loses_no_update(database: Database) -> None:
    """Four writers that each add one a hundred times leave four hundred."""
    with database.write() as connection:
        connection.execute(instance.insert().values(name="counter", value="0"))

    def add() -> None:
        for _ in range(100):
            with database.write() as connection:
                value = connection.execute(sa.select(instance.c.value).where(instance.c.name == "counter")).scalar_one()
                connection.execute(instance.update().values(value=str(int(value) + 1)))

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with database.read() as connection:
        assert connection.execute(sa.select(instance.c.value)).scalar_one() == "400"


def test_a_failed_transaction_leaves_nothing(database: Database) -> None:
    """Either all of a transaction is kept or none of it."""
    with pytest.raises(ZeroDivisionError), database.write() as connection:
        connection.execute(instance.insert().values(name="half", value=str(1 // 0)))
    with database.read() as connection:
        assert connection.execute(sa.select(instance)).all() == []


@pytest.mark.parametrize(
    ("names", "kept", "outcomes", "calls"),
    [
        ("ab", "ab", "ab", ["ab"]),
        ("a!b", "ab", "a!b", ["a!b", "a", "!", "b"]),
        ("!", "", "!", ["!"]),
        ("", "", "", []),
    ],
)
def test_what_is_tried_together_fails_alone(
    database: Database, names: str, kept: str, outcomes: str, calls: list[str]
) -> None:
    """All at once when all succeed; else each by itself, and what a failed act wrote is not there."""
    made: list[str] = []

    def act(connection: sa.Connection, some: Sequence[str]) -> list[str]:
        made.append("".join(some))
        connection.execute(instance.insert(), [{"name": one, "value": ""} for one in some])
        if "!" in some:
            raise ValueError("!")
        return list(some)

    with database.write() as connection:
        found = together(connection, partial(act, connection), names)
    assert "".join(map(str, found)) == outcomes
    assert made == calls
    with database.read() as connection:
        assert "".join(connection.scalars(sa.select(instance.c.name).order_by(instance.c.name))) == kept


def test_words_are_found_without_accents_and_without_query_syntax(database: Database) -> None:
    """A search takes words as they are: accents and case do not matter, operators are plain text."""
    with database.write() as connection:
        index_texts(connection, {"a": "Boulangerie Bélair – pétrins", "b": "Moulin OR NOT"})
        forget_text(connection, ["a"])
        index_texts(connection, {"a": "Boulangerie Bélair – pétrins et levures"})
        index_texts(connection, {})
    with database.read() as connection:
        assert search_text(connection, "belair levures") == ["a"]
        assert search_text(connection, 'OR "not') == ["b"]
        assert search_text(connection, "  ") == []


def test_times_are_kept_in_utc_and_sort_as_text() -> None:
    """A time is written in one form only; one without a zone is refused."""
    paris = datetime(2026, 11, 24, 10, 5, tzinfo=timezone(timedelta(hours=1)))
    assert rfc3339(paris) == "2026-11-24T09:05:00.000000Z"
    with pytest.raises(ValueError, match="zone"):
        rfc3339(datetime(2026, 11, 24, tzinfo=UTC).replace(tzinfo=None))


def test_a_sound_file_has_nothing_to_report(database: Database) -> None:
    """The integrity check of a healthy database is silent."""
    with database.read() as connection:
        assert integrity(connection) == []


def test_a_writer_that_waits_goes_on_at_once(database: Database) -> None:
    """SQLite's own handler would look again 78 ms after a lock that was held for a quarter of a second is released."""
    path, released = Path(str(database.url.database)), []

    def hold(held: threading.Event) -> None:
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            held.set()
            time.sleep(0.25)
            released.append(time.monotonic())
            other.execute("ROLLBACK")

    delays = []
    for _ in range(10):
        held = threading.Event()
        holding = threading.Thread(target=hold, args=(held,))
        holding.start()
        held.wait()
        with database.write():
            delays.append(time.monotonic() - released[-1])
        holding.join()
    assert min(delays) < 0.04, delays


def test_a_writer_does_not_wait_for_ever(database: Database) -> None:
    """When its patience ends it says that the database did not answer; the next one finds it in order."""
    hasty = Database(str(database.url), patience=200)
    with database.write():
        began = time.monotonic()
        with pytest.raises(TransientError, match="locked"), hasty.write():
            raise AssertionError("two writers at once")
        assert 0.2 <= time.monotonic() - began < BUSY_TIMEOUT / 1000 / 2
    with hasty.write() as connection:
        assert connection.scalar(sa.select(1)) == 1
    hasty.close()
