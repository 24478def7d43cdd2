"""What signatures and timestamps say, and whether that is true. No keys, no storage, no network.

Whether their makers are trusted is another question (:mod:`printerd.evidence.trust`);
here bytes are compared with bytes. A byte that was changed anywhere is found,
also where no signature covers it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO

import pikepdf
from asn1crypto import core, parser, tsp, x509  # type: ignore[import-untyped]
from asn1crypto.cms import CMSAttributes, ContentInfo, IssuerAndSerialNumber, SignedData  # type: ignore[import-untyped]
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.sign.general import extract_certificate_info, extract_signer_info
from pyhanko.sign.validation.generic_cms import validate_sig_integrity

from printerd.errors import DocumentError, Failure, IntegrityError
from printerd.evidence import canonical, cms
from printerd.model import Timestamp

LOCAL_POLICY = "2.25.120842581921672289339243893207355004462"
"""The policy of our own authorities, an OID made from a UUID (ITU-T X.667): order, not time."""
LOCAL_PHRASE = {
    "en": "local authority: order, not time",
    "fr": "autorité locale : l’ordre, pas l’heure",
}
"""What everything that shows a local timestamp says beside it, by language."""

CHUNK = 1 << 20
HASHES = ("sha256", "sha384", "sha512")


@dataclass(frozen=True, slots=True)
class Token:
    """A timestamp that agrees with itself and with the bytes it was made for."""

    timestamp: Timestamp
    certificate: x509.Certificate
    others: tuple[x509.Certificate, ...] = ()
    nonce: int | None = None


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature of a PDF. ``covered`` is the length in bytes of the revision that it covers.

    ``faults`` are sentences; without any, the signature and its timestamp hold.
    """

    field: str
    covered: int
    whole: bool
    certificate: x509.Certificate | None = None
    others: tuple[x509.Certificate, ...] = ()
    token: Token | None = None
    faults: tuple[str, ...] = ()


def reader(file: BinaryIO) -> PdfFileReader:
    """A PDF as pyHanko reads it. ``DocumentError`` when it is encrypted or broken."""
    try:
        # Not strict: hybrid cross-references and the small faults of many an ERP's PDF are no reason to refuse it.
        pdf = PdfFileReader(file, strict=False)
        if not pdf.encrypted:
            pdf.root["/Pages"]
            return pdf
    except Exception as error:  # what a parser raises on hostile bytes cannot be listed
        raise DocumentError(
            "The PDF cannot be read.", where=str(error)[:200], remedy="Print the document again."
        ) from error
    raise _encrypted()


def _encrypted() -> DocumentError:
    return DocumentError(
        "The PDF is encrypted.", code="encrypted", remedy="Print the document again without a password."
    )


def of_pdf(file: BinaryIO) -> tuple[Signature, ...]:
    """Every signature of a PDF, in the order in which they were made. ``DocumentError`` when it cannot be read.

    Another library reads it than the one that writes our seals, so that no mistake of one hides behind itself.
    """
    with _opened(file, pikepdf.AccessMode.default) as pdf:
        found = [_signature(file, name, value) for name, value in _signed_fields(pdf)]
        return tuple(sorted(found, key=lambda one: one.covered))


def sole(file: BinaryIO, field: str) -> tuple[bytes, bytes]:
    """The DER of the signature in that field, and the SHA-256 of what it covers: it is not judged.

    ``IntegrityError`` when there is not one such field, or when it leaves out more than its own signature;
    ``DocumentError`` when the PDF cannot be read. ``file`` must not shrink meanwhile: it is mapped where it can be.
    """
    with _opened(file, pikepdf.AccessMode.mmap) as pdf:
        values = [value for name, value in _signed_fields(pdf) if name == field]
        if len(values) != 1:
            raise IntegrityError(f"There are {len(values)} signatures of the name {field}.")
        ranges = _ranges(values[0])
        if _covered(ranges) != file.seek(0, os.SEEK_END):
            raise IntegrityError("The signature does not cover the whole file.")
        return _contents(file, ranges, bytes(values[0]["/Contents"])), _range_digest(file, ranges, "sha256")


@contextmanager
def _opened(file: BinaryIO, access: pikepdf.AccessMode) -> Iterator[pikepdf.Pdf]:
    try:
        with pikepdf.open(file, access_mode=access, inherit_page_attributes=False) as pdf:
            if pdf.is_encrypted:
                raise _encrypted()
            yield pdf
    except pikepdf.PasswordError as error:
        raise _encrypted() from error
    except Failure:
        raise
    except Exception as error:  # what a parser raises on hostile bytes cannot be listed
        raise DocumentError("The PDF's signatures cannot be read.", where=str(error)[:200]) from error


