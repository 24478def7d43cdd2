"""A whole instance for tests: the real service, a real SMTP server, and the hands of its users.

One rule: tests act on it as people do (command line, IPP, HTTP) and look at it
as people do. Everything it starts ends with it, by process id.
"""

from __future__ import annotations

import contextlib
import html
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import psutil
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session
from typer.testing import CliRunner

from printerd import cli, client
from printerd.demo import samples, trade
from printerd.ipp.attributes import attribute
from printerd.ipp.codec import encode
from printerd.ipp.message import Group, GroupTag, Message
from printerd.ipp.registry import Operation
from tests.waiting import until

PROGRAM = [sys.executable, "-m", "printerd"]
SETTINGS = {
    "listen.ipp": "127.0.0.1:0",
    "listen.health": "127.0.0.1:0",
    "receipts.public": "127.0.0.1:0",
    "receipts.api": "127.0.0.1:0",
    "smtp.sender": "Comptabilité <compta@aubonmoulin.example>",
    "smtp.per_minute": 100_000,
    "smtp.retry_first": 0.5,
    "smtp.retry_most": 2,
}


def free_port() -> int:
    """A port on loopback that nobody uses at this moment, for programs that cannot take port 0."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def words(process: psutil.Process) -> str:
    """The command line of a process; nothing when it has just ended."""
    with contextlib.suppress(psutil.Error):
        return " ".join(process.cmdline())
    return ""


class Mailbox:
    """A real SMTP server on a free port that keeps what it accepts."""

    def __init__(self) -> None:
        self.envelopes: list[Envelope] = []
        self.port = free_port()
        self.start()

    def start(self) -> None:
        self._controller = Controller(self, hostname="127.0.0.1", port=self.port)
        self._controller.start()

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        self.envelopes.append(envelope)
        return f"250 2.0.0 Ok: queued as {len(self.envelopes):08X}"

    def messages(self, to: str = "", about: str = "") -> list[EmailMessage]:
        """The messages to an address, about an invoice number."""
        kept = [envelope for envelope in list(self.envelopes) if not to or to in envelope.rcpt_tos]
        parsed = [message_from_bytes(envelope.original_content, policy=policy.default) for envelope in kept]
        return [message for message in parsed if isinstance(message, EmailMessage) and about in str(message["Subject"])]

    def close(self) -> None:
        self._controller.stop()


def link_of(message: EmailMessage) -> str:
    """The customer's link in a mail."""
    body = message.get_body(("plain",))
    assert body is not None
    found = re.search(r"https?://\S+/l/\S+", body.get_content())
    assert found, body.get_content()
    return found.group()


@dataclass
class Page:
    """One answer of the customers' page."""

    status: int
    headers: dict[str, str]
    body: bytes


