"""The service as README says: installed, started, printed to, restarted, attacked and removed in a booted Debian 12.

The tests are one story and run in this order.
"""

from __future__ import annotations

import hashlib
import json
import re
import shlex
import time
from collections.abc import Iterator
from email import message_from_bytes, policy
from email.message import Message

import pytest

from tests.pipeline import paper
from tests.service.booted import machine
from tests.service.booted.house import ADDRESS, LIB, SETTINGS, crowd, draw, jobs, listed, printed, settled
from tests.service.booted.machine import HERE, ROOT, Machine, booted

PASSWORD = "swordfish-4711"
UNITS = "/usr/lib/systemd/system/invoice-printer*.service /usr/lib/systemd/system/invoice-printer*.socket"
THRESHOLD = 20
"""Exposure by systemd-analyze security, in tenths: 2.0."""


def blocks() -> list[list[str]]:
    """The commands of README's section, as they stand there."""
    section = (ROOT / "README.md").read_text().partition("\n## As a service\n")[2].partition("\n## ")[0]
    return [block.splitlines() for block in re.findall(r"^```\n(.*?)^```", section, re.MULTILINE | re.DOTALL)]


INSTALL, PRINT = blocks()


@pytest.fixture(scope="module")
def house() -> Iterator[Machine]:
    """A machine with what README takes for granted: the tree, an editor, a customer file, an invoice, a mail relay."""
    with booted() as found:
        _editor(found)
        draw(found)
        found.path(f"{HERE}/PASSWORD").write_text(f"{PASSWORD}\n")
        yield found


def _editor(house: Machine) -> None:
    """``editor`` writes what a person would."""
    house.path(f"{HERE}/settings").write_text(SETTINGS)
    editor = house.path("/usr/local/bin/editor")
    editor.write_text(f'#!/bin/sh\nsed -i "/^\\[/d" "$1"\ncat {HERE}/settings >> "$1"\n')
    editor.chmod(0o755)


def mails(house: Machine) -> list[Message]:
    files = sorted(house.path("/var/caught").glob("*.eml"))
    return [message_from_bytes(file.read_bytes(), policy=policy.default) for file in files]


# README, word for word


@pytest.mark.parametrize("line", INSTALL)
def test_it_is_installed_as_readme_says(house: Machine, line: str) -> None:
    """Each line of README's installation succeeds; the last one returns when the service answers."""
    house.run(line, timeout=300)


def test_it_answers_when_systemctl_returns(house: Machine) -> None:
    """Type=notify: printer and pages answer at once, no client has to try twice."""
    assert house.run("systemctl is-active invoice-printer").stdout == "active\n"
    attributes = house.run(f"ipptool -tv {ADDRESS} get-printer-attributes.test").stdout
    assert "[PASS]" in attributes and "Invoice Printer" in attributes
    told = json.loads(house.path("/var/lib/invoice-printer/run/addresses.json").read_text())
    assert (told["ipp"], told["api"]) == ("127.0.0.1:8631", "unix:///run/invoice-printer/api.sock")


def test_the_credential_is_the_services_alone(house: Machine) -> None:
    """The password is readable by root and by the service, by nobody else; no environment or command line holds it."""
    assert house.run("stat -c '%a %U' /etc/credstore/invoice-printer.smtp-password").stdout == "600 root\n"
    shown = house.run("stat -c %A /run/credentials/invoice-printer.service").stdout
    assert shown.strip().endswith("---")
    assert house.run("cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ | grep -c sword[f]ish", check=False).stdout == "0\n"


def test_it_prints_as_readme_says(house: Machine) -> None:
    """README's second block from queue to journal; the invoice is sealed and its mail accepted by the relay."""
    relay = f"{HERE}/tests/service/booted/relay.py /var/caught {PASSWORD}"
    house.run(f"systemd-run --unit=relay --setenv=PYTHONPATH={LIB} /usr/bin/python3 {relay}")
    house.until("ss -ltn | grep -q ':25 '")
    for line in PRINT:
        house.run(line)
    house.until("invoice-printer invoices | grep -q archived", 60)
    house.until("ls /var/caught/*.eml", 60)
    (job,) = listed(house, "jobs")
    assert (job["number"], job["state"], job["user"]) == (1, "done", "root")
    assert {mail["To"] for mail in mails(house)} == {"claire@aubonmoulin.example"}
    house.run("invoice-printer verify --all")


