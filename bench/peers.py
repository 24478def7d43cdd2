"""The peers: other printers of this machine, each private to the run, that keep what they accept.

One rule: a peer runs as its authors ship it. None of them syncs a document before it says successful-ok.
A peer that is not installed is left out, and the table says so.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.instance import until
from printerd.demo import setting
from tests.cups import CUPSD, private_cupsd

CUPS_KEEPS = "LogLevel warn\nMaxJobs 0\nPreserveJobFiles Yes\n"
"""The log of Debian's own cupsd.conf; every job stays, so that lost ones can be counted."""
STARTS_WITHIN = 20.0
"""Seconds that a peer, and what it needs, gets until it answers."""
_BUS = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>system</type><listen>unix:path={socket}</listen>
<policy context="default">
 <allow user="*"/><allow own="*"/><allow send_destination="*"/><allow receive_sender="*"/>
</policy></busconfig>
"""


@dataclass(frozen=True, slots=True)
class Peer:
    """A running printer, and the folder in which it keeps documents."""

    name: str
    printer: str
    spool: Path

    def kept(self) -> set[str]:
        """The SHA-256 of every document that it holds."""
        return {digest(file) for file in self.spool.rglob("*") if file.is_file()}


def digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


@contextmanager
def started(folder: Path) -> Iterator[list[Peer]]:
    """Every peer that is installed."""
    with ExitStack() as stack:
        yield [stack.enter_context(start(folder)) for program, start in PEERS.items() if shutil.which(program)]


@contextmanager
def _cups(_folder: Path) -> Iterator[Peer]:
    """A raw queue into nothing."""
    with private_cupsd(CUPS_KEEPS) as cups:
        cups.run("lpadmin", "-p", "raw", "-E", "-v", "file:/dev/null", "-o", "printer-is-shared=true")
        yield Peer("cupsd", f"ipp://localhost:{cups.port}/printers/raw", cups.root / "spool")


@contextmanager
def _ippeveprinter(folder: Path) -> Iterator[Peer]:
    """A command that does nothing. It insists on a message bus, where it looks for Avahi: it gets one of its own."""
    spool, bus, port = folder / "ippeveprinter", folder / "bus", setting.free_port(0)
    spool.mkdir()
    (folder / "bus.conf").write_text(_BUS.format(socket=bus))
    with (
        _process("dbus-daemon", f"--config-file={folder / 'bus.conf'}", "--nofork", "--nopidfile"),
        _process(
            *("ippeveprinter", "-r", "off", "-p", str(port), "-n", "localhost", "-d", str(spool), "-k"),
            *("-f", "application/pdf", "-c", "/bin/true", "bench"),
            ready=lambda: _answers(port),
            wait_for=bus,
            environment={"DBUS_SYSTEM_BUS_ADDRESS": f"unix:path={bus}"},
        ),
    ):
        yield Peer("ippeveprinter", f"ipp://localhost:{port}/ipp/print", spool)


PEERS = {"ippeveprinter": _ippeveprinter, str(CUPSD): _cups}
"""Program → how it is started."""


@contextmanager
def _process(
    *command: str,
    ready: Callable[[], bool] = lambda: True,
    wait_for: Path | None = None,
    environment: dict[str, str] | None = None,
) -> Iterator[None]:
    until(lambda: wait_for is None or wait_for.exists(), f"{wait_for}", STARTS_WITHIN)
    with subprocess.Popen(  # noqa: S603 - programs of :data:`PEERS` and what they need
        command, env=os.environ | (environment or {}), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            until(ready, command[0], STARTS_WITHIN)
            yield
        finally:
            process.terminate()
            process.wait(20)


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
