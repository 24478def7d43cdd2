"""The looks that a person asks for with ``doctor``: machine, settings, files, and those that are too dear for a scrape.

One rule: what runs as another user, or in another unit, may see it otherwise; it tells what this user sees.
"""

from __future__ import annotations

import fcntl
import ipaddress
import smtplib
import ssl
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import sqlalchemy as sa

from printerd import systemd
from printerd.health.findings import Seen
from printerd.health.service import listed
from printerd.health.site import Site
from printerd.model import InvoiceState, MailState, Mode
from printerd.storage import archive, instance
from printerd.storage.schema import deliveries, edges, events

SMTP_PATIENCE = 10.0
MOST = 100
"""Doubtful mails that are looked at."""


def service(site: Site) -> Seen:
    """Whether somebody holds a lock of the instance; asking takes none away."""
    return Seen(any(_held(lock) for lock in site.locks), {"folder": site.root})


def _held(lock: Path) -> bool:
    try:
        with lock.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


# Settings


def issuers(site: Site) -> Seen:
    names = [str(name) for name in _sequence(site.settings["issuers"])]
    return Seen(bool(names), {"names": listed(names)})


def public_url(site: Site) -> Seen:
    """The address in every mail: plain http only for a machine that speaks to itself."""
    url = str(site.settings["receipts.public_url"])
    parts = urlsplit(url)
    return Seen(not url or parts.scheme == "https" or loopback(parts.hostname or ""), {"url": url or "not set"})


def public_pages(site: Site) -> Seen:
    """Links that are built from a loopback address lead customers to their own machine."""
    url = str(site.settings["receipts.public_url"])
    return Seen(bool(url) and not loopback(urlsplit(url).hostname or ""), {"url": url or "not set"})


def rehearsal(site: Site) -> Seen:
    with site.database.read() as connection:
        mode = instance.mode(connection)
    to = str(site.settings["rehearsal.to"])
    return Seen(mode is Mode.LIVE or bool(to), {"mode": mode, "to": to})


def names(site: Site) -> Seen:
    """Who opens the printer to others names it, or every client that uses a name is turned away."""
    host = str(site.settings["listen.ipp"]).rpartition(":")[0].strip("[]")
    known = _sequence(site.settings["listen.names"])
    return Seen(loopback(host) or host.startswith("fd") or bool(known), {"host": host})


def own_time(site: Site) -> Seen:
    with site.database.read() as connection:
        live = instance.mode(connection) is Mode.LIVE
    return Seen(not live or bool(site.timestamp_url), {"url": site.timestamp_url or "built in"})


def loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _sequence(value: object) -> list[object]:
    return list(value) if isinstance(value, tuple | list) else []


# Files


def state_folder(site: Site) -> Seen:
    mode = site.root.stat().st_mode & 0o777
    return Seen(not mode & 0o077, {"folder": site.root, "mode": f"{mode:04o}"})


def private_files(site: Site) -> Seen:
    """Keys and the secrets' files of the settings: nobody else reads them."""
    bare = [str(path) for path in _private(site) if path.stat().st_mode & 0o077 and not systemd.keeps(path)]
    return Seen(not bare, {"files": listed(bare), "paths": " ".join(bare)})


def _private(site: Site) -> Iterator[Path]:
    yield from (path for path in sorted(site.keys.glob("*")) if path.suffix != ".crt" and path.is_file())
    yield from (path for path in site.secrets if path.exists())


def absent_files(site: Site) -> Seen:
    missing = [str(path) for path in site.secrets if not path.is_file()]
    return Seen(not missing, {"files": listed(missing)})


# Machine


def programs(_site: Site) -> Seen:
    """Raises :class:`ConfigurationError` when Ghostscript is not there or does not start."""
    from printerd.pipeline import programs as probing

    return Seen(True, {"version": probing.probe_ghostscript()})


def fonts(_site: Site) -> Seen:
    from printerd.evidence.receipt_page import FACES
    from printerd.pipeline.convert import FONTS

    complete = all(file.exists() for file in FACES[0].values()) and any(Path(file).exists() for file in FONTS)
    return Seen(complete)


def walls(_site: Site) -> Seen:
    """What of this kernel keeps a document's reader from files, network and system calls."""
    from printerd.pipeline import confine

    offered = confine.offered()
    missing = [wall for wall, there in offered.items() if not there]
    return Seen(not missing, {"there": ", ".join(offered), "missing": ", ".join(missing)})


# Others


def smtp(site: Site) -> Seen:
    """Says EHLO and STARTTLS as the settings want it, asks whether it takes a login, and leaves. No mail, no login."""
    relay = site.relay
    facts = {"relay": f"{relay.host}:{relay.port}", "tls": relay.tls}
    try:
        with _connected(relay.host, relay.port, relay.tls) as client:
            code, words = client.ehlo()
            if code != 250:
                return Seen(False, facts | {"why": f"EHLO: {code} {words.decode('ascii', 'replace')}"})
            if relay.tls == "starttls":
                client.starttls(context=ssl.create_default_context())
                client.ehlo()
            if relay.user and not client.has_extn("auth"):
                return Seen(False, facts | {"why": "it offers no login, and smtp.user is set"})
    except (OSError, smtplib.SMTPException) as error:
        return Seen(False, facts | {"why": " ".join(str(error).split()) or type(error).__name__})
    return Seen(True, facts)


def _connected(host: str, port: int, tls: str) -> smtplib.SMTP:
    if tls == "tls":
        return smtplib.SMTP_SSL(host, port, timeout=SMTP_PATIENCE, context=ssl.create_default_context())
    return smtplib.SMTP(host, port, timeout=SMTP_PATIENCE)


def stamp(site: Site) -> Seen:
    """One timestamp of the authority, checked. Raises the failure in its own words."""
    if not site.timestamp_url:
        return Seen(True, {"authority": "the built-in one"})
    from printerd.evidence import timestamp

    stamped = timestamp.connect(site.timestamp_url, site.keys, site.firm).stamp(b"invoice-printer doctor")
    return Seen(True, {"authority": stamped.token.timestamp.authority})


# What waits for people


def waiting(site: Site) -> Seen:
    with site.database.read() as connection:
        count = archive.counts(connection).invoices[InvoiceState.WAITING]
    return Seen(not count, {"count": count})


def uncertain(site: Site) -> Seen:
    with site.database.read() as connection:
        found = doubtful(connection)
    commands = [f"invoice-printer invoices resend {key} --reason WHY" for key, _ in found]
    facts = {"count": len(found), "numbers": listed([number for _, number in found]), "commands": listed(commands, 5)}
    return Seen(not found, facts)


def doubtful(connection: sa.Connection) -> list[tuple[str, str]]:
    """Short id and number of each invoice with a mail that nobody knows to have arrived, at most :data:`MOST`."""
    told = sa.select(deliveries.c.invoice).join(events, events.c.delivery == deliveries.c.id)
    of_edges = events.c.edge.in_(sa.select(edges.c.edge))  # the index of events begins with their edge
    named = told.where(of_edges, events.c.name == "MailUncertain").order_by(events.c.time.desc()).limit(MOST)
    details = [archive.invoice(connection, key) for key in dict.fromkeys(connection.scalars(named))]
    return [
        (detail.line.id[:8], detail.line.number)
        for detail in details
        if any(contact.mail is MailState.UNCERTAIN for delivery in detail.deliveries for contact in delivery.contacts)
    ]
