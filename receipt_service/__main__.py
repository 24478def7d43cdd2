"""``python -m receipt_service --settings FILE``: two servers in one loop, the mailer, and a clean end at SIGTERM.

Exit status: 0 after SIGTERM, 75 when another process holds the database, 78 for a wrong setting (sysexits.h).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ctypes
import fcntl
import json
import logging
import os
import signal
import socket
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import structlog
import uvicorn
from starlette.types import ASGIApp
from structlog.typing import Processor

from .app import World, build
from .config import EX_CONFIG, Settings, SettingsError, read_settings
from .handover import DrainedProtocol

EX_TEMPFAIL = 75
GRACE = 10
"""Seconds for what runs when SIGTERM comes."""
TELL_EVERY = 5
"""Seconds between two words that the loop turns."""
_PR_SET_PDEATHSIG = 1  # prctl(2)

_log = structlog.get_logger("main")


class _Server(uvicorn.Server):
    """uvicorn without its own signal handlers: two servers share one process, and one place stops both."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def main() -> None:
    """Read the settings, bind, serve until SIGTERM."""
    parser = argparse.ArgumentParser(prog="receipt_service", description="Mails links, hands documents over.")
    parser.add_argument("--settings", type=Path, required=True, metavar="FILE", help="settings, JSON, mode 0600")
    parser.add_argument(
        "--restored", action="store_true", help="the database comes from a backup: put waiting mail in doubt"
    )
    arguments = parser.parse_args()
    os.umask(0o077)  # what is written is its owner's alone, whatever folder it lies in
    _log_json()
    try:
        settings = read_settings(arguments.settings)
        if settings.die_with_parent:
            _die_with_parent()
        with _only_one(settings.database):
            asyncio.run(_until_signal(settings, arguments.restored))
    except SettingsError as error:
        print(*error.lines, sep="\n", file=sys.stderr)
        sys.exit(EX_CONFIG)


def _log_json() -> None:
    """One JSON object a line on stderr, uvicorn's warnings too. No request's path is logged: it would hold a token."""
    stamped = structlog.processors.TimeStamper(fmt="iso", utc=True)
    shared: list[Processor] = [structlog.processors.add_log_level, stamped]
    as_json = structlog.processors.JSONRenderer(serializer=_ascii)
    rendering: list[Processor] = [structlog.processors.format_exc_info, as_json]
    structlog.configure([*shared, *rendering], logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    handler = logging.StreamHandler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendering],
        )
    )
    logging.basicConfig(level=logging.WARNING, handlers=[handler])


def _ascii(facts: Any, **options: Any) -> str:
    """JSON without a character that a terminal obeys: a relay's answer is foreign, and JSON leaves C1, DEL and what
    turns the reading order as they are."""
    return json.dumps(facts, **options).replace("\x7f", "\\u007f")


def _die_with_parent() -> None:
    """End when the supervisor does, however it ends (Linux prctl, PR_SET_PDEATHSIG)."""
    parent = os.getppid()
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM) != 0:
        raise OSError(ctypes.get_errno(), "prctl")
    if os.getppid() != parent:
        sys.exit(0)


@contextlib.contextmanager
def _only_one(database: Path) -> Iterator[None]:
    """Hold a lock beside the database: two mailers on one outbox would send twice."""
    database.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with database.with_suffix(".lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("another receipt service holds this database", database, "stop it first", sep="\n", file=sys.stderr)
            sys.exit(EX_TEMPFAIL)
        yield


def bind(address: str) -> socket.socket:
    """A listening socket for ``HOST:PORT``, ``fd://N`` (inherited) or ``unix:///PATH`` (made 0600).

    Raises:
        SettingsError: the address cannot be had.
    """
    try:
        if address.startswith("fd://"):
            return socket.socket(fileno=int(address[5:]))
        if address.startswith("unix://"):
            return _bind_path(Path(address[7:]))
        host, _, port = address.rpartition(":")
        return socket.create_server(
            (host.strip("[]"), int(port)), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=512
        )
    except OSError as error:
        raise SettingsError(f"cannot listen: {error.strerror}", address, "free it, or set another one") from None


def _bind_path(path: Path) -> socket.socket:
    if path.exists() and stat.S_ISSOCK(path.stat().st_mode):
        path.unlink()  # left behind by a process that ended: the lock on the database says that none is alive
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o177)
    try:
        listener.bind(str(path))
    finally:
        os.umask(mask)
    return listener


async def _answering() -> None:
    """Tell whoever started us that we answer (sd_notify(3)): uvicorn calls this first when it does, then for ever."""
    if place := os.environ.get("NOTIFY_SOCKET"):
        address = f"\0{place[1:]}" if place.startswith("@") else place
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as telling:
            telling.setblocking(False)
            telling.sendto(b"READY=1\nWATCHDOG=1", address)


def _server(app: ASGIApp) -> _Server:
    return _Server(
        uvicorn.Config(
            app,
            http=DrainedProtocol,
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=GRACE,
            callback_notify=_answering,
            timeout_notify=TELL_EVERY,
        )
    )


async def _until_signal(settings: Settings, restored: bool) -> None:
    listeners = bind(settings.public), bind(settings.api)
    world, stop = build(settings, restored=restored), asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        await serve(world, *listeners, stop)
    finally:
        world.database.close()
    _log.info("stopped")


async def serve(world: World, public: socket.socket, api: socket.socket, stop: asyncio.Event) -> None:
    """Serve and mail until ``stop``. Everything lives and dies together: a part that fails takes the rest along."""
    servers = _server(world.public), _server(world.api)
    async with asyncio.TaskGroup() as tasks:
        serving = [tasks.create_task(servers[0].serve([public])), tasks.create_task(servers[1].serve([api]))]
        sweeping, mailing = tasks.create_task(world.sweep()), tasks.create_task(world.mailer.run())
        _log.info("serving", edge=world.database.edge_id)
        await stop.wait()
        world.stop()
        for server in servers:
            server.should_exit = True
        sweeping.cancel()
        await asyncio.wait({mailing, *serving}, timeout=2 * GRACE)
        mailing.cancel()  # a letter that is still on its way is found at the next start


if __name__ == "__main__":
    main()
