"""Pools of processes that do what must not happen in ours: readers open documents, sealers hold the key.

One rule: a child is believed in nothing. What it answers is JSON of a limited size within a limited time; a file of
its is used only after it was taken out of its reach; a child that hangs, dies or babbles is killed, and the next
call gets a new one. Children are forked by a server of their own (:mod:`printerd.pipeline.forkserver`), so they
inherit neither our open files, nor our environment, nor our memory.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import shutil
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict
from itertools import count
from pathlib import Path
from queue import LifoQueue
from typing import Any, BinaryIO, Self

from printerd import metrics
from printerd.errors import (
    ConfigurationError,
    DocumentError,
    Failure,
    IntegrityError,
    RequestError,
    TransientError,
)
from printerd.pipeline import channel as wire
from printerd.pipeline.confine import Limits
from printerd.pipeline.forkserver import Handlers

__all__ = ["Answer", "Handlers", "Limits", "Pool", "PoolBroken"]

_log = logging.getLogger(__name__)

START_TIMEOUT = 60.0
"""Seconds for a child to import, read its templates or its key, and say that it is ready."""
KILL_TIMEOUT = 5.0

_ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8", "HOME": "/nonexistent", "TZ": "UTC"}
_BOOT = """
import json, sys
sys.path[:] = json.loads(sys.argv.pop(1))
from printerd.pipeline import forkserver
forkserver.main()
"""
_FAILURES: Mapping[str, type[Failure]] = {
    cls.__name__: cls for cls in (DocumentError, TransientError, ConfigurationError, RequestError, IntegrityError)
}


class PoolBroken(TransientError):
    """The process that worked on the document died, hung or failed. A new one takes its place.

    Work that was together with others is tried again alone; a document that breaks its reader twice waits for a person.
    """


class Answer:
    """What a child returned: ``values``, and files by the names that the values mention. Leaving it removes them."""

    def __init__(self, values: dict[str, Any], folder: Path) -> None:
        self.values = values
        self._folder = folder

    def file(self, name: str) -> Path:
        """An output file. It lives until the answer is left.

        Raises :class:`PoolBroken` for a name that is none, or a thing that is not a regular file with one name: a
        link would make us read for the child what it may not read.
        """
        if name in {"", ".", ".."} or "/" in name or "\0" in name:
            raise PoolBroken(f"A reader named a file {name!r}.")
        path = self._folder / name
        try:
            facts = path.lstat()
        except OSError as error:
            raise PoolBroken(f"A reader named the file {name!r}, which is not there.") from error
        if not stat.S_ISREG(facts.st_mode) or facts.st_nlink != 1:
            raise PoolBroken(f"A reader returned {name!r}, which is not a plain file.")
        return path

    def close(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()


class Pool:
    """``size`` children that run the tasks of ``start(**arguments)``. Threads may call at the same time.

    ``start`` is a function of a module, or its name ``module:function``, which spares us its imports; children import
    that module once. ``arguments`` are JSON and reach the children over their channel, never a command line.
    ``limits`` None is for children that need files and network. ``folder`` holds a folder for each child, which is all
    that a confined one may write, or see of other documents; two pools of the same ``start`` need two folders.
    """

    def __init__(
        self,
        start: Callable[..., Handlers] | str,
        arguments: Mapping[str, Any],
        *,
        size: int,
        limits: Limits | None,
        folder: Path,
    ) -> None:
        name = start if isinstance(start, str) else f"{start.__module__}:{start.__qualname__}"
        self._name = name.partition(":")[0].rpartition(".")[2]
        self._server = _Server(name)
        root = folder.absolute() / name.replace(":", ".")
        shutil.rmtree(root, ignore_errors=True)  # what a killed predecessor left
        self._calls, self._kept = root / "calls", root / "kept"
        for place in (self._calls, self._kept):
            place.mkdir(parents=True, mode=0o700)
        self._begin = {"arguments": dict(arguments), "limits": asdict(limits) if limits else None}
        self._closed = False
        self.size = size
        self._children: LifoQueue[_Child] = LifoQueue()
        for _ in range(size):
            self._children.put(self._server.fork(self._begin, self._calls))

    def call(
        self, task: str, values: Mapping[str, Any], files: Sequence[Path | BinaryIO] = (), timeout: float = 60.0
    ) -> Answer:
        """Runs ``task`` in a child and waits at most ``timeout`` seconds for it, once a child is free.

        Raises the handler's own :class:`Failure`, or :class:`PoolBroken`.
        """
        with self._borrowed() as child, ExitStack() as opened:
            descriptors = [opened.enter_context(_opened(file)).fileno() for file in files]
            folder = _made(child)
            request = {"task": task, "values": dict(values), "folder": str(folder)}
            try:
                values = child.ask(request, descriptors, time.monotonic() + timeout)
                return Answer(values, _taken(folder, self._kept / f"{child.key}-{folder.name}"))
            except BaseException as error:
                if isinstance(error, PoolBroken) or not child.reusable:
                    self._server.kill(child)
                shutil.rmtree(folder, ignore_errors=True)
                raise

    def close(self) -> None:
        """Ends the children and the server; calls that wait fail with :class:`PoolBroken`."""
        self._closed = True
        self._server.close()
        shutil.rmtree(self._calls.parent, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    @contextmanager
    def _borrowed(self) -> Iterator[_Child]:
        """A child that lives; one that died while it was idle costs nobody's document."""
        child = self._children.get()
        try:
            if self._closed:
                raise PoolBroken("The readers have been closed.")
            if not child.alive():
                metrics.POOL_RESTARTS.labels(self._name).inc()
                self._server.kill(child)
                child = self._server.fork(self._begin, self._calls)
            yield child
        finally:
            self._children.put(child)


