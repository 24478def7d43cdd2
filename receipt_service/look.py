"""How dates, amounts and colours are written for people. Pure; the locale is always named, never the machine's."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Literal
from zoneinfo import ZoneInfo

from babel.dates import format_date, format_time
from babel.numbers import format_currency, format_decimal

Language = Literal["fr", "en"]
Rgb = tuple[int, int, int]

NBSP = "\N{NO-BREAK SPACE}"
CONTRAST = 4.5
"""WCAG 2.2 success criterion 1.4.3 (AA), normal text."""
CONTRAST_BY_NIGHT = 7.0
"""Success criterion 1.4.6 (AAA): a thin coloured line of text tires on a dark page sooner."""
WHITE: Rgb = (255, 255, 255)
NIGHT: Rgb = (22, 24, 28)
"""The background of pages in dark mode; ``static/page.css`` uses the same."""

_LOCALE = {"fr": "fr_FR", "en": "en_GB"}
_ZONE = ZoneInfo("Europe/Paris")


def day(value: date, language: Language) -> str:
    """``24 novembre 2026`` or ``24 November 2026``; French writes the first of a month ``1er``. Spaces do not break."""
    text = format_date(value, "d MMMM y", locale=_LOCALE[language])
    if language == "fr" and value.day == 1:
        text = f"1er{text[1:]}"
    return text.replace(" ", NBSP)


def moment(value: datetime, language: Language) -> str:
    """Day and minute in Paris, where the issuers are, and said to be so."""
    local = value.astimezone(_ZONE)
    clock = format_time(local, "HH:mm", tzinfo=_ZONE, locale=_LOCALE[language])
    if language == "fr":
        return f"{day(local.date(), 'fr')} à{NBSP}{clock} (heure{NBSP}de{NBSP}Paris)"
    return f"{day(local.date(), 'en')} at{NBSP}{clock} (Paris{NBSP}time)"


def local_day(value: datetime) -> date:
    """The day of a moment in Paris."""
    return value.astimezone(_ZONE).date()


def amount(value: Decimal, currency: str, language: Language) -> str:
    """``1 234,56 €`` or ``€1,234.56``, with the no-break spaces of the locale."""
    return format_currency(value, currency, locale=_LOCALE[language])


def count(value: int, language: Language) -> str:
    """A whole number with the separators of the language."""
    return format_decimal(value, locale=_LOCALE[language])


def file_size(size: int, language: Language) -> str:
    """Bytes as ``62 ko`` or ``62 kB``, ``1,2 Mo`` or ``1.2 MB`` (SI, rounded up to a kilobyte)."""
    unit = {"fr": "o", "en": "B"}[language]
    if size < 1_000_000:
        return f"{max(1, round(size / 1000))}{NBSP}k{unit}"
    return f"{format_decimal(round(size / 1_000_000, 1), locale=_LOCALE[language])}{NBSP}M{unit}"


def groups(text: str, size: int = 8) -> str:
    """A digest in groups of eight, for reading aloud."""
    return " ".join(text[at : at + size] for at in range(0, len(text), size))


def _rgb(colour: str) -> Rgb:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def _hex(colour: Rgb) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)


def _luminance(colour: Rgb) -> float:
    """Relative luminance (WCAG 2.2)."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (part / 255 for part in colour)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: Rgb, other: Rgb) -> float:
    """Contrast ratio of two colours, 1 to 21 (WCAG 2.2)."""
    dark, light = sorted((_luminance(one), _luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def _towards(colour: Rgb, target: Rgb, background: Rgb, wanted: float) -> Rgb:
    """The nearest mixture of ``colour`` and ``target`` that can be read on ``background``."""
    for step in range(101):
        red, green, blue = (round(c + (t - c) * step / 100) for c, t in zip(colour, target, strict=True))
        if contrast((red, green, blue), background) >= wanted:
            return red, green, blue
    return target


def accent(colour: str) -> str:
    """The issuer's ``#rrggbb``, darkened as far as white text on it (or it on white) needs."""
    return _hex(_towards(_rgb(colour), (0, 0, 0), WHITE, CONTRAST))


def accent_by_night(colour: str) -> str:
    """The issuer's ``#rrggbb``, lightened as far as reading it on the dark page needs."""
    return _hex(_towards(_rgb(colour), WHITE, NIGHT, CONTRAST_BY_NIGHT))


def accent_css(colour: str) -> str:
    """The style sheet of one accent: CSP allows no inline style, so each issuer's colour is a file."""
    day_colour, night_colour = accent(colour), accent_by_night(colour)
    return (
        f":root {{ --accent: {day_colour}; --accent-text: {day_colour}; }}\n"
        f"@media (prefers-color-scheme: dark) {{ :root {{ --accent-text: {night_colour}; }} }}\n"
    )
