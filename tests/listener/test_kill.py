"""Capture is killed at any moment: what was acknowledged is there, once, and nothing else is left lying about."""

from __future__ import annotations

import hashlib
import http.client
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from printerd.ipp.attributes import attribute
from printerd.ipp.codec import decode, encode
from printerd.ipp.message import GroupTag
from printerd.ipp.registry import Operation, Status

from .printing import PDF, RunningPrinter

CLIENTS = 8


@contextmanager
def victim(folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """A printer in a process of its own, and its port."""
    command = [sys.executable, "-m", "tests.listener.printing", str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            yield process, int(process.stdout.readline())
        finally:
            process.kill()


class Client(threading.Thread):
    """Prints until the printer is gone, and remembers what it was told: job-id and digest."""

    def __init__(self, printer: RunningPrinter, port: int, name: str) -> None:
        super().__init__()
        self.acknowledged: dict[int, str] = {}
        self._printer = printer
        self._port = port
        self._name = name

    def run(self) -> None:
        number = 0
        try:
            while True:
                number += 1
                self._print(f"{self._name} {number}")
        except (OSError, http.client.HTTPException):
            return

    def _print(self, title: str) -> None:
        document = PDF + title.encode()
        request = self._printer.request(Operation.PRINT_JOB, attribute("job-name", title))
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)
        try:
            connection.request(
                "POST",
                "/ipp/print",
                encode(request) + document,
                {"Content-Type": "application/ipp", "Host": "localhost"},
            )
            answer = decode(connection.getresponse().read())
        finally:
            connection.close()
        assert answer.code == Status.SUCCESSFUL_OK
        self.acknowledged[answer.first(GroupTag.JOB).number("job-id")] = hashlib.sha256(document).hexdigest()


@pytest.mark.parametrize("jobs", [1, 20, 50])
def test_kill_under_load(printer: RunningPrinter, tmp_path: Path, jobs: int) -> None:
    """Every acknowledged job is there after the restart, with its bytes; the spool is empty, the numbers are dense."""
    folder = tmp_path / "killed"
    with victim(folder) as (process, port):
        clients = [Client(printer, port, f"client {i}") for i in range(CLIENTS)]
        for client in clients:
            client.start()
        while sum(len(client.acknowledged) for client in clients) < jobs:
            time.sleep(0.005)
        process.kill()
        for client in clients:
            client.join()
    acknowledged = {number: digest for client in clients for number, digest in client.acknowledged.items()}
    assert acknowledged
    restarted = RunningPrinter(folder)
    try:
        rows = {row.number: row for row in restarted.rows()}
        assert {number: rows[number].original for number in acknowledged} == acknowledged
        assert sorted(rows) == list(range(1, len(rows) + 1))
        originals = [row.original for row in rows.values() if row.original]
        assert len(set(originals)) == len(originals)
        for digest in originals:
            assert hashlib.sha256(restarted.blobs.read(digest)).hexdigest() == digest
        assert restarted.spooled() == []
        assert restarted.print_job().code == Status.SUCCESSFUL_OK
    finally:
        restarted.stop()
