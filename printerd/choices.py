"""What a sender may choose for the invoices of a job: their way, their template, and who gets a copy of the mail.

One rule: a choice is judged by its :class:`Policy`, whatever way it came. What the firm forbids is refused there, at
the door; what only the customer's consent can tell is for :mod:`printerd.delivery.routes`, later.

A choice is an option of the ticket under the name of its IPP attribute. These begin with the name of the product, as
``invoice-printer-invoices`` does; the PPD and sidecars use the same names and the same words.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

PREFIX: Final = "invoice-printer-"
ROUTE: Final = "invoice-printer-route"
TEMPLATE: Final = "invoice-printer-template"
COPY_TO: Final = "invoice-printer-copy-to"
MOST_COPIES: Final = 5


class Way(StrEnum):
    """Where a sender wants the invoices of a job to go."""

    AS_CUSTOMER = "as-customer"
    MAIL = "mail"
    PAPER = "paper"
    BOTH = "both"
    REVIEW = "hold-for-review"


AUTOMATIC: Final = "automatic"
NOBODY: Final = "none"
DEFAULTS: Final[Mapping[str, str]] = {ROUTE: Way.AS_CUSTOMER.value, TEMPLATE: AUTOMATIC, COPY_TO: NOBODY}
"""What each choice is when nothing was chosen, and the word for it: print dialogs send that, too."""
WAYS: Final = tuple(way.value for way in Way if way is not Way.AS_CUSTOMER)
"""The ways that a firm may allow its senders."""
MAILED: Final = frozenset({Way.MAIL, Way.BOTH})

_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LOCAL_PART: Final = re.compile(rf"(?=.{{1,64}}$){_ATOM}(?:\.{_ATOM})*")
"""The Dot-string of an address (RFC 5321 section 4.1.2); its domain is one that the firm named."""
LONGEST: Final = 254
"""Octets of an address (RFC 5321 section 4.5.3.1.3, without its brackets)."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What was chosen; ``template`` and ``copy_to`` are empty when nothing was."""

    way: Way = Way.AS_CUSTOMER
    template: str = ""
    copy_to: tuple[str, ...] = ()


IN_VAIN: Final = "mail was chosen, no consent"
TWICE: Final = "both was chosen"
"""Why an invoice went its way (``deliveries.why``), where the print queue tells it to the sender."""


def asked(options: Mapping[str, str]) -> dict[str, str]:
    """The choices among the options of a ticket that are other than what goes without saying."""
    return {name: options[name] for name, word in DEFAULTS.items() if options.get(name, word) != word}


def chosen(options: Mapping[str, str]) -> Choice:
    """The choice of a ticket whose options a :class:`Policy` has passed."""
    given = asked(options)
    way = Way(given[ROUTE]) if given.get(ROUTE) in WAYS else Way.AS_CUSTOMER
    return Choice(way, given.get(TEMPLATE, ""), tuple(dict.fromkeys(_listed(given.get(COPY_TO, "")))))


@dataclass(frozen=True, slots=True)
class Wrong:
    """A choice that is not to be had; ``allowed`` is what is, and empty for a name that means nothing."""

    name: str
    value: str
    allowed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Policy:
    """What the firm lets its senders choose.

    ``copies`` are addresses and domains to which a copy may go; ``templates`` tells the names of the templates as they
    are now.
    """

    ways: tuple[str, ...] = WAYS
    copies: tuple[str, ...] = ()
    templates: Callable[[], tuple[str, ...]] = tuple

    def offered(self) -> Mapping[str, tuple[str, ...]]:
        """The values of each choice, the default first; of :data:`COPY_TO`, addresses and domains."""
        more = {ROUTE: self.ways, TEMPLATE: self.templates(), COPY_TO: self.copies}
        return {name: (word, *more[name]) for name, word in DEFAULTS.items()}

    def takes(self, name: str, text: str) -> bool:
        """Whether a choice may have this value; several addresses are separated by commas."""
        if name != COPY_TO:
            return text in self.offered()[name]
        addresses = list(_listed(text))
        return text == NOBODY or (0 < len(addresses) <= MOST_COPIES and all(map(self._allows, addresses)))

    def wrong(self, options: Mapping[str, str]) -> Wrong | None:
        """The first choice among the options of a ticket that is not to be had."""
        for name, text in options.items():
            if name.startswith(PREFIX) and (name not in DEFAULTS or not self.takes(name, text)):
                return Wrong(name, text, self.offered().get(name, ()))
        return None

    def _allows(self, address: str) -> bool:
        """Whether the firm named it, or its domain. Case counts in no mail system that people use."""
        local, _, domain = address.lower().rpartition("@")
        named = not {f"{local}@{domain}", domain}.isdisjoint(one.lower() for one in self.copies)
        return named and _LOCAL_PART.fullmatch(local) is not None and len(address) <= LONGEST


ANYTHING: Final = Policy()


def _listed(text: str) -> Iterator[str]:
    return (word.strip() for word in text.split(",") if word.strip())


def template_names(folders: Iterable[Path]) -> tuple[str, ...]:
    """The names of the templates in some folders; not those that an option cannot carry (RFC 8011 section 5.1.3)."""
    names = {file.stem for folder in folders for file in folder.glob("*.toml")} - {AUTOMATIC}
    return tuple(sorted(name for name in names if "," not in name and len(os.fsencode(name)) <= 255))
