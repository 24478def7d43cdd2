"""What print clients ask and what the printer answers, over real HTTP."""

from __future__ import annotations

import asyncio
import gzip
import http.client
import time
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest
from pyipp import IPP
from pyipp.enums import IppOperation

from printerd import formats
from printerd.choices import ANYTHING
from printerd.ipp.attributes import attribute
from printerd.ipp.codec import decode, encode
from printerd.ipp.message import Attribute, GroupTag, Message, Range, keyword
from printerd.ipp.registry import VERSIONS, JobState, Operation, Status
from printerd.listener.operations import OPERATIONS
from printerd.listener.printer import OPTIONS, takes
from printerd.model import JobState as Row

from .printing import PDF, UUID, RunningPrinter


def created(answer: Message) -> int:
    """The job-id of a successful answer."""
    assert answer.code == Status.SUCCESSFUL_OK, answer
    return answer.first(GroupTag.JOB).number("job-id")


def seen(printer: RunningPrinter, number: int, user: str = "anna", *names: str) -> Message:
    more = (attribute("job-id", number), *((attribute("requested-attributes", *names),) if names else ()))
    return printer.ask(printer.request(Operation.GET_JOB_ATTRIBUTES, *more, user=user))


def test_a_printed_document_is_kept_as_it_came(printer: RunningPrinter) -> None:
    """Print-Job answers with the job, and its bytes, user, title, host and options are there."""
    answer = printer.print_job(job=(attribute("copies", 2), attribute("sides", "two-sided-long-edge")))
    job = answer.first(GroupTag.JOB)
    (row,) = printer.rows()
    assert (job.number("job-id"), job.text("job-uri")) == (1, f"{printer.uri}/1")
    assert job.text("job-uuid") == f"urn:uuid:{row.id}"
    assert row.original is not None
    assert printer.blobs.read(row.original) == PDF
    assert (row.ticket.user, row.ticket.title, row.ticket.host) == ("anna", "FA-1", "localhost")
    assert (row.ticket.printer, row.ticket.source) == ("inv", "ipp")
    assert row.ticket.options == {"copies": "2", "sides": "two-sided-long-edge"}
    assert printer.woken == 1


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("expect", [False, True])
def test_bodies_of_every_kind(printer: RunningPrinter, chunked: bool, expect: bool) -> None:
    """With a length or in chunks, with 100-continue or without, the document arrives whole."""
    message = encode(printer.request(Operation.PRINT_JOB))
    pieces = [message[:5], message[5:] + PDF[:10], PDF[10:]]
    headers = {"Expect": "100-continue"} if expect else {}
    body = iter(pieces) if chunked else b"".join(pieces)
    status, octets = printer.post(body, headers, chunked=chunked)
    assert (status, created(decode(octets))) == (200, 1)
    assert [row.size for row in printer.rows()] == [len(PDF)]


def deflated(data: bytes) -> bytes:
    """As RFC 8011 section 5.4.32 says, and CUPS does: RFC 1951 without a wrapping."""
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


@pytest.mark.parametrize(("name", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress), ("deflate", deflated)])
def test_compressed_bodies(printer: RunningPrinter, name: str, pack: Callable[[bytes], bytes]) -> None:
    """A compressed document is kept inflated, and the job says how it came."""
    number = created(printer.print_job(pack(PDF), attribute("compression", name)))
    assert printer.rows()[0].size == len(PDF)
    assert seen(printer, number).first(GroupTag.JOB).text("compression-supplied") == name


@pytest.mark.parametrize("version", VERSIONS)
def test_every_version_is_answered_in_kind(printer: RunningPrinter, version: tuple[int, int]) -> None:
    """IPP 1.0 to 2.2 are spoken; each answer is of the request's version."""
    answer = printer.print_job(version=version[0] * 10 + version[1])
    assert (answer.version, created(answer)) == (version, 1)


