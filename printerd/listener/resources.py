"""What clients fetch from the printer by GET: its icons, and the words for its own attributes.

One rule: there is nothing here but what Get-Printer-Attributes names
(printer-icons, printer-strings-uri; PWG 5100.13 sections 6.6.11 and 6.6.29).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from typing import Final

from printerd.storage.messages import STANDINGS

ICONS: Final = (48, 128, 512)
"""Pixels of an edge (PWG 5100.13 section 6.6.11); tools/icons.py draws them."""
_ATTRIBUTES: Final[Mapping[str, Mapping[str, str]]] = {
    "en": {
        "invoice-printer-invoices": "Invoices",
        "invoice-number": "Invoice number",
        "invoice-state": "State of the invoice",
        "invoice-state-message": "What became of the invoice",
    },
    "fr": {
        "invoice-printer-invoices": "Factures",
        "invoice-number": "Numéro de facture",
        "invoice-state": "État de la facture",
        "invoice-state-message": "Sort de la facture",
    },
}


@cache
def found(name: str) -> tuple[str, bytes] | None:
    """The media type and the bytes of a resource by its name under the printer's path, or ``None``."""
    stem, _, kind = name.rpartition(".")
    if kind == "png" and stem in {f"icon-{size}" for size in ICONS}:
        return "image/png", files("printerd.listener").joinpath("static", name).read_bytes()
    if kind == "strings" and stem in _ATTRIBUTES:
        return "text/strings; charset=utf-8", "".join(_lines(stem)).encode()
    return None


def _lines(language: str) -> Iterator[str]:
    """A message catalogue as PWG 5100.13 section 6.6.29 has it: the attribute, and the attribute with its value."""
    states = {f"invoice-state.{state}": one for state, (one, _) in STANDINGS[language].items()}
    for key, words in {**_ATTRIBUTES[language], **states}.items():
        yield f'"{key}" = "{words}";\n'
