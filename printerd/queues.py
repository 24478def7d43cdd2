"""The queues of CUPS that print to us: made, renewed, listed, removed.

One rule: a queue is ours by its device address, whatever its name; what is not ours is never touched. CUPS 2.4 knows
queues with a driver (lpadmin(8)); CUPS 3 will not, and takes the IPP printer instead.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from printerd.errors import ConfigurationError, RequestError, TransientError
from printerd.listener.printer import MODEL

SCHEME: Final = "invoice-printer:"
SOCKET: Final = "/run/invoice-printer/backend.sock"
"""Where the units listen (``invoice-printer-backend.socket``)."""
PPD: Final = Path(__file__).parents[1] / "ppd" / "invoice-printer.ppd"
STATES: Final[Mapping[int, str]] = {3: "idle", 4: "processing", 5: "stopped"}
"""printer-state (RFC 8011 section 5.4.11)."""
REJECTING: Final = 0x80000
"""The bit of printer-type of a queue that accepts no jobs (CUPS_PRINTER_REJECTING, cups/cups.h)."""
NOT_ALLOWED: Final = frozenset({401, 403, 0x0401, 0x0402, 0x0403, 0x1000})
"""HTTP 401 and 403; client-error-forbidden, -not-authenticated, -not-authorized; CUPS's own for a password that is not
given (IPP_STATUS_ERROR_CUPS_AUTHENTICATION_CANCELED)."""


class Server(Protocol):
    """What is used of ``cups.Connection``."""

    def getPrinters(self) -> Mapping[str, Mapping[str, Any]]: ...
    def getPPD(self, name: str) -> str: ...
    def addPrinter(self, name: str, *, filename: str, info: str, device: str) -> None: ...
    def setPrinterShared(self, name: str, shared: bool) -> None: ...
    def enablePrinter(self, name: str) -> None: ...
    def acceptJobs(self, name: str) -> None: ...
    def deletePrinter(self, name: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Queue:
    """One queue of ours. ``state`` is idle, processing or stopped."""

    name: str
    device: str
    info: str
    state: str
    accepting: bool
    shared: bool


def address(socket: str, printer: str) -> str:
    """The device address of a queue."""
    return f"{SCHEME}{socket or SOCKET}?queue={printer}"


@contextmanager
def connected() -> Iterator[Server]:
    """CUPS as libcups finds it (CUPS_SERVER, client.conf, its socket); its refusals in our words.

    Raises :class:`TransientError` when it is down, :class:`RequestError` for what it does not allow.
    """
    try:
        import cups  # type: ignore[import-not-found, unused-ignore]  # a library in C, for these commands alone
    except ImportError:
        raise ConfigurationError("pycups is not installed.", remedy="apt install python3-cups") from None
    cups.setPasswordCB(lambda _prompt: "")  # nobody is asked for one
    try:
        yield cups.Connection()
    except (cups.HTTPError, cups.IPPError) as error:
        raise _refused(*error.args) from None
    except RuntimeError as error:
        raise TransientError(
            f"CUPS does not answer: {error}.", where=cups.getServer(), remedy="Start it: systemctl start cups"
        ) from None


def _refused(code: int, why: str = "") -> RequestError:
    if code in NOT_ALLOWED:
        remedy = "Do it as root, or as a member of the group lpadmin."
        return RequestError("CUPS does not let you change its queues.", remedy=remedy)
    return RequestError(f"CUPS refused: {why or code}.", remedy="Its log, /var/log/cups/error_log, may say more.")


def ours(server: Server) -> list[Queue]:
    """All queues with an address of ours, by name."""
    found = server.getPrinters().items()
    return [_queue(name, told) for name, told in sorted(found) if told["device-uri"].startswith(SCHEME)]


def _queue(name: str, told: Mapping[str, Any]) -> Queue:
    return Queue(
        name=name,
        device=told["device-uri"],
        info=told["printer-info"],
        state=STATES.get(told["printer-state"], "unknown"),
        accepting=not told["printer-type"] & REJECTING,
        shared=told["printer-is-shared"],
    )


def ensure(server: Server, name: str, device: str) -> list[str]:
    """Make the queue or renew what of it differs; what was done, nothing when all is as it should be."""
    existing = server.getPrinters().get(name)
    if existing is None:
        _write(server, name, device)
        server.enablePrinter(name)
        server.acceptJobs(name)
        return ["made"]
    if not existing["device-uri"].startswith(SCHEME):
        raise RequestError(
            f"There is a queue {name} already, and it prints to {existing['device-uri']}.",
            remedy="Choose another name: invoice-printer queue ensure --name NAME",
        )
    differences = _differences(server, _queue(name, existing), device)
    if differences:
        _write(server, name, device)
    return differences


def _write(server: Server, name: str, device: str) -> None:
    server.addPrinter(name, filename=str(PPD), info=MODEL, device=device)
    server.setPrinterShared(name, False)


def _differences(server: Server, queue: Queue, device: str) -> list[str]:
    found = {
        "address": queue.device != device,
        "description": queue.info != MODEL,
        "no longer shared": queue.shared,
        "driver": _essence(_driver(server, queue.name)) != _essence(PPD.read_text("utf-8")),
    }
    return [what for what, differs in found.items() if differs]


def _driver(server: Server, name: str) -> str:
    """The PPD of a queue; libcups hands it over as a temporary file, which is ours to remove."""
    copy = Path(server.getPPD(name))
    text = copy.read_text("utf-8", "replace")
    copy.unlink()
    return text


def _essence(ppd: str) -> list[str]:
    """A PPD without the defaults, which an administrator may choose for a queue (lpadmin -o PageSize=Letter)."""
    return [line for line in ppd.splitlines() if not line.startswith("*Default")]


def remove(server: Server) -> list[str]:
    """Remove every queue of ours; their names."""
    names = [queue.name for queue in ours(server)]
    for name in names:
        server.deletePrinter(name)
    return names