def test_claims_are_derived_from_the_table(printer: RunningPrinter) -> None:
    """operations-supported is the keys of OPERATIONS; the preferred format is PDF and stands first."""
    answer = printer.ask(printer.request(Operation.GET_PRINTER_ATTRIBUTES))
    claims = answer.first(GroupTag.PRINTER)
    supported, offered = claims.get("operations-supported"), claims.get("document-format-supported")
    assert supported is not None
    assert offered is not None
    assert set(supported.data) == set(OPERATIONS)
    assert offered.data == (*formats.FORMATS, "application/octet-stream")
    assert claims.text("document-format-default") == claims.text("document-format-preferred") == "application/pdf"
    assert claims.text("printer-uuid") == f"urn:uuid:{UUID}"


def test_every_claimed_option_is_taken(printer: RunningPrinter) -> None:
    """Each default and each supported value may be asked for with fidelity."""
    claims = printer.ask(printer.request(Operation.GET_PRINTER_ATTRIBUTES)).first(GroupTag.PRINTER)
    wanted = [
        Attribute(claim.name.removesuffix("-default"), claim.values)
        for claim in claims
        if claim.name.endswith("-default") and claim.name.removesuffix("-default") in OPTIONS
    ]
    assert len(wanted) > 10
    faithful = attribute("ipp-attribute-fidelity", True)
    request = printer.request(Operation.VALIDATE_JOB, faithful, job=tuple(wanted))
    assert printer.ask(request).code == Status.SUCCESSFUL_OK


def test_options_that_are_not_supported(printer: RunningPrinter) -> None:
    """With fidelity they refuse the job, else they are named as ignored; unknown ones come back as 'unsupported'."""
    job = (attribute("copies", 1000), attribute("sides", "tumble"), attribute("print-darkness", 3))
    request = printer.request(Operation.VALIDATE_JOB, attribute("ipp-attribute-fidelity", True), job=job)
    for answer, status in (
        (printer.ask(request), Status.CLIENT_ERROR_ATTRIBUTES_OR_VALUES_NOT_SUPPORTED),
        (printer.print_job(job=job), Status.SUCCESSFUL_OK_IGNORED_OR_SUBSTITUTED_ATTRIBUTES),
    ):
        named = answer.first(GroupTag.UNSUPPORTED)
        assert answer.code == status
        assert (named.number("copies"), named.text("sides")) == (1000, "tumble")
        darkness = named.get("print-darkness")
        assert darkness is not None
        assert darkness.value is None


REFUSED = [
    ({"document-format": "image/png"}, PDF, Status.CLIENT_ERROR_DOCUMENT_FORMAT_NOT_SUPPORTED, "document-format"),
    (
        {"document-format": "application/octet-stream"},
        b"\x89PNG\r\n\x1a\n\0",
        Status.CLIENT_ERROR_DOCUMENT_FORMAT_NOT_SUPPORTED,
        "document-format",
    ),
    ({}, b"RaS3PwgRaster\0", Status.CLIENT_ERROR_DOCUMENT_FORMAT_NOT_SUPPORTED, ""),
    ({}, b"\x1bE\x1b&l26A", Status.CLIENT_ERROR_DOCUMENT_FORMAT_NOT_SUPPORTED, ""),
    ({"document-format": "application/pdf"}, b"%!PS", Status.CLIENT_ERROR_DOCUMENT_FORMAT_ERROR, ""),
    ({"document-format": "application/pdf"}, b"", Status.CLIENT_ERROR_DOCUMENT_FORMAT_ERROR, ""),
    ({"compression": "compress"}, PDF, Status.CLIENT_ERROR_COMPRESSION_NOT_SUPPORTED, "compression"),
    ({"compression": "gzip"}, PDF, Status.CLIENT_ERROR_COMPRESSION_ERROR, ""),
]


@pytest.mark.parametrize(("more", "document", "status", "named"), REFUSED)
def test_documents_that_are_not_taken(
    printer: RunningPrinter, more: dict[str, str], document: bytes, status: Status, named: str
) -> None:
    """The sender gets the status and the attribute in question, nothing is kept, and the next job goes on."""
    answer = printer.print_job(document, *(attribute(name, value) for name, value in more.items()))
    assert answer.code == status
    assert [given.name for given in answer.first(GroupTag.UNSUPPORTED)] == ([named] if named else [])
    assert all(row.state is Row.ABORTED and row.reason for row in printer.rows())
    assert list(printer.blobs.digests()) == []
    assert created(printer.print_job()) == len(printer.rows())


