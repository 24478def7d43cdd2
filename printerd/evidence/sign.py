"""Sealing: a PAdES signature (ETSI EN 319 142-1, level B-T or B-B) appended to a PDF, checked before anybody gets it.

What was received is never rewritten: the seal is an incremental update, so a
document that was signed before keeps its signatures. The field is invisible.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import BinaryIO

from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.sign.fields import MDPPerm, SigSeedSubFilter, enumerate_sig_fields
from pyhanko.sign.signers.cms_embedder import PdfCMSEmbedder, SigIOSetup, SigObjSetup
from pyhanko.sign.signers.pdf_byterange import SignatureObject
from pyhanko.sign.validation.pdf_embedded import read_certification_data

from printerd.errors import DocumentError, Failure, IntegrityError
from printerd.evidence import cms, signatures
from printerd.evidence.cms import KeyPair
from printerd.evidence.timestamp import Stamper
from printerd.model import Digest, Timestamp

FIELD = "Seal"
"""The name of the signature field, with a number that is free."""
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
        self._own = len(cms.sign(pair, "data", bytes(32)))
        self._token = FIRST_TOKEN

    def seal(self, pdf: BinaryIO, output: BinaryIO, reason: str, *, stamped: bool = True) -> Sealed:
        """Write ``pdf`` with a seal to ``output``, an empty file that can be read too.

        ``stamped``: level B-T, with a timestamp over the signature; else level B-B.

        ``DocumentError`` when the PDF is encrypted, broken, or locked by an
        earlier signature; ``TransientError`` when no timestamp is to be had;
        ``IntegrityError`` when the result does not pass its own check.
        """
        now = datetime.now(UTC)
        while not self._append(pdf, output, reason, now, stamped):
            output.seek(0)
            output.truncate()
        return self._checked(output, now, stamped)

    def _append(self, pdf: BinaryIO, output: BinaryIO, reason: str, now: datetime, stamped: bool) -> bool:
        """Whether the signature fitted into the room kept for it. When not, the next attempt keeps enough."""
        room = self._own + MARGIN + (self._token if stamped else 0)
        document = signatures.reader(pdf)
        _sealable(document)
        try:
            writer = IncrementalPdfFileWriter.from_reader(document)
            embedder = PdfCMSEmbedder().write_cms(_free_field(writer.prev), writer)
            next(embedder)
            embedder.send(SigObjSetup(sig_placeholder=self._placeholder(reason, now, room)))
            prepared, _ = embedder.send(SigIOSetup(md_algorithm="sha256", output=output))
            signature = self._signature(prepared.document_digest, stamped)
            if stamped:
                self._token = len(signature) - self._own
            if len(signature) > room:
                return False
            embedder.send(signature)
        except Failure:
            raise
        except Exception as error:  # what a PDF library raises on a document that is not in order cannot be listed
            raise DocumentError(
                "The PDF cannot be signed.", where=str(error)[:200], remedy="Print the document again."
            ) from error
        return True

    def _placeholder(self, reason: str, now: datetime, room: int) -> SignatureObject:
        return SignatureObject(
            timestamp=now,
            subfilter=SigSeedSubFilter.PADES,
            name=signatures.common_name(self.pair.certificate),
            reason=reason or None,
            bytes_reserved=2 * room,  # hexadecimal digits
        )

    def _signature(self, digest: bytes, stamped: bool) -> bytes:
        def stamp(signature: bytes) -> bytes:
            return self.stamper.stamp(signature).content

        return cms.sign(self.pair, "data", digest, timestamp=stamp if stamped else None)

    def _checked(self, output: BinaryIO, now: datetime, stamped: bool) -> Sealed:
        seal = signatures.of_pdf(output)[-1]
        if seal.faults or not seal.whole or (seal.token is None) is stamped or seal.certificate is None:
            raise IntegrityError("The seal does not pass its own check.", where="; ".join(seal.faults))
        certificate = cms.fingerprint(seal.certificate)
        if certificate != self.pair.fingerprint:
            raise IntegrityError("The seal was not made with our key.", where=certificate)
        return Sealed(certificate, now, seal.token.timestamp if seal.token else None)


def _sealable(pdf: PdfFileReader) -> None:
    """ISO 32000-1 12.8.2.2: a document whose author allowed no change at all takes no further signature."""
    locked = read_certification_data(pdf)
    if locked is not None and locked.permission is MDPPerm.NO_CHANGES:
        raise DocumentError(
            "The PDF's author has locked it against any change, so it cannot be sealed.",
            code="locked",
            remedy="Print it as a document that is not locked.",
        )


def _free_field(pdf: PdfFileReader) -> str:
    taken = {name for name, _, _ in enumerate_sig_fields(pdf)}
    names = (f"{FIELD}{number}" for number in itertools.count(1))
    return next(name for name in names if name not in taken)
