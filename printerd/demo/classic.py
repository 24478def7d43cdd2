"""The firm's main form, in French: rules and bands, meta data left, address in the right-hand window.

The address stands where a DL envelope with its window on the right shows it (NF Z 11-001: 110 mm from the left,
from 50 mm down); the totals stand at one place on every last sheet.
"""

from __future__ import annotations

from printerd.demo.forms import (
    Column,
    Room,
    Sheet,
    band,
    frame,
    french,
    french_euros,
    in_fours,
    paragraph,
    percent,
    rows,
    short_date,
    siren_in_threes,
    windmill,
)
from printerd.demo.pens import INK, Align, Pen
from printerd.demo.trade import BIC, Sale, taxes

NAME = "moulin-classic-fr"
ROOM = Room(going_on=24, last=15)

BROWN, WHEAT, GREY, PALE = "#6b4413", "#c58b2a", "#5f656d", "#f4ede1"

COLUMNS = (
    Column("Réf.", 22, Align.LEFT, lambda line: line.article.code),
    Column("Désignation", 36, Align.LEFT, lambda line: line.article.french),
    Column("Qté", 106, Align.RIGHT, lambda line: str(line.quantity)),
    Column("Unité", 110, Align.LEFT, lambda line: line.article.unit[0]),
    Column("P.U. HT", 146, Align.RIGHT, lambda line: french(line.article.price)),
    Column("TVA", 161, Align.RIGHT, lambda line: percent(line.rate)),
    Column("Montant HT", 188, Align.RIGHT, lambda line: french(line.amount)),
)


def draw(pen: Pen, sale: Sale, sheet: Sheet) -> None:
    """Draws one sheet."""
    _head(pen, sale)
    _facts(pen, sale)
    _address(pen, sale)
    _table(pen, sheet)
    if sheet.is_last:
        _totals(pen, sale)
        _payment(pen, sale)
    _foot(pen, sale, sheet)


def _head(pen: Pen, sale: Sale) -> None:
    windmill(pen, 19, 9, 24, body=BROWN, sails=WHEAT)
    pen.text(46, 18, "Au bon moulin", size=17, bold=True, colour=BROWN)
    street, town = sale.invoice.seller.address.splitlines()
    paragraph(
        pen, 46, 23.5, (f"{street}, {town}", f"01 99 00 42 17 · {sale.invoice.seller.email}"),
        size=8, leading=3.8, colour=GREY,
    )  # fmt: skip
    pen.text(190, 20, "AVOIR" if sale.is_credit_note else "FACTURE", size=21, bold=True, align=Align.RIGHT)
    pen.rule((20, 36), (190, 36), stroke=1.2, colour=WHEAT)


def _facts(pen: Pen, sale: Sale) -> None:
    invoice = sale.invoice
    facts = [
        ("Avoir N°" if sale.is_credit_note else "Facture N°", invoice.number),
        ("Date", short_date(invoice.issued_on)),
        ("Sur facture", sale.corrects) if sale.is_credit_note else ("Échéance", short_date(invoice.due_on)),
        ("N° client", invoice.customer_code),
        ("TVA client", invoice.buyer.vat_id),
        ("Commande", sale.order),
        ("Livraison du", short_date(sale.delivered_on)),
    ]
    for n, (label, value) in enumerate(facts):
        pen.text(20, 50 + n * 5.2, label, size=8.5, colour=GREY)
        pen.text(44, 50 + n * 5.2, value, size=9.5, bold=n in (0, 3))


def _address(pen: Pen, sale: Sale) -> None:
    pen.text(110, 52, sale.invoice.buyer.name, size=10.5, bold=True)
    paragraph(pen, 110, 57.2, sale.invoice.buyer.address.splitlines(), size=10.5, leading=5, colour=INK)
    pen.rule((4, 99), (9, 99), stroke=0.3, colour=GREY)  # where the letter folds for the envelope


