"""What is announced: names, services and TXT records of DNS-SD (RFC 6763), from the printer's own attributes.

One rule: nothing is said here that the printer does not say of itself over
IPP. A key stands for an attribute, and is left out while the printer does not
have it: the day it is certified by Mopria, ``mopria-certified`` is there by itself.

BPS is the Bonjour Printing Specification 1.2.1; IPP Everywhere is PWG 5100.14
section 4.2, which adds no key to those of BPS.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from printerd.ipp.message import Group, GroupTag
from printerd.listener.printer import MODEL, Printer, standing

NAME_BYTES: Final = 63
"""The longest name of a service: one label of DNS, in UTF-8 (RFC 6763 section 4.1.1)."""
STRING_BYTES: Final = 255
"""The longest ``key=value`` of a TXT record (RFC 6763 section 6.1)."""

_SUFFIX: Final = re.compile(r" \((\d{1,9})\)\Z")


class Taken(Exception):
    """Another service on the network has this name already (RFC 6762 section 9)."""


# Names


def label(name: str) -> str:
    """A name as it is announced: Net-Unicode without control characters, 63 bytes at most (RFC 6763 section 4.1.1).

    Dots become spaces. They would be allowed, but one of the two ways takes them for the end of a label.
    """
    plain = "".join(" " if character == "." or not character.isprintable() else character for character in name)
    return cut(unicodedata.normalize("NFC", " ".join(plain.split())), NAME_BYTES) or MODEL


def cut(text: str, size: int) -> str:
    """The text in ``size`` bytes of UTF-8 at most, cut between two characters."""
    return text.encode()[:size].decode(errors="ignore").rstrip()


def next_name(name: str) -> str:
    """The name to try when ``name`` is taken: "Printer", "Printer (2)", "Printer (3)" (RFC 6762 section 9)."""
    found = _SUFFIX.search(name)
    stem, number = (name[: found.start()], int(found[1]) + 1) if found else (name, 2)
    suffix = f" ({number})"
    return cut(stem, NAME_BYTES - len(suffix)) + suffix


# TXT records


def _by_character(value: str, size: int) -> str:
    return cut(value, size)


def _by_member(value: str, size: int) -> str:
    """A list that is too long loses its last members: those that are preferred come first."""
    while len(value.encode()) > size:
        value = value.rpartition(",")[0]
    return value


def _whole(value: str, size: int) -> str:
    """Half of it would be wrong."""
    return value if len(value.encode()) <= size else ""


@dataclass(frozen=True, slots=True)
class Key:
    """What a key of a TXT record says of a printer, and how a value that is too long gives way."""

    value: Callable[[Group], str]
    shortened: Callable[[str, int], str] = _whole


def _fixed(value: str) -> Callable[[Group], str]:
    return lambda _printer: value


def _said(attribute: str) -> Callable[[Group], str]:
    return lambda printer: ",".join(printer.texts(attribute))


def _resource(printer: Group) -> str:
    """The path of the printer's address, without the slash that it begins with (BPS "rp")."""
    return urlsplit(printer.text("printer-uri-supported")).path.lstrip("/")


def _product(printer: Group) -> str:
    """As PostScript says its own: in parentheses (BPS "product")."""
    return f"({printer.text('printer-make-and-model')})"


def _uuid(printer: Group) -> str:
    return printer.text("printer-uuid").removeprefix("urn:uuid:")


def _truth(true: Callable[[Group], bool]) -> Callable[[Group], str]:
    return lambda printer: "T" if true(printer) else "F"


def _has_duplex(printer: Group) -> bool:
    return any(sides.startswith("two-sided") for sides in printer.texts("sides-supported"))


def _tls(printer: Group) -> str:
    """The version that clients can count on (BPS "TLS"); none where the printer speaks none."""
    return "1.2" if printer.text("uri-security-supported") == "tls" else ""


KEYS: Final[Mapping[str, Key]] = {
    "txtvers": Key(_fixed("1")),  # the first one, says BPS
    "qtotal": Key(_fixed("1")),
    "priority": Key(_fixed("50")),  # the middle of 0 to 99: nothing makes this queue better than another
    "rp": Key(_resource),
    "ty": Key(_said("printer-make-and-model"), _by_character),
    "product": Key(_product),
    "note": Key(_said("printer-location"), _by_character),
    "adminurl": Key(_said("printer-more-info")),
    "pdl": Key(_said("document-format-supported"), _by_member),
    "kind": Key(_said("printer-kind"), _by_member),
    "UUID": Key(_uuid),
    "URF": Key(_said("urf-supported"), _by_member),
    "Color": Key(_truth(lambda printer: bool(printer.number("color-supported")))),
    "Duplex": Key(_truth(_has_duplex)),
    "TLS": Key(_tls),
    "mopria-certified": Key(
        _said("mopria-certified")
    ),  # longer than the 9 characters that are advised, but the key's name
}
"""The keys of a printer's TXT record, in the order in which they are told."""


def txt(keys: Mapping[str, Key], printer: Group) -> tuple[bytes, ...]:
    """The strings of a TXT record: ``key=value``, each 255 bytes at most; a key without a value is left out."""
    strings = []
    for name, key in keys.items():
        if value := key.shortened(key.value(printer), STRING_BYTES - len(name) - 1):
            strings.append(f"{name}={value}".encode())
    return tuple(strings)


# Services


@dataclass(frozen=True, slots=True)
class Service:
    """One service of the printer: its type (``_ipp._tcp``), subtypes, TCP port and the strings of its TXT record.

    Port 0 offers nothing: the service is there so that nobody else takes its name.
    """

    type: str
    subtypes: tuple[str, ...]
    port: int
    txt: tuple[bytes, ...]


Services = Callable[[str], tuple[Service, ...]]
"""The services of a printer by the name of the host on which they are."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of door, as DNS-SD names it (RFC 6763 section 7), and what its TXT record tells."""

    type: str
    keys: Mapping[str, Key]
    subtypes: tuple[str, ...] = ()


FLAGSHIP: Final = Service("_printer._tcp", (), 0, ())
"""LPD holds the name for all services (BPS "Flagship Naming"). Its own door is not announced: who discovers prints by
IPP, and that one is for senders that are told an address.
"""
KINDS: Final[Mapping[str, Kind]] = {
    "ipp": Kind("_ipp._tcp", KEYS, ("_universal", "_print")),
    "ipps": Kind("_ipps._tcp", KEYS, ("_universal", "_print")),
    "http": Kind("_http._tcp", {}, ("_printer",)),
}
"""The kinds of doors by their scheme. ``_universal`` is AirPrint's, ``_print`` IPP Everywhere's, ``_printer`` marks a
page as a printer's, as CUPS and PAPPL do."""


def services(printer: Printer, host: str, doors: Mapping[str, int]) -> tuple[Service, ...]:
    """The services of a printer on ``host`` whose doors are at these TCP ports, by their scheme. All bear one name."""
    return (FLAGSHIP, *(_service(printer, host, scheme, port) for scheme, port in doors.items()))


def _service(printer: Printer, host: str, scheme: str, port: int) -> Service:
    kind = KINDS[scheme]
    described = Group(GroupTag.PRINTER, standing(printer, f"{scheme}://{host}:{port}", printer.language))
    return Service(kind.type, kind.subtypes, port, txt(kind.keys, described))
