"""One run: where it writes, what it prints, and how much of it; and what several parts do with that.

One rule: nothing here measures.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import load
from bench.documents import Book
from bench.instance import Ours

HELD = 1000
"""Jobs at most while the worker is held."""
WARM = 8
"""Invoices that are printed before anything counts: every process has done its work once."""
SEALS: Mapping[str, bool] = {"B-B": False, "B-T": True}
"""Level of the seals → ``timestamp.invoices``."""


@dataclass(frozen=True, slots=True)
class Bench:
    """The sizes of a run; ``python -m bench --help`` tells what each of them is."""

    folder: Path
    book: Book
    jobs: int
    clients: Sequence[int]
    seconds: float
    batch: int
    prints: int
    large: int
    histories: Sequence[int]
    accepted: int
    processed: int
    crowd: int
    seal: Sequence[str]


def warm(bench: Bench, ours: Ours) -> None:
    """Some invoices go the whole way, so that every process has done its work once."""
    load.send(ours.printer, bench.book.singles(WARM), 2)
    ours.wait_archived(WARM)
    ours.rest()


def percentiles(figures: Sequence[float]) -> tuple[float, float]:
    """Median and 95th percentile."""
    if len(figures) < 2:
        return (figures[0], figures[0]) if figures else (0.0, 0.0)
    return statistics.median(figures), statistics.quantiles(figures, n=20)[-1]


def largest(used: Mapping[str, float]) -> list[tuple[str, float]]:
    return sorted(used.items(), key=lambda item: -item[1])
