"""What is announced, without a network: names, TXT records and services."""

from __future__ import annotations

import contextlib
import socket
from dataclasses import replace
from datetime import UTC, datetime
from ipaddress import ip_address

import pytest

from printerd import formats
from printerd.ipp.attributes import attribute
from printerd.ipp.message import Attribute, Group, GroupTag, text, uri
from printerd.listener.dnssd import records
from printerd.listener.dnssd.announcer import way
from printerd.listener.dnssd.avahi import ANY, ByAvahi
from printerd.listener.dnssd.interfaces import Listening, Place, opened
from printerd.listener.dnssd.multicast import ByMulticast, host_name
from printerd.listener.dnssd.records import KEYS, KINDS, cut, label, next_name, services, txt
from printerd.listener.printer import MODEL, Printer, standing

UUID = "6f1f1a6e-7a51-4b52-9f5e-0c3a5d1c7c11"
PRINTER = Printer(
    name="Invoice Printer",
    uuid=UUID,
    language="en",
    operations=(2, 11),
    document_limit=1 << 20,
    document_timeout=60,
    started_at=datetime(2026, 11, 24, tzinfo=UTC),
    console="/",
)
ANYWHERE = "0.0.0.0"  # noqa: S104 - only a name for it
HERE = (Place(2, ip_address("10.0.0.5")), Place(2, ip_address("fd00::5")), Place(3, ip_address("10.1.0.5")))


def said(printer: Printer = PRINTER, *other: Attribute, base: str = "ipp://office.local:8631") -> dict[str, str]:
    """The TXT record of a printer that has other values in these attributes."""
    changed = {one.name for one in other}
    same = (one for one in standing(printer, base, printer.language) if one.name not in changed)
    return dict(one.decode().split("=", 1) for one in txt(KEYS, Group(GroupTag.PRINTER, (*same, *other))))


# Names


@pytest.mark.parametrize(
    ("name", "then"),
    [
        ("Invoice Printer", "Invoice Printer (2)"),
        ("Invoice Printer (2)", "Invoice Printer (3)"),
        ("Invoice Printer (99)", "Invoice Printer (100)"),
        ("Printer (second floor)", "Printer (second floor) (2)"),
        ("é" * 31, "é" * 29 + " (2)"),
    ],
)
def test_a_taken_name_is_counted_up(name: str, then: str) -> None:
    """RFC 6762 section 9: the same name with a number behind it, and never longer than a label may be."""
    assert next_name(name) == then
    assert len(then.encode()) <= records.NAME_BYTES


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("Invoice Printer", "Invoice Printer"),
        ("  two\tlines\n\x00 ", "two lines"),
        ("No. 5, v1.2", "No 5, v1 2"),
        ("e\u0301tage", "étage"),
        ("é" * 40, "é" * 31),
        ("🧾" * 20, "🧾" * 15),
        ("", MODEL),
        (".\n.", MODEL),
    ],
)
def test_a_name_is_one_label_of_dns(given: str, name: str) -> None:
    """Net-Unicode without control characters, 63 bytes at most, cut between two characters; never nothing."""
    assert label(given) == name
    assert len(name.encode()) <= records.NAME_BYTES


@pytest.mark.parametrize("size", range(9))
def test_text_is_cut_between_characters(size: int) -> None:
    """Half a character is none."""
    assert "aé€🧾".startswith(cut("aé€🧾", size)) and len(cut("aé€🧾", size).encode()) <= size


# TXT records


def test_each_key_says_what_the_printer_says() -> None:
    """The record as it is today; what the printer does not have (TLS, a place, Mopria) is left out, not empty."""
    assert said() == {
        "txtvers": "1",
        "qtotal": "1",
        "priority": "50",
        "rp": "ipp/print",
        "ty": MODEL,
        "product": f"({MODEL})",
        "adminurl": "http://office.local:8631/",
        "pdl": ",".join([*formats.FORMATS, formats.UNDECLARED]),
        "kind": "document",
        "UUID": UUID,
        "URF": "V1.4,CP255,W8,SRGB24,RS300-600,DM1,IS1,MT1,OB9,PQ3-4-5",
        "Color": "T",
        "Duplex": "T",
    }
    assert next(iter(said())) == "txtvers", "which is the first one"


def test_what_ipp_everywhere_asks_for_is_there() -> None:
    """PWG 5100.14 section 4.2: adminurl, pdl, rp and UUID; over TLS its version as well."""
    assert {"adminurl", "pdl", "rp", "UUID"} <= set(said())
    assert said(base="ipps://office.local:8632")["TLS"] == "1.2"
    assert said(base="ipps://office.local:8632")["adminurl"] == "https://office.local:8632/"


def test_a_claim_of_the_printer_is_a_key_the_same_day() -> None:
    """With other URF, Mopria or a place among the attributes, the keys say so: nobody keeps a second list."""
    more = said(
        replace(PRINTER, location="2nd floor"),
        attribute("urf-supported", "V1.4", "W8"),
        attribute("mopria-certified", "1.3"),
    )
    assert (more["URF"], more["mopria-certified"], more["note"]) == ("V1.4,W8", "1.3", "2nd floor")


