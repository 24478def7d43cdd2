"""The backend by itself: what CUPS hands over, what it is told, and that one file is enough."""

from __future__ import annotations

import ast
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from printerd import cups_backend
from tests.listener.printing import PDF, RunningPrinter

FILE = Path(cups_backend.__file__)
ENVIRONMENT = {"LANG": "fr_FR.UTF-8", "CONTENT_TYPE": "application/pdf", "FINAL_CONTENT_TYPE": "text/plain"}


def words(*file: str, number: str = "7", options: str = "job-uuid=urn:uuid:1") -> list[str]:
    """The arguments of a job, as CUPS gives them."""
    return [number, "anna", "FA-1", "2", options, *file]


def job(place: Path, *file: str) -> cups_backend.Job:
    return cups_backend.read(
        ["invoice-printer", *words(*file)], {"DEVICE_URI": f"invoice-printer:{place}?queue=invoices"}
    )


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "backend.sock"


@pytest.fixture
def document(tmp_path: Path) -> Path:
    path = tmp_path / "d00007-002"
    path.write_bytes(PDF)
    return path


@pytest.fixture
def printer(tmp_path: Path, place: Path) -> Iterator[RunningPrinter]:
    running = RunningPrinter(tmp_path / "state", socket_path=place)
    yield running
    running.stop()


def run(
    place: Path,
    *arguments: str | bytes,
    given: bytes = b"",
    queue: str = "invoices",
    more: dict[str, str] | None = None,
) -> subprocess.CompletedProcess[bytes]:
    """One start of the backend, for the printer at ``place``."""
    environment = ENVIRONMENT | {"DEVICE_URI": f"invoice-printer:{place}?queue={queue}"} | (more or {})
    return subprocess.run(
        [sys.executable, "-IS", FILE, *arguments], input=given, capture_output=True, timeout=60, env=environment
    )


def test_it_stands_on_the_standard_library_alone() -> None:
    """One file, copied to where CUPS looks, must run: it imports nothing of ours and of nobody else."""
    tree = ast.parse(FILE.read_text("utf-8"))
    imported = {
        name
        for node in ast.walk(tree)
        for name in ([node.module or ""] if isinstance(node, ast.ImportFrom) else [])
        + ([alias.name for alias in node.names] if isinstance(node, ast.Import) else [])
    }
    assert {name.partition(".")[0] for name in imported} <= set(sys.stdlib_module_names)


def test_a_copy_of_it_prints_its_discovery_line(tmp_path: Path) -> None:
    """It is a program by itself, under the name of its scheme and with Debian's own Python."""
    copy = shutil.copy(FILE, tmp_path / "invoice-printer")
    Path(copy).chmod(0o755)
    said = subprocess.run([copy], capture_output=True, text=True, check=True, env={})
    assert (said.stdout, said.stderr) == (cups_backend.DISCOVERY + "\n", "")
    assert run(tmp_path, "1", "2").returncode == cups_backend.FAILED


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("", {}),
        ("media=A4 noCollate copies=2", {"media": "A4", "copies": "2"}),
        (
            r"a=one\ two b=\"quoted\" c=back\\slash d=it\'s",
            {"a": "one two", "b": '"quoted"', "c": "back\\slash", "d": "it's"},
        ),
        ("a=x=y b=", {"a": "x=y", "b": ""}),
        ("a=end\\", {"a": "end"}),
        ("a=1\\\nb=2", {"a": "1\nb=2"}),
    ],
)
def test_options_are_read_as_cups_writes_them(text: str, options: dict[str, str]) -> None:
    """Blanks, quotes, backslashes and line ends of a value stand behind a backslash."""
    assert cups_backend.parse_options(text) == options


def test_a_document_is_known_by_job_uuid_number_and_place(document: Path) -> None:
    """The same on each attempt; another one for another document, another job, and bytes that came by a filter."""

    def key(number: str, *file: str, options: str = "job-uuid=urn:uuid:1") -> str | None:
        argv = ["invoice-printer", *words(*file, number=number, options=options)]
        with document.open("rb") as stream:
            return cups_backend.read(argv, {}).key(stream)

    spool = "/var/spool/cups/d00007-00"
    told = [key("7", f"{spool}1"), key("7", f"{spool}2"), key("8", f"{spool}1"), key("7")]
    assert told[0] == "urn:uuid:1 7 001" and len(set(told)) == len(told)
    assert key("7") == key("7") and key("7", options="") is None


