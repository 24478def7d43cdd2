"""``python -m bench [PART ...]``: runs the parts one after the other and shows each table as it is ready.

One rule: whatever was started is ended, also when the run is broken off. It ends with 1 when a promise was not kept:
a job that was lost or refused, a descriptor that was left.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from rich.console import Console

from bench import door, history, measure, parts, soak, table
from bench.documents import Book
from bench.run import SEALS, Bench
from bench.table import Row

WIDE = 200
"""Columns of a table that nobody looks at on a terminal."""
PARTS: Mapping[str, Callable[[Bench], Iterator[Row]]] = {
    part.__name__: part
    for part in (
        door.capture, door.attributes, parts.idle, parts.rate, parts.batch, parts.tasks, parts.memory, parts.start,
        history.history, soak.soak,
    )
}  # fmt: skip
ONLY_BY_NAME = ("soak",)
"""Parts that take longer than all others together."""


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench", description="Ours, its peers and the floor of the machine, side by side."
    )
    listed = ", ".join(PARTS)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {listed}; all but soak when none is named")
    parser.add_argument("--jobs", type=int, default=1000, help="jobs at each level of capture, and of history")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 64], help="levels of capture and attributes")
    parser.add_argument("--seconds", type=float, default=5, help="how long attributes are asked for at each level")
    parser.add_argument("--batch", type=int, default=500, help="invoices of rate, and of the one job of batch")
    parser.add_argument("--prints", type=int, default=30, help="prints on the idle service")
    parser.add_argument("--large", type=int, default=200, help="MiB of the large document")
    parser.add_argument("--histories", type=int, nargs="+", default=[0, 10_000, 100_000], help="jobs of history")
    parser.add_argument("--accepted", type=int, default=100_000, help="jobs that soak prints")
    parser.add_argument("--processed", type=int, default=10_000, help="jobs that soak follows to the end")
    parser.add_argument("--crowd", type=int, default=10_000, help="half-open requests of soak")
    parser.add_argument("--seal", choices=SEALS, nargs="+", default=list(SEALS), help="levels of the seals; both")
    parser.add_argument("--folder", type=Path, default=Path("/var/tmp"), help="where states lie: on a real disk")  # noqa: S108 - a folder of its own is made in it
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows here too")
    arguments = parser.parse_args()
    if unknown := [part for part in arguments.parts if part not in PARTS]:
        parser.error(f"no part {', '.join(unknown)}")
    return arguments


def _bench(folder: Path, arguments: argparse.Namespace) -> Bench:
    sizes = {size.name: getattr(arguments, size.name) for size in fields(Bench) if size.name in arguments}
    return Bench(book=Book(folder / "printed", datetime.now(UTC).date()), **sizes | {"folder": folder})


@contextmanager
def _folder(above: Path) -> Iterator[Path]:
    """A folder of this run's own, readable by cupsd's filters, gone when it ends; TMPDIR is in it."""
    folder = Path(tempfile.mkdtemp(prefix="bench-", dir=above))
    folder.chmod(0o755)
    tempfile.tempdir = str(folder)
    try:
        yield folder
    finally:
        tempfile.tempdir = None
        shutil.rmtree(folder)


def _machine(folder: Path) -> dict[str, Any]:
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "cores": len(os.sched_getaffinity(0)),
        "system": platform.platform(),
        "python": platform.python_version(),
        "file system": measure.file_system(folder),
        "load before": round(os.getloadavg()[0], 2),
    }


def _end(_number: int, _frame: FrameType | None) -> NoReturn:
    sys.exit("ended by a signal")


def main() -> None:
    arguments = _arguments()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _end)  # by way of an exception, so that everything that was started is ended
    console = Console(width=None if sys.stdout.isatty() else WIDE)
    with _folder(arguments.folder) as folder:
        machine = _machine(folder)
        console.print(*(f"{name}: {value}" for name, value in machine.items()), sep=", ")
        bench, rows = _bench(folder, arguments), []
        for part in arguments.parts or [part for part in PARTS if part not in ONLY_BY_NAME]:
            found = list(PARTS[part](bench))
            table.show(console, found)
            rows += found
    if arguments.json:
        table.write(arguments.json, machine, rows)
    sys.exit(any(row.broken for row in rows))


if __name__ == "__main__":
    main()
