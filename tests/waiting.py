"""Tests wait for a condition, never for a time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
FIRST_PAUSE, LAST_PAUSE = 0.01, 0.1
"""Seconds between two looks: short while the answer is near, then longer, for some looks cost much."""


def until(look: Callable[[], T | None], seconds: float = 60.0) -> T:
    """What ``look`` returns once it is true; fails after ``seconds``."""
    deadline, pause = time.monotonic() + seconds, FIRST_PAUSE
    while not (found := look()):
        assert time.monotonic() < deadline, f"nothing after {seconds} s: last seen {found!r}"
        time.sleep(pause)
        pause = min(LAST_PAUSE, pause * 1.5)
    return found
