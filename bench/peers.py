"""The peers: other printers of this machine, each private to the run, that keep what they accept.

One rule: a peer runs as its authors ship it. None of them syncs a document before it says successful-ok.
One that cannot run here is left out, and :func:`absent` says why.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench import load, measure
from bench.instance import until
from bench.programs import answers, running
from printerd.demo import setting
from tests.cups import CUPSD, Cups, private_cupsd

CUPS_KEEPS = "LogLevel warn\nMaxJobs 0\nPreserveJobFiles Yes\n"
"""The log of Debian's own cupsd.conf; every job stays, so that lost ones can be counted."""
CUPS_PDF = "/usr/lib/cups/backend/cups-pdf"
CUPS_PDF_PPD = "/usr/share/ppd/cups-pdf/CUPS-PDF_opt.ppd"
CUPS_PDF_PLACES = ("/var/spool/cups-pdf", "/var/log/cups")
"""Where Debian's /etc/cups/cups-pdf.conf lets it write for users that the machine does not know."""
COMPLETES = 20.0
"""Seconds at most in which a peer shows how many jobs it brings to their end."""
SINK = Path(__file__).with_name("pappl_sink.c")
_BUS = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>system</type><listen>unix:path={socket}</listen>
<policy context="default">
 <allow user="*"/><allow own="*"/><allow send_destination="*"/><allow receive_sender="*"/>