def test_a_refused_document_is_an_aborted_job_that_says_why(printer: RunningPrinter) -> None:
    """The queue shows aborted-by-system, the reason and a sentence."""
    printer.print_job(b"GIF89a", attribute("document-format", "application/pdf"))
    job = seen(printer, 1).first(GroupTag.JOB)
    reasons = job.get("job-state-reasons")
    assert reasons is not None
    assert (job.number("job-state"), reasons.data) == (
        JobState.ABORTED,
        ("aborted-by-system", "document-format-error"),
    )
    assert "announced as application/pdf" in job.text("job-state-message")


def test_media_types_may_have_parameters(printer: RunningPrinter) -> None:
    """text/plain; charset=utf-8 is plain text, and the job keeps what was said."""
    number = created(
        printer.print_job("Facture n° 1\f".encode(), attribute("document-format", "text/plain; charset=utf-8"))
    )
    row = printer.rows()[number - 1]
    assert (row.ticket.media_type, row.ticket.options["document-format"]) == ("text/plain", "text/plain; charset=utf-8")


def open_job(printer: RunningPrinter, user: str = "anna") -> Attribute:
    """The job-id of a new job that has no document yet."""
    named = attribute("job-name", "FA-2")
    return attribute("job-id", created(printer.ask(printer.request(Operation.CREATE_JOB, named, user=user))))


def test_a_job_in_two_steps(printer: RunningPrinter) -> None:
    """Create-Job waits with job-incoming, Send-Document makes it a job like any other."""
    job = open_job(printer)
    assert seen(printer, 1).first(GroupTag.JOB).number("job-state") == JobState.PENDING_HELD
    last = attribute("last-document", True)
    answer = printer.ask(printer.request(Operation.SEND_DOCUMENT, job, last), PDF)
    assert answer.first(GroupTag.JOB).number("job-state") == JobState.PROCESSING
    assert [(row.state, row.ticket.title) for row in printer.rows()] == [(Row.RECEIVED, "FA-2")]


def test_a_closed_job_takes_no_more(printer: RunningPrinter) -> None:
    """After the last document another one is refused; the same one, whose answer never went out, is there already."""
    job, last = open_job(printer), attribute("last-document", True)
    assert created(printer.ask(printer.request(Operation.SEND_DOCUMENT, job, last), PDF)) == 1
    second = printer.ask(printer.request(Operation.SEND_DOCUMENT, job, last), PDF + b"more")
    assert second.code == Status.CLIENT_ERROR_NOT_POSSIBLE
    printer.change(1, answered=False)
    assert created(printer.ask(printer.request(Operation.SEND_DOCUMENT, job, last), PDF)) == 1
    assert [(row.state, row.size) for row in printer.rows()] == [(Row.RECEIVED, len(PDF))]


@pytest.mark.parametrize("code", [Operation.SEND_DOCUMENT, Operation.CLOSE_JOB])
def test_a_job_closed_without_a_document_is_aborted(printer: RunningPrinter, code: Operation) -> None:
    """Closing an empty job ends it, and says so."""
    last = (attribute("last-document", True),) if code == Operation.SEND_DOCUMENT else ()
    answer = printer.ask(printer.request(code, open_job(printer), *last))
    assert answer.code == Status.SUCCESSFUL_OK
    assert answer.first(GroupTag.JOB).number("job-state") == JobState.ABORTED


def test_a_job_without_its_document_in_time_is_aborted(start: Callable[..., RunningPrinter]) -> None:
    """multiple-operation-time-out is claimed, and kept."""
    printer = start(document_timeout=1)
    open_job(printer)
    deadline = time.monotonic() + 10
    while printer.rows()[0].state is Row.INCOMING and time.monotonic() < deadline:
        time.sleep(0.05)
    assert printer.rows()[0].state is Row.ABORTED
    late = printer.request(Operation.SEND_DOCUMENT, attribute("job-id", 1), attribute("last-document", True))
    assert printer.ask(late, PDF).code == Status.CLIENT_ERROR_TIMEOUT


