"""How a process gives up what it does not need, so that a document that takes it over gains nothing.

One rule: every call here only takes rights away, for this process and all that it starts. What the kernel does not
offer (user namespaces forbidden by a unit, no Landlock before Linux 5.13) is left out; the rest still holds.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import resource
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

_LIBC = ctypes.CDLL(None, use_errno=True)

# prctl(2), unshare(2)
_PR_SET_PDEATHSIG, _PR_GET_SECCOMP, _PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 1, 21, 22, 38
_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000

# landlock(7): system calls, and the rights of a version 3 rule set (version 1 has 13 bits, 2 adds REFER, 3 TRUNCATE)
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION_FLAG, _PATH_BENEATH = 1, 1
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR, _TRUNCATE = 1 << 0, 1 << 1, 1 << 2, 1 << 3, 1 << 14
_RIGHTS = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1}
_SCOPED_SINCE, _SCOPES = 6, 3
"""Since version 6 signals and abstract sockets end at the edge of the domain."""
_OF_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE
_READ = _EXECUTE | _READ_FILE | _READ_DIR

# seccomp(2): what a filter reads of a system call, and what it answers
_SECCOMP_MODE_FILTER, _ALLOW, _REFUSE = 2, 0x7FFF0000, 0x00050000 | errno.EACCES
_LOAD, _EQUALS, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_NUMBER, _ARCHITECTURE = 0, 4
_ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
"""AUDIT_ARCH of a machine."""
_CALLS: Mapping[str, Mapping[str, int]] = {
    "socket": {"x86_64": 41, "aarch64": 198},  # no network namespace holds unix sockets back
    "io_uring_setup": {"x86_64": 425, "aarch64": 425},  # its rings open sockets that no filter sees
    "setpgid": {"x86_64": 109, "aarch64": 154},  # who leaves the group is not killed with it
    "setsid": {"x86_64": 112, "aarch64": 157},
    "ptrace": {"x86_64": 101, "aarch64": 117},  # a sealer of the same user holds the key
    "process_vm_readv": {"x86_64": 310, "aarch64": 270},
    "process_vm_writev": {"x86_64": 311, "aarch64": 271},
    "pidfd_getfd": {"x86_64": 438, "aarch64": 438},
    "add_key": {"x86_64": 248, "aarch64": 217},  # the rest of what a document never needs and kernels often got wrong
    "request_key": {"x86_64": 249, "aarch64": 218},
    "keyctl": {"x86_64": 250, "aarch64": 219},
    "perf_event_open": {"x86_64": 298, "aarch64": 241},
    "bpf": {"x86_64": 321, "aarch64": 280},
    "userfaultfd": {"x86_64": 323, "aarch64": 282},
}
"""System calls that are refused, and their number on each machine."""
_X32 = 0x40000000

_SYSTEM = ("/usr", "/lib", "/lib64", "/bin", "/etc/ld.so.cache", "/etc/fonts", "/etc/ghostscript", "/etc/localtime",
           "/var/lib/ghostscript", "/dev/urandom", "/proc/self")  # fmt: skip
"""What programs and fonts are made of: no accounts, no settings, no state."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one child may use. Sizes in bytes; ``cpu`` in seconds a call."""

    address_space: int = 2 << 30
    cpu: int = 60
    file_size: int = 1 << 30
    open_files: int = 128


class _RulesetAttribute(ctypes.Structure):
    _fields_ = (
        ("handled_access_fs", ctypes.c_uint64),
        ("handled_access_net", ctypes.c_uint64),
        ("scoped", ctypes.c_uint64),
    )


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed_access", ctypes.c_uint64), ("parent_fd", ctypes.c_int32))


class _Instruction(ctypes.Structure):
    _fields_ = (("code", ctypes.c_uint16), ("yes", ctypes.c_uint8), ("no", ctypes.c_uint8), ("k", ctypes.c_uint32))


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_uint16), ("filter", ctypes.POINTER(_Instruction)))


