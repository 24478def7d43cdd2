"""What the service manager hands over, and what it wants to hear.

One rule: everything here is told by the environment, and without it nothing happens: a program that was started by
hand binds its own sockets, tells nobody, and has no credentials. The supervisor is a service manager too, for its
children: it hears from them in the same words (:class:`Ears`).
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path

from printerd.errors import ConfigurationError

FIRST_SOCKET = 3
"""SD_LISTEN_FDS_START of sd_listen_fds(3)."""
CREDENTIALS = Path("/run/credentials")
"""Where systemd puts the credentials of its units (systemd.exec(5)), each unit's in a folder that is its own."""
CREDENTIAL = "credential:"
OURS = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES")
"""Variables that are meant for one process, not for its children."""

_PATIENCE = 1.0
"""Seconds that telling may take: whoever does not listen stops nobody's work."""
_SENDER = struct.Struct("3i")
"""struct ucred of unix(7): pid, uid, gid."""


def sockets() -> Mapping[str, int]:
    """The listening sockets that were passed to this process: FileDescriptorName= → descriptor."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return {}
    names = os.environ.get("LISTEN_FDNAMES", "").split(":")
    passed = range(FIRST_SOCKET, FIRST_SOCKET + int(os.environ.get("LISTEN_FDS", "0")))
    for descriptor in passed:
        os.set_inheritable(descriptor, False)  # a child gets those that are handed to it by name
    return dict(zip(names, passed, strict=False))


def notify(*words: str) -> None:
    """Tell whoever started this process (sd_notify(3)): ``READY=1``, ``WATCHDOG=1``, ``STOPPING=1``, ``STATUS=…``."""
    place = os.environ.get("NOTIFY_SOCKET")
    if not place:
        return
    address = f"\0{place[1:]}" if place.startswith("@") else place
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as telling:
        telling.settimeout(_PATIENCE)
        telling.sendto("\n".join(words).encode(), address)


def watchdog() -> float:
    """Seconds after which a silent process is taken for hung (WatchdogSec=); 0 when nobody waits for it."""
    if os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return 0.0
    return int(os.environ.get("WATCHDOG_USEC", "0")) / 1e6


def for_children(place: Path) -> dict[str, str]:
    """The environment of a child that shall tell the :class:`Ears` at ``place``."""
    inherited = {name: value for name, value in os.environ.items() if name not in OURS}
    return inherited | {"NOTIFY_SOCKET": str(place)}


class Ears:
    """Hears what children tell; whose words they are, the kernel says (SCM_CREDENTIALS, unix(7))."""

    def __init__(self, place: Path) -> None:
        place.unlink(missing_ok=True)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._socket.bind(str(place))

    def close(self) -> None:
        self._socket.close()

    def heard(self, seconds: float) -> Iterator[tuple[int, frozenset[str]]]:
        """Process number and words of each message that is there, or comes within ``seconds``."""
        select.select([self._socket], [], [], seconds)
        with contextlib.suppress(BlockingIOError):
            while True:
                words, about, _flags, _address = self._socket.recvmsg(4096, socket.CMSG_SPACE(_SENDER.size))
                for level, kind, data in about:
                    if (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS):
                        yield _SENDER.unpack(data)[0], frozenset(words.decode("utf-8", "replace").split("\n"))


def secret_file(named: str) -> str:
    """The path of a secret's file: a setting names it, or ``credential:NAME`` for one of LoadCredential=.

    Raises :class:`ConfigurationError` for a credential where there are none.
    """
    if not named.startswith(CREDENTIAL):
        return named
    name, folder = named.removeprefix(CREDENTIAL), os.environ.get("CREDENTIALS_DIRECTORY")
    if not folder or "/" in name:
        raise ConfigurationError(
            "The service manager gave no credentials to this process.",
            where=named,
            remedy=f"Add LoadCredential={name}:/path/of/the/file to its unit, or name a file (mode 0600) instead.",
        )
    return str(Path(folder, name))


def keeps(path: Path) -> bool:
    """Whether systemd keeps this file from others by the folder it lies in; its mode then shows an access list."""
    return path.parent.parent == CREDENTIALS
