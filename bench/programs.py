"""Programs that a run starts beside the service.

One rule: each lives as long as its context, and is ended by its process id.
"""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from bench.instance import until

STARTS_WITHIN = 20.0
"""Seconds that a program gets until it is ready."""


@contextmanager
def running(
    *command: str, ready: Callable[[], bool] = lambda: True, environment: dict[str, str] | None = None
) -> Iterator[int]:
    """The process id of a program that is ready. Raises :class:`RuntimeError` when it ends before that."""
    quiet = subprocess.DEVNULL
    with subprocess.Popen(command, env=os.environ | (environment or {}), stdout=quiet, stderr=quiet) as process:  # noqa: S603 - what the bench itself names

        def is_ready() -> bool:
            if process.poll() is not None:
                raise RuntimeError(f"{command[0]} ended with status {process.returncode} before it was ready")
            return ready()

        try:
            until(is_ready, f"{command[0]} ready", STARTS_WITHIN)
            yield process.pid
        finally:
            process.terminate()
            process.wait(20)


def answers(port: int) -> bool:
    """Whether something listens on this port of this machine."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
