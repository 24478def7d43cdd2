"""The ledger: a row for each thing that must stay provable, appended in the transaction that does the thing.

An entry is a leaf (the canonical bytes of its columns), the digest of a salted
record that is kept aside and may be erased, and a link to the entry before.
Indexes are dense from 0, as leaves are counted in RFC 6962. The entry before
the first is 64 zeros. Beside it stands its node, the root of the largest full
subtree that ends with it: a few of them make the root over any number of entries
(:func:`printerd.evidence.merkle.ends`). Only :meth:`printerd.storage.database.Database.write`
gives a connection to append with: it lets in one writer at a time.

Time never runs backwards here: while a clock that was set back catches up,
entries bear the time of the entry before them. What a ledger proves is order.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from printerd.errors import IntegrityError
from printerd.evidence import canonical, merkle
from printerd.model import Checkpoint, Digest, LedgerEntry
from printerd.storage.schema import checkpoints, ledger, ledger_records

FIRST = Digest("0" * 64)
"""What stands as ``previous`` in entry 0."""


def append(connection: sa.Connection, kind: str, subject: str, body: Mapping[str, Any], now: datetime) -> LedgerEntry:
    """Add an entry. ``subject`` is an id, never a name or an address: those stand only in ``body``."""
    return extend(connection, kind, [(subject, body)], now)[0]


def extend(
    connection: sa.Connection, kind: str, records: Sequence[tuple[str, Mapping[str, Any]]], now: datetime
) -> list[LedgerEntry]:
    """Add an entry for each subject and body, in their order."""
    last = connection.execute(_NEWEST).one_or_none()
    index, previous = (0, FIRST) if last is None else (last.place + 1, Digest(last.digest))
    recorded_at = now if last is None else max(now, last.recorded_at)
    entries, kept = list[LedgerEntry](), list[dict[str, Any]]()
    for place, (subject, body) in enumerate(records, start=index):
        salt, text = secrets.token_bytes(32), canonical.encode(body)
        entries.append(link(place, recorded_at, kind, subject, record_digest(salt, text), previous))
        kept.append({"index": place, "salt": salt.hex(), "body": text.decode()})
        previous = entries[-1].digest
    nodes = _nodes_of(connection, entries)
    connection.execute(_ENTER, [asdict(entry) | {"node": nodes[entry.index].hex()} for entry in entries])
    connection.execute(_KEEP, kept)
    return entries


def _nodes_of(connection: sa.Connection, entries: Sequence[LedgerEntry]) -> dict[int, bytes]:
    """The nodes of new entries, and of the earlier ones that they join."""
    joins = {entry.index: merkle.joins(entry.index) for entry in entries}
    before = sorted({end for ends in joins.values() for end in ends} - joins.keys())
    nodes = dict(zip(before, _nodes(connection, before), strict=True))
    for entry in entries:
        nodes[entry.index] = merkle.joined((nodes[end] for end in joins[entry.index]), bytes.fromhex(entry.leaf))
    return nodes


_ENTER, _KEEP = ledger.insert(), ledger_records.insert()


# "index" is a method of every row: the column needs another name.
_NEWEST = sa.select(ledger.c.index.label("place"), ledger.c.recorded_at, ledger.c.digest)
_NEWEST = _NEWEST.order_by(ledger.c.index.desc()).limit(1)


def link(index: int, recorded_at: datetime, kind: str, subject: str, record: Digest, previous: Digest) -> LedgerEntry:
    """An entry with its two hashes: the RFC 6962 leaf, and SHA-256(previous ‖ leaf)."""
    leaf = merkle.leaf_hash(canonical.leaf(index, recorded_at, kind, subject, record))
    digest = hashlib.sha256(bytes.fromhex(previous) + leaf).hexdigest()
    return LedgerEntry(index, recorded_at, kind, subject, record, Digest(leaf.hex()), previous, Digest(digest))


def record_digest(salt: bytes, body: bytes) -> Digest:
    """SHA-256(salt ‖ body): without the salt nobody can guess a body from its digest."""
    return Digest(hashlib.sha256(salt + body).hexdigest())


def size(connection: sa.Connection) -> int:
    """The number of entries, at no cost: indexes are dense from 0."""
    last: int | None = connection.scalar(_LAST)
    return 0 if last is None else last + 1


_LAST = sa.select(sa.func.max(ledger.c.index))


def head(connection: sa.Connection) -> tuple[int, Digest]:
    """The number of entries and the RFC 6962 root over all of them."""
    entries = size(connection)
    return entries, Digest(tree(connection, entries).root().hex())


def tree(connection: sa.Connection, entries: int) -> merkle.Tree:
    """The tree over the first entries, from one node for each bit of their number."""
    return merkle.Tree(entries, _nodes(connection, merkle.ends(entries)))


def _nodes(connection: sa.Connection, ends: Sequence[int]) -> list[bytes]:
    """The nodes of the entries ``ends``, in their order."""
    found = {row.place: row.node for row in connection.execute(_NODES, {"ends": ends})} if ends else {}
    if lacking := [end for end in ends if end not in found]:
        raise IntegrityError(f"The ledger lacks entry {lacking[0]}.", remedy="Compare: invoice-printer verify --all")
    return [bytes.fromhex(found[end]) for end in ends]


_NODES = sa.select(ledger.c.index.label("place"), ledger.c.node)
_NODES = _NODES.where(ledger.c.index.in_(sa.bindparam("ends", expanding=True)))


def latest(connection: sa.Connection) -> Checkpoint | None:
    """The checkpoint over the most entries."""
    row = connection.execute(_LATEST).one_or_none()
    return None if row is None else Checkpoint(row.size, Digest(row.root), row.recorded_at)


_LATEST = sa.select(checkpoints).order_by(checkpoints.c.size.desc()).limit(1)


def save_checkpoint(
    connection: sa.Connection,
    size: int,
    root: Digest,
    recorded_at: datetime,
    signature: bytes,
    timestamp: bytes | None,
) -> None:
    """Keep a signed checkpoint (DER of a detached CMS and of a TimeStampResp over its statement).

    Saving a checkpoint of a size that is there already changes nothing: the step that made it may run twice.
    """
    taken = connection.execute(sa.select(checkpoints.c.size).where(checkpoints.c.size == size)).one_or_none()
    if taken is None:
        connection.execute(
            checkpoints.insert().values(
                size=size, root=root, recorded_at=recorded_at, signature=signature, timestamp=timestamp
            )
        )
