"""The hostile documents are wrong in the one way that their name says, and right in all others."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pypdfium2
import pytest
from stdnum import iban

from printerd.demo.forms import in_fours
from printerd.demo.samples import generate
from printerd.demo.trade import IBAN, ISSUER
from tests.documents import FOREIGN_IBAN, PASSWORD, UNREADABLE, Document, hostile

TODAY = date(2026, 11, 24)


@pytest.fixture(scope="module")
def documents(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Document]:
    return hostile(tmp_path_factory.mktemp("hostile"), today=TODAY)


def text_of(file: Path, password: str | None = None) -> str:
    with pypdfium2.PdfDocument(file, password=password) as pdf:
        return " ".join(pdf[0].get_textpage().get_text_range().split())


@pytest.mark.parametrize("name", sorted(UNREADABLE.keys() - {"truncated.pdf"}))
def test_unreadable_files_do_not_open(documents: dict[str, Document], name: str) -> None:
    """The reader refuses an empty file, a web page and a file that wants a password."""
    with pytest.raises(pypdfium2.PdfiumError):
        pypdfium2.PdfDocument(documents[name].file)


def test_truncated_file_has_lost_its_end(documents: dict[str, Document]) -> None:
    """A cut file starts as a PDF and has no end mark."""
    content = documents["truncated.pdf"].file.read_bytes()
    assert content.startswith(b"%PDF-") and b"%%EOF" not in content


def test_password_opens_the_encrypted_file(documents: dict[str, Document]) -> None:
    """With its password the encrypted file is an ordinary invoice."""
    assert "FA-2026-0101" in text_of(documents["encrypted.pdf"].file, PASSWORD)


def test_foreign_iban_is_a_valid_one_of_another(documents: dict[str, Document]) -> None:
    """Check digits alone do not find it: the account is valid and not the issuer's."""
    text = text_of(documents["foreign-iban.pdf"].file)
    assert iban.is_valid(FOREIGN_IBAN) and in_fours(FOREIGN_IBAN) in text and in_fours(IBAN) not in text


def test_foreign_seller_is_named(documents: dict[str, Document]) -> None:
    """The foot of the page names another firm's VAT number."""
    text = text_of(documents["foreign-seller.pdf"].file)
    assert "FR05101836450" in text and ISSUER.vat_id not in text


def test_wrong_total_does_not_add_up(documents: dict[str, Document]) -> None:
    """The printed total differs from net and VAT."""
    invoice = documents["wrong-total.pdf"].invoice
    assert invoice is not None
    printed = f"{invoice.total.amount:,.2f} €".replace(",", " ").replace(".", ",")
    assert invoice.net.amount + invoice.vat.amount != invoice.total.amount
    assert f"Total TTC {printed}" in text_of(documents["wrong-total.pdf"].file)


def test_reprint_has_the_same_page_in_other_bytes(documents: dict[str, Document], tmp_path: Path) -> None:
    """A reprint says the same as the first print; the same number on another sale does not."""
    first = next(iter(generate(tmp_path, today=TODAY)))
    reprint, other = documents["reprint.pdf"], documents["same-number-other-content.pdf"]
    assert reprint.file.read_bytes() != first.file.read_bytes()
    assert text_of(reprint.file) == text_of(first.file) != text_of(other.file)
    assert reprint.invoice == first.expected[0].invoice and other.invoice is not None
    assert other.invoice.number == first.expected[0].invoice.number
