"""The door of the CUPS backend: a line of JSON, then a document.

One rule: whatever is said, one answer comes, and it is a verdict; what is taken are the bytes that were counted.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from random import Random
from typing import Any

from printerd.cups_backend import VERDICTS
from printerd.listener.backend import Backend
from tests.fuzz import ipp
from tests.fuzz.mutation import octets, of_json
from tests.fuzz.target import Target
from tests.fuzz.world import world

HEADER: Mapping[str, Any] = {
    "queue": "invoices",
    "user": "marie",
    "host": "localhost",
    "title": "FA-2026-0042.pdf",
    "language": "fr",
    "media_type": "application/pdf",
    "options": {"copies": "2", "media": "A4"},
    "sender_key": "urn:uuid:6f1f1a6e-7a51-4b52-9f5e-0c3a5d1c7c11 12 1",
    "size": len(ipp.PDF),
}


def once(data: bytes) -> None:
    with world().fresh():
        door = Backend(world().intake, {"invoices": "inv"}, users=frozenset({os.getuid()}), idle=5.0)
        said = world().talk(data, door.serve)
        assert said.endswith(b"\n"), said
        answer = json.loads(said)
        assert answer["verdict"] in {*VERDICTS, "later"}, answer
        documents = world().documents()
        assert len(documents) == (answer["verdict"] == "taken")
        header, _, document = data.partition(b"\n")
        assert not documents or documents == [document[: json.loads(header)["size"]]]


def handed(document: bytes, **changes: object) -> bytes:
    return json.dumps({**HEADER, "size": len(document), **changes}).encode() + b"\n" + document


def seeds() -> dict[str, bytes]:
    return {
        "pdf": handed(ipp.PDF),
        "text": handed(b"Total 12,00\n", media_type="", sender_key=None, host="192.0.2.7"),
        "cut": handed(ipp.PDF, size=1000),
        "more": handed(ipp.PDF, size=5),
        "picture": handed(b"\x89PNG\r\n\x1a\n", media_type="image/png"),
        "nowhere": handed(ipp.PDF, queue="elsewhere"),
        "empty": handed(b""),
    }


_header = of_json((*HEADER, "application/postscript", "text/plain", "en", "192.0.2.7", "::1", "drafts"))
WORDS = (b"\n", b"{", b"}", b"null", b"\\ud800", b"\\u0000")
_bytewise = octets(WORDS)


def mutate(data: bytes, random: Random) -> bytes:
    if random.random() < 0.2:
        return _bytewise(data, random)
    header, feed, document = data.partition(b"\n")
    return _header(header, random).replace(b"\n", b" ") + feed + document


TARGET = Target(once, seeds, mutate, WORDS, mutations=800)
