"""How often one may ask: a bucket of requests for each key, refilled steadily, kept in memory only."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from time import monotonic

MOST_KEYS = 50_000


class Buckets:
    """``capacity`` requests at once, ``per_second`` more each second, for each key apart."""

    def __init__(self, capacity: float, per_second: float, clock: Callable[[], float] = monotonic) -> None:
        self._capacity = capacity
        self._per_second = per_second
        self._clock = clock
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, key: str) -> bool:
        """Use one request of ``key``; ``False`` when it has none left."""
        now = self._clock()
        level, at = self._levels.pop(key, (self._capacity, now))
        level = min(self._capacity, level + (now - at) * self._per_second)
        allowed = level >= 1
        self._levels[key] = (level - 1 if allowed else level, now)
        while len(self._levels) > MOST_KEYS:
            self._levels.popitem(last=False)  # the one not asked for longest: it is full again, or nearly
        return allowed
