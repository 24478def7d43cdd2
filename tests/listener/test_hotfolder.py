"""The hot folder with real files, and with processes that are killed: each document once, or a reason why not."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import socket
import stat
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

import psutil
import pytest
import sqlalchemy as sa

from printerd.listener.hotfolder import AT_ONCE
from printerd.listener.resting import Patience
from printerd.logs import Lines, as_json
from printerd.model import JobState
from printerd.storage import schema
from printerd.storage.instance import Switches
from tests.waiting import until

from .dropping import PDF, Dropping, os_name, pdf

Make = Callable[..., Dropping]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """A hot folder with settings of its own."""
    made: list[Dropping] = []

    def begin(**settings: Any) -> Dropping:
        made.append(Dropping(tmp_path, **settings))
        return made[-1]

    yield begin
    for one in made:
        one.close()


@contextlib.contextmanager
def process(dropping: Dropping, *before: str) -> Iterator[subprocess.Popen[bytes]]:
    """The hot folder in a process of its own, which has looked once; it is killed at the end at the latest."""
    dropping.told.unlink(missing_ok=True)
    command = [*before, sys.executable, "-m", "tests.listener.dropping", str(dropping.folder)]
    with subprocess.Popen(command) as running:
        try:
            until(dropping.told.exists, 20)
            yield running
        finally:
            running.kill()


# Taking


def test_a_document_is_printed_and_done(make: Make) -> None:
    """Renamed into the folder it is taken at once, and lies in done when its job is durable; copied, when it rests."""
    dropping = make()
    with dropping.running():
        began = time.monotonic()
        dropping.put("FA-1.pdf")
        dropping.settled()
        assert time.monotonic() - began < 5 < dropping.every
        dropping.copy("FA-2.ps", b"%!PS-Adobe-3.0\nshowpage\n%%EOF\n")
        dropping.copy("FA-3.txt", "Facture n° 3\n".encode())
        dropping.settled()
    job, second, third = dropping.rows()
    assert (job.state, job.answered, job.ticket.source) == (JobState.RECEIVED, True, "folder")
    assert (job.ticket.printer, job.ticket.user, job.ticket.host) == ("inv", "anonymous", "localhost")
    assert (job.ticket.title, job.ticket.options) == ("FA-1.pdf", {"document-name": "FA-1.pdf"})
    assert job.original and dropping.blobs.read(job.original) == PDF
    assert {second.ticket.media_type, third.ticket.media_type} == {"application/postscript", "text/plain"}
    assert dropping.names("done") == ["FA-1.pdf", "FA-2.ps", "FA-3.txt"]


def test_sub_folders_are_queues(make: Make) -> None:
    """Each has its printer, and its own done; one that is made later is seen, one that is no queue is left alone."""
    dropping = make(every=0.2)
    with dropping.running():
        dropping.put("a.pdf", pdf(1), "credit")
        dropping.put("b.pdf", pdf(2), "invoices")
        dropping.put("c.pdf", pdf(3), "2026")
        rows = dropping.settled()
    assert {row.ticket.title: row.ticket.printer for row in rows} == {"a.pdf": "crd", "b.pdf": "inv"}
    assert dropping.names("credit/done") == ["a.pdf"]
    assert dropping.names("2026") == ["c.pdf"]


SIDECARS = {
    "FA-1.json": b'{"user": "marie", "title": "Invoice 1", "customer-number": "C0042", "invoice-number": "FA-1"}',
    "FA-1.csv": b"user;title;customer-number;invoice-number\r\nmarie;Invoice 1;C0042;FA-1\r\n",
    "FA-1.xml": b"<i><user>marie</user><title>Invoice 1</title><customer-number>C0042</customer-number>"
    b"<invoice-number>FA-1</invoice-number></i>",
}


@pytest.mark.parametrize("name", SIDECARS)
@pytest.mark.parametrize("order", ["before", "after"])
def test_a_sidecar_goes_with_its_document(make: Make, name: str, order: str) -> None:
    """Before its document or, where one is expected, shortly after it: its fields are the job's, both come to done."""
    dropping = make(patience=Patience(at_rest=0.4, sidecar=10 if order == "after" else 0, end=20))
    puts = [lambda: dropping.put(name, SIDECARS[name]), lambda: dropping.put("FA-1.pdf")]
    with dropping.running():
        for put in puts if order == "before" else reversed(puts):
            put()
            time.sleep(0.3)
        (job,) = dropping.settled()
    assert (job.ticket.user, job.ticket.title) == ("marie", "Invoice 1")
    assert job.ticket.options == {
        "document-name": "FA-1.pdf",
        "sidecar.customer-number": "C0042",
        "sidecar.invoice-number": "FA-1",
    }
    assert dropping.names("done") == sorted(["FA-1.pdf", name])


