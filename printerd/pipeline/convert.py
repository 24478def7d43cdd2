"""Whatever was printed, as PDF.

One rule: a PDF stays as it is, byte for byte; what is made here is made the same again from the same bytes, so that
a step that runs twice does not leave two documents.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, partial
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import pikepdf
from reportlab.pdfbase import pdfmetrics  # type: ignore[import-untyped]  # reportlab ships no types
from reportlab.pdfbase.ttfonts import TTFont  # type: ignore[import-untyped]  # the same
from reportlab.pdfgen.canvas import Canvas  # type: ignore[import-untyped]  # the same

from printerd import formats
from printerd.errors import ConfigurationError, DocumentError
from printerd.pipeline.programs import TIMEOUT, Distilled, distill

Distill = Callable[[BinaryIO, Path], Distilled]
"""From PostScript to a PDF in a folder. Raises :class:`DocumentError`."""
Convert = Callable[[BinaryIO, Path, Distill], bytes]


def convert(
    media_type: str, source: BinaryIO, folder: Path, *, timeout: float = TIMEOUT, distilled: Distill | None = None
) -> bytes:
    """The document as PDF; ``folder`` is for what a program leaves. Raises :class:`DocumentError`.

    PostScript is drawn here within ``timeout`` seconds, or was elsewhere: then ``distilled`` fetches it.
    """
    if media_type in formats.PICTURES:
        raise DocumentError("A picture of a page has no text.", code="raster", remedy="Print as PDF.")
    make = CONVERTERS.get(media_type)
    if make is None:
        raise DocumentError(
            f"Documents of the type {media_type} are not taken.",
            code="unknown-format",
            remedy=f"Print as {', '.join(CONVERTERS)}.",
        )
    return make(source, folder, distilled or partial(distill, timeout=timeout))


def chosen(pdf: bytes, ranges: str) -> bytes:
    """The pages that the sender asked for (page-ranges, RFC 8011 section 5.2.7), ``1-2,5-5``; all without any."""
    if not ranges:
        return pdf
    bounds = [tuple(map(int, one.split("-"))) for one in ranges.split(",")]
    out = BytesIO()
    with _opened(pdf) as whole, pikepdf.new() as some:
        some.pages.extend(
            page
            for number, page in enumerate(whole.pages, start=1)
            if any(first <= number <= last for first, last in bounds)
        )
        if not some.pages:
            raise DocumentError(
                "The document has none of the pages that were asked for.",
                code="empty",
                remedy="Print it again with other page numbers.",
            )
        some.save(out, deterministic_id=True)
    return out.getvalue()


def _opened(pdf: bytes) -> pikepdf.Pdf:
    try:
        return pikepdf.open(BytesIO(pdf))
    except pikepdf.PasswordError:
        raise DocumentError("The document is encrypted.", code="encrypted") from None
    except pikepdf.PdfError as error:
        raise DocumentError(f"The document is damaged: {error}") from None


def _pdf(source: BinaryIO, _folder: Path, _distill: Distill) -> bytes:
    return source.read()


# --- PostScript


def _postscript(source: BinaryIO, folder: Path, distill: Distill) -> bytes:
    """By Ghostscript. Adobe's comments say how many pages there are (technical note 5001): fewer is a cut document."""
    head, tail = _ends(source)
    if not head.strip():
        raise DocumentError("The document is empty.", code="empty", remedy="Print it again from the ERP.")
    if b"%!" not in head[:1024]:
        raise DocumentError("The document is not PostScript.", code="not-postscript", remedy="Print it as PDF.")
    distilled = distill(source, folder)
    expected = _announced(head, tail)
    if expected is not None and distilled.pages < expected:
        raise DocumentError(
            f"The document ends too soon: {distilled.pages} of {expected} pages.",
            code="truncated",
            remedy="Print it again from the ERP.",
        )
    return _without_moment(distilled.file)


def _ends(source: BinaryIO, size: int = 8192) -> tuple[bytes, bytes]:
    head = source.read(size)
    end = source.seek(0, 2)
    source.seek(max(end - size, 0))
    tail = source.read()
    source.seek(0)
    return head, tail


def _announced(head: bytes, tail: bytes) -> int | None:
    """The number of pages by ``%%Pages:``; one more than any when it was deferred to a trailer that is not there."""
    first = re.search(rb"^%%Pages: *(\d+|\(atend\))", head, re.MULTILINE)
    if first is None:
        return None
    if first[1] != b"(atend)":
        return int(first[1])
    last = re.findall(rb"^%%Pages: *(\d+)", tail, re.MULTILINE)
    return int(last[-1]) if last else 1 << 31


