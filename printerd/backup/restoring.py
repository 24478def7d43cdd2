"""Restore: everything is checked before anything is there; then a new epoch begins.

A backup is unpacked beside the new state folder, under a name that nobody
takes for one, and renamed when all of it holds: a restore that was cut off
leaves no state folder. The instance begins anew: what waited to be sent is
held (:mod:`printerd.evidence.resume`), and its delivery server, told by the
file ``receipts.db.restored``, puts its letters in doubt and begins a new chain
of events, for the old one may have gone on. The events of the old chain that
the backup of the edge has and ours has not are taken over here, once.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import sqlalchemy as sa
from asn1crypto import x509  # type: ignore[import-untyped]

from printerd.backup import manifest, vault
from printerd.backup.manifest import ARCHIVE, Manifest, Object, Stored
from printerd.backup.saving import EDGES, OURS, TRAY
from printerd.delivery import contract
from printerd.errors import IntegrityError, RequestError, TransientError
from printerd.evidence import cms, resume, signatures, trust
from printerd.model import Digest, Event
from printerd.storage import archive, instance, migrations
from printerd.storage.blobs import sync_folder
from printerd.storage.database import Database
from printerd.storage.instance import Restored
from printerd.storage.schema import edges, events, ledger, rfc3339

NAMED = 20
"""So many damaged files are named in one message."""
MARK = f"{EDGES}.restored"
"""What tells the delivery server, at its first start, that its database comes from a backup."""


@dataclass(frozen=True, slots=True)
class Report:
    """What was restored. ``held`` waits for a person; ``signer`` and ``certificate`` say whose seal was on it."""

    backup: str
    made_at: str
    documents: int
    held: int
    events: int
    signer: str
    certificate: str
    private_key: bool
    faults: tuple[str, ...]


def restore(
    folder: Path,
    backup: Path,
    state: Path,
    opener: vault.Opener,
    who: str,
    now: datetime,
    *,
    language_of: Callable[[Path], str],
    anchors: tuple[Path, ...] = (),
) -> Report:
    """Make a state folder from a backup.

    Args:
        language_of: the language that the settings in a state folder choose.
        anchors: certificates of which one must have sealed the backup.

    Raises:
        RequestError: the state folder is not empty, or the key is not the right one.
        IntegrityError: something in the backup is not as it was written; nothing is left behind.
    """
    _refuse_taken(state)
    found, signer = manifest.read(backup)
    if anchors and not trust.load(anchors).covers(signer, (), now):
        raise IntegrityError(
            "The backup was not sealed with a certificate that you trust.",
            where=f"{signatures.common_name(signer)}, {cms.fingerprint(signer)}",
        )
    with _beside(state) as unfinished:
        try:
            _unpack(folder, backup, found, unfinished, opener)
            _known_signer(unfinished, signer, now)
            held, taken = _begin(unfinished, _unpacked(unfinished, found, now), who, now, language_of(unfinished))
            os.sync()
            unfinished.rename(state)
            sync_folder(state.parent)
        except OSError as error:
            raise TransientError(f"The state folder could not be written: {error.strerror}.") from error
    name, certificate = signatures.common_name(signer), cms.fingerprint(signer)
    return Report(
        found.name, found.made_at, found.objects, held, taken, name, certificate, found.private_key, found.faults
    )


def _refuse_taken(state: Path) -> None:
    if state.exists() and (not state.is_dir() or any(state.iterdir())):
        raise RequestError(
            "The state folder is not empty: a restore never writes over an instance.",
            where=str(state),
            remedy="Name a folder that is not there yet: --state NEW",
        )


@contextlib.contextmanager
def _beside(state: Path) -> Iterator[Path]:
    """A folder beside the one to be, on the same file system; it goes when it has not become it."""
    prefix = f".{state.name}.restoring-"
    state.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    for leftover in state.parent.glob(f"{prefix}*"):
        shutil.rmtree(leftover)
    unfinished = state.parent / f"{prefix}{os.getpid()}"
    unfinished.mkdir(mode=0o700)
    try:
        yield unfinished
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


# Unpacking ----------------------------------------------------------------------------------------------------------


def _unpack(folder: Path, backup: Path, found: Manifest, state: Path, opener: vault.Opener) -> None:
    """Every file and document; all that are damaged are named at once."""
    faults: list[str] = []
    for one in found.files:
        with _told(faults):
            _file(backup / one.stored, one, state / one.path, opener)
    for document in manifest.listed(backup):
        with _told(faults):
            _document(folder, document, state, opener)
    if faults:
        more = [f"and {len(faults) - NAMED} more"] if len(faults) > NAMED else []
        raise IntegrityError(
            f"The backup is damaged: {len(faults)} of its files are not as they were written. Nothing was restored.",
            where="\n".join([*faults[:NAMED], *more]),
            remedy="Restore an earlier backup, or one from another place.",
        )


@contextlib.contextmanager
def _told(faults: list[str]) -> Iterator[None]:
    try:
        yield
    except IntegrityError as error:
        faults.append(f"{error.where}: {error.what}")


def _file(stored: Path, one: Stored | Object, target: Path, opener: vault.Opener) -> None:
    """Decrypt a file and hold it against the manifest, before and after."""
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    damaged = IntegrityError("It is not as it was written.", where=str(stored))
    try:
        source = stored.open("rb")
    except FileNotFoundError:
        raise IntegrityError("It is missing.", where=str(stored)) from None
    with source, open(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:  # noqa: PTH123 - needs a mode
        kept, plain = vault.Hashed(source), vault.Hashed(file)
        try:
            opener.decrypt(kept, plain, str(stored))
        except RequestError:
            # A damaged head looks like somebody else's: the manifest knows which it is.
            if kept.drain().digest != one.stored_sha256:
                raise damaged from None
            raise
    if (kept.digest, plain.digest) != (one.stored_sha256, one.sha256):
        raise damaged


def _document(folder: Path, one: Object, state: Path, opener: vault.Opener) -> None:
    places = {ARCHIVE: state / "blobs", manifest.EDGE: state / "edge" / "documents"}
    first, *others = (places[place] / one.sha256[:2] / one.sha256 for place in one.places)
    _file(folder / one.path, one, first, opener)
    for other in others:
        other.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        shutil.copyfile(first, other)
        other.chmod(0o600)


def _known_signer(state: Path, signer: x509.Certificate, now: datetime) -> None:
    if not trust.load(sorted((state / "keys").glob("*.crt"))).covers(signer, (), now):
        raise IntegrityError(
            "The backup was sealed with a key that is not the instance's.", where=signatures.common_name(signer)
        )


# The new epoch ------------------------------------------------------------------------------------------------------


def adopt(state: Path, who: str, now: datetime, language: str) -> int:
    """Begin a new epoch in a folder that was put together from copies (litestream, a disk image). Returns what is held.

    ``RequestError`` when the instance is being served.
    """
    with (state / "lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RequestError("The instance is being served.", where=str(state), remedy="Stop it first.") from None
        tray = state / "out-tray"
        names = tuple(sorted(path.name for path in tray.iterdir())) if tray.is_dir() else ()
        return _begin(state, Restored("copies", "", rfc3339(now), names), who, now, language)[0]


def _unpacked(state: Path, found: Manifest, now: datetime) -> Restored:
    """The folders that are not in a backup, and the facts that are."""
    for folder in ("run", "spool", "blobs"):
        (state / folder).mkdir(mode=0o700, exist_ok=True)
    tray = state / TRAY
    names = tuple(tray.read_text("utf-8").splitlines())
    tray.unlink()
    return Restored(found.name, found.made_at, rfc3339(now), names)


def _begin(state: Path, facts: Restored, who: str, now: datetime, language: str) -> tuple[int, int]:
    """Hold what waited, take the edge's last events over, tell the edge. Returns how much was held, and taken over."""
    database = Database(f"sqlite:///{state / OURS}")
    try:
        migrations.upgrade(database)
        with database.write() as connection:
            facts = facts if facts.made_at else replace(facts, made_at=_last(connection, now))
            taken = _take_over(connection, state / EDGES, now) if (state / EDGES).exists() else 0
            instance.set_unjudged(connection, facts.made_at)
            held = resume.hold(connection, facts, who, now, language)
            if (state / EDGES).exists():
                (state / MARK).touch(mode=0o600)  # before the commit: marked for nothing does no harm
    finally:
        database.close()
    return held, taken


