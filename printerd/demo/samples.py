"""Writes the sample invoices, and beside each file the truth that a reader should find in it.

One rule: the same seed and the same day give the same bytes; every number comes from the one series of the firm.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from random import Random

from printerd.demo import classic, export, listing, modern
from printerd.demo.forms import Room, Sheet, print_all
from printerd.demo.pens import PdfPen, Pen, PostScriptPen, Typeface
from printerd.demo.trade import BUYERS, BY_CODE, FRENCH, ISSUER, LATECOMER, Buyer, Sale, draw_sale
from printerd.model import Invoice, PageRange

FIRST_INVOICE, FIRST_CREDIT_NOTE = 101, 7
"""Where the two series of numbers go on: ``FA-2026-0101``, ``AV-2026-0007``."""

Printed = tuple[bytes, tuple[PageRange, ...]]
Render = Callable[[Sequence[Sale]], Printed]
Draw = Callable[[Pen, Sale, Sheet], None]


@dataclass(frozen=True, slots=True)
class TrueInvoice:
    """What a reader should find: the invoice (``found_by`` names the layout), where it stands, its language."""

    invoice: Invoice
    pages: PageRange
    language: str


@dataclass(frozen=True, slots=True)
class Sample:
    """One file as an ERP prints it, with the invoices in it in the order of their pages."""

    name: str
    file: Path
    media_type: str
    expected: tuple[TrueInvoice, ...]


@dataclass(frozen=True, slots=True)
class Press:
    """A way to print: which layout, in which format. ``render`` gives the file and the pages of each sale."""

    layout: str
    language: str
    media_type: str
    render: Render


@dataclass(frozen=True, slots=True)
class Order:
    """An invoice to come: for which customer, of how many lines, or a credit note on which invoice of the series."""

    customer: str
    size: int
    corrects: int = 0


@dataclass(frozen=True, slots=True)
class Plan:
    file: str
    press: Press
    orders: tuple[Order, ...]


@dataclass(slots=True)
class Ledgers:
    """The sales book of the firm: deals out numbers without a gap, and the sales that belong to them."""

    seed: int
    today: date
    invoices: int = field(default=FIRST_INVOICE)
    credit_notes: int = field(default=FIRST_CREDIT_NOTE)

    def enter(self, order: Order, layout: str) -> Sale:
        number, corrects = self._number(order), ""
        if order.corrects:
            corrects = f"FA-{self.today.year}-{order.corrects:04d}"
        rng = Random(f"{self.seed} {number}")  # noqa: S311 - sample goods, no secret
        return draw_sale(
            rng, BY_CODE[order.customer], number, self.today, size=order.size, corrects=corrects, layout=layout
        )

    def _number(self, order: Order) -> str:
        if order.corrects:
            self.credit_notes += 1
            return f"AV-{self.today.year}-{self.credit_notes - 1:04d}"
        self.invoices += 1
        return f"FA-{self.today.year}-{self.invoices - 1:04d}"


def pdf(
    draw: Callable[[Pen, Sale, Sheet], None], room: Room, typeface: Typeface
) -> Callable[[Sequence[Sale]], Printed]:
    """A press that prints a form as PDF in ``typeface``."""

    def render(sales: Sequence[Sale]) -> Printed:
        pen = PdfPen(typeface, title=sales[0].invoice.number, author=ISSUER.name)
        ranges = print_all(pen, draw, room, sales)
        return pen.finish(), ranges

    return render


def postscript(draw: Draw, room: Room) -> Render:
    """A press that prints a form as PostScript."""

    def render(sales: Sequence[Sale]) -> Printed:
        pen = PostScriptPen(title=sales[0].invoice.number)
        ranges = print_all(pen, draw, room, sales)
        return pen.finish(), ranges

    return render


PDF, POSTSCRIPT, TEXT = "application/pdf", "application/postscript", "text/plain"
CLASSIC = Press(classic.NAME, "fr", PDF, pdf(classic.draw, classic.ROOM, Typeface.STANDARD))
EXPORT = Press(export.NAME, "en", PDF, pdf(export.draw, export.ROOM, Typeface.SUBSET))
MODERN = Press(modern.NAME, "fr", PDF, pdf(modern.draw, modern.ROOM, Typeface.CID))
LASER = Press(classic.NAME, "fr", POSTSCRIPT, postscript(classic.draw, classic.ROOM))
LINE_PRINTER = Press(listing.NAME, "fr", TEXT, listing.render)

_BATCH_SIZES = (3, 7, 1, 21, 5, 12, 2, 28, 9, 4, 15)
BATCH = tuple(Order(FRENCH[n % len(FRENCH)].customer.code, _BATCH_SIZES[n % len(_BATCH_SIZES)]) for n in range(40))

PLANS = (
    Plan("facture-simple-fr.pdf", CLASSIC, (Order("C0042", 6),)),
    Plan("invoice-simple-en.pdf", EXPORT, (Order("C0077", 7),)),
    Plan("facture-cid-fr.pdf", MODERN, (Order("C0028", 8),)),
    Plan("facture-deux-pages-fr.pdf", CLASSIC, (Order("C0007", 27),)),
    Plan("avoir-fr.pdf", CLASSIC, (Order("C0042", 2, corrects=FIRST_INVOICE),)),
    Plan("lot-40-fr.pdf", CLASSIC, BATCH),
    Plan("facture-postscript-fr.ps", LASER, (Order("C0031", 9),)),
    Plan("factures-texte-fr.txt", LINE_PRINTER, (Order("C0013", 4), Order("C0061", 11), Order("C0064", 1))),
    Plan("facture-client-inconnu-fr.pdf", CLASSIC, (Order(LATECOMER.customer.code, 5),)),
)


def generate(folder: Path, *, seed: int = 2026, today: date) -> tuple[Sample, ...]:
    """Writes every sample into ``folder``, which is made when missing.

    Beside ``NAME.pdf`` stands ``NAME.json`` with its true fields; ``customers.csv`` holds the customers for the
    import, ``customers-late.csv`` the one who is missing there, whose invoice must wait for a person.
    Files of these names are overwritten.
    """
    folder.mkdir(parents=True, exist_ok=True)
    ledgers = Ledgers(seed, today)
    samples = tuple(_print(plan, ledgers, folder) for plan in PLANS)
    write_customers(folder / "customers.csv", BUYERS)
    write_customers(folder / "customers-late.csv", (LATECOMER,))
    return samples


def _print(plan: Plan, ledgers: Ledgers, folder: Path) -> Sample:
    press = plan.press
    sales = [ledgers.enter(order, press.layout) for order in plan.orders]
    content, ranges = press.render(sales)
    file = folder / plan.file
    file.write_bytes(content)
    expected = tuple(
        TrueInvoice(sale.invoice, pages, press.language) for sale, pages in zip(sales, ranges, strict=True)
    )
    sample = Sample(file.stem, file, press.media_type, expected)
    file.with_suffix(".json").write_text(_truth(sample), encoding="utf-8")
    return sample


def _truth(sample: Sample) -> str:
    document = {
        "file": sample.file.name,
        "media_type": sample.media_type,
        "invoices": [_fields(true) for true in sample.expected],
    }
    return json.dumps(document, ensure_ascii=False, indent=2) + "\n"


def _fields(true: TrueInvoice) -> dict[str, object]:
    """One invoice for JSON: ISO dates, amounts as decimal strings, identifiers without spaces."""
    invoice = true.invoice
    return {
        "number": invoice.number,
        "kind": invoice.kind.value,
        "issued_on": invoice.issued_on.isoformat(),
        "due_on": invoice.due_on.isoformat() if invoice.due_on else None,
        "customer_code": invoice.customer_code,
        "customer_name": invoice.buyer.name,
        "customer_vat_id": invoice.buyer.vat_id,
        "seller": {
            "name": invoice.seller.name,
            "siren": invoice.seller.siren,
            "vat_id": invoice.seller.vat_id,
        },
        "net": str(invoice.net.amount),
        "vat": str(invoice.vat.amount),
        "total": str(invoice.total.amount),
        "currency": invoice.total.currency,
        "iban": invoice.iban,
        "language": true.language,
        "pages": [true.pages.first, true.pages.last],
        "layout": invoice.found_by,
    }


CUSTOMER_COLUMNS = (
    "code", "name", "vat_id", "language", "route", "consent", "consent_date", "consent_source", "contacts",
)  # fmt: skip


def write_customers(file: Path, buyers: Iterable[Buyer]) -> None:
    """Writes a list for ``customers import``: UTF-8, comma, a head line; contacts as ``Name <mail>; Name <mail>``."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(CUSTOMER_COLUMNS)
    for customer in (buyer.customer for buyer in buyers):
        consent = customer.consent
        contacts = "; ".join(f"{contact.name} <{contact.email}>" for contact in customer.contacts)
        given_on = consent.given_on.isoformat() if consent.given_on else ""
        table.writerow(
            (customer.code, customer.name, customer.vat_id, customer.language, customer.route.value,
             consent.state.value, given_on, consent.source, contacts)
        )  # fmt: skip
    file.write_text(text.getvalue(), encoding="utf-8")
