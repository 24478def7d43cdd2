"""Hostile neighbours: clients that hold connections and finish nothing, or send what is no request.

One rule: they go on until they are ended (SIGTERM), and whoever is cut comes back. ``python -m bench.neighbours KIND
PRINTER NUMBER FILE TOLD``: FILE is what they would print; TOLD is there once all of them are, and tells at last how
many connections they had.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import urlsplit

import uvloop

from bench import load

AT_ONCE = 200
"""Connections that are being made at the same time."""
DRIP = 1.0
"""Seconds between two bytes of a slow head."""
PAUSE = 0.1
"""Seconds until one who was cut, or is done, comes back."""
NOISE = 4096
"""Bytes of garbage."""


@dataclass(slots=True)
class Held:
    """Connections: ``opened`` in all, ``open`` at the moment, ``cut`` by the printer."""

    opened: int = 0
    open: int = 0
    cut: int = 0


@dataclass(frozen=True, slots=True)
class Crowd:
    """So many of one kind: what they would print and where, and the account that all of them keep."""

    kind: str
    printer: str
    number: int
    request: bytes
    held: Held
    all_there: asyncio.Event

    async def slowloris(self, out: asyncio.StreamWriter) -> None:
        """The head of a request, a byte at a time."""
        for octet in self.request:
            out.write(bytes((octet,)))
            await out.drain()
            await asyncio.sleep(DRIP)

    async def half(self, out: asyncio.StreamWriter) -> None:
        """The first half of a print, and nothing more."""
        out.write(self.request[: len(self.request) // 2])
        await out.drain()
        await asyncio.Event().wait()

    async def garbage(self, out: asyncio.StreamWriter) -> None:
        """Noise, bare or in a request that is whole otherwise."""
        noise = os.urandom(NOISE)
        out.write(noise if noise[0] % 2 else load.post(self.printer, noise))
        await out.drain()
        await asyncio.sleep(PAUSE)  # whoever is not cut asks again on another connection


KINDS: Mapping[str, Callable[[Crowd, asyncio.StreamWriter], Awaitable[None]]] = {
    "slowloris": Crowd.slowloris,
    "half-open": Crowd.half,
    "garbage": Crowd.garbage,
}


async def _stay(crowd: Crowd, gate: asyncio.Semaphore) -> None:
    """One of them: one connection after the other, for ever."""
    place, held = urlsplit(crowd.printer), crowd.held
    while True:
        try:
            async with gate:
                answers, out = await asyncio.open_connection(place.hostname, place.port)
        except ConnectionError:
            await asyncio.sleep(PAUSE)
            continue
        held.opened += 1
        held.open += 1
        if held.opened == crowd.number:
            crowd.all_there.set()
        try:
            if await _is_cut(KINDS[crowd.kind](crowd, out), answers):
                held.cut += 1
        finally:
            held.open -= 1
            out.transport.abort()
        await asyncio.sleep(PAUSE)


async def _is_cut(act: Awaitable[None], answers: asyncio.StreamReader) -> bool:
    """Whether the printer ended the connection before the neighbour was done with it."""
    acting, ended = asyncio.ensure_future(act), asyncio.ensure_future(answers.read())
    try:
        done, _ = await asyncio.wait((acting, ended), return_when=asyncio.FIRST_COMPLETED)
        return ended in done
    finally:
        for one in (acting, ended):
            one.cancel()
        await asyncio.gather(acting, ended, return_exceptions=True)


async def _be(kind: str, printer: str, number: int, file: Path, told: Path) -> None:
    ended, gate = asyncio.Event(), asyncio.Semaphore(AT_ONCE)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    crowd = Crowd(kind, printer, number, load.print_job(printer, file), Held(), asyncio.Event())
    everybody = [asyncio.create_task(_stay(crowd, gate)) for _ in range(number)]
    for moment in (crowd.all_there, ended):
        await moment.wait()
        _tell(told, crowd.held)
    for one in everybody:
        one.cancel()
    await asyncio.gather(*everybody, return_exceptions=True)


def _tell(file: Path, held: Held) -> None:
    """The file is there whole or not at all."""
    new = file.with_suffix(".new")
    new.write_text(json.dumps(asdict(held)))
    new.replace(file)


def _many_files(number: int) -> None:
    """Each connection is a file. Exits with a word where the system allows too few."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most != resource.RLIM_INFINITY and most < number + AT_ONCE:
        sys.exit(f"{number} connections need more open files than this system allows ({most}): raise ulimit -Hn")
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def main() -> None:
    kind, printer, number, file, told = sys.argv[1:]
    _many_files(int(number))
    uvloop.run(_be(kind, printer, int(number), Path(file), Path(told)))


if __name__ == "__main__":
    main()
