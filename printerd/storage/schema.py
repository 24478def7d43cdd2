"""The tables of ``printerd.db``, and nothing else.

Rows that a worker takes up share four columns (:func:`claimed`): the batch
that holds them, how often they were tried, when they are due again, and why. Times are
RFC 3339 text in UTC, which sorts; amounts are decimal text, which is exact.

The engine keeps its tables in the same file: no table here is named queues,
notifications, streams, workflow_*, operation_outputs or application_versions.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import JSON, Boolean, Column, ForeignKey, Index, Integer, LargeBinary, String, Table, Text
from sqlalchemy import UniqueConstraint as Unique

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(column_0_label)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)


class Utc(sa.types.TypeDecorator[datetime]):
    """An aware datetime, kept as RFC 3339 text in UTC with microseconds."""

    impl = String(27)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> str | None:
        return None if value is None else rfc3339(value)

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> datetime | None:
        return None if value is None else datetime.fromisoformat(value)


def rfc3339(moment: datetime) -> str:
    """``2026-11-24T09:05:00.123456Z``; a naive datetime is refused."""
    if moment.tzinfo is None:
        raise ValueError("a time without a zone")
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def digest(name: str, **options: Any) -> Column[str]:
    return Column(name, String(64), **options)


def identity(name: str, *args: Any, **options: Any) -> Column[str]:
    return Column(name, String(36), *args, **options)


def text(name: str, **options: Any) -> Column[str]:
    return Column(name, Text, nullable=False, server_default="", **options)


def claimed() -> tuple[Column[Any], ...]:
    """The columns by which a worker takes rows up; ``trouble`` is why the last attempt failed."""
    return (
        identity("batch", index=True),
        Column("attempts", Integer, nullable=False, server_default="0"),
        Column("next_at", Utc),
        text("trouble"),
    )


instance = Table("instance", metadata, Column("name", String(40), primary_key=True), text("value"))

jobs = Table(
    "jobs",
    metadata,
    identity("id", primary_key=True),
    Column("number", Integer, nullable=False, unique=True),
    text("printer"),
    text("user"),
    text("host"),
    text("title"),
    text("media_type"),
    text("source"),
    Column("options", JSON, nullable=False),
    identity("part_of", ForeignKey("jobs.id")),
    digest("original"),
    Column("size", sa.BigInteger),
    Column("state", String(12), nullable=False),
    Column("sender_key", String(80), unique=True),
    Column("answered", Boolean, nullable=False, server_default=sa.false()),
    Column("reason", JSON),
    text("message"),
    Column("created_at", Utc, nullable=False),
    Column("received_at", Utc),
    Column("completed_at", Utc),
    *claimed(),
    # A document that is printed every day is sought among those of the last minutes.
    Index("ix_jobs_original_received_at", "original", "received_at"),
    Index("ix_jobs_state_number", "state", "number"),
    # Most jobs are one document: they are not in it.
    Index(
        "ix_jobs_part_of",
        "part_of",
        sqlite_where=sa.text("part_of IS NOT NULL"),
        postgresql_where=sa.text("part_of IS NOT NULL"),
    ),
)

subscriptions = Table(
    "subscriptions",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    text("user"),
    text("host"),
    Column("job", Integer),
    Column("events", JSON, nullable=False),
    text("language"),
    Column("lease", Integer, nullable=False),
    Column("expires_at", Utc),
    Column("interval", Integer, nullable=False),
    Column("user_data", LargeBinary),
    Column("sequence", Integer, nullable=False),
)

invoices = Table(
    "invoices",
    metadata,
    identity("id", primary_key=True),
    identity("job", ForeignKey("jobs.id"), nullable=False),
    Column("position", Integer, nullable=False),
    Column("first_page", Integer, nullable=False),
    Column("last_page", Integer, nullable=False),
    Column("state", String(12), nullable=False),
    Column("reading", JSON, nullable=False),
    Column("corrections", JSON, nullable=False),
    Column("reasons", JSON, nullable=False),
    Column("accepted", JSON, nullable=False),
    text("template"),
    text("issuer"),
    text("kind"),
    text("number"),
    text("issued_on"),
    text("due_on"),
    text("customer_code", index=True),
    text("customer_name"),
    text("net"),
    text("vat"),
    text("total"),
    text("currency"),
    text("iban"),
    digest("pdf", nullable=False, index=True),
    digest("content", nullable=False, index=True),
    identity("reprint_of", ForeignKey("invoices.id")),
    digest("sealed", index=True),
    digest("certificate"),
    Column("timestamp", JSON),
    Column("sealed_at", Utc),
    Column("created_at", Utc, nullable=False, index=True),
    Column("updated_at", Utc, nullable=False),
    *claimed(),
    Index("ix_invoices_job_position", "job", "position"),
    Index("ix_invoices_issuer_number", "issuer", "number"),
    Index("ix_invoices_number", "number"),
    Index("ix_invoices_state_created_at", "state", "created_at"),
    # Two batches can read the same number at once: only one of them may go on.
    Index(
        "uq_invoices_number_in_force",
        "issuer",
        "number",
        unique=True,
        sqlite_where=sa.text("state IN ('ready', 'archived')"),
        postgresql_where=sa.text("state IN ('ready', 'archived')"),
    ),
)

customers = Table(
    "customers",
    metadata,
    Column("code", String(64), primary_key=True),
    text("name"),
    text("vat_id", index=True),
    text("language"),
    text("route"),
    text("consent"),
    text("consent_on"),
    text("consent_source"),
    text("consent_proof"),
    Column("updated_at", Utc, nullable=False),
)

contacts = Table(
    "contacts",
    metadata,
    identity("id", primary_key=True),
    Column("customer", String(64), ForeignKey("customers.code"), nullable=False, index=True),
    Column("position", Integer, nullable=False),
    text("name"),
    text("email"),
    text("role"),
)

deliveries = Table(
    "deliveries",
    metadata,
    identity("id", primary_key=True),
    identity("invoice", ForeignKey("invoices.id"), nullable=False, index=True),
    Column("route", String(8), nullable=False),
    text("why"),
    Column("state", String(12), nullable=False, index=True),
    Column("mode", String(10), nullable=False),
    Column("mail", String(12), nullable=False, server_default="pending"),
    Column("facts", JSON, nullable=False),
    Column("paper", Text),
    Column("expires_at", Utc),
    Column("created_at", Utc, nullable=False),
    Column("sent_at", Utc),
    *claimed(),
)

dispatches = Table(
    "dispatches",
    metadata,
    identity("id", primary_key=True),
    identity("delivery", ForeignKey("deliveries.id"), nullable=False, index=True),
    text("contact"),
    text("who"),
    text("reason"),
    Column("state", String(12), nullable=False, index=True),
    Column("created_at", Utc, nullable=False),
    *claimed(),
)

edges = Table(
    "edges",
    metadata,
    Column("edge", String(80), primary_key=True),
    Column("seq", Integer, nullable=False),
    digest("head", nullable=False),
    text("alert"),
)

events = Table(
    "events",
    metadata,
    Column("edge", String(80), primary_key=True),
    Column("seq", Integer, primary_key=True),
    text("name"),
    text("uri"),
    text("time"),
    identity("delivery", nullable=False, index=True),
    text("contact"),
    Column("data", JSON, nullable=False),
    digest("previous", nullable=False),
    digest("digest", nullable=False),
    Column("collected_at", Utc, nullable=False),
    Index("ix_events_name_time", "edge", "name", "time"),
)

receipts = Table(
    "receipts",
    metadata,
    identity("id", primary_key=True),
    Column("number", Integer, nullable=False, unique=True),
    identity("delivery", ForeignKey("deliveries.id"), nullable=False),
    Column("contact", String(36), nullable=False),
    Column("state", String(8), nullable=False, index=True),
    Column("edge", String(80), nullable=False),
    Column("acceptance", Integer, nullable=False),
    Column("handover", Integer),
    digest("pdf", index=True),
    digest("certificate"),
    Column("timestamp", JSON),
    Column("created_at", Utc, nullable=False),
    Column("sealed_at", Utc),
    *claimed(),
    Unique("delivery", "contact"),
)

ledger = Table(
    "ledger",
    metadata,
    Column("index", Integer, primary_key=True, autoincrement=False),
    Column("recorded_at", Utc, nullable=False),
    Column("kind", String(40), nullable=False),
    Column("subject", String(64), nullable=False, index=True),
    digest("record", nullable=False),
    digest("leaf", nullable=False),
    digest("previous", nullable=False, unique=True),
    digest("digest", nullable=False),
    digest("node", nullable=False),
)

ledger_records = Table(
    "ledger_records",
    metadata,
    Column("index", Integer, ForeignKey("ledger.index"), primary_key=True, autoincrement=False),
    Column("salt", String(64), nullable=False),
    Column("body", Text, nullable=False),
)

checkpoints = Table(
    "checkpoints",
    metadata,
    Column("size", Integer, primary_key=True, autoincrement=False),
    digest("root", nullable=False),
    Column("recorded_at", Utc, nullable=False),
    Column("signature", LargeBinary, nullable=False),
    Column("timestamp", LargeBinary),
)

logins = Table(
    "logins",
    metadata,
    digest("token", primary_key=True),
    Column("kind", String(8), nullable=False),
    text("who"),
    Column("expires_at", Utc, nullable=False),
)
