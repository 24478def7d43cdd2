"""A printer that runs under a real uvicorn on a free port, and the requests that clients send to it."""

from __future__ import annotations

import http.client
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import sqlalchemy as sa
import uvicorn

from printerd.intake import Intake
from printerd.ipp.attributes import attribute
from printerd.ipp.codec import decode, encode
from printerd.ipp.message import Attribute, Group, GroupTag, Message
from printerd.ipp.registry import Operation
from printerd.listener.backend import LAST_CALL, Backend, print_system
from printerd.listener.connections import TimedProtocol
from printerd.listener.door import Door
from printerd.listener.http import application
from printerd.listener.peers import Guests
from printerd.storage import jobs, schema
from printerd.storage.blobs import Blobs
from printerd.storage.database import Database
from printerd.supervisor import bind

PDF = b"%PDF-1.7\n" + bytes(range(256)) * 240
UUID = "6f1f1a6e-7a51-4b52-9f5e-0c3a5d1c7c11"


@cache
def empty_database() -> bytes:
    """The file of a database with all tables: made once, copied for each printer."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "printerd.db"
        database = Database(f"sqlite:///{file}")
        schema.metadata.create_all(database.engine)
        database.close()
        return file.read_bytes()


@dataclass
class RunningPrinter:
    """Stop it with :meth:`stop`. ``settings`` go to the intake, ``claims`` to the application; ``doors`` makes what
    else is open while it runs.
    """

    folder: Path
    settings: Mapping[str, Any] = field(default_factory=dict)
    claims: Mapping[str, Any] = field(default_factory=dict)
    socket_path: Path | None = None
    """Where the CUPS backend finds it; nowhere without."""
    users: frozenset[int] = field(default_factory=print_system)
    woken: int = 0
    doors: Callable[[RunningPrinter], Iterable[AbstractAsyncContextManager[object]]] = lambda _printer: ()

    def __post_init__(self) -> None:
        self.folder.mkdir(exist_ok=True)
        file = self.folder / "printerd.db"
        if not file.exists():
            file.write_bytes(empty_database())
        self.database = Database(f"sqlite:///{file}")
        self.blobs = Blobs(self.folder)
        settings: dict[str, Any] = {"document_limit": 8 << 20, "free_space": 0, "committed": self._wake} | dict(
            self.settings
        )
        self.intake = Intake(self.database, self.blobs, **settings)
        claims: dict[str, Any] = {"name": "inv", "uuid": UUID, "language": "en", "report_within": 0.3} | dict(
            self.claims
        )
        backend = [self._door(self.socket_path)] if self.socket_path else []
        app = application(self.database, self.intake, doors=[*backend, *self.doors(self)], **claims)
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        config = uvicorn.Config(app, http=TimedProtocol, access_log=False, log_level="critical", lifespan="on")
        self.server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self.server.run, kwargs={"sockets": [self._socket]})
        self._thread.start()
        while not self.server.started:
            time.sleep(0.005)

    def _door(self, path: Path) -> Door:
        cups = Backend(self.intake, {"invoices": "inv"}, users=self.users, idle=5)
        return Door("cups", bind("backend", f"unix://{path}"), Guests(()), cups.serve, LAST_CALL)

    def stop(self) -> None:
        self.server.should_exit = True
        self._thread.join()
        self._socket.close()
        self.database.close()

    def _wake(self) -> None:
        self.woken += 1

    @property
    def uri(self) -> str:
        return f"ipp://localhost:{self.port}/ipp/print"

    def connect(self, timeout: float = 20) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)

    def post(
        self, body: bytes | Iterable[bytes], headers: Mapping[str, str] | None = None, *, chunked: bool = False
    ) -> tuple[int, bytes]:
        """One HTTP request on a connection of its own."""
        connection = self.connect()
        try:
            told = {"Content-Type": "application/ipp", "Host": f"localhost:{self.port}"} | dict(headers or {})
            connection.request("POST", "/ipp/print", body, told, encode_chunked=chunked)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def ask(self, message: Message, document: bytes = b"", **options: Any) -> Message:
        """Send a request and read its answer."""
        status, octets = self.post(encode(message) + document, **options)
        assert status == 200, octets
        return decode(octets)

    def request(
        self, operation: int, *more: Attribute, user: str = "anna", job: tuple[Attribute, ...] = (), version: int = 20
    ) -> Message:
        """A request to this printer; ``more`` are operation attributes, ``job`` Job Template attributes."""
        given = (
            attribute("attributes-charset", "utf-8"),
            attribute("attributes-natural-language", "en"),
            attribute("printer-uri", self.uri),
            attribute("requesting-user-name", user),
            *more,
        )
        groups = (Group(GroupTag.OPERATION, given), *((Group(GroupTag.JOB, job),) if job else ()))
        return Message(divmod(version, 10), operation, 1, groups)

    def print_job(self, document: bytes = PDF, *more: Attribute, title: str = "FA-1", **options: Any) -> Message:
        named = (attribute("job-name", title), *more)
        return self.ask(self.request(Operation.PRINT_JOB, *named, **options), document)

    def rows(self) -> list[jobs.Job]:
        """Every job, oldest first."""
        with self.database.read() as connection:
            newest = jobs.listed(connection, self.intake._now())
        return newest[::-1]

    def change(self, number: int, /, **values: object) -> None:
        """What another program of the house writes into a job's row."""
        with self.database.write() as connection:
            connection.execute(sa.update(schema.jobs).where(schema.jobs.c.number == number).values(**values))

    def spooled(self) -> list[Path]:
        return list(self.blobs.spool.iterdir())


if __name__ == "__main__":  # a printer that a test can kill: python -m tests.listener.printing FOLDER
    running = RunningPrinter(Path(sys.argv[1]))
    print(running.port, flush=True)
    sys.stdin.read()
    running.stop()