def test_a_resent_document_is_the_same_job(printer: RunningPrinter) -> None:
    """When the answer never went out, printing again returns the job; after an answer it is a reprint."""
    message = encode(printer.request(Operation.PRINT_JOB, attribute("job-name", "FA-1")))
    first = created(printer.print_job())
    printer.change(first, answered=False)
    assert created(printer.print_job()) == first + 1  # the mark was on its way: the first one had its answer
    wait_for_answers(printer)
    printer.change(first + 1, answered=False)
    status, octets = printer.post(message + PDF)
    assert (status, created(decode(octets))) == (200, first + 1)
    assert created(printer.print_job()) == first + 2


def wait_for_answers(printer: RunningPrinter) -> None:
    deadline = time.monotonic() + 5
    while not all(row.answered for row in printer.rows()) and time.monotonic() < deadline:
        time.sleep(0.02)


def test_an_answer_is_marked_once_it_is_out(printer: RunningPrinter) -> None:
    """Soon after the last octet of the answer the row says that the sender has it."""
    created(printer.print_job())
    wait_for_answers(printer)
    assert [row.answered for row in printer.rows()] == [True]


def test_only_the_owner_sees_and_cancels(printer: RunningPrinter) -> None:
    """Others see the state; they neither read the name nor end the job."""
    number = created(printer.print_job())
    assert seen(printer, number).first(GroupTag.JOB).text("job-name") == "FA-1"
    other = seen(printer, number, "bert")
    assert other.code == Status.SUCCESSFUL_OK
    assert other.first(GroupTag.JOB).number("job-state") == JobState.PROCESSING
    assert "FA-1" not in repr(other)
    assert "anna" not in repr(other)
    job = attribute("job-id", number)
    cancel = printer.request(Operation.CANCEL_JOB, job, user="bert")
    assert printer.ask(cancel).code == Status.CLIENT_ERROR_NOT_AUTHORIZED
    assert printer.ask(printer.request(Operation.CANCEL_JOB, job)).code == Status.SUCCESSFUL_OK
    assert printer.rows()[0].state is Row.CANCELED
    assert printer.ask(printer.request(Operation.CANCEL_JOB, job)).code == Status.CLIENT_ERROR_NOT_POSSIBLE


def test_what_is_being_worked_on_is_not_canceled(printer: RunningPrinter) -> None:
    """Once the worker has it, an invoice may be sealed: cancel says that it is not possible."""
    number = created(printer.print_job())
    printer.change(number, state="processing")
    answer = printer.ask(printer.request(Operation.CANCEL_JOB, attribute("job-id", number)))
    assert answer.code == Status.CLIENT_ERROR_NOT_POSSIBLE


def test_all_named_jobs_are_canceled_or_none(start: Callable[..., RunningPrinter]) -> None:
    """Nobody is told that his jobs are canceled while one of them is being worked on."""
    printer = start(claims={"report_within": 60})
    printer.print_job()
    printer.print_job(PDF + b"2", title="FA-2")
    printer.change(2, state="processing")
    answer = printer.ask(printer.request(Operation.CANCEL_MY_JOBS, attribute("job-ids", 1, 2)))
    assert answer.code == Status.CLIENT_ERROR_NOT_POSSIBLE
    assert [row.state for row in printer.rows()] == ["received", "processing"]


def test_cancel_my_jobs(start: Callable[..., RunningPrinter]) -> None:
    """All of the user's or, when one of those named is somebody else's, none."""
    printer = start(claims={"report_within": 60})
    for user in ("anna", "bert", "anna"):
        printer.print_job(user=user, title=f"{user} {time.monotonic()}")
    ids = attribute("job-ids", 1, 2)
    refused = printer.ask(printer.request(Operation.CANCEL_MY_JOBS, ids))
    assert refused.code == Status.CLIENT_ERROR_NOT_AUTHORIZED
    missing = printer.ask(printer.request(Operation.CANCEL_MY_JOBS, attribute("job-ids", 9)))
    assert missing.code == Status.CLIENT_ERROR_NOT_FOUND
    assert printer.ask(printer.request(Operation.CANCEL_MY_JOBS)).code == Status.SUCCESSFUL_OK
    assert [row.state for row in printer.rows()] == [Row.CANCELED, Row.RECEIVED, Row.CANCELED]


