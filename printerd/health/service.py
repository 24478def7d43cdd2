"""The looks at a service that runs: processes, rows, disk, clock, certificate. /healthz and doctor share them.

One rule: each takes seconds at most, and asks nothing that costs money or leaves a trace: no timestamp, no mail.
"""

from __future__ import annotations

import http.client
import json
import math
import os
import re
import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import sqlalchemy as sa
from asn1crypto import pem, x509  # type: ignore[import-untyped]

from printerd.errors import ConfigurationError, Failure
from printerd.health import rows
from printerd.health.findings import Seen
from printerd.health.site import Site
from printerd.storage import instance
from printerd.storage.schema import ledger

STUCK = 900.0
"""Seconds in a stage after which a batch is not slow but stuck: fifty documents of a minute each on two readers take
longer, and are worth a look as well."""
OVERDUE = timedelta(minutes=10)
"""How long due work may wait: a burst of thousands of jobs is done before."""
LOOP, LOOP_SECONDS = 3, 300.0
"""So many ends of one process within so many seconds are a loop."""
UNSEEN = 300.0
"""Seconds after which a hot folder that nobody looks at is none: its file server hangs."""
RENEW = 30
"""Days before its end in which a certificate is to be renewed."""
DRIFT = timedelta(seconds=2)
"""How far this clock may stand before the ledger's last entry."""
PATIENCE = 3.0
"""Seconds to wait for a process or a connection."""


def database(site: Site) -> Seen:
    """Takes the write lock and lets it go; raises :class:`TransientError` when somebody keeps it."""
    with site.database.write():
        return Seen(True)


def disk(site: Site) -> Seen:
    free = disk_free(site.root)
    facts = {"folder": site.root, "free": size(free), "limit": size(site.free_space)}
    return Seen(free >= site.free_space, facts)


def disk_free(folder: Path) -> int:
    """Bytes that we may still write on the file system of a folder."""
    told = os.statvfs(folder)
    return told.f_bavail * told.f_frsize


def size(count: int) -> str:
    """``1.5 GiB``."""
    value, units = float(count), iter(("B", "KiB", "MiB", "GiB"))
    unit = next(units)
    while value >= 1024 and (larger := next(units, "")):
        value, unit = value / 1024, larger
    return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"


def printer(site: Site) -> Seen:
    """Any answer over HTTP will do: whose process hangs does not give one."""
    host, _, port = site.printer.rpartition(":")
    connection = http.client.HTTPConnection(host.strip("[]"), int(port), timeout=PATIENCE)
    facts = {"address": site.printer}
    try:
        connection.request("GET", "/")
        connection.getresponse().read(1)
    except (OSError, http.client.HTTPException) as error:
        return Seen(False, facts | {"why": str(error) or type(error).__name__})
    finally:
        connection.close()
    return Seen(True, facts)


def worker(site: Site) -> Seen:
    """Raises :class:`TransientError` when it does not answer."""
    stage, seconds = max(site.worker().batches.items(), key=lambda one: one[1], default=("", 0.0))
    return Seen(seconds < STUCK, {"stage": stage, "age": age(seconds)})


def age(seconds: float) -> str:
    """``40 s``, ``12 min``, ``5 h``, ``3 d``."""
    for limit, divisor, unit in ((120, 1, "s"), (7200, 60, "min"), (172_800, 3600, "h")):
        if seconds < limit:
            return f"{seconds / divisor:.0f} {unit}"
    return f"{seconds / 86400:.0f} d"


def backlog(site: Site) -> Seen:
    now = site.now()
    with site.database.read() as connection:
        due = {stage: rows.due(connection, work, now) for stage, work in rows.STAGES.items()}
    waited = {stage: now - one.since for stage, one in due.items() if one.since}
    stage = max(waited, key=lambda one: waited[one], default="")
    longest = waited.get(stage, timedelta())
    facts = {"stage": stage, "age": age(longest.total_seconds()), "count": sum(one.count for one in due.values())}
    return Seen(longest < OVERDUE, facts)


def retries(site: Site) -> Seen:
    with site.database.read() as connection:
        found = rows.troubles(connection)
    worst = max(found, key=lambda one: one.count, default=rows.Trouble("", 0, ""))
    return Seen(not found, {"stage": worst.stage, "count": worst.count, "why": worst.why.rstrip(".")})


def authority(site: Site) -> Seen:
    """The built-in one is always there. Another one is not asked for a stamp: it may want money for it."""
    if not site.timestamp_url:
        return Seen(True, {"where": "built in"})
    with site.database.read() as connection:
        count, why = rows.unstamped(connection)
    facts = {"where": urlsplit(site.timestamp_url).hostname, "count": count}
    if count:
        return Seen(False, facts | {"why": why.rstrip(".")})
    try:
        site.reach(*_place(site.timestamp_url))
    except OSError as error:
        return Seen(False, facts | {"why": f"it cannot be reached: {error}"})
    return Seen(True, facts)


def _place(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)


def edge(site: Site) -> Seen:
    """Raises the failure that the call of the contract means."""
    told = site.edge()
    return Seen(True, {"edge": told.edge_id, "version": told.version})


