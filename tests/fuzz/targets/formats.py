"""What a document is, from what its sender says and from its bytes, and whether it has its end.

One rule: every beginning has an answer, the same each time: a format that its own test confirms, a language of others
that has a name, or none. An input is the declared type, a line's end, and the bytes.
"""

from __future__ import annotations

from printerd import formats
from printerd.listener.resting import has_end
from tests.fuzz.mutation import octets
from tests.fuzz.target import Target
from tests.fuzz.targets import framing

NAMES = ("FA-1.pdf", "FA-1.ps", "FA-1", "FA-1.json", "FA-1.XML", "FA-1.csv")


def once(data: bytes) -> None:
    declared, _, body = data.partition(b"\n")
    head, named = body[: formats.HEAD], declared.decode("latin-1")
    found, settled = formats.sniff(head), formats.settle(named, head)
    assert found is None or formats.FORMATS[found](head)
    assert settled is None or settled in formats.FORMATS
    assert settled is None or formats.known(named)
    if formats.plain(named) in ("", formats.UNDECLARED):
        assert settled == found
    assert formats.foreign(head) in {None, *formats.FOREIGN}
    assert {type(has_end(head, body[-formats.HEAD :], name)) for name in NAMES} == {bool}


def seeds() -> dict[str, bytes]:
    heads = {name: data[1:] for name, data in framing.seeds().items()}
    heads |= {
        "ebcdic": "FACTURE FA-2026-0042 TOTAL 12".encode("cp037"),
        "pwg": b"RaS2PwgRaster\0",
        "urf": b"UNIRAST\0\0\0\0\1",
        "xps": b"PK\x03\x04",
        "jpeg": b"\xff\xd8\xff\xe0\0\x10JFIF\0",
        "pcl-xl": b"\x1b%-12345X@PJL ENTER LANGUAGE=PCLXL\r\n) HP-PCL XL;2;0\r\n",
        "utf-16": "Facture".encode("utf-16"),
        "empty": b"",
    }
    declared = (b"", b"application/pdf", b"Text/Plain; charset=utf-8", b"application/octet-stream", b"image/png")
    return {name: declared[place % len(declared)] + b"\n" + head for place, (name, head) in enumerate(heads.items())}


WORDS = (
    *framing.WORDS, b"application/pdf\n", b"application/postscript\n", b"text/plain\n", b"image/jpeg\n",
    b"image/pwg-raster\n", b") HP-PCL XL;", b"\x1b@", b"\x40", b"UNIRAST\0", b"\x5a\0\0\xd3", b"}", b">",
)  # fmt: skip
TARGET = Target(once, seeds, octets(WORDS), WORDS)
