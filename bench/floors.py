"""The floors: the least that this machine can do the same work with, measured in the same run.

One rule: a floor does what cannot be left out and nothing else. Its key, hash, sync and text are those of the libraries
that the product uses; its disk is the one that the product writes to.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path

import pypdfium2  # type: ignore[import-untyped]  # it ships no types
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from bench import load
from bench.programs import answers, running
from printerd.demo import setting

SECONDS = 1.5
"""How long a rate is measured."""


@dataclass(frozen=True, slots=True)
class Time:
    """Medians of one act: milliseconds that pass, and milliseconds of CPU."""

    wall: float
    cpu: float


def timed(act: Callable[[], object], times: int = 40) -> Time:
    """``act`` so many times, after one that does not count."""
    act()
    walls, cpus = [], []
    for _ in range(times):
        wall, cpu = time.perf_counter(), time.process_time()
        act()
        walls.append(1000 * (time.perf_counter() - wall))
        cpus.append(1000 * (time.process_time() - cpu))
    return Time(statistics.median(walls), statistics.mean(cpus))


class Disk:
    """Durable writes as the archive makes them: file synced and renamed, folder synced, a row committed."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._folder = folder
        self._names = count()
        self._database = sqlite3.connect(folder / "floor.db", isolation_level=None, check_same_thread=False)
        for pragma in ("journal_mode=WAL", "synchronous=FULL"):
            self._database.execute(f"PRAGMA {pragma}")
        self._database.execute("CREATE TABLE rows (name TEXT)")

    def file(self, data: bytes) -> None:
        """One file; its name is durable with the next :meth:`commit`."""
        name = f"{next(self._names)}"
        target = self._folder / f".{name}"
        with target.open("xb") as file:
            file.write(data)
            file.flush()
            os.fdatasync(file.fileno())
        target.rename(self._folder / name)

    def commit(self, rows: int) -> None:
        handle = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        os.fsync(handle)
        os.close(handle)
        self._database.execute("BEGIN IMMEDIATE")
        self._database.executemany("INSERT INTO rows VALUES (?)", [(str(n),) for n in range(rows)])
        self._database.execute("COMMIT")

    def close(self) -> None:
        self._database.close()


def acceptance(folder: Path, document: bytes, clients: int) -> float:
    """Documents a second: as many files at a time as there are clients, one commit for all of them."""
    with closing(Disk(folder)) as disk, ThreadPoolExecutor(min(clients, 8)) as threads:
        done, began = 0, time.perf_counter()
        while (passed := time.perf_counter() - began) < SECONDS:
            list(threads.map(disk.file, [document] * clients))
            disk.commit(clients)
            done += clients
    return done / passed


def http(files: Sequence[Path], clients: int, kept: Path | None = None) -> load.Sent:
    """The same print clients at a Python server that does nothing, or keeps each document in a synced file."""
    if kept is not None:
        kept.mkdir()
    port, synced = setting.free_port(0), ("--synced", str(kept)) if kept is not None else ()
    with running(sys.executable, "-m", "bench.bare", str(port), *synced, ready=partial(answers, port)):
        return load.send(f"ipp://127.0.0.1:{port}/", files, clients)


def invoice(folder: Path, document: bytes) -> Time:
    """One invoice: key operation (RSA-3072), hash, durable write, text."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=3072)

    def act() -> None:
        with pypdfium2.PdfDocument(document) as pdf:
            pdf[0].get_textpage().get_text_bounded()
        digest = hashlib.sha256(document).digest()
        key.sign(digest, padding.PKCS1v15(), hashes.SHA256())
        disk.file(document)
        disk.commit(1)

    with closing(Disk(folder)) as disk:
        return timed(act)
