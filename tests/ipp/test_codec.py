"""What RFC 8010 asks of octets, and what the codec makes of octets that ask for trouble."""

from __future__ import annotations

import struct
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from printerd.errors import IppError
from printerd.ipp import message as ipp
from printerd.ipp.codec import Decoder, Limits, decode, decode_prefix, encode
from printerd.ipp.message import Attribute, Group, GroupTag, Message, Tag, Value
from printerd.ipp.registry import Operation, Status

from .strategies import MESSAGES

HEADER = bytes.fromhex("0200 000b 00000007")


def item(tag: int, name: bytes, value: bytes) -> bytes:
    """One tag, name and value as RFC 8010 section 3.1.4 draws them."""
    return bytes([tag]) + struct.pack(">H", len(name)) + name + struct.pack(">H", len(value)) + value


def request(*items: bytes, end: bytes = b"\x03") -> bytes:
    return HEADER + b"\x01" + b"".join(items) + end


def only_value(octets: bytes) -> Value:
    return decode(octets).operation.attributes[0].values[0]


SPECIMENS = [
    (ipp.integer(-1), "21 ffffffff"),
    (ipp.boolean(True), "22 01"),
    (ipp.enum(3), "23 00000003"),
    (ipp.octet_string(b"\x00\xff"), "30 00ff"),
    (
        ipp.date_time(datetime(2026, 11, 5, 14, 30, 15, 900_000, tzinfo=timezone(timedelta(hours=-3, minutes=-30)))),
        "31 07ea0b050e1e0f092d031e",
    ),
    (ipp.date_time(datetime(2026, 1, 2, tzinfo=UTC)), "31 07ea0102000000002b0000"),
    (ipp.resolution(600, 1200), "32 00000258000004b003"),
    (ipp.range_of_integer(1, 999), "33 00000001000003e7"),
    (ipp.text_with_language("fr", "é"), "35 00026672 0002c3a9"),
    (ipp.name_with_language("en", "a"), "36 0002656e 000161"),
    (ipp.text("é"), "41 c3a9"),
    (ipp.name("a"), "42 61"),
    (ipp.keyword("none"), "44 6e6f6e65"),
    (ipp.uri("ipp:"), "45 6970703a"),
    (ipp.uri_scheme("ipp"), "46 697070"),
    (ipp.charset("utf-8"), "47 7574662d38"),
    (ipp.natural_language("fr"), "48 6672"),
    (ipp.mime_media_type("a/b"), "49 612f62"),
    (ipp.unsupported(), "10"),
    (ipp.unknown(), "12"),
    (ipp.no_value(), "13"),
    (ipp.not_settable(), "15"),
    (ipp.delete_attribute(), "16"),
    (ipp.admin_define(), "17"),
    (Value(Tag.EXTENSION, b"\x40\x00\x00\x01x"), "7f 4000000178"),
    (Value(0x2F, b"\x01"), "2f 01"),
    (Value(Tag.NAME, b"\xe9t\xe9"), "42 e974e9"),
]


@pytest.mark.parametrize(("value", "octets"), SPECIMENS, ids=lambda x: x if isinstance(x, str) else None)
def test_every_syntax_has_the_octets_of_the_standard(value: Value, octets: str) -> None:
    """Each syntax of RFC 8010 section 3.9 is read and written octet for octet; unknown tags stay octets."""
    wire = bytes.fromhex(octets)
    encoded = request(item(wire[0], b"a", wire[1:]))
    assert encode(Message((2, 0), 0x0B, 7, (Group(1, (Attribute.of("a", value),)),))) == encoded
    assert only_value(encoded) == value