def _table(pen: Pen, sheet: Sheet) -> None:
    band(pen, 20, 92, 170, 7.5, BROWN)
    for column in COLUMNS:
        pen.text(column.x, 97, column.title, size=8.5, bold=True, colour="#ffffff", align=column.align)
    top = 105.5
    if sheet.number > 1:
        pen.text(36, top, "Report", size=9, colour=GREY)
        pen.text(188, top, french(sheet.carried), size=9, colour=GREY, align=Align.RIGHT)
        top += 6.4
    for n in range(1, len(sheet.lines), 2):
        band(pen, 20, top + n * 6.4 - 4.4, 170, 6.4, PALE)
    rows(pen, COLUMNS, sheet.lines, top=top, pitch=6.4, size=9)
    bottom = 207.0
    if not sheet.is_last:
        bottom = top + len(sheet.lines) * 6.4 - 3.4
        pen.text(36, bottom + 6, "À reporter", size=9, colour=GREY)
        pen.text(188, bottom + 6, french(sheet.subtotal), size=9, colour=GREY, align=Align.RIGHT)
    pen.rule((20, bottom), (190, bottom), stroke=0.8, colour=BROWN)


def _totals(pen: Pen, sale: Sale) -> None:
    for title, x in (("Taux", 40), ("Base HT", 70), ("Montant TVA", 98)):
        pen.text(x, 214, title, size=8, colour=GREY, align=Align.RIGHT)
    pen.rule((20, 215.6), (98, 215.6), stroke=0.4, colour=GREY)
    for n, tax in enumerate(taxes(sale.lines)):
        for text, x in ((percent(tax.rate), 40), (french(tax.base), 70), (french(tax.amount), 98)):
            pen.text(x, 220 + n * 5, text, size=9, align=Align.RIGHT)
    invoice = sale.invoice
    for n, (label, money) in enumerate((("Total HT", invoice.net), ("Total TVA", invoice.vat))):
        pen.text(126, 214 + n * 6, label, size=10)
        pen.text(188, 214 + n * 6, french_euros(money.amount), size=10, align=Align.RIGHT)
    band(pen, 122, 223.5, 68, 9.5, BROWN)
    pen.text(126, 229.8, "Total TTC", size=12, bold=True, colour="#ffffff")
    pen.text(188, 229.8, french_euros(invoice.total.amount), size=12, bold=True, colour="#ffffff", align=Align.RIGHT)


def _payment(pen: Pen, sale: Sale) -> None:
    invoice = sale.invoice
    frame(pen, 20, 239, 170, 21, WHEAT)
    if sale.is_credit_note:
        pen.text(24, 246, "Avoir à valoir sur vos prochains règlements", size=9.5, bold=True)
        pen.text(24, 252, "Remboursement sur simple demande à notre service comptable.", size=9)
        return
    due = f"À régler par virement au plus tard le {short_date(invoice.due_on)}"
    pen.text(24, 245, due, size=9.5, bold=True)
    for n, (label, value) in enumerate((("IBAN", in_fours(invoice.iban)), ("BIC", BIC))):
        pen.text(24, 251 + n * 5.5, label, size=8.5, colour=GREY)
        pen.text(36, 251 + n * 5.5, value, size=10)
    pen.text(188, 256.5, f"Référence à rappeler : {invoice.number}", size=8.5, colour=GREY, align=Align.RIGHT)


LEGAL = (
    "Nature de l’opération : livraison de biens. TVA acquittée sur les débits. Pas d’escompte pour paiement anticipé.",
    "En cas de retard de paiement : pénalités au taux de trois fois l’intérêt légal et indemnité forfaitaire de 40 €",
    "pour frais de recouvrement (article L. 441-10 du code de commerce).",
)


def _foot(pen: Pen, sale: Sale, sheet: Sheet) -> None:
    seller = sale.invoice.seller
    if sheet.is_last:
        paragraph(pen, 20, 267, LEGAL, size=6.8, leading=3.3, colour=GREY)
    pen.rule((20, 280), (190, 280), stroke=0.4, colour=WHEAT)
    pen.text(
        20, 284.5,
        f"{seller.name} au capital de 120 000 € – RCS Chartres {siren_in_threes(seller.siren)}"
        f" – TVA {seller.vat_id} – APE 10.61A",
        size=7, colour=GREY,
    )  # fmt: skip
    pen.text(190, 284.5, f"Page {sheet.number}/{sheet.count}", size=8, align=Align.RIGHT)
