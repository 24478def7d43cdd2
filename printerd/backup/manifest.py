"""What a backup holds, and how one is told from the beginnings of one.

A backup is a folder that is named after the moment it was begun, and appears
under that name only when it is complete. Its ``manifest.json`` names every file
with the SHA-256 of its bytes, before and after encryption; ``manifest.p7s`` is
the firm's seal over it (CMS, detached). Documents lie beside all backups, once:

    FOLDER/recipients, key.age             for whom, and the folder's key under its passphrase
    FOLDER/objects/ab/abcdef….age          a document, named by the SHA-256 of its bytes
    FOLDER/20261124T040509Z-1f2e/          a backup
        manifest.json, manifest.p7s, objects   (the list of documents, sorted, a line each)
        files/….age                             databases, settings, templates, certificates
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from asn1crypto import x509  # type: ignore[import-untyped]
from pydantic import ConfigDict, TypeAdapter, ValidationError, with_config

from printerd.errors import IntegrityError, RequestError
from printerd.evidence import canonical, signatures
from printerd.storage.blobs import digest_of

FORMAT = 1
MANIFEST, SIGNATURE, OBJECTS, FILES = "manifest.json", "manifest.p7s", "objects", "files"
UNFINISHED = ".unfinished-"
ARCHIVE, EDGE = "a", "e"
"""Where a document belongs: into the archive, to the edge, or both."""


_FORM: Final = ConfigDict(strict=True, extra="forbid")
"""A manifest comes back from wherever it was kept: each value is of its type, and there is no other."""


@with_config(_FORM)
@dataclass(frozen=True, slots=True)
class Stored:
    """A file as it was and as it is stored: path in the state folder, SHA-256 and bytes; the same once encrypted."""

    path: str
    sha256: str
    size: int
    stored: str
    stored_sha256: str
    stored_size: int


@dataclass(frozen=True, slots=True)
class Object:
    """A document: what it is and how it is stored; ``places`` are letters."""

    sha256: str
    size: int
    stored_sha256: str
    stored_size: int
    places: str

    @property
    def path(self) -> str:
        """Where it lies in the folder of all backups."""
        return f"{OBJECTS}/{self.sha256[:2]}/{self.sha256}.age"

    def line(self) -> str:
        return f"{self.sha256} {self.size} {self.stored_sha256} {self.stored_size} {self.places}\n"


@with_config(_FORM)
@dataclass(frozen=True, slots=True)
class Manifest:
    """One backup. ``made_at`` (RFC 3339): nothing that happened later is in it. ``faults``: what could not be saved."""

    format: int
    name: str
    made_at: str
    program: str
    instance: str
    private_key: bool
    recipients: tuple[str, ...]
    files: tuple[Stored, ...]
    objects: int
    objects_sha256: str
    faults: tuple[str, ...]

    def encode(self) -> bytes:
        return canonical.encode(asdict(self))


_MANIFEST: Final = TypeAdapter(Manifest)


def decode(data: bytes, where: str) -> Manifest:
    """The manifest in these bytes. ``IntegrityError`` when they are none of ours."""
    try:
        found = _MANIFEST.validate_json(data)
    except ValidationError as error:
        raise IntegrityError("The manifest of the backup cannot be read.", where=where) from error
    if found.format != FORMAT:
        raise RequestError(f"The backup has the format {found.format}.", where=where, remedy="Use a newer program.")
    if unsafe := [one.path for one in found.files if not _inside(one.path) or not _inside(one.stored)]:
        raise IntegrityError(f"The backup names a path outside its folder: {unsafe[0]}", where=where)
    return found


def _inside(path: str) -> bool:
    parts = PurePosixPath(path).parts
    return bool(parts) and not path.startswith("/") and ".." not in parts and "\0" not in path


def complete(folder: Path) -> list[Path]:
    """The backups in a folder, oldest first. A broken attempt bears another name, and is none."""
    if not folder.is_dir():
        raise RequestError(f"There is no folder {folder}.")
    return sorted(one.parent for one in folder.glob(f"[0-9]*/{SIGNATURE}"))


def choose(folder: Path, name: str = "") -> Path:
    """The backup of this name, else the latest one. ``RequestError`` when there is none."""
    found = complete(folder)
    chosen = [one for one in found if one.name == name] if name else found
    if chosen:
        return chosen[-1]
    names = ", ".join(one.name for one in found) or "none: a backup that was cut off does not count"
    raise RequestError(f"There is no backup {name or 'here'}.", where=f"{folder}: {names}")


def read(backup: Path) -> tuple[Manifest, x509.Certificate]:
    """A backup's manifest and who sealed it. ``IntegrityError`` when the seal or the list of documents is wrong."""
    data = (backup / MANIFEST).read_bytes()
    try:
        signer = signatures.detached((backup / SIGNATURE).read_bytes(), data)
    except IntegrityError as error:
        raise IntegrityError(error.what, where=str(backup / SIGNATURE), remedy="Restore an earlier backup.") from None
    found = decode(data, str(backup / MANIFEST))
    with (backup / OBJECTS).open("rb") as file:
        if digest_of(file) != found.objects_sha256:
            raise IntegrityError("The list of documents is damaged.", where=str(backup / OBJECTS))
    return found, signer


def listed(backup: Path) -> Iterator[Object]:
    """The documents of a backup, in the order of their digests."""
    with (backup / OBJECTS).open("r", encoding="ascii") as lines:
        for line in lines:
            sha256, size, stored_sha256, stored_size, places = line.split()
            yield Object(sha256, int(size), stored_sha256, int(stored_size), places)


def damaged(folder: Path, backup: Path) -> Iterator[str]:
    """Every stored file that is not as it was written, by its name: bytes against the manifest, no secret needed."""
    found, _ = read(backup)
    for one in found.files:
        yield from _compare(backup / one.stored, one.stored_sha256)
    for document in listed(backup):
        yield from _compare(folder / document.path, document.stored_sha256)


def _compare(path: Path, sha256: str) -> Iterable[str]:
    if not path.is_file():
        return [f"{path} is missing"]
    with path.open("rb") as file:
        return [] if digest_of(file) == sha256 else [f"{path} is damaged"]


def statement(data: bytes) -> bytes:
    """What the seal is over: the SHA-256 of the manifest's bytes."""
    return hashlib.sha256(data).digest()
