"""The tour: a fresh instance, the sample invoices through IPP, and each followed until its receipt is filed.

One rule: it uses the product from outside, as its people do (IPP, command
line, mail, the customers' page), and claims nothing that it has not compared.
"""

from __future__ import annotations

import shlex
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from textwrap import fill
from types import FrameType
from typing import Never

from rich.console import Console
from rich.text import Text

from printerd import client
from printerd.demo import folder, samples, setting
from printerd.demo.catcher import USUAL_PORT, Catcher
from printerd.demo.following import Counts, Following, Way, expected
from printerd.demo.progress import Bars
from printerd.demo.samples import Sample
from printerd.demo.service import Service, near
from printerd.demo.table import legend, table
from printerd.demo.trade import LATECOMER
from printerd.storage.archive import InvoiceLine
from printerd.storage.blobs import Blobs
from printerd.storage.database import Database
from printerd.supervisor import Layout

DEFAULT_FOLDER = Path("demo-state")
WIDTH = 100
"""Columns where the output is not a terminal, and the most that are used on one."""
LOOKS = 0.3
"""Seconds between two looks at the archive."""
STALLED = 45.0
"""Seconds without any change after which the tour stops waiting and tells what is missing."""
USERS = ("marie", "julien")
"""Who prints, in turn."""
ACCOUNTANT = "claire"
INTERRUPTED = 130
ENDINGS = (signal.SIGINT, signal.SIGTERM)


@dataclass(frozen=True, slots=True)
class Stage:
    """What the scenes play on."""

    console: Console
    service: Service
    catcher: Catcher
    samples: tuple[Sample, ...]

    @property
    def layout(self) -> Layout:
        return self.service.layout


def run(*, once: bool, state: Path | None) -> int:
    """Give the tour in ``state`` (``demo-state`` when ``None``), which is emptied first; the exit status.

    0 when every sample went the whole way and the archive is in order, else 1;
    130 when it was interrupted before. Without ``once`` it serves on until Ctrl-C.
    Raises a :class:`printerd.errors.Failure` when the folder is not the demo's, or the service does not start.
    """
    console = Console(highlight=False, soft_wrap=False)
    console.width = min(console.width, WIDTH) if console.is_terminal else WIDTH
    try:
        with _asked_to_end(), _ready(console, (state or DEFAULT_FOLDER).absolute()) as stage:
            code = _tour(stage)
            if not once:
                _serve_on(stage)
            return code
    except KeyboardInterrupt:
        console.print("\nInterrupted; everything that the demo started has ended.")
        return INTERRUPTED


