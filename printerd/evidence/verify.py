"""Checking one file: no database, no network, nothing but the file and the certificates that somebody trusts.

Three answers, each with its exit code: what was sealed is as it was and comes
from where the given certificates say; it is as it was but who sealed it is not
established; or it is not as it was, and what is wrong.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

import pikepdf

from printerd.errors import DocumentError, IntegrityError
from printerd.evidence import cms, signatures, trust
from printerd.evidence.signatures import Signature, Token
from printerd.model import Digest, Timestamp

VALID = 0
"""Exit code: intact, and its origin is established."""
BROKEN = 1
"""Exit code: changed, not sealed, or not readable."""
NOT_ESTABLISHED = 3
"""Exit code: intact, but no given certificate says whose seal it is."""

RECORD, TOKEN = "receipt.json", "receipt.tsr"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a file proves.

    ``kind`` is ``invoice``, ``receipt`` or ``unknown``. ``faults`` are
    sentences: with none, the file is intact. ``whole`` says that the last
    signature covers the whole file ("Total document signed"). ``origin`` and
    ``time`` say whether the seal and its timestamp lead to a given
    certificate. ``record`` is the timestamp over a receipt's own record,
    ``record_digest`` the SHA-256 of that record.
    """

    kind: str
    faults: tuple[str, ...]
    notes: tuple[str, ...] = ()
    signer: str = ""
    certificate: Digest | None = None
    whole: bool = False
    timestamp: Timestamp | None = None
    record: Timestamp | None = None
    record_digest: Digest | None = None
    origin: bool = False
    time: bool = False

    @property
    def intact(self) -> bool:
        return not self.faults

    @property
    def exit_code(self) -> int:
        if self.faults:
            return BROKEN
        return VALID if self.origin else NOT_ESTABLISHED


def verify_file(path: Path, trusted: Sequence[Path]) -> Verdict:
    """Check a sealed PDF against certificate files.

    ``ConfigurationError`` when a trusted file holds no certificate; whatever
    is wrong with the file itself is in the verdict.
    """
    return verify_path(path, trust.load(trusted))


def verify_path(path: Path, anchors: trust.Trust) -> Verdict:
    """As :func:`verify_file`, with anchors that are loaded already."""
    try:
        with path.open("rb") as file:
            return verify(file, anchors)
    except OSError as error:
        return Verdict("unknown", (f"The file cannot be read: {error.strerror}.",))
    except DocumentError as error:
        return Verdict("unknown", (error.what,))


def verify(file: BinaryIO, anchors: trust.Trust) -> Verdict:
    """As :func:`verify_file`, for an open file. ``DocumentError`` when it is not a readable PDF."""
    found = signatures.of_pdf(file)
    if not found:
        return Verdict("unknown", ("The document bears no seal.",))
    seal, faults = found[-1], list(found[-1].faults)
    if not seal.whole:
        faults.append("The document was changed after it was sealed: the seal does not cover the whole file.")
    attached = _attachments(file)
    record = _record(attached, seal, faults)
    kind = "receipt" if attached else "invoice"
    if seal.certificate is None:
        return Verdict(kind, tuple(faults), _notes(found), whole=seal.whole)
    moment = seal.token.timestamp.time if seal.token else datetime.now(UTC)
    return Verdict(
        kind,
        tuple(faults),
        _notes(found),
        signatures.common_name(seal.certificate),
        cms.fingerprint(seal.certificate),
        seal.whole,
        seal.token.timestamp if seal.token else None,
        record.timestamp if record else None,
        Digest(hashlib.sha256(attached[RECORD]).hexdigest()) if RECORD in attached else None,
        anchors.covers(seal.certificate, seal.others, moment),
        _timed(anchors, seal.token, record),
    )


def _timed(anchors: trust.Trust, *tokens: Token | None) -> bool:
    """Whether there is a timestamp, and each one leads to an anchor."""
    present = [token for token in tokens if token]
    return bool(present) and all(
        anchors.covers(token.certificate, token.others, token.timestamp.time) for token in present
    )


def _notes(found: Sequence[Signature]) -> tuple[str, ...]:
    """What a reader should know although it breaks nothing."""
    notes = [f"An earlier signature does not hold: {fault}" for earlier in found[:-1] for fault in earlier.faults]
    if found[-1].certificate and found[-1].token is None:
        notes.append("The seal bears no timestamp: its time is only what its maker's clock said.")
    return tuple(notes)


def _record(attached: Mapping[str, bytes], seal: Signature, faults: list[str]) -> Token | None:
    """The timestamp over a receipt's record. What is wrong with it is added to ``faults``."""
    if not attached:
        return None
    try:
        token = signatures.response(attached[TOKEN], attached[RECORD])
        named = json.loads(attached[RECORD]).get("certificate")
    except KeyError as error:
        faults.append(f"The receipt lacks {error.args[0]}.")
    except (ValueError, AttributeError):
        faults.append(f"{RECORD} cannot be read.")
    except IntegrityError as error:
        faults.append(f"{RECORD} and {TOKEN} do not belong together: {error.what}")
    else:
        if named and seal.certificate and named != cms.fingerprint(seal.certificate):
            faults.append("The receipt's record names another certificate than that of its seal.")
        return token
    return None


def _attachments(file: BinaryIO) -> dict[str, bytes]:
    """The two files that make a PDF a receipt, as far as it has them."""
    file.seek(0)
    try:
        with pikepdf.open(file, suppress_warnings=True) as pdf:
            names = [name for name in (RECORD, TOKEN) if name in pdf.attachments]
            return {name: pdf.attachments[name].get_file().read_bytes() for name in names}
    except Exception as error:  # what a PDF library raises on hostile bytes cannot be listed
        raise DocumentError("The PDF's attachments cannot be read.", where=str(error)[:200]) from error