class _Child:
    """Our end of one child's channel. ``reusable`` is false from a question until its whole answer is there."""

    def __init__(self, key: int, channel: socket.socket, folder: Path) -> None:
        self.key = key
        self.channel = channel
        self.folder = folder
        self.reusable = True
        self._ready = False

    def alive(self) -> bool:
        """Whether it can be asked: its channel is open, and it has nothing to say but once that it is ready."""
        if not self.reusable:
            return False
        if not self._ready and self._speaks():
            self._greet()
        return self._speaks() is None

    def _speaks(self) -> bool | None:
        """True when bytes wait, False at the end of the channel, None when it is open and silent."""
        self.channel.setblocking(False)
        try:
            return bool(self.channel.recv(1, socket.MSG_PEEK))
        except BlockingIOError:
            return None
        except OSError:
            return False

    def _greet(self) -> None:
        """Waits until the child is ready; raises the failure of its start. That it cannot start blames no document."""
        try:
            _values(wire.receive(self.channel, time.monotonic() + START_TIMEOUT), key="ready")
        except (TimeoutError, wire.Closed, wire.Malformed, PoolBroken) as error:
            raise TransientError(
                f"A process for documents could not start: {error or type(error).__name__}.",
                remedy="It is tried again; look whether memory or processes have run out.",
            ) from error
        self._ready = True

    def ask(self, request: Mapping[str, Any], files: Sequence[int], deadline: float) -> dict[str, Any]:
        """Sends a request and returns the answer's values; raises what the child raised."""
        self.reusable = False
        try:
            if not self._ready:
                self._greet()
            self.channel.settimeout(max(deadline - time.monotonic(), 0.001))
            wire.send(self.channel, request, files)
            reply = wire.receive(self.channel, deadline)
        except TimeoutError:
            raise PoolBroken(f"The {request['task']!r} task did not end in time and was stopped.") from None
        except wire.Closed:
            raise PoolBroken(f"The process of the {request['task']!r} task died.") from None
        except wire.Malformed as error:
            raise PoolBroken(f"The {request['task']!r} task gave no proper answer: {error}") from None
        self.reusable = "values" in reply or _known(reply) is not None
        values = _values(reply, key="values")
        if not isinstance(values, dict):
            raise PoolBroken(f"The {request['task']!r} task gave no values.")
        return values


def _known(reply: Mapping[str, Any]) -> type[Failure] | None:
    failure = reply.get("failure")
    return _FAILURES.get(str(failure.get("class"))) if isinstance(failure, dict) else None