def listed(printer: RunningPrinter, *more: Attribute, user: str = "anna") -> list[int]:
    answer = printer.ask(printer.request(Operation.GET_JOBS, *more, user=user))
    assert answer.code == Status.SUCCESSFUL_OK
    return [group.number("job-id") for group in answer.all(GroupTag.JOB)]


def test_lists_of_jobs(start: Callable[..., RunningPrinter]) -> None:
    """which-jobs, my-jobs and limit choose; jobs come oldest first while they are worked on."""
    printer = start(claims={"report_within": 60})
    for user in ("anna", "bert", "anna"):
        printer.print_job(user=user, title=f"{user} {time.monotonic()}")
    printer.change(1, state="done")
    assert listed(printer) == [2, 3]
    assert listed(printer, attribute("which-jobs", "completed")) == [1]
    assert listed(printer, attribute("which-jobs", "all")) == [3, 2, 1]
    assert listed(printer, attribute("my-jobs", True)) == [3]
    assert listed(printer, attribute("limit", 1)) == [2]
    assert listed(printer, attribute("my-jobs", True), user="carl") == []
    wrong = printer.ask(printer.request(Operation.GET_JOBS, attribute("which-jobs", "saved")))
    assert wrong.code == Status.CLIENT_ERROR_ATTRIBUTES_OR_VALUES_NOT_SUPPORTED


def test_the_queue_lets_go_after_report_within(printer: RunningPrinter) -> None:
    """A job whose worker is away is completed for the queue, with queued-in-device, and is still there."""
    number = created(printer.print_job())
    time.sleep(0.35)
    job = seen(printer, number).first(GroupTag.JOB)
    assert job.number("job-state") == JobState.COMPLETED
    assert job.text("job-state-reasons") == "queued-in-device"
    assert printer.rows()[0].state is Row.RECEIVED


def test_a_full_disk_makes_clients_wait(start: Callable[..., RunningPrinter]) -> None:
    """New jobs get the temporary error, and the printer says spool-area-full."""
    printer = start(free_space=1 << 60)
    assert printer.print_job().code == Status.SERVER_ERROR_TEMPORARY_ERROR
    claims = printer.ask(printer.request(Operation.GET_PRINTER_ATTRIBUTES)).first(GroupTag.PRINTER)
    assert claims.text("printer-state-reasons") == "spool-area-full"


def test_the_printer_counts_its_jobs_and_its_time(start: Callable[..., RunningPrinter]) -> None:
    """queued-job-count and printer-up-time go on from second to second although answers are kept."""
    clock = [datetime(2026, 11, 24, 9, 0, tzinfo=UTC)]
    printer = start(now=lambda: clock[0], claims={"now": lambda: clock[0]})
    request = printer.request(Operation.GET_PRINTER_ATTRIBUTES)
    before = printer.ask(request).first(GroupTag.PRINTER)
    printer.print_job()
    clock[0] = clock[0].replace(second=9)
    after = printer.ask(request).first(GroupTag.PRINTER)
    assert (before.number("queued-job-count"), after.number("queued-job-count")) == (0, 1)
    assert (before.number("printer-up-time"), after.number("printer-up-time")) == (1, 10)
    assert (before.number("printer-state"), after.number("printer-state")) == (3, 4)


def test_kept_answers_are_of_the_request(printer: RunningPrinter) -> None:
    """Two clients in the same second get their own request-id, version and attributes."""
    one = printer.request(Operation.GET_PRINTER_ATTRIBUTES, attribute("requested-attributes", "printer-name"))
    two = Message((1, 1), one.code, 77, printer.request(Operation.GET_PRINTER_ATTRIBUTES).groups)
    for message in (one, two, one, two):
        answer = printer.ask(message)
        assert (answer.version, answer.request_id) == (message.version, message.request_id)
        assert ("printer-uuid" in answer.first(GroupTag.PRINTER)) is (message is two)


