"""What comes over the wire: foreign, hostile, cut, slow and very large requests."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from printerd.ipp.attributes import attribute
from printerd.ipp.codec import decode, encode
from printerd.ipp.message import GroupTag
from printerd.ipp.registry import Operation, Status
from printerd.model import JobState as Row

from .printing import PDF, RunningPrinter

MIB = 1 << 20
LONG = PDF * 6
"""More than is gathered in memory: its beginning is on the disk before its end has come."""


def wait_for(fact: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not fact():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Type": "multipart/form-data; boundary=x"}, 415),
        ({"Origin": "http://localhost"}, 403),
        ({"Origin": "null"}, 403),
        ({"Host": "rebound.example"}, 421),
        ({"Host": "rebound.example:8631"}, 421),
        ({"Host": "192.0.2.1"}, 421),
        ({"Host": ""}, 421),
        ({"Host": "localhost.evil.example"}, 421),
        ({"Host": "localhost:1/evil"}, 421),
        ({"Host": "evil.example@localhost"}, 421),
        ({"Connection": "Upgrade", "Upgrade": "TLS/1.2"}, 400),
    ],
)
def test_requests_that_are_no_print_clients(printer: RunningPrinter, headers: dict[str, str], status: int) -> None:
    """Web pages, rebound names, other media types and upgrades are refused by HTTP, and print nothing."""
    got, _ = printer.post(encode(printer.request(Operation.PRINT_JOB)) + PDF, headers)
    assert got == status
    assert printer.rows() == []


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:1", "127.0.0.1", "[::1]:631", "Printer.Example", "printer.example."]
)
def test_our_own_names(start: Callable[..., RunningPrinter], host: str) -> None:
    """localhost, our own addresses and listen.names are ours, whatever the case and the port."""
    printer = start(claims={"names": ["printer.example"]})
    status, octets = printer.post(encode(printer.request(Operation.GET_PRINTER_ATTRIBUTES)), {"Host": host})
    claims = decode(octets).first(GroupTag.PRINTER)
    assert (status, claims.text("printer-uri-supported")) == (200, f"ipp://{host}/ipp/print")


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/ipp/print", 405), ("HEAD", "/ipp/print", 405), ("POST", "/", 404)]
)
def test_other_methods_and_paths(printer: RunningPrinter, method: str, path: str, status: int) -> None:
    """A browser that opens the printer's address reads what it is."""
    connection = printer.connect()
    connection.request(method, path)
    response = connection.getresponse()
    assert response.status == status
    if method == "GET":
        assert b"This is a printer." in response.read()
    connection.close()


def test_no_word_of_a_sender_names_a_file(printer: RunningPrinter) -> None:
    """A title, a user or a document's name that is a path leads nowhere: files bear the digest of what is in them."""
    hostile = ("../../evil", "/etc/evil", "..\\evil;rm -rf *", "evil\r\nX: 1")
    for number, word in enumerate(hostile):
        document = PDF + b"%d" % number
        printer.print_job(document, attribute("document-name", word), title=word, user=word)
    assert [row.ticket.title for row in printer.rows()] == list(hostile)
    outside = [path for path in printer.folder.parent.rglob("*") if "evil" in path.name or path.parent.name == "etc"]
    assert outside == []
    kept = [path for path in printer.folder.rglob("*") if path.is_file() and not path.name.startswith("printerd.db")]
    assert sorted(path.name for path in kept) == sorted(str(row.original) for row in printer.rows())


@pytest.mark.parametrize("where", ["title", "user", "document-name"])
def test_nul_is_in_no_word_of_a_sender(printer: RunningPrinter, where: str) -> None:
    """No database keeps it, and readers of C strings would see another name: the request is refused in words."""
    words = {where: "evil\0.pdf"} if where != "document-name" else {}
    more = () if words else (attribute(where, "evil\0.pdf"),)
    answer = printer.print_job(PDF, *more, **words)
    assert answer.code == Status.CLIENT_ERROR_BAD_REQUEST
    assert "is not text in UTF-8" in answer.first(GroupTag.OPERATION).text("status-message")
    assert printer.rows() == [] and printer.spooled() == []


@pytest.mark.parametrize("octets", [b"", b"GET", b"\x02\x00", bytes(7)])
def test_what_has_no_header_is_no_ipp(printer: RunningPrinter, octets: bytes) -> None:
    """Fewer than eight octets have no request-id to answer to: HTTP says bad request."""
    assert printer.post(octets)[0] == 400


