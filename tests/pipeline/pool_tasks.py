"""Tasks for the tests of the pools: what honest, clumsy and hostile children do."""

from __future__ import annotations

import ctypes
import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from printerd.errors import ConfigurationError, DocumentError
from printerd.pipeline.pools import Handlers

Values = dict[str, Any]
Files = Sequence[BinaryIO]


def start(word: str = "") -> Handlers:
    if word == "refuse":
        raise ConfigurationError("A word is wrong.", remedy="Use another word.")
    if word == "die":
        os._exit(9)
    if word == "fail":
        raise MemoryError
    tasks = (echo, look, write, link, swap, hang, die, babble, refuse, mistake, eat_memory, eat_time, eat_disk, reach,
             neighbours, flee, spawn)  # fmt: skip
    return {task.__name__: task for task in tasks} | {"word": lambda _values, _files, _folder: {"word": word}}


def echo(values: Values, files: Files, _folder: Path) -> Values:
    return values | {"files": [file.read().decode() for file in files], "pid": os.getpid()}


def look(_values: Values, _files: Files, folder: Path) -> Values:
    descriptors = {name: _target(name) for name in os.listdir("/proc/self/fd")}  # noqa: PTH208 - links, not paths
    with tempfile.NamedTemporaryFile() as file:
        private = file.name.startswith(str(folder.parent))
    return {"descriptors": descriptors, "environment": dict(os.environ), "temporary_is_private": private}


def _target(name: str) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{name}")  # noqa: PTH115 - "socket:[1]" is no path
    except FileNotFoundError:
        return "gone"


def write(values: Values, _files: Files, folder: Path) -> Values:
    (folder / values["name"]).write_text(values["text"])
    return {"file": values["name"]}


def link(values: Values, _files: Files, folder: Path) -> Values:
    (folder / "symbolic").symlink_to(values["target"])
    (folder / "folder").mkdir()
    (folder / "one").write_text("one file, two names")
    os.link(folder / "one", folder / "hard")
    return {}


def swap(values: Values, _files: Files, folder: Path) -> Values:
    """Puts a link to a folder of ours in the place of its own, and names a file there."""
    folder.rename(folder.with_name("elsewhere"))
    folder.symlink_to(values["target"])
    return {"file": values["name"]}


def neighbours(_values: Values, _files: Files, folder: Path) -> Values:
    """Looks for other children's documents."""
    return {"seen": _outcome(lambda: list(folder.parents[1].iterdir()))}


def flee(_values: Values, _files: Files, folder: Path) -> Values:
    """Starts a process that leaves the group which is killed."""
    pid = os.fork()
    if pid == 0:
        with suppress(OSError):
            os.setsid()
        with suppress(OSError):
            os.setpgid(0, 0)
        time.sleep(3600)
        os._exit(0)
    (folder.parent / "spawned").write_text(str(pid))
    time.sleep(3600)
    return {}


def hang(values: Values, _files: Files, folder: Path) -> Values:
    if "mark" in values:
        (folder.parent / values["mark"]).write_text(str(os.getpid()))
    time.sleep(3600)
    return {}


def spawn(_values: Values, _files: Files, folder: Path) -> Values:
    child = subprocess.Popen(["/bin/sleep", "3600"])
    (folder.parent / "spawned").write_text(str(child.pid))
    time.sleep(3600)
    return {}


def die(_values: Values, _files: Files, _folder: Path) -> Values:
    os.kill(os.getpid(), 9)
    return {}


def babble(values: Values, _files: Files, _folder: Path) -> Values:
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208 - links, not paths
        if _target(name).startswith("socket:"):
            os.write(int(name), bytes.fromhex(values["bytes"]))
    return {}


def refuse(_values: Values, _files: Files, _folder: Path) -> Values:
    raise DocumentError("It is encrypted.", code="encrypted", where="page 1", remedy="Print it without a password.")


def mistake(_values: Values, _files: Files, _folder: Path) -> Values:
    raise KeyError("nothing of ours")


def eat_memory(_values: Values, _files: Files, _folder: Path) -> Values:
    return {"size": len(bytearray(8 << 30))}


def eat_time(_values: Values, _files: Files, _folder: Path) -> Values:
    while True:
        sum(range(1_000_000))


def eat_disk(_values: Values, _files: Files, folder: Path) -> Values:
    with (folder / "much").open("wb") as file:
        while True:
            file.write(bytes(1 << 20))


def reach(values: Values, _files: Files, _folder: Path) -> Values:
    """What a child that was taken over would try; each answer says what came of it."""
    return {
        "read": _outcome(lambda: Path(values["secret"]).read_text()),
        "write": _outcome(lambda: Path(values["outside"]).write_text("x")),
        "signal": _outcome(lambda: os.kill(values["pid"], 0)),
        "unix": _outcome(lambda: socket.socket(socket.AF_UNIX).close()),
        "connect": _outcome(lambda: socket.create_connection(("127.0.0.1", values["port"]), 2).close()),
        "memory": _outcome(lambda: _process_vm_readv(values["pid"])),
    }


def _process_vm_readv(pid: int) -> None:
    """Reads nothing, but asks whether it may: the kernel answers that before it looks where."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.process_vm_readv(pid, None, 0, None, 0, 0) < 0:
        raise OSError(ctypes.get_errno(), "process_vm_readv")


def _outcome(attempt: Any) -> str:
    try:
        attempt()
    except OSError as error:
        return type(error).__name__
    return "done"
