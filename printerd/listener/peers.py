"""Who connects: how an address is kept with a job."""

from __future__ import annotations

import ipaddress
from typing import Final

LOOPBACK: Final = "localhost"
"""How every loopback address is kept with a job: IPv4 and IPv6 are one machine."""

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
