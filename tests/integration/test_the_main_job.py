"""The main job with real parts everywhere: printed by every client, sealed, archived, held, released, verified."""

from __future__ import annotations

import http.client
import subprocess
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from random import Random
from typing import Any

import pypdfium2  # type: ignore[import-untyped]
import pytest

from printerd.demo import trade
from printerd.errors import RequestError
from printerd.ipp.registry import Status
from printerd.storage.blobs import Blobs
from printerd.storage.database import Database
from tests import documents
from tests.cups import Cups
from tests.instance import Instance, buyers, link_of, press, print_job, printed_samples, request, served
from tests.waiting import until

TODAY = date.today()  # noqa: DTZ011 - the day on the paper


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    with served(tmp_path_factory.mktemp("main") / "state") as running:
        yield running


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return printed_samples(tmp_path_factory.mktemp("samples"))


@pytest.fixture(scope="module")
def paper(tmp_path_factory: pytest.TempPathFactory) -> dict[str, documents.Document]:
    return documents.hostile(tmp_path_factory.mktemp("hostile"), today=TODAY)


def last_job(instance: Instance) -> dict[str, Any]:
    number: int = until(lambda: instance.json("jobs"))[0]["number"]
    return instance.settled(number)


def text_of(pdf: bytes) -> str:
    document = pypdfium2.PdfDocument(pdf)
    text = "\n".join(page.get_textpage().get_text_range() for page in document)
    document.close()
    return text


def sealed_bytes(instance: Instance, number: str) -> bytes:
    detail = instance.json("invoices", "show", number)["invoice"]
    return Blobs(instance.state).read(detail["sealed"])


def arrived(instance: Instance, job: dict[str, Any], number: str, user: str, title: str) -> None:
    """The invoice is archived under the names that its sender gave, and its text is whole."""
    assert job["job"]["user"] == user
    assert job["job"]["title"] == title
    assert [one["number"] for one in job["invoices"]] == [number]
    assert [one["state"] for one in job["invoices"]] == ["archived"]
    text = text_of(sealed_bytes(instance, number))
    assert number in text
    assert "é" in text


# Three clients


def test_pyipp_prints(instance: Instance, files: dict[str, Any]) -> None:
    """A job sent by pyipp ends archived, with user, title and text intact."""
    sample = files["facture-simple-fr"]
    sent = instance.print(sample.file, user="hélène", title="Facture d’août №1")
    arrived(instance, instance.settled(sent.number), sample.expected[0].invoice.number, "hélène", "Facture d’août №1")


def test_ipptool_prints(instance: Instance, files: dict[str, Any], tmp_path: Path) -> None:
    """A job sent by ipptool ends archived, with user, title and text intact."""
    sample = files["facture-deux-pages-fr"]
    script = tmp_path / "print.test"
    script.write_text(PRINT_JOB)
    subprocess.run(["ipptool", "-tv", "-f", sample.file, instance.printer, script], check=True, capture_output=True)
    arrived(instance, last_job(instance), sample.expected[0].invoice.number, "Zoé", "Facture à deux pages")


PRINT_JOB = """{
    OPERATION Print-Job
    GROUP operation-attributes-tag
    ATTR charset attributes-charset utf-8
    ATTR language attributes-natural-language fr
    ATTR uri printer-uri $uri
    ATTR name requesting-user-name "Zoé"
    ATTR name job-name "Facture à deux pages"
    FILE $filename
    STATUS successful-ok
    EXPECT job-id OF-TYPE integer
    EXPECT job-uuid OF-TYPE uri
}
"""


def test_lp_prints_through_a_real_queue(instance: Instance, files: dict[str, Any], cupsd: Cups) -> None:
    """A job sent by lp through a CUPS queue made with -m everywhere ends archived, with user, title and text intact."""
    sample = files["facture-cid-fr"]
    cupsd.add_queue("main", instance.printer)
    cupsd.send("main", sample.file, "Facture pour l’épicerie")
    cupsd.finish("main")
    arrived(instance, last_job(instance), sample.expected[0].invoice.number, "root", "Facture pour l’épicerie")


