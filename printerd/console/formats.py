"""How French and English write dates, times, amounts and sizes; what cannot be read is shown as it stands."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal, InvalidOperation

from babel import dates, numbers

from printerd.console import texts
from printerd.model import Box
from printerd.storage.archive import COUNTED

LOCALES = {"fr": "fr_FR", "en": "en_GB"}
A4 = (595.0, 842.0)
"""Width and height in points of the paper that places are said for."""


def day(language: str, value: str | datetime | None, pattern: str = "d MMMM y") -> str:
    """``24 November 2026``. What is no date is shown as it stands: it may be what is wrong."""
    try:
        on = value.astimezone() if isinstance(value, datetime) else date.fromisoformat(value or "")
    except ValueError:
        return str(value or "")
    return str(dates.format_date(on, pattern, LOCALES[language]))


def short_day(language: str, value: str | datetime | None) -> str:
    """``24 Nov 2026``, for the columns of a list."""
    return day(language, value, "d MMM y")


def moment(language: str, value: datetime | None) -> str:
    """Day and time of this machine's zone, to the second, with the zone's name."""
    if value is None:
        return ""
    local = value.astimezone()
    join = " à " if language == "fr" else ", "
    return f"{day(language, local)}{join}{local:%H:%M:%S}{texts.NO_BREAK}{local:%Z}"


def clock_time(_language: str, value: datetime) -> str:
    return f"{value.astimezone():%H:%M:%S}"


def money(language: str, amount: str, currency: str) -> str:
    """``€1,234.56`` or ``1 234,56 €``; what is no amount is shown as it stands."""
    try:
        return str(numbers.format_currency(Decimal(amount), currency or "EUR", locale=LOCALES[language]))
    except (InvalidOperation, ValueError):
        return amount


def count(language: str, number: int) -> str:
    """A counted number; where counting stopped, it says so."""
    shown = str(numbers.format_decimal(min(number, COUNTED), locale=LOCALES[language]))
    return f"{shown}+" if number >= COUNTED else shown


def size(language: str, octets: int) -> str:
    """Kilobytes or megabytes of 1,000, as file managers show them."""
    value, unit = (octets / 1e6, "M") if octets >= 1e6 else (octets / 1e3, "k")
    digits = numbers.format_decimal(round(value, 1), locale=LOCALES[language])
    return f"{digits}{texts.NO_BREAK}{unit}{'o' if language == 'fr' else 'B'}"


def place(language: str, box: Box) -> str:
    """Where on the page a box is, in words: thirds of an A4 page."""
    across = ("left", "centre", "right")[_third((box.left + box.right) / 2 / A4[0])]
    down = ("bottom", "middle", "top")[_third((box.bottom + box.top) / 2 / A4[1])]
    where = f"{texts.text(language, f'place.{down}')} {texts.text(language, f'place.{across}')}"
    return texts.text(language, "place", page=box.page, where=where)


def _third(share: float) -> int:
    return min(2, max(0, int(share * 3)))


def groups(value: str | None, by: int = 8) -> list[str]:
    """A digest in groups of eight, as people compare it."""
    return [value[start : start + by] for start in range(0, len(value), by)] if value else []
