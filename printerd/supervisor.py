"""``serve``: takes the lock, binds the sockets, starts the children and starts them again.

One rule: the supervisor does nothing that can fail slowly. It reads no
document and answers no client; sockets outlive its children, so a restart of
one of them refuses nobody. Children die with it (PR_SET_PDEATHSIG).
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import json
import logging
import os
import resource
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

from printerd import systemd
from printerd.config import Settings
from printerd.errors import ConfigurationError, Failure
from printerd.terminal import refused

LISTENS: Mapping[str, tuple[str, ...]] = {
    "capture": ("ipp", "backend", "raw", "lpd"),
    "worker": (),
    "receipts": ("public", "api"),
    "health": ("health",),
}
"""The sockets of each role, by their name in our settings and as FileDescriptorName= of a socket unit. One that has no
address is not there."""
ROLES = tuple(LISTENS)
NICE: Mapping[str, int] = {"capture": 0, "worker": 5, "receipts": 10, "health": 0}
"""How far each role gives way when processors are short (nice(1)): a print is taken before others are worked on, and
these are archived before mails are written and pages shown, so that no flood from outside slows printing."""
PR_SET_PDEATHSIG = 1
FIRST_PAUSE, LAST_PAUSE = 0.5, 30.0
"""Seconds before a child that died is started again; the pause doubles while it keeps dying."""
STEADY = 30.0
"""Seconds after which a child counts as well again."""
HEAD_START = 2.0
"""Seconds at most by which capture starts before the others, so that they do not compete for its processor."""
LOOK_EVERY = 0.1
"""Seconds between two looks at the children."""
HUNG = 120.0
"""Seconds after which a child that answered once, and says nothing any more, is killed and started again."""
REMEMBERED = 20
"""Ends of a child that are remembered."""
GRACE = 10.0
"""Seconds that children get to end by themselves."""
SOCKET_PATH = 107
"""Bytes of a Unix socket's path (unix(7): sun_path holds 108, the last is 0)."""
BACKLOG = 1024
OPEN_TO: Mapping[str, str] = {"backend": "lp"}
"""The group that may connect to a Unix socket of ours, by the socket's name; others are our own user's alone."""
RESTORED = (
    "This instance was restored from the backup of %s: nothing is sent until somebody decides what may have been sent "
    "since. See: invoice-printer resume"
)
FILES = 65_536
"""Open files of each process at most, where the system allows so many."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Layout:
    """Where things lie in the state folder of an instance."""

    root: Path

    @property
    def keys(self) -> Path:
        return self.root / "keys"

    @property
    def templates(self) -> Path:
        return self.root / "templates"

    @property
    def run(self) -> Path:
        return self.root / "run"

    @property
    def bell(self) -> Path:
        return self.run / "worker.sock"

    @property
    def metrics(self) -> Path:
        """Where the worker tells its numbers."""
        return self.run / "metrics.sock"

    @property
    def children(self) -> Path:
        """Where the supervisor writes down how its children do."""
        return self.run / "children.json"

    @property
    def ears(self) -> Path:
        """Where the supervisor hears that its children answer."""
        return self.run / "notify.sock"

    @property
    def folders(self) -> Path:
        """Where capture writes down how the hot folder does."""
        return self.run / "folders.json"

    @property
    def addresses(self) -> Path:
        return self.run / "addresses.json"

    @property
    def receipt_settings(self) -> Path:
        """Holds secrets, so it is there only while the service runs."""
        return self.run / "receipts.json"

    @property
    def secret(self) -> Path:
        return self.keys / "contract.secret"

    @property
    def out_tray(self) -> Path:
        return self.root / "out-tray"

    def database_url(self, settings: Settings) -> str:
        return settings.database or f"sqlite:///{self.root / 'printerd.db'}"

    def make(self) -> None:
        """The folders, readable by their owner only. :class:`ConfigurationError` when their path is too long."""
        room = SOCKET_PATH - max(len(os.fsencode(place)) for place in (self.bell, self.metrics, self.ears))
        if room < 0:
            raise ConfigurationError(
                f"The path of the state folder is {-room} bytes too long: no socket in it could have a name.",
                where=str(self.root),
                remedy="Choose a folder with a shorter path: --state DIR",
            )
        for folder in (self.root, self.keys, self.templates, self.run):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)


class Supervisor:
    """Serves one instance until SIGTERM or SIGINT. ``assignments`` are the ``--set`` values, handed to the roles."""

    def __init__(self, layout: Layout, settings: Settings, assignments: Sequence[str], roles: Sequence[str]) -> None:
        self._layout = layout
        self._settings = settings
        self._assignments = assignments
        self._roles = [role for role in roles if role != "health" or settings.listen.health]
        self._account = ""
        self._sockets: dict[str, socket.socket] = {}
        self._children: dict[str, _Child] = {}
        self._patience, self._due = systemd.watchdog(), 0.0
        self._ready = False
        self._stopping = False

    def run(self) -> int:
        """Returns the exit code: 0 after a signal."""
        self._layout.make()
        _many_files()
        with _lock(self._layout.root):
            _apart(partial(prepare, self._layout, self._settings))
            self._bind()
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, self._stop)
            ears = systemd.Ears(self._layout.ears)
            environment = systemd.for_children(self._layout.ears)
            self._children = {role: _Child(role, *self._command(role), environment) for role in self._roles}
            self._tell()
            begun = time.monotonic()
            while not self._stopping:
                for child in self._kept(begun):
                    child.keep()
                self._write_down()
                self._listen(ears)
            systemd.notify("STOPPING=1")
            self._end()
            ears.close()
        return 0

    def _kept(self, begun: float) -> Collection[_Child]:
        """The children that should run: capture alone at first, for so the printer takes its first job sooner."""
        door = self._children.get("capture")
        alone = door is not None and not door.answers and time.monotonic() < begun + HEAD_START
        return [door] if door is not None and alone else self._children.values()

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        self._stopping = True

    def _write_down(self) -> None:
        """How the children do, for those who watch over the service. A full disk keeps nobody from being started."""
        account = json.dumps({role: child.account() for role, child in self._children.items()})
        if account != self._account:
            self._account = account
            with contextlib.suppress(OSError):
                partial_ = self._layout.children.with_suffix(".new")
                partial_.write_text(account)
                partial_.replace(self._layout.children)

    def _listen(self, ears: systemd.Ears) -> None:
        """Ready is the service whose children all answered; as long as it looks after them, it is not hung."""
        for process, words in ears.heard(LOOK_EVERY):
            for child in self._children.values():
                child.hear(process, words)
        if not self._ready and all(child.answers for child in self._children.values()):
            self._ready = True
            systemd.notify("READY=1", f"STATUS=Running: {', '.join(self._children)}")
        if self._patience and time.monotonic() >= self._due:
            systemd.notify("WATCHDOG=1")
            self._due = time.monotonic() + self._patience / 4

    def _end(self) -> None:
        for child in self._children.values():
            child.terminate()
        deadline = time.monotonic() + GRACE
        for child in self._children.values():
            child.end(deadline)
        self._layout.children.unlink(missing_ok=True)
        for role, told in (("capture", self._layout.addresses), ("receipts", self._layout.receipt_settings)):
            if role in self._roles:
                told.unlink(missing_ok=True)

    # Sockets

    def _bind(self) -> None:
        wanted = {
            "ipp": self._settings.listen.ipp,
            "backend": self._settings.listen.backend,
            "raw": self._settings.listen.raw,
            "lpd": self._settings.listen.lpd,
            "public": self._settings.receipts.public,
            "api": self._settings.receipts.api,
            "health": self._settings.listen.health,
        }
        names = [name for role in self._roles for name in LISTENS[role]]
        self._sockets = {name: bind(name, wanted[name]) for name in names if is_open(name, wanted[name])}

    def _fd(self, name: str) -> str:
        return f"fd://{self._sockets[name].fileno()}"

    def address(self, name: str) -> str:
        return shown(self._sockets[name])

    def _public_url(self) -> str:
        return self._settings.receipts.public_url or f"http://{self.address('public')}"

    def _tell(self) -> None:
        """The addresses as they are, for people and scripts: a port 0 has become a real one."""
        told = {name: self.address(name) for name in self._sockets} | {"public_url": self._public_url()}
        if "capture" in self._roles:
            tell(self._layout, told)
            print(f"Printer  ipp://{told['ipp']}/ipp/print", flush=True)
            for scheme, name in (("socket", "raw"), ("lpd", "lpd")):
                if name in told:
                    print(f"Printer  {scheme}://{told[name]}", flush=True)
        print(f"Pages    {told['public_url']}", flush=True)
        if "health" in told:
            print(f"Health   http://{told['health']}/healthz", flush=True)

    # Children

    def _command(self, role: str) -> tuple[list[str], list[int]]:
        """The command of a child and the sockets that it inherits."""
        if role == "receipts":
            settings = self._layout.receipt_settings
            write_private(settings, json.dumps(self._receipt_settings(), indent=1).encode())
            fds = [self._sockets[name].fileno() for name in ("public", "api")]
            return [sys.executable, "-m", "receipt_service", "--settings", str(settings)], fds
        names = [name for name in LISTENS[role] if name in self._sockets]
        inherited = {f"listen.{name}": self._fd(name) for name in names}
        told = {"receipts.api": self.address("api"), "receipts.public_url": self._public_url()}
        told |= {"listen.ipp": self.address("ipp")} if role == "health" and "ipp" in self._sockets else {}
        assignments = [*self._assignments, *(f'{key}="{value}"' for key, value in (told | inherited).items())]
        command = [sys.executable, "-m", "printerd", "serve", "--only", role, "--state", str(self._layout.root)]
        for assignment in assignments:
            command += ["--set", assignment]
        return command, [self._sockets[name].fileno() for name in names]

    def _receipt_settings(self) -> dict[str, Any]:
        """The receipt service's own settings (its contract): the only place where both meet by value."""
        receipts, smtp, root = self._settings.receipts, self._settings.smtp, self._layout.root
        return {
            "database": str(root / "receipts.db"),
            "documents": str(root / "edge" / "documents"),
            "outbox_key": str(self._layout.keys / "outbox.key"),
            "secret": self._layout.secret.read_text().strip(),
            "public": self._fd("public"),
            "api": self._fd("api"),
            "public_url": self._public_url(),
            "server_name": receipts.server_name,
            "trusted_proxies": list(receipts.trusted_proxies),
            "staff_networks": list(receipts.staff_networks),
            "smtp": {
                "host": smtp.host,
                "port": smtp.port,
                "user": smtp.user,
                "password": _secret_of(systemd.secret_file(smtp.password_file)),
                "tls": smtp.tls,
                "from": smtp.sender,
                "bcc": smtp.bcc,
                "per_minute": smtp.per_minute,
            },
            "retry": {"first": smtp.retry_first, "most": smtp.retry_most, "give_up_after": smtp.give_up_after},
            "document_days_after_handover": receipts.document_days,
            "die_with_parent": True,
        }


