"""A receipt as a file: its page, with the record and the timestamp over the record inside.

One rule: the same facts and the same token give the same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from io import BytesIO
from typing import Any

import pikepdf

from printerd.evidence import receipt_page, signatures

RECORD = "receipt.json"
TOKEN = "receipt.tsr"  # noqa: S105 - a file name; the token is a timestamp (RFC 3161)


def render(facts: Mapping[str, Any], record: bytes, token: bytes) -> bytes:
    """The unsealed PDF: one A4 page, with ``receipt.json`` and ``receipt.tsr`` attached (AFRelationship Data).

    Args:
        facts: :class:`printerd.evidence.receipt.Facts`.
        record: their canonical JSON, attached as it is.
        token: the TimeStampResp (DER, RFC 3161 section 2.4.2) over exactly these bytes.

    Raises:
        IntegrityError: the token is not one for the record.
    """
    page = receipt_page.draw(facts, signatures.response(token, record).timestamp)
    made_at = datetime.fromisoformat(facts["made_at"])
    with pikepdf.open(BytesIO(page)) as pdf:
        attached = [
            _attach(pdf, RECORD, record, "application/json", made_at),
            _attach(pdf, TOKEN, token, "application/timestamp-reply", made_at),
        ]
        pdf.Root.AF = pikepdf.Array(attached)
        pdf.Root.Lang = pikepdf.String({"fr": "fr-FR", "en": "en-GB"}[facts["language"]])
        out = BytesIO()
        pdf.save(out, deterministic_id=True)
    return out.getvalue()


def _attach(pdf: pikepdf.Pdf, name: str, data: bytes, media_type: str, moment: datetime) -> pikepdf.Object:
    """ISO 32000-2 section 7.11.4, and 14.13 for its relationship to the page."""
    stamp = moment.strftime("D:%Y%m%d%H%M%SZ")
    spec = pikepdf.AttachedFileSpec(
        pdf,
        data,
        filename=name,
        mime_type=media_type,
        creation_date=stamp,
        mod_date=stamp,
        relationship=pikepdf.Name.Data,
    )
    pdf.attachments[name] = spec
    return spec.obj
