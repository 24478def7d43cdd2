"""Announces by avahi-daemon, over D-Bus (org.freedesktop.Avahi, avahi-daemon/*.xml of Avahi 0.8).

One rule: what is announced lives as long as its connection to the bus. When it
is closed, or this process is killed, Avahi takes everything back and says
goodbye to the network. Calls go to the daemon that was seen, by its unique
name: a call never starts one.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final

from jeepney import DBusAddress, DBusErrorResponse, HeaderFields, Message, MessageType, new_method_call
from jeepney.io.asyncio import DBusConnection, open_dbus_connection
from jeepney.wrappers import unwrap_msg

from printerd.errors import TransientError
from printerd.listener.dnssd.records import Service, Services, Taken

NAME: Final = "org.freedesktop.Avahi"
LOST: Final = (OSError, EOFError, ValueError, RuntimeError)
"""How the bus is away: no socket, closed in the middle, not willing, or at an address that is none."""
ANY: Final = -1
"""AVAHI_IF_UNSPEC and AVAHI_PROTO_UNSPEC."""

_PATIENCE: Final = 10.0
"""Seconds that an answer may take."""
_BUS: Final = DBusAddress("/org/freedesktop/DBus", "org.freedesktop.DBus", "org.freedesktop.DBus")
_OWNER_CHANGED: Final = (
    f"type='signal',sender='{_BUS.bus_name}',interface='{_BUS.interface}',member='NameOwnerChanged',arg0='{NAME}'"
)
_NOBODY: Final = "org.freedesktop.DBus.Error.NameHasNoOwner"
_COLLISION: Final = f"{NAME}.CollisionError"
_NOT_PERMITTED: Final = f"{NAME}.NotPermittedError"


class _Server(IntEnum):
    """AvahiServerState (avahi-common/defs.h); in any other state it takes nothing."""

    RUNNING = 2


class _Group(IntEnum):
    """AvahiEntryGroupState (avahi-common/defs.h)."""

    ESTABLISHED = 2
    COLLISION = 3
    FAILURE = 4


@dataclass(frozen=True, slots=True)
class ByAvahi:
    """By the daemon of that unique name, on one interface or :data:`ANY`, over IPv4 (0), IPv6 (1) or :data:`ANY`."""

    owner: str
    interface: int
    protocol: int

    @property
    def by(self) -> str:
        return "avahi-daemon"

    async def announce(self, name: str, services: Services, announced: Callable[[str], None]) -> None:
        """It must be done anew when the daemon's own state changes, for with it goes every record."""
        try:
            async with _connected() as line:
                await self._announce(line, name, services, announced)
        except DBusErrorResponse as error:
            raise _told(error) from error
        except TimeoutError as error:
            raise _away("avahi-daemon does not answer") from error
        except LOST as error:
            raise _away(f"the connection to the system bus broke ({error})") from error

    async def _announce(self, line: _Line, name: str, services: Services, announced: Callable[[str], None]) -> None:
        server = DBusAddress("/", self.owner, f"{NAME}.Server")
        await line.call(_BUS, "AddMatch", "s", f"type='signal',sender='{self.owner}'")
        await self._runs(line, server)
        host = await line.call(server, "GetHostNameFqdn")
        path = await line.call(server, "EntryGroupNew")
        group = DBusAddress(path, self.owner, f"{NAME}.EntryGroup")
        for service in services(host):
            await self._add(line, group, name, service)
        await line.call(group, "Commit")
        async for state in line.states(path):
            if state is None:
                return
            if state == _Group.COLLISION:
                raise Taken(name)
            if state == _Group.FAILURE:
                raise _away("avahi-daemon could not announce the printer")
            if state == _Group.ESTABLISHED:
                announced(host)

    async def _runs(self, line: _Line, server: DBusAddress) -> None:
        """Wait until the daemon has a name for this machine."""
        while await line.call(server, "GetState") != _Server.RUNNING:
            await line.signal()

    async def _add(self, line: _Line, group: DBusAddress, name: str, service: Service) -> None:
        where = (self.interface, self.protocol, 0)
        txt = list(service.txt)
        await line.call(group, "AddService", "iiussssqaay", *where, name, service.type, "", "", service.port, txt)
        for subtype in service.subtypes:
            kind = f"{subtype}._sub.{service.type}"
            await line.call(group, "AddServiceSubtype", "iiussss", *where, name, service.type, "", kind)


async def owners() -> AsyncIterator[str]:
    """The unique name of the daemon that runs, empty when none does: now and after each change.

    Raises one of :data:`LOST` when there is no bus, or no longer.
    """
    async with _connected() as line:
        try:
            await line.call(_BUS, "AddMatch", "s", _OWNER_CHANGED)
            yield await _owner(line)
        except DBusErrorResponse as error:
            raise OSError(str(error)) from error
        while True:
            changed = await line.signal()
            if changed.header.fields[HeaderFields.member] == "NameOwnerChanged":
                yield changed.body[2]


async def _owner(line: _Line) -> str:
    try:
        return str(await line.call(_BUS, "GetNameOwner", "s", NAME))
    except DBusErrorResponse as error:
        if error.name == _NOBODY:
            return ""
        raise


class _Line:
    """A connection to the bus, for one task: calls in their order, and the signals that came meanwhile."""

    def __init__(self, connection: DBusConnection) -> None:
        self._connection = connection
        self._signals: deque[Message] = deque()

    async def call(self, to: DBusAddress, method: str, signature: str | None = None, *body: object) -> Any:
        """The first value of the answer. Raises :class:`DBusErrorResponse`."""
        serial = next(self._connection.outgoing_serial)
        async with asyncio.timeout(_PATIENCE):
            await self._connection.send(new_method_call(to, method, signature, body), serial=serial)
            while True:
                received = await self._connection.receive()
                if received.header.fields.get(HeaderFields.reply_serial) == serial:
                    return next(iter(unwrap_msg(received)), None)
                self._keep(received)

    async def signal(self) -> Message:
        while not self._signals:
            self._keep(await self._connection.receive())
        return self._signals.popleft()

    async def states(self, path: str) -> AsyncIterator[int | None]:
        """The states of the entry group at ``path``; ``None`` when the daemon's own state changes."""
        while True:
            signal = await self.signal()
            if signal.header.fields[HeaderFields.member] == "StateChanged":
                own = signal.header.fields[HeaderFields.path] == path
                if own or signal.header.fields[HeaderFields.path] == "/":
                    yield signal.body[0] if own else None

    def _keep(self, received: Message) -> None:
        if received.header.message_type == MessageType.signal:
            self._signals.append(received)


@contextlib.asynccontextmanager
async def _connected() -> AsyncIterator[_Line]:
    """Raises one of :data:`LOST`."""
    async with asyncio.timeout(_PATIENCE):
        connection = await open_dbus_connection("SYSTEM")
    try:
        yield _Line(connection)
    finally:
        with contextlib.suppress(OSError):
            await connection.close()


def _told(error: DBusErrorResponse) -> Exception:
    """What an answer of the daemon means for us."""
    if error.name == _COLLISION:
        return Taken()
    if error.name == _NOT_PERMITTED:
        return TransientError(
            "avahi-daemon does not let services be announced.",
            remedy="Set disable-publishing=no and disable-user-service-publishing=no in /etc/avahi/avahi-daemon.conf,"
            " or listen.dnssd=false here.",
        )
    return _away(f"avahi-daemon refuses: {error}")


def _away(what: str) -> TransientError:
    return TransientError(
        f"The printer is not announced: {what}.", remedy="It is tried again. See: systemctl status avahi-daemon dbus"
    )
