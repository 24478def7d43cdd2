from __future__ import annotations

import time
from pathlib import Path

import pytest
from babel import Locale
from hypothesis import given
from hypothesis import strategies as st
from stdnum.iso7064 import mod_97_10

from printerd.errors import ConfigurationError
from printerd.pipeline import accounts, parse, split
from printerd.pipeline.layouts import read_template, read_templates, shipped, templates
from printerd.pipeline.pages import Page, read_pages
from printerd.pipeline.parse import choose, find_ibans, read_amount, read_date, read_field, read_fields
from tests.pipeline import paper

IBAN = "FR7630006000011234567890189"


@pytest.mark.parametrize(
    ("text", "locale", "expected"),
    [
        ("03/04/2026", "fr_FR", "2026-04-03"),
        ("03/04/2026", "en_GB", "2026-04-03"),
        ("03/04/2026", "en_US", "2026-03-04"),
        ("3.4.26", "de_DE", "2026-04-03"),
        ("2026-04-03", "fr_FR", "2026-04-03"),
        ("24 novembre 2026", "fr_FR", "2026-11-24"),
        ("1er août 2026", "fr_FR", "2026-08-01"),
        ("02 Juillet 2015", "fr_FR", "2015-07-02"),
        ("5 févr. 2026", "fr_FR", "2026-02-05"),
        ("7. Mai 2014", "de_DE", "2014-05-07"),
        ("August 3 , 2014", "en_US", "2014-08-03"),
        ("24 November 2026", "en_GB", "2026-11-24"),
        ("24 November 2026", "fr_FR", None),
        ("13/13/2026", "fr_FR", None),
        ("31/02/2026", "fr_FR", None),
        ("soon", "fr_FR", None),
        ("2026", "fr_FR", None),
    ],
)
def test_a_date_is_read_by_the_layouts_locale_alone(text: str, locale: str, expected: str | None) -> None:
    """03/04 is April in France and March in the United States; what the locale does not know is no date."""
    assert read_date(text, Locale.parse(locale)) == expected


@pytest.mark.parametrize(
    ("text", "locale", "expected"),
    [
        ("1\u202f234,56 €", "fr_FR", "1234.56"),
        ("1\u00a0234,5", "fr_FR", "1234.50"),
        ("1 000 000", "fr_FR", "1000000.00"),
        ("€1,234.56", "en_GB", "1234.56"),
        ("$4.11", "en_US", "4.11"),
        ("1.234,56", "de_DE", "1234.56"),
        ("1'234.56", "de_CH", "1234.56"),
        ("-12,00", "fr_FR", "-12.00"),
        ("12,00-", "fr_FR", "-12.00"),
        ("\u221212,00 €", "fr_FR", "-12.00"),
        ("(12.00)", "en_GB", "-12.00"),
        ("EUR 12.00", "en_GB", "12.00"),
        ("1.234", "fr_FR", None),
        ("1,234", "fr_FR", None),
        ("1.234,56", "en_GB", None),
        ("12 34,56", "fr_FR", None),
        ("1,23,456.00", "en_GB", None),
        ("", "fr_FR", None),
        ("abc", "fr_FR", None),
    ],
)
def test_an_amount_is_read_by_the_layouts_locale_alone(text: str, locale: str, expected: str | None) -> None:
    """A comma is a decimal mark or a group mark, never a guess; half-formed groups are refused."""
    assert read_amount(text, Locale.parse(locale)) == expected


def spoken(text: str) -> list[str]:
    return [account.iban for account in accounts.find(text)]


@pytest.mark.parametrize(
    "text",
    [
        IBAN,
        "IBAN FR76 3000 6000 0112 3456 7890 189 BIC AGRIFRPP",
        "IBANFR7630006000011234567890189",
        "iban : fr76 3000 6000 0112 3456 7890 189.",
        "F R 7 6 3 0 0 0 6 0 0 0 0 1 1 2 3 4 5 6 7 8 9 0 1 8 9",
        "FR76 3000 6000 \n 0112 3456 7890 189",
        "FR76\u00a03000\u202f6000.0112/3456|7890_189 et la suite",
        "FR7630006000011234567890189VAT",
    ],
)
def test_an_account_is_found_however_it_is_written(text: str) -> None:
    """Spaces, signs, line ends, small letters and a word that touches it do not hide an IBAN."""
    assert spoken(text) == [IBAN]


@pytest.mark.parametrize("text", ["FR76 3000 6000 0112 3456 7890 188", "FR40102003043", "XX82 1234", "", "TVA FR11"])
def test_what_no_bank_could_hold_is_no_account(text: str) -> None:
    """Wrong check digits, VAT numbers and short things are not accounts."""
    assert spoken(text) == []


