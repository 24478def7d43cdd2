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
NAMES: Final[Mapping[str, Mapping[str, str]]] = {
    "en": {
        "invoice-printer-invoices": "Invoices",
        "invoice-number": "Invoice number",
        "invoice-state": "State of the invoice",
        "invoice-state-message": "What became of the invoice",
        "invoice-printer-route": "Delivery",
        "invoice-printer-route.as-customer": "As the customer's record says",
        "invoice-printer-route.mail": "By mail",
        "invoice-printer-route.paper": "On paper",
        "invoice-printer-route.both": "By mail and on paper",
        "invoice-printer-route.hold-for-review": "Hold for review",
        "invoice-printer-template": "Template",
        "invoice-printer-template.automatic": "Automatic",
        "invoice-printer-copy-to": "Copy of the mail to",
        "invoice-printer-copy-to.none": "Nobody",
    },
    "fr": {
        "invoice-printer-invoices": "Factures",
        "invoice-number": "Numéro de facture",
        "invoice-state": "État de la facture",
        "invoice-state-message": "Sort de la facture",
        "invoice-printer-route": "Envoi",
        "invoice-printer-route.as-customer": "Selon la fiche du client",
        "invoice-printer-route.mail": "Par courriel",
        "invoice-printer-route.paper": "Sur papier",
        "invoice-printer-route.both": "Par courriel et sur papier",
        "invoice-printer-route.hold-for-review": "Retenir pour vérification",
        "invoice-printer-template": "Modèle",
        "invoice-printer-template.automatic": "Automatique",
        "invoice-printer-copy-to": "Copie du courriel à",
        "invoice-printer-copy-to.none": "Personne",
    },
}
"""Our attributes and their values in words; the PPD shows the same."""


@cache
def found(name: str) -> tuple[str, bytes] | None:
    """The media type and the bytes of a resource by its name under the printer's path, or ``None``."""
    stem, _, kind = name.rpartition(".")
    if kind == "png" and stem in {f"icon-{size}" for size in ICONS}:
        return "image/png", files("printerd.listener").joinpath("static", name).read_bytes()
    if kind == "strings" and stem in NAMES:
        return "text/strings; charset=utf-8", "".join(_lines(stem)).encode()
    return None


def _lines(language: str) -> Iterator[str]:
    """A message catalogue as PWG 5100.13 section 6.6.29 has it: the attribute, and the attribute with its value."""
    states = {f"invoice-state.{state}": one for state, (one, _) in STANDINGS[language].items()}
    for key, words in {**NAMES[language], **states}.items():
        yield f'"{key}" = "{words}";\n'
