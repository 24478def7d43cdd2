"""LPD: what real clients send becomes jobs, the zero byte is true, and whatever else comes is refused and said."""

from __future__ import annotations

import errno
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from printerd.errors import TransientError
from printerd.listener import door, lpd
from printerd.listener.lpd import Answer
from printerd.model import JobState
from printerd.storage.instance import Switches
from tests.waiting import until

from .doors import PDF, POSTSCRIPT, TEXT, Doors, backend, said
from .printing import RunningPrinter
from .test_framing import documents
from .test_raw import outcomes

Start = Callable[..., RunningPrinter]
TAKEN, LATER, REFUSED = (bytes((answer,)) for answer in Answer)
CONTROL = "Hmill\nPmarie\nJFacture\nldfA042mill\nUdfA042mill\nNFA-2026-0042.pdf\n"


@pytest.fixture
def doors() -> Doors:
    return Doors()


@pytest.fixture
def printer(start: Start, doors: Doors) -> RunningPrinter:
    return start(doors=doors.open)


class Client:
    """A line printer client that waits for each answer, as all of them do."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection

    def say(self, line: bytes) -> bytes:
        self.connection.sendall(line)
        return self.connection.recv(1)

    def file(self, code: int, name: str, octets: bytes, end: bytes = b"\0") -> bytes:
        """Announce and send a file; the last answer."""
        answer = self.say(b"%c%d %s\n" % (code, len(octets), name.encode()))
        return answer if answer != TAKEN else self.say(octets + end)

    def control(self, text: str = CONTROL, name: str = "cfA042mill") -> bytes:
        return self.file(2, name, text.encode())

    def data(self, octets: bytes = PDF, name: str = "dfA042mill") -> bytes:
        return self.file(3, name, octets)


@contextmanager
def printing(doors: Doors, queue: str = "invoices") -> Iterator[Client]:
    """A connection on which a job may be sent. Left, it is closed in order, and the printer has ended it."""
    with closing(doors.connect("lpd")) as connection:
        client = Client(connection)
        assert client.say(b"\x02%s\n" % queue.encode()) == TAKEN
        yield client
        with suppress(OSError):
            connection.shutdown(socket.SHUT_WR)
            said(connection)


def asked(doors: Doors, command: bytes) -> str:
    """Everything that comes back to a command."""
    with closing(doors.connect("lpd")) as connection:
        connection.sendall(command)
        return said(connection).decode()


# Jobs


@pytest.mark.parametrize("order", ["control first", "data first"])
@pytest.mark.parametrize(
    ("document", "media_type"),
    [(PDF, "application/pdf"), (POSTSCRIPT, "application/postscript"), (TEXT, "text/plain"), (TEXT[:9], "text/plain")],
)
def test_a_job_comes_with_its_names(
    printer: RunningPrinter, doors: Doors, document: bytes, media_type: str, order: str
) -> None:
    """User, title, file name and bytes, whichever file comes first; the length says that a text is whole."""
    with printing(doors) as client:
        sends = [client.control, lambda: client.data(document)]
        for send in sends if order == "control first" else reversed(sends):
            assert send() == TAKEN
    (job,) = printer.rows()
    assert (job.ticket.printer, job.ticket.user, job.ticket.title) == ("inv", "marie", "Facture")
    assert (job.ticket.source, job.ticket.host, job.ticket.media_type) == ("lpd", "localhost", media_type)
    assert job.ticket.options == {"document-name": "FA-2026-0042.pdf", "job-originating-host-name": "mill"}
    assert job.original is not None and printer.blobs.read(job.original) == document
    assert job.state == JobState.RECEIVED
    assert printer.spooled() == []
    until(lambda: printer.rows()[0].answered)


def test_the_zero_byte_comes_after_the_disk(
    printer: RunningPrinter, doors: Doors, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client may forget the document when it reads zero: its file is synced by then, and its row committed."""
    held, adopt = threading.Event(), printer.blobs.adopt
    monkeypatch.setattr(printer.blobs, "adopt", lambda files: (held.wait(20), adopt(files))[1])
    with printing(doors) as client:
        assert client.control() == TAKEN
        assert client.say(b"\x03%d dfA042mill\n" % len(PDF)) == TAKEN
        client.connection.sendall(PDF + b"\0")
        client.connection.settimeout(0.4)
        with pytest.raises(TimeoutError):
            client.connection.recv(1)
        assert printer.rows() == []
        held.set()
        client.connection.settimeout(20)
        assert client.connection.recv(1) == TAKEN
        assert [job.state for job in printer.rows()] == ["received"]


