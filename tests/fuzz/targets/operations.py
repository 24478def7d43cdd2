"""The printer as IPP clients meet it: requests one after the other, from octets to operation to answer.

One rule: every request is answered under its own number, by a status of the standard that is not our own failure; what
was acknowledged is there. An input is requests, each behind an octet (who sends it, and how) and its length.
"""

from __future__ import annotations

import struct
from random import Random
from typing import Any, NamedTuple

from printerd.ipp.attributes import ATTRIBUTES, Kind
from printerd.ipp.codec import decode, decode_prefix
from printerd.ipp.message import OUT_OF_BAND, GroupTag, Message
from printerd.ipp.registry import VERSIONS, Operation, Status
from tests.fuzz import ipp
from tests.fuzz.target import Target
from tests.fuzz.world import OPERATOR, world

HOSTS = ("192.0.2.7", "192.0.2.8", OPERATOR, "127.0.0.1")
PIECES = (1 << 20, 1, 7, 60)
COUNTED, LEAVES = 0x10, 0x20
MOST = 6
_HEAD = struct.Struct(">BH")
FIRST_ERROR = 0x0100
"""Statuses below it are successful (RFC 8011 appendix B)."""
MAKE = (Operation.PRINT_JOB, Operation.SEND_DOCUMENT, Operation.CREATE_JOB)
"""The operations whose success is a job's, or a document's, for ever."""
_KNOWN = {
    GroupTag.JOB: (Kind.JOB_TEMPLATE, Kind.JOB_DESCRIPTION, Kind.JOB_STATUS),
    GroupTag.PRINTER: (Kind.PRINTER_DESCRIPTION, Kind.PRINTER_STATUS),
}


class Sent(NamedTuple):
    """A request and how it comes. ``how``: two bits for the host, two for the size of its pieces, then flags."""

    how: int
    octets: bytes

    @property
    def scope(self) -> dict[str, Any]:
        headers = [(b"host", b"localhost"), (b"content-type", b"application/ipp")]
        if self.how & COUNTED:
            headers.append((b"content-length", str(len(self.octets)).encode()))
        return {
            "type": "http",
            "method": "POST",
            "path": "/ipp/print",
            "scheme": "http",
            "headers": headers,
            "server": ("192.0.2.1", 631),
            "client": (HOSTS[self.how & 3], 49152),
        }

    @property
    def pieces(self) -> list[bytes]:
        size = PIECES[self.how >> 2 & 3]
        return [self.octets[at : at + size] for at in range(0, len(self.octets), size)]


def cut(data: bytes) -> list[Sent]:
    sent, at = [], 0
    while at + _HEAD.size <= len(data) and len(sent) < MOST:
        how, size = _HEAD.unpack_from(data, at)
        at += _HEAD.size
        sent.append(Sent(how, data[at : at + size]))
        at += size
    return sent


def together(sent: list[Sent]) -> bytes:
    return b"".join(_HEAD.pack(one.how, len(one.octets)) + one.octets for one in sent)


def once(data: bytes) -> None:
    with world().fresh():
        acknowledged = [done for sent in cut(data) if (done := _answered(sent))]
        assert {number for number, _ in acknowledged} <= {job.number for job in world().rows()}
        assert {document for _, document in acknowledged if document} <= set(world().documents())


def _answered(sent: Sent) -> tuple[int, bytes] | None:
    """The number of the job that was acknowledged, and the document, empty when it came packed or not at all."""
    answer = world().ask(sent.pieces, sent.scope, leaves=bool(sent.how & LEAVES))
    if answer is None:
        assert sent.how & LEAVES
        return None
    status, octets = answer
    if status != 200:
        assert (status, len(sent.octets) < 8) == (400, True), answer
        return None
    message = decode(octets)
    _require_sound(sent, message)
    if message.code >= FIRST_ERROR or _code(sent) not in MAKE:
        return None
    request, consumed = decode_prefix(sent.octets)
    plain = request.operation.text("compression", "none") == "none"
    return message.first(GroupTag.JOB).number("job-id"), sent.octets[consumed:] if plain else b""


def _code(sent: Sent) -> int:
    return int.from_bytes(sent.octets[2:4])


def _require_sound(sent: Sent, answer: Message) -> None:
    assert answer.request_id == int.from_bytes(sent.octets[4:8], signed=True)
    assert answer.version in VERSIONS
    assert Status(answer.code) != Status.SERVER_ERROR_INTERNAL_ERROR, answer
    for group in answer.groups:
        tables = [ATTRIBUTES[kind] for kind in _KNOWN.get(GroupTag(group.tag), ())]
        for given in group:
            syntaxes = [table[given.name] for table in tables if given.name in table]
            known = not syntaxes or given.values[0].tag in OUT_OF_BAND
            assert known or any(syntax.accepts(given) for syntax in syntaxes), given


# Inputs


def seeds() -> dict[str, bytes]:
    made = ipp.requests()
    stories = {
        "printed-and-asked": ("print-job", "get-job", "get-jobs", "cancel-job"),
        "created-and-sent": ("create-job", "send-first", "send-document", "get-documents", "send-document"),
        "created-and-closed": ("create-job", "send-nothing", "close-job", "get-jobs"),
        "created-and-canceled": ("create-job", "cancel-my-jobs", "send-document"),
        "asked": ("get-printer", "validate-job", "identify", "print-text", "get-printer-supported-values"),
        "held": ("print-held", "release-job", "hold-job", "set-job", "get-events"),
        "of-documents": ("print-job", "set-document", "get-document", "restart-job"),
        "heard": ("subscribe", "print-job", "subscribe-job", "get-events", "renew", "get-subscriptions"),
    }
    managed = ("pause-printer", "print-job", "set-printer", "resume-printer", "suspend-current-job", "get-jobs")
    closed = ("hold-new-jobs", "print-job", "release-held-new-jobs", "disable-printer", "print-job", "get-printer")
    found = {name: together([Sent(COUNTED, made[one]) for one in story]) for name, story in stories.items()}
    found["managed"] = together([Sent(2, made[one]) for one in managed])
    found["closed"] = together([Sent(2, made[one]) for one in closed])
    found["of-two-hosts"] = together(
        [Sent(4, made["create-job"]), Sent(1, made["cancel-job"]), Sent(2, made["get-job"])]
    )
    found["broken-off"] = together([Sent(LEAVES, made["print-job"]), Sent(COUNTED, made["print-job"])])
    return found


def mutate(data: bytes, random: Random) -> bytes:
    """Another order, another sender, a request more or fewer, or a request that is another."""
    sent, kind = cut(data), random.random()
    if not sent or kind < 0.15:
        made = list(ipp.requests().values())
        sent.insert(random.randint(0, len(sent)), Sent(random.randrange(64), random.choice(made)))
        return together(sent)
    at = random.randrange(len(sent))
    if kind < 0.25:
        sent[at] = sent[at]._replace(how=random.randrange(64))
    elif kind < 0.3:
        sent.append(sent[at])
    elif kind < 0.35:
        del sent[at]
    else:
        sent[at] = sent[at]._replace(octets=ipp.mutate(sent[at].octets, random)[:0xFFFF])
    return together(sent)


TARGET = Target(once, seeds, mutate, ipp.WORDS, longest=16 * 1024, mutations=600)