# What systemd says of the units


def test_systemd_finds_no_fault(house: Machine) -> None:
    """``systemd-analyze verify`` is silent over all units as installed."""
    done = house.run(f"systemd-analyze verify {UNITS}")
    assert (done.stdout, done.stderr) == ("", "")


@pytest.mark.parametrize("role", ["", "-capture", "-worker", "-receipts", "-ghostscript@x"])
def test_the_units_are_hardened(house: Machine, role: str) -> None:
    """Exposure is 2.0 at most, for the whole service, each role and the Ghostscript unit."""
    told = house.run(f"systemd-analyze security --threshold={THRESHOLD} invoice-printer{role}.service").stdout
    print(told.splitlines()[-1])


def test_the_walls_inside_stand_in_the_unit(house: Machine) -> None:
    """Readers add a filter of their own to the unit's, though the unit forbids namespaces."""
    filters = "for p in $(pgrep -u invoice-printer); do grep -h Seccomp_filters /proc/$p/status; done"
    counts = sorted({int(line.split()[1]) for line in house.run(filters).stdout.splitlines()})
    assert len(counts) == 2 and counts[1] == counts[0] + 1
    assert house.run("journalctl -u invoice-printer --grep=Traceback", check=False).stdout.strip() == "-- No entries --"


def test_its_roles_give_way_to_one_another(house: Machine) -> None:
    """The unit's filter leaves nice(1) to the supervisor: prints are taken first, then worked on, then mailed."""
    told = [line.split(maxsplit=1) for line in house.run("ps -u invoice-printer -o ni=,args=").stdout.splitlines()]
    marks = ("--only capture", "--only worker", "receipt_service")
    assert [int(nice) for mark in marks for nice, command in told if mark in command] == [0, 5, 10]


# Postscript


def test_postscript_is_drawn_by_its_own_unit(house: Machine) -> None:
    """A PostScript invoice comes through, and it was the unit that ran Ghostscript."""
    before = house.run("journalctl -u 'invoice-printer-ghostscript@*' | grep -c Started", check=False).stdout
    (sample,) = house.path(f"{HERE}/samples").glob("*.ps")
    began = time.monotonic()
    job = settled(house, printed(house, "sample.ps", sample.read_bytes()))
    print(f"PostScript, print to archive: {time.monotonic() - began:.2f} s")
    assert [one["state"] for one in job["invoices"]] == ["archived"]
    after = house.run("journalctl -u 'invoice-printer-ghostscript@*' | grep -c Started").stdout
    assert int(after) == int(before) + 1


HOSTILE = {
    "reads a file": paper.postscript("(/etc/passwd) (r) file 200 string readstring pop show"),
    "reads the archive": paper.postscript("(/var/lib/invoice-printer/printerd.db) (r) file"),
    "writes a file": paper.postscript("(/tmp/owned) (w) file"),
    "runs a program": paper.postscript("(%pipe%id > /tmp/owned) (w) file"),
    "reads a program": paper.postscript("(%pipe%id) (r) file 200 string readstring pop show"),
    "loops": b"%!PS\n{} loop\n",
    "takes all memory": b"%!PS\n[ { 65535 string } loop\n",
}


