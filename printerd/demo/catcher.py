"""The mail catcher: a real SMTP server that delivers nothing and keeps everything, and pages to look at it.

One rule: what it has answered with 250 lies in its folder. It listens on
loopback only, in one thread of its own.
"""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime
from email import message_from_bytes, policy
from pathlib import Path

import uvicorn
from aiosmtpd.smtp import SMTP, Envelope, Session

from printerd.demo import mailpages
from printerd.demo.mail import Mail
from printerd.demo.setting import HOST, free_port, listening

USUAL_PORT = 8634
"""Where its pages are when nothing else is there."""


class Catcher:
    """Its sockets are open from the start, so that both ports are known; mail is taken from :meth:`start` on."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.mails: list[Mail] = []
        self._folder = folder
        self._smtp = listening(0)
        self._web = listening(free_port(USUAL_PORT))
        self._server = uvicorn.Server(
            uvicorn.Config(
                mailpages.application(self.mails),
                lifespan="off",
                access_log=False,
                log_config=None,
                server_header=False,
                timeout_graceful_shutdown=1,
            )
        )
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="mail catcher", daemon=True)

    @property
    def smtp_port(self) -> int:
        return int(self._smtp.getsockname()[1])

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self._web.getsockname()[1]}/"

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End both servers; nothing listens any more when this returns."""
        self._server.should_exit = True
        if self._thread.is_alive():
            self._thread.join(10)
        self._smtp.close()
        self._web.close()

    async def _serve(self) -> None:
        loop = asyncio.get_running_loop()
        taking = await loop.create_server(
            lambda: SMTP(self, loop=loop, hostname="catcher.localhost", enable_SMTPUTF8=True), sock=self._smtp
        )
        async with taking:
            await self._server.serve(sockets=[self._web])

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:
        """Keep a message, one for each recipient, then say 250 (RFC 5321 section 4.2.5)."""
        wire = envelope.original_content or b""
        message = message_from_bytes(wire, policy=policy.default)
        for recipient in envelope.rcpt_tos:
            number = len(self.mails) + 1
            (self._folder / f"{number:04d}.eml").write_bytes(wire)
            self.mails.append(Mail(number, recipient, datetime.now(UTC), message))
        return f"250 2.0.0 Ok: kept as {len(self.mails):04d}"
