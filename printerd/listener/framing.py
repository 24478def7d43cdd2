"""Where documents begin and end in a stream that says no length: raw printing (port 9100), LPD until close.

One rule: a document is whole when its own end was seen, never because no more
came. PDF ends with ``startxref N %%EOF`` (ISO 32000-1 section 7.5.5; the first
part of a linearised file says 0 there), PostScript with ``%%EOF`` of its own, not of a
document within it (Adobe technical note 5001), or with Ctrl-D; text ends with a
line, and where the sender only falls silent, with a page; JPEG with its marker EOI
(ITU-T T.81 annex B.1.1.3). PWG and Apple rasters have no mark: what the sender closes in order is whole. What PJL (HP,
Printer Job Language Technical Reference) says before a document is read and is no part of it.

Pure: bytes in, events out, the same ones however the bytes are cut into pieces.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from typing import Any, Final

from printerd import formats
from printerd.choices import PREFIX
from printerd.listener.printer import MODEL

EXIT: Final = b"\x1b%-12345X"
"""PJL's Universal Exit Language: it ends whatever was, and PJL may follow."""
PJL_LINE: Final = 1024
"""Bytes of a line of PJL at most."""
PJL_LINES: Final = 1000
"""Lines of PJL before a document at most."""


@dataclass(frozen=True, slots=True)
class Header:
    """What PJL said about a document: its name, its user, its copies, what was chosen for its invoices. Empty without
    PJL; as the sender wrote it.
    """

    title: str = ""
    user: str = ""
    copies: str = ""
    choices: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Began:
    header: Header


@dataclass(frozen=True, slots=True)
class Piece:
    data: bytes


@dataclass(frozen=True, slots=True)
class Ended:
    """The document that began is over; ``whole`` when its own end was seen."""

    whole: bool


@dataclass(frozen=True, slots=True)
class Asked:
    """The sender waits for these bytes."""

    answer: bytes


@dataclass(frozen=True, slots=True)
class Foreign:
    """No print client talks like this; nothing follows."""

    what: str


Event = Began | Piece | Ended | Asked | Foreign
Step = Generator[Event, None, bool]


class End(Enum):
    """What ended a document from without."""

    EXIT = auto()
    """Universal Exit Language: the sender says that it is done."""
    NEXT = auto()
    """Another document begins right behind its end mark."""
    CLOSED = auto()
    """The sender closed the connection in order."""
    SILENT = auto()
    """Nothing came for some time."""
    COUNTED = auto()
    """The sender said how long it is, and so much came."""


