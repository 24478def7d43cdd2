"""A printer in this process, as it is just after a start: real intake, real database, real handlers, and no network.

One rule: every input meets the same printer, so that a find can be repeated. What one has written is gone before the
next, and a line of the log that says that something of ours failed is a find.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import hashlib
import logging
import shutil
import socket
import sqlite3
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from printerd.intake import Intake
from printerd.listener.door import Line
from printerd.listener.http import application
from printerd.model import JobState
from printerd.storage import jobs, schema
from printerd.storage.blobs import Blobs
from printerd.storage.database import Database
from tests.fuzz.ipp import NOW
from tests.listener.printing import UUID, empty_database

IN_MEMORY = Path("/dev/shm")  # noqa: S108 - a folder of our own in it, which ends with the process
LARGEST = 64 * 1024
"""Bytes that a document may have here."""
OPERATOR = "192.0.2.9"
"""From where the printer may be managed."""
PATIENCE = 15.0
"""Seconds after which whoever has not answered will never do."""


class _Failures(logging.Handler):
    """What was logged as a failure of ours."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self._records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self._records.append(record)

    def forget(self) -> None:
        self._records.clear()

    def raise_first(self) -> None:
        for record in self._records:
            raise AssertionError(f"logged as a failure: {record.getMessage()}") from (record.exc_info or (None, None))[
                1
            ]


class World:
    """A printer that stands still at :data:`NOW`. Everything is done within :meth:`fresh`."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.folder = Path(tempfile.mkdtemp(prefix="fuzz-", dir=IN_MEMORY if IN_MEMORY.is_dir() else None))
        atexit.register(shutil.rmtree, self.folder, ignore_errors=True)
        file = self.folder / "printerd.db"
        file.write_bytes(empty_database())
        self.database = Database(f"sqlite:///{file}")
        self.blobs = Blobs(self.folder)
        self._beside = sqlite3.connect(file, isolation_level=None)
        self._seen = self._version()
        self._failures = _Failures()
        logging.getLogger().addHandler(self._failures)

    @contextlib.contextmanager
    def fresh(self) -> Iterator[None]:
        """The printer as it begins; afterwards nothing is left of what was done with it. Raises what it has logged."""
        self._failures.forget()  # of an input that was a find already
        self.do(self._start())
        try:
            yield
            self._require_sound()
        finally:
            self.do(self._stop())
            self._forget()
        self._failures.raise_first()

    def do(self, act: Awaitable[Any]) -> Any:
        """In the loop of the printer. Raises :class:`AssertionError` when it never comes to an end."""

        async def bounded() -> Any:
            try:
                async with asyncio.timeout(PATIENCE):
                    return await act
            except TimeoutError as error:
                raise AssertionError("it waits for what never comes") from error

        return self.loop.run_until_complete(bounded())

    # Life

    async def _start(self) -> None:
        self.intake = Intake(
            self.database, self.blobs, document_limit=LARGEST, free_space=0, committed=lambda: None, now=lambda: NOW
        )
        self.app: Any = application(
            self.database,
            self.intake,
            name="inv",
            uuid=UUID,
            language="en",
            operators=[OPERATOR],
            now=lambda: NOW,
        )
        self._events: asyncio.Queue[dict[str, str]] = asyncio.Queue()
        started = asyncio.Event()

        async def told(_event: object) -> None:
            started.set()

        self._events.put_nowait({"type": "lifespan.startup"})
        self._life = asyncio.create_task(self.app({"type": "lifespan"}, self._events.get, told))
        await started.wait()

    async def _stop(self) -> None:
        self._events.put_nowait({"type": "lifespan.shutdown"})
        await self._life

    def _version(self) -> int:
        """Another one once somebody else has written (SQLite, pragma data_version)."""
        number: int = self._beside.execute("PRAGMA data_version").fetchone()[0]
        return number

    def _forget(self) -> None:
        if self._version() == self._seen:
            return
        for table in reversed(schema.metadata.sorted_tables):
            self._beside.execute(f'DELETE FROM "{table.name}"')  # noqa: S608 - a name of ours
        for digest in list(self.blobs.digests()):
            self.blobs.path(digest).unlink()
        self._seen = self._version()

    # What is there

    def rows(self) -> list[jobs.Job]:
        """Every job, the oldest first."""
        with self.database.read() as connection:
            return [job for number in range(jobs.last_number(connection)) if (job := jobs.get(connection, number + 1))]

    def documents(self) -> list[bytes]:
        """The bytes of each document that was taken, in the order of the jobs."""
        return [self.blobs.read(job.original) for job in self.rows() if job.original]

    def _require_sound(self) -> None:
        """A document is there whole or not at all, and no file of it is left where it was spooled."""
        for job in self.rows():
            taken = job.state in (JobState.RECEIVED, JobState.PROCESSING, JobState.DONE)
            assert job.original or not taken, job
            if job.original:
                data = self.blobs.read(job.original)
                assert (len(data), hashlib.sha256(data).hexdigest()) == (job.size, job.original), job
                assert 0 < len(data) <= LARGEST, job
            options = job.ticket.options
            said = [job.ticket.user, job.ticket.title, job.ticket.host, *options, *options.values()]
            assert "\0" not in "".join(said), f"no text that every database keeps: {job.ticket}"
        assert list(self.blobs.spool.iterdir()) == []

    # Ways in

    def ask(self, body: Sequence[bytes], scope: dict[str, Any], *, leaves: bool = False) -> tuple[int, bytes] | None:
        """One HTTP request whose body comes in these pieces: status and body of the answer, if there is one.

        A client that ``leaves`` has gone before the end of its body.
        """
        events = [{"type": "http.request", "body": piece, "more_body": True} for piece in body]
        gone = {"type": "http.disconnect"}
        events.append(gone if leaves else {"type": "http.request", "body": b"", "more_body": False})
        answer: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return events.pop(0) if events else gone

        async def send(event: dict[str, Any]) -> None:
            answer.append(event)

        self.do(self.app(scope, receive, send))
        assert [event["type"] for event in answer] in ([], ["http.response.start", "http.response.body"])
        return (answer[0]["status"], answer[1]["body"]) if answer else None

    def talk(self, said: bytes, serve: Callable[[Line], Awaitable[object]], host: str = "192.0.2.7") -> bytes:
        """What a door answers to somebody who says all of this and closes then. A connection may end by ``OSError``."""

        async def conversation() -> bytes:
            ours, theirs = socket.socketpair()
            theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * LARGEST)
            with theirs:
                theirs.setblocking(False)
                theirs.send(said)
                theirs.shutdown(socket.SHUT_WR)
                reader, writer = await asyncio.open_connection(sock=ours, limit=64 * 1024)
                with contextlib.suppress(OSError):
                    await serve(Line(reader, writer, host))
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()
                return b"".join(iter(lambda: theirs.recv(1 << 16), b""))

        answer: bytes = self.do(conversation())
        return answer


@cache
def world() -> World:
    """One for the process."""
    return World()
