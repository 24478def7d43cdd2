"""Bank accounts in a text: every IBAN (ISO 13616), however it is spaced.

One rule: an account that a person could read and pay to is found; a number that no bank could hold is not.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from string import ascii_lowercase, ascii_uppercase

from stdnum import iban as iban_number
from stdnum import numdb
from stdnum.exceptions import ValidationError

_START = re.compile(r"(?:(?<![A-Z0-9])|(?<=IBAN))([A-Z])[\W_]?([A-Z])[\W_]{0,3}[0-9][\W_]{0,3}[0-9]")
_SIGNS = re.compile(r"[\W_]+")


def _form(bban: str) -> re.Pattern[str]:
    """``bban`` is the account after country and check digits as the registry has it: ``5!n5!n11!c2!n``."""
    length = 4 + sum(map(int, re.findall("[0-9]+", bban)))
    return re.compile(rf"(?:[A-Z0-9][\W_]*){{{length - 1}}}[A-Z0-9]")


_REGISTRY = numdb.get("iban")
_FORMS = {
    country: _form(_REGISTRY.info(country)[0][1]["bban"])
    for country in map("".join, product(ascii_uppercase, repeat=2))
    if _REGISTRY.info(country)[0][1]
}
"""Country → an IBAN of it, however it is spaced. All of a country have one length, which stdnum's registry knows."""
_UPPER = str.maketrans(ascii_lowercase, ascii_uppercase)
_DIGITS = {ord(letter): str(int(letter, 36)) for letter in ascii_uppercase}
"""Letters as ISO 13616 counts them: A is 10."""


@dataclass(frozen=True, slots=True)
class Account:
    """An IBAN in compact form, and the piece of the text that says it."""

    iban: str
    start: int
    end: int


def find(text: str) -> Iterator[Account]:
    """Every IBAN of the text in its order; signs and line ends between its characters do not hide it."""
    upper = text.translate(_UPPER)  # str.upper would make two letters of some, and move the places
    for match in _START.finditer(upper):
        form = _FORMS.get(match[1] + match[2])
        if form is not None and (account := _account(form.match(upper, match.start()))) is not None:
            yield account


def _account(said: re.Match[str] | None) -> Account | None:
    """What is said has the length of an IBAN of its country; what follows may be a word of its own."""
    number = _SIGNS.sub("", said[0]) if said else ""
    if said and _adds_up(number) and is_iban(number):  # the sum first: nearly everything fails it
        return Account(number, said.start(), said.end())
    return None


def _adds_up(number: str) -> bool:
    """The check digits (ISO 7064 mod 97-10)."""
    return int((number[4:] + number[:4]).translate(_DIGITS)) % 97 == 1


def is_iban(number: str) -> bool:
    """Whether a country has accounts of this form, and the check digits are right."""
    try:
        return bool(iban_number.validate(number, check_country=False))
    except ValidationError:
        return False
