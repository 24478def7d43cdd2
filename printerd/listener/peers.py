"""Who connects: how an address is kept with a job, and who may come in where nobody is asked for a name.

One rule: the sender is whoever connects. Raw printing and LPD know no password
and no certificate, so their doors open for named networks alone, and no machine
takes all the places. This machine itself may always come in.
"""

from __future__ import annotations

import ipaddress
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Final

log = logging.getLogger(__name__)

LOOPBACK: Final = "localhost"
"""How every loopback address is kept with a job: IPv4 and IPv6 are one machine."""
IN_ALL: Final = 256
"""Connections at a time: with what each may hold in memory, about 100 MB."""
EACH: Final = 32
"""Connections of one machine at a time; this machine is not limited."""
TOLD_AGAIN: Final = 60.0
"""Seconds before the same machine is logged again."""
REMEMBERED: Final = 1024
"""Machines whose last line in the log is remembered."""

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def address(text: str) -> Address | None:
    """The address as the peer has it: without a zone, and IPv4 where it came as IPv6 (RFC 4291 section 2.5.5.2)."""
    try:
        found = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found


def host(text: str) -> str:
    """The peer as it is kept with jobs; clients on a unix socket are on this machine."""
    found = address(text)
    return LOOPBACK if found is None or found.is_loopback else str(found)


class Guests:
    """Who is in. ``networks`` (CIDR) may come in beside this machine."""

    def __init__(self, networks: Iterable[str], now: Callable[[], float] = time.monotonic) -> None:
        self._networks = [ipaddress.ip_network(network) for network in networks]
        self._now = now
        self._inside: Counter[str] = Counter()
        self._told: dict[str, float] = {}

    @contextmanager
    def admitted(self, peer: str, door: str) -> Iterator[bool]:
        """Whether ``peer``, as :func:`host` names it, may come in; it counts until it is left."""
        reason = self._reason(peer)
        if reason:
            self._tell(peer, door, reason)
            yield False
            return
        self._inside[peer] += 1
        try:
            yield True
        finally:
            self._inside -= Counter((peer,))  # what has come to nothing is gone

    def _reason(self, peer: str) -> str:
        """Why it may not; empty when it may."""
        found = address(peer)
        if found is not None and not any(found in network for network in self._networks):
            return "is in none of listen.networks"
        if found is not None and self._inside[peer] >= EACH:
            return f"has {EACH} connections already"
        return "finds all places taken" if self._inside.total() >= IN_ALL else ""

    def _tell(self, peer: str, door: str, reason: str) -> None:
        """Once a minute for each machine: whoever knocks for ever fills no log."""
        now = self._now()
        if now - self._told.get(peer, -TOLD_AGAIN) < TOLD_AGAIN:
            return
        if len(self._told) >= REMEMBERED:
            self._told.clear()
        self._told[peer] = now
        log.warning("%s: %s %s and was hung up on", door, peer, reason)