def test_hostile_postscript_harms_its_own_job_alone(house: Machine) -> None:
    """Files, programs, endless loops and memory bombs end their job; the service goes on, beside them and after."""
    began = time.monotonic()
    numbers = {name: printed(house, "hostile.ps", data) for name, data in HOSTILE.items()}
    states = {name: settled(house, number, 200)["job"]["state"] for name, number in numbers.items()}
    print(f"hostile PostScript: {time.monotonic() - began:.1f} s")
    assert states == dict.fromkeys(HOSTILE, "aborted")
    assert house.run("find / -xdev -name owned 2>/dev/null", check=False).stdout == ""
    assert house.run("systemctl show invoice-printer --property=NRestarts --value").stdout == "0\n"
    left = house.run("systemctl list-units --no-legend 'invoice-printer-ghostscript@*'").stdout
    assert left == ""
    sample = house.path(f"{HERE}/sample.ps").read_bytes()
    assert settled(house, printed(house, "again.ps", sample))["invoices"][0]["state"] == "reprint"


def test_an_interpreter_that_was_taken_over_has_nothing(house: Machine) -> None:
    """In the Ghostscript unit's place, a program of the enemy's reaches no file, network, process or right."""
    unit = "/run/systemd/system/invoice-printer-ghostscript@.service.d"
    house.run(
        f"mkdir -p {unit} && cp tests/service/booted/probe.py /usr/lib/probe.py && "
        f"printf '[Service]\\nExecStart=\\nExecStart=/usr/bin/python3 /usr/lib/probe.py\\n' > {unit}/probe.conf && "
        "systemctl daemon-reload"
    )
    ask = (
        "import socket; s = socket.socket(socket.AF_UNIX); s.connect('/run/invoice-printer/ghostscript.sock'); "
        "s.shutdown(socket.SHUT_WR); print(s.makefile('rb').read()[4:].decode())"
    )
    found = json.loads(house.run(f"python3 -c {shlex.quote(ask)}").stdout)
    house.run(f"rm -r {unit} /usr/lib/probe.py && systemctl daemon-reload")
    user = int(found.pop("user"))
    assert 61184 <= user <= 65519, "DynamicUser= gives a number that owns nothing"
    assert {name: how for name, how in found.items() if how == "done"} == {}


def test_nobody_else_may_ask_it(house: Machine) -> None:
    """The Ghostscript socket and the contract's are the service's user's."""
    modes = house.run("stat -c '%a %U' /run/invoice-printer/ghostscript.sock /run/invoice-printer/api.sock").stdout
    assert modes == "600 invoice-printer\n" * 2


# CUPS, with the backend


def test_the_unit_makes_the_queue(house: Machine) -> None:
    """It makes the queue with our backend, as root without root's powers; again it changes nothing."""
    house.run("lpadmin -x invoices && systemctl restart invoice-printer-queue")
    (queue,) = listed(house, "queue", "list")
    assert (queue["name"], queue["state"], queue["shared"]) == ("invoices", "idle", False)
    assert "as it should be" in house.run("invoice-printer queue ensure").stdout
    assert queue["device"] in house.run("lpinfo -v").stdout
    assert "Invoice Printer" in house.run("lpinfo -m").stdout


def test_what_the_queue_prints_arrives_as_it_is(house: Machine) -> None:
    """CUPS runs the backend as lp, whom the hardened service lets in by the socket's mode; the bytes are the file's."""
    data = house.path(f"{HERE}/INVOICE.pdf").read_bytes() + b"\n% by the backend\n"
    house.path(f"{HERE}/local.pdf").write_bytes(data)
    house.run("lp -d invoices local.pdf")
    house.until('test -z "$(lpstat -o invoices)"')
    newest = listed(house, "jobs")[0]
    assert (newest["title"], newest["original"]) == ("local.pdf", hashlib.sha256(data).hexdigest())
    assert house.run("stat -c '%a %U %G' /run/invoice-printer/backend.sock").stdout == "660 invoice-printer lp\n"
    knock = "import socket; socket.socket(socket.AF_UNIX).connect('/run/invoice-printer/backend.sock')"
    refused = house.run(f'setpriv --reuid nobody --clear-groups python3 -c "{knock}"', check=False)
    assert "PermissionError" in refused.stderr


# Restarts


