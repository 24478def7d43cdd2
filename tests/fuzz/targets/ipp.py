"""The decoder of IPP and the checks of every request, on octets that come in any pieces.

One rule: octets are a message or an :class:`IppError` of two kinds, the same however they are cut; a message is written
again as it was meant, is checked into a request or a refusal, and both can be answered.
"""

from __future__ import annotations

from printerd.errors import IppError
from printerd.ipp.codec import Decoder, decode, decode_prefix, encode
from printerd.ipp.message import Message
from printerd.ipp.registry import Status
from printerd.ipp.request import check, refusal
from tests.fuzz import ipp
from tests.fuzz.target import Target

REFUSED = (Status.CLIENT_ERROR_BAD_REQUEST, Status.CLIENT_ERROR_REQUEST_ENTITY_TOO_LARGE)


def once(data: bytes) -> None:
    whole, step = _read([data]), len(data) % 5 + len(data) // 256 + 1
    assert _read([data[at : at + step] for at in range(0, len(data), step)]) == whole
    if isinstance(whole, int):
        return
    message, rest = whole
    assert decode(encode(message)) == message
    assert decode_prefix(data)[1] == len(data) - len(rest)
    try:
        answer = check(message).answer(Status.SUCCESSFUL_OK)
    except IppError as error:
        answer = refusal(message, error)
    assert decode(encode(answer)) == answer


def _read(pieces: list[bytes]) -> tuple[Message, bytes] | int:
    """The message and what follows it, or the status of the refusal."""
    decoder, left = Decoder(), list(pieces)
    try:
        while left and not decoder.feed(left.pop(0)):
            pass
        return decoder.message, decoder.rest + b"".join(left)
    except IppError as error:
        assert error.status in REFUSED
        return error.status


TARGET = Target(once, ipp.requests, ipp.mutate, ipp.WORDS)
