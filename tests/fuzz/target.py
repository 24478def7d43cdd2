"""A target of the fuzzer: a place that reads bytes of strangers, and what holds there whatever they are.

One rule: :attr:`Target.once` returns for every input. What the parser may raise it expects itself; what it lets out,
an input that takes longer than :data:`SECONDS` or more memory than :data:`MEMORY`, and a process that dies are finds.

Each module of ``tests/fuzz/targets`` has one, called ``TARGET``. Its corpus is a folder of the same name in
``tests/fuzz/corpora``: what the target's own :attr:`Target.seeds` make, and what is kept.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random

HERE = Path(__file__).parent
CORPORA = HERE / "corpora"
KEPT = ("found-", "kept-")
"""How the names of inputs begin that were finds, so that what was mended stays mended; and that no program makes twice
the same."""
SECONDS = 20
"""For one input; most take a millisecond, and other programs have the processor too."""
MEMORY = 1 << 30
"""Bytes for the whole process."""

Mutate = Callable[[bytes, Random], bytes]


@dataclass(frozen=True, slots=True)
class Target:
    """``seeds`` gives inputs by name; ``mutate`` makes another input of one, by what the input is made of.

    ``words`` are what the parser looks for; ``longest`` is in bytes. ``mutations`` are as many as a test tries.
    """

    once: Callable[[bytes], object]
    seeds: Callable[[], Mapping[str, bytes]]
    mutate: Mutate
    words: tuple[bytes, ...]
    longest: int = 4096
    mutations: int = 3000


def names() -> list[str]:
    """Every target."""
    return sorted(path.stem for path in (HERE / "targets").glob("*.py"))


def load(name: str) -> Target:
    target: Target = importlib.import_module(f"tests.fuzz.targets.{name}").TARGET
    return target


def corpus(name: str) -> dict[str, bytes]:
    """The inputs of a target that are kept, by the names of their files."""
    return {path.name: path.read_bytes() for path in sorted((CORPORA / name).iterdir())}