@contextmanager
def _asked_to_end() -> Iterator[None]:
    """SIGTERM is told as Ctrl-C is, also to a demo that was started in the background."""
    with _handled(signal.default_int_handler):
        yield


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Nothing interrupts an ending."""
    with _handled(signal.SIG_IGN):
        yield


@contextmanager
def _handled(handler: Callable[[int, FrameType | None], Never] | signal.Handlers) -> Iterator[None]:
    before = {number: signal.signal(number, handler) for number in ENDINGS}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)


# The house ----------------------------------------------------------------------------------------------------------


@contextmanager
def _ready(console: Console, root: Path) -> Iterator[Stage]:
    """A fresh instance that answers, with its customers, live; it ends with the context."""
    with ExitStack() as ends:
        ends.enter_context(folder.fresh(root))
        _head(console, "A fresh instance")
        layout = Layout(root)
        catcher = Catcher(root / "mails")
        ends.enter_context(_ended(catcher))
        _configure(console, layout, catcher)
        service = Service(layout)
        ends.enter_context(_ended(service))
        service.start()  # before any thread: what runs between fork and exec must find no lock held by one
        catcher.start()
        began = time.monotonic()
        stage = Stage(console, service, catcher, samples.generate(root / "samples", today=date.today()))  # noqa: DTZ011 - a calendar day
        service.wait()
        _fact(console, "Service", f"answers after {time.monotonic() - began:.1f} s; its log is {near(service.log)}")
        yield stage


@contextmanager
def _ended(part: Catcher | Service) -> Iterator[None]:
    """``part`` ends with the context, whatever comes meanwhile."""
    try:
        yield
    finally:
        with _undisturbed():
            part.stop()


def _configure(console: Console, layout: Layout, catcher: Catcher) -> None:
    places = setting.places()
    (layout.root / "config.toml").write_text(setting.config(places, catcher.smtp_port), encoding="utf-8")
    _fact(console, "Folder", f"{near(layout.root)}, fresh; everything of the instance lies in it")
    moved = [f"port {place.usual} is busy: {place.what} at {place.address}" for place in places.values() if place.moved]
    if not catcher.url.endswith(f":{USUAL_PORT}/"):
        moved.append(f"port {USUAL_PORT} is busy: caught mails at {catcher.url}")
    for words in moved:
        _fact(console, "Moved", words, "yellow")
    _fact(console, "Mail", "goes to a catcher on this machine; nothing leaves it")


# The tour -----------------------------------------------------------------------------------------------------------


def _tour(stage: Stage) -> int:
    """Print, follow, show; 0 when nothing is missing."""
    began = time.monotonic()
    _enter_customers(stage)
    database, blobs = Database(f"sqlite:///{stage.layout.root / 'printerd.db'}"), Blobs(stage.layout.root)
    try:
        with Following(database, blobs, stage.layout.out_tray, stage.catcher) as following:
            _print_samples(stage, following)
            _follow(stage, following)
            ways = following.ways()
    finally:
        database.close()
    _show_table(stage, ways)
    faults = [*(words for way in ways for words in way.missing()), *_verify(stage)]
    _conclude(stage.console, ways, faults, time.monotonic() - began)
    return 1 if faults else 0


def _enter_customers(stage: Stage) -> None:
    known = near(stage.samples[0].file.parent / "customers.csv")
    _type(stage, "customers", "import", known, "--who", ACCOUNTANT, last_lines=1)
    _type(stage, "go-live", "--who", ACCOUNTANT)


def _print_samples(stage: Stage, following: Following) -> None:
    _head(stage.console, f"Print {len(stage.samples)} samples to {stage.service.printer}")
    for position, sample in enumerate(stage.samples):
        user = USERS[position % len(USERS)]
        sent = client.print_file(stage.service.printer, sample.file, user=user, title=sample.file.name)
        following.add(sample, sent.number)
        count = len(sample.expected)
        found = "1 invoice" if count == 1 else f"{count} invoices"
        stage.console.print(f"  job {sent.number}  {sample.file.name:<32} {found:<12} {user:<8} accepted")


def _follow(stage: Stage, following: Following) -> None:
    """Until all is done, or nothing moves any more; the invoice that is held gets its person."""
    totals = expected(stage.samples)
    _head(stage.console, "Each goes its way; customers open their links, read for two seconds, press the button")
    seen, changed_at, helped = Counts(0, 0, 0, 0, 0), time.monotonic(), False
    with Bars(stage.console, totals) as bars:
        while seen != totals and time.monotonic() - changed_at < STALLED:
            sight = following.look()
            bars.show(sight.counts)
            if sight.counts != seen:
                seen, changed_at = sight.counts, time.monotonic()
            held = next((line for line in sight.waiting if line.customer_code == LATECOMER.customer.code), None)
            if held and not helped:
                _help(stage, held)
                helped, changed_at = True, time.monotonic()
            time.sleep(LOOKS)


def _help(stage: Stage, held: InvoiceLine) -> None:
    """What a person of accounting does: look, enter the customer, release."""
    console = stage.console
    console.print(Text(f"\n  {held.number} waits for a person, unsealed. Accounting looks why:", "yellow"))
    _type(stage, "invoices", "show", held.number)
    console.print(Text("  The customer is entered, and the invoice released:", "yellow"))
    late = near(stage.samples[0].file.parent / "customers-late.csv")
    _type(stage, "customers", "import", late, "--who", ACCOUNTANT, last_lines=1)
    _type(stage, "invoices", "release", held.number, "--reason", "customer entered", "--who", ACCOUNTANT)
    console.print()


def _show_table(stage: Stage, ways: Sequence[Way]) -> None:
    _head(stage.console, "From the print job to the receipt")
    stage.console.print(table(ways, stage.console.width))
    stage.console.print(legend(ways))


def _verify(stage: Stage) -> Sequence[str]:
    """The auditor's command; what it finds wrong."""
    _head(stage.console, "The whole archive, checked")
    words = ("verify", "--all")
    _echo(stage, *words)
    done = stage.service.run(*words)
    said = [line for line in (done.stdout if done.stdout.strip() else done.stderr).splitlines() if line.strip()]
    for line in said[-12:]:
        _said(stage.console, line)
    return [f"verify --all ended with status {done.returncode}"] if done.returncode else []