@pytest.mark.parametrize("by_filter", [False, True])
def test_a_document_comes_as_a_file_or_from_a_filter(
    printer: RunningPrinter, document: Path, place: Path, by_filter: bool
) -> None:
    """A file is what the sender said it is, in as many copies; a filter tells its own type and has made the copies."""
    file = () if by_filter else (str(document),)
    given = b"Facture\n" if by_filter else b""
    for _ in range(2):
        done = run(place, *words(*file), given=given)
        assert (done.returncode, done.stderr) == (cups_backend.OK, b"INFO: inv: 1\n")
    (row,) = printer.rows()
    assert printer.blobs.read(row.original or "") == (given or PDF)  # type: ignore[arg-type]
    assert row.ticket.options == {"copies": "1" if by_filter else "2"}
    assert row.ticket.media_type == ("text/plain" if by_filter else "application/pdf")


def test_words_that_are_no_utf8_are_carried(printer: RunningPrinter, document: Path, place: Path) -> None:
    """A title in another encoding loses its accents, not its document."""
    number, user, _, *rest = words(str(document))
    done = run(place, number, user, b"factur\xe9 \xf0\x9f\x98\x80", *rest)
    assert done.returncode == cups_backend.OK, done.stderr
    assert [row.ticket.title for row in printer.rows()] == ["factur\ufffd 😀"]


@pytest.mark.parametrize("queue", ["", "x", "../invoices"])
def test_a_wrong_address_holds_the_job(printer: RunningPrinter, document: Path, place: Path, queue: str) -> None:
    """IT's mistake costs no document: the job waits in the queue until somebody releases it."""
    done = run(place, *words(str(document)), queue=queue)
    assert done.returncode == cups_backend.HOLD
    assert done.stderr.decode().startswith("ERROR: Aucune imprimante ne porte ce nom")
    assert printer.rows() == []


def test_a_document_that_cannot_be_read_holds_the_job(place: Path) -> None:
    """It says which, and never ends with a code that stops the queue."""
    done = run(place, *words("/nowhere/d00007-001"))
    assert done.returncode == cups_backend.HOLD
    assert done.stderr.startswith(b"ERROR: Le travail est retenu") and b"/nowhere/d00007-001" in done.stderr


def test_what_is_too_large_is_refused_before_it_is_sent(printer: RunningPrinter, document: Path, place: Path) -> None:
    """Its size stands before it, so the answer comes at once, and is read though nobody takes the rest."""
    printer.intake.document_limit = 100
    with document.open("ab") as file:
        file.truncate(64 << 20)
    done = run(place, *words(str(document)))
    assert (done.returncode, done.stderr.decode()) == (
        cups_backend.CANCEL,
        "ERROR: Le document dépasse 100 octets. Imprimez-le en plusieurs parties.\n",
    )


def test_a_banner_page_is_read_and_dropped(printer: RunningPrinter, place: Path, document: Path) -> None:
    """The filter that draws it is not hurt, and no document comes of it."""
    for file in ((), (str(document),)):
        done = run(place, *words(*file), given=PDF * 20, more={"CUPS_FILETYPE": "job-sheet"})
        assert (done.returncode, done.stderr) == (cups_backend.OK, b"")
    assert printer.rows() == []


def test_after_an_hour_cups_starts_the_job_anew(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], place: Path, document: Path
) -> None:
    """CUPS cancels what takes three hours; a job that is started again has three more."""
    monkeypatch.setattr(cups_backend, "PATIENCE", 0.5)
    assert cups_backend.guarded(job(place, str(document))) == cups_backend.RETRY_CURRENT
    said = capfd.readouterr().err.splitlines()
    assert said[:2] == [
        "STATE: +connecting-to-device",
        "INFO: The invoice printer is away (No such file or directory); the job waits for it.",
    ]


@pytest.mark.parametrize(
    "answer", [b"", b"\xff\n", b"[]\n", b'{"verdict": []}\n', b'{"verdict": "stop", "message": ""}\n']
)
def test_only_a_verdict_ends_a_job(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], place: Path, document: Path, answer: bytes
) -> None:
    """An answer that was cut, or means nothing, is none: the document is sent again."""
    monkeypatch.setattr(cups_backend, "PATIENCE", 0.3)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(os.fspath(place))
        listening.listen()
        met: list[bytes] = []

        def serve() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                with connection:
                    met.append(connection.recv(10))
                    connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        code = cups_backend.told(job(place, str(document)))
        listening.shutdown(socket.SHUT_RDWR)
        thread.join()
    assert (code, len(met) >= 2) == (cups_backend.RETRY_CURRENT, True)
    assert "+connecting-to-device" in capfd.readouterr().err
