"""What the ledger records of an invoice and of a receipt: written by who files it, held against the rows by the audit.

One rule: the record is made from the row's columns by these functions and by
nothing else, so that a column that people are shown cannot change unseen.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from printerd import choices
from printerd.evidence import canonical

FACTS = ("issuer", "number", "kind", "issued_on", "due_on", "net", "vat", "total", "currency", "iban")
PARTIES = ("customer_code", "customer_name")
BYTES = ("original", "pdf", "sealed", "certificate", "timestamp", "job")


def invoice(row: Mapping[str, Any]) -> dict[str, Any]:
    """The record of an ``invoices`` row in the archive; ``original`` and ``options`` are its job's.

    What its sender chose is said where anything was chosen.
    """
    chosen = choices.asked(row["options"])
    told = {name: row[name] for name in (*FACTS, *PARTIES, *BYTES)} | _sealed_at(row)
    return told | ({"chosen": chosen} if chosen else {})


def receipt(row: Mapping[str, Any], event: str | None, record: str | None) -> dict[str, Any]:
    """The record of a ``receipts`` row: with the digest of the act's event and that of ``receipt.json``."""
    names = ("delivery", "contact", "number", "pdf", "edge", "acceptance", "handover")
    return {name: row[name] for name in names} | _sealed_at(row) | {"event": event, "record": record}


def _sealed_at(row: Mapping[str, Any]) -> dict[str, str | None]:
    moment: datetime | None = row["sealed_at"]
    return {"sealed_at": canonical.instant(moment) if moment else None}