def test_the_record_obeys_its_limits() -> None:
    """Keys of 9 characters at most, strings of 255 bytes, less than 512 in all (RFC 6763 section 6)."""
    strings = txt(KEYS, Group(GroupTag.PRINTER, standing(PRINTER, f"ipp://{'h' * 63}.local:8631", "en")))
    assert all(len(one.partition(b"=")[0]) <= 9 for one in strings)
    assert all(len(one) <= records.STRING_BYTES for one in strings)
    assert sum(len(one) + 1 for one in strings) < 512


def test_what_is_too_long_gives_way_as_it_can() -> None:
    """Text is cut at a character, a list at a member, an address is left out: half of it would lead astray."""
    formats_ = [f"application/vnd.example-{n}" for n in range(30)]
    group = Group(
        GroupTag.PRINTER,
        (
            Attribute.of("printer-location", text("é" * 300)),
            attribute("document-format-supported", *formats_),
            Attribute.of("printer-more-info", uri(f"http://{'h' * 300}/")),
        ),
    )
    found = dict(one.decode().split("=", 1) for one in txt(KEYS, group))
    assert found["note"] == "é" * 125
    assert found["pdl"].split(",") == formats_[: len(found["pdl"].split(","))] and len(found["pdl"]) > 200
    assert "adminurl" not in found


# Services


def test_the_services_are_rows() -> None:
    """LPD holds the name with port 0; a door more is a row more."""
    found = services(PRINTER, "office.local", {"ipp": 8631, "ipps": 8632, "http": 8631})
    assert [(one.type, one.port, one.subtypes) for one in found] == [
        ("_printer._tcp", 0, ()),
        ("_ipp._tcp", 8631, ("_universal", "_print")),
        ("_ipps._tcp", 8632, ("_universal", "_print")),
        ("_http._tcp", 8631, ("_printer",)),
    ]
    plain, secured = (dict(s.decode().split("=", 1) for s in one.txt) for one in found[1:3])
    assert "TLS" not in plain and secured == plain | {"TLS": "1.2", "adminurl": "https://office.local:8632/"}
    assert all(len(kind.type.split(".")[0]) <= 16 for kind in KINDS.values()), "RFC 6335 section 5.1: 15 and the _"


# Ways


@pytest.mark.parametrize(
    ("address", "dual", "owner", "chosen"),
    [
        (ANYWHERE, False, ":1.5", ByAvahi(":1.5", ANY, 0)),
        ("::", True, ":1.5", ByAvahi(":1.5", ANY, ANY)),
        ("::", False, ":1.5", ByAvahi(":1.5", ANY, 1)),
        ("10.1.0.5", False, ":1.5", ByAvahi(":1.5", 3, 0)),
        ("10.9.9.9", False, ":1.5", None),
        (ANYWHERE, False, "", ByMulticast((HERE[0], HERE[2]), "h.local")),
        ("::", True, "", ByMulticast(HERE, "h.local")),
        ("fd00::5", False, "", ByMulticast((HERE[1],), "h.local")),
        ("10.9.9.9", False, "", None),
    ],
)
def test_the_way_follows_from_where_it_listens(address: str, dual: bool, owner: str, chosen: object) -> None:
    """By Avahi where it runs, else by itself; only where a client would be answered."""
    assert way(Listening(ip_address(address), 8631, dual), owner, HERE, "h.local") == chosen


@pytest.mark.parametrize(
    ("family", "host", "only", "versions"),
    [
        (socket.AF_INET, "127.0.0.1", False, {4}),
        (socket.AF_INET6, "::1", False, {6}),
        (socket.AF_INET6, "::", False, {4, 6}),
        (socket.AF_INET6, "::", True, {6}),
    ],
)
def test_a_socket_says_who_reaches_it(family: int, host: str, only: bool, versions: set[int]) -> None:
    """IPv6's wildcard takes IPv4 as well, unless the socket says otherwise."""
    with socket.socket(family, socket.SOCK_STREAM) as listening:
        if only:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listening.bind((host, 0))
        place = Listening.of(listening)
        assert place is not None and place.versions == versions and place.port > 0
    with socket.socket(socket.AF_UNIX) as local:
        assert Listening.of(local) is None


def test_what_others_reach_is_announced() -> None:
    """The first socket that is open to others, and those that listen at the same address; loopback and Unix are not."""
    with contextlib.ExitStack() as stack:

        def bound(family: int, *place: object) -> socket.socket:
            one = stack.enter_context(socket.socket(family))
            if place:
                one.bind(place)
            return one

        near, far = bound(socket.AF_INET, "127.0.0.1", 0), bound(socket.AF_INET, ANYWHERE, 0)
        also, local = bound(socket.AF_INET, ANYWHERE, 0), bound(socket.AF_UNIX)
        six = bound(socket.AF_INET6, "::", 0)
        assert list(opened({"ipp": near, "ipps": far})) == ["ipps"]
        assert list(opened({"ipp": far, "ipps": also})) == ["ipp", "ipps"]
        assert list(opened({"ipp": far, "ipps": six})) == ["ipp"]
        assert opened({"ipp": near, "ipps": local}) == {}


def test_an_instance_has_a_host_name_of_its_own() -> None:
    """It follows from the UUID, so that no other machine can have it."""
    assert host_name(UUID) == "invoice-printer-6f1f1a6e.local"