def test_each_data_file_is_a_job(printer: RunningPrinter, doors: Doors) -> None:
    """One control file, two files, three copies of the second."""
    control = "Hmill\nPmarie\nfdfA1m\nNone\n" + "odfB1m\n" * 3 + "Ntwo\n"
    with printing(doors) as client:
        assert client.data(PDF, "dfA1m") == client.control(control) == client.data(POSTSCRIPT, "dfB1m") == TAKEN
    first, second = printer.rows()
    assert [job.ticket.title for job in (first, second)] == ["one", "two"]
    assert (first.ticket.options.get("copies"), second.ticket.options.get("copies")) == (None, "3")


def test_a_connection_brings_one_job_after_another(printer: RunningPrinter, doors: Doors) -> None:
    """In both orders, each with the names of its own control file."""
    with printing(doors) as client:
        for number, user in enumerate(("anna", "bert"), 1):
            assert client.control(f"P{user}\nfdfA{number}m\n") == TAKEN
            assert client.data(PDF + b"%d" % number, f"dfA{number}m") == TAKEN
        assert client.data(PDF, "dfA3m") == client.control("Pcora\nfdfA3m\n") == TAKEN
    assert [job.ticket.user for job in printer.rows()] == ["anna", "bert", "cora"]


def test_a_data_file_may_hold_several_documents(printer: RunningPrinter, doors: Doors) -> None:
    with printing(doors) as client:
        assert client.control() == client.data(PDF + POSTSCRIPT) == TAKEN
    assert [job.ticket.media_type for job in printer.rows()] == ["application/pdf", "application/postscript"]


@pytest.mark.parametrize("size", [b"0", b"125899906843000", b"999999999999"])
def test_a_file_that_nobody_counted_goes_on_until_the_close(printer: RunningPrinter, doors: Doors, size: bytes) -> None:
    """It is taken when the document itself says that it is whole, and never otherwise."""
    for document in (PDF, PDF[:-9]):
        with printing(doors) as client:
            assert client.control() == TAKEN
            assert client.say(b"\x03%s dfA042mill\n" % size) == TAKEN
            client.connection.sendall(document)
            client.connection.shutdown(socket.SHUT_WR)
            assert client.connection.recv(1) == (TAKEN if document == PDF else REFUSED)
    assert outcomes(printer) == [("received", ""), ("aborted", "no-end")]


def test_who_counts_nothing_and_does_not_close_is_answered_after_a_silence(start: Start) -> None:
    doors = Doors(idle=0.3)
    printer = start(doors=doors.open)
    with printing(doors) as client:
        assert client.control() == client.say(b"\x030 dfA042mill\n") == TAKEN
        assert client.say(PDF + b"\0") == TAKEN
    assert outcomes(printer) == [("received", "")]


# The same again


def resets(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, door._RESET)
    connection.close()


def ends(connection: socket.socket) -> None:
    """What the printer sees first of a client that closes: nothing more will be asked, and perhaps nobody listens."""
    connection.shutdown(socket.SHUT_WR)


