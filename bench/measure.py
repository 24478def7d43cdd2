"""What processes cost: CPU time and memory, read from /proc, by the part that each plays in the service.

One rule: whoever is measured does not notice.
"""

from __future__ import annotations

import re
import statistics
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil  # type: ignore[import-untyped]  # it ships no types

ROLES: Mapping[str, str] = {
    "--only capture": "capture",
    "--only worker": "worker",
    "--only health": "health",
    "receipt_service": "receipts",
    "pipeline.reading:start": "readers",
    "evidence.sealing:start": "sealers",
}
"""What stands in the command line of a process → its part."""
MIB = 1 << 20
DATABASE = re.compile(r"\.db(-wal|-shm)?$")
LOOK = 0.5
"""Seconds that a process is looked at to see whether it rests."""
RESTS = 0.05
"""Share of a processor below which it does."""


def family(supervisor: int) -> dict[int, str]:
    """Every process of a service by its id, with its part."""
    first = psutil.Process(supervisor)
    return {process.pid: _part(" ".join(process.cmdline())) for process in (first, *first.children(recursive=True))}


def _part(command: str) -> str:
    return next((part for mark, part in ROLES.items() if mark in command), "supervisor")


def cpu(supervisor: int) -> dict[str, float]:
    """Seconds of CPU that each part has used since it began."""
    used: defaultdict[str, float] = defaultdict(float)
    for process, part in family(supervisor).items():
        times = psutil.Process(process).cpu_times()
        used[part] += times.user + times.system
    return used


def pss(supervisor: int, kind: str = "Pss") -> dict[str, float]:
    """MiB of each part; a page that several processes share counts in proportion (proc_pid_smaps(5)).

    ``Pss_Anon`` are those that were written: of the others, more or less count as other programs come and go.
    """
    used: defaultdict[str, float] = defaultdict(float)
    for process, part in family(supervisor).items():
        used[part] += _kib(Path(f"/proc/{process}/smaps_rollup"), kind) / 1024
    return used


def idle(process: int) -> bool:
    """Whether a program and its children do nothing at this moment; children that have ended count with it."""
    before = _busy(process)
    time.sleep(LOOK)
    return _busy(process) - before < RESTS * LOOK


def _busy(process: int) -> float:
    """Seconds of CPU of a program, its children, and theirs."""
    first, used = psutil.Process(process), 0.0
    for one in (first, *first.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            used += sum(one.cpu_times()[:4])
    return used


def descriptors(supervisor: int) -> dict[str, int]:
    """Open files, sockets and pipes of each part, but for databases: pools keep connections to them, as many as fit."""
    used: defaultdict[str, int] = defaultdict(int)
    for process, part in family(supervisor).items():
        used[part] += sum(not DATABASE.search(name) for name in _open(process))
    return used


def _open(process: int) -> Iterator[str]:
    """What each descriptor of a process is, as the kernel calls it (proc_pid_fd(5))."""
    for link in Path(f"/proc/{process}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            yield str(link.readlink())


def forget_peak(process: int) -> None:
    """Let the kernel begin anew with the peak (proc_pid_clear_refs(5))."""
    Path(f"/proc/{process}/clear_refs").write_text("5")


def peak(process: int) -> float:
    """MiB of memory that a process held at most (VmHWM)."""
    return _kib(Path(f"/proc/{process}/status"), "VmHWM") / 1024


def _kib(file: Path, name: str) -> int:
    line = next(line for line in file.read_text().splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1])


def file_system(folder: Path) -> str:
    """The type of the file system that a folder lies on, such as ``ext4``."""
    mounts = [line.split()[1:3] for line in Path("/proc/mounts").read_text().splitlines()]
    above = [(len(place), kind) for place, kind in mounts if folder.resolve().is_relative_to(place)]
    return max(above)[1]


# Over a run


@dataclass(frozen=True, slots=True)
class Sample:
    """``done`` units of work, and the MiB that each part had written at that moment."""

    done: int
    used: Mapping[str, float]

    @property
    def total(self) -> float:
        return sum(self.used.values())


@contextmanager
def sampled(supervisor: int, done: Callable[[], int], every: float) -> Iterator[list[Sample]]:
    """A sample at the beginning, one every so many seconds, and one at the end."""
    samples: list[Sample] = []
    ended = threading.Event()

    def look() -> None:
        samples.append(Sample(done(), pss(supervisor, "Pss_Anon")))

    def go_on() -> None:
        while not ended.wait(every):
            look()

    look()
    thread = threading.Thread(target=go_on, name="samples")
    thread.start()
    try:
        yield samples
    finally:
        ended.set()
        thread.join()
    look()


def slopes(samples: Sequence[Sample]) -> dict[str, float]:
    """MiB that a unit of work adds to each part, by the second half of the samples: in the first, caches fill."""
    late = samples[(len(samples) - 1) // 2 :]
    done = [one.done for one in late]
    return {
        part: statistics.linear_regression(done, [one.used.get(part, 0.0) for one in late]).slope
        for part in late[0].used
    }
