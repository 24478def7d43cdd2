from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from printerd.demo.samples import Sample, generate
from printerd.demo.trade import IBAN, ISSUER
from printerd.errors import ConfigurationError, DocumentError
from printerd.model import Invoice, Issuer
from printerd.pipeline import check, layouts, reading
from printerd.pipeline.pages import read_pages
from printerd.pipeline.pools import Limits, Pool, PoolBroken
from tests.documents import FOREIGN_IBAN, OTHER_SELLER, hostile
from tests.pipeline import forms, paper

TODAY = date(2026, 11, 24)
PDF, POSTSCRIPT, TEXT = "application/pdf", "application/postscript", "text/plain"
REAL = Path(__file__).parents[3] / "shared" / "samples"
LIMITS = Limits(address_space=1 << 30, cpu=10, file_size=64 << 20, open_files=64)

Read = Callable[[str, bytes], dict[str, Any]]


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pool]:
    arguments = {"templates": layouts.shipped(), "program_timeout": 2.0}
    folder = tmp_path_factory.mktemp("readers")
    with Pool("printerd.pipeline.reading:start", arguments, size=2, limits=LIMITS, folder=folder) as made:
        yield made


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Sample]:
    return {sample.name: sample for sample in generate(tmp_path_factory.mktemp("samples"), today=TODAY)}


@pytest.fixture(scope="module")
def strangers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("strangers")
    hostile(folder, today=TODAY)
    return folder


@pytest.fixture
def read(pool: Pool, tmp_path: Path) -> Read:
    def call(media_type: str, data: bytes) -> dict[str, Any]:
        (tmp_path / "document").write_bytes(data)
        with pool.call("read", {"media_type": media_type}, [tmp_path / "document"], timeout=20) as answer:
            return answer.values

    return call


def test_the_pages_that_were_asked_for(pool: Pool, tmp_path: Path) -> None:
    """What is read of a PDF is a new document of these pages, and the invoices count their pages in it."""
    (tmp_path / "document").write_bytes(paper.pdf(*([(72, 700, f"page {number}")] for number in (1, 2, 3, 4))))
    asked = {"media_type": "application/pdf", "pages": "2-3"}
    with pool.call("read", asked, [tmp_path / "document"], timeout=20) as answer:
        assert (answer.values["pages"], answer.values["converted"]) == (2, "converted.pdf")
        (found,) = answer.values["invoices"]
        assert (found["first"], found["last"]) == (1, 2)
        assert found["text"].split() == ["page", "2", "page", "3"]


def truth(sample: Sample) -> list[dict[str, Any]]:
    document: dict[str, Any] = json.loads(sample.file.with_suffix(".json").read_text(encoding="utf-8"))
    return list(document["invoices"])


def as_read(true: dict[str, Any]) -> dict[str, str]:
    """A true invoice in the reader's names; what it does not have is not read."""
    names = ("number", "kind", "issued_on", "due_on", "customer_code", "net", "vat", "total", "currency", "iban")
    fields = {name: true[name] for name in names}
    fields |= {f"seller_{name}": value for name, value in true["seller"].items()}
    fields |= {"buyer_name": true["customer_name"], "buyer_vat_id": true["customer_vat_id"]}
    return {name: value for name, value in fields.items() if value}


SAMPLES = ("facture-simple-fr", "invoice-simple-en", "facture-cid-fr", "facture-deux-pages-fr", "avoir-fr", "lot-40-fr",
           "facture-postscript-fr", "factures-texte-fr", "facture-client-inconnu-fr")  # fmt: skip


@pytest.mark.parametrize("name", SAMPLES)
def test_every_field_of_every_sample_is_read(pool: Pool, samples: dict[str, Sample], name: str) -> None:
    """All layouts, fonts and formats: each field is the true one, each invoice has its own pages and accounts."""
    sample = samples[name]
    with pool.call("read", {"media_type": sample.media_type}, [sample.file]) as answer:
        invoices = answer.values["invoices"]
        assert answer.values["pages"] == sample.expected[-1].pages.last
        assert answer.values["removed"] == []
        assert (answer.values["converted"] is None) == (sample.media_type == PDF)
        for found, true in zip(invoices, truth(sample), strict=True):
            assert {field: value["value"] for field, value in found["fields"].items()} == as_read(true)
            assert [found["first"], found["last"]] == true["pages"]
            assert found["template"] == true["layout"]
            assert [iban["value"] for iban in found["ibans"]] == ([true["iban"]] if true["iban"] else [])
            pages = read_pages(_pdf(answer, sample, found).read_bytes())
            assert len(pages) == found["last"] - found["first"] + 1
            assert all(true["number"] in page.text for page in pages)


