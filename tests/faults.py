"""The kill harness: a whole service under traffic, its processes killed at seeded moments, and the account at the end.

One rule: what counts is what somebody outside was told. A print client was told a job number, a relay answered 250,
a customer got a whole file: each of these must be found again, once. Run it by hand::

    python -m tests.faults --kills 200 --invoices 300 [--seed N]
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import html
import http.client
import json
import os
import re
import signal
import sqlite3
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from email import message_from_bytes, policy
from functools import partial
from itertools import chain, pairwise
from pathlib import Path
from random import Random
from typing import Any

import psutil

from printerd import client
from printerd.demo import classic
from printerd.demo.forms import print_all
from printerd.demo.pens import PdfPen, Typeface
from printerd.demo.trade import FRENCH, Sale
from printerd.errors import RequestError, TransientError
from printerd.model import Route
from tests import documents
from tests.instance import Instance, free_port, link_of, request, served, words
from tests.relay import PHASES, Relay
from tests.waiting import until

TARGETS = ("supervisor", "capture", "worker", "reader", "sealer", "receipts")
MOMENT = {"supervisor": 0.05, "capture": 0.05, "worker": 0.6, "reader": 0.3, "sealer": 0.5, "receipts": 0.4}
"""Seconds after a print was begun within which each is killed: by then it is, or was, at work on it."""
POOLS = {"reader": "printerd.pipeline.reading:start", "sealer": "printerd.evidence.sealing:start"}
FIRST_NUMBER = 1001
"""Of the invoices: no sample of the tour has it."""
SETTLE = 180.0
"""Seconds within which everything must be done once nobody kills any more."""
RECOVERY = 90.0
"""Seconds within which whoever was killed is there again, and a print has become a mail."""


# Documents


@dataclass(frozen=True, slots=True)
class Printed:
    """A file to print, the numbers of its invoices, and whether one of them is mailed."""

    file: Path
    numbers: tuple[str, ...]
    mailed: bool


def stream(folder: Path, invoices: int, *, random: Random, today: date) -> Iterator[Printed]:
    """Files that hold ``invoices`` invoices together, every number once; one file in eight holds several."""
    number, last = FIRST_NUMBER, FIRST_NUMBER + invoices
    while number < last:
        size = min(last - number, random.randint(2, 6) if random.random() < 1 / 8 else 1)
        buyers = [random.choice(FRENCH).customer.code for _ in range(size)]
        sales = [documents.another_sale(number + n, code, today=today) for n, code in enumerate(buyers)]
        yield batch(folder / f"lot-{number}.pdf", sales)
        number += size


def batch(file: Path, sales: Sequence[Sale]) -> Printed:
    """The sales one after the other in one file, on the firm's main form."""
    pen = PdfPen(Typeface.STANDARD, title=file.stem, author=sales[0].invoice.seller.name)
    print_all(pen, classic.draw, classic.ROOM, sales)
    file.write_bytes(pen.finish())
    mailed = any(sale.buyer.customer.route is Route.MAIL for sale in sales)
    return Printed(file, tuple(sale.invoice.number for sale in sales), mailed)


# Traffic


class Printing:
    """Print clients: each takes the next file and sends it until it is told a job."""

    def __init__(self, instance: Instance, files: Iterable[Printed], *, clients: int = 2) -> None:
        self.told: dict[str, Printed] = {}
        self.retries = 0
        self._instance = instance
        self._files = iter(files)
        self._permits = threading.Semaphore(0)
        self._next = threading.Lock()
        self._over = threading.Event()
        self._address = instance.printer
        self._threads = [threading.Thread(target=self._print, args=(f"client-{n}",)) for n in range(clients)]
        for thread in self._threads:
            thread.start()

    def permit(self, count: int) -> None:
        """Let ``count`` more files be sent: the stream shall last as long as the kills."""
        for _ in range(count):
            self._permits.release()

    def finish(self, seconds: float) -> None:
        """Send what is left, and wait until all of it was taken."""
        self._permits.release(1_000_000)
        for thread in self._threads:
            thread.join(seconds)
        assert not any(thread.is_alive() for thread in self._threads), "print clients still wait for an answer"

    def abandon(self) -> None:
        self._over.set()
        self._permits.release(1_000_000)

    def _print(self, user: str) -> None:
        while self._permits.acquire() and not self._over.is_set():
            with self._next:
                printed = next(self._files, None)
            if printed is None:
                return
            sent = self._until_told(printed, user)
            if sent is not None:
                self.told[sent.uuid.removeprefix("urn:uuid:")] = printed

    def _until_told(self, printed: Printed, user: str) -> client.Sent | None:
        while not self._over.is_set():
            try:
                return client.print_file(self._address, printed.file, user=user, title=printed.file.name)
            except (TransientError, RequestError):
                self.retries += 1
                time.sleep(0.3)
        return None


