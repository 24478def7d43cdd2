"""Raw printing: whole documents become jobs, all else is said to be what it is, and nobody keeps the door busy."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from printerd import formats
from printerd.listener import door, peers, raw
from printerd.listener.framing import EXIT
from printerd.model import JobState
from printerd.storage.instance import Switches
from tests.waiting import until

from .doors import PDF, POSTSCRIPT, TEXT, Doors, backend, said
from .printing import RunningPrinter
from .test_framing import STREAMS, cut_up, documents

Start = Callable[..., RunningPrinter]
JPEG = b"\xff\xd8\xff\xe0\x00\x10JFIF\x00" + bytes(900) + b"\xff\xd9"


@pytest.fixture
def doors() -> Doors:
    return Doors()


@pytest.fixture
def printer(start: Start, doors: Doors) -> RunningPrinter:
    return start(doors=doors.open)


def sent(doors: Doors, *pieces: bytes) -> bytes:
    """Send, close, and read what comes back. Raises :class:`ConnectionError` when the printer resets."""
    with closing(doors.connect("raw")) as connection:
        for piece in pieces:
            connection.sendall(piece)
        try:
            connection.shutdown(socket.SHUT_WR)
        except OSError as error:  # it is not connected any more
            raise ConnectionResetError from error
        return said(connection)


def outcomes(printer: RunningPrinter) -> list[tuple[str, str]]:
    """State and reason of each job, oldest first."""
    return [(job.state.value, (job.reason or {}).get("code", "")) for job in printer.rows()]


@pytest.mark.parametrize(
    ("document", "media_type"),
    [(PDF, "application/pdf"), (POSTSCRIPT, "application/postscript"), (TEXT, "text/plain")],
)
def test_a_document_is_durable_when_the_connection_ends(
    printer: RunningPrinter, doors: Doors, document: bytes, media_type: str
) -> None:
    """Closed by the sender, it is a job with its bytes as they came; the printer closes only then."""
    assert sent(doors, document[:7], document[7:]) == b""
    (job,) = printer.rows()
    assert (job.state, job.ticket.printer, job.ticket.source, job.ticket.host) == (
        "received",
        "inv",
        "raw",
        "localhost",
    )
    assert job.ticket.media_type == media_type
    assert job.original is not None and printer.blobs.read(job.original) == document


def test_several_documents_of_a_connection_are_several_jobs(printer: RunningPrinter, doors: Doors) -> None:
    sent(doors, PDF + POSTSCRIPT + b"\x04" + EXIT + TEXT + EXIT)
    types = [job.ticket.media_type for job in printer.rows()]
    assert types == ["application/pdf", "application/postscript", "text/plain"]


def test_pjl_tells_name_and_user(printer: RunningPrinter, doors: Doors) -> None:
    """As drivers send them; words of a sender are kept as they are, and name no file."""
    header = (
        b'@PJL JOB NAME="../../tmp/x"\r\n@PJL SET USERNAME="marie"\r\n@PJL SET COPIES=3\r\n@PJL ENTER LANGUAGE=PDF\r\n'
    )
    sent(doors, EXIT + header + PDF + EXIT + b"@PJL EOJ\r\n" + EXIT)
    (job,) = printer.rows()
    assert (job.ticket.title, job.ticket.user, job.ticket.options) == ("../../tmp/x", "marie", {"copies": "3"})
    assert job.original is not None and printer.blobs.read(job.original) == PDF
    assert {path.name for path in printer.blobs.spool.parent.iterdir()} == {"printerd.db", "blobs", "spool"} | {
        path.name for path in printer.folder.glob("printerd.db-*")
    }


def test_a_question_is_answered_at_once(printer: RunningPrinter, doors: Doors) -> None:
    """Print systems ask who is there before they send, and wait for the answer."""
    with closing(doors.connect("raw")) as connection:
        connection.sendall(EXIT + b"@PJL INFO ID\r\n")
        assert connection.recv(4000) == b'@PJL INFO ID\r\n"Invoice Printer"\r\n\f'
        connection.sendall(b"@PJL ENTER LANGUAGE=POSTSCRIPT\r\n" + POSTSCRIPT + EXIT)
        connection.shutdown(socket.SHUT_WR)
        assert said(connection) == b""
    assert outcomes(printer) == [("received", "")]


@pytest.mark.parametrize("document", [PDF[:-9], POSTSCRIPT[:-7], b"half a li"])
def test_a_document_without_its_end_is_no_invoice(printer: RunningPrinter, doors: Doors, document: bytes) -> None:
    """Closed in order, and yet not whole: recorded with the reason, and the sender sees a reset."""
    with pytest.raises(ConnectionError):
        sent(doors, document)
    assert outcomes(printer) == [("aborted", "no-end")]
    assert "%%EOF" in printer.rows()[0].message
    assert printer.spooled() == []


def test_a_reset_connection_is_no_invoice(printer: RunningPrinter, doors: Doors) -> None:
    """Whatever had come, even an end mark: who resets says that he is not done."""
    for document in (PDF[:900], PDF):
        connection = doors.connect("raw")
        connection.sendall(document)
        time.sleep(0.2)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, door._RESET)
        connection.close()
    until(lambda: len(printer.rows()) == 2)
    assert outcomes(printer) == [("aborted", "cut")] * 2


def test_one_broken_document_does_not_keep_its_sisters(printer: RunningPrinter, doors: Doors) -> None:
    with pytest.raises(ConnectionError):
        sent(doors, PDF[:-9] + EXIT + POSTSCRIPT + EXIT + TEXT)
    assert outcomes(printer) == [("aborted", "no-end"), ("received", ""), ("received", "")]


def test_silence_ends_what_is_whole(start: Start) -> None:
    """A sender that keeps its connection: the document is a job soon, and the next one another."""
    doors = Doors(idle=0.3)
    printer = start(doors=doors.open)
    with closing(doors.connect("raw")) as connection:
        for number, document in enumerate((PDF, TEXT), 1):
            connection.sendall(document)
            until(lambda number=number: len(printer.rows()) == number)  # type: ignore[misc]
    assert outcomes(printer) == [("received", "")] * 2


@pytest.mark.parametrize("document", [PDF[:2000], POSTSCRIPT[:40], b"  FACTURE\n  Total"])
def test_silence_before_the_end_ends_the_connection(start: Start, document: bytes) -> None:
    """What would come later is the rest of an invoice, never an invoice."""
    doors = Doors(idle=0.3)
    printer = start(doors=doors.open)
    with closing(doors.connect("raw")) as connection, pytest.raises(ConnectionError):
        connection.sendall(document)
        assert said(connection) != b""
    assert outcomes(printer) == [("aborted", "no-end")]


@pytest.mark.parametrize(
    ("document", "cause"),
    [
        (b"\x1bE\x1b&l0O FA-2026-0042", "pcl"),
        (EXIT + b"@PJL ENTER LANGUAGE=PCLXL\r\n) HP-PCL XL;3;0;Comment\n\xd1\x58", "pcl-xl"),
        ("  FACTURE FA-2026-0042  TOTAL 12,00\n".encode("cp500"), "ebcdic"),
        (b"\x1b@FA-2026-0042", "esc-p"),
        (b"PK\x03\x04" + bytes(900), "zip"),
        (b"RaS3" + bytes(900), "cups-raster"),
        (b"\x89PNG\r\n\x1a\n" + bytes(900), "picture"),
    ],
)
def test_other_languages_are_refused_by_their_name(
    printer: RunningPrinter, doors: Doors, document: bytes, cause: str
) -> None:
    """The row says what came, and how to print instead. The connection ends in order: sending it again helps nobody."""
    assert sent(doors, document) == b""
    (job,) = printer.rows()
    assert (job.state, job.reason and job.reason["code"]) == (JobState.ABORTED, cause)
    assert "PDF" in job.message


@pytest.mark.parametrize(
    ("document", "media_type", "whole"),
    [
        (JPEG, formats.JPEG, True),
        (JPEG[:-2], formats.JPEG, False),
        (b"UNIRAST\0" + bytes(900), formats.URF, True),
        (b"RaS2PwgRaster\0" + bytes(900), formats.PWG_RASTER, True),
    ],
)
def test_pictures_are_taken_for_a_person_to_see(
    printer: RunningPrinter, doors: Doors, document: bytes, media_type: str, whole: bool
) -> None:
    """As by IPP. A JPEG says where it ends; a raster ends when its sender closes in order."""
    with suppress(ConnectionError):
        sent(doors, document)
    assert outcomes(printer) == [("received", "") if whole else ("aborted", "no-end")]
    assert not whole or printer.rows()[0].ticket.media_type == media_type


def test_what_is_no_language_at_all_is_refused(printer: RunningPrinter, doors: Doors) -> None:
    sent(doors, b"\x16\x03\x01\x02\x00\x01" + bytes(900))
    assert outcomes(printer) == [("aborted", "unknown-format")]


def test_a_browser_prints_nothing(printer: RunningPrinter, doors: Doors, caplog: pytest.LogCaptureFixture) -> None:
    """A page that posts an invoice to this port is hung up on before its body, and the log says so."""
    body = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\n\r\n" + EXIT + PDF
    with caplog.at_level("INFO"), pytest.raises(ConnectionError):
        sent(doors, body)
    assert printer.rows() == []
    assert "HTTP request (POST)" in caplog.text


def test_a_document_beyond_the_limit_is_refused(start: Start) -> None:
    """At once and without keeping any of it; who goes on for ever is cut off."""
    doors = Doors()
    printer = start(doors=doors.open, document_limit=200_000)
    piece, sent_bytes = bytes(65536), 0
    with closing(doors.connect("raw")) as connection, suppress(ConnectionError):
        connection.sendall(b"%PDF-1.7\n")
        while sent_bytes < 200 << 20:
            connection.sendall(piece)
            sent_bytes += len(piece)
    assert sent_bytes < 100 << 20
    assert outcomes(printer) == [("aborted", "too-large")]
    assert printer.spooled() == []


def test_the_same_again_after_a_broken_end_is_the_same_job(start: Start) -> None:
    """A sender whose connection broke after its document sends it again; one that closed in order prints anew."""
    doors = Doors(idle=0.2)
    printer = start(doors=doors.open)
    connection = doors.connect("raw")
    connection.sendall(PDF)
    until(lambda: len(printer.rows()) == 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, door._RESET)
    connection.close()
    sent(doors, PDF)
    assert len(printer.rows()) == 1
    until(lambda: printer.rows()[0].answered)
    sent(doors, PDF)
    assert len(printer.rows()) == 2


def test_while_the_disk_is_full_nothing_is_read(
    printer: RunningPrinter, doors: Doors, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A printer without paper: the sender waits, and its document comes once there is room."""
    monkeypatch.setattr(raw, "READY_AGAIN", 0.05)
    with monkeypatch.context() as full:
        full.setattr(printer.blobs, "free_space", lambda: -1)
        time.sleep(0.2)  # the last word of the disk has become old
        connection = doors.connect("raw")
        connection.sendall(PDF)
        connection.shutdown(socket.SHUT_WR)
        time.sleep(0.5)
        assert printer.rows() == []
    with closing(connection):
        assert said(connection) == b""
    assert outcomes(printer) == [("received", "")]


