"""Tries a target with atheris: libFuzzer keeps what reaches new lines of ours, and goes on from there.

One rule: what counts as a find is the same as without it (:mod:`tests.fuzz.target`). Started by ``make fuzz``, for
atheris is installed for it alone::

    python -m tests.fuzz.guided ipp --into build/fuzz/ipp --seconds 60
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from random import Random

import atheris  # type: ignore[import-not-found]  # in requirements/fuzz.txt

from tests.fuzz.target import CORPORA, MEMORY, SECONDS, Target, load

OURS = ["printerd", "receipt_service"]


def arguments(asked: argparse.Namespace, target: Target) -> list[str]:
    """What libFuzzer is told. The corpus grows in ``into``; the one of the tree is only read."""
    grown = asked.into / "corpus"
    grown.mkdir(parents=True, exist_ok=True)
    dictionary = asked.into / "words"
    dictionary.write_text("".join(f'"{_escaped(word)}"\n' for word in target.words if 0 < len(word) <= 64))
    end = f"-runs={asked.runs}" if asked.runs else f"-max_total_time={asked.seconds}"
    return [
        "guided",
        end,
        f"-max_len={target.longest}",
        f"-timeout={SECONDS}",
        f"-rss_limit_mb={MEMORY >> 20}",
        f"-dict={dictionary}",
        f"-artifact_prefix={asked.into}/",
        "-print_final_stats=1",
        "-detect_leaks=0",
        str(grown),
        str(CORPORA / asked.target),
    ]


def _escaped(word: bytes) -> str:
    return "".join(f"\\x{octet:02x}" for octet in word)


def main(words: list[str]) -> None:
    """Does not return: libFuzzer ends the process, with 0 when nothing was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.guided", description=__doc__)
    parser.add_argument("target")
    parser.add_argument("--into", type=Path, required=True)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--runs", type=int, default=0)
    asked = parser.parse_args(words)
    with atheris.instrument_imports(include=OURS):
        target = load(asked.target)

    def mutate(data: bytes, most: int, seed: int) -> bytes:
        random = Random(seed)  # noqa: S311 - no secret
        if random.random() < 0.5:
            data = target.mutate(data, random)[:most]
        return atheris.Mutate(data, most) if random.random() < 0.6 else data

    def once(data: bytes) -> None:
        target.once(data)

    atheris.Setup(arguments(asked, target), once, custom_mutator=mutate)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1:])
