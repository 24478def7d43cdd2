"""Seals on PDFs of every make, judged by pdfsig, openssl and pyHanko's own validator."""

from __future__ import annotations

import hashlib
import resource
import socket
import subprocess
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import pikepdf
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.sign import PdfSignatureMetadata, PdfSigner, SimpleSigner
from pyhanko.sign.fields import MDPPerm
from pyhanko.sign.validation import validate_pdf_signature
from pyhanko_certvalidator import ValidationContext

from printerd.errors import DocumentError, IntegrityError, TransientError
from printerd.evidence import cms, sealing, signatures, trust, verify
from printerd.evidence.cms import KeyPair
from printerd.evidence.sign import Sealer
from tests.evidence import papers

SHARED = Path(__file__).parents[3] / "shared" / "samples"
MAKES: dict[str, Callable[[], bytes]] = {
    "with a table": papers.page,
    "of forty pages": lambda: papers.page(pages=40),
    "with object streams": papers.with_object_streams,
    "with hybrid references": papers.hybrid,
    "with a form in its catalog": lambda: papers.with_form(b"<< /Fields [4 0 R] >>", b"[4 0 R]"),
    "with a form in pieces": lambda: papers.with_form(b"5 0 R", b"7 0 R"),
    "without a last end of line": lambda: papers.page().rstrip(),
    **{file.name: file.read_bytes for file in sorted(SHARED.glob("*.pdf"))},
}


def sealed(sealer: Sealer, pdf: bytes, reason: str = "Invoice sealed", *, stamped: bool = True) -> bytes:
    out = BytesIO()
    sealer.seal(BytesIO(pdf), out, reason, stamped=stamped)
    return out.getvalue()


def pdfsig(path: Path) -> str:
    return subprocess.run(["pdfsig", path], check=False, capture_output=True, text=True).stdout


@pytest.mark.parametrize("make", MAKES)
def test_every_make_of_pdf_is_sealed_and_every_validator_agrees(
    sealer: Sealer, key_folder: Path, tmp_path: Path, make: str
) -> None:
    """pdfsig: valid, total document signed. openssl: the token is over the signature. pyHanko: valid, trusted."""
    original = MAKES[make]()
    data = sealed(sealer, original)
    assert data.startswith(original)
    path = tmp_path / "sealed.pdf"
    path.write_bytes(data)
    shown = pdfsig(path)
    assert "Signature is Valid." in shown
    assert "Total document signed" in shown
    assert "ETSI.CAdES.detached" in shown
    with path.open("rb") as file:
        embedded = PdfFileReader(file, strict=False).embedded_signatures[-1]
        roots = list(trust.load(key_folder.glob("*.crt")).anchors)
        context = ValidationContext(trust_roots=roots, allow_fetching=False)
        status = validate_pdf_signature(embedded, context, ts_validation_context=context)
        assert status.intact
        assert status.valid
        assert status.trusted
        assert status.timestamp_validity is not None
        assert status.timestamp_validity.valid
        assert status.timestamp_validity.trusted
        signer = embedded.signer_info
        (tmp_path / "signature").write_bytes(signer["signature"].native)
        (tmp_path / "token").write_bytes(signer["unsigned_attrs"][0]["values"][0].dump())
    subprocess.run(
        [
            *("openssl", "ts", "-verify", "-token_in", "-in", tmp_path / "token"),
            *("-data", tmp_path / "signature", "-CAfile", key_folder / "tsa.crt"),
        ],
        check=True,
        capture_output=True,
    )


