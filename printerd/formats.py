"""What a document is, from what its sender says and from its first bytes.

One rule: only what can be turned into a PDF whose text survives is a format
here; what the printer advertises and what the door lets in is this table.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

PDF: Final = "application/pdf"
POSTSCRIPT: Final = "application/postscript"
TEXT: Final = "text/plain"
UNDECLARED: Final = "application/octet-stream"
"""The sender leaves it to us to look (RFC 8011 section 5.1.10)."""
HEAD: Final = 1024
"""How many bytes are looked at: a PDF header may stand anywhere among them (ISO 32000-2 annex I.2)."""

_EXIT_LANGUAGE: Final = b"\x1b%-12345X"
"""PJL's Universal Exit Language: drivers wrap PostScript in it."""
_CONTROLS: Final = frozenset(range(0x20)) - frozenset(b"\b\t\n\v\f\r\x1a")
"""Bytes that no text has; a form feed ends a page, Ctrl-Z ended files in MS-DOS."""


def _is_postscript(head: bytes) -> bool:
    wrapped = head.startswith(_EXIT_LANGUAGE) and b"%!" in head
    return wrapped or head.lstrip(b"\x04").startswith(b"%!")


def _is_pdf(head: bytes) -> bool:
    return b"%PDF-" in head


def _is_text(head: bytes) -> bool:
    return _CONTROLS.isdisjoint(head) and not foreign(head)


def _is_ebcdic(head: bytes) -> bool:
    """Text of a midrange machine or mainframe: its blank is 0x40, and most of the rest are its letters and digits."""
    words = head.replace(b"\x40", b"")
    letters = sum(byte in _EBCDIC for byte in words)
    return head.count(b"\x40") > head.count(b" ") and 2 * letters > len(words)


_EBCDIC: Final = frozenset(
    byte for first in (0x81, 0x91, 0xA2, 0xC1, 0xD1, 0xE2, 0xF0) for byte in range(first, (first & 0xF0) + 10)
)
"""Letters and digits, which every EBCDIC code page has at these places."""
_PCL: Final = re.compile(rb"\x1b(?:E|[&*()][a-zA-Z0-9])")


FORMATS: Final[Mapping[str, Callable[[bytes], bool]]] = {PDF: _is_pdf, POSTSCRIPT: _is_postscript, TEXT: _is_text}
"""The formats by media type, the preferred one first, each with its test of the first bytes."""
_SNIFFED: Final = (POSTSCRIPT, PDF, TEXT)
"""The order of looking: from what tells most to what tells least."""


FOREIGN: Final[Mapping[str, Callable[[bytes], bool]]] = {
    "PCL XL": lambda head: b") HP-PCL XL;" in head,
    "PCL": lambda head: _PCL.search(head) is not None,
    "ESC/P": lambda head: head.startswith(b"\x1b@"),
    "EBCDIC (SCS, AFP)": lambda head: _is_ebcdic(head) or head[:1] + head[3:4] == b"\x5a\xd3",
    "PWG Raster": lambda head: head.startswith((b"RaS2", b"UNIRAST\0")),
    "XPS": lambda head: head.startswith(b"PK\x03\x04"),
}
"""What other printers take and we do not, by the name that people know it by."""


def foreign(head: bytes) -> str:
    """The name of a language that is none of ours; empty when it is not recognised."""
    return next((name for name, shown in FOREIGN.items() if shown(head)), "")


def plain(media_type: str) -> str:
    """The media type without its parameters: ``Text/Plain; charset=utf-8`` is ``text/plain``."""
    return media_type.partition(";")[0].strip().lower()


def known(media_type: str) -> bool:
    """Whether a sender may declare it; nothing at all may be declared, too."""
    return plain(media_type) in {*FORMATS, UNDECLARED, ""}


def sniff(head: bytes) -> str | None:
    """The media type that the first :data:`HEAD` bytes show, or ``None``."""
    return next((media_type for media_type in _SNIFFED if FORMATS[media_type](head)), None)


def settle(declared: str, head: bytes) -> str | None:
    """The media type of a document: the declared one when its bytes bear it out, the sniffed one when none is."""
    media_type = plain(declared)
    if media_type in ("", UNDECLARED):
        return sniff(head)
    return media_type if media_type in FORMATS and FORMATS[media_type](head) else None
