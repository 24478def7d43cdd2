"""What is printed: invoices of the samples' firm, each with a number of its own and with a logo, as ERPs print them.

One rule: no two jobs have the same bytes, and every invoice is one that the service archives without asking anybody.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from io import BytesIO
from itertools import count
from pathlib import Path
from random import Random

import pikepdf

from printerd.demo import classic
from printerd.demo.forms import print_all
from printerd.demo.pens import PdfPen, Typeface
from printerd.demo.samples import Ledgers, Order
from printerd.demo.trade import FRENCH, Sale

FIRST_NUMBER = 1001
LOGO = 240
"""Pixels each way; kept raw, so that an invoice of one page weighs 62 KB."""


class Book:
    """The sales book of one run. What it prints lies in ``folder``."""

    def __init__(self, folder: Path, today: date) -> None:
        folder.mkdir()
        self._folder = folder
        self._ledgers = Ledgers(2026, today, invoices=FIRST_NUMBER)
        self._files = count(1)

    def singles(self, number: int) -> list[Path]:
        """So many files of one invoice each."""
        return [self.batch(1) for _ in range(number)]

    def batch(self, number: int) -> Path:
        """One file of so many invoices of one page, which share the logo."""
        return self._file(_with_logo(_printed([self._sale(n) for n in range(number)])))

    def small(self, number: int) -> list[Path]:
        """So many files of one invoice each, without a logo: 4 KB."""
        return [self._file(_printed([self._sale(n)])) for n in range(number)]

    def alike(self, number: int) -> list[Path]:
        """One small invoice, printed so many times: files that differ by a comment. All but the first are reprints."""
        printed = _printed([self._sale(0)])
        return [self._file(printed + b"%% %d\n" % n) for n in range(number)]

    def _file(self, data: bytes) -> Path:
        file = self._folder / f"{next(self._files):05d}.pdf"
        file.write_bytes(data)
        return file

    def _sale(self, n: int) -> Sale:
        return self._ledgers.enter(Order(FRENCH[n % len(FRENCH)].customer.code, 4), classic.NAME)


def _printed(sales: Sequence[Sale]) -> bytes:
    pen = PdfPen(Typeface.STANDARD, title=sales[0].invoice.number, author=sales[0].invoice.seller.name)
    print_all(pen, classic.draw, classic.ROOM, sales)
    return pen.finish()


def _with_logo(printed: bytes) -> bytes:
    out = BytesIO()
    with pikepdf.open(BytesIO(printed)) as pdf:
        logo = _logo(pdf)
        for page in pdf.pages:
            name = page.add_resource(logo, pikepdf.Name.XObject)
            page.contents_add(f"q 48 0 0 48 480 780 cm {name} Do Q".encode())
        pdf.save(out)
    return out.getvalue()


def _logo(pdf: pikepdf.Pdf) -> pikepdf.Stream:
    pixels = Random(2026).randbytes(LOGO * LOGO)  # noqa: S311 - a picture that cannot be compressed, no secret
    return pikepdf.Stream(
        pdf, pixels, Type=pikepdf.Name.XObject, Subtype=pikepdf.Name.Image, Width=LOGO, Height=LOGO,
        ColorSpace=pikepdf.Name.DeviceGray, BitsPerComponent=8,
    )  # fmt: skip


def large(file: Path, size: int) -> Path:
    """A sound PDF of about ``size`` bytes: one page, and an attachment in pieces that nobody opens."""
    random = Random(size)  # noqa: S311 - as above
    with pikepdf.new() as pdf:
        pdf.add_blank_page()
        pdf.Root.Ballast = pikepdf.Array(
            [pdf.make_stream(random.randbytes(1 << 20)) for _ in range(max(1, size >> 20))]
        )
        pdf.save(file, compress_streams=False)
    return file
