"""A delivery server as the supervisor starts it, with a mail server that catches everything: for tests of the contract.

``with running(tmp_path) as edge: ...`` starts ``python -m receipt_service`` on sockets that it inherits, and ends it.
"""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import httpx
from aiosmtpd.controller import Controller

from printerd.delivery.edge import EdgeClient
from printerd.errors import TransientError
from tests.waiting import until

SECRET = "secret-of-the-contract"
ROOT = Path(__file__).parent.parent


class Catcher:
    """A mail server that keeps what it takes; ``nobody@…`` is unknown to it, and ``lost@…`` makes it hang up."""

    def __init__(self) -> None:
        self.taken: list[tuple[str, EmailMessage]] = []

    async def handle_RCPT(self, _server: Any, _session: Any, envelope: Any, address: str, _options: Any) -> str:
        if address.startswith("nobody@"):
            return "550 5.1.1 No such user here"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 Ok"

    async def handle_DATA(self, server: Any, _session: Any, envelope: Any) -> str:
        to = envelope.rcpt_tos[0]
        self.taken.append((to, message_from_bytes(envelope.content, policy=policy.default)))
        if to.startswith("lost@"):
            server.transport.abort()
        return f"250 2.0.0 Ok: queued as {len(self.taken):06X}"

    def links(self, to: str) -> list[str]:
        """The links of the messages to one address, oldest first."""
        texts = (part.get_content() for got, mail in self.taken if got == to for part in mail.walk() if _is_text(part))
        return [match[0] for text in texts if (match := re.search(r"https?://\S+/l/[\w-]+", text))]


def _is_text(part: EmailMessage) -> bool:
    return part.get_content_type() == "text/plain"


@dataclass(frozen=True, slots=True)
class Running:
    """A running server: ``client`` speaks the contract, ``mail`` has what was sent, ``settings`` what it was told.

    ``browser`` opens its pages and, as browsers do, keeps its connections open.
    """

    client: EdgeClient
    browser: httpx.Client
    mail: Catcher
    address: str
    settings: dict[str, Any]

    def link(self, to: str, number: int = 0) -> str:
        """The link of the ``number``-th message to an address; waits until it was sent."""
        return until(lambda: found[number] if len(found := self.mail.links(to)) > number else None)

    def act(self, link: str, action: str = "accept", **fields: str) -> httpx.Response:
        """Open a page and press one of its buttons."""
        nonce = re.search(r'name="nonce" value="([^"]+)"', self.browser.get(link).text)
        assert nonce
        return self.browser.post(link, data={"nonce": nonce[1], "action": action, **fields})


BROWSER = {"Accept-Language": "fr", "User-Agent": "Mozilla/5.0 Firefox/140.0"}


@contextmanager
def running(folder: Path, *, api: str = "", **changes: Any) -> Iterator[Running]:
    """Start a server whose files lie in ``folder``; ``api`` may be ``unix:///PATH``, ``changes`` are other settings."""
    catcher = Catcher()
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    relay = Controller(catcher, hostname="127.0.0.1", port=port)
    relay.start()
    public, inside = (socket.create_server(("127.0.0.1", 0)) for _ in range(2))
    address = api or f"http://127.0.0.1:{inside.getsockname()[1]}"
    settings = _settings(folder, public, inside, api, port) | changes
    file = folder / "edge.json"
    file.touch(0o600)
    file.write_text(json.dumps(settings))
    command = [sys.executable, "-m", "receipt_service", "--settings", str(file)]
    try:
        with (
            (folder / "edge.log").open("ab") as log,
            subprocess.Popen(
                command, cwd=ROOT, stderr=log, pass_fds=(public.fileno(), inside.fileno()), start_new_session=True
            ) as process,
        ):
            public.close()
            inside.close()
            try:
                with EdgeClient(address, SECRET, timeout=10) as client, httpx.Client(headers=BROWSER) as browser:
                    until(lambda: _listens(api, process) and _answers(client))
                    yield Running(client, browser, catcher, address, settings)
            finally:
                process.send_signal(signal.SIGTERM)
                assert process.wait(20) == 0, (folder / "edge.log").read_text()
    finally:
        relay.stop()


def _listens(api: str, process: subprocess.Popen[bytes]) -> bool:
    """Whether a unix socket takes connections; an inherited one does from the start."""
    assert process.poll() is None, "the server ended at once; see edge.log"
    with socket.socket(socket.AF_UNIX) as knock:
        return not api or knock.connect_ex(api.removeprefix("unix://")) == 0


def _answers(client: EdgeClient) -> bool:
    with suppress(TransientError):
        return bool(client.status().edge_id)
    return False


def _settings(folder: Path, public: socket.socket, inside: socket.socket, api: str, port: int) -> dict[str, Any]:
    return {
        "database": str(folder / "receipts.db"),
        "documents": str(folder / "edge" / "documents"),
        "outbox_key": str(folder / "keys" / "outbox.key"),
        "secret": SECRET,
        "public": f"fd://{public.fileno()}",
        "api": api or f"fd://{inside.fileno()}",
        "public_url": f"http://127.0.0.1:{public.getsockname()[1]}",
        "server_name": "edge-1",
        "smtp": {
            "host": "127.0.0.1",
            "port": port,
            "tls": "none",
            "from": "Comptabilité <compta@moulin.example>",
            "helo": "edge.test",
            "timeout": 5,
            "per_minute": 6000,
        },
        "retry": {"first": 0.05, "most": 0.1, "give_up_after": 60},
        "die_with_parent": True,
    }
