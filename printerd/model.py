"""The nouns: frozen values that every room of the house passes on. They do no I/O.

A noun belongs here when two packages speak of it. One type per state: a
:class:`CapturedJob` is durable, a :class:`SealedInvoice` is signed; what is
not sealed cannot be archived, because its type does not fit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import NewType

JobId = NewType("JobId", str)
"""A UUID in its canonical form; also the IPP ``job-uuid`` (PWG 5100.13 section 6.2.1)."""
InvoiceId = NewType("InvoiceId", str)
DeliveryId = NewType("DeliveryId", str)
BatchId = NewType("BatchId", str)
Digest = NewType("Digest", str)
"""SHA-256 as 64 lower-case hexadecimal digits."""


@dataclass(frozen=True, slots=True)
class Blob:
    """Bytes that rest in the archive under their own digest. ``size`` is in bytes."""

    digest: Digest
    size: int
    media_type: str


@dataclass(frozen=True, slots=True)
class Ticket:
    """What the sender said about a job, as it was said: names are never cleaned, nor used as file names."""

    printer: str
    user: str
    host: str
    title: str
    media_type: str
    source: str
    options: Mapping[str, str] = field(default_factory=dict)


class JobState(StrEnum):
    """What became of a print job.

    ``INCOMING`` waits for its document, ``PENDING`` for its sender's word or its hour, ``HELD`` for us.
    """

    INCOMING = "incoming"
    PENDING = "pending"
    RECEIVED = "received"
    PROCESSING = "processing"
    DONE = "done"
    ABORTED = "aborted"
    CANCELED = "canceled"
    HELD = "held"


@dataclass(frozen=True, slots=True)
class CapturedJob:
    """A job whose bytes and row are durable. ``number`` is the IPP job-id, counted from 1."""

    id: JobId
    number: int
    ticket: Ticket
    original: Blob
    received_at: datetime


@dataclass(frozen=True, slots=True)
class PageRange:
    """Pages ``first`` to ``last``, both counted from 1 and both included."""

    first: int
    last: int

    def __len__(self) -> int:
        return self.last - self.first + 1


@dataclass(frozen=True, slots=True)
class Money:
    """An exact amount; ``currency`` is an ISO 4217 code."""

    amount: Decimal
    currency: str = "EUR"


@dataclass(frozen=True, slots=True)
class Party:
    """A seller or a buyer. Identifiers are compact: no spaces, upper case."""

    name: str
    siren: str = ""
    vat_id: str = ""
    address: str = ""
    email: str = ""


@dataclass(frozen=True, slots=True)
class Issuer:
    """Who issues invoices here (``issuers.NAME`` of the settings).

    ``ibans`` are all accounts that may stand on an invoice; ``colour`` is ``#rrggbb``; ``reply_to`` is accounting's
    mailbox.
    """

    key: str
    party: Party
    ibans: frozenset[str]
    reply_to: str = ""
    phone: str = ""
    colour: str = "#1f4e79"


@dataclass(frozen=True, slots=True)
class Box:
    """A place on a page in PDF points from the lower left corner, ``left < right`` and ``bottom < top``."""

    page: int
    left: float
    bottom: float
    right: float
    top: float


@dataclass(frozen=True, slots=True)
class Found:
    """One field as it was read: the text, and where it stands (``None`` when a person gave it)."""

    value: str
    box: Box | None = None


@dataclass(frozen=True, slots=True)
class Reading:
    """What a reader saw in one invoice. Values are normalised: ISO dates, plain decimals, compact ids.

    ``template`` is empty when no layout matched; ``text`` is the whole text for the search.
    ``ibans`` holds every IBAN of the document, known or not.
    """

    pages: PageRange
    template: str
    fields: Mapping[str, Found]
    ibans: tuple[Found, ...] = ()
    text: str = ""


class InvoiceKind(StrEnum):
    """UNTDID 1001: 380 and 381."""

    INVOICE = "invoice"
    CREDIT_NOTE = "credit-note"


class InvoiceState(StrEnum):
    """``WAITING`` needs a person, ``CHECKING`` is to be checked again after a person's act, ``READY`` may be sealed.

    The others are ends; a ``SPECIMEN`` was archived during the rehearsal and counts for nothing.
    """

    WAITING = "waiting"
    CHECKING = "checking"
    READY = "ready"
    ARCHIVED = "archived"
    REPRINT = "reprint"
    REJECTED = "rejected"
    SPECIMEN = "specimen"


@dataclass(frozen=True, slots=True)
class Invoice:
    """An invoice whose every field passed its checks. ``found_by`` names the template."""

    number: str
    kind: InvoiceKind
    issued_on: date
    due_on: date | None
    seller: Party
    buyer: Party
    customer_code: str
    net: Money
    vat: Money
    total: Money
    iban: str
    found_by: str


@dataclass(frozen=True, slots=True)
class Reason:
    """Why an invoice waits. ``code`` is a key of :data:`printerd.reasons.REASONS`; ``facts`` fill its sentence."""

    code: str
    facts: Mapping[str, str] = field(default_factory=dict)
    box: Box | None = None


@dataclass(frozen=True, slots=True)
class Timestamp:
    """An RFC 3161 timestamp. ``local`` is true when our own authority made it: it proves order, not time."""

    time: datetime
    serial: str
    authority: str
    local: bool


@dataclass(frozen=True, slots=True)
class SealedInvoice:
    """A signed and timestamped PDF that its own validator accepted. ``certificate`` is its SHA-256 fingerprint."""

    pdf: Blob
    certificate: Digest
    sealed_at: datetime
    timestamp: Timestamp


class ConsentState(StrEnum):
    """Whether the customer accepts electronic invoices (directive 2006/112/EC article 232)."""

    EXPRESS = "express"
    TACIT = "tacit"
    REFUSED = "refused"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Consent:
    state: ConsentState
    given_on: date | None = None
    source: str = ""
    proof: str = ""


@dataclass(frozen=True, slots=True)
class Contact:
    """A person or mailbox at a customer. ``id`` is stable: the receipt names it."""

    id: str
    name: str
    email: str
    role: str = ""


class Route(StrEnum):
    MAIL = "mail"
    PAPER = "paper"


@dataclass(frozen=True, slots=True)
class Customer:
    code: str
    name: str
    vat_id: str
    language: str
    route: Route
    consent: Consent
    contacts: tuple[Contact, ...]


class DeliveryState(StrEnum):
    """``DUE`` is a row that the worker takes up; ``SENT`` means that the edge or the out-tray has it.

    ``HELD`` may have been sent by an instance of which this one is a restored backup, and a person decides;
    ``ELSEWHERE``: it was.
    """

    HELD = "held"
    DUE = "due"
    SENT = "sent"
    REVOKED = "revoked"
    ELSEWHERE = "elsewhere"


class ReceiptState(StrEnum):
    """``DUE`` is to be sealed; ``FILED`` rests in the archive; ``PUSHED`` can be downloaded by the customer too."""

    DUE = "due"
    FILED = "filed"
    PUSHED = "pushed"


class Mode(StrEnum):
    """A new instance rehearses: mails go to one address of the firm, receipts say SPECIMEN, nothing counts."""

    REHEARSAL = "rehearsal"
    LIVE = "live"


class MailState(StrEnum):
    """Where one message stands, as the edge tells it. ``UNCERTAIN``: cut after the final dot (RFC 5321 6.1)."""

    PENDING = "pending"
    ACCEPTED = "accepted"
    FAILED = "failed"
    UNCERTAIN = "uncertain"


@dataclass(frozen=True, slots=True)
class Event:
    """What the edge says happened: a claim until it is checked. ``digest`` chains over ``previous``."""

    edge: str
    seq: int
    name: str
    time: datetime
    delivery: DeliveryId
    contact: str
    data: Mapping[str, str]
    previous: Digest
    digest: Digest


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """One leaf of the ledger and its link: ``digest`` = SHA-256(previous ‖ leaf)."""

    index: int
    recorded_at: datetime
    kind: str
    subject: str
    record: Digest
    leaf: Digest
    previous: Digest
    digest: Digest


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The ledger's head at one moment: RFC 6962 ``root`` over ``size`` leaves."""

    size: int
    root: Digest
    recorded_at: datetime
