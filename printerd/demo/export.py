"""The form for customers abroad, in English: labels above their values, address in the left-hand window."""

from __future__ import annotations

from printerd.demo.forms import (
    Column,
    Room,
    Sheet,
    band,
    english,
    in_fours,
    long_date,
    paragraph,
    rows,
    siren_in_threes,
    windmill,
)
from printerd.demo.pens import INK, Align, Pen
from printerd.demo.trade import BIC, EUROPEAN_UNION, Sale

NAME = "moulin-export-en"
ROOM = Room(going_on=20, last=12)

GREEN, LEAF, GREY, PALE = "#1e4d3b", "#5a8f6b", "#5f656d", "#eef4f0"

COLUMNS = (
    Column("Item", 22, Align.LEFT, lambda line: line.article.code),
    Column("Description", 36, Align.LEFT, lambda line: line.article.english),
    Column("Qty", 112, Align.RIGHT, lambda line: str(line.quantity)),
    Column("Unit", 117, Align.LEFT, lambda line: line.article.unit[1]),
    Column("Unit price", 160, Align.RIGHT, lambda line: english(line.article.price)),
    Column("Amount", 188, Align.RIGHT, lambda line: english(line.amount)),
)

WITHIN_UNION = (
    "VAT: reverse charge. Intra-Community supply of goods, exempt from French VAT",
    "(article 262 ter I of the French tax code; article 138 of Directive 2006/112/EC).",
)
OUTSIDE_UNION = (
    "VAT: 0%. Export of goods outside the European Union, exempt from French VAT",
    "(article 262 I of the French tax code; article 146 of Directive 2006/112/EC).",
)


def draw(pen: Pen, sale: Sale, sheet: Sheet) -> None:
    """Draws one sheet."""
    _head(pen, sale)
    _address(pen, sale)
    _facts(pen, sale)
    _table(pen, sheet)
    if sheet.is_last:
        _totals(pen, sale)
        _payment(pen, sale)
    _foot(pen, sale, sheet)


def _head(pen: Pen, sale: Sale) -> None:
    band(pen, 0, 0, 210, 3.5, GREEN)
    pen.text(20, 25, "Credit note" if sale.is_credit_note else "Invoice", size=24, bold=True, colour=GREEN)
    windmill(pen, 168, 9, 21, body=GREEN, sails=LEAF)
    seller = sale.invoice.seller
    pen.text(190, 37, seller.name, size=10, bold=True, align=Align.RIGHT)
    lines = (*seller.address.splitlines(), "France", seller.email, "+33 1 99 00 42 17")
    for n, line in enumerate(lines):
        pen.text(190, 42 + n * 4.2, line, size=7.5, colour=GREY, align=Align.RIGHT)


def _address(pen: Pen, sale: Sale) -> None:
    pen.text(20, 44, "BILL TO", size=6.5, colour=GREY)
    pen.text(20, 50, sale.invoice.buyer.name, size=10, bold=True)
    paragraph(pen, 20, 55, sale.invoice.buyer.address.splitlines(), size=9.5, leading=4.8, colour=INK)


def _facts(pen: Pen, sale: Sale) -> None:
    invoice = sale.invoice
    due = ("Corrects invoice", sale.corrects) if sale.is_credit_note else ("Due date", long_date(invoice.due_on, "en"))
    facts = (
        ("Credit note number" if sale.is_credit_note else "Invoice number", invoice.number),
        ("Invoice date", long_date(invoice.issued_on, "en")),
        due,
        ("Customer number", invoice.customer_code),
        ("Your order", sale.order),
        ("Delivered on", long_date(sale.delivered_on, "en")),
        ("Your VAT number", invoice.buyer.vat_id),
        ("Currency", invoice.total.currency),
    )
    band(pen, 20, 84, 170, 26, PALE)
    for n, (label, value) in enumerate(facts):
        x, y = 24 + n % 4 * 43, 90 + n // 4 * 12
        pen.text(x, y, label, size=7, colour=GREY)
        pen.text(x, y + 5, value, size=9, bold=n < 4)


def _table(pen: Pen, sheet: Sheet) -> None:
    for column in COLUMNS:
        pen.text(column.x, 120, column.title, size=7.5, bold=True, colour=GREEN, align=column.align)
    pen.rule((20, 122.5), (190, 122.5), stroke=1.2, colour=GREEN)
    top = 129.0
    for n in range(len(sheet.lines)):
        pen.rule((20, top + n * 6.8 + 2.4), (190, top + n * 6.8 + 2.4), stroke=0.3, colour="#c9d6ce")
    rows(pen, COLUMNS, sheet.lines, top=top, pitch=6.8, size=8)
    if not sheet.is_last:
        pen.text(188, top + len(sheet.lines) * 6.8, "continued overleaf", size=7, colour=GREY, align=Align.RIGHT)


def _totals(pen: Pen, sale: Sale) -> None:
    invoice = sale.invoice
    for n, (label, money) in enumerate((("Subtotal excl. VAT", invoice.net), ("VAT", invoice.vat))):
        pen.text(128, 220 + n * 6, label, size=8.5, colour=GREY)
        pen.text(188, 220 + n * 6, f"€{english(money.amount)}", size=8.5, align=Align.RIGHT)
    pen.rule((124, 229), (190, 229), stroke=1.2, colour=GREEN)
    pen.text(128, 235.5, "Total credit" if sale.is_credit_note else "Total due", size=11, bold=True, colour=GREEN)
    pen.text(188, 235.5, f"€{english(invoice.total.amount)}", size=11, bold=True, colour=GREEN, align=Align.RIGHT)
    country = invoice.buyer.vat_id[:2]
    note = WITHIN_UNION if country in EUROPEAN_UNION else OUTSIDE_UNION
    paragraph(pen, 20, 246, note, size=7, leading=3.8, colour=INK)


def _payment(pen: Pen, sale: Sale) -> None:
    if sale.is_credit_note:
        return
    pen.text(20, 220, "Please pay by bank transfer", size=8.5, bold=True, colour=GREEN)
    facts = (("IBAN", in_fours(sale.invoice.iban)), ("BIC", BIC), ("Reference", sale.invoice.number))
    for n, (label, value) in enumerate(facts):
        pen.text(20, 226 + n * 5.2, label, size=7.5, colour=GREY)
        pen.text(42, 226 + n * 5.2, value, size=8.5)


LEGAL = (
    "Payment later than the due date bears interest at three times the French legal rate, plus a fixed sum of €40 for",
    "recovery costs (article L. 441-10 of the French commercial code). No discount for early payment. Supply of goods.",
)


def _foot(pen: Pen, sale: Sale, sheet: Sheet) -> None:
    seller = sale.invoice.seller
    if sheet.is_last:
        paragraph(pen, 20, 267, LEGAL, size=6.2, leading=3.3, colour=GREY)
    pen.rule((20, 279), (190, 279), stroke=0.4, colour=LEAF)
    pen.text(
        20, 284,
        f"{seller.name} – Registered in Chartres, France, no. {siren_in_threes(seller.siren)} – VAT {seller.vat_id}",
        size=6.5, colour=GREY,
    )  # fmt: skip
    pen.text(190, 284, f"Page {sheet.number} of {sheet.count}", size=7, align=Align.RIGHT)
