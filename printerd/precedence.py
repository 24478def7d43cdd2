"""Which stages may begin: one with patience lets the work of the others go before its own.

One rule: nobody waits longer than his patience. It runs from when a stage first had work that was put off, and once
it is over the stage shares the machine with the others until it has nothing left to do.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping


class Precedence:
    """``patience``: stage name → seconds that it lets others go first; 0 for those that it lets go first."""

    def __init__(self, patience: Mapping[str, float]) -> None:
        self._patience = patience
        self._since: dict[str, float] = {}

    def first(self, ready: Collection[str], running: Collection[str], now: float) -> list[str]:
        """Those of the ``ready`` stages that may begin at ``now`` (monotonic seconds), while others are ``running``."""
        self._since = {name: self._since.get(name, now) for name in ready}
        busy = any(not self._patience[name] for name in (*ready, *running))
        return [name for name in ready if not busy or now - self._since[name] >= self._patience[name]]
