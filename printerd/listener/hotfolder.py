"""The hot folder: what is put into it is printed.

One rule: a document is in the folder, in ``.taking``, or in ``done`` or ``failed``, and it comes to ``done`` only once
the intake has answered for it (:mod:`printerd.listener.tray`). Events of the system make it quick; a look at the whole
folder now and then finds what no event told, so that one that is missed, or a file server that sends none, loses
nothing.

At most :data:`AT_ONCE` documents of a folder are on their way at any time, and all others stay where they are: other
doors see a few busy senders, and a full disk finds the folder as it was.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import logging
import os
import time
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Self, TypeVar

from printerd.errors import Failure
from printerd.formats import UNDECLARED
from printerd.intake import Intake
from printerd.ipp.request import ANONYMOUS
from printerd.listener import sidecar
from printerd.listener.peers import LOOPBACK
from printerd.listener.resting import Lookout, Patience, ends, opened, shown
from printerd.listener.sidecar import LONGEST, Sidecar, is_sidecar
from printerd.listener.tray import DONE, FAILED, Claim, Tray, content
from printerd.listener.watching import Listener, Watching
from printerd.model import CapturedJob, Ticket
from printerd.refusals import Refused
from printerd.storage.spool import PIECE

AT_ONCE: Final = 16
"""Documents of one folder that are taken at the same time."""
AT_A_LOOK: Final = 256
"""Documents that are taken between two looks."""
TOGETHER: Final = 0.1
"""Seconds that an event waits for others: a document and its sidecar are put there one after the other."""
FIRST_PAUSE, LAST_PAUSE = 1.0, 30.0
"""Seconds before a document that could not be taken is tried again; the pause doubles."""
THREADS: Final = 4
"""Documents of which a piece is read at the same time."""

ADVICE: Final[Mapping[int, str]] = {
    errno.EACCES: "The service's user must be able to read, write and enter the folder, and done and failed in it.",
    errno.EPERM: "The service's user must be able to rename what others put there: take the folder's sticky bit away.",
    errno.EROFS: "Mount it writable; under systemd a drop-in allows it: ReadWritePaths=.",
    errno.ENOENT: "Make the folder, or mount it.",
    errno.ENOTDIR: "It must be a folder, not a link to one.",
    errno.ENOSPC: "Make room on its file system.",
    errno.EAGAIN: "Another service works on this folder, which belongs to one.",
}
"""What to do about what the system says of a folder."""

T = TypeVar("T")
log = logging.getLogger(__name__)


class _Changed(Exception):
    """Somebody wrote into a file while it was read: it is read again later."""


@dataclass(frozen=True, slots=True)
class _Later:
    """What could not be taken is tried again ``at`` (monotonic seconds), after a ``pause`` that grows."""

    at: float
    pause: float
    why: str


@dataclass(frozen=True, slots=True)
class _Place:
    """One folder: where its files lie, what is seen and heard of them, and by key what is taken later."""

    tray: Tray
    printer: str
    lookout: Lookout
    listener: Listener
    later: dict[str, _Later] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return shown(str(self.tray.path))


@dataclass(frozen=True, slots=True)
class _Document:
    """A document that may be taken: the open file, as it was when it was opened, and what is said of it."""

    file: int
    found: os.stat_result
    said: Sidecar


class HotFolder:
    """Takes what is put into ``path`` and into its sub-folders: ``async with`` it, inside of the intake.

    ``queues`` are the printers by the name of the sub-folder; what lies in ``path`` itself goes to the first of them.
    ``every`` is the time between two looks in seconds. How it does is written to the file ``told``:
    ``{"looked": monotonic seconds, "trouble": [sentences]}``. Reasons are written in ``language``.
    """

    def __init__(
        self,
        intake: Intake,
        path: Path,
        queues: Mapping[str, str],
        *,
        patience: Patience,
        every: float,
        told: Path,
        language: str,
    ) -> None:
        self._intake = intake
        self._path = path
        self._queues = {"": next(iter(queues.values())), **queues}
        self._patience = patience
        self._every = every
        self._told = told
        self._language = language
        self._places: list[_Place] = []
        self._troubles: dict[str, str] = {}
        self._reserved = (*queues, DONE, FAILED)
        self._strange: set[str] = set()
        self._hurries = False
        self._news = asyncio.Event()
        self._files = ThreadPoolExecutor(1, thread_name_prefix="folder")
        self._reading = ThreadPoolExecutor(THREADS, thread_name_prefix="folder-read")

    async def __aenter__(self) -> Self:
        self._watching = Watching(self._news.set)
        self._places = [self._place(queue, printer) for queue, printer in self._queues.items()]
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._watching.stop()
        for threads in (self._files, self._reading):
            threads.shutdown(wait=False, cancel_futures=True)
        for place in self._places:
            place.tray.release()

    def _place(self, queue: str, printer: str) -> _Place:
        tray = Tray(self._path, queue)
        return _Place(tray, printer, Lookout(self._patience, self._reserved), Listener(self._watching, tray.path))

    async def _run(self) -> None:
        while True:
            self._hurries = False
            for place in self._places:
                await self._visit(place)
            await self._in_files(self._tell)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), self._pause())
                await asyncio.sleep(TOGETHER)
            self._news.clear()

    def _pause(self) -> float:
        if self._hurries:
            return 0.0
        waits = any(place.lookout.waits or place.later for place in self._places)
        return min(self._every, self._patience.at_rest / 2) if waits else self._every

    async def _in_files(self, act: Callable[..., T], *args: Any) -> T:
        """Looking and renaming, one at a time; a file server that hangs keeps nobody but us waiting."""
        return await asyncio.get_running_loop().run_in_executor(self._files, act, *args)

    async def _in_reading(self, act: Callable[..., T], *args: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._reading, act, *args)

    # One folder

    async def _visit(self, place: _Place) -> None:
        trouble = ""
        try:
            await self._take(place, await self._in_files(self._look, place))
        except OSError as error:
            absent = isinstance(error, FileNotFoundError) and place is not self._places[0]
            trouble = "" if absent else _sentence(place, error)  # the folder of a queue need not be there
        except Exception:
            log.exception("the hot folder failed", extra={"folder": place.name})
            trouble = f"{place.name}: a fault of the program, which its log shows."
        self._note(place.name, trouble)

    def _note(self, folder: str, trouble: str) -> None:
        before, self._troubles[folder] = self._troubles.get(folder, ""), trouble
        if trouble and trouble != before:
            log.error("the hot folder does not work", extra={"folder": folder, "why": trouble})
        elif before and not trouble:
            log.info("the hot folder works again", extra={"folder": folder})

    def _look(self, place: _Place) -> list[tuple[str, ...]]:
        """In the thread of files: what is due, AT_A_LOOK at most."""
        if place.tray.hold():
            place.tray.restore()
        with place.tray.opened() as here:
            found = os.fstat(here)
            place.listener.follow((found.st_dev, found.st_ino))
            due = place.lookout.look(here, time.monotonic(), place.listener.heard())
        for name in place.lookout.folders - self._strange:
            self._strange.add(name)
            log.warning("a folder in the hot folder is no queue", extra={"folder": place.name, "file": shown(name)})
        self._hurries |= len(due) > AT_A_LOOK
        return due[:AT_A_LOOK]

    async def _take(self, place: _Place, due: list[tuple[str, ...]]) -> None:
        """All that is due, AT_ONCE at a time: what was taken and could not be brought to its end counts among these."""
        errors: list[OSError] = []
        while True:
            waiting = await self._in_files(place.tray.claims)
            group, due = _split(due, AT_ONCE - len(waiting))
            if group:
                errors += await self._in_files(place.tray.take, group)
                waiting = await self._in_files(place.tray.claims)
            for key in place.later.keys() - {claim.key for claim in waiting}:
                del place.later[key]
            now = time.monotonic()
            ready = [claim for claim in waiting if claim.key not in place.later or place.later[claim.key].at <= now]
            if not group and not ready:
                break
            await asyncio.gather(*(self._deal(place, claim) for claim in ready))
            await self._in_files(self._tell)
        if errors:
            raise errors[0]

    # One document

    async def _deal(self, place: _Place, claim: Claim) -> None:
        """Bring it to its end, or note when that is tried again."""
        try:
            await (self._in_files(place.tray.bring, claim) if claim.verdict else self._print(place, claim))
        except (Failure, OSError, _Changed) as error:
            self._postpone(place, claim, _sentence(place, error))
        except Exception:
            log.exception("a document could not be taken", extra={"folder": place.name, "key": claim.key})
            self._postpone(place, claim, f"{place.name}: a fault of the program, which its log shows.")

    def _postpone(self, place: _Place, claim: Claim, why: str) -> None:
        before = place.later.get(claim.key, _Later(0.0, FIRST_PAUSE / 2, ""))
        if why != before.why:
            log.warning("a document waits to be taken", extra={"folder": place.name, "key": claim.key, "why": why})
        pause = min(LAST_PAUSE, before.pause * 2)
        place.later[claim.key] = _Later(time.monotonic() + pause, pause, why)

    async def _print(self, place: _Place, claim: Claim) -> None:
        """Hand it to the intake under its key, and bring it to where it belongs then."""
        names = await self._in_files(place.tray.names, claim)
        if not names:  # somebody has taken it away
            await self._in_files(place.tray.settle, claim, DONE)
            return
        told = {"folder": place.name, "file": shown(names[-1])}
        try:
            job = await self._accepted(place, claim, names[-1])
        except Refused as refused:
            reason = f"{told['file']}\n{refused.sentence(self._language)}\n"
            await self._in_files(place.tray.settle, claim, FAILED, reason)
            log.warning("a document of the hot folder failed", extra=told | {"why": refused.sentence("en")})
        else:
            await self._in_files(place.tray.settle, claim, DONE)
            self._intake.answered(job.id)
            log.info("a document of the hot folder was taken", extra=told | {"job": job.id, "number": job.number})

    async def _accepted(self, place: _Place, claim: Claim, name: str) -> CapturedJob:
        """Raises :class:`Refused`; the refusal is kept as a job, whoever refuses."""
        title = os.fsencode(name).decode("utf-8", "replace").encode()[:LONGEST].decode("utf-8", "ignore")
        ticket = Ticket(place.printer, ANONYMOUS, LOOPBACK, title, UNDECLARED, "folder", {"document-name": title})
        document = await self._in_reading(_opened, place.tray, claim)
        if isinstance(document, Refused):
            return await self._intake.accept(ticket, _refusal(document))
        try:
            return await self._intake.accept(
                _with(ticket, document.said),
                self._pieces(document),
                sender_key=f"folder:{claim.key}",
                expected=document.found.st_size,
            )
        finally:
            os.close(document.file)

    async def _pieces(self, document: _Document) -> AsyncIterator[bytes]:
        while piece := await self._in_reading(os.read, document.file, PIECE):
            yield piece
        now = await self._in_reading(os.fstat, document.file)
        if (now.st_size, now.st_mtime_ns) != (document.found.st_size, document.found.st_mtime_ns):
            raise _Changed

    # How it does

    def _tell(self) -> None:
        """For those who watch over the service. A full disk keeps nobody from printing."""
        trouble = [one for one in self._troubles.values() if one]
        trouble += [later.why for place in self._places for later in list(place.later.values())]
        new = self._told.with_suffix(".new")
        with contextlib.suppress(OSError):
            new.write_text(json.dumps({"looked": time.monotonic(), "trouble": trouble}))
            new.replace(self._told)


def _split(due: list[tuple[str, ...]], room: int) -> tuple[list[tuple[str, ...]], list[tuple[str, ...]]]:
    return due[: max(0, room)], due[max(0, room) :]


def _opened(tray: Tray, claim: Claim) -> _Document | Refused:
    """What was taken, opened and judged; or why it is refused."""
    try:
        with tray.claimed(claim) as folder:
            return _judged(folder, content(folder))
    except Refused as refused:
        return refused


def _judged(folder: int, names: tuple[str, ...]) -> _Document:
    *sidecars, name = names
    if is_sidecar(name):
        raise Refused("sidecar-alone", file=shown(name))
    if len(sidecars) > 1:
        raise Refused("sidecar-twice", file=shown(name))
    said = _said(folder, sidecars[0], shown(name)) if sidecars else Sidecar()
    file, found = opened(folder, name)
    if found.st_size and not ends(file, found.st_size, name):
        os.close(file)
        raise Refused("no-end")
    return _Document(file, found, said)


def _said(folder: int, name: str, document: str) -> Sidecar:
    file, _ = opened(folder, name)
    with open(file, "rb") as beside:  # noqa: PTH123 - a descriptor
        return sidecar.read(shown(name), beside.read(sidecar.LARGEST + 1), document)


def _with(ticket: Ticket, said: Sidecar) -> Ticket:
    """The ticket with what the sidecar says."""
    options = {**ticket.options, **said.options}
    return replace(ticket, user=said.user or ticket.user, title=said.title or ticket.title, options=options)


async def _refusal(refused: Refused) -> AsyncIterator[bytes]:
    """A document that is refused before its first byte."""
    yield b""
    raise refused


def _sentence(place: _Place, error: Exception) -> str:
    """What is wrong, and what to do, on one line."""
    if isinstance(error, Failure):
        return " ".join(error.lines())
    if isinstance(error, OSError):
        where = f" ({shown(str(error.filename))})" if error.filename else ""
        return f"{place.name}: {error.strerror}{where}. {ADVICE.get(error.errno or 0, '')}".rstrip()
    return f"{place.name}: somebody writes into a document that was taken."
