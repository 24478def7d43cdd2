"""Group commit: many tasks ask, one transaction writes for all that wait.

One rule: an ask is answered only when its file lies under its digest, the
file's folder is synced, and the transaction is durable. There is no timer:
while one group is being written the next one gathers, so a lone ask waits for
nobody and a crowd shares one sync.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

import sqlalchemy as sa

from printerd.model import Digest
from printerd.storage import database
from printerd.storage.blobs import Blobs
from printerd.storage.database import Database

GROUP: Final = 256
"""The most asks in one transaction: nobody waits for an endless one."""
NOTED: Final = 1.0
"""Seconds that a note may stay in memory while nothing else is written."""

T = TypeVar("T")
Act = Callable[[sa.Connection], T]


@dataclass(frozen=True, slots=True)
class _Ask:
    act: Act[Any]
    future: asyncio.Future[Any]
    file: tuple[Path, Digest] | None


class Writer:
    """Writes for one event loop. ``committed`` is called after each group that took in files."""

    def __init__(self, store: Database, blobs: Blobs, committed: Callable[[], None]) -> None:
        self._database = store
        self._blobs = blobs
        self._committed = committed
        self._asks: list[_Ask] = []
        self._notes: list[Act[None]] = []
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="writer")
        self._running: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    async def write(self, act: Act[T], file: tuple[Path, Digest] | None = None) -> T:
        """Run ``act`` in the next transaction and return what it returned, once that is durable.

        A synced spool ``file`` is taken into the blobs first; from this call on it
        belongs to the writer, which removes it when the write fails. ``act`` may
        raise: what it wrote is undone, what others wrote in the same group is not.
        """
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._asks.append(_Ask(act, future, file))
        self._start()
        return await future

    def note(self, act: Act[None]) -> None:
        """Run ``act`` before the next ask, or within :data:`NOTED` seconds: once, however often it is noted till then.

        It may be lost in a crash.
        """
        if act not in self._notes:
            self._notes.append(act)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(NOTED, self._start)

    async def close(self) -> None:
        """Write what waits, then end."""
        if self._notes:
            self._start()
        if self._running is not None:
            await self._running
        self._thread.shutdown()

    def _start(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._running is None:
            self._running = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        """One group after another until nothing waits."""
        loop = asyncio.get_running_loop()
        while self._asks or self._notes:
            group, self._asks = self._asks[:GROUP], self._asks[GROUP:]
            notes, self._notes = self._notes, []
            try:
                results = await loop.run_in_executor(self._thread, self._commit, notes, group)
            except Exception as error:
                results = [error] * len(group)
            _answer(group, results)
            if any(ask.file for ask in group):
                loop.call_soon(self._committed)
        self._running = None

    def _commit(self, notes: list[Act[None]], group: list[_Ask]) -> list[Any]:
        """In the writer's thread. Results stand in the order of ``group``; an exception is a result too."""
        files = [ask.file for ask in group if ask.file]
        try:
            self._blobs.adopt(files)
            with self._database.write() as connection:
                for note in notes:
                    note(connection)
                return _results(connection, group)
        except Exception:
            for path, _ in files:
                path.unlink(missing_ok=True)
            raise


def _results(connection: sa.Connection, group: list[_Ask]) -> list[Any]:
    """What each act returned or raised. All are tried together; when one fails, each once more by itself."""
    together = database.attempt(connection, lambda: [ask.act(connection) for ask in group])
    if not isinstance(together, Exception):
        return list(together)
    return [database.attempt(connection, partial(ask.act, connection)) for ask in group]


def _answer(group: list[_Ask], results: list[Any]) -> None:
    for ask, result in zip(group, results, strict=True):
        if ask.future.done():  # whoever asked has gone
            continue
        if isinstance(result, Exception):
            ask.future.set_exception(result)
        else:
            ask.future.set_result(result)
