"""The fixtures of this folder: relays, a running service, a delivered link."""

from __future__ import annotations

import logging
import socket
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
import structlog
from aiosmtpd.controller import Controller

from tests.waiting import until

from .harness import Edge, Mailbox, Scripted, ScriptedRelay, path_in


@pytest.fixture
def scripted() -> Iterator[ScriptedRelay]:
    socketserver.ThreadingTCPServer.daemon_threads = True
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Scripted) as server:
        relay = ScriptedRelay(server)
        server.relay = relay  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield relay
        server.shutdown()
        thread.join()


@pytest.fixture
def mailbox(ending: ExitStack) -> tuple[Mailbox, int]:
    kept = Mailbox()
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    controller = Controller(kept, hostname="127.0.0.1", port=port)
    controller.start()
    ending.callback(controller.stop)  # after the services that it was started for: they still say QUIT
    return kept, port


@pytest.fixture(scope="session")
def ending() -> Iterator[ExitStack]:
    """Services that were told to stop: they take a moment, and the next test need not wait for it."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    with ExitStack() as stack:
        yield stack
    structlog.reset_defaults()


@pytest.fixture
def start(tmp_path: Path, ending: ExitStack) -> Iterator[Callable[..., Edge]]:
    """Start a service in ``tmp_path`` against a relay on this port."""
    with ExitStack() as running:

        def begin(port: int, **changes: Any) -> Edge:
            edge = Edge(tmp_path, port, **changes).start()
            running.callback(edge.stop)
            ending.callback(edge.join)
            return edge

        yield begin


@pytest.fixture
def edge(start: Callable[..., Edge], mailbox: tuple[Mailbox, int]) -> Edge:
    """A service with a relay that takes everything."""
    return start(mailbox[1])


@pytest.fixture
def letters(mailbox: tuple[Mailbox, int]) -> Callable[[int], list[EmailMessage]]:
    """Wait for so many letters."""
    kept = mailbox[0]
    return lambda count: until(lambda: found if len(found := kept.messages()) >= count else None)


@pytest.fixture
def path(edge: Edge, letters: Callable[[int], list[EmailMessage]]) -> str:
    """The path of a delivered link."""
    assert edge.deliver().status_code == 201
    return path_in(letters(1)[0])
