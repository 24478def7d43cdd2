"""RFC 8010: octets to messages and back, and the only place that knows the wire.

One rule: ``decode(encode(m)) == m``, and any octets whatsoever are either a
message or an :class:`IppError` that names the status to answer.

Decoding goes in two steps. The scanner cuts the stream into items (tag, name,
value) as the chunks come and stops at the end-of-attributes-tag, so that a
document of any size never passes through here. The assembler folds the items
into groups, attributes and collections.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, Final, NamedTuple, cast

from printerd.errors import IppError
from printerd.ipp.message import (
    OUT_OF_BAND,
    STRINGS,
    WITH_LANGUAGE,
    Attribute,
    Data,
    Group,
    Localized,
    Message,
    Range,
    Resolution,
    Tag,
    Value,
)
from printerd.ipp.registry import Status

END_OF_ATTRIBUTES: Final = 0x03
FIRST_VALUE_TAG: Final = 0x10
"""Below it stand the delimiter tags (RFC 8010 section 3.5.1)."""
MAX_LENGTH: Final = 0x7FFF
"""Name and value lengths are SIGNED-SHORT (RFC 8010 section 3.9)."""

_HEADER = struct.Struct(">BBHi")
_LENGTH = struct.Struct(">H")
_INTEGER = struct.Struct(">i")
_PAIR = struct.Struct(">ii")
_RESOLUTION = struct.Struct(">iib")
_DATE_TIME = struct.Struct(">HBBBBBBcBB")
_STRUCTURE = frozenset({Tag.END_COLLECTION, Tag.MEMBER_ATTR_NAME})
"""Tags of items that are not values themselves (RFC 8010 section 3.1.6)."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one request may cost: octets before the document, values in all, collections within collections."""

    octets: int = 256 * 1024
    values: int = 8192
    depth: int = 8


LIMITS: Final = Limits()


def _bad(what: str) -> IppError:
    return IppError(Status.CLIENT_ERROR_BAD_REQUEST, what)


# Encoding


def encode(message: Message) -> bytes:
    """The message up to and with its end-of-attributes-tag; document data follows it as it is.

    The first eight octets are the version, the code and the request-id alone
    (RFC 8010 section 3.1.1): an answer can be kept and its header replaced.

    Raises ``ValueError`` for what IPP cannot carry: a number beyond 32 bits,
    a name or a value beyond 32,767 octets, data that does not fit its tag.
    """
    out = bytearray()
    try:
        out += _HEADER.pack(*message.version, message.code, message.request_id)
        for group in message.groups:
            if not 0 < group.tag < FIRST_VALUE_TAG or group.tag == END_OF_ATTRIBUTES:
                raise ValueError(f"0x{group.tag:02x} does not begin a group")
            out.append(group.tag)
            for attribute in group.attributes:
                _put_attribute(out, attribute)
    except (struct.error, AttributeError, TypeError, OverflowError) as error:
        raise ValueError(f"IPP cannot carry this: {error}") from error
    out.append(END_OF_ATTRIBUTES)
    return bytes(out)


def _put_attribute(out: bytearray, attribute: Attribute) -> None:
    name = _name(attribute)
    for value in attribute.values:
        _put_value(out, name, value)
        name = b""  # additional values have no name (RFC 8010 section 3.1.5)


def _name(attribute: Attribute) -> bytes:
    if not attribute.name:
        raise ValueError("an attribute needs a name")
    return attribute.name.encode("ascii")


def _put_value(out: bytearray, name: bytes, value: Value) -> None:
    if value.tag == Tag.COLLECTION:
        _put_collection(out, name, cast("tuple[Attribute, ...]", value.data))
    elif value.tag < FIRST_VALUE_TAG or value.tag in _STRUCTURE:
        raise ValueError(f"0x{value.tag:02x} is not the tag of a value")
    else:
        _put_item(out, value.tag, name, _SYNTAXES.get(value.tag, _OCTETS).encode(value.data))


def _put_collection(out: bytearray, name: bytes, members: tuple[Attribute, ...]) -> None:
    """RFC 8010 section 3.1.6: a member's name is the value of an item of its own."""
    _put_item(out, Tag.COLLECTION, name, b"")
    for member in members:
        _put_item(out, Tag.MEMBER_ATTR_NAME, b"", _name(member))
        for value in member.values:
            _put_value(out, b"", value)
    _put_item(out, Tag.END_COLLECTION, b"", b"")


