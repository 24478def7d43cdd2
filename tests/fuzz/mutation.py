"""How an input becomes another one: by its bytes, its lines, the values of its JSON.

One rule: the same bytes and the same :class:`random.Random` give the same bytes. What a format of our own needs lies
with its target; here is what several of them share.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from tests.fuzz.target import Mutate

NUMBERS = (
    0, 1, 2, 3, 4, 7, 8, 16, 31, 32, 63, 64, 100, 127, 128, 255, 256, 1000, 1023, 1024, 4096, 32767, 32768, 65535,
    65536, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**63 - 1, 2**63, 2**64, 10**30,
)  # fmt: skip
"""Where parsers change their minds."""
TEXTS = (
    "", " ", "0", "-1", "a", "é", "€", "\u00a0", "\u2028", "\u202e", "\ufeff", "\x00", "\x1b", "\r\n", "٣", "²", "ǅ",
    "𝔘", "e\u0301", "=1+1", "'=1", "../..", "%s", "{0}", "null", "true", "NaN", "1e999", "9" * 5000, "A" * 300,
    "é" * 200,
)  # fmt: skip
"""Texts that are handled otherwise than others."""


def octets(words: Sequence[bytes] = ()) -> Mutate:
    """One to four changes of bytes, of pieces, of ``words``."""

    def mutate(data: bytes, random: Random) -> bytes:
        for _ in range(random.randint(1, 4)):
            data = random.choice(_CHANGES)(data, random, words)
        return data

    return mutate


def _piece(data: bytes, random: Random) -> tuple[int, int]:
    """Where a short piece begins and ends."""
    start = random.randint(0, len(data))
    return start, min(len(data), start + random.choice((1, 1, 2, 4, 8, 32, 256)))


def _flip(data: bytes, random: Random, _words: Sequence[bytes]) -> bytes:
    if not data:
        return data
    at = random.randrange(len(data))
    return data[:at] + bytes([data[at] ^ 1 << random.randrange(8)]) + data[at + 1 :]


def _set(data: bytes, random: Random, _words: Sequence[bytes]) -> bytes:
    at = random.randint(0, len(data))
    return data[:at] + bytes([random.randrange(256)]) + data[at + 1 :]


def _drop(data: bytes, random: Random, _words: Sequence[bytes]) -> bytes:
    start, end = _piece(data, random)
    return data[:start] + data[end:]


def _repeat(data: bytes, random: Random, _words: Sequence[bytes]) -> bytes:
    start, end = _piece(data, random)
    return data[:end] + data[start:end] * random.choice((1, 1, 2, 30)) + data[end:]


def _move(data: bytes, random: Random, words: Sequence[bytes]) -> bytes:
    start, end = _piece(data, random)
    rest = data[:start] + data[end:]
    at = random.randint(0, len(rest))
    return rest[:at] + data[start:end] + rest[at:]


def _word(data: bytes, random: Random, words: Sequence[bytes]) -> bytes:
    start, end = _piece(data, random)
    word = random.choice(words) if words else random.choice(TEXTS).encode()
    return data[:start] + word + data[random.choice((start, end)) :]


def _number(data: bytes, random: Random, _words: Sequence[bytes]) -> bytes:
    at, size = random.randint(0, len(data)), random.choice((1, 2, 4))
    number = random.choice(NUMBERS) % (1 << 8 * size)
    return data[:at] + number.to_bytes(size, random.choice(("big", "little"))) + data[at + size :]


def _cut(data: bytes, random: Random, _words: Sequence[bytes]) -> bytes:
    return data[: random.randint(0, len(data))]


_CHANGES = (_flip, _flip, _set, _drop, _repeat, _move, _word, _word, _number, _cut)


def lines(words: Sequence[bytes]) -> Mutate:
    """Changes of whole lines: left out, twice, elsewhere, replaced by one of ``words``; and of bytes."""
    bytewise = octets(words)

    def mutate(data: bytes, random: Random) -> bytes:
        found = data.splitlines(keepends=True)
        if not found or random.random() < 0.4:
            return bytewise(data, random)
        at = random.randrange(len(found))
        kind = random.randrange(4)
        if kind == 0:
            del found[at]
        elif kind == 1:
            found.insert(random.randint(0, len(found)), found[at])
        elif kind == 2:
            found[at] = random.choice(words) + b"\n"
        else:
            found[at] = bytewise(found[at], random)
        return b"".join(found)

    return mutate


# JSON


def of_json(words: Sequence[str] = (), finish: Callable[[Any], Any] = lambda value: value) -> Mutate:
    """One to three changes of a JSON value, at any depth; ``finish`` sets what depends on the rest (a digest)."""
    bytewise = octets(tuple(word.encode() for word in words))

    def mutate(data: bytes, random: Random) -> bytes:
        try:
            value = json.loads(data)
        except (ValueError, RecursionError):
            return bytewise(data, random)
        for _ in range(random.randint(1, 3)):
            value = changed(value, random, words)
        text = json.dumps(finish(value), ensure_ascii=random.random() < 0.5)
        return text.encode("utf-8", "surrogatepass")

    return mutate


def changed(value: Any, random: Random, words: Sequence[str] = ()) -> Any:
    """The value with one of its parts, or itself, made another."""
    if isinstance(value, dict) and value and random.random() < 0.85:
        return _changed_object(value, random, words)
    if isinstance(value, list) and value and random.random() < 0.85:
        return _changed_list(value, random, words)
    return another(value, random, words)


def _changed_object(value: dict[str, Any], random: Random, words: Sequence[str]) -> dict[str, Any]:
    key = random.choice(list(value))
    kind = random.random()
    if kind < 0.1:
        return {name: part for name, part in value.items() if name != key}
    if kind < 0.2:
        return value | {random.choice([*words, *TEXTS]): value[key]}
    return value | {key: changed(value[key], random, words)}


def _changed_list(value: list[Any], random: Random, words: Sequence[str]) -> list[Any]:
    at = random.randrange(len(value))
    kind = random.random()
    if kind < 0.1:
        return value[:at] + value[at + 1 :]
    if kind < 0.2:
        return value + value[at:] * random.choice((1, 2, 20))
    return [*value[:at], changed(value[at], random, words), *value[at + 1 :]]


def another(value: Any, random: Random, words: Sequence[str] = ()) -> Any:
    """Most often of the same kind: a parser looks at those longer."""
    if isinstance(value, str) and random.random() < 0.8:
        return text(value, random, words)
    if isinstance(value, int | float) and random.random() < 0.7:
        return random.choice((value + 1, value - 1, -value, value * 1000, random.choice(NUMBERS)))
    return random.choice((
        None, True, False, 0.5, -1, float("inf"), random.choice(NUMBERS), random.choice([*words, *TEXTS]), [], {},
        [value], {"a": value},
    ))  # fmt: skip


def text(value: str, random: Random, words: Sequence[str] = ()) -> str:
    """A text with a piece left out, put in, repeated, or wholly another."""
    start = random.randint(0, len(value))
    end = min(len(value), start + random.choice((0, 1, 1, 4, 40)))
    put = random.choice(("", value[start:end] * 2, random.choice([*words, *TEXTS]), chr(random.randrange(0xD800))))
    return random.choice((value[:start] + put + value[end:], value[:start] + put + value[end:], put))
