"""The service's own SQLite file: one writer, one reader, and a bell that rings after every write.

A write is durable when it returns (WAL with ``synchronous=FULL``). Functions that
touch the database take a connection and are plain; ``Database`` runs them in its
threads, a write always inside ``BEGIN IMMEDIATE`` … ``COMMIT``.
"""

from __future__ import annotations

import asyncio
import secrets
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")
Work = Callable[Concatenate[sqlite3.Connection, P], T]

SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS documents (
    sha256 TEXT PRIMARY KEY, size INTEGER NOT NULL, stored_at TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS deliveries (
    id TEXT PRIMARY KEY, digest TEXT NOT NULL, body TEXT NOT NULL, document TEXT NOT NULL,
    created_at TEXT NOT NULL, expires_at TEXT NOT NULL, revoked_at TEXT) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS deliveries_by_document ON deliveries (document);
CREATE TABLE IF NOT EXISTS reminders (
    dispatch TEXT PRIMARY KEY, delivery TEXT NOT NULL, digest TEXT NOT NULL, created_at TEXT NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS reminders_by_delivery ON reminders (delivery, created_at);
CREATE TABLE IF NOT EXISTS receipts (
    delivery TEXT NOT NULL, contact TEXT NOT NULL, sha256 TEXT NOT NULL, size INTEGER NOT NULL,
    PRIMARY KEY (delivery, contact)) WITHOUT ROWID;
-- A token is never stored: token_hash is its SHA-256.
CREATE TABLE IF NOT EXISTS links (
    token_hash TEXT PRIMARY KEY, message TEXT NOT NULL, delivery TEXT NOT NULL, contact TEXT NOT NULL) WITHOUT ROWID;
-- wire is the final message, encrypted; it is erased when the row is settled, digest and masked stay.
CREATE TABLE IF NOT EXISTS outbox (
    id TEXT PRIMARY KEY, dispatch TEXT NOT NULL, delivery TEXT NOT NULL, contact TEXT NOT NULL,
    message_id TEXT NOT NULL UNIQUE, sender TEXT NOT NULL, recipient TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'PENDING'
        CHECK (state IN ('PENDING', 'SENDING', 'ACCEPTED', 'FAILED', 'UNCERTAIN')),
    phase TEXT NOT NULL DEFAULT '', attempt INTEGER NOT NULL DEFAULT 0, next_at REAL NOT NULL,
    created_at REAL NOT NULL, reply TEXT NOT NULL DEFAULT '', queue_id TEXT NOT NULL DEFAULT '',
    wire BLOB, digest TEXT NOT NULL, masked TEXT NOT NULL,
    UNIQUE (dispatch, contact),
    CHECK ((wire IS NULL) = (state IN ('ACCEPTED', 'FAILED')))) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS outbox_by_state ON outbox (state, next_at);
CREATE INDEX IF NOT EXISTS outbox_by_contact ON outbox (delivery, contact);
-- At most one NotificationAccessTracking a link, class and hour.
CREATE TABLE IF NOT EXISTS visits (
    token_hash TEXT NOT NULL, class TEXT NOT NULL, hour TEXT NOT NULL,
    PRIMARY KEY (token_hash, class, hour)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS events (
    seq INTEGER PRIMARY KEY, name TEXT NOT NULL, delivery TEXT NOT NULL, contact TEXT NOT NULL,
    time TEXT NOT NULL, body TEXT NOT NULL, digest TEXT NOT NULL UNIQUE);
CREATE INDEX IF NOT EXISTS events_by_contact ON events (delivery, contact, name);
CREATE TRIGGER IF NOT EXISTS events_are_not_changed BEFORE UPDATE ON events
    BEGIN SELECT RAISE(ABORT, 'events are append-only'); END;
CREATE TRIGGER IF NOT EXISTS events_are_not_deleted BEFORE DELETE ON events
    BEGIN SELECT RAISE(ABORT, 'events are append-only'); END;
"""


def now() -> datetime:
    """The present moment in UTC."""
    return datetime.now(UTC)


def stamp(moment: datetime) -> str:
    """RFC 3339 in UTC with microseconds and ``Z``; as text it sorts as time does."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def connect(path: Path) -> sqlite3.Connection:
    """Open the file with the promises of this module. ``secure_delete`` overwrites what is erased."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=30)
    connection.row_factory = sqlite3.Row
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=30000", "secure_delete=ON"):
        connection.execute(f"PRAGMA {pragma}")
    return connection


def make_tables(connection: sqlite3.Connection, server_name: str) -> str:
    """Make the tables if missing; give the ``edge_id`` that names this database."""
    connection.executescript(SCHEMA)
    connection.execute("INSERT OR IGNORE INTO meta VALUES ('edge_id', ?)", (new_edge_id(server_name),))
    return edge_id(connection)


def new_edge_id(server_name: str) -> str:
    """A name that no other database bears: the server's, and twelve random digits."""
    return f"{server_name}-{secrets.token_hex(6)}"


def edge_id(connection: sqlite3.Connection) -> str:
    """The name of this database and of its chain of events: fixed when the file was made, or restored."""
    value: str = connection.execute("SELECT value FROM meta WHERE key = 'edge_id'").fetchone()[0]
    return value


class Database:
    """Runs database functions in two threads: ``write`` in order and durably, ``read`` beside it."""

    def __init__(self, path: Path, server_name: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        self._write, self._read = connect(path), connect(path)
        self.edge_id = make_tables(self._write, server_name)
        self._read.execute("PRAGMA query_only=ON")
        self._writer = ThreadPoolExecutor(1, "database-writer")
        self._reader = ThreadPoolExecutor(1, "database-reader")
        self._bell = asyncio.Event()

    async def write(self, work: Work[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run ``work(connection, …)`` in one transaction; when this returns, its effects are on the disk."""
        result = await self.write_quietly(work, *args, **kwargs)
        self.ring()
        return result

    async def write_quietly(self, work: Work[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """As ``write``, for changes that nobody waits for."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._writer, lambda: self._transaction(work, *args, **kwargs))

    def prepare(self, work: Work[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a transaction before anything else runs: it waits in the calling thread."""
        result = self._transaction(work, *args, **kwargs)
        self.edge_id = edge_id(self._write)
        return result

    def _transaction(self, work: Work[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        self._write.execute("BEGIN IMMEDIATE")
        try:
            result = work(self._write, *args, **kwargs)
            self._write.execute("COMMIT")
        except BaseException:
            self._write.execute("ROLLBACK")
            raise
        return result

    async def read(self, work: Work[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run ``work(connection, …)`` on the last committed state."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._reader, lambda: work(self._read, *args, **kwargs))

    def bell(self) -> asyncio.Event:
        """What is set at the next write. Take it before you look, then wait: nothing is missed."""
        return self._bell

    def ring(self) -> None:
        """Wake everyone who waits for a change."""
        rung, self._bell = self._bell, asyncio.Event()
        rung.set()

    def close(self) -> None:
        """Finish what runs, then close the file."""
        for executor in (self._reader, self._writer):
            executor.shutdown()
        self._read.close()
        self._write.close()


async def wait_for_bell(bell: asyncio.Event, seconds: float) -> None:
    """Wait until the bell rings, at most so long."""
    try:
        async with asyncio.timeout(seconds):
            await bell.wait()
    except TimeoutError:
        return
