"""Fields out of pages, by a template; and every bank account that a page names.

One rule: a value is normalised by its template's locale or left as it stands, for :mod:`printerd.pipeline.check` to
refuse. Nothing is guessed: 03/04 is April in France because the template says so.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache

from babel import Locale
from babel.dates import get_date_format, get_month_names
from babel.numbers import get_decimal_symbol, get_group_symbol

from printerd.model import Found
from printerd.pipeline import accounts
from printerd.pipeline.layouts import LONGEST, Rule, Template, Zone
from printerd.pipeline.pages import Page, Word, box_around, rows

Normalise = Callable[[str, Template], str]


def choose(text: str, templates: Sequence[Template], chosen: str = "") -> Template | None:
    """The template of a page: of several that match, the ``chosen`` one; else the one that asks for most, and of these
    the last: the firm's own.
    """
    matching = [template for template in reversed(templates) if template.matches(text)]
    return max(matching, key=lambda template: (template.name == chosen, len(template.all)), default=None)


def read_fields(template: Template, pages: Sequence[Page]) -> dict[str, Found]:
    """All fields of one invoice. Constants stand where nothing was found."""
    fields = {name: Found(value) for name, value in template.constants.items()}
    for name in template.fields:
        if (found := read_field(template, name, pages)) is not None:
            fields[name] = found
    return fields


def read_field(template: Template, name: str, pages: Sequence[Page]) -> Found | None:
    """One field: the first rule that finds it, on the first page that has it."""
    for rule in template.fields.get(name, ()):
        for page in pages if rule.pages == "first" else reversed(pages):
            for passage in _passages(rule, page):
                if (found := _taken(template, name, rule, page.number, passage)) is not None:
                    return found
    return None


@dataclass(frozen=True, slots=True)
class _Passage:
    """Words, their text line by line, and where each begins and ends in it."""

    text: str
    places: tuple[tuple[Word, int, int], ...]


def _passage(lines: Iterable[Iterable[Word]]) -> _Passage:
    text, places = "", []
    for line in lines:
        for word in line:
            places.append((word, len(text), len(text) + len(word.text)))
            text += word.text + " "
        text = text[:-1] + "\n"
    return _Passage(text.rstrip("\n"), tuple(places))


def _passages(rule: Rule, page: Page) -> Iterator[_Passage]:
    """Where a value is looked for: one passage for each place that the rule means."""
    if rule.label is not None:
        for match in rule.label.finditer(page.text):
            if anchor := page.covered(match.start(), match.end()):
                seen = _SEEN_FROM[rule.direction](anchor, page)
                yield _passage([[word for word in seen if _is_in(word, rule.zone)]])
    elif rule.zone is not None:
        _left, bottom, _right, top = rule.zone
        yield _passage(rows(word for word in page.between(bottom, top) if _is_in(word, rule.zone)))
    else:
        yield _Passage(page.text, tuple((word, word.start, word.end) for word in page.words))


def _is_in(word: Word, zone: Zone | None) -> bool:
    if zone is None:
        return True
    left, bottom, right, top = zone
    return left <= (word.left + word.right) / 2 <= right and bottom <= word.middle <= top


def _right_of(anchor: Sequence[Word], page: Page) -> list[Word]:
    """The rest of the row, from the left."""
    last = anchor[-1]
    row = page.between(last.middle - last.height / 2, last.middle + last.height / 2)
    return sorted((word for word in row if word.left >= last.right - 1), key=lambda word: word.left)


def _below(anchor: Sequence[Word], page: Page) -> list[Word]:
    """The nearest row under the label, from its left edge to the first wide gap."""
    first, last = anchor[0], anchor[-1]
    near = page.between(first.bottom - 4 * first.height, first.bottom)
    nearest = rows(word for word in near if first.left - 3 <= word.left < last.right)[:1]
    taken = nearest[0][:1] if nearest else []
    for word in _right_of(taken, page) if taken else ():
        if word.left - taken[-1].right > word.height:
            break
        taken.append(word)
    return taken


_SEEN_FROM: Mapping[str, Callable[[Sequence[Word], Page], list[Word]]] = {"right": _right_of, "below": _below}


def _taken(template: Template, name: str, rule: Rule, page: int, passage: _Passage) -> Found | None:
    """The value in a passage: what the pattern matches, in the product's terms, with its box."""
    match = (rule.pattern or _PATTERNS.get(name, _ANYTHING)).search(passage.text)
    if match is None:
        return None
    start, end = match.span(1 if match.re.groups else 0)
    value = " ".join(passage.text[start:end].split())
    known = rule.values
    value = known.get(value, "") if known else _NORMALISE.get(name, _as_it_stands)(value, template)
    used = [word for word, begin, stop in passage.places if begin < end and stop > start]
    return Found(value, box_around(page, used)) if 0 < len(value) <= LONGEST else None


