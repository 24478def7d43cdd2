"""Bytes under their digest: whole and durable, or not there."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from printerd.errors import TransientError
from printerd.storage import blobs as store
from printerd.storage.blobs import Blobs

PDF = "application/pdf"


@pytest.mark.parametrize("call", ["fdatasync", "fsync"])
def test_a_full_disk_leaves_nothing_and_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """Neither file nor folder can be written: time mends it, the spool is empty, the next try stores it."""
    blobs = Blobs(tmp_path)

    def full(_handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, call, full)
        with pytest.raises(TransientError, match="No space left"):
            blobs.put(b"invoice", PDF)
    assert list(blobs.spool.iterdir()) == []
    assert blobs.read(blobs.put(b"invoice", PDF).digest) == b"invoice"


def test_a_name_that_a_killed_process_gave_is_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A blob that is there already may have been renamed and not synced: storing it again makes its name durable."""
    blobs = Blobs(tmp_path)
    digest = blobs.put(b"invoice", PDF).digest
    synced: list[Path] = []
    monkeypatch.setattr(store, "sync_folder", synced.append)
    blobs.put(b"invoice", PDF)
    assert synced == [blobs.path(digest).parent]


def test_a_killed_worker_leaves_no_spool_files(tmp_path: Path) -> None:
    """What the worker was writing is removed at its next start; what clients are sending stays."""
    blobs = Blobs(tmp_path)
    blobs.spool_file().write_bytes(b"half")
    sending = blobs.spool / "incoming-cafe"
    sending.write_bytes(b"%PDF")
    blobs.recover()
    assert list(blobs.spool.iterdir()) == [sending]
