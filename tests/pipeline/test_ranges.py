"""A large document is read by several readers, and what they find is what one finds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import pikepdf
import pytest

from printerd.demo.samples import generate
from printerd.errors import DocumentError
from printerd.pipeline import layouts, ranges, reading
from printerd.pipeline import split as splitting
from printerd.pipeline.pools import Answer, Limits, Pool, PoolBroken
from tests.documents import hostile
from tests.pipeline import paper

TODAY = date(2026, 11, 24)
PDF = "application/pdf"
REAL = Path(__file__).parents[3] / "shared" / "samples"
FIRM = r"""
    locale = "fr_FR"
    page = 'Page (?P<number>\d+)/(?P<count>\d+)'
    fingerprint.all = ['^Firm']
    [fields]
    number = { label = '^Facture N°', pattern = '\S+' }
    customer_code = { label = '^Client' }
    total = { label = '^Total', pages = "last" }
    buyer_name = [{ pattern = '^Frozen (a+)+$' }]
    """
TEMPLATES = [*layouts.shipped(), {"name": "firm", "toml": FIRM}]


class Watched(Pool):
    """A pool that keeps which tasks were asked for."""

    tasks: list[str]

    def call(
        self, task: str, values: Mapping[str, Any], files: Sequence[Path | BinaryIO] = (), timeout: float = 60.0
    ) -> Answer:
        self.tasks.append(task)
        return super().call(task, values, files, timeout)


def made(folder: Path, size: int, cpu: int = 10) -> Watched:
    limits = Limits(address_space=1 << 30, cpu=cpu, file_size=64 << 20, open_files=64)
    arguments = {"templates": TEMPLATES, "program_timeout": 5.0}
    pool = Watched("printerd.pipeline.reading:start", arguments, size=size, limits=limits, folder=folder)
    pool.tasks = []
    return pool


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    with made(tmp_path_factory.mktemp("alone"), 1) as pool:
        yield pool


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    with made(tmp_path_factory.mktemp("several"), 2) as pool:
        yield pool


def found(pool: Watched, file: Path, media_type: str = PDF) -> Any:
    """All that is found in a document, with the bytes of each invoice; or why nothing is."""
    pool.tasks.clear()
    try:
        with ranges.read(pool, {"media_type": media_type}, [file], 20) as whole:
            invoices = [(dict(one.reading) | {"pdf": None}, one.pdf and one.pdf.read_bytes()) for one in whole.invoices]
            return invoices, whole.converted and whole.converted.read_bytes()
    except DocumentError as error:
        return error.code, error.what


def drawn(marks: str) -> bytes:
    """A page for each mark: ``A1x`` is page 1 of invoice A for customer x, ``~A`` has its number and no layout.

    ``-2`` has no number, ``?`` is the head of an unknown layout, ``.`` says nothing.
    """
    return paper.pdf(*[_lines(mark, number) for number, mark in enumerate(marks.split())])


def _lines(mark: str, number: int) -> list[paper.Line]:
    lines: list[paper.Line] = [(72, 60, f"Total {number},00"), (300, 60, f"sheet {number}")]
    if mark == "?":
        lines += [(72, 700, "Facture n° 2026-7")]
    elif mark != ".":
        loose = mark.removeprefix("~")
        lines += [(72, 800, "Firm")] if loose == mark else []
        lines += [(72, 700, f"Facture N° {loose[0]}")] if loose[0] != "-" else []
        lines += [(72, 20, f"Page {loose[1]}/9")] if loose[1:2] not in {"", "0"} else []
        lines += [(72, 680, f"Client {loose[2:]}")] if loose[2:] else []
    return lines


SEAMS = (
    "A B C D E F",
    "A1 A2 A3 B1 C1 C2",
    "A A A A A A",
    "A1 -2 B1 -2 -3 -4",
    "A1 A1 A1 B1 B1 B2",  # copies
    "A1 . . . . .",
    ". . . . . .",
    ". A B . . C",
    "A ~A ~A ~A B ~B",  # pages with less of the form than the first
    "A1 ~A2 ~A3 ~B . ~A",
    "A ? ~A . B ?",
    "A1 ~A1 ~A2 ~A1 ~A1 B",  # copies whose first pages have less of the form
    "? . . A A B",
    "-1 A2 -1 -2 B2 -1",
    "A0x -0y A0x A0y -0y A",
    "A1 B2 B1 A3 A4 -2",
)


@pytest.mark.parametrize("marks", SEAMS)
@pytest.mark.parametrize("pages", [1, 2, 3])
def test_an_invoice_over_a_seam_is_found_as_if_there_were_none(
    alone: Watched, several: Watched, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, marks: str, pages: int
) -> None:
    """Wherever the ranges end, invoices have the pages, fields and bytes that one reader gives them."""
    monkeypatch.setattr(ranges, "AT_ONCE", pages)
    (tmp_path / "document").write_bytes(drawn(marks))
    expected = found(alone, tmp_path / "document")
    assert found(several, tmp_path / "document") == expected
    assert several.tasks == ["read", *["read range"] * (6 // pages), "mend"]
    assert alone.tasks == ["read"]


def test_an_invoice_of_three_pages_lies_on_three_ranges(
    several: Watched, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its total stands on its last page, and its file has all of them."""
    monkeypatch.setattr(ranges, "AT_ONCE", 1)
    (tmp_path / "document").write_bytes(drawn("A1 B1 B2 B3 C1"))
    (_, (middle, file), _), _ = found(several, tmp_path / "document")
    assert (middle["first"], middle["last"], middle["fields"]["total"]["value"]) == (2, 4, "3.00")
    assert middle["fields"]["total"]["box"][0] == 3
    with pikepdf.open(BytesIO(file)) as pdf:
        assert len(pdf.pages) == 3


