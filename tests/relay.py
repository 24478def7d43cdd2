"""A real SMTP server that knows in which phase each of its clients is, and can hold one there.

One rule: what came whole, up to its final dot, is kept, whether the client still
lives or not: relays deliver it then (RFC 5321 section 6.1), so a second copy would count.
"""

from __future__ import annotations

import contextlib
import socketserver
import threading
import time

from aiosmtpd.smtp import Envelope

from tests.instance import Mailbox

PHASES = ("connect", "EHLO", "MAIL", "RCPT", "DATA", "lines", "dot", "after")
"""Where a client can be held: before the greeting, before the answer to a verb, after the first line of the message,
before the answer to the dot, and after that answer."""
REPLIES = {
    "EHLO": "250-relay.test\r\n250-SIZE 10000000\r\n250-DSN\r\n250 8BITMIME",
    "DATA": "354 go on",
    "QUIT": "221 2.0.0 bye",
}
PATIENCE = 20.0
"""Seconds after which a held client goes on by itself."""


class Hold:
    """An ambush: the first client that comes to ``phase`` stays there until it is let go."""

    def __init__(self, phase: str) -> None:
        self.phase = phase
        self._taken = threading.Lock()
        self._there = threading.Event()
        self._free = threading.Event()

    def wait(self, seconds: float) -> bool:
        """Whether a client came within ``seconds``."""
        return self._there.wait(seconds)

    def at_the_door(self) -> bool:
        """Whether a client is still awaited where only new connections come by."""
        return self.phase in ("connect", "EHLO") and not self._there.is_set()

    def let_go(self) -> None:
        self._free.set()

    def come(self, phase: str) -> None:
        if phase == self.phase and self._taken.acquire(blocking=False):
            self._there.set()
            self._free.wait(PATIENCE)


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    relay: Relay


class Relay(Mailbox):
    """Keeps whole messages; ``ambush`` holds a client."""

    refusals = 0
    """So many recipients are put off (450) before the next one is taken."""
    mutes = 0
    """So many messages are kept without an answer, and their connection closed."""
    pause = 0.0
    """Seconds between two bytes of an answer."""

    def start(self) -> None:
        self._hold = Hold("")
        self._server = _Server(("127.0.0.1", self.port), _Client)
        self._server.relay = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._hold.let_go()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def ambush(self, phase: str) -> Hold:
        """Hold the next client that comes to ``phase``; an earlier hold ends."""
        self._hold.let_go()
        self._hold = Hold(phase)
        return self._hold

    def come(self, phase: str) -> str:
        """The answer to a verb, once the client may have it."""
        self._hold.come(phase)
        if phase == "RSET" and self._hold.at_the_door():
            return "421 4.3.2 come by a new connection"
        if phase == "RCPT" and self.refusals:
            self.refusals -= 1
            return "450 4.2.1 mailbox busy"
        return REPLIES.get(phase, "250 2.0.0 Ok")

    def keep(self, sender: str, recipients: list[str], content: bytes) -> str:
        """Take a message over; the answer to its dot, or nothing when the connection shall end without one."""
        envelope = Envelope()
        envelope.mail_from, envelope.rcpt_tos, envelope.original_content = sender, recipients, content
        self.envelopes.append(envelope)
        if self.mutes:
            self.mutes -= 1
            return ""
        return f"250 2.0.0 Ok: queued as {len(self.envelopes):08X}"


class _Client(socketserver.StreamRequestHandler):
    """One connection."""

    def handle(self) -> None:
        with contextlib.suppress(OSError):  # it was killed
            self._converse(self.server.relay)  # type: ignore[attr-defined]

    def _converse(self, relay: Relay) -> None:
        relay.come("connect")
        self._say(relay, "220 relay.test ESMTP")
        sender, recipients = "", list[str]()
        while line := self.rfile.readline().decode().strip():
            verb, _, rest = line.partition(" ")
            verb = verb.upper()
            self._say(relay, reply := relay.come(verb))
            if verb == "MAIL":
                sender, recipients = _address(rest), []
            elif verb == "RCPT":
                recipients.append(_address(rest))
            elif reply.startswith(("221", "421")) or (verb == "DATA" and not self._take(relay, sender, recipients)):
                return

    def _take(self, relay: Relay, sender: str, recipients: list[str]) -> bool:
        lines = [self.rfile.readline()]
        relay.come("lines")
        while lines[-1] not in (b".\r\n", b""):
            lines.append(self.rfile.readline())
        if lines.pop() == b"":
            return False
        content = b"".join(line[1:] if line.startswith(b".") else line for line in lines)
        answer = relay.keep(sender, recipients, content)
        relay.come("dot")
        if not answer:
            return False
        self._say(relay, answer)
        relay.come("after")
        return True

    def _say(self, relay: Relay, reply: str) -> None:
        data = f"{reply}\r\n".encode()
        while relay.pause and data:
            self.wfile.write(data[:1])
            data = data[1:]
            time.sleep(relay.pause)
        self.wfile.write(data)


def _address(parameter: str) -> str:
    """``user@host`` of ``FROM:<user@host> SIZE=…``."""
    return parameter.partition("<")[2].partition(">")[0]
