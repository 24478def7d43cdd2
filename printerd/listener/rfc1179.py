"""The line printer daemon protocol (RFC 1179) as values: its command lines and its control file.

One rule: a name that a peer sends is a key and a word for people, never a path;
what does not have the form of the standard is refused by :class:`ValueError`. Pure: bytes in, values out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import Final

from printerd.listener.framing import text

LINE: Final = 1024
"""Bytes of a command, or of a line of a control file, at most; the standard's operands are far shorter."""
CONTROL: Final = 64 * 1024
"""Bytes of a control file at most."""
FILES: Final = 100
"""Data files of a job at most."""


class Command(IntEnum):
    """RFC 1179 section 5."""

    PRINT_WAITING = 1
    RECEIVE_JOB = 2
    SHORT_STATE = 3
    LONG_STATE = 4
    REMOVE_JOBS = 5


class Part(IntEnum):
    """The subcommands of a job that is received (RFC 1179 section 6)."""

    ABORT = 1
    CONTROL_FILE = 2
    DATA_FILE = 3


@dataclass(frozen=True, slots=True)
class Order:
    """A command with its queue, and the words behind it."""

    command: Command
    queue: str
    words: tuple[str, ...] = ()


UNCOUNTED: Final = frozenset({0, 125_899_906_843_000, 999_999_999_999})
"""Lengths of data files that say that nobody has counted: by custom 0, Windows without "LPR byte counting", CUPS with
``mode=stream``. The file goes on until the close."""


@dataclass(frozen=True, slots=True)
class Announced:
    """A subcommand, and the file that follows: ``size`` is in bytes, ``None`` when nobody has counted."""

    part: Part
    size: int | None = None
    name: str = ""


@dataclass(frozen=True, slots=True)
class Printed:
    """A data file that the control file wants printed."""

    name: str
    kind: str
    copies: int = 1
    source: str = ""
    """N: its name at the sender."""


@dataclass(frozen=True, slots=True)
class Control:
    """A control file (RFC 1179 section 7), as it was sent: ``host`` is H, ``user`` P or else L, ``title`` J."""

    host: str = ""
    user: str = ""
    title: str = ""
    files: Mapping[str, Printed] = field(default_factory=dict)


TAKEN: Final = frozenset("flopr")
"""Text, bytes as they are, PostScript, text for ``pr``, Fortran: all of them are looked at to know what they are."""
KINDS: Final = TAKEN | frozenset("cdgntv")
"""The lines that print (sections 7.17 to 7.27). The others are CIF, DVI, plot, troff and raster files."""
_NAMES: Final[Mapping[Part, re.Pattern[bytes]]] = {
    Part.CONTROL_FILE: re.compile(rb"cf[A-Za-z][!-.0-\[\]-~]{1,255}"),
    Part.DATA_FILE: re.compile(rb"df[A-Za-z][!-.0-\[\]-~]{1,255}"),
}
"""cfA123host, dfA123host: printable, and without a slash of either kind. What follows the letter differs by client."""


def order(line: bytes) -> Order:
    """A command line (section 5). Raises :class:`ValueError`."""
    found = _COMMAND.fullmatch(line)
    if found is None or len(line) > LINE:
        raise ValueError("what no line printer client says")
    queue, *words = re.split("[ \t]+", text(found[2]).strip(" \t"))
    return Order(Command(found[1][0]), queue, tuple(words))


_COMMAND = re.compile(rb"([\x01-\x05])([!-\xff][ \t!-\xff]*)\s*")


def announced(line: bytes) -> Announced:
    """A subcommand (section 6). Raises :class:`ValueError`, for a size below 0 or beyond all sizes too."""
    if line[:1] == bytes((Part.ABORT,)):
        return Announced(Part.ABORT)
    found = _SUBCOMMAND.fullmatch(line)
    if found is None or len(line) > LINE:
        raise ValueError("no subcommand of a job")
    part, size = Part(found[1][0]), int(found[2])
    if not _NAMES[part].fullmatch(found[3]):
        raise ValueError("a file name that no line printer client gives")
    if part is Part.CONTROL_FILE and not 0 < size <= CONTROL:
        raise ValueError(f"a control file of {size} bytes")
    return Announced(part, None if size in UNCOUNTED else size, text(found[3]))


_SUBCOMMAND = re.compile(rb"([\x02\x03])(\d{1,18}) +(\S+)\s*")


def control(octets: bytes) -> Control:
    """A control file (section 7). Lines that say nothing to us are left out. Raises :class:`ValueError`."""
    told: dict[str, str] = {}
    files: dict[str, Printed] = {}
    current = ""
    for line in octets.split(b"\n"):
        if len(line) > LINE:
            raise ValueError("a control file with a line without end")
        letter, value = text(line[:1]), line[1:].rstrip(b"\r")
        if letter in KINDS:
            current = _name(value)
            known = files.setdefault(current, Printed(current, letter, 0))
            files[current] = replace(known, copies=known.copies + 1)
        elif letter == "N" and current:
            files[current] = replace(files[current], source=text(value))
        else:
            told.setdefault(letter, text(value))
    if not 0 < len(files) <= FILES:
        raise ValueError(f"a control file that prints {len(files)} files")
    return Control(told.get("H", ""), told.get("P") or told.get("L", ""), told.get("J") or told.get("N", ""), files)


def _name(value: bytes) -> str:
    if not _NAMES[Part.DATA_FILE].fullmatch(value):
        raise ValueError("a control file that prints what is no data file")
    return text(value)
