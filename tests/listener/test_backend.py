"""The door of the CUPS backend: who may come in, what is said there, and what becomes of those who stop in between."""

from __future__ import annotations

import json
import os
import socket
import stat
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from printerd.listener import backend
from printerd.model import JobState
from printerd.storage import instance
from printerd.storage.instance import Switches
from printerd.supervisor import bind
from tests.instance import until

from .printing import PDF, RunningPrinter

SAID: dict[str, Any] = {
    "queue": "invoices",
    "user": "anna",
    "host": "localhost",
    "title": "FA-1",
    "language": "en",
    "media_type": "application/pdf",
    "options": {},
    "sender_key": "urn:uuid:1 7 001",
    "size": len(PDF),
}
STRANGER = 65533


@pytest.fixture
def printer(tmp_path: Path) -> Iterator[RunningPrinter]:
    running = RunningPrinter(tmp_path / "state", socket_path=tmp_path / "backend.sock")
    yield running
    running.stop()


def connect(printer: RunningPrinter) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(20)
    connection.connect(str(printer.socket_path))
    return connection


def line(**other: Any) -> bytes:
    return json.dumps(SAID | other).encode() + b"\n"


def say(printer: RunningPrinter, octets: bytes) -> dict[str, Any]:
    """One connection: what is answered."""
    with connect(printer) as connection:
        with suppress(BrokenPipeError):  # it has answered already
            connection.sendall(octets)
        with connection.makefile("rb") as answer:
            said: dict[str, Any] = json.loads(answer.readline())
            return said


def test_a_document_is_durable_before_it_is_answered(printer: RunningPrinter) -> None:
    """Taken, with its number; the row is there, and the worker was woken."""
    assert say(printer, line() + PDF) == {"verdict": "taken", "message": "inv: 1"}
    (row,) = printer.rows()
    assert (row.state, row.ticket.printer, row.ticket.source) == (JobState.RECEIVED, "inv", "cups")
    assert printer.blobs.read(row.original or "") == PDF  # type: ignore[arg-type]
    until(lambda: printer.woken)


def test_the_same_key_is_the_same_job(printer: RunningPrinter) -> None:
    """Sent again it is answered with the job that is there; without a key, alike is what looks alike."""
    assert {say(printer, line() + PDF)["message"] for _ in range(3)} == {"inv: 1"}
    assert say(printer, line(sender_key="urn:uuid:1 7 002") + PDF)["message"] == "inv: 2"
    until(lambda: all(row.answered for row in printer.rows()))
    assert say(printer, line(sender_key=None) + PDF)["message"] == "inv: 3"


@pytest.mark.parametrize(
    ("host", "kept"),
    [("", "localhost"), ("localhost", "localhost"), ("::1", "localhost"), ("192.0.2.7", "192.0.2.7"), ("erp1", "erp1")],
)
def test_the_host_is_the_one_that_printed_to_cups(printer: RunningPrinter, host: str, kept: str) -> None:
    """What cupsd says of a job's origin is kept as IPP keeps it."""
    say(printer, line(host=host) + PDF)
    assert [row.ticket.host for row in printer.rows()] == [kept]


@pytest.mark.parametrize("media_type", ["application/vnd.cups-raw", "printer/invoices", "text/html", ""])
def test_a_format_that_is_none_of_ours_is_looked_at(printer: RunningPrinter, media_type: str) -> None:
    """CUPS has names of its own for what nobody declared."""
    assert say(printer, line(media_type=media_type) + PDF)["verdict"] == "taken"
    assert [row.ticket.media_type for row in printer.rows()] == ["application/pdf"]


@pytest.mark.parametrize(
    "said",
    [
        b"\n",
        b"[]\n",
        b"{}\n",
        b"\xff\n",
        b"[" * 60_000 + b"\n",
        b'{"a": "' + b"x" * 70_000 + b'"}\n',
        line(more=1),
        line(size="1"),
        line(size=-1),
        line(size=True),
        line(options=[]),
        line(options={"a": 1}),
        line(title=None),
        line(title="\ud800"),
        line(user="a\0b"),
        line(sender_key=7),
        line(sender_key=[]),
    ],
)
def test_what_a_backend_does_not_say_is_held(printer: RunningPrinter, said: bytes) -> None:
    """Another version, or a mistake: nothing is stored, and the job stays in the queue."""
    assert say(printer, said)["verdict"] == "held"
    assert printer.rows() == [] and printer.spooled() == []


@pytest.mark.parametrize(
    ("other", "document", "code"),
    [
        ({"size": 9 << 20}, b"", "too-large"),
        ({"size": 0}, b"", "empty"),
        ({"size": 5, "media_type": "image/png"}, b"\x89PNG\0", "picture"),
        ({"size": 4}, b"none", "format-error"),
    ],
)
def test_a_refusal_is_a_row_and_a_sentence(
    printer: RunningPrinter, other: dict[str, Any], document: bytes, code: str
) -> None:
    """In the sender's language, where we speak it; else in English."""
    said = {language: say(printer, line(**other, language=language) + document) for language in ("fr", "xx")}
    assert {answer["verdict"] for answer in said.values()} == {"refused"}
    assert said["fr"]["message"] != said["xx"]["message"]
    assert [row.reason and row.reason["code"] for row in printer.rows()] == [code, code]