def test_postscript_and_text_become_sealed_pdfs(instance: Instance, files: dict[str, Any]) -> None:
    """PostScript and plain text with form feeds are read like PDF, each page an invoice where it is one."""
    for name in ("facture-postscript-fr", "factures-texte-fr"):
        sample = files[name]
        job = instance.settled(instance.print(sample.file).number)
        assert [one["number"] for one in job["invoices"]] == [true.invoice.number for true in sample.expected]
        for line, true in zip(job["invoices"], sample.expected, strict=True):
            assert line["state"] == "archived"
            assert line["total"] == str(true.invoice.total.amount)


# What is archived


def test_pdfsig_and_pyhanko_accept_every_archived_pdf(
    instance: Instance, files: dict[str, Any], tmp_path: Path
) -> None:
    """Each archived PDF is signed as a whole, by the word of pdfsig and of our verifier, which needs no database."""
    archived = instance.json("invoices", "--only", "archived")
    assert archived
    for line in archived:
        pdf = tmp_path / f"{line['id']}.pdf"
        pdf.write_bytes(sealed_bytes(instance, line["id"]))
        said = subprocess.run(["pdfsig", pdf], capture_output=True, text=True, check=False).stdout
        assert "Signature is Valid" in said, said
        assert "Total document signed" in said, said
        trusted = instance.here("verify", str(pdf), "--trust", str(instance.state / "keys" / "seal.crt"))
        assert trusted.startswith("INTACT"), trusted


# Held and released


def test_an_unknown_customer_holds_the_invoice_until_he_is_known(instance: Instance, files: dict[str, Any]) -> None:
    """Customer unknown: held; imported and released: mailed and receipted."""
    sample = files["facture-client-inconnu-fr"]
    number = sample.expected[0].invoice.number
    job = instance.settled(instance.print(sample.file).number)
    assert job["invoices"][0]["state"] == "waiting"
    assert "C0099" in job["job"]["message"]
    assert instance.mailbox.messages(about=number) == []
    buyers(instance, instance.state / "late.csv", (trade.LATECOMER,))
    instance.run("invoices", "release", number, "--reason", "customer imported")
    instance.delivered(job["job"]["number"], "accepted")
    (message,) = instance.mailbox.messages(about=number)
    assert press(link_of(message)).status == 200
    instance.delivered(job["job"]["number"], "acknowledged")
    until(lambda: any(one["kind"] == "receipt" for one in instance.json("invoices", "show", number)["time_line"]))
    told = instance.json("invoices", "show", number)["time_line"]
    assert any(
        entry["kind"] == "ledger.act.release" and entry["facts"]["reason"] == "customer imported" for entry in told
    )


def test_a_reprinted_batch_is_not_mailed_again(instance: Instance, files: dict[str, Any]) -> None:
    """A reprint of a batch: nothing is mailed again, and the queue says so."""
    sample = files["lot-40-fr"]
    first = instance.delivered(instance.print(sample.file).number, "accepted", "paper")
    assert len(first["invoices"]) == 40
    mails = len(instance.mailbox.envelopes)
    again = instance.settled(instance.print(sample.file, title="reprint").number)
    assert {one["state"] for one in again["invoices"]} == {"reprint"}
    assert "not sent again" in again["job"]["message"]
    assert len(instance.mailbox.envelopes) == mails


def test_a_foreign_iban_waits(instance: Instance, paper: dict[str, documents.Document]) -> None:
    """An invoice with somebody else's account waits, unsealed, and says which account."""
    job = instance.settled(instance.print(paper["foreign-iban.pdf"].file).number)
    (line,) = job["invoices"]
    detail = instance.json("invoices", "show", line["id"])["invoice"]
    assert line["state"] == "waiting"
    assert detail["sealed"] is None
    assert [reason["code"] for reason in line["reasons"]] == ["foreign-iban"]
    assert line["reasons"][0]["box"]["page"] == 1


def test_a_wrong_total_is_corrected_but_the_page_stays(instance: Instance, tmp_path: Path) -> None:
    """A correction changes the reading, never the page; who and why are in the ledger."""
    sale = documents.with_wrong_total(documents.another_sale(901, today=TODAY))
    file = tmp_path / "wrong.pdf"
    file.write_bytes(documents.printed(sale))
    job = instance.settled(instance.print(file).number)
    (line,) = job["invoices"]
    assert [reason["code"] for reason in line["reasons"]] == ["amounts-differ"]
    net, vat = sale.invoice.net.amount, sale.invoice.vat.amount
    instance.run("invoices", "correct", line["id"], "--set", f"total={net + vat}", "--reason", "typing mistake")
    corrected = until(lambda: instance.job(job["job"]["number"])["invoices"][0]["state"] == "archived")
    assert corrected
    detail = instance.json("invoices", "show", line["id"])["invoice"]
    assert detail["pdf"] == job["job"]["original"]
    assert detail["corrections"] == {"total": str(net + vat)}