@given(st.text("0123456789", min_size=18, max_size=18), st.lists(st.sampled_from(["", " ", "-", "\n"]), min_size=22))
def test_every_account_is_found(bban: str, gaps: list[str]) -> None:
    """Any number with right check digits is found, whatever signs stand between its characters."""
    iban = f"DE{mod_97_10.calc_check_digits(bban + 'DE')}{bban}"
    spaced = "".join(letter + gap for letter, gap in zip(iban, gaps, strict=False))
    assert spoken(f"Konto: {spaced} Ende") == [iban]


def test_accounts_of_all_pages_come_once_with_their_place() -> None:
    """Each account of a document is told once, with the box where it stands first."""
    pages = read_pages(paper.pdf([(72, 700, "IBAN FR76 3000 6000 0112 3456 7890 189")], [(72, 90, IBAN)]))
    (found,) = find_ibans(pages)
    assert found.value == IBAN
    assert found.box is not None and found.box.page == 1
    assert 95 < found.box.left < 100 and 695 < found.box.bottom < 700 < found.box.top < 712


@pytest.mark.parametrize("subtype", [b"FreeText", b"Stamp", b"Widget /FT /Tx /T (a) /V (x)"])
def test_words_that_lie_over_the_page_are_read(subtype: bytes) -> None:
    """An account in a note, a stamp or a form field is seen as the customer would see it, and where."""
    pages = read_pages(paper.stamped(subtype, IBAN.encode()))
    (found,) = find_ibans(pages)
    assert found.value == IBAN
    assert found.box is not None and 70 < found.box.left < 80 and 498 < found.box.bottom < found.box.top < 522
    assert pages[0].text.startswith("Page text")


LAYOUT = """
locale = "fr_FR"
fingerprint.all = ['^Firm']
constants.currency = "EUR"
[fields]
number = { label = '^Facture N°', pattern = '\\S+' }
issued_on = { label = '^Date' }
due_on = { label = '^Échéance', direction = "below" }
buyer_name = { zone = [300, 690, 500, 720] }
total = { label = '^Total', pages = "last" }
seller_siren = { pattern = 'RCS (\\d{3} \\d{3} \\d{3})' }
[[fields.customer_code]]
label = '^Code client'
[[fields.customer_code]]
pattern = '\\bC\\d{4}\\b'
[fields.kind]
pattern = '^(FACTURE|AVOIR)\\b'
values = { FACTURE = "invoice", AVOIR = "credit-note" }
"""
FIRST = [
    (72, 800, "Firm"), (72, 780, "FACTURE"), (72, 740, "Facture N°"), (160, 740, "F-1"), (320, 700, "Épicerie du Coin"),
    (72, 720, "Date 03/04/2026"), (72, 660, "Échéance"), (160, 660, "Mode"), (72, 648, "3 mai 2026"),
    (160, 648, "Virement"), (72, 600, "Total"), (400, 600, "1,00"), (72, 560, "Client : C0042"),
    (72, 20, "RCS 123 456 782"),
]  # fmt: skip


def test_fields_stand_right_of_below_or_inside() -> None:
    """Anchors and zones give the values, normalised, with the box of the value alone."""
    template = read_template("firm", LAYOUT)
    fields = read_fields(template, read_pages(paper.pdf(FIRST, [(72, 600, "Total"), (400, 600, "1 234,56 €")])))
    assert {name: found.value for name, found in fields.items()} == {
        "number": "F-1",
        "kind": "invoice",
        "issued_on": "2026-04-03",
        "due_on": "2026-05-03",
        "buyer_name": "Épicerie du Coin",
        "customer_code": "C0042",
        "total": "1234.56",
        "currency": "EUR",
        "seller_siren": "123456782",
    }
    box = fields["total"].box
    assert box is not None and box.page == 2 and 399 < box.left < 401 and box.right < 460
    assert fields["currency"].box is None


def test_a_value_that_cannot_be_read_is_kept_for_the_check() -> None:
    """A date or amount of another form comes as it stands, so that a person sees what was printed."""
    template = read_template(
        "firm", "locale='fr_FR'\nfingerprint.all=['x']\n[fields]\ntotal={label='^Total',pattern='.+'}"
    )
    found = read_field(template, "total", read_pages(paper.pdf([(72, 600, "Total abc")])))
    assert found is not None and found.value == "abc"
    assert found.box is not None and 95 < found.box.left < 100 and found.box.right < 116


def test_the_layout_that_asks_for_most_wins() -> None:
    """Of two that match the more specific is chosen, of equals the later: the firm's own over the shipped one; before
    these the one that the sender named, where it matches.
    """
    one, two, three = (
        read_template(name, f"locale='fr_FR'\nfingerprint.all={marks}\nfingerprint.none=['Devis']")
        for name, marks in (("one", ["Firm"]), ("two", ["Firm", "Facture"]), ("three", ["Firm"]))
    )
    assert choose("Firm Facture", [one, two, three]) is two
    assert choose("Firm", [one, two, three]) is three
    assert choose("Firm Devis", [one, two, three]) is None
    assert choose("Firm Facture", [one, two, three], "one") is one
    assert choose("Firm Facture", [one, two, three], "absent") is two
    assert choose("Firm Devis", [one, two, three], "one") is None