@pytest.mark.parametrize("code", [Operation.GET_JOB_ATTRIBUTES, Operation.CANCEL_JOB, Operation.CLOSE_JOB])
def test_a_job_that_is_not_there(printer: RunningPrinter, code: Operation) -> None:
    """An unknown job-id is not found."""
    answer = printer.ask(printer.request(code, attribute("job-id", 99)))
    assert answer.code == Status.CLIENT_ERROR_NOT_FOUND


def test_identify_printer(printer: RunningPrinter) -> None:
    assert printer.ask(printer.request(Operation.IDENTIFY_PRINTER)).code == Status.SUCCESSFUL_OK


def test_sixty_four_clients_at_once(printer: RunningPrinter) -> None:
    """Every one of 256 jobs of 64 clients is taken once, under a number of its own."""

    def client(number: int) -> list[int]:
        titles = (f"client {number} job {i}" for i in range(4))
        return [created(printer.print_job(PDF + title.encode(), title=title)) for title in titles]

    with ThreadPoolExecutor(64) as pool:
        numbers = [number for some in pool.map(client, range(64)) for number in some]
    assert sorted(numbers) == list(range(1, 257))
    assert len({row.original for row in printer.rows()}) == 256
    assert printer.spooled() == []


def test_many_jobs_on_one_connection(printer: RunningPrinter) -> None:
    """A client may keep its connection for job after job."""
    connection = printer.connect()
    for number in range(1, 4):
        body = encode(printer.request(Operation.PRINT_JOB, attribute("job-name", str(number)))) + PDF
        connection.request("POST", "/ipp/print", body, {"Content-Type": "application/ipp"})
        response = connection.getresponse()
        assert created(decode(response.read())) == number
    connection.close()


def test_pyipp_prints(printer: RunningPrinter) -> None:
    """The client of Home Assistant reads the printer and prints on it."""

    async def client() -> str:
        async with IPP(f"ipp://localhost:{printer.port}/ipp/print") as ipp:
            found = await ipp.printer()
            await ipp.execute(
                IppOperation.PRINT_JOB,
                {
                    "operation-attributes-tag": {
                        "requesting-user-name": "pyipp",
                        "job-name": "FA-3",
                        "document-format": "application/pdf",
                    },
                    "data": PDF,
                },
            )
            return str(found.info.name)

    assert asyncio.run(client()) == "Invoice Printer"
    assert [(row.ticket.user, row.ticket.title, row.size) for row in printer.rows()] == [("pyipp", "FA-3", len(PDF))]


def test_values_that_ranges_hold() -> None:
    """A copies value is judged by the range that is claimed, its neighbours too."""
    claimed = OPTIONS["copies"].supported[0]
    assert isinstance(claimed, Range)
    assert [takes(attribute("copies", n), ANYTHING) for n in (1, claimed.upper, claimed.upper + 1)] == [
        True,
        True,
        False,
    ]
    assert not takes(Attribute.of("copies", keyword("many")), ANYTHING)


def test_a_connection_that_is_kept_after_a_refusal(start: Callable[..., RunningPrinter]) -> None:
    """A document known to be too large is refused before it is read, and the connection serves the next job."""
    printer = start(document_limit=100_000)
    connection = http.client.HTTPConnection("127.0.0.1", printer.port, timeout=20)
    body = encode(printer.request(Operation.PRINT_JOB)) + PDF * 40
    connection.request("POST", "/ipp/print", body, {"Content-Type": "application/ipp"})
    assert decode(connection.getresponse().read()).code == Status.CLIENT_ERROR_REQUEST_ENTITY_TOO_LARGE
    body = encode(printer.request(Operation.PRINT_JOB)) + PDF
    connection.request("POST", "/ipp/print", body, {"Content-Type": "application/ipp"})
    assert created(decode(connection.getresponse().read())) == 2
    connection.close()