def test_a_number_with_another_content_waits(instance: Instance, tmp_path: Path) -> None:
    """The same number on another invoice is nobody's guess: it waits and names the first."""
    sale = documents.another_sale(902, today=TODAY)
    other = documents.with_number(documents.another_sale(903, customer="C0007", today=TODAY), sale.invoice.number)
    for turn, one in enumerate((sale, other)):
        file = tmp_path / f"{turn}.pdf"
        file.write_bytes(documents.printed(one))
        job = instance.settled(instance.print(file).number)
    assert [reason["code"] for reason in job["invoices"][0]["reasons"]] == ["number-used"]


def test_a_rejected_number_can_be_printed_again(instance: Instance, tmp_path: Path) -> None:
    """Rejecting ends an invoice unsealed; its number is free for the right one."""
    wrong = documents.with_wrong_total(documents.another_sale(904, today=TODAY))
    (tmp_path / "wrong.pdf").write_bytes(documents.printed(wrong))
    (tmp_path / "right.pdf").write_bytes(documents.printed(documents.another_sale(904, today=TODAY)))
    (held,) = instance.settled(instance.print(tmp_path / "wrong.pdf").number)["invoices"]
    instance.run("invoices", "reject", held["id"], "--reason", "wrong total")
    (right,) = instance.settled(instance.print(tmp_path / "right.pdf").number)["invoices"]
    assert right["state"] == "archived"


def test_a_new_template_reads_what_waited(instance: Instance, tmp_path: Path) -> None:
    """An unknown layout waits; after a template was added, jobs retry reads it."""
    sale = documents.another_sale(905, today=TODAY)
    file = tmp_path / "letter.txt"
    invoice = sale.invoice
    file.write_text(
        f"MOULIN EXPRESS\nPIECE {invoice.number}\nJOUR {invoice.issued_on:%d/%m/%Y}\nTIERS {invoice.customer_code}\n"
        f"HORS TAXE {invoice.net.amount}\nTAXE {invoice.vat.amount}\nA PAYER {invoice.total.amount}\n"
        f"SIREN {trade.ISSUER.siren}\n"
    )
    job = instance.settled(instance.print(file).number)
    assert [reason["code"] for reason in job["invoices"][0]["reasons"]] == ["unknown-layout"]
    (instance.state / "templates" / "express.toml").write_text(EXPRESS)
    instance.run("jobs", "retry", str(job["job"]["number"]), "--reason", "template added")
    read = until(
        lambda: [one for one in instance.job(job["job"]["number"])["invoices"] if one["state"] == "archived"], 30
    )
    assert read[0]["number"] == invoice.number


EXPRESS = r"""
locale = "en_GB"
page = 'FEUILLE (?P<number>\d+)/(?P<count>\d+)'

[fingerprint]
all = ['^MOULIN EXPRESS', '^PIECE ']

[fields]
number = { label = '^PIECE' }
issued_on = { label = '^JOUR' }
customer_code = { label = '^TIERS' }
net = { label = '^HORS TAXE' }
vat = { label = '^TAXE' }
total = { label = '^A PAYER' }
seller_siren = { label = '^SIREN' }

[constants]
kind = "invoice"
currency = "EUR"
"""


# Hostile


def test_hostile_documents_are_told_and_others_go_on(
    instance: Instance, paper: dict[str, documents.Document], tmp_path: Path
) -> None:
    """Truncated, encrypted, empty and non-PDF documents: a clear error to the sender, and the next job is archived."""
    for name in ("empty.pdf", "not-a-pdf.pdf"):
        with pytest.raises(RequestError, match="document-format-error"):
            instance.print(paper[name].file)
    for name in ("truncated.pdf", "encrypted.pdf"):
        job = instance.settled(instance.print(paper[name].file).number)
        assert job["job"]["state"] == "aborted"
        assert job["job"]["message"]
        assert Blobs(instance.state).read(job["job"]["original"]) == paper[name].file.read_bytes()
    file = tmp_path / "next.pdf"
    file.write_bytes(documents.printed(documents.another_sale(906, today=TODAY)))
    assert instance.settled(instance.print(file).number)["invoices"][0]["state"] == "archived"