def confine(limits: Limits | None, folder: Path) -> None:
    """Confines this process for good: it writes under ``folder`` alone, opens no socket, stays in the
    group that is killed, and dies with its parent.

    With ``limits`` None it keeps files and network (a sealer asks a timestamp authority); it still gains no
    privilege, leaves no core, and dies with its parent.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _LIBC.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if limits is not None:
        _leave_network()
        _leave_files(folder)
        _leave_calls()
        lower(resource.RLIMIT_AS, limits.address_space)
        lower(resource.RLIMIT_FSIZE, limits.file_size)
        lower(resource.RLIMIT_NOFILE, limits.open_files)
    die_with_parent()  # last: a change of credentials (unshare) clears it, prctl(2)


def die_with_parent() -> None:
    """The kernel kills this process when the thread that started it ends."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def grant_cpu(seconds: int) -> None:
    """Gives ``seconds`` more processor time from now on; then the kernel kills (SIGXCPU)."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    soft = int(used.ru_utime + used.ru_stime) + seconds + 1
    resource.setrlimit(resource.RLIMIT_CPU, (soft, resource.RLIM_INFINITY))


def lower(which: int, value: int) -> None:
    """Lowers a limit, softly and hard; one that is lower already stays."""
    hard = resource.getrlimit(which)[1]
    lowest = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(which, (lowest, lowest))


def offered() -> Mapping[str, bool]:
    """Which walls this kernel offers to this user."""
    return {
        "Landlock": landlock_version() > 0,
        "an empty network": _in_child(_leave_network),
        "a filter of system calls": _filters(),
    }


def _in_child(attempt: Callable[[], bool]) -> bool:
    """What an attempt would give, without doing it to this process."""
    child = os.fork()
    if child == 0:
        os._exit(0 if attempt() else 1)
    return os.waitpid(child, 0)[1] == 0


def _filters() -> bool:
    return platform.machine() in _ARCHITECTURES and int(_LIBC.prctl(_PR_GET_SECCOMP, 0, 0, 0, 0)) >= 0


def _leave_network() -> bool:
    """An empty network namespace: not even loopback answers."""
    return 0 in (_LIBC.unshare(flags) for flags in (_CLONE_NEWNET, _CLONE_NEWUSER | _CLONE_NEWNET))


def _leave_calls() -> None:
    """Refuses the calls of :data:`_CALLS`, and all calls of other machines."""
    machine = platform.machine()
    if machine not in _ARCHITECTURES:
        return
    refused = [numbers[machine] for numbers in _CALLS.values()]
    count = len(refused)  # a test skips the tests behind it, and the allowance, to get to the refusal
    instructions = (
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_EQUALS, 0, count + 3, _ARCHITECTURES[machine]),
        (_LOAD, 0, 0, _NUMBER),
        (_AT_LEAST, count + 1, 0, _X32),
        *((_EQUALS, count - index, 0, number) for index, number in enumerate(refused)),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _REFUSE),
    )
    filter_ = (_Instruction * len(instructions))(*(_Instruction(*one) for one in instructions))
    program = _Program(len(instructions), filter_)
    _LIBC.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0)


def landlock_version() -> int:
    """The version of Landlock in this kernel; 0 or less when it has none."""
    return int(_LIBC.syscall(_CREATE_RULESET, None, 0, _VERSION_FLAG))


def _leave_files(folder: Path) -> None:
    version = landlock_version()
    if version < 1:
        return
    rights = _RIGHTS[min(version, max(_RIGHTS))]
    attribute = _RulesetAttribute(rights, 0, _SCOPES if version >= _SCOPED_SINCE else 0)
    size = ctypes.sizeof(attribute) if version >= _SCOPED_SINCE else 8
    rules = _LIBC.syscall(_CREATE_RULESET, ctypes.byref(attribute), size, 0)
    if rules < 0:
        return
    _allow(rules, str(folder), rights)
    _allow(rules, "/dev/null", (_READ_FILE | _WRITE_FILE | _TRUNCATE) & rights)
    for path in _readable():
        _allow(rules, path, _READ & rights)
    _LIBC.syscall(_RESTRICT_SELF, rules, 0)
    os.close(rules)


def _readable() -> Iterator[str]:
    yield from _SYSTEM
    yield from {sys.prefix, sys.base_prefix, str(Path(__file__).parents[1])}


def _allow(rules: int, path: str, rights: int) -> None:
    try:
        file = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return  # this machine has none, so there is nothing to allow
    try:
        rule = _PathBeneath(rights if Path(path).is_dir() else rights & _OF_FILES, file)
        _LIBC.syscall(_ADD_RULE, rules, _PATH_BENEATH, ctypes.byref(rule), 0)
    finally:
        os.close(file)
