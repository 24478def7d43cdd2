"""The demo's state folder. One rule: only a folder that a demo made, and that nobody serves, is ever emptied."""

from __future__ import annotations

import contextlib
import fcntl
import shutil
from collections.abc import Iterator
from pathlib import Path

from printerd.errors import RequestError

MARK = ".made-by-the-demo"
"""A file of this name says that the folder may be emptied."""
SERVED = "lock"
"""The supervisor's lock in a state folder."""


@contextlib.contextmanager
def fresh(folder: Path) -> Iterator[None]:
    """Make ``folder`` an empty one of the demo's, and keep other demos out of it meanwhile.

    Raises :class:`RequestError` and leaves everything as it is when the folder
    holds what no demo made, or is in use.
    """
    mark = folder / MARK
    if folder.exists() and not mark.is_file() and (not folder.is_dir() or any(folder.iterdir())):
        raise RequestError(
            f"{folder} is not a folder that a demo made: it is left as it is.",
            where="The demo empties its folder before it starts.",
            remedy="Choose one that is new or empty: invoice-printer demo --state DIR",
        )
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with mark.open("a") as claim:
        _claim(claim.fileno(), folder, "another demo runs in it")
        _refuse_served(folder)
        _empty(folder)
        yield


def _claim(handle: int, folder: Path, why: str) -> None:
    """Lock an open file, or say who has it (flock(2): the lock goes with the process)."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise RequestError(
            f"{folder} is in use: {why}.", remedy="Stop that one, or choose another folder: --state DIR"
        ) from None


def _refuse_served(folder: Path) -> None:
    lock = folder / SERVED
    if lock.is_file():
        with lock.open("a") as held:
            _claim(held.fileno(), folder, "its instance is being served")


def _empty(folder: Path) -> None:
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        elif entry.name != MARK:
            entry.unlink()