def test_a_seal_without_a_timestamp_is_a_whole_signature(sealer: Sealer, key_folder: Path, tmp_path: Path) -> None:
    """PAdES B-B: pdfsig, ``openssl cms -verify`` and pyHanko accept it; its time is our clock's alone, and told so."""
    data, path = sealed(sealer, papers.page(), stamped=False), tmp_path / "sealed.pdf"
    path.write_bytes(data)
    assert "Signature is Valid." in (shown := pdfsig(path)) and "Total document signed" in shown
    embedded = PdfFileReader(BytesIO(data), strict=False).embedded_signatures[-1]
    context = ValidationContext(trust_roots=list(trust.load(key_folder.glob("*.crt")).anchors), allow_fetching=False)
    status = validate_pdf_signature(embedded, context)
    assert status.intact and status.valid and status.trusted and status.timestamp_validity is None
    begin, length, resume, rest = (int(number) for number in embedded.byte_range)
    (tmp_path / "signed").write_bytes(data[begin:length] + data[resume : resume + rest])
    (tmp_path / "cms").write_bytes(embedded.pkcs7_content)
    words = ["openssl", "cms", "-verify", "-binary", "-inform", "DER", "-purpose", "any", "-out", "/dev/null"]
    files = ["-in", tmp_path / "cms", "-content", tmp_path / "signed", "-CAfile", key_folder / "seal.crt"]
    subprocess.run([*words, *files], check=True, capture_output=True)
    verdict = verify.verify_file(path, [key_folder / "seal.crt"])
    assert verdict.intact and verdict.origin and verdict.timestamp is None
    assert any("bears no timestamp" in note for note in verdict.notes)


def test_the_seal_names_its_maker_reason_and_time(sealer: Sealer) -> None:
    """The signature dictionary says who and why; what comes back says when, by our clock and by the authority."""
    out = BytesIO()
    result = sealer.seal(BytesIO(papers.page()), out, "invoice FA-2026-0042")
    value = PdfFileReader(out).embedded_signatures[0].sig_object
    assert (value["/Name"], value["/Reason"]) == ("Atelier Dupont & Fils", "invoice FA-2026-0042")
    assert result.certificate == sealer.pair.fingerprint
    assert abs(result.sealed_at - datetime.now(UTC)) < timedelta(minutes=1)
    assert result.timestamp is not None and result.timestamp.local


def test_the_page_looks_as_it_did(sealer: Sealer) -> None:
    """The seal's field is on the page, hidden and of no size: nothing covers what was printed."""
    with pikepdf.open(BytesIO(sealed(sealer, papers.page()))) as pdf:
        field = pdf.Root.AcroForm.Fields[0]
        assert [float(number) for number in field.Rect] == [0, 0, 0, 0]


def test_a_document_that_was_signed_before_keeps_its_signature(sealer: Sealer) -> None:
    """The seal is a further signature over everything; the first one still holds for its own part."""
    twice = sealed(sealer, sealed(sealer, papers.page()))
    found = signatures.of_pdf(BytesIO(twice))
    assert [(one.field, one.whole, one.faults) for one in found] == [("Seal1", False, ()), ("Seal2", True, ())]


def test_a_document_that_another_program_signed_keeps_its_signature(
    sealer: Sealer, key_folder: Path, tmp_path: Path
) -> None:
    """The first signature's update, like the document, has compressed objects: pdfsig finds both valid."""
    signer = PdfSigner(PdfSignatureMetadata(field_name="Other"), simple(sealer, key_folder))
    first = signer.sign_pdf(IncrementalPdfFileWriter(BytesIO(papers.with_object_streams()))).getvalue()
    path = tmp_path / "sealed.pdf"
    path.write_bytes(sealed(sealer, first))
    assert (shown := pdfsig(path)).count("Signature is Valid.") == 2
    assert shown.count("Total document signed") == 1


def test_the_seal_leaves_what_the_document_says_of_itself(sealer: Sealer) -> None:
    """Dates, producer and XMP are its author's: they agree with one another after the seal as they did before."""
    with pikepdf.open(BytesIO(papers.page())) as pdf:
        with pdf.open_metadata() as metadata:
            metadata["xmp:ModifyDate"] = "2026-11-24T10:00:00+01:00"
        pdf.save(original := BytesIO())
    with pikepdf.open(original) as before, pikepdf.open(BytesIO(sealed(sealer, original.getvalue()))) as after:
        assert dict(after.docinfo) == dict(before.docinfo)
        assert after.Root.Metadata.read_raw_bytes() == before.Root.Metadata.read_raw_bytes()


def test_a_broken_earlier_signature_is_a_note(sealer: Sealer, key_folder: Path) -> None:
    """What was wrong before it reached us does not break our seal, but is said."""
    first = bytearray(sealed(sealer, papers.page()))
    first[first.index(b"Producer") + 12] ^= 1
    verdict = verify.verify(BytesIO(sealed(sealer, bytes(first))), trust.load(key_folder.glob("*.crt")))
    assert verdict.exit_code == verify.VALID
    assert "An earlier signature does not hold: The signed bytes have been changed." in verdict.notes