@pytest.mark.parametrize("leave", [resets, ends, socket.socket.close])
def test_a_lost_answer_makes_no_second_invoice(
    printer: RunningPrinter, doors: Doors, monkeypatch: pytest.MonkeyPatch, leave: Callable[[socket.socket], None]
) -> None:
    """A client that was gone before its answer sends the job again: it is the same job; later it is a new print."""
    held, adopt = threading.Event(), printer.blobs.adopt
    monkeypatch.setattr(printer.blobs, "adopt", lambda files: (held.wait(20), adopt(files))[1])
    with closing(doors.connect("lpd")) as connection:
        client = Client(connection)
        assert client.say(b"\x02invoices\n") == client.control() == TAKEN
        assert client.say(b"\x03%d dfA042mill\n" % len(PDF)) == TAKEN
        connection.sendall(PDF + b"\0")
        time.sleep(0.2)
        leave(connection)
        time.sleep(0.2)  # the printer has seen it
        held.set()
        until(lambda: len(printer.rows()) == 1)
    for count in (1, 2):
        with printing(doors) as client:
            assert client.control() == client.data() == TAKEN
        assert len(printer.rows()) == count
        until(lambda: all(job.answered for job in printer.rows()))


# What is not whole


@pytest.mark.parametrize("sent", [0, 1, 600, len(PDF) - 1])
def test_a_file_that_is_cut_is_no_invoice(printer: RunningPrinter, doors: Doors, sent: int) -> None:
    """Closed in order or not, fewer bytes than were told are not the document."""
    with printing(doors) as client:
        assert client.control() == client.say(b"\x03%d dfA042mill\n" % len(PDF)) == TAKEN
        client.connection.sendall(PDF[:sent])
    until(lambda: len(printer.rows()) == 1)
    assert outcomes(printer) == [("aborted", "cut")]
    assert printer.rows()[0].ticket.user == "marie"
    assert printer.spooled() == []


def test_data_without_a_control_file_is_no_invoice(printer: RunningPrinter, doors: Doors) -> None:
    """Nobody said to print it; its row says that something was cut."""
    with printing(doors) as client:
        assert client.data() == TAKEN
    until(lambda: len(printer.rows()) == 1)
    assert outcomes(printer) == [("aborted", "cut")]
    assert printer.spooled() == []


def test_a_file_that_never_came_is_told(printer: RunningPrinter, doors: Doors) -> None:
    """Two were announced, one came: it is an invoice, and the other one is missed by name."""
    with printing(doors) as client:
        assert client.control("Pmarie\nfdfA1m\nNone\nfdfB1m\nNtwo\n") == client.data(name="dfA1m") == TAKEN
    until(lambda: len(printer.rows()) == 2)
    assert outcomes(printer) == [("received", ""), ("aborted", "cut")]
    assert printer.rows()[1].ticket.title == "two"


def test_a_sender_may_take_a_file_back(printer: RunningPrinter, doors: Doors) -> None:
    """The octet behind a file is not zero: it was not good (RFC 1179 section 6.3)."""
    with printing(doors) as client:
        assert client.control() == TAKEN
        assert client.file(3, "dfA042mill", PDF, end=b"\1") == REFUSED
    assert outcomes(printer) == [("aborted", "cut")]


@pytest.mark.parametrize("order", ["control first", "data first"])
def test_an_aborted_job_is_not_printed(printer: RunningPrinter, doors: Doors, order: str) -> None:
    with printing(doors) as client:
        sends = [client.control, client.data] if order == "control first" else [client.data]
        assert [send() for send in sends] == [TAKEN] * len(sends)
        assert client.say(b"\x01\n") == TAKEN
    assert [job.state for job in printer.rows()] == (["canceled"] if order == "control first" else [])
    assert printer.spooled() == []


# What is refused


@pytest.mark.parametrize("order", ["control first", "data first"])
def test_a_refused_document_is_answered_with_a_refusal(printer: RunningPrinter, doors: Doors, order: str) -> None:
    """To its end, not in the middle, and with a row; what comes next is taken."""
    pcl = b"\x1bE\x1b&l0O" + bytes(500_000)
    with printing(doors) as client:
        sends = [client.control, lambda: client.data(pcl)]
        answers = [send() for send in (sends if order == "control first" else reversed(sends))]
        assert answers == [TAKEN, REFUSED]
        assert client.control() == client.data() == TAKEN
    assert outcomes(printer) == [("aborted", "pcl"), ("received", "")]