_FILLER = re.compile(rb"[\s\0\x04\x1a]*")
"""What may stand between a document's end mark and its end: blanks, NUL, Ctrl-D, Ctrl-Z."""
_NEXT = re.compile(rb"%PDF-|%!(?:PS|\s)")
_NEXT_WORDS: Final = (b"%PDF-", b"%!PS", EXIT)
_MARGIN = re.compile(rb"(?<![\s\0\x04])[\s\0\x04]++(?=%PDF-|%!|" + re.escape(EXIT) + rb")")
"""Blanks before a document that is no text."""
_METHODS: Final = (b"GET", b"POST", b"HEAD", b"PUT", b"DELETE", b"OPTIONS", b"PATCH", b"TRACE", b"PRI")
_HTTP = re.compile(rb"(?:" + rb"|".join(_METHODS) + rb") [/*]")
"""A request line (RFC 9112 section 3) as a browser begins it; a text may begin with "HEAD OFFICE"."""
_OPENINGS: Final = (*(method + b" /" for method in _METHODS), b"@PJL", EXIT)
"""How what is no document begins."""
_EXIT = re.compile(re.escape(EXIT))
_SCAN: Final[Mapping[str | None, re.Pattern[bytes]]] = {
    formats.PDF: re.compile(rb"%%EOF|" + re.escape(EXIT)),
    formats.POSTSCRIPT: re.compile(rb"%%EOF|%%(?:Begin|End)Document|\x04|" + re.escape(EXIT)),
}
"""What matters within a document of a format; within any other it is the exit alone."""
_MARKS: Final = (b"%%EOF", b"%%BeginDocument", b"%%EndDocument", EXIT)
_LONGEST: Final = max(map(len, _MARKS))
_PDF_END = re.compile(rb"startxref\s+0*[1-9]\d*\s+%%EOF\Z")
_PS_END = re.compile(rb"[\r\n]%%EOF\Z")
_KEPT: Final = 64
"""Bytes of the end of a document that are remembered: enough for the ends above."""
_RASTER: Final[Mapping[End, tuple[bytes, ...]]] = {End.EXIT: (b"",), End.CLOSED: (b"",)}
_ENDS: Final[Mapping[str, Mapping[End, tuple[bytes, ...]]]] = {
    formats.TEXT: {
        End.EXIT: (b"",),
        End.CLOSED: (b"\n", b"\r", b"\f", b"\x04", b"\x1a"),
        End.SILENT: (b"\f", b"\x04", b"\x1a"),
    },
    formats.JPEG: {end: (b"\xff\xd9",) for end in (End.EXIT, End.CLOSED, End.SILENT)},
    formats.PWG_RASTER: _RASTER,
    formats.URF: _RASTER,
}
"""How a document ends that is whole, by its format and by what ended it; rasters have no mark of their own."""
_IDLE: Final = b"%%[ status: idle ]%%\n"
"""The answer to Ctrl-T, the status query of PostScript printers."""


@dataclass
class _Document:
    """The one that is coming: what it is, and what is known of its end."""

    kind: str | None
    wrapped: bool
    """PJL opened it: its sender ends it with the exit."""
    closed: bool = False
    """All bytes so far end with an end mark."""
    depth: int = 0
    """Documents within this PostScript that are open."""
    tail: bytes = b""

    def passed(self, data: bytes) -> None:
        self.tail = (self.tail + data[-_KEPT:])[-_KEPT:]

    def mark(self, found: bytes) -> None:
        """A mark of :data:`_SCAN` has passed, and is the end of what is known."""
        if found == b"%%BeginDocument":
            self.depth += 1
        elif found == b"%%EndDocument":
            self.depth = max(0, self.depth - 1)
        elif found == b"\x04":
            self.closed = True
        elif self.kind == formats.PDF:
            self.closed = _PDF_END.search(self.tail) is not None
        else:
            self.closed = not self.depth and _PS_END.search(self.tail) is not None

    def whole(self, end: End) -> bool:
        if end is End.COUNTED or self.kind is None:  # what is none of ours is refused for that
            return True
        if self.kind == formats.PDF:
            return self.closed
        if self.kind == formats.POSTSCRIPT:
            return self.closed or end is End.EXIT
        known = _ENDS.get(self.kind, {})
        ends = () if self.wrapped and end is not End.EXIT else known.get(end, ())
        return self.tail.rstrip(b"\0").endswith(ends)


@dataclass
class _Between:
    """Before a document: what PJL has said so far."""

    header: Header = field(default_factory=Header)
    lines: int = 0
    talking: bool = False
    """Blanks and lines of PJL may come."""
    wrapped: bool = False
    in_job: bool = False
    """@PJL JOB: what was said holds until @PJL EOJ, for all its documents."""

    def after(self) -> _Between:
        """What is left of it when a document has ended."""
        return _Between(self.header if self.in_job else Header(), in_job=self.in_job)


