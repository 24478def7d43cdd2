"""A network of a few machines, each a pair of namespaces (network and mounts) with a message bus of its own.

One rule: nothing here touches the machine on which the tests run. What a
machine runs are children of the test, ended by their process ids; interfaces,
addresses and mounts go with the namespaces.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.instance import until

PORT = 8631
BUS = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>system</type><listen>unix:path=/run/dbus/system_bus_socket</listen><auth>EXTERNAL</auth>
<policy context="default"><allow send_destination="*"/><allow receive_sender="*"/><allow own="*"/>
<allow user="*"/></policy></busconfig>
"""
AVAHI = """[server]
host-name={name}
[publish]
disable-user-service-publishing={closed}
"""


def _as_root() -> list[str]:
    """Anybody is root in a namespace of his own."""
    return [] if os.geteuid() == 0 else ["--user"]


@dataclass
class Process:
    """A child in a machine; what it says goes into a file."""

    child: subprocess.Popen[bytes]
    log: Path

    def said(self) -> str:
        return self.log.read_text("utf-8", "replace")

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Its exit status."""
        if self.child.poll() is None:
            self.child.send_signal(number)
        return self.child.wait(20)


@dataclass(frozen=True)
class Found:
    """A service as avahi-browse resolves it."""

    name: str
    type: str
    host: str
    address: str
    port: int
    txt: Mapping[str, str]


@dataclass
class Machine:
    """A machine called ``name`` at ``address``; ``process`` holds its namespaces open."""

    name: str
    folder: Path
    address: str
    process: int
    running: list[Process] = field(default_factory=list)

    def inside(self, *command: str | Path) -> list[str]:
        """A command that runs ``command`` in this machine, as the very process that is started."""
        enter = ["nsenter", f"--target={self.process}", "--net", "--mount", f"--wd={Path.cwd()}"]
        own = ["--user", "--preserve-credentials"] if _as_root() else []
        return [*enter, *own, *map(str, command)]

    def run(self, command: str) -> str:
        """What a command says; it must succeed."""
        done = subprocess.run(
            self.inside(*shlex.split(command)), capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def start(self, *command: str | Path) -> Process:
        log = self.folder / f"{len(self.running)}.log"
        with log.open("wb") as file:
            child = subprocess.Popen(
                self.inside(*command), stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT
            )
        self.running.append(Process(child, log))
        return self.running[-1]

    def stop(self) -> None:
        for process in reversed(self.running):
            process.stop(signal.SIGKILL)
        self.running.clear()

    # What runs on it

    def bus(self) -> Process:
        config = self.folder / "bus.conf"
        config.write_text(BUS)
        self.run("mkdir -p /run/dbus /run/avahi-daemon")
        self.run("rm -f /run/dbus/system_bus_socket")
        bus = self.start("dbus-daemon", f"--config-file={config}", "--nofork", "--nopidfile")
        until(lambda: self.run("ls /run/dbus").strip(), 10)
        return bus

    def avahi(self, *, closed: bool = False) -> Process:
        config = self.folder / "avahi.conf"
        config.write_text(AVAHI.format(name=self.name, closed="yes" if closed else "no"))
        own = ["--no-drop-root", "--no-chroot", "--no-rlimits", "--no-proc-title"]
        self.run("rm -rf /run/avahi-daemon/pid")
        daemon = self.start("avahi-daemon", f"--file={config}", *own)
        until(lambda: "Server startup complete" in daemon.said(), 20)
        return daemon

    def printer(self, state: Path, **settings: Any) -> Process:
        """Our service, the role that takes prints; ready when it listens."""
        assigned = {"listen.ipp": f"0.0.0.0:{PORT}"} | {key.replace("__", "."): one for key, one in settings.items()}
        words = [word for key, value in assigned.items() for word in ("--set", f"{key}={json.dumps(value)}")]
        service = self.start(sys.executable, "-m", "printerd", "serve", "--only=capture", f"--state={state}", *words)
        until(lambda: f":{PORT} " in self.run("ss -ltn"), 30)
        return service

    # What others see

    def browse(self, kind: str = "_ipp._tcp", over: str = "IPv4") -> list[Found]:
        """The services of a type that this machine sees on its Ethernet over one kind of IP; its Avahi must run."""
        lines = self.run(f"avahi-browse --resolve --terminate --parsable --no-db-lookup {kind}").splitlines()
        return [_found(line) for line in lines if line.startswith(f"=;eth0;{over};")]

    def sees(self, name: str, kind: str = "_ipp._tcp", seconds: float = 30) -> Found:
        """A service of that name, once it is there."""
        return until(lambda: next((one for one in self.browse(kind) if one.name == name), None), seconds)


def _found(line: str) -> Found:
    """A line of avahi-browse, where what is special in a name stands as a decimal number."""
    _, _, _, name, kind, _, host, address, port, *rest = line.split(";")
    name = re.sub(rb"\\(\d{3})", lambda one: bytes((int(one[1]),)), name.encode()).decode()
    strings = [one.partition("=") for one in shlex.split(";".join(rest))]
    return Found(name, kind, host, address, int(port), {key: value for key, _, value in strings})


@contextlib.contextmanager
def network(folder: Path, names: list[str]) -> Iterator[dict[str, Machine]]:
    """Machines on one Ethernet; the first one is its switch as well, at 10.77.0.1."""
    holders: list[subprocess.Popen[bytes]] = []
    machines: dict[str, Machine] = {}
    try:
        for number, name in enumerate(names, start=1):
            holders.append(_holder(machines[names[0]] if machines else None))
            (folder / name).mkdir()
            machines[name] = Machine(name, folder / name, f"10.77.0.{number}", holders[-1].pid)
            _plug(machines[name], machines[names[0]])
        yield machines
    finally:
        for machine in machines.values():
            machine.stop()
        for holder in reversed(holders):
            holder.kill()
            holder.wait()


def _holder(first: Machine | None) -> subprocess.Popen[bytes]:
    """A process in namespaces of its own; they begin when it says so. All belong to one user: the first one's."""
    hold = ["sh", "-c", "mount -t tmpfs tmpfs /run && ip link set lo up && echo ready && exec sleep infinity"]
    apart = ["unshare", "--net", "--mount"]
    own = ["--map-root-user"] if _as_root() and first is None else []
    command = [*apart, *own, *hold] if first is None else first.inside(*apart, *hold)
    holder = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"ready\n", "root makes namespaces; others where Linux lets them (unshare(1))"
    holder.stdout.close()
    return holder


def _plug(machine: Machine, switch: Machine) -> None:
    if machine is switch:
        switch.run("ip link add eth0 type bridge mcast_snooping 0")
    else:
        port = f"port-{machine.name}"
        switch.run(f"ip link add {port} type veth peer name eth0 netns {machine.process}")
        switch.run(f"ip link set {port} master eth0 up")
    machine.run("ip link set eth0 up")
    machine.run(f"ip address add {machine.address}/24 dev eth0")
