"""Documents that must not get through, and reprints: the firm's own form, with one thing wrong each.

They belong to tests: what the tour prints comes from :mod:`printerd.demo.samples`. Each maker takes a sale and
gives the bytes of a file; :func:`hostile` writes them all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from io import BytesIO
from pathlib import Path

import pikepdf

from printerd.demo import classic
from printerd.demo.forms import print_all
from printerd.demo.pens import PdfPen, Typeface
from printerd.demo.samples import PLANS, Ledgers, Order
from printerd.demo.trade import Sale
from printerd.model import Invoice, Money, Party

FOREIGN_IBAN = "FR7630006000011234567890189"
"""Check digits are right, the account is another's (the example of many a bank's handbook)."""
OTHER_SELLER = Party("Moulins de la Plaine SA", "101836450", "FR05101836450", "1, rue Haute\n28000 CHARTRES")
PASSWORD = "froment"


@dataclass(frozen=True, slots=True)
class Document:
    """A file, and the invoice that is printed in it; ``None`` when nothing can be read."""

    file: Path
    invoice: Invoice | None


def first_sale(*, seed: int = 2026, today: date) -> Sale:
    """The sale of ``facture-simple-fr.pdf`` for the same seed and day."""
    return Ledgers(seed, today).enter(PLANS[0].orders[0], classic.NAME)


def another_sale(number: int, customer: str = "C0055", *, seed: int = 2026, today: date) -> Sale:
    """A sale that no sample holds, under a number of the firm's series."""
    return Ledgers(seed, today, invoices=number).enter(Order(customer, 4), classic.NAME)


def printed(sale: Sale, title: str = "") -> bytes:
    """The sale on the firm's main form. ``title`` is a PDF property that no reader of the page sees."""
    pen = PdfPen(Typeface.STANDARD, title=title or sale.invoice.number, author=sale.invoice.seller.name)
    print_all(pen, classic.draw, classic.ROOM, [sale])
    return pen.finish()


def with_iban(sale: Sale, iban: str = FOREIGN_IBAN) -> Sale:
    return replace(sale, invoice=replace(sale.invoice, iban=iban))


def with_seller(sale: Sale, seller: Party = OTHER_SELLER) -> Sale:
    return replace(sale, invoice=replace(sale.invoice, seller=seller))


def with_wrong_total(sale: Sale, error: Decimal = Decimal("10.00")) -> Sale:
    """The total is ``error`` euros more than net and VAT together."""
    return replace(sale, invoice=replace(sale.invoice, total=Money(sale.invoice.total.amount + error)))


def with_number(sale: Sale, number: str) -> Sale:
    return replace(sale, invoice=replace(sale.invoice, number=number))


def truncated(sale: Sale) -> bytes:
    """The first two thirds of a file: no cross-reference table, no end."""
    content = printed(sale)
    return content[: len(content) * 2 // 3]


def encrypted(sale: Sale) -> bytes:
    """A file that opens with :data:`PASSWORD` alone (AES-256). The bytes differ each time: the key is random."""
    out = BytesIO()
    with pikepdf.open(BytesIO(printed(sale))) as pdf:
        pdf.save(out, encryption=pikepdf.Encryption(user=PASSWORD, owner=PASSWORD, R=6))
    return out.getvalue()


def not_a_pdf(sale: Sale) -> bytes:
    """A web page under the name of a PDF, as a broken export leaves it."""
    return f"<!doctype html><title>{sale.invoice.number}</title><p>Session expirée\n".encode()


def empty(sale: Sale) -> bytes:
    return b""


UNREADABLE: dict[str, Callable[[Sale], bytes]] = {
    "truncated.pdf": truncated,
    "encrypted.pdf": encrypted,
    "empty.pdf": empty,
    "not-a-pdf.pdf": not_a_pdf,
}


def hostile(folder: Path, *, seed: int = 2026, today: date) -> dict[str, Document]:
    """Writes all of them into ``folder``; the key is the file's name.

    ``reprint.pdf`` has the page of ``facture-simple-fr.pdf`` in other bytes; ``same-number-other-content.pdf`` has its
    number on another sale. The others use numbers from 901 on, which no sample has.
    """
    first = first_sale(seed=seed, today=today)
    sales = {
        "foreign-iban.pdf": with_iban(another_sale(901, seed=seed, today=today)),
        "foreign-seller.pdf": with_seller(another_sale(902, seed=seed, today=today)),
        "wrong-total.pdf": with_wrong_total(another_sale(903, seed=seed, today=today)),
        "same-number-other-content.pdf": with_number(another_sale(904, seed=seed, today=today), first.invoice.number),
        "reprint.pdf": first,
    }
    folder.mkdir(parents=True, exist_ok=True)
    documents = {}
    for name, sale in sales.items():
        documents[name] = Document(folder / name, sale.invoice)
        documents[name].file.write_bytes(printed(sale, title=Path(name).stem))
    for name, spoil in UNREADABLE.items():
        documents[name] = Document(folder / name, None)
        documents[name].file.write_bytes(spoil(first))
    return documents
