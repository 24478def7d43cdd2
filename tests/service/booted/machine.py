"""A Debian 12 that is booted for a test by systemd-nspawn, in a second, and thrown away after it.

One rule: nothing of it stays but what takes long to make (the installed Debian, the wheels), which is kept in the
user's cache. The machine has no network; the tree under test and the wheels are handed in as folders.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[3]
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "invoice-printer"
PACKAGES = (
    *("systemd", "systemd-sysv", "dbus", "libpam-systemd", "iproute2", "procps", "make", "python3", "python3-venv"),
    *("cups", "cups-client", "cups-filters", "cups-ipp-utils", "avahi-daemon"),
    *(ROOT / "requirements/service.txt").read_text().split(),
)
"""A plain Debian with CUPS, what README asks for, and what making the package and apt would fetch: no network."""
HERE = "/root/invoice-printer"
"""The tree in the machine."""
WHEELS = "/wheels"
ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LANG": "C.UTF-8",
    "PIP_NO_INDEX": "1",
    "PIP_FIND_LINKS": WHEELS,
    "DEBIAN_FRONTEND": "noninteractive",
    "DPKG_DEB_COMPRESSOR_TYPE": "gzip",
    "DPKG_DEB_COMPRESSOR_LEVEL": "1",
}
"""Of root's shell; what is packed here is not kept, so it is packed quickly."""


def base() -> Path:
    """The installed Debian; a minute from nothing, then kept for as long as its packages are those named above."""
    folder = CACHE / f"bookworm-{_digest(' '.join(PACKAGES).encode())}"
    if not folder.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        unfinished = CACHE / f"{folder.name}.{os.getpid()}"
        include = f"--include={','.join(PACKAGES)}"
        subprocess.run(
            ["mmdebstrap", "--quiet", "--variant=minbase", include, "bookworm", unfinished, *_sources()], check=True
        )
        unfinished.rename(folder)
    return folder


def _sources() -> list[str]:
    """This machine's own sources of Debian, whatever mirror they name."""
    places = [Path("/etc/apt/sources.list"), *Path("/etc/apt/sources.list.d").glob("*.sources")]
    return [str(place) for place in places if place.is_file() and "bookworm" in place.read_text()]


def wheels() -> Path:
    """The pinned requirements as files, for a machine without network."""
    lock = ROOT / "requirements/runtime.txt"
    folder = CACHE / f"wheels-{_digest(lock.read_bytes())}"
    if not folder.exists():
        unfinished = CACHE / f"{folder.name}.{os.getpid()}"
        pip = [sys.executable, "-m", "pip", "download", "-qqq", "--only-binary", ":all:", "--require-hashes"]
        subprocess.run([*pip, "--requirement", lock, "--dest", unfinished], check=True)
        unfinished.rename(folder)
    return folder


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:12]


@dataclass(frozen=True, slots=True)
class Machine:
    """A running machine: ``root`` is its file system as seen from here, ``leader`` its first process."""

    root: Path
    leader: int

    def run(
        self, command: str, *, check: bool = True, timeout: float = 120, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """A line that root types in the folder of the tree."""
        enter = ["nsenter", "--target", str(self.leader), "--all", "--", "env", "-i"]
        words = [f"{name}={value}" for name, value in (ENVIRONMENT | dict(env or {})).items()]
        done = subprocess.run(
            [*enter, *words, "sh", "-c", f"cd {HERE} && {command}"],
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            cwd="/",
        )
        assert not check or done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def until(self, command: str, seconds: float = 60) -> str:
        """What a command prints once it succeeds."""
        deadline = time.monotonic() + seconds
        while (done := self.run(command, check=False)).returncode:
            assert time.monotonic() < deadline, f"{command}: after {seconds} s\n{done.stdout}\n{done.stderr}"
            time.sleep(0.2)
        return done.stdout

    def path(self, name: str) -> Path:
        """A file of the machine as a path of this one."""
        return self.root / name.lstrip("/")


@contextmanager
def booted() -> Iterator[Machine]:
    """A machine with the tree in it, running until the end of the block; then nothing of it is left."""
    lower, find_links = base(), wheels()
    with tempfile.TemporaryDirectory(prefix="machine-") as folder:
        upper, work, root = (Path(folder, name) for name in ("upper", "work", "root"))
        for place in (upper, work, root):
            place.mkdir()
        layers = f"lowerdir={lower},upperdir={upper},workdir={work}"
        subprocess.run(["mount", "-t", "overlay", "overlay", "-o", layers, root], check=True)
        try:
            (root / "etc/hosts").write_text("127.0.0.1 localhost\n::1 localhost\n")  # the installer of Debian writes it
            _copy_tree(root / HERE.lstrip("/"))
            with _started(root, find_links) as leader:
                machine = Machine(root, leader)
                machine.until("systemctl is-system-running --wait", 60)
                yield machine
        finally:
            subprocess.run(["umount", "--lazy", root], check=True)


@contextmanager
def _started(root: Path, find_links: Path) -> Iterator[int]:
    name = f"invoice-printer-{os.getpid()}"
    command = ["systemd-nspawn", "--quiet", f"--directory={root}", "--boot", "--register=no", "--keep-unit"]
    options = [f"--machine={name}", "--console=pipe", "--private-network", f"--bind-ro={find_links}:{WHEELS}"]
    with Path(root.parent, "console").open("wb") as console:
        nspawn = subprocess.Popen(
            [*command, *options], stdin=subprocess.DEVNULL, stdout=console, stderr=console, start_new_session=True
        )
    try:
        yield _leader(nspawn, root.parent / "console")
    finally:
        _power_off(nspawn)


def _leader(nspawn: subprocess.Popen[bytes], console: Path) -> int:
    """The first process of the machine, once it can be entered."""
    children = Path(f"/proc/{nspawn.pid}/task/{nspawn.pid}/children")
    deadline = time.monotonic() + 30
    while nspawn.poll() is None and time.monotonic() < deadline:
        for child in children.read_text().split():
            bus = Path(f"/proc/{child}/root/run/dbus/system_bus_socket")
            with suppress(OSError):
                if bus.exists():
                    return int(child)
        time.sleep(0.1)
    raise AssertionError(f"the machine did not start:\n{console.read_text(errors='replace')[-3000:]}")


def _power_off(nspawn: subprocess.Popen[bytes]) -> None:
    with suppress(OSError):
        for child in Path(f"/proc/{nspawn.pid}/task/{nspawn.pid}/children").read_text().split():
            os.kill(int(child), signal.SIGRTMIN + 4)  # systemd(1): power off
    try:
        nspawn.wait(30)
    except subprocess.TimeoutExpired:
        nspawn.kill()
        nspawn.wait()


def _copy_tree(target: Path) -> None:
    """The files of the tree as they are now, and the front-end files that ``make setup`` fetched."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    vendor = (ROOT / "printerd/console/static/vendor").iterdir()
    names = [*listed.stdout.decode().split("\0")[:-1], *(str(file.relative_to(ROOT)) for file in vendor)]
    for name in names:
        source, copy = ROOT / name, target / name
        if source.is_symlink() or source.is_file():
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, copy, follow_symlinks=False)