def test_print_job_request_of_the_standard() -> None:
    """The Print-Job of RFC 8010 appendix A.1 is read as the standard describes it."""
    octets = (
        bytes.fromhex("0101 0002 00000001 01")
        + item(0x47, b"attributes-charset", b"utf-8")
        + item(0x48, b"attributes-natural-language", b"en-us")
        + item(0x45, b"printer-uri", b"ipp://printer.example.com/ipp/print/pinetree")
        + item(0x42, b"job-name", b"foobar")
        + item(0x22, b"ipp-attribute-fidelity", b"\x01")
        + b"\x02"
        + item(0x21, b"copies", struct.pack(">i", 20))
        + item(0x44, b"sides", b"two-sided-long-edge")
        + b"\x03"
    )
    message, consumed = decode_prefix(octets + b"%!PDF...")
    assert consumed == len(octets)
    assert (message.version, message.code, message.request_id) == ((1, 1), Operation.PRINT_JOB, 1)
    assert message.operation.text("job-name") == "foobar"
    assert message.operation.number("ipp-attribute-fidelity") == 1
    assert message.first(GroupTag.JOB).number("copies") == 20
    assert encode(message) == octets


def test_collection_of_the_standard() -> None:
    """A media-col with a nested media-size is written item by item as RFC 8010 section 3.1.6 says."""
    size = ipp.collection(
        Attribute.of("x-dimension", ipp.integer(21000)), Attribute.of("y-dimension", ipp.integer(29700))
    )
    media = ipp.collection(
        Attribute.of("media-size", size),
        Attribute.of("media-type", ipp.keyword("stationery"), ipp.name("Papier à en-tête")),
    )
    octets = request(
        item(0x34, b"media-col", b""),
        item(0x4A, b"", b"media-size") + item(0x34, b"", b""),
        item(0x4A, b"", b"x-dimension") + item(0x21, b"", struct.pack(">i", 21000)),
        item(0x4A, b"", b"y-dimension") + item(0x21, b"", struct.pack(">i", 29700)),
        item(0x37, b"", b""),
        item(0x4A, b"", b"media-type") + item(0x44, b"", b"stationery"),
        item(0x42, b"", "Papier à en-tête".encode()),
        item(0x37, b"", b""),
    )
    message = Message((2, 0), 0x0B, 7, (Group(GroupTag.OPERATION, (Attribute.of("media-col", media),)),))
    assert encode(message) == octets
    assert decode(octets) == message


@given(MESSAGES)
@settings(max_examples=100)
def test_what_is_written_is_read_back(message: Message) -> None:
    """decode(encode(m)) == m for every message, with mixed 1setOf, nested collections and unknown tags."""
    assert decode(encode(message)) == message


@given(MESSAGES, st.binary(max_size=30), st.data())
@settings(max_examples=50)
def test_cuts_do_not_matter(message: Message, document: bytes, data: st.DataObject) -> None:
    """However the network cuts a request, the message and the start of the document are the same."""
    octets = encode(message) + document
    at = data.draw(st.lists(st.integers(0, len(octets)), max_size=6).map(sorted))
    chunks = iter([octets[a:b] for a, b in zip([0, *at], [*at, len(octets)], strict=True)])
    decoder = Decoder()
    while not decoder.feed(next(chunks)):
        assert decoder.rest == b""
    assert decoder.message == message
    assert decoder.rest + b"".join(chunks) == document


@given(MESSAGES)
@settings(max_examples=20)
def test_cut_at_every_octet_is_a_bad_request(message: Message) -> None:
    """A request that ends anywhere before its end-of-attributes-tag is refused with 0x0400."""
    octets = encode(message)
    for end in range(len(octets)):
        with pytest.raises(IppError) as refused:
            decode(octets[:end])
        assert refused.value.status == Status.CLIENT_ERROR_BAD_REQUEST


@given(st.one_of(st.binary(max_size=200), st.binary(max_size=200).map(lambda tail: HEADER + b"\x01" + tail)))
@example(b"")
@settings(max_examples=300)
def test_any_octets_are_a_message_or_an_ipp_error(octets: bytes) -> None:
    """No octets raise anything but an IppError, and what is accepted can be written again and means the same."""
    try:
        message, _ = decode_prefix(octets)
    except IppError as error:
        assert error.status in (Status.CLIENT_ERROR_BAD_REQUEST, Status.CLIENT_ERROR_REQUEST_ENTITY_TOO_LARGE)
    else:
        assert decode(encode(message)) == message


