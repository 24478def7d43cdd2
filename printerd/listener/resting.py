"""When a file in a folder is whole, and may be taken.

One rule: a file is taken once it is at rest and has its end. At rest is what was renamed to its name, or what has not
changed for a while, seen by our own clock: neither the times of a file server nor a clock that jumps count. What is at
rest and has no end (a copy that stalled) goes on waiting, and is told after a longer time.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final

from printerd import formats
from printerd.listener.framing import EXIT
from printerd.listener.sidecar import ending, is_sidecar
from printerd.refusals import Refused
from printerd.terminal import plain

MOST: Final = 10_000
"""Names (without their ending) that are kept in mind; others have their turn when these are gone."""
MANY: Final = 16
"""Files of one such name."""
TAIL: Final = 1024
"""Bytes in which the end of a document is looked for: where readers look for that of a PDF (ISO 32000-2 annex I.2)."""

_PASSED_OVER: Final = (".tmp", ".part", "~")
_PDF_END: Final = re.compile(rb"startxref\s+0*[1-9]\d*\s+%%EOF")
"""The end of a PDF (ISO 32000-1 section 7.5.5); the first part of a linearised one says 0 there."""
_BLANK: Final = b"\0\t\n\f\r "


class Heard(Enum):
    """What the system told of a file, beside that there is news."""

    WRITTEN = "somebody writes into it"
    CLOSED = "whoever wrote has closed it"
    RENAMED = "it was renamed to this name"


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds until a file is ``at_rest``; that a document waits for a ``sidecar``; that it may lack its ``end``."""

    at_rest: float
    sidecar: float
    end: float


@dataclass(frozen=True, slots=True)
class Sight:
    """A file as it was seen: unchanged ``since`` (monotonic seconds), to be judged when it is ``again``.

    ``state`` is its inode, its size in bytes and its time of change in nanoseconds.
    """

    state: tuple[int, int, int]
    since: float
    again: float
    regular: bool
    written: bool = False
    renamed: bool = False

    def is_at_rest(self, now: float, patience: Patience) -> bool:
        """Who writes and has not closed is waited for, but not for ever: that it was closed may have gone unheard."""
        age = now - self.since
        return self.renamed or age >= (patience.end if self.written else patience.at_rest)


def is_looked_at(name: str) -> bool:
    """Whether a name is that of a file that is meant for us."""
    return not name.startswith(".") and not name.lower().endswith(_PASSED_OVER)


def stem(name: str) -> str:
    """What a document and its sidecar have in common: the name without its ending."""
    return name.rpartition(".")[0] or name


def seen(before: Sight | None, now: float, found: os.stat_result, heard: Heard | None) -> Sight:
    """The file as it is seen now, having been seen ``before``."""
    state = (found.st_ino, found.st_size, found.st_mtime_ns)
    if before is None or before.state != state:
        before = Sight(state, now, now, stat.S_ISREG(found.st_mode), before is not None and before.written)
    if heard is None:
        return before
    return replace(before, written=heard is Heard.WRITTEN, renamed=heard is Heard.RENAMED)


def has_end(head: bytes, tail: bytes, name: str) -> bool:
    """Whether a document ends as its kind does, by its first and its last bytes. Text has no end of its own."""
    if is_sidecar(name):
        return tail.rstrip(_BLANK).endswith(_SIDECAR_ENDS.get(ending(name), b""))
    kind = formats.sniff(head)
    if kind == formats.POSTSCRIPT:
        return b"%%EOF" in tail or tail.rstrip(_BLANK).endswith((b"\x04", EXIT))
    return kind != formats.PDF or _PDF_END.search(tail) is not None


_SIDECAR_ENDS: Final[Mapping[str, bytes]] = {".json": b"}", ".xml": b">"}