class Framing:
    """Feed it what comes, in any pieces, then :meth:`end` it."""

    def __init__(self) -> None:
        self._buffer = b""
        self._between = _Between()
        self._document: _Document | None = None
        self._foreign = False

    @property
    def inside(self) -> bool:
        """Whether a document has begun to come."""
        return self._document is not None or bool(self._buffer)

    def feed(self, data: bytes) -> Iterator[Event]:
        self._buffer += data
        yield from self._run(None)

    def end(self, end: End) -> Iterator[Event]:
        """No more comes, at least for now."""
        yield from self._run(end)
        if self._document is not None:
            yield from self._finish(end)

    def cut(self) -> Iterator[Event]:
        """The stream broke. What had come is the beginning of a document, though it may not have told which."""
        yield from self._run(None)
        if self._buffer and self._document is None:
            yield from self._begin(End.CLOSED)

    def _run(self, end: End | None) -> Iterator[Event]:
        """Take from the buffer until more is needed; with ``end``, until it is empty."""
        further = True
        while further and self._buffer and not self._foreign:
            further = yield from self._outside(end) if self._document is None else self._inside(self._document, end)

    # Before a document: each step says whether it got any further

    def _outside(self, end: End | None) -> Step:
        if self._skip():
            return True
        if self._buffer.startswith(b"\x14"):
            self._buffer = self._buffer[1:]
            yield Asked(_IDLE)
            return True
        if end is None and _may_become(self._buffer, _OPENINGS):
            return False
        if self._buffer.startswith(b"@PJL"):
            return (yield from self._pjl(end))
        if method := _HTTP.match(self._buffer):
            yield self._refuse(f"an HTTP request ({method[0][:-2].decode()})")
            return False
        return (yield from self._begin(end))

    def _skip(self) -> bool:
        """Drop the exit, and what means nothing before a document; blanks may be the margin of a text."""
        if self._buffer.startswith(EXIT):
            self._buffer = self._buffer[len(EXIT) :]
            self._between.talking = True
            return True
        rest = self._buffer.lstrip(b"\0\x04 \t\r\n" if self._between.talking else b"\0\x04")
        if blanks := _MARGIN.match(rest[: formats.HEAD]):
            rest = rest[blanks.end() :]
        skipped = len(rest) < len(self._buffer)
        self._buffer = rest
        return skipped

    def _refuse(self, what: str) -> Foreign:
        self._foreign = True
        return Foreign(what)

    def _pjl(self, end: End | None) -> Step:
        line, found, rest = self._buffer.partition(b"\n")
        if len(line) > PJL_LINE or self._between.lines >= PJL_LINES:
            yield self._refuse("PJL without end")
            return False
        if not found and end is None:
            return False
        self._buffer = rest
        self._between.talking = self._between.wrapped = True
        self._between.lines += 1
        if answer := self._command(line.removeprefix(b"@PJL").strip()):
            yield Asked(answer)
        return True

    def _command(self, command: bytes) -> bytes:
        """Keep what a line of PJL says; the answer when it asks."""
        between, header, words = self._between, self._between.header, text(command)
        name, value = (found[1].upper(), found[2]) if (found := _SETS.match(words)) else ("", "")
        if re.match(r"JOB\b", words, re.I):
            between.header, between.in_job = Header(title=_quoted(_JOB_NAME, words)), True
        elif re.match(r"EOJ\b", words, re.I):
            between.header, between.in_job = Header(), False
        elif re.match(r"ENTER\b", words, re.I):
            between.talking = False
        elif key := _KEYS.get(name):
            said: Mapping[str, Any] = {key: _bare(value)}
            between.header = replace(header, **said)
        elif (choice := name.lower().replace("_", "-")).startswith(PREFIX):
            between.header = replace(header, choices={**header.choices, choice: _bare(value)})
        return _ANSWERS.get(words.upper(), b"") or (_echo(command) if words.upper().startswith("ECHO") else b"")

    def _begin(self, end: End | None) -> Step:
        """A document, once its first bytes tell what it is."""
        seen = self._buffer[: formats.HEAD + len(EXIT)]
        if end is None and len(seen) < formats.HEAD + len(EXIT) and EXIT not in seen:
            return False
        kind = formats.sniff(seen.partition(EXIT)[0][: formats.HEAD])
        self._document = _Document(kind, self._between.wrapped)
        yield Began(self._between.header)
        return True

    # Within a document

    def _inside(self, document: _Document, end: End | None) -> Step:
        if document.closed:
            return (yield from self._behind_the_mark(document, end))
        found = _SCAN.get(document.kind, _EXIT).search(self._buffer)
        if found is None:
            yield from self._pass(document, self._sure() if end is None else len(self._buffer))
            return False
        if found[0] == EXIT:
            yield from self._pass(document, found.start())
            yield from self._finish(End.EXIT)
            return True
        yield from self._pass(document, found.end())
        document.mark(found[0])
        return True

    def _behind_the_mark(self, document: _Document, end: End | None) -> Step:
        """Another document, the exit, nothing more; or it was no end after all."""
        filler = _FILLER.match(self._buffer)
        yield from self._pass(document, filler.end() if filler else 0)
        if self._buffer.startswith(EXIT):
            yield from self._finish(End.EXIT)
        elif _NEXT.match(self._buffer):
            yield from self._finish(End.NEXT)
        elif end is None and _may_become(self._buffer, _NEXT_WORDS):
            return False
        elif self._buffer:
            document.closed = False
        return True

    def _sure(self) -> int:
        """How many bytes of the buffer are no part of a mark that is still coming."""
        size = len(self._buffer)
        last = range(max(0, size - _LONGEST + 1), size)
        return next((place for place in last if _may_become(self._buffer[place:], _MARKS)), size)

    def _pass(self, document: _Document, size: int) -> Iterator[Event]:
        data, self._buffer = self._buffer[:size], self._buffer[size:]
        if data:
            document.passed(data)
            yield Piece(data)

    def _finish(self, end: End) -> Iterator[Event]:
        if self._document is not None:
            yield Ended(self._document.whole(end))
            self._document, self._between = None, self._between.after()


