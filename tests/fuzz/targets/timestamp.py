"""What a timestamp authority answers, or whoever sits on the way to it: a TimeStampResp (RFC 3161) in DER.

One rule: bytes say what was signed and by whom (certificates may be added: none of them is believed for that), or they
are an :class:`IntegrityError`. The answer in ``kept-granted`` was made once, for :data:`DATA`.
"""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path
from random import Random
from typing import NamedTuple

from asn1crypto import parser, tsp  # type: ignore[import-untyped]

from printerd.errors import IntegrityError
from printerd.evidence import keys, signatures
from printerd.evidence.timestamp import LocalAuthority
from tests.fuzz.mutation import octets
from tests.fuzz.target import CORPORA, Target

DATA = b"FA-2026-0042"


@cache
def _granted() -> bytes:
    return (CORPORA / "timestamp/kept-granted").read_bytes()


def once(data: bytes) -> None:
    try:
        token = signatures.response(data, DATA)
    except IntegrityError as error:
        assert error.what
        return
    genuine = signatures.response(_granted(), DATA)
    assert (token.timestamp, token.nonce) == (genuine.timestamp, genuine.nonce)
    assert token.certificate.dump() == genuine.certificate.dump()


@cache
def authority() -> LocalAuthority:
    with tempfile.TemporaryDirectory() as folder:
        return LocalAuthority(keys.authority(Path(folder), "Au bon moulin"))


def request(digest: bytes) -> bytes:
    imprint = {"hash_algorithm": {"algorithm": "sha256"}, "hashed_message": digest}
    return bytes(tsp.TimeStampReq({"version": "v1", "message_imprint": imprint, "nonce": 7, "cert_req": True}).dump())


def seeds() -> dict[str, bytes]:
    refused = bytes(parser.emit(0, 1, 16, tsp.PKIStatusInfo({"status": "rejection", "fail_info": {"bad_alg"}}).dump()))
    return {"refused": refused, "bare": bytes(parser.emit(0, 1, 16, tsp.PKIStatusInfo({"status": "granted"}).dump()))}


# DER in its parts


class Part(NamedTuple):
    """One encoding: its identifier octets, and what it holds, in parts where it is constructed."""

    identifier: bytes
    contents: bytes | tuple[Part, ...]

    def octets(self) -> bytes:
        held = self.contents if isinstance(self.contents, bytes) else b"".join(part.octets() for part in self.contents)
        size = len(held)
        length = (
            bytes([size])
            if size < 128
            else bytes([0x80 | (size.bit_length() + 7) // 8]) + size.to_bytes((size.bit_length() + 7) // 8)
        )
        return self.identifier + length + held


def cut(data: bytes) -> tuple[Part, ...] | None:
    """The encodings that the bytes are; ``None`` when they are none."""
    parts = list[Part]()
    while data:
        try:
            length = parser.peek(data)
            _, method, _, head, contents, _ = parser.parse(data[:length], strict=True)
        except (ValueError, IndexError):
            return None
        identifier = head[:1]
        held = cut(contents) if method else None
        parts.append(Part(identifier, contents if held is None else held))
        data = data[length:]
    return tuple(parts)


WORDS = (b"\x30\x00", b"\x05\x00", b"\x06\x03\x55\x04\x03", b"\x02\x01\x00", b"\x80", b"\xff\xff")
_bytewise = octets(WORDS)


def mutate(data: bytes, random: Random) -> bytes:
    """A part left out, twice, elsewhere or other, with the lengths around it set right."""
    parts = cut(data)
    if not parts or random.random() < 0.2:
        return _bytewise(data, random)
    return b"".join(part.octets() for part in _changed(parts, random))


def _changed(parts: tuple[Part, ...], random: Random) -> tuple[Part, ...]:
    at = random.randrange(len(parts))
    part = parts[at]
    if isinstance(part.contents, tuple) and part.contents and random.random() < 0.8:
        new: tuple[Part, ...] = (part._replace(contents=_changed(part.contents, random)),)
    elif isinstance(part.contents, bytes) and random.random() < 0.5:
        new = (part._replace(contents=_bytewise(part.contents, random)),)
    else:
        new = random.choice(
            (
                (),
                (part, part),
                (part._replace(identifier=bytes([random.randrange(256)])),),
                (random.choice(parts), part),
            )
        )
    return parts[:at] + new + parts[at + 1 :]


TARGET = Target(once, seeds, mutate, WORDS, mutations=1000)