class _Child:
    """One child process: started again when it dies, after a pause that grows while it keeps dying."""

    def __init__(self, role: str, command: list[str], fds: list[int], environment: Mapping[str, str]) -> None:
        self.answers = False
        self._role = role
        self._command = command
        self._fds = fds
        self._environment = environment
        self._looked = time.monotonic()
        self._silence = 0.0
        self._pause = FIRST_PAUSE
        self._due = 0.0
        self._process: subprocess.Popen[bytes] | None = None
        self._started = 0.0
        self._deaths: deque[float] = deque(maxlen=REMEMBERED)
        self._status: int | None = None

    def account(self) -> dict[str, Any]:
        """Its process, the moments of its latest ends (seconds of the monotonic clock), and its last exit status."""
        return {"pid": self._process and self._process.pid, "deaths": list(self._deaths), "status": self._status}

    def keep(self) -> None:
        """Start it if it is not running and its pause is over."""
        now = time.monotonic()
        if self._process is None:
            if now >= self._due:
                self._start(now)
            return
        code = self._process.poll()
        if code is None:
            if now - self._started > STEADY:
                self._pause = FIRST_PAUSE
            self._watch(now)
            return
        log.error("%s ended with status %s; starting it again in %.1f s", self._role, code, self._pause)
        self._process, self._status = None, code
        self._deaths.append(now)
        self._due = now + self._pause
        self._pause = min(LAST_PAUSE, self._pause * 2)

    def hear(self, process: int, words: frozenset[str]) -> None:
        """Words of one of the children: ``READY=1`` when it answers, anything from then on while it is well."""
        if self._process is not None and process == self._process.pid:
            self.answers = self.answers or "READY=1" in words
            self._silence = 0.0

    def _watch(self, now: float) -> None:
        """Silence is counted look by look: a machine that stood still for an hour has hung nobody."""
        self._silence += min(now - self._looked, 1.0)
        self._looked = now
        if self.answers and self._silence > HUNG and self._process is not None:
            log.error("%s has said nothing for %.0f s and is killed", self._role, self._silence)
            self._process.kill()

    def _start(self, now: float) -> None:
        self._started = self._looked = now
        self.answers, self._silence = False, 0.0
        first = partial(_begin, os.getpid(), NICE[self._role])
        self._process = subprocess.Popen(  # noqa: S603 - our own programs
            self._command, pass_fds=self._fds, env=self._environment, preexec_fn=first
        )

    def terminate(self) -> None:
        if self._process is not None:
            self._process.terminate()

    def end(self, deadline: float) -> None:
        """Wait until ``deadline`` (monotonic seconds), then kill."""
        if self._process is None:
            return
        try:
            self._process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


