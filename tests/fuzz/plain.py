"""Tries a target without atheris: every input of its corpus, then as many mutations of them as are asked for.

One rule: the same seed tries the same inputs. The one that is being tried stands in the file ``current``, so that also
what kills, hangs or swells the process is known::

    python -m tests.fuzz.plain ipp --mutations 3000 --seed 7 --into build/fuzz/ipp
    python -m tests.fuzz.plain ipp build/fuzz/ipp/crash-0123abcd      # once more, with its traceback
"""

from __future__ import annotations

import argparse
import faulthandler
import hashlib
import os
import resource
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from random import Random

from tests.fuzz.mutation import octets
from tests.fuzz.target import MEMORY, SECONDS, Target, corpus, load

TOGETHER = 6 << 30
"""Bytes of addresses: threads and libraries reserve more than they use."""


def inputs(target: Target, known: list[bytes], mutations: int, seed: int) -> Iterator[bytes]:
    """What is known, then what is made of it: by what it is made of, by its bytes, or both."""
    yield from known
    bytewise = octets(target.words)
    for number in range(mutations):
        random = Random(f"{seed} {number}")  # noqa: S311 - no secret
        data = random.choice(known)
        kind = random.random()
        if kind < 0.8:
            data = target.mutate(data, random)
        if kind > 0.6:
            data = bytewise(data, random)
        yield data[: target.longest]


class Trial:
    """Tries inputs one after the other; ``into`` is the folder of what is found."""

    def __init__(self, target: Target, into: Path) -> None:
        into.mkdir(parents=True, exist_ok=True)
        self._target = target
        self._into = into
        self._current = os.open(into / "current", os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)

    def fails(self, data: bytes) -> bool:
        """Whether it is a find; then its traceback is written, and the input is kept under the name of its digest."""
        os.ftruncate(self._current, 0)
        os.pwrite(self._current, data, 0)
        faulthandler.dump_traceback_later(SECONDS, exit=True)
        try:
            self._target.once(data)
        except Exception:
            kept = self._into / f"crash-{hashlib.sha1(data, usedforsecurity=False).hexdigest()}"
            kept.write_bytes(data)
            traceback.print_exc()
            print(f"a find: {kept}", file=sys.stderr)
            return True
        finally:
            faulthandler.cancel_dump_traceback_later()
        return False


def main(words: list[str]) -> int:
    """1 at the first find."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.plain", description=__doc__)
    parser.add_argument("target")
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--mutations", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--into", type=Path)
    asked = parser.parse_args(words)
    resource.setrlimit(resource.RLIMIT_AS, (TOGETHER, TOGETHER))
    target = load(asked.target)
    known = [file.read_bytes() for file in asked.files] or list(corpus(asked.target).values())
    many = target.mutations if asked.mutations is None else asked.mutations
    trial = Trial(target, asked.into or Path("build/fuzz") / asked.target)
    tried = 0
    for data in inputs(target, known, 0 if asked.files else many, asked.seed):
        if trial.fails(data):
            return 1
        tried += 1
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
    print(f"{asked.target}: {tried} inputs, {used >> 20} MB")
    return 0 if used <= MEMORY else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
