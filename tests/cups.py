"""A cupsd of the test's own: its folders, its port, its queues, and nothing of the machine's print system.

:func:`private_cupsd` starts Debian's ``/usr/sbin/cupsd`` in the foreground on a
free loopback port, with every path in a temporary folder, and ends it by its
process id. The fixture :func:`cupsd` keeps one for all tests of a session.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest

from printerd import cups_backend
from printerd.demo.setting import free_port

CUPSD = Path("/usr/sbin/cupsd")
BIN = Path("/usr/lib/cups")
BACKEND = Path(cups_backend.__file__)
"""Ours, put beside those of the machine under the name of its scheme."""
PPD = Path(__file__).parents[1] / "ppd/invoice-printer.ppd"

FILES = """
ServerRoot {root}/etc
ServerBin {root}/bin
DataDir /usr/share/cups
DocumentRoot /usr/share/cups
RequestRoot {root}/spool
CacheDir {root}/cache
StateDir {root}/run
TempDir {root}/tmp
AccessLog {root}/access_log
ErrorLog {root}/error_log
PageLog {root}/page_log
User {user}
Group {group}
SystemGroup root
FileDevice Yes
Sandboxing relaxed
"""
SERVER = """
Listen 127.0.0.1:{port}
ServerName localhost
LogLevel debug
Browsing Off
DefaultAuthType None
WebInterface No
PreserveJobHistory Yes
PreserveJobFiles No
JobRetryInterval 1
<Location />
  Order allow,deny
  Allow localhost
</Location>
<Policy default>
  <Limit All>
    Order deny,allow
    Allow localhost
  </Limit>
</Policy>
"""


@dataclass(frozen=True, slots=True)
class Cups:
    """A running cupsd. ``root`` holds its log (``error_log``) and its PPD files (``etc/ppd``)."""

    root: Path
    port: int
    process: int

    def run(self, *command: str, timeout: float = 60) -> str:
        """Run a CUPS command against this server; its output. Raises ``CalledProcessError`` with what it said."""
        environment = os.environ | {"CUPS_SERVER": f"127.0.0.1:{self.port}", "LANG": "C.UTF-8"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=timeout)
        if done.returncode:
            raise AssertionError(f"{command}: {done.stderr or done.stdout}\n{self.log()}")
        return done.stdout + done.stderr

    def add_queue(self, name: str, uri: str, *options: str) -> None:
        """A queue as an administrator makes it: ``lpadmin -p NAME -E -v URI -m everywhere``."""
        self.run("lpadmin", "-p", name, "-E", "-v", uri, *(options or ("-m", "everywhere")))
        deadline = time.monotonic() + 20
        while not self.ppd(name).exists():  # cupsd asks the printer in a thread of its own
            if time.monotonic() > deadline:
                raise AssertionError(self.log())
            time.sleep(0.05)

    @property
    def backend(self) -> Path:
        return self.root / "bin/backend/invoice-printer"

    def backends(self) -> list[psutil.Process]:
        """The processes of our backend, parents before their children."""
        found = psutil.process_iter(["cmdline"])  # which one that has just ended does not have
        ours = [process for process in found if str(self.backend) in (process.info["cmdline"] or ())]
        return sorted(ours, key=lambda process: process.pid)

    def ppd(self, name: str) -> Path:
        """What cupsd made of the printer's answers."""
        return self.root / "etc/ppd" / f"{name}.ppd"

    def send(self, queue: str, path: Path, title: str, *options: str) -> None:
        """Print as a user does: ``lp -d QUEUE -t TITLE PATH``."""
        self.run("lp", "-d", queue, "-t", title, *options, str(path))

    def finish(self, queue: str, seconds: float = 30) -> None:
        """Wait until the queue has no job left."""
        deadline = time.monotonic() + seconds
        while self.run("lpstat", "-W", "not-completed", "-o", queue).strip():
            if time.monotonic() > deadline:
                raise AssertionError(self.log())
            time.sleep(0.1)

    def log(self, lines: int = 60) -> str:
        """The end of cupsd's log."""
        return "\n".join((self.root / "error_log").read_text(errors="replace").splitlines()[-lines:])


@pytest.fixture(scope="session")
def cupsd() -> Iterator[Cups]:
    """One cupsd for the session; give each test's queue a name of its own."""
    with private_cupsd() as cups:
        yield cups


@contextmanager
def private_cupsd(more: str = "", before: Sequence[str] = ()) -> Iterator[Cups]:
    """A cupsd that lives as long as the context; ``more`` lines of cupsd.conf count last.

    ``before`` is a command that becomes the one behind it, in surroundings of its making.
    """
    # Not pytest's folder: filters run as another user, who must reach the spool.
    root = Path(tempfile.mkdtemp(prefix="cups-"))
    root.chmod(0o755)
    try:
        port = _configure(root, more)
        files = ("-c", f"{root}/etc/cupsd.conf", "-s", f"{root}/etc/cups-files.conf")
        command = [*before, str(CUPSD), "-f", *files]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as daemon:
            try:
                _wait(port, daemon)
                yield Cups(root, port, daemon.pid)
            finally:
                daemon.send_signal(signal.SIGTERM)
                daemon.wait(20)
    finally:
        shutil.rmtree(root)


def _configure(root: Path, more: str) -> int:
    _programs(root / "bin")
    for folder in ("etc", "etc/ppd", "spool", "cache", "run", "run/certs", "tmp"):
        (root / folder).mkdir()
    me = pwd.getpwuid(os.geteuid())
    user, group = ("lp", "lp") if me.pw_uid == 0 else (me.pw_name, str(me.pw_gid))
    port = free_port(0)
    (root / "etc/cups-files.conf").write_text(FILES.format(root=root, user=user, group=group))
    (root / "etc/cupsd.conf").write_text(SERVER.format(port=port) + more)
    return port


def _programs(folder: Path) -> None:
    """The filters and backends of the machine, and our backend as it is installed."""
    (folder / "backend").mkdir(parents=True)
    for place in (*BIN.iterdir(), *(BIN / "backend").iterdir()):
        link = folder / place.relative_to(BIN)
        if not link.exists():
            link.symlink_to(place)
    ours = folder / "backend/invoice-printer"
    ours.unlink(missing_ok=True)
    shutil.copyfile(BACKEND, ours)
    ours.chmod(0o755)


def _wait(port: int, daemon: subprocess.Popen[bytes]) -> None:
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            assert daemon.poll() is None, f"cupsd ended with {daemon.returncode}"
            time.sleep(0.05)
    raise AssertionError("cupsd does not listen")
