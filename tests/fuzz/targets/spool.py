"""The body of a document: in pieces, compressed or not, up to its limit, and what its first bytes show.

One rule: a document is kept as it was meant, within the limit and of a format that is known, or it is refused and
nothing of it stays. An input begins with an octet for the compression and the size of the pieces.
"""

from __future__ import annotations

import gzip
import tempfile
import zlib
from functools import cache
from pathlib import Path
from random import Random

from printerd import formats
from printerd.refusals import Refused
from printerd.storage.spool import INFLATERS, Spool
from tests.fuzz import ipp
from tests.fuzz.mutation import octets
from tests.fuzz.target import Target
from tests.fuzz.world import IN_MEMORY

LIMIT = 100_000
WAYS = ("none", *INFLATERS)
PIECES = (1 << 20, 1, 10, 999)


@cache
def _folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="fuzz-", dir=IN_MEMORY if IN_MEMORY.is_dir() else None))


def once(data: bytes) -> None:
    how, body = (data[:1] or b"\0")[0], data[1:]
    way, size = WAYS[how % len(WAYS)], PIECES[how // 16 % len(PIECES)]
    try:
        with Spool(_folder(), LIMIT, formats.UNDECLARED, way) as spool:
            for at in range(0, len(body), size):
                spool.keep(body[at : at + size])
                spool.write()
            spool.finish()
    except Refused:
        assert list(_folder().iterdir()) == []
        return
    kept = spool.path.read_bytes()
    spool.path.unlink()
    assert kept == _meant(way, body)
    assert 0 < len(kept) <= LIMIT
    assert (spool.size, spool.media_type) == (len(kept), formats.sniff(kept[: formats.HEAD]))


def _meant(way: str, body: bytes) -> bytes:
    """What zlib makes of it in one go, by itself and with nothing behind it."""
    if way == "none":
        return body
    for window in (16 + zlib.MAX_WBITS,) if way == "gzip" else (zlib.MAX_WBITS, -zlib.MAX_WBITS):
        inflater = zlib.decompressobj(window)
        try:
            found = inflater.decompress(body)
        except zlib.error:
            continue
        if inflater.eof and not inflater.unused_data:
            return found
    raise AssertionError("taken, and zlib does not take it")


def seeds() -> dict[str, bytes]:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    raw = packer.compress(ipp.PDF) + packer.flush()
    bodies = {
        "pdf": (0, ipp.PDF),
        "text": (16, b"Total 12,00\n"),
        "gzip": (1, gzip.compress(ipp.PDF, mtime=0)),
        "gzip-in-pieces": (33, gzip.compress(ipp.PDF * 9, mtime=0)),
        "deflate": (2, zlib.compress(ipp.PDF)),
        "raw-deflate": (18, raw),
        "bomb": (1, gzip.compress(b"%PDF-" + bytes(20 * LIMIT), mtime=0)),
        "two-members": (1, gzip.compress(ipp.PDF, mtime=0) * 2),
        "pcl": (0, b"\x1bE\x1b&l0O"),
    }
    return {name: bytes([how]) + body for name, (how, body) in bodies.items()}


WORDS = (
    b"%PDF-",
    b"%!PS",
    b"\x1f\x8b\x08",
    b"\x78\x9c",
    b"\x1b%-12345X",
    b"RaS2",
    b"UNIRAST\0",
    b"PK\x03\x04",
    b"\x5a\x00\x00\xd3",
    b"\xff\xd8\xff",
)
_bytewise = octets(WORDS)


def mutate(data: bytes, random: Random) -> bytes:
    """Other bytes before they are packed, or after."""
    if random.random() < 0.5:
        return _bytewise(data, random)
    body = _bytewise(ipp.PDF * random.choice((1, 1, 30)), random)
    way = random.randrange(len(WAYS))
    packed = (body, gzip.compress(body, mtime=0), zlib.compress(body, random.randint(0, 9)))[way % 3]
    return bytes([way + 16 * random.randrange(len(PIECES))]) + packed


TARGET = Target(once, seeds, mutate, WORDS, longest=8192)
