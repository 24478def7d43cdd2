"""The tampering run: one random byte of the archive at a time is changed, and the check must name the place.

One rule: nothing is known beforehand of how the check works. A place is any byte of any blob, and of any column that
people rely on; the change is any other byte. The archive is small and real, so that it is checked as a whole each time.
Run it by hand::

    python -m tests.tampering --changes 2000 [--seed N]
"""

from __future__ import annotations

import argparse
import contextlib
import re
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from printerd.evidence import audit, keys, records
from printerd.storage import schema
from printerd.storage.blobs import Blobs
from tests.evidence.papers import Archive

CLEAN_EVERY = 20
"""After so many changes, each undone, the archive must verify clean."""

SEALED = (
    "id",
    "state",
    "sealed_at",
    *records.FACTS,
    *records.PARTIES,
    "job",
    "pdf",
    "sealed",
    "certificate",
    "timestamp",
)
COLUMNS: Mapping[str, Collection[str]] = {
    "ledger": tuple(schema.ledger.c.keys()),
    "ledger_records": tuple(schema.ledger_records.c.keys()),
    "checkpoints": tuple(schema.checkpoints.c.keys()),
    "receipts": tuple(set(schema.receipts.c.keys()) - {"created_at", "batch", "attempts", "next_at", "trouble"}),
    "invoices": SEALED,
    "events": tuple(set(schema.events.c.keys()) - {"collected_at"}),
    "edges": ("edge", "seq", "head"),
}
"""The columns that are evidence. The others are about the work: when a row was begun, who holds it, when it is due."""

NAMES: Mapping[str, Callable[[Mapping[str, Any]], tuple[str, ...]]] = {
    "ledger": lambda row: (f"ledger entry {row['index']}",),
    "ledger_records": lambda row: (f"ledger entry {row['index']}", f"ledger record {row['index']}"),
    "checkpoints": lambda row: (f"checkpoint {row['size']}",),
    "receipts": lambda row: (f"receipt {row['number']}", row["id"]),
    "invoices": lambda row: (f"invoice {row['number']}", row["id"]),
    "events": lambda row: (f"event {row['seq']} of {row['edge']}",),
    "edges": lambda row: (f"delivery server {row['edge']}",),
}
"""What a finding may call a row. One whose own name was changed may be called by either name."""


# One byte


@dataclass(frozen=True, slots=True)
class Change:
    """A byte that was changed: where, and by what names a finding may call the place."""

    place: str
    where: str
    names: tuple[str, ...]


def another(random: Random, raw: bytes) -> tuple[bytes, str]:
    """The same bytes but for one, and which."""
    at = random.randrange(len(raw))
    new = random.choice([byte for byte in range(256) if byte != raw[at]])
    return raw[:at] + bytes([new]) + raw[at + 1 :], f"byte {at} from {raw[at]:#04x} to {new:#04x}"


@contextmanager
def in_a_blob(state: Path, random: Random) -> Iterator[Change]:
    """An original, an unsealed or sealed PDF, or a receipt."""
    blobs = Blobs(state)
    digest = random.choice(list(blobs.digests()))
    path, raw = blobs.path(digest), blobs.read(digest)
    changed, where = another(random, raw)
    path.write_bytes(changed)
    try:
        yield Change("blobs", f"blob {digest}, {where}", (f"blob {digest}",))
    finally:
        path.write_bytes(raw)


@contextmanager
def in_a_row(state: Path, random: Random, table: str) -> Iterator[Change]:
    """Any evidence column of any row of a table, by whatever another program could write there."""
    with closing(_open(state)) as connection:
        cell = _cell(connection, random, table)
        before = _row(connection, table, cell.rowid)
        rowid, where = _changed(connection, random, cell)
        after = _row(connection, table, rowid)
        try:
            names = tuple(dict.fromkeys((*NAMES[table](before), *NAMES[table](after))))
            yield Change(table, f"{cell.table}.{cell.column} of {names[0]}, {where}", names)
        finally:
            _write(connection, cell, rowid, cell.value)