@given(MESSAGES, st.data())
@settings(max_examples=100)
def test_damaged_messages_are_read_or_refused(message: Message, data: st.DataObject) -> None:
    """A true message with some octets changed never raises anything but an IppError."""
    octets = bytearray(encode(message))
    for _ in range(data.draw(st.integers(1, 4))):
        octets[data.draw(st.integers(0, len(octets) - 1))] = data.draw(st.integers(0, 255))
    try:
        damaged, _ = decode_prefix(bytes(octets))
    except IppError:
        return
    assert decode(encode(damaged)) == damaged


BEGIN, END = item(0x34, b"", b""), item(0x37, b"", b"")
MALFORMED = {
    "a value before any group": HEADER + item(0x21, b"a", b"\0\0\0\1") + b"\x03",
    "the reserved delimiter 0x00": HEADER + b"\x00\x03",
    "an additional value without an attribute": request(item(0x21, b"", b"\0\0\0\1")),
    "an integer of three octets": request(item(0x21, b"a", b"\0\0\1")),
    "a boolean of 2": request(item(0x22, b"a", b"\2")),
    "an out-of-band value with octets": request(item(0x13, b"a", b"x")),
    "a negative length": request(b"\x44\x80\x00"),
    "a name that is not US-ASCII": request(item(0x21, b"\xe9", b"\0\0\0\1")),
    "month 13": request(item(0x31, b"a", bytes.fromhex("07ea0d050e1e0f092b0100"))),
    "a dateTime of 8 octets": request(item(0x31, b"a", bytes.fromhex("07ea0b050e1e0f09"))),
    "an offset of 15 hours": request(item(0x31, b"a", bytes.fromhex("07ea0b050e1e0f092b0f00"))),
    "a dateTime with the sign *": request(item(0x31, b"a", bytes.fromhex("07ea0b050e1e0f092a0100"))),
    "a language longer than its value": request(item(0x35, b"a", bytes.fromhex("0009 6672"))),
    "octets after a text with language": request(item(0x35, b"a", bytes.fromhex("0002 6672 0001 61 00"))),
    "a collection left open": request(item(0x34, b"a", b""), item(0x4A, b"", b"m"), item(0x21, b"", b"\0\0\0\1")),
    "a group within a collection": request(item(0x34, b"a", b""), b"\x02", END),
    "an attribute within a collection": request(item(0x34, b"a", b""), item(0x21, b"b", b"\0\0\0\1"), END),
    "a member without a name": request(item(0x34, b"a", b""), item(0x21, b"", b"\0\0\0\1"), END),
    "a member with an empty name": request(
        item(0x34, b"a", b""), item(0x4A, b"", b""), item(0x21, b"", b"\0\0\0\1"), END
    ),
    "a member without a value": request(item(0x34, b"a", b""), item(0x4A, b"", b"m"), END),
    "the end of no collection": request(item(0x37, b"a", b"")),
    "a member of no collection": request(item(0x4A, b"a", b"m")),
    "nine collections in one another": request(
        item(0x34, b"a", b"") + (item(0x4A, b"", b"m") + BEGIN) * 8 + END * 9,
    ),
    "octets after the attributes": request() + b"%PDF",
}


@pytest.mark.parametrize("octets", MALFORMED.values(), ids=MALFORMED.keys())
def test_malformed_requests_are_refused(octets: bytes) -> None:
    """What RFC 8010 does not allow is answered with client-error-bad-request."""
    with pytest.raises(IppError) as refused:
        decode(octets)
    assert refused.value.status == Status.CLIENT_ERROR_BAD_REQUEST


def test_eight_collections_in_one_another_are_read() -> None:
    """The depth limit is the last depth that works."""
    octets = request(item(0x34, b"a", b"") + (item(0x4A, b"", b"m") + BEGIN) * 7 + END * 8)
    assert encode(decode(octets)) == octets