def _put_item(out: bytearray, tag: int, name: bytes, octets: bytes) -> None:
    if len(name) > MAX_LENGTH or len(octets) > MAX_LENGTH:
        raise ValueError(f"{name!r}: {len(octets)} octets are more than IPP can carry")
    out.append(tag)
    out += _LENGTH.pack(len(name))
    out += name
    out += _LENGTH.pack(len(octets))
    out += octets


# Decoding


def decode(data: bytes, limits: Limits = LIMITS) -> Message:
    """A message that ends with ``data``. Raises :class:`IppError` when it is cut, malformed or followed by anything."""
    message, consumed = decode_prefix(data, limits)
    if consumed != len(data):
        raise _bad(f"{len(data) - consumed} octets follow the attributes")
    return message


def decode_prefix(data: bytes, limits: Limits = LIMITS) -> tuple[Message, int]:
    """The message at the start of ``data`` and its length in octets; the rest is document data."""
    decoder = Decoder(limits)
    if not decoder.feed(data):
        raise _bad("the request ends before its end-of-attributes-tag")
    return decoder.message, len(data) - len(decoder.rest)


class _Item(NamedTuple):
    """What stands between two lengths. ``name`` is empty for additional values; delimiters have neither."""

    tag: int
    name: bytes = b""
    value: bytes = b""


class Decoder:
    """Takes a request as it arrives and stops where the document begins.

    ::

        decoder = Decoder()
        async for chunk in body:
            if decoder.feed(chunk):
                break
        decoder.message, decoder.rest   # the rest of the last chunk is document data

    :attr:`header` is there after eight octets, so that even a request that
    fails later is answered under its own request-id.
    """

    def __init__(self, limits: Limits = LIMITS) -> None:
        self._limits = limits
        self._buffer = bytearray()
        self._position = _HEADER.size
        self._items: list[_Item] = []
        self.header: Message | None = None
        self._message: Message | None = None

    @property
    def message(self) -> Message:
        """The whole message. Raises :class:`IppError` while the end-of-attributes-tag has not been seen."""
        if self._message is None:
            raise _bad("the request ends before its end-of-attributes-tag")
        return self._message

    @property
    def rest(self) -> bytes:
        """Document data that came in the same chunk as the end of the attributes."""
        return bytes(self._buffer[self._position :]) if self._message else b""

    def feed(self, chunk: bytes) -> bool:
        """Take ``chunk``; true once the attributes are complete. Raises :class:`IppError`.

        Feed nothing after true: what follows is the document.
        """
        if self._message is not None:
            raise ValueError("the attributes are complete; what follows is the document")
        self._buffer += chunk
        if self.header is None and not self._read_header():
            return False
        complete = self._scan()
        if self._position > self._limits.octets or (not complete and len(self._buffer) > self._limits.octets):
            raise self._too_large(f"{self._limits.octets} octets of attributes")
        if complete:
            self._message = self._assemble()
        return complete

    def _read_header(self) -> bool:
        if len(self._buffer) < _HEADER.size:
            return False
        major, minor, code, request_id = _HEADER.unpack_from(self._buffer)
        self.header = Message((major, minor), code, request_id)
        return True

    def _scan(self) -> bool:
        """Cut off every whole item of the buffer; true at the end-of-attributes-tag."""
        while (cut := _cut(self._buffer, self._position)) is not None:
            item, self._position = cut
            if item.tag == END_OF_ATTRIBUTES:
                return True
            self._items.append(item)
            if len(self._items) > self._limits.values:
                raise self._too_large(f"{self._limits.values} values")
        return False

    def _assemble(self) -> Message:
        header = cast(Message, self.header)
        groups = tuple(_groups(self._items, self._limits.depth))
        self._items.clear()
        return Message(header.version, header.code, header.request_id, groups)

    @staticmethod
    def _too_large(limit: str) -> IppError:
        return IppError(Status.CLIENT_ERROR_REQUEST_ENTITY_TOO_LARGE, f"a request may have {limit}, no more")