_libc = ctypes.CDLL(None, use_errno=True)


def _begin(parent: int, nice: int) -> None:
    """In the child, before exec: the kernel kills it when its parent ends, however it ends (prctl(2))."""
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before we asked
        os._exit(1)
    with contextlib.suppress(OSError):  # a system call filter may forbid it, and then all are equal
        os.nice(nice)


def _many_files() -> None:
    """Connections are files. Soft limits are low for the sake of programs that are not ours (systemd.exec(5))."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (FILES if most == resource.RLIM_INFINITY else min(FILES, most), most))


def _apart(act: Callable[[], None]) -> None:
    """Run ``act`` in a process that ends with it, so that what it loads stays in nobody's memory.

    A failure is told there, in its own words; this process ends with its exit code.
    """
    child = os.fork()
    if child == 0:
        os._exit(_told(act))
    if code := os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]):
        sys.exit(code)


def _told(act: Callable[[], None]) -> int:
    try:
        act()
    except Failure as failure:
        return refused(failure)
    except Exception:
        log.exception("the instance could not be prepared")
        return 1
    return 0


def prepare(layout: Layout, settings: Settings) -> None:
    """What every process of the instance relies on: the schema and the secret of the contract."""
    from printerd.storage import instance, migrations
    from printerd.storage.database import Database

    database = Database(layout.database_url(settings))
    try:
        migrations.upgrade(database)
        with database.read() as connection:
            if begun := instance.restored(connection):
                log.warning(RESTORED, begun.made_at)
    finally:
        database.close()
    _agree_on_secret(layout.secret)


def _agree_on_secret(path: Path) -> None:
    """Roles that are started alone may come here at once: the first makes it (link(2) fails when the name is taken)."""
    if not path.exists():
        offered = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
        write_private(offered, secrets.token_urlsafe(32).encode())
        with contextlib.suppress(FileExistsError):
            path.hardlink_to(offered)
        offered.unlink()


def is_open(name: str, address: str) -> bool:
    """Whether there is a socket of this name: by its setting, or passed by systemd."""
    return bool(address) or name in systemd.sockets()


def bind(name: str, address: str) -> socket.socket:
    """A listening socket: the one of this name that systemd passed, else the one that is open as ``fd://N``, else
    a new one for HOST:PORT or ``unix:///path``.
    """
    if (passed := systemd.sockets().get(name)) is not None:
        return socket.socket(fileno=passed)
    if address.startswith("fd://"):
        return socket.socket(fileno=int(address.removeprefix("fd://")))
    try:
        if address.startswith("unix://"):
            return _listen_unix(Path(address.removeprefix("unix://")), OPEN_TO.get(name, ""))
        host, _, port = address.rpartition(":")
        return _listen_tcp(host.strip("[]"), int(port))
    except OSError as error:
        raise ConfigurationError(
            f"{address} cannot be used: {error.strerror}.",
            where=f"setting {_KEYS[name]}",
            remedy=f"Stop what uses it, or choose another address: --set {_KEYS[name]}=127.0.0.1:0 takes a free port.",
        ) from None


_KEYS: Mapping[str, str] = {
    "ipp": "listen.ipp",
    "backend": "listen.backend",
    "raw": "listen.raw",
    "lpd": "listen.lpd",
    "public": "receipts.public",
    "api": "receipts.api",
    "health": "listen.health",
}


def _listen_tcp(host: str, port: int) -> socket.socket:
    family, kind, protocol, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    listening = socket.socket(family, kind, protocol)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind(place)
    listening.listen(BACKLOG)
    return listening


def _listen_unix(path: Path, group: str) -> socket.socket:
    """A socket for our own user, and for a group when we may give it to one."""
    path.unlink(missing_ok=True)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listening.bind(str(path))
    path.chmod(0o600)
    if group:
        try:
            shutil.chown(path, group=group)
            path.chmod(0o660)
        except (LookupError, PermissionError):
            log.warning("%s is open to our own user alone, not to group %s", path, group)
    listening.listen(BACKLOG)
    return listening


def shown(listening: socket.socket) -> str:
    """HOST:PORT, or ``unix:///path``."""
    place = listening.getsockname()
    if isinstance(place, str):
        return f"unix://{place}"
    host, port = place[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def tell(layout: Layout, addresses: Mapping[str, str]) -> None:
    """Write down where an instance listens, for the command line and for scripts."""
    write_private(layout.addresses, json.dumps({**addresses, "pid": os.getpid()}, indent=1).encode())


def write_private(path: Path, data: bytes) -> None:
    """Write a file that only its owner can read, whole or not at all."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:  # noqa: PTH123 - needs a mode
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def _secret_of(path: str) -> str:
    """The first line of a secret's file; one that others can read is refused."""
    if not path:
        return ""
    try:
        if Path(path).stat().st_mode & 0o077 and not systemd.keeps(Path(path)):
            raise ConfigurationError(f"Others may read {path}.", where="a secret's file", remedy=f"chmod 0600 {path}")
        return Path(path).read_text().splitlines()[0]
    except (OSError, IndexError) as error:
        raise ConfigurationError(
            f"The secret in {path} cannot be read: {error}.", remedy="Write it into the file, in one line."
        ) from None


@contextlib.contextmanager
def _lock(state: Path) -> Any:
    """One supervisor for a state folder; the lock goes with the process."""
    with (state / "lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigurationError(
                "This instance is being served already.",
                where=str(state),
                remedy="Stop the other one, or choose another folder: --state DIR",
            ) from None
        yield
