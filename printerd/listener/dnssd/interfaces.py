"""Where this machine can be reached: its addresses, and when they change.

One rule: the kernel is asked (rtnetlink(7)), for it also knows what came after
the start: a cable, a lease, a VPN. Loopback is no place where others look.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

import ifaddr

_CHANGES: Final = 0x1 | 0x10 | 0x100
"""RTMGRP_LINK, RTMGRP_IPV4_IFADDR and RTMGRP_IPV6_IFADDR of linux/rtnetlink.h."""
_SETTLING: Final = 1.0
"""Seconds in which changes that belong together come: a link, then its addresses."""


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """An address and the interface that has it, by its number."""

    index: int
    address: IPv4Address | IPv6Address


@dataclass(frozen=True, slots=True)
class Listening:
    """Where the printer listens. ``dual`` is the IPv6 wildcard that takes IPv4 as well."""

    address: IPv4Address | IPv6Address
    port: int
    dual: bool

    @classmethod
    def of(cls, listening: socket.socket) -> Listening | None:
        """``None`` for a Unix socket."""
        if listening.family not in (socket.AF_INET, socket.AF_INET6):
            return None
        host, port = listening.getsockname()[:2]
        address = ip_address(host.partition("%")[0])
        six = listening.family == socket.AF_INET6
        alone = six and bool(listening.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY))
        return cls(address, port, six and address.is_unspecified and not alone)

    @property
    def versions(self) -> frozenset[int]:
        return frozenset({4, 6}) if self.dual else frozenset({self.address.version})

    def reached_at(self, places: tuple[Place, ...]) -> tuple[Place, ...]:
        """Those of the places where a client finds the printer."""
        if self.address.is_unspecified:
            return tuple(place for place in places if place.address.version in self.versions)
        return tuple(place for place in places if place.address == self.address)


def opened(sockets: Mapping[str, socket.socket]) -> dict[str, Listening]:
    """Those sockets that other machines reach, by their names: the first of them, and what listens where it does."""
    found = {name: place for name, one in sockets.items() if (place := Listening.of(one))}
    far = {name: place for name, place in found.items() if not place.address.is_loopback}
    return {name: place for name, place in far.items() if place.address == next(iter(far.values())).address}


def places() -> tuple[Place, ...]:
    """The addresses of this machine that others may reach. Raises :class:`OSError`.

    IPv6 addresses of the link are left out: without the interface, which no record can name, they lead nowhere.
    """
    found = [
        Place(adapter.index or 0, ip_address(one.ip if isinstance(one.ip, str) else one.ip[0]))
        for adapter in ifaddr.get_adapters()
        for one in adapter.ips
    ]
    return tuple(
        sorted(
            (place for place in found if _is_seen(place.address)), key=lambda place: (place.index, place.address.packed)
        )
    )


def _is_seen(address: IPv4Address | IPv6Address) -> bool:
    return not address.is_loopback and not (address.version == 6 and address.is_link_local)


async def changes() -> AsyncIterator[tuple[Place, ...]]:
    """The places now, and again whenever they may have changed. Raises :class:`OSError`."""
    changed, loop = asyncio.Event(), asyncio.get_running_loop()
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.NETLINK_ROUTE) as kernel:
        kernel.bind((0, _CHANGES))
        loop.add_reader(kernel, changed.set)
        try:
            while True:
                _read_off(kernel)
                changed.clear()
                yield places()
                await changed.wait()
                await asyncio.sleep(_SETTLING)
        finally:
            loop.remove_reader(kernel)


def _read_off(kernel: socket.socket) -> None:
    """What changed is not read but looked up. More than the kernel kept for us (ENOBUFS) is a change, too."""
    with contextlib.suppress(OSError):
        while kernel.recv(65536):
            continue
