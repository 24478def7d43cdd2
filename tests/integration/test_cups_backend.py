"""A real CUPS queue with our backend and PPD: every document arrives once, and as it was printed."""

from __future__ import annotations

import gzip
import hashlib
import http.client
import os
import struct
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path

import psutil
import pytest
from PIL import Image
from reportlab.pdfgen.canvas import Canvas  # type: ignore[import-untyped]

from printerd.choices import COPY_TO, ROUTE, TEMPLATE, Policy
from printerd.ipp.attributes import attribute
from printerd.ipp.codec import decode, encode
from printerd.ipp.message import Group, GroupTag, Message
from printerd.ipp.registry import Operation
from printerd.model import JobState
from printerd.storage.jobs import Job

from ..cups import PPD, Cups
from ..instance import served, until
from ..listener.printing import RunningPrinter

REST = {TEMPLATE: "automatic", COPY_TO: "none"}
names = count(1)
POSTSCRIPT = b"%!PS-Adobe-3.0\n/Helvetica findfont 12 scalefont setfont 72 720 moveto (FA-1) show showpage\n%%EOF\n"
TEXT = "Facture FA-1\nà payer : 12 €\n\f".encode()
POLICY = Policy(("mail", "both"), ("firm.example",), lambda: ("Modèle 1",))
HUGE = 160 << 20
"""Bytes: a document that is under way long enough to be met in the middle."""


class Queue:
    """A queue and the printer behind it, which comes and goes."""

    def __init__(self, cups: Cups, folder: Path) -> None:
        self.cups = cups
        self.name = f"backend{next(names)}"
        self._folder = folder / self.name
        self._socket = cups.root / f"{self.name}.sock"
        cups.add_queue(self.name, f"invoice-printer:{self._socket}?queue=invoices", "-P", str(PPD))
        self.printer: RunningPrinter | None = None

    def start(self) -> RunningPrinter:
        settings = {"document_limit": 2 * HUGE, "policy": POLICY}
        self.printer = RunningPrinter(self._folder, settings, socket_path=self._socket)
        return self.printer

    def stop(self) -> None:
        if self.printer is not None:
            self.printer.stop()
            self.printer = None

    def send(self, *files: Path, options: tuple[str, ...] = (), language: str = "C") -> str:
        """``lp FILE…``; the id of the job."""
        words = ["lp", "-d", self.name, "-t", "../..;rm é", *options, *map(str, files)]
        said = self.cups.run("env", f"LC_ALL={language}", f"LANG={language}", *words)
        return said.split()[3]

    def job(self, key: str) -> dict[str, str]:
        """What cupsd tells of a job: its state, and what its people see."""
        told = {"attributes-charset": "utf-8", "attributes-natural-language": "en"}
        told["job-uri"] = f"ipp://localhost/jobs/{key.rpartition('-')[2]}"
        request = [attribute(name, value) for name, value in told.items()]
        answer = ask(self.cups, Operation.GET_JOB_ATTRIBUTES, *request)
        group = answer.first(GroupTag.JOB)
        return {one.name: str(one.value) for one in group}

    def ended(self, key: str, seconds: float = 30) -> dict[str, str]:
        """The same, once the job is canceled (7), aborted (8) or completed (9)."""
        until(lambda: int(self.job(key)["job-state"]) >= 7, seconds)
        return self.job(key)

    def rows(self, state: JobState = JobState.RECEIVED) -> list[Job]:
        assert self.printer is not None
        return [row for row in self.printer.rows() if row.state is state]

    def originals(self) -> list[str]:
        return sorted(row.original or "" for row in self.rows())


def ask(
    cups: Cups, operation: Operation, *given: object, document: bytes = b"", job: tuple[object, ...] = ()
) -> Message:
    """A request to cupsd itself."""
    groups = [Group(GroupTag.OPERATION, given)]  # type: ignore[arg-type]
    groups += [Group(GroupTag.JOB, job)] if job else []  # type: ignore[arg-type]
    connection = http.client.HTTPConnection("127.0.0.1", cups.port, timeout=20)
    try:
        octets = encode(Message((2, 0), operation, 1, tuple(groups))) + document
        connection.request("POST", "/", octets, {"Content-Type": "application/ipp"})
        return decode(connection.getresponse().read())
    finally:
        connection.close()


@pytest.fixture
def queue(cupsd: Cups, tmp_path: Path) -> Iterator[Queue]:
    with ExitStack() as stack:
        made = Queue(cupsd, tmp_path)
        stack.callback(made.stop)
        made.start()
        yield made
        cupsd.run("cancel", "-a", made.name)
        until(lambda: not cupsd.backends(), 20)


