"""The values of IPP: a message is groups of attributes, an attribute is a name and one or more tagged values.

One rule: everything here is immutable and says what stood on the wire, no
more. A value carries its own tag, because a 1setOf may mix syntaxes
(RFC 8010 section 3.1.5); its ``data`` is what Python would naturally use:

    integer, enum                       int
    boolean                             bool
    text, name, keyword, uri, …         str
    textWithLanguage, nameWithLanguage  Localized
    octetString, unknown tags           bytes
    dateTime                            datetime with a time zone
    resolution, rangeOfInteger          Resolution, Range
    collection                          tuple of attributes, the members
    out-of-band (no-value, unknown, …)  None

Text that is not UTF-8 stays ``bytes``: whether the charset was announced is
for :func:`printerd.ipp.request.check` to judge, not for the codec.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum


class GroupTag(IntEnum):
    """Delimiter tags that begin a group (RFC 8010 section 3.5.1, IANA "Attribute Group Tags")."""

    OPERATION = 0x01
    JOB = 0x02
    PRINTER = 0x04
    UNSUPPORTED = 0x05
    SUBSCRIPTION = 0x06
    EVENT_NOTIFICATION = 0x07
    RESOURCE = 0x08
    DOCUMENT = 0x09
    SYSTEM = 0x0A


class Tag(IntEnum):
    """Value tags (RFC 8010 section 3.5.2, IANA "Out-of-Band Attribute Value Tags" and "Attribute Syntaxes")."""

    UNSUPPORTED = 0x10
    UNKNOWN = 0x12
    NO_VALUE = 0x13
    NOT_SETTABLE = 0x15
    DELETE_ATTRIBUTE = 0x16
    ADMIN_DEFINE = 0x17
    INTEGER = 0x21
    BOOLEAN = 0x22
    ENUM = 0x23
    OCTET_STRING = 0x30
    DATE_TIME = 0x31
    RESOLUTION = 0x32
    RANGE_OF_INTEGER = 0x33
    COLLECTION = 0x34
    TEXT_WITH_LANGUAGE = 0x35
    NAME_WITH_LANGUAGE = 0x36
    END_COLLECTION = 0x37
    TEXT = 0x41
    NAME = 0x42
    KEYWORD = 0x44
    URI = 0x45
    URI_SCHEME = 0x46
    CHARSET = 0x47
    NATURAL_LANGUAGE = 0x48
    MIME_MEDIA_TYPE = 0x49
    MEMBER_ATTR_NAME = 0x4A
    EXTENSION = 0x7F


OUT_OF_BAND = frozenset(tag for tag in Tag if tag < 0x20)
"""Tags that stand in place of a value (RFC 8010 section 3.8)."""
STRINGS = frozenset(
    {
        Tag.TEXT,
        Tag.NAME,
        Tag.KEYWORD,
        Tag.URI,
        Tag.URI_SCHEME,
        Tag.CHARSET,
        Tag.NATURAL_LANGUAGE,
        Tag.MIME_MEDIA_TYPE,
    }
)
"""Tags whose data is a ``str``."""
WITH_LANGUAGE = frozenset({Tag.TEXT_WITH_LANGUAGE, Tag.NAME_WITH_LANGUAGE})
"""Tags whose data is a :class:`Localized`."""


@dataclass(frozen=True, slots=True)
class Localized:
    """Text in a natural language of its own (RFC 8011 sections 5.1.3.2 and 5.1.4.2)."""

    language: str
    text: str


@dataclass(frozen=True, slots=True)
class Range:
    """``lower`` to ``upper``, both included (RFC 8011 section 5.1.14)."""

    lower: int
    upper: int


class Unit(IntEnum):
    """Units of a resolution (RFC 8011 section 5.1.16, from RFC 3805 prtMarkerAddressabilityUnit)."""

    PER_INCH = 3
    PER_CENTIMETRE = 4


@dataclass(frozen=True, slots=True)
class Resolution:
    """Dots across the feed and along it; an unknown ``unit`` stays a plain number."""

    cross_feed: int
    feed: int
    unit: int = Unit.PER_INCH


@dataclass(frozen=True, slots=True)
class Attribute:
    """A name and its values, at least one (RFC 8010 section 3.1.4). Raises ``ValueError`` without a value."""

    name: str
    values: tuple[Value, ...]

    def __post_init__(self) -> None:
        if not self.values:
            raise ValueError(f"{self.name} has no value: use no_value()")

    @classmethod
    def of(cls, name: str, *values: Value) -> Attribute:
        """``Attribute.of("sides-supported", keyword("one-sided"), keyword("two-sided-long-edge"))``"""
        return cls(name, values)

    @property
    def value(self) -> Data:
        """The data of the first value."""
        return self.values[0].data

    @property
    def data(self) -> tuple[Data, ...]:
        """The data of every value, in order."""
        return tuple(value.data for value in self.values)


Data = int | str | bytes | datetime | Resolution | Range | Localized | tuple[Attribute, ...] | None


@dataclass(frozen=True, slots=True)
class Value:
    """One value and its syntax. ``tag`` is a :class:`Tag`, or a plain number when the tag is unknown."""

    tag: int
    data: Data

    @property
    def text(self) -> str | None:
        """The words of a string with or without a language; ``None`` for every other syntax."""
        if isinstance(self.data, Localized):
            return self.data.text
        return self.data if isinstance(self.data, str) else None


@dataclass(frozen=True, slots=True)
class Group:
    """Attributes of one object. The same tag may come again: Get-Jobs answers with one group a job."""

    tag: int
    attributes: tuple[Attribute, ...] = ()

    def __iter__(self) -> Iterator[Attribute]:
        return iter(self.attributes)

    def __contains__(self, name: object) -> bool:
        return any(attribute.name == name for attribute in self.attributes)

    def get(self, name: str) -> Attribute | None:
        """The first attribute of that name."""
        return next((attribute for attribute in self.attributes if attribute.name == name), None)

    def text(self, name: str, default: str = "") -> str:
        """The first value as text, without its language; ``default`` when absent, out-of-band or no string."""
        return next(iter(self.texts(name)), default)

    def texts(self, name: str) -> tuple[str, ...]:
        """Every value that is text, without its language; empty when absent."""
        attribute = self.get(name)
        return tuple(value.text for value in attribute.values if value.text is not None) if attribute else ()

    def number(self, name: str, default: int = 0) -> int:
        """The first value as a number (integer, enum, boolean); ``default`` when absent, out-of-band or no number."""
        attribute = self.get(name)
        value = attribute.value if attribute else None
        return value if isinstance(value, int) else default


@dataclass(frozen=True, slots=True)
class Message:
    """A request or a response (RFC 8010 section 3.1.1).

    ``code`` is the operation-id of a request, the status-code of a response.
    """

    version: tuple[int, int]
    code: int
    request_id: int
    groups: tuple[Group, ...] = ()

    @property
    def operation(self) -> Group:
        """The operation attributes; an empty group when there are none."""
        return self.first(GroupTag.OPERATION)

    def first(self, tag: int) -> Group:
        """The first group of that tag, or an empty one."""
        return next((group for group in self.groups if group.tag == tag), Group(tag))

    def all(self, tag: int) -> tuple[Group, ...]:
        """Every group of that tag, in order."""
        return tuple(group for group in self.groups if group.tag == tag)


# One constructor a syntax, named as RFC 8011 section 5.1 names it.


def integer(number: int) -> Value:
    return Value(Tag.INTEGER, number)


def boolean(truth: bool) -> Value:
    return Value(Tag.BOOLEAN, truth)


def enum(number: int) -> Value:
    return Value(Tag.ENUM, int(number))


def text(words: str) -> Value:
    return Value(Tag.TEXT, words)


def name(words: str) -> Value:
    return Value(Tag.NAME, words)


def keyword(word: str) -> Value:
    return Value(Tag.KEYWORD, word)


def uri(address: str) -> Value:
    return Value(Tag.URI, address)


def uri_scheme(scheme: str) -> Value:
    return Value(Tag.URI_SCHEME, scheme)


def charset(name: str) -> Value:
    return Value(Tag.CHARSET, name)


def natural_language(language: str) -> Value:
    return Value(Tag.NATURAL_LANGUAGE, language)


def mime_media_type(media_type: str) -> Value:
    return Value(Tag.MIME_MEDIA_TYPE, media_type)


def text_with_language(language: str, words: str) -> Value:
    return Value(Tag.TEXT_WITH_LANGUAGE, Localized(language, words))


def name_with_language(language: str, words: str) -> Value:
    return Value(Tag.NAME_WITH_LANGUAGE, Localized(language, words))


def octet_string(octets: bytes) -> Value:
    return Value(Tag.OCTET_STRING, octets)


def date_time(moment: datetime) -> Value:
    """An aware moment, cut to the tenth of a second that RFC 2579 DateAndTime holds. Raises ``ValueError`` if naive."""
    if moment.tzinfo is None:
        raise ValueError("an IPP dateTime needs a time zone")
    return Value(Tag.DATE_TIME, moment.replace(microsecond=moment.microsecond // 100_000 * 100_000))


def resolution(cross_feed: int, feed: int, unit: int = Unit.PER_INCH) -> Value:
    return Value(Tag.RESOLUTION, Resolution(cross_feed, feed, unit))


def range_of_integer(lower: int, upper: int) -> Value:
    return Value(Tag.RANGE_OF_INTEGER, Range(lower, upper))


def collection(*members: Attribute) -> Value:
    return Value(Tag.COLLECTION, members)


def unsupported() -> Value:
    """Stands for a value, or for an attribute, that the Printer does not support (RFC 8011 section 4.1.7)."""
    return Value(Tag.UNSUPPORTED, None)


def unknown() -> Value:
    """The Printer supports the attribute and does not know its value for now."""
    return Value(Tag.UNKNOWN, None)


def no_value() -> Value:
    """The attribute is supported and the administrator has set none."""
    return Value(Tag.NO_VALUE, None)


def not_settable() -> Value:
    return Value(Tag.NOT_SETTABLE, None)


def delete_attribute() -> Value:
    return Value(Tag.DELETE_ATTRIBUTE, None)


def admin_define() -> Value:
    return Value(Tag.ADMIN_DEFINE, None)
