"""What the checks look at: the place of an instance and what it was told, as values."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Generic, Self, TypeVar

from printerd.delivery.contract import Status
from printerd.metrics import Told
from printerd.storage.database import Database

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Relay:
    """The mail relay, as the settings name it."""

    host: str
    port: int
    tls: str
    user: str


@dataclass(frozen=True, slots=True)
class Site:
    """One instance. ``edge`` and ``worker`` ask the other processes; ``reach`` opens a connection to HOST, PORT.

    ``secrets`` are the files of the settings that nobody else may read; ``settings`` are those that doctor judges, by
    their key. ``folders`` is where capture writes how the hot folder does, ``None`` without one. ``reach`` raises
    :class:`OSError`. ``timestamp_url`` is empty for the built-in authority; ``own_key`` says that the seal's key came
    from elsewhere.
    """

    root: Path
    keys: Path
    templates: Path
    children: Path
    locks: tuple[Path, ...]
    database: Database
    edge: Callable[[], Status]
    worker: Callable[[], Told]
    reach: Callable[[str, int], None]
    printer: str
    free_space: int
    timestamp_url: str
    firm: str
    own_key: bool
    relay: Relay
    folders: Path | None = None
    secrets: tuple[Path, ...] = ()
    settings: Mapping[str, object] = field(default_factory=dict)
    now: Callable[[], datetime] = field(default=lambda: datetime.now(UTC))

    def once(self) -> Self:
        """The same site for one round of checks: each process is asked once, whoever wants to know."""
        return replace(self, edge=Once(self.edge), worker=Once(self.worker))


class Once(Generic[T]):
    """A question that is asked at the first call; every call gets that answer, or its failure."""

    def __init__(self, ask: Callable[[], T]) -> None:
        self._ask = ask
        self._lock = threading.Lock()
        self._answers: list[T | Exception] = []

    def __call__(self) -> T:
        with self._lock:
            if not self._answers:
                self._answers.append(self._asked())
        answer = self._answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _asked(self) -> T | Exception:
        try:
            return self._ask()
        except Exception as error:
            return error
