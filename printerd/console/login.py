"""Who is let in: a one-time link makes a session, and everything else is answered as if it were not there.

Opening a link shows a button, and only the button uses the link up: mail
scanners and prefetching browsers open links, they do not press. A session's
token is always new, so that nobody can plant one; its form token is an HMAC
of it and needs no row.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections import OrderedDict, deque
from dataclasses import dataclass
from datetime import datetime, timedelta

from printerd.model import Digest
from printerd.storage import logins
from printerd.storage.database import Database
from printerd.storage.logins import LoginKind

LINK_LIFE = timedelta(minutes=10)
SESSION_LIFE = timedelta(hours=12)
COOKIE = "invoice_printer_console"
ATTEMPTS = 10
"""Logins that one address may try in :data:`ATTEMPTS_WITHIN`."""
ATTEMPTS_WITHIN = timedelta(minutes=1)
ADDRESSES = 4096
"""Addresses whose attempts are remembered; the oldest are forgotten first."""


@dataclass(frozen=True, slots=True)
class Session:
    """A person who is in. ``form_token`` must come with everything that changes something."""

    who: str
    token: str

    @property
    def form_token(self) -> str:
        return hmac.new(self.token.encode(), b"form", hashlib.sha256).hexdigest()

    def owns(self, form_token: str) -> bool:
        return hmac.compare_digest(self.form_token.encode(), form_token.encode())


def open_link(database: Database, who: str, now: datetime) -> str:
    """Make a one-time link for ``who``, good for ten minutes: the path to put behind the console's address."""
    token = secrets.token_urlsafe(32)
    with database.write() as conn:
        logins.grant(conn, _digest(token), LoginKind.LINK, who, now + LINK_LIFE, now)
    return f"/login/{token}"


def link_holder(database: Database, token: str, now: datetime) -> str | None:
    """Whom a link is for; it is not used up by looking."""
    with database.read() as conn:
        return logins.holder(conn, _digest(token), LoginKind.LINK, now)


def enter(database: Database, link: str, old: str, now: datetime) -> Session | None:
    """Use a link up and begin a session; the one that this browser had before ends."""
    with database.write() as conn:
        who = logins.holder(conn, _digest(link), LoginKind.LINK, now)
        if who is None or not logins.revoke(conn, _digest(link), LoginKind.LINK):
            return None
        logins.revoke(conn, _digest(old), LoginKind.SESSION)
        session = Session(who, secrets.token_urlsafe(32))
        logins.grant(conn, _digest(session.token), LoginKind.SESSION, who, now + SESSION_LIFE, now)
    return session


def session(database: Database, token: str, now: datetime) -> Session | None:
    """The session of a cookie's value, while it lasts."""
    if not token:
        return None
    with database.read() as conn:
        who = logins.holder(conn, _digest(token), LoginKind.SESSION, now)
    return None if who is None else Session(who, token)


def leave(database: Database, session: Session) -> None:
    with database.write() as conn:
        logins.revoke(conn, _digest(session.token), LoginKind.SESSION)


class Attempts:
    """How often each address tried to log in of late."""

    def __init__(self) -> None:
        self._tried: OrderedDict[str, deque[datetime]] = OrderedDict()

    def allow(self, address: str, now: datetime) -> bool:
        """Count one attempt; ``False`` when there were too many within the minute."""
        tried = self._tried.setdefault(address, deque(maxlen=ATTEMPTS))
        self._tried.move_to_end(address)
        if len(self._tried) > ADDRESSES:
            self._tried.popitem(last=False)
        if len(tried) == ATTEMPTS and now - tried[0] < ATTEMPTS_WITHIN:
            return False
        tried.append(now)
        return True


def _digest(token: str) -> Digest:
    return Digest(hashlib.sha256(token.encode()).hexdigest())