def test_a_layout_of_the_state_replaces_the_shipped_one() -> None:
    """A template of the same name in the state folder takes the place of ours."""
    ours = shipped()[0]
    own = {"name": ours["name"], "toml": "locale='fr_FR'\nfingerprint.all=['mine']"}
    read = read_templates([*shipped(), own])
    assert len(read) == len(shipped())
    assert [t.all[0].pattern for t in read if t.name == ours["name"]] == ["mine"]


def test_templates_come_from_the_product_and_the_state(tmp_path: Path) -> None:
    """The state's folder is read after the shipped templates; without a folder there are just these."""
    (tmp_path / "own.toml").write_text("locale='fr_FR'\nfingerprint.all=['mine']")
    assert [source["name"] for source in templates(tmp_path)] == [*(s["name"] for s in shipped()), "own"]
    assert templates(tmp_path / "absent") == shipped()


@pytest.mark.parametrize(
    ("toml", "told"),
    [
        ("= nonsense", "is not TOML"),
        ("locale='fr_FR'", "fingerprint.all is missing"),
        ("locale='xx_YY'\nfingerprint.all=['x']", "locale must be a locale"),
        ("fingerprint.all=['x']", "locale must be a locale"),
        ("locale='fr_FR'\nfingerprint.all=3", "fingerprint.all must be a list"),
        ("locale='fr_FR'\nfingerprint.all=['x']\nfields.number={label='x',direction=[]}", "has direction"),
        ("locale='fr_FR'\nfingerprint.all=['x']\nfields.kind={label='x',values={A=3}}", "values must be text"),
        ("locale='fr_FR'\nfingerprint.all=['(']", "fingerprint.all is no regular expression"),
        ("locale='fr_FR'\nfingerprint.all=['x']\npage='Page'", "page needs a group"),
        ("locale='fr_FR'\nfingerprint.all=['x']\ncolour='red'", "colour is unknown"),
        ("locale='fr_FR'\nfingerprint.all=['x']\nfields.numbr={pattern='x'}", "fields.numbr is no field"),
        ("locale='fr_FR'\nfingerprint.all=['x']\nfields.number={}", "fields.number needs a label"),
        ("locale='fr_FR'\nfingerprint.all=['x']\nfields.number='x'", "fields.number must be a table"),
        ("locale='fr_FR'\nfingerprint.all=['x']\nfields.number={lable='x'}", "fields.number.lable is unknown"),
        ("locale='fr_FR'\nfingerprint.all=['x']\nfields.number={label='x',direction='up'}", "has direction"),
        ("locale='fr_FR'\nfingerprint.all=['x']\nfields.number={zone=[1,2,3]}", "fields.number.zone must be"),
        ("locale='fr_FR'\nfingerprint.all=['x']\nfields.number={zone=[9,2,3,4]}", "fields.number.zone is empty"),
    ],
)
def test_a_wrong_template_is_told_with_its_name_and_key(toml: str, told: str) -> None:
    """IT reads which file and which key; the service does not start on a half-understood layout."""
    with pytest.raises(ConfigurationError, match=told) as caught:
        read_template("firm", toml)
    assert caught.value.where == "templates/firm.toml"


@pytest.mark.parametrize("unit", ["1", "A", "1 ", "123 ", "1 234 ", "12 january ", "FR76 ", "FACTURE N° ", "(", "- "])
def test_no_text_makes_a_pattern_slow(unit: str) -> None:
    """A page of one endless number or word is read in about a second, not in the minute after which readers die."""
    text = (unit * 20_000)[:50_000]
    began = time.process_time()
    for pattern in (*parse._PATTERNS.values(), split._HEAD):
        pattern.search(text)
    list(accounts.find(text))
    assert time.process_time() - began < 3


def test_characters_and_places_agree_when_pdfium_leaves_some_out() -> None:
    """The box of a word is the box of that word also after characters beyond the first 65536."""
    data = paper.raw_pdf(
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Count 1 /Kids [3 0 R] >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 9 9] /Contents 4 0 R /Resources << /Font << /F 5 0 R >> >> >>",
        paper.stream(b"BT /F 12 Tf 72 700 Td (AAA end) Tj ET"),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /ToUnicode 6 0 R >>",
        paper.stream(
            b"/CIDInit /ProcSet findresource begin 12 dict begin begincmap 1 begincodespacerange <00> <FF>"
            b" endcodespacerange 1 beginbfchar <41> <D83DDE00> endbfchar endcmap end end"
        ),
    )
    (page,) = read_pages(data)
    assert isinstance(page, Page)
    assert page.words[-1].text == "end"
    assert 95 < page.words[-1].left < 105
