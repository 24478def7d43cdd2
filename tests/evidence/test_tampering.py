"""Sixty random bytes of an archive, changed one at a time: each is named (``make tampering`` changes 2,000)."""

from __future__ import annotations

import time
from pathlib import Path

from printerd.evidence import audit
from printerd.evidence.audit import Findings, Problem
from tests.evidence.papers import Archive
from tests.tampering import COLUMNS, names, run


def test_every_changed_byte_is_named_and_nothing_else_is(key_folder: Path, tmp_path: Path) -> None:
    """In blobs, ledger, records, checkpoints, receipts and sealed invoices; undone, the archive is clean again."""
    archive = Archive(tmp_path / "state", key_folder)
    archive.fill(invoices=2)
    account = run(archive, changes=60, seed=int(time.time()))
    archive.database.close()
    print(*account.lines(), sep="\n")
    assert (account.unnamed, account.alarms) == ([], [])
    assert account.changes.keys() == {"blobs", *COLUMNS}
    assert sum(account.changes.values()) == 60


def test_a_place_is_named_by_its_whole_name() -> None:
    """That entry 12 is wrong says nothing of entry 1: the run would see a check that names the wrong place."""
    found = Findings((Problem("Its leaf is not that of its columns.", "ledger entry 12"),), (), {})
    assert names(found, ["ledger entry 12"])
    assert not names(found, ["ledger entry 1", "ledger entry 2", "ledger record 12"])
    assert not names(audit.Findings((), (), {}), ["ledger entry 12"])
