"""Facts become pages and mails: the templates, and the one table of words that both use.

Templates are written in each language as its people write, not translated
word by word; what they share is numbers, dates and names, made here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from . import look
from .contract import DEFAULT_COLOUR, Contact, Delivery

_FOLDER = Path(__file__).parent / "templates"
_NOUNS = {
    ("fr", "invoice"): "Facture",
    ("fr", "credit-note"): "Avoir",
    ("en", "invoice"): "Invoice",
    ("en", "credit-note"): "Credit note",
}


def environment() -> Environment:
    """The templates: escaped in HTML, plain in ``.txt``, and an unknown name is an error."""
    return Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=select_autoescape(("html",), default=False),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )


def facts(delivery: Delivery, contact: Contact) -> dict[str, Any]:
    """What pages and mails say about a delivery to a contact, ready to print in its language."""
    language, invoice, issuer = delivery.language, delivery.invoice, delivery.issuer
    colour = issuer.colour or DEFAULT_COLOUR
    return {
        "language": language,
        "specimen": delivery.specimen,
        "noun": _NOUNS[language, invoice.kind],
        "kind": invoice.kind,
        "number": invoice.number,
        "issuer": issuer,
        "reply_to": issuer.reply_to or issuer.email,
        "customer": delivery.customer,
        "contact": contact,
        "others": [other.shown for other in delivery.contacts if other.id != contact.id],
        "issued": look.day(invoice.issued_on, language),
        "due": look.day(invoice.due_on, language) if invoice.due_on else "",
        "total": look.amount(invoice.amount, invoice.currency, language),
        "expires": look.moment(delivery.policy.expiry, language),
        "expires_day": look.day(look.local_day(delivery.policy.expiry), language),
        "file_name": delivery.document.file_name,
        "size": look.file_size(delivery.document.size, language),
        "pages": delivery.document.pages,
        "accent": look.accent(colour),
        "accent_by_night": look.accent_by_night(colour),
        "accent_file": f"accent-{look.accent(colour)[1:]}.css",
        "entries": look.count(delivery.checkpoint.size, language),
        "root": look.groups(delivery.checkpoint.root),
    }