@pytest.fixture
def invoices(tmp_path: Path) -> list[Path]:
    """Two documents that differ."""
    paths = [tmp_path / f"FA-{number}.pdf" for number in (1, 2)]
    for path in paths:
        canvas = Canvas(str(path))
        canvas.drawString(100, 700, path.name)
        canvas.save()
    return paths


def sha256(*paths: Path) -> list[str]:
    return sorted(hashlib.sha256(path.read_bytes()).hexdigest() for path in paths)


def png(path: Path) -> Path:
    """A picture of one pixel."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)
    picture = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0\0")) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + picture)
    return path


def huge(path: Path) -> Path:
    """A document that takes a while."""
    with path.open("wb") as file:
        file.write(b"%PDF-1.7\n")
        for number in range(HUGE >> 20):
            file.write(hashlib.sha256(number.to_bytes(4)).digest() * (1 << 15))
        file.write(b"\n%%EOF\n")
    return path


def in_the_middle(queue: Queue) -> bool:
    """Whether a part of a large document has come, and not all of it."""
    assert queue.printer is not None
    sizes = [place.stat().st_size for place in queue.printer.spooled() if place.exists()]
    return any(1 << 20 < size < HUGE // 2 for size in sizes)


def closely(look: Callable[[], object], seconds: float = 30) -> None:
    """Wait for a moment that is soon over."""
    deadline = time.monotonic() + seconds
    while not look():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_cups_discovers_it(cupsd: Cups) -> None:
    """``lpinfo -v`` shows the device, for whoever adds a queue by hand."""
    assert "direct invoice-printer:/run/invoice-printer/backend.sock?queue=invoices\n" in cupsd.run(
        "lpinfo", "--include-schemes", "invoice-printer", "-v"
    )


@pytest.mark.parametrize(
    ("media_type", "document"),
    [("application/pdf", b""), ("application/postscript", POSTSCRIPT), ("text/plain", TEXT)],
)
def test_a_document_arrives_as_it_was_printed(
    queue: Queue, invoices: list[Path], tmp_path: Path, media_type: str, document: bytes
) -> None:
    """PDF, PostScript and text pass CUPS unchanged, with the words of their sender; a title is but a word."""
    path = tmp_path / "document"
    path.write_bytes(document or invoices[0].read_bytes())
    options = ("-n", "3", "-o", "media=A4", "-o", 'invoice-printer-template="Modèle 1"', "-o", "sides=one-sided")
    assert queue.ended(queue.send(path, options=options))["job-state"] == "9"
    (row,) = queue.rows()
    assert row.original == sha256(path)[0]
    ticket = row.ticket
    assert (ticket.printer, ticket.user, ticket.host) == ("inv", psutil.Process().username(), "localhost")
    assert (ticket.title, ticket.media_type, ticket.source) == ("../..;rm é", media_type, "cups")
    assert dict(ticket.options) == {"copies": "3", "media": "A4", TEMPLATE: "Modèle 1"}


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        ((f"{ROUTE}=both", f"{TEMPLATE}=automatic", f"{COPY_TO}=none"), {ROUTE: "both", **REST}),
        ((f'{TEMPLATE}="Custom.Modèle 1"',), {TEMPLATE: "Modèle 1"}),
        ((f"{COPY_TO}=Custom.a@firm.example,b@firm.example",), {COPY_TO: "a@firm.example,b@firm.example"}),
    ],
)
def test_choices_of_the_ppd_travel_with_the_job(
    queue: Queue, invoices: list[Path], options: tuple[str, ...], kept: dict[str, str]
) -> None:
    """As print dialogs and lp write them: words of the list, and what people write themselves."""
    words = tuple(word for option in options for word in ("-o", option))
    assert queue.ended(queue.send(invoices[0], options=words))["job-state"] == "9"
    (row,) = queue.rows()
    assert dict(row.ticket.options) == {"copies": "1", **kept}


@pytest.mark.parametrize(
    ("language", "words"),
    [("C", "cannot be “paper” here"), ("fr_FR.UTF-8", "ne peut pas valoir « paper » ici")],
)
def test_a_choice_that_the_firm_forbids_ends_the_job(
    queue: Queue, invoices: list[Path], language: str, words: str
) -> None:
    """CUPS knows no policy but the printer's: the job is canceled, and its owner reads what may be chosen."""
    ended = queue.ended(queue.send(invoices[0], options=("-o", f"{ROUTE}=paper"), language=language))
    assert ended["job-state"] == "7"
    assert words in ended["job-printer-state-message"]
    assert [row.reason and row.reason["code"] for row in queue.rows(JobState.ABORTED)] == ["choice"]