def _signed_fields(pdf: pikepdf.Pdf) -> Iterator[tuple[str, pikepdf.Object]]:
    """Full name and value of each (ISO 32000-1 12.7.3: names are joined by dots, and types come from parents)."""
    form = pdf.Root.get("/AcroForm", pikepdf.Dictionary())
    nothing, seen = pikepdf.Array(), set()
    waiting: list[tuple[str, pikepdf.Object | None, pikepdf.Object]]
    waiting = [("", None, field) for field in form.get("/Fields", nothing)]
    while waiting:
        parents, kind, field = waiting.pop()
        if field.is_indirect and field.objgen in seen:
            continue
        seen.add(field.objgen)
        name = ".".join(filter(None, (parents, str(field.get("/T", "")))))
        kind = field.get("/FT", kind)
        if kind == pikepdf.Name.Sig and "/V" in field:
            yield name, field["/V"]
        waiting += [(name, kind, kid) for kid in field.get("/Kids", nothing)]


def _signature(file: BinaryIO, name: str, value: pikepdf.Object) -> Signature:
    size = file.seek(0, os.SEEK_END)
    covered = 0
    try:
        ranges = _ranges(value)
        covered = _covered(ranges)
        der = _contents(file, ranges, bytes(value["/Contents"]))
        signed = _signed_data(der, "data")
        certificate, others = _check(signed, "data", _range_digest(file, ranges, _algorithm(signed)))
        token = _signature_token(signed)
    except IntegrityError as error:
        return Signature(name, covered, covered == size, faults=(error.what,))
    except Exception as error:  # as above
        return Signature(name, covered, covered == size, faults=(f"The signature cannot be read ({error}).",))
    return Signature(name, covered, covered == size, certificate, others, token)


def _ranges(value: pikepdf.Object) -> list[int]:
    """Start and length of both parts (ISO 32000-1 section 12.8.1)."""
    return [int(number) for number in value["/ByteRange"]]


def _covered(ranges: list[int]) -> int:
    """Where the second part ends."""
    return ranges[2] + ranges[3]


def _contents(file: BinaryIO, ranges: list[int], raw: bytes) -> bytes:
    """The CMS object. The gap of the byte range must be exactly the string that holds it, padded with zeros."""
    start, length, resume, _ = ranges
    der = core.load(raw).dump() if raw else b""
    file.seek(length)
    gap = file.read(max(resume - length, 0)) if start == 0 else b""
    digits = der.hex().encode().ljust(max(len(gap) - 2, 0), b"0")
    if gap not in (b"<" + digits + b">", b"<" + digits.upper() + b">"):
        raise IntegrityError("The bytes that the signature leaves out are not just the signature.")
    return der


def _range_digest(file: BinaryIO, ranges: list[int], algorithm: str) -> bytes:
    state = hashlib.new(algorithm)
    for start, length in (ranges[:2], ranges[2:]):
        file.seek(start)
        while length and (chunk := file.read(min(length, CHUNK))):
            state.update(chunk)
            length -= len(chunk)
        if length:
            raise IntegrityError("The file ends before the bytes that were signed do.")
    return state.digest()


def token(der: bytes, data: bytes) -> Token:
    """The timestamp token for ``data``. ``IntegrityError`` when it was made for other bytes or does not hold."""
    try:
        signed = _signed_data(der, "tst_info")
        enclosed = signed["encap_content_info"]["content"]
        info = enclosed.parsed
        imprint = info["message_imprint"]
        if imprint["hashed_message"].native != _hash(imprint["hash_algorithm"]["algorithm"].native, data):
            raise IntegrityError("The timestamp was made for other bytes.")
        digest = _hash(_algorithm(signed), bytes(enclosed))
        certificate, others = _check(signed, "tst_info", digest)
        _only_timestamps(certificate)
        stamp = Timestamp(
            info["gen_time"].native,
            f"{info['serial_number'].native:x}",
            common_name(certificate),
            info["policy"].native == LOCAL_POLICY,
        )
    except IntegrityError:
        raise
    except Exception as error:  # as above
        raise IntegrityError(f"The timestamp cannot be read ({error}).") from error
    return Token(stamp, certificate, others, info["nonce"].native)


class _Response(core.Sequence):  # type: ignore[misc]  # asn1crypto comes without types
    """TimeStampResp with its token OPTIONAL, as RFC 3161 section 2.4.2 has it: a refusal has none."""

    _fields = [  # noqa: RUF012 - asn1crypto reads this attribute of the class
        ("status", tsp.PKIStatusInfo),
        ("time_stamp_token", ContentInfo, {"optional": True}),
    ]


