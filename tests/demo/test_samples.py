"""The tour and other tests stand on the samples: these are true, repeatable, and hard to read in the right places."""

from __future__ import annotations

import csv
import json
import subprocess
from dataclasses import replace
from datetime import date
from decimal import Decimal
from email.utils import getaddresses
from pathlib import Path

import pikepdf
import pypdfium2
import pytest
from stdnum import iban
from stdnum.eu import vat
from stdnum.fr import siren
from stdnum.gb import vat as british_vat

from printerd.demo import classic, export, modern
from printerd.demo.forms import Room, sheets
from printerd.demo.listing import COLUMNS
from printerd.demo.pens import PdfPen, Typeface
from printerd.demo.samples import (
    CLASSIC,
    CUSTOMER_COLUMNS,
    EXPORT,
    LINE_PRINTER,
    MODERN,
    Ledgers,
    Order,
    Press,
    Sample,
    TrueInvoice,
    generate,
)
from printerd.demo.trade import BUYERS, IBAN, ISSUER, LATECOMER, taxes
from printerd.model import InvoiceKind, PageRange

TODAY = date(2026, 11, 24)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("samples")


@pytest.fixture(scope="module")
def samples(folder: Path) -> dict[str, Sample]:
    return {sample.file.name: sample for sample in generate(folder, today=TODAY)}


@pytest.fixture(scope="module")
def invoices(samples: dict[str, Sample]) -> list[TrueInvoice]:
    return [true for sample in samples.values() for true in sample.expected]


def pages_of(content: bytes | Path) -> list[str]:
    """The text of each page as pdfium reads it, every white space an ordinary one."""
    with pypdfium2.PdfDocument(content) as pdf:
        return [" ".join(page.get_textpage().get_text_range().split()) for page in pdf]


def pages_of_sample(sample: Sample) -> list[str]:
    if sample.media_type == "text/plain":
        return [" ".join(page.split()) for page in sample.file.read_text("utf-8").removesuffix("\f").split("\f")]
    return pages_of(sample.file)


