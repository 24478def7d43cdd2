"""The form of the firm's web shop, in French: a coloured head, each label before its value with a colon."""

from __future__ import annotations

from printerd.demo.forms import (
    NBSP,
    Column,
    Room,
    Sheet,
    band,
    french_euros,
    in_fours,
    long_date,
    paragraph,
    percent,
    rows,
    siren_in_threes,
    windmill,
)
from printerd.demo.pens import INK, Align, Pen
from printerd.demo.trade import BIC, Sale, taxes

NAME = "moulin-modern-fr"
ROOM = Room(going_on=20, last=12)

BLUE, SKY, GREY, WHITE = "#223a5e", "#e9c46a", "#5f656d", "#ffffff"

COLUMNS = (
    Column("Article", 20, Align.LEFT, lambda line: line.article.french),
    Column("Quantité", 104, Align.RIGHT, lambda line: str(line.quantity)),
    Column("Prix unitaire HT", 138, Align.RIGHT, lambda line: french_euros(line.article.price)),
    Column("TVA", 157, Align.RIGHT, lambda line: percent(line.rate)),
    Column("Total HT", 190, Align.RIGHT, lambda line: french_euros(line.amount)),
)


def draw(pen: Pen, sale: Sale, sheet: Sheet) -> None:
    """Draws one sheet."""
    _head(pen, sale)
    _facts(pen, sale)
    _table(pen, sheet)
    if sheet.is_last:
        _totals(pen, sale)
        _payment(pen, sale)
    _foot(pen, sale, sheet)


def _head(pen: Pen, sale: Sale) -> None:
    band(pen, 0, 0, 210, 34, BLUE)
    windmill(pen, 18, 6, 22, body=WHITE, sails=SKY)
    pen.text(44, 18, "Au bon moulin", size=15, bold=True, colour=WHITE)
    pen.text(44, 24.5, "boutique.aubonmoulin.example", size=8, colour=WHITE)
    title = "Avoir" if sale.is_credit_note else "Facture"
    pen.text(190, 21, title, size=22, bold=True, colour=WHITE, align=Align.RIGHT)


def _facts(pen: Pen, sale: Sale) -> None:
    invoice = sale.invoice
    facts = (
        ("N° d’avoir" if sale.is_credit_note else "N° de facture", invoice.number),
        ("Date d’émission", long_date(invoice.issued_on, "fr")),
        ("Facture d’origine", sale.corrects)
        if sale.is_credit_note
        else ("Date d’échéance", long_date(invoice.due_on, "fr")),
        ("N° client", invoice.customer_code),
        ("TVA intracom.", invoice.buyer.vat_id),
        ("N° de commande", sale.order),
        ("Date de livraison", long_date(sale.delivered_on, "fr")),
    )
    for n, (label, value) in enumerate(facts):
        y = 48 + n * 5.6
        pen.text(20, y, f"{label}{NBSP}:", size=8, colour=GREY)
        pen.text(20 + pen.measure(f"{label}{NBSP}: ", 8), y, value, size=8, bold=True)
    pen.text(110, 52, invoice.buyer.name, size=9.5, bold=True)
    paragraph(pen, 110, 57, invoice.buyer.address.splitlines(), size=9.5, leading=4.9, colour=INK)


def _table(pen: Pen, sheet: Sheet) -> None:
    for column in COLUMNS:
        pen.text(column.x, 101, column.title, size=7.5, bold=True, colour=BLUE, align=column.align)
    pen.rule((20, 103.5), (190, 103.5), stroke=1.4, colour=SKY)
    top = 110.5
    for n in range(len(sheet.lines)):
        pen.rule((20, top + n * 7.4 + 2.7), (190, top + n * 7.4 + 2.7), stroke=0.3, colour="#cfd6e0")
    rows(pen, COLUMNS, sheet.lines, top=top, pitch=7.4, size=8)
    if not sheet.is_last:
        pen.text(190, top + len(sheet.lines) * 7.4, "suite page suivante", size=7, colour=GREY, align=Align.RIGHT)


def _totals(pen: Pen, sale: Sale) -> None:
    invoice = sale.invoice
    amounts = [("Total net HT", invoice.net.amount)]
    amounts += [(f"dont TVA à {percent(tax.rate)}", tax.amount) for tax in taxes(sale.lines)]
    amounts += [("Montant de la TVA", invoice.vat.amount)]
    for n, (label, amount) in enumerate(amounts):
        y = 207 + n * 5.8
        pen.text(118, y, label, size=8, colour=GREY if label.startswith("dont") else INK)
        pen.text(190, y, french_euros(amount), size=8, align=Align.RIGHT)
    y = 207 + len(amounts) * 5.8
    pen.rule((118, y - 2), (190, y - 2), stroke=1.4, colour=SKY)
    pen.text(118, y + 4.5, "Montant TTC", size=11, bold=True, colour=BLUE)
    pen.text(190, y + 4.5, french_euros(invoice.total.amount), size=11, bold=True, colour=BLUE, align=Align.RIGHT)


def _payment(pen: Pen, sale: Sale) -> None:
    if sale.is_credit_note:
        return
    invoice = sale.invoice
    pen.text(20, 207, "Règlement par virement", size=9, bold=True, colour=BLUE)
    facts = (("IBAN", in_fours(invoice.iban)), ("BIC", BIC), ("Référence", invoice.number))
    for n, (label, value) in enumerate(facts):
        y = 213.5 + n * 5.4
        pen.text(20, y, f"{label}{NBSP}:", size=7.5, colour=GREY)
        pen.text(20 + pen.measure(f"{label}{NBSP}: ", 7.5), y, value, size=8)


LEGAL = (
    "Livraison de biens. TVA acquittée sur les débits. Pas d’escompte pour paiement anticipé.",
    "Tout retard de paiement entraîne des pénalités au taux de trois fois l’intérêt légal",
    "et une indemnité forfaitaire de 40 € pour frais de recouvrement (art. L. 441-10 du code de commerce).",
)


def _foot(pen: Pen, sale: Sale, sheet: Sheet) -> None:
    seller = sale.invoice.seller
    if sheet.is_last:
        paragraph(pen, 20, 258, LEGAL, size=6.5, leading=3.6, colour=GREY)
    band(pen, 0, 288, 210, 9, BLUE)
    street, town = seller.address.splitlines()
    pen.text(20, 278, f"{seller.name} au capital de 120 000 €, {street}, {town}", size=6.5, colour=GREY)
    identity = f"RCS Chartres {siren_in_threes(seller.siren)} – TVA {seller.vat_id}"
    pen.text(20, 282, identity, size=6.5, colour=GREY)
    pen.text(190, 282, f"Page {sheet.number}/{sheet.count}", size=7, align=Align.RIGHT)
