"""What is seen while the samples are on their way: bars on a terminal, one plain line a finished step elsewhere."""

from __future__ import annotations

import time
from collections.abc import Mapping

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from printerd.demo.following import Counts

STEPS: Mapping[str, str] = {
    "archived": "Read, sealed, archived",
    "paper": "Put into the out-tray for paper",
    "mailed": "Mailed",
    "downloaded": "Opened and downloaded",
    "receipted": "Receipts filed and fetched",
}
"""Field of :class:`Counts` → what it counts."""


class Bars:
    """A context: shows how far each step is."""

    def __init__(self, console: Console, totals: Counts) -> None:
        self._console = console
        self._totals = totals
        self._began = time.monotonic()
        self._finished: set[str] = set()
        self._tasks: dict[str, TaskID] = {}
        self._progress = Progress(
            TextColumn("{task.description:<32}"),
            BarColumn(30, style="bright_black", complete_style="cyan", finished_style="green"),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
            disable=not console.is_terminal,
        )

    def __enter__(self) -> Bars:
        self._tasks = {step: self._progress.add_task(words, total=self._total(step)) for step, words in STEPS.items()}
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def show(self, counts: Counts) -> None:
        for step, words in STEPS.items():
            done = getattr(counts, step)
            self._progress.update(self._tasks[step], completed=done)
            if done >= self._total(step) and step not in self._finished:
                self._finished.add(step)
                self._tell(words, done)

    def _tell(self, words: str, done: int) -> None:
        if not self._console.is_terminal:
            self._console.print(f"{words:<32} {done:>3} of {done}, after {time.monotonic() - self._began:.1f} s")

    def _total(self, step: str) -> int:
        return int(getattr(self._totals, step))
