"""What happens to jobs and to the printer, as subscribers hear it (RFC 3995), and how much of it is kept.

One rule: events are found by comparing how things stand with how they stood,
never told by whoever changes them: printing costs nothing for them, and nobody
compares while nobody has subscribed. Everything here has a bound.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from printerd.ipp.registry import JobState, PrinterState

EVENTS: Final = (
    "job-completed",
    "job-created",
    "job-state-changed",
    "job-stopped",
    "job-config-changed",
    "printer-state-changed",
    "printer-stopped",
    "printer-config-changed",
)
"""RFC 3995 section 5.3.3, the default first."""
EVENT_LIFE: Final = 300
"""Seconds that an event waits for those who pull it (RFC 3996 section 8.1)."""
KEPT: Final = 100
"""Events that wait for one subscriber; of more the oldest go."""
LEASE: Final = 24 * 3600
LONGEST_LEASE: Final = 7 * 24 * 3600
"""Seconds; a longer lease is cut to this (RFC 3995 section 5.3.8)."""
MOST: Final = 200
MOST_OF_ONE: Final = 20
"""Subscriptions in all, and of one user on one host."""
INTERVAL: Final = 5
"""Seconds after which a client should ask again (RFC 3996 section 5.2, notify-get-interval)."""
_STOPPED: Final = frozenset({JobState.PENDING_HELD, JobState.PROCESSING_STOPPED})


@dataclass(frozen=True, slots=True)
class State:
    """How a job stands, as far as an event tells it."""

    number: int
    uuid: str
    state: JobState
    reasons: tuple[str, ...]

    @property
    def over(self) -> bool:
        return self.state >= JobState.CANCELED


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened. ``names`` go from what it is to what it also is: a subscriber of several hears it once
    (RFC 3995 section 5.3.3). ``words`` is the key of the printer's sentence; ``job`` is missing for its own events.
    """

    names: tuple[str, ...]
    at: datetime
    words: str
    job: State | None = None

    def heard_as(self, wanted: Sequence[str]) -> str | None:
        return next((name for name in self.names if name in wanted), None)


def of_jobs(before: Mapping[int, State], after: Sequence[State], now: datetime) -> Iterator[Event]:
    """What happened to jobs between two looks; a job that was not there is new."""
    for job in after:
        known = before.get(job.number)
        if known is None:
            yield Event(("job-created", "job-state-changed"), now, "none", job)
        if job.over and (known is None or not known.over):
            yield Event(("job-completed", "job-state-changed"), now, "none", job)
        elif known is not None and (known.state, known.reasons) != (job.state, job.reasons):
            stopped = ("job-stopped",) if job.state in _STOPPED else ()
            yield Event((*stopped, "job-state-changed"), now, "none", job)


def of_printer(before: tuple[object, ...], after: tuple[object, ...], words: str, now: datetime) -> Iterator[Event]:
    """What happened to the printer; a standing begins with its state."""
    if before != after:
        stopped = ("printer-stopped",) if after[0] is PrinterState.STOPPED else ()
        yield Event((*stopped, "printer-state-changed"), now, words)


def is_alive(event: Event, now: datetime) -> bool:
    """Whether an event is still told."""
    return now - event.at < timedelta(seconds=EVENT_LIFE)
