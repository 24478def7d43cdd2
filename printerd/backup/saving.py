"""Backup: a consistent copy of a running instance, encrypted and sealed.

The order matters. First our database, then the edge's, then the documents:
what our database says that the edge has, the later copy of the edge's does
know; and what either of them speaks of was durable before it was spoken of
(intake and sealing sync a file before its row), and is never changed. Each
database is copied in one read transaction (SQLite's online backup), which
stops no writer. A document that is stored already is not stored again.
"""

from __future__ import annotations

import contextlib
import fcntl
import heapq
import os
import secrets
import shutil
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import BinaryIO

import sqlalchemy as sa

from printerd import __version__
from printerd.backup import manifest, vault
from printerd.backup.manifest import ARCHIVE, EDGE, FILES, Manifest, Object, Stored
from printerd.errors import ConfigurationError, Failure, IntegrityError, RequestError, TransientError
from printerd.storage import instance, schema
from printerd.storage.blobs import digest_of, sync_folder
from printerd.storage.database import Database

OURS, EDGES, TRAY = "printerd.db", "receipts.db", "out-tray.txt"
PRIVATE = ("*.key",)
SHARED = ("*.crt", "contract.secret")
"""Of the keys: certificates check what was sealed, and the secret lets a delivery server elsewhere know us."""


@dataclass(frozen=True, slots=True)
class Source:
    """The state folder to save. ``config`` is the settings file in force, wherever it lies."""

    state: Path
    config: Path | None
    private_key: bool


@dataclass(frozen=True, slots=True)
class Report:
    """What a backup came to: how many documents it has, how many of them were stored now, what could not be saved."""

    name: str
    made_at: str
    files: int
    documents: int
    stored_now: int
    bytes_now: int
    private_key: bool
    faults: tuple[str, ...]


def save(
    source: Source, folder: Path, recipients: vault.Recipients, sign: Callable[[bytes], bytes], now: datetime
) -> Report:
    """Make a backup in ``folder``. ``sign`` gives the CMS signature over a SHA-256.

    Raises:
        TransientError: a disk is full or away.
        RequestError: another backup is being made.
    """
    name = f"{now.astimezone(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(2)}"
    with _alone(source.state, folder), _folders(source.state, folder, name) as (work, unfinished):
        try:
            saving = _Saving(source, folder, work, unfinished, recipients)
            copies = _copies(source.state, work)
            files = list(saving.files(copies))
            listing = saving.documents(copies)
            made = _manifest(name, now, saving, files, listing, instance_of(copies[0]))
            _seal(unfinished, made, sign)
            unfinished.rename(folder / name)
            sync_folder(folder)
        except OSError as error:
            raise TransientError(f"The backup could not be written: {error.strerror}.", where=str(folder)) from error
    return Report(
        name, made.made_at, len(files), made.objects, saving.count, saving.size, made.private_key, made.faults
    )


@contextmanager
def _alone(state: Path, folder: Path) -> Iterator[None]:
    """One backup of an instance at a time, and one into a folder."""
    with contextlib.ExitStack() as held:
        for path in (state / "run" / "backup.lock", folder / "lock"):
            file = held.enter_context(path.open("a"))
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise RequestError("Another backup is being made.", where=str(path)) from None
        yield


@contextmanager
def _folders(state: Path, folder: Path, name: str) -> Iterator[tuple[Path, Path]]:
    """A private folder for plain copies, beside the originals, and one for the backup that is no backup yet.

    Both go whatever happens; a killed process leaves them to the next one.
    """
    places = (state / "run", "saving-"), (folder, manifest.UNFINISHED)
    for parent, prefix in places:
        for leftover in parent.glob(f"{prefix}*"):
            shutil.rmtree(leftover)
    made = [parent / f"{prefix}{name}" for parent, prefix in places]
    try:
        for one in made:
            one.mkdir(mode=0o700)
        yield made[0], made[1]
    finally:
        for one in made:
            shutil.rmtree(one, ignore_errors=True)


def _copies(state: Path, work: Path) -> list[Path]:
    """Copies of the databases, ours first. The delivery server may live elsewhere, and has its own backup then."""
    copies = []
    for name in (OURS, EDGES):
        if (state / name).exists():
            _copy(state / name, work / name)
            copies.append(work / name)
    return copies