def _cut(buffer: bytearray, position: int) -> tuple[_Item, int] | None:
    """The item at ``position`` and where the next one begins; ``None`` while it is not whole."""
    if position >= len(buffer):
        return None
    tag, position = buffer[position], position + 1
    if tag < FIRST_VALUE_TAG:
        return _Item(tag), position
    if (name := _cut_field(buffer, position)) is None:
        return None
    if (value := _cut_field(buffer, name[1])) is None:
        return None
    return _Item(tag, name[0], value[0]), value[1]


def _cut_field(buffer: bytearray, position: int) -> tuple[bytes, int] | None:
    """The octets behind the length at ``position`` and where they end; ``None`` while they are not all there."""
    start = position + _LENGTH.size
    if len(buffer) < start:
        return None
    (length,) = _LENGTH.unpack_from(buffer, position)
    if length > MAX_LENGTH:
        raise _bad("a length is negative")
    end = start + length
    return (bytes(buffer[start:end]), end) if end <= len(buffer) else None


_Open = list[tuple[str, list[Value]]]
"""Attributes that may still receive values."""


def _groups(items: list[_Item], depth: int) -> Iterator[Group]:
    opened: list[tuple[int, _Open]] = []
    stream = iter(items)
    for item in stream:
        if item.tag == 0:
            raise _bad("the delimiter tag 0x00 is reserved")
        if item.tag < FIRST_VALUE_TAG:
            opened.append((item.tag, []))
        elif not opened:
            raise _bad("a value stands before the first group")
        else:
            _add(opened[-1][1], item, stream, depth)
    for tag, attributes in opened:
        yield Group(tag, _close(attributes))


def _add(attributes: _Open, item: _Item, stream: Iterator[_Item], depth: int) -> None:
    """RFC 8010 section 3.1.5: an item without a name is one more value of the attribute before it."""
    if item.name:
        attributes.append((_ascii(item.name), []))
    if not attributes:
        raise _bad("an additional value has no attribute before it")
    attributes[-1][1].append(_value(item, stream, depth))


def _members(stream: Iterator[_Item], depth: int) -> tuple[Attribute, ...]:
    """The items up to the endCollection that belongs to this begCollection."""
    if depth < 0:
        raise _bad("collections are nested too deeply")
    members: _Open = []
    for item in stream:
        if item.tag < FIRST_VALUE_TAG or item.name:
            break
        if item.tag == Tag.END_COLLECTION:
            return _close(members)
        if item.tag == Tag.MEMBER_ATTR_NAME:
            members.append((_ascii(item.value), []))
        elif not members:
            raise _bad("a member of a collection has no name")
        else:
            members[-1][1].append(_value(item, stream, depth))
    raise _bad("a collection is not closed")


def _close(attributes: _Open) -> tuple[Attribute, ...]:
    if any(not name or not values for name, values in attributes):
        raise _bad("a member of a collection has no name or no value")
    return tuple(Attribute(name, tuple(values)) for name, values in attributes)


def _value(item: _Item, stream: Iterator[_Item], depth: int) -> Value:
    if item.tag == Tag.COLLECTION:
        return Value(Tag.COLLECTION, _members(stream, depth - 1))
    if item.tag in _STRUCTURE:
        raise _bad("the end or a member of a collection stands outside of it")
    try:
        return Value(_TAGS.get(item.tag, item.tag), _SYNTAXES.get(item.tag, _OCTETS).decode(item.value))
    except (struct.error, ValueError, OverflowError) as error:
        raise _bad(f"a value with tag 0x{item.tag:02x} is malformed: {error}") from error


def _ascii(name: bytes) -> str:
    try:
        return name.decode("ascii")
    except UnicodeDecodeError as error:
        raise _bad("an attribute name is not US-ASCII") from error


# Syntaxes (RFC 8010 section 3.9)


class _Syntax(NamedTuple):
    """How the data of one tag is written. ``decode`` raises ``ValueError`` or ``struct.error``."""

    encode: Callable[[Any], bytes]
    decode: Callable[[bytes], Data]


def _decode_boolean(octets: bytes) -> bool:
    if octets not in (b"\x00", b"\x01"):
        raise ValueError("a boolean is 0x00 or 0x01")
    return octets == b"\x01"


def _encode_out_of_band(data: None) -> bytes:
    if data is not None:
        raise ValueError("an out-of-band value has no data")
    return b""