class Lookout:
    """What lies in one folder, look by look. It opens nothing but to see the end of what rests.

    ``reserved`` are the names of folders of ours: whatever bears them is no document.
    """

    def __init__(self, patience: Patience, reserved: Collection[str] = ()) -> None:
        self._patience = patience
        self._reserved = frozenset(reserved)
        self._sights: dict[str, dict[str, Sight]] = {}
        self.folders: set[str] = set()
        """The folders that were seen in it, some of them."""

    @property
    def waits(self) -> bool:
        """Whether there are files that are to be looked at again soon."""
        return bool(self._sights)

    def look(self, here: int, now: float, heard: Mapping[str, Heard]) -> list[tuple[str, ...]]:
        """What is to be taken of the folder that is open as ``here``, the oldest first: each document with its
        sidecars, which stand before it; and sidecars that stayed alone.
        """
        self._sights = self._seen(here, now, heard)
        due = [
            (self._sights[one][names[-1]].state[2], names)
            for one in self._sights
            for names in self._due(here, one, now)
        ]
        return [names for _, names in sorted(due)]

    def _seen(self, here: int, now: float, heard: Mapping[str, Heard]) -> dict[str, dict[str, Sight]]:
        fresh: dict[str, dict[str, Sight]] = {}
        with os.scandir(here) as entries:
            for entry in entries:
                one = stem(entry.name)
                known = len(fresh[one]) < MANY if one in fresh else one in self._sights or len(fresh) < MOST
                if not known or not is_looked_at(entry.name) or entry.name in self._reserved:
                    continue
                if entry.is_dir(follow_symlinks=False):
                    if len(self.folders) < MANY:
                        self.folders.add(entry.name)
                    continue
                try:
                    found = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                before = self._sights.get(one, {}).get(entry.name)
                fresh.setdefault(one, {})[entry.name] = seen(before, now, found, heard.get(entry.name))
        return fresh

    def _due(self, here: int, one: str, now: float) -> Iterator[tuple[str, ...]]:
        """The first document of a stem has its sidecars."""
        group = self._sights[one]
        sidecars = tuple(sorted(filter(is_sidecar, group)))
        documents = sorted(name for name in group if not is_sidecar(name))
        for names in [(*sidecars, *documents[:1]), *((name,) for name in documents[1:])]:
            if self._is_due(here, group, names, now):
                yield names

    def _is_due(self, here: int, group: dict[str, Sight], names: tuple[str, ...], now: float) -> bool:
        first = group[names[-1]]
        age = now - first.since
        if not all(group[name].is_at_rest(now, self._patience) for name in names if group[name].regular):
            return False
        if is_sidecar(names[-1]):
            return age >= self._patience.end
        if len(names) == 1 and first.regular and age < self._patience.sidecar:
            return False
        if age >= self._patience.end:
            return True
        if now < first.again:
            return False
        whole = all(self._is_whole(here, name, group[name]) for name in names)
        if not whole:  # the longer it lies there, the more seldom it is opened
            group[names[-1]] = replace(first, again=now + max(self._patience.at_rest, age / 4))
        return whole

    def _is_whole(self, here: int, name: str, sight: Sight) -> bool:
        """Whether it is the file that was seen, to its end; what can never be taken is: it is told when it is taken."""
        try:
            file, found = opened(here, name)
        except FileNotFoundError:
            return False
        except Refused as refused:
            return refused.code == "not-a-file"
        try:
            same = (found.st_ino, found.st_size, found.st_mtime_ns) == sight.state  # file servers tell the truth here
            return same and found.st_size > 0 and ends(file, found.st_size, name)
        finally:
            os.close(file)


def shown(name: str) -> str:
    """A file's name for people, on one line; bytes that are no UTF-8 as Python writes them."""
    return plain(os.fsencode(name).decode("utf-8", "backslashreplace")).replace("\n", "\\u000a")


def opened(folder: int, name: str) -> tuple[int, os.stat_result]:
    """A file of the folder that is open as ``folder``, to be read, and what it is.

    No link is followed, no pipe or device is waited for, or opened at all. Raises :class:`Refused`.
    """
    if not stat.S_ISREG(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
        raise Refused("not-a-file", file=shown(name))
    try:
        file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC, dir_fd=folder)
    except PermissionError as error:
        raise Refused("unreadable-file", file=shown(name)) from error
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):  # it has been replaced meanwhile
            raise Refused("not-a-file", file=shown(name)) from error
        raise
    found = os.fstat(file)
    code = "not-a-file" if not stat.S_ISREG(found.st_mode) else "linked-file" if found.st_nlink > 1 else ""
    if code:
        os.close(file)
        raise Refused(code, file=shown(name))
    return file, found


def ends(file: int, size: int, name: str) -> bool:
    """Whether an open file of so many bytes has its end."""
    head, tail = os.pread(file, formats.HEAD, 0), os.pread(file, TAIL, max(0, size - TAIL))
    return has_end(head, tail, name)
