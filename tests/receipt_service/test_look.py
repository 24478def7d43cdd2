"""Dates, amounts and colours are written as each people writes them, and can be read."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receipt_service import look

COLOURS = st.tuples(*[st.integers(0, 255)] * 3).map(lambda rgb: "#{:02x}{:02x}{:02x}".format(*rgb))


@pytest.mark.parametrize(
    ("value", "language", "text"),
    [
        (date(2026, 11, 24), "fr", "24 novembre 2026"),
        (date(2026, 5, 1), "fr", "1er mai 2026"),
        (date(2026, 11, 24), "en", "24 November 2026"),
        (date(2026, 5, 1), "en", "1 May 2026"),
    ],
)
def test_dates_are_written_out(value: date, language: look.Language, text: str) -> None:
    """French says premier for the first of a month; a date never breaks across lines."""
    assert look.day(value, language) == text.replace(" ", look.NBSP)


def test_times_name_their_zone() -> None:
    """09:05 UTC is 10:05 in Paris in winter, and the page says whose clock it is."""
    at = datetime(2026, 11, 24, 9, 5, tzinfo=UTC)
    assert look.moment(at, "fr").replace(look.NBSP, " ") == "24 novembre 2026 à 10:05 (heure de Paris)"
    assert look.moment(at, "en").replace(look.NBSP, " ") == "24 November 2026 at 10:05 (Paris time)"


def test_amounts_have_the_spaces_of_their_language() -> None:
    """1 234,56 € with a narrow no-break space in the number and one before the sign; €1,234.56 in English."""
    assert look.amount(Decimal("1234.56"), "EUR", "fr") == "1\u202f234,56\u00a0€"
    assert look.amount(Decimal("1234.56"), "EUR", "en") == "€1,234.56"


def test_sizes_have_the_units_of_their_language() -> None:
    assert look.file_size(62_400, "fr") == "62\u00a0ko"
    assert look.file_size(1_240_000, "en") == "1.2\u00a0MB"


@given(COLOURS)
def test_any_brand_colour_can_be_read(colour: str) -> None:
    """White on the accent has 4.5:1, the accent on the dark page 7:1, whatever the issuer chose (WCAG 2.2)."""
    day, night = look._rgb(look.accent(colour)), look._rgb(look.accent_by_night(colour))
    assert look.contrast(day, look.WHITE) >= 4.5
    assert look.contrast(night, look.NIGHT) >= 7


def test_a_readable_colour_is_not_touched() -> None:
    """The issuer's own colour stays exactly as it is when it can be read."""
    assert look.accent("#1f4e79") == "#1f4e79"
