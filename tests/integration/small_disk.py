"""A small disk of its own: what must stay free stays free, and a full disk loses nothing.

One rule: it mounts, so it runs in the namespace that ``test_full_disk.py`` makes for it, and not by itself.
"""

from __future__ import annotations

import gc
import http.client
import os
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import date
from pathlib import Path

import psutil
import pytest

from printerd.errors import RequestError
from printerd.ipp.registry import Status
from tests import documents
from tests.faults import FIRST_NUMBER, Printed, Printing, batch, compare, settle
from tests.instance import Instance, print_job, served
from tests.relay import Relay
from tests.waiting import until

TODAY = date.today()  # noqa: DTZ011 - a calendar day
DISK, KEEP = 400 << 20, 200 << 20
"""Bytes of the disk, and of limits.free_space."""
LARGE = 20 << 20
IPP = {"Content-Type": "application/ipp"}


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A file system of 400 MB."""
    folder = tmp_path_factory.mktemp("disk")
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", folder], check=True)
    try:
        yield folder
    finally:
        gc.collect()  # commands that ran in this process leave their database open until then
        subprocess.run(["umount", folder], check=True)


@pytest.fixture(scope="module")
def relay() -> Relay:
    return Relay()


@pytest.fixture(scope="module")
def instance(disk: Path, relay: Relay) -> Iterator[Instance]:
    with served(disk / "state", {"limits.free_space": KEEP}, mailbox=relay) as running:
        yield running


def free(folder: Path) -> int:
    told = os.statvfs(folder)
    return told.f_bavail * told.f_frsize


@contextmanager
def filled(disk: Path, left: int) -> Iterator[None]:
    """Something else has taken the disk but for ``left`` bytes."""
    ballast = disk / "ballast"
    try:
        with ballast.open("wb", buffering=0) as file, suppress(OSError):  # the service takes the last bytes
            while (room := free(disk) - left) > 0:
                file.write(bytes(min(room, 1 << 20)))
        yield
    finally:
        ballast.unlink(missing_ok=True)


def invoices(folder: Path, first: int, size: int) -> list[Printed]:
    sales = [documents.another_sale(first + n, today=TODAY) for n in range(size)]
    return [batch(folder / f"{sale.invoice.number}.pdf", [sale]) for sale in sales]


def test_below_the_limit_no_job_is_taken_and_those_taken_are_finished(
    instance: Instance, relay: Relay, disk: Path, tmp_path: Path
) -> None:
    """The last bytes of the disk belong to what was taken: print clients are told to come again."""
    first, second = invoices(tmp_path, FIRST_NUMBER, 2)
    told = {instance.print(first.file).uuid.removeprefix("urn:uuid:"): first}
    with filled(disk, KEEP - (1 << 20)):
        with pytest.raises(RequestError, match="server-error-"):
            instance.print(second.file)
        settle(instance, 60)
    told[instance.print(second.file).uuid.removeprefix("urn:uuid:")] = second
    settle(instance, 60)
    assert compare(instance, told, relay).problems == []


def test_a_disk_that_is_full_to_the_last_byte_loses_nothing(
    instance: Instance, relay: Relay, disk: Path, tmp_path: Path
) -> None:
    """It fills up in the middle of the work; once there is room, everything is done, once, without a hand."""
    printing = Printing(instance, invoices(tmp_path, FIRST_NUMBER + 100, 12))
    try:
        printing.permit(8)
        until(lambda: len(printing.told) >= 4)
        with filled(disk, 0):
            printing.permit(4)
            time.sleep(5)
        printing.finish(60)
    finally:
        printing.abandon()
    assert printing.retries > 0
    settle(instance, 45)  # within a minute: a look for what was left that met the full disk is repeated
    problems = [one for one in compare(instance, printing.told, relay).problems if "never printed" not in one]
    assert problems == []
    assert instance.run("verify", "--all").returncode == 0


def test_thirty_large_jobs_at_once_leave_free_what_must_stay_free(instance: Instance, disk: Path) -> None:
    """600 MB come at once to a disk that has room for less: some are taken, the others told to come again."""
    capture, over, lowest, largest = instance.role("capture"), threading.Event(), [DISK], [0]

    def watch() -> None:
        while not over.wait(0.01):
            lowest[0] = min(lowest[0], free(disk))
            largest[0] = max(largest[0], psutil.Process(capture.pid).memory_info().rss)

    watching = threading.Thread(target=watch)
    watching.start()
    with ThreadPoolExecutor(30) as clients:
        told = Counter(clients.map(lambda n: upload(instance, n), range(30)))
    over.set()
    watching.join()
    room = (DISK - KEEP) // LARGE
    print(f"taken {told}, lowest {lowest[0] >> 20} MiB free of {KEEP >> 20}, capture {largest[0] >> 20} MiB")
    assert room // 2 <= told[Status.SUCCESSFUL_OK] <= room
    assert told[Status.SUCCESSFUL_OK] + told[Status.SERVER_ERROR_TEMPORARY_ERROR] == 30
    assert lowest[0] >= KEEP - (4 << 20)
    assert largest[0] < 200 << 20


def upload(instance: Instance, number: int) -> Status:
    """A print job of 20 MB; the status of its answer."""
    connection = http.client.HTTPConnection(instance.address("ipp"), timeout=60)
    head = print_job(instance.printer, f"large {number}") + b"%PDF-1.7\n"
    try:
        connection.request("POST", "/ipp/print", head + bytes([number]) * LARGE, IPP)
        return Status(int.from_bytes(connection.getresponse().read()[2:4]))
    finally:
        connection.close()
