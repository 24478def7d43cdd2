"""The service in a machine: the settings that its people write, and what its commands say, asked as root types them."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from typing import Any

from printerd.demo import samples, trade
from tests.service.booted.machine import HERE, Machine

ADDRESS = "ipp://localhost:8631/ipp/print"
LIB = "/usr/lib/invoice-printer/lib"
PACKAGE = "./build/invoice-printer_*.deb"
SETTINGS = f"""
[issuers.moulin]
name = {json.dumps(trade.ISSUER.name)}
siren = "{trade.ISSUER.siren}"
vat_id = "{trade.ISSUER.vat_id}"
address = {json.dumps(trade.ISSUER.address)}
email = "{trade.ISSUER.email}"
ibans = ["{trade.IBAN}"]
[rehearsal]
to = "claire@aubonmoulin.example"
[smtp]
sender = "{trade.ISSUER.email}"
user = "compta"
password_file = "credential:invoice-printer.smtp-password"
per_minute = 100000
retry_first = 1
"""
"""Who issues invoices, where mail goes, and where the password is."""


def draw(house: Machine) -> None:
    """Invoices of today in ``samples``, one of them as ``INVOICE.pdf``, and their customers as ``CUSTOMERS.csv``."""
    drawn = samples.generate(house.path(f"{HERE}/samples"), today=date.today())  # noqa: DTZ011 - a calendar day
    (first,) = (one for one in drawn if one.name == "facture-simple-fr")
    first.file.rename(house.path(f"{HERE}/INVOICE.pdf"))
    samples.write_customers(house.path(f"{HERE}/CUSTOMERS.csv"), trade.BUYERS)


def listed(house: Machine, *words: str) -> list[dict[str, Any]]:
    """What a command lists."""
    found: list[dict[str, Any]] = json.loads(house.run(f"invoice-printer {' '.join(words)} --json").stdout)
    return found


def jobs(house: Machine) -> list[dict[str, Any]]:
    """All jobs, the newest first."""
    return listed(house, "jobs", "--limit", "1000")


def settled(house: Machine, number: int, seconds: float = 90) -> dict[str, Any]:
    """A job once nothing moves it any more."""
    deadline = time.monotonic() + seconds
    while True:
        found: dict[str, Any] = json.loads(house.run(f"invoice-printer jobs show {number} --json").stdout)
        busy = [one for one in found["invoices"] if one["state"] in ("ready", "checking")]
        if found["job"]["state"] in ("done", "aborted", "held") and not busy:
            return found
        assert time.monotonic() < deadline, found
        time.sleep(0.3)


def printed(house: Machine, name: str, data: bytes) -> int:
    """Prints bytes by the command line; the job's number."""
    house.path(f"{HERE}/{name}").write_bytes(data)
    told = house.run(f"invoice-printer print {name} --json").stdout
    return int(json.loads(told)["number"])


@contextmanager
def crowd(house: Machine, pause: float = 0.1) -> Iterator[dict[str, list[Any]]]:
    """Four clients print, ``pause`` seconds apart, until the end of the block; then: ``accepted`` and ``refused``."""
    told: dict[str, list[Any]] = {}
    command = f"python3 {HERE}/tests/service/booted/crowd.py {ADDRESS} {HERE}/samples /run/stop 4 {pause}"
    done: list[subprocess.CompletedProcess[str]] = []
    printing = threading.Thread(target=lambda: done.append(house.run(command, env={"PYTHONPATH": LIB}, timeout=300)))
    house.run("rm -f /run/stop")
    printing.start()
    try:
        yield told
    finally:
        house.run("touch /run/stop")
        printing.join()
    told.update(json.loads(done[0].stdout))
