"""The HTTP door: what comes over one connection, in pieces, with a length or in chunks, one request after the other.

One rule: bytes are answered by HTTP, or the connection ends; never by 500. An input begins with an octet that says how
it is cut into pieces.
"""

from __future__ import annotations

import asyncio
import gzip
import re
import zlib
from random import Random
from typing import Any

import uvicorn
from uvicorn.server import ServerState

from printerd.ipp.attributes import attribute
from printerd.ipp.registry import Operation
from printerd.listener.connections import TimedProtocol
from tests.fuzz import ipp
from tests.fuzz.mutation import octets
from tests.fuzz.target import Target
from tests.fuzz.world import world

PIECES = (1 << 20, 1, 3, 50, 1000)
STATUSES = frozenset({100, 200, 400, 403, 404, 405, 415, 421})


class Wire(asyncio.Transport):
    """The server's end of a connection: it takes what is written, and nobody is behind it."""

    def __init__(self, lost: Any) -> None:
        super().__init__({"peername": ("192.0.2.7", 49152), "sockname": ("192.0.2.1", 631)})
        self.written: list[bytes] = []
        self._lost = lost
        self._closing = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written.append(bytes(data))

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            asyncio.get_running_loop().call_soon(self._lost, None)

    abort = close

    def pause_reading(self) -> None:
        """What is sent is little: it may all come at once."""

    resume_reading = pause_reading


def once(data: bytes) -> None:
    with world().fresh():
        statuses = world().do(_exchange(data[1:], PIECES[(data[:1] or b"\0")[0] % len(PIECES)]))
        assert statuses <= STATUSES, statuses


async def _exchange(data: bytes, size: int) -> set[int]:
    """The statuses that are answered to somebody who sends all of it and leaves when no more is answered."""
    state = ServerState()
    protocol = TimedProtocol(_config(), state, {})
    wire = Wire(protocol.connection_lost)
    protocol.connection_made(wire)
    for at in range(0, len(data), size):
        if wire.is_closing():
            break
        protocol.data_received(data[at : at + size])
        await asyncio.sleep(0)
    while state.tasks:
        if protocol.cycle.more_body and not protocol.pipeline:
            wire.close()
        await asyncio.wait(state.tasks, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.sleep(0)
    wire.close()
    await asyncio.sleep(0)
    return {int(head[1]) for written in wire.written if (head := re.match(rb"HTTP/1\.1 (\d{3}) ", written))}


def _config() -> uvicorn.Config:
    return uvicorn.Config(world().app, http=TimedProtocol, access_log=False, log_config=None, lifespan="off")


# Inputs

HEAD = b"POST /ipp/print HTTP/1.1\r\nHost: localhost:631\r\nContent-Type: application/ipp\r\n"


def counted(body: bytes, *more: bytes) -> bytes:
    return HEAD + b"".join(more) + b"Content-Length: %d\r\n\r\n" % len(body) + body


def chunked(body: bytes, *sizes: int) -> bytes:
    chunks, at = b"", 0
    for size in (*sizes, len(body)):
        if piece := body[at : at + size]:
            chunks += b"%x\r\n%s\r\n" % (len(piece), piece)
        at += size
    return HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"


def seeds() -> dict[str, bytes]:
    made = ipp.requests()
    packed = ipp.request(Operation.PRINT_JOB, attribute("compression", "gzip")) + gzip.compress(ipp.PDF, mtime=0)
    deflated = ipp.request(Operation.PRINT_JOB, attribute("compression", "deflate")) + zlib.compress(ipp.PDF)
    told = {
        "counted": counted(made["print-job"]),
        "chunked": chunked(made["print-job"], 5, 100, 1),
        "gzip": chunked(packed, 300),
        "deflate": counted(deflated),
        "expect": counted(made["get-jobs"], b"Expect: 100-continue\r\n"),
        "upgrade": counted(made["get-jobs"], b"Connection: Upgrade\r\nUpgrade: TLS/1.2\r\n"),
        "pipelined": counted(made["create-job"]) + chunked(made["send-document"], 20) + counted(made["get-jobs"]),
        "cut": counted(made["print-job"])[:-9],
        "page": b"GET / HTTP/1.1\r\nHost: localhost\r\nOrigin: http://evil.example\r\n\r\n",
        "icon": b"GET /ipp/print/icon.png HTTP/1.0\r\nHost: localhost\r\n\r\n",
        "foreign": counted(made["get-jobs"]).replace(b"localhost", b"printer.evil.example"),
    }
    return {name: bytes([place % len(PIECES)]) + data for place, (name, data) in enumerate(told.items())}


WORDS = (
    b"\r\n", b"\r\n\r\n", b"0\r\n\r\n", b"POST ", b"GET ", b"HEAD ", b"OPTIONS * ", b"CONNECT a:1 ",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"HTTP/1.0", b"HTTP/1.1", b"Content-Length: ",
    b"Content-Length: 99999999999999999999\r\n", b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: gzip, chunked\r\n", b"Expect: 100-continue\r\n", b"Connection: close\r\n",
    b"Connection: Upgrade\r\n", b"Upgrade: websocket\r\n", b"Host: [::1]:631\r\n", b"Host: \xff\r\n",
    b"Origin: null\r\n", b"/ipp/print/1", b"/ipp/print?a", b"/%ff%00", b"http://[", b"http://a:b@c:1/ipp/print",
    b"ffffffffffffffff\r\n", b"-1\r\n", b"5;a=b\r\n", b"Trailer: a\r\n", b" folded\r\n", b"\0",
)  # fmt: skip
_bytewise = octets(WORDS)


def mutate(data: bytes, random: Random) -> bytes:
    """Another request of IPP in a right frame, or another frame."""
    kind = random.random()
    if kind < 0.4:
        return _bytewise(data, random)
    if kind < 0.5:
        lines = data.split(b"\r\n")
        at = random.randrange(len(lines))
        lines[at : at + 1] = random.choice(([], [lines[at]] * 2, [random.choice(WORDS).strip(), lines[at]]))
        return b"\r\n".join(lines)
    body = ipp.mutate(random.choice(list(ipp.requests().values())), random)
    framed = counted(body) if random.random() < 0.5 else chunked(body, *random.choices(range(1, 200), k=3))
    whole = framed if random.random() < 0.6 else data[1:] + framed
    return bytes([random.randrange(len(PIECES))]) + whole


TARGET = Target(once, seeds, mutate, WORDS, longest=16 * 1024, mutations=600)