def simple(sealer: Sealer, key_folder: Path) -> SimpleSigner:
    """Another program's signer with the same key."""
    path = key_folder / "seal.key"
    key = serialization.load_pem_private_key(path.read_bytes(), None)
    assert key.key_size == 3072  # type: ignore[union-attr]
    signer = SimpleSigner.load(path, key_folder / "seal.crt")
    assert signer.signing_cert.sha256 == sealer.pair.certificate.sha256
    return signer


def test_a_document_that_its_author_locked_is_refused(sealer: Sealer, key_folder: Path) -> None:
    """A certified PDF that allows no change cannot take a seal without breaking its author's signature."""
    metadata = PdfSignatureMetadata(field_name="Author", certify=True, docmdp_permissions=MDPPerm.NO_CHANGES)
    locked = PdfSigner(metadata, simple(sealer, key_folder)).sign_pdf(IncrementalPdfFileWriter(BytesIO(papers.page())))
    with pytest.raises(DocumentError) as caught:
        sealed(sealer, locked.getvalue())
    assert caught.value.code == "locked"


def test_signatures_of_other_programs_are_read_too(sealer: Sealer, key_folder: Path) -> None:
    """A signature without a timestamp is intact; that it has none is said."""
    metadata = PdfSignatureMetadata(field_name="Other")
    other = PdfSigner(metadata, simple(sealer, key_folder)).sign_pdf(IncrementalPdfFileWriter(BytesIO(papers.page())))
    verdict = verify.verify(other, trust.load(key_folder.glob("*.crt")))
    assert (verdict.exit_code, verdict.timestamp, verdict.time) == (verify.VALID, None, False)
    assert len(verdict.notes) == 1


@pytest.mark.parametrize(
    ("pdf", "code"),
    [
        (b"", "unreadable"),
        (b"%PDF-1.7\n", "unreadable"),
        (b"Dear Sir,", "unreadable"),
        (papers.page()[:-200], "unreadable"),
        (papers.page().replace(b"/Pages", b"/Pagez"), "unreadable"),
        (papers.encrypted("secret"), "encrypted"),
        (papers.encrypted(""), "encrypted"),
    ],
)
def test_what_cannot_be_sealed_is_the_senders_to_mend(sealer: Sealer, pdf: bytes, code: str) -> None:
    """Empty, cut, foreign and encrypted documents: a DocumentError each, never a seal."""
    with pytest.raises(DocumentError) as caught:
        sealed(sealer, pdf)
    assert caught.value.code == code


def foreign(sealer: Sealer) -> KeyPair:
    """Our certificate with a key that is not its own."""
    return KeyPair(rsa.generate_private_key(public_exponent=65537, key_size=3072), sealer.pair.certificate)


def test_a_key_that_is_not_the_certificates_seals_nothing(sealer: Sealer) -> None:
    """Neither when it is loaded, nor when it goes wrong later: what it signs is refused before it is in a file."""
    with pytest.raises(IntegrityError, match="does not match its certificate"):
        Sealer(foreign(sealer), sealer.stamper)
    later, out = Sealer(sealer.pair, sealer.stamper), BytesIO()
    later.pair = foreign(sealer)
    with pytest.raises(IntegrityError, match="does not match its certificate"):
        later.seal(BytesIO(papers.page()), out, "")
    assert signatures.of_pdf(out)[-1].faults


