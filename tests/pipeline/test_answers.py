"""A reader that was taken over answers what it likes: it harms its own document alone."""

from __future__ import annotations

import math
from typing import Any

import pytest

from printerd.model import PageRange
from printerd.pipeline.answers import checked, checked_mending, checked_range
from printerd.pipeline.pools import PoolBroken

FOUND = {"value": "FA-1", "box": [1, 70.0, 700.0, 120.5, 712.0]}
INVOICE: dict[str, Any] = {
    "first": 1,
    "last": 2,
    "template": "moulin-fr",
    "fields": {"number": FOUND},
    "ibans": [FOUND | {"box": None}],
    "text": "Facture FA-1",
    "words": "a" * 64,
    "pdf": None,
}
READING: dict[str, Any] = {"pages": 2, "converted": None, "removed": ["/JS"], "invoices": [INVOICE]}


def test_what_an_honest_reader_answers_is_taken() -> None:
    """As it is, not a copy."""
    assert checked(READING) is READING


@pytest.mark.parametrize(
    "wrong",
    [
        {"pages": "2"},
        {"pages": 1},
        {"pages": True},
        {"invoices": []},
        {"invoices": [INVOICE] * 3},
        {"invoices": {"0": INVOICE}},
        {"more": 1},
        {"converted": ["0.pdf"]},
    ],
    ids=str,
)
def test_a_reading_of_another_form_is_none(wrong: dict[str, Any]) -> None:
    """A missing, unknown or impossible key is told by its name, and nothing of the answer is used."""
    with pytest.raises(PoolBroken, match="form"):
        checked(READING | wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        {"first": 3},
        {"last": 3},
        {"first": 0},
        {"first": 1.5},
        {"template": None},
        {"text": "\ud800"},
        {"text": "x" * 200_001},
        {"words": "../../keys"},
        {"fields": {"__class__": FOUND}},
        {"fields": {"number": FOUND | {"value": 4}}},
        {"fields": {"number": FOUND | {"value": "x" * 2001}}},
        {"fields": {"number": FOUND | {"box": [1, 2]}}},
        {"fields": {"number": FOUND | {"box": [1, math.nan, 0, 0, 0]}}},
        {"fields": {"number": FOUND | {"box": [1, math.inf, 0, 0, 0]}}},
        {"ibans": "FR76"},
        {"pdf": 0},
    ],
    ids=str,
)
def test_an_invoice_of_another_form_is_none(wrong: dict[str, Any]) -> None:
    """Neither half a character, which no database takes, nor a place that no page has, gets as far as a row."""
    with pytest.raises(PoolBroken, match="form"):
        checked(READING | {"invoices": [INVOICE | wrong]})


SEEN = {"template": "moulin-fr", "number": "FA-1", "customer": "", "position": 1, "heads": False}
RANGE: dict[str, Any] = {"removed": [], "invoices": [INVOICE | {"first": 3, "last": 4}], "seen": [SEEN, SEEN]}
PAGES = PageRange(3, 4)


def test_a_large_document_may_come_without_invoices() -> None:
    """Its ranges tell of them; a small one that has none is no answer."""
    assert checked(READING | {"pages": 51, "invoices": []}, 50)
    with pytest.raises(PoolBroken, match="form"):
        checked(READING | {"pages": 50, "invoices": []}, 50)


@pytest.mark.parametrize(
    "wrong",
    [
        {"seen": [SEEN]},
        {"seen": [SEEN, SEEN | {"template": None}]},
        {"seen": [SEEN, SEEN | {"position": "1"}]},
        {"seen": [SEEN, SEEN | {"more": ""}]},
        {"invoices": []},
        {"invoices": [INVOICE]},
        {"invoices": [INVOICE | {"first": 4, "last": 5}]},
        {"invoices": [INVOICE | {"first": 3, "last": 4}] * 2},
        {"pages": 2},
    ],
    ids=str,
)
def test_a_range_of_another_form_is_none(wrong: dict[str, Any]) -> None:
    """A reader tells of the pages that it was asked for, of each once, and of no others."""
    assert checked_range(RANGE, PAGES) is RANGE
    with pytest.raises(PoolBroken, match="form"):
        checked_range(RANGE | wrong, PAGES)


@pytest.mark.parametrize("last", [2, 5])
def test_a_seam_lies_within_the_document(last: int) -> None:
    """Over the seams stand no pages that the document has not."""
    mending = {"removed": [], "invoices": [INVOICE | {"first": 3, "last": last}]}
    with pytest.raises(PoolBroken, match="form"):
        checked_mending(mending, PageRange(1, 4))
    assert checked_mending({"removed": [], "invoices": []}, PageRange(1, 4))
