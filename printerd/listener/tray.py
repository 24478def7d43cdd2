"""A watched folder: what is taken goes out of it by a rename, and comes to rest in ``done`` or ``failed`` by another.

One rule: to take a file is to rename it into a folder of its own in ``.taking``, whose name, 128 random bits, is the
key of the job. Whoever is killed finds it there, and takes the same again under the same key, which makes no second
job; a file that is put there again, be it the same to the last byte, gets another key, and is another print::

    NAME → .taking/KEY/NAME → .taking/KEY.done/NAME → done/NAME
                              .taking/KEY.failed/NAME → failed/NAME, and NAME.reason.txt

Every step is a rename inside one file system. Folders are opened one below the other, and no link is followed.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import secrets
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from printerd.listener.sidecar import ending, is_sidecar

TAKING: Final = ".taking"
DONE: Final = "done"
FAILED: Final = "failed"
REASON: Final = ".reason.txt"
"""What is added to a document's name to name the file that says why it failed."""
LONGEST: Final = 255
"""Bytes of a file's name (NAME_MAX of limits.h on Linux)."""
_KEY: Final = re.compile(r"([0-9a-f]{32})(?:\.(done|failed))?")


@dataclass(frozen=True, slots=True)
class Claim:
    """What has been taken. ``verdict`` is the folder that it goes to, empty while that is open."""

    key: str
    verdict: str = ""

    @property
    def place(self) -> str:
        return f"{self.key}.{self.verdict}" if self.verdict else self.key


class Tray:
    """The folder ``path``, or its sub-folder ``queue``. Everything raises :class:`OSError` as it comes."""

    def __init__(self, path: Path, queue: str = "") -> None:
        self.path = path / queue
        self._root = path
        self._queue = queue
        self._lock: tuple[int, tuple[int, int]] | None = None

    @contextmanager
    def opened(self) -> Iterator[int]:
        """The folder, opened anew: what is mounted there now counts. ``path`` itself may be a link, for IT set it."""
        with ExitStack() as stack:
            here = stack.enter_context(_folder(str(self._root), None, follow=True))
            yield stack.enter_context(_folder(self._queue, here)) if self._queue else here

    @contextmanager
    def _both(self) -> Iterator[tuple[int, int]]:
        """The folder, and the one of what is taken."""
        with self.opened() as here, _made(TAKING, here, 0o700) as taking:
            yield here, taking

    def hold(self) -> bool:
        """Keep the folder for this process; true when that is new. :class:`BlockingIOError` when another has it.

        Two services would find what the other is taking, and take it as well.
        """
        with self._both() as (_, taking):
            found = os.fstat(taking)
            if self._lock is not None and self._lock[1] == (found.st_dev, found.st_ino):
                return False
            self.release()
            lock = os.dup(taking)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                os.close(lock)
                raise
            self._lock = (lock, (found.st_dev, found.st_ino))
            return True

    def release(self) -> None:
        if self._lock is not None:
            os.close(self._lock[0])
            self._lock = None

    def claims(self) -> list[Claim]:
        """What is taken and not at its place yet."""
        with self._both() as (_, taking):
            found = filter(None, map(_KEY.fullmatch, _names(taking)))
            return [Claim(one[1], one[2] or "") for one in found]

    def take(self, groups: Sequence[Sequence[str]]) -> list[OSError]:
        """Take these files, each group together, the document last: durable when this returns.

        A group of which a file has gone meanwhile is left as it is; so is one that cannot be taken, whose error is
        returned.
        """
        errors = []
        with self._both() as (here, taking):
            for names in groups:
                try:
                    _take(here, taking, names)
                except FileNotFoundError:
                    continue
                except OSError as error:
                    errors.append(error)
            _sync(taking)
            _sync(here)
        return errors

    def restore(self) -> None:
        """Put back the sidecars whose document was not taken any more, because the process was killed in between."""
        with self._both() as (here, taking):
            for key in filter(re.compile("[0-9a-f]{32}").fullmatch, _names(taking)):
                with _folder(key, taking) as claim:
                    names = _names(claim)
                    if all(map(is_sidecar, names)):
                        _put_back(here, claim, names, key)
                        os.rmdir(key, dir_fd=taking)

    @contextmanager
    def claimed(self, claim: Claim) -> Iterator[int]:
        """The folder in which lies what was taken."""
        with self._both() as (_, taking), _folder(claim.place, taking) as folder:
            yield folder

    def names(self, claim: Claim) -> tuple[str, ...]:
        with self.claimed(claim) as folder:
            return content(folder)

    def settle(self, claim: Claim, verdict: str, reason: str = "") -> None:
        """Decide where it goes, once and for all, and bring it there; ``reason`` says why it failed."""
        with self._both() as (here, taking):
            if reason:
                with _folder(claim.place, taking) as folder:
                    _write(folder, content(folder)[-1], reason, os.fstat(here).st_mode & 0o666)
            decided = Claim(claim.key, verdict)
            os.rename(claim.place, decided.place, src_dir_fd=taking, dst_dir_fd=taking)
        self.bring(decided)

    def bring(self, claim: Claim) -> None:
        """Bring what is decided to its folder, beside what has the same name there."""
        with self._both() as (here, taking):
            mode = os.fstat(here).st_mode & 0o777
            with _folder(claim.place, taking) as folder, _made(claim.verdict, here, mode) as out:
                names = _names(folder)
                for name, target in zip(names, _free(names, out, claim.key), strict=True):
                    os.rename(name, target, src_dir_fd=folder, dst_dir_fd=out)
            os.rmdir(claim.place, dir_fd=taking)


