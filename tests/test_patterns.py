"""No text makes one of our own regular expressions slow: not a title, a page, a mail server's reply or a header.

A firm's own templates are not ours: they run in readers, which are killed (tests/pipeline/test_reading.py).
"""

from __future__ import annotations

import importlib
import pkgutil
import re
import time
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

import printerd
import receipt_service

LENGTH = 20_000
UNITS = ("a", "A1", "1", "1 ", "a.", "a:", "a@", "://a:", "/", "-", "- ", "<", "(", "é", "\n", " ", "\u00a0", "FR76 ",
         "N° ", '"', "'", "=", "\\", "A ")  # fmt: skip
"""What texts are made of here, one thing over and over."""
BEFORE = ("", "://", "-----BEGIN ", "Facture n° ")
"""How a text may begin so that a pattern starts to match."""


def patterns() -> dict[str, re.Pattern[Any]]:
    """Every compiled pattern that a module of ours keeps, by where it stands."""
    found: dict[str, re.Pattern[Any]] = {}
    for package in (printerd, receipt_service):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if module.name.rpartition(".")[2] not in ("__main__", "env") and ".versions" not in module.name:
                for name, value in vars(importlib.import_module(module.name)).items():
                    found |= {f"{module.name}.{name}: {one.pattern!r}": one for one in _within(value)}
    return found


def _within(value: object, depth: int = 3) -> Iterator[re.Pattern[Any]]:
    if isinstance(value, re.Pattern):
        yield value
    elif depth and isinstance(value, Mapping | tuple | list | frozenset | set):
        for inner in [*value, *(value.values() if isinstance(value, Mapping) else ())]:
            yield from _within(inner, depth - 1)


PATTERNS = patterns()


def test_the_patterns_are_found() -> None:
    """Those of the log, the pages, the parser and the mailer are among them, so the test of them tests something."""
    assert len(PATTERNS) > 30
    for place in ("printerd.logs.SECRETS", "printerd.console.app._HOST", "printerd.pipeline.parse._PATTERNS",
                  "receipt_service.outbox._ADDRESS", "receipt_service.links._FAMILIES"):  # fmt: skip
        assert any(name.startswith(place) for name in PATTERNS), place


@pytest.mark.parametrize("place", PATTERNS)
def test_no_text_makes_a_pattern_of_ours_slow(place: str) -> None:
    """Twenty thousand characters of anything take less than half a second of processor time."""
    pattern = PATTERNS[place]
    for before in BEFORE:
        for unit in UNITS:
            text: Any = (before + unit * LENGTH)[:LENGTH]
            began = time.process_time()
            pattern.search(text.encode() if isinstance(pattern.pattern, bytes) else text)
            assert time.process_time() - began < 0.5, (before, unit)
