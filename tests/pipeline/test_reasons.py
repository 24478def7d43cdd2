from __future__ import annotations

import re

import pytest

from printerd.model import Reason
from printerd.reasons import ACCEPTABLE, FIELD_LABELS, REASONS, remedy, sentence

FACTS = {
    "field": "due_on",
    "value": "FR00",
    "net": "1234.50",
    "vat": "-246.90",
    "total": "1000000.00",
    "seller": "123456782",
    "iban": "FR7630006000011234567890189",
    "issued_on": "2026-12-01",
    "due_on": "",
    "number": "FA-2026-0042",
    "first": "FA-2026-0042 (7f3c)",
    "code": "C0042",
    "template": "classic",
    "chosen": "duo",
}


@pytest.mark.parametrize("language", ["fr", "en"])
@pytest.mark.parametrize("code", REASONS)
def test_every_reason_has_a_sentence_and_a_remedy(code: str, language: str) -> None:
    """Each reason is one line, then what to do, in both languages, with no hole left and no exclamation mark."""
    reason = Reason(code, FACTS)
    for text in (sentence(reason, language), remedy(reason, language, "7f3c")):
        assert text and "\n" not in text and not re.search(r"[{}?!]", text)
    assert len(sentence(reason, language)) <= 110
    assert sentence(reason, "fr") != sentence(reason, "en")


@pytest.mark.parametrize("code", REASONS)
def test_french_is_set_with_no_break_spaces(code: str) -> None:
    """No French line can break before a colon, a semicolon or inside guillemets."""
    for text in (sentence(Reason(code, FACTS), "fr"), remedy(Reason(code, FACTS), "fr")):
        assert not re.search(r" [:;»]|« ", text)


@pytest.mark.parametrize(
    ("code", "language", "expected"),
    [
        ("amounts-differ", "fr", "1\u202f234,50 HT + -246,90 de TVA ≠ 1\u202f000\u202f000,00 TTC"),
        ("amounts-differ", "en", "1,234.50 net + -246.90 VAT ≠ 1,000,000.00"),
        ("dates", "fr", "émise le 1er décembre 2026, échéance –"),
        ("dates", "en", "issued on 1 December 2026, due on –"),
        ("foreign-iban", "en", "FR76 3000 6000 0112 3456 7890 189"),
        ("field-missing", "fr", "échéance"),
        ("field-missing", "en", "due date"),
        ("unknown-customer", "en", "Customer C0042"),
    ],
)
def test_a_sentence_names_the_value(code: str, language: str, expected: str) -> None:
    """Amounts, dates and accounts are written as the reader's language writes them."""
    assert expected in sentence(Reason(code, FACTS), language)


@pytest.mark.parametrize(
    ("code", "facts", "command"),
    [
        ("unknown-customer", {"code": "C9"}, "invoices correct 7f3c --set customer_code=…"),
        ("unknown-customer", {"code": "C9"}, "invoice-printer customers import FILE.csv"),
        ("field-missing", {"field": "total"}, "invoice-printer invoices correct 7f3c --set total=…"),
        ("field-missing", {"field": "seller"}, "--set seller_siren=…"),
        ("amounts-differ", {}, "invoice-printer invoices release 7f3c --reason …"),
        ("unknown-layout", {}, "invoice-printer jobs retry JOB --reason …"),
    ],
)
def test_a_remedy_is_a_command_to_copy(code: str, facts: dict[str, str], command: str) -> None:
    """The remedy names the invoice and the field that it is about."""
    assert command in remedy(Reason(code, facts), "en", "7f3c")


def test_what_nobody_may_override() -> None:
    """A foreign account or seller, a used number, a missing field or customer are mended, never waved through."""
    assert not ACCEPTABLE & {"foreign-iban", "foreign-seller", "bad-iban", "number-used", "field-missing", "bad-field"}
    assert not ACCEPTABLE & {"unknown-customer", "no-address", "reader-died"}
    assert {"amounts-differ", "dates"} <= ACCEPTABLE


def test_fields_have_names_in_both_languages() -> None:
    """What a person is asked to correct has a name in her language."""
    assert all(french and english for french, english in FIELD_LABELS.values())