def test_without_a_sidecar_a_document_is_taken_alone(make: Make) -> None:
    """Where one is expected, after the time that is set; one that comes too late fails, and says so."""
    dropping = make(patience=Patience(at_rest=0.2, sidecar=1.0, end=1.5))
    with dropping.running():
        began = time.monotonic()
        dropping.put("FA-1.pdf")
        until(dropping.rows)
        assert time.monotonic() - began > 1
        dropping.put("FA-1.json", b"{}")
        job, late = dropping.settled()
    assert (job.state, late.state) == (JobState.RECEIVED, JobState.ABORTED)
    assert dropping.reason("FA-1.json").splitlines() == [
        "FA-1.json",
        "No document came to the sidecar FA-1.json. Put both into the folder, the sidecar first.",
    ]


def test_the_same_again_is_another_print(make: Make) -> None:
    """Copied with its times, or moved back from done: whoever puts it there means it."""
    dropping = make()
    with dropping.running():
        first = dropping.put("FA-1.pdf")
        os.utime(first, (1e9, 1e9))
        dropping.settled()
        shutil.copy2(dropping.hot / "done" / "FA-1.pdf", dropping.hot / "FA-1.pdf")
        assert len(dropping.settled()) == 2
        (dropping.hot / "done" / "FA-1.pdf").rename(dropping.hot / "FA-1.pdf")
        assert len(dropping.settled()) == 3
    assert len(dropping.names("done")) == 2
    assert len({row.original for row in dropping.rows()}) == 1


def test_names_that_are_passed_over_stay(make: Make) -> None:
    """What is being written, or hidden, is nobody's document until it is renamed."""
    dropping = make(every=0.1)
    names = ["a.pdf.tmp", "b.PART", "c.pdf~", ".d.pdf"]
    for name in names:
        dropping.copy(name)
    with dropping.running():
        time.sleep(1.5)
        assert dropping.rows() == []
        (dropping.hot / "a.pdf.tmp").rename(dropping.hot / "a.pdf")
        until(dropping.rows)
    assert {name for name in names if (dropping.hot / name).exists()} == set(names[1:])


# Not taking


