"""Printing waits neither for customers nor for the worker, however much those have to do."""

from __future__ import annotations

import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from printerd.ipp.attributes import attribute
from printerd.ipp.codec import encode
from printerd.ipp.message import Group, GroupTag, Message
from printerd.ipp.registry import Operation
from tests import documents
from tests.faults import FIRST_NUMBER, Printed, batch, compare, settle
from tests.instance import Instance, request, served
from tests.relay import Relay

TODAY = date.today()  # noqa: DTZ011 - a calendar day
NUMBERS = count(FIRST_NUMBER)
IPP = {"Content-Type": "application/ipp"}
PATIENCE = 1.0
"""Seconds within which 95 of 100 answers come on two cores that others share; alone it is a hundredth of that."""
FLOOD = """
import http.client, sys
host, tokens = sys.argv[1], 0
while True:
    connection = http.client.HTTPConnection(host, timeout=10)
    try:
        for tokens in range(tokens, tokens + 100):
            connection.request("GET", f"/l/{tokens:043d}")
            connection.getresponse().read()
    except (OSError, http.client.HTTPException):
        pass
    connection.close()
"""


@pytest.fixture(scope="module")
def relay() -> Relay:
    return Relay()


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory, relay: Relay) -> Iterator[Instance]:
    with served(tmp_path_factory.mktemp("load") / "state", mailbox=relay) as running:
        yield running


@pytest.fixture(scope="module")
def told() -> dict[str, Printed]:
    """Every job that was acknowledged in this file."""
    return {}


@contextmanager
def flood(host: str) -> Iterator[None]:
    """Two machines of the internet try links on the customers' page as fast as they can."""
    floods = [subprocess.Popen([sys.executable, "-c", FLOOD, host]) for _ in range(2)]
    try:
        time.sleep(1)
        yield
    finally:
        for process in floods:
            process.kill()
            process.wait()


def seconds(act: Callable[[], Any], times: int) -> list[float]:
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        act()
        taken.append(time.perf_counter() - began)
    return taken


def p95(taken: Sequence[float]) -> float:
    return statistics.quantiles(taken, n=20)[-1]


def ask(
    instance: Instance,
    operation: Operation = Operation.GET_PRINTER_ATTRIBUTES,
    document: bytes = b"",
    headers: Mapping[str, str] = IPP,
) -> None:
    """One request that is answered with successful-ok."""
    said = {
        "attributes-charset": "utf-8",
        "attributes-natural-language": "en",
        "printer-uri": instance.printer,
    }
    group = Group(GroupTag.OPERATION, tuple(attribute(name, value) for name, value in said.items()))
    body = encode(Message((2, 0), operation, 1, (group,))) + document
    answer = request("POST", f"http://{instance.address('ipp')}/ipp/print", body=body, headers=dict(headers))
    assert answer.status == 200
    assert answer.body[2:4] == b"\0\0"


def print_next(instance: Instance, told: dict[str, Printed], folder: Path) -> None:
    sale = documents.another_sale(next(NUMBERS), today=TODAY)
    printed = batch(folder / f"{sale.invoice.number}.pdf", [sale])
    told[instance.print(printed.file).uuid.removeprefix("urn:uuid:")] = printed


def test_a_flood_on_the_customers_page_does_not_slow_printing(
    instance: Instance, relay: Relay, told: dict[str, Printed], tmp_path: Path
) -> None:
    """Printers are asked and jobs are taken while strangers try links as fast as they can."""
    quiet = p95(seconds(lambda: ask(instance), 100)), p95(seconds(lambda: print_next(instance, told, tmp_path), 20))
    with flood(instance.address("public")):
        loud = p95(seconds(lambda: ask(instance), 100)), p95(seconds(lambda: print_next(instance, told, tmp_path), 20))
    print(*(f"{name} p95 {before * 1000:.1f} → {during * 1000:.1f} ms" for name, before, during in zip(
        ("Get-Printer-Attributes", "Print-Job"), quiet, loud, strict=True)), sep="\n")  # fmt: skip
    assert max(loud) < PATIENCE
    settle(instance, 60)
    assert compare(instance, told, relay).problems == []


def test_the_roles_give_way_to_one_another(instance: Instance) -> None:
    """Prints are taken first, then worked on, then mailed: the kernel is told so, for readers and sealers too."""
    capture, worker, receipts = (instance.role(role) for role in ("capture", "worker", "receipts"))
    assert capture.nice() < worker.nice() < receipts.nice()
    assert {child.nice() for child in worker.children(recursive=True)} == {worker.nice()}


def test_a_header_names_no_other_sender(instance: Instance) -> None:
    """Whoever prints is who connects, though X-Forwarded-For says another: a job's owner is told by it."""
    forged = {"X-Forwarded-For": "192.0.2.7", "Forwarded": "for=192.0.2.7"}
    ask(instance, Operation.PRINT_JOB, b"%PDF-1.4 of nobody", IPP | forged)
    assert instance.json("jobs")[0]["host"] == "localhost"


def test_a_worker_that_is_behind_does_not_slow_capture(
    instance: Instance, relay: Relay, told: dict[str, Printed], tmp_path: Path
) -> None:
    """Nobody works on sixty jobs that wait: the sixtieth is taken as fast as the first."""
    settle(instance, 60)  # stopped at work it might hold the database
    worker = instance.role("worker")
    worker.send_signal(signal.SIGSTOP)
    try:
        taken = seconds(lambda: print_next(instance, told, tmp_path), 60)
    finally:
        worker.send_signal(signal.SIGCONT)
    print(f"Print-Job p95 {p95(taken) * 1000:.1f} ms, last ten {p95(taken[-10:]) * 1000:.1f} ms")
    assert p95(taken) < PATIENCE
    settle(instance, 90)
    assert compare(instance, told, relay).problems == []
