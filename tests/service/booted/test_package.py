"""The Debian package: installed, printed through, upgraded while people print, removed and purged in a Debian 12.

The tests are one story and run in this order.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.service.booted.house import LIB, PACKAGE, SETTINGS, crowd, draw, jobs, listed, settled
from tests.service.booted.machine import HERE, ROOT, Machine, booted

CONFIG = "/etc/invoice-printer/config.toml"
EPOCH = 1_700_000_000
"""When the first of the trees was made; the later one is an hour younger."""
EVERYTHING = "find / -xdev -path /proc -prune -o -path /root -prune -o -path /tmp -prune -o -print | sort"
FAILED = "systemctl list-units --failed --plain --no-legend"
NOT_OURS = re.compile(
    r"/var/(lib/(dpkg|apt)|cache/(apt|debconf|man|ldconfig)|log|backups)/|/etc/\w+-$|/etc/\.pwd\.lock$"
    r"|/var/cache/cups/|/etc/cups/(.*\.O|printers\.conf)$|/etc/credstore$"
)
"""What dpkg, logs and useradd keep for themselves, what CUPS keeps of earlier queues, and the folder of passwords."""


@pytest.fixture(scope="module")
def house() -> Iterator[Machine]:
    """A machine with CUPS, and a tree in which one module is to be dropped."""
    with booted() as found:
        draw(found)
        dropped = found.path(f"{HERE}/printerd/dropped/__init__.py")
        dropped.parent.mkdir()
        dropped.write_text("")
        yield found


@pytest.fixture(scope="module")
def before(house: Machine) -> set[str]:
    """Every file of the machine before anything of ours was there."""
    return set(house.run(EVERYTHING).stdout.splitlines())


def build(house: Machine, epoch: int) -> Path:
    """``make deb``; the package."""
    house.run("make deb", env={"SOURCE_DATE_EPOCH": str(epoch)}, timeout=300)
    (package,) = house.path(f"{HERE}/build").glob("invoice-printer_*.deb")
    return package


def install(house: Machine, package: str = PACKAGE) -> str:
    """``apt install``, with nobody to answer; what it said."""
    done = house.run(f"apt install --yes {package}", timeout=300)
    return done.stdout + done.stderr


def lines(house: Machine, command: str) -> list[str]:
    return house.run(command, check=False).stdout.splitlines()


# The package


def test_the_same_tree_makes_the_same_package(house: Machine) -> None:
    """Made again it is the same, byte for byte; its version tells the source's time and the release it is for."""
    packages = [(one.name, hashlib.sha256(one.read_bytes()).hexdigest()) for one in (build(house, EPOCH) for _ in "ab")]
    assert packages[0] == packages[1]
    assert packages[0][0] == "invoice-printer_0.1.0-20231114.221320~debian12_amd64.deb"


