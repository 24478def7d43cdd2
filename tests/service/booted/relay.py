"""A mail relay of the machine: takes mail for one account, and keeps it. Run in the machine by the tests."""

from __future__ import annotations

import sys
import time
from itertools import count
from pathlib import Path

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

KEPT = Path(sys.argv[1])
PASSWORD = sys.argv[2].encode()
NUMBERS = count(1)


class Keeping:
    """Accepts what an authenticated client sends."""

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        KEPT.joinpath(f"{next(NUMBERS):05}.eml").write_bytes(envelope.original_content or b"")
        return "250 2.0.0 Ok"


def known(server: SMTP, session: Session, envelope: Envelope, mechanism: str, login: LoginPassword) -> AuthResult:
    return AuthResult(success=login.password == PASSWORD)


KEPT.mkdir(exist_ok=True)
Controller(
    Keeping(), hostname="127.0.0.1", port=25, auth_required=True, auth_require_tls=False, authenticator=known
).start()
while True:
    time.sleep(3600)
