"""Messages over a unix stream socket: four bytes of length, then JSON; open files travel beside them (SCM_RIGHTS).

One rule: nothing that comes out of a channel is trusted further than ``json.loads`` trusts it. No pickle.
"""

from __future__ import annotations

import json
import os
import socket
import struct
import time
from collections.abc import Mapping, Sequence
from typing import Any

_LENGTH = struct.Struct("!I")
LARGEST = 64 << 20
"""Bytes of JSON in one message: 500 invoices with all their text take about a tenth of it."""
MOST_FILES = 250
"""Linux passes at most 253 descriptors in one message (SCM_MAX_FD)."""


class Closed(Exception):
    """The other end is gone."""


class Malformed(Exception):
    """The other end does not speak as agreed."""


def send(channel: socket.socket, message: Mapping[str, Any], files: Sequence[int] = ()) -> None:
    """Writes one message. ``files`` are descriptors; the receiver gets its own copies."""
    body = json.dumps(message, separators=(",", ":")).encode()
    if len(body) > LARGEST or len(files) > MOST_FILES:
        raise ValueError(f"a message of {len(body)} bytes with {len(files)} files is too large for a channel")
    whole = _LENGTH.pack(len(body)) + body
    try:
        sent = socket.send_fds(channel, [whole], list(files))  # in one piece if it can be: the receiver wakes up once
        channel.sendall(memoryview(whole)[sent:])
    except (BrokenPipeError, ConnectionResetError) as error:
        raise Closed from error


def receive(channel: socket.socket, deadline: float | None = None) -> dict[str, Any]:
    """Reads one message; files that came with it are dropped. ``deadline`` is a time of ``time.monotonic``.

    Raises :class:`Closed`, :class:`Malformed` and ``TimeoutError``.
    """
    return _body(channel, _read(channel, _LENGTH.size, deadline), deadline)


def receive_with_files(channel: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """Reads one message and the descriptors that came with it: they are the caller's to close."""
    head, files, _flags, _address = socket.recv_fds(channel, _LENGTH.size, MOST_FILES, socket.MSG_CMSG_CLOEXEC)
    try:
        if not head:
            raise Closed
        return _body(channel, head + _read(channel, _LENGTH.size - len(head), None), None), files
    except BaseException:
        for file in files:
            os.close(file)
        raise


def _body(channel: socket.socket, head: bytes, deadline: float | None) -> dict[str, Any]:
    (length,) = _LENGTH.unpack(head)
    if length > LARGEST:
        raise Malformed(f"a message of {length} bytes")
    try:
        message = json.loads(_read(channel, length, deadline))
    except (ValueError, RecursionError) as error:
        raise Malformed(str(error)) from error
    if not isinstance(message, dict):
        raise Malformed("a message is an object")
    return message


def _read(channel: socket.socket, size: int, deadline: float | None) -> bytes:
    """Exactly ``size`` bytes. The deadline holds for all of them: bytes that trickle do not move it."""
    data = bytearray()
    while len(data) < size:
        channel.settimeout(None if deadline is None else max(deadline - time.monotonic(), 0.001))
        try:
            chunk = channel.recv(min(size - len(data), 1 << 20))
        except ConnectionResetError as error:
            raise Closed from error
        if not chunk:
            raise Closed
        data += chunk
    return bytes(data)