@pytest.mark.parametrize("kind", "cdgntv")
def test_troff_plots_and_rasters_are_refused(printer: RunningPrinter, doors: Doors, kind: str) -> None:
    with printing(doors) as client:
        assert client.control(f"Pmarie\n{kind}dfA042mill\n") == TAKEN
        assert client.data(b"x T post\n") == REFUSED
    assert outcomes(printer) == [("aborted", "unknown-format")]


def test_nothing_but_blanks_is_refused(printer: RunningPrinter, doors: Doors) -> None:
    with printing(doors) as client:
        assert client.control() == TAKEN
        assert client.data(b"\x04\0") == REFUSED
    assert outcomes(printer) == [("aborted", "empty")]


def test_a_file_beyond_the_limit_is_refused_before_it_comes(start: Start) -> None:
    """With a row; the client need not send it first."""
    doors = Doors()
    printer = start(doors=doors.open, document_limit=10_000)
    for size in (10_001, 10**17):
        with printing(doors) as client:
            assert client.control() == TAKEN
            assert client.say(b"\x03%d dfA042mill\n" % size) == REFUSED
    assert outcomes(printer) == [("aborted", "too-large")] * 2


def test_what_comes_before_its_control_file_is_bounded(start: Start) -> None:
    """No sender fills the disk with data for jobs that it never orders."""
    doors = Doors()
    printer = start(doors=doors.open, document_limit=30_000)
    with printing(doors) as client:
        assert client.data(PDF, "dfA1m") == client.data(PDF, "dfB1m") == TAKEN
        with suppress(ConnectionError):
            client.data(PDF, "dfC1m")
            assert client.data(PDF, "dfD1m") != TAKEN
    assert printer.spooled() == []
    assert all(job.state == JobState.ABORTED for job in printer.rows())


@pytest.mark.parametrize(
    "line",
    [
        b"\x02nowhere\n",
        b"\x02../invoices\n",
        b"\x02\n",
        b"\x07invoices\n",
        b"GET / HTTP/1.1\r\n",
        b"\x02" + b"x" * 200_000 + b"\n",
        b"\x16\x03\x01\n",
    ],
)
def test_what_is_no_command_for_a_queue_is_refused(
    printer: RunningPrinter, doors: Doors, caplog: pytest.LogCaptureFixture, line: bytes
) -> None:
    """One byte that is not zero, a line of the log, and the end."""
    with suppress(ConnectionError), closing(doors.connect("lpd")) as connection:
        connection.sendall(line)
        assert said(connection) == REFUSED
    until(lambda: "lpd: localhost is refused" in caplog.text)


@pytest.mark.parametrize(
    "line",
    [
        b"\x03-5 dfA042mill\n",
        b"\x03%d dfA042mill\n" % 10**30,
        b"\x0310 ../../../etc/cron.d/x\n",
        b"\x0310 dfA1\x00\x1b]0;x\n",
        b"\x0210 /etc/passwd\n",
        b"\x02%d cfA042mill\n" % (1 << 20),
        b"\x020 cfA042mill\n",
        b"\x02x cfA042mill\n",
        b"\x09\n",
        b"\x03" + b"1" * 300_000,
    ],
)
def test_a_subcommand_that_no_client_sends_is_refused(
    printer: RunningPrinter, doors: Doors, caplog: pytest.LogCaptureFixture, line: bytes
) -> None:
    with suppress(ConnectionError), printing(doors) as client:
        assert client.say(line) == REFUSED
    until(lambda: "lpd: localhost is refused" in caplog.text)
    assert printer.rows() == []


@pytest.mark.parametrize("control", ["", "Pmarie\n", "Pmarie\nf../../x\n", "P" + "a" * 9000 + "\nfdfA042mill\n"])
def test_a_broken_control_file_is_refused(
    printer: RunningPrinter, doors: Doors, caplog: pytest.LogCaptureFixture, control: str
) -> None:
    with suppress(ConnectionError), printing(doors) as client:
        assert client.control(control or "\n") == REFUSED
    until(lambda: "lpd: localhost is refused" in caplog.text)
    assert printer.rows() == []