@pytest.mark.parametrize(("language", "words"), [("C", "is a picture"), ("fr_FR.UTF-8", "est une image")])
def test_what_cannot_be_taken_is_refused_in_words(queue: Queue, tmp_path: Path, language: str, words: str) -> None:
    """A picture ends its own job, in the sender's language; the queue goes on."""
    ended = queue.ended(queue.send(png(tmp_path / "x.png"), language=language))
    assert ended["job-state"] == "7"
    assert words in ended["job-printer-state-message"]
    assert [row.reason and row.reason["code"] for row in queue.rows(JobState.ABORTED)] == ["picture"]
    path = tmp_path / "text"
    path.write_bytes(TEXT)
    assert queue.ended(queue.send(path))["job-state"] == "9"
    assert "is idle" in queue.cups.run("lpstat", "-p", queue.name)


def test_a_jpeg_is_taken_for_a_person_to_see(queue: Queue, tmp_path: Path) -> None:
    """Byte for byte, as by IPP; nothing turns it into a page."""
    file = tmp_path / "x.jpg"
    Image.new("L", (8, 8)).save(file)
    assert queue.ended(queue.send(file))["job-state"] == "9"
    (row,) = queue.rows()
    assert (row.ticket.media_type, row.original) == ("image/jpeg", sha256(file)[0])


def test_a_job_of_two_files_is_two_documents(queue: Queue, invoices: list[Path]) -> None:
    """CUPS would hand over the first alone and call the job completed: the PPD says otherwise."""
    assert queue.ended(queue.send(*invoices))["job-state"] == "9"
    assert queue.originals() == sha256(*invoices)


def test_two_files_alike_are_two_documents(queue: Queue, invoices: list[Path]) -> None:
    """What makes a document one of its job is its place, not its bytes."""
    queue.ended(queue.send(invoices[0], invoices[0]))
    assert queue.originals() == sha256(invoices[0], invoices[0])


def test_a_banner_page_is_no_document(queue: Queue, invoices: list[Path]) -> None:
    """Job sheets before and behind are left out; the documents between them are all there."""
    ended = queue.ended(queue.send(*invoices, options=("-o", "job-sheets=standard,standard")))
    assert ended["job-state"] == "9"
    assert queue.originals() == sha256(*invoices)
    assert len(queue.printer.rows() if queue.printer else []) == 2


def test_what_comes_through_a_filter_arrives_too(queue: Queue, invoices: list[Path]) -> None:
    """A compressed job is inflated by CUPS, which then writes to the backend's standard input."""
    given = [
        attribute("attributes-charset", "utf-8"),
        attribute("attributes-natural-language", "en"),
        attribute("printer-uri", f"ipp://localhost/printers/{queue.name}"),
        attribute("requesting-user-name", "anna"),
        attribute("document-format", "application/pdf"),
        attribute("compression", "gzip"),
    ]
    document = gzip.compress(invoices[0].read_bytes())
    copies = (attribute("copies", 3),)
    answer = ask(queue.cups, Operation.PRINT_JOB, *given, document=document, job=copies)
    ended = queue.ended(f"{queue.name}-{answer.first(GroupTag.JOB).number('job-id')}")
    assert (ended["job-state"], queue.originals()) == ("9", sha256(invoices[0]))
    assert queue.rows()[0].ticket.options == {"copies": "1"}


def test_a_job_uuid_is_the_clients_word(queue: Queue, invoices: list[Path]) -> None:
    """Whoever gives his job the job-uuid of another one suppresses nothing."""
    uuid = ("-o", "job-uuid=urn:uuid:6f1f1a6e-7a51-4b52-9f5e-0c3a5d1c7c11")
    for path in invoices:
        queue.ended(queue.send(path, options=uuid))
    assert queue.originals() == sha256(*invoices)


# The printer is away


def test_a_job_waits_while_the_printer_is_away(queue: Queue, invoices: list[Path]) -> None:
    """The queue says that it waits; once the printer is back, everything comes by itself, in the order of printing."""
    queue.stop()
    keys = [queue.send(path) for path in invoices]
    until(lambda: "connecting-to-device" in queue.cups.run("lpstat", "-l", "-p", queue.name), 20)
    assert "is away" in queue.cups.run("lpstat", "-l", "-p", queue.name)
    queue.start()
    assert [queue.ended(key)["job-state"] for key in keys] == ["9", "9"]
    assert [row.original for row in queue.rows()] == [sha256(path)[0] for path in invoices]
    assert "connecting-to-device" not in queue.cups.run("lpstat", "-l", "-p", queue.name)


