"""How to add the printer: the commands carry this machine's names, and the documents show the same ones."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path

import pytest

from printerd.config import Listen
from printerd.console import texts, ways
from tests.console.conftest import NAME, Console

CLIENTS = Path(__file__).parents[2] / "docs" / "clients.md"
FAR = ways.Place({"ipp": "0.0.0.0:8631", "raw": "[2001:db8::7]:9100"}, ["printer.example"])


def by_name(place: ways.Place, called: str) -> dict[str, ways.Told]:
    return {one.way.name: one for one in place.told(called)}


def test_commands_carry_the_name_that_the_reader_uses() -> None:
    """He has just reached the machine by it."""
    assert by_name(FAR, "facturation.lan")["cups"].commands[0] == (
        "lpadmin -p invoices -E -v ipp://facturation.lan:8631/ipp/print -m everywhere"
    )


@pytest.mark.parametrize("called", ["localhost", "127.0.0.1", "::1"])
def test_who_sits_at_the_machine_is_told_its_name_for_others(called: str) -> None:
    """The commands are for other machines."""
    assert by_name(FAR, called)["windows"].host == "printer.example"
    assert by_name(FAR, called)["raw"].commands == ("nc -N printer.example 9100 < FA-2026-0042.ps",)


@pytest.mark.parametrize("address", ["127.0.0.1:8631", "[::1]:8631"])
def test_a_printer_for_this_machine_alone_is_told_so(address: str) -> None:
    """A name of the network would lead nowhere."""
    place = ways.Place({"ipp": address}, ["printer.example"])
    told = by_name(place, "printer.example")["macos"]
    assert (told.host, told.port, place.is_listening_near("ipp")) == ("localhost", "8631", True)


def test_open_ways_come_first() -> None:
    told = FAR.told("localhost")
    assert [one.open for one in told] == sorted((one.open for one in told), reverse=True)
    assert {one.way.door for one in told if one.open} == {"ipp", "raw"}


@pytest.mark.parametrize("language", ["en", "fr"])
def test_the_page_shows_every_way(console: Console, language: str) -> None:
    """Open ones with steps and commands, the others with the setting that opens them."""
    console.enter()
    page = unescape(console.get("/add-printer", language).text).replace(texts.NO_BREAK, " ")
    for one in ways.Place({"ipp": "0.0.0.0:8631", "lpd": "192.0.2.10:515"}, [NAME]).told(NAME):
        assert texts.text(language, f"way.{one.way.name}").replace(texts.NO_BREAK, " ") in page
        assert all(command in page for command in one.commands) is one.open
    assert f"http://{NAME}:8631/ipp/print" in page
    assert "listen.raw" in page and "listen.backend" in page and "listen.lpd" not in page
    assert 'aria-current="page"' in page


def test_nobody_is_told_without_a_login(console: Console) -> None:
    assert console.get("/add-printer").status_code == 404


def test_the_settings_that_are_named_exist() -> None:
    named = {
        found
        for table in texts.TEXTS.values()
        for words in table.values()
        for found in re.findall(r"listen\.(\w+)", words)
    }
    assert {"ipp", "lpd", "raw", "networks", "backend"} == named <= set(Listen.model_fields)


def test_the_documents_show_the_same_commands() -> None:
    """With HOST and the usual ports in the place of ours."""
    written = CLIENTS.read_text()
    doors = {"ipp": "0.0.0.0:8631", "backend": "unix:///x", "lpd": "192.0.2.10:515", "raw": "192.0.2.10:9100"}
    commands = {command for one in ways.Place(doors, ["HOST"]).told("localhost") for command in one.commands}
    assert {command for command in commands if command not in written} == set()
