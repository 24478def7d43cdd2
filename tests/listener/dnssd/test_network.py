"""Seen from another machine: avahi-browse and ippfind there, our service here, with an Avahi of its own and without."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from printerd.ipp.attributes import attribute
from printerd.ipp.codec import decode, encode
from printerd.ipp.message import Group, GroupTag, Message
from printerd.ipp.registry import Operation, Status
from tests.instance import until

from .network import PORT, Machine, Process, network

NAME = "Invoice Printer"
WAYS = ("avahi", "multicast")


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[dict[str, Machine]]:
    """A client with Avahi, and two machines on which nothing runs yet."""
    with network(tmp_path, ["client", "office", "branch"]) as found:
        found["client"].bus()
        found["client"].avahi()
        yield found


@pytest.fixture
def client(machines: dict[str, Machine]) -> Machine:
    return machines["client"]


@pytest.fixture
def office(machines: dict[str, Machine]) -> Machine:
    return machines["office"]


def prepared(machine: Machine, way: str) -> str:
    """What announces on that machine; the host name that others see then, as a pattern."""
    if way == "multicast":
        return r"invoice-printer-[0-9a-f]{8}\.local"
    machine.bus()
    machine.avahi()
    return rf"{machine.name}\.local"


def asked(client: Machine, office: Machine, host: str) -> Group:
    """The Printer's attributes for a client that calls it by ``host``."""
    return sent(client, office, host, Operation.GET_PRINTER_ATTRIBUTES).first(GroupTag.PRINTER)


def sent(client: Machine, office: Machine, host: str, operation: Operation, *groups: Group) -> Message:
    """The answer to a client that calls the printer by ``host``."""
    given = (
        attribute("attributes-charset", "utf-8"),
        attribute("attributes-natural-language", "en"),
        attribute("printer-uri", f"ipp://{host}:{PORT}/ipp/print"),
    )
    question = Message((2, 0), operation, 1, (Group(GroupTag.OPERATION, given), *groups))
    body = client.folder / "question"
    body.write_bytes(encode(question))
    answer = client.folder / "answer"
    told = client.run(
        f"curl --silent --show-error --output {answer} --write-out %{{http_code}} --data-binary @{body}"
        f" --header 'Content-Type: application/ipp' --header 'Host: {host}:{PORT}'"
        f" http://{office.address}:{PORT}/ipp/print"
    )
    assert told == "200", answer.read_text("utf-8", "replace")
    return decode(answer.read_bytes())


def logged(service: Process, words: str) -> list[str]:
    """The events of the service's log that have these words."""
    lines = [line for line in service.said().splitlines() if line.startswith("{")]
    events = [json.loads(line)["event"] for line in lines]
    return [event for event in events if words in event]


@pytest.mark.parametrize("way", WAYS)
def test_it_is_found_and_is_what_it_says(client: Machine, office: Machine, tmp_path: Path, way: str) -> None:
    """Found by type and by subtype; each key of the TXT record says what the printer says of itself over IPP, called by
    the name that was announced; LPD is there with port 0, and the console as a page of a printer.
    """
    host = prepared(office, way)
    office.printer(tmp_path / "state")
    found = client.sees(NAME)
    assert re.fullmatch(host, found.host) and (found.address, found.port) == (office.address, PORT)
    printer = asked(client, office, found.host)
    assert found.txt == {
        "txtvers": "1",
        "qtotal": "1",
        "priority": "50",
        "rp": "ipp/print",
        "ty": printer.text("printer-make-and-model"),
        "product": f"({printer.text('printer-make-and-model')})",
        "adminurl": printer.text("printer-more-info"),
        "pdl": ",".join(printer.texts("document-format-supported")),
        "kind": printer.text("printer-kind"),
        "UUID": printer.text("printer-uuid").removeprefix("urn:uuid:"),
        "URF": ",".join(printer.texts("urf-supported")),
        "Color": "T",
        "Duplex": "T",
    }
    assert found.txt["adminurl"] == f"http://{found.host}:{PORT}/"
    assert printer.text("printer-dns-sd-name") == NAME
    for subtype in ("_universal._sub._ipp._tcp", "_print._sub._ipp._tcp"):
        assert client.sees(NAME, subtype).port == PORT
    assert client.sees(NAME, "_printer._tcp").port == 0
    assert client.sees(NAME, "_printer._sub._http._tcp").port == PORT
    assert client.sees(NAME, "_http._tcp").port == PORT
    assert f"ipp://{found.host}:{PORT}/ipp/print" in client.run("ippfind -T 3 _ipp._tcp").split()
    page = f"curl --silent --output /dev/null --write-out %{{http_code}} --header 'Host: {found.host}:{PORT}'"
    assert client.run(f"{page} http://{office.address}:{PORT}/login/none") != "421"


