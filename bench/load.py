"""Print clients: each sends one file after the other, on a new connection each, as fast as it is answered.

One rule: every peer gets the same octets from the same program, in a process of its own, and an answer counts as
accepted only when its IPP status says successful-ok. ``python -m bench.load`` takes an :class:`Order` as JSON.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import socket
import subprocess
import sys
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import uvloop

from printerd.ipp.attributes import Plain, attribute
from printerd.ipp.codec import encode
from printerd.ipp.message import Group, GroupTag, Message
from printerd.ipp.registry import Operation

ANSWER_LIMIT = 1 << 20
ANSWERS_WITHIN = 60.0
"""Seconds until a printer that says nothing counts as one that failed."""
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
OK = (0x0000, 0x0001, 0x0002)
"""successful-ok and its two kin (RFC 8011 appendix B.1.2)."""


@dataclass(frozen=True, slots=True)
class Order:
    """``printer`` as ``ipp://HOST:PORT/PATH``; ``files`` are dealt out to ``clients``."""

    printer: str
    files: Sequence[str]
    clients: int


@dataclass(slots=True)
class Sent:
    """What came of an order. ``began`` and ``ended`` are seconds since 1970, ``taken`` is seconds of each answer."""

    began: float
    ended: float = 0.0
    accepted: list[str] = field(default_factory=list)
    refused: int = 0
    failed: int = 0
    taken: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Accepted jobs a second."""
        return len(self.accepted) / (self.ended - self.began)

    @property
    def turned_away(self) -> int:
        """Refused by their IPP status, or never answered well."""
        return self.refused + self.failed

    @property
    def total(self) -> int:
        return len(self.accepted) + self.turned_away

    def lost(self, kept: Collection[str]) -> int:
        """How many were accepted and are not among the digests of what is ``kept``."""
        return sum(digest(Path(name)) not in kept for name in self.accepted)


def digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def send(printer: str, files: Sequence[Path], clients: int) -> Sent:
    """Carry out an order in a process of its own."""
    order = Order(printer, [str(file) for file in files], clients)
    done = subprocess.run(
        [sys.executable, "-m", "bench.load"],
        input=json.dumps(asdict(order)),
        capture_output=True,
        text=True,
        check=True,
    )
    return Sent(**json.loads(done.stdout))


def print_job(printer: str, file: Path) -> bytes:
    """The whole HTTP request of a Print-Job (RFC 8011 section 4.2.1)."""
    ticket = {"job-name": file.stem, "document-format": "application/pdf"}
    return post(printer, message(printer, Operation.PRINT_JOB, ticket) + file.read_bytes())


def message(printer: str, operation: Operation, said: Mapping[str, Plain] | None = None) -> bytes:
    """The octets of an IPP request with its operation attributes, in front of any document."""
    first = {"attributes-charset": "utf-8", "attributes-natural-language": "en", "printer-uri": printer}
    told = first | dict(said or {}) | {"requesting-user-name": "bench"}  # a job-id follows its printer at once
    attributes = tuple(attribute(name, value) for name, value in told.items())
    return encode(Message((2, 0), operation, 1, (Group(GroupTag.OPERATION, attributes),)))


def post(printer: str, body: bytes) -> bytes:
    """The HTTP request for one IPP request on a connection of its own."""
    place = urlsplit(printer)
    head = (
        f"POST {place.path} HTTP/1.1\r\nHost: {place.netloc}\r\nContent-Type: application/ipp\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body


async def ask(printer: str, request: bytes) -> int:
    """The IPP status of the answer to one request; ``OSError`` or ``ValueError`` when there is none."""
    place, loop = urlsplit(printer), asyncio.get_running_loop()
    with socket.socket() as connection:
        connection.setblocking(False)
        await loop.sock_connect(connection, (place.hostname, place.port))
        await loop.sock_sendall(connection, request)
        answer = b""
        while (status := _status(answer)) is None:
            piece = await loop.sock_recv(connection, 65536)
            answer += piece
            if not piece or len(answer) > ANSWER_LIMIT:
                raise ValueError("the answer ended too soon or never")
        return status


def _status(answer: bytes) -> int | None:
    """The status-code of a whole answer, sent with its length or in chunks; ``None`` while more of it is to come."""
    head, found, body = answer.partition(b"\r\n\r\n")
    if found and head.startswith(b"HTTP/1.1 100"):
        return _status(body)
    length = _LENGTH.search(head)
    if not found or (len(body) < int(length[1]) if length else not body.endswith(b"0\r\n\r\n")):
        return None
    if not head.startswith(b"HTTP/1.1 200"):
        raise ValueError(head.split(b"\r\n")[0].decode("latin-1"))
    message = body if length else body.partition(b"\r\n")[2]
    return int.from_bytes(message[2:4])


async def _client(printer: str, files: Iterator[str], sent: Sent) -> None:
    for name in files:
        request, began = print_job(printer, Path(name)), time.perf_counter()
        try:
            async with asyncio.timeout(ANSWERS_WITHIN):
                accepted = await ask(printer, request) in OK
        except (OSError, ValueError):  # a TimeoutError is an OSError
            sent.failed += 1
            continue
        if accepted:
            sent.accepted.append(name)
            sent.taken.append(time.perf_counter() - began)
        else:
            sent.refused += 1


async def _carry_out(order: Order) -> Sent:
    files, sent = iter(order.files), Sent(time.time())
    await asyncio.gather(*(_client(order.printer, files, sent) for _ in range(order.clients)))
    sent.ended = time.time()
    return sent


if __name__ == "__main__":
    json.dump(asdict(uvloop.run(_carry_out(Order(**json.load(sys.stdin))))), sys.stdout)
