"""The file leaves: what is recorded as handed over has been taken by the operating system, byte for byte.

``DrainedProtocol`` keeps no write buffer of its own, so that awaiting the
next send means that every byte before it has left this process.
"""

from __future__ import annotations

import asyncio
import hashlib
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from urllib.parse import quote

import anyio
from starlette.types import Receive, Scope, Send

from .connections import TimedProtocol
from .database import now

CHUNK = 128 * 1024
STALLED = 60.0
"""A client that takes no byte for so many seconds has broken off."""


CONNECTION = "receipt_service.connection"
"""Under this name an application finds its :class:`Connection` among the scope's extensions."""


@dataclass(slots=True)
class Connection:
    """What the protocol knows of one connection: whether it ended, and whether bytes of ours were left then."""

    lost: bool = False
    dropped: bool = False


class DrainedProtocol(TimedProtocol):
    """HTTP/1.1 with a write buffer limit of zero: writing pauses until the socket has taken all.

    A client that has read the last byte may close at once: that is no broken
    transfer. So the end of a connection tells whether anything was still waiting.
    """

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        transport.set_write_buffer_limits(high=0)
        # asyncio does this itself, but not for listeners that were made or inherited as protocol 0: then the answer's
        # second packet waits 40 ms for the acknowledgement of its first (RFC 896).
        if transport.get_extra_info("socket").family != socket.AF_UNIX:
            transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.connection = Connection()
        super().connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self.connection.lost, self.connection.dropped = True, self.flow.write_paused
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = {CONNECTION: self.connection}  # type: ignore[dict-item]  # a value, not a mapping


@dataclass(frozen=True, slots=True)
class Handed:
    """How a handover ended: ``reason`` is empty when every byte left, at ``at``."""

    sha256: str
    bytes_sent: int
    at: datetime
    reason: str


def attachment(file_name: str) -> str:
    """A Content-Disposition that keeps the name in any script (RFC 6266, RFC 8187)."""
    plain = "".join(c if c.isascii() and c.isprintable() and c not in '"\\%' else "_" for c in file_name)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(file_name, safe='')}"


class HandOver:
    """An ASGI response that sends a whole file, whatever Range was asked, and tells how it ended."""

    def __init__(
        self, file: Path, size: int, sha256: str, file_name: str, tell: Callable[[Handed], Awaitable[None]]
    ) -> None:
        self._file = file
        self._size = size
        self._sha256 = sha256
        self._file_name = file_name
        self._tell = tell

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        connection: Connection = scope["extensions"][CONNECTION]
        digest, sent, reason = hashlib.sha256(), 0, "the transfer was interrupted"
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self._headers()})
            async with await anyio.open_file(self._file, "rb") as file:
                chunk = await file.read(CHUNK)
                while chunk:
                    digest.update(chunk)
                    ahead = await file.read(CHUNK)
                    if not ahead and digest.hexdigest() != self._sha256:
                        break  # the last bytes are kept back: nobody gets a damaged document as a whole one
                    await _send(send, chunk)
                    if connection.lost:
                        break
                    sent += len(chunk)
                    chunk = ahead
            await _send(send, b"")  # returns when the socket has taken the last byte, or the connection ended
            reason = self._fault(sent, connection)
        except TimeoutError:
            reason = f"the client took nothing for {STALLED:.0f} s"
        finally:
            await asyncio.shield(self._tell(Handed(digest.hexdigest(), sent, now(), reason)))
        if not reason:
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    def _fault(self, sent: int, connection: Connection) -> str:
        if connection.dropped or (connection.lost and sent < self._size):
            return "the client closed the connection"
        return "" if sent == self._size else "the stored file is damaged"

    def _headers(self) -> list[tuple[bytes, bytes]]:
        return [
            (b"content-type", b"application/pdf"),
            (b"content-length", str(self._size).encode()),
            (b"content-disposition", attachment(self._file_name).encode()),
        ]


async def _send(send: Send, chunk: bytes) -> None:
    async with asyncio.timeout(STALLED):
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