def _last(connection: sa.Connection, now: datetime) -> str:
    """The last moment of which copies are known to tell."""
    return rfc3339(connection.scalar(sa.select(sa.func.max(ledger.c.recorded_at))) or now)


def _take_over(connection: sa.Connection, edge: Path, now: datetime) -> int:
    """The events of the edge's copy that follow the last one we know, checked as when they are collected."""
    with contextlib.closing(sqlite3.connect(f"{edge.as_uri()}?mode=ro", uri=True)) as theirs:
        (name,) = theirs.execute("SELECT value FROM meta WHERE key = 'edge_id'").fetchone()
        cursor = connection.execute(sa.select(edges.c.seq, edges.c.head).where(edges.c.edge == name)).one_or_none()
        seq, head = (cursor.seq, Digest(cursor.head)) if cursor else (0, contract.GENESIS)
        taken = 0
        while page := _page(theirs, name, seq, head):
            told = [contract.wire(event) | {"collected_at": now} for event in page]
            connection.execute(events.insert(), told)
            archive.follow(connection, {event.delivery for event in page})
            seq, head, taken = page[-1].seq, page[-1].digest, taken + len(page)
    values = {"seq": seq, "head": head}
    if taken and connection.execute(edges.update().where(edges.c.edge == name).values(values)).rowcount == 0:
        connection.execute(edges.insert().values(**values, edge=name))
    return taken


def _page(theirs: sqlite3.Connection, name: str, seq: int, head: Digest) -> tuple[Event, ...]:
    rows = theirs.execute(
        "SELECT body, digest FROM events WHERE seq > ? ORDER BY seq LIMIT ?", (seq, contract.PAGE_LIMIT)
    )
    found = [json.loads(body) | {"digest": digest} for body, digest in rows]
    return contract.parse_events({"edge_id": name, "events": found}, seq, head)