def test_a_document_over_the_limit_is_refused_as_soon_as_it_is_known(instance: Instance, files: dict[str, Any]) -> None:
    """300 MB: refused at once when the length is told, at 256 MiB when it is not; nothing of it stays on the disk."""
    for chunked in (False, True):
        status = ipp_status(post(instance, print_job(instance.printer), 300_000_000, chunked))
        assert status == Status.CLIENT_ERROR_REQUEST_ENTITY_TOO_LARGE
    assert list((instance.state / "spool").iterdir()) == []
    assert instance.json("jobs")[0]["state"] == "aborted"
    assert instance.settled(instance.print(files["avoir-fr"].file).number)["job"]["state"] == "done"


def test_ipp_garbage_is_answered_and_harms_nobody(instance: Instance, files: dict[str, Any]) -> None:
    """Whatever bytes come, the answer is an error of IPP (of HTTP without an IPP header); the next job is taken."""
    random = Random(2026)  # noqa: S311 - a seed makes it repeatable
    whole = print_job(instance.printer)
    before = len(instance.json("jobs", "--limit", "1000"))
    for turn in range(60):
        cut = whole[: random.randrange(len(whole))]
        garbage = random.randbytes(random.randrange(1, 4000))
        broken = bytearray(whole)
        broken[random.randrange(8, len(whole))] ^= 1 << random.randrange(8)
        body = (cut, garbage, whole[:8] + garbage, bytes(broken))[turn % 4]
        answer = request("POST", f"http://{instance.address('ipp')}/ipp/print", body=body, headers=IPP)
        assert answer.status == (200 if len(body) >= 8 else 400), answer.body
        assert answer.status == 400 or ipp_status(answer.body) >= 0x0400
    assert instance.settled(instance.print(files["avoir-fr"].file).number)["job"]["state"] == "done"
    assert len(instance.json("jobs", "--limit", "1000")) <= before + 60 + 1


IPP = {"Content-Type": "application/ipp"}


def post(instance: Instance, head: bytes, size: int, chunked: bool) -> bytes:
    """Send a document of ``size`` bytes made on the way, and read the answer whenever it comes."""

    def body() -> Iterator[bytes]:
        yield head + b"%PDF-1.7\n"
        for _ in range(size // 1_000_000):
            yield bytes(1_000_000)

    connection = http.client.HTTPConnection(instance.address("ipp"), timeout=60)
    length = {} if chunked else {"Content-Length": str(len(head) + 9 + size // 1_000_000 * 1_000_000)}
    try:
        connection.request("POST", "/ipp/print", body(), IPP | length, encode_chunked=chunked)
        return connection.getresponse().read()
    finally:
        connection.close()


def ipp_status(answer: bytes) -> int:
    return int.from_bytes(answer[2:4])


# Verified


def test_the_archive_verifies_and_every_changed_byte_is_named(instance: Instance) -> None:
    """verify --all is clean; a byte changed in a blob, a ledger row or a receipt is named, and the exit status is 1."""
    number = next(
        one["id"] for one in instance.json("invoices", "--only", "archived") if one["delivery"] == "acknowledged"
    )
    clean = instance.run("verify", "--all")
    detail = instance.json("invoices", "show", number)["invoice"]
    receipt = next(c["receipt"] for d in detail["deliveries"] for c in d["contacts"] if c["receipt"])
    blobs = Blobs(instance.state)
    for digest in (detail["sealed"], detail["job"]["original"], receipt["pdf"]):
        path = blobs.path(digest)
        data = path.read_bytes()
        path.write_bytes(bytes([*data[:500], data[500] ^ 1, *data[501:]]))
        told = instance.run("verify", "--all", check=False)
        path.write_bytes(data)
        assert told.returncode == 1
        assert digest in told.stdout
    database = Database(f"sqlite:///{instance.state / 'printerd.db'}")
    with database.write() as connection:
        connection.exec_driver_sql("UPDATE ledger SET kind = 'Invoice' WHERE \"index\" = 1")
    told = instance.run("verify", "--all", check=False)
    with database.write() as connection:
        kind = "act.go-live" if detail["ledger_index"] != 1 else "invoice"
        connection.exec_driver_sql('UPDATE ledger SET kind = ? WHERE "index" = 1', (kind,))
    database.close()
    assert told.returncode == 1
    assert "ledger" in told.stdout
    assert clean.returncode == 0
