"""What a document is, from what its sender says and from its first bytes.

One rule: what the printer advertises and what the door lets in is this table.
A format is here when its text survives, or when clients cannot do without it:
then a person is told how to print instead. What comes in another format is
known by name, so that its sender is told the same.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

PDF: Final = "application/pdf"
POSTSCRIPT: Final = "application/postscript"
TEXT: Final = "text/plain"
PWG_RASTER: Final = "image/pwg-raster"
URF: Final = "image/urf"
JPEG: Final = "image/jpeg"
UNDECLARED: Final = "application/octet-stream"
"""The sender leaves it to us to look (RFC 8011 section 5.1.10)."""
PICTURES: Final = frozenset({PWG_RASTER, URF, JPEG})
"""Formats without text: IPP Everywhere and AirPrint require them (PWG 5100.14 section 4.3, PWG 5102.4)."""
HEAD: Final = 1024
"""How many bytes are looked at: a PDF header may stand anywhere among them (ISO 32000-2 annex I.2)."""

_EXIT_LANGUAGE: Final = b"\x1b%-12345X"
"""PJL's Universal Exit Language: drivers wrap PostScript in it."""
_CONTROLS: Final = frozenset(range(0x20)) - frozenset(b"\b\t\n\v\f\r\x1a")
"""Bytes that no text has; a form feed ends a page, Ctrl-Z ended files in MS-DOS."""
_EBCDIC_SPACE: Final = b"\x40"
_EBCDIC: Final = frozenset(
    byte for first in (0x81, 0x91, 0xA2, 0xC1, 0xD1, 0xE2, 0xF0) for byte in range(first, (first & 0xF0) + 10)
)
"""Letters and digits, which every EBCDIC code page has at these places."""
_SCS: Final = (b"\x2b\xd2", b"\x2b\xd1", b"\x2b\xd3", b"\x2b\xc1", b"\x2b\xc2", b"\x2b\xc8")
"""SNA Character Stream controls that begin a printout of an IBM midrange computer."""
_PCL: Final = re.compile(rb"\x1b(?:E|[&*()][a-zA-Z0-9])")


def _is_postscript(head: bytes) -> bool:
    wrapped = head.startswith(_EXIT_LANGUAGE) and b"%!" in head
    return wrapped or head.lstrip(b"\x04").startswith(b"%!")


def _is_pdf(head: bytes) -> bool:
    return b"%PDF-" in head


def _is_text(head: bytes) -> bool:
    return _CONTROLS.isdisjoint(head) and not (_is_pcl_xl(head) or _is_ebcdic(head))


def _is_pcl_xl(head: bytes) -> bool:
    return b") HP-PCL XL" in head or b"LANGUAGE=PCLXL" in head.upper().replace(b" ", b"")


def _is_pcl(head: bytes) -> bool:
    return head.startswith(_EXIT_LANGUAGE) or _PCL.search(head) is not None


def _is_ebcdic(head: bytes) -> bool:
    """SCS, AFP, or words of EBCDIC: its blank is 0x40, and most of the rest are its letters and digits."""
    words = head.replace(_EBCDIC_SPACE, b"")
    letters = 2 * sum(byte in _EBCDIC for byte in words) > len(words)
    spaced, ascii_spaced = head.count(_EBCDIC_SPACE), head.count(b" ")
    scs = any(control in head for control in _SCS)
    return (spaced > ascii_spaced and letters) or (spaced >= ascii_spaced and scs) or _is_afp(head)


def _is_afp(head: bytes) -> bool:
    """A structured field of MO:DCA: 0x5A, its length, and a class that begins with 0xD3."""
    return head[:1] + head[3:4] == b"\x5a\xd3"


def _begins(*signatures: bytes) -> Callable[[bytes], bool]:
    return lambda head: head.startswith(signatures)


FORMATS: Final[Mapping[str, Callable[[bytes], bool]]] = {
    PDF: _is_pdf,
    POSTSCRIPT: _is_postscript,
    PWG_RASTER: _begins(b"RaS2"),
    URF: _begins(b"UNIRAST\0"),
    JPEG: _begins(b"\xff\xd8\xff"),
    TEXT: _is_text,
}
"""The formats by media type, the preferred one first, each with its test of the first bytes."""
_SNIFFED: Final = (POSTSCRIPT, PWG_RASTER, URF, JPEG, PDF, TEXT)
"""The order of looking: from what tells most to what tells least."""
FOREIGN: Final[Mapping[str, Callable[[bytes], bool]]] = {
    "pcl-xl": _is_pcl_xl,
    "esc-p": _begins(b"\x1b@"),
    "pcl": _is_pcl,
    "cups-raster": _begins(b"RaS3", b"3SaR", b"2SaR", b"RaSt", b"tSaR"),
    "zip": _begins(b"PK\x03\x04"),
    "picture": _begins(b"\x89PNG", b"GIF8", b"II*\0", b"MM\0*", b"BM"),
    "ebcdic": _is_ebcdic,
}
"""What is sent by mistake, by the cause of its refusal (:data:`printerd.refusals.CAUSES`)."""


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


def foreign(head: bytes) -> str | None:
    """The cause for which a document is refused whose format has a name, or ``None``."""
    return next((cause for cause, is_it in FOREIGN.items() if is_it(head)), None)