</policy></busconfig>
"""


@dataclass(frozen=True, slots=True)
class Peer:
    """A running printer: its process, and the folders in which it keeps documents.

    ``complete`` tells how many of the jobs that it has accepted it brings to their end a second, where that is more
    work than to keep them.
    """

    name: str
    printer: str
    process: int
    folders: Sequence[Path]
    complete: Callable[[], float] | None = None

    def kept(self) -> set[str]:
        """The SHA-256 of every document that it holds."""
        return {found for folder in self.folders for file in folder.rglob("*") if (found := _digest_if_there(file))}

    def rest(self) -> None:
        """Wait until it has done what it does after its answers: the next one is measured alone."""
        until(lambda: measure.idle(self.process), f"rest of {self.name}")


@dataclass(frozen=True, slots=True)
class Kind:
    """How a peer is started, and the programs and files that it needs."""

    start: Callable[[Path], AbstractContextManager[Peer]]
    needs: Sequence[str]
    as_root: bool = False

    def lack(self) -> str:
        """What this machine does not have of it; empty when it can run."""
        if self.as_root and os.geteuid():
            return "it needs root"
        return next((f"no {need}" for need in self.needs if not (Path(need).is_file() or shutil.which(need))), "")


def _digest_if_there(file: Path) -> str:
    """Empty for a folder, and for a file that was taken away meanwhile: it has another name by then."""
    with suppress(FileNotFoundError, IsADirectoryError):
        return load.digest(file)
    return ""


def absent() -> dict[str, str]:
    """The peers that cannot run here, each with what is lacking."""
    return {name: lack for name, kind in PEERS.items() if (lack := kind.lack())}


@contextmanager
def started(folder: Path) -> Iterator[list[Peer]]:
    """Every peer that can run here, with nothing of an earlier start."""
    fresh = Path(tempfile.mkdtemp(prefix="peers-", dir=folder))
    fresh.chmod(0o755)  # filters run as another user
    with ExitStack() as stack:
        yield [stack.enter_context(kind.start(fresh)) for kind in PEERS.values() if not kind.lack()]


# ippeveprinter


@contextmanager
def _ippeveprinter(folder: Path) -> Iterator[Peer]:
    """A command that does nothing. It insists on a message bus, where it looks for Avahi: it gets one of its own."""
    spool, bus, port = folder / "ippeveprinter", folder / "bus", setting.free_port(0)
    spool.mkdir()
    (folder / "bus.conf").write_text(_BUS.format(socket=bus))
    with (
        running("dbus-daemon", f"--config-file={folder / 'bus.conf'}", "--nofork", "--nopidfile", ready=bus.exists),
        running(
            *("ippeveprinter", "-r", "off", "-p", str(port), "-n", "localhost", "-d", str(spool), "-k"),
            *("-f", "application/pdf", "-c", "/bin/true", "bench"),
            ready=partial(answers, port),
            environment={"DBUS_SYSTEM_BUS_ADDRESS": f"unix:path={bus}"},
        ) as process,
    ):
        yield Peer("ippeveprinter", f"ipp://localhost:{port}/ipp/print", process, [spool])


# cupsd


@contextmanager
def _cups(_folder: Path) -> Iterator[Peer]:
    """A raw queue into nothing."""
    with private_cupsd(CUPS_KEEPS) as cups:
        cups.run("lpadmin", "-p", "raw", "-E", "-v", "file:/dev/null", "-o", "printer-is-shared=true")
        yield Peer("cupsd", f"ipp://localhost:{cups.port}/printers/raw", cups.process, [cups.root / "spool"])


@contextmanager
def _cups_pdf(folder: Path) -> Iterator[Peer]:
    """Debian's queue into PDF files, for a user whom the machine does not know.

    It is held while it accepts, which is the best that it can do; what it completes is measured apart.
    """
    ours = {place: folder / "cups-pdf" / Path(place).name for place in CUPS_PDF_PLACES}
    with private_cupsd(CUPS_KEEPS, _mounted(ours)) as cups:
        cups.run("lpadmin", "-p", "pdf", "-E", "-v", "cups-pdf:/", "-P", CUPS_PDF_PPD, "-o", "printer-is-shared=true")
        cups.run("cupsdisable", "pdf")
        written = ours[CUPS_PDF_PLACES[0]]
        yield Peer(
            "cups-pdf", f"ipp://localhost:{cups.port}/printers/pdf", cups.process, [cups.root / "spool"],
            partial(_completed, cups, written),
        )  # fmt: skip


def _mounted(ours: Mapping[str, Path]) -> tuple[str, ...]:
    """A command that becomes the one behind it, for which folders of ours lie over those of the machine.

    cups-pdf reads its settings from one place alone: nothing else keeps it from the machine's own folders.
    """
    for folder in ours.values():
        folder.mkdir(parents=True)
    mounts = (shlex.join(("mount", "--bind", str(folder), place)) for place, folder in ours.items())
    return ("unshare", "--mount", "sh", "-c", " && ".join((*mounts, 'exec "$@"')), "sh")


def _completed(cups: Cups, folder: Path) -> float:
    """PDF files a second for :data:`COMPLETES` seconds, or until it has no more to do; the rest is cancelled."""

    def there() -> int:
        return sum(1 for _ in folder.rglob("*.pdf"))

    before, began = there(), time.monotonic()
    cups.run("cupsenable", "pdf")
    with suppress(TimeoutError):
        until(lambda: not cups.run("lpstat", "-W", "not-completed", "-o", "pdf").strip(), "end", COMPLETES)
    rate = (there() - before) / (time.monotonic() - began)
    cups.run("cupsdisable", "pdf")
    cups.run("cancel", "-a", "pdf")
    return rate


# PAPPL


@contextmanager
def _pappl(folder: Path) -> Iterator[Peer]:
    """A sink of our own on Debian's library, compiled now."""
    spool, kept, port = folder / "pappl-spool", folder / "pappl-kept", setting.free_port(0)
    for place in (spool, kept):
        place.mkdir()
    with running(str(_compiled(folder)), str(port), str(spool), str(kept), ready=partial(answers, port)) as process:
        yield Peer("pappl", f"ipp://localhost:{port}/ipp/print", process, [spool, kept])


def _compiled(folder: Path) -> Path:
    program, ask = folder / "pappl-sink", ("pkg-config", "--cflags", "--libs", "pappl")
    flags = subprocess.run(ask, capture_output=True, text=True, check=True).stdout.split()  # noqa: S603 - as written here
    compile_ = ("gcc", "-O2", "-Wall", "-Wextra", "-Werror", "-o", str(program), str(SINK), *flags)
    subprocess.run(compile_, check=True)  # noqa: S603 - our own source
    return program


PEERS: Mapping[str, Kind] = {
    "ippeveprinter": Kind(_ippeveprinter, ("ippeveprinter", "dbus-daemon")),
    "cupsd": Kind(_cups, (str(CUPSD),)),
    "cups-pdf": Kind(_cups_pdf, (str(CUPSD), CUPS_PDF, CUPS_PDF_PPD, "unshare"), as_root=True),
    "pappl": Kind(_pappl, ("gcc", "pkg-config", "/usr/include/pappl/pappl.h")),
}
