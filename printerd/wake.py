"""The bell between processes: whoever has written work for the worker rings, the worker wakes.

A datagram socket in the state folder. Ringing never waits and never fails: the
rows are the work, the bell only spares the worker its next look at them.
"""

from __future__ import annotations

import contextlib
import select
import socket
from pathlib import Path


def ring(path: Path) -> None:
    """Wake the worker that listens at ``path``, if one does."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as bell:
        bell.sendto(b"!", str(path))


class Bell:
    """The worker's end. One worker has one bell; a stale one of a killed predecessor is replaced."""

    def __init__(self, path: Path) -> None:
        path.unlink(missing_ok=True)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._socket.bind(str(path))

    def wait(self, seconds: float) -> None:
        """Return at the next ring, or after ``seconds``; rings that came together count as one."""
        select.select([self._socket], [], [], seconds)
        with contextlib.suppress(BlockingIOError):
            while self._socket.recv(1):
                continue
