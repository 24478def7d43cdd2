"""PDFs of many makes to seal, and a small archive in which everything is real."""

from __future__ import annotations

import base64
import shutil
import uuid
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import pikepdf
from reportlab.lib.pagesizes import A4
from reportlab.pdfgen.canvas import Canvas

from printerd.delivery import contract
from printerd.evidence import ledger, records, sealing
from printerd.model import Blob, Digest, InvoiceState, JobState, ReceiptState
from printerd.storage import schema
from printerd.storage.blobs import Blobs
from printerd.storage.database import SEARCH_TABLE, Database
from tests.evidence.receipt_facts import chained, events, facts
from tests.pipeline import paper

NOW = datetime(2026, 11, 24, 9, 5, tzinfo=UTC)
PDF = "application/pdf"


def page(text: str = "Facture FA-2026-0042", pages: int = 1) -> bytes:
    """A plain PDF with a cross-reference table."""
    out = BytesIO()
    canvas = Canvas(out, pagesize=A4, invariant=True)
    for number in range(pages):
        canvas.drawString(72, 720, f"{text} {number + 1}/{pages}")
        canvas.showPage()
    canvas.save()
    return out.getvalue()


def with_object_streams() -> bytes:
    """A PDF 1.5 file: compressed objects, a cross-reference stream."""
    out = BytesIO()
    with pikepdf.open(BytesIO(page())) as pdf:
        pdf.save(out, object_stream_mode=pikepdf.ObjectStreamMode.generate)
    return out.getvalue()


def with_metadata(document_type: str, body: str) -> bytes:
    """A PDF whose XMP (ISO 16684-1) has a document type, and ``body`` as the format of the document."""
    rdf = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
    described = (
        f'<rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:format>{body}</dc:format>'
    )
    xmp = f'{document_type}<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="{rdf}">{described}'
    return paper.raw_pdf(
        b"<< /Type /Catalog /Pages 2 0 R /Metadata 4 0 R >>",
        b"<< /Type /Pages /Count 1 /Kids [3 0 R] >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] >>",
        paper.stream(f"{xmp}</rdf:Description></rdf:RDF></x:xmpmeta>".encode(), b"/Type /Metadata /Subtype /XML"),
    )


def hybrid() -> bytes:
    """A hybrid-reference file (ISO 32000-1 section 7.5.8.4): a table, and a stream beside it for newer readers."""
    plain = page()
    end = plain.rindex(b"startxref")
    table = plain.rindex(b"xref\n", 0, end)
    size = int(plain[plain.index(b"/Size", table) + 5 :].split()[0])
    head = f"{size} 0 obj\n<< /Type /XRef /Size {size} /W [1 2 1] /Index [0 0] /Length 0 >>\n"
    stream = head.encode() + b"stream\n\nendstream\nendobj\n"
    trailer = plain[table:end].replace(b"trailer\n<<", f"trailer\n<< /XRefStm {table}".encode(), 1)
    return plain[:table] + stream + trailer + f"startxref\n{table + len(stream)}\n%%EOF\n".encode()


def with_form(form: bytes, annotations: bytes) -> bytes:
    """A PDF with a text field ``Seal1``; ``form`` and ``annotations`` are direct, or one of 5 0 R and 6 0 R, 7 0 R."""
    return paper.raw_pdf(
        b"<< /Type /Catalog /Pages 2 0 R /AcroForm %s >>" % form,
        b"<< /Type /Pages /Count 1 /Kids [8 0 R] >>",
        b"<< /Type /Page /Parent 8 0 R /MediaBox [0 0 595 842] /Annots %s >>" % annotations,
        b"<< /Type /Annot /Subtype /Widget /FT /Tx /T (Seal1) /Rect [50 50 90 60] >>",
        b"<< /Fields 6 0 R /NeedAppearances true >>",
        b"[4 0 R]",
        b"[4 0 R]",
        b"<< /Type /Pages /Count 1 /Kids [3 0 R] /Parent 2 0 R >>",
    )


def encrypted(user: str) -> bytes:
    out = BytesIO()
    with pikepdf.open(BytesIO(page())) as pdf:
        pdf.save(out, encryption=pikepdf.Encryption(user=user, owner="owner"))
    return out.getvalue()


