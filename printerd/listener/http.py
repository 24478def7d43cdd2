"""IPP over HTTP (RFC 8010 section 4), as an ASGI application for uvicorn.

One rule: a request is judged by its HTTP headers, decoded, checked once and
dispatched; whatever happens, one function answers and logs it. Document bytes
are never gathered here: they flow from the connection into the intake.

An answer that comes before the end of a body leaves the connection open, so
that a client in the middle of a large document can still read it; the server
takes the rest off the wire and drops it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping, MutableMapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from datetime import UTC, datetime, tzinfo
from typing import Any, Final

from printerd.errors import Failure, IppError, TransientError
from printerd.intake import Intake
from printerd.ipp.codec import Decoder, encode
from printerd.ipp.message import Message
from printerd.ipp.registry import Operation as Code
from printerd.ipp.registry import Status
from printerd.ipp.request import check, refusal
from printerd.listener import peers, resources
from printerd.listener.connections import IDLE, SLOWEST
from printerd.listener.managing import fields
from printerd.listener.operations import OPERATIONS
from printerd.listener.printer import PATH, Printer
from printerd.listener.service import Answer, Call, Service, utc_now
from printerd.listener.subscriptions import Hub
from printerd.storage.database import Database

log = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_HOST: Final = re.compile(r"(?:\[(?P<address>[0-9A-Fa-f:.]+)\]|(?P<name>[A-Za-z0-9._-]+))(?::\d{1,5})?")


class _Refusal(Exception):
    """A request that is answered by HTTP alone."""

    def __init__(self, status: int, what: str, *headers: tuple[bytes, bytes]) -> None:
        super().__init__(what)
        self.status = status
        self.what = what
        self.headers = headers


def application(
    database: Database,
    intake: Intake,
    *,
    name: str,
    uuid: str,
    language: str,
    names: Collection[str] = (),
    location: str = "",
    organization: str = "",
    console: str = "",
    report_within: float = 30.0,
    idle: float = IDLE,
    operators: Collection[str] = (),
    zone: tzinfo = UTC,
    doors: Iterable[AbstractAsyncContextManager[object]] = (),
    now: Callable[[], datetime] = utc_now,
) -> Application:
    """The printer called ``name`` as an ASGI application; its lifespan is the intake's.

    ``uuid`` is the instance's, ``names`` are the host names that clients use beside
    ``uuid`` is the instance's, ``names`` are the host names that clients use beside
    localhost and our own addresses (in lower case; looked at with each request, so they may change), ``console`` is
    the path of the pages for people on the same address.
    ``report_within`` is how many seconds a job may be shown as processing; ``operators`` are the hosts from which the
    printer is managed; ``zone`` is local time, for jobs that wait for their hour. ``doors`` are the
    other ways in: they are open while the intake is.
    """
    printer = Printer(
        name=name,
        uuid=uuid,
        language=language,
        operations=tuple(OPERATIONS),
        document_limit=intake.document_limit,
        document_timeout=intake.document_timeout,
        started_at=now(),
        location=location,
        organization=organization,
        console=console,
        policy=intake.policy,
    )
    hosts = {peers.host(host) for host in operators}
    service = Service(database, intake, printer, report_within=report_within, now=now, operators=hosts, zone=zone)
    service.hub = Hub(service)
    return Application(service, names, idle, doors)


class Application:
    """See :func:`application`. Paths other than the printer's are answered 404."""

    def __init__(
        self,
        service: Service,
        names: Collection[str],
        idle: float,
        doors: Iterable[AbstractAsyncContextManager[object]],
    ) -> None:
        self._service = service
        self._doors = list(doors)
        self._names = names
        self._idle = idle

    @property
    def services(self) -> tuple[Service, ...]:
        """Those of the printers, the default first."""
        return (self._service,)

    def live_with(self, companion: AbstractAsyncContextManager[object]) -> None:
        """It begins once every door is open, and ends before they close."""
        self._doors.append(companion)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _live(self._service, self._doors, receive, send)
        elif scope["type"] == "http":
            await self._http(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        try:
            if scope["method"] in ("GET", "HEAD") and (found := self._resource(scope, headers)):
                await _serve(send, scope["method"], *found)
                return
            host = self._admit(scope, headers)
            await self._ipp(_Body(receive, headers, self._idle), _client(scope), f"{_scheme(scope)}://{host}", send)
        except _Refusal as refused:
            log.info("HTTP %d: %s", refused.status, refused.what)
            # Nobody who waits for "100 Continue" sends a body any more.
            close = ((b"connection", b"close"),) if "expect" in headers or "upgrade" in headers else ()
            text = (b"content-type", b"text/plain; charset=utf-8")
            await _respond(send, refused.status, f"{refused.what}\n".encode(), text, *refused.headers, *close)

    def _resource(self, scope: Scope, headers: Mapping[str, str]) -> tuple[str, bytes] | None:
        """What lies at the address, for those who call us by a name of ours."""
        name = str(scope["path"]).removeprefix(f"{PATH}/")
        return resources.found(name) if self._is_ours(headers.get("host", ""), scope) else None

    def _admit(self, scope: Scope, headers: Mapping[str, str]) -> str:
        """The Host that the client named, once every header is as a print client sends it."""
        if not (scope["path"] == PATH or scope["path"].startswith(f"{PATH}/")):
            raise _Refusal(404, "There is no printer here.")
        if not self._is_ours(headers.get("host", ""), scope):
            raise _Refusal(421, "This machine does not answer to that name. Add it to listen.names.")
        if "origin" in headers:
            raise _Refusal(403, "A web page may not print here.")
        if scope["method"] != "POST":
            what = "This is a printer. Add it to your system as an IPP printer with this address."
            raise _Refusal(405, what, (b"allow", b"POST"))
        if "upgrade" in headers:  # the server would hand us an empty body
            raise _Refusal(400, "This connection cannot be upgraded; use an ipps address.")
        if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/ipp":
            raise _Refusal(415, "Print clients send application/ipp.")
        return headers["host"]

    def _is_ours(self, host: str, scope: Scope) -> bool:
        """Whether Host names this machine, so that no name that somebody else controls leads here."""
        name = _host_name(host)
        if name == peers.LOOPBACK or name in self._names:
            return True
        address = peers.address(name)
        server = peers.address((scope.get("server") or ("",))[0] or "")
        return address is not None and (address == server or address.is_loopback)

    async def _ipp(self, body: _Body, host: str, base: str, send: Send) -> None:
        """One IPP request from its first octet to its answer."""
        decoder = Decoder()
        try:
            answer = await self._dispatch(decoder, body, host, base)
        except ConnectionError:
            log.info("a client went away before its request was complete")
            return
        except Exception as error:
            answer = Answer(_failed(decoder, error))
        try:
            await self._finish(answer, body, send)
        except OSError:
            log.info("a client went away before its answer")

    async def _dispatch(self, decoder: Decoder, body: _Body, host: str, base: str) -> Answer:
        message = await body.message(decoder)
        request = check(message)
        operation = OPERATIONS[request.operation]
        if not operation.takes_document and not await body.empty():
            raise IppError(Status.CLIENT_ERROR_BAD_REQUEST, "no document belongs to this operation")
        return await operation.handler(self._service, Call(request, body, host, base))

    async def _finish(self, answer: Answer, body: _Body, send: Send) -> None:
        """Send the answer; its job counts as answered only when a client was there to take it whole."""
        present = answer.job is not None and not await body.is_left()
        await _respond(send, 200, answer.octets, (b"content-type", b"application/ipp"))
        if present and answer.job is not None:
            self._service.intake.answered(answer.job)


def _failed(decoder: Decoder, error: Exception) -> bytes:
    """The answer to a request that failed, whatever the failure (RFC 8011 section 4.1.6)."""
    header = decoder.header
    if header is None:
        raise _Refusal(400, "This is not IPP.") from error
    return encode(refusal(header, _translated(error, header)))


def _translated(error: Exception, header: Message) -> IppError:
    known = {int(code) for code in Code}
    operation = Code(header.code).name if header.code in known else f"0x{header.code:04x}"
    if isinstance(error, IppError):
        log.info("%s refused: 0x%04x", operation, error.status)
        return error
    if isinstance(error, TransientError):
        log.warning("%s: %s", operation, " ".join(error.lines()))
        return IppError(error.ipp_status, error.what)
    if isinstance(error, TimeoutError):
        return IppError(Status.CLIENT_ERROR_TIMEOUT, "The request did not come to its end.")
    log.error("%s failed", operation, exc_info=error)
    status = error.ipp_status if isinstance(error, Failure) else Status.SERVER_ERROR_INTERNAL_ERROR
    return IppError(status, "The printer could not do this; its log says why.")


class _Body:
    """What comes behind the HTTP headers: attributes first, then perhaps a document, which is iterated."""

    def __init__(self, receive: Receive, headers: Mapping[str, str], idle: float) -> None:
        length = headers.get("content-length", "")
        self._receive = receive
        self._idle = idle
        self._left = int(length) if length.isdecimal() else None
        self._deadline = asyncio.get_running_loop().time() + idle
        self._waiting = b""
        self._ended = False

    @property
    def length(self) -> int | None:
        """How many bytes of the document are still to come, when the client told."""
        return self._left

    async def message(self, decoder: Decoder) -> Message:
        """The attributes. Raises :class:`IppError` when they are no IPP or end too soon."""
        octets = 0
        while not self._ended:
            chunk = await self._next()
            octets += len(chunk)
            if decoder.feed(chunk):
                self._waiting = decoder.rest
                octets -= len(self._waiting)
                self._left = None if self._left is None else self._left - octets
                break
        return decoder.message

    async def empty(self) -> bool:
        while not self._waiting and not self._ended:
            self._waiting = await self._next()
        return not self._waiting

    async def __aiter__(self) -> AsyncIterator[bytes]:
        if self._waiting:
            waiting, self._waiting = self._waiting, b""
            yield waiting
        while not self._ended:
            yield await self._next()

    async def is_left(self) -> bool:
        """Whether the client has gone already; asked once its body is complete."""
        if not self._ended:
            return False
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0):
                return bool((await self._receive())["type"] == "http.disconnect")
        return False

    async def _next(self) -> bytes:
        """The next piece. A client that leaves in the middle is a failure, never the end of a document."""
        async with asyncio.timeout_at(min(self._deadline, asyncio.get_running_loop().time() + self._idle)):
            event = await self._receive()
        if event["type"] == "http.disconnect":
            raise ConnectionResetError("the client went away")
        self._ended = not event.get("more_body", False)
        body: bytes = event.get("body", b"")
        self._deadline += len(body) / SLOWEST
        return body