def test_names_of_a_sender_are_words(printer: RunningPrinter, doors: Doors) -> None:
    """Whatever they are, they are kept as they came and lead nowhere."""
    hostile = "P../../root\nJ'; DROP TABLE jobs; --\nfdfA042mill\nN/etc/passwd\x1b[2J\n"
    before = sorted(printer.folder.iterdir())
    with printing(doors) as client:
        assert client.control(hostile) == client.data() == TAKEN
    (job,) = printer.rows()
    assert (job.ticket.user, job.ticket.title) == ("../../root", "'; DROP TABLE jobs; --")
    assert sorted(printer.folder.iterdir()) == before
    assert "\x1b" not in asked(doors, b"\x03invoices\n")


def test_a_full_disk_is_told_so(printer: RunningPrinter, doors: Doors, monkeypatch: pytest.MonkeyPatch) -> None:
    """The byte for "later": clients keep the job and come again."""
    with monkeypatch.context() as full, printing(doors) as client:
        assert client.control() == TAKEN
        full.setattr(printer.blobs, "free_space", lambda: -1)
        time.sleep(0.2)  # the last word of the disk has become old
        assert client.say(b"\x03%d dfA042mill\n" % len(PDF)) == LATER
    until(printer.intake.has_room)
    with printing(doors) as client:
        assert client.control() == client.data() == TAKEN
    assert outcomes(printer) == [("received", "")]


def test_a_closed_printer_is_told_so(printer: RunningPrinter, doors: Doors) -> None:
    """The same byte, whether the data has a control file already or waits for it."""
    printer.intake.switches = Switches(accepting=False)
    with printing(doors) as client:
        assert client.control() == TAKEN
        assert client.say(b"\x03%d dfA042mill\n" % len(PDF)) == LATER
    with printing(doors) as client:
        assert client.say(b"\x03%d dfA042mill\n" % len(PDF)) == LATER
    assert printer.rows() == []
    printer.intake.switches = Switches()
    with printing(doors) as client:
        assert client.control() == client.data() == TAKEN
    assert outcomes(printer) == [("received", "")]