def _pdf(answer: Any, sample: Sample, found: dict[str, Any]) -> Path:
    name = found["pdf"] or answer.values["converted"]
    return Path(answer.file(name)) if name else sample.file


def test_samples_are_the_ones_that_are_made(samples: dict[str, Sample]) -> None:
    """A sample that is added to the demo is read here too."""
    assert set(samples) == set(SAMPLES)


def test_what_was_read_passes_the_checks(pool: Pool, samples: dict[str, Sample]) -> None:
    """From the print to the noun: the reading of a sample is an invoice of the issuer."""
    issuer = Issuer("mill", ISSUER, frozenset({IBAN}))
    for sample in samples.values():
        with pool.call("read", {"media_type": sample.media_type}, [sample.file]) as answer:
            for found, true in zip(answer.values["invoices"], sample.expected, strict=True):
                fields = {name: check.found(field) for name, field in found["fields"].items()}
                ibans = [check.found(field) for field in found["ibans"]]
                invoice = check.check(fields, ibans, [issuer], TODAY, found_by=found["template"])
                assert isinstance(invoice, Invoice)
                assert (invoice.number, invoice.total) == (true.invoice.number, true.invoice.total)


@pytest.mark.parametrize(
    ("name", "reasons"),
    [
        ("foreign-iban.pdf", [("foreign-iban", {"iban": FOREIGN_IBAN})]),
        ("foreign-seller.pdf", [("foreign-seller", {"seller": OTHER_SELLER.siren})]),
        ("wrong-total.pdf", ["amounts-differ"]),
    ],
)
def test_a_doubtful_page_is_held(read: Read, strangers: Path, name: str, reasons: list[Any]) -> None:
    """Another account, another seller or a wrong sum on the firm's own form is seen, and shown on the page."""
    (invoice,) = read(PDF, (strangers / name).read_bytes())["invoices"]
    fields = {field: check.found(value) for field, value in invoice["fields"].items()}
    ibans = [check.found(value) for value in invoice["ibans"]]
    told = check.check(fields, ibans, [Issuer("mill", ISSUER, frozenset({IBAN}))], TODAY)
    assert not isinstance(told, Invoice)
    codes = [(reason.code, dict(reason.facts)) for reason in told]
    assert [code if isinstance(want, tuple) else code[0] for code, want in zip(codes, reasons, strict=True)] == reasons
    assert all(reason.box is not None and reason.box.page == 1 for reason in told)


def test_a_reprint_says_the_same_words(read: Read, samples: dict[str, Sample], strangers: Path) -> None:
    """Other bytes of the same page have the same digest of words; another content has another."""
    files = (samples["facture-simple-fr"].file, strangers / "reprint.pdf", strangers / "same-number-other-content.pdf")
    first, again, other = (read(PDF, file.read_bytes())["invoices"][0]["words"] for file in files)
    assert first == again != other


def as_real_firms_write() -> list[Any]:
    """Forms drawn after those of four firms, and the firms' own invoices where they lie beside the repository: they are
    not ours to give away."""
    drawn = [pytest.param(form.template, form.pdf(), form.true, id=f"{form.template}, drawn") for form in forms.FORMS]
    real = [
        pytest.param(file.stem, (REAL / f"{file.stem}.pdf").read_bytes(), json.loads(file.read_text())[0], id=file.stem)
        for file in sorted(REAL.glob("*.json"))
    ]
    return drawn + real


@pytest.mark.parametrize(("name", "document", "true"), as_real_firms_write())
def test_real_invoices_are_read(tmp_path: Path, name: str, document: bytes, true: dict[str, Any]) -> None:
    """Invoices of four real firms by a template each: number, date and amounts are those of the record beside them."""
    handlers = reading.start(layouts.in_folder(Path(__file__).parent / "templates"))
    answer = handlers["read"]({"media_type": PDF}, [BytesIO(document)], tmp_path)
    (invoice,) = answer["invoices"]
    fields = {field: value["value"] for field, value in invoice["fields"].items()}
    assert invoice["template"] == name
    assert (fields["number"], fields["issued_on"]) == (true["invoice_number"], true["date"])
    assert (float(fields["total"]), float(fields["net"])) == (true["amount"], true["amount_untaxed"])
    assert float(fields["net"]) + float(fields["vat"]) == pytest.approx(float(fields["total"]))
    assert fields["currency"] == true["currency"]