async def _respond(send: Send, status: int, body: bytes, *headers: tuple[bytes, bytes]) -> None:
    length = (b"content-length", str(len(body)).encode())
    # RFC 8010 section 4.1 wants no caching of what a POST answers.
    fixed = (length, (b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff"))
    await send({"type": "http.response.start", "status": status, "headers": [*headers, *fixed]})
    await send({"type": "http.response.body", "body": body})


async def _serve(send: Send, method: str, media_type: str, body: bytes) -> None:
    """A file of ours, which is the same for everybody and until the next version."""
    headers = [
        (b"content-type", media_type.encode()),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"public, max-age=86400"),
        (b"x-content-type-options", b"nosniff"),
    ]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body if method == "GET" else b""})


async def _live(
    service: Service, doors: Iterable[AbstractAsyncContextManager[object]], receive: Receive, send: Send
) -> None:
    """The lifespan protocol of ASGI: the intake recovers before the first request and ends after the last one."""
    await receive()
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(service.intake)
        service.changed(**fields(dict(service.intake.switches.said)))
        await service.hub.start()
        stack.push_async_callback(service.hub.stop)
        for door in doors:
            await stack.enter_async_context(door)
        await send({"type": "lifespan.startup.complete"})
        await receive()
    await send({"type": "lifespan.shutdown.complete"})


def _scheme(scope: Scope) -> str:
    return "ipps" if scope.get("scheme") == "https" else "ipp"


def _client(scope: Scope) -> str:
    """The peer's address as it is kept with jobs."""
    return peers.host((scope.get("client") or ("",))[0] or "")


def _host_name(host: str) -> str:
    """The name in a Host header, without port, brackets and final dot; empty when it is none (RFC 9110 section 7.2)."""
    found = _HOST.fullmatch(host)
    return (found["address"] or found["name"]).lower().rstrip(".") if found else ""