def _values(reply: Mapping[str, Any], *, key: str) -> Any:
    """What stands under ``key``; a failure is raised as the class that it was."""
    if key in reply:
        return reply[key]
    failure = reply.get("failure")
    if not isinstance(failure, dict):
        raise PoolBroken("A reader gave neither values nor a failure.")
    facts = {name: str(value)[:1000] for name, value in failure.items()}
    cls = _known(reply)
    if cls is None:
        _log.error("A child failed: %s", failure.get("trace", failure))
        raise PoolBroken(f"The process failed: {facts.get('what', 'no reason')}")
    more = {"where": facts.get("where", ""), "remedy": facts.get("remedy", "")}
    if cls is DocumentError:
        more["code"] = facts.get("code", "unreadable")
    raise cls(facts.get("what", ""), **more)


class _Server:
    """The fork server's process and the orders to it; it is started again when it died."""

    def __init__(self, start: str) -> None:
        self._start_name = start
        self._keys = count(1)
        self._lock = threading.Lock()
        self._channels: set[socket.socket] = set()
        self._launch()

    def _launch(self) -> None:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        places = json.dumps([str(Path(entry).absolute()) for entry in sys.path])
        command = [sys.executable, "-I", "-c", _BOOT, places, str(theirs.fileno()), self._start_name]
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and our own words
                command,
                env=_ENVIRONMENT,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
                cwd="/",
            )

    def fork(self, begin: Mapping[str, Any], calls: Path) -> _Child:
        """Orders a child with a folder of its own in ``calls``; it is ready when its first message comes.

        Its arguments wait for it in its channel.
        """
        key = next(self._keys)
        folder = calls / str(key)
        with TransientError.of_disk(_FOLDER):
            folder.mkdir(mode=0o700)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        child = _Child(key, ours, folder)
        with self._lock, theirs:
            self._channels.add(ours)
            try:
                wire.send(self._control, {"fork": child.key}, [theirs.fileno()])
            except (wire.Closed, OSError):
                self._end()
                self._launch()
                wire.send(self._control, {"fork": child.key}, [theirs.fileno()])
        with suppress(wire.Closed):  # its first call will find it dead
            wire.send(ours, {**begin, "folder": str(child.folder)})
        return child

    def kill(self, child: _Child) -> None:
        """Has a child and its programs killed, and waits until it is gone (its end of the channel closes)."""
        child.reusable = False
        with self._lock, suppress(wire.Closed, OSError):
            wire.send(self._control, {"kill": child.key})
        with suppress(wire.Closed, wire.Malformed, TimeoutError, OSError):
            deadline = time.monotonic() + KILL_TIMEOUT
            while True:
                wire.receive(child.channel, deadline)
        child.channel.close()
        shutil.rmtree(child.folder, ignore_errors=True)
        with self._lock:
            self._channels.discard(child.channel)

    def close(self) -> None:
        with self._lock:
            self._end()
            for channel in self._channels:
                channel.close()
            self._channels.clear()

    def _end(self) -> None:
        """Closes the control socket, which ends the server and its children; kills what does not listen."""
        self._control.close()
        try:
            self._process.wait(KILL_TIMEOUT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _taken(folder: Path, place: Path) -> Path:
    """Moves a call's folder out of its child's reach, before the child hears of anything else.

    The child may have put a link or a file in its place: looked at after the move, for then it cannot change any more.
    """
    with TransientError.of_disk(_FOLDER):
        try:
            folder.rename(place)
        except FileNotFoundError as error:
            raise PoolBroken("A reader took its folder away.") from error
        if stat.S_ISDIR(place.lstat().st_mode):
            return place
        place.unlink()
    raise PoolBroken("A reader put something else in the place of its folder.")


def _made(child: _Child) -> Path:
    """A new folder for one call. A child in whose place nothing can be made is replaced before it is asked again."""
    folder = child.folder / secrets.token_hex(8)
    with TransientError.of_disk(_FOLDER):
        try:
            folder.mkdir(mode=0o700)
        except OSError:
            child.reusable = False
            raise
    return folder


_FOLDER = "The folder of a process for documents"


def _opened(file: Path | BinaryIO) -> BinaryIO:
    """The file as a descriptor of its own: a shared one would share its position with the caller."""
    if isinstance(file, Path):
        return file.open("rb")
    return os.fdopen(os.open(f"/proc/self/fd/{file.fileno()}", os.O_RDONLY | os.O_CLOEXEC), "rb")
