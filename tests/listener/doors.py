"""A printer whose doors on plain TCP are open, and what its clients say there."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from printerd.listener.door import Door, Line
from printerd.listener.lpd import Lpd
from printerd.listener.peers import Guests
from printerd.listener.raw import Raw

from .printing import RunningPrinter

PDF = b"%PDF-1.7\n" + bytes(range(256)) * 40 + b"\nstartxref\n116\n%%EOF\n"
POSTSCRIPT = b"%!PS-Adobe-3.0\n%%Pages: 1\n(FA-2026-0042) show\nshowpage\n%%EOF\n"
TEXT = b"  FACTURE FA-2026-0042\r\n  Total 12,00\r\n\f"


@dataclass
class Doors:
    """Give :meth:`open` to a printer that starts; then :attr:`ports` has what it listens on, by door."""

    networks: Iterable[str] = ()
    idle: float = 20.0
    ports: dict[str, int] = field(default_factory=dict)

    def open(self, printer: RunningPrinter) -> list[Door]:
        queues = {"invoices": "inv", "drafts": "drafts"}
        lpd = Lpd(printer.intake, printer.database, queues, printer.blobs.spool, self.idle)
        return [self._door("raw", Raw(printer.intake, "inv", self.idle).serve), self._door("lpd", lpd.serve)]

    def _door(self, name: str, serve: Callable[[Line], object]) -> Door:
        listening = socket.create_server(("127.0.0.1", 0))
        self.ports[name] = listening.getsockname()[1]
        return Door(name, listening, Guests(self.networks), serve)  # type: ignore[arg-type]

    def connect(self, name: str) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.ports[name]), 20)


def said(connection: socket.socket) -> bytes:
    """All that comes until the other side closes. Raises :class:`ConnectionError` when it resets."""
    return b"".join(iter(lambda: connection.recv(65536), b""))


def backend(name: str, uri: str, file: Path, copies: int = 1) -> subprocess.Popen[bytes]:
    """A backend of CUPS, started by its contract (backend(7)); it reads nothing and says all on standard error."""
    command = [f"/usr/lib/cups/backend/{name}", "42", "marie", "FA-2026-0042.pdf", str(copies), "", str(file)]
    return subprocess.Popen(command, env={"DEVICE_URI": uri}, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
