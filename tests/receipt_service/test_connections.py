"""Nobody keeps the public port busy by saying nothing, little, or too much."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from typing import Any

import pytest

from receipt_service import connections

from .harness import Edge

HEAD = b"POST /l/%s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/x-www-form-urlencoded\r\n"
Start = Callable[..., Edge]


@pytest.fixture
def edge(start: Start, mailbox: tuple[Any, int], monkeypatch: pytest.MonkeyPatch) -> Edge:
    monkeypatch.setattr(connections, "SLOWEST", 0.4)
    return start(mailbox[1])


def host(edge: Edge) -> bytes:
    return bytes(edge.public.base_url.netloc)


def connected(edge: Edge, *pieces: bytes) -> socket.socket:
    connection = socket.create_connection((edge.public.base_url.host, edge.public.base_url.port or 0), 5)
    for piece in pieces:
        connection.sendall(piece)
    return connection


def rest(connection: socket.socket) -> bytes:
    """What still comes until the other side ends it."""
    got = b""
    with suppress(ConnectionError):
        while piece := connection.recv(65536):
            got += piece
    return got


def drips(connection: socket.socket, drip: bytes = b"a") -> Iterator[None]:
    """A byte now and then, until the other side has hung up."""
    with suppress(ConnectionError):
        for _ in range(100):
            connection.sendall(drip)
            yield
            time.sleep(0.05)


@pytest.mark.parametrize("begun", [b"", b"GET /robots.txt HTT", b"GET /robots.txt HTTP/1.1\r\nHost: x\r\nX-Slow: "])
def test_a_head_that_does_not_come_ends_the_connection(edge: Edge, begun: bytes) -> None:
    """Silent clients and those that send a header byte by byte are hung up on; they hold no place for ever."""
    with closing(connected(edge, begun)) as silent, closing(connected(edge, begun)) as slow:
        assert len(list(drips(slow) if begun else [])) < 40
        assert rest(silent) == b""


def test_an_answered_request_does_not_drip_on(edge: Edge) -> None:
    """What follows an early answer (here: nowhere) is taken off the wire for a while, not for ever."""
    head = HEAD % (b"x" * 43, host(edge)) + b"Content-Length: 1000\r\n\r\n"
    with closing(connected(edge, head)) as connection:
        assert b"404" in connection.recv(65536)
        assert len(list(drips(connection))) < 40


@pytest.mark.parametrize(
    "endless",
    [
        b"GET /robots.txt HTTP/1.1\r\nHost: x\r\nX-Endless: ",
        b"GET /robots.txt HTTP/1.1\r\nHost: x\r\n" + b"X-Many: 1\r\n" * 1000,
        b"GET /" + b"x" * 1000,
        HEAD % (b"x", b"x") + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX-Trailer: ",
        HEAD % (b"x", b"x") + b"Transfer-Encoding: chunked\r\n\r\n1;extension=",
    ],
)
def test_what_comes_to_no_point_is_not_kept(edge: Edge, endless: bytes) -> None:
    """Headers, targets, trailers and chunk extensions without end are cut off after a few packets."""
    sent, piece = 0, b"a" * 65536
    with closing(connected(edge, endless)) as connection, suppress(ConnectionError):
        while sent < 64 << 20:
            connection.sendall(piece)
            sent += len(piece)
    assert sent < 16 << 20  # what the kernels of both sides hold


def test_a_client_that_takes_nothing_is_let_go(edge: Edge, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many answers asked for at once and none read: the connection ends, and with it what was kept for it."""
    monkeypatch.setattr(connections, "STALLED", 0.3)
    ask = b"GET /static/page.css HTTP/1.1\r\nHost: %s\r\n\r\n" % host(edge)
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(5)
        connection.connect((edge.public.base_url.host, edge.public.base_url.port or 0))
        with pytest.raises(ConnectionError):
            for _ in range(2000):
                connection.sendall(ask)
                time.sleep(0.001)


def test_a_patient_client_is_served(edge: Edge) -> None:
    """Pipelined requests and kept connections work as ever."""
    ask = b"GET /robots.txt HTTP/1.1\r\nHost: %s\r\n\r\n" % host(edge)
    with closing(connected(edge, ask * 3)) as connection:
        for more in (ask, b""):
            got = b""
            while got.count(b"Disallow") < (3 if more else 1):
                got += connection.recv(65536)
            time.sleep(0.2)
            connection.sendall(more)


def test_no_answer_repeats_a_token(edge: Edge) -> None:
    """A slash behind a link is an unknown page: no redirect puts the token into a Location of plain http."""
    for path in (f"/l/{'x' * 43}/", "/robots.txt/", "/static/page.css/"):
        answer = edge.public.get(path)
        assert (answer.status_code, "location" in answer.headers) == (404, False)
