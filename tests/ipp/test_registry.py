"""Our tables against the registry that IANA publishes, read from its XML."""

from __future__ import annotations

import re
from collections import defaultdict
from enum import IntEnum
from functools import cache
from pathlib import Path
from xml.etree import ElementTree

import pytest

from printerd.ipp.attributes import ATTRIBUTES, EXTENSIONS, MEMBERS, Kind, Syntax
from printerd.ipp.codec import END_OF_ATTRIBUTES
from printerd.ipp.message import GroupTag, Tag
from printerd.ipp.registry import (
    DocumentState,
    Finishing,
    JobState,
    Operation,
    Orientation,
    PrinterState,
    Quality,
    Status,
    words,
)

IANA = Path(__file__).parents[2].parent / "shared" / "data" / "ipp-registrations.xml"
NS = {"": "http://www.iana.org/assignments"}

needs_iana = pytest.mark.skipif(not IANA.exists(), reason="ipp-registrations.xml of IANA is not beside the repository")


MARKS = re.compile(r"\((obsolete|deprecated|extension)\)", re.IGNORECASE)
NUMBER = re.compile(r"0x[0-9A-Fa-f]+|\d+")


@cache
def records(registry: int) -> tuple[dict[str, str], ...]:
    """The records of one of IANA's tables, white space and (obsolete)-like marks removed."""
    tree = ElementTree.parse(IANA)  # noqa: S314 - a file of our own choice
    found = tree.findall(f"registry[@id='ipp-registrations-{registry}']/record", NS)
    return tuple({field.tag.rpartition("}")[2]: _clean(field.text or "") for field in record} for record in found)


def _clean(text: str) -> str:
    return MARKS.sub("", " ".join(text.split()))


def numbers(registry: int, attribute: str | None = None) -> dict[int, str]:
    """The single numbers of a table (not the ranges) and their names."""
    wanted = (record for record in records(registry) if attribute is None or record.get("attribute") == attribute)
    return {int(r["value"], 0): r["name"] for r in wanted if NUMBER.fullmatch(r.get("value", ""))}


@needs_iana
@pytest.mark.parametrize(
    ("ours", "registry", "attribute"),
    [
        (Status, 11, None),
        (Operation, 6, "operations-supported"),
        (JobState, 6, "job-state"),
        (DocumentState, 6, "document-state"),
        (PrinterState, 6, "printer-state"),
        (Orientation, 6, "orientation-requested"),
        (Quality, 6, "print-quality"),
        (Finishing, 6, "finishings"),
    ],
)
def test_numbers_are_those_of_iana(ours: type[IntEnum], registry: int, attribute: str | None) -> None:
    """Every operation, status and state has the number and the name of the registry."""
    theirs = numbers(registry, attribute)
    assert {member.value: words(member) for member in ours} == {
        member.value: theirs[member.value].lower() for member in ours
    }


@needs_iana
def test_every_status_of_iana_is_known() -> None:
    """No status that IANA assigns is missing."""
    assigned = {number for number, name in numbers(11).items() if not name.startswith(("Reserved", "Unassigned"))}
    assert assigned == set(Status)


@needs_iana
def test_tags_are_those_of_iana() -> None:
    """Group tags, out-of-band tags and value tags have the numbers of the registry."""
    end = "-attributes-tag"
    groups = {number: name.removesuffix(end) for number, name in numbers(7).items() if name.endswith(end)}
    assert {tag.value: words(tag) for tag in GroupTag} | {END_OF_ATTRIBUTES: "end-of"} == groups
    values = numbers(8) | numbers(9)
    theirs = {n: re.sub(r"[^a-z]", "", name.split(" with ")[0].lower()) for n, name in values.items()}
    ours = {tag.value: tag.name.replace("_", "").lower() for tag in Tag if tag != Tag.EXTENSION}
    spelled = {"textwithoutlanguage": "text", "namewithoutlanguage": "name", "begcollection": "collection"}
    assert ours == {number: spelled.get(theirs[number], theirs[number]) for number in ours}


def syntaxes() -> dict[tuple[str, str], list[str]]:
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    for record in records(2):
        if "member_attribute" not in record:
            found[record["collection"], record["name"]].append(record["syntax"])
    return found


@needs_iana
@pytest.mark.parametrize("kind", Kind)
def test_attributes_are_those_of_iana(kind: Kind) -> None:
    """Every attribute is registered in its group, with the syntax that we write and check."""
    theirs = syntaxes()
    wrong = {
        name: theirs[kind.value, name]
        for name, syntax in ATTRIBUTES[kind].items()
        if not any(_same(syntax, notation) for notation in theirs[kind.value, name])
    }
    assert wrong == {}


@needs_iana
def test_members_are_those_of_iana() -> None:
    """Every member of a collection is registered with the syntax that we write."""
    theirs = defaultdict(list)
    for record in records(2):
        theirs[record.get("sub-member_attribute") or record.get("member_attribute")].append(record["syntax"])
    assert [n for n, syntax in MEMBERS.items() if not any(_same(syntax, notation) for notation in theirs[n])] == []


@needs_iana
def test_extensions_are_not_in_iana() -> None:
    """The table of extensions holds only what IANA does not register; the day it does, the row moves."""
    registered = {name for _, name in syntaxes()}
    assert registered.isdisjoint(EXTENSIONS)


def _same(syntax: Syntax, notation: str) -> bool:
    """Whether IANA says the same; its order of choices, which means nothing, is not compared."""
    try:
        theirs = Syntax.parse(notation.replace(": ", ":"))
    except (KeyError, ValueError):
        return False
    return syntax.many == theirs.many and set(syntax.choices) == set(theirs.choices)


def test_extensions_have_one_syntax() -> None:
    """An extension never stands in a table of the standard as well."""
    assert all(name not in table for table in ATTRIBUTES.values() for name in EXTENSIONS)
