"""One document on its way to the disk, and the room that is kept for those still arriving.

One rule: bytes are inflated, counted, judged, hashed and written as they
come, and never gathered: a document of any size costs the same memory.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import threading
import time
import zlib
from collections.abc import Mapping
from io import FileIO
from pathlib import Path
from typing import Final, Self

from printerd import formats
from printerd.errors import TransientError
from printerd.model import Blob, Digest
from printerd.refusals import Refused
from printerd.storage.blobs import Blobs

PIECE: Final = 256 * 1024
"""Bytes that are inflated and written at a time."""
AHEAD: Final = 4 * 1024 * 1024
"""Bytes of disk that an upload of unknown length sets aside at a time."""
FRESH: Final = 0.1
"""Seconds for which the file system's word on its free space holds."""
AGAIN: Final = "print clients try again by themselves"
SPOOLED: Final = "incoming-"
"""How our spool files begin: other processes spool in the same folder."""
INFLATERS: Final[Mapping[str, int]] = {"gzip": 16 + zlib.MAX_WBITS, "deflate": -zlib.MAX_WBITS}
"""The compressions besides none, with their window for zlib (RFC 1952; RFC 1951 as RFC 8011 section 5.4.32 says)."""


class Room:
    """Disk space: what is free, less what has been promised to uploads, less what must stay free."""

    def __init__(self, blobs: Blobs, keep: int) -> None:
        self._blobs = blobs
        self._keep = keep
        self._promised = 0
        self._free = 0
        self._asked_at = -FRESH

    def left(self) -> int:
        """Bytes; the file system is asked when its last word is older than :data:`FRESH`."""
        if time.monotonic() - self._asked_at >= FRESH:
            self._asked()
        return self._free - self._promised - self._keep

    def _asked(self) -> Self:
        self._free, self._asked_at = self._blobs.free_space(), time.monotonic()
        return self

    def level(self) -> int:
        """Percent of the disk that is free, less what is promised."""
        return max(0, min(100, (self.left() + self._keep) * 100 // self._blobs.whole_space()))

    def require(self, size: int) -> None:
        """``TransientError`` without room for ``size`` bytes; nobody is refused on a word that is old."""
        if self.left() < size and self._asked().left() < size:
            raise TransientError(
                "The disk is nearly full: new jobs wait.",
                remedy=f"Make room on the file system of the state folder; {AGAIN}.",
            )

    def promise(self, size: int) -> None:
        self.require(size)
        self._promised += size

    def release(self, size: int) -> None:
        self._promised -= size

    def use(self, promised: int, size: int) -> None:
        """``size`` bytes, ``promised`` or not, are on the disk; the file system says so when it is asked again."""
        self._promised -= promised
        self._free -= size


class Upload:
    """The space promised to one document that it has not written yet."""

    def __init__(self, room: Room, expected: int | None) -> None:
        self._room = room
        self._promised = AHEAD if expected is None else expected
        self._written = 0
        room.promise(self._promised)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._room.release(self._promised)

    def written(self, size: int) -> None:
        """``size`` bytes are on the disk by now, and more are coming."""
        self.ended(size)
        if not self._promised:
            self._room.promise(AHEAD)
            self._promised = AHEAD

    def ended(self, size: int) -> None:
        """``size`` bytes are on the disk, and no more come."""
        used = min(size - self._written, self._promised)
        self._room.use(used, size - self._written)
        self._promised -= used
        self._written = size


class Spool:
    """One document on its way to the disk: pieces are kept until there are enough of them to write.

    :meth:`write` and :meth:`finish` run in a thread and raise :class:`Refused`, or :class:`TransientError` when the
    disk is full or away. Left by an exception, nothing remains of the file.
    """

    def __init__(self, folder: Path, limit: int, declared: str, compression: str) -> None:
        self.path = folder / f"{SPOOLED}{secrets.token_hex(16)}"
        self.size = 0
        self.waiting = 0
        """Bytes that are kept and not written yet."""
        self.behind = False
        """Whether what is kept inflates to more than one :meth:`write` puts into the file."""
        self.media_type = ""
        self._limit = limit
        self._declared = declared
        self._compression = compression
        self._inflater = zlib.decompressobj(INFLATERS[compression]) if compression in INFLATERS else None
        self._begun = False
        self._hash = hashlib.sha256()
        self._head = b""
        self._pieces: list[bytes] = []
        self._file: FileIO | None = None
        self._busy = threading.Lock()
        self._over = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            return
        with self._busy:  # a canceled task leaves its thread behind
            self._over = True
            if self._file is not None:
                self._file.close()
                self.path.unlink(missing_ok=True)

    @property
    def compressed(self) -> bool:
        return self._inflater is not None

    @property
    def digest(self) -> Digest:
        return Digest(self._hash.hexdigest())

    def blob(self) -> Blob:
        return Blob(self.digest, self.size, self.media_type)

    def keep(self, piece: bytes) -> None:
        self._pieces.append(piece)
        self.waiting += len(piece)

    def write(self) -> None:
        """Put what is kept into the file, at most :data:`AHEAD` bytes of it where it is compressed."""
        with self._busy, TransientError.of_disk("The spool", AGAIN):
            self._write()

    def finish(self) -> None:
        """The last pieces, and the sync that makes the file's bytes durable; once."""
        with self._busy, TransientError.of_disk("The spool", AGAIN):
            if not self._over:
                self._finish()
                self._over = True

    def _write(self) -> None:
        pieces, self._pieces, self.waiting = self._pieces, [], 0
        if not self._over:
            self._inflate(b"".join(pieces))

    def _finish(self) -> None:
        self._write()
        if self._file is None or not self.size:
            raise Refused("empty")
        if self._inflater is not None and not self._inflater.eof:
            raise self._damaged()
        self._judge()
        os.fdatasync(self._file.fileno())
        self._file.close()

    def _inflate(self, data: bytes) -> None:
        """Put ``data`` as it is meant, at most :data:`PIECE` bytes at a time, and keep what is too much for one write.
        What follows the end is damage.
        """
        if self._inflater is None:
            self._put(data)
            return
        if not self._begun and self._compression == "deflate" and _is_wrapped(data):
            self._inflater = zlib.decompressobj(zlib.MAX_WBITS)
        full, self._begun, most = True, True, self.size + AHEAD
        try:
            while (data or full) and not self._inflater.eof and self.size < most:
                piece = self._inflater.decompress(data, PIECE)
                data, full = self._inflater.unconsumed_tail, len(piece) == PIECE
                self._put(piece)
        except zlib.error as error:
            raise self._damaged() from error
        if self._inflater.eof and (data or self._inflater.unused_data):
            raise self._damaged()
        self.behind = (bool(data) or full) and not self._inflater.eof
        if data:
            self.keep(data)

    def _damaged(self) -> Refused:
        return Refused("compression-error", compression=self._compression)

    def _put(self, data: bytes) -> None:
        self.size += len(data)
        if self.size > self._limit:
            raise Refused("too-large", limit=self._limit)
        if len(self._head) < formats.HEAD:
            self._head = (self._head + data[: formats.HEAD])[: formats.HEAD]
        if len(self._head) == formats.HEAD and not self.media_type:
            self._judge()
        self._hash.update(data)
        if self._file is None:
            self._file = FileIO(self.path, "xb")
        rest = memoryview(data)
        while rest:
            rest = rest[self._file.write(rest) :]

    def _judge(self) -> None:
        """Refuse at once what is not the format that it was said to be."""
        settled = formats.settle(self._declared, self._head)
        if settled is None and formats.plain(self._declared) in ("", formats.UNDECLARED):
            raise Refused(formats.foreign(self._head) or "unknown-format")
        if settled is None:
            raise Refused("format-error", declared=self._declared)
        self.media_type = settled


def _is_wrapped(data: bytes) -> bool:
    """Whether deflated data is in zlib's wrapping (RFC 1950 section 2.2), as clients send it that think of HTTP."""
    return len(data) > 1 and data[0] & 0x0F == 8 and int.from_bytes(data[:2], "big") % 31 == 0
