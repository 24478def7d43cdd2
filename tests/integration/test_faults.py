"""A service on a machine, a disk, a network that are not well: nothing lost, nothing twice, and it heals by itself."""

from __future__ import annotations

import contextlib
import signal
import socket
import sqlite3
import threading
import time
from collections.abc import Iterator
from datetime import date
from itertools import count
from pathlib import Path

import pytest

from tests import documents
from tests.faults import FIRST_NUMBER, Books, Printed, Printing, batch, compare, settle
from tests.instance import Instance, print_job, served
from tests.machine import Machine
from tests.relay import Relay
from tests.waiting import until

TODAY = date.today()  # noqa: DTZ011 - a calendar day
DAY = 86_400


class Scene:
    """One service on one machine, and everything that was printed on it so far."""

    def __init__(self, instance: Instance, machine: Machine, relay: Relay, folder: Path) -> None:
        self.instance = instance
        self.machine = machine
        self.relay = relay
        self.told: dict[str, Printed] = {}
        self._folder = folder
        self._numbers = count(FIRST_NUMBER)

    def files(self, size: int, customer: str = "C0055") -> list[Printed]:
        """So many invoices, each in a file of its own."""
        sales = [documents.another_sale(next(self._numbers), customer, today=TODAY) for _ in range(size)]
        return [batch(self._folder / f"{sale.invoice.number}.pdf", [sale]) for sale in sales]

    @contextlib.contextmanager
    def printing(self, size: int, first: int | None = None) -> Iterator[Printing]:
        """So many invoices are being printed while something goes wrong; they are all taken afterwards.

        Only the ``first`` of them, when told, are sent at once; the rest is permitted later.
        """
        printing = Printing(self.instance, self.files(size))
        printing.permit(size if first is None else first)
        try:
            yield printing
            printing.finish(60)
        finally:
            printing.abandon()
        self.told |= printing.told

    def print(self, size: int) -> None:
        with self.printing(size):
            pass

    def print_one(self) -> tuple[int, str]:
        """The numbers of a job and of its one invoice."""
        (printed,) = self.files(1)
        sent = self.instance.print(printed.file)
        self.told[sent.uuid.removeprefix("urn:uuid:")] = printed
        return sent.number, printed.numbers[0]

    def is_whole(self, seconds: float = 60.0) -> None:
        """Everything is done, once, without a hand."""
        settle(self.instance, seconds)
        assert compare(self.instance, self.told, self.relay).problems == []
        assert list((self.instance.state / "spool").iterdir()) == []


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("faults")
    (folder / "disk").mkdir()
    (folder / "printed").mkdir()
    machine, relay = Machine(folder / "disk"), Relay()
    with served(folder / "disk" / "state", mailbox=relay, environment=machine.environment) as instance:
        yield Scene(instance, machine, relay, folder / "printed")
        assert instance.run("verify", "--all").returncode == 0


@pytest.mark.parametrize("role", ["worker", "capture", "receipts"])
def test_a_process_that_stands_still_goes_on_where_it_was(scene: Scene, role: str) -> None:
    """Stopped for three seconds while invoices are printed, then continued: everything is taken, archived, mailed."""
    with scene.printing(4):
        process = scene.instance.role(role)
        process.send_signal(signal.SIGSTOP)
        time.sleep(3)
        process.send_signal(signal.SIGCONT)
    assert scene.instance.role(role).pid == process.pid
    scene.is_whole()


def test_a_clock_that_jumps_postpones_nothing(scene: Scene) -> None:
    """Two days ahead, then a day behind, then right: what was tried again in the future is not kept until then."""
    for offset in (2 * DAY, -DAY, 0):
        scene.relay.refusals = 2
        with scene.printing(3):
            scene.machine.set_clock(offset)
        until(lambda: not scene.relay.refusals, 20)
    scene.is_whole()


def test_a_database_that_is_locked_makes_everybody_wait(scene: Scene) -> None:
    """Another program holds both databases for eight seconds: printing and mailing wait, and nobody is refused."""
    with scene.printing(4) as printing:
        for name in ("printerd.db", "receipts.db"):
            threading.Thread(target=hold, args=(scene.instance.state / name, 8)).start()
    assert printing.retries == 0
    scene.is_whole()


