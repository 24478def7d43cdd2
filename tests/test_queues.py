"""``invoice-printer queue``: queues of a real cupsd that are made, renewed, listed and removed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from printerd.errors import RequestError, TransientError
from printerd.queues import PPD

from .cups import Cups, cupsd, private_cupsd
from .instance import free_port

__all__ = ["cupsd"]
DEVICE = "invoice-printer:/run/invoice-printer/backend.sock?queue=invoices"


@pytest.fixture
def cups(cupsd: Cups) -> Iterator[Cups]:
    """A cupsd that has none of our queues yet."""
    yield cupsd
    queue(cupsd.port, "remove")


def queue(port: int, *words: str) -> subprocess.CompletedProcess[str]:
    """``invoice-printer queue WORDS``, with that cupsd."""
    environment = os.environ | {"CUPS_SERVER": f"127.0.0.1:{port}", "LC_ALL": "C.UTF-8"}
    command = [sys.executable, "-m", "printerd", "queue", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment)


def ensured(cups: Cups, *words: str) -> str:
    done = queue(cups.port, "ensure", *words)
    assert done.returncode == 0, done.stderr
    return done.stdout


def listed(cups: Cups) -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads(queue(cups.port, "list", "--json").stdout)
    return found


def test_a_queue_is_made_once(cups: Cups, tmp_path: Path) -> None:
    """Made, ready, and not shared; asked for again, nothing is done, and it says so."""
    assert ensured(cups, "--state", str(tmp_path)) == f"invoices: made ({DEVICE})\n"
    assert ensured(cups, "--state", str(tmp_path)) == f"invoices: as it should be ({DEVICE})\n"
    assert listed(cups) == [
        {
            "name": "invoices",
            "device": DEVICE,
            "info": "Invoice Printer",
            "state": "idle",
            "accepting": True,
            "shared": False,
        }
    ]
    assert "invoices" in queue(cups.port, "list").stdout
    assert cups.ppd("invoices").read_text() == PPD.read_text()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("-v", "invoice-printer:/elsewhere.sock?queue=invoices"), "address"),
        (("-D", "Chequers"), "description"),
        (("-o", "printer-is-shared=true"), "no longer shared"),
        (("-m", "drv:///sample.drv/generic.ppd"), "driver"),
    ],
)
def test_what_differs_is_renewed(cups: Cups, tmp_path: Path, change: tuple[str, ...], said: str) -> None:
    """One thing that somebody changed is set right, and named; what is right already is left alone."""
    ensured(cups, "--state", str(tmp_path))
    cups.run("lpadmin", "-p", "invoices", *change)
    assert ensured(cups, "--state", str(tmp_path)) == f"invoices: {said} ({DEVICE})\n"
    assert ensured(cups, "--state", str(tmp_path)).startswith("invoices: as it should be")


def test_an_administrators_default_stays(cups: Cups, tmp_path: Path) -> None:
    """Another paper by default is a choice, not damage; and a queue that was stopped stays stopped."""
    ensured(cups, "--state", str(tmp_path))
    cups.run("lpadmin", "-p", "invoices", "-o", "PageSize=A3")
    cups.run("cupsdisable", "invoices")
    cups.run("cupsreject", "invoices")
    assert "as it should be" in ensured(cups, "--state", str(tmp_path))
    assert "DefaultPageSize: A3" in cups.ppd("invoices").read_text()
    assert [(one["state"], one["accepting"]) for one in listed(cups)] == [("stopped", False)]


def test_the_address_is_that_of_the_settings(cups: Cups, tmp_path: Path) -> None:
    """An instance with a socket of its own gets a queue that prints there."""
    made = ensured(cups, "--state", str(tmp_path), "--name", "test", "--set", "listen.backend=unix:///tmp/a.sock")
    assert made == "test: made (invoice-printer:/tmp/a.sock?queue=invoices)\n"


def test_a_queue_of_somebody_else_is_left_alone(cups: Cups, tmp_path: Path) -> None:
    """The name is taken: it says by what, and neither ensure nor remove touches it."""
    cups.run("lpadmin", "-p", "invoices", "-E", "-v", "file:///dev/null")
    done = queue(cups.port, "ensure", "--state", str(tmp_path))
    assert (done.returncode, "prints to file:///dev/null" in done.stderr) == (RequestError.exit_code, True)
    assert "--name" in done.stderr
    assert queue(cups.port, "remove").stdout == "There is no queue of ours.\n"
    assert "invoices" in cups.run("lpstat", "-v", "invoices")
    cups.run("lpadmin", "-x", "invoices")


def test_every_queue_of_ours_is_removed(cups: Cups, tmp_path: Path) -> None:
    """By their addresses, whatever their names: also those that people made by hand."""
    for name in ("one", "two"):
        ensured(cups, "--state", str(tmp_path), "--name", name)
    cups.run("lpadmin", "-p", "three", "-v", "invoice-printer:/x.sock?queue=y", "-P", str(PPD))
    assert queue(cups.port, "remove").stdout == "one: removed\nthree: removed\ntwo: removed\n"
    assert listed(cups) == []
    assert queue(cups.port, "list").stdout.startswith("No queue yet")


def test_a_name_that_cups_refuses_is_explained(cups: Cups, tmp_path: Path) -> None:
    """CUPS's own words, three lines at most."""
    done = queue(cups.port, "ensure", "--state", str(tmp_path), "--name", "a/b")
    assert done.returncode == RequestError.exit_code
    assert "CUPS refused" in done.stderr and len(done.stderr.splitlines()) <= 3, done.stderr


LOCKED = """
DefaultPolicy locked
<Policy locked>
  <Limit CUPS-Add-Modify-Printer CUPS-Delete-Printer>
    AuthType Basic
    Require user @SYSTEM
  </Limit>
  <Limit All>
  </Limit>
</Policy>
"""


def test_who_may_not_is_told_who_may(tmp_path: Path) -> None:
    """A cupsd that wants a password asks nobody for one here: it says who may."""
    with private_cupsd(LOCKED) as cups:
        done = queue(cups.port, "ensure", "--state", str(tmp_path))
    assert done.returncode == RequestError.exit_code
    assert "does not let you" in done.stderr and "lpadmin" in done.stderr


@pytest.mark.parametrize("command", ["ensure", "list", "remove"])
def test_without_cups_it_says_how_to_start_it(tmp_path: Path, command: str) -> None:
    """Down: exit status 75, where it was looked for, and the remedy."""
    words = (command, "--state", str(tmp_path)) if command == "ensure" else (command,)
    done = queue(free_port(), *words)
    assert done.returncode == TransientError.exit_code
    assert "CUPS does not answer" in done.stderr and "systemctl start cups" in done.stderr
