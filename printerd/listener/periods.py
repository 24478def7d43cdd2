"""When a named period of job-hold-until begins (RFC 8011 section 5.2.2), in the printer's local time.

One rule: a job that comes within its period goes at once. The hours are those
that CUPS keeps, so that a word means the same in both.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, time, timedelta
from typing import Final

PERIODS: Final[Mapping[str, tuple[int, int]]] = {
    "day-time": (6, 18),
    "evening": (18, 24),
    "night": (18, 6),
    "weekend": (0, 24),
    "second-shift": (16, 24),
    "third-shift": (0, 8),
}
"""Hours from and to; the night goes on after midnight, and the weekend is Saturday and Sunday."""
_SATURDAY: Final = 5


def begin(period: str, now: datetime) -> datetime | None:
    """The next moment of the period after ``now``, which is local; ``None`` when it is now."""
    first, end = PERIODS[period]
    if period == "weekend":
        return None if now.weekday() >= _SATURDAY else _at(now + timedelta(days=_SATURDAY - now.weekday()), first)
    within = first <= now.hour < end if first < end else now.hour >= first or now.hour < end
    if within:
        return None
    return _at(now if now.hour < first else now + timedelta(days=1), first)


def _at(day: datetime, hour: int) -> datetime:
    return datetime.combine(day.date(), time(hour), day.tzinfo)