def test_same_seed_and_day_give_the_same_bytes(samples: dict[str, Sample], folder: Path, tmp_path: Path) -> None:
    """Every file of the samples is the same, byte for byte, when made again."""
    generate(tmp_path, today=TODAY)
    made = {file.name: file.read_bytes() for file in folder.iterdir()}
    assert made == {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    assert len(made) == 2 * len(samples) + 2


def test_another_seed_makes_other_invoices(samples: dict[str, Sample], tmp_path: Path) -> None:
    """The seed changes what was sold, never the numbers."""
    others = generate(tmp_path, seed=1, today=TODAY)
    for sample, other in zip(samples.values(), others, strict=True):
        assert [true.invoice.number for true in sample.expected] == [true.invoice.number for true in other.expected]
        assert sample.file.read_bytes() != other.file.read_bytes()


def test_numbers_run_without_a_gap(invoices: list[TrueInvoice]) -> None:
    """Invoices are numbered in the order of the files, as a tax inspector wants them (CGI annex II 242 nonies A)."""
    numbers = [true.invoice.number for true in invoices if true.invoice.kind is InvoiceKind.INVOICE]
    assert numbers == [f"FA-2026-{n:04d}" for n in range(101, 101 + len(numbers))]


def test_sums_are_right(invoices: list[TrueInvoice]) -> None:
    """Net and VAT make the total, and are cents."""
    for invoice in (true.invoice for true in invoices):
        assert invoice.net.amount + invoice.vat.amount == invoice.total.amount > 0
        assert {money.amount.as_tuple().exponent for money in (invoice.net, invoice.vat, invoice.total)} == {-2}


def test_lines_add_up() -> None:
    """The lines of a sale make its net, and each rate of VAT is rounded once."""
    sale = Ledgers(2026, TODAY).enter(Order("C0042", 16), classic.NAME)
    assert sum(line.amount for line in sale.lines) == sale.invoice.net.amount
    assert {tax.rate for tax in taxes(sale.lines)} == {Decimal("5.5"), Decimal("20")}
    assert sum(tax.amount for tax in taxes(sale.lines)) == sale.invoice.vat.amount


def test_export_bears_no_vat(samples: dict[str, Sample]) -> None:
    """A customer abroad owes the net amount, and the page says under which article."""
    sample = samples["invoice-simple-en.pdf"]
    assert sample.expected[0].invoice.vat.amount == 0
    assert "article 138 of Directive 2006/112/EC" in pages_of_sample(sample)[0]


def test_identifiers_have_right_check_digits(invoices: list[TrueInvoice]) -> None:
    """Every SIREN, VAT number and IBAN passes its official check."""
    assert siren.is_valid(ISSUER.siren) and vat.is_valid(ISSUER.vat_id) and iban.is_valid(IBAN)
    for party in (buyer.party for buyer in (*BUYERS, LATECOMER)):
        assert british_vat.is_valid(party.vat_id) if party.vat_id.startswith("GB") else vat.is_valid(party.vat_id)
        assert not party.siren or (siren.is_valid(party.siren) and party.vat_id.endswith(party.siren))
    assert {true.invoice.iban for true in invoices} == {IBAN, ""}


def test_every_page_names_its_invoice_and_customer(samples: dict[str, Sample]) -> None:
    """On each page of an invoice stand its number, its customer's code and the page's own place."""
    for sample in samples.values():
        if sample.media_type == "application/postscript":
            continue
        pages = pages_of_sample(sample)
        assert len(pages) == sample.expected[-1].pages.last
        for true in sample.expected:
            for n, text in enumerate(pages[true.pages.first - 1 : true.pages.last], start=1):
                assert true.invoice.number in text and true.invoice.customer_code in text
                assert f"{n}/{len(true.pages)}" in text or f"Page {n} of {len(true.pages)}" in text


def test_last_page_bears_the_totals(samples: dict[str, Sample]) -> None:
    """The total stands on the last page of an invoice and on no page before it."""
    sample = samples["facture-deux-pages-fr.pdf"]
    first, last = pages_of_sample(sample)
    printed = f"{sample.expected[0].invoice.total.amount:,.2f} €".replace(",", " ").replace(".", ",")
    assert f"Total TTC {printed}" in last
    assert "Total TTC" not in first and "Page 1/2" in first and "Page 2/2" in last


def test_credit_note_names_its_invoice(samples: dict[str, Sample]) -> None:
    """A credit note says which invoice it corrects, is owed by nobody, and has a number of its own series."""
    [true] = samples["avoir-fr.pdf"].expected
    text = pages_of_sample(samples["avoir-fr.pdf"])[0]
    assert true.invoice.kind is InvoiceKind.CREDIT_NOTE and true.invoice.due_on is None
    assert "Avoir N° AV-2026-0007" in text and "Sur facture FA-2026-0101" in text and "IBAN" not in text


def test_batch_has_forty_invoices(samples: dict[str, Sample]) -> None:
    """The batch mixes invoices of one and two pages for eight customers, one after the other without a gap."""
    batch = samples["lot-40-fr.pdf"].expected
    assert len({true.invoice.number for true in batch}) == 40
    assert len({true.invoice.customer_code for true in batch}) == 8
    assert {len(true.pages) for true in batch} == {1, 2}
    assert [true.pages.first for true in batch[1:]] == [true.pages.last + 1 for true in batch[:-1]]


def fonts_of(file: Path) -> list[tuple[str, str, bool]]:
    with pikepdf.open(file) as pdf:
        return [
            (str(font.Subtype), str(font.get("/Encoding")), "/ToUnicode" in font)
            for font in pdf.pages[0].Resources.Font.values()
            if font.BaseFont != "/Helvetica"
        ]


@pytest.mark.parametrize(
    ("file", "fonts"),
    [
        ("facture-simple-fr.pdf", {("/Type1", "/WinAnsiEncoding", False)}),
        ("invoice-simple-en.pdf", {("/TrueType", "None", True)}),
        ("facture-cid-fr.pdf", {("/Type0", "/Identity-H", True)}),
    ],
)
def test_three_kinds_of_fonts(samples: dict[str, Sample], file: str, fonts: set[tuple[str, str, bool]]) -> None:
    """A reader meets a standard font, a simple subset font and a composite font with Identity-H."""
    assert set(fonts_of(samples[file].file)) == fonts


def test_composite_font_draws_what_it_says(samples: dict[str, Sample], tmp_path: Path) -> None:
    """The widths of the composite font are those of its glyphs: a line measures the same as in the simple font."""
    text = "Épicerie « Façade » 1 234,56 €"
    boxes = []
    for typeface in (Typeface.SUBSET, Typeface.CID):
        pen = PdfPen(typeface, title="", author="")
        pen.text(20, 20, text, size=12)
        pen.end_page()
        with pypdfium2.PdfDocument(pen.finish()) as pdf:
            textpage = pdf[0].get_textpage()
            assert textpage.get_text_range().split() == text.split()
            boxes.append(textpage.get_charbox(textpage.count_chars() - 1, loose=True))
    assert boxes[0] == pytest.approx(boxes[1], abs=0.5)


def test_postscript_survives_ghostscript(samples: dict[str, Sample], tmp_path: Path) -> None:
    """Converted by Ghostscript, the PostScript reads as the PDF of the same form would: accents, hyphens, euro."""
    sample = samples["facture-postscript-fr.ps"]
    converted = tmp_path / "converted.pdf"
    subprocess.run(
        ["gs", "-q", "-dSAFER", "-dBATCH", "-dNOPAUSE", "-sDEVICE=pdfwrite", "-o", str(converted), str(sample.file)],
        check=True,
    )
    [true] = sample.expected
    sale = Ledgers(2026, TODAY, invoices=int(true.invoice.number[-4:])).enter(Order("C0031", 9), classic.NAME)
    assert sale.invoice == true.invoice
    content, _ = CLASSIC.render([sale])
    assert pages_of(converted)[0].split() == pages_of(content)[0].split()


def test_text_fits_a_line_printer(samples: dict[str, Sample]) -> None:
    """The old ERP prints pages of at most 66 lines of 80 columns, and ends each with a form feed."""
    text = samples["factures-texte-fr.txt"].file.read_text("utf-8")
    assert text.count("\f") == 3 and text.endswith("\f")
    for page in text.split("\f"):
        assert len(page.splitlines()) <= 66
        assert max(map(len, page.splitlines()), default=0) <= COLUMNS


def test_text_form_refuses_what_does_not_fit() -> None:
    """A sale of more lines than the form has is refused rather than cut."""
    sale = Ledgers(2026, TODAY).enter(Order("C0013", 23), "text")
    with pytest.raises(ValueError, match="23 lines, the form has 22"):
        LINE_PRINTER.render([sale])


@pytest.mark.parametrize("press", [CLASSIC, EXPORT, MODERN, LINE_PRINTER], ids=lambda press: str(press.layout))
def test_every_form_prints_credit_notes(press: Press) -> None:
    """Each form names the corrected invoice on a credit note, and asks for no payment."""
    sale = Ledgers(2026, TODAY).enter(Order("C0090", 3, corrects=55), press.layout)
    content, pages = press.render([sale])
    text = content.decode() if press is LINE_PRINTER else pages_of(content)[0]
    assert pages == (PageRange(1, 1),)
    assert sale.invoice.number in text and "FA-2026-0055" in text and "IBAN" not in text


@pytest.mark.parametrize("room", [classic.ROOM, export.ROOM, modern.ROOM])
@pytest.mark.parametrize("size", range(1, 80, 6))
def test_sheets_hold_every_line_once(room: Room, size: int) -> None:
    """However many lines a sale has, each is on one sheet, the last sheet has room for totals, none is empty."""
    lines = Ledgers(2026, TODAY).enter(Order("C0042", size), "any").lines
    made = sheets(lines, room)
    assert tuple(line for sheet in made for line in sheet.lines) == lines
    assert len(made[-1].lines) <= room.last and all(0 < len(sheet.lines) <= room.going_on for sheet in made)
    assert made[-1].subtotal == sum(line.amount for line in lines)


def test_truth_stands_beside_each_file(samples: dict[str, Sample], folder: Path) -> None:
    """NAME.json holds the fields of every invoice of the file, in the notation that a reading has."""
    for sample in samples.values():
        truth = json.loads((folder / f"{sample.name}.json").read_text("utf-8"))
        assert truth["file"] == sample.file.name
        for fields, true in zip(truth["invoices"], sample.expected, strict=True):
            assert fields["number"] == true.invoice.number
            assert fields["issued_on"] == true.invoice.issued_on.isoformat()
            assert Decimal(fields["total"]) == true.invoice.total.amount
            assert fields["pages"] == [true.pages.first, true.pages.last]
            assert fields["layout"] == true.invoice.found_by


def read_customers(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_customers_of_the_samples_can_be_imported(samples: dict[str, Sample], folder: Path) -> None:
    """The list holds every customer of the samples but the one whose invoice must wait; the late list has that one."""
    table = read_customers(folder / "customers.csv")
    late = read_customers(folder / "customers-late.csv")
    assert tuple(table[0]) == CUSTOMER_COLUMNS
    held = samples["facture-client-inconnu-fr.pdf"]
    billed = {true.invoice.customer_code for s in samples.values() if s is not held for true in s.expected}
    assert billed <= {row["code"] for row in table}
    assert [row["code"] for row in late] == [held.expected[0].invoice.customer_code] == ["C0099"]
    assert "C0099" not in {row["code"] for row in table}


def test_no_mail_address_can_exist(samples: dict[str, Sample], folder: Path) -> None:
    """Every address is in a reserved domain (RFC 2606), so that a tour can mail nobody."""
    rows = read_customers(folder / "customers.csv") + read_customers(folder / "customers-late.csv")
    addresses = [mail for row in rows for _, mail in getaddresses(row["contacts"].split("; "))]
    assert len(addresses) > len(rows)
    assert {mail.rpartition(".")[2] for mail in (*addresses, ISSUER.email)} == {"example"}


def test_unknown_characters_are_refused() -> None:
    """A character that a font lacks fails when it is printed, rather than leave a hole in an invoice."""
    sale = Ledgers(2026, TODAY).enter(Order("C0028", 1), modern.NAME)
    party = replace(sale.invoice.buyer, name="水車小屋")
    with pytest.raises(ValueError, match=r"DemoVeraCid-Bold has no glyph for U\+6C34"):
        MODERN.render([replace(sale, invoice=replace(sale.invoice, buyer=party))])