def _without_moment(file: Path) -> bytes:
    """Ghostscript writes the time and random identifiers; without them the same job gives the same bytes."""
    out = BytesIO()
    with pikepdf.open(file) as pdf:
        if "/Metadata" in pdf.Root:
            del pdf.Root.Metadata
        for key in ("/CreationDate", "/ModDate"):
            if key in pdf.docinfo:
                del pdf.docinfo[key]
        if "/ID" in pdf.trailer:
            del pdf.trailer["/ID"]
        pdf.save(out, stream_decode_level=pikepdf.StreamDecodeLevel.none, compress_streams=False, deterministic_id=True)
    return out.getvalue()


# --- plain text

WIDTH, HEIGHT = 595.28, 841.89
"""A4 (ISO 216) in points."""
MARGIN = 36.0
COLUMNS = (80, 132)
ROWS = 66
"""Lines of a page of a line printer: 11 inches of six."""
PITCH = (HEIGHT - 2 * MARGIN) / ROWS
ADVANCE = 0.602
"""The width of every character of the fonts below, in ems."""
FONTS = (
    "/usr/share/fonts/truetype/dejavu/DejaVuSansMono.ttf",
    "/usr/share/fonts/dejavu-sans-mono-fonts/DejaVuSansMono.ttf",
    "/usr/share/fonts/truetype/liberation/LiberationMono-Regular.ttf",
)
"""Fonts with é, € and œ. Debian: fonts-dejavu-core, fonts-liberation; Fedora: dejavu-sans-mono-fonts."""


def _text(source: BinaryIO, _folder: Path, _distill: Distill) -> bytes:
    """Text as a line printer prints it: one width for all, a form feed is a new page, a page has 66 lines."""
    pages = list(_pages(decode(source.read())))
    if not any(line.strip() for page in pages for line in page):
        raise DocumentError("The document is empty.", code="empty", remedy="Print it again from the ERP.")
    widest = max(len(line) for page in pages for line in page)
    columns = next((columns for columns in COLUMNS if widest <= columns), widest)
    size = min((WIDTH - 2 * MARGIN) / (columns * ADVANCE), PITCH * 0.9)
    return _drawn(pages, size)


def decode(data: bytes) -> str:
    """Text by its byte order mark, else UTF-8, else Windows-1252, else Latin-1, which has every byte."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", "replace")
    if b"\0" in data:
        raise DocumentError("The document is not text.", code="not-text", remedy="Print it as PDF.")
    for encoding in ("utf-8-sig", "cp1252"):
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            continue
    return data.decode("latin-1")


def _pages(text: str) -> Iterator[Sequence[str]]:
    """Lines in pages. The form feed that ends the last page begins no other."""
    plain = re.sub(r"[\x00-\x08\x0b\x0e-\x1f\x7f]", "", text.replace("\r\n", "\n"))
    sheets = plain.replace("\r", "\n").split("\f")
    if len(sheets) > 1 and not sheets[-1].strip():
        sheets.pop()
    for sheet in sheets:
        lines = [line.expandtabs(8).rstrip() for line in sheet.removesuffix("\n").split("\n")]
        for start in range(0, len(lines), ROWS):
            yield lines[start : start + ROWS]


def _drawn(pages: Sequence[Sequence[str]], size: float) -> bytes:
    out = BytesIO()
    canvas = Canvas(out, pagesize=(WIDTH, HEIGHT), invariant=1, pageCompression=1)
    for lines in pages:
        canvas.setFont(font(), size)
        for number, line in enumerate(lines, start=1):
            if line:
                canvas.drawString(MARGIN, HEIGHT - MARGIN - number * PITCH, line)
        canvas.showPage()
    canvas.save()
    return out.getvalue()


@cache
def font() -> str:
    """The name under which reportlab knows the text font; loaded once. Raises :class:`ConfigurationError`."""
    for file in FONTS:
        if Path(file).is_file():
            pdfmetrics.registerFont(TTFont("Text", file))
            return "Text"
    raise ConfigurationError("There is no font for text documents.", remedy="apt install fonts-dejavu-core")


CONVERTERS: Mapping[str, Convert] = {
    "application/pdf": _pdf,
    "application/postscript": _postscript,
    "text/plain": _text,
}
