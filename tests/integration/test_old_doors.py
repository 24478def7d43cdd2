"""LPD and raw printing through the whole service: from the client's command to the sealed invoice."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from typing import Any

import pytest

from printerd.storage.blobs import Blobs
from tests.cups import Cups
from tests.instance import Instance, printed_samples, served
from tests.waiting import until

DOORS = {"listen.raw": "127.0.0.1:0", "listen.lpd": "127.0.0.1:0"}


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    with served(tmp_path_factory.mktemp("doors") / "state", DOORS) as running:
        yield running


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return printed_samples(tmp_path_factory.mktemp("samples"))


def printed(instance: Instance, source: str) -> dict[str, Any]:
    """The last job of that way in, once it is settled."""

    def look() -> Any:
        return next(
            (one for one in instance.json("jobs") if instance.job(one["number"])["job"]["source"] == source), None
        )

    return instance.settled(until(look)["number"])


def arrived(instance: Instance, job: dict[str, Any], sample: Any, user: str, title: str, original: bytes) -> None:
    """The invoices are archived with their fields, under the names that the sender gave, and the bytes as they came."""
    told = job["job"]
    assert (told["user"], told["title"], told["host"], told["state"]) == (user, title, "localhost", "done")
    assert [one["number"] for one in job["invoices"]] == [true.invoice.number for true in sample.expected]
    assert [one["total"] for one in job["invoices"]] == [str(true.invoice.total.amount) for true in sample.expected]
    assert {one["state"] for one in job["invoices"]} == {"archived"}
    assert Blobs(instance.state).read(told["original"]) == original


def test_lp_prints_by_lpd(instance: Instance, files: dict[str, Any], cupsd: Cups) -> None:
    """A real queue of CUPS with the lpd backend, as an ERP on Linux has it; the bytes are those of the file."""
    sample = files["facture-simple-fr"]
    queue = f"lpd://{instance.address('lpd')}/invoices?sanitize_title=no"
    cupsd.run("lpadmin", "-p", "old", "-E", "-v", queue)
    cupsd.run("lp", "-d", "old", "-t", "Facture d’été", "-o", "raw", str(sample.file))
    cupsd.finish("old")
    arrived(instance, printed(instance, "lpd"), sample, "root", "Facture d’été", sample.file.read_bytes())


def test_a_driver_prints_by_raw(instance: Instance, files: dict[str, Any]) -> None:
    """PostScript with PJL around it, as drivers send it to port 9100."""
    sample = files["facture-postscript-fr"]
    document = sample.file.read_bytes()
    pjl = '\x1b%-12345X@PJL JOB NAME="Lot d’août"\r\n@PJL SET USERNAME="hélène"\r\n@PJL ENTER LANGUAGE=POSTSCRIPT\r\n'
    send(instance, pjl.encode() + document + b"\x04\x1b%-12345X@PJL EOJ\r\n\x1b%-12345X")
    original = document + b"\x04"
    arrived(instance, printed(instance, "raw"), sample, "hélène", "Lot d’août", original)


def send(instance: Instance, octets: bytes) -> None:
    """To the raw port, to the end of the connection."""
    host, _, port = instance.address("raw").rpartition(":")
    with closing(socket.create_connection((host, int(port)), 20)) as connection:
        connection.sendall(octets)
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(1) == b""


def test_both_doors_stay_open_while_capture_starts_again(instance: Instance, files: dict[str, Any]) -> None:
    """The supervisor holds the sockets: a client that comes meanwhile waits, and is served."""
    before = instance.kill("capture")
    send(instance, files["factures-texte-fr"].file.read_bytes())
    assert instance.role("capture").pid != before
    job = printed(instance, "raw")
    assert [one["number"] for one in job["invoices"]] == [
        true.invoice.number for true in files["factures-texte-fr"].expected
    ]


def test_a_killed_capture_leaves_no_short_invoice(instance: Instance, files: dict[str, Any]) -> None:
    """Killed while a data file comes: its client was never answered, and nothing of it is a job."""
    host, _, port = instance.address("lpd").rpartition(":")
    document = files["avoir-fr"].file.read_bytes()
    jobs = len(instance.json("jobs"))
    with closing(socket.create_connection((host, int(port)), 20)) as connection:
        control = b"Hmill\nPmarie\nfdfA1mill\n"
        for sent in (b"\x02invoices\n", b"\x02%d cfA1mill\n" % len(control), control + b"\0"):
            connection.sendall(sent)
            assert connection.recv(1) == b"\0"
        connection.sendall(b"\x03%d dfA1mill\n" % len(document) + document[:-1])
        time.sleep(0.3)
        assert connection.recv(1) == b"\0"  # for the announcement
        instance.kill("capture")
        with suppress(ConnectionError):
            assert connection.recv(1) == b""
    until(lambda: instance.role("capture"))
    assert len(instance.json("jobs")) == jobs
