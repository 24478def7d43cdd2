"""``verify --all``: clean when everything agrees, and one changed byte anywhere is named."""

from __future__ import annotations

import random
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from printerd.evidence import audit, keys, ledger, records, timestamp
from printerd.storage.blobs import Blobs
from printerd.storage.schema import ledger as table
from printerd.storage.schema import metadata
from tests.evidence.conftest import FIRM
from tests.evidence.papers import PDF, Archive, page


@pytest.fixture(scope="module")
def template(key_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One archive with two invoices, a receipt and two checkpoints, to be copied by each test."""
    root = tmp_path_factory.mktemp("archive")
    archive = Archive(root, key_folder)
    archive.fill(invoices=2)
    archive.database.close()
    shutil.rmtree(root / "calls")
    return root


@pytest.fixture
def state(template: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(template, tmp_path / "state"))


def findings(state: Path) -> audit.Findings:
    archive = Archive(state, state / "keys")
    try:
        return audit.verify_all(archive.database, archive.blobs, archive.keys)
    finally:
        archive.database.close()


def sql(state: Path, statement: str, *values: object) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(state / "printerd.db")) as connection, connection:
        return connection.execute(statement, values).fetchall()


def wheres(found: audit.Findings) -> str:
    return "\n".join(f"{problem.where}: {problem.what}" for problem in found.problems)


def test_an_untouched_archive_is_clean(state: Path) -> None:
    """No false alarm; the counts say what was checked."""
    found = findings(state)
    assert (found.problems, found.notes, found.exit_code) == ((), (), 0)
    assert found.counts == {
        "ledger entries": 3,
        "checkpoints": 2,
        "blobs": 6,
        "jobs": 1,
        "invoices": 2,
        "sealed invoices": 2,
        "receipts": 1,
        "events": 4,
    }
    assert next(found.lines()) == "CLEAN: everything agrees"


def test_an_empty_archive_is_clean(key_folder: Path, tmp_path: Path) -> None:
    """A new instance has nothing to reproach itself with."""
    archive = Archive(tmp_path, key_folder)
    metadata.create_all(archive.database.engine)
    archive.database.close()
    assert findings(tmp_path).exit_code == 0


CHANGES = [
    *(
        ("ledger", column, '"index" = 1')
        for column in ("kind", "subject", "recorded_at", "record", "leaf", "previous", "digest", "node")
    ),
    *(("ledger", column, '"index" = 2') for column in ("kind", "subject", "recorded_at", "digest")),
    *(("ledger_records", column, '"index" = 1') for column in ("salt", "body")),
    *(("checkpoints", column, "size = 2") for column in ("root", "recorded_at", "signature", "timestamp")),
    *(
        ("invoices", column, "position = 1")
        for column in (*records.FACTS, *records.PARTIES, "pdf", "sealed", "certificate")
    ),
    *(("receipts", column, "number = 42") for column in ("contact", "pdf", "certificate")),
    *(
        ("events", column, "seq = 3")
        for column in ("edge", "name", "uri", "time", "delivery", "contact", "data", "previous", "digest")
    ),
    ("edges", "head", "edge = 'edge-1'"),
    ("jobs", "original", "number = 1"),
]


@pytest.mark.parametrize(("table", "column", "where"), CHANGES)
def test_one_changed_byte_in_a_row_is_named(state: Path, table: str, column: str, where: str) -> None:
    """Whichever column: the finding names its row, and the exit code is 1."""
    value = sql(state, f"SELECT {column} FROM {table} WHERE {where}")[0][0]  # noqa: S608 - names of this test
    assert isinstance(value, str | bytes)
    chance = random.Random(f"{table}.{column}")  # noqa: S311 - a seeded choice of places
    raw = bytearray(value if isinstance(value, bytes) else value.encode())
    raw[chance.randrange(len(raw))] ^= 1
    changed = bytes(raw) if isinstance(value, bytes) else raw.decode(errors="replace")
    sql(state, f"UPDATE {table} SET {column} = ? WHERE {where}", changed)  # noqa: S608 - as above
    found = findings(state)
    assert found.exit_code == 1
    expected = {"ledger": "ledger entry", "ledger_records": "ledger entry 1", "checkpoints": "checkpoint 2"}
    assert expected.get(
        table, {"events": "event 3 of ", "edges": "delivery server edge-1", "jobs": "job 1"}.get(table, table[:-1])
    ) in wheres(found)


@pytest.mark.parametrize(
    "statement",
    [
        'UPDATE ledger SET "index" = 7 WHERE "index" = 2',
        'DELETE FROM ledger WHERE "index" = 0',
        'DELETE FROM ledger WHERE "index" = 2',
        "DELETE FROM invoices WHERE position = 0",
        "DELETE FROM receipts",
        "UPDATE invoices SET state = 'rejected' WHERE position = 0",
        "UPDATE receipts SET state = 'due'",
        "UPDATE invoices SET sealed = NULL WHERE position = 0",
        "UPDATE invoices SET timestamp = json_set(timestamp, '$.serial', 'ff') WHERE position = 0",
        "UPDATE invoices SET timestamp = json_set(timestamp, '$.time', '2020-01-01T00:00:00.000000Z')",
        "UPDATE invoices SET timestamp = '{' WHERE position = 0",
        "UPDATE ledger SET recorded_at = '2026-11-24 09:05:00.000000Z' WHERE \"index\" = 1",
        "UPDATE ledger SET recorded_at = '2020-11-24T09:05:00.000000Z' WHERE \"index\" = 1",
        "UPDATE ledger_records SET salt = upper(salt)",
        "UPDATE ledger_records SET salt = 'no salt'",
        "UPDATE ledger SET previous = 'zz' WHERE \"index\" = 1",
        "UPDATE ledger SET leaf = 'zz' WHERE \"index\" = 1",
        "UPDATE checkpoints SET size = 9 WHERE size = 3",
        'UPDATE ledger_records SET "index" = 9 WHERE "index" = 2',
        "UPDATE invoices SET job = 'nobody' WHERE position = 0",
        "UPDATE receipts SET handover = 15",
        "DELETE FROM events WHERE seq = 2",
        "DELETE FROM events WHERE seq = 4",
        "UPDATE events SET seq = 5 WHERE seq = 4",
        "DELETE FROM edges",
        "UPDATE edges SET seq = 3",
        "UPDATE ledger SET kind = 'act.correct' WHERE kind = 'receipt'",
        "INSERT INTO ledger SELECT 3, recorded_at, kind, subject, record, leaf, digest, digest, node "
        'FROM ledger WHERE "index" = 2',
    ],
)
def test_rows_that_were_added_removed_or_moved_are_named(state: Path, statement: str) -> None:
    """What is missing, doubled, or in another state than the ledger says is a problem, never a crash of the check."""
    sql(state, statement)
    found = findings(state)
    assert found.exit_code == 1
    assert found.problems[0].where
    assert found.problems[0].remedy


UNREADABLE = [
    ("invoice FA-2026-0000", "UPDATE invoices SET timestamp = '{' WHERE position = 0"),
    ("invoice FA-2026-0000", "UPDATE invoices SET sealed_at = 'soon' WHERE position = 0"),
    ("invoice FA-2026-0000", "UPDATE invoices SET issuer = CAST(X'ff' AS TEXT) WHERE position = 0"),
    ("receipt 42", "UPDATE receipts SET created_at = '' WHERE number = 42"),
    ("ledger entry 0", "UPDATE ledger SET kind = CAST(X'80' AS TEXT) WHERE \"index\" = 0"),
    ("ledger entry 0", "UPDATE ledger SET leaf = '' WHERE \"index\" = 0"),
    ("event 2 of edge-1", "UPDATE events SET data = '{' WHERE seq = 2"),
    ("checkpoint 2", "UPDATE checkpoints SET root = CAST(X'80' AS TEXT) WHERE size = 2"),
]


@pytest.mark.parametrize(("where", "statement"), UNREADABLE)
def test_a_row_that_cannot_be_read_is_named_and_the_others_are_checked(state: Path, where: str, statement: str) -> None:
    """Text that is no UTF-8, JSON that is none, a time that is none: a change further on is found all the same."""
    sql(state, statement)
    sql(state, "UPDATE invoices SET total = '0.00' WHERE position = 1")
    found = wheres(findings(state))
    assert f"\n{where}" in f"\n{found}"
    assert "invoice FA-2026-0001" in found
    assert "Its total is not the one in ledger entry 1." in found


RESPELLED = [
    "UPDATE invoices SET timestamp = replace(timestamp, ': ', ':\t') WHERE position = 0",
    "UPDATE invoices SET sealed_at = replace(sealed_at, 'T', ' ') WHERE position = 0",
    "UPDATE receipts SET sealed_at = replace(sealed_at, 'T', ' ')",
    "UPDATE events SET data = '\t' || data WHERE seq = 1",
]


@pytest.mark.parametrize("statement", RESPELLED)
def test_the_same_value_in_another_spelling_is_named(state: Path, statement: str) -> None:
    """A changed byte is a change, also where it is read as the same moment or the same facts."""
    sql(state, statement)
    assert "is not written as it was" in wheres(findings(state))


def test_what_no_authority_signs_of_its_answer_has_one_form(state: Path) -> None:
    """RFC 3161's "granted with mods" around a checkpoint's token would be as good as "granted": it was not stored."""
    granted, with_mods = bytes.fromhex("3003020100"), bytes.fromhex("3003020101")
    response = sql(state, "SELECT timestamp FROM checkpoints WHERE size = 2")[0][0]
    assert isinstance(response, bytes)
    assert response.count(granted) == 1
    sql(state, "UPDATE checkpoints SET timestamp = ? WHERE size = 2", response.replace(granted, with_mods))
    assert wheres(findings(state)) == "checkpoint 2: Its timestamp is not written as it was."


@pytest.mark.parametrize("seed", range(6))
def test_one_changed_byte_in_a_blob_is_named(state: Path, seed: int) -> None:
    """Originals, PDFs, sealed invoices and receipts: the digest that no longer fits is named."""
    blobs = Blobs(state)
    digest = list(blobs.digests())[seed]
    raw = bytearray(blobs.read(digest))
    raw[random.Random(seed).randrange(len(raw))] ^= 1  # noqa: S311 - a seeded choice of places
    blobs.path(digest).write_bytes(raw)
    found = findings(state)
    assert found.exit_code == 1
    assert f"blob {digest}: The bytes are not those" in wheres(found)


def test_a_missing_blob_is_named_with_every_row_that_needs_it(state: Path) -> None:
    """The remedy is the backup."""
    sealed = str(sql(state, "SELECT sealed FROM invoices WHERE position = 0")[0][0])
    (state / "blobs" / sealed[:2] / sealed).unlink()
    found = findings(state)
    assert [problem.what for problem in found.problems] == [f"Its sealed PDF is missing: blob {sealed}."]
    assert "backup" in found.problems[0].remedy


def test_orphan_blobs_are_notes(state: Path) -> None:
    """What a crash left between blob and row is listed, and is no failure."""
    blob = Blobs(state).put(page("nobody's"), PDF)
    found = findings(state)
    assert found.exit_code == 0
    assert len(found.notes) == 1
    assert blob.digest in found.notes[0]
    assert found.counts["orphan blobs"] == 1


def test_an_erased_record_is_no_problem(state: Path) -> None:
    """Names and addresses can be erased: entry, chain, root and seals hold without them, and it is said."""
    sql(state, 'DELETE FROM ledger_records WHERE "index" = 0')
    found = findings(state)
    assert found.exit_code == 0
    assert found.notes == ("1 ledger records have been erased; their entries hold without them.",)


def test_a_rewritten_ledger_does_not_match_its_checkpoint(state: Path) -> None:
    """Whoever recomputes leaf, chain and record after a change still meets the signed root."""
    archive = Archive(state, state / "keys")
    with archive.database.write() as connection:
        rows = connection.execute(table.select().order_by(table.c.index)).all()
        previous = ledger.FIRST
        for index, row in enumerate(rows):
            subject = "forged" if index == 1 else row.subject
            entry = ledger.link(index, row.recorded_at, row.kind, subject, row.record, previous)
            values = {"subject": subject, "leaf": entry.leaf, "previous": previous, "digest": entry.digest}
            connection.execute(table.update().where(table.c.index == index).values(values))
            previous = entry.digest
    archive.database.close()
    found = wheres(findings(state))
    assert "The first 2 entries are not those of their checkpoint." in found
    assert "It does not follow" not in found


def test_seals_of_a_key_that_is_not_ours_are_named(state: Path, tmp_path: Path) -> None:
    """A certificate that is not among the keys establishes nothing; the remedy says where an earlier one belongs."""
    for file in (state / "keys").iterdir():
        file.unlink()
    keys.seal(state / "keys", FIRM)
    keys.authority(state / "keys", FIRM)
    found = findings(state)
    assert len([problem for problem in found.problems if "not among the keys" in problem.what]) == 5
    assert len([problem for problem in found.problems if "local authority that is not ours" in problem.what]) == 5


def test_another_timestamp_authority_is_a_note_until_its_root_is_there(
    key_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tokens of an authority whose root we lack hold; that their time is not established is said once."""
    authority = timestamp.LocalAuthority(keys.authority(tmp_path / "other", "Independent"))

    def foreign(request: bytes) -> bytes:
        with monkeypatch.context() as elsewhere:
            elsewhere.setattr("printerd.evidence.signatures.LOCAL_POLICY", "1.2.3.4")
            return authority(request)

    monkeypatch.setattr("printerd.evidence.timestamp.connect", lambda *_: timestamp.Stamper(foreign))
    archive = Archive(tmp_path / "state", key_folder)
    archive.fill(invoices=2)
    archive.database.close()
    found = findings(archive.root)
    assert (found.problems, len(found.notes)) == ((), 1)
    assert "is not established" in found.notes[0]
    shutil.copy(tmp_path / "other" / "tsa.crt", archive.keys / "independent.crt")
    assert findings(archive.root).notes == ()


DAMAGE: dict[str, Callable[[bytearray], None]] = {
    "the header": lambda raw: raw.__setitem__(slice(0, 16), bytes(16)),
    "everything behind the first page": lambda raw: raw.__setitem__(slice(4096, None), bytes(len(raw) - 4096)),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_database_is_a_finding(state: Path, damage: str) -> None:
    """A file that SQLite cannot read is a problem with a remedy, not a traceback."""
    path = state / "printerd.db"
    raw = bytearray(path.read_bytes())
    DAMAGE[damage](raw)
    path.write_bytes(raw)
    found = findings(state)
    assert found.exit_code == 1
    assert found.problems[0].remedy == audit.COMPARE


def test_so_many_problems_are_counted_and_not_kept(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory stays flat however much is wrong."""
    monkeypatch.setattr(audit, "LISTED", 1)
    sql(state, "UPDATE invoices SET total = '0.00'")
    found = findings(state)
    assert (len(found.problems), found.more) == (1, 1)
    lines: Iterator[str] = found.lines()
    assert next(lines) == "2 PROBLEMS"
    assert "- and 1 more" in lines
