"""The manifest of a backup, which comes back from wherever it was kept.

One rule: bytes are a manifest, written again as they mean, whose paths stay inside; or a failure that says so.
"""

from __future__ import annotations

from dataclasses import asdict
from random import Random

from printerd.backup.manifest import Manifest, Object, Stored, decode
from printerd.errors import IntegrityError, RequestError
from tests.fuzz.mutation import of_json
from tests.fuzz.target import Target


def once(data: bytes) -> None:
    try:
        found = decode(data, "manifest.json")
    except (IntegrityError, RequestError) as failure:
        assert failure.lines()[0]
        return
    assert decode(found.encode(), "manifest.json") == found
    for file in found.files:
        assert ".." not in f"{file.path}/{file.stored}".split("/")
        assert "\0" not in file.path + file.stored


def seeds() -> dict[str, bytes]:
    file = Stored("printerd.db", "ab" * 32, 4096, "files/printerd.db.age", "cd" * 32, 4300)
    whole = Manifest(
        1,
        "20261124T040509Z-1f2e",
        "2026-11-24T04:05:09.000000Z",
        "1.0",
        "6f1f1a6e",
        False,
        ("age1x",),
        (file,),
        2,
        "ef" * 32,
        (),
    )
    empty = Manifest(
        1, "20261124T040509Z-1f2e", "2026-11-24T04:05:09.000000Z", "1.0", "", True, (), (), 0, "ef" * 32, ("full",)
    )
    return {"whole": whole.encode(), "empty": empty.encode()}


_KEYS = (*asdict(Object("a", 1, "b", 2, "a")), "path", "stored", "/etc/passwd", "../a", "a/../b", "files/a")
WORDS = tuple(key.encode() for key in _KEYS)
_json = of_json(_KEYS)


def mutate(data: bytes, random: Random) -> bytes:
    return _json(data, random)


TARGET = Target(once, seeds, mutate, WORDS)