def _take(here: int, taking: int, names: Sequence[str]) -> None:
    key = secrets.token_hex(16)
    os.mkdir(key, 0o700, dir_fd=taking)
    with _folder(key, taking) as claim:
        moved: list[str] = []
        try:
            for name in names:
                os.rename(name, name, src_dir_fd=here, dst_dir_fd=claim)
                moved.append(name)
            _sync(claim)
        except OSError:
            _put_back(here, claim, moved, key)
            os.rmdir(key, dir_fd=taking)
            raise


def _put_back(here: int, claim: int, names: Sequence[str], key: str) -> None:
    """Beside what came under the same name meanwhile."""
    for name in names:
        os.rename(name, _free((name,), here, key)[0], src_dir_fd=claim, dst_dir_fd=here)


def content(folder: int) -> tuple[str, ...]:
    """What was taken, the document last: without the reason that somebody who was killed had written already."""
    names = _names(folder)
    reasons = {_fitted(name, REASON) for name in names}
    return tuple(sorted((name for name in names if name not in reasons), key=lambda name: (not is_sidecar(name), name)))


def _write(folder: int, name: str, reason: str, mode: int) -> None:
    """The file that says why. The rename that decides comes after it is durable."""
    target = _fitted(name, REASON)
    file = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=folder)
    with open(file, "w", encoding="utf-8") as text:  # noqa: PTH123 - a descriptor
        text.write(reason)
        text.flush()
        os.fchmod(file, mode)
        os.fsync(file)


def _free(names: Sequence[str], out: int, key: str) -> list[str]:
    """Names that nothing has yet in the folder ``out``, for all of them the same addition: none, or of the key."""
    for addition in ("", f"-{key[:8]}", f"-{key}"):
        targets = [_renamed(name, addition) for name in names]
        if not any(_exists(target, out) for target in targets):
            break
    return targets


def _renamed(name: str, addition: str) -> str:
    """``FA-1.pdf`` → ``FA-1-ab12.pdf``; the reason's file is named as what it belongs to."""
    if name.endswith(REASON):
        return _fitted(_renamed(name.removesuffix(REASON), addition), REASON)
    last = name[len(name.rpartition(".")[0]) :] if ending(name) else ""
    last = last if len(last) < 32 else ""
    return _fitted(name.removesuffix(last), f"{addition}{last}")


def _fitted(start: str, end: str) -> str:
    """Both together, the start cut so that they are a file's name."""
    while len(os.fsencode(start + end)) > LONGEST:
        start = start[:-1]
    return start + end


def _names(folder: int) -> list[str]:
    with os.scandir(folder) as entries:
        return [entry.name for entry in entries]


def _exists(name: str, folder: int) -> bool:
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


@contextmanager
def _folder(name: str, within: int | None, *, follow: bool = False) -> Iterator[int]:
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW)
    folder = os.open(name, flags, dir_fd=within)
    try:
        yield folder
    finally:
        os.close(folder)


@contextmanager
def _made(name: str, within: int, mode: int) -> Iterator[int]:
    """A folder in another; it is made with this mode, whatever the umask, when it is not there."""
    try:
        os.mkdir(name, 0o700, dir_fd=within)
    except FileExistsError:
        mode = 0
    with _folder(name, within) as folder:
        if mode:
            os.fchmod(folder, mode)
        yield folder


def _sync(folder: int) -> None:
    """fsync(2) of a folder; there are file systems of other machines that do not know it."""
    try:
        os.fsync(folder)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
