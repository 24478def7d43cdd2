"""What a PostScript interpreter that was taken over would find: run in place of the Ghostscript unit's program."""

from __future__ import annotations

import ctypes
import json
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path

CLONE_NEWUSER = 0x10000000

TRIES: dict[str, Callable[[], object]] = {
    "read the archive": lambda: list(Path("/var/lib/invoice-printer").iterdir()),
    "read the settings": lambda: Path("/etc/invoice-printer/config.toml").read_text(),
    "read the passwords": lambda: Path("/etc/shadow").read_text(),
    "read a credential": lambda: Path("/etc/credstore/invoice-printer.smtp-password").read_text(),
    "write into the system": lambda: Path("/usr/lib/x").write_text("x"),
    "write into a home": lambda: Path("/root/x").write_text("x"),
    "open a network socket": lambda: socket.socket(socket.AF_INET),
    "open a unix socket": lambda: socket.socket(socket.AF_UNIX),
    "become root": lambda: os.setuid(0),
    "make a namespace": lambda: _unshare(),
    "see other processes": lambda: Path("/proc/1/status").read_text(),
    "take two gigabytes": lambda: bytearray(2 << 30),
}


def _unshare() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWUSER) != 0:
        raise OSError(ctypes.get_errno(), "unshare")


def outcome(attempt: Callable[[], object]) -> str:
    try:
        attempt()
    except Exception as error:
        return type(error).__name__
    return "done"


sys.stdin.buffer.read()
found = {name: outcome(attempt) for name, attempt in TRIES.items()}
words = json.dumps(found | {"user": str(os.getuid())}).encode()
sys.stdout.buffer.write(len(words).to_bytes(4, "big") + words)