@pytest.mark.parametrize(
    "octets",
    [
        os.urandom(3) * 100,
        b"\x02\x00\x00\x0b\x00\x00\x00\x01",
        b"\x02\x00\x00\x0b\x00\x00\x00\x01\x01\x47\x00\x12attributes-charset\x7f\xff",
        b"%PDF-1.7\n" + bytes(5000),
        b"\x02\x00\x00\x02\x00\x00\x00\x01" + b"\x01\x34\x00\x01a\x00\x00" * 100 + b"\x03",
    ],
)
def test_garbage_gets_an_ipp_error(printer: RunningPrinter, octets: bytes) -> None:
    """Whatever is not IPP is answered with a client or version error, and the printer goes on."""
    status, answer = printer.post(octets)
    assert status == 200
    assert decode(answer).code in range(0x0400, 0x0504)
    assert printer.print_job().code == Status.SUCCESSFUL_OK


def test_a_request_cut_at_every_octet(printer: RunningPrinter) -> None:
    """A request that is complete for HTTP and cut for IPP is a bad request under its own request-id."""
    message = encode(printer.request(Operation.GET_PRINTER_ATTRIBUTES))
    for cut in range(8, len(message), 7):
        status, octets = printer.post(message[:cut])
        answer = decode(octets)
        assert (status, answer.code, answer.request_id) == (200, Status.CLIENT_ERROR_BAD_REQUEST, 1)


def test_octets_behind_an_operation_without_a_document(printer: RunningPrinter) -> None:
    """Only Print-Job and Send-Document have a document; elsewhere one is a bad request."""
    answer = printer.ask(printer.request(Operation.GET_JOBS), PDF)
    assert answer.code == Status.CLIENT_ERROR_BAD_REQUEST


def test_endless_attributes(printer: RunningPrinter) -> None:
    """Attributes without an end are refused at the limit, not gathered."""
    endless = encode(printer.request(Operation.PRINT_JOB))[:-1] + b"\x41\x00\x01a\x00\x01b" * 100_000
    status, octets = printer.post(endless)
    assert (status, decode(octets).code) == (200, Status.CLIENT_ERROR_REQUEST_ENTITY_TOO_LARGE)


def send_raw(printer: RunningPrinter, head: bytes, *pieces: bytes) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", printer.port), timeout=20)
    connection.sendall(head)
    for piece in pieces:
        connection.sendall(piece)
    return connection


def head(printer: RunningPrinter, *more: str) -> bytes:
    lines = ["POST /ipp/print HTTP/1.1", f"Host: localhost:{printer.port}", "Content-Type: application/ipp", *more]
    return "\r\n".join([*lines, "", ""]).encode()


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_print_job_cut_in_its_document(printer: RunningPrinter, chunked: bool, reset: bool) -> None:
    """A client that dies in the middle leaves an aborted job and no bytes, however it announced the length."""
    body = encode(printer.request(Operation.PRINT_JOB)) + LONG
    if chunked:
        connection = send_raw(printer, head(printer, "Transfer-Encoding: chunked"), b"%x\r\n" % len(body), body[:-9])
    else:
        connection = send_raw(printer, head(printer, f"Content-Length: {len(body) + MIB}"), body)
    wait_for(lambda: printer.spooled() != [])
    if reset:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    connection.close()
    wait_for(lambda: printer.rows() != [])
    (row,) = printer.rows()
    assert (row.state, row.reason and row.reason["code"]) == (Row.ABORTED, "cut")
    assert printer.spooled() == []
    assert list(printer.blobs.digests()) == []


def test_a_cut_send_document_may_be_sent_again(printer: RunningPrinter) -> None:
    """The job stays open, and takes the document when it comes again."""
    printer.ask(printer.request(Operation.CREATE_JOB))
    request = printer.request(Operation.SEND_DOCUMENT, attribute("job-id", 1), attribute("last-document", True))
    body = encode(request) + LONG
    connection = send_raw(printer, head(printer, f"Content-Length: {len(body) + 1}"), body)
    wait_for(lambda: printer.spooled() != [])
    connection.close()
    wait_for(lambda: printer.spooled() == [])
    assert [row.state for row in printer.rows()] == [Row.INCOMING]
    assert printer.ask(request, PDF).code == Status.SUCCESSFUL_OK
    assert [row.state for row in printer.rows()] == [Row.RECEIVED]


def test_a_client_that_falls_silent(start: Callable[..., RunningPrinter]) -> None:
    """A connection without a byte for long enough counts as cut; other clients are served meanwhile."""
    printer = start(claims={"idle": 0.3})
    body = encode(printer.request(Operation.PRINT_JOB)) + PDF
    silent = send_raw(printer, head(printer, f"Content-Length: {len(body) + 1}"), body)
    half = send_raw(printer, head(printer, "Content-Length: 1000"), body[:20])
    assert printer.print_job().code == Status.SUCCESSFUL_OK
    wait_for(lambda: Row.ABORTED in {row.state for row in printer.rows()})
    assert b"200 OK" in half.recv(1000)
    silent.close()
    half.close()