@pytest.mark.parametrize("count", [1, ranges.AT_ONCE, ranges.AT_ONCE + 1])
def test_a_small_document_is_one_call(alone: Watched, several: Watched, tmp_path: Path, count: int) -> None:
    """As many pages as a range has are read at once; one page more, and the readers share them."""
    (tmp_path / "document").write_bytes(drawn(" ".join(chr(0x100 + number) for number in range(count))))
    assert found(several, tmp_path / "document") == found(alone, tmp_path / "document")
    shared = ["read", "read range", "read range", "mend"]
    assert several.tasks == (["read"] if count <= ranges.AT_ONCE else shared)


@pytest.mark.parametrize(
    ("pages", "lengths"),
    [(51, [25, 26]), (100, [50] * 2), (101, [33, 34, 34]), (800, [50] * 16), (10_000, [625] * 16)],
)
def test_ranges_are_few_and_equal(pages: int, lengths: list[int]) -> None:
    """Every page is in one range, and a huge document has no more of them than a large one."""
    cut = ranges.cut(pages)
    assert [len(one) for one in cut] == lengths
    assert [page for one in cut for page in range(one.first, one.last + 1)] == list(range(1, pages + 1))


def test_all_that_we_know_reads_the_same(
    alone: Watched, several: Watched, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Samples in all formats, invoices of real firms where they lie beside us, and what must not get through."""
    monkeypatch.setattr(ranges, "AT_ONCE", 1)
    samples = generate(tmp_path / "samples", today=TODAY)
    hostile(tmp_path / "strangers", today=TODAY)
    files = [*((tmp_path / "strangers").iterdir()), *REAL.glob("*.pdf")]
    documents = [(sample.file, sample.media_type) for sample in samples] + [(file, PDF) for file in files]
    for file, media_type in documents:
        assert found(several, file, media_type) == found(alone, file, media_type), file.name


def acting(marks: str) -> bytes:
    """A document that acts when it is opened, on each of its pages, and holds a file."""
    out = BytesIO()
    with pikepdf.open(BytesIO(drawn(marks))) as pdf:
        script = pikepdf.Dictionary(S=pikepdf.Name.JavaScript, JS="app.alert(1)")
        pdf.Root.OpenAction = pdf.make_indirect(script)
        pdf.attachments["x.exe"] = b"MZ payload"
        for page in pdf.pages:
            page.obj.AA = pikepdf.Dictionary(O=pdf.Root.OpenAction)
        pdf.save(out)
    return out.getvalue()


@pytest.mark.parametrize("marks", ["A B B C D D", "A A A A A A"])
def test_what_acts_is_taken_out_of_every_range(
    alone: Watched, several: Watched, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, marks: str
) -> None:
    """The same bytes leave, whoever wrote them; and all that was taken out is told."""
    monkeypatch.setattr(ranges, "AT_ONCE", 3)
    (tmp_path / "document").write_bytes(acting(marks))
    expected, _ = found(alone, tmp_path / "document")
    assert found(several, tmp_path / "document")[0] == expected
    assert not [trace for _, file in expected for trace in (b"app.alert", b"MZ payload") if trace in file]
    handlers, told = reading.start(TEMPLATES), []
    for task, values in (
        ("read", {"media_type": PDF}),
        ("read range", {"first": 1, "last": 3, "written": 0}),
        ("read range", {"first": 4, "last": 6, "written": 0}),
    ):
        told.append(set(handlers[task](values, [BytesIO(acting(marks))], tmp_path)["removed"]))
    assert told[0] == told[1] | told[2]
    assert told[2] == {"/AA", "/JavaScript"}


@pytest.mark.parametrize("killed", [3, 6])
def test_a_reader_that_dies_on_one_range_costs_its_document(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed: int
) -> None:
    """The kernel kills it on the second or third of three ranges; nothing of the others is used, the next is read."""
    monkeypatch.setattr(ranges, "AT_ONCE", 2)
    pages = [[*_lines(mark, n)] for n, mark in enumerate(["A", "B", "C", "D", "E", "F"])]
    pages[killed - 1].append((72, 400, "Frozen " + "a" * 60 + "!"))
    (tmp_path / "deadly").write_bytes(paper.pdf(*pages))
    (tmp_path / "sound").write_bytes(drawn("A B C D E F"))
    with made(tmp_path / "pool", 2, cpu=1) as own:
        with pytest.raises(PoolBroken, match="died"):
            found(own, tmp_path / "deadly")
        assert "mend" not in own.tasks
        assert len(found(own, tmp_path / "sound")[0]) == 6
        left = [path for path in (tmp_path / "pool").rglob("*") if path.is_file()]
        assert left == []


def test_the_limit_of_all_parts_holds_for_all_ranges(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What other ranges have written counts: in a range, over a seam, and when nothing stands over one."""
    monkeypatch.setattr(splitting, "PARTS_LIMIT", 10_000)
    document, handlers = drawn("A B B C"), reading.start(TEMPLATES)
    range_ = {"first": 1, "last": 2, "written": 0}
    first = handlers["read range"](range_, [BytesIO(document)], tmp_path)
    second = handlers["read range"](range_ | {"first": 3, "last": 4}, [BytesIO(document)], tmp_path)
    seen = first["seen"] + second["seen"]
    over = {"seen": seen, "seams": [3], "found": [], "written": 0}
    nothing = over | {"found": [[1, 1, "firm"], [2, 3, "firm"], [4, 4, "firm"]]}
    assert [one["last"] for one in handlers["mend"](over, [BytesIO(document)], tmp_path)["invoices"]] == [1, 3, 4]
    assert handlers["mend"](nothing, [BytesIO(document)], tmp_path)["invoices"] == []
    for task, values in (("read range", range_), ("mend", over), ("mend", nothing)):
        with pytest.raises(DocumentError) as caught:
            handlers[task](values | {"written": 10_001}, [BytesIO(document)], tmp_path)
        assert caught.value.code == "too-many-pages"


def test_a_page_that_is_not_there_is_no_page() -> None:
    """A range beyond the document is a failure of the document, as when one reader counts too many pages."""
    handlers = reading.start(TEMPLATES)
    with pytest.raises(DocumentError):
        handlers["read range"]({"first": 2, "last": 3, "written": 0}, [BytesIO(drawn("A B"))], Path())
