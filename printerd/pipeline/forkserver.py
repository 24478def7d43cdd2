"""The other side of a pool: a server that imports once and forks, and the child that answers calls.

One rule: the server imports what the children need, opens no document and holds no secret; a child holds one socket.
The server is started by :mod:`printerd.pipeline.pools` with an environment of its own. It is told over a socket:
``{"fork": KEY}`` with the child's end of a channel, ``{"kill": KEY}``. End of file ends it and its children.
"""

from __future__ import annotations

import importlib
import os
import shutil
import signal
import socket
import sys
import tempfile
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from printerd.errors import DocumentError, Failure
from printerd.pipeline import channel as wire
from printerd.pipeline.confine import Limits, confine, grant_cpu

Handler = Callable[[dict[str, Any], Sequence[BinaryIO], Path], dict[str, Any]]
Handlers = Mapping[str, Handler]
"""Task name → function of (values, input files, output folder) → values. All values are JSON."""


def serve(descriptor: int, start: str) -> None:
    """Forks a child for each ``fork`` until the socket ends. ``start`` is ``module:function``, which makes Handlers."""
    control = socket.socket(fileno=descriptor)
    module, name = start.split(":")
    started: Callable[..., Handlers] = getattr(importlib.import_module(module), name)
    children: dict[int, int] = {}
    while (order := _order(control)) is not None:
        message, files = order
        if "fork" in message:
            children[message["fork"]] = _fork(control, files[0], started)
        elif (child := children.pop(message["kill"], None)) is not None:
            _end(child)
    for child in children.values():
        _end(child)


def _order(control: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    try:
        return wire.receive_with_files(control)
    except wire.Closed:
        return None


def _end(child: int) -> None:
    """Kills a child and all that it started. It is waited for here alone, so its number is still its own."""
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)


def _fork(control: socket.socket, descriptor: int, start: Callable[..., Handlers]) -> int:
    child = os.fork()
    if child == 0:
        os.setpgid(0, 0)
        control.close()
        _live(socket.socket(fileno=descriptor), start)
    os.setpgid(child, child)  # here too: the first who comes makes the group, and a kill finds it
    os.close(descriptor)
    return child


def _live(channel: socket.socket, start: Callable[..., Handlers]) -> NoReturn:
    """A child's whole life. It never returns into the server's stack."""
    code = 1
    try:
        _silence()
        _answer_all(channel, start)
        code = 0
    except wire.Closed:
        code = 0
    finally:
        os._exit(code)


def _silence() -> None:
    """Standard output and error may be the journal's socket: a child has none of them."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nowhere, descriptor)
    os.close(nowhere)


def _answer_all(channel: socket.socket, start: Callable[..., Handlers]) -> None:
    begin = wire.receive(channel)
    limits = Limits(**begin["limits"]) if begin["limits"] else None
    try:
        handlers = start(**begin["arguments"])
        confine(limits, Path(begin["folder"]))
    except Exception as error:
        wire.send(channel, _failure(error))
        return
    private = Path(begin["folder"]) / ".tmp"
    private.mkdir(mode=0o700)
    tempfile.tempdir = os.environ["TMPDIR"] = str(private)
    wire.send(channel, {"ready": True})
    healthy = True
    while healthy:
        request, files = wire.receive_with_files(channel)
        if limits:
            grant_cpu(limits.cpu)
        reply = _answer(handlers, request, files)
        _empty(private)
        wire.send(channel, reply)
        healthy = "values" in reply or reply["failure"]["class"] != "bug"


def _answer(handlers: Handlers, request: dict[str, Any], descriptors: Sequence[int]) -> dict[str, Any]:
    files: list[BinaryIO] = [os.fdopen(descriptor, "rb") for descriptor in descriptors]
    try:
        for file in files:
            file.seek(0)
        return {"values": handlers[request["task"]](request["values"], files, Path(request["folder"]))}
    except Exception as error:
        return _failure(error)
    finally:
        for file in files:
            file.close()


def _empty(folder: Path) -> None:
    """The next document finds nothing of the last one. The folder stays: to make one for each call costs the disk."""
    for left in folder.iterdir():
        if left.is_dir() and not left.is_symlink():
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.unlink(missing_ok=True)


def _failure(error: Exception) -> dict[str, Any]:
    """A failure as JSON; whatever is not one of ours is a ``bug`` with its trace, which the parent logs."""
    if not isinstance(error, Failure):
        trace = "".join(traceback.format_exception(error))
        return {"failure": {"class": "bug", "what": f"{type(error).__name__}: {error}"[:500], "trace": trace[-4000:]}}
    facts = {"class": type(error).__name__, "what": error.what, "where": error.where, "remedy": error.remedy}
    return {"failure": facts | ({"code": error.code} if isinstance(error, DocumentError) else {})}


def main() -> None:
    """``argv``: the control socket's descriptor and the name of the start function.

    A service manager or a terminal signals the whole group: the worker decides what to finish, we end with it.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    serve(int(sys.argv[1]), sys.argv[2])
