"""How each kind of client gets the printer: what is typed there, with the names of this machine.

One rule: a way is a row of :data:`WAYS`; its commands stand here and its words in :mod:`printerd.console.texts`, and
``tested`` is said of nothing that no test of ours has done. docs/clients.md shows the same commands.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Way:
    """A way to print: ``door`` is the address that must be open for it; commands name ``{host}`` and ``{port}``."""

    name: str
    door: str
    tested: bool
    commands: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Told:
    """A way as this machine offers it; ``port`` is empty where the door is shut."""

    way: Way
    host: str
    port: str
    commands: tuple[str, ...]

    @property
    def open(self) -> bool:
        return bool(self.port)


WAYS = (
    Way("windows", "ipp", False, ('Add-Printer -IppURL "http://{host}:{port}/ipp/print"',)),
    Way("macos", "ipp", False),
    Way(
        "cups",
        "ipp",
        True,
        (
            "lpadmin -p invoices -E -v ipp://{host}:{port}/ipp/print -m everywhere",
            "lp -d invoices FA-2026-0042.pdf",
        ),
    ),
    Way("server", "backend", True, ("invoice-printer queue ensure", "lp -d invoices FA-2026-0042.pdf")),
    Way("sap", "lpd", False),
    Way(
        "ibmi",
        "lpd",
        False,
        (
            "CRTOUTQ OUTQ(INVOICES) RMTSYS('{host}') RMTPRTQ('invoices') AUTOSTRWTR(1)"
            " CNNTYPE(*IP) DESTTYPE(*OTHER) TRANSFORM(*YES) MFRTYPMDL(*WSCST) WSCST(…)",
        ),
    ),
    Way("lpd", "lpd", True, ("lpadmin -p invoices -E -v lpd://{host}:{port}/invoices?sanitize_title=no",)),
    Way("raw", "raw", True, ("nc -N {host} {port} < FA-2026-0042.ps",)),
)


@dataclass(frozen=True, slots=True)
class Place:
    """This machine: its ``doors``, the addresses at which it listens as HOST:PORT or ``unix:///PATH``, and its
    ``names`` for others, which may change.
    """

    doors: Mapping[str, str]
    names: Sequence[str]

    @property
    def name(self) -> str:
        """The first of the names; the machine's own where it has none for others."""
        return next(iter(self.names), socket.gethostname())

    def told(self, called: str) -> list[Told]:
        """Every way, open ones first. ``called`` is how the reader has just called this machine: he can do so again."""
        host = self.name if is_near(called) else called
        return sorted((self._told(way, host) for way in WAYS), key=lambda one: not one.open)

    def is_listening_near(self, door: str) -> bool:
        """Whether a door is open for this machine alone."""
        return is_near(self.doors.get(door, "").rpartition(":")[0].strip("[]"))

    def _told(self, way: Way, host: str) -> Told:
        port = self.doors.get(way.door, "").rpartition(":")[2]
        names = {"host": "localhost" if self.is_listening_near(way.door) else host, "port": port}
        return Told(way, names["host"], port, tuple(command.format(**names) for command in way.commands))


def is_near(name: str) -> bool:
    """Whether only this machine calls it so."""
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name in ("localhost", "unix")
