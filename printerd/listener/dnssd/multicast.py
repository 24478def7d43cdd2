"""Announces by multicast DNS of our own (python-zeroconf), where no avahi-daemon runs.

One rule: every record is this instance's alone. The host name is made from its
UUID, for the machine's own name may be claimed by others without anybody asking
them: the library probes for names of services, never for names of hosts.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from zeroconf import NonUniqueNameException, RecordUpdate, RecordUpdateListener, ServiceInfo, Zeroconf
from zeroconf._dns import DNSService  # what ServiceInfo.dns_service() gives
from zeroconf.asyncio import AsyncZeroconf

from printerd.errors import TransientError
from printerd.listener.dnssd.interfaces import Place
from printerd.listener.dnssd.records import Service, Services, Taken

NOTHING: Final = b"\0"
"""A TXT record that says nothing is one empty string (RFC 6763 section 6.1)."""


def host_name(uuid: str) -> str:
    """The name of an instance as a host."""
    return f"invoice-printer-{uuid[:8]}.local"


@dataclass(frozen=True, slots=True)
class ByMulticast:
    """On these places, as that host."""

    places: tuple[Place, ...]
    host: str

    @property
    def by(self) -> str:
        return "multicast DNS of its own"

    async def announce(self, name: str, services: Services, announced: Callable[[str], None]) -> None:
        """It must be done anew when the places are others."""
        rival: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        infos = [info for service in services(self.host) for info in self._infos(name, service)]
        speaker = self._speaker()
        try:
            speaker.zeroconf.async_add_listener(_Watch(infos, rival), None)
            names = await asyncio.gather(*(speaker.async_register_service(info) for info in infos if not _is_sub(info)))
            kinds = [
                await speaker.async_register_service(info, cooperating_responders=True)
                for info in filter(_is_sub, infos)
            ]
            await asyncio.gather(*names, *kinds)
            announced(self.host)
            await rival
        except NonUniqueNameException as error:
            raise Taken(name) from error
        finally:
            await speaker.async_close()  # says goodbye

    def _speaker(self) -> AsyncZeroconf:
        """Raises :class:`TransientError` when nobody may listen at port 5353."""
        try:
            return AsyncZeroconf(interfaces=list(_interfaces(self.places)))
        except (OSError, RuntimeError) as error:  # the latter when an address has just gone
            raise TransientError(
                f"The printer is not announced: UDP port 5353 cannot be used ({error}).",
                remedy="It is tried again. Install avahi-daemon, or see who holds the port: ss -ulpn sport = 5353",
            ) from error

    def _infos(self, name: str, service: Service) -> Iterator[ServiceInfo]:
        """A service, and beside it its subtypes: a pointer of each to the same instance (RFC 6763 section 7.1)."""
        kinds = (service.type, *(f"{subtype}._sub.{service.type}" for subtype in service.subtypes))
        strings = b"".join(bytes((len(string),)) + string for string in service.txt)
        for kind in kinds:
            info = ServiceInfo(
                f"{kind}.local.",
                f"{name}.{service.type}.local.",
                port=service.port,
                properties=strings or NOTHING,
                server=f"{self.host}.",
                addresses=[place.address.packed for place in self.places],
            )
            if _is_sub(info):
                info.key = f"{kind}:{info.key}"  # the registry has one entry a key, and these share their name
            yield info


def _is_sub(info: ServiceInfo) -> bool:
    return "._sub." in info.type


def _interfaces(places: tuple[Place, ...]) -> Iterator[str | int]:
    """IPv4 is joined by address, IPv6 by the number of the interface; each interface once for each."""
    seen = set()
    for place in places:
        if (place.index, place.address.version) not in seen:
            seen.add((place.index, place.address.version))
            yield str(place.address) if place.address.version == 4 else place.index


class _Watch(RecordUpdateListener):
    """Sees others claim a name of ours after we had it: two networks became one (RFC 6762 section 9)."""

    def __init__(self, infos: list[ServiceInfo], rival: asyncio.Future[None]) -> None:
        self._ours = {info.name.lower(): rdata(info.dns_service()) for info in infos}
        self._rival = rival

    def async_update_records(self, zc: Zeroconf, now: float, records: list[RecordUpdate]) -> None:
        for update in records:
            record = update.new
            if isinstance(record, DNSService) and record.ttl and self._loses(record) and not self._rival.done():
                self._rival.set_exception(Taken(record.name))

    def _loses(self, other: DNSService) -> bool:
        """Of two who both have a name, the later one in the order of their records keeps it (section 8.2)."""
        return other.name.lower() in self._ours and self._ours[other.name.lower()] < rdata(other)


def rdata(record: DNSService) -> bytes:
    """An SRV record's data as it stands on the wire, without compression (RFC 2782)."""
    labels = [label.encode() for label in record.server.lower().rstrip(".").split(".")]
    target = b"".join(bytes((len(label),)) + label for label in labels) + b"\0"
    return struct.pack("!HHH", record.priority, record.weight, record.port) + target
