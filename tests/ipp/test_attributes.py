"""Attributes built by name, checked by name and selected by name."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from printerd.ipp import message as ipp
from printerd.ipp.attributes import ATTRIBUTES, Kind, Plain, Syntax, attribute, select
from printerd.ipp.message import Attribute, Group, GroupTag, Localized, Range, Resolution, Tag, Value
from printerd.ipp.registry import PrinterState

BUILT: list[tuple[str, tuple[Plain, ...], tuple[Value, ...]]] = [
    ("printer-state", (PrinterState.IDLE,), (ipp.enum(3),)),
    ("printer-up-time", (7,), (ipp.integer(7),)),
    ("color-supported", (True,), (ipp.boolean(True),)),
    ("copies-supported", (Range(1, 999),), (ipp.range_of_integer(1, 999),)),
    ("printer-resolution-default", (Resolution(600, 600),), (ipp.resolution(600, 600),)),
    ("printer-current-time", (datetime(2026, 11, 5, tzinfo=UTC),), (ipp.date_time(datetime(2026, 11, 5, tzinfo=UTC)),)),
    ("time-at-completed", (None,), (ipp.no_value(),)),
    ("printer-geo-location", (ipp.unknown(),), (ipp.unknown(),)),
    ("media-default", ("iso_a4_210x297mm",), (ipp.keyword("iso_a4_210x297mm"),)),
    ("media-default", ("Papier à en-tête",), (ipp.name("Papier à en-tête"),)),
    ("urf-supported", ("V1.5", "W8"), (ipp.keyword("V1.5"), ipp.keyword("W8"))),
    ("job-name", (Localized("fr", "Été"),), (ipp.name_with_language("fr", "Été"),)),
    ("printer-info", (Localized("fr", "Été"),), (ipp.text_with_language("fr", "Été"),)),
    ("printer-firmware-version", (b"\1\2",), (ipp.octet_string(b"\1\2"),)),
    ("printer-uuid", ("urn:uuid:1",), (ipp.uri("urn:uuid:1"),)),
    (
        "media-col-default",
        ({"media-size": {"x-dimension": 21000, "y-dimension": Range(1, 2)}, "media-type": "stationery"},),
        (
            ipp.collection(
                Attribute.of(
                    "media-size",
                    ipp.collection(
                        Attribute.of("x-dimension", ipp.integer(21000)),
                        Attribute.of("y-dimension", ipp.range_of_integer(1, 2)),
                    ),
                ),
                Attribute.of("media-type", ipp.keyword("stationery")),
            ),
        ),
    ),
    (
        "printer-contact-col",
        ({"contact-vcard": ["BEGIN:VCARD", "END:VCARD"]},),
        (ipp.collection(Attribute.of("contact-vcard", ipp.text("BEGIN:VCARD"), ipp.text("END:VCARD"))),),
    ),
]


@pytest.mark.parametrize(("name", "data", "values"), BUILT)
def test_the_name_decides_the_syntax(name: str, data: tuple[Plain, ...], values: tuple[Value, ...]) -> None:
    """An attribute is written in the syntax that the registry gives to its name."""
    assert attribute(name, *data) == Attribute(name, values)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("printer-state", ("idle",)),
        ("printer-up-time", (0,)),
        ("printer-up-time", (True,)),
        ("color-supported", (1,)),
        ("copies-supported", (Range(0, 9),)),
        ("printer-up-time", (1, 2)),
        ("printer-uuid", ("urn:" + "x" * 1023,)),
        ("media-supported", ()),
    ],
)
def test_a_value_that_does_not_fit_is_not_built(name: str, data: tuple[Plain, ...]) -> None:
    """A wrong syntax, a number out of bounds, one value too many or none is a ValueError, never an answer."""
    with pytest.raises(ValueError):
        attribute(name, *data)


def test_an_unknown_name_is_not_built() -> None:
    """A misspelled name is found by the first test that answers with it."""
    with pytest.raises(KeyError):
        attribute("printer-staet", 3)


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_words_for_people_are_cut_between_characters(words: str) -> None:
    """A long printer-info is cut to its 127 octets and stays UTF-8 and a beginning of what it was."""
    cut = str(attribute("printer-info", words * 40).value)
    assert len(cut.encode()) <= 127
    assert (words * 40).startswith(cut)
    assert len(cut.encode()) > 123 or cut == words * 40


@pytest.mark.parametrize(
    ("notation", "value", "fits"),
    [
        ("integer(1:MAX)", ipp.integer(0), False),
        ("integer(1:MAX)", ipp.enum(1), False),
        ("name(MAX)", ipp.name("é" * 127), True),
        ("name(MAX)", ipp.name("é" * 128), False),
        ("name(MAX)", ipp.name_with_language("fr", "é"), True),
        ("name(MAX)", Value(Tag.NAME, b"\xe9"), False),
        ("type2 keyword", ipp.name("a"), False),
        ("dateTime | unknown", ipp.unknown(), True),
        ("rangeOfInteger(0:MAX)", ipp.range_of_integer(-1, 5), False),
        ("octetString(255)", ipp.octet_string(bytes(256)), False),
        ("boolean", ipp.boolean(False), True),
        ("collection", ipp.collection(), True),
    ],
)
def test_a_syntax_accepts_what_it_says(notation: str, value: Value, fits: bool) -> None:
    """The notation of the registry is the check: tag, bounds, octets and charset."""
    assert Syntax.parse(notation).accepts(Attribute.of("a", value)) is fits


def test_only_a_1setof_takes_several_values() -> None:
    """Two values fit a 1setOf and nothing else."""
    two = Attribute.of("a", ipp.integer(1), ipp.integer(2))
    assert Syntax.parse("1setOf integer").accepts(two)
    assert not Syntax.parse("integer").accepts(two)


PRINTER = Group(
    GroupTag.PRINTER,
    (
        attribute("printer-state", 3),
        attribute("sides-supported", "one-sided"),
        attribute("media-ready", "iso_a4_210x297mm"),
        attribute("media-type-supported", "stationery"),
        attribute("media-col-database", {"media-type": "stationery"}),
        attribute("document-format-supported", "application/pdf"),
        attribute("urf-supported", "W8"),
    ),
)
TEMPLATE = ["sides-supported", "media-ready", "media-type-supported"]
DESCRIPTION = ["printer-state", "document-format-supported", "urf-supported"]


@pytest.mark.parametrize(
    ("requested", "names"),
    [
        ((), [*DESCRIPTION[:1], *TEMPLATE, *DESCRIPTION[1:]]),
        (("all",), [*DESCRIPTION[:1], *TEMPLATE, *DESCRIPTION[1:]]),
        (("job-template",), TEMPLATE),
        (("printer-description",), DESCRIPTION),
        (("job-description",), []),
        (("media-col-database",), ["media-col-database"]),
        (("printer-description", "media-ready"), ["printer-state", "media-ready", *DESCRIPTION[1:]]),
        (("no-such-attribute",), []),
    ],
)
def test_a_client_gets_what_it_asked_for(requested: tuple[str, ...], names: list[str]) -> None:
    """Names and group names select; media-col-database comes only by its name; unknown names are passed over."""
    assert [given.name for given in select(PRINTER, requested)] == names


def test_job_attributes_are_selected_the_same_way() -> None:
    """'job-template' of a job is what the client asked for, 'job-description' is what became of it."""
    job = Group(GroupTag.JOB, (attribute("job-id", 1), attribute("copies", 2), attribute("job-state", 9)))
    assert [given.name for given in select(job, ["job-description"])] == ["job-id", "job-state"]
    assert [given.name for given in select(job, ["job-template"])] == ["copies"]


def test_printer_and_job_tables_never_disagree_on_the_tags_of_a_name() -> None:
    """A name that stands in two tables may have wider bounds in one of them, never another syntax."""
    tags: dict[str, set[int]] = {}
    for kind in Kind:
        for name, syntax in ATTRIBUTES[kind].items():
            mine = {choice.tag for choice in syntax.choices} - {Tag.UNKNOWN, Tag.NO_VALUE}
            assert tags.setdefault(name, mine) == mine, name
