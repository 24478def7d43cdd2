"""The system's events of folders, by watchdog.

One rule: events are hints. They say that it is time to look, and what a look cannot see: that a file was renamed to its
name, or that somebody still writes into it. Where none come, on most file servers, everything is only slower.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

from watchdog.events import FileClosedEvent, FileModifiedEvent, FileMovedEvent, FileSystemEvent, FileSystemEventHandler
from watchdog.observers.api import ObservedWatch
from watchdog.observers.inotify import InotifyObserver

from printerd.listener.resting import MOST, Heard

KINDS: Final[Mapping[type[FileSystemEvent], Heard]] = {
    FileModifiedEvent: Heard.WRITTEN,
    FileClosedEvent: Heard.CLOSED,
    FileMovedEvent: Heard.RENAMED,
}

log = logging.getLogger(__name__)


class Watching:
    """Hears what happens in folders, until :meth:`stop`; ``news`` is called in the event loop that it is made in."""

    def __init__(self, news: Callable[[], None]) -> None:
        self._news = news
        self._loop = asyncio.get_running_loop()
        self._observer: InotifyObserver | None = None
        with _without_events():
            self._observer = InotifyObserver(generate_full_events=True)  # a rename from outside is a rename too
            self._observer.start()

    def stop(self) -> None:
        if self._observer is not None:
            logging.getLogger("watchdog").setLevel(logging.CRITICAL)  # its threads log that they have been ended
            self._observer.stop()

    def wake(self) -> None:
        """From another thread. The loop may have ended meanwhile."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._news)

    def schedule(self, handler: FileSystemEventHandler, path: Path) -> ObservedWatch | None:
        """Events of a folder; ``None`` when the system has none for it."""
        with _without_events():
            if self._observer is not None:
                return self._observer.schedule(handler, str(path), event_filter=list(KINDS))
        return None

    def unschedule(self, watch: ObservedWatch) -> None:
        if self._observer is not None:
            self._observer.unschedule(watch)


@contextlib.contextmanager
def _without_events() -> Iterator[None]:
    """A system that has no more watches (inotify(7)) is one without events."""
    try:
        yield
    except OSError as error:
        log.warning("no events of folders: they are looked at now and then", extra={"why": error.strerror})


class Listener(FileSystemEventHandler):
    """What was told of the files of one folder since it was asked."""

    def __init__(self, watching: Watching, path: Path) -> None:
        self._watching = watching
        self._path = path
        self._folder: tuple[int, int] | None = None
        self._watch: ObservedWatch | None = None
        self._heard: dict[str, Heard] = {}

    def follow(self, folder: tuple[int, int]) -> None:
        """Hear the folder that has this device and inode: another one may have been mounted in its place."""
        if folder == self._folder:
            return
        if self._watch is not None:
            self._watching.unschedule(self._watch)
        self._folder, self._watch = folder, self._watching.schedule(self, self._path)

    def heard(self) -> Mapping[str, Heard]:
        """The last that was told of each file, since the last time; no event has the folder looked at."""
        heard, self._heard = self._heard, {}
        return heard

    def dispatch(self, event: FileSystemEvent) -> None:
        """In a thread of watchdog's. A rename out of the folder, which we do ourselves, has no destination."""
        kind = KINDS[type(event)]
        name = Path(str(event.dest_path if kind is Heard.RENAMED else event.src_path)).name
        if name and len(self._heard) < MOST:
            self._heard[name] = kind
        if name and kind is not Heard.WRITTEN:
            self._watching.wake()
