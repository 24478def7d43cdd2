"""Whose time it is: openssl accepts each archived invoice's timestamp, from our authority and from another."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from pyhanko.keys import load_cert_from_pemder
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.sign.validation import validate_pdf_signature
from pyhanko_certvalidator import ValidationContext

from printerd.storage.blobs import Blobs
from tests.authority import granted, make, openssl, reply, serving
from tests.instance import Instance, printed_samples, served
from tests.waiting import until


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return printed_samples(tmp_path_factory.mktemp("samples"))


@pytest.fixture(scope="module")
def independent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("independent"))


def archived(instance: Instance, file: Path) -> tuple[bytes, dict[str, Any]]:
    """Print a file; the sealed bytes and the details of its invoice."""
    job = instance.settled(instance.print(file).number)
    detail: dict[str, Any] = instance.json("invoices", "show", job["invoices"][0]["id"])["invoice"]
    return Blobs(instance.state).read(detail["sealed"]), detail


def openssl_accepts(pdf: bytes, root: Path, folder: Path) -> None:
    """The token in the signature's unsigned attributes covers the signature value (RFC 3161 appendix A)."""
    (signature,) = PdfFileReader(BytesIO(pdf)).embedded_signatures
    unsigned = {attribute["type"].native: attribute["values"] for attribute in signature.signer_info["unsigned_attrs"]}
    (folder / "token.tst").write_bytes(unsigned["signature_time_stamp_token"][0].dump())
    (folder / "value").write_bytes(signature.signer_info["signature"].native)
    files = ("-in", folder / "token.tst", "-data", folder / "value", "-CAfile", root)
    assert "Verification: OK" in openssl("ts", "-verify", "-token_in", *files)


def pyhanko_agrees(pdf: bytes, *roots: Path) -> None:
    """pyHanko's validator: intact, valid, the whole file, trusted, and so is its timestamp."""
    (signature,) = PdfFileReader(BytesIO(pdf)).embedded_signatures
    context = ValidationContext(trust_roots=[load_cert_from_pemder(str(root)) for root in roots], allow_fetching=False)
    status = validate_pdf_signature(signature, signer_validation_context=context, ts_validation_context=context)
    assert status.bottom_line, status.pretty_print_details()
    assert status.timestamp_validity is not None
    assert status.timestamp_validity.valid
    assert status.timestamp_validity.trusted


def test_the_built_in_authority(tmp_path: Path, samples: dict[str, Any]) -> None:
    """The offline default is a proper RFC 3161 authority, and everything that shows its timestamps says what it is."""
    with served(tmp_path / "state") as instance:
        pdf, detail = archived(instance, samples["facture-simple-fr"].file)
        keys = instance.state / "keys"
        openssl_accepts(pdf, keys / "tsa.crt", tmp_path)
        pyhanko_agrees(pdf, keys / "seal.crt", keys / "tsa.crt")
        assert detail["timestamp"]["local"] is True
        (tmp_path / "sealed.pdf").write_bytes(pdf)
        assert "local authority: order, not time" in instance.run("verify", str(tmp_path / "sealed.pdf")).stdout


@contextmanager
def authority(folder: Path, away: list[bool]) -> Iterator[str]:
    """openssl's authority behind HTTP, which is out of order while ``away`` holds anything."""

    def answer(request: bytes) -> tuple[int, dict[str, str], bytes]:
        return (503, {}, b"") if away else granted(reply(folder, request))

    with serving(answer) as url:
        yield url


def test_invoices_may_do_with_the_timestamps_of_the_ledger(tmp_path: Path, samples: dict[str, Any]) -> None:
    """``timestamp.invoices = false``: seals bear none, the ledger's head has one for all, and all is in order."""
    with served(tmp_path / "state", {"timestamp.invoices": "false"}) as instance:
        pdf, detail = archived(instance, samples["facture-simple-fr"].file)
        assert detail["timestamp"] is None
        (signature,) = PdfFileReader(BytesIO(pdf)).embedded_signatures
        assert "signature_time_stamp_token" not in str(signature.signer_info["unsigned_attrs"].native)
        told = instance.run("verify", "--all")
        assert told.returncode == 0


def test_an_independent_authority_that_was_away(tmp_path: Path, samples: dict[str, Any], independent: Path) -> None:
    """While the authority is away the invoice waits by itself and the print queue goes on; then it is sealed."""
    away = [True]
    with authority(independent, away) as url, served(tmp_path / "state", {"timestamp.url": url}) as instance:
        sent = instance.print(samples["facture-simple-fr"].file)
        until(lambda: instance.job(sent.number)["invoices"] and instance.job(sent.number)["job"]["state"] == "done")
        assert instance.job(sent.number)["invoices"][0]["state"] == "ready"
        away.clear()
        detail = instance.settled(sent.number)["invoices"][0]
        shown = instance.json("invoices", "show", detail["id"])["invoice"]
        pdf = Blobs(instance.state).read(shown["sealed"])
        assert shown["timestamp"]["local"] is False
        openssl_accepts(pdf, independent / "root.crt", tmp_path)
        pyhanko_agrees(pdf, instance.state / "keys" / "seal.crt", independent / "root.crt")
        (instance.state / "keys" / "authority.crt").write_bytes((independent / "root.crt").read_bytes())
        assert instance.run("verify", "--all").returncode == 0
