"""Encryption of a folder of backups: every file to the same recipients, in the age format (age-encryption.org/v1).

One rule: whoever makes backups needs no secret. With a passphrase, a key pair
is made for the folder once; its secret half lies beside, encrypted with the
passphrase (scrypt), and its public half encrypts every file (X25519, HKDF,
ChaCha20-Poly1305 in chunks). So any ``age`` program can open a backup too.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Self

import pyrage

from printerd.errors import ConfigurationError, IntegrityError, RequestError
from printerd.storage.blobs import sync_folder

RECIPIENTS = "recipients"
"""The public keys, a line each, as age reads them."""
LOCKED_KEY = "key.age"
"""The folder's own secret key, encrypted with the passphrase."""


class Hashed:
    """A file that is read or written through, with the SHA-256 and the count of what passed."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._hash = hashlib.sha256()
        self.size = 0

    @property
    def digest(self) -> str:
        return self._hash.hexdigest()

    def read(self, size: int = -1) -> bytes:
        return self._passed(self._file.read(size))

    def write(self, data: bytes) -> int:
        self._file.write(data)
        return len(self._passed(data))

    def flush(self) -> None:
        self._file.flush()

    def drain(self) -> Self:
        """Read what is left: a file's digest is that of all its bytes."""
        while self.read(1 << 20):
            continue
        return self

    def _passed(self, data: bytes) -> bytes:
        self._hash.update(data)
        self.size += len(data)
        return data


class Recipients:
    """Those for whom a folder's backups are encrypted."""

    def __init__(self, names: Iterable[str]) -> None:
        self.names = tuple(sorted(set(names)))
        self._keys = [_recipient(name) for name in self.names]

    def encrypt(self, source: Any, target: Any) -> None:
        """Everything that ``source`` still gives, as a stream."""
        pyrage.encrypt_io(source, target, self._keys)


def recipients(folder: Path, chosen: Sequence[str], passphrase: Path | None) -> Recipients:
    """The recipients of a folder: those it has, or those that are chosen for a new one.

    ``RequestError`` when none are chosen, or others than the folder has: its files must open with one key.
    """
    known = folder / RECIPIENTS
    if known.exists():
        found = Recipients(line for line in known.read_text("ascii").splitlines() if line and not line.startswith("#"))
        if chosen and set(chosen) != set(found.names):
            raise RequestError(
                "The backups in this folder are encrypted for somebody else.",
                where=", ".join(found.names),
                remedy="Leave --recipient away, or choose another folder.",
            )
        if passphrase is not None and (folder / LOCKED_KEY).exists():
            unlock(folder, passphrase, None)
        return found
    if bool(chosen) == (passphrase is not None):
        raise RequestError(
            "A new folder of backups needs one way to open them.",
            remedy="Give --passphrase-file FILE, or --recipient age1… (age-keygen makes one).",
        )
    return _begin(folder, Recipients(chosen) if chosen else _with_passphrase(folder, passphrase))


def _begin(folder: Path, made: Recipients) -> Recipients:
    write(folder / RECIPIENTS, "".join(f"{name}\n" for name in made.names).encode())
    return made


def _with_passphrase(folder: Path, passphrase: Path | None) -> Recipients:
    """A key pair for the folder. What a broken attempt left is made anew: nothing was encrypted with it yet."""
    identity = pyrage.x25519.Identity.generate()
    write(folder / LOCKED_KEY, pyrage.passphrase.encrypt(str(identity).encode(), secret(passphrase)))
    return Recipients([str(identity.to_public())])


def unlock(folder: Path, passphrase: Path | None, identity: Path | None) -> Opener:
    """What opens the folder's backups: its own key by the passphrase, or an age identity file.

    ``RequestError`` when the passphrase is wrong or none is given.
    """
    locked = folder / LOCKED_KEY
    if identity is not None:
        lines = _private(identity).decode("utf-8", "replace").splitlines()
        return Opener([_identity(line.strip()) for line in lines if line.strip() and not line.startswith("#")])
    if passphrase is None or not locked.exists():
        way = "--passphrase-file FILE" if locked.exists() else "--identity FILE (the age key of its recipient)"
        raise RequestError("The backup is encrypted.", where=str(folder), remedy=f"Give {way}.")
    try:
        opened = pyrage.passphrase.decrypt(locked.read_bytes(), secret(passphrase))
    except pyrage.DecryptError:
        raise RequestError(
            "The passphrase does not open the backup, or the file of its key is damaged.",
            where=str(locked),
            remedy="Look whether the passphrase file belongs to this folder.",
        ) from None
    return Opener([_identity(opened.decode("ascii"))])


class Opener:
    """Opens what was encrypted for one of some identities."""

    def __init__(self, identities: Sequence[Any]) -> None:
        self._identities = identities

    def decrypt(self, source: Any, target: Any, name: str) -> None:
        """Everything in ``source``, as a stream. ``IntegrityError`` with the file's name when it is not as written."""
        try:
            pyrage.decrypt_io(source, target, self._identities)
        except pyrage.DecryptError:
            raise RequestError(
                "The key does not open this file of the backup, or its head is damaged.",
                where=name,
                remedy="Give the identity that belongs to the folder's recipients.",
            ) from None
        except OSError as error:
            raise IntegrityError(
                f"A file of the backup cannot be opened ({error}).", where=name, remedy="Restore an earlier backup."
            ) from error


def secret(file: Path | None) -> str:
    """The first line of a file that only its owner may read; ``ConfigurationError`` for any other."""
    line = _private(file).split(b"\n")[0].rstrip(b"\r") if file else b""
    if not line:
        raise ConfigurationError("The passphrase is empty.", where=str(file), remedy="Write it into the first line.")
    return line.decode("utf-8")


def _private(file: Path) -> bytes:
    try:
        if stat.S_IMODE(file.stat().st_mode) & 0o077:
            raise ConfigurationError("Others may read the file.", where=str(file), remedy=f"chmod 0600 {file}")
        return file.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"The file cannot be read: {error.strerror}.", where=str(file)) from error


def _recipient(name: str) -> Any:
    try:
        return pyrage.x25519.Recipient.from_str(name)
    except pyrage.RecipientError:
        raise RequestError(
            f"{name!r} is no recipient.", remedy="A recipient begins with age1: see age-keygen."
        ) from None


def _identity(text: str) -> Any:
    try:
        return pyrage.x25519.Identity.from_str(text)
    except pyrage.IdentityError:
        raise RequestError("The identity file holds no key.", remedy="Its line begins with AGE-SECRET-KEY-1.") from None


def write(path: Path, data: bytes) -> None:
    """A small file, durable under its name or not there at all."""
    partial = path.with_name(f".{path.name}.new")
    with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:  # noqa: PTH123 - needs a mode
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    sync_folder(path.parent)