@pytest.mark.parametrize(
    ("media_type", "data", "code"),
    [
        (PDF, b"", "empty"),
        (PDF, b"\0\n\n", "empty"),
        (PDF, b"<!doctype html>", "not-pdf"),
        (PDF, b"%PDF-1.7\nnothing\n%%EOF", "unreadable"),
        (PDF, paper.pdf([(72, 700, "x")])[:400], "truncated"),
        (PDF, paper.many_pages(10_001), "too-many-pages"),
        (
            PDF,
            paper.raw_pdf(b"<< /Type /Catalog /Pages 2 0 R >>", b"<< /Type /Pages /Count 0 /Kids [] >>"),
            "unreadable",
        ),
        (
            PDF,
            paper.raw_pdf(b"<< /Type /Catalog /Pages 2 0 R >>", b"<< /Type /Pages /Count 1 /Kids [] >>"),
            "unreadable",
        ),
        (TEXT, b"", "empty"),
        (TEXT, b"\0\1", "not-text"),
        (POSTSCRIPT, b"", "empty"),
        (POSTSCRIPT, b"%!PS\n{ } loop\n", "unreadable"),
        (POSTSCRIPT, paper.postscript("(/etc/passwd) (r) file"), "unreadable"),
        (POSTSCRIPT, paper.postscript("(/tmp/x) (w) file"), "unreadable"),
        (POSTSCRIPT, paper.postscript("(x) show", pages=3), "truncated"),
        ("image/jpeg", b"\xff\xd8\xff", "raster"),
        ("image/png", b"\x89PNG", "unknown-format"),
    ],
)
def test_a_document_that_cannot_be_used_says_why(read: Read, media_type: str, data: bytes, code: str) -> None:
    """Each kind of defect has its code, and the next document is read."""
    with pytest.raises(DocumentError) as caught:
        read(media_type, data)
    assert caught.value.code == code
    assert read(TEXT, b"next")["pages"] == 1


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("truncated.pdf", "truncated"),
        ("encrypted.pdf", "encrypted"),
        ("empty.pdf", "empty"),
        ("not-a-pdf.pdf", "not-pdf"),
    ],
)
def test_spoilt_prints_of_the_firm_are_refused(read: Read, strangers: Path, name: str, code: str) -> None:
    """A form of the firm that arrives broken is never shown as half an invoice."""
    with pytest.raises(DocumentError) as caught:
        read(PDF, (strangers / name).read_bytes())
    assert caught.value.code == code


def test_a_decompression_bomb_breaks_one_reader(read: Read) -> None:
    """Four gigabytes in four megabytes hit the limit of memory; the next document finds a reader."""
    with pytest.raises((PoolBroken, DocumentError)):
        read(PDF, paper.bomb())
    assert read(TEXT, b"next")["pages"] == 1


def test_what_acts_is_taken_out_and_noted(read: Read) -> None:
    """A script in a one-page document makes it be rewritten, and the answer says what is gone."""
    answer = read(PDF, paper.acting())
    assert answer["invoices"][0]["pdf"] == "0.pdf"
    assert {"/OpenAction", "/JavaScript", "/EF"} <= set(answer["removed"])
    assert "Visible words" in answer["invoices"][0]["text"]


def test_a_page_without_text_or_layout_is_an_invoice_without_fields(read: Read) -> None:
    """What nobody can read is not refused: it comes without fields and waits for a person."""
    (picture,) = read(PDF, paper.many_pages(1))["invoices"]
    assert (picture["template"], picture["fields"], picture["words"], picture["pdf"]) == ("", {}, "", None)
    (letter,) = read(TEXT, "Chère cliente".encode())["invoices"]
    assert (letter["fields"], "Chère cliente" in letter["text"]) == ({}, True)


