"""Rows and documents as the pipeline, the edge and the ledger leave them, for tests of what people look up.

Each function writes one row with sensible values; ``changes`` replace columns.
"""

from __future__ import annotations

import hashlib
import io
import json
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from reportlab.lib.pagesizes import A4
from reportlab.pdfgen.canvas import Canvas

from printerd.model import Mode
from printerd.storage import archive, database, instance, schema
from printerd.storage.blobs import Blobs
from printerd.storage.database import Database

NOW = datetime(2026, 11, 24, 9, 5, tzinfo=UTC)
EDGE = "edge-1"

FIELDS = {
    "number": "FA-2026-0042",
    "kind": "invoice",
    "issued_on": "2026-11-24",
    "due_on": "2026-12-31",
    "customer_code": "C0042",
    "buyer_name": "Épicerie du Canal",
    "seller_name": "Au bon moulin",
    "seller_siren": "732829320",
    "seller_vat_id": "FR44732829320",
    "iban": "FR7630006000011234567890189",
    "net": "1028.80",
    "vat": "205.76",
    "total": "1234.56",
    "currency": "EUR",
}


def opened(folder: Path) -> tuple[Database, Blobs]:
    """An empty archive."""
    db = Database(f"sqlite:///{folder / 'printerd.db'}")
    schema.metadata.create_all(db.engine)
    with db.write() as conn:
        conn.exec_driver_sql(database.SEARCH_TABLE)
        instance.set_mode(conn, Mode.LIVE)
    return db, Blobs(folder)


