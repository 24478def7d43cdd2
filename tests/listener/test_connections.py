"""Nobody keeps the printer's port or disk busy by saying nothing, little, or too much."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress

import pytest

from printerd.ipp.codec import encode
from printerd.ipp.registry import Operation, Status
from printerd.listener import connections, http

from .printing import PDF, RunningPrinter

POST = b"POST /ipp/print HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/ipp\r\n"
Start = Callable[..., RunningPrinter]


def connected(printer: RunningPrinter, begun: bytes) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", printer.port), 5)
    connection.sendall(begun)
    return connection


def drips(connection: socket.socket) -> Iterator[None]:
    """A byte now and then, until the other side has hung up."""
    with suppress(ConnectionError):
        for _ in range(100):
            connection.sendall(b"a")
            yield
            time.sleep(0.05)


@pytest.mark.parametrize("begun", [b"POST /ipp/pri", POST + b"X-Slow: "])
def test_a_head_that_drips_ends_the_connection(
    printer: RunningPrinter, monkeypatch: pytest.MonkeyPatch, begun: bytes
) -> None:
    """Thousands of clients that never finish a header would leave none for those who print."""
    monkeypatch.setattr(connections, "SLOWEST_HEAD", 0.4)
    with closing(connected(printer, begun)) as slow:
        assert len(list(drips(slow))) < 40
    assert printer.print_job().code == Status.SUCCESSFUL_OK


def test_a_document_that_drips_is_cut(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each byte buys a little time, not all of it again: room on the disk is not kept for who hardly sends."""
    monkeypatch.setattr(http, "SLOWEST", 1000.0)
    printer = start(claims={"idle": 0.5})
    body = encode(printer.request(Operation.PRINT_JOB)) + PDF
    begun = POST + b"Content-Length: %d\r\n\r\n" % (4 << 20) + body[:200]
    with closing(connected(printer, begun)) as slow:
        slow.settimeout(0.05)
        answer, bytes_sent = b"", 0
        while not answer and bytes_sent < 60:  # three seconds of them
            slow.sendall(b"a")
            bytes_sent += 1
            with suppress(TimeoutError):
                answer = slow.recv(4000)
        assert answer.startswith(b"HTTP/1.1 200")
    assert printer.spooled() == []


def test_who_is_connected_when_the_service_stops_is_answered(printer: RunningPrinter) -> None:
    """A restart refuses nobody: not even one whose request was under way, on a new connection or an old one."""
    body = encode(printer.request(Operation.PRINT_JOB)) + PDF
    request = POST + b"Content-Length: %d\r\n\r\n" % len(body) + body
    with closing(connected(printer, b"")) as new, closing(connected(printer, request)) as old:
        assert old.recv(4000).startswith(b"HTTP/1.1 200")
        printer.server.should_exit = True
        time.sleep(0.4)  # uvicorn looks every 0.1 s
        for connection in (new, old):
            connection.sendall(request)
            answer = b"".join(iter(lambda: connection.recv(4000), b""))  # noqa: B023 - called in its turn
            assert answer.startswith(b"HTTP/1.1 200") and b"connection: close" in answer


def test_who_says_nothing_does_not_keep_the_service_from_stopping(printer: RunningPrinter) -> None:
    with closing(connected(printer, b"")) as silent:
        printer.server.should_exit = True
        silent.settimeout(5)
        assert silent.recv(10) == b""


@pytest.mark.parametrize(
    "endless",
    [
        POST + b"X-Endless: ",
        b"POST /" + b"x" * 1000,
        POST + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX-Trailer: ",
        POST + b"Transfer-Encoding: chunked\r\n\r\n1;extension=",
    ],
)
def test_what_comes_to_no_point_is_not_kept(printer: RunningPrinter, endless: bytes) -> None:
    """Headers, targets, trailers and chunk extensions without end are cut off after a few packets."""
    sent, piece = 0, b"a" * 65536
    with closing(connected(printer, endless)) as connection, suppress(ConnectionError):
        while sent < 64 << 20:
            connection.sendall(piece)
            sent += len(piece)
    assert sent < 16 << 20  # what the kernels of both sides hold