def test_lintian_finds_no_fault(house: Machine) -> None:
    """Debian's own judge of packages has no error and no warning, but those that are explained in the overrides."""
    (package,) = house.path(f"{HERE}/build").glob("invoice-printer_*.deb")
    lintian = ["lintian", "--allow-root", "--fail-on=error,warning", package]
    done = subprocess.run(lintian, capture_output=True, text=True, timeout=300, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


def test_it_stands_on_what_the_release_has(house: Machine) -> None:
    """It depends on the programs of requirements/service.txt, and on the Python that its libraries were made for."""
    told = house.run(f"dpkg-deb --field {PACKAGE} Depends").stdout.strip().split(", ")
    assert {"python3 (>= 3.11~)", "python3 (<< 3.12)"} <= set(told)
    assert set((ROOT / "requirements/service.txt").read_text().split()) <= set(told)


# Installed


def test_installed_it_runs_and_a_queue_appears(house: Machine, before: set[str]) -> None:
    """One ``apt install``, no question: settings are written, the service answers, CUPS has the queue."""
    assert not any("invoice-printer" in path for path in before)
    install(house)
    assert lines(house, "systemctl is-active invoice-printer invoice-printer-queue") == ["active"] * 2
    assert lines(house, "stat -c '%a %U' /var/lib/invoice-printer") == ["700 invoice-printer"]
    assert [(one["name"], one["state"], one["accepting"]) for one in listed(house, "queue", "list")] == [
        ("invoices", "idle", True)
    ]
    house.run("invoice-printer config check")
    assert lines(house, FAILED) == []


def test_it_prints_and_the_same_bytes_are_archived(house: Machine) -> None:
    """``lp`` prints through the queue; the archive holds what was printed, and the invoice made of it."""
    house.path(CONFIG).write_text(SETTINGS)
    house.run("install -D -m 600 /dev/null /etc/credstore/invoice-printer.smtp-password")
    house.run("echo swordfish > /etc/credstore/invoice-printer.smtp-password && systemctl restart invoice-printer")
    house.run("invoice-printer customers import CUSTOMERS.csv")
    house.run("lp -d invoices INVOICE.pdf")
    house.until("invoice-printer jobs | grep INVOICE.pdf")
    job = settled(house, 1)
    assert [one["state"] for one in job["invoices"]] == ["archived"]
    data = house.path(f"{HERE}/INVOICE.pdf").read_bytes()
    kept = [one.read_bytes() for one in house.path("/var/lib/invoice-printer").rglob(hashlib.sha256(data).hexdigest())]
    assert kept == [data]


def test_it_has_what_a_program_of_debian_has(house: Machine) -> None:
    """A manual page of every command, completion for shells, the documents; files as dpkg knows them."""
    page = house.run("zcat /usr/share/man/man1/invoice-printer.1.gz").stdout
    assert re.search(r'^\.SS "queue ensure"$', page, re.MULTILINE) and "\n.B \\-\\-passphrase\\-file" in page
    words = "COMP_WORDS=(invoice-printer qu); COMP_CWORD=1; _invoice_printer_completion invoice-printer"
    completed = f"source /usr/share/bash-completion/completions/invoice-printer; {words}; echo $COMPREPLY"
    assert lines(house, f"bash -c '{completed}'") == ["queue"]
    house.run("test -e /usr/share/doc/invoice-printer/docs/operations.md")
    assert lines(house, "dpkg --verify invoice-printer") == []
    assert lines(house, f"find {LIB}/ -name __pycache__ | head -1") != [], "compiled once, for all users"


# Upgraded


def test_an_upgrade_loses_no_job_and_refuses_nobody(house: Machine) -> None:
    """People print to the address and through CUPS while a later version is put in place: every job is kept once."""
    _later(house)
    build(house, EPOCH + 3600)
    settings = house.path(CONFIG).read_bytes()
    known = {job["number"] for job in jobs(house)}
    with crowd(house, pause=1) as said, _queueing(house) as sent:
        time.sleep(3)
        began = time.monotonic()
        told = install(house)
        print(f"upgrade: {time.monotonic() - began:.1f} s")
        time.sleep(3)
    print(f"printed meanwhile: {len(said['accepted'])} to the address, {len(sent)} through CUPS")
    assert [line for line in told.splitlines() if line.startswith(("dpkg: warning", "Warning:"))] == []
    assert said["refused"] == [] and len(said["accepted"]) > 20 and len(sent) > 5
    house.until('test -z "$(lpstat -o invoices)"', 120)
    new = [job for job in jobs(house) if job["number"] not in known]
    through = {job["original"]: job["number"] for job in new if job["title"].startswith("queued-")}
    assert sorted(through) == sorted(sent)
    assert sorted(job["number"] for job in new) == sorted([*said["accepted"], *through.values()])
    house.until('! invoice-printer jobs --limit 1000 --json | grep -E \'"state": "(received|processing)"\'', 200)
    house.run("invoice-printer verify --all")
    assert house.path(CONFIG).read_bytes() == settings


def _later(house: Machine) -> None:
    """The tree as it is in a later version: another number, another PPD, one module less."""
    for name, old, new in (
        ("printerd/__init__.py", '__version__ = "0.1.0"', '__version__ = "0.1.1"'),
        ("ppd/invoice-printer.ppd", "*FileVersion:", "*% A later version.\n*FileVersion:"),
    ):
        file = house.path(f"{HERE}/{name}")
        text = file.read_text()
        assert old in text
        file.write_text(text.replace(old, new))
    house.run("rm -r printerd/dropped")


@contextmanager
def _queueing(house: Machine) -> Iterator[list[str]]:
    """Prints one document after the other through CUPS until the end of the block; the digests of what was sent."""
    sent: list[str] = []
    stop = threading.Event()
    printing = threading.Thread(target=_print_by_cups, args=(house, sent, stop))
    printing.start()
    try:
        yield sent
    finally:
        stop.set()
        printing.join()


def _print_by_cups(house: Machine, sent: list[str], stop: threading.Event) -> None:
    data = house.path(f"{HERE}/INVOICE.pdf").read_bytes()
    while not stop.wait(0.5):
        another = data + f"\n% {len(sent)}\n".encode()
        house.path(f"{HERE}/queued-{len(sent)}.pdf").write_bytes(another)
        house.run(f"lp -d invoices queued-{len(sent)}.pdf")
        sent.append(hashlib.sha256(another).hexdigest())


def test_what_runs_is_the_later_version(house: Machine) -> None:
    """Program, queue and folders are those of the later package; nothing of the upgrade stays."""
    assert lines(house, "invoice-printer --version") == ["invoice-printer 0.1.1"]
    assert lines(house, "systemctl is-active invoice-printer invoice-printer-queue") == ["active"] * 2
    assert "A later version" in house.path("/etc/cups/ppd/invoices.ppd").read_text()
    assert lines(house, f"ls -d {LIB}/printerd/dropped {LIB}/../dist/printerd/dropped") == []
    assert len(lines(house, f"ls -d {LIB}.*")) == 1, "what the earlier one ran from is gone"
    assert lines(house, "dpkg --verify invoice-printer") == []
    assert lines(house, FAILED) == []


def test_an_upgrade_that_fails_leaves_what_was_running(house: Machine) -> None:
    """The next package refuses before it is unpacked: what ran goes on, and prints."""
    refuse = (
        f"dpkg-deb -R {PACKAGE} /tmp/next && sed -i 's/^Version: .*/Version: 9/' /tmp/next/DEBIAN/control && "
        "printf '#!/bin/sh\\nexit 1\\n' > /tmp/next/DEBIAN/preinst && chmod 755 /tmp/next/DEBIAN/preinst && "
        "dpkg-deb -Znone -b /tmp/next /tmp/next.deb"
    )
    house.run(refuse)
    assert house.run("dpkg -i /tmp/next.deb", check=False, timeout=300).returncode == 1
    assert lines(house, "dpkg-query -W -f '${Status} ${Version}' invoice-printer")[0].startswith(
        "install ok installed 0.1.1"
    )
    assert lines(house, "systemctl is-active invoice-printer") == ["active"]
    house.run("lp -d invoices INVOICE.pdf")
    house.until('test -z "$(lpstat -o invoices)"')


def test_an_upgrade_keeps_to_what_was_chosen(house: Machine) -> None:
    """Roles that run apart are those that run again; a queue that somebody disabled is not made."""
    roles = "invoice-printer-capture invoice-printer-worker invoice-printer-receipts"
    house.run("systemctl disable --now invoice-printer invoice-printer-queue && invoice-printer queue remove")
    house.run(f"systemctl enable --now {roles}")
    install(house, f"--reinstall {PACKAGE}")
    assert lines(house, f"systemctl is-active {roles} invoice-printer") == ["active"] * 3 + ["inactive"]
    assert listed(house, "queue", "list") == []
    house.run(f"systemctl disable --now {roles} && systemctl enable --now invoice-printer invoice-printer-queue")


def test_a_wrong_setting_is_no_broken_package(house: Machine) -> None:
    """A service that cannot start is told of, and the package is installed all the same; mended, it starts."""
    settings = house.path(CONFIG).read_text()
    house.path(CONFIG).write_text("nonsense = 1\n")
    assert "It does not start; why: invoice-printer config check" in install(house, f"--reinstall {PACKAGE}")
    assert lines(house, "systemctl is-active invoice-printer") == ["failed"]
    house.path(CONFIG).write_text(settings)
    house.run("systemctl start invoice-printer invoice-printer-queue")
    assert lines(house, FAILED) == []


# The end


def test_removed_it_keeps_what_is_yours(house: Machine) -> None:
    """``apt remove`` ends it and takes program and queue; installed again, all is as it was."""
    known = jobs(house)
    house.run("apt remove --yes invoice-printer", timeout=120)
    assert lines(house, "pgrep -u invoice-printer; ss -ltn | grep :863; lpstat -v | grep invoice") == []
    house.run(f"test ! -e /usr/lib/invoice-printer -a -e {CONFIG} -a -e /var/lib/invoice-printer/printerd.db")
    assert lines(house, FAILED) == []
    install(house)
    assert lines(house, "systemctl is-active invoice-printer invoice-printer-queue") == ["active"] * 2
    assert jobs(house) == known
    assert [one["name"] for one in listed(house, "queue", "list")] == ["invoices"]
    assert house.path(CONFIG).read_text() == SETTINGS


def test_purged_it_leaves_nothing_but_the_user(house: Machine, before: set[str]) -> None:
    """``apt purge`` takes settings, passwords, drop-ins and archive too; the user stays, for files of his elsewhere."""
    drop_in = "/etc/systemd/system/invoice-printer-ipp.socket.d"
    house.run(f"mkdir {drop_in} && printf '[Socket]\\nBacklog=64\\n' > {drop_in}/override.conf")
    house.run("apt purge --yes invoice-printer", timeout=120)
    after = set(house.run(EVERYTHING).stdout.splitlines())
    assert [path for path in sorted(after - before) if not NOT_OURS.search(path)] == []
    assert [path for path in sorted(before - after) if not NOT_OURS.search(path)] == []
    assert lines(house, "pgrep -u invoice-printer; lpstat -v; ls -d /run/invoice-printer") == []
    assert lines(house, "systemctl list-units --all --plain --no-legend 'invoice-printer*'") == []
    assert house.run("getent passwd invoice-printer").stdout.endswith(":/var/lib/invoice-printer:/usr/sbin/nologin\n")
    assert lines(house, FAILED) == []
