"""wrk: asks a printer the same question as fast as it answers, over connections that are kept.

One rule: every peer is asked by the same program with the same octets, but for its own address.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from bench import load
from printerd.ipp.registry import Operation

SCRIPT = Path(__file__).with_name("ask.lua")


@dataclass(frozen=True, slots=True)
class Asked:
    """``good`` answers, requests that ``failed``, and what they took: seconds for all, microseconds for one."""

    good: int
    failed: int
    took: float
    middle: float
    late: float

    @property
    def rate(self) -> float:
        """Good answers a second."""
        return self.good / self.took


def ask(printer: str, operation: Operation, clients: int, seconds: float) -> Asked:
    """Ask for so long. Raises :class:`FileNotFoundError` where Debian's wrk is not installed."""
    if not shutil.which("wrk"):
        raise FileNotFoundError("wrk is not installed: make bench installs it (requirements/bench.txt)")
    with tempfile.NamedTemporaryFile() as request:
        request.write(load.message(printer, operation))
        request.flush()
        url = printer.replace("ipp://", "http://", 1)
        command = ("wrk", "-t1", f"-c{clients}", f"-d{seconds:.0f}s", "-s", str(SCRIPT), url, "--", request.name)
        done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603 - a program of this machine
    told = json.loads(done.stdout.splitlines()[-1])
    return Asked(**told | {"took": told["took"] / 1e6})
