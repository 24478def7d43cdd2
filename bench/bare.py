"""The least HTTP server in Python: uvicorn as the product runs it, reads a body, and says successful-ok.

One rule: it does nothing else; with ``--synced FOLDER`` it keeps each body in one synced file of its own, and no more.
``python -m bench.bare PORT`` is what our own server cannot be faster than.
"""

from __future__ import annotations

import argparse
import asyncio
import os
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import Any

import uvicorn
import uvloop

ANSWER = bytes((2, 0, 0, 0, 0, 0, 0, 1, 3))
"""successful-ok without an attribute (RFC 8010 section 3.1.1)."""
THREADS = 8

Keep = Callable[[bytes], Awaitable[None]]


async def nothing(_body: bytes) -> None:
    """Keep nothing."""


def synced(folder: Path) -> Keep:
    """Keep each body in a file of its own, synced before the answer; no name is."""
    names, threads = count(), ThreadPoolExecutor(THREADS)

    def write(body: bytes) -> None:
        with (folder / f"{next(names)}").open("xb") as file:
            file.write(body)
            file.flush()
            os.fdatasync(file.fileno())

    async def keep(body: bytes) -> None:
        await asyncio.get_running_loop().run_in_executor(threads, write, body)

    return keep


def application(keep: Keep) -> Any:
    async def app(_scope: Any, receive: Any, send: Any) -> None:
        pieces, more = [], True
        while more:
            event = await receive()
            pieces.append(event.get("body", b""))
            more = event.get("more_body", False)
        await keep(b"".join(pieces))
        length = (b"content-length", str(len(ANSWER)).encode())
        await send({"type": "http.response.start", "status": 200, "headers": [length]})
        await send({"type": "http.response.body", "body": ANSWER})

    return app


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.bare")
    parser.add_argument("port", type=int)
    parser.add_argument("--synced", type=Path, metavar="FOLDER")
    arguments = parser.parse_args()
    keep = synced(arguments.synced) if arguments.synced else nothing
    server = uvicorn.Server(
        uvicorn.Config(
            application(keep), port=arguments.port, http="httptools", lifespan="off", access_log=False,
            server_header=False, proxy_headers=False, log_config=None,
        )
    )  # fmt: skip
    uvloop.run(server.serve())


if __name__ == "__main__":
    main()
