"""What processes cost: CPU time and memory, read from /proc, by the part that each plays in the service.

One rule: whoever is measured does not notice.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
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


def pss(supervisor: int) -> dict[str, float]:
    """MiB of each part; a page that several processes share counts in proportion (proc_pid_smaps(5))."""
    used: defaultdict[str, float] = defaultdict(float)
    for process, part in family(supervisor).items():
        used[part] += _kib(Path(f"/proc/{process}/smaps_rollup"), "Pss") / 1024
    return used


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
