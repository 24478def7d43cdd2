"""The pens that put a form on a page: PDF with three kinds of fonts, and PostScript.

One rule: a form speaks in millimetres from the upper left corner of an A4 page; only a pen knows points and fonts.
Both pens write the same bytes for the same strokes: no clock, no random identifier.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from io import BytesIO
from typing import Protocol

from reportlab.lib.colors import HexColor  # type: ignore[import-untyped]  # reportlab ships no types
from reportlab.pdfbase import pdfmetrics  # type: ignore[import-untyped]  # the same
from reportlab.pdfbase.ttfonts import TTFont  # type: ignore[import-untyped]  # the same
from reportlab.pdfgen.canvas import Canvas  # type: ignore[import-untyped]  # the same

from printerd.demo.cidfont import CidFont

MM = 72 / 25.4
WIDTH, HEIGHT = 595.28, 841.89
"""A4 (ISO 216) in PDF points."""

INK = "#1f2328"
Point = tuple[float, float]


class Align(StrEnum):
    LEFT = "left"
    RIGHT = "right"
    CENTRE = "centre"


class Typeface(StrEnum):
    """How the letters get into a PDF. Values are the names under which reportlab knows them.

    ``STANDARD`` embeds nothing (ISO 32000-1 section 9.6.2.2), ``SUBSET`` is a simple TrueType font with codes of
    its own, ``CID`` a composite font with Identity-H (section 9.7.5.2). Readers must cope with all three.
    """

    STANDARD = "Helvetica"
    SUBSET = "DemoVera"
    CID = "DemoVeraCid"

    @property
    def bold(self) -> str:
        return f"{self.value}-Bold"


class Pen(Protocol):
    """What a form may do. ``x``, ``y``, ``width``, ``height`` are millimetres; ``size`` and ``stroke`` are points."""

    def measure(self, text: str, size: float, *, bold: bool = False) -> float:
        """The width of ``text`` in millimetres."""

    def text(
        self,
        x: float,
        y: float,
        text: str,
        *,
        size: float = 9,
        bold: bool = False,
        colour: str = INK,
        align: Align = Align.LEFT,
    ) -> None:
        """Writes one line whose baseline is at ``y``."""

    def rule(self, start: Point, end: Point, *, stroke: float = 0.5, colour: str = INK) -> None:
        """Draws a straight line."""

    def shape(self, points: Sequence[Point], *, colour: str) -> None:
        """Fills a polygon."""

    def end_page(self) -> None:
        """Ends the page: the next stroke falls on a new one."""

    def finish(self) -> bytes:
        """The whole file. No stroke may follow."""


def _fonts_known() -> None:
    """Tells reportlab the fonts that it ships itself (Bitstream Vera); telling twice is harmless."""
    known = pdfmetrics.getRegisteredFontNames()
    for kind, make in ((Typeface.SUBSET, TTFont), (Typeface.CID, CidFont)):
        for name, file in ((kind.value, "Vera.ttf"), (kind.bold, "VeraBd.ttf")):
            if name not in known:
                font = make(name, file, asciiReadable=False)
                font.face.name = name.encode()  # reportlab takes two fonts of one face for the same font
                pdfmetrics.registerFont(font)


class PdfPen:
    """Writes PDF 1.4 by reportlab, in its invariant mode."""

    def __init__(self, typeface: Typeface, *, title: str, author: str) -> None:
        _fonts_known()
        self._typeface = typeface
        self._file = BytesIO()
        self._canvas = Canvas(self._file, pagesize=(WIDTH, HEIGHT), invariant=1, pageCompression=1)
        self._canvas.setTitle(title)
        self._canvas.setAuthor(author)
        self._canvas.setCreator("Moulin ERP 7.4")

    def measure(self, text: str, size: float, *, bold: bool = False) -> float:
        return float(pdfmetrics.stringWidth(text, self._font(bold), size)) / MM

    def text(
        self,
        x: float,
        y: float,
        text: str,
        *,
        size: float = 9,
        bold: bool = False,
        colour: str = INK,
        align: Align = Align.LEFT,
    ) -> None:
        self._canvas.setFont(self._font(bold), size)
        self._canvas.setFillColor(HexColor(colour))
        write = {
            Align.LEFT: self._canvas.drawString,
            Align.RIGHT: self._canvas.drawRightString,
            Align.CENTRE: self._canvas.drawCentredString,
        }[align]
        write(x * MM, _up(y), text)

    def rule(self, start: Point, end: Point, *, stroke: float = 0.5, colour: str = INK) -> None:
        self._canvas.setLineWidth(stroke)
        self._canvas.setStrokeColor(HexColor(colour))
        self._canvas.line(start[0] * MM, _up(start[1]), end[0] * MM, _up(end[1]))

    def shape(self, points: Sequence[Point], *, colour: str) -> None:
        self._canvas.setFillColor(HexColor(colour))
        path = self._canvas.beginPath()
        path.moveTo(points[0][0] * MM, _up(points[0][1]))
        for x, y in points[1:]:
            path.lineTo(x * MM, _up(y))
        path.close()
        self._canvas.drawPath(path, stroke=0, fill=1)

    def end_page(self) -> None:
        self._canvas.showPage()

    def finish(self) -> bytes:
        self._canvas.save()
        return self._file.getvalue()

    def _font(self, bold: bool) -> str:
        return self._typeface.bold if bold else self._typeface.value


class PostScriptPen:
    """Writes PostScript level 2 with document structure comments (Adobe technical note 5001), Helvetica re-encoded.

    ISOLatin1Encoding has the minus sign at the place of the hyphen, which would turn every "FA-2026-0042" into
    another text; so the hyphen is put back, and the characters of Windows-1252 that French needs are added.
    """

    _PROLOG = """\
