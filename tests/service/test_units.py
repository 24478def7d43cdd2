"""The unit files, as far as they can be judged without booting anything; ``make test-service`` boots."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from printerd import cups_backend
from printerd import systemd as manager
from printerd.pipeline import distiller
from printerd.supervisor import LISTENS

ROOT = Path(__file__).parents[2]
UNITS = ROOT / "systemd/system"
SERVICES = sorted(UNITS.glob("*.service"))
SOCKETS = sorted(UNITS.glob("*.socket"))
BY_CHOICE = {"raw", "lpd"}
"""Sockets that are off until somebody enables them."""
THRESHOLD = 20
"""Exposure by systemd-analyze security, in tenths."""


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The units as they would be installed, with a program that is there instead of the one that is not."""
    for unit in UNITS.rglob("*.*"):
        if unit.is_file():
            copy = tmp_path / unit.relative_to(UNITS)
            copy.parent.mkdir(exist_ok=True)
            copy.write_text(unit.read_text().replace("/usr/bin/invoice-printer", sys.executable))
    return tmp_path


def analyze(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["systemd-analyze", *words], capture_output=True, text=True, timeout=60, check=False, env={"PATH": "/usr/bin"}
    )


def directives(unit: Path, name: str) -> list[str]:
    return re.findall(rf"^{name}=(.*)$", unit.read_text(), re.MULTILINE)


def test_systemd_finds_no_fault(installed: Path) -> None:
    """Every unit is understood: no unknown key, no value that is ignored."""
    names = [installed / unit.name for unit in (*SERVICES, *SOCKETS)]
    done = analyze("verify", *names)
    complaints = [line for line in done.stderr.splitlines() if str(installed) in line or "invoice-printer" in line]
    assert len(names) == 19 and complaints == []


@pytest.mark.parametrize("unit", [unit.name for unit in SERVICES])
def test_a_unit_may_do_little(installed: Path, unit: str) -> None:
    """Exposure is 2.0 at most for each unit by itself, drop-ins included."""
    done = analyze("security", "--offline=yes", f"--threshold={THRESHOLD}", installed / unit)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_drop_in_of_the_hot_folder_is_understood(installed: Path) -> None:
    """What docs/hot-folder.md has IT write opens one folder, and widens nothing else."""
    (drop_in,) = re.findall(r"```\n(\[Unit\]\n.*?)```", (ROOT / "docs/hot-folder.md").read_text(), re.DOTALL)
    assert re.findall(r"^(\w+)=", drop_in, re.MULTILINE) == ["RequiresMountsFor", "ReadWritePaths"]
    for unit in ("invoice-printer.service", "invoice-printer-capture.service"):
        (installed / f"{unit}.d" / "folder.conf").write_text(drop_in)
        done = analyze("verify", installed / unit)
        assert [line for line in done.stderr.splitlines() if "folder.conf" in line] == []
        assert analyze("security", "--offline=yes", f"--threshold={THRESHOLD}", installed / unit).returncode == 0


def test_the_printer_may_be_announced() -> None:
    """Multicast DNS is UDP, the kernel tells addresses by netlink, and Avahi is behind a Unix socket; where Avahi runs,
    it starts first and ends last.
    """
    walls = UNITS / "invoice-printer.service.d/hardening.conf"
    (families,) = directives(walls, "RestrictAddressFamilies")
    assert set(families.split()) == {"AF_UNIX", "AF_INET", "AF_INET6", "AF_NETLINK"}
    assert not {"PrivateNetwork", "IPAddressDeny", "InaccessiblePaths"} & set(
        re.findall(r"^(\w+)=", walls.read_text(), re.M)
    )
    for unit in ("invoice-printer.service", "invoice-printer-capture.service"):
        assert "avahi-daemon.service" in directives(UNITS / unit, "After")[0].split()


ROLES = [unit for unit in SERVICES if unit.name == "invoice-printer.service" or "serve --only" in unit.read_text()]
"""The service and its roles; others are small programs with walls of their own."""


def test_all_roles_have_the_same_walls() -> None:
    """There is one file of walls; the roles' drop-ins are links to it, and no unit widens what it says."""
    (walls,) = {(UNITS / f"{unit.name}.d/hardening.conf").resolve() for unit in ROLES}
    said = {line.split("=")[0] for line in walls.read_text().splitlines() if "=" in line and not line.startswith("#")}
    for unit in ROLES:
        own = {line.split("=")[0] for line in unit.read_text().splitlines() if "=" in line and line[0] != "#"}
        assert own & said == set(), unit.name


def test_sockets_bear_the_names_that_the_program_looks_for() -> None:
    """FileDescriptorName= of each socket is one of its service's role; the whole service has those of all roles.

    A service starts its sockets, but those of raw printing and LPD: somebody enables them.
    """
    named: dict[str, set[str]] = {}
    for unit in SOCKETS:
        for service in directives(unit, "Service"):
            named.setdefault(service, set()).update(directives(unit, "FileDescriptorName"))
    assert named == {
        "invoice-printer.service": {"ipp", "backend", "public", "api"} | BY_CHOICE,
        "invoice-printer-capture.service": set(LISTENS["capture"]),
        "invoice-printer-receipts.service": set(LISTENS["receipts"]),
    }
    for service, names in named.items():
        listed = directives(UNITS / service, "Sockets")[0].split()
        assert {directives(UNITS / name, "FileDescriptorName")[0] for name in listed} == names - BY_CHOICE


def test_the_ghostscript_socket_is_where_the_worker_looks() -> None:
    """The well-known path of the program is that of the unit, and the unit runs the program's other end."""
    assert directives(UNITS / "invoice-printer-ghostscript.socket", "ListenStream") == [str(distiller.SOCKET)]
    (command,) = directives(UNITS / "invoice-printer-ghostscript@.service", "ExecStart")
    assert command.endswith(f"-m {distiller.__name__}")


def test_the_unit_waits_longer_than_the_program() -> None:
    """A document that takes too long is ended by the program, which says so, before systemd ends the unit."""
    (seconds,) = directives(UNITS / "invoice-printer-ghostscript@.service", "RuntimeMaxSec")
    assert int(seconds) >= distiller.programs.TIMEOUT + distiller.PATIENCE


def test_the_settings_name_credentials_that_the_units_load() -> None:
    """A credential that README or the documents name is among those of the unit."""
    pages = "".join((ROOT / name).read_text() for name in ("README.md", "README.fr.md", "docs/configuration.md"))
    named = set(re.findall(rf"{manager.CREDENTIAL}([a-z0-9.-]+)", pages))
    assert named and named <= set(directives(UNITS / "invoice-printer.service", "LoadCredential"))


def test_each_role_unit_runs_a_role() -> None:
    """``serve --only ROLE`` of a unit is a role of the program, and its name is the unit's."""
    assert len(ROLES) == 4
    for unit in ROLES:
        if unit.name != "invoice-printer.service":
            (command,) = directives(unit, "ExecStart")
            role = command.rpartition(" ")[2]
            assert role in LISTENS and unit.name == f"invoice-printer-{role}.service"


def test_the_backend_finds_the_socket_of_the_units() -> None:
    """The address that CUPS discovers is the sockets' own; the print system may connect, and nobody else."""
    for unit in UNITS.glob("*-backend.socket"):
        (place,) = directives(unit, "ListenStream")
        assert f" invoice-printer:{place}?queue=invoices " in cups_backend.DISCOVERY
        assert directives(unit, "SocketGroup") + directives(unit, "SocketMode") == ["lp", "0660"]
