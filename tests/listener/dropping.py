"""A hot folder that runs in this process or in one of its own, and files as ERPs put them there."""

from __future__ import annotations

import asyncio
import json
import sys
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from printerd.intake import Intake
from printerd.listener.hotfolder import HotFolder
from printerd.listener.resting import Patience
from printerd.model import Ticket
from printerd.storage import jobs
from printerd.storage.blobs import Blobs
from printerd.storage.database import Database
from tests.waiting import until

from .printing import empty_database

PDF = b"%PDF-1.7\n" + bytes(range(256)) * 40 + b"\nstartxref\n9\n%%EOF\n"
QUEUES = {"invoices": "inv", "credit": "crd"}
PATIENCE = Patience(at_rest=0.4, sidecar=0.0, end=1.5)
QUICK = Patience(at_rest=0.2, sidecar=0.0, end=1.5)


def pdf(number: int) -> bytes:
    """A small document of its own."""
    return PDF[:9] + f"% {number}\n".encode() + PDF[9:]


@dataclass
class Dropping:
    """A hot folder ``folder/hot`` with its intake; :meth:`running` while it takes what is put there."""

    folder: Path
    patience: Patience = PATIENCE
    every: float = 60.0
    language: str = "en"
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.hot = self.folder / "hot"
        self.state = self.folder / "state"
        self.told = self.state / "folders.json"
        for folder in (self.hot, self.state):
            folder.mkdir(parents=True, exist_ok=True)
        file = self.state / "printerd.db"
        if not file.exists():
            file.write_bytes(empty_database())
        self.database = Database(f"sqlite:///{file}")
        self.blobs = Blobs(self.state)

    # Life

    @contextmanager
    def running(self) -> Iterator[Dropping]:
        loop, over = asyncio.new_event_loop(), asyncio.Event()
        self.loop = loop
        thread = threading.Thread(target=loop.run_until_complete, args=(self.serve(over),))
        thread.start()
        try:
            until(lambda: self.trouble() is not None, 20)
            yield self
        finally:
            loop.call_soon_threadsafe(over.set)
            thread.join()
            loop.close()
            self.told.unlink()

    async def serve(self, over: asyncio.Event) -> None:
        settings: dict[str, Any] = {"document_limit": 8 << 20, "free_space": 0} | dict(self.settings)
        self.intake = Intake(self.database, self.blobs, committed=lambda: None, language=self.language, **settings)
        hot = HotFolder(
            self.intake,
            self.hot,
            QUEUES,
            patience=self.patience,
            every=self.every,
            told=self.told,
            language=self.language,
        )
        async with self.intake, hot:
            await over.wait()

    def close(self) -> None:
        self.database.close()

    # Hands

    def put(self, name: str | bytes, data: bytes = PDF, queue: str = "") -> Path:
        """As a careful program does: written under a name that is passed over, then renamed."""
        (self.hot / queue).mkdir(exist_ok=True)
        target = self.hot / queue / (name if isinstance(name, str) else os_name(name))
        partial = self.hot / queue / ".partial"
        partial.write_bytes(data)
        return partial.rename(target)

    def print_elsewhere(self, title: str, data: bytes = PDF) -> int:
        """Through another door of the same intake: the number of the job."""

        async def sent() -> AsyncIterator[bytes]:
            yield data

        ticket = Ticket("inv", "anna", "192.0.2.7", title, "application/pdf", "ipp")
        taken = asyncio.run_coroutine_threadsafe(self.intake.accept(ticket, sent()), self.loop)
        return taken.result(20).number

    def copy(self, name: str, data: bytes = PDF) -> Path:
        """As most programs do: written under its own name."""
        target = self.hot / name
        target.write_bytes(data)
        return target

    # Eyes

    def trouble(self) -> list[str] | None:
        """What capture tells of the folder; ``None`` before it has looked."""
        if not self.told.exists():
            return None
        told: list[str] = json.loads(self.told.read_text())["trouble"]
        return told

    def rows(self) -> list[jobs.Job]:
        """Every job, oldest first."""
        with self.database.read() as connection:
            return [job for number in range(jobs.last_number(connection)) if (job := jobs.get(connection, number + 1))]

    def names(self, folder: str = "") -> list[str]:
        """The files of a folder, without those that begin with a dot."""
        place = self.hot / folder
        found = place.iterdir() if place.is_dir() else ()
        return sorted(one.name for one in found if not one.is_dir() or one.is_symlink())

    def taking(self) -> list[str]:
        places = (self.hot / queue / ".taking" for queue in ("", *QUEUES))
        return sorted(one.name for place in places if place.is_dir() for one in place.iterdir())

    def empty(self) -> bool:
        """Whether nothing is left to take."""
        return not any(self.names(queue) for queue in ("", *QUEUES)) and not self.taking()

    def settled(self, seconds: float = 20) -> list[jobs.Job]:
        """Every job once all that was put there has been taken."""
        until(self.empty, seconds)
        return self.rows()

    def reason(self, name: str) -> str:
        return (self.hot / "failed" / f"{name}.reason.txt").read_text("utf-8")


def os_name(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")


if __name__ == "__main__":  # a hot folder that a test can kill: python -m tests.listener.dropping FOLDER
    asyncio.run(Dropping(Path(sys.argv[1]), QUICK, every=0.1).serve(asyncio.Event()))