@pytest.mark.parametrize(
    ("way", "number"), [("avahi", signal.SIGTERM), ("avahi", signal.SIGKILL), ("multicast", signal.SIGTERM)]
)
def test_it_says_goodbye(client: Machine, office: Machine, tmp_path: Path, way: str, number: int) -> None:
    """It is gone from every list within seconds of its end; by Avahi even when it was killed."""
    prepared(office, way)
    service = office.printer(tmp_path / "state")
    client.sees(NAME)
    watching = client.start("avahi-browse", "--parsable", "--no-db-lookup", "_ipp._tcp")
    until(lambda: "+;" in watching.said(), 10)
    assert service.stop(number) in (0, -number)
    until(lambda: watching.said().count("\n-;") == watching.said().count("+;"), 5)


@pytest.mark.parametrize("way", WAYS)
def test_a_name_that_is_taken_is_left_to_who_has_it(client: Machine, office: Machine, tmp_path: Path, way: str) -> None:
    """Another printer has our name: ours is "(2)", over IPP too, and stays so when it starts without the other."""
    prepared(office, way)
    other = client.start("avahi-publish", "--service", NAME, "_ipp._tcp", "9999")
    until(lambda: "Established" in other.said(), 10)
    service = office.printer(tmp_path / "state")
    found = client.sees(f"{NAME} (2)")
    assert asked(client, office, found.host).text("printer-dns-sd-name") == f"{NAME} (2)"
    assert {one.port for one in client.browse() if one.name == NAME} == {9999}
    assert [one.name for one in client.browse("_printer._tcp")] == [f"{NAME} (2)"], "all services bear one name"
    other.stop()
    service.stop()
    office.printer(tmp_path / "state")
    assert client.sees(f"{NAME} (2)").port == PORT
    assert NAME not in [one.name for one in client.browse()]


def test_two_that_start_at_once_end_with_two_names(machines: dict[str, Machine], tmp_path: Path) -> None:
    """Both want the same name and none was first: one of them keeps it, the other is "(2)", and nobody sees a third."""
    for name in ("office", "branch"):
        machines[name].printer(tmp_path / name)
    for name in (NAME, f"{NAME} (2)"):
        machines["client"].sees(name)
    addresses = {one.name: one.address for one in machines["client"].browse()}
    assert sorted(addresses) == [NAME, f"{NAME} (2)"]
    assert set(addresses.values()) == {machines["office"].address, machines["branch"].address}


@pytest.mark.parametrize("way", WAYS)
def test_two_networks_that_become_one(client: Machine, office: Machine, tmp_path: Path, way: str) -> None:
    """Each had a printer of that name; once they see each other, one of the two gives way, and only one. Where
    nobody asks first, it is the one whose record comes first in order (RFC 6762 section 8.2): ours.
    """
    client.run("ip link set port-office down")
    prepared(office, way)
    service = office.printer(tmp_path / "state")
    until(lambda: logged(service, "is announced as Invoice Printer on"), 20)
    other = client.start("avahi-publish", "--service", NAME, "_ipp._tcp", "9999")
    until(lambda: "Established" in other.said(), 10)
    client.run("ip link set port-office up")
    ours = {NAME: 9999, f"{NAME} (2)": PORT}
    theirs = {NAME: PORT, f"{NAME} #2": 9999}  # as Avahi counts
    ends = (ours,) if way == "multicast" else (ours, theirs)
    until(lambda: {one.name: one.port for one in client.browse()} in ends, 60)


def test_avahi_is_followed(client: Machine, office: Machine, tmp_path: Path) -> None:
    """Without a bus it speaks itself; Avahi appears, dies and comes back: the printer is announced each time."""
    service = office.printer(tmp_path / "state")
    assert client.sees(NAME).host.startswith("invoice-printer-")
    office.bus()
    for times in range(1, 4):
        until(lambda: len(logged(service, "multicast DNS")) == times, 30)  # noqa: B023 - called at once
        assert client.sees(NAME).host.startswith("invoice-printer-")
        daemon = office.avahi()
        until(lambda: [one.host for one in client.browse()] == ["office.local"], 60)
        daemon.stop(signal.SIGKILL if times == 1 else signal.SIGTERM)


def test_addresses_are_followed(client: Machine, office: Machine, tmp_path: Path) -> None:
    """The only address goes, and another one comes: nobody is sent to the old one, everybody to the new one."""
    office.run(f"ip address del {office.address}/24 dev eth0")
    office.printer(tmp_path / "state")
    for address in ("10.77.0.20", "10.77.0.21"):
        office.run(f"ip address add {address}/24 dev eth0")
        until(lambda: [one.address for one in client.browse()] == [address], 30)  # noqa: B023 - called at once
        office.run(f"ip address del {address}/24 dev eth0")


