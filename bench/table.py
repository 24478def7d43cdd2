"""The results: rows, shown as a table to people and as JSON to programs.

One rule: a row carries its figure, and beside it what makes the figure mean something: peers, target, floor.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Row:
    """``figure`` in ``unit``; ``reached`` is ``None`` where the design sets no target. ``floor`` has the same unit.

    A ``promise`` must be kept on every machine, however slow: the run fails when its target is not reached.
    """

    part: str
    what: str
    figure: float
    unit: str
    peers: Mapping[str, float] = field(default_factory=dict)
    target: str = ""
    reached: bool | None = None
    floor: float | None = None
    note: str = ""
    promise: bool = False

    @property
    def broken(self) -> bool:
        return self.promise and not self.reached

    @property
    def ratio(self) -> float | None:
        """How many times the floor is better; a rate is better when it is higher, all else when it is lower."""
        if not self.floor or not self.figure:
            return None
        return self.floor / self.figure if self.unit.endswith("/s") else self.figure / self.floor


def values(row: Row) -> dict[str, Any]:
    return asdict(row) | {"ratio": row.ratio}


def write(file: Path, machine: Mapping[str, Any], rows: Sequence[Row]) -> None:
    document = {"machine": dict(machine), "rows": [values(row) for row in rows]}
    file.write_text(json.dumps(document, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def show(console: Console, rows: Sequence[Row]) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("part", "what", "figure", "unit", "peers", "target", "reached", "floor", "× floor", "note"):
        table.add_column(title, justify="right" if title in ("figure", "floor", "× floor") else "left")
    for row in rows:
        table.add_row(*_cells(row))
    console.print(table)


def _cells(row: Row) -> list[str]:
    reached = {None: "", True: "yes", False: "NO"}[row.reached]
    peers = ", ".join(f"{name} {_number(figure)}" for name, figure in row.peers.items())
    ratio = "" if row.ratio is None else f"{row.ratio:.1f}"
    floor = "" if row.floor is None else _number(row.floor)
    return [row.part, row.what, _number(row.figure), row.unit, peers, row.target, reached, floor, ratio, row.note]


def _number(figure: float) -> str:
    """Three digits that count."""
    return f"{figure:.0f}" if figure >= 100 else f"{figure:.3g}"
