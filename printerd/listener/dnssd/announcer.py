"""Keeps the printer announced: chooses the way, follows what changes, retries what failed, says goodbye at the end.

One rule: nobody waits for this. It is a task of its own beside the printer;
what fails is said once, with its remedy, and tried again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from types import TracebackType
from typing import Final, Protocol, Self, TypeVar

from printerd.errors import TransientError
from printerd.listener.dnssd import avahi, interfaces
from printerd.listener.dnssd.avahi import ANY, ByAvahi
from printerd.listener.dnssd.interfaces import Listening, Place
from printerd.listener.dnssd.multicast import ByMulticast
from printerd.listener.dnssd.records import Service, Services, Taken, next_name

FIRST_PAUSE, LAST_PAUSE = 1.0, 60.0
"""Seconds before something that failed is tried again; the pause doubles."""
GOODBYE: Final = 2.0
"""Seconds that a goodbye may take when the service stops."""
RIVALS, RIVALRY = 15, 5.0
"""So many names are tried in a row; then so many seconds lie between two of them (RFC 6762 section 8.1)."""

log = logging.getLogger(__name__)

T = TypeVar("T")


class Way(Protocol):
    """One way to announce; ``by`` says which."""

    @property
    def by(self) -> str: ...

    async def announce(self, name: str, services: Services, announced: Callable[[str], None]) -> None:
        """Announce until it is cancelled, or until it must be done anew.

        ``services`` are asked for by the host's name, which ``announced`` hears once everybody can see them. Raises
        :class:`Taken` and :class:`TransientError`; takes everything back, however it ends.
        """


def way(listening: Listening, owner: str, places: tuple[Place, ...], host: str) -> Way | None:
    """How to announce a printer that listens there: by the Avahi called ``owner``, without one as ``host``; not at all
    while nobody could reach it.
    """
    reached = listening.reached_at(places)
    if owner and listening.address.is_unspecified:
        return ByAvahi(owner, ANY, _protocol(listening))
    if owner and reached:
        return ByAvahi(owner, reached[0].index, _protocol(listening))
    return ByMulticast(reached, host) if reached and not owner else None


def _protocol(listening: Listening) -> int:
    """AVAHI_PROTO_INET, AVAHI_PROTO_INET6 or both."""
    return ANY if listening.dual else {4: 0, 6: 1}[listening.address.version]


class Announcer:
    """Announces ``services`` from ``async with`` to its end.

    ``name`` is the one to begin with, ``host`` this instance's name as a host where there is no Avahi. ``remember``
    keeps a name that had to be changed; it is called in a thread and may fail. ``seen_as`` hears under which name and
    on which host the printer is about to be seen.
    """

    def __init__(
        self,
        listening: Listening,
        services: Services,
        *,
        name: str,
        host: str,
        remember: Callable[[str], None],
        seen_as: Callable[[str, str], None],
    ) -> None:
        self._listening = listening
        self._services = services
        self._name = name
        self._host = host
        self._remember = remember
        self._seen_as = seen_as
        self._owner: str | None = None  # nobody was asked yet
        self._places: tuple[Place, ...] = ()
        self._told: tuple[str, tuple[Service, ...]] | None = None  # on which host, and what
        self._attempt: asyncio.Task[None] | None = None
        self._task: asyncio.Task[None] | None = None
        self._settle()

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task}, timeout=GOODBYE)

    async def _run(self) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._follow(avahi.owners, self._see_owner, self._no_bus))
                group.create_task(self._follow(interfaces.changes, self._see_places, self._no_kernel))
                group.create_task(self._announce())
        except Exception:
            log.exception("the printer is announced no longer; a restart announces it again")

    # What changes

    async def _follow(
        self, source: Callable[[], AsyncIterator[T]], see: Callable[[T], None], failed: Callable[[Exception], None]
    ) -> None:
        """Hand on whatever comes from ``source``; when it ends, try again."""
        pauses = _pauses()
        while True:
            try:
                async for news in source():
                    see(news)
                    pauses = _pauses()
            except avahi.LOST as error:
                failed(error)
            await asyncio.sleep(next(pauses))

    def _see_owner(self, owner: str) -> None:
        self._change(owner, self._places)

    def _see_places(self, places: tuple[Place, ...]) -> None:
        self._change(self._owner, places)

    def _no_bus(self, error: Exception) -> None:
        """Many machines have no bus, and so no Avahi: nothing is wrong with them."""
        if not isinstance(error, FileNotFoundError | ConnectionError | EOFError):
            self._say(TransientError(f"The system bus cannot be used: {error}.", remedy="See: systemctl status dbus"))
        self._see_owner("")

    def _no_kernel(self, error: Exception) -> None:
        remedy = "Let the service use AF_NETLINK (RestrictAddressFamilies= of its unit), or install avahi-daemon."
        self._say(TransientError(f"The addresses of this machine cannot be read: {error}.", remedy=remedy))

    def _change(self, owner: str | None, places: tuple[Place, ...]) -> None:
        """Take note. An attempt that is no longer made in the right way ends, with its goodbye."""
        before = self._way()
        self._owner, self._places = owner, places
        if self._way() != before:
            self._end_attempt()

    def look_again(self) -> None:
        """The printer may say something else of itself now. If so, it is announced anew."""
        if self._told is not None and self._services(self._told[0]) != self._told[1]:
            self._end_attempt()

    def _way(self) -> Way | None:
        return None if self._owner is None else way(self._listening, self._owner, self._places, self._host)

    # Announcing

    async def _announce(self) -> None:
        """One attempt after the other, each in the way that is right when it begins."""
        while True:
            self._attempt = asyncio.create_task(self._keep(self._way()))
            try:
                await asyncio.wait({self._attempt})
            finally:
                self._end_attempt()
                await asyncio.wait({self._attempt})

    def _end_attempt(self) -> None:
        """Once: a second time would break its goodbye off."""
        if self._attempt is not None and not self._attempt.cancelling():
            self._attempt.cancel()

    async def _keep(self, chosen: Way | None) -> None:
        """Announce in one way until it is cancelled."""
        if chosen is None:
            await asyncio.Event().wait()
        while chosen is not None:
            try:
                await chosen.announce(self._name, self._described, partial(self._announced, chosen))
            except Taken:
                await self._rename()
            except TransientError as failure:
                self._say(failure)
                await asyncio.sleep(next(self._pauses))
            except Exception:
                log.exception("the printer could not be announced")
                await asyncio.sleep(LAST_PAUSE)

    def _described(self, host: str) -> tuple[Service, ...]:
        """From now on clients may come by that host's name."""
        self._seen_as(self._name, host)
        self._told = (host, self._services(host))
        return self._told[1]

    def _announced(self, chosen: Way, host: str) -> None:
        log.info("the printer is announced as %s on %s, by %s", self._name, host, chosen.by)
        self._settle()

    def _settle(self) -> None:
        """All is well: the next failure is a new one."""
        self._said: set[str] = set()
        self._rivals = 0
        self._pauses = _pauses()

    async def _rename(self) -> None:
        """The next name, which stays ours (RFC 6762 section 9): those who chose the printer find it tomorrow too."""
        taken, self._name = self._name, next_name(self._name)
        log.warning("another printer is announced as %s; this one is %s from now on", taken, self._name)
        try:
            await asyncio.to_thread(self._remember, self._name)
        except Exception:
            log.warning("the name %s is forgotten at the next start", self._name, exc_info=True)
        self._rivals += 1
        if self._rivals >= RIVALS:
            await asyncio.sleep(RIVALRY)

    def _say(self, failure: TransientError) -> None:
        """Once, until the printer is announced."""
        words = " ".join(failure.lines())
        if words not in self._said:
            self._said.add(words)
            log.warning("%s", words)


def _pauses() -> Iterator[float]:
    pause = FIRST_PAUSE
    while True:
        yield pause
        pause = min(LAST_PAUSE, pause * 2)