def test_one_address_is_announced_on_its_interface_alone(client: Machine, office: Machine, tmp_path: Path) -> None:
    """A printer that listens at one address of two is announced at that one."""
    office.run("ip link add eth1 type bridge")
    office.run("ip link set eth1 up")
    office.run("ip address add 10.78.0.1/24 dev eth1")
    office.printer(tmp_path / "state", listen__ipp=f"{office.address}:{PORT}")
    assert client.sees(NAME).address == office.address
    records = client.run("avahi-browse --resolve --terminate --parsable _ipp._tcp")
    assert "10.78.0.1" not in records


@pytest.mark.parametrize("way", WAYS)
def test_over_ipv6_as_well(client: Machine, office: Machine, tmp_path: Path, way: str) -> None:
    """A printer that listens on IPv6's wildcard is found over both, with an address of each that leads somewhere."""
    for machine, address in ((client, "fd77::1"), (office, "fd77::2")):
        machine.run(f"ip address add {address}/64 dev eth0 nodad")
    prepared(office, way)
    office.printer(tmp_path / "state", listen__ipp=f"[::]:{PORT}")
    assert client.sees(NAME).address == office.address
    host = client.sees(NAME).host
    assert client.run(f"avahi-resolve-host-name -6 {host}").split() == [host, "fd77::2"]
    assert [one.port for one in client.browse(over="IPv6") if one.name == NAME] == [PORT]


@pytest.mark.parametrize("way", WAYS)
def test_what_an_operator_sets_is_announced(client: Machine, office: Machine, tmp_path: Path, way: str) -> None:
    """A place that is set over IPP is in the TXT record soon; the name stays."""
    prepared(office, way)
    office.printer(tmp_path / "state", listen__operators=[client.address])
    assert "note" not in client.sees(NAME).txt
    place = Group(GroupTag.PRINTER, (attribute("printer-location", "Comptoir 2"),))
    answer = sent(client, office, office.address, Operation.SET_PRINTER_ATTRIBUTES, place)
    assert answer.code == Status.SUCCESSFUL_OK
    until(lambda: client.sees(NAME).txt.get("note") == "Comptoir 2", 30)
    assert [one.name for one in client.browse()] == [NAME]


@pytest.mark.parametrize(
    ("settings", "told"),
    [({"listen__ipp": f"127.0.0.1:{PORT}"}, 1), ({"listen__dnssd": False}, 0)],
)
def test_what_is_not_open_is_not_announced(
    client: Machine, office: Machine, tmp_path: Path, settings: dict[str, object], told: int
) -> None:
    """On loopback nothing is announced, and the log says so once; turned off, it does not even say that."""
    service = office.printer(tmp_path / "state", **settings)
    heard = client.run("timeout --preserve-status 4 avahi-browse --parsable _ipp._tcp")
    assert heard == ""
    assert len(logged(service, "not announced")) == told
    assert ":5353" not in office.run("ss -lun")


def test_the_name_is_a_setting(client: Machine, office: Machine, tmp_path: Path) -> None:
    """It is announced under listen.dnssd_name, which may be in any language and follows the settings at a restart."""
    service = office.printer(tmp_path / "state", listen__dnssd_name="Factures – Comptabilité")
    client.sees("Factures – Comptabilité")
    service.stop()
    office.printer(tmp_path / "state", listen__dnssd_name="Rechnungen Müller & Söhne")
    client.sees("Rechnungen Müller & Söhne")
    assert [one.name for one in client.browse()] == ["Rechnungen Müller & Söhne"]


def test_an_avahi_that_refuses_is_told_once_and_not_gone_around(
    client: Machine, office: Machine, tmp_path: Path
) -> None:
    """Where the administrator lets nobody announce, nothing is announced; the log says once what to set, and prints
    are taken.
    """
    office.bus()
    office.avahi(closed=True)
    service = office.printer(tmp_path / "state")
    until(lambda: logged(service, "does not let services be announced"), 20)
    assert client.run("timeout --preserve-status 3 avahi-browse --parsable _ipp._tcp") == ""
    (words,) = logged(service, "does not let services be announced")
    assert "disable-user-service-publishing=no" in words
    assert asked(client, office, office.address).text("printer-name") == NAME


def test_a_bus_that_says_nothing_delays_nobody(client: Machine, office: Machine, tmp_path: Path) -> None:
    """Behind the bus's socket nobody answers: the printer serves at once, and is announced all the same."""
    office.run("mkdir /run/dbus")
    deaf = (
        "import socket, time; s = socket.socket(1); s.bind('/run/dbus/system_bus_socket'); s.listen(); time.sleep(99)"
    )
    office.start("python3", "-c", deaf)
    until(lambda: office.run("ls /run/dbus").strip(), 10)
    service = office.printer(tmp_path / "state")
    assert asked(client, office, office.address).text("printer-name") == NAME
    assert client.sees(NAME, seconds=40).port == PORT
    assert len(logged(service, "system bus")) == 1