/encoding ISOLatin1Encoding 256 array copy def
encoding
dup 45 /hyphen put dup 39 /quotesingle put dup 96 /grave put dup 160 /space put dup 128 /Euro put
dup 140 /OE put dup 156 /oe put dup 145 /quoteleft put dup 146 /quoteright put dup 147 /quotedblleft put
dup 148 /quotedblright put dup 149 /bullet put dup 150 /endash put dup 151 /emdash put pop
/reencode { findfont dup length dict begin { 1 index /FID ne { def } { pop pop } ifelse } forall
 /Encoding encoding def currentdict end definefont pop } bind def
/R /Helvetica reencode
/B /Helvetica-Bold reencode
"""

    def __init__(self, *, title: str) -> None:
        self._title = title
        self._strokes: list[str] = []
        self._pages: list[list[str]] = []

    def measure(self, text: str, size: float, *, bold: bool = False) -> float:
        font = Typeface.STANDARD.bold if bold else Typeface.STANDARD.value
        return float(pdfmetrics.stringWidth(text, font, size)) / MM

    def text(
        self,
        x: float,
        y: float,
        text: str,
        *,
        size: float = 9,
        bold: bool = False,
        colour: str = INK,
        align: Align = Align.LEFT,
    ) -> None:
        font = "B" if bold else "R"
        show = {Align.LEFT: "show", Align.RIGHT: "right", Align.CENTRE: "centre"}[align]
        self._strokes.append(
            f"{_rgb(colour)} /{font} {size:g} selectfont {x * MM:.2f} {_up(y):.2f} moveto {_literal(text)} {show}"
        )

    def rule(self, start: Point, end: Point, *, stroke: float = 0.5, colour: str = INK) -> None:
        self._strokes.append(
            f"{_rgb(colour)} {stroke:g} setlinewidth newpath {start[0] * MM:.2f} {_up(start[1]):.2f} moveto"
            f" {end[0] * MM:.2f} {_up(end[1]):.2f} lineto stroke"
        )

    def shape(self, points: Sequence[Point], *, colour: str) -> None:
        path = " ".join(f"{x * MM:.2f} {_up(y):.2f} {'lineto' if n else 'moveto'}" for n, (x, y) in enumerate(points))
        self._strokes.append(f"{_rgb(colour)} newpath {path} closepath fill")

    def end_page(self) -> None:
        self._pages.append(self._strokes)
        self._strokes = []

    def finish(self) -> bytes:
        parts = ["%!PS-Adobe-3.0", f"%%Title: {_literal(self._title)}", f"%%Pages: {len(self._pages)}"]
        parts += ["%%BoundingBox: 0 0 596 842", "%%LanguageLevel: 2", "%%EndComments", "%%BeginProlog"]
        parts += [self._PROLOG, _ALIGNED, "%%EndProlog"]
        for number, strokes in enumerate(self._pages, start=1):
            parts += [f"%%Page: {number} {number}", *strokes, "showpage"]
        parts += ["%%Trailer", "%%EOF", ""]
        return "\n".join(parts).encode("ascii")


_ALIGNED = """\
/right { dup stringwidth pop neg 0 rmoveto show } bind def
/centre { dup stringwidth pop 2 div neg 0 rmoveto show } bind def"""


def _up(y: float) -> float:
    """Millimetres down from the top edge, as points up from the bottom edge."""
    return HEIGHT - y * MM


def _rgb(colour: str) -> str:
    red, green, blue = (int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5))
    return f"{red:.3f} {green:.3f} {blue:.3f} setrgbcolor"


def _literal(text: str) -> str:
    """A PostScript string in plain ASCII: what is not ASCII is written as octal codes of Windows-1252."""
    escaped = (
        f"\\{byte:03o}" if byte > 126 or byte < 32 else f"\\{chr(byte)}" if chr(byte) in "()\\" else chr(byte)
        for byte in text.encode("cp1252")
    )
    return f"({''.join(escaped)})"
