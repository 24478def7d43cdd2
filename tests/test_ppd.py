"""The driver of the CUPS queue: what it offers is what the printer takes, and CUPS finds no fault in it."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from printerd.choices import COPY_TO, DEFAULTS, ROUTE, TEMPLATE, Way
from printerd.cups_backend import DISCOVERY, KEPT
from printerd.listener.printer import OPTIONS
from tools import ppd

CHOICES = """
import cups
ppd = cups.PPD({file!r})
ppd.localize()
size = ppd.findOption("PageSize")
print(size.text, size.defchoice, *(choice["text"] for choice in size.choices), sep="|")
"""


def test_it_is_what_its_source_makes() -> None:
    """Nobody edits the file: python tools/ppd.py writes it."""
    assert ppd.PAGE.read_text("utf-8") == ppd.page()


def test_cups_finds_no_fault() -> None:
    """cupstestppd: no failure, and no warning either."""
    done = subprocess.run(["cupstestppd", "-v", ppd.PAGE], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout
    assert re.findall(r"FAIL|WARN", done.stdout) == []


@pytest.mark.parametrize(
    ("language", "shown"),
    [
        ("C", "Page Size|A4|A4|US Letter|A5|A3|US Legal|4 x 6 in"),
        ("fr_FR.UTF-8", "Format du papier|A4|A4|Lettre US|A5|A3|Légal US|10 x 15 cm"),
    ],
)
def test_papers_are_shown_in_two_languages(language: str, shown: str) -> None:
    """As libcups hands them to print dialogs: those of the IPP printer, A4 by default."""
    code = CHOICES.format(file=str(ppd.PAGE))
    environment = {"LANG": language, "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, encoding="utf-8", env=environment, check=True
    )
    assert done.stdout.strip() == shown
    assert len(ppd.sizes()) == len(OPTIONS["media"].supported)


@pytest.mark.parametrize(
    ("language", "shown"),
    [
        (
            "C",
            "Delivery|as-customer|As the customer's record says|By mail|On paper|By mail and on paper|Hold for review",
        ),
        (
            "fr_FR.UTF-8",
            "Envoi|as-customer|Selon la fiche du client|Par courriel|Sur papier|Par courriel et sur papier"
            "|Retenir pour vérification",
        ),
    ],
)
def test_choices_are_shown_in_two_languages(language: str, shown: str) -> None:
    """With the name and the words of the IPP attribute, for that is what the backend hands on."""
    code = CHOICES.format(file=str(ppd.PAGE)).replace("PageSize", ROUTE)
    environment = {"LANG": language, "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, encoding="utf-8", env=environment, check=True
    )
    assert done.stdout.strip() == shown


def test_every_choice_may_be_made() -> None:
    """The first word of each is what goes without saying; what a file cannot know is written by hand."""
    offered = {name: re.findall(rf"^\*{name} ([\w-]+)/", ppd.page(), re.MULTILINE) for name in DEFAULTS}
    assert offered == {ROUTE: list(Way), TEMPLATE: ["automatic"], COPY_TO: ["none"]}
    assert {name: words[0] for name, words in offered.items()} == DEFAULTS
    assert all(KEPT.fullmatch(name) for name in offered)
    written = set(re.findall(r"^\*Custom(\S+) True", ppd.page(), re.MULTILINE))
    assert written == {TEMPLATE, COPY_TO}


def test_postscript_is_cheaper_than_pdf() -> None:
    """Else CUPS turns PostScript into PDF itself, and what arrives is not what was printed. No filter is a program."""
    filters = re.findall(r'^\*cupsFilter2: "(\S+) (\S+) (\d+) (\S+)"$', ppd.PAGE.read_text(), re.MULTILINE)
    costs = {given: int(cost) for given, made, cost, program in filters if given == made and program == "-"}
    assert len(costs) == len(filters) == 5
    assert costs["application/postscript"] < costs["application/pdf"]


def test_cups_offers_it_for_the_device() -> None:
    """The device id of the backend is that of the PPD: ``lpinfo -m`` and dialogs find one by the other."""
    (device,) = re.findall(r'^\*1284DeviceID: "(.*)"$', ppd.PAGE.read_text(), re.MULTILINE)
    assert f'"{device}"' in DISCOVERY
