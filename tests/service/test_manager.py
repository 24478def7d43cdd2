"""What the service manager hands over and hears: sockets, readiness, watchdog, credentials."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from printerd import supervisor, systemd
from printerd.errors import ConfigurationError
from printerd.evidence import keys
from tests.instance import free_port, request
from tests.waiting import until

PROGRAM = [sys.executable, "-m", "printerd", "serve"]


class Manager:
    """A service manager's ear: a datagram socket, and what was told to it."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.told: list[str] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(place))
        self._socket.settimeout(0.2)

    def hears(self, word: str) -> bool:
        with contextlib.suppress(TimeoutError):
            while True:
                self.told += self._socket.recv(4096).decode().split("\n")
        return word in self.told

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def ear(tmp_path: Path) -> Iterator[Manager]:
    manager = Manager(tmp_path / "manager.sock")
    yield manager
    manager.close()


@contextlib.contextmanager
def ended(process: subprocess.Popen[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    try:
        yield process
    finally:
        process.terminate()
        assert process.wait(30) in (0, -signal.SIGTERM), "clean ends, for systemd too (SuccessExitStatus=)"


def test_sockets_are_taken_from_systemd_and_the_service_tells_how_it_is(ear: Manager, tmp_path: Path) -> None:
    """Started by the first connection with three sockets, it serves exactly those and leaves the settings' own; READY
    comes once all children answer, WATCHDOG while it looks after them, STOPPING when it ends.
    """
    ports = {name: free_port() for name in ("ipp", "public", "api")}
    listens = [word for port in ports.values() for word in ("--listen", f"127.0.0.1:{port}")]
    activate = ["systemd-socket-activate", *listens, f"--fdname={':'.join(ports)}"]
    told = {"NOTIFY_SOCKET": str(ear.place), "WATCHDOG_USEC": "4000000"}
    command = [*activate, *(f"--setenv={name}={value}" for name, value in told.items())]
    state = tmp_path / "state"
    process = subprocess.Popen(
        [*command, *PROGRAM, "--state", str(state), "--set", "listen.ipp=127.0.0.1:1", "--set", "listen.health="],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    with ended(process):
        page = until(lambda: _answered(f"http://127.0.0.1:{ports['public']}/robots.txt"), 30)
        assert page == 200
        until(lambda: ear.hears("READY=1"), 30)
        until(lambda: ear.hears("WATCHDOG=1"), 10)
        addresses = json.loads((state / "run/addresses.json").read_text())
        assert {name: addresses[name] for name in ports} == {name: f"127.0.0.1:{p}" for name, p in ports.items()}
        assert b"invoice-printer console open" in request("GET", f"http://127.0.0.1:{ports['ipp']}/").body
        names = [word for child in psutil.Process(process.pid).children() for word in child.environ()]
        assert not {"LISTEN_FDS", "LISTEN_PID", "WATCHDOG_USEC"} & set(names), "children would take them for theirs"
    assert ear.hears("STOPPING=1")


def _answered(url: str) -> int:
    with contextlib.suppress(OSError):
        return request("GET", url).status
    return 0


@pytest.mark.parametrize("role", ["capture", "worker", "receipts"])
def test_a_role_alone_says_when_it_answers(ear: Manager, tmp_path: Path, role: str) -> None:
    """``serve --only`` of a unit tells systemd READY and goes on telling that it turns; no supervisor is needed."""
    keys_ = ("listen.ipp", "receipts.public", "receipts.api")
    free = [word for key in keys_ for word in ("--set", f"{key}=127.0.0.1:0")]
    process = subprocess.Popen(
        [*PROGRAM, "--only", role, "--state", str(tmp_path / "state"), *free],
        env={**os.environ, "NOTIFY_SOCKET": str(ear.place), "WATCHDOG_USEC": "2000000"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    with ended(process):
        until(lambda: ear.hears("READY=1"), 30)
        until(lambda: ear.hears("WATCHDOG=1"), 15)


def test_without_a_service_manager_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    """By hand: no socket is inherited, nobody is told, no watchdog is fed. Sockets of a parent are not a child's."""
    for name in systemd.OURS:
        monkeypatch.delenv(name, raising=False)
    systemd.notify("READY=1")
    assert (dict(systemd.sockets()), systemd.watchdog()) == ({}, 0.0)
    monkeypatch.setenv("LISTEN_PID", str(os.getppid()))
    monkeypatch.setenv("LISTEN_FDS", "3")
    monkeypatch.setenv("LISTEN_FDNAMES", "ipp:public:api")
    monkeypatch.setenv("WATCHDOG_PID", str(os.getppid()))
    monkeypatch.setenv("WATCHDOG_USEC", "5000000")
    assert (dict(systemd.sockets()), systemd.watchdog()) == ({}, 0.0)


def test_a_manager_that_is_away_stops_nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Telling is never awaited for long and never fails: a socket without a reader, or none at all."""
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nobody.sock"))
    systemd.notify("READY=1")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as deaf:
        deaf.bind(str(tmp_path / "deaf.sock"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "deaf.sock"))
        monkeypatch.setattr(systemd, "_PATIENCE", 0.1)
        began = time.monotonic()
        for _ in range(40):
            systemd.notify("WATCHDOG=1")
    assert time.monotonic() - began < 10


@pytest.fixture
def ears(tmp_path: Path) -> Iterator[systemd.Ears]:
    hearing = systemd.Ears(tmp_path / "ears.sock")
    yield hearing
    hearing.close()


def test_words_are_those_of_the_process_that_said_them(ears: systemd.Ears, tmp_path: Path) -> None:
    """A child cannot speak for another: the kernel says whose words they are."""
    code = "from printerd import systemd; systemd.notify('READY=1', 'MAINPID=1')"
    child = subprocess.Popen([sys.executable, "-c", code], env=systemd.for_children(tmp_path / "ears.sock"))
    assert child.wait(20) == 0
    assert list(ears.heard(5)) == [(child.pid, frozenset({"READY=1", "MAINPID=1"}))]
    assert list(ears.heard(0)) == []


def test_a_child_that_hangs_is_killed_and_started_again(
    monkeypatch: pytest.MonkeyPatch, ears: systemd.Ears, tmp_path: Path
) -> None:
    """It answered once and says nothing any more: SIGSTOP is what a lock for ever looks like from outside."""
    monkeypatch.setattr(supervisor, "HUNG", 1.0)
    monkeypatch.setattr(supervisor, "FIRST_PAUSE", 0.1)
    code = "import time\nfrom printerd import systemd\nwhile True:\n systemd.notify('READY=1'); time.sleep(0.1)"
    child = supervisor._Child("capture", [sys.executable, "-c", code], [], systemd.for_children(tmp_path / "ears.sock"))
    seen: list[int] = []

    def turn() -> int:
        child.keep()
        for process, words in ears.heard(0.05):
            child.hear(process, words)
            seen.append(process)
        return len(set(seen))

    try:
        until(lambda: turn() and child.answers, 20)
        for _ in range(40):
            turn()
        assert len(set(seen)) == 1, "a child that talks is left alone"
        os.kill(seen[0], signal.SIGSTOP)
        until(lambda: turn() == 2, 20)
    finally:
        child.end(0)


# Credentials


def test_a_credential_is_found_where_systemd_puts_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """``credential:NAME`` names one of LoadCredential=; anything else is a path as it stands."""
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", "/run/credentials/x.service")
    assert systemd.secret_file("credential:smtp") == "/run/credentials/x.service/smtp"
    assert systemd.secret_file("/etc/smtp") == "/etc/smtp"
    assert systemd.secret_file("") == ""


@pytest.mark.parametrize("named", ["credential:smtp", "credential:../shadow"])
def test_a_credential_that_is_not_there_says_what_to_add(monkeypatch: pytest.MonkeyPatch, named: str) -> None:
    """Outside a unit there are none, and a name is no path."""
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    if ".." in named:
        monkeypatch.setenv("CREDENTIALS_DIRECTORY", "/run/credentials/x.service")
    with pytest.raises(ConfigurationError, match="credentials") as caught:
        systemd.secret_file(named)
    assert "LoadCredential=" in caught.value.remedy


@pytest.mark.parametrize("mode", [0o400, 0o440, 0o600])
def test_the_modes_of_systemd_are_accepted_in_its_folder_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, mode: int
) -> None:
    """An access list shows as a mode of 0440; the same file elsewhere is one that a group may read, and is refused."""
    monkeypatch.setattr(systemd, "CREDENTIALS", tmp_path)
    unit = tmp_path / "x.service"
    unit.mkdir()
    for place in (unit / "word", tmp_path / "word"):
        place.write_text("swordfish\n")
        place.chmod(mode)
    assert supervisor._secret_of(str(unit / "word")) == "swordfish"
    assert keys._secret(unit / "word") == b"swordfish\n"
    if mode & 0o077:
        with pytest.raises(ConfigurationError):
            supervisor._secret_of(str(tmp_path / "word"))
        with pytest.raises(ConfigurationError):
            keys._secret(tmp_path / "word")
