"""One value, one row of bytes: what is hashed, signed or timestamped is written here and nowhere else.

The form is that of RFC 8785 (JCS) for the values that we use: objects with
sorted names, strings, integers, booleans and null. Floating-point numbers have
no place in evidence and are refused; amounts are decimal text.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from printerd.model import Digest


def encode(value: Mapping[str, Any]) -> bytes:
    """The canonical UTF-8 bytes of an object. ``ValueError`` for a value that has no single form."""
    return json.dumps(_exact(value), ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()


def instant(moment: datetime) -> str:
    """``2026-11-24T09:05:00.123456Z``: RFC 3339 in UTC, always with microseconds. A naive time is refused."""
    if moment.tzinfo is None:
        raise ValueError("a time without a zone")
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def leaf(index: int, recorded_at: datetime, kind: str, subject: str, record: Digest) -> bytes:
    """The bytes of a ledger leaf: everything but names and addresses, which are only in the record."""
    return encode(
        {"index": index, "recorded_at": instant(recorded_at), "kind": kind, "subject": subject, "record": record}
    )


def checkpoint(size: int, root: Digest, recorded_at: str) -> bytes:
    """The bytes of a checkpoint's statement, which are signed and timestamped."""
    return encode({"size": size, "root": root, "recorded_at": recorded_at})


def event_digest(event: Mapping[str, Any]) -> Digest:
    """SHA-256 of the canonical JSON of a delivery server's event without its own ``digest``."""
    body = encode({name: value for name, value in event.items() if name != "digest"})
    return Digest(hashlib.sha256(body).hexdigest())


def _exact(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _exact(item) for name, item in value.items() if _named(name)}
    if isinstance(value, list | tuple):
        return [_exact(item) for item in value]
    if value is None or isinstance(value, str | bool | int):
        return value
    raise ValueError(f"{type(value).__name__} has no canonical form")


def _named(name: object) -> bool:
    if not isinstance(name, str):
        raise ValueError("the names of an object are strings")
    return True