def _decode_out_of_band(octets: bytes) -> None:
    if octets:
        raise ValueError("an out-of-band value has no octets")


def _encode_octets(data: bytes) -> bytes:
    if not isinstance(data, bytes):
        raise TypeError("only octets fit here")
    return data


def _encode_string(data: str | bytes) -> bytes:
    return data if isinstance(data, bytes) else data.encode()


def _decode_string(octets: bytes) -> str | bytes:
    try:
        return octets.decode()
    except UnicodeDecodeError:
        return octets


def _encode_localized(data: Localized | bytes) -> bytes:
    if isinstance(data, bytes):
        return data
    fields = data.language.encode(), data.text.encode()
    return b"".join(_LENGTH.pack(len(field)) + field for field in fields)


def _decode_localized(octets: bytes) -> Localized | bytes:
    language = _cut_field(bytearray(octets), 0)
    text = language and _cut_field(bytearray(octets), language[1])
    if not language or not text or text[1] != len(octets):
        raise ValueError("the lengths of a text and its language do not agree")
    try:
        return Localized(language[0].decode(), text[0].decode())
    except UnicodeDecodeError:
        return octets


_FURTHEST = timedelta(hours=14)
"""No time zone is further from UTC; RFC 2579 says 13, Kiribati says 14."""


def _encode_date_time(moment: datetime) -> bytes:
    """RFC 2579 DateAndTime in its eleven octets. An offset that it cannot write becomes UTC."""
    offset = moment.utcoffset()
    if offset is None:
        raise ValueError("an IPP dateTime needs a time zone")
    if abs(offset) > _FURTHEST or offset % timedelta(minutes=1):
        moment, offset = moment.astimezone(UTC), timedelta()
    hours, minutes = divmod(abs(offset) // timedelta(minutes=1), 60)
    date, time = moment.timetuple()[:3], moment.timetuple()[3:6]
    sign = b"-" if offset < timedelta() else b"+"
    return _DATE_TIME.pack(*date, *time, moment.microsecond // 100_000, sign, hours, minutes)


def _decode_date_time(octets: bytes) -> datetime:
    """RFC 2579 DateAndTime. A leap second (60), which Python cannot say, becomes the second before it."""
    year, month, day, hour, minute, second, tenth, sign, hours, minutes = _DATE_TIME.unpack(octets)
    offset = timedelta(hours=hours, minutes=minutes)
    if sign not in (b"+", b"-") or minutes > 59 or offset > _FURTHEST or tenth > 9:
        raise ValueError("not an RFC 2579 DateAndTime")
    zone = timezone(-offset if sign == b"-" else offset) if offset else UTC
    return datetime(year, month, day, hour, minute, 59 if second == 60 else second, tenth * 100_000, tzinfo=zone)


_NUMBER: Final = _Syntax(_INTEGER.pack, lambda octets: int(_INTEGER.unpack(octets)[0]))
_STRING: Final = _Syntax(_encode_string, _decode_string)
_LOCALIZED: Final = _Syntax(_encode_localized, _decode_localized)
_OCTETS: Final = _Syntax(_encode_octets, bytes)

_TAGS: Final = {int(tag): tag for tag in Tag}
_SYNTAXES: Final[dict[int, _Syntax]] = {
    **dict.fromkeys(OUT_OF_BAND, _Syntax(_encode_out_of_band, _decode_out_of_band)),
    **dict.fromkeys(STRINGS, _STRING),
    **dict.fromkeys(WITH_LANGUAGE, _LOCALIZED),
    Tag.INTEGER: _NUMBER,
    Tag.ENUM: _NUMBER,
    Tag.BOOLEAN: _Syntax(lambda truth: b"\x01" if truth else b"\x00", _decode_boolean),
    Tag.OCTET_STRING: _OCTETS,
    Tag.DATE_TIME: _Syntax(_encode_date_time, _decode_date_time),
    Tag.RANGE_OF_INTEGER: _Syntax(lambda r: _PAIR.pack(r.lower, r.upper), lambda octets: Range(*_PAIR.unpack(octets))),
    Tag.RESOLUTION: _Syntax(
        lambda r: _RESOLUTION.pack(r.cross_feed, r.feed, r.unit), lambda octets: Resolution(*_RESOLUTION.unpack(octets))
    ),
}
