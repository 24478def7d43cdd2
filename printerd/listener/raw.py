"""Raw printing: a TCP port (9100 by custom) takes bytes, and nothing is said before, between or after them.

One rule: nothing is concluded from silence. The protocol has no answer, so the end of the connection is one: it is
closed in order once all that came through it is settled, and reset when something of it should be sent again. While
the disk is full or the printer closed nothing is read, as a printer without paper does: the sender waits.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from printerd.errors import TransientError
from printerd.intake import Intake
from printerd.listener.door import Line
from printerd.listener.streams import Documents, listen
from printerd.model import Ticket

log = logging.getLogger(__name__)

READY_AGAIN: Final = 1.0
"""Seconds before it is asked again whether a job would be taken."""


class Raw:
    """Serves connections: what they bring is printed on ``printer``. ``idle`` seconds of silence end a document."""

    def __init__(self, intake: Intake, printer: str, idle: float) -> None:
        self._intake = intake
        self._printer = printer
        self._idle = idle

    async def serve(self, line: Line) -> None:
        """One connection, from its first byte to its end. Raises :class:`ConnectionError` to have it reset."""
        await self._ready(line)
        documents = Documents(self._intake, Ticket(self._printer, "", line.host, "", "", "raw"))
        try:
            await documents.take(listen(line, documents, self._idle), line.write)
        except TransientError as error:
            raise ConnectionAbortedError(" ".join(error.lines())) from error
        if documents.broken:
            raise ConnectionAbortedError("not all of its documents came whole")
        for job in documents.taken:  # the sender closed in order: it counts them as printed
            self._intake.answered(job)

    async def _ready(self, line: Line) -> None:
        if not self._intake.is_ready():
            log.warning("raw: %s waits until the disk has room and the printer is open", line.host)
        while not self._intake.is_ready():  # noqa: ASYNC110 - nothing tells when a disk has room again
            await asyncio.sleep(READY_AGAIN)
