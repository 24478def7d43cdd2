"""Follows the printed samples until each has gone the whole way: archive, mail, customer, receipt.

One rule: nothing is believed because the service says so. Mail counts when the
catcher has it, a download when its bytes are the archive's, a receipt when the
customer holds it, paper when the file lies in the out-tray.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa

from printerd.delivery import routes
from printerd.demo import visitors
from printerd.demo.catcher import Catcher
from printerd.demo.mail import Mail
from printerd.demo.samples import Sample, TrueInvoice
from printerd.demo.trade import BY_CODE
from printerd.demo.visitors import Download, Receipt
from printerd.errors import Failure
from printerd.model import Digest, InvoiceState, MailState, ReceiptState, Route
from printerd.storage import archive
from printerd.storage.archive import ContactStanding, DeliveryLine, InvoiceDetail, InvoiceLine
from printerd.storage.blobs import Blobs, digest_of
from printerd.storage.database import Database
from printerd.storage.schema import deliveries, receipts

T = TypeVar("T")

AT_ONCE = 64
"""Customers that read at the same time: most of their time they only look at the page."""


@dataclass(frozen=True, slots=True)
class Act:
    """What one customer's person holds: ``trouble`` says what went wrong on his side."""

    download: Download | None = None
    receipt: Receipt | None = None
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class Way:
    """One invoice and all that became of it; ``acts`` by mail address, ``rests`` is the digest of the archived bytes.

    ``tray`` is the digest of the file in the out-tray, ``None`` when there is none.
    """

    job: int
    true: TrueInvoice
    detail: InvoiceDetail | None
    acts: Mapping[str, Act] = field(default_factory=dict)
    rests: Digest | None = None
    tray: Digest | None = None

    @property
    def number(self) -> str:
        return self.true.invoice.number

    @property
    def delivery(self) -> DeliveryLine | None:
        return self.detail.deliveries[0] if self.detail and self.detail.deliveries else None

    @property
    def on_paper(self) -> bool:
        return self.delivery is not None and self.delivery.route == Route.PAPER

    def missing(self) -> tuple[str, ...]:
        """What this invoice lacks, in words; empty when it went the whole way."""
        if self.detail is None:
            return (f"{self.number} was not found in job {self.job}",)
        return tuple(
            f"{self.number}: {words}" for words in (*_archive_faults(self, self.detail), *_delivery_faults(self))
        )


def _archive_faults(way: Way, detail: InvoiceDetail) -> Iterable[str]:
    if detail.line.state != InvoiceState.ARCHIVED:
        why = ", ".join(reason.code for reason in detail.line.reasons) or detail.trouble
        yield f"it is {detail.line.state}, not archived{f' ({why})' if why else ''}"
        return
    if way.rests != detail.sealed:
        yield "the archived file is not the one that was sealed"
    if detail.ledger_index is None:
        yield "the ledger has no entry of it"
    invoice = way.true.invoice
    truth = {"total": invoice.total, "net": invoice.net, "vat": invoice.vat}
    for name, money in truth.items():
        if detail.value(name) != str(money.amount):
            yield f"{name} was read as {detail.value(name) or 'nothing'}, and is {money.amount}"


def _delivery_faults(way: Way) -> Iterable[str]:
    delivery = way.delivery
    if delivery is None:
        yield "it was not sent"
    elif way.on_paper:
        if way.tray is None or way.tray != way.rests:
            yield "the out-tray does not hold the sealed document"
    elif not delivery.contacts:
        yield "no mail has left"
    else:
        for contact in delivery.contacts:
            yield from (f"{contact.email}: {words}" for words in _contact_faults(contact, way))


def _contact_faults(contact: ContactStanding, way: Way) -> Iterable[str]:
    act = way.acts.get(contact.email, Act())
    if contact.mail is not MailState.ACCEPTED:
        yield f"the mail is {contact.mail}"
    if act.trouble:
        yield act.trouble
    elif act.download is None:
        yield "it was not downloaded"
    elif act.download.sha256 != way.rests:
        yield "the bytes downloaded are not those of the archive"
    if contact.receipt is None or contact.receipt.pdf is None:
        yield "no receipt is filed"
    elif act.receipt is None:
        yield "the customer did not get the receipt"
    elif act.receipt.sha256 != contact.receipt.pdf:
        yield "the receipt downloaded is not the one that is filed"


@dataclass(frozen=True, slots=True)
class Counts:
    """How many so far, or in the end: invoices ``archived`` and on ``paper``; mails, downloads and receipts."""

    archived: int
    paper: int
    mailed: int
    downloaded: int
    receipted: int


def expected(samples: Iterable[Sample]) -> Counts:
    """What the samples will amount to, by the same rule of routes as the service's."""
    customers = [BY_CODE[true.invoice.customer_code].customer for sample in samples for true in sample.expected]
    ways = [(routes.decide(customer), len(customer.contacts)) for customer in customers]
    mails = [contacts for way, contacts in ways if isinstance(way, routes.Decision) and way.route is Route.MAIL]
    return Counts(len(ways), len(ways) - len(mails), sum(mails), sum(mails), sum(mails))