class Lying(BytesIO):
    """A disk that keeps another digit in the middle of those writes that ``meant`` picks."""

    def __init__(self, meant: Callable[[bytes], bool]) -> None:
        super().__init__()
        self._meant = meant

    def write(self, data: Any, /) -> int:
        kept = bytearray(data)
        if self._meant(bytes(data)):
            kept[len(kept) // 2] = ord("1" if kept[len(kept) // 2] == ord("0") else "0")
        return super().write(kept)


LIES: dict[str, tuple[Callable[[bytes], bool], str]] = {
    "in the document": (lambda data: data.startswith(b"%PDF"), "The signed bytes have been changed."),
    "in the signature": (lambda data: data.startswith(b"3082"), "The signed bytes have been changed."),
    "in the byte range": (lambda data: data.startswith(b"[0 "), ""),
}


@pytest.mark.parametrize("lie", LIES)
@pytest.mark.parametrize("stamped", [False, True])
def test_a_disk_that_changes_what_is_written_gets_no_seal_past_the_check(
    sealer: Sealer, lie: str, stamped: bool
) -> None:
    """One byte in the document, in the signature or in what it says it covers: the sealer does not hand it out."""
    meant, why = LIES[lie]
    with pytest.raises(IntegrityError, match="own check") as caught:
        sealer.seal(BytesIO(papers.page()), Lying(meant), "", stamped=stamped)
    assert why in caught.value.where


@pytest.mark.parametrize("room", [1000, len(papers.page()) + 1000], ids=["the document", "the update"])
def test_a_full_disk_blames_no_document(key_folder: Path, tmp_path: Path, room: int) -> None:
    """Where the document or its seal finds no room, the invoice is sealed later: it waits for nobody."""
    seal = sealing.start(str(key_folder), "local:")["seal"]
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, before[1]))
    try:
        with pytest.raises(TransientError, match="The sealed PDF could not be written"):
            seal({}, [BytesIO(papers.page())], tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def unpacked(pdf: BytesIO) -> bytes:
    """A PDF and what is packed in its streams; nothing where there is no PDF."""
    if not pdf.getvalue():
        return b""
    with pikepdf.open(pdf) as opened:
        streams = [one for one in opened.objects if isinstance(one, pikepdf.Stream)]
        return b"".join([pdf.getvalue(), *(one.read_bytes() for one in streams)])


LAUGHS = '<!ENTITY a0 "ha">' + "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 12))
ENTITIES = {
    "a file": ('[<!ENTITY e SYSTEM "file://{file}">]', "&e;"),
    "a file as a part of the document type": ('[<!ENTITY % p SYSTEM "file://{file}"> %p;]', ""),
    "an address": ('[<!ENTITY e SYSTEM "{address}">]', "&e;"),
    "a document type elsewhere": ('SYSTEM "{address}"', ""),
    "a billion laughs": (f"[{LAUGHS}]", "&a11;"),
}


@pytest.mark.parametrize("name", ENTITIES)
def test_entities_in_the_metadata_of_a_document_lead_nowhere(sealer: Sealer, tmp_path: Path, name: str) -> None:
    """A document's XMP is XML: sealing reads no file for it, calls nobody, and does not unfold bombs."""
    secret = tmp_path / "secret"
    secret.write_text("swordfish")
    kind, body = ENTITIES[name]
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0)
        address = f"http://127.0.0.1:{server.getsockname()[1]}/"
        began, out = time.process_time(), BytesIO()
        document = kind.replace("{file}", str(secret)).replace("{address}", address)
        sealer.seal(BytesIO(papers.with_metadata(f"<!DOCTYPE x {document}>", body)), out, "Invoice sealed")
        assert time.process_time() - began < 5
        assert b"swordfish" not in unpacked(out)
        with pytest.raises(BlockingIOError):
            server.accept()


def test_sealing_costs_little(sealer: Sealer) -> None:
    """With the key loaded once, a seal with timestamp and its own check stays far below pyHanko's 288 ms."""
    sealed(sealer, papers.page())
    costs = []
    for _ in range(10):
        before = time.process_time()
        sealed(sealer, papers.page())
        costs.append(time.process_time() - before)
    assert min(costs) < 0.06


def test_a_detached_signature_is_one_for_openssl(sealer: Sealer, key_folder: Path, tmp_path: Path) -> None:
    """``openssl cms -verify`` accepts what signs a checkpoint."""
    (tmp_path / "data").write_bytes(b"a statement")
    digest = hashlib.sha256(b"a statement").digest()
    (tmp_path / "signature").write_bytes(cms.sign(sealer.pair, "data", digest))
    subprocess.run(
        [
            *("openssl", "cms", "-verify", "-binary", "-inform", "DER", "-in", tmp_path / "signature"),
            *("-content", tmp_path / "data", "-CAfile", key_folder / "seal.crt", "-purpose", "any"),
        ],
        check=True,
        capture_output=True,
    )
