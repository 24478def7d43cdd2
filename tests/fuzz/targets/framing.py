"""Where documents begin and end in a stream that says no length, and what PJL says before them.

One rule: any bytes in any pieces give the same events; each document that begins ends, its bytes are bytes of the
stream in their order, and none that was cut is whole. An input begins with an octet that says how the stream ends.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from random import Random

from printerd.listener.framing import EXIT, Asked, Began, End, Ended, Event, Foreign, Framing, Piece
from tests.fuzz import ipp
from tests.fuzz.mutation import octets
from tests.fuzz.target import Target
from tests.listener.doors import POSTSCRIPT, TEXT

ENDS = list(End)
_SHAPE = re.compile(r"(bp?e)*f?")
_LETTERS = {Began: "b", Piece: "p", Ended: "e", Asked: "", Foreign: "f"}


def once(data: bytes) -> None:
    end, stream = ENDS[(data[:1] or b"\0")[0] % len(ENDS)], data[1:]
    whole, step = _events([stream], end), len(stream) % 7 + len(stream) // 256 + 1
    assert _events([stream[at : at + step] for at in range(0, len(stream), step)], end) == whole
    assert _SHAPE.fullmatch("".join(_LETTERS[type(event)] for event in whole)), whole
    at = 0
    for event in whole:
        if isinstance(event, Piece):
            found = stream.find(event.data, at)
            assert found >= 0, event
            at = found + len(event.data)
    list(_cut(stream))


def _events(pieces: list[bytes], end: End) -> list[Event]:
    """What comes of it, with the pieces of a document as one."""
    framing, joined = Framing(), list[Event]()
    for event in [*(event for piece in pieces for event in framing.feed(piece)), *framing.end(end)]:
        if isinstance(event, Piece) and joined and isinstance(last := joined[-1], Piece):
            joined[-1] = Piece(last.data + event.data)
        else:
            joined.append(event)
    return joined


def _cut(stream: bytes) -> Iterator[Event]:
    """The same when the connection breaks."""
    framing = Framing()
    yield from framing.feed(stream)
    yield from framing.cut()


PJL = b'@PJL JOB NAME="FA-1"\r\n@PJL SET USERNAME = "marie"\r\n@PJL SET COPIES=2\r\n'


def seeds() -> dict[str, bytes]:
    streams = {
        "pdf": ipp.PDF,
        "two-pdf": ipp.PDF + b"\0\r\n" + ipp.PDF,
        "linearised": b"%PDF-1.4\nstartxref\n0\n%%EOF\n1 0 obj\nstartxref\n216\n%%EOF",
        "postscript": POSTSCRIPT,
        "eps": b"%!PS\n%%BeginDocument: a\n%!PS EPSF\n%%EOF\n%%EndDocument\nshowpage\n%%EOF\n",
        "serial": b"%!\nshowpage\n\x04%!\nshowpage\n\x04",
        "text": TEXT,
        "pjl": EXIT + PJL + b"@PJL ENTER LANGUAGE=POSTSCRIPT\r\n" + POSTSCRIPT + EXIT + b"@PJL EOJ\r\n" + EXIT,
        "asked": EXIT + b"@PJL INFO ID\r\n@PJL ECHO 7\r\n@PJL INFO STATUS\r\n\x14" + ipp.PDF,
        "browser": b"GET / HTTP/1.1\r\nHost: printer\r\n\r\n",
        "pcl": b"\x1bE\x1b&l0O\x1b(8UFA-1\r\n\x0c\x1bE",
    }
    return {name: bytes([place % len(ENDS)]) + data for place, (name, data) in enumerate(streams.items())}


WORDS = (
    EXIT, b"%%EOF", b"startxref\n9\n%%EOF", b"%PDF-", b"%!PS", b"%!", b"\x04", b"\x14", b"\x1a", b"\0", b"\n",
    b"\r\n", b"\x0c", b" ", b"%%BeginDocument", b"%%EndDocument", b"@PJL", b"@PJL ENTER LANGUAGE=PDF\n",
    b"@PJL JOB\n", b"@PJL EOJ\n", b"@PJL SET QTY=2\n", b"@PJL ECHO x\n", b"@PJL INFO ID\n", b"POST /", b"HEAD OFFICE",
    b"PK\x03\x04", b"RaS2", b"\x1bE", b"\xff\xd8\xff",
)  # fmt: skip
_bytewise = octets(WORDS)


def mutate(data: bytes, random: Random) -> bytes:
    """More documents, marks and words of PJL, one behind the other, or other bytes."""
    if random.random() < 0.5:
        return _bytewise(data, random)
    parts = random.choices((*WORDS, *(seed[1:] for seed in seeds().values())), k=random.randint(1, 5))
    at = random.randint(1, len(data)) if len(data) > 1 else 0
    return data[:at] + b"".join(parts) + data[at:]


TARGET = Target(once, seeds, mutate, WORDS)
