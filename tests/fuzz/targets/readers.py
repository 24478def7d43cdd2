"""What a reader may answer, which a document may have taken over: a message of the channel, then its form.

One rule: bytes are an answer of the agreed form, or they are refused in one of the ways that cost their own document
alone. An input begins with a letter for the task; the rest is the message without its length.
"""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import time
from random import Random

from printerd.model import PageRange
from printerd.pipeline import channel
from printerd.pipeline.answers import checked, checked_mending, checked_range
from printerd.pipeline.pools import PoolBroken
from tests.fuzz.mutation import of_json
from tests.fuzz.target import Target
from tests.pipeline.test_answers import INVOICE, READING

SEEN = {"template": "moulin-fr", "number": "FA-1", "customer": "", "position": 1, "heads": False}
PAGES = PageRange(1, 2)


def once(data: bytes) -> None:
    kind, body = data[:1], data[1:]
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(struct.pack("!I", len(body)) + body)
        try:
            values = channel.receive(ours, time.monotonic() + 5)
        except channel.Malformed:
            return
    with contextlib.suppress(PoolBroken):
        if kind == b"m":
            checked_mending(values, PAGES)
        elif kind == b"a":
            checked_range(values, PAGES)
        else:
            invoices = checked(values)["invoices"]
            assert 1 <= invoices[0]["first"] <= invoices[-1]["last"] <= values["pages"]


def seeds() -> dict[str, bytes]:
    part = {"removed": [], "invoices": [INVOICE]}
    told = {"reading": (b"r", READING), "range": (b"a", part | {"seen": [SEEN, SEEN]}), "mending": (b"m", part)}
    return {name: kind + json.dumps(value).encode() for name, (kind, value) in told.items()}


_KEYS = (*INVOICE, *READING, *SEEN, "seen", "0.pdf", "../0.pdf")
WORDS = tuple(key.encode() for key in _KEYS)
_json = of_json(_KEYS)


def mutate(data: bytes, random: Random) -> bytes:
    return data[:1] + _json(data[1:], random)


TARGET = Target(once, seeds, mutate, WORDS, longest=16 * 1024)
