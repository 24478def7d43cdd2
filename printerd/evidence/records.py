"""What the ledger records of an invoice and of a receipt: written by who files it, held against the rows by the audit.

One rule: the record is made from the row's columns by these functions and by
nothing else, so that a column that people are shown cannot change unseen.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

FACTS = ("issuer", "number", "kind", "issued_on", "due_on", "net", "vat", "total", "currency", "iban")
PARTIES = ("customer_code", "customer_name")
BYTES = ("original", "pdf", "sealed", "certificate", "timestamp", "job")


def invoice(row: Mapping[str, Any]) -> dict[str, Any]:
    """The record of an ``invoices`` row in the archive; ``original`` is its job's."""
    return {name: row[name] for name in (*FACTS, *PARTIES, *BYTES)}


def receipt(row: Mapping[str, Any], event: str | None, record: str | None) -> dict[str, Any]:
    """The record of a ``receipts`` row: with the digest of the act's event and that of ``receipt.json``."""
    names = ("delivery", "contact", "number", "pdf")
    return {name: row[name] for name in names} | {"event": event, "record": record}
