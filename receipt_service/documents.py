"""Documents rest as files named by their digest: durable before anybody is told, deleted when nobody needs them.

A file is needed while a delivery may still hand it over: until it expires or is
revoked, or until some days after every one of its contacts has got it and the
last reminder was written.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import sqlite3
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import IO

import anyio

from .contract import Refusal
from .database import stamp

LIMIT = 256 * 1024 * 1024
"""Largest document in bytes."""
UNCLAIMED = timedelta(days=2)
"""A document that no delivery names is kept so long: its delivery is on the way."""


def path_of(folder: Path, sha256: str) -> Path:
    """Where the document with this digest rests."""
    return folder / sha256[:2] / sha256


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _settle(file: IO[bytes], temporary: Path, target: Path) -> None:
    """Make the bytes durable first, then their name (fsync, rename, fsync of the folder)."""
    file.flush()
    os.fsync(file.fileno())
    if not target.parent.exists():
        target.parent.mkdir(mode=0o700, exist_ok=True)
        _sync_folder(target.parent.parent)
    temporary.rename(target)
    _sync_folder(target.parent)


async def receive(folder: Path, body: AsyncIterator[bytes], announced: str = "") -> tuple[str, int]:
    """Store a stream under its digest; gives digest and size in bytes, on the disk for certain.

    Raises:
        Refusal: 413 too large, 422 not a PDF or not the digest announced; nothing is kept then.
    """
    temporary = folder / f".{secrets.token_hex(8)}"
    try:
        async with await anyio.open_file(temporary, "xb", opener=_private) as file:
            sha256, size = await _copy(body, file.wrapped)
            if announced not in ("", sha256):
                raise Refusal(422, f"the body has digest {sha256}, not {announced}")
            await anyio.to_thread.run_sync(_settle, file.wrapped, temporary, path_of(folder, sha256))
    finally:
        await anyio.Path(temporary).unlink(missing_ok=True)
    return sha256, size


def _private(name: str, flags: int) -> int:
    return os.open(name, flags, 0o600)


async def _copy(body: AsyncIterator[bytes], file: IO[bytes]) -> tuple[str, int]:
    """Chunks go to the page cache as they come; only the fsync, later, is worth a thread."""
    digest, size, start = hashlib.sha256(), 0, b""
    async for chunk in body:
        size += len(chunk)
        start = start if len(start) >= 5 else (start + chunk)[:5]
        if size > LIMIT:
            raise Refusal(413, f"the document is larger than {LIMIT} bytes")
        digest.update(chunk)
        file.write(chunk)
    if start != b"%PDF-":
        raise Refusal(422, "the body is not a PDF")
    return digest.hexdigest(), size


def record(connection: sqlite3.Connection, folder: Path, sha256: str, size: int, at: datetime) -> bool:
    """Note a stored document; ``True`` when it was not there before.

    Raises:
        Refusal: 409, an older copy was just deleted and took the file along; upload it again.
    """
    if not path_of(folder, sha256).exists():
        raise Refusal(409, f"document {sha256} was just deleted: upload it again")
    known = connection.execute("SELECT 1 FROM documents WHERE sha256 = ?", (sha256,)).fetchone()
    connection.execute("INSERT OR REPLACE INTO documents VALUES (?, ?, ?)", (sha256, size, stamp(at)))
    return known is None


def size_of(connection: sqlite3.Connection, sha256: str) -> int | None:
    """The size of a stored document; ``None`` when it is not (or no longer) here."""
    row = connection.execute("SELECT size FROM documents WHERE sha256 = ?", (sha256,)).fetchone()
    return row["size"] if row else None


# A contact in a delivery's body whose document has not been handed over, or only lately; or a reminder that is as new.
_NEEDED = """
SELECT document FROM deliveries WHERE revoked_at IS NULL AND expires_at > :now AND (EXISTS (
    SELECT 1 FROM json_each(deliveries.body, '$.contacts') AS person WHERE NOT EXISTS (
        SELECT 1 FROM events WHERE events.delivery = deliveries.id AND events.name = 'ContentHandover'
            AND events.contact = person.value ->> 'id' AND events.time < :handed_over_before))
    OR EXISTS (SELECT 1 FROM reminders WHERE reminders.delivery = deliveries.id
        AND reminders.created_at >= :handed_over_before))
UNION
SELECT receipts.sha256 FROM receipts JOIN deliveries ON deliveries.id = receipts.delivery
    WHERE revoked_at IS NULL AND expires_at > :now
"""


def release(connection: sqlite3.Connection, folder: Path, at: datetime, days_after_handover: float) -> int:
    """Delete the documents that nobody needs any more, rows and files; gives how many."""
    times = {
        "now": stamp(at),
        "handed_over_before": stamp(at - timedelta(days=days_after_handover)),
        "unclaimed_before": stamp(at - UNCLAIMED),
    }
    rows = connection.execute(
        f"""DELETE FROM documents WHERE sha256 NOT IN ({_NEEDED}) AND (stored_at < :unclaimed_before
            OR EXISTS (SELECT 1 FROM deliveries WHERE document = documents.sha256 AND created_at >= stored_at)
            OR EXISTS (SELECT 1 FROM receipts WHERE receipts.sha256 = documents.sha256))
            RETURNING sha256""",  # noqa: S608 - the text is the constant above
        times,
    ).fetchall()
    for row in rows:
        path_of(folder, row["sha256"]).unlink(missing_ok=True)
    return len(rows)


def discard_partial(folder: Path) -> None:
    """Make the folder, and delete what uploads left in it that a crash broke off; call it before the first upload."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for leftover in folder.glob(".*"):
        leftover.unlink()
