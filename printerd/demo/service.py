"""The service as the demo runs it: a child process, and the command line beside it.

One rule: what the demo does to the instance, it does with the commands that it
prints. The child ends with the demo, however the demo ends.
"""

from __future__ import annotations

import ctypes
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import httpx

from printerd.errors import TransientError
from printerd.supervisor import PR_SET_PDEATHSIG, Layout

STARTS_WITHIN = 60.0
"""Seconds that the service gets until it answers."""
ENDS_WITHIN = 20.0

_libc = ctypes.CDLL(None, use_errno=True)


def program() -> tuple[str, ...]:
    """How this command line was called, so that a printed command can be typed."""
    called = Path(sys.argv[0])
    if called.name == "invoice-printer":
        return (sys.argv[0],)
    return (near(Path(sys.executable)), "-m", "printerd")


def near(path: Path) -> str:
    """A path as one would type it: from the current folder where it lies below, else whole."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


class Service:
    """``invoice-printer serve`` on a state folder. It logs into ``serve.log`` there."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        return self.layout.root / "serve.log"

    def command(self, *words: str) -> tuple[str, ...]:
        """A command on this instance, as it is run and as it can be typed."""
        return (*program(), *words, "--state", near(self.layout.root))

    def start(self) -> None:
        """Start it, without waiting. It gets a session of its own: Ctrl-C is the demo's to handle."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own program
                self.command("serve"),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=_end_with_parent,
            )

    def wait(self) -> None:
        """Until printer and pages answer. Raises :class:`TransientError` when they do not."""
        deadline = time.monotonic() + STARTS_WITHIN
        while not self._answers():
            if not self.runs() or time.monotonic() > deadline:
                raise TransientError(
                    "The service did not start.", where=self._last_words(), remedy=f"See why: {near(self.log)}"
                )
            time.sleep(0.05)

    def runs(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def addresses(self) -> Mapping[str, str]:
        """Where it listens: ``ipp``, ``public``, ``api`` as HOST:PORT, and ``public_url``."""
        told: dict[str, str] = json.loads(self.layout.addresses.read_text())
        return told

    @property
    def printer(self) -> str:
        return f"ipp://{self.addresses()['ipp']}/ipp/print"

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command of the command line on this instance, as its user types it."""
        return subprocess.run(  # noqa: S603 - our own program
            self.command(*words), capture_output=True, text=True, timeout=300, check=False
        )

    def do(self, *words: str) -> str:
        """Run a command that must succeed; what it printed. Else :class:`TransientError` with its words."""
        done = self.run(*words)
        if done.returncode:
            raise TransientError(
                f"A command ended with status {done.returncode}: {shlex.join(self.command(*words))}",
                where=(done.stderr or done.stdout).strip()[-600:],
            )
        return done.stdout.strip()

    def stop(self) -> None:
        """End it as systemd does: SIGTERM, and SIGKILL only when it does not end."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(ENDS_WITHIN)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._process = None

    def _answers(self) -> bool:
        try:
            told = self.addresses()
            httpx.get(f"http://{told['ipp']}/", trust_env=False)
            return httpx.get(f"{told['public_url']}/robots.txt", trust_env=False).is_success
        except (OSError, ValueError, httpx.TransportError):
            return False

    def _last_words(self) -> str:
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return "\n".join(lines[-3:])


def _end_with_parent() -> None:
    """In the child, before exec: the kernel asks it to end when the demo is gone (prctl(2))."""
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
