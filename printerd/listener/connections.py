"""Connections end: who says nothing, dawdles, or never comes to a point is hung up on.

uvicorn waits for a request's head for ever, and keeps as much of it as comes.
Here a connection has some seconds to bring one; and what is neither a head of
ordinary size nor part of a body (endless headers, trailers, chunk extensions)
ends it. The receipt service has the same, and other times: no code is shared.
"""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

SLOWEST_HEAD = 30.0
"""Seconds for a whole head to arrive."""
SLOWEST_REST = 300.0
"""Seconds for the rest of a document that was answered before its end: a client that is still sending can read why."""
STALLED = 90.0
"""Seconds that a client may take nothing of what was written."""
LAST_CALL = 1.0
"""Seconds after the order to stop in which a client that is connected may still ask."""
IDLE = 300.0
"""Seconds without a byte after which a client counts as gone."""
SLOWEST = 1024.0
"""Bytes a second of a whole request, beside :data:`IDLE`: no document that drips keeps its place on the disk."""
LARGEST_HEAD = 64 * 1024
"""Bytes that may come without a request getting any further."""


class TimedProtocol(HttpToolsProtocol):
    """uvicorn's HTTP/1.1 with these limits. How long an application takes to answer is not limited here."""

    _deadline: asyncio.TimerHandle | None = None
    _stalled: asyncio.TimerHandle | None = None
    _ending = False
    _in_vain = 0
    """Bytes since a request began or got any further."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        super().connection_made(transport)
        self._wait(SLOWEST_HEAD)

    def connection_lost(self, exc: Exception | None) -> None:
        _cancel(self._deadline, self._stalled)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._in_vain += len(data)
        super().data_received(data)
        if self._in_vain > LARGEST_HEAD:
            self.transport.abort()

    def on_headers_complete(self) -> None:
        self._in_vain = 0
        _cancel(self._deadline)
        super().on_headers_complete()
        if self._ending:
            super().shutdown()  # this answer is the last one

    def on_body(self, body: bytes) -> None:
        self._in_vain = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._in_vain = 0
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.cycle.response_complete:  # else the next one of a pipeline is being answered
            self._wait(SLOWEST_REST)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._wait(SLOWEST_HEAD)

    def shutdown(self) -> None:
        """uvicorn hangs up at once on those who have not asked yet, though we have taken their connection: between the
        two their request may be under way, and nothing would tell them to print again."""
        self._ending = True
        if self.cycle is None or self.cycle.response_complete:
            self.loop.call_later(LAST_CALL, super().shutdown)
        else:
            super().shutdown()

    def pause_writing(self) -> None:
        self._stalled = self.loop.call_later(STALLED, self.transport.abort)
        super().pause_writing()

    def resume_writing(self) -> None:
        _cancel(self._stalled)
        super().resume_writing()

    def _wait(self, seconds: float) -> None:
        _cancel(self._deadline)
        self._deadline = self.loop.call_later(seconds, self.transport.abort)


def _cancel(*timers: asyncio.TimerHandle | None) -> None:
    for timer in timers:
        if timer is not None:
            timer.cancel()