def test_while_the_disk_is_full_it_is_later(printer: RunningPrinter, monkeypatch: pytest.MonkeyPatch) -> None:
    """The backend tries again by itself; the queue says why it waits."""
    with monkeypatch.context() as full:
        full.setattr(printer.blobs, "free_space", lambda: -1)
        answer = say(printer, line() + PDF)
    assert answer["verdict"] == "later" and "disk" in answer["message"]
    assert printer.rows() == []


def test_while_the_printer_is_closed_it_is_later(printer: RunningPrinter) -> None:
    printer.intake.switches = Switches(accepting=False)
    answer = say(printer, line() + PDF)
    assert answer["verdict"] == "later" and "operator" in answer["message"]
    assert printer.rows() == []


def test_while_the_printer_is_paused_jobs_are_taken_and_wait(printer: RunningPrinter) -> None:
    """As by IPP: the pause is kept on this side, and the queue of CUPS is free."""
    with printer.database.write() as connection:
        instance.set_switches(connection, Switches(paused=True))
    assert say(printer, line() + PDF)["verdict"] == "taken"
    (row,) = printer.rows()
    assert (row.state, row.code) == (JobState.PENDING, "printer-stopped")


def test_our_own_mistake_holds_the_job(printer: RunningPrinter, monkeypatch: pytest.MonkeyPatch) -> None:
    """What nobody foresaw is logged, and the document stays where it is: in the queue."""
    monkeypatch.setattr(printer.intake._room, "promise", None)
    assert say(printer, line() + PDF)["verdict"] == "held"
    assert printer.rows() == []


@pytest.mark.parametrize("sent", [b"", b'{"queue"', line(), line() + PDF[:5000]])
def test_who_goes_away_in_between_leaves_nothing(printer: RunningPrinter, sent: bytes) -> None:
    """No document that ends too soon; one that had begun is a refusal in the list."""
    with connect(printer) as connection:
        connection.sendall(sent)
    assert say(printer, line(sender_key="2") + PDF)["verdict"] == "taken"
    until(lambda: not printer.spooled())
    states = {row.state for row in printer.rows()}
    assert [row.state for row in printer.rows()].count(JobState.RECEIVED) == 1
    assert states <= {JobState.RECEIVED, JobState.ABORTED}


def test_who_says_nothing_more_is_cut(printer: RunningPrinter) -> None:
    """After the seconds of the door (five here) a document that does not go on is one that was cut."""
    began = time.monotonic()
    answer = say(printer, line() + PDF[:5000])
    assert answer["verdict"] == "refused" and 4 < time.monotonic() - began < 15
    assert printer.spooled() == []


def test_a_header_does_not_drip(printer: RunningPrinter, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who connects and never says what for is hung up on."""
    monkeypatch.setattr(backend, "SLOWEST_HEAD", 0.3)
    assert say(printer, b"{")["verdict"] == "later"


# Who may come in


def test_a_stranger_is_not_let_in(tmp_path: Path) -> None:
    """The kernel says who connects: who is not the print system hands over nothing, though he got that far."""
    door = RunningPrinter(tmp_path / "state", socket_path=tmp_path / "backend.sock", users=frozenset({STRANGER}))
    try:
        assert say(door, line() + PDF)["verdict"] == "held"
        assert door.rows() == [] and door.spooled() == []
    finally:
        door.stop()


def test_the_print_system_is_seen_through_a_user_namespace() -> None:
    """In a unit with PrivateUsers= everybody but root and ourselves is nobody: there the socket's mode decides."""
    assert backend.seen(7, ["         0          0 4294967295"]) == 7
    private = ["         0          0          1", "       998        998          1"]
    assert (backend.seen(0, private), backend.seen(998, private), backend.seen(7, private)) == (0, 998, 65534)
    assert backend.seen(1007, ["0 1000 100"]) == 7
    assert {0, os.getuid()} <= backend.print_system() and STRANGER not in backend.print_system()


def test_the_socket_is_for_the_print_system(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Group lp where we may give it away, else our own user alone, and the log says so."""
    place = tmp_path / "backend.sock"
    with bind("backend", f"unix://{place}"):
        found = place.stat()
        mode = stat.S_IMODE(found.st_mode)
        assert (mode == 0o660 and place.group() == "lp") or (mode == 0o600 and "our own user alone" in caplog.text)
    with bind("api", f"unix://{tmp_path / 'api.sock'}"):
        assert stat.S_IMODE((tmp_path / "api.sock").stat().st_mode) == 0o600
