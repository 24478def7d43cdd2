"""A real CUPS queue in front of the printer, made and used as its people do."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path

import pypdfium2  # type: ignore[import-untyped]
import pytest
from reportlab.lib.pagesizes import A4  # type: ignore[import-untyped]
from reportlab.pdfgen.canvas import Canvas  # type: ignore[import-untyped]

from printerd.model import JobState
from printerd.storage.spool import FRESH

from ..cups import Cups
from ..listener.printing import RunningPrinter

Queue = tuple[str, RunningPrinter]
names = count(1)
PLACES = ((100, 700), (2, 833), (550, 4))


@pytest.fixture
def queue(cupsd: Cups, tmp_path: Path) -> Iterator[Callable[..., Queue]]:
    """Printers with settings of their own, each behind a queue: ``lpadmin -p NAME -E -v URI -m everywhere``."""
    with ExitStack() as stack:

        def make(**settings: object) -> Queue:
            name = f"inv{next(names)}"
            printer = RunningPrinter(tmp_path / name, settings)
            stack.callback(printer.stop)
            cupsd.add_queue(name, printer.uri)
            return name, printer

        yield make


@pytest.fixture
def invoice(tmp_path: Path) -> Path:
    """Three pages, the first with words at its edges."""
    path = tmp_path / "invoice.pdf"
    canvas = Canvas(str(path), pagesize=A4)
    for x, y in PLACES:
        canvas.drawString(x, y, f"at {x} {y}")
    for page in ("second", "third"):
        canvas.showPage()
        canvas.drawString(100, 700, page)
    canvas.save()
    return path


def texts(document: bytes) -> list[str]:
    """The text of each page."""
    pdf = pypdfium2.PdfDocument(document)
    found = [page.get_textpage().get_text_range().strip() for page in pdf]
    pdf.close()
    return found


def places(document: bytes) -> list[tuple[int, int]]:
    """Where the lines of the first page begin, in whole points; they must all be there."""
    pdf = pypdfium2.PdfDocument(document)
    text = pdf[0].get_textpage()
    found = []
    for x, y in PLACES:
        index, _ = text.search(f"at {x} {y}").get_next()
        left, bottom, _, _ = text.get_charbox(index, loose=True)
        found.append((round(left), round(bottom)))
    text.close()
    pdf.close()
    return found


def test_cups_sends_pdf_though_it_could_send_pictures(cupsd: Cups, queue: Callable[..., Queue]) -> None:
    """-m everywhere makes PDF of all but photographs: a raster costs more. The page sizes are the plain ones."""
    name, _ = queue()
    ppd = cupsd.ppd(name).read_text()
    filters = [line.split() for line in re.findall(r'^\*cupsFilter2?: "(.*)"', ppd, re.MULTILINE)]
    costs = {(source, target): int(cost) for source, target, cost, _ in filters}
    assert costs.pop(("image/jpeg", "image/jpeg")) == 0
    assert min(costs, key=costs.__getitem__) == ("application/vnd.cups-pdf", "application/pdf")
    sizes = re.findall(r"^\*PageSize (\S+?)[:/]", ppd, re.MULTILINE)
    assert {"A4", "Letter"} <= set(sizes)
    assert re.search(r"^\*DefaultPageSize: A4$", ppd, re.MULTILINE)


@pytest.mark.parametrize("sides", ["one-sided", "two-sided-long-edge"])
def test_lp_prints(cupsd: Cups, queue: Callable[..., Queue], invoice: Path, sides: str) -> None:
    """User and title arrive, the pages come in their order, and the text stands where it stood."""
    name, printer = queue()
    cupsd.send(name, invoice, "FA-2026-0042 é", "-o", f"sides={sides}", "-n", "2")
    cupsd.finish(name)
    (job,) = printer.rows()
    assert job.original is not None
    assert (job.state, job.ticket.title, job.ticket.media_type) == (
        JobState.RECEIVED,
        "FA-2026-0042 é",
        "application/pdf",
    )
    assert (job.ticket.options["sides"], job.ticket.options["copies"]) == (sides, "2")
    printed = printer.blobs.read(job.original)
    assert texts(printed) == texts(invoice.read_bytes())
    assert places(printed) == places(invoice.read_bytes())


def test_lp_chooses_pages_once(cupsd: Cups, queue: Callable[..., Queue], invoice: Path) -> None:
    """CUPS chooses the pages itself: were they asked of us, too, others would be missing."""
    name, printer = queue()
    cupsd.send(name, invoice, "FA-1", "-o", "page-ranges=2-3")
    cupsd.finish(name)
    (job,) = printer.rows()
    assert job.original is not None
    assert texts(printer.blobs.read(job.original)) == ["second", "third"]
    assert "page-ranges" not in job.ticket.options


def test_lp_holds_and_releases(cupsd: Cups, queue: Callable[..., Queue], invoice: Path) -> None:
    """Held in CUPS, a job comes to us when CUPS lets it go, and is not held again."""
    name, printer = queue()
    cupsd.send(name, invoice, "FA-1", "-H", "hold")
    time.sleep(0.5)
    assert printer.rows() == []
    held = cupsd.run("lpstat", "-W", "not-completed", "-o", name).split()[0]
    cupsd.run("lp", "-i", held, "-H", "resume")
    cupsd.finish(name)
    assert [row.state for row in printer.rows()] == [JobState.RECEIVED]


def test_a_burst_of_jobs(cupsd: Cups, queue: Callable[..., Queue], invoice: Path) -> None:
    """Four jobs with one title are four jobs."""
    name, printer = queue()
    for _ in range(4):
        cupsd.send(name, invoice, "invoice")
    cupsd.finish(name)
    assert [job.number for job in printer.rows()] == list(range(1, 5))


def test_a_refused_document_does_not_stop_the_queue(cupsd: Cups, queue: Callable[..., Queue], invoice: Path) -> None:
    """One document beyond the limit is aborted and says why; the queue goes on with the next."""
    name, printer = queue(document_limit=100)
    cupsd.send(name, invoice, "too large")
    cupsd.finish(name)
    (job,) = printer.rows()
    assert (job.state, job.reason and job.reason["code"]) == (JobState.ABORTED, "too-large")
    assert "is idle" in cupsd.run("lpstat", "-p", name)
    printer.intake.document_limit = 1 << 20
    cupsd.send(name, invoice, "as usual")
    cupsd.finish(name)
    assert [job.state for job in printer.rows()] == [JobState.ABORTED, JobState.RECEIVED]


def test_cups_waits_while_the_disk_is_full(
    cupsd: Cups, queue: Callable[..., Queue], invoice: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job that meets a full disk stays in the queue, which prints it by itself once there is room."""
    name, printer = queue()
    with monkeypatch.context() as full:
        full.setattr(printer.blobs, "free_space", lambda: -1)
        time.sleep(FRESH)  # what the file system said before does not hold any more
        cupsd.send(name, invoice, "waits")
        time.sleep(2)
        assert printer.rows() == []
        assert f"{name}-" in cupsd.run("lpstat", "-W", "not-completed", "-o", name)
    cupsd.finish(name)
    assert [job.ticket.title for job in printer.rows()] == ["waits"]
