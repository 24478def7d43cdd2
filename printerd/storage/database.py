"""The only module that knows which database it is: engines, transactions, full-text search.

SQLite needs care (docs/decisions/0002): our engine starts each transaction by
itself, ``write()`` with BEGIN IMMEDIATE so that read-then-write never loses an
update; the workflow engine has an engine of its own whose driver begins for it.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy import event

from printerd.errors import TransientError

BUSY_TIMEOUT = 30_000
"""Milliseconds that a writer waits for another one."""
LOOK_AGAIN = 0.002
"""Seconds between two looks for the write lock."""

T = TypeVar("T")
R = TypeVar("R")


class Database:
    """One database by its URL. ``read()`` and ``write()`` give a connection inside a transaction.

    ``patience``: milliseconds that it waits for another writer.
    """

    def __init__(self, url: str, *, patience: int = BUSY_TIMEOUT) -> None:
        self.url = sa.make_url(url)
        self.engine = _engine(self.url, patience)

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[sa.Connection]:
        try:
            with self.engine.connect().execution_options(begin=begin) as connection, connection.begin():
                yield connection
        except sa.exc.OperationalError as error:
            raise TransientError(
                f"The database did not answer: {error.orig}",
                where=str(self.url),
                remedy="It is tried again; look for a full disk or another program that holds the file.",
            ) from error

    def read(self) -> AbstractContextManager[sa.Connection]:
        """A consistent view; what is written in it fails later than it should, so do not."""
        return self._transaction("BEGIN")

    def write(self) -> AbstractContextManager[sa.Connection]:
        """A transaction that holds the write lock from its first statement to its durable commit."""
        return self._transaction("BEGIN IMMEDIATE")

    def close(self) -> None:
        self.engine.dispose()


def _engine(url: sa.URL, patience: int) -> sa.Engine:
    engine = sa.create_engine(url)
    if url.get_backend_name() == "sqlite":
        event.listen(engine, "connect", partial(_connect_ours, patience))
        event.listen(engine, "begin", partial(_begin, patience))
    return engine


def workflow_engine(url: str) -> sa.Engine:
    """The engine that the workflow engine works on: WAL and FULL, and no begin hook (it begins by itself)."""
    engine = sa.create_engine(url)
    if engine.url.get_backend_name() == "sqlite":
        event.listen(engine, "connect", _connect_workflow)
    return engine


def _connect_ours(patience: int, connection: sqlite3.Connection, _record: Any) -> None:
    connection.isolation_level = None
    _pragmas(connection, patience)


def _connect_workflow(connection: sqlite3.Connection, _record: Any) -> None:
    connection.isolation_level = "IMMEDIATE"
    _pragmas(connection, BUSY_TIMEOUT)


def _pragmas(connection: sqlite3.Connection, patience: int) -> None:
    for pragma in (f"busy_timeout={patience}", "journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin(patience: int, connection: sa.Connection) -> None:
    begin = connection.get_execution_options().get("begin", "BEGIN")
    if begin == "BEGIN":
        connection.exec_driver_sql(begin)
    else:
        _lock(patience, connection, begin)


def _lock(patience: int, connection: sa.Connection, begin: str) -> None:
    """SQLite looks for the lock more and more seldom, at last every 100 ms: under load others are faster."""
    deadline = time.monotonic() + patience / 1000
    driver: Any = connection.connection.dbapi_connection
    driver.execute("PRAGMA busy_timeout=0")
    try:
        while (code := _tried(driver, begin)) == sqlite3.SQLITE_BUSY and time.monotonic() < deadline:
            time.sleep(LOOK_AGAIN)
        if code:
            connection.exec_driver_sql(begin)  # it fails in the words that callers know
    finally:
        driver.execute(f"PRAGMA busy_timeout={patience}")


def _tried(driver: sqlite3.Connection, begin: str) -> int:
    """0 when the transaction has begun, else SQLite's primary result code: the rest says why it is busy."""
    try:
        driver.execute(begin)
    except sqlite3.OperationalError as error:
        return error.sqlite_errorcode & 0xFF
    return 0


def attempt(connection: sa.Connection, act: Callable[[], Any]) -> Any:
    """What ``act`` returned or raised; a savepoint undoes what a failed act wrote, and the transaction goes on.

    What the database itself cannot do is nobody's own failure: that ends the transaction.
    """
    savepoint = connection.begin_nested()
    try:
        result = act()
    except sa.exc.OperationalError:
        raise
    except Exception as error:
        savepoint.rollback()
        return error
    savepoint.commit()
    return result


def together(connection: sa.Connection, act: Callable[[Sequence[T]], Sequence[R]], things: Sequence[T]) -> list[Any]:
    """What ``act`` gave or raised for each thing. All are tried at once; if that fails, each once more by itself."""
    all_at_once = attempt(connection, partial(act, things)) if len(things) > 1 else Apart()
    if not isinstance(all_at_once, Exception):
        return list(all_at_once)
    each = [attempt(connection, partial(act, [thing])) for thing in things]
    return [one if isinstance(one, Exception) else one[0] for one in each]


class Apart(Exception):
    """Raised by an act on several things that must be done one by one, or on one that is not to be done any more."""


SEARCH_TABLE = (
    "CREATE VIRTUAL TABLE invoice_text USING fts5(invoice UNINDEXED, text, tokenize='unicode61 remove_diacritics 2')"
)


def index_texts(connection: sa.Connection, texts: Mapping[str, str]) -> None:
    """Make invoices findable by their texts, once: one that is there already is taken away by :func:`forget_text`."""
    if texts:
        connection.execute(_INDEX, [{"invoice": invoice, "text": text} for invoice, text in texts.items()])


_INDEX = sa.text("INSERT INTO invoice_text (invoice, text) VALUES (:invoice, :text)")


def forget_text(connection: sa.Connection, invoices: Collection[str]) -> None:
    """Take the texts of invoices away. It reads every text there is, so ask once for all of them, and seldom."""
    if invoices:
        forget = sa.text("DELETE FROM invoice_text WHERE invoice IN :invoices")
        connection.execute(forget.bindparams(sa.bindparam("invoices", list(invoices), expanding=True)))


def search_text(connection: sa.Connection, words: str, limit: int = 200) -> list[str]:
    """Ids of the invoices that hold all the words, best first. Words are taken literally: no query syntax."""
    query = " ".join('"{}"'.format(word.replace('"', '""')) for word in words.split())
    if not query:
        return []
    found = connection.execute(
        sa.text("SELECT invoice FROM invoice_text WHERE invoice_text MATCH :query ORDER BY rank LIMIT :limit"),
        {"query": query, "limit": limit},
    )
    return [row.invoice for row in found]


def integrity(connection: sa.Connection) -> list[str]:
    """What the database finds wrong with its own file; an empty list when it is sound."""
    rows = connection.exec_driver_sql("PRAGMA integrity_check").scalars()
    return [row for row in rows if row != "ok"]


@contextmanager
def damaged_text(connection: sa.Connection) -> Iterator[None]:
    """Within it, text that is no UTF-8 any more is read with its bytes escaped (``\\x80``) instead of not at all."""
    driver: Any = connection.connection.dbapi_connection
    driver.text_factory = partial(str, encoding="utf-8", errors="backslashreplace")
    try:
        yield
    finally:
        driver.text_factory = str
