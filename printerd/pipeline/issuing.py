"""Whose invoice it is, and how its facts stand in the ``invoices`` row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from printerd.model import Invoice, Issuer, Money


def issuer_of(invoice: Invoice, issuers: Sequence[Issuer]) -> Issuer:
    """The issuer that the checks accepted as the seller; ``ValueError`` if none is."""
    seller = invoice.seller
    for issuer in issuers:
        if (seller.siren and seller.siren == issuer.party.siren) or (
            seller.vat_id and seller.vat_id == issuer.party.vat_id
        ):
            return issuer
    raise ValueError("an invoice whose seller is no issuer passed its checks")


def columns(invoice: Invoice, issuer: Issuer) -> dict[str, Any]:
    """The columns of ``invoices`` that hold an invoice's facts."""
    return {
        "issuer": issuer.key,
        "kind": invoice.kind.value,
        "number": invoice.number,
        "issued_on": invoice.issued_on.isoformat(),
        "due_on": invoice.due_on.isoformat() if invoice.due_on else "",
        "customer_code": invoice.customer_code,
        "customer_name": invoice.buyer.name,
        "net": _plain(invoice.net),
        "vat": _plain(invoice.vat),
        "total": _plain(invoice.total),
        "currency": invoice.total.currency,
        "iban": invoice.iban,
    }


def _plain(money: Money) -> str:
    return f"{money.amount:.2f}"