def _may_become(buffer: bytes, words: tuple[bytes, ...]) -> bool:
    """Whether the buffer is the beginning of one of the words and not yet all of it."""
    return any(len(buffer) < len(word) and word.startswith(buffer) for word in words)


# What PJL says

_SETS = re.compile(r"(?:SET|DEFAULT)\s+(\w+)\s*=\s*(.*)", re.I)
_JOB_NAME = re.compile(r'\bNAME\s*=\s*"([^"]*)', re.I)
_KEYS: Final[Mapping[str, str]] = {"USERNAME": "user", "JOBNAME": "title", "COPIES": "copies", "QTY": "copies"}
"""The variables of ``@PJL SET`` that are kept, beside INVOICE_PRINTER_ROUTE and other choices."""
_ANSWERS: Final[Mapping[str, bytes]] = {
    "INFO ID": f'@PJL INFO ID\r\n"{MODEL}"\r\n\f'.encode(),
    "INFO STATUS": b'@PJL INFO STATUS\r\nCODE=10001\r\nDISPLAY="Ready"\r\nONLINE=TRUE\r\n\f',
}
"""What is asked, and the answer. 10001 is "ready, on line"."""


def _quoted(pattern: re.Pattern[str], words: str) -> str:
    found = pattern.search(words)
    return found[1] if found else ""


def _bare(value: str) -> str:
    return value.strip().strip('"')


def _echo(command: bytes) -> bytes:
    """``@PJL ECHO`` gives its words back: so a client knows which answer is whose."""
    return b"@PJL " + command + b"\r\n\f"


def text(octets: bytes) -> str:
    """A name as it was sent: UTF-8, else Windows-1252 as far as it has the bytes. No database keeps a NUL."""
    try:
        return octets.replace(b"\0", b"").decode("utf-8")
    except UnicodeDecodeError:
        return octets.replace(b"\0", b"").decode("cp1252", "replace")
