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


def test_puts_that_end_together_share_syncs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No blob is there before the end, then all are; a folder is synced once for all that lie in it."""
    blobs, synced = Blobs(tmp_path), list[Path]()
    monkeypatch.setattr(store, "sync_folder", synced.append)
    with blobs.together() as put:
        digests = [put(b"%d" % number) for number in range(600)]
        assert list(blobs.digests()) == []
    assert set(blobs.digests()) == set(digests)
    assert sorted(synced) == sorted({blobs.path(digest).parent for digest in digests})


def test_one_that_cannot_be_written_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of several puts one meets a full disk: the others are stored, and nothing of it stands under its digest."""
    blobs, sync = Blobs(tmp_path), os.fdatasync

    def full_once(handle: int) -> None:
        monkeypatch.setattr(os, "fdatasync", sync)
        raise OSError(errno.ENOSPC, "No space left on device")

    with blobs.together() as put:
        monkeypatch.setattr(os, "fdatasync", full_once)
        with pytest.raises(TransientError, match="No space left"):
            put(b"first")
        second = put(b"second")
    assert list(blobs.digests()) == [second]
    assert list(blobs.spool.iterdir()) == []


def test_puts_that_are_broken_off_leave_nothing(tmp_path: Path) -> None:
    """An error between the puts and their end: no blob, no spool file."""
    blobs = Blobs(tmp_path)
    with pytest.raises(KeyError), blobs.together() as put:
        put(b"invoice")
        raise KeyError
    assert list(blobs.digests()) == []
    assert list(blobs.spool.iterdir()) == []


def test_a_killed_worker_leaves_no_spool_files(tmp_path: Path) -> None:
    """What the worker was writing is removed at its next start; what clients are sending stays."""
    blobs = Blobs(tmp_path)
    blobs.spool_file().write_bytes(b"half")
    sending = blobs.spool / "incoming-cafe"
    sending.write_bytes(b"%PDF")
    blobs.recover()
    assert list(blobs.spool.iterdir()) == [sending]
