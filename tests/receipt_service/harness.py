"""A receipt service in its own thread, the relays that it mails to, and the deliveries that it is given."""

from __future__ import annotations

import asyncio
import hashlib
import re
import socket
import socketserver
import sqlite3
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import httpx

from receipt_service.__main__ import serve
from receipt_service.app import World, build
from receipt_service.config import Settings
from tests.waiting import until

SECRET = "a-secret-for-tests"
PDF = b"%PDF-1.7\n" + bytes(range(256)) * 700 + b"\n%%EOF\n"
DIGEST = hashlib.sha256(PDF).hexdigest()
DELIVERY = "6c4f0d0e-3f43-4c68-9c1c-8f3a5b0c7a11"
NO_AUTHORITY = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Plain HTTP needs no authorities, and reading them takes 30 ms a client."""
EARLY = {"first": 0.05, "most": 0.1, "give_up_after": 60}


class Mailbox:
    """What an aiosmtpd relay has taken: envelopes, in order."""

    def __init__(self) -> None:
        self.letters: list[tuple[str, list[str], bytes]] = []

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        self.letters.append((envelope.mail_from, envelope.rcpt_tos, envelope.content))
        return f"250 2.0.0 Ok: queued as 4XyZ{len(self.letters)}"

    def messages(self) -> list[EmailMessage]:
        return [message_from_bytes(wire, policy=policy.default) for _, _, wire in self.letters]


class Scripted(socketserver.StreamRequestHandler):
    """SMTP by a table of replies; a reply of ``close`` hangs up instead. It keeps what it was told."""

    def handle(self) -> None:
        relay: ScriptedRelay = self.server.relay  # type: ignore[attr-defined]
        relay.connections += 1
        with relay.counted():
            self._converse(relay)

    def _converse(self, relay: ScriptedRelay) -> None:
        if not self._say(relay.reply("connect", "220 relay.test")):
            return
        while line := self.rfile.readline().decode().strip():
            relay.lines.append(line)
            verb = line.split(":")[0].split()[0].upper()
            default = {"DATA": "354 go on", "EHLO": relay.ehlo, "QUIT": "221 bye"}.get(verb, "250 2.0.0 Ok")
            reply = relay.reply(verb, default)
            if not self._say(reply) or verb == "QUIT":
                return
            if verb == "DATA" and reply == "354 go on" and not self._message(relay):
                return

    def _message(self, relay: ScriptedRelay) -> bool:
        lines = iter(self.rfile.readline, b".\r\n")
        relay.messages.append(b"".join(lines))
        return self._say(relay.reply("dot", "250 2.0.0 Ok: queued as ABC"))

    def _say(self, reply: str) -> bool:
        if reply == "hang":
            self.connection.recv(1)  # ends when the client does
        if reply in ("close", "hang"):
            return False
        self.wfile.write(f"{reply}\r\n".encode())
        return True


class ScriptedRelay:
    """A relay that misbehaves as told: ``replies[verb]`` is used up from the left, then the default is given."""

    def __init__(self, server: socketserver.ThreadingTCPServer) -> None:
        self.port: int = server.server_address[1]
        self.replies: dict[str, list[str]] = {}
        self.ehlo = "250-relay.test\r\n250-SIZE 1000000\r\n250 8BITMIME"
        self.lines: list[str] = []
        self.messages: list[bytes] = []
        self.connections = 0
        self.at_once = self._open = 0
        self._counting = threading.Lock()
        self.hang_at = ""
        self.hanging = threading.Event()

    @contextmanager
    def counted(self) -> Iterator[None]:
        """One more connection is open meanwhile; ``at_once`` is the most that ever were."""
        with self._counting:
            self._open += 1
            self.at_once = max(self.at_once, self._open)
        try:
            yield
        finally:
            with self._counting:
                self._open -= 1

    def reply(self, verb: str, default: str) -> str:
        """What to answer; at ``hang_at`` nothing is answered, and the client waits until it is killed."""
        if verb == self.hang_at:
            self.hanging.set()
            return "hang"
        waiting = self.replies.get(verb)
        return waiting.pop(0) if waiting else default


def delivery(**changes: Any) -> dict[str, Any]:
    """A delivery as printerd says it; ``changes`` replaces whole keys."""
    body: dict[str, Any] = {
        "mode": "live",
        "rehearsal_to": None,
        "language": "fr",
        "issuer": {
            "name": "Au bon moulin",
            "siren": "732 829 320",
            "vat_id": "FR44732829320",
            "address": "12 rue des Meules\n69003 Lyon",
            "email": "contact@moulin.example",
            "reply_to": "compta@moulin.example",
            "phone": "04 78 00 00 00",
            "colour": "#1f4e79",
        },
        "customer": {"code": "C0042", "name": "Boulangerie Martin"},
        "contacts": [{"id": "k1", "name": "Marie Martin", "email": "marie@client.fr", "role": "comptabilité"}],
        "invoice": {
            "number": "FA-2026-0042",
            "kind": "invoice",
            "issued_on": "2026-11-24",
            "due_on": "2026-12-31",
            "total": "1234.56",
            "currency": "EUR",
        },
        "document": {"sha256": DIGEST, "size": len(PDF), "pages": 1, "file_name": "FA-2026-0042 été.pdf"},
        "policy": {"level": "L3", "expires_at": "2099-02-22T09:00:00Z"},
        "checkpoint": {"size": 1204, "root": "ab" * 32},
    }
    return body | changes


class Edge:
    """A running service: ``api`` and ``public`` are clients of its two addresses."""

    def __init__(self, folder: Path, port: int, **changes: Any) -> None:
        self.folder = folder
        self.listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
        public, api = (f"127.0.0.1:{listener.getsockname()[1]}" for listener in self.listeners)
        values: dict[str, Any] = {
            "database": str(folder / "receipts.db"),
            "documents": str(folder / "documents"),
            "outbox_key": str(folder / "keys/outbox.key"),
            "secret": SECRET,
            "public": public,
            "api": api,
            "public_url": f"http://{public}",
            "server_name": "edge-1",
            "smtp": {"host": "127.0.0.1", "port": port, "tls": "none", "from": "Comptabilité <compta@moulin.example>"}
            | {"per_minute": 1000, "timeout": 2, "helo": "edge.test"}
            | changes.pop("smtp", {}),
            "retry": EARLY,
        }
        self.settings = Settings.model_validate(values | changes)
        self.public = httpx.Client(verify=NO_AUTHORITY, base_url=f"http://{public}", headers={"Accept-Language": "fr"})
        self.api = httpx.Client(
            verify=NO_AUTHORITY, base_url=f"http://{api}/api/v1", headers={"Authorization": f"Bearer {SECRET}"}
        )
        self._thread = threading.Thread(target=asyncio.run, args=(self._serve(),))
        self._ready = threading.Event()
        self.world: World

    def start(self) -> Edge:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    async def _serve(self) -> None:
        self.loop, self._end = asyncio.get_running_loop(), asyncio.Event()
        self.world = build(self.settings)
        self._ready.set()
        await serve(self.world, self.listeners[0], self.listeners[1], self._end)
        self.world.database.close()

    def stop(self) -> None:
        """Tell it to end; a second time is nothing new."""
        self.public.close()
        self.api.close()
        if self._thread.is_alive():
            self.loop.call_soon_threadsafe(self._end.set)

    def join(self) -> None:
        self._thread.join(20)
        assert not self._thread.is_alive()

    # -- the contract --

    def deliver(self, body: dict[str, Any] | None = None, delivery_id: str = DELIVERY) -> httpx.Response:
        self.api.put(f"/documents/{DIGEST}", content=PDF).raise_for_status()
        return self.api.put(f"/deliveries/{delivery_id}", json=body or delivery())

    def events(self, name: str = "") -> list[dict[str, Any]]:
        found = self.api.get("/events", params={"after": 0, "head": "0" * 64}).raise_for_status().json()["events"]
        return [event for event in found if name in ("", event["name"])]

    def wait_for(self, name: str, count: int = 1) -> list[dict[str, Any]]:
        """The events of a name once there are so many."""
        return until(lambda: found if len(found := self.events(name)) >= count else None)

    def rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        with sqlite3.connect(self.settings.database) as connection:
            found = connection.execute(query, values).fetchall()
        connection.close()
        return found

    # -- the customer --

    def press(self, path: str, action: str = "accept", **fields: str) -> httpx.Response:
        nonce = nonce_of(self.public.get(path).text)
        return self.public.post(path, data={"nonce": nonce, "action": action} | fields)


def nonce_of(page: str) -> str:
    found = re.search(r'name="nonce" value="([^"]+)"', page)
    assert found
    return found[1]


def path_in(message: EmailMessage) -> str:
    """The path of the link in a letter."""
    text = message.get_body(("plain",))
    assert text is not None
    found = re.search(r"/l/[A-Za-z0-9_-]{43}", text.get_content())
    assert found
    return found[0]
