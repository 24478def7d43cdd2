"""``python -m bench [PART ...]``: runs the parts one after the other and shows each table as it is ready.

One rule: whatever was started is ended, also when the run is broken off.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from rich.console import Console

from bench import measure, table
from bench.documents import Book
from bench.parts import PARTS, SEALS, Bench

WIDE = 200
"""Columns of a table that nobody looks at on a terminal."""


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench", description="Ours, its peers and the floor of the machine, side by side."
    )
    parser.add_argument(
        "parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; all of them when none is named"
    )
    parser.add_argument("--jobs", type=int, default=200, help="jobs at each level of capture")
    parser.add_argument("--batch", type=int, default=500, help="invoices of rate, and of the one job of batch")
    parser.add_argument("--prints", type=int, default=30, help="prints on the idle service")
    parser.add_argument("--large", type=int, default=200, help="MiB of the large document")
    parser.add_argument("--seal", choices=SEALS, nargs="+", default=list(SEALS), help="levels of the seals; both")
    parser.add_argument("--folder", type=Path, default=Path("/var/tmp"), help="where states lie: on a real disk")  # noqa: S108 - a folder of its own is made in it
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows here too")
    arguments = parser.parse_args()
    if unknown := [part for part in arguments.parts if part not in PARTS]:
        parser.error(f"no part {', '.join(unknown)}")
    return arguments


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
        bench = Bench(
            folder,
            Book(folder / "printed", datetime.now(UTC).date()),
            arguments.jobs,
            arguments.batch,
            arguments.prints,
            arguments.large,
            arguments.seal,
        )
        rows = []
        for part in arguments.parts or PARTS:
            found = list(PARTS[part](bench))
            table.show(console, found)
            rows += found
    if arguments.json:
        table.write(arguments.json, machine, rows)


if __name__ == "__main__":
    main()
