"""Words on pages to the fields of invoices: the parser, the split and the checks, without a document or a database.

One rule: any words at any places are read, split and judged; every page is in one invoice, what a reader answers has
the agreed form, and every doubt can be said in both languages. An input is lines ``LEFT BOTTOM text``; a form feed
begins a page.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date
from functools import cache
from random import Random

from printerd.demo.samples import PLANS, Ledgers
from printerd.demo.trade import IBAN, ISSUER
from printerd.model import Invoice, Issuer, PageRange
from printerd.pipeline import answers, check, reading
from printerd.pipeline.layouts import Template, read_templates, shipped
from printerd.pipeline.pages import Page, Word, read_pages
from printerd.pipeline.split import look, split
from printerd.reasons import remedy, sentence
from tests.fuzz.mutation import lines
from tests.fuzz.target import Target

TODAY = date(2026, 11, 24)
MILL = Issuer("moulin", ISSUER, frozenset({IBAN}), ISSUER.email, "", "#1f4e79")
WIDTH, HEIGHT = 5.0, 10.0
"""Points of a character."""
MOST = 20
"""Pages."""
_LINE = re.compile(r"(-?[0-9.]{1,8}|nan|inf) (-?[0-9.]{1,8}|nan|inf) (.*)", re.DOTALL)


@cache
def _templates() -> tuple[Template, ...]:
    return read_templates(shipped())


def once(data: bytes) -> None:
    pages = [_page(number, text) for number, text in enumerate(data.decode("utf-8", "replace").split("\f")[:MOST], 1)]
    seen = look(pages, _templates())
    parts = split(seen)
    assert [number for part in parts for number in range(part.pages.first, part.pages.last + 1)] == [
        page.number for page in pages
    ]
    invoices = [reading._invoice(part, pages[part.pages.first - 1 : part.pages.last], None) for part in parts]
    places = [
        place for one in invoices for found in (*one["fields"].values(), *one["ibans"]) for place in found["box"] or ()
    ]
    if all(abs(place) < 1e6 for place in places):  # else no reader was honest
        told = [reading._told(page) for page in seen]
        answers.checked_range({"removed": [], "invoices": invoices, "seen": told}, PageRange(1, len(pages)))
    for invoice in invoices:
        _judge(invoice)


def _judge(invoice: reading.Values) -> None:
    fields = {name: check.found(one) for name, one in invoice["fields"].items()}
    ibans = [check.found(one) for one in invoice["ibans"]]
    judged = check.check(fields, ibans, [MILL], TODAY, found_by=invoice["template"], text=invoice["text"])
    reasons = check.customer(judged, None) if isinstance(judged, Invoice) else judged
    assert reasons
    for reason in reasons:
        for language in ("fr", "en"):
            assert sentence(reason, language)
            assert remedy(reason, language)


def _page(number: int, text: str) -> Page:
    """A page as pdfium gives it: its words stand in its text one after the other."""
    rows, words, start = list[str](), list[Word](), 0
    for line in text.splitlines():
        found = _LINE.fullmatch(line)
        left, bottom, shown = (_points(found[1]), _points(found[2]), found[3]) if found else (50.0, 400.0, line)
        words += _words(shown, start, left, bottom)
        rows.append(f"{shown}\n")
        start += len(rows[-1])
    return Page(number, "".join(rows), tuple(words), tuple(sorted(words, key=lambda word: word.middle)))


def _words(shown: str, start: int, left: float, bottom: float) -> Iterator[Word]:
    for match in re.finditer(r"\S+", shown):
        begin, end = left + WIDTH * match.start(), left + WIDTH * match.end()
        yield Word(match[0], begin, bottom, end, bottom + HEIGHT, start + match.start(), start + match.end())


def _points(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


# Inputs


def seeds() -> dict[str, bytes]:
    """The samples of the demonstration, as their words stand on their pages."""
    ledgers, found = Ledgers(2026, TODAY), dict[str, bytes]()
    for plan in PLANS[:5]:
        pdf, _ = plan.press.render([ledgers.enter(order, plan.press.layout) for order in plan.orders])
        found[plan.file.removesuffix(".pdf")] = "\f".join(map(_written, read_pages(pdf))).encode()
    return found | {"nothing": b"", "letter": b"50 700 Madame, Monsieur,\n50 680 Facture n\xc2\xb0 12 jointe.\n"}


def _written(page: Page) -> str:
    """Its lines, each where its first word stands."""
    rows = list[str]()
    for line in re.finditer(r".+", page.text):
        if words := page.covered(line.start(), line.end()):
            rows.append(f"{words[0].left:.0f} {words[0].bottom:.0f} {' '.join(word.text for word in words)}")
    return "\n".join(rows)


WORDS = (
    b"Facture", b"Avoir", b"Invoice", "N\u00b0".encode(), b"Page 1/2", b"Page 2/2", b"Page " + b"9" * 5000 + b"/2",
    b"IBAN ", b"FR76", IBAN.encode(), b"FR76 3000 6000 0112 3456 7890 189", b"1 234,56", b"-1.234,56", b"(12,00)",
    b"9999999999999,99", b"24/11/2026", b"31.02.2026", b"2026-11-24", "1er f\u00e9vrier 2026".encode(),
    b"February 3, 2026", b"Total TTC", b"Total HT", b"Total TVA", "\u00c9ch\u00e9ance".encode(), b"\f",
    b"Au bon moulin", "N\u00b0 client C0042".encode(), b"RCS LYON 732 829 320", b"TVA FR44732829320", b"A" * 3000,
    b"1" * 5000, b"\xe2\x80\xaf", "\u0130".encode(), "\u0663".encode(), b"nan nan x", b"inf inf x", b"1e9 0 x",
    b"311 695 x",
)  # fmt: skip
_linewise = lines(WORDS)


def mutate(data: bytes, random: Random) -> bytes:
    return _linewise(data, random)


TARGET = Target(once, seeds, mutate, WORDS, longest=16 * 1024, mutations=1500)