@pytest.mark.parametrize(
    ("limits", "octets"),
    [
        (Limits(octets=100), request(item(0x41, b"a", bytes(100)))),
        (Limits(octets=100), request(item(0x41, b"a", bytes(200)), end=b"")),
        (Limits(values=3), request(item(0x21, b"a", b"\0\0\0\1") * 3)),
    ],
)
def test_requests_beyond_the_limits_are_too_large(limits: Limits, octets: bytes) -> None:
    """Attributes are limited in octets and in number, whether or not they ever end."""
    with pytest.raises(IppError) as refused:
        decode_prefix(octets, limits)
    assert refused.value.status == Status.CLIENT_ERROR_REQUEST_ENTITY_TOO_LARGE


def test_a_document_is_never_read() -> None:
    """The limits count attributes only: a document in the same chunk may be of any size."""
    decoder = Decoder(Limits(octets=100))
    assert decoder.feed(request() + bytes(10_000))
    assert decoder.rest == bytes(10_000)
    with pytest.raises(ValueError, match="document"):
        decoder.feed(b"more")


def test_the_header_is_known_before_the_rest_fails() -> None:
    """A malformed request is still answered under its own version and request-id."""
    decoder = Decoder()
    with pytest.raises(IppError):
        decoder.feed(request(item(0x21, b"a", b"")))
    assert decoder.header == Message((2, 0), 0x0B, 7)
    with pytest.raises(IppError):
        _ = decoder.message


@pytest.mark.parametrize(
    "attribute",
    [
        Attribute.of("a", ipp.integer(2**31)),
        Attribute.of("a", ipp.text("x" * 0x8000)),
        Attribute.of("", ipp.integer(1)),
        Attribute.of("é", ipp.integer(1)),
        Attribute.of("a", Value(Tag.INTEGER, "1")),
        Attribute.of("a", Value(Tag.NO_VALUE, "1")),
        Attribute.of("a", Value(Tag.OCTET_STRING, 5)),
        Attribute.of("a", Value(Tag.COLLECTION, 5)),
        Attribute.of("a", Value(Tag.END_COLLECTION, b"")),
        Attribute.of("a", Value(0x01, b"")),
        Attribute.of("a", Value(Tag.DATE_TIME, datetime(2026, 1, 1))),  # noqa: DTZ001 - the naive time is the case
    ],
)
def test_what_ipp_cannot_carry_is_not_written(attribute: Attribute) -> None:
    """The encoder raises ValueError rather than write octets that mean something else."""
    with pytest.raises(ValueError):
        encode(Message((2, 0), 0, 1, (Group(1, (attribute,)),)))


@pytest.mark.parametrize("tag", [0x00, 0x03, 0x10])
def test_only_delimiters_begin_groups(tag: int) -> None:
    """The end-of-attributes-tag, the reserved 0x00 and value tags are no groups."""
    with pytest.raises(ValueError, match="group"):
        encode(Message((2, 0), 0, 1, (Group(tag),)))


def test_times_that_rfc_2579_cannot_write() -> None:
    """An offset with seconds is written in UTC, and a leap second is read as the second before it."""
    lmt = datetime(1900, 1, 1, tzinfo=timezone(timedelta(minutes=9, seconds=21)))
    assert only_value(encode(Message((2, 0), 0, 1, (Group(1, (Attribute.of("a", ipp.date_time(lmt)),)),)))).data == lmt
    leap = only_value(request(item(0x31, b"a", bytes.fromhex("07e00c1f173b3c002b0000"))))
    assert leap.data == datetime(2016, 12, 31, 23, 59, 59, tzinfo=UTC)


def test_an_attribute_has_a_value_and_a_time_has_a_zone() -> None:
    """An empty 1setOf and a naive time cannot be built: IPP has no octets for them."""
    with pytest.raises(ValueError, match="no_value"):
        Attribute.of("a")
    with pytest.raises(ValueError, match="zone"):
        ipp.date_time(datetime(2026, 1, 1))  # noqa: DTZ001 - the naive time is the case
