"""One file and nothing else: what it proves, and that a changed byte anywhere is found."""

from __future__ import annotations

import random
import shutil
import socket
import subprocess
import sys
from io import BytesIO
from pathlib import Path

import pikepdf
import pytest
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.pdf_utils.reader import PdfFileReader

from printerd.errors import ConfigurationError, DocumentError, IntegrityError
from printerd.evidence import keys, sealing, timestamp, trust, verify
from printerd.evidence.sign import Sealer
from tests.evidence import papers
from tests.evidence.receipt_facts import facts


@pytest.fixture(scope="module")
def anchors(key_folder: Path) -> trust.Trust:
    return trust.load(sorted(key_folder.glob("*.crt")))


@pytest.fixture(scope="module")
def invoice(sealer: Sealer) -> bytes:
    out = BytesIO()
    sealer.seal(BytesIO(papers.page()), out, "Invoice sealed")
    return out.getvalue()


@pytest.fixture(scope="module")
def receipt(key_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("call")
    tasks = sealing.start(str(key_folder), "local:")
    answer = tasks["receipt"]({"facts": dict(facts()) | {"certificate": ""}}, [], folder)
    return (folder / answer["file"]).read_bytes()


def verdict(data: bytes, anchors: trust.Trust) -> verify.Verdict:
    try:
        return verify.verify(BytesIO(data), anchors)
    except DocumentError as error:
        return verify.Verdict("unknown", (error.what,))


def test_a_sealed_invoice_is_valid(invoice: bytes, sealer: Sealer, anchors: trust.Trust) -> None:
    """Signer, certificate, time, coverage; the local authority is named as one."""
    found = verdict(invoice, anchors)
    assert (found.kind, found.exit_code, found.faults, found.notes) == ("invoice", 0, (), ())
    assert (found.signer, found.certificate) == ("Atelier Dupont & Fils", sealer.pair.fingerprint)
    assert found.whole
    assert found.time
    assert found.timestamp is not None
    assert found.timestamp.local


def test_a_receipt_is_valid_and_its_record_has_a_timestamp_of_its_own(receipt: bytes, anchors: trust.Trust) -> None:
    """receipt.tsr is over exactly the bytes of receipt.json; the seal's timestamp comes after it."""
    found = verdict(receipt, anchors)
    assert (found.kind, found.exit_code, found.faults) == ("receipt", 0, ())
    assert found.record is not None
    assert found.timestamp is not None
    assert found.record.serial != found.timestamp.serial
    assert found.record.time <= found.timestamp.time


def test_openssl_accepts_the_record_of_a_receipt(receipt: bytes, key_folder: Path, tmp_path: Path) -> None:
    """Whoever takes the two attachments out can check them without us."""
    with pikepdf.open(BytesIO(receipt)) as pdf:
        for name in ("receipt.json", "receipt.tsr"):
            (tmp_path / name).write_bytes(pdf.attachments[name].get_file().read_bytes())
    subprocess.run(
        [
            *("openssl", "ts", "-verify", "-in", tmp_path / "receipt.tsr"),
            *("-data", tmp_path / "receipt.json", "-CAfile", key_folder / "tsa.crt"),
        ],
        check=True,
        capture_output=True,
    )


def test_without_an_anchor_the_origin_is_not_established(invoice: bytes, key_folder: Path, tmp_path: Path) -> None:
    """Consistent with itself is not the same as ours: exit code 3, with no certificate and with a stranger's."""
    path = tmp_path / "invoice.pdf"
    path.write_bytes(invoice)
    keys.seal(tmp_path / "other", "Somebody else")
    for trusted in ([], [tmp_path / "other" / "seal.crt"]):
        found = verify.verify_file(path, trusted)
        assert (found.intact, found.origin, found.exit_code) == (True, False, verify.NOT_ESTABLISHED)
    found = verify.verify_file(path, [key_folder / "seal.crt"])
    assert (found.origin, found.time, found.exit_code) == (True, False, verify.VALID)


def test_somebody_elses_seal_over_our_invoice_is_not_ours(invoice: bytes, anchors: trust.Trust, tmp_path: Path) -> None:
    """The last signature counts: a stranger who changes and seals again does not pass for us."""
    stranger = Sealer(
        keys.seal(tmp_path, "Atelier Dupont & Fils"), timestamp.connect("local:", tmp_path, "Atelier Dupont & Fils")
    )
    out = BytesIO()
    stranger.seal(BytesIO(invoice), out, "Invoice sealed")
    assert verify.verify(out, anchors).exit_code == verify.NOT_ESTABLISHED


def test_what_is_added_after_the_seal_is_named(invoice: bytes, anchors: trust.Trust) -> None:
    """pdfsig would still say "valid": the seal must cover the whole file."""
    writer = IncrementalPdfFileWriter(BytesIO(invoice))
    writer.root["/Lang"] = writer.root["/Type"]
    writer.update_root()
    out = BytesIO()
    writer.write(out)
    for changed in (out.getvalue(), invoice + b"\n", invoice + b"\0" * 1000):
        found = verdict(changed, anchors)
        assert found.exit_code == verify.BROKEN
        assert any("does not cover the whole file" in fault for fault in found.faults)


def test_a_file_that_was_cut_is_broken(invoice: bytes, anchors: trust.Trust) -> None:
    """Wherever a copy broke off, it does not pass."""
    for length in (0, 10, len(invoice) // 2, len(invoice) - 1):
        assert verdict(invoice[:length], anchors).exit_code == verify.BROKEN


@pytest.mark.parametrize("data", [papers.page(), b"", b"Dear Sir,", papers.encrypted("x")])
def test_what_was_never_sealed_is_no_evidence(data: bytes, anchors: trust.Trust) -> None:
    """Unsealed, empty, foreign and encrypted files: exit code 1, with the reason."""
    found = verdict(data, anchors)
    assert (found.kind, found.exit_code) == ("unknown", verify.BROKEN)
    assert found.faults


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    """A missing file is a verdict, not a traceback; a trusted file that is no certificate is a mistake."""
    assert verify.verify_file(tmp_path / "nowhere.pdf", []).faults == (
        "The file cannot be read: No such file or directory.",
    )
    (tmp_path / "x.crt").write_text("no certificate")
    with pytest.raises(ConfigurationError):
        verify.verify_file(tmp_path / "nowhere.pdf", [tmp_path / "x.crt"])


def test_nothing_is_fetched(invoice: bytes, anchors: trust.Trust, monkeypatch: pytest.MonkeyPatch) -> None:
    """No name is looked up and no address called, whoever signed."""

    def refuse(*_: object) -> None:
        raise AssertionError("the network was used")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    assert verdict(invoice, anchors).exit_code == verify.VALID
    assert verdict(invoice, trust.Trust(())).exit_code == verify.NOT_ESTABLISHED


def contents(data: bytes) -> range:
    """Where the last seal's own bytes are: the only ones that it does not cover."""
    value = PdfFileReader(BytesIO(data)).embedded_signatures[-1].byte_range
    return range(int(value[1]) + 1, int(value[2]) - 1)


@pytest.mark.parametrize("kind", ["invoice", "receipt"])
def test_one_changed_bit_anywhere_in_the_file_is_found(
    kind: str, anchors: trust.Trust, request: pytest.FixtureRequest
) -> None:
    """At 60 random places of the file and 90 in the seal itself: broken, or no longer ours."""
    data: bytes = request.getfixturevalue(kind)
    chance = random.Random(3161)  # noqa: S311 - a seeded choice of places
    own = contents(data)
    places = [chance.randrange(len(data)) for _ in range(60)] + [chance.choice(own) for _ in range(90)]
    for place in places:
        changed = bytearray(data)
        changed[place] ^= 1 << chance.randrange(8)
        found = verdict(bytes(changed), anchors)
        assert found.exit_code != verify.VALID, f"byte {place}"
        assert found.faults or not found.origin, f"byte {place}"


def test_every_byte_of_the_seals_frame_counts(invoice: bytes, anchors: trust.Trust) -> None:
    """Versions, tags and identifiers that no signature covers have one proper form, padding included."""
    own = contents(invoice)
    der = bytes.fromhex(invoice[own.start : own.stop].decode())
    frame = [*range(60), *range(1120, 1200), len(der) - 1]
    for place in frame:
        changed = bytearray(der)
        changed[place] ^= 1 if place < 1120 else 0x20
        data = invoice[: own.start] + changed.hex().upper().encode() + invoice[own.stop :]
        assert verdict(data, anchors).exit_code != verify.VALID, f"byte {place}"


def test_a_seal_written_in_another_way_is_found(invoice: bytes, anchors: trust.Trust) -> None:
    """The same signature with one of its digits in lower case is another file."""
    own = contents(invoice)
    place = next(place for place in own if chr(invoice[place]) in "ABCDEF")
    changed = bytearray(invoice)
    changed[place] |= 0x20
    assert verdict(bytes(changed), anchors).exit_code == verify.BROKEN


def test_a_timestamp_of_another_seal_is_found(sealer: Sealer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A token is bound to the very signature that it was made for: the seal's own check refuses another one."""
    stamp = sealer.stamper.stamp(b"another signature")
    monkeypatch.setattr(sealer.stamper, "stamp", lambda _: stamp)
    with pytest.raises(IntegrityError) as caught:
        sealer.seal(BytesIO(papers.page()), BytesIO(), "")
    assert caught.value.where == "The timestamp was made for other bytes."


@pytest.mark.parametrize("swapped", ["receipt.json", "receipt.tsr"])
def test_a_receipt_whose_record_and_token_disagree_is_found(
    receipt: bytes, sealer: Sealer, anchors: trust.Trust, swapped: str
) -> None:
    """Even under a good seal of ours, the token must be over the record."""
    plain = BytesIO()
    with pikepdf.open(BytesIO(receipt)) as pdf:
        del pdf.Root.AcroForm, pdf.pages[0].Annots
        other = {"receipt.json": b'{"number":43}', "receipt.tsr": sealer.stamper.stamp(b"another").response}
        pdf.attachments[swapped] = pikepdf.AttachedFileSpec(pdf, other[swapped], filename=swapped)
        pdf.save(plain)
    out = BytesIO()
    sealer.seal(plain, out, "")
    found = verify.verify(out, anchors)
    assert (found.kind, found.exit_code) == ("receipt", verify.BROKEN)
    assert "do not belong together" in found.faults[0]


def test_verifying_needs_no_database(invoice: bytes, key_folder: Path, tmp_path: Path) -> None:
    """A file and a certificate on a machine that has never seen ours: storage is not even imported."""
    (tmp_path / "invoice.pdf").write_bytes(invoice)
    shutil.copy(key_folder / "seal.crt", tmp_path)
    code = (
        "import sys, pathlib; from printerd.evidence import verify; "
        "found = verify.verify_file(pathlib.Path('invoice.pdf'), [pathlib.Path('seal.crt')]); "
        "assert 'sqlalchemy' not in sys.modules; sys.exit(found.exit_code)"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env={"PYTHONPATH": str(root)}, check=False)
    assert done.returncode == verify.VALID