class Customers:
    """They open the page of every mail that was kept; most of them press the button until they have the whole file."""

    def __init__(self, relay: Relay, random: Random) -> None:
        self.pressed: set[str] = set()
        """Message-IDs whose button was pressed at least once."""
        self.handed: dict[str, str] = {}
        """Message-ID → SHA-256 of the whole file that came."""
        self._relay = relay
        self._random = random
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._follow)
        self._thread.start()

    def finish(self, seconds: float) -> None:
        """Every mail that is there was looked at."""
        self._over.set()
        self._thread.join(seconds)
        assert not self._thread.is_alive(), "customers still wait for their page"

    def _follow(self) -> None:
        seen = 0
        while not self._over.is_set() or seen < len(self._relay.envelopes):
            if seen == len(self._relay.envelopes):
                time.sleep(0.05)
                continue
            envelope = self._relay.envelopes[seen]
            message: Any = message_from_bytes(envelope.original_content or b"", policy=policy.default)
            self._visit(str(message["Message-ID"]), link_of(message), presses=self._random.random() < 0.7)
            seen += 1

    def _visit(self, message: str, link: str, *, presses: bool) -> None:
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError, http.client.HTTPException):
                shown = request("GET", link)
                nonce = re.search(r'name="nonce" value="([^"]+)"', shown.body.decode())
                if nonce and not presses:
                    return
                if nonce:
                    self.pressed.add(message)
                    got = request("POST", link, {"nonce": html.unescape(nonce[1]), "action": "accept"})
                    if got.status == 200 and got.headers["content-type"] == "application/pdf":
                        self.handed[message] = hashlib.sha256(got.body).hexdigest()
                        return
            time.sleep(0.2)


# Kills


@dataclass(frozen=True, slots=True)
class Kill:
    """One planned kill. With ``phase`` it waits until the mailer is there."""

    target: str
    pause: float
    phase: str = ""


