"""Who may use the console: one-time links and sessions by the SHA-256 of their token, which itself is never kept."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

import sqlalchemy as sa

from printerd.model import Digest
from printerd.storage.schema import logins


class LoginKind(StrEnum):
    LINK = "link"
    SESSION = "session"


def grant(conn: sa.Connection, token: Digest, kind: LoginKind, who: str, expires_at: datetime, now: datetime) -> None:
    """Let a token in until it expires; what has expired by now is forgotten."""
    conn.execute(sa.delete(logins).where(logins.c.expires_at <= now))
    conn.execute(sa.insert(logins).values(token=token, kind=kind, who=who, expires_at=expires_at))


def holder(conn: sa.Connection, token: Digest, kind: LoginKind, now: datetime) -> str | None:
    """Whom a token lets in, or ``None``."""
    query = sa.select(logins.c.who).where(logins.c.token == token, logins.c.kind == kind, logins.c.expires_at > now)
    return conn.execute(query).scalar()


def revoke(conn: sa.Connection, token: Digest, kind: LoginKind) -> bool:
    """End a token. Of two that try at once, one alone is told ``True``."""
    ended = conn.execute(sa.delete(logins).where(logins.c.token == token, logins.c.kind == kind))
    return ended.rowcount == 1
