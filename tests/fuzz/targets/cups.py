"""What CUPS hands to the backend, and what the backend hands to the printer (:mod:`printerd.cups_backend`).

One rule: words of any bytes make a job, and what the backend says of it the printer's end understands, but for an
address or an environment that is no text. An input is the arguments and the address, parted by NUL, which none has.
"""

from __future__ import annotations

import json
import os
import tempfile
from functools import cache
from random import Random
from typing import IO

from printerd.cups_backend import parse_options, read
from printerd.listener.backend import Header, Held
from tests.fuzz import ipp
from tests.fuzz.mutation import octets
from tests.fuzz.target import Target

NAMES = ("number", "user", "title", "copies", "options", "DEVICE_URI", "CONTENT_TYPE", "LANG")
URI = b"invoice-printer:/run/invoice-printer/backend.sock?queue=invoices"


@cache
def _document() -> IO[bytes]:
    file = tempfile.TemporaryFile()  # noqa: SIM115 - it ends with the process
    file.write(ipp.PDF)
    file.flush()
    return file


def once(data: bytes) -> None:
    words = [os.fsdecode(word) for word in data.split(b"\0")[: len(NAMES)]]
    said = dict(zip(NAMES, [*words, *[""] * len(NAMES)], strict=False))
    argv = ["backend", *(said[name] for name in NAMES[:5]), "/var/spool/cups/d00042-001"]
    try:
        job = read(argv, {name: said[name] for name in NAMES[5:]})
        header = job.header(_document())
    except ValueError:  # an address that is none: the job is held
        return
    assert "=" not in "".join(parse_options(said["options"]))
    line = json.dumps(header).encode()
    try:
        understood = Header.of(line)
    except Held:
        assert not all(str(header[name]).isprintable() for name in ("queue", "media_type", "language")), header
        return
    assert (understood.title, understood.user) == (job.title, job.user)
    assert understood.ticket("inv").source == "cups"


def seeds() -> dict[str, bytes]:
    told = {
        "plain": (
            b"42",
            b"marie",
            b"FA-1.pdf",
            b"1",
            b"job-uuid=urn:uuid:6f1f1a6e media=A4",
            URI,
            b"application/pdf",
            b"fr_FR.UTF-8",
        ),
        "quoted": (
            b"42",
            b"h\xc3\xa9l\xc3\xa8ne",
            b"../..;rm",
            b"2",
            rb"a=b\ c d e=\\\' invoice-printer-x=1",
            URI,
            b"text/plain",
            b"C",
        ),
        "bytes": (
            b"42",
            b"\xe9",
            b"\xff\xfe",
            b"x",
            b"job-originating-host-name=192.0.2.7 copies=2",
            URI + b"%ff",
            b"",
            b"",
        ),
        "nowhere": (b"", b"", b"", b"", b"", b"invoice-printer:[", b"", b""),
    }
    return {name: b"\0".join(words) for name, words in told.items()}


WORDS = (
    b"\0",
    b"\\",
    b"\\ ",
    b"=",
    b" ",
    b"job-uuid=",
    b"invoice-printer-",
    b"job-originating-host-name=",
    b"?queue=",
    b"%00",
    b"%",
    b"[",
    b"\xed\xa0\x80",
    b"\t",
    b"\n",
)
_bytewise = octets(WORDS)


def mutate(data: bytes, random: Random) -> bytes:
    words = data.split(b"\0")
    at = random.randrange(len(words))
    words[at] = _bytewise(words[at], random)
    return b"\0".join(words)


TARGET = Target(once, seeds, mutate, WORDS)
