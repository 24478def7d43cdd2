"""What the log has of the edge's events: a line for each that people wait for, with the ids of invoice and job.

One rule: no name and no address. Which contact it was tells his id; ``invoice-printer invoices show`` tells the rest.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

import sqlalchemy as sa

from printerd.model import Event
from printerd.storage.schema import deliveries, invoices

WORDS: Mapping[str, tuple[int, str]] = {
    "ConsignmentNotification": (logging.INFO, "invoice mailed"),
    "ConsignmentNotificationFailure": (logging.WARNING, "invoice not mailed"),
    "MailUncertain": (logging.WARNING, "invoice perhaps mailed: accounting decides"),
    "ConsignmentAcceptance": (logging.INFO, "invoice acknowledged"),
    "ConsignmentRejection": (logging.INFO, "invoice declined"),
}
"""Event → how loud, and in which words."""

log = logging.getLogger(__name__)


def tell(connection: sa.Connection, found: Sequence[Event]) -> None:
    """Tell events that have been committed."""
    told = [event for event in found if event.name in WORDS]
    columns = (deliveries.c.id, deliveries.c.invoice, invoices.c.job, invoices.c.number)
    query = sa.select(*columns).join(invoices).where(deliveries.c.id.in_({event.delivery for event in told}))
    rows = {row.id: row for row in connection.execute(query)} if told else {}
    for event in told:
        if row := rows.get(event.delivery):
            facts = {"invoice": row.invoice, "number": row.number, "job": row.job}
            level, words = WORDS[event.name]
            log.log(level, words, extra=facts | {"delivery": row.id, "contact": event.contact})
