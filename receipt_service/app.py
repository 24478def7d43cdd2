"""The world is built here, in one place: keys, database, mailer, and the two applications that never meet."""

from __future__ import annotations

import asyncio
import os
import secrets
import stat
from dataclasses import dataclass
from pathlib import Path

import structlog
from starlette.types import ASGIApp

from . import api, deliveries, documents, mailer, outbox, pages, render
from .config import Settings, SettingsError
from .database import Database, now
from .letters import Office
from .links import derive

SWEEP_EVERY = 900.0
"""Seconds between two looks for documents that nobody needs."""

_log = structlog.get_logger("app")


@dataclass(frozen=True, slots=True)
class World:
    """Everything that runs. ``public`` faces the internet, ``api`` faces printerd."""

    database: Database
    documents: Path
    days_after_handover: float
    mailer: mailer.Mailer
    public: ASGIApp
    api: ASGIApp
    stopping: asyncio.Event

    async def sweep(self) -> None:
        """Delete what nobody needs, now and then, for ever."""
        while True:
            gone = await self.database.write(deliveries.sweep, self.documents, now(), self.days_after_handover)
            if gone:
                _log.info("documents deleted", count=gone)
            await asyncio.sleep(SWEEP_EVERY)

    def stop(self) -> None:
        """Let long polls answer and begin no more letters."""
        self.stopping.set()
        self.mailer.stop()


def read_or_make_key(file: Path) -> bytes:
    """The 32 random bytes that the outbox key and the nonce secret come from; made, durably, when missing.

    Raises:
        SettingsError: others may read the file, or it is not 32 bytes long.
    """
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not file.exists():
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as new:
            new.write(secrets.token_bytes(32))
            new.flush()
            os.fsync(new.fileno())
    if file.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise SettingsError("others may read the outbox key", str(file), f"chmod 0600 {file}")
    key = file.read_bytes()
    if len(key) != 32:
        raise SettingsError(f"the outbox key has {len(key)} bytes, not 32", str(file), "restore it from a backup")
    return key


def build(settings: Settings, *, restored: bool = False) -> World:
    """Build the world and put the outbox in order; nothing is sent or served yet.

    ``restored``, or a file ``DATABASE.restored``, says that the database comes from a backup: what waits in it may
    have gone since. The file is taken away once that is written down.
    """
    key = read_or_make_key(settings.outbox_key)
    documents.discard_partial(settings.documents)
    database = Database(settings.database, settings.server_name)
    office = Office(
        render.environment(), settings.smtp.sender, settings.public_url, settings.smtp.bcc, derive(key, "outbox")
    )
    told = settings.database.with_name(f"{settings.database.name}.restored")
    database.prepare(outbox.put_in_order, settings.server_name, restored or told.exists())
    told.unlink(missing_ok=True)
    stopping, days = asyncio.Event(), settings.document_days_after_handover
    counter = pages.Counter(database, settings.documents, office, derive(key, "nonce"), settings.staff_networks)
    mailing = mailer.Mailer(database, office, _account(settings), _patience(settings))
    stores = api.Stores(database, settings.documents, days, office, stopping, mailing.trouble)
    return World(
        database,
        settings.documents,
        days,
        mailing,
        pages.create(counter, settings.public_url, settings.trusted_proxies),
        api.BearerOnly(api.create(stores), settings.secret.get_secret_value()),
        stopping,
    )


def _account(settings: Settings) -> mailer.Account:
    smtp = settings.smtp
    password = smtp.password.get_secret_value()
    return mailer.Account(smtp.host, smtp.port, smtp.user, password, smtp.tls, smtp.helo, smtp.timeout, smtp.per_minute)


def _patience(settings: Settings) -> outbox.Patience:
    return outbox.Patience(settings.retry.first, settings.retry.most, settings.retry.give_up_after)