def response(der: bytes, data: bytes) -> Token:
    """The token in a TimeStampResp for ``data``; ``IntegrityError`` as :func:`token`, and when it was refused."""
    return token(enclosed_token(der), data)


def granted(token: bytes) -> bytes:
    """The shortest TimeStampResp around a token: nothing in it may be written in another way, for nobody signs it."""
    return bytes(parser.emit(0, 1, 16, tsp.PKIStatusInfo({"status": "granted"}).dump() + token))


def enclosed_token(der: bytes) -> bytes:
    """The token in a TimeStampResp, not checked yet. ``IntegrityError`` when the authority refused to give one."""
    try:
        answer = _Response.load(der, strict=True)
        status = answer["status"]
        if status["status"].native in ("granted", "granted_with_mods"):
            return bytes(answer["time_stamp_token"].dump())
        words = [*(status["status_string"].native or ()), *sorted(map(str, status["fail_info"].native or ()))]
    except Exception as error:  # as above
        raise IntegrityError(f"The timestamp cannot be read ({error}).") from error
    raise IntegrityError(f"The timestamp was refused ({', '.join(words) or status['status'].native}).")


def detached(der: bytes, data: bytes) -> x509.Certificate:
    """Who signed ``data`` with a detached CMS signature. ``IntegrityError`` when it does not hold."""
    try:
        signed = _signed_data(der, "data")
        return _check(signed, "data", _hash(_algorithm(signed), data))[0]
    except IntegrityError:
        raise
    except Exception as error:  # as above
        raise IntegrityError(f"The signature cannot be read ({error}).") from error


def _signed_data(der: bytes, content_type: str) -> SignedData:
    cms.check_form(der, content_type)
    return ContentInfo.load(der, strict=True)["content"]


def _algorithm(signed: SignedData) -> str:
    algorithm = str(signed["signer_infos"][0]["digest_algorithm"]["algorithm"].native)
    if algorithm not in HASHES:
        raise IntegrityError(f"The signature rests on {algorithm}, which proves nothing any more.")
    return algorithm


def _check(
    signed: SignedData, content_type: str, digest: bytes
) -> tuple[x509.Certificate, tuple[x509.Certificate, ...]]:
    """The signer's certificate and the others, once the signature holds over ``digest``."""
    signer = extract_signer_info(signed)
    found = extract_certificate_info(signed)
    sid = signer["sid"].chosen
    if isinstance(sid, IssuerAndSerialNumber) and sid["issuer"].dump() != found.signer_cert.issuer.dump():
        # RFC 5280 section 7.1 would let the names differ in case; nobody who signs writes them so.
        raise IntegrityError("The signature names its certificate in another way than the certificate does.")
    intact, valid = validate_sig_integrity(signer, found.signer_cert, content_type, digest)
    if not intact:
        raise IntegrityError("The signed bytes have been changed.")
    if not valid:
        raise IntegrityError("The signature does not match its certificate.")
    return found.signer_cert, tuple(found.other_certs)


def _signature_token(signed: SignedData) -> Token | None:
    signer = signed["signer_infos"][0]
    attributes = signer["unsigned_attrs"]
    for attribute in attributes if isinstance(attributes, CMSAttributes) else ():
        if attribute["type"].native == "signature_time_stamp_token":
            return token(attribute["values"][0].dump(), signer["signature"].native)
    return None


def values(timestamp: Timestamp) -> dict[str, Any]:
    """A timestamp as rows and ledger records hold it: ``serial`` is hexadecimal, ``time`` RFC 3339."""
    return {
        "time": canonical.instant(timestamp.time),
        "serial": timestamp.serial,
        "authority": timestamp.authority,
        "local": timestamp.local,
    }


def common_name(certificate: x509.Certificate) -> str:
    """What people call a certificate's owner."""
    return str(certificate.subject.native.get("common_name") or certificate.subject.human_friendly)


def _only_timestamps(certificate: x509.Certificate) -> None:
    """RFC 3161 2.3: one purpose, and it is critical."""
    uses = certificate.extended_key_usage_value
    if uses is None or uses.native != ["time_stamping"] or "extended_key_usage" not in certificate.critical_extensions:
        raise IntegrityError("The timestamp's certificate is not one for timestamps alone.")


def _hash(algorithm: str, data: bytes) -> bytes:
    if algorithm not in HASHES:
        raise IntegrityError(f"The timestamp rests on {algorithm}, which proves nothing any more.")
    return hashlib.new(algorithm, data).digest()
