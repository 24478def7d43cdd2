"""The few facts of an instance that are no settings: whether it is live, who it is, and whether it was restored."""

from __future__ import annotations

import json
import uuid
from collections.abc import Collection
from dataclasses import asdict, dataclass

import sqlalchemy as sa

from printerd.model import Mode
from printerd.storage.schema import instance


def mode(connection: sa.Connection) -> Mode:
    """A new instance is in rehearsal."""
    return Mode(_get(connection, "mode") or Mode.REHEARSAL)


def set_mode(connection: sa.Connection, chosen: Mode) -> None:
    _put(connection, "mode", chosen)


def last_rehearsed(connection: sa.Connection) -> int:
    """The number of the last job of the rehearsal; 0 while it goes on, and when there was none."""
    return int(_get(connection, "last-rehearsed") or 0)


def set_last_rehearsed(connection: sa.Connection, number: int) -> None:
    _put(connection, "last-rehearsed", str(number))


def identity(connection: sa.Connection) -> str:
    """The instance's UUID, also the ``printer-uuid`` (PWG 5100.13 section 6.6.43); made at the first call."""
    found = _get(connection, "identity")
    if not found:
        found = str(uuid.uuid4())
        _put(connection, "identity", found)
    return found


@dataclass(frozen=True, slots=True)
class Switches:
    """What an operator has set of the printer. ``paused``: nothing new is worked on; ``holding``: new jobs wait for
    their release. ``said`` are the printer attributes of people's own words, by name (Set-Printer-Attributes).
    """

    accepting: bool = True
    paused: bool = False
    holding: bool = False
    said: tuple[tuple[str, str], ...] = ()


def switches(connection: sa.Connection) -> Switches:
    found = _get(connection, "switches")
    facts = json.loads(found) if found else {}
    return Switches(**{**facts, "said": tuple((name, text) for name, text in facts.get("said", ()))})


def set_switches(connection: sa.Connection, chosen: Switches) -> None:
    _put(connection, "switches", json.dumps(asdict(chosen)))


@dataclass(frozen=True, slots=True)
class Restored:
    """This instance began as a backup, and nobody has resumed it yet: what it sends may be sent for the second time.

    Times are RFC 3339. ``made_at`` is the backup's: what happened after it is not known here. ``restored_at`` is when
    the instance was made from it. ``out_tray`` are the names of the files that lay in the out-tray.
    """

    backup: str
    made_at: str
    restored_at: str
    out_tray: tuple[str, ...] = ()


def restored(connection: sa.Connection) -> Restored | None:
    """What a restored instance began as, until somebody resumes it; ``None`` for any other."""
    found = _get(connection, "restored")
    facts = json.loads(found) if found else None
    return Restored(**{**facts, "out_tray": tuple(facts["out_tray"])}) if facts else None


def set_restored(connection: sa.Connection, facts: Restored | None) -> None:
    """Begin as a backup or, with ``None``, resume."""
    _put(connection, "restored", json.dumps(asdict(facts)) if facts else "")


def sent_before(connection: sa.Connection) -> frozenset[str]:
    """Numbers of invoices that are known to have been sent in a time of which this instance has no memory."""
    return frozenset(json.loads(_get(connection, "sent-before") or "[]"))


def set_sent_before(connection: sa.Connection, numbers: Collection[str]) -> None:
    _put(connection, "sent-before", json.dumps(sorted(numbers), ensure_ascii=False))


def dns_sd_name(connection: sa.Connection, wanted: str) -> str:
    """The name under which the printer called ``wanted`` was seen last: another one where that was taken."""
    return str(json.loads(_get(connection, "dns-sd-names") or "{}").get(wanted, wanted))


def set_dns_sd_name(connection: sa.Connection, wanted: str, chosen: str) -> None:
    known = json.loads(_get(connection, "dns-sd-names") or "{}")
    _put(connection, "dns-sd-names", json.dumps({**known, wanted: chosen}, ensure_ascii=False))


def first_receipt(connection: sa.Connection) -> int:
    """The lowest number that a new receipt may have."""
    return int(_get(connection, "first-receipt") or 1)


def set_first_receipt(connection: sa.Connection, number: int) -> None:
    _put(connection, "first-receipt", str(number))


def take_unjudged(connection: sa.Connection) -> str:
    """Until when (RFC 3339) events came with a backup whose receipts are not yet decided, once; empty when none did."""
    found = _get(connection, "unjudged")
    if found:
        _put(connection, "unjudged", "")
    return found


def set_unjudged(connection: sa.Connection, until: str) -> None:
    _put(connection, "unjudged", until)


_VALUE = sa.select(instance.c.value).where(instance.c.name == sa.bindparam("wanted"))


def _get(connection: sa.Connection, name: str) -> str:
    return connection.scalar(_VALUE, {"wanted": name}) or ""


def _put(connection: sa.Connection, name: str, value: str) -> None:
    if connection.execute(instance.update().where(instance.c.name == name).values(value=value)).rowcount == 0:
        connection.execute(instance.insert().values(name=name, value=value))