def _copy(source: Path, target: Path) -> None:
    """One consistent state, in one step: with several, every write of another process would begin it anew."""
    with (
        contextlib.closing(sqlite3.connect(f"{source.as_uri()}?mode=ro", uri=True, timeout=30)) as original,
        contextlib.closing(sqlite3.connect(target)) as copy,
    ):
        original.backup(copy, pages=-1)
        found = copy.execute("PRAGMA integrity_check(1)").fetchone()[0]
        copy.execute("PRAGMA journal_mode=DELETE")  # one file, without a log beside it
    if found != "ok":
        raise IntegrityError(f"The database is damaged: {found}", where=str(source), remedy="Restore a backup.")


def instance_of(copy: Path) -> str:
    database = Database(f"sqlite:///{copy}")
    try:
        with database.write() as connection:
            return instance.identity(connection)
    finally:
        database.close()


@dataclass
class _Saving:
    """What goes into one backup, and what came of it."""

    source: Source
    folder: Path
    work: Path
    unfinished: Path
    recipients: vault.Recipients
    count: int = 0
    size: int = 0
    faults: list[str] = field(default_factory=list)

    # Files

    def files(self, copies: Iterable[Path]) -> Iterator[Stored]:
        """Every file but documents, each encrypted under a number: a name may tell who the customers are."""
        (self.unfinished / FILES).mkdir(mode=0o700)
        for number, (path, name) in enumerate(self._plain(copies)):
            yield self._file(path, name, f"{FILES}/{number:04}.age")

    def _plain(self, copies: Iterable[Path]) -> Iterator[tuple[Path, str]]:
        state = self.source.state
        yield from ((copy, copy.name) for copy in copies)
        if self.source.config is not None:
            yield self.source.config, "config.toml"
        for path in sorted((state / "templates").rglob("*")):
            if path.is_file():
                yield path, path.relative_to(state).as_posix()
        for pattern in (*SHARED, *(PRIVATE if self.source.private_key else ())):
            yield from ((path, f"keys/{path.name}") for path in sorted((state / "keys").glob(pattern)))
        yield self._tray(), TRAY

    def _tray(self) -> Path:
        """The names in the out-tray: whether they were posted, only people know."""
        tray = self.source.state / "out-tray"
        names = sorted(path.name for path in tray.iterdir() if path.is_file()) if tray.is_dir() else []
        listing = self.work / TRAY
        listing.write_text("".join(f"{name}\n" for name in names), "utf-8")
        return listing

    def _file(self, path: Path, name: str, stored: str) -> Stored:
        with path.open("rb") as source:
            plain, kept = self._encrypt(source, self.unfinished / stored)
        return Stored(name, plain.digest, plain.size, stored, kept.digest, kept.size)

    def _encrypt(self, source: BinaryIO, target: Path) -> tuple[vault.Hashed, vault.Hashed]:
        """Encrypt, sync, and read back what the disk has."""
        plain = vault.Hashed(source)
        with open(os.open(target, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600), "w+b") as file:  # noqa: PTH123 - needs a mode
            kept = vault.Hashed(file)
            self.recipients.encrypt(plain, kept)
            file.flush()
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            file.seek(0)
            if digest_of(file) != kept.digest:
                raise IntegrityError("The disk does not give back what was written.", where=str(target))
        return plain, kept

    # Documents

    def documents(self, copies: list[Path]) -> tuple[int, str]:
        """Store the documents that are not stored yet, and list all. Returns how many, and the list's SHA-256."""
        total = 0
        with (self.unfinished / manifest.OBJECTS).open("x+b") as file:
            listing = vault.Hashed(file)
            known = _known(self.folder)
            ours = ((digest, ARCHIVE) for digest in _spoken_of(copies[0]))
            theirs = ((path.name, EDGE) for path in _edge_files(self.source.state) if len(copies) > 1)
            for digest, places in groupby(heapq.merge(ours, theirs), lambda one: one[0]):
                kept = self._document(digest, "".join(place for _, place in places), known)
                if kept is not None:
                    listing.write(kept.line().encode("ascii"))
                    total += 1
            file.flush()
            os.fsync(file.fileno())
        return total, listing.digest

    def _document(self, digest: str, places: str, known: _Known) -> Object | None:
        before = known.find(digest)
        if before is not None and _has(self.folder / before.path, before.stored_size):
            return Object(digest, before.size, before.stored_sha256, before.stored_size, places)
        for path in self._whereabouts(digest, places):
            with contextlib.suppress(FileNotFoundError):  # the edge deletes what nobody needs any more
                return self._store(path, digest, places)
        if ARCHIVE in places:
            self.faults.append(f"document {digest} is missing")
        return None

    def _whereabouts(self, digest: str, places: str) -> Iterator[Path]:
        roots = {ARCHIVE: self.source.state / "blobs", EDGE: self.source.state / "edge" / "documents"}
        return (roots[place] / digest[:2] / digest for place in places)

    def _store(self, path: Path, digest: str, places: str) -> Object | None:
        target = self.folder / manifest.OBJECTS / digest[:2] / f"{digest}.age"
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        partial = self.unfinished / digest
        with path.open("rb") as source:
            plain, kept = self._encrypt(source, partial)
        if plain.digest != digest:
            partial.unlink()
            self.faults.append(f"document {digest} is damaged")
            return None
        partial.rename(target)
        sync_folder(target.parent)
        self.count += 1
        self.size += kept.size
        return Object(digest, plain.size, kept.digest, kept.size, places)


