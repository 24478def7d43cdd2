"""The ledger's entries, links and checkpoints."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from printerd.errors import IntegrityError
from printerd.evidence import ledger, merkle
from printerd.storage.database import Database
from printerd.storage.schema import ledger as rows
from printerd.storage.schema import ledger_records

NOW = datetime(2026, 11, 24, 9, 5, 0, 123456, tzinfo=UTC)


def add(database: Database, *, now: datetime = NOW, **body: object) -> ledger.LedgerEntry:
    with database.write() as connection:
        return ledger.append(connection, "act.release", "an-invoice", body, now)


def test_entries_are_dense_and_linked_from_zero(database: Database) -> None:
    """Entry 0 follows 64 zeros; each later one bears the digest of the one before it."""
    entries = [add(database, who="Léa", number=number) for number in range(4)]
    assert [entry.index for entry in entries] == [0, 1, 2, 3]
    assert [entry.previous for entry in entries] == ["0" * 64, *(entry.digest for entry in entries[:-1])]


def test_an_entry_can_be_recomputed_by_hand(database: Database) -> None:
    """Record, leaf and link follow from the columns with hashlib and json alone."""
    entry = add(database, who="Léa", amount="12.50")
    with database.read() as connection:
        record = connection.execute(sa.select(ledger_records)).one()
    body = json.dumps({"amount": "12.50", "who": "Léa"}, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    assert record.body == body
    assert entry.record == hashlib.sha256(bytes.fromhex(record.salt) + body.encode()).hexdigest()
    columns = {
        "index": 0,
        "kind": "act.release",
        "record": entry.record,
        "recorded_at": "2026-11-24T09:05:00.123456Z",
        "subject": "an-invoice",
    }
    leaf = hashlib.sha256(b"\0" + json.dumps(columns, separators=(",", ":")).encode())
    assert entry.leaf == leaf.hexdigest()
    assert entry.digest == hashlib.sha256(bytes(32) + leaf.digest()).hexdigest()


def test_the_same_body_twice_gives_different_digests(database: Database) -> None:
    """A salt of 32 random bytes keeps people from guessing a body from its digest."""
    first, second = add(database, who="Léa"), add(database, who="Léa")
    assert first.record != second.record


def test_names_stand_only_in_the_record_that_may_be_erased(database: Database) -> None:
    """A person's name is nowhere in the ledger's own rows."""
    add(database, who="Léa Martin")
    with database.read() as connection:
        assert "Martin" not in str(connection.execute(sa.select(rows)).all())


def test_time_does_not_run_backwards(database: Database) -> None:
    """While a clock that was set back catches up, entries bear the time of the one before."""
    add(database)
    assert add(database, now=NOW - timedelta(hours=1)).recorded_at == NOW
    assert add(database, now=NOW + timedelta(seconds=1)).recorded_at == NOW + timedelta(seconds=1)


@pytest.mark.parametrize("value", [1.5, NOW, b"x", {1: "x"}])
def test_what_has_no_single_form_is_refused(database: Database, value: object) -> None:
    """Floating-point numbers, times, bytes and unnamed values are no evidence; nothing is written for them."""
    with pytest.raises(ValueError, match=r"form|names"):
        add(database, value=value)
    with database.read() as connection:
        assert ledger.head(connection)[0] == 0


def test_the_head_is_the_root_over_all_leaves(database: Database) -> None:
    """The empty ledger has the hash of nothing; with two leaves the root is their node."""
    with database.read() as connection:
        assert ledger.head(connection) == (0, hashlib.sha256(b"").hexdigest())
    leaves = [bytes.fromhex(add(database, number=number).leaf) for number in range(2)]
    with database.read() as connection:
        assert ledger.head(connection) == (2, hashlib.sha256(b"\x01" + leaves[0] + leaves[1]).hexdigest())


def test_the_head_is_that_of_the_leaves_at_every_size(database: Database) -> None:
    """A node for each bit of the size makes the root that all leaves make."""
    leaves = []
    for number in range(40):
        leaves.append(bytes.fromhex(add(database, number=number).leaf))
        with database.read() as connection:
            assert ledger.head(connection) == (number + 1, merkle.root(leaves).hex())
            assert ledger.tree(connection, number // 2).root() == merkle.root(leaves[: number // 2])


@pytest.mark.parametrize("before", range(9))
@pytest.mark.parametrize("many", [1, 2, 7, 16])
def test_entries_added_together_are_those_added_one_by_one(database: Database, before: int, many: int) -> None:
    """Links, nodes and the root are the same, wherever the first of them falls; the next one goes on from there."""
    leaves = [bytes.fromhex(add(database, number=number).leaf) for number in range(before)]
    with database.write() as connection:
        entries = ledger.extend(connection, "invoice", [(f"i{n}", {"n": n}) for n in range(many)], NOW)
    leaves += [bytes.fromhex(entry.leaf) for entry in (*entries, add(database))]
    with database.read() as connection:
        assert ledger.head(connection) == (before + many + 1, merkle.root(leaves).hex())
        kept = connection.execute(sa.select(rows).order_by(rows.c.index)).all()
        bodies = connection.scalars(sa.select(ledger_records.c.body).order_by(ledger_records.c.index)).all()
    assert [row.previous for row in kept] == ["0" * 64, *(row.digest for row in kept[:-1])]
    assert [row.subject for row in kept[before:-1]] == [f"i{n}" for n in range(many)]
    assert bodies[before:-1] == [f'{{"n":{n}}}' for n in range(many)]


def test_the_head_of_a_long_ledger_is_read_from_a_few_entries(database: Database) -> None:
    """The root over 100,000 entries, and one entry more, cost what they cost at the beginning."""
    steps: list[int] = []
    copied = (
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 99999) INSERT INTO ledger"
        " SELECT i, recorded_at, kind, subject, record, leaf, 'previous ' || i, digest, node FROM n, ledger"
    )
    add(database)
    with database.write() as connection:
        connection.exec_driver_sql(copied)
        raw = connection.connection.driver_connection
        assert raw is not None
        raw.set_progress_handler(lambda: steps.append(1), 100)
        assert ledger.head(connection)[0] == 100_000
        ledger.append(connection, "act.release", "an-invoice", {}, NOW)
        raw.set_progress_handler(None, 0)
    assert len(steps) < 10


def test_a_ledger_with_a_gap_takes_no_entry(database: Database) -> None:
    """What the next root would stand on is missing: nothing is built on it."""
    for number in range(3):
        add(database, number=number)
    with database.write() as connection:
        connection.execute(ledger_records.delete().where(ledger_records.c.index == 1))
        connection.execute(rows.delete().where(rows.c.index == 1))
    with pytest.raises(IntegrityError, match="lacks entry 1"):
        add(database)


def test_the_latest_checkpoint_is_the_largest(database: Database) -> None:
    """Saving the same size again changes nothing: the step may run twice."""
    with database.write() as connection:
        assert ledger.latest(connection) is None
        for size, root in ((3, "a" * 64), (5, "b" * 64), (5, "c" * 64)):
            ledger.save_checkpoint(connection, size, ledger.Digest(root), NOW, b"signature", None)
        newest = ledger.latest(connection)
    assert newest is not None
    assert (newest.size, newest.root, newest.recorded_at) == (5, "b" * 64, NOW)