def test_a_slow_copy_is_never_taken_short(make: Make) -> None:
    """A copy that pauses for longer than a file must rest: PDF for its end mark, text because its writer holds it."""
    dropping = make(patience=Patience(at_rest=0.2, sidecar=0, end=30), every=0.1)
    text = b"Facture\n" * 1000

    def slowly(name: str, data: bytes) -> None:
        with (dropping.hot / name).open("wb", buffering=0) as file:
            for at in range(0, len(data), len(data) // 3 + 1):
                file.write(data[at : at + len(data) // 3 + 1])
                time.sleep(0.8)

    with dropping.running():
        copies = [threading.Thread(target=slowly, args=one) for one in [("a.pdf", PDF), ("b.txt", text)]]
        for copy in copies:
            copy.start()
        for copy in copies:
            copy.join()
        rows = dropping.settled()
    assert {row.ticket.title: row.size for row in rows} == {"a.pdf": len(PDF), "b.txt": len(text)}
    assert dropping.names("failed") == []


def test_what_changes_while_it_is_read_is_read_again(make: Make) -> None:
    """A file that was renamed too soon, and is written when it is taken: the job has what is there in the end."""
    dropping = make(settings={"document_limit": 64 << 20})
    with dropping.running(), (dropping.hot / ".partial").open("ab", buffering=0) as file:
        file.write(PDF + bytes(48 << 20) + b"startxref\n9\n%%EOF\n")
        (dropping.hot / ".partial").rename(dropping.hot / "a.pdf")
        until(lambda: list((dropping.hot / ".taking").glob("*/a.pdf")))
        file.write(b"startxref\n9\n%%EOF\n")
        (job,) = dropping.settled()
    done = dropping.hot / "done" / "a.pdf"
    assert job.size == done.stat().st_size and done.read_bytes().endswith(b"startxref\n9\n%%EOF\n" * 2)


def fifo(path: Path) -> None:
    os.mkfifo(path)


def symlink(path: Path) -> None:
    (path.parent.parent / "secret.pdf").write_bytes(PDF)
    path.symlink_to(path.parent.parent / "secret.pdf")


def dangling(path: Path) -> None:
    path.symlink_to("/nonexistent")


def device(path: Path) -> None:
    os.mknod(path, stat.S_IFCHR | 0o600, 0)  # the one that anybody may make (mknod(2))


def unix_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(path))


def hard_link(path: Path) -> None:
    (path.parent.parent / "theirs.pdf").write_bytes(PDF)
    path.hardlink_to(path.parent.parent / "theirs.pdf")


KINDS: Mapping[Callable[[Path], None], str] = {
    fifo: "not-a-file",
    symlink: "not-a-file",
    dangling: "not-a-file",
    device: "not-a-file",
    unix_socket: "not-a-file",
    hard_link: "linked-file",
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("place", ["document", "sidecar"])
def test_what_is_no_file_of_its_own_is_refused(make: Make, kind: Callable[[Path], None], place: str) -> None:
    """Links, pipes, devices, sockets, second names: not opened, not followed, moved to failed, told; others go on."""
    dropping = make()
    with dropping.running():
        if place == "sidecar":
            kind(dropping.hot / "FA-1.json")
        else:
            kind(dropping.hot / "FA-1.pdf")
        if place == "sidecar":
            dropping.put("FA-1.pdf")
        dropping.put("good.pdf")
        rows = {row.ticket.title: row for row in dropping.settled()}
    assert rows["good.pdf"].state is JobState.RECEIVED
    refused = rows["FA-1.pdf"]
    assert (refused.state, refused.original, (refused.reason or {})["code"]) == (JobState.ABORTED, None, KINDS[kind])
    assert "FA-1.pdf.reason.txt" in dropping.names("failed")
    assert dropping.names("done") == ["good.pdf"]


REFUSED = {
    "cut short": ({"a.pdf": PDF[:-8]}, "no-end"),
    "empty": ({"a.pdf": b""}, "empty"),
    "too large": ({"a.pdf": PDF + bytes(9 << 20) + b"startxref 9 %%EOF"}, "too-large"),
    "no format": ({"a.pdf": b"GIF89a\0"}, "picture"),
    "external entity": (
        {"a.pdf": PDF, "a.xml": b'<!DOCTYPE i [<!ENTITY f SYSTEM "file:///etc/passwd">]><i><user>&f;</user></i>'},
        "sidecar-dtd",
    ),
    "billion laughs": (
        {"a.pdf": PDF, "a.xml": b'<!DOCTYPE i [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]><i><user>&b;</user></i>'},
        "sidecar-dtd",
    ),
    "a path in a sidecar": ({"a.pdf": PDF, "a.json": b'{"document": "../../a.pdf"}'}, "sidecar-document"),
    "lines in a field": ({"a.pdf": PDF, "a.csv": b'user;x\n"u\r\nBcc: v";y\n'}, "sidecar-field"),
    "two sidecars": ({"a.pdf": PDF, "a.csv": b"user\nu\n", "a.json": b"{}"}, "sidecar-twice"),
    "a sidecar cut short": ({"a.pdf": PDF, "a.json": b'{"user": "ma'}, "sidecar-format"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_refused_fails_with_its_reason(make: Make, what: str) -> None:
    """Document and sidecar come to failed together, with a reason in the operator's language; the job says the same."""
    dropping = make(language="fr")
    files, code = REFUSED[what]
    with dropping.running():
        for name in sorted(files, reverse=True):  # sidecars first
            dropping.put(name, files[name])
        (job,) = dropping.settled()
    assert (job.state, (job.reason or {})["code"]) == (JobState.ABORTED, code)
    assert dropping.names("failed") == sorted([*files, "a.pdf.reason.txt"])
    name, sentence = dropping.reason("a.pdf").splitlines()
    assert (name, sentence) == ("a.pdf", job.message)
    assert dropping.names("done") == []


NAMES = [
    b"a\nb.pdf",
    b"\x1b[2J.pdf",
    b"\xff\xfe.pdf",
    "é".encode() * 125 + b".pdf",
    b"a" * 255,
    b"-rf",
    b"%s{0}$(id).pdf",
]


@pytest.mark.parametrize("name", NAMES)
def test_hostile_names_are_names(make: Make, name: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """Lines, commands, bytes of no encoding, the longest: done or failed under their own name, one line of the log."""
    dropping = make(language="fr")
    with dropping.running(), caplog.at_level(logging.INFO, "printerd.listener"):
        dropping.put(name)
        dropping.settled()
        dropping.put(name, b"GIF89a\0")
        good, bad = dropping.settled()
    assert (good.state, bad.state) == (JobState.RECEIVED, JobState.ABORTED)
    assert len(good.ticket.title.encode()) <= 255
    assert os_name(name) in dropping.names("done") and os_name(name) in dropping.names("failed")
    lines = [Lines(as_json).format(record) for record in caplog.records if hasattr(record, "file")]
    assert len(lines) == 2 and all(line.isprintable() and json.loads(line)["file"] for line in lines)
    assert len(list((dropping.hot / "failed").glob("*.reason.txt"))) == 1


def test_a_linked_sub_folder_is_not_followed(make: Make) -> None:
    """A queue's folder that is a link is told, and nothing behind it is taken; the folder itself goes on."""
    dropping = make()
    elsewhere = dropping.folder / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "theirs.pdf").write_bytes(PDF)
    (dropping.hot / "credit").symlink_to(elsewhere)
    with dropping.running():
        dropping.put("a.pdf")
        until(dropping.rows)
        (why,) = until(dropping.trouble)
        assert "It must be a folder, not a link to one." in why
    assert [row.ticket.title for row in dropping.rows()] == ["a.pdf"]
    assert [one.name for one in elsewhere.iterdir()] == ["theirs.pdf"]


# What is away


def without_power(*command: str) -> Sequence[str]:
    """The words before a command that take root's power over permissions away; others have none."""
    return ("setpriv", "--bounding-set", "-all", *command) if os.geteuid() == 0 else command


@pytest.mark.parametrize("place", ["hot", "hot/done"])
def test_without_permission_nothing_is_taken_twice(make: Make, place: str) -> None:
    """A folder that may not be written is told, and mended it goes on: one job, however often it was tried."""
    dropping = make()
    folder = dropping.folder / place
    folder.mkdir(exist_ok=True)
    dropping.put("a.pdf")
    folder.chmod(0o500)
    try:
        with process(dropping, *without_power()):
            (why,) = until(dropping.trouble)
            assert "Permission denied" in why and "must be able to read, write" in why
            time.sleep(2)
            assert len(dropping.rows()) == (place == "hot/done")
            folder.chmod(0o700)
            dropping.settled(40)
            until(lambda: dropping.trouble() == [])
    finally:
        folder.chmod(0o700)
    assert len(dropping.rows()) == 1
    assert dropping.names("done") == ["a.pdf"]


def test_a_file_that_may_not_be_read_fails_in_the_end(make: Make) -> None:
    """Somebody may still give the right; after the time for unfinished files it is told."""
    dropping = make()
    for name in ("a.pdf", "b.pdf"):
        dropping.put(name).chmod(0)
    with process(dropping, *without_power()):
        time.sleep(0.6)
        (dropping.hot / "b.pdf").chmod(0o400)
        rows = {row.ticket.title: row.state for row in dropping.settled()}
    assert rows == {"a.pdf": JobState.ABORTED, "b.pdf": JobState.RECEIVED}
    assert "may not read a.pdf" in dropping.reason("a.pdf")


def test_a_full_disk_leaves_the_folder_as_it_is(make: Make) -> None:
    """Without room a few documents wait in .taking and all others in the folder; with room each is printed once."""
    dropping = make(settings={"free_space": 1 << 60})
    for number in range(3 * AT_ONCE):
        dropping.put(f"{number}.pdf", pdf(number))
    with dropping.running():
        whys = until(dropping.trouble)
        assert all("The disk is nearly full" in why for why in whys)
        time.sleep(1.5)
        assert len(dropping.taking()) == AT_ONCE
        assert len(dropping.names()) == 2 * AT_ONCE
        assert dropping.rows() == []
    dropping.settings = {}
    with dropping.running():
        rows = dropping.settled()
    assert sorted(Counter(row.ticket.title for row in rows).values()) == [1] * 3 * AT_ONCE


def test_a_closed_printer_leaves_the_folder_as_it_is(make: Make) -> None:
    """Nothing fails for it; once the printer is open each document is printed once."""
    dropping = make()
    with dropping.running() as running:
        running.intake.switches = Switches(accepting=False)
        dropping.put("a.pdf", PDF)
        (why,) = until(dropping.trouble)
        assert "its operator has closed it" in why
        assert (dropping.rows(), dropping.names("failed")) == ([], [])
        running.intake.switches = Switches()
        (job,) = dropping.settled()
    assert job.state is JobState.RECEIVED


def test_a_folder_that_is_away_is_told_and_waited_for(make: Make) -> None:
    """A share that is not mounted stops no other door; when it is there, or is another one, it is looked at."""
    dropping = make(every=0.2)
    dropping.hot.rmdir()
    with dropping.running():
        (why,) = until(dropping.trouble)
        assert "Make the folder, or mount it." in why
        dropping.hot.mkdir()
        dropping.put("a.pdf", pdf(1))
        until(dropping.rows)
        dropping.hot.rename(dropping.folder / "old")
        dropping.hot.mkdir()
        dropping.put("b.pdf", pdf(2))
        until(lambda: len(dropping.rows()) == 2)
        until(lambda: dropping.trouble() == [])


def test_a_second_service_takes_nothing(make: Make, tmp_path: Path) -> None:
    """A folder belongs to one service: another one says so and leaves everything there."""
    first = make()
    second = Dropping(tmp_path / "second", every=0.1)
    second.hot = first.hot
    with first.running(), second.running():
        (why,) = until(second.trouble)
        assert "Another service works on this folder" in why
        first.put("a.pdf")
        first.settled()
    assert (len(first.rows()), len(second.rows())) == (1, 0)
    second.close()


NO_EVENTS = ["max_inotify_instances", "max_inotify_watches"]


@pytest.mark.parametrize("limit", NO_EVENTS)
def test_without_events_it_is_looked_at(make: Make, limit: str) -> None:
    """Where the system tells nothing, as of file servers, every file is found all the same, with its sidecar."""
    dropping = make()
    shell = f'echo 0 > /proc/sys/user/{limit}; exec "$@"'
    with process(dropping, "unshare", "--map-root-user", "--user", "sh", "-c", shell, "sh"):
        dropping.put("a.json", b'{"user": "marie"}')
        dropping.put("a.pdf", pdf(1))
        dropping.copy("b.pdf", pdf(2))
        rows = dropping.settled()
    assert {row.ticket.title: row.ticket.user for row in rows} == {"a.pdf": "marie", "b.pdf": "anonymous"}


# Many


def test_thousands_at_once_are_taken_in_turn(make: Make) -> None:
    """Few are on their way at any time, memory does not grow with the folder, and every one is printed once."""
    dropping = make(every=0.1)
    count = 2000
    with process(dropping) as running:
        dropping.put("first.pdf")
        dropping.settled()
        before = psutil.Process(running.pid).memory_info().rss
        for number in range(count):
            dropping.put(f"{number}.pdf", pdf(number))
        on_their_way, most = 0, 0
        while not dropping.empty():
            on_their_way = max(on_their_way, len(dropping.taking()))
            most = max(most, psutil.Process(running.pid).memory_info().rss)
            time.sleep(0.02)
    titles = Counter(row.ticket.title for row in dropping.rows())
    assert len(titles) == count + 1 and set(titles.values()) == {1}
    assert 0 < on_their_way <= 2 * AT_ONCE  # a folder is renamed while it is listed
    assert most - before < 40 << 20, (before, most)


def test_other_doors_do_not_wait_for_the_folder(make: Make) -> None:
    """Who prints while hundreds of files are taken is answered among them, not after them."""
    dropping = make()
    for number in range(500):
        dropping.put(f"{number}.pdf", pdf(number))
    with dropping.running():
        until(dropping.rows)
        numbers = [dropping.print_elsewhere(f"ipp {number}", pdf(-number)) for number in range(1, 11)]
        assert dropping.names()
        assert len(dropping.settled(60)) == 510
    assert max(numbers) < 510 - AT_ONCE


# Kills


@pytest.mark.parametrize("seed", range(3))
def test_kills_lose_and_double_nothing(make: Make, seed: int) -> None:
    """Killed again and again at any moment, it prints each document once, with its sidecar, and brings it to done.

    Every document is there twice, to the last byte and under the same title: both are printed.
    """
    dropping, random = make(), Random(seed)  # noqa: S311 - no secret
    count = 300
    for number in range(count):
        dropping.put(f"{number}.json", json.dumps({"title": "Invoice", "number": str(number)}).encode())
        dropping.put(f"{number}.pdf", pdf(number // 2))
    dropping.put("bad.json", b"{]}")
    dropping.put("bad.pdf", pdf(-1))
    kills = interrupted = 0
    while dropping.names() or dropping.taking():
        with process(dropping) as running:
            time.sleep(random.uniform(0.1, 0.3))
            kills += running.poll() is None
            running.kill()
        interrupted += bool(dropping.taking())
        assert kills < 100
    rows = [row for row in dropping.rows() if row.state is JobState.RECEIVED]
    assert sorted(int(row.ticket.options["sidecar.number"]) for row in rows) == list(range(count))
    for row in rows:
        number = int(row.ticket.options["sidecar.number"])
        assert row.ticket.options["document-name"] == f"{number}.pdf"
        assert row.original and dropping.blobs.read(row.original) == pdf(number // 2)
    assert len(dropping.names("done")) == 2 * count
    assert dropping.names("failed") == ["bad.json", "bad.pdf", "bad.pdf.reason.txt"]
    print(f"{kills} kills, {interrupted} of them while documents were on their way")
    assert interrupted >= 2, (kills, interrupted)


def test_a_document_that_was_accepted_is_not_accepted_again(make: Make) -> None:
    """Killed between the answer of the intake and the verdict, and started an hour later: the key finds the job."""
    dropping = make()
    (dropping.hot / "done").write_text("in the way")
    with dropping.running():
        dropping.put("a.pdf")
        until(dropping.rows)
        until(dropping.trouble)
    (accepted,) = (dropping.hot / ".taking").iterdir()
    accepted.rename(accepted.with_suffix(""))  # as it was before the verdict
    (dropping.hot / "done").unlink()
    with dropping.database.write() as connection:
        earlier = dropping.rows()[0].created_at - timedelta(hours=1)
        connection.execute(sa.update(schema.jobs).values(received_at=earlier))
    with dropping.running():
        (job,) = dropping.settled()
    assert job.ticket.title == "a.pdf"
    assert dropping.names("done") == ["a.pdf"]