def _open(state: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(state / "printerd.db", isolation_level=None, timeout=30)
    connection.text_factory = bytes
    return connection


@dataclass(frozen=True, slots=True)
class Cell:
    """One value: ``kind`` is SQLite's, ``value`` its bytes (a number's digits)."""

    table: str
    column: str
    rowid: int
    kind: str
    value: bytes


def _cell(connection: sqlite3.Connection, random: Random, table: str) -> Cell:
    rowids = [row[0] for row in connection.execute(f"SELECT rowid FROM {table}")]  # noqa: S608 - our own names
    while True:
        rowid, column = random.choice(rowids), random.choice(sorted(COLUMNS[table]))
        query = f'SELECT typeof("{column}"), CAST("{column}" AS BLOB) FROM {table} WHERE rowid = ?'  # noqa: S608 - as above
        kind, value = connection.execute(query, (rowid,)).fetchone()
        if value:
            return Cell(table, column, rowid, kind.decode(), value)


def _changed(connection: sqlite3.Connection, random: Random, cell: Cell) -> tuple[int, str]:
    """Write another byte, and give the row's place afterwards: what the database itself refuses is tried again."""
    while True:
        value, where = another(random, cell.value)
        if cell.kind == "integer" and not re.fullmatch(rb"[0-9]+", value):
            continue
        with contextlib.suppress(sqlite3.IntegrityError):
            _write(connection, cell, cell.rowid, value)
            is_rowid = cell.kind == "integer" and cell.column in ("index", "size")
            return int(value) if is_rowid else cell.rowid, where


def _write(connection: sqlite3.Connection, cell: Cell, rowid: int, value: bytes) -> None:
    how = {"integer": "CAST(CAST(? AS TEXT) AS INTEGER)", "text": "CAST(? AS TEXT)", "blob": "?"}[cell.kind]
    statement = f'UPDATE {cell.table} SET "{cell.column}" = {how} WHERE rowid = ?'  # noqa: S608 - our own names
    connection.execute(statement, (value, rowid))


def _row(connection: sqlite3.Connection, table: str, rowid: int) -> dict[str, Any]:
    """A row as the check reads it."""
    cursor = connection.execute(f"SELECT * FROM {table} WHERE rowid = ?", (rowid,))  # noqa: S608 - our own names
    values = cursor.fetchone()
    readable = (str(one, "utf-8", "backslashreplace") if isinstance(one, bytes) else one for one in values)
    return dict(zip((column[0] for column in cursor.description), readable, strict=True))


# The run


@dataclass(slots=True)
class Account:
    """How many changes there were by place, how often the untouched archive was checked, and what went wrong."""

    seed: int
    changes: Counter[str] = field(default_factory=Counter)
    clean: int = 0
    unnamed: list[str] = field(default_factory=list)
    alarms: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def lines(self) -> Iterator[str]:
        total = sum(self.changes.values())
        yield f"seed {self.seed}: {total} changes in {self.seconds:.0f} s, {total - len(self.unnamed)} named"
        yield ", ".join(f"{count} in {place}" for place, count in sorted(self.changes.items()))
        yield f"{self.clean} checks of the untouched archive, {len(self.alarms)} false alarms"
        yield from (f"NOT NAMED: {one}" for one in self.unnamed)
        yield from (f"FALSE ALARM: {one}" for one in self.alarms)


def run(archive: Archive, *, changes: int, seed: int, say: Callable[[str], object] = str) -> Account:
    """Change one byte, check all, undo; as often as asked, each kind of place as often as the others."""
    account, random, began = Account(seed), Random(seed), time.monotonic()  # noqa: S311 - a seeded choice of places
    kinds = ["blobs", *COLUMNS]
    for count in range(changes):
        kind = kinds[count % len(kinds)]
        place = in_a_blob(archive.root, random) if kind == "blobs" else in_a_row(archive.root, random, kind)
        with place as change:
            found = audit.verify_all(archive.database, archive.blobs, archive.keys)
            account.changes[change.place] += 1
            if not names(found, change.names):
                account.unnamed.append(f"{change.where}: {[f'{one.where}: {one.what}' for one in found.problems]}")
        if (count + 1) % CLEAN_EVERY == 0 or count + 1 == changes:
            found = audit.verify_all(archive.database, archive.blobs, archive.keys)
            account.clean += 1
            account.alarms += [f"{one.where}: {one.what}" for one in found.problems]
            say(f"{count + 1} of {changes}")
    account.seconds = time.monotonic() - began
    return account


def names(found: audit.Findings, expected: Collection[str]) -> bool:
    """Whether a problem calls the place by one of its names, as a whole word."""
    told = [f"{problem.where}: {problem.what}" for problem in found.problems]
    words = [re.compile(rf"(?<!\w){re.escape(name)}(?!\w)") for name in expected]
    return any(word.search(one) for word in words for one in told)


def build(root: Path, firm: str = "Atelier Dupont & Fils") -> Archive:
    """A small archive with keys of its own."""
    keys.seal(root / "made", firm)
    keys.authority(root / "made", firm)
    archive = Archive(root / "state", root / "made")
    archive.fill(invoices=2)
    return archive


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.tampering", description=__doc__)
    parser.add_argument("--changes", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    asked = parser.parse_args()
    print(f"seed {asked.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="tampering-") as folder:
        account = run(build(Path(folder)), changes=asked.changes, seed=asked.seed, say=_progress)
    print(*account.lines(), sep="\n", flush=True)
    return 1 if account.unnamed or account.alarms else 0


def _progress(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