def test_a_disk_that_fills_under_way_is_told_so(
    printer: RunningPrinter, doors: Doors, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether the data waits for its control file or goes to the intake."""

    def full(*_: object, **_more: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    async def away(*_: object) -> None:
        raise TransientError("The disk is full.")

    with monkeypatch.context() as patched:
        patched.setattr(lpd.tempfile, "TemporaryFile", full)
        with printing(doors) as client:
            assert client.data() == LATER
        patched.setattr(printer.intake._writer, "take", away)
        with printing(doors) as client:
            assert client.control() == TAKEN
            assert client.data() == LATER
    with printing(doors) as client:
        assert client.control() == client.data() == TAKEN
    assert outcomes(printer) == [("received", "")]


# Peers that dawdle


def test_a_command_that_does_not_come_ends_the_connection(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door.Line.line, "__defaults__", (0.3,))
    doors = Doors()
    start(doors=doors.open)
    for begun in (b"", b"\x02invo"):
        with closing(doors.connect("lpd")) as connection, pytest.raises(ConnectionError):
            connection.sendall(begun)
            said(connection)


def test_a_file_that_drips_is_cut(printer: RunningPrinter, doors: Doors, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each byte buys a little time; a half-open connection gives its place back."""
    monkeypatch.setattr(door, "IDLE", 0.5)
    with printing(doors) as client:
        assert client.control() == client.say(b"\x03%d dfA042mill\n" % len(PDF)) == TAKEN
        with suppress(ConnectionError):
            for drip in range(100):
                client.connection.sendall(PDF[drip : drip + 1])
                time.sleep(0.05)
        assert drip < 60
    until(lambda: len(printer.rows()) == 1)
    assert outcomes(printer) == [("aborted", "cut")]


# The state of a queue, and taking jobs out of it


def test_the_queue_shows_what_waits(printer: RunningPrinter, doors: Doors) -> None:
    """As lpq prints it; done jobs are gone, jobs of other printers are elsewhere."""
    assert asked(doors, b"\x03invoices\n") == "Invoice Printer is ready\nno entries\n"
    for queue in ("invoices", "drafts"):
        with printing(doors, queue) as client:
            assert client.control() == client.data() == TAKEN
    short = asked(doors, b"\x03invoices\n").splitlines()
    assert short == [
        "Invoice Printer is ready and printing",
        f"1      marie      1     {'Facture':<38}{len(PDF)} bytes",
    ]
    long = asked(doors, b"\x04invoices marie\n").splitlines()
    assert long[1:] == [f"marie: {'1':<32}[job 1 localhost]", f"        {'Facture':<38}{len(PDF)} bytes"]
    assert "no entries" in asked(doors, b"\x04invoices anna 7\n")
    printer.change(1, state=JobState.DONE)
    assert "no entries" in asked(doors, b"\x03invoices\n")
    assert asked(doors, b"\x01invoices\n") == "\0"


def test_jobs_of_other_machines_have_no_names(printer: RunningPrinter, doors: Doors) -> None:
    with printing(doors) as client:
        assert client.control() == client.data() == TAKEN
    printer.change(1, host="192.0.2.7")
    told = asked(doors, b"\x04invoices\n")
    assert "job 1" in told and "marie" not in told and "Facture" not in told


@pytest.mark.parametrize(
    ("command", "canceled"),
    [
        (b"\x05invoices marie 1\n", [1]),
        (b"\x05invoices marie\n", [1]),
        (b"\x05invoices marie marie\n", [1, 2]),
        (b"\x05invoices anna 1 2\n", []),
        (b"\x05invoices anna marie\n", []),
        (b"\x05invoices marie 3\n", []),
        (b"\x05invoices marie 4\n", []),
        (b"\x05drafts marie 1\n", []),
        (b"\x05invoices\n", []),
    ],
)
def test_only_own_jobs_are_removed(printer: RunningPrinter, doors: Doors, command: bytes, canceled: list[int]) -> None:
    """By the user and the machine that printed them: 3 is of another machine, 4 is of another user."""
    for number in range(4):
        with printing(doors) as client:
            assert client.control() == client.data(PDF + b"%d" % number) == TAKEN
    printer.change(3, host="192.0.2.7")
    printer.change(4, user="anna")
    told = asked(doors, command)
    assert [job.number for job in printer.rows() if job.state == JobState.CANCELED] == canceled
    assert told == "".join(f"job {number} canceled\n" for number in canceled)


def test_a_job_at_work_is_not_removed(printer: RunningPrinter, doors: Doors) -> None:
    with printing(doors) as client:
        assert client.control() == client.data() == TAKEN
    printer.change(1, state=JobState.PROCESSING)
    assert asked(doors, b"\x05invoices marie 1\n") == "job 1 is at work and cannot be canceled\n"
    assert asked(doors, b"\x03invoices\n").splitlines()[1].startswith("active")


@pytest.mark.parametrize("cut", [1, 900, len(PDF) - 1, len(PDF)])
def test_the_octet_of_zero_is_no_byte_of_a_file_that_nobody_counted(
    printer: RunningPrinter, doors: Doors, cut: int
) -> None:
    """What is archived is what was printed, whether its sender ends the file as the standard says or only closes."""
    for end in (b"\0", b""):
        with printing(doors) as client:
            assert client.control() == client.say(b"\x030 dfA042mill\n") == TAKEN
            for piece in (PDF[:cut], PDF[cut:] + end):
                client.connection.sendall(piece)
            client.connection.shutdown(socket.SHUT_WR)
            assert client.connection.recv(1) == TAKEN
    archived = [printer.blobs.read(job.original) for job in printer.rows() if job.original]
    assert archived and set(archived) == {PDF}


# Anything


UNCOUNTED = b"\x030 dfA042mill\n"


def uncounted(stream: bytes) -> set[bytes]:
    """The whole documents behind the announcement of a file without a length: all that follows is its bytes, until the
    close, but for its octet of zero.
    """
    tails = [stream[found.end() :] for found in re.finditer(re.escape(UNCOUNTED), stream)]
    tails += [tail.removesuffix(b"\0") for tail in tails]
    return {data for tail in tails for data, is_whole in documents(tail) if is_whole}


CONVERSATION = st.lists(
    st.sampled_from(
        [
            b"\x02%d cfA042mill\n" % len(CONTROL) + CONTROL.encode() + b"\0",
            b"\x03%d dfA042mill\n" % len(PDF) + PDF + b"\0",
            b"\x03%d dfB042mill\n" % len(TEXT) + TEXT + b"\0",
            b"\x03%d dfA042mill\n" % len(PDF) + PDF[:1500],
            UNCOUNTED + PDF,
            UNCOUNTED + PDF[:-9],
            b"\x01\n",
        ]
    )
    | st.binary(max_size=30),
    max_size=5,
).map(b"".join)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from([b"\x02invoices\n", b"", b"\x03invoices\n"]), CONVERSATION, st.integers(0, 1 << 16))
def test_any_conversation_makes_jobs_of_whole_documents_alone(
    printer: RunningPrinter, doors: Doors, first: bytes, more: bytes, cut: int
) -> None:
    """Whatever a peer says, in whatever pieces, and wherever it breaks off: the door stands, and no short invoice."""
    before = len(printer.rows())
    stream = first + more
    cut %= len(stream) + 1
    with suppress(OSError), closing(doors.connect("lpd")) as connection:
        for piece in (stream[:cut], stream[cut:]):
            connection.sendall(piece)
        connection.shutdown(socket.SHUT_WR)
        said(connection)
    whole = {PDF, TEXT} | uncounted(stream)
    for job in printer.rows()[before:]:
        assert job.original is None or printer.blobs.read(job.original) in whole
        assert (job.original is None) == (job.state == JobState.ABORTED)
    assert printer.spooled() == []
    assert "Invoice Printer is ready" in asked(doors, b"\x03invoices\n")


