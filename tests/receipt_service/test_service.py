"""The program itself: its settings, its sockets, its end, and what is left after it was killed."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

import httpx
import pytest

from receipt_service.app import read_or_make_key
from receipt_service.config import SettingsError, read_settings
from tests.waiting import until

from .harness import DELIVERY, DIGEST, EARLY, NO_AUTHORITY, PDF, SECRET, Edge, ScriptedRelay, delivery

Run = Callable[..., subprocess.Popen[str]]


def write_settings(folder: Path, port: int, **changes: Any) -> Path:
    values: dict[str, Any] = {
        "database": str(folder / "receipts.db"),
        "documents": str(folder / "documents"),
        "outbox_key": str(folder / "keys/outbox.key"),
        "secret": SECRET,
        "public": "127.0.0.1:0",
        "api": f"unix://{folder}/api.sock",
        "public_url": "http://127.0.0.1:9",
        "server_name": "edge-1",
        "smtp": {"host": "127.0.0.1", "port": port, "tls": "none", "from": "compta@moulin.example", "timeout": 5},
        "retry": EARLY,
    }
    file = folder / "settings.json"
    file.write_text(json.dumps(values | changes))
    file.chmod(0o600)
    return file


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    """Start the program; what still runs at the end of the test is killed."""
    with ExitStack() as running:

        def begin(file: Path, *more: str, fds: tuple[int, ...] = ()) -> subprocess.Popen[str]:
            command = [sys.executable, "-m", "receipt_service", "--settings", str(file), *more]
            process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, pass_fds=fds)
            running.callback(process.wait)
            running.callback(process.kill)
            assert process.stderr is not None
            running.callback(process.stderr.close)
            return process

        yield begin


def client(folder: Path) -> httpx.Client:
    """The API over the unix socket, once somebody listens there."""
    path = str(folder / "api.sock")

    def listening() -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(path) == 0

    until(listening, 20)
    secret = {"Authorization": f"Bearer {SECRET}"}
    transport = httpx.HTTPTransport(uds=path, verify=NO_AUTHORITY)
    return httpx.Client(transport=transport, base_url="http://edge/api/v1", headers=secret)


def send(http: httpx.Client) -> None:
    http.put(f"/documents/{DIGEST}", content=PDF).raise_for_status()
    http.put(f"/deliveries/{DELIVERY}", json=delivery()).raise_for_status()


def names(http: httpx.Client) -> list[str]:
    found = http.get("/events", params={"after": 0, "head": "0" * 64}).json()["events"]
    return [event["name"] for event in found]


def test_it_serves_on_inherited_sockets_and_stops_cleanly(run: Run, tmp_path: Path, scripted: ScriptedRelay) -> None:
    """Sockets come as file descriptors, SIGTERM ends it with status 0, and the log is JSON without secret or token."""
    with socket.create_server(("127.0.0.1", 0)) as public:
        host = f"127.0.0.1:{public.getsockname()[1]}"
        changes = {"public": f"fd://{public.fileno()}", "public_url": f"http://{host}", "die_with_parent": True}
        process = run(write_settings(tmp_path, scripted.port, **changes), fds=(public.fileno(),))
        with client(tmp_path) as http:
            assert (tmp_path / "api.sock").stat().st_mode & 0o077 == 0
            send(http)
            until(lambda: "ConsignmentNotification" in names(http))
    link = scripted.messages[0].replace(b"=\r\n", b"").split(b"/l/")[1][:43].decode()
    with httpx.Client(verify=NO_AUTHORITY, base_url=f"http://{host}") as customer:
        assert customer.get(f"/l/{link}").status_code == 200
        assert customer.get(f"/l/{link}x").status_code == 404
    process.send_signal(signal.SIGTERM)
    assert process.wait(15) == 0
    assert process.stderr is not None
    log = process.stderr.read()
    lines = [json.loads(line)["event"] for line in log.splitlines()]
    assert lines[0] == "serving" and lines[-1] == "stopped"
    assert link not in log and SECRET not in log and "marie" not in log


HOSTILE = '421 \x1b[2J\x9b1m\u202efdp.exe\x7f\u2028\r\n{"event": "forged"}'


@pytest.mark.parametrize("source", ["ours", "a library's"])
def test_what_a_relay_answers_begins_no_record_and_commands_nothing(source: str) -> None:
    """An answer in the log is one line of printable ASCII, and means what it was."""
    say = {
        "ours": f"structlog.get_logger('x').error('stopped', reply={HOSTILE!r})",
        "a library's": f"logging.getLogger('uvicorn.error').error({HOSTILE!r})",
    }[source]
    code = f"import logging, structlog; from receipt_service import __main__ as main; main._log_json(); {say}"
    log = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stderr.decode()
    (line,) = log.split("\n")[:-1]
    assert line.isascii() and line.isprintable()
    assert HOSTILE in json.loads(line).values()


@pytest.mark.parametrize("verb", ["connect", "MAIL", "RCPT", "DATA", "dot"])
def test_killed_at_any_moment_it_never_mails_twice(
    run: Run, start: Callable[..., Edge], tmp_path: Path, scripted: ScriptedRelay, verb: str
) -> None:
    """kill -9 while the relay thinks about a command: one copy at most, doubt only where the dot may have gone."""
    scripted.hang_at = verb
    process = run(write_settings(tmp_path, scripted.port))
    with client(tmp_path) as http:
        send(http)
        assert scripted.hanging.wait(10)
    process.kill()
    process.wait()
    scripted.hang_at = ""
    edge = start(scripted.port)
    edge.wait_for("MailUncertain" if verb in ("DATA", "dot") else "ConsignmentNotification")
    assert len(edge.events()) == 1 and edge.api.get("/status").json()["mail_backlog"] == 0
    assert len(scripted.messages) == (0 if verb == "DATA" else 1)


def test_a_restored_backup_is_told_at_the_start(run: Run, start: Callable[..., Edge], tmp_path: Path) -> None:
    """``--restored``: letters that waited in the backup are in doubt; nothing leaves by itself."""
    patient = {"first": 60, "most": 60, "give_up_after": 600}
    edge = start(1, retry=patient)
    edge.deliver().raise_for_status()
    edge.stop()
    edge.join()
    run(write_settings(tmp_path, 1, retry=patient), "--restored")
    with client(tmp_path) as http:
        assert names(http) == ["MailUncertain"] and http.get("/status").json()["mail_backlog"] == 0


def test_a_file_beside_the_database_tells_it_too(run: Run, start: Callable[..., Edge], tmp_path: Path) -> None:
    """``receipts.db.restored`` counts once: what is ordered after the first start leaves as usual after the next."""
    patient = {"first": 60, "most": 60, "give_up_after": 600}
    edge = start(1, retry=patient)
    edge.deliver().raise_for_status()
    before = edge.api.get("/status").json()["edge_id"]
    edge.stop()
    edge.join()
    mark = tmp_path / "receipts.db.restored"
    mark.touch()
    again = start(1, retry=patient)
    assert [event["name"] for event in again.events()] == ["MailUncertain"] and not mark.exists()
    assert again.api.get("/status").json()["edge_id"] != before
    again.stop()
    again.join()
    run(write_settings(tmp_path, 1, retry=patient))
    with client(tmp_path) as http:
        assert names(http) == ["MailUncertain"]


def test_it_does_not_outlive_its_supervisor(tmp_path: Path) -> None:
    """When the supervisor is killed, the service ends too, and the next one finds the database free."""
    file = write_settings(tmp_path, 1, die_with_parent=True)
    child = f"subprocess.Popen([sys.executable, '-m', 'receipt_service', '--settings', {str(file)!r}])"
    command = [sys.executable, "-c", f"import subprocess, sys, time; {child}; time.sleep(60)"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as supervisor:
        client(tmp_path).close()
        supervisor.kill()
    with (tmp_path / "receipts.lock").open() as lock:
        until(lambda: not _held(lock))


def _held(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False


def test_two_services_never_share_an_outbox(run: Run, tmp_path: Path) -> None:
    """The second one refuses to start (75, try later): two mailers would send twice."""
    file = write_settings(tmp_path, 1)
    run(file)
    client(tmp_path).close()
    second = run(file)
    assert second.wait(15) == 75


@pytest.mark.parametrize(
    ("mode", "text", "words"),
    [
        (0o640, "{}", "others may read"),
        (0o600, "{", "not JSON"),
        (0o600, "{}", "Field required"),
    ],
)
def test_settings_are_refused_with_the_key_and_the_remedy(tmp_path: Path, mode: int, text: str, words: str) -> None:
    """Three lines: what, where, remedy."""
    file = tmp_path / "settings.json"
    file.write_text(text)
    file.chmod(mode)
    with pytest.raises(SettingsError) as refusal:
        read_settings(file)
    assert words in refusal.value.lines[0] and str(file) in refusal.value.lines[1] and len(refusal.value.lines) == 3


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("unknown", 1),
        ("secret", "short"),
        ("public", "8632"),
        ("public_url", "https://f.example/"),
        ("public_url", "ftp://f.example"),
        ("trusted_proxies", ["10.0.0.0/33"]),
        ("smtp", {"host": "h", "port": 25, "tls": "maybe", "from": "a@b.example", "password": "hunter2hunter2"}),
        ("smtp", {"host": "h", "port": 25, "tls": "none", "from": "nobody", "password": "hunter2hunter2"}),
        (
            "smtp",
            {"host": "h", "port": 25, "tls": "none", "from": "a@b.example", "user": "u", "password": "hunter2hunter2"},
        ),
    ],
)
def test_a_wrong_setting_is_named_and_no_value_repeated(tmp_path: Path, key: str, value: Any) -> None:
    """The message names the key; no secret of the file stands in it."""
    with pytest.raises(SettingsError) as refusal:
        read_settings(write_settings(tmp_path, 25, **{key: value}))
    assert refusal.value.lines[0].startswith(key) and "hunter2" not in str(refusal.value.lines)
    assert SECRET not in str(refusal.value.lines)


def test_a_wrong_setting_ends_the_program_with_78(run: Run, tmp_path: Path) -> None:
    """sysexits.h EX_CONFIG, three lines and no traceback."""
    process = run(write_settings(tmp_path, 25, api="nowhere"))
    assert process.wait(15) == os.EX_CONFIG
    assert process.stderr is not None and process.stderr.read().startswith("api: ")


def test_the_outbox_key_is_made_once_for_the_owner_alone(tmp_path: Path) -> None:
    """32 random bytes, 0600; a key that others may read, or of another length, is refused."""
    file = tmp_path / "keys/outbox.key"
    key = read_or_make_key(file)
    assert len(key) == 32 and read_or_make_key(file) == key and file.stat().st_mode & 0o777 == 0o600
    file.chmod(0o644)
    with pytest.raises(SettingsError, match="others may read"):
        read_or_make_key(file)
    file.chmod(0o600)
    file.write_bytes(b"short")
    with pytest.raises(SettingsError, match="5 bytes"):
        read_or_make_key(file)