class Archive:
    """A ``STATE`` as a worker leaves it: sealed invoices, a receipt, ledger and checkpoints."""

    def __init__(self, root: Path, keys: Path) -> None:
        self.root, self.keys = root, root / "keys"
        if not self.keys.exists():
            shutil.copytree(keys, self.keys)
        self.blobs = Blobs(root)
        self.database = Database(f"sqlite:///{root / 'printerd.db'}")

    def fill(self, invoices: int = 3) -> None:
        """Build it: one job, its invoices, a receipt for the first, a checkpoint in the middle and at the end."""
        schema.metadata.create_all(self.database.engine)
        with self.database.write() as connection:
            connection.exec_driver_sql(SEARCH_TABLE)
        self.tasks = sealing.start(str(self.keys), "local:", firm="Atelier Dupont & Fils")
        self.original = self.blobs.put(page("Lot", invoices), PDF)
        self._job(invoices)
        ids = [self._invoice(position) for position in range(invoices)]
        self.checkpoint()
        self._receipt(ids[0])
        self.checkpoint()

    def _job(self, pages: int) -> None:
        self.job = str(uuid.uuid4())
        row: dict[str, Any] = {
            "id": self.job,
            "number": 1,
            "options": {},
            "original": self.original.digest,
            "size": self.original.size,
            "state": JobState.DONE,
            "created_at": NOW,
        }
        with self.database.write() as connection:
            connection.execute(schema.jobs.insert().values(row))

    def _sealed(self, task: str, values: dict[str, Any], *files: bytes) -> tuple[Blob, dict[str, Any]]:
        folder = self.root / "calls" / str(uuid.uuid4())
        folder.mkdir(parents=True)
        answer = self.tasks[task](values, [BytesIO(file) for file in files], folder)
        return self.blobs.put((folder / answer["file"]).read_bytes(), PDF), answer

    def _invoice(self, position: int) -> str:
        identity, number = str(uuid.uuid4()), f"FA-2026-{position:04}"
        pdf = self.blobs.put(page(f"Facture {number}"), PDF)
        sealed, seal = self._sealed("seal", {"reason": f"invoice {number}"}, self.blobs.read(pdf.digest))
        shown: dict[str, Any] = {
            "issuer": "dupont",
            "number": number,
            "kind": "invoice",
            "issued_on": "2026-11-24",
            "due_on": "2026-12-24",
            "net": "1028.80",
            "vat": "205.76",
            "total": "1234.56",
            "currency": "EUR",
            "iban": "FR7630006000011234567890189",
            "customer_code": f"C{position:04}",
            "customer_name": "Maison Aubépine",
            "pdf": pdf.digest,
            "sealed": sealed.digest,
            "certificate": seal["certificate"],
            "timestamp": seal["timestamp"],
            "job": self.job,
            "sealed_at": datetime.fromisoformat(seal["sealed_at"]),
        }
        rest: dict[str, Any] = {
            "id": identity,
            "position": position,
            "first_page": position + 1,
            "last_page": position + 1,
            "state": InvoiceState.ARCHIVED,
            "reading": {},
            "corrections": {},
            "reasons": [],
            "accepted": [],
            "content": pdf.digest,
            "created_at": NOW,
            "updated_at": NOW,
        }
        with self.database.write() as connection:
            connection.execute(schema.invoices.insert().values(shown | rest))
            record = records.invoice(shown | {"original": self.original.digest, "options": {}})
            ledger.append(connection, "invoice", identity, record, NOW)
        return identity

    def _receipt(self, invoice: str) -> None:
        identity, told = str(uuid.uuid4()), chained(events())
        *_, act, handover = told
        pdf, seal = self._sealed("receipt", {"facts": dict(facts(told)) | {"certificate": ""}})
        row: dict[str, Any] = {
            "delivery": act.delivery,
            "contact": "c1",
            "number": 42,
            "pdf": pdf.digest,
            "edge": act.edge,
            "acceptance": act.seq,
            "handover": handover.seq,
            "sealed_at": datetime.fromisoformat(seal["sealed_at"]),
        }
        rest: dict[str, Any] = {
            "id": identity,
            "state": ReceiptState.FILED,
            "certificate": seal["certificate"],
            "timestamp": seal["timestamp"],
            "created_at": NOW,
        }
        ordered = {
            "id": act.delivery,
            "invoice": invoice,
            "route": "mail",
            "state": "sent",
            "mode": "live",
            "facts": {},
        }
        with self.database.write() as connection:
            connection.execute(schema.deliveries.insert().values(ordered | {"created_at": NOW}))
            connection.execute(schema.events.insert(), [contract.wire(one) | {"collected_at": NOW} for one in told])
            cursor = {"edge": act.edge, "seq": handover.seq, "head": handover.digest}
            connection.execute(schema.edges.insert().values(cursor))
            connection.execute(schema.receipts.insert().values(row | rest))
            body = records.receipt(row, act.digest, seal["record"])
            ledger.append(connection, "receipt", identity, body, NOW + timedelta(minutes=1))

    def checkpoint(self) -> None:
        with self.database.write() as connection:
            size, root = ledger.head(connection)
            statement = {"size": size, "root": root, "recorded_at": schema.rfc3339(NOW)}
            answer = self.tasks["checkpoint"](statement, [], self.root)
            signature, token = (base64.b64decode(answer[name]) for name in ("signature", "timestamp"))
            ledger.save_checkpoint(connection, size, Digest(root), NOW, signature, token)
