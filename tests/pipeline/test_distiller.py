"""Ghostscript in a unit of its own: both ends of its socket."""

from __future__ import annotations

import io
import os
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from printerd.errors import DocumentError, TransientError
from printerd.pipeline import distiller, reading
from printerd.pipeline.distiller import ANSWER
from printerd.pipeline.pools import PoolBroken
from printerd.pipeline.programs import Ended
from tests.pipeline import paper

UNIT = [sys.executable, "-s", "-P", "-m", "printerd.pipeline.distiller"]


@contextmanager
def unit(folder: Path, serve: Callable[[socket.socket], object]) -> Iterator[Path]:
    """A socket at which ``serve`` gets the first connection, as systemd's Accept=yes hands it over."""
    place = folder / "ghostscript.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        listening.bind(str(place))
        listening.listen()

        def once() -> None:
            connection, _ = listening.accept()
            with connection:
                serve(connection)

        serving = threading.Thread(target=once)
        serving.start()
        yield place
        serving.join(30)
        assert not serving.is_alive()


def program(connection: socket.socket) -> None:
    """What the unit runs, on the connection as its standard input and output, with a /tmp that ends with it."""
    with tempfile.TemporaryDirectory() as private:
        environment = {"PATH": os.environ["PATH"], "TMPDIR": private}
        subprocess.run(UNIT, stdin=connection, stdout=connection, check=True, timeout=30, env=environment)


def drawn(folder: Path, postscript: bytes, serve: Callable[[socket.socket], object] = program) -> tuple[Ended, bytes]:
    output = io.BytesIO()
    with unit(folder, serve) as place:
        ended = distiller.ask(place, io.BytesIO(postscript), output)
    return ended, output.getvalue()


def read(folder: Path, postscript: bytes, ended: Ended | None = None, pdf: bytes = b"") -> bytes:
    """What a reader makes of a PostScript document that was drawn elsewhere, or by itself."""
    folder.mkdir()
    (folder / "job.ps").write_bytes(postscript)
    handlers = reading.start([])
    told = {"drawn": distiller.values(ended)} if ended else {}
    with (folder / "job.ps").open("rb") as source:
        files = [source, io.BytesIO(pdf)] if ended else [source]
        handlers["read"]({"media_type": "application/postscript", **told}, files, folder)
    return (folder / reading.CONVERTED).read_bytes()


def test_it_makes_no_difference_who_draws(tmp_path: Path) -> None:
    """A document is the same PDF, byte for byte, whether the unit or the reader ran Ghostscript."""
    postscript = paper.postscript("(FA-2026-0042) show", "(two) show")
    ended, pdf = drawn(tmp_path, postscript)
    assert (ended.status, pdf[:5]) == (0, b"%PDF-")
    assert read(tmp_path / "there", postscript, ended, pdf) == read(tmp_path / "here", postscript)


@pytest.mark.parametrize(
    ("postscript", "code"),
    [
        (paper.postscript("(one) show", "undefined-name"), "unreadable"),
        (paper.postscript("(one) show", pages=2), "truncated"),
        (b"no PostScript", "not-postscript"),
    ],
)
def test_what_is_wrong_with_a_document_is_the_same_wherever_it_is_drawn(
    tmp_path: Path, postscript: bytes, code: str
) -> None:
    """Errors, missing pages and other documents have the codes that they have without the unit."""
    ended, pdf = drawn(tmp_path, postscript)
    for place, told in (("there", (ended, pdf)), ("here", ())):
        with pytest.raises(DocumentError) as caught:
            read(tmp_path / place, postscript, *told)
        assert caught.value.code == code


def test_a_failing_ghostscript_hands_nothing_over(tmp_path: Path) -> None:
    """With a status that is not 0 there are words, and no PDF, though Ghostscript left a file."""
    ended, pdf = drawn(tmp_path, paper.postscript("(one) show", "undefined-name"))
    assert ended.status != 0 and "undefined" in ended.words
    assert pdf == b""


def test_a_document_that_ends_itself_leaves_nobody_waiting(tmp_path: Path) -> None:
    """A program that quits before its end is drawn as far as it went; what follows is read and forgotten."""
    ended, pdf = drawn(tmp_path, paper.postscript("(one) show") + b"\nquit\n" + b"% more\n" * 1_000_000)
    assert ended.status == 0 and pdf.startswith(b"%PDF-")


def test_the_unit_writes_no_file_of_its_users_choice(tmp_path: Path) -> None:
    """The unit confines itself as a reader does: neither what PostScript writes nor what it reads is ours."""
    secret, target = tmp_path / "secret", tmp_path / "written"
    secret.write_text("(swordfish) =")
    acts = (f"({secret}) (r) file", f"({target}) (w) file", f"({secret}) run", "(%pipe%id) (r) file")
    for turn, act in enumerate(acts):
        folder = tmp_path / str(turn)  # short: a socket's path has 107 bytes (unix(7))
        folder.mkdir()
        ended, pdf = drawn(folder, paper.postscript(act))
        assert ended.status != 0 and "swordfish" not in ended.words and pdf == b""
    assert not target.exists()


@pytest.mark.parametrize(
    "answer",
    [b"", b"\0\0\0", ANSWER.pack(0, 0, 100) + b"%PDF-", ANSWER.pack(1, 50, 0), ANSWER.pack(1, 1 << 31, 0)],
    ids=["nothing", "half a head", "half a PDF", "half a word", "too much"],
)
def test_a_unit_that_ends_too_soon_broke_on_the_document(tmp_path: Path, answer: bytes) -> None:
    """Killed or mad, it is treated as a reader that died: the document is tried once more, then a person looks."""

    def serve(connection: socket.socket) -> None:
        while connection.recv(1 << 16):
            continue
        connection.sendall(answer)

    with pytest.raises(PoolBroken):
        drawn(tmp_path, paper.postscript("(one) show"), serve)


def test_a_unit_that_says_nothing_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Time is limited for the whole exchange, also against an answer that trickles."""
    monkeypatch.setattr(distiller, "PATIENCE", 0.5)
    left = threading.Event()

    def serve(connection: socket.socket) -> None:
        for byte in ANSWER.pack(0, 0, 5):
            if left.wait(0.2):
                return
            with suppress(BrokenPipeError):  # the reader has gone just now
                connection.sendall(bytes([byte]))

    with unit(tmp_path, serve) as place:
        try:
            with pytest.raises(PoolBroken):
                distiller.ask(place, io.BytesIO(b"%!"), io.BytesIO(), timeout=0.5)
        finally:
            left.set()


def test_where_there_is_no_unit_none_is_asked(tmp_path: Path) -> None:
    """Without the socket readers draw for themselves; with one that nobody serves the document waits."""
    place = tmp_path / "ghostscript.sock"
    assert not distiller.usable(place)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stale:
        stale.bind(str(place))
    assert distiller.usable(place)
    with pytest.raises(TransientError) as caught:
        distiller.ask(place, io.BytesIO(b"%!"), io.BytesIO())
    assert "invoice-printer-ghostscript.socket" in caught.value.remedy and not isinstance(caught.value, PoolBroken)
