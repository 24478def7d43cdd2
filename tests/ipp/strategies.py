"""Arbitrary IPP messages, every syntax of RFC 8010 section 3.9 and the tags that nobody knows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

from hypothesis import strategies as st

from printerd.ipp import message as ipp
from printerd.ipp.message import OUT_OF_BAND, STRINGS, WITH_LANGUAGE, Attribute, Group, GroupTag, Message, Tag, Value

INT32 = st.integers(-(2**31), 2**31 - 1)
NAMES = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=30)
WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
NOT_UTF8 = st.binary(max_size=20).map(lambda octets: octets + b"\xff")
UNKNOWN_TAGS = st.sampled_from([0x11, 0x1F, 0x20, 0x24, 0x38, 0x40, 0x43, 0x4B, 0x7F, 0x80, 0xFF])
ZONES = st.one_of(st.just(UTC), st.integers(-14 * 60, 14 * 60).map(lambda m: timezone(timedelta(minutes=m))))


def _tagged(tags: frozenset[Tag], data: st.SearchStrategy[object]) -> st.SearchStrategy[Value]:
    return st.builds(Value, st.sampled_from(sorted(tags)), data)


PLAIN = st.one_of(
    st.builds(Value, st.sampled_from([Tag.INTEGER, Tag.ENUM]), INT32),
    st.builds(ipp.boolean, st.booleans()),
    st.builds(ipp.octet_string, st.binary(max_size=60)),
    st.builds(ipp.date_time, st.datetimes(datetime(2, 1, 1), datetime(9998, 12, 31), timezones=ZONES)),  # noqa: DTZ001 - hypothesis adds the zone
    st.builds(ipp.resolution, INT32, INT32, st.integers(-128, 127)),
    st.builds(ipp.range_of_integer, INT32, INT32),
    _tagged(STRINGS, WORDS),
    _tagged(STRINGS, NOT_UTF8),
    _tagged(WITH_LANGUAGE, st.builds(ipp.Localized, WORDS, WORDS)),
    _tagged(OUT_OF_BAND, st.none()),
    st.builds(Value, UNKNOWN_TAGS, st.binary(max_size=20)),
)


def _attributes(values: st.SearchStrategy[Value], most: int) -> st.SearchStrategy[tuple[Attribute, ...]]:
    attribute = st.builds(Attribute, NAMES, st.lists(values, min_size=1, max_size=3).map(tuple))
    return st.lists(attribute, max_size=most).map(tuple)


VALUES = st.recursive(
    PLAIN, lambda inner: st.builds(lambda members: ipp.collection(*members), _attributes(inner, 3)), max_leaves=6
)
GROUP_TAGS = st.one_of(st.sampled_from(list(GroupTag)), st.integers(0x0B, 0x0F))
MESSAGES = st.builds(
    Message,
    st.tuples(st.integers(0, 255), st.integers(0, 255)),
    st.integers(0, 0xFFFF),
    INT32,
    st.lists(st.builds(Group, GROUP_TAGS, _attributes(VALUES, 4)), max_size=4).map(tuple),
)
