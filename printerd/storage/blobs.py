"""Bytes rest under their own SHA-256, written once, never changed.

A blob is durable when :meth:`Blobs.adopt` or :meth:`Blobs.put` returns: the
file is synced, renamed to its digest, and its folder is synced. Spool files
live on the same file system, so that the rename is one step.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from printerd.errors import DocumentError, TransientError
from printerd.model import Blob, Digest

CHUNK = 1 << 20
SYNCS = 4
"""Folders that are synced at the same time: the disk does together what waits for it together."""
PUT = "put-"
"""How spool files of :meth:`Blobs.put` begin: other processes spool in the same folder."""


class Blobs:
    """The blobs under ``root``, and the spool beside them."""

    def __init__(self, root: Path) -> None:
        self.root = root / "blobs"
        self.spool = root / "spool"
        self.spool.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._threads = ThreadPoolExecutor(SYNCS, thread_name_prefix="sync")
        if not self.root.is_dir():
            self._lay_out()

    def _lay_out(self) -> None:
        """The folders of all digests at once, whole or not at all: none costs a document a sync of its own later."""
        with tempfile.TemporaryDirectory(dir=self.root.parent, prefix=".blobs-") as made:
            ready = Path(made) / "blobs"
            ready.mkdir(mode=0o700)
            for number in range(256):
                (ready / f"{number:02x}").mkdir(mode=0o700)
            sync_folder(ready)
            try:
                ready.rename(self.root)
            except OSError:
                if not self.root.is_dir():  # else another process was first
                    raise
        sync_folder(self.root.parent)

    def path(self, digest: Digest) -> Path:
        return self.root / digest[:2] / digest

    def spool_file(self) -> Path:
        """A name for bytes that are being written; nobody else gets the same one."""
        return self.spool / f"{PUT}{secrets.token_hex(16)}"

    def recover(self) -> None:
        """Remove what a process that was killed in :meth:`put` left. Only the worker puts, so it calls this."""
        for path in self.spool.glob(f"{PUT}*"):
            path.unlink(missing_ok=True)

    def adopt(self, files: Iterable[tuple[Path, Digest]], there: Iterable[Digest] = ()) -> None:
        """Take synced spool files in under their digests: renames, then one sync a folder. Repeating it is harmless.

        Blobs that are ``there`` already are synced with them: whoever renamed one may have been killed before he did.
        """
        folders = {self.path(digest).parent for digest in there}
        with TransientError.of_disk(_ARCHIVE):
            for source, digest in files:
                target = self.path(digest)
                if not target.parent.is_dir():
                    target.parent.mkdir(mode=0o700, exist_ok=True)
                    folders.add(self.root)
                source.rename(target)
                folders.add(target.parent)
            self._sync(folders)

    def _sync(self, folders: Collection[Path]) -> None:
        """Several at a time; a lone one here, for a thread costs more than that."""
        if len(folders) == 1:
            sync_folder(*folders)
        else:
            list(self._threads.map(sync_folder, folders))

    def put(self, data: bytes, media_type: str) -> Blob:
        """Store bytes that are at hand. A blob that is there already is not written again."""
        with self.together() as put:
            digest = put(data)
        return Blob(digest, len(data), media_type)

    @contextmanager
    def together(self) -> Iterator[Callable[[bytes], Digest]]:
        """Many puts, from any thread, whose folders are synced once: the blobs are there when the context has ended."""
        files: list[tuple[Path, Digest]] = []
        there: list[Digest] = []

        def put(data: bytes) -> Digest:
            digest = Digest(hashlib.sha256(data).hexdigest())
            if self.path(digest).exists():
                there.append(digest)
            else:
                files.append((_written(self.spool_file(), data), digest))
            return digest

        try:
            yield put
            self.adopt(files, there)
        finally:
            for source, _ in files:
                source.unlink(missing_ok=True)

    def open(self, digest: Digest) -> BinaryIO:
        """Read a blob; one that is not there is a :class:`DocumentError`."""
        try:
            return self.path(digest).open("rb")
        except FileNotFoundError:
            raise DocumentError(
                f"The archive does not hold {digest}.",
                code="missing",
                remedy="Restore the blobs folder from the backup, then run: invoice-printer verify --all",
            ) from None

    def read(self, digest: Digest) -> bytes:
        with self.open(digest) as file:
            return file.read()

    def digests(self) -> Iterator[Digest]:
        """Every blob's name, in order."""
        for folder in sorted(self.root.iterdir()):
            yield from (Digest(file.name) for file in sorted(folder.iterdir()))

    def free_space(self) -> int:
        """Bytes that may still be written on the archive's file system."""
        stat = os.statvfs(self.root)
        return stat.f_bavail * stat.f_frsize

    def whole_space(self) -> int:
        """Bytes of that file system, free or not."""
        stat = os.statvfs(self.root)
        return max(1, stat.f_blocks * stat.f_frsize)


def digest_of(file: BinaryIO) -> Digest:
    """The SHA-256 of what is left in a file, read in pieces."""
    state = hashlib.sha256()
    while chunk := file.read(CHUNK):
        state.update(chunk)
    return Digest(state.hexdigest())


def _written(path: Path, data: bytes) -> Path:
    """A synced file; nothing is left of one that could not be written."""
    with TransientError.of_disk(_ARCHIVE):
        try:
            with path.open("xb") as file:
                file.write(data)
                file.flush()
                os.fdatasync(file.fileno())
        except OSError:
            path.unlink(missing_ok=True)
            raise
    return path


_ARCHIVE = "The archive"


def sync_folder(folder: Path) -> None:
    """Make a folder's entries durable (fsync(2): a file's name is its folder's data)."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