def hold(path: Path, seconds: float) -> None:
    with contextlib.closing(sqlite3.connect(path, isolation_level=None, timeout=30)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        time.sleep(seconds)
        connection.execute("ROLLBACK")


def test_a_disk_that_syncs_slowly_slows_and_nothing_more(scene: Scene) -> None:
    """Every sync takes 0.15 s more."""
    scene.machine.slow_disk(0.15)
    try:
        scene.print(6)
    finally:
        scene.machine.slow_disk(0)
    scene.is_whole()


def test_a_disk_that_turned_read_only_takes_no_job_until_it_is_mended(scene: Scene) -> None:
    """As the kernel does after an error: print clients are told to come again, and they do."""
    with scene.printing(8, first=4) as printing:
        until(lambda: len(printing.told) == 4)
        scene.machine.read_only(True)
        try:
            printing.permit(4)
            time.sleep(5)
            assert len(printing.told) == 4
        finally:
            scene.machine.read_only(False)
    assert printing.retries > 0
    scene.is_whole()


def test_a_relay_that_answers_a_byte_a_second_delays_its_mail_alone(scene: Scene) -> None:
    """Invoices are taken and archived meanwhile; once the relay is well each mail leaves once."""
    scene.relay.pause = 1.0
    try:
        scene.print(4)
        books = Books(scene.instance.state)
        until(lambda: not {"jobs", "invoices", "deliveries"} & books.busy().keys(), 20)
        assert len(books.outbox("PENDING", "SENDING")) >= 4
    finally:
        scene.relay.pause = 0.0
    scene.is_whole()


def test_a_relay_that_closes_after_the_dot_leaves_a_doubt_and_no_second_copy(scene: Scene) -> None:
    """The message is there, its answer is not: no copy follows by itself; the next letters leave."""
    doubtful = len(Books(scene.instance.state).outbox("UNCERTAIN"))
    scene.relay.mutes = 2
    scene.print(6)
    scene.is_whole()
    assert len(Books(scene.instance.state).outbox("UNCERTAIN")) == doubtful + 2


def test_a_doubt_is_shown_and_a_person_resends(scene: Scene) -> None:
    """UNCERTAIN is shown, never resent by itself; resend --reason makes one more message with a link of its own."""
    instance, before = scene.instance, len(scene.relay.envelopes)
    scene.relay.mutes = 1
    number, invoice = scene.print_one()
    instance.delivered(number, "uncertain")
    assert "perhaps mailed" in until(lambda: instance.job(number)["job"]["message"])
    assert len(scene.relay.envelopes) == before + 1
    instance.run("invoices", "resend", invoice, "--reason", "customer did not get it")
    instance.delivered(number, "accepted")
    assert len(scene.relay.envelopes) == before + 2
    told = instance.json("invoices", "show", invoice)["time_line"]
    acts = [entry for entry in told if entry["kind"] == "ledger.act.resend"]
    assert [act["facts"]["reason"] for act in acts] == ["customer did not get it"]
    scene.is_whole()


def test_a_client_that_sends_a_byte_a_second_delays_nobody(scene: Scene) -> None:
    """Its job is still arriving while others are taken; when it gives up, nothing of it stays."""
    host, _, port = scene.instance.address("ipp").rpartition(":")
    over = threading.Event()
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(slow_job(scene.instance))
        dripping = threading.Thread(target=drip, args=(connection, over))
        dripping.start()
        began = time.monotonic()
        scene.print(10)
        assert time.monotonic() - began < 10
        over.set()
        dripping.join()
    until(lambda: not any((scene.instance.state / "spool").iterdir()), 20)
    scene.is_whole()


def drip(connection: socket.socket, over: threading.Event) -> None:
    with contextlib.suppress(OSError):
        while not over.wait(1):
            connection.sendall(b"0")


def slow_job(instance: Instance) -> bytes:
    """The head of a Print-Job of a megabyte, and the first byte of its document."""
    head = print_job(instance.printer, "a byte a second")
    lines = (
        "POST /ipp/print HTTP/1.1",
        f"Host: {instance.address('ipp')}",
        "Content-Type: application/ipp",
        f"Content-Length: {len(head) + 1_000_000}",
    )
    return "\r\n".join((*lines, "", "")).encode() + head + b"%"