def plan(kills: int, random: Random) -> list[Kill]:
    """Every SMTP phase a twentieth of the kills, every other process an equal share of the rest.

    Each is spread over the whole run: a process that dies again and again at once is started ever more seldom.
    """
    mailer = [
        Kill("receipts", random.uniform(0, MOMENT["receipts"]), phase) for _ in range(kills // 20) for phase in PHASES
    ]
    others = [target for target in TARGETS if target != "receipts"] * kills
    rest = [Kill(target, random.uniform(0, MOMENT[target])) for target in others[: kills - len(mailer)]]
    series = [[kill for kill in (*mailer, *rest) if kill.target == target] for target in TARGETS]
    placed = [((n + random.random()) / len(one), kill) for one in series for n, kill in enumerate(one)]
    return [kill for _, kill in sorted(placed, key=lambda pair: pair[0])]


def shares(planned: Sequence[Kill], prints: Sequence[Printed]) -> list[list[Printed]]:
    """What is printed for each kill: a file that is mailed where its mail is waited for; the rest is spread evenly."""
    mailed = [printed for printed in prints if printed.mailed][: sum(bool(kill.phase) for kill in planned)]
    rest = [printed for printed in prints if printed not in mailed]
    bounds = [len(rest) * n // len(planned) for n in range(len(planned) + 1)]
    spread = [rest[first:last] for first, last in pairwise(bounds)]
    return [[mailed.pop(), *share] if kill.phase else share for kill, share in zip(planned, spread, strict=True)]


class Killer:
    """Carries a plan out and starts again what nobody else starts again: the supervisor."""

    def __init__(self, instance: Instance, relay: Relay, random: Random) -> None:
        self.done: Counter[str] = Counter()
        self.phases: Counter[str] = Counter()
        self.seen: set[psutil.Process] = set()
        """Every process of the service that ever was there when something was killed."""
        self._instance = instance
        self._relay = relay
        self._random = random

    def carry_out(self, kill: Kill, prints: Callable[[], None]) -> None:
        """Let prints begin; a moment later, or once a mail of theirs is in its phase, the victim dies."""
        hold = self._relay.ambush(kill.phase)
        prints()
        time.sleep(kill.pause)
        try:
            assert not kill.phase or hold.wait(RECOVERY), f"no mail came to its phase: {kill}"
            victim = until(lambda: self._victim(kill.target), RECOVERY)
            self.seen |= set(self._instance.family())
            with contextlib.suppress(psutil.NoSuchProcess):
                victim.send_signal(signal.SIGKILL)
        finally:
            hold.let_go()
        self.done[kill.target] += 1
        self.phases[kill.phase] += bool(kill.phase)
        if kill.target == "supervisor":
            self._again()

    def _victim(self, target: str) -> psutil.Process | None:
        """A process that lives; a reader or a sealer is one of its pool, or the server that forks them."""
        assert self._instance.process is not None
        if target == "supervisor":
            return psutil.Process(self._instance.process.pid)
        wanted = POOLS.get(target) or ("receipt_service" if target == "receipts" else f"--only {target}")
        found = [process for process in self._instance.family() if wanted in words(process)]
        return self._random.choice(found) if found else None

    def _again(self) -> None:
        assert self._instance.process is not None
        self._instance.process.wait(10)
        self._instance.start()


# The account


@dataclass
class Account:
    """What was promised, what is there, and every difference between the two."""

    figures: dict[str, Any] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def expect(self, true: bool, problem: str) -> None:
        if not true:
            self.problems.append(problem)


class Books:
    """The service's two databases and its archive, read beside it."""

    def __init__(self, state: Path) -> None:
        self._state = state

    def rows(self, query: str, *values: Any, database: str = "printerd.db") -> list[sqlite3.Row]:
        with contextlib.closing(sqlite3.connect(f"file:{self._state / database}?mode=ro", uri=True)) as connection:
            connection.row_factory = sqlite3.Row
            return connection.execute(query, values).fetchall()

    def busy(self) -> dict[str, int]:
        """What is still on its way, by kind; empty when everything has come to an end."""
        queries = {
            "jobs": "SELECT count(*) FROM jobs WHERE state IN ('incoming', 'received', 'processing')",
            "invoices": "SELECT count(*) FROM invoices WHERE state IN ('checking', 'ready')",
            "deliveries": "SELECT count(*) FROM deliveries WHERE state = 'due'",
            "dispatches": "SELECT count(*) FROM dispatches WHERE state = 'due'",
            "receipts": "SELECT count(*) FROM receipts WHERE state != 'pushed'",
        }
        counts = {name: self.rows(query)[0][0] for name, query in queries.items()}
        counts["mails"] = len(self.outbox("PENDING", "SENDING"))
        (edge,) = self.rows("SELECT coalesce(max(seq), 0) AS seq FROM events", database="receipts.db")
        counts["events"] = edge["seq"] - self.rows("SELECT coalesce(max(seq), 0) FROM edges")[0][0]
        return {name: count for name, count in counts.items() if count}

    def held(self) -> list[tuple[int, dict[str, Any]]]:
        """Number and reason of the jobs that wait for a person."""
        rows = self.rows("SELECT number, reason FROM jobs WHERE state = 'held'")
        return [(row["number"], json.loads(row["reason"])) for row in rows]

    def outbox(self, *states: str) -> list[sqlite3.Row]:
        marks = ",".join("?" * len(states))
        return self.rows(f"SELECT * FROM outbox WHERE state IN ({marks})", *states, database="receipts.db")  # noqa: S608 - marks alone

    def blob(self, digest: str) -> bytes:
        return (self._state / "blobs" / digest[:2] / digest).read_bytes()


def settle(instance: Instance, seconds: float = SETTLE) -> None:
    """Wait until nothing is on its way. No job may be held, for that would need a hand."""
    books, deadline = Books(instance.state), time.monotonic() + seconds
    while busy := books.busy():
        assert time.monotonic() < deadline, f"still on its way after {seconds} s: {busy}"
        time.sleep(0.3)
    assert not (held := books.held()), held


def settle_by_hand(instance: Instance) -> int:
    """The same, with a person who has jobs read again whose reader died twice. How many there were."""
    books, count = Books(instance.state), 0
    until(lambda: not books.busy(), SETTLE)
    for number, reason in books.held():
        assert reason["code"] == "reader-died", reason
        instance.run("jobs", "retry", str(number), "--reason", "its reader was killed")
        count += 1
    settle(instance)
    return count


def compare(
    instance: Instance, told: Mapping[str, Printed], relay: Relay, customers: Customers | None = None
) -> Account:
    """Every promise against the books, once everything has settled. ``told`` are the jobs that were acknowledged."""
    books, account = Books(instance.state), Account()
    _archived(books, account, told)
    _mailed(books, account, relay)
    if customers is not None:
        _receipted(books, account, relay, customers)
    _in_the_ledger(books, account)
    return account


def _archived(books: Books, account: Account, told: Mapping[str, Printed]) -> None:
    jobs = {row["id"]: row for row in books.rows("SELECT * FROM jobs")}
    archived = books.rows("SELECT * FROM invoices WHERE state = 'archived'")
    numbers = Counter(row["number"] for row in archived)
    for job, printed in told.items():
        row = jobs.get(job)
        account.expect(row is not None and row["state"] == "done", f"{printed.file.name}: acknowledged, job lost")
        if row is not None and row["original"]:
            account.expect(
                books.blob(row["original"]) == printed.file.read_bytes(), f"{printed.file.name}: other bytes"
            )
        for number in printed.numbers:
            account.expect(numbers[number] == 1, f"{number}: archived {numbers[number]} times")
    promised = {number for printed in told.values() for number in printed.numbers}
    account.expect(set(numbers) == promised, f"archived but never printed: {set(numbers) - promised}")
    for row in archived:
        account.expect(hashlib.sha256(books.blob(row["sealed"])).hexdigest() == row["sealed"], f"{row['number']}: blob")
        count = len(books.rows("SELECT 1 FROM deliveries WHERE invoice = ?", row["id"]))
        account.expect(count == 1, f"{row['number']}: {count} deliveries")
    account.figures |= {
        "jobs acknowledged": len(told),
        "invoices archived": len(archived),
        "reprints": len(books.rows("SELECT 1 FROM invoices WHERE state = 'reprint'")),
    }


def _mailed(books: Books, account: Account, relay: Relay) -> None:
    kept = _kept(relay)
    outbox = {row["message_id"]: row for row in books.outbox("ACCEPTED", "UNCERTAIN", "FAILED")}
    for (message, recipient), count in kept.items():
        account.expect(count == 1, f"{message} to {recipient}: {count} copies")
        account.expect(message in outbox, f"{message}: mailed and unknown")
    for message, row in outbox.items():
        copies = kept[message, row["recipient"]]
        resent = row["reply"] == "superseded"  # by a person, who could not tell either
        account.expect(row["state"] != "FAILED" or resent, f"{message}: failed: {row['reply']}")
        account.expect(row["state"] != "ACCEPTED" or copies == 1, f"{message}: said to be accepted, {copies} copies")
    wanted = {
        (row["id"], contact["id"])
        for row in books.rows("SELECT id, facts FROM deliveries WHERE route = 'mail'")
        for contact in json.loads(row["facts"])["contacts"]
    }
    written = {(row["delivery"], row["contact"]) for row in outbox.values()}
    account.expect(wanted <= written, f"never mailed: {wanted - written}")
    account.figures |= {f"mails {state}": n for state, n in Counter(row["state"] for row in outbox.values()).items()}
    account.figures["mails kept by the relay"] = sum(kept.values())


def _kept(relay: Relay) -> Counter[tuple[str, str]]:
    """How often the relay took each (Message-ID, recipient)."""
    kept: Counter[tuple[str, str]] = Counter()
    for envelope in relay.envelopes:
        message = message_from_bytes(envelope.original_content or b"", policy=policy.default)
        kept.update((str(message["Message-ID"]), recipient) for recipient in envelope.rcpt_tos)
    return kept


def _receipted(books: Books, account: Account, relay: Relay, customers: Customers) -> None:
    rows = books.rows("SELECT message_id, delivery, contact FROM outbox", database="receipts.db")
    contact_of = {row["message_id"]: (row["delivery"], row["contact"]) for row in rows}
    receipts = Counter((row["delivery"], row["contact"]) for row in books.rows("SELECT * FROM receipts"))
    query = "SELECT deliveries.id, sealed FROM deliveries JOIN invoices ON invoices.id = invoice"
    sealed = {row["id"]: row["sealed"] for row in books.rows(query)}
    events = {(row["delivery"], row["contact"], row["name"]) for row in books.rows("SELECT * FROM events")}
    due = 0
    for message, digest in customers.handed.items():
        contact = contact_of[message]
        account.expect((*contact, "ConsignmentAcceptance") in events, f"{message}: handed over, no act on record")
        # Killed between the last byte and its note: the receipt comes after the hour, and says what is not known.
        noted = (*contact, "ContentHandover") in events
        account.expect(receipts[contact] == noted, f"{message}: handed over, {receipts[contact]} receipts")
        account.expect(sealed[contact[0]] == digest, f"{message}: another file was handed over")
        due += not noted
    pressed = {contact_of[message] for message in customers.pressed}
    account.expect(set(receipts) <= pressed, f"receipts of nobody's act: {set(receipts) - pressed}")
    lost = customers.pressed - customers.handed.keys()
    account.expect(not lost, f"customers never got their file: {lost}")
    account.figures |= {"files handed over": len(customers.handed), "receipts": sum(receipts.values())}
    account.figures["receipts due after the hour"] = due


def _in_the_ledger(books: Books, account: Account) -> None:
    ledger = Counter((row["kind"], row["subject"]) for row in books.rows("SELECT kind, subject FROM ledger"))
    for kind, query in (
        ("invoice", "SELECT id FROM invoices WHERE state = 'archived'"),
        ("receipt", "SELECT id FROM receipts"),
    ):
        expected = Counter((kind, row["id"]) for row in books.rows(query))
        found = Counter({entry: count for entry, count in ledger.items() if entry[0] == kind})
        account.expect(found == expected, f"ledger: {kind} entries differ: {(found - expected) + (expected - found)}")


def resolve_doubts(instance: Instance) -> int:
    """What a person does with every mail that nobody can tell of: ``invoices resend``. How many there were."""
    books = Books(instance.state)
    doubtful = {row["delivery"] for row in books.outbox("UNCERTAIN")}
    for delivery in doubtful:
        query = "SELECT invoices.id FROM deliveries JOIN invoices ON invoices.id = invoice WHERE deliveries.id = ?"
        ((invoice,),) = books.rows(query, delivery)
        instance.run("invoices", "resend", invoice, "--reason", "nobody can tell whether it came")
    settle(instance)
    again = {row["delivery"] for row in books.outbox("ACCEPTED")}
    assert doubtful <= again, doubtful - again
    return len(doubtful)


# The whole run


@dataclass
class Report:
    seed: int
    seconds: float
    kills: Counter[str]
    phases: Counter[str]
    account: Account
    held: int
    doubts: int

    def lines(self) -> list[str]:
        told = {f"killed: {name}": self.kills[name] for name in TARGETS}
        told |= {f"killed in {name}": self.phases[name] for name in PHASES}
        told |= self.account.figures | {"jobs read again by a person": self.held, "doubts resolved": self.doubts}
        rows = [f"{name:<32}{value:>8}" for name, value in told.items()]
        return [f"seed {self.seed}, {sum(self.kills.values())} kills in {self.seconds:.0f} s", *rows]


def run(
    state: Path, *, kills: int, invoices: int, seed: int, say: Callable[[str], object] = lambda text: None
) -> Report:
    """Print, press and kill; then let it settle, and compare. ``state`` is an empty folder."""
    random = Random(seed)  # noqa: S311 - a seed makes it repeatable
    began, relay = time.monotonic(), Relay()
    ports = {name: f"127.0.0.1:{free_port()}" for name in ("listen.ipp", "receipts.public", "receipts.api")}
    files = state / "printed"
    files.mkdir(parents=True)
    with served(state, ports, mailbox=relay) as instance:
        prints = list(stream(files, invoices, random=random, today=date.today()))  # noqa: DTZ011 - a calendar day
        planned = plan(kills, random)
        shared = shares(planned, prints)
        printing, customers = Printing(instance, chain(*shared)), Customers(relay, Random(seed + 1))  # noqa: S311 - the same
        try:
            killer = Killer(instance, relay, random)
            for kill, share in zip(planned, shared, strict=True):
                killer.carry_out(kill, partial(printing.permit, len(share)))
                say(f"{sum(killer.done.values()):4} {kill.target} {kill.phase}")
            printing.finish(90)
            held = settle_by_hand(instance)
            customers.finish(120)
            settle(instance)
            account = compare(instance, printing.told, relay, customers)
            account.figures["prints repeated"] = printing.retries
            doubts = resolve_doubts(instance)
            account.problems += compare(instance, printing.told, relay).problems
            verified = instance.run("verify", "--all", check=False)
            account.expect(verified.returncode == 0, f"verify --all: {verified.stdout}{verified.stderr}")
        finally:
            printing.abandon()
            customers.finish(120)
        killer.seen |= set(instance.family())
    left = until(lambda: [words(one) for one in killer.seen if one.is_running()] or [""], 5)
    account.expect(left == [""], f"processes left behind: {left}")
    return Report(seed, time.monotonic() - began, killer.done, killer.phases, account, held, doubts)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--invoices", type=int, default=300)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--keep", type=Path, help="a folder for the state, which stays")
    asked = parser.parse_args()
    print(f"seed {asked.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="kills-") as folder:
        state = (asked.keep or Path(folder)) / "state"
        report = run(state, kills=asked.kills, invoices=asked.invoices, seed=asked.seed, say=_progress)
    print(*report.lines(), *report.account.problems, sep="\n", flush=True)
    return 1 if report.account.problems else 0


def _progress(text: str) -> None:
    if os.isatty(sys.stderr.fileno()):
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