def _conclude(console: Console, ways: Sequence[Way], faults: Sequence[str], seconds: float) -> None:
    paper = sum(way.on_paper for way in ways)
    receipts = sum(act.receipt is not None for way in ways for act in way.acts.values())
    console.print()
    if faults:
        console.print(Text(f"✗ Not everything went the whole way ({len(faults)} missing):", "bold red"))
        for words in faults:
            _said(console, words, indent=2)
        return
    console.print(
        Text.assemble(
            (f"✓ {len(ways)} invoices went the whole way in {seconds:.0f} s: ", "bold green"),
            f"{len(ways) - paper} by mail, {paper} on paper, {receipts} receipts filed.\n",
            "  Every download was, byte for byte, the sealed document of the archive.",
        )
    )


# Afterwards ---------------------------------------------------------------------------------------------------------


def _serve_on(stage: Stage) -> None:
    """Say where to look, and keep serving until Ctrl-C."""
    _head(stage.console, "Look around; Ctrl-C ends it")
    for what, words in _addresses(stage):
        _fact(stage.console, what, words)
    try:
        while stage.service.runs():
            time.sleep(0.5)
        stage.console.print(Text(f"The service has ended by itself. See why: {near(stage.service.log)}", "red"))
    except KeyboardInterrupt:
        stage.console.print("\nEnding the service …")


def _addresses(stage: Stage) -> Iterator[tuple[str, str]]:
    service, mails = stage.service, stage.catcher.mails
    again = shlex.join(service.command("console", "open"))
    yield "Console", service.do("console", "open", "--who", ACCOUNTANT)
    yield "", f"works once, for ten minutes; another: {again}"
    yield "Mails", stage.catcher.url
    if mails:
        yield "Customer", mails[0].link
        yield "", f"the page of {mails[0].to}"
    yield "Printer", service.printer
    yield "", f"lpadmin -p invoices -E -v {service.printer} -m everywhere"
    yield "Print", shlex.join(service.command("print", "FILE.pdf"))


# Words --------------------------------------------------------------------------------------------------------------


def _head(console: Console, words: str) -> None:
    console.print(Text(f"\n{words}", "bold"))


def _fact(console: Console, name: str, words: str, style: str = "") -> None:
    console.print(Text.assemble((f"  {name:<9} ", "dim"), (words, style)), soft_wrap=True)


def _type(stage: Stage, *words: str, last_lines: int = 0) -> None:
    """Run a command that must succeed, and show it with its answer (the last lines of it, when told)."""
    _echo(stage, *words)
    for line in stage.service.do(*words).splitlines()[-last_lines:]:
        _said(stage.console, line)


def _said(console: Console, line: str, indent: int = 4) -> None:
    """A line of a command's answer, indented also where it wraps; ids and addresses are not broken."""
    margin = " " * indent
    wrapped = fill(
        line,
        console.width,
        initial_indent=margin,
        subsequent_indent=margin,
        break_long_words=False,
        break_on_hyphens=False,
    )
    console.print(Text(wrapped), soft_wrap=True)


def _echo(stage: Stage, *words: str) -> None:
    stage.console.print(Text(f"  $ {shlex.join(stage.service.command(*words))}", "cyan"), soft_wrap=True)