class _Known:
    """What the latest backup lists, walked along with the documents of this one: both are sorted."""

    def __init__(self, found: Iterator[Object]) -> None:
        self._found = found
        self._next = next(found, None)

    def find(self, digest: str) -> Object | None:
        while self._next is not None and self._next.sha256 < digest:
            self._next = next(self._found, None)
        return self._next if self._next is not None and self._next.sha256 == digest else None


def _known(folder: Path) -> _Known:
    """A latest backup that is damaged is not built upon: its documents are stored again."""
    for latest in manifest.complete(folder)[-1:]:
        with contextlib.suppress(Failure, OSError):
            manifest.read(latest)
            return _Known(manifest.listed(latest))
    return _Known(iter(()))


def _has(path: Path, size: int) -> bool:
    return path.is_file() and path.stat().st_size == size


def _spoken_of(copy: Path) -> Iterator[str]:
    """Every document that a row of the copy speaks of, sorted."""
    columns = (schema.jobs.c.original, schema.invoices.c.pdf, schema.invoices.c.sealed, schema.receipts.c.pdf)
    query = sa.union(*(sa.select(column.label("digest")).where(column.is_not(None)) for column in columns))
    database = Database(f"sqlite:///{copy}")
    try:
        with database.read() as connection:
            rows = connection.execution_options(yield_per=1000).execute(query.order_by("digest"))
            yield from rows.scalars()
    finally:
        database.close()


def _edge_files(state: Path) -> Iterator[Path]:
    folder = state / "edge" / "documents"
    for letters in sorted(folder.glob("[0-9a-f][0-9a-f]")):
        yield from sorted(letters.iterdir())


def _manifest(
    name: str, now: datetime, saving: _Saving, files: list[Stored], listing: tuple[int, str], identity: str
) -> Manifest:
    return Manifest(
        format=manifest.FORMAT,
        name=name,
        made_at=schema.rfc3339(now),
        program=__version__,
        instance=identity,
        private_key=any(one.path.endswith(".key") for one in files),
        recipients=saving.recipients.names,
        files=tuple(files),
        objects=listing[0],
        objects_sha256=listing[1],
        faults=tuple(saving.faults),
    )


def _seal(unfinished: Path, made: Manifest, sign: Callable[[bytes], bytes]) -> None:
    """The manifest and its seal, which is what makes a backup of these files."""
    data = made.encode()
    vault.write(unfinished / manifest.MANIFEST, data)
    vault.write(unfinished / manifest.SIGNATURE, sign(manifest.statement(data)))
    sync_folder(unfinished / FILES)
    manifest.read(unfinished)


def prepare(folder: Path) -> None:
    """The folder of backups, made if it is not there; it must not lie in what is saved."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(f"The folder cannot be made: {error.strerror}.", where=str(folder)) from error