# A real client


@pytest.mark.parametrize(
    "how", ["", "?order=data,control", "?mode=stream", "?format=o", "?banner=on", "?reserve=rfc1179"]
)
@pytest.mark.parametrize("copies", [1, 2])
def test_the_lpd_backend_of_cups_prints(
    printer: RunningPrinter, doors: Doors, tmp_path: Path, how: str, copies: int
) -> None:
    """Debian's own, as cupsd starts it, in each of its ways. It sends copies one behind the other: they are one job."""
    file = tmp_path / "invoice.pdf"
    file.write_bytes(PDF)
    uri = f"lpd://127.0.0.1:{doors.ports['lpd']}/invoices{how}"
    with backend("lpd", uri, file, copies) as client:
        assert client.wait(60) == 0, client.stderr
    until(lambda: len(printer.rows()) == 1)
    (job,) = printer.rows()
    assert (job.ticket.user, job.ticket.title) == ("marie", "FA_2026_0042_pdf")  # CUPS does that to titles
    assert job.original is not None and printer.blobs.read(job.original) == PDF


def test_the_lpd_backend_of_cups_sees_a_refusal(printer: RunningPrinter, doors: Doors, tmp_path: Path) -> None:
    """It says so in the queue's log, and tries again later until somebody cancels the job."""
    file = tmp_path / "invoice.pcl"
    file.write_bytes(b"\x1bE\x1b&l0O FA-2026-0042")
    with backend("lpd", f"lpd://127.0.0.1:{doors.ports['lpd']}/invoices", file) as client:
        until(lambda: len(printer.rows()) == 1)
        assert client.stderr is not None
        assert any(b"did not accept data file (3)" in line for line in client.stderr)
        client.terminate()
    assert outcomes(printer) == [("aborted", "pcl")]


def test_the_lpd_backend_of_cups_finds_no_other_queue(printer: RunningPrinter, doors: Doors, tmp_path: Path) -> None:
    (tmp_path / "invoice.pdf").write_bytes(PDF)
    with backend("lpd", f"lpd://127.0.0.1:{doors.ports['lpd']}/nowhere", tmp_path / "invoice.pdf") as client:
        assert client.wait(60) == 1
    assert printer.rows() == []
