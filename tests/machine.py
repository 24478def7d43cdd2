"""A machine that is not well: its clock jumps, its disk is slow or turns read-only, for one service alone.

One rule: every process of the service is on that machine, also those that are started with an environment of their
own (readers, sealers). ``machine.c`` is loaded into each of them and sees to that.
"""

from __future__ import annotations

import mmap
import struct
import subprocess
from collections.abc import Mapping
from pathlib import Path

SOURCE = Path(__file__).with_name("machine.c")
SIZE = 24


class Machine:
    """Start a service whose state lies below ``folder`` in ``environment``; what is wrong may change at any time."""

    def __init__(self, folder: Path) -> None:
        control, library = folder / "machine", folder / "machine.so"
        control.write_bytes(bytes(SIZE))
        with control.open("r+b") as file:
            self._control = mmap.mmap(file.fileno(), SIZE)
        subprocess.run(["gcc", "-Wall", "-Werror", "-shared", "-fPIC", "-O1", "-o", library, SOURCE], check=True)
        self.environment: Mapping[str, str] = {"LD_PRELOAD": str(library), "MACHINE": str(control)}

    def set_clock(self, seconds: int) -> None:
        """The wall clock is so far ahead (or, below zero, behind); the monotonic one is as it was."""
        self._set(0, seconds)

    def slow_disk(self, seconds: float) -> None:
        """Every sync takes so much longer."""
        self._set(1, int(seconds * 1_000_000))

    def read_only(self, yes: bool) -> None:
        """Everything below the folder is on a disk that the kernel has turned read-only."""
        self._set(2, int(yes))

    def _set(self, index: int, value: int) -> None:
        struct.pack_into("q", self._control, index * 8, value)
