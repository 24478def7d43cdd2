"""The firm's old ERP prints plain text: 80 columns, a form feed at the end of every page.

One rule: what a line printer of 66 lines could print, and nothing else: no bold, no euro sign.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal

from printerd.demo.forms import in_fours, siren_in_threes
from printerd.demo.trade import BIC, Line, Sale, taxes
from printerd.model import PageRange

NAME = "moulin-text-fr"
COLUMNS = 80
_BODY = 22
"""The lines that the table of a page holds; a longer sale has no place on this form."""


def render(sales: Sequence[Sale]) -> tuple[bytes, tuple[PageRange, ...]]:
    """The sales as UTF-8 text, a page each; and the page of each."""
    pages = ["\n".join(line.rstrip() for line in _page(sale)) + "\n\f" for sale in sales]
    return "".join(pages).encode(), tuple(PageRange(n, n) for n in range(1, len(pages) + 1))


def _page(sale: Sale) -> Iterator[str]:
    if len(sale.lines) > _BODY:
        raise ValueError(f"{sale.invoice.number}: {len(sale.lines)} lines, the form has {_BODY}")
    yield from _head(sale)
    yield from _table(sale)
    yield from _totals(sale)
    yield from _foot(sale)


def _head(sale: Sale) -> Iterator[str]:
    invoice = sale.invoice
    title = "AVOIR" if sale.is_credit_note else "FACTURE"
    yield f"{invoice.seller.name.upper():<50}{title:>30}"
    yield from invoice.seller.address.splitlines()
    yield "=" * COLUMNS
    yield ""
    facts = (
        f"{title} No   : {invoice.number}",
        f"DATE         : {invoice.issued_on:%d.%m.%Y}",
        f"ECHEANCE     : {invoice.due_on:%d.%m.%Y}" if invoice.due_on else f"SUR FACTURE  : {sale.corrects}",
        f"CLIENT No    : {invoice.customer_code}",
        f"TVA CLIENT   : {invoice.buyer.vat_id}",
        f"COMMANDE     : {sale.order}",
        f"LIVRE LE     : {sale.delivered_on:%d.%m.%Y}",
    )
    address = ["", "", invoice.buyer.name, *invoice.buyer.address.splitlines()]
    for left, right in zip(facts, address + [""] * (len(facts) - len(address)), strict=True):
        yield f"{left:<42}{right}"
    yield ""


def _table(sale: Sale) -> Iterator[str]:
    yield "-" * COLUMNS
    yield f"{'REF':<6}{'DESIGNATION':<34}{'QTE':>5} {'P.U. HT':>11}{'TVA %':>8}{'MONTANT HT':>15}"
    yield "-" * COLUMNS
    yield from map(_row, sale.lines)
    yield from [""] * (_BODY - len(sale.lines))
    yield "-" * COLUMNS


def _row(line: Line) -> str:
    article = line.article
    rate = f"{line.rate:.2f}".replace(".", ",")
    return (
        f"{article.code:<6}{article.french[:33]:<34}{line.quantity:>5} "
        f"{_figure(article.price):>11}{rate:>8}{_figure(line.amount):>15}"
    )


def _totals(sale: Sale) -> Iterator[str]:
    invoice = sale.invoice
    for tax in taxes(sale.lines):
        rate = f"{tax.rate:.2f}".replace(".", ",")
        yield f"BASE TVA {rate:>5} % {_figure(tax.base):>12}   TVA {_figure(tax.amount):>12}"
    yield ""
    for label, money in (("TOTAL HT", invoice.net), ("TOTAL TVA", invoice.vat), ("TOTAL TTC", invoice.total)):
        yield f"{'':<46}{label:<13}{money.currency} {_figure(money.amount):>17}"
    yield "=" * COLUMNS


def _foot(sale: Sale) -> Iterator[str]:
    invoice = sale.invoice
    yield ""
    if not sale.is_credit_note:
        yield f"REGLEMENT PAR VIREMENT  IBAN {in_fours(invoice.iban)}"
        yield f"                        BIC  {BIC}"
    yield ""
    yield "Livraison de biens. TVA acquittée sur les débits. Pas d'escompte."
    yield "Retard : trois fois l'intérêt légal, indemnité forfaitaire de 40 EUR."
    yield f"{invoice.seller.name} - RCS Chartres {siren_in_threes(invoice.seller.siren)} - TVA {invoice.seller.vat_id}"
    yield f"{'PAGE 1/1':>80}"


def _figure(amount: Decimal) -> str:
    """``1234.5`` → ``1 234,50`` with an ordinary space, as line printers have it."""
    return f"{amount:,.2f}".replace(",", " ").replace(".", ",")
