"""Our own service, as ``serve`` starts it, on a state folder of its own and with the defaults of the product.

One rule: it is looked at from outside: its database is read, its processes are counted, and nothing is written.
"""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from bench import measure
from printerd.demo import samples, setting, trade
from printerd.demo.catcher import Catcher
from printerd.demo.service import ENDS_WITHIN, STARTS_WITHIN, Service
from printerd.supervisor import Layout

PATIENCE = 600.0


@dataclass(frozen=True, slots=True)
class Ours:
    """A running service."""

    service: Service

    @property
    def printer(self) -> str:
        return self.service.printer

    @property
    def supervisor(self) -> int:
        return int(self.service.addresses()["pid"])

    def process(self, part: str) -> int:
        return next(process for process, played in measure.family(self.supervisor).items() if played == part)

    @property
    def blobs(self) -> Path:
        return self.service.layout.root / "blobs"

    def query(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        """What a reader beside the service sees in its database."""
        path = self.service.layout.root / "printerd.db"
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            return connection.execute(sql, values).fetchall()

    def kept(self) -> set[str]:
        """The SHA-256 of every document that has both its row and its bytes."""
        named = {row[0] for row in self.query("SELECT original FROM jobs")}
        return {digest for digest in named if digest and (self.blobs / digest[:2] / digest).exists()}

    def last_number(self) -> int:
        """The number of the latest job."""
        return int(self.query("SELECT coalesce(max(number), 0) FROM jobs")[0][0])

    def problems(self) -> tuple[int, str]:
        """How many problems ``verify --all`` finds, and what it checked, or the first of them."""
        command = self.service.command("verify", "--all", "--json")
        done = subprocess.run(command, capture_output=True, text=True, timeout=2 * PATIENCE)  # noqa: S603 - our own program
        found = json.loads(done.stdout)
        checked = ", ".join(f"{count} {name}" for name, count in found["counts"].items())
        first = "".join(f"{problem['where']}: {problem['what']}" for problem in found["problems"][:1])
        return len(found["problems"]) + found["more"], first or checked

    def archived(self) -> int:
        return int(self.query("SELECT count(*) FROM ledger WHERE kind = 'invoice'")[0][0])

    def archived_at(self) -> float:
        """When the last invoice was archived, in seconds since 1970."""
        return seconds(self.query("SELECT max(recorded_at) FROM ledger WHERE kind = 'invoice'")[0][0])

    def wait_archived(self, total: int) -> None:
        until(lambda: self.archived() >= total, f"{total} archived invoices")

    def rest(self) -> None:
        """Wait until nothing waits for the worker any more."""
        until(lambda: not self._busy(), "rest")

    def _busy(self) -> bool:
        return bool(
            self.query(
                "SELECT 1 FROM jobs WHERE state IN ('received', 'processing') UNION ALL"
                " SELECT 1 FROM invoices WHERE state IN ('checking', 'ready') UNION ALL"
                " SELECT 1 FROM deliveries WHERE state = 'due' LIMIT 1"
            )
        )

    def _locked(self) -> bool:
        path = self.service.layout.root / "printerd.db"
        with closing(sqlite3.connect(path, timeout=0.2, isolation_level=None)) as connection:
            try:
                connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                return True
            return False

    @contextmanager
    def held_worker(self) -> Iterator[None]:
        """The worker stands still: what is measured is capture alone. The supervisor takes that for two minutes."""
        worker = self.process("worker")
        os.kill(worker, signal.SIGSTOP)
        try:
            while self._locked():  # it was stopped in the middle of a transaction
                os.kill(worker, signal.SIGCONT)
                time.sleep(0.05)
                os.kill(worker, signal.SIGSTOP)
            yield
        finally:
            os.kill(worker, signal.SIGCONT)


def seconds(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()


def until(look: Callable[[], bool], what: str, seconds: float = PATIENCE) -> None:
    """Look until it is true. Raises :class:`TimeoutError`, which names what did not come."""
    deadline = time.monotonic() + seconds
    while not look():
        if time.monotonic() > deadline:
            raise TimeoutError(f"no {what} within {seconds:.0f} s")
        time.sleep(0.02)


def prepared(state: Path, *, smtp_port: int = 25, timestamps: bool = True) -> Service:
    """A service that was never started; its state folder holds its settings alone. ``timestamps``: one in each seal."""
    state.mkdir(mode=0o700)
    issuer = setting.config({key: setting.Place("", 0, 0) for key in setting.ADDRESSES}, smtp_port)
    lines = [line for line in issuer.splitlines() if not line.startswith(("per_minute", "retry"))]
    lines += ["[timestamp]", f"invoices = {str(timestamps).lower()}"]
    (state / "config.toml").write_text("\n".join(lines) + "\n")
    return Service(Layout(state))


@contextmanager
def served(folder: Path, name: str, *, timestamps: bool = True) -> Iterator[Ours]:
    """The service, live, with the samples' customers, and a mail server that keeps its mails."""
    catcher = Catcher(folder / f"{name}-mails")
    catcher.start()
    service = prepared(folder / name, smtp_port=catcher.smtp_port, timestamps=timestamps)
    try:
        service.start()
        service.wait()
        listed = folder / f"{name}-customers.csv"
        samples.write_customers(listed, trade.BUYERS)
        service.do("customers", "import", str(listed))
        service.do("go-live")
        yield Ours(service)
    finally:
        service.stop()
        catcher.stop()


@contextmanager
def alone(service: Service, role: str) -> Iterator[Ours]:
    """One role of an instance, without a supervisor and without the others: ``serve --only ROLE``."""
    with service.log.open("ab") as log:
        process = subprocess.Popen(service.command("serve", "--only", role), stdout=log, stderr=log)  # noqa: S603 - our own program
        try:
            until(lambda: service.layout.addresses.exists(), f"answer of {role}", STARTS_WITHIN)
            yield Ours(service)
        finally:
            process.terminate()
            process.wait(ENDS_WITHIN)