def test_a_slow_document_arrives_whole(printer: RunningPrinter) -> None:
    """Octet by octet at first, then in drips: the document is the one that was sent."""
    body = encode(printer.request(Operation.PRINT_JOB)) + PDF
    pieces = [body[i : i + 1] for i in range(300)] + [body[300:40_000], body[40_000:]]
    connection = send_raw(printer, head(printer, f"Content-Length: {len(body)}"))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for piece in pieces:
        connection.sendall(piece)
        time.sleep(0.001)
    assert b"200 OK" in connection.recv(4000)
    connection.close()
    original = printer.rows()[0].original
    assert original is not None
    assert printer.blobs.read(original) == PDF


def big(size: int) -> Iterator[bytes]:
    """A document of that many MiB, never in memory at once."""
    yield PDF
    for _ in range(size):
        yield bytes(MIB)


def test_a_document_beyond_the_limit_in_chunks(printer: RunningPrinter) -> None:
    """300 MiB against a limit of 8: the answer comes while the client still sends, and it can read it."""

    def body() -> Iterator[bytes]:
        yield encode(printer.request(Operation.PRINT_JOB))
        yield from big(300)

    status, octets = printer.post(body(), chunked=True)
    assert (status, decode(octets).code) == (200, Status.CLIENT_ERROR_REQUEST_ENTITY_TOO_LARGE)
    assert printer.rows()[0].state is Row.ABORTED
    assert printer.spooled() == []


def test_a_length_beyond_the_limit_is_answered_at_once(printer: RunningPrinter) -> None:
    """A Content-Length that is too large needs no document to be refused."""
    request = encode(printer.request(Operation.PRINT_JOB))
    connection = send_raw(printer, head(printer, f"Content-Length: {300 * MIB}"), request)
    answer = connection.recv(4000)
    assert decode(answer.partition(b"\r\n\r\n")[2]).code == Status.CLIENT_ERROR_REQUEST_ENTITY_TOO_LARGE
    connection.close()


def resident() -> int:
    """Bytes of memory that this process, with the printer in it, holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_two_hundred_mebibytes_in_flat_memory(start: Callable[..., RunningPrinter]) -> None:
    """A large document flows to the disk: memory does not grow with it, and it is kept whole."""
    printer = start(document_limit=256 * MIB)
    printer.print_job()
    before, highest = resident(), [0]

    def body() -> Iterator[bytes]:
        yield encode(printer.request(Operation.PRINT_JOB, attribute("job-name", "large")))
        for chunk in big(200):
            yield chunk
            highest[0] = max(highest[0], resident())

    status, octets = printer.post(body(), chunked=True)
    assert (status, decode(octets).code) == (200, Status.SUCCESSFUL_OK)
    assert printer.rows()[-1].size == len(PDF) + 200 * MIB
    assert highest[0] - before < 32 * MIB


def test_a_client_that_left_before_its_answer_was_not_answered(
    printer: RunningPrinter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that dies while its job is made durable may print again and gets the same job."""
    gone = threading.Event()
    adopt = printer.blobs.adopt

    def slow(files: list[tuple[Path, str]]) -> None:
        assert gone.wait(10)
        time.sleep(0.1)
        adopt(files)  # type: ignore[arg-type]

    monkeypatch.setattr(printer.blobs, "adopt", slow)
    body = encode(printer.request(Operation.PRINT_JOB, attribute("job-name", "FA-1"))) + PDF
    connection = send_raw(printer, head(printer, f"Content-Length: {len(body)}"), body)
    wait_for(lambda: printer.spooled() != [] and printer.spooled()[0].stat().st_size == len(PDF))
    time.sleep(0.1)
    connection.close()
    gone.set()
    wait_for(lambda: printer.rows() != [])
    time.sleep(0.1)
    again = printer.print_job()
    assert again.first(GroupTag.JOB).number("job-id") == 1
    assert len(printer.rows()) == 1


def test_a_failure_of_ours_is_an_internal_error(
    printer: RunningPrinter, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged once, without the job's name, and the sender hears 0x0500."""

    def broken(_ticket: object, *_: object, **_options: object) -> None:
        raise RuntimeError("a mistake")

    monkeypatch.setattr(printer.intake, "accept", broken)
    assert printer.print_job(title="secret\nname").code == Status.SERVER_ERROR_INTERNAL_ERROR
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == ["PRINT_JOB failed"]
    assert "secret" not in caplog.text