UNKNOWN = "not known while the delivery server does not answer"


def mail(site: Site) -> Seen:
    try:
        told = site.edge()
    except Failure:  # which is told by the check of the edge
        return Seen(True, {"state": UNKNOWN})
    waiting = f"{told.mail_backlog} waiting" if told.mail_backlog else "nothing waits"
    return Seen(not told.mail_trouble, {"state": waiting, "reply": told.mail_trouble, "count": told.mail_backlog})


def children(site: Site) -> Seen:
    """What the supervisor wrote down; roles that are units of their own have none, and systemd counts for them."""
    try:
        told = json.loads(site.children.read_text())
    except FileNotFoundError:
        return Seen(True)
    looping = {role: count for role, one in told.items() if (count := recent(one["deaths"], time.monotonic())) >= LOOP}
    role = max(looping, key=lambda one: looping[one], default="")
    status = told[role]["status"] if role else ""
    return Seen(not looping, {"role": role, "count": looping.get(role, 0), "status": status})


def recent(deaths: Iterable[float], now: float) -> int:
    """How many of these moments (seconds of the monotonic clock) are recent."""
    return sum(now - LOOP_SECONDS <= moment <= now for moment in deaths)


def hot_folder(site: Site) -> Seen:
    """What capture wrote down: a file server that hangs shall hang no check."""
    if site.folders is None:
        return Seen(True, {"state": "none is set"})
    told: dict[str, Any] = {"looked": math.inf}
    if site.folders.exists():
        told = json.loads(site.folders.read_text())
    silence = time.monotonic() - told["looked"]
    if silence < 0:  # it is what was written before this machine was started
        return Seen(False, {"why": "It has not been looked at yet."})
    if silence >= UNSEEN:
        return Seen(False, {"why": f"It has not been looked at for {age(silence)}."})
    return Seen(not told["trouble"], {"state": "looked at", "why": next(iter(told["trouble"]), "")})


def collecting(site: Site) -> Seen:
    with site.database.read() as connection:
        alerts = [row for row in rows.cursors(connection) if row.alert]
    lines = alerts[0].alert.splitlines() if alerts else [""]
    return Seen(not alerts, {"edge": alerts[0].edge if alerts else "", "why": lines[0]})


def restored(site: Site) -> Seen:
    with site.database.read() as connection:
        began = instance.restored(connection)
    return Seen(began is None, {"made_at": began.made_at if began else ""})


def templates(site: Site) -> Seen:
    """Those of the firm. The library that reads them is loaded only where there are any."""
    own = sorted(site.templates.glob("*.toml"))
    if not own:
        return Seen(True, {"count": 0})
    from printerd.pipeline import layouts

    try:
        layouts.read_templates(layouts.templates(site.templates))
    except ConfigurationError as error:
        return Seen(False, {"why": error.what.rstrip("."), "where": error.where or site.templates})
    except (OSError, UnicodeDecodeError) as error:
        return Seen(False, {"why": str(error), "where": site.templates})
    return Seen(True, {"count": len(own)})


def certificate(site: Site) -> Seen:
    days = {path.name: days_left(path, site.now()) for path in certificates(site)}
    if not days:
        return Seen(True, {"file": "the certificate", "days": "not made yet, no"})
    first = min(days, key=lambda one: days[one])
    return Seen(days[first] >= RENEW, {"file": site.keys / first, "days": days[first]})


def certificates(site: Site) -> list[Path]:
    """Those in force: our own; of keys from elsewhere, the one that came last; the built-in authority's."""
    built_in = [site.keys / "tsa.crt"] if not site.timestamp_url else []
    remembered = [path for path in site.keys.glob("*.crt") if re.fullmatch(r"[0-9a-f]{16}", path.stem)]
    latest = sorted(remembered, key=lambda path: path.stat().st_mtime)[-1:]
    return [path for path in (*(latest if site.own_key else [site.keys / "seal.crt"]), *built_in) if path.exists()]


def days_left(path: Path, now: datetime) -> int:
    """Whole days until a certificate ends; negative when it has, or has not begun."""
    _, _, der = pem.unarmor(path.read_bytes())
    found = x509.Certificate.load(der)
    ends: datetime = found.not_valid_after
    return -1 if now < found.not_valid_before else (ends - now) // timedelta(days=1)


def clock(site: Site) -> Seen:
    """The ledger never runs backwards: while this clock stands before its last entry, new ones bear that one's time."""
    with site.database.read() as connection:
        newest = sa.select(ledger.c.recorded_at).order_by(ledger.c.index.desc()).limit(1)
        last: datetime | None = connection.scalar(newest)
    now = site.now()
    facts = {"now": moment(now), "last": moment(last) if last else ""}
    return Seen(last is None or now >= last - DRIFT, facts)


def moment(when: datetime) -> str:
    return when.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def listed(things: Sequence[str], most: int = 3) -> str:
    """The first few of a list, and how many more there are."""
    more = f" and {len(things) - most} more" if len(things) > most else ""
    return ", ".join(things[:most]) + more