_ANYTHING = re.compile(r"\S.*\S|\S")
_DAY = re.compile(
    r"\b\d{4}-\d\d-\d\d\b|\b\d{1,2}[./-]\d{1,2}[./-]\d{2,4}\b"
    r"|\b\d{1,2}(?:er|\.|st|nd|rd|th)?\s+[^\W\d_]{3,}\.?\s+\d{4}\b"
    r"|(?<![^\W\d_])[^\W\d_]{3,}\.?\s+\d{1,2}\s*,?\s+\d{4}\b"
)
_AMOUNT = re.compile(r"[-−–(]?\s?(?:[€$£]\s?)?[-−–]?(?<!\d)\d{1,3}(?:[\s.,'’]?\d{3}){0,5}[.,]\d\d(?!\d)\)?-?")
_PATTERNS = {
    "issued_on": _DAY,
    "due_on": _DAY,
    "net": _AMOUNT,
    "vat": _AMOUNT,
    "total": _AMOUNT,
    "customer_code": re.compile(r"\S+"),
    "iban": re.compile(r"\b[A-Z]{2}\d\d(?:\s?[A-Z0-9]{1,5}){3,10}"),
}


def _as_it_stands(value: str, _template: Template) -> str:
    return value


def _compact(value: str, _template: Template) -> str:
    return re.sub(r"[\s.\-]", "", value).upper()


def _iban(value: str, template: Template) -> str:
    """Without what follows it on the line, when it is a right one."""
    compact = _compact(value, template)
    account = next(iter(accounts.find(compact)), None)
    return account.iban if account and account.start == 0 else compact


def _day(value: str, template: Template) -> str:
    return read_date(value, template.dates) or value


def _amount(value: str, template: Template) -> str:
    return read_amount(value, template.numbers) or value


_NORMALISE: Mapping[str, Normalise] = {
    "issued_on": _day,
    "due_on": _day,
    "net": _amount,
    "vat": _amount,
    "total": _amount,
    "iban": _iban,
    "seller_siren": _compact,
    "seller_vat_id": _compact,
    "buyer_vat_id": _compact,
}


def read_date(text: str, locale: Locale) -> str | None:
    """An ISO date out of a printed one, in the order and with the month names of ``locale``; None when it is none.

    A year of two digits is in this century.
    """
    numbers = [int(digits) for digits in re.findall(r"\d+", text)]
    months = _months(str(locale))
    named = [months[word] for word in re.findall(r"[^\W\d_]+", text.casefold()) if word in months]
    if len(named) == 1 and len(numbers) == 2:
        day, year, month = *numbers, named[0]
    elif not named and len(numbers) == 3:
        order = "yMd" if re.match(r"\d{4}", text.strip()) else _order(locale)
        parts = dict(zip(order, numbers, strict=True))
        day, month, year = parts["d"], parts["M"], parts["y"]
    else:
        return None
    try:
        return date(year + 2000 if year < 100 else year, month, day).isoformat()
    except ValueError:
        return None


@cache
def _months(locale: str) -> Mapping[str, int]:
    """Month names, long and short, to their numbers."""
    return {
        name.casefold().rstrip("."): number
        for width in ("wide", "abbreviated")
        for number, name in get_month_names(width, locale=locale).items()
    }


def _order(locale: Locale) -> str:
    """``dMy`` or ``Mdy`` or ``yMd``, from the locale's short date."""
    return "".join(dict.fromkeys(re.findall(r"[dMy]", get_date_format("short", locale=locale).pattern)))


def read_amount(text: str, locale: Locale) -> str | None:
    """A plain decimal out of a printed amount, with the marks of ``locale``; None when it is none.

    Groups are whole and set with the locale's mark or a space; there are at most two decimals. A minus before or
    after it, or parentheses, make it negative.
    """
    bare = re.sub(r"[A-Z]{3}\b|[€$£\s\N{NO-BREAK SPACE}\N{NARROW NO-BREAK SPACE}]", " ", text).strip()
    negative = bool(re.search(r"^\(.*\)$|^\s*[-−–]|[-−–]$", bare))
    bare = bare.strip("()-−– ")
    group, point = re.escape(get_group_symbol(locale).strip() or " "), re.escape(get_decimal_symbol(locale))
    match = re.fullmatch(rf"(\d{{1,3}}(?:[ '’{group}]\d{{3}})+|\d+)(?:{point}(\d{{1,2}}))?", bare)
    if match is None:
        return None
    return f"{'-' if negative else ''}{re.sub(r'[^0-9]', '', match[1])}.{(match[2] or '').ljust(2, '0')}"


def find_ibans(pages: Sequence[Page]) -> tuple[Found, ...]:
    """Every bank account that the pages name, each once, at its first place."""
    found: dict[str, Found] = {}
    for page in pages:
        for account in accounts.find(page.text):
            box = box_around(page.number, page.covered(account.start, account.end))
            found.setdefault(account.iban, Found(account.iban, box))
    return tuple(found.values())