@dataclass(frozen=True, slots=True)
class Sight:
    """What one look showed: how many so far, and the invoices that wait for a person."""

    counts: Counts
    waiting: tuple[InvoiceLine, ...]


Key = tuple[str, str]
"""Whom a mail went to, and the number in its subject."""
MORE = 100
"""Invoices that somebody else may print meanwhile."""


class Following:
    """Looks again and again, and lets the customers act. A context: its customers stop when it is left."""

    def __init__(self, database: Database, blobs: Blobs, out_tray: Path, catcher: Catcher) -> None:
        self._database = database
        self._blobs = blobs
        self._out_tray = out_tray
        self._catcher = catcher
        self._printed: dict[str, tuple[int, TrueInvoice]] = {}
        self._mails: dict[Key, Mail] = {}
        self._seen = 0
        self._downloads: dict[Key, Future[Download]] = {}
        self._receipts: dict[Key, Future[Receipt]] = {}
        self._client = visitors.browser()
        self._customers = ThreadPoolExecutor(AT_ONCE, "customer")

    def __enter__(self) -> Following:
        return self

    def __exit__(self, *_: object) -> None:
        self._customers.shutdown(wait=True, cancel_futures=True)
        self._client.close()

    def add(self, sample: Sample, job: int) -> None:
        """Follow the invoices of a sample, which was printed as IPP job-id ``job``."""
        self._printed |= {true.invoice.number: (job, true) for true in sample.expected}

    def look(self) -> Sight:
        """Look once, and let the customers do what they can now."""
        with self._database.read() as connection:
            lines = archive.list_invoices(connection, limit=len(self._printed) + MORE)
            offered = _offered(connection)
        self._open_new_mails()
        self._fetch(offered)
        counts = Counts(
            archived=sum(line.state == InvoiceState.ARCHIVED for line in lines),
            paper=sum(line.delivery == "paper" for line in lines),
            mailed=len(self._mails),
            downloaded=sum(done.done() for done in self._downloads.values()),
            receipted=sum(done.done() for done in self._receipts.values()),
        )
        return Sight(counts, tuple(line for line in lines if line.state == InvoiceState.WAITING))

    def ways(self) -> tuple[Way, ...]:
        """What became of every printed invoice, in the order of jobs and pages."""
        with self._database.read() as connection:
            return tuple(self._way(connection, job, true) for job, true in self._printed.values())

    def _way(self, connection: sa.Connection, job: int, true: TrueInvoice) -> Way:
        number = true.invoice.number
        of_job = archive.invoices_of(connection, archive.job(connection, str(job)).id)
        line = next((line for line in of_job if line.number == number), None)
        if line is None:
            return Way(job, true, None)
        detail = archive.invoice(connection, line.id)
        sent = detail.deliveries[0] if detail.deliveries else None
        acts = {contact.email: self._act((contact.email, number)) for contact in (sent.contacts if sent else ())}
        rests = _digest(self._blobs.path(detail.sealed)) if detail.sealed else None
        tray = _digest(self._out_tray / sent.paper) if sent and sent.paper else None
        return Way(job, true, detail, acts, rests, tray)

    # Customers

    def _open_new_mails(self) -> None:
        new = self._catcher.mails[self._seen :]
        self._seen += len(new)
        for mail in new:
            number = next((number for number in self._printed if number in mail.subject), "")
            key = (mail.to, number)
            if number and mail.link and key not in self._mails:
                self._mails[key] = mail
                self._downloads[key] = self._customers.submit(visitors.download, self._client, mail)

    def _fetch(self, offered: Iterable[Key]) -> None:
        """Who has pressed the button comes back once the receipt can be had."""
        for key in offered:
            if key in self._mails and key not in self._receipts:
                self._receipts[key] = self._customers.submit(visitors.receipt, self._client, self._mails[key])

    def _act(self, key: Key) -> Act:
        download, receipt = self._downloads.get(key), self._receipts.get(key)
        errors = [done.exception() for done in (download, receipt) if done is not None and done.done()]
        troubles = [_words(error) for error in errors if error is not None]
        return Act(trouble="; ".join(troubles)) if troubles else Act(_result(download), _result(receipt))


def _offered(connection: sa.Connection) -> set[Key]:
    """Whose receipts the customers' page offers by now."""
    query = (
        sa.select(deliveries.c.facts, receipts.c.contact)
        .join(receipts, receipts.c.delivery == deliveries.c.id)
        .where(receipts.c.state == ReceiptState.PUSHED)
    )
    return {(_email(row.facts, row.contact), row.facts["invoice"]["number"]) for row in connection.execute(query)}


def _email(facts: Mapping[str, Any], contact: str) -> str:
    return str(next(one["email"] for one in facts["contacts"] if one["id"] == contact))


def _result(future: Future[T] | None) -> T | None:
    return future.result() if future is not None and future.done() else None


def _words(error: BaseException) -> str:
    return error.what if isinstance(error, Failure) else f"{type(error).__name__}: {error}"


def _digest(path: Path) -> Digest | None:
    if not path.is_file():
        return None
    with path.open("rb") as file:
        return digest_of(file)
