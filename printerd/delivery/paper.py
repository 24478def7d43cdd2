"""Paper: the sealed PDF, as it is, in the out-tray folder from which the firm prints.

A file appears whole or not at all, under a name made of our own ids: nothing
that a document or a customer says becomes a path.
"""

from __future__ import annotations

import os
import re
import shutil
from datetime import date
from pathlib import Path
from typing import BinaryIO

from printerd.errors import TransientError
from printerd.model import DeliveryId
from printerd.storage.blobs import sync_folder


def file_name(day: date, number: str, delivery: DeliveryId) -> str:
    """``2026-11-24_FA-2026-0042_7d444840.pdf``: sorts by day, and two invoices never share a name."""
    return f"{day.isoformat()}_{plain(number)}_{delivery[:8]}.pdf"


def plain(number: str) -> str:
    """An invoice number as it may stand in a file name: letters, digits and hyphens."""
    return re.sub(r"[^A-Za-z0-9]+", "-", number).strip("-")[:60] or "invoice"


def put(tray: Path, pdf: BinaryIO, *, day: date, number: str, delivery: DeliveryId) -> Path:
    """Lay a PDF into the out-tray; durable when this returns. The same delivery and day always give the same file.

    ``day`` must be one of the row (its creation), not today, so that a repeated step overwrites and does not double.
    Raises :class:`TransientError` when the folder cannot be written.
    """
    target = tray / file_name(day, number, delivery)
    partial = tray / f".{target.name}.part"
    try:
        if not tray.is_dir():
            tray.mkdir(parents=True)
            tray.chmod(0o750)  # the one folder that the service may share with a group: whoever prints
        with partial.open("wb") as file:
            os.fchmod(file.fileno(), 0o640)
            shutil.copyfileobj(pdf, file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(target)
        sync_folder(tray)
    except OSError as error:
        raise TransientError(
            f"The out-tray could not be written: {error.strerror}.",
            where=str(target),
            remedy="Make room or mend the folder's rights; it is tried again by itself.",
        ) from error
    return target