def test_a_restart_under_load_loses_no_job_and_refuses_nobody(house: Machine) -> None:
    """Four clients print without a pause while the service restarts twice: all is kept and done."""
    house.run("invoice-printer go-live")
    before = {job["number"] for job in jobs(house)}
    with crowd(house) as said:
        time.sleep(2)
        for _ in range(2):
            began = time.monotonic()
            house.run("systemctl restart invoice-printer")
            print(f"restart: {time.monotonic() - began:.2f} s")
            time.sleep(2)
    print(f"accepted under load: {len(said['accepted'])}")
    assert said["refused"] == [] and len(said["accepted"]) > 20
    assert set(said["accepted"]) == {job["number"] for job in jobs(house)} - before
    house.until('! invoice-printer jobs --limit 1000 --json | grep -E \'"state": "(received|processing)"\'', 200)
    kept = {job["number"]: job["state"] for job in jobs(house)}
    assert {kept[number] for number in said["accepted"]} == {"done"}


def test_each_invoice_is_archived_and_mailed_once(house: Machine) -> None:
    """After the restarts each number is archived once, and each contact of an invoice got one mail of it."""
    under_way = "invoice-printer invoices --only archived --limit 1000 --json | grep -E 'delivery.: .(due|pending)'"
    house.until(f"! {under_way}", 120)
    archived = {one["number"] for one in listed(house, "invoices", "--only", "archived", "--limit", "1000")}
    assert len(archived) == len(listed(house, "invoices", "--only", "archived", "--limit", "1000")) > 20
    mailed = [(mail["To"], mail["Subject"]) for mail in mails(house) if "claire@" not in mail["To"]]
    assert len(mailed) == len(set(mailed)) > 20
    house.run("invoice-printer verify --all")


def test_it_prints_again(house: Machine) -> None:
    """After all that the queue still prints."""
    before = len(jobs(house))
    house.run("lp -d invoices INVOICE.pdf")
    house.until(f"test $(invoice-printer jobs --limit 1000 --json | grep -c '\"number\"') -gt {before}")


def test_a_hung_supervisor_is_started_again(house: Machine) -> None:
    """WatchdogSec=: a supervisor that says nothing is ended and started again; a drop-in makes it quick here."""
    drop = "/run/systemd/system/invoice-printer.service.d"
    house.run(
        f"mkdir -p {drop} && printf '[Service]\\nWatchdogSec=3\\n' > {drop}/quick.conf && systemctl daemon-reload"
    )
    house.run("systemctl restart invoice-printer")
    supervisor = house.run("systemctl show invoice-printer --property=MainPID --value").stdout.strip()
    house.run(f"kill -STOP {supervisor}")
    house.until(f'test "$(systemctl show invoice-printer --property=MainPID --value)" -ne {supervisor}', 60)
    house.until("systemctl is-active invoice-printer", 30)
    house.run(f"rm -r {drop} && systemctl daemon-reload && systemctl restart invoice-printer")


def test_stopped_it_takes_no_connection(house: Machine) -> None:
    """``systemctl stop`` closes the sockets too: nobody's job waits for a service that was switched off."""
    house.run("systemctl stop invoice-printer")
    assert house.run("ss -ltn | grep -E ':863[123] '", check=False).stdout == ""
    assert house.run("pgrep -u invoice-printer", check=False).stdout == ""


def test_a_connection_starts_it(house: Machine) -> None:
    """Socket activation: with the sockets alone, the first print job starts the service and is taken."""
    house.run("systemctl start invoice-printer-ipp.socket invoice-printer-public.socket invoice-printer-api.socket")
    assert house.run("systemctl is-active invoice-printer", check=False).stdout == "inactive\n"
    began = time.monotonic()
    house.run(f"invoice-printer print INVOICE.pdf --printer {ADDRESS}")
    print(f"first job after socket activation: {time.monotonic() - began:.2f} s")
    house.until("systemctl is-active invoice-printer", 20)