def test_a_printer_that_stops_in_the_middle_gets_the_document_again(queue: Queue, tmp_path: Path) -> None:
    """A document that was cut by a restart is sent again from its start."""
    path = huge(tmp_path / "huge.pdf")
    key = queue.send(path)
    closely(lambda: in_the_middle(queue))
    queue.stop()
    printer = queue.start()
    assert queue.ended(key, 60)["job-state"] == "9"
    assert queue.originals() == sha256(path)
    assert printer.spooled() == []


def test_a_canceled_job_never_arrives(queue: Queue, invoices: list[Path]) -> None:
    """Canceled while it waits: its processes end at once, and the printer never hears of it."""
    queue.stop()
    key = queue.send(invoices[0])
    until(lambda: len(queue.cups.backends()) == 2, 20)
    queue.cups.run("cancel", key)
    until(lambda: not queue.cups.backends(), 5)
    assert queue.ended(key)["job-state"] == "7"
    queue.start()
    queue.ended(queue.send(invoices[1]))
    assert queue.originals() == sha256(invoices[1])


def test_a_purged_job_never_arrives(queue: Queue, invoices: list[Path]) -> None:
    """``cancel -x`` kills the backend outright: what is left of it ends as soon as nobody listens."""
    queue.stop()
    key = queue.send(invoices[0])
    until(lambda: len(queue.cups.backends()) == 2, 20)
    queue.cups.run("cancel", "-x", key)
    until(lambda: not queue.cups.backends(), 20)
    printer = queue.start()
    queue.ended(queue.send(invoices[1]))
    assert [row.original for row in printer.rows()] == sha256(invoices[1])


# Killed


@pytest.mark.parametrize("which", [0, 1], ids=["parent", "child"])
def test_a_killed_backend_loses_nothing(queue: Queue, tmp_path: Path, which: int) -> None:
    """kill -9 in the middle of a document: CUPS takes the killed parent for one that has printed, so its child goes
    on; a killed child is started again. The document arrives once.
    """
    path = huge(tmp_path / "huge.pdf")
    key = queue.send(path)
    closely(lambda: in_the_middle(queue))
    queue.cups.backends()[which].kill()
    assert queue.ended(key, 60)["job-state"] == "9"
    assert queue.originals() == sha256(path)


def test_a_backend_that_is_killed_while_it_waits_loses_nothing(queue: Queue, invoices: list[Path]) -> None:
    """The job is not completed before the printer is back and has it."""
    queue.stop()
    key = queue.send(invoices[0])
    until(lambda: len(queue.cups.backends()) == 2, 20)
    queue.cups.backends()[0].kill()
    time.sleep(1)
    assert int(queue.job(key)["job-state"]) == 5
    queue.start()
    assert queue.ended(key)["job-state"] == "9"
    assert queue.originals() == sha256(invoices[0])


def test_a_stopped_backend_is_started_again(queue: Queue, invoices: list[Path]) -> None:
    """SIGTERM that is not of CUPS (a restart of its unit reaches all its processes) ends no job."""
    queue.stop()
    key = queue.send(invoices[0])
    until(lambda: len(queue.cups.backends()) == 2, 20)
    first = queue.cups.backends()[0].pid
    os.kill(first, 15)
    until(lambda: (found := queue.cups.backends()) and found[0].pid != first, 20)
    queue.start()
    assert queue.ended(key)["job-state"] == "9"
    assert queue.originals() == sha256(invoices[0])


def test_the_whole_service_takes_what_a_queue_prints(cupsd: Cups, invoices: list[Path], tmp_path: Path) -> None:
    """With capture killed in between: the supervisor keeps the socket, and 20 jobs of one title are 20 jobs."""
    place = cupsd.root / "service.sock"
    with served(tmp_path / "state", {"listen.backend": f"unix://{place}"}, live=False) as instance:
        assert instance.address("backend") == f"unix://{place}"
        queue = Queue(cupsd, tmp_path)
        cupsd.run("lpadmin", "-p", queue.name, "-v", f"invoice-printer:{place}?queue=invoices")
        for number in range(20):
            path = tmp_path / f"{number}.txt"
            path.write_text(f"Facture {number}\n")
            queue.send(path)
            if number == 10:
                instance.kill("capture")
        cupsd.finish(queue.name, 60)
        found = instance.json("jobs", "--limit", "100")
        digests = sha256(*(tmp_path / f"{number}.txt" for number in range(20)))
        assert sorted(one["original"] for one in found) == digests
