"""Group commit: many tasks ask, one transaction writes for all that wait.

One rule: an ask is answered only when its file is synced and lies under its
digest, the file's folder is synced, and the transaction is durable. There is
no timer: while one group is being written the next one gathers, so a lone ask
waits for nobody and a crowd shares one sync.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Generic, TypeVar

import sqlalchemy as sa

from printerd.storage import database
from printerd.storage.blobs import Blobs
from printerd.storage.database import Database
from printerd.storage.spool import Spool

GROUP: Final = 256
"""The most asks in one transaction: nobody waits for an endless one."""
NOTED: Final = 1.0
"""Seconds that a note may stay in memory while nothing else is written."""
THREADS: Final = 8
"""Files that are synced at the same time: the disk does together what waits for it together."""

T = TypeVar("T")
Item = TypeVar("Item")
Taken = TypeVar("Taken")
Act = Callable[[sa.Connection], T]


@dataclass(frozen=True, slots=True, eq=False)
class _Wish:
    """Somebody wants something written."""

    future: asyncio.Future[Any]
    act: Act[Any]


@dataclass(frozen=True, slots=True, eq=False)
class _Arrived(Generic[Item]):
    """A document has come; what is known of it is ``item``."""

    future: asyncio.Future[Any]
    item: Item
    spool: Spool


class Writer(Generic[Item, Taken]):
    """Writes for one event loop. ``take`` makes rows of all documents of a group, and answers in their order;
    ``committed`` is called after each group in which documents were taken.
    """

    def __init__(
        self,
        store: Database,
        blobs: Blobs,
        take: Callable[[sa.Connection, Sequence[Item]], Sequence[Taken]],
        committed: Callable[[], None],
    ) -> None:
        self._database = store
        self._blobs = blobs
        self._take = take
        self._committed = committed
        self._asks: list[_Wish | _Arrived[Item]] = []
        self._notes: list[Act[None]] = []
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="writer")
        self._syncing = ThreadPoolExecutor(THREADS, thread_name_prefix="spool")
        self._running: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    async def write(self, act: Act[T]) -> T:
        """Run ``act`` in the next transaction and return what it returned, once that is durable.

        ``act`` may raise: what it wrote is undone, what others wrote in the same group is not.
        """
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._ask(_Wish(future, act))
        return await future

    async def take(self, item: Item, spool: Spool) -> Taken:
        """The document of ``spool``, finished, under its digest and with its row.

        From this call on the spool belongs to the writer, which removes its file when the write fails.
        """
        future: asyncio.Future[Taken] = asyncio.get_running_loop().create_future()
        self._ask(_Arrived(future, item, spool))
        return await future

    def _ask(self, ask: _Wish | _Arrived[Item]) -> None:
        self._asks.append(ask)
        self._start()

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
        self._syncing.shutdown()

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
            if any(_is_taken(ask, result) for ask, result in zip(group, results, strict=True)):
                loop.call_soon(self._committed)
        self._running = None

    def _commit(self, notes: list[Act[None]], group: list[_Wish | _Arrived[Item]]) -> list[Any]:
        """In the writer's thread. Results stand in the order of ``group``; an exception is a result too."""
        results: dict[object, Any] = self._unfinished([ask for ask in group if isinstance(ask, _Arrived)])
        ready = [ask for ask in group if ask not in results]
        results |= zip(ready, self._written(notes, ready), strict=True)
        return [results[ask] for ask in group]

    def _unfinished(self, arrived: list[_Arrived[Item]]) -> dict[object, Any]:
        """Every file is made whole and synced, several at a time (a lone one here); why, where that failed."""
        outcomes = map(_finish, arrived) if len(arrived) == 1 else self._syncing.map(_finish, arrived)
        return {ask: failure for ask, failure in zip(arrived, outcomes, strict=True) if failure is not None}

    def _written(self, notes: list[Act[None]], group: list[_Wish | _Arrived[Item]]) -> list[Any]:
        spools = [ask.spool for ask in group if isinstance(ask, _Arrived)]
        try:
            self._blobs.adopt([(spool.path, spool.digest) for spool in spools])
            with self._database.write() as connection:
                for note in notes:
                    note(connection)
                return database.together(connection, partial(self._each, connection), group)
        except Exception:
            for spool in spools:
                spool.path.unlink(missing_ok=True)
            raise

    def _each(self, connection: sa.Connection, group: Sequence[_Wish | _Arrived[Item]]) -> list[Any]:
        """What each ask came to: the documents are taken together, the rest is done one after the other."""
        items = [ask.item for ask in group if isinstance(ask, _Arrived)]
        taken: Iterator[Taken] = iter(self._take(connection, items) if items else ())
        return [next(taken) if isinstance(ask, _Arrived) else ask.act(connection) for ask in group]


def _is_taken(ask: _Wish | _Arrived[Any], result: Any) -> bool:
    return isinstance(ask, _Arrived) and not isinstance(result, Exception)


def _finish(arrived: _Arrived[Any]) -> Exception | None:
    try:
        with arrived.spool:
            arrived.spool.finish()
    except Exception as error:
        return error
    return None


def _answer(group: Sequence[_Wish | _Arrived[Any]], results: list[Any]) -> None:
    for ask, result in zip(group, results, strict=True):
        if ask.future.done():  # whoever asked has gone
            continue
        if isinstance(result, Exception):
            ask.future.set_exception(result)
        else:
            ask.future.set_result(result)