def test_while_the_printer_is_closed_nothing_is_read(
    printer: RunningPrinter, doors: Doors, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(raw, "READY_AGAIN", 0.05)
    printer.intake.switches = Switches(accepting=False)
    with closing(doors.connect("raw")) as connection:
        connection.sendall(PDF)
        connection.shutdown(socket.SHUT_WR)
        time.sleep(0.5)
        assert printer.rows() == []
        printer.intake.switches = Switches()
        assert said(connection) == b""
    assert outcomes(printer) == [("received", "")]


def test_a_document_that_meets_a_closed_printer_is_to_be_sent_again(printer: RunningPrinter, doors: Doors) -> None:
    """The operator closed it in the middle of a connection: reset, and no row says that it was refused."""
    with closing(doors.connect("raw")) as connection:
        connection.sendall(PDF)
        until(lambda: len(printer.rows()) == 1)
        printer.intake.switches = Switches(accepting=False)
        with pytest.raises(ConnectionError):
            connection.sendall(POSTSCRIPT)
            connection.shutdown(socket.SHUT_WR)
            said(connection)
            raise AssertionError("closed in order")
    assert outcomes(printer) == [("received", "")]


def test_a_large_document_comes_whole(start: Start) -> None:
    """What comes faster than it is written waits at the sender; none of it is gathered."""
    doors = Doors()
    printer = start(doors=doors.open, document_limit=64 << 20)
    piece = bytes(range(256)) * 4096
    sent(doors, b"%PDF-1.7\n", *[piece] * 40, b"\nstartxref\n9\n%%EOF\n")
    (job,) = printer.rows()
    assert (job.state, job.size) == (JobState.RECEIVED, 9 + 40 * len(piece) + 19)


# Who may come, and for how long


def test_who_drips_is_cut_off(printer: RunningPrinter, doors: Doors, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each byte buys a little time, not all of it again."""
    monkeypatch.setattr(door, "IDLE", 0.6)
    with closing(doors.connect("raw")) as connection:
        drips = 0
        with suppress(ConnectionError):
            for drips in range(100):
                connection.sendall(b"%PDF-1.7"[drips : drips + 1] or b"a")
                time.sleep(0.05)
    assert drips < 60
    assert outcomes(printer) == [("aborted", "cut")]


def test_who_says_nothing_is_hung_up_on(printer: RunningPrinter, doors: Doors, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("printerd.listener.streams.IDLE", 0.3)
    with closing(doors.connect("raw")) as connection, pytest.raises(ConnectionError):
        said(connection)
    assert printer.rows() == []


def test_the_service_stops_whoever_is_connected(printer: RunningPrinter, doors: Doors) -> None:
    """A document that is under way when the service stops is cut; the sender sees it."""
    with closing(doors.connect("raw")) as connection:
        connection.sendall(PDF[:500])
        time.sleep(0.2)
        printer.server.should_exit = True
        with pytest.raises(ConnectionError):
            said(connection)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_only_named_networks_come_in(caplog: pytest.LogCaptureFixture) -> None:
    """This machine always may; a stranger is hung up on, and logged once a minute however often he knocks."""
    clock = Clock()
    guests = peers.Guests(("192.0.2.0/24", "2001:db8::/32"), clock)

    def enter(peer: str) -> bool:
        with guests.admitted(peer, "raw") as welcome:
            return welcome

    assert [enter(peer) for peer in ("localhost", "192.0.2.7", "2001:db8::1")] == [True, True, True]
    for clock.now in (0, 30, 59, 60, 90):
        assert not enter("198.51.100.1")
    assert caplog.text.count("198.51.100.1 is in none of listen.networks") == 2


def test_no_machine_takes_all_the_places(monkeypatch: pytest.MonkeyPatch) -> None:
    """So many at once of one machine, and so many in all; a place that is left is free again."""
    monkeypatch.setattr(peers, "EACH", 2)
    monkeypatch.setattr(peers, "IN_ALL", 4)
    guests = peers.Guests(("192.0.2.0/24",))
    first, second, third = (guests.admitted("192.0.2.7", "raw") for _ in range(3))
    assert first.__enter__() and second.__enter__() and not third.__enter__()
    here = [guests.admitted("localhost", "raw") for _ in range(3)]
    assert [one.__enter__() for one in here] == [True, True, False]
    first.__exit__(None, None, None)
    with guests.admitted("192.0.2.7", "raw") as welcome:
        assert welcome


def test_a_stranger_is_hung_up_on(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """The door looks at who connects before it reads a byte."""
    doors = Doors()
    printer = start(doors=doors.open)
    monkeypatch.setattr(peers, "host", lambda _text: "198.51.100.1")
    with pytest.raises(ConnectionError):
        sent(doors, PDF)
    assert printer.rows() == []


@pytest.mark.parametrize(
    ("text", "host"),
    [("127.0.0.9", "localhost"), ("::1", "localhost"), ("::ffff:192.0.2.7", "192.0.2.7"), ("fe80::1%eth0", "fe80::1")],
)
def test_a_peer_is_kept_by_its_address(text: str, host: str) -> None:
    assert peers.host(text) == host


# Anything


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(STREAMS, st.lists(st.integers(0, 1 << 16), max_size=4))
def test_any_bytes_make_jobs_of_whole_documents_alone(
    printer: RunningPrinter, doors: Doors, stream: bytes, cuts: list[int]
) -> None:
    """Whatever comes, in whatever pieces: the door stands, and each job is a document that was whole."""
    before = len(printer.rows())
    with suppress(ConnectionError):
        sent(doors, *cut_up(stream, cuts))
    whole = {data for data, is_whole in documents(stream) if is_whole}
    for job in printer.rows()[before:]:
        assert job.original is None or printer.blobs.read(job.original) in whole
        assert (job.state == JobState.RECEIVED) == (job.original is not None)
    assert printer.spooled() == []


# A real client


@pytest.mark.parametrize("copies", [1, 3])
def test_the_socket_backend_of_cups_prints(printer: RunningPrinter, doors: Doors, tmp_path: Path, copies: int) -> None:
    """Debian's own, as cupsd starts it. It sends the copies of a file one behind the other: they are one job."""
    file = tmp_path / "invoice.pdf"
    file.write_bytes(PDF)
    uri = f"socket://127.0.0.1:{doors.ports['raw']}"
    with backend("socket", uri, file, copies) as client:
        assert client.wait(60) == 0, client.stderr
    (job,) = printer.rows()
    assert job.original is not None and printer.blobs.read(job.original) == PDF