def test_the_roles_run_apart(house: Machine) -> None:
    """Three units in place of one: the same job comes through, in processes that each hold less."""
    house.run("systemctl stop invoice-printer")
    roles = "invoice-printer-receipts invoice-printer-worker invoice-printer-capture"
    house.run(f"systemctl start {roles}")
    assert house.run(f"systemctl is-active {roles}").stdout == "active\n" * 3
    job = settled(house, printed(house, "apart.pdf", house.path(f"{HERE}/INVOICE.pdf").read_bytes()))
    assert job["job"]["state"] == "done"
    house.run(f"systemctl stop {roles}")


def test_it_is_opened_to_the_network_as_the_documents_say(house: Machine) -> None:
    """A drop-in for the socket, then the lines of docs/configuration.md: the printer has another address."""
    page = (ROOT / "docs/configuration.md").read_text().partition("\n## As a service\n")[2].partition("\n## ")[0]
    edit, *lines_after = re.findall(r"^systemctl .*$", page, re.MULTILINE)
    again = " && ".join(line.partition("#")[0] for line in lines_after)
    unit = edit.split("#")[0].split()[-1]
    lines = edit.partition("# ")[2].replace(", ", "\\n")
    folder = f"/etc/systemd/system/{unit}.d"
    house.run("systemctl start invoice-printer")
    house.run(f"mkdir {folder} && printf '{lines}\\n' > {folder}/override.conf && systemctl daemon-reload")
    house.run(again)
    assert "0.0.0.0:8631" in house.run("ss -ltn").stdout
    assert json.loads(house.path("/var/lib/invoice-printer/run/addresses.json").read_text())["ipp"] == "0.0.0.0:8631"


def test_once_opened_it_is_announced(house: Machine) -> None:
    """The unit lets it ask Avahi over the system's bus and, once Avahi is gone, learn the machine's addresses and speak
    multicast DNS itself. Then it is closed again.
    """
    house.run("ip link add office type bridge && ip link set office up && ip address add 10.77.0.1/24 dev office")
    announced = "journalctl -u invoice-printer -o cat | grep 'is announced as Invoice Printer'"
    house.until(f"{announced} | grep 'by avahi-daemon'")
    house.run("systemctl stop avahi-daemon.socket avahi-daemon.service")
    house.until(f"{announced} | grep 'by multicast DNS of its own'")
    house.run("systemctl start avahi-daemon && ip link delete office")
    house.run("rm -r /etc/systemd/system/invoice-printer-ipp.socket.d && systemctl daemon-reload")
    house.run("systemctl stop invoice-printer && systemctl start invoice-printer")
    assert "127.0.0.1:8631" in house.run("ss -ltn").stdout


# The end


def test_it_is_put_in_place_again_and_keeps_what_is_yours(house: Machine) -> None:
    """``make install`` over a running service renews it and restarts it; settings and jobs are as they were."""
    house.run("systemctl start invoice-printer")
    settings = house.path("/etc/invoice-printer/config.toml").read_bytes()
    before = len(jobs(house))
    house.run("make install", timeout=300)
    assert house.path("/etc/invoice-printer/config.toml").read_bytes() == settings
    assert len(jobs(house)) == before
    house.run("systemctl is-active invoice-printer")


def test_it_is_taken_away_and_leaves_what_is_yours(house: Machine) -> None:
    """``make uninstall`` ends it and takes the program; settings, passwords and archive stay."""
    house.run("make uninstall")
    house.run("test -e /etc/invoice-printer/config.toml -a -e /etc/credstore/invoice-printer.smtp-password")
    house.run("test -e /var/lib/invoice-printer/printerd.db -a ! -e /usr/lib/invoice-printer")
    assert house.run("pgrep -u invoice-printer; ls /run/invoice-printer", check=False).stdout == ""
    assert house.run("systemctl is-system-running").stdout == "running\n"


def test_nothing_of_the_machine_is_kept() -> None:
    """What stays after a run is the cache: the installed Debian and the wheels."""
    assert {path.name.split("-")[0] for path in machine.CACHE.iterdir()} == {"bookworm", "wheels"}