def identity(*parts: object) -> str:
    """A UUID that is the same in every run."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, " ".join(map(str, parts))))


def job(conn: sa.Connection, number: int = 1, **changes: Any) -> str:
    at = changes.pop("at", NOW - timedelta(minutes=10))
    row = {
        "id": identity("job", number),
        "number": number,
        "printer": "print",
        "user": "marie",
        "host": "192.168.1.20",
        "title": "Factures du jour",
        "media_type": "application/pdf",
        "source": "ipp",
        "options": {},
        "original": hashlib.sha256(b"job %d" % number).hexdigest(),
        "size": 62_000,
        "state": "done",
        "created_at": at,
        "received_at": at,
        "completed_at": at + timedelta(seconds=1),
    } | changes
    conn.execute(sa.insert(schema.jobs).values(row))
    return str(row["id"])


def invoice(conn: sa.Connection, blobs: Blobs, job: str, position: int = 0, **changes: Any) -> str:
    """An invoice with a real PDF. ``fields`` changes what was read; a waiting one has no facts of its own yet."""
    at = changes.pop("at", NOW - timedelta(minutes=9))
    fields = FIELDS | changes.pop("fields", {})
    state = changes.get("state", "archived")
    data, boxes = document(fields)
    pdf = blobs.put(data, "application/pdf").digest
    read = {name: {"value": value, "box": boxes.get(name)} for name, value in fields.items()}
    text = "\n".join(fields.values())
    row = {
        "id": identity("invoice", job, position),
        "job": job,
        "position": position,
        "first_page": 1,
        "last_page": 1,
        "state": state,
        "reading": {"fields": read, "ibans": [read["iban"]], "text": text},
        "corrections": {},
        "reasons": [],
        "accepted": [],
        "template": "moulin-fr",
        "issuer": "moulin",
        "pdf": pdf,
        "content": hashlib.sha256(text.encode()).hexdigest(),
        "created_at": at,
        "updated_at": at,
    }
    if state in ("ready", "archived", "reprint"):
        known = ("kind", "number", "issued_on", "due_on", "customer_code", "net", "vat", "total", "currency", "iban")
        row |= {name: fields[name] for name in known} | {"customer_name": fields["buyer_name"]}
    if state == "archived":
        row |= {
            "sealed": pdf,
            "certificate": hashlib.sha256(b"certificate").hexdigest(),
            "sealed_at": at + timedelta(seconds=1),
            "timestamp": stamp(at + timedelta(seconds=1)),
        }
    row |= changes
    conn.execute(sa.insert(schema.invoices).values(row))
    database.index_texts(conn, {str(row["id"]): text})
    return str(row["id"])


def stamp(at: datetime) -> dict[str, Any]:
    return {"time": schema.rfc3339(at), "serial": "1042", "authority": "Au bon moulin timestamps", "local": True}


def delivery(conn: sa.Connection, invoice: str, **changes: Any) -> str:
    at = changes.pop("at", NOW - timedelta(minutes=8))
    row = {
        "id": identity("delivery", invoice, at),
        "invoice": invoice,
        "route": "mail",
        "why": "",
        "state": "sent",
        "mode": "live",
        "facts": {"contacts": [contact()]},
        "expires_at": at + timedelta(days=90),
        "created_at": at,
        "sent_at": at + timedelta(seconds=1),
    } | changes
    conn.execute(sa.insert(schema.deliveries).values(row))
    return str(row["id"])


def contact(key: str = "compta", name: str = "Claire Martin") -> dict[str, str]:
    return {"id": identity("contact", key), "name": name, "email": f"{key}@canal.example", "role": ""}


def event(conn: sa.Connection, delivery: str, name: str, seq: int, **data: str) -> None:
    """``contact`` and ``at`` may stand among the data."""
    who = data.pop("contact", contact()["id"])
    at = data.pop("at", schema.rfc3339(NOW - timedelta(minutes=7) + timedelta(seconds=seq)))
    values = {
        "edge": EDGE,
        "seq": seq,
        "name": name,
        "time": at,
        "delivery": delivery,
        "contact": who,
        "data": data,
        "previous": "0" * 64,
        "digest": hashlib.sha256(b"event %d" % seq).hexdigest(),
        "collected_at": NOW,
    }
    conn.execute(sa.insert(schema.events).values(values))
    archive.follow(conn, [delivery])


def receipt(conn: sa.Connection, blobs: Blobs, delivery: str, number: int = 1, **changes: Any) -> str:
    at = NOW - timedelta(minutes=5)
    row = {
        "id": identity("receipt", number),
        "number": number,
        "delivery": delivery,
        "contact": contact()["id"],
        "state": "pushed",
        "edge": EDGE,
        "acceptance": 1,
        "pdf": blobs.put(page("Accusé de réception"), "application/pdf").digest,
        "certificate": hashlib.sha256(b"certificate").hexdigest(),
        "timestamp": stamp(at),
        "created_at": at,
        "sealed_at": at,
    } | changes
    conn.execute(sa.insert(schema.receipts).values(row))
    return str(row["id"])


def ledger(
    conn: sa.Connection, index: int, kind: str, subject: str, body: Mapping[str, Any], at: datetime = NOW
) -> None:
    """An entry whose hashes are made up: these tests look it up, others check the chain."""
    hashes = {
        name: hashlib.sha256(f"{name} {index}".encode()).hexdigest() for name in ("record", "leaf", "previous", "node")
    }
    digest = hashlib.sha256(f"digest {index}".encode()).hexdigest()
    values = {"index": index, "recorded_at": at, "kind": kind, "subject": subject, "digest": digest, **hashes}
    conn.execute(sa.insert(schema.ledger).values(values))
    record = {"index": index, "salt": "00", "body": json.dumps(body)}
    conn.execute(sa.insert(schema.ledger_records).values(record))


# A day at the printer -----------------------------------------------------------------------------------------------

CUSTOMERS = (
    ("C0042", "Épicerie du Canal", "1028.80", "205.76", "1234.56"),
    ("C0107", "Boulangerie du Lilas", "412.00", "82.40", "494.40"),
    ("C0011", "Hôtel des Trois Rivières", "7350.00", "1470.00", "8820.00"),
    ("C0203", "Crêperie Ty Gwenn", "96.50", "19.30", "115.80"),
    ("C0058", "Cantine scolaire de Saint-Aubin", "2210.40", "442.08", "2652.48"),
    ("C0150", "Brasserie Le Vieux Moulin", "618.25", "123.65", "741.90"),
)
DOUBTS: tuple[dict[str, Any], ...] = (
    {"code": "unknown-customer", "facts": {"code": "C004Z"}, "box": [1, 400.0, 721.0, 430.0, 734.0]},
    {
        "code": "amounts-differ",
        "facts": {"net": "1028.80", "vat": "205.76", "total": "1334.56"},
        "box": [1, 460.0, 285.0, 515.0, 298.0],
    },
)


def day(db: Database, blobs: Blobs) -> dict[str, str]:
    """Invoices in every state, as a firm sees them at the end of a morning: ids by what became of them."""
    with db.write() as conn:
        first = rows_of_jobs(conn, blobs)
        return {
            "waiting": _doubtful(conn, blobs, first),
            "releasable": _late(conn, blobs, first),
            "acknowledged": _acknowledged(conn, blobs, first),
            "uncertain": _mailed(conn, blobs, first, 1, "MailUncertain", reason="connection lost after the final dot"),
            "failed": _mailed(conn, blobs, first, 2, "ConsignmentNotificationFailure", reply="550 5.1.1 No such user"),
            "opened": _visited(conn, blobs, first),
            "paper": _on_paper(conn, blobs, first),
            "reprint": _again(conn, blobs, first),
        }


def rows_of_jobs(conn: sa.Connection, blobs: Blobs) -> str:
    def original(data: bytes) -> str:
        return blobs.put(data, "application/octet-stream").digest

    job(conn, 2, title="Publipostage.docx", user="paul", state="aborted", original=original(b"PK"), at=NOW,
        reason={"code": "unknown-format", "facts": {}}, message="This document format is not taken.")  # fmt: skip
    job(conn, 3, title="Avoirs novembre", state="held", original=original(b"%PDF-1.7"), at=NOW,
        reason={"code": "reader-died", "facts": {}}, message="Reading was stopped after 60 seconds.")  # fmt: skip
    message = "9 factures : 5 envoyées, 1 sur papier, 2 attendent la comptabilité, 1 réimpression"
    return job(conn, 1, original=original(b"%PDF-1.4"), message=message)


def _fields(customer: int, number: int, **changes: str) -> dict[str, str]:
    code, name, net, vat, total = CUSTOMERS[customer]
    known = {"customer_code": code, "buyer_name": name, "net": net, "vat": vat, "total": total}
    return {"number": f"FA-2026-{number:04}", **known, **changes}


def _doubtful(conn: sa.Connection, blobs: Blobs, of: str) -> str:
    fields = _fields(0, 48, customer_code="C004Z", total="1334.56")
    return invoice(conn, blobs, of, 8, state="waiting", fields=fields, reasons=list(DOUBTS), at=NOW)


def _late(conn: sa.Connection, blobs: Blobs, of: str) -> str:
    doubt = {"code": "dates", "facts": {"issued_on": "2026-11-24", "due_on": "2026-01-31"}, "box": None}
    fields = _fields(1, 47, due_on="2026-01-31")
    return invoice(conn, blobs, of, 7, state="waiting", fields=fields, reasons=[doubt])


def _acknowledged(conn: sa.Connection, blobs: Blobs, of: str) -> str:
    key = invoice(conn, blobs, of, 0, fields=_fields(0, 42), corrections={"customer_code": "C0042"})
    ledger(conn, 41, "act.correct", key, {"who": "marie", "reason": "misread", "fields": {"customer_code": "C0042"}},
           NOW - timedelta(minutes=8, seconds=59, milliseconds=500))  # fmt: skip
    ledger(conn, 42, "invoice", key, {}, NOW - timedelta(minutes=8, seconds=59))
    sent = delivery(conn, key, facts={"contacts": [contact(), contact("direction", "Paul Roux")]})
    event(conn, sent, "ConsignmentNotification", 1, reply="250 2.0.0 Ok: queued as 4F2A1C")
    event(
        conn,
        sent,
        "ConsignmentNotification",
        2,
        contact=contact("direction")["id"],
        reply="250 2.0.0 Ok: queued as 4F2A1D",
    )
    event(conn, sent, "NotificationAccessTracking", 40, **{"class": "automatic"}, agent="Safe Links")
    event(conn, sent, "NotificationAccessTracking", 90, **{"class": "person?"}, agent="Firefox")
    event(conn, sent, "ConsignmentAcceptance", 101, identified_by="link sent to c***@canal.example", agent="Firefox")
    event(conn, sent, "ContentHandover", 102, bytes_sent="61904")
    receipt(conn, blobs, sent, 12)
    return key


def _mailed(conn: sa.Connection, blobs: Blobs, of: str, position: int, name: str, **data: str) -> str:
    key = invoice(conn, blobs, of, position, fields=_fields(position, 42 + position))
    event(conn, delivery(conn, key), name, 200 + position, **data)
    return key


def _visited(conn: sa.Connection, blobs: Blobs, of: str) -> str:
    key = invoice(conn, blobs, of, 3, fields=_fields(3, 45))
    sent = delivery(conn, key)
    event(conn, sent, "ConsignmentNotification", 301, reply="250 2.0.0 Ok: queued as 4F2A20")
    event(conn, sent, "NotificationAccessTracking", 302, **{"class": "person?"}, agent="Safari")
    return key


def _on_paper(conn: sa.Connection, blobs: Blobs, of: str) -> str:
    key = invoice(conn, blobs, of, 4, fields=_fields(4, 46))
    delivery(conn, key, route="paper", facts={}, why="no consent", paper="FA-2026-0046.pdf")
    return key


def _again(conn: sa.Connection, blobs: Blobs, of: str) -> str:
    first = invoice(conn, blobs, of, 5, fields=_fields(5, 40, kind="credit-note"))
    event(conn, delivery(conn, first), "ConsignmentNotification", 401, reply="250 2.0.0 Ok: queued as 4F2A22")
    return invoice(conn, blobs, of, 6, fields=_fields(5, 40, kind="credit-note"), state="reprint", reprint_of=first)


# Documents ----------------------------------------------------------------------------------------------------------

PLACES = {
    "number": (400, 780),
    "issued_on": (400, 760),
    "due_on": (400, 742),
    "customer_code": (400, 724),
    "seller_name": (60, 780),
    "seller_siren": (60, 762),
    "seller_vat_id": (60, 746),
    "buyer_name": (330, 670),
    "net": (460, 330),
    "vat": (460, 312),
    "total": (460, 288),
    "iban": (60, 200),
}
LABELS = {
    "number": "Facture n°",
    "issued_on": "Date",
    "due_on": "Échéance",
    "customer_code": "Code client",
    "seller_siren": "SIREN",
    "seller_vat_id": "TVA",
    "net": "Total HT",
    "vat": "TVA 20 %",
    "total": "Total TTC",
    "iban": "IBAN",
}
LINES = (
    ("Farine de blé T65, 25 kg", "24", "22,40", "537,60"),
    ("Farine de seigle T130, 25 kg", "12", "26,10", "313,20"),
    ("Son de blé, 10 kg", "20", "8,90", "178,00"),
)


def document(fields: Mapping[str, str]) -> tuple[bytes, dict[str, list[float]]]:
    """A one-page invoice as an ERP prints it, and where each field stands: [page, left, bottom, right, top]."""
    file = io.BytesIO()
    canvas = Canvas(file, pagesize=A4, invariant=True)
    canvas.setTitle(f"Facture {fields['number']}")
    boxes = {}
    for name, (left, bottom) in PLACES.items():
        label, large = LABELS.get(name, ""), name in ("number", "seller_name", "total")
        canvas.setFont("Helvetica-Bold" if large else "Helvetica", 12 if large else 10)
        if label:
            canvas.drawRightString(left - 8, bottom, label) if left > 100 else canvas.drawString(left, bottom, label)
        x = left + 40 if label and left <= 100 else left
        canvas.drawString(x, bottom, fields[name])
        boxes[name] = [1, x, bottom - 3, x + canvas.stringWidth(fields[name]), bottom + 10]
    canvas.line(60, 560, 535, 560)
    for row, cells in enumerate(LINES):
        for x, cell in zip((60, 330, 390, 460), cells, strict=True):
            canvas.drawString(x, 540 - 20 * row, cell)
    canvas.line(60, 350, 535, 350)
    canvas.save()
    return file.getvalue(), boxes


def page(title: str) -> bytes:
    file = io.BytesIO()
    canvas = Canvas(file, pagesize=A4, invariant=True)
    canvas.setFont("Helvetica-Bold", 20)
    canvas.drawString(60, 760, title)
    canvas.save()
    return file.getvalue()