def test_the_text_for_the_search_is_limited(read: Read) -> None:
    """An invoice's text ends at 200,000 characters, but its digest covers all of it."""
    page = "\n".join("word " * 15 for _ in range(60))
    long = [read(TEXT, (page + "\f").encode() * 50 + end)["invoices"][0] for end in (b"one", b"two")]
    assert [len(invoice["text"]) for invoice in long] == [reading.TEXT_LIMIT] * 2
    assert long[0]["text"] == long[1]["text"]
    assert long[0]["words"] != long[1]["words"]


def test_a_reader_at_work_holds_one_socket_and_no_file_of_ours(pool: Pool, tmp_path: Path) -> None:
    """Seen from outside in /proc while it reads: its channel, the document, its own folder, and nothing else."""
    loop = tmp_path / "loop.ps"
    loop.write_bytes(b"%!PS\n{ } loop\n")
    seen: list[str] = []

    def watch() -> None:
        while not seen:
            at_work = (one for one in Path("/proc").iterdir() if one.name.isdigit() and _works_on(one, loop))
            for reader in islice(at_work, 1):  # before it is Ghostscript, its child looks like it
                seen.extend(_open_files(reader))

    with (tmp_path / "printerd.db").open("w"), (tmp_path / "seal.key").open("w"):
        watcher = threading.Thread(target=watch)
        watcher.start()
        with pytest.raises(DocumentError):
            pool.call("read", {"media_type": POSTSCRIPT}, [loop])
        watcher.join(10)
    assert sum(target.startswith("socket:") for target in seen) == 1
    ours = [t for t in seen if t.startswith("/") and t not in {"/dev/null", str(loop)}]
    assert all("/printerd.pipeline.reading.start/calls/" in target for target in ours)


def _works_on(process: Path, file: Path) -> bool:
    """Whether it is a reader (a child of a fork server) with the file open."""
    try:
        return b"forkserver" in (process / "cmdline").read_bytes() and str(file) in _open_files(process)
    except OSError:
        return False


def _open_files(process: Path) -> list[str]:
    targets = []
    for link in (process / "fd").iterdir():
        try:
            targets.append(os.readlink(link))  # noqa: PTH115 - "socket:[1]" is no path
        except FileNotFoundError:
            continue
    return targets


def test_eight_threads_read_at_once(pool: Pool, samples: dict[str, Sample]) -> None:
    """Documents of all formats, good and bad, read from many threads: each gets its own answer."""
    chosen = [samples[name] for name in ("facture-simple-fr", "factures-texte-fr", "avoir-fr")]

    def one(n: int) -> bool:
        sample = chosen[n % len(chosen)]
        with pool.call("read", {"media_type": sample.media_type}, [sample.file]) as answer:
            numbers = [invoice["fields"]["number"]["value"] for invoice in answer.values["invoices"]]
            return numbers == [true.invoice.number for true in sample.expected]

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(one, range(48)))


def test_a_wrong_template_stops_the_reader_with_its_name(tmp_path: Path) -> None:
    """IT reads which template is wrong at the first call."""
    arguments = {"templates": [{"name": "own", "toml": "locale = 'fr_FR'"}]}
    own = Pool(reading.start, arguments, size=1, limits=LIMITS, folder=tmp_path)
    with own, pytest.raises(ConfigurationError, match="own"):
        own.call("read", {"media_type": TEXT}, [Path(__file__)])


def test_a_pattern_that_never_comes_to_an_end_costs_one_document(tmp_path: Path) -> None:
    """A firm's own template may backtrack for ever: its reader is killed in time, and the next document is read."""
    toml = "locale = 'fr_FR'\nfingerprint.all = ['Moulin']\nfields.number = { pattern = '(a+)+$' }"
    arguments = {"templates": [{"name": "own", "toml": toml}]}
    slow, quick = tmp_path / "slow", tmp_path / "quick"
    slow.write_bytes(b"Moulin " + b"a" * 60 + b"!")
    quick.write_bytes(b"Moulin aaa")
    with Pool("printerd.pipeline.reading:start", arguments, size=1, limits=LIMITS, folder=tmp_path / "pool") as own:
        for _ in range(2):
            began = time.monotonic()
            with pytest.raises(PoolBroken):
                own.call("read", {"media_type": TEXT}, [slow], timeout=1)
            assert time.monotonic() - began < 10
            with own.call("read", {"media_type": TEXT}, [quick], timeout=20) as answer:
                assert answer.values["invoices"][0]["fields"]["number"]["value"] == "aaa"
