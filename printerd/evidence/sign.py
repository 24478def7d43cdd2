"""Sealing: a PAdES signature (ETSI EN 319 142-1, level B-T or B-B) appended to a PDF, checked before anybody gets it.

What was received is never rewritten: the seal is an incremental update, so a
document that was signed before keeps its signatures. The check is made of exact
comparisons: all that a seal consists of is known to the one who makes it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import BinaryIO

from printerd.errors import IntegrityError
from printerd.evidence import cms, signatures, update
from printerd.evidence.cms import KeyPair
from printerd.evidence.timestamp import Stamp, Stamper
from printerd.evidence.update import Open, Words
from printerd.model import Digest, Timestamp

FIRST_TOKEN = 8192
"""Bytes kept free for a token before we have seen one of this authority."""
MARGIN = 512
"""Bytes by which the next token may be longer than the longest so far."""


@dataclass(frozen=True, slots=True)
class Sealed:
    """What a seal says: who (SHA-256 of the certificate), when by our clock, and at level B-T when by the authority."""

    certificate: Digest
    sealed_at: datetime
    timestamp: Timestamp | None


class Sealer:
    """One key and one timestamp authority. The key is loaded once; a seal with a timestamp is one call of it."""

    def __init__(self, pair: KeyPair, stamper: Stamper) -> None:
        self.pair = pair
        self.stamper = stamper
        trial = cms.sign(pair, "data", hashlib.sha256(b"").digest())
        signatures.detached(trial, b"")  # judged as others judge it, once: nothing but its values will be different
        self._name = signatures.common_name(pair.certificate)
        self._own = len(trial)
        self._token = FIRST_TOKEN

    def seal(self, pdf: BinaryIO, output: BinaryIO, reason: str, *, stamped: bool = True) -> Sealed:
        """Write ``pdf`` with a seal to ``output``, an empty file that can be read too.

        ``stamped``: level B-T, with a timestamp over the signature; else level B-B.

        ``DocumentError`` when the PDF is encrypted, broken, or locked by an
        earlier signature; ``TransientError`` when no timestamp is to be had;
        ``IntegrityError`` when the result does not pass its own check;
        ``OSError`` when ``output`` cannot be written.
        """
        words = Words(self._name, reason, datetime.now(UTC))
        room = self._own + MARGIN + (self._token if stamped else 0)
        opened = update.append(pdf, output, words, room)
        signature, timestamp = self._signature(opened.digest, stamped)
        if len(signature) > room:  # the next attempt keeps enough
            output.seek(0)
            output.truncate()
            return self.seal(pdf, output, reason, stamped=stamped)
        opened.close(output, signature)
        _check(output, opened, signature)
        return Sealed(self.pair.fingerprint, words.time, timestamp)

    def _signature(self, digest: bytes, stamped: bool) -> tuple[bytes, Timestamp | None]:
        """The DER, and what its timestamp says."""
        if not stamped:
            return cms.sign(self.pair, "data", digest), None
        stamps: list[Stamp] = []

        def stamp(signature: bytes) -> bytes:
            stamps.append(self.stamper.stamp(signature))
            if stamps[0].digest != hashlib.sha256(signature).digest():
                raise _unfit("The timestamp was made for other bytes.")
            return stamps[0].content

        signature = cms.sign(self.pair, "data", digest, timestamp=stamp)
        self._token = len(signature) - self._own
        return signature, stamps[0].token.timestamp


def _check(output: BinaryIO, made: Open, signature: bytes) -> None:
    """Another library finds in the file that signature, over the bytes that it was made for, and these are all."""
    try:
        found = signatures.sole(output, made.field)
    except IntegrityError as error:
        raise _unfit(error.what) from error
    if found != (signature, made.digest):
        raise _unfit("The signed bytes have been changed.")


def _unfit(why: str) -> IntegrityError:
    return IntegrityError("The seal does not pass its own check.", where=why)
