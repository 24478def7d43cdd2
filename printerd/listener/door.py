"""A door for streams of bytes, TCP or a Unix socket: connections come in, are served one task each, and end.

One rule: a peer gets as much time as it uses well. Who says nothing is gone, who
drips is cut, and who sends faster than the disk writes is held back, so
that a connection costs the same memory whatever comes through it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import Final, Self

from printerd.listener import peers
from printerd.listener.connections import IDLE, LAST_CALL, SLOWEST, SLOWEST_HEAD, STALLED

log = logging.getLogger(__name__)

PIECE: Final = 64 * 1024
"""Bytes that are read at a time; as many again may wait in memory."""
_RESET: Final = struct.pack("ii", 1, 0)
"""struct linger of socket(7): on, no seconds. What is closed so, is reset."""


class Line:
    """One connection: its bytes with the limits of time, and the peer as it is kept with jobs."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str) -> None:
        self.host = host
        self.socket = writer.get_extra_info("socket")
        self._reader = reader
        self._writer = writer
        self.begin()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)

    def begin(self) -> None:
        """What comes from now on is timed by itself: a document, a file."""
        self._deadline = asyncio.get_running_loop().time() + IDLE

    async def read(self, most: int = PIECE, idle: float = IDLE) -> bytes:
        """What is there, at most so much; nothing once the peer has closed in order.

        Raises :class:`TimeoutError` when nothing comes for ``idle`` seconds, and :class:`ConnectionError` when the
        connection is reset or hardly anything comes.
        """
        silent = asyncio.get_running_loop().time() + idle
        try:
            async with asyncio.timeout_at(min(silent, self._deadline)):
                data = await self._reader.read(most)
        except TimeoutError:
            if self._deadline < silent:
                raise ConnectionAbortedError(f"fewer than {SLOWEST:.0f} bytes a second came") from None
            raise
        self._deadline += len(data) / SLOWEST
        return data

    async def line(self, within: float = SLOWEST_HEAD) -> bytes:
        """The next line with its end, within so many seconds; nothing once the peer has closed in order.

        Raises as :meth:`read` does, and :class:`ValueError` for a line without end.
        """
        try:
            async with asyncio.timeout(within):
                return await self._reader.readuntil(b"\n")
        except asyncio.IncompleteReadError as cut:
            if cut.partial:
                raise ConnectionResetError("the peer closed in the middle of a line") from None
            return b""
        except asyncio.LimitOverrunError:
            raise ValueError("a line without end") from None

    async def write(self, data: bytes) -> None:
        """Raises :class:`ConnectionError` or :class:`TimeoutError` when the peer does not take it."""
        self._writer.write(data)
        async with asyncio.timeout(STALLED):
            await self._writer.drain()

    @property
    def left(self) -> bool:
        """Whether the peer has closed its side, and nothing of it is left to read."""
        return self._reader.at_eof()

    def end(self, *, in_order: bool) -> None:
        """Close it, or reset it so that the peer sees a failure (RFC 9293 section 3.10.5, ABORT)."""
        if in_order:
            self._writer.close()
            return
        with contextlib.suppress(OSError):
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._writer.transport.abort()


class Door:
    """``async with`` it: whoever connects to ``listening`` and is a guest is served until it is left.

    Left, it takes no more, gives those who are being served ``last_call`` seconds, and resets the others.
    """

    def __init__(
        self,
        name: str,
        listening: socket.socket,
        guests: peers.Guests,
        serve: Callable[[Line], Awaitable[None]],
        last_call: float = LAST_CALL,
    ) -> None:
        self._name = name
        self._listening = listening
        self._guests = guests
        self._serve = serve
        self._last_call = last_call
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        start = asyncio.start_unix_server if self._listening.family is socket.AF_UNIX else asyncio.start_server
        self._server = await start(self._connected, sock=self._listening, limit=PIECE)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()
        if self._tasks:
            _done, late = await asyncio.wait(set(self._tasks), timeout=self._last_call)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._attend(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _attend(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = Line(reader, writer, peers.host((writer.get_extra_info("peername") or ("",))[0]))
        served = False
        with self._guests.admitted(line.host, self._name) as welcome:
            try:
                if welcome:
                    await self._serve(line)
                    served = True
            except OSError as error:  # ConnectionError and TimeoutError are some
                log.info("%s: the connection of %s ends: %s", self._name, line.host, error or "nothing came")
            except Exception:
                log.exception("%s: the connection of %s failed", self._name, line.host)
            finally:
                line.end(in_order=served)