def request(
    method: str,
    url: str,
    form: dict[str, str] | None = None,
    headers: dict[str, str] | None = None,
    body: bytes | None = None,
) -> Page:
    """One HTTP request on a connection of its own."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
    body = urlencode(form).encode() if form else body
    extra = {"Content-Type": "application/x-www-form-urlencoded"} if form else {}
    try:
        connection.request(method, parts.path, body, extra | (headers or {}))
        answer = connection.getresponse()
        return Page(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
    finally:
        connection.close()


def press(link: str) -> Page:
    """Open the page and press its button, as a customer does."""
    shown = request("GET", link)
    assert shown.status == 200, shown.body
    nonce = re.search(r'name="nonce" value="([^"]+)"', shown.body.decode())
    assert nonce, shown.body
    return request("POST", link, {"nonce": html.unescape(nonce.group(1)), "action": "accept"})


def print_job(printer: str, title: str = "") -> bytes:
    """A Print-Job request up to its document, which is to follow."""
    said = {"attributes-charset": "utf-8", "attributes-natural-language": "en", "printer-uri": printer}
    named = said | ({"job-name": title} if title else {})
    operation = Group(GroupTag.OPERATION, tuple(attribute(name, value) for name, value in named.items()))
    return encode(Message((2, 0), Operation.PRINT_JOB, 7, (operation,)))


@dataclass
class Instance:
    """The service in a state folder of its own."""

    state: Path
    mailbox: Mailbox
    settings: dict[str, Any] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None
    environment: Mapping[str, str] = field(default_factory=dict)

    # Life

    def configure(self) -> None:
        """The issuer of the samples; every other setting is given at the start."""
        self.state.mkdir(parents=True, exist_ok=True)
        issuer = trade.ISSUER
        (self.state / "config.toml").write_text(
            f"[issuers.moulin]\nname = {json.dumps(issuer.name)}\nsiren = '{issuer.siren}'\n"
            f"vat_id = '{issuer.vat_id}'\naddress = {json.dumps(issuer.address)}\n"
            f"email = '{issuer.email}'\nibans = ['{trade.IBAN}']\n"
        )

    def start(self) -> None:
        """Start it and wait until its printer, its pages and its console answer."""
        (self.state / "run" / "addresses.json").unlink(missing_ok=True)
        assigned = SETTINGS | {"smtp.port": self.mailbox.port} | self.settings
        sets = [word for key, value in assigned.items() for word in ("--set", f"{key}={value}")]
        with (self.state / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [*PROGRAM, "serve", "--state", str(self.state), *sets],
                stderr=log,
                stdout=log,
                env=os.environ | self.environment,
            )
        until(lambda: self.process is not None and self.process.poll() is None and self._answers(), 40)

    def _answers(self) -> bool:
        with contextlib.suppress(OSError, ValueError):
            request("GET", f"http://{self.address('ipp')}/")
            return request("GET", f"http://{self.address('public')}/robots.txt").status == 200
        return False

    def stop(self) -> None:
        """End it as systemd does; nothing of it is left."""
        if self.process is None:
            return
        family = self.family()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)
        _, left = psutil.wait_procs(family, 10)
        for process in left:
            process.kill()
        self.process = None
        assert left == [], "processes outlived the service"

    def kill(self, role: str, number: int = signal.SIGKILL) -> int:
        """Signal one process of the service: ``supervisor``, ``capture``, ``worker`` or ``receipts``."""
        process = self.role(role)
        os.kill(process.pid, number)
        return process.pid

    def role(self, role: str) -> psutil.Process:
        assert self.process is not None
        supervisor = psutil.Process(self.process.pid)
        if role == "supervisor":
            return supervisor
        wanted = "receipt_service" if role == "receipts" else f"--only {role}"
        return until(lambda: next((p for p in supervisor.children() if wanted in words(p)), None), 20)

    def family(self) -> list[psutil.Process]:
        assert self.process is not None
        return psutil.Process(self.process.pid).children(recursive=True)

    def address(self, name: str) -> str:
        told: dict[str, str] = json.loads((self.state / "run" / "addresses.json").read_text())
        return told[name]

    @property
    def printer(self) -> str:
        return f"ipp://{self.address('ipp')}/ipp/print"

    # Hands

    def run(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """A command of the command line, as its user types it; ``--state`` is added."""
        done = subprocess.run(
            [*PROGRAM, *words, "--state", str(self.state)], capture_output=True, text=True, timeout=120, check=False
        )
        assert not check or done.returncode == 0, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def here(self, *words: str) -> str:
        """What such a command prints, run in this process: tests prepare and look often, and a start costs most."""
        done = CliRunner().invoke(cli.app, [*words, "--state", str(self.state)])
        assert done.exit_code == 0, f"{words}: {done.output}{done.exception!r}"
        return done.stdout

    def json(self, *words: str) -> Any:
        return json.loads(self.here(*words, "--json"))

    def print(self, file: Path, user: str = "marie", title: str = "") -> client.Sent:
        return client.print_file(self.printer, file, user=user, title=title or file.name)

    def job(self, number: int) -> dict[str, Any]:
        found: dict[str, Any] = self.json("jobs", "show", str(number))
        return found

    def settled(self, number: int, seconds: float = 60.0) -> dict[str, Any]:
        """The job once nothing of it is at work any more."""

        def look() -> dict[str, Any] | None:
            found = self.job(number)
            busy = any(one["state"] in ("ready", "checking") for one in found["invoices"])
            return found if found["job"]["state"] in ("done", "aborted", "held") and not busy else None

        return until(look, seconds)

    def delivered(self, number: int, *steps: str, seconds: float = 60.0) -> dict[str, Any]:
        """The job once every archived invoice of it came to one of the steps (``accepted``, ``acknowledged``, …)."""

        def look() -> dict[str, Any] | None:
            found = self.settled(number)
            archived = [one for one in found["invoices"] if one["state"] == "archived"]
            return found if archived and all(one["delivery"] in steps for one in archived) else None

        return until(look, seconds)


@contextlib.contextmanager
def served(
    state: Path,
    settings: dict[str, Any] | None = None,
    *,
    live: bool = True,
    mailbox: Mailbox | None = None,
    environment: Mapping[str, str] | None = None,
) -> Iterator[Instance]:
    """A running instance with the samples' customers, live unless said otherwise."""
    mailbox = mailbox or Mailbox()
    instance = Instance(state, mailbox, settings or {}, environment=environment or {})
    instance.configure()
    try:
        instance.start()
        buyers(instance, state / "customers.csv", trade.BUYERS)
        if live:
            instance.here("go-live")
        yield instance
    finally:
        instance.stop()
        mailbox.close()


def buyers(instance: Instance, file: Path, who: Sequence[Any]) -> None:
    samples.write_customers(file, who)
    instance.here("customers", "import", str(file))


def printed_samples(folder: Path) -> dict[str, samples.Sample]:
    """The bundled samples of today, by name."""
    folder.mkdir(parents=True, exist_ok=True)
    return {sample.name: sample for sample in samples.generate(folder, today=date.today())}  # noqa: DTZ011 - a calendar day
