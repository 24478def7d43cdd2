"""IPP requests as the fuzzer changes them: item by item, and by what the registry says of each attribute.

One rule: what is cut is put together again as it was; what cannot be cut stands in the rest.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from datetime import UTC, datetime
from random import Random
from typing import NamedTuple

from printerd.ipp.attributes import ATTRIBUTES, MEMBERS, Kind, Syntax, attribute
from printerd.ipp.codec import encode
from printerd.ipp.message import Attribute, Group, GroupTag, Message, Tag, collection, keyword, range_of_integer
from printerd.ipp.registry import Operation
from tests.fuzz.mutation import NUMBERS, TEXTS, octets

URI = "ipp://localhost/ipp/print"
PDF = b"%PDF-1.7\n% FA-2026-0042\nstartxref\n9\n%%EOF\n"
NOW = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
HEAD = struct.Struct(">BBHi")


class Item(NamedTuple):
    """A delimiter has neither name nor value."""

    tag: int
    name: bytes = b""
    value: bytes = b""

    def octets(self) -> bytes:
        if self.tag < 0x10:
            return bytes([self.tag])
        sizes = [struct.pack(">H", min(len(field), 0xFFFF)) for field in (self.name, self.value)]
        return bytes([self.tag]) + sizes[0] + self.name + sizes[1] + self.value


class Cut(NamedTuple):
    """A request in its parts: eight octets, items, and what follows."""

    head: bytes
    items: list[Item]
    rest: bytes

    def octets(self) -> bytes:
        return self.head + b"".join(item.octets() for item in self.items) + self.rest


def cut(data: bytes) -> Cut:
    """``cut(data).octets() == data``, whatever it is."""
    items, at = list[Item](), 8
    while at < len(data):
        tag = data[at]
        if tag < 0x10:
            items.append(Item(tag))
            at += 1
            if tag == 3:
                break
            continue
        fields, end = [], at + 1
        for _ in range(2):
            size = int.from_bytes(data[end : end + 2])
            fields.append(data[end + 2 : end + 2 + size])
            end += 2 + size
        if end > len(data):
            break
        items.append(Item(tag, *fields))
        at = end
    return Cut(data[:8], items, data[at:])


# Changing

_SYNTAXES: Mapping[str, Syntax] = {
    name: syntax for table in (*ATTRIBUTES.values(), MEMBERS) for name, syntax in table.items()
}
_NAMES = sorted(_SYNTAXES)
_OPERATIONAL = sorted(ATTRIBUTES[Kind.OPERATION])
_TEMPLATES = sorted(ATTRIBUTES[Kind.JOB_TEMPLATE])
_WORDS = (
    "none", "gzip", "deflate", "application/pdf", "text/plain", "application/octet-stream", "completed",
    "not-completed", "all", "job-template", "printer-description", "indefinite", "no-hold", "en", "fr", "utf-8",
    "us-ascii", "display", "one-sided", "iso_a4_210x297mm", URI, f"{URI}/1", f"{URI}/2", "anna", "ippget",
    "job-completed", "job-state-changed", "urn:uuid:6f1f1a6e-7a51-4b52-9f5e-0c3a5d1c7c11",
)  # fmt: skip
_GROUPS = tuple(int(tag) for tag in GroupTag)
WORDS = tuple(word.encode() for word in (*_NAMES, *_WORDS))
_bytewise = octets(WORDS)


def mutate(data: bytes, random: Random) -> bytes:
    """One to four changes of items, of the head or of what follows."""
    head, items, rest = cut(data)
    for _ in range(random.randint(1, 4)):
        kind = random.random()
        if kind < 0.1:
            head = _other_head(head, random)
        elif kind < 0.15:
            rest = _bytewise(rest, random)
        elif kind < 0.35 or not items:
            items.insert(random.randint(0, len(items)), fitting(random.choice(_NAMES), random))
        else:
            _change(items, random)
    return Cut(head, items, rest).octets()


def _other_head(head: bytes, random: Random) -> bytes:
    major, minor, code, number = HEAD.unpack(head.ljust(8, b"\0")[:8])
    if random.random() < 0.6:
        code = random.choice((*Operation, random.choice(NUMBERS)))
    elif random.random() < 0.5:
        number = random.choice(NUMBERS)
    else:
        major, minor = random.choice(((1, 0), (1, 1), (2, 0), (2, 2), (3, 0), (0, 0), (255, 255)))
    return HEAD.pack(major, minor, code & 0xFFFF, (number + 2**31) % 2**32 - 2**31)


def _change(items: list[Item], random: Random) -> None:
    at = random.randrange(len(items))
    item = items[at]
    kind = random.randrange(8)
    if kind == 0:
        del items[at]
    elif kind == 1:
        items.insert(random.randint(0, len(items)), item)
    elif kind == 2:
        items[at] = item._replace(tag=random.choice((*Tag, *_GROUPS, random.randrange(256))))
    elif kind == 3:
        items[at] = item._replace(name=random.choice((b"", random.choice(_NAMES).encode(), b"\xff", item.name * 2)))
    elif kind == 4:
        items[at] = item._replace(value=_bytewise(item.value, random))
    elif kind == 5:
        items[at] = Item(item.tag, item.name, value_of(item.tag, random))
    elif kind == 6:
        items[at : at + 1] = [item, Item(item.tag, b"", value_of(item.tag, random))]
    else:
        other = random.randrange(len(items))
        items[at], items[other] = items[other], item


def fitting(name: str, random: Random) -> Item:
    """An attribute with a value of the kind that the registry gives it, most often within its bounds."""
    choice = random.choice(_SYNTAXES[name].choices)
    return Item(int(choice.tag), name.encode(), value_of(int(choice.tag), random))


def value_of(tag: int, random: Random) -> bytes:
    """Octets as a value with that tag has them."""
    number = struct.pack(">I", random.choice((*range(8), *NUMBERS)) % 2**32)
    match tag:
        case Tag.INTEGER | Tag.ENUM:
            return number
        case Tag.BOOLEAN:
            return bytes([random.randrange(2)])
        case Tag.RANGE_OF_INTEGER:
            return number + struct.pack(">I", random.choice(NUMBERS) % 2**32)
        case Tag.RESOLUTION:
            return number + number + b"\x03"
        case Tag.DATE_TIME:
            return struct.pack(
                ">HBBBBBBcBB", 2026, random.randint(0, 13), 24, 9, 0, 0, 0, b"+", random.randint(0, 15), 0
            )
        case Tag.TEXT_WITH_LANGUAGE | Tag.NAME_WITH_LANGUAGE:
            text = random.choice((*_WORDS, *TEXTS)).encode()[:300]
            return b"\0\2fr" + struct.pack(">H", len(text)) + text
        case tag if tag < 0x20 or tag == Tag.COLLECTION or tag == Tag.END_COLLECTION:
            return b""
        case Tag.MEMBER_ATTR_NAME:
            return random.choice(sorted(MEMBERS)).encode()
    text = random.choice((*_WORDS, *_WORDS, *TEXTS, random.choice(_OPERATIONAL), random.choice(_TEMPLATES)))
    return text.encode()[:1100]


# Seeds


def request(
    operation: int,
    *more: Attribute,
    user: str = "anna",
    groups: tuple[Group, ...] = (),
    version: tuple[int, int] = (2, 0),
) -> bytes:
    """A request as a print client makes it."""
    given = (
        attribute("attributes-charset", "utf-8"),
        attribute("attributes-natural-language", "en"),
        attribute("printer-uri", URI),
        attribute("requesting-user-name", user),
        *more,
    )
    return encode(Message(version, operation, 7, (Group(GroupTag.OPERATION, given), *groups)))


_JOB, _LAST = attribute("job-id", 1), attribute("last-document", True)
_SUBSCRIBED = Group(
    GroupTag.SUBSCRIPTION, (attribute("notify-pull-method", "ippget"), attribute("notify-events", "job-completed"))
)


def _template() -> Group:
    """What a client asks of a job: right values, and one that nobody knows."""
    media = collection(
        attribute("media-size", {"x-dimension": 21000, "y-dimension": 29700}), attribute("media-type", "stationery")
    )
    asked = (
        attribute("copies", 2),
        attribute("sides", "two-sided-long-edge"),
        Attribute.of("media-col", media),
        Attribute.of("page-ranges", range_of_integer(1, 2)),
        Attribute.of("x-unknown", keyword("x")),
    )
    return Group(GroupTag.JOB, asked)


def requests() -> dict[str, bytes]:
    """Requests of all kinds, and some documents behind them."""
    template = _template()
    document = attribute("document-number", 1)
    until = Group(GroupTag.JOB, (attribute("job-hold-until-time", NOW), attribute("job-name", "FA-3")))
    named = Group(GroupTag.DOCUMENT, (attribute("document-name", "FA-4.pdf"),))
    words = Group(GroupTag.PRINTER, (attribute("printer-info", "Invoices"),))
    told = {
        "print-job": request(Operation.PRINT_JOB, attribute("job-name", "FA-1"), groups=(template,)) + PDF,
        "print-text": request(Operation.PRINT_JOB, attribute("document-format", "text/plain")) + b"Total 12,00\n\f",
        "print-held": request(Operation.PRINT_JOB, groups=(until, _SUBSCRIBED)) + PDF,
        "validate-job": request(Operation.VALIDATE_JOB, attribute("ipp-attribute-fidelity", True), groups=(template,)),
        "create-job": request(Operation.CREATE_JOB, attribute("job-name", "FA-2")),
        "send-document": request(Operation.SEND_DOCUMENT, _JOB, _LAST) + PDF,
        "send-first": request(Operation.SEND_DOCUMENT, _JOB, attribute("last-document", False), groups=(named,)) + PDF,
        "send-nothing": request(Operation.SEND_DOCUMENT, _JOB, _LAST),
        "cancel-my-jobs": request(Operation.CANCEL_MY_JOBS, attribute("job-ids", 1, 2)),
        "get-job": request(Operation.GET_JOB_ATTRIBUTES, _JOB, attribute("requested-attributes", "all")),
        "get-jobs": request(
            Operation.GET_JOBS, attribute("which-jobs", "all"), attribute("my-jobs", True), attribute("limit", 5)
        ),
        "get-printer": request(
            Operation.GET_PRINTER_ATTRIBUTES, attribute("requested-attributes", "all", "media-col-database")
        ),
        "identify": request(Operation.IDENTIFY_PRINTER, attribute("identify-actions", "display")),
        "set-job": request(Operation.SET_JOB_ATTRIBUTES, _JOB, groups=(until,)),
        "set-document": request(Operation.SET_DOCUMENT_ATTRIBUTES, _JOB, document, groups=(named,)),
        "get-document": request(Operation.GET_DOCUMENT_ATTRIBUTES, _JOB, document),
        "set-printer": request(Operation.SET_PRINTER_ATTRIBUTES, groups=(words,)),
        "subscribe": request(Operation.CREATE_PRINTER_SUBSCRIPTIONS, groups=(_SUBSCRIBED,)),
        "subscribe-job": request(
            Operation.CREATE_JOB_SUBSCRIPTIONS, attribute("notify-job-id", 1), groups=(_SUBSCRIBED,)
        ),
        "get-events": request(Operation.GET_NOTIFICATIONS, attribute("notify-subscription-ids", 1)),
        "renew": request(
            Operation.RENEW_SUBSCRIPTION,
            attribute("notify-subscription-id", 1),
            attribute("notify-lease-duration", 60),
        ),
    }
    told |= {words_of(code): request(code, _JOB) for code in _OF_A_JOB}
    return told | {words_of(code): request(code) for code in _OF_THE_PRINTER}


_OF_A_JOB = (
    Operation.CANCEL_JOB,
    Operation.CLOSE_JOB,
    Operation.HOLD_JOB,
    Operation.RELEASE_JOB,
    Operation.RESTART_JOB,
    Operation.GET_DOCUMENTS,
)
_OF_THE_PRINTER = (
    Operation.PAUSE_PRINTER,
    Operation.RESUME_PRINTER,
    Operation.DISABLE_PRINTER,
    Operation.HOLD_NEW_JOBS,
    Operation.RELEASE_HELD_NEW_JOBS,
    Operation.SUSPEND_CURRENT_JOB,
    Operation.GET_SUBSCRIPTIONS,
    Operation.GET_PRINTER_SUPPORTED_VALUES,
)


def words_of(code: Operation) -> str:
    return code.name.lower().replace("_", "-")
