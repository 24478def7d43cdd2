"""From a stream of bytes to the intake: each document that :mod:`printerd.listener.framing` finds becomes a job.

One rule: what came whole is taken, what did not is recorded as such, and one document never stops its sisters.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Final

from printerd.intake import Intake
from printerd.listener.connections import IDLE
from printerd.listener.door import Line
from printerd.listener.framing import Asked, Began, End, Ended, Event, Foreign, Framing, Header, Piece
from printerd.model import JobId, Ticket
from printerd.refusals import Refused

log = logging.getLogger(__name__)

BROKEN: Final = frozenset({"cut", "no-end"})
"""Why a document is refused that would be taken if it came whole."""

Source = AsyncIterator[bytes | End]
"""What comes, and what it means that nothing does. Raises :class:`ConnectionError` when that is unknown."""


class Documents:
    """What one sender prints under one ``ticket``; PJL fills in what the ticket leaves open.

    ``taken`` are the jobs; ``refused`` is why the last of those that were not taken was not; ``broken`` is whether any
    of them should be sent again.
    """

    def __init__(self, intake: Intake, ticket: Ticket) -> None:
        self.taken: list[JobId] = []
        self.refused: Refused | None = None
        self.broken = False
        self._intake = intake
        self._ticket = ticket
        self._framing = Framing()
        self._dropped = 0

    @property
    def inside(self) -> bool:
        """Whether a document has begun to come."""
        return self._framing.inside

    async def take(self, source: Source, answer: Callable[[bytes], Awaitable[None]] | None = None) -> None:
        """Hand all documents of the source to the intake, which records those that it refuses.

        PJL's questions are answered by ``answer``. Raises :class:`ConnectionError` when nothing more can be made of the
        source, and :class:`TransientError` when the intake cannot take anything now.
        """
        events = self._events(source)
        async for event in events:
            match event:
                case Began(header):
                    await self._print(header, events)
                case Asked(words) if answer is not None:
                    await answer(words)
                case Foreign(what):
                    raise ConnectionAbortedError(f"{what} is no document")
                case Piece(data):
                    self._drop(len(data))

    async def _print(self, header: Header, events: AsyncIterator[Event]) -> None:
        try:
            job = await self._intake.accept(_told(self._ticket, header), _document(events))
            self.taken.append(job.id)
        except Refused as refused:
            self.refused = refused
            self.broken = self.broken or refused.code in BROKEN
            source, host = self._ticket.source, self._ticket.host
            log.warning("%s: a document of %s is refused: %s", source, host, refused.sentence("en"))

    def _drop(self, size: int) -> None:
        """What is left of a refused document: as much as one may hold, so that most senders come to their end."""
        self._dropped += size
        if self._dropped > self._intake.document_limit:
            raise ConnectionAbortedError("it went on after its document was refused")

    async def _events(self, source: Source) -> AsyncIterator[Event]:
        """All that happens. When a document falls silent before its end, what comes later is no document either."""
        whole = True
        try:
            async for came in source:
                for event in self._framing.end(came) if isinstance(came, End) else self._framing.feed(came):
                    whole = event.whole if isinstance(event, Ended) else whole
                    yield event
                if came is End.SILENT and not whole:
                    raise ConnectionAbortedError("it fell silent in the middle of a document")
        except OSError:
            for event in self._framing.cut():
                yield event
            raise


async def listen(line: Line, documents: Documents, idle: float) -> Source:
    """A connection that says no length, until the peer closes; ``idle`` seconds of silence end a document."""
    while True:
        if not documents.inside:
            line.begin()
        try:
            data = await line.read(idle=idle if documents.inside else IDLE)
        except TimeoutError:
            if not documents.inside:
                raise
            yield End.SILENT
            continue
        if not data:
            yield End.CLOSED
            return
        yield data


async def _document(events: AsyncIterator[Event]) -> AsyncIterator[bytes]:
    """The bytes of the document that began. Raises :class:`Refused` when they end before it does."""
    async for event in events:
        match event:
            case Piece(data):
                yield data
            case Ended(whole):
                if not whole:
                    raise Refused("no-end")
                return


def _told(ticket: Ticket, header: Header) -> Ticket:
    """The ticket with what PJL says."""
    copies = {"copies": header.copies} if header.copies.isdecimal() else {}
    return replace(
        ticket,
        title=ticket.title or header.title,
        user=ticket.user or header.user,
        options={**copies, **header.choices, **ticket.options},
    )
