"""The incremental update (ISO 32000-1 section 7.5.6) that gives a PDF one more signature.

One rule: what is there is copied byte for byte, and the update adds a field and
nothing else; the document's dates and its XMP stay as their author left them.
The field is invisible.
"""

from __future__ import annotations

import hashlib
import itertools
from dataclasses import dataclass
from datetime import datetime
from typing import BinaryIO

from pyhanko.pdf_utils.generic import pdf_name
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.sign.fields import MDPPerm, SigSeedSubFilter, ensure_sig_flags, prepare_sig_field
from pyhanko.sign.signers.pdf_byterange import SignatureObject
from pyhanko.sign.validation.pdf_embedded import read_certification_data

from printerd.errors import DocumentError
from printerd.evidence import signatures

FIELD = "Seal"
"""The name of the signature field, with a number that is free."""


@dataclass(frozen=True, slots=True)
class Words:
    """What the signature's dictionary says for people: who, why and when (ISO 32000-1 table 252)."""

    name: str
    reason: str
    time: datetime


@dataclass(frozen=True, slots=True)
class Open:
    """A signed PDF but for its signature: ``digest`` is the SHA-256 of all but the gap, which is at ``gap``."""

    field: str
    digest: bytes
    gap: int

    def close(self, output: BinaryIO, signature: bytes) -> None:
        """Write the DER into the gap, which has room for it."""
        output.seek(self.gap + len(b"<"))
        output.write(signature.hex().upper().encode())
        output.flush()


def append(pdf: BinaryIO, output: BinaryIO, words: Words, room: int) -> Open:
    """Write ``pdf`` and its update to ``output``, an empty file, with ``room`` bytes for the DER of the signature.

    ``DocumentError`` when the PDF is encrypted, broken, or locked by an earlier signature;
    ``OSError`` when it is the output that fails.
    """
    document = signatures.reader(pdf)
    _sealable(document)
    value = _value(words, room)
    try:
        writer = IncrementalPdfFileWriter.from_reader(document)
        field = _add(writer, value)
    except Exception as error:  # what a PDF library raises on a document that is not in order cannot be listed
        raise _unsignable(error) from error
    try:
        return _written(writer, output, field, value)
    except OSError:
        raise
    except Exception as error:  # as above
        raise _unsignable(error) from error


def _unsignable(error: Exception) -> DocumentError:
    return DocumentError("The PDF cannot be signed.", where=str(error)[:200], remedy="Print the document again.")


def _sealable(pdf: PdfFileReader) -> None:
    """ISO 32000-1 12.8.2.2: a document whose author allowed no change at all takes no further signature."""
    locked = read_certification_data(pdf)
    if locked is not None and locked.permission is MDPPerm.NO_CHANGES:
        raise DocumentError(
            "The PDF's author has locked it against any change, so it cannot be sealed.",
            code="locked",
            remedy="Print it as a document that is not locked.",
        )


def _value(words: Words, room: int) -> SignatureObject:
    return SignatureObject(
        timestamp=words.time,
        subfilter=SigSeedSubFilter.PADES,
        name=words.name,
        reason=words.reason or None,
        bytes_reserved=2 * room,  # hexadecimal digits
    )


def _add(writer: IncrementalPdfFileWriter, value: SignatureObject) -> str:
    """A field with that value, on the first page; its name."""
    name = _free_field(writer.prev)
    _, field = prepare_sig_field(name, writer.root, writer)
    ensure_sig_flags(writer)
    field.get_object()[pdf_name("/V")] = writer.add_object(value)
    return name


def _free_field(pdf: PdfFileReader) -> str:
    """Whatever their types, two fields have two names (ISO 32000-1 section 12.7.3.2)."""
    try:
        fields = [field.get_object() for field in pdf.root["/AcroForm"]["/Fields"]]
    except KeyError:
        fields = []
    taken = {field["/T"] for field in fields if "/T" in field}
    names = (f"{FIELD}{number}" for number in itertools.count(1))
    return next(name for name in names if name not in taken)


def _written(writer: IncrementalPdfFileWriter, output: BinaryIO, field: str, value: SignatureObject) -> Open:
    state = _copied(writer.input_stream, output)
    start = output.tell()
    writer._write_updated_section(output)  # type: ignore[no-untyped-call]  # ``write`` would touch dates and XMP
    begin, end = value.contents.offsets
    value.byte_range.fill_offsets(output, begin, end, output.tell())  # type: ignore[no-untyped-call]
    output.seek(start)
    update = output.read()
    state.update(update[: begin - start])
    state.update(update[end - start :])
    return Open(field, state.digest(), begin)


def _copied(source: BinaryIO, output: BinaryIO) -> hashlib._Hash:
    """The SHA-256 of all that was copied, to go on with."""
    state = hashlib.sha256()
    source.seek(0)
    while chunk := source.read(signatures.CHUNK):
        state.update(chunk)
        output.write(chunk)
    return state
