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
_BETWEEN = re.compile(r"[\W_]*")
_COUNTRIES = frozenset(
    country for country in map("".join, product(ascii_uppercase, repeat=2)) if numdb.get("iban").info(country)[0][1]
)
"""The countries that have IBANs, by the registry that stdnum carries."""
_SHORTEST, _LONGEST = 15, 34
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
        if match[1] + match[2] in _COUNTRIES and (account := _account(upper, match.start())) is not None:
            yield account


def _account(text: str, start: int) -> Account | None:
    """The IBAN that begins here. Lengths are tried from the longest, for what follows may be a word of its own."""
    characters: list[str] = []
    ends: list[int] = []
    position = start
    while len(ends) < _LONGEST and position < len(text) and text[position].isascii() and text[position].isalnum():
        characters.append(text[position])
        ends.append(position + 1)
        gap = _BETWEEN.match(text, position + 1)
        position = gap.end() if gap else position + 1
    for length in range(len(ends), _SHORTEST - 1, -1):
        number = "".join(characters[:length])
        if _adds_up(number) and is_iban(number):  # the sum first: nearly everything fails it
            return Account(number, start, ends[length - 1])
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
