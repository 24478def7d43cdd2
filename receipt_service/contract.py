"""What printerd may say to this service: strict shapes, unknown keys refused, no control characters.

CR and LF are refused here, in every text that could come near a mail header
(RFC 5322 section 2.2); encoded words, which could hold them, are undone where
headers are written (:func:`receipt_service.letters.literal`).
"""

from __future__ import annotations

import hashlib
from datetime import MAXYEAR, date, datetime
from decimal import Decimal
from typing import Annotated, Literal, Self
from uuid import UUID

from email_validator import EmailNotValidError, validate_email
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from .events import canonical

DEFAULT_COLOUR = "#1f4e79"


class Refusal(Exception):
    """A request that cannot be done: the HTTP ``status`` and a sentence for the other side."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail


def _time(text: str) -> str:
    if datetime.fromisoformat(text).year >= MAXYEAR:  # there are clocks that have it later
        raise ValueError("lies too far ahead")
    return text


def _mailbox(text: str) -> str:
    try:
        validate_email(text, check_deliverability=False, globally_deliverable=False)
    except EmailNotValidError:
        raise ValueError("is not a mail address") from None
    return text


Line = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f\u0085\u2028\u2029]*$", max_length=300)]
Name = Annotated[Line, StringConstraints(min_length=1)]
Lines = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x09\x0b-\x1f\x7f]*$", max_length=2000)]
"""Several lines; it stands in bodies and pages only, never in a header."""
Mailbox = Annotated[Line, AfterValidator(_mailbox)]
MaybeMailbox = Annotated[Line, AfterValidator(lambda text: _mailbox(text) if text else text)]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Time = Annotated[
    str, StringConstraints(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z$"), AfterValidator(_time)
]
Identifier = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._:-]{1,100}$")]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Issuer(_Strict):
    """The firm that invoices. ``colour`` is ``#rrggbb`` or empty; all but name and email may be empty."""

    name: Name
    siren: Line
    vat_id: Line
    address: Lines
    email: Mailbox
    reply_to: MaybeMailbox
    phone: Line
    colour: Annotated[str, StringConstraints(pattern=r"^(#[0-9A-Fa-f]{6})?$")]


class Customer(_Strict):
    """The firm that is invoiced."""

    code: Line
    name: Line


class Contact(_Strict):
    """A person of the customer; gets a letter and a link of his own."""

    id: Identifier
    name: Line
    email: Mailbox
    role: Line

    @property
    def shown(self) -> str:
        """How others see this person."""
        return f"{self.name or self.email} ({self.role})" if self.role else self.name or self.email


class Invoice(_Strict):
    """The facts that people look for; ``total`` is an amount in ``currency`` (ISO 4217)."""

    number: Name
    kind: Literal["invoice", "credit-note"]
    issued_on: date
    due_on: date | None
    total: Annotated[str, StringConstraints(pattern=r"^-?\d{1,15}(\.\d{1,4})?$")]
    currency: Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")]

    @property
    def amount(self) -> Decimal:
        """``total`` as a number."""
        return Decimal(self.total)


class Document(_Strict):
    """The file to hand over; ``size`` in bytes."""

    sha256: Sha256
    size: int = Field(ge=1)
    pages: int = Field(ge=1)
    file_name: Annotated[Name, StringConstraints(pattern=r"^[^/\\]+$", max_length=150)]


class Policy(_Strict):
    """What makes a receipt, and until when the link works."""

    level: Literal["L3"]
    expires_at: Time

    @property
    def expiry(self) -> datetime:
        """``expires_at`` as a time."""
        return datetime.fromisoformat(self.expires_at)


class Checkpoint(_Strict):
    """The latest root of printerd's ledger; the customers' mailboxes are its witnesses."""

    size: int = Field(ge=0)
    root: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{0,128}$")]


class Delivery(_Strict):
    """One document for one customer and his contacts. In rehearsal every letter goes to ``rehearsal_to``.

    ``copies`` are told who was written to, and get no link.
    """

    mode: Literal["live", "rehearsal"]
    rehearsal_to: Mailbox | None
    language: Literal["fr", "en"]
    issuer: Issuer
    customer: Customer
    contacts: Annotated[tuple[Contact, ...], Field(min_length=1, max_length=50)]
    invoice: Invoice
    document: Document
    policy: Policy
    checkpoint: Checkpoint
    copies: Annotated[tuple[Mailbox, ...], Field(max_length=5)] = ()

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if (self.mode == "rehearsal") != (self.rehearsal_to is not None):
            raise ValueError("rehearsal_to is for mode rehearsal, and needed there")
        if len({contact.id for contact in self.contacts}) != len(self.contacts):
            raise ValueError("two contacts have the same id")
        if len(set(self.copies)) != len(self.copies):
            raise ValueError("two copies go to the same address")
        return self

    @property
    def specimen(self) -> bool:
        """Whether this is a rehearsal."""
        return self.mode == "rehearsal"

    def address_of(self, contact: Contact) -> str:
        """Where a letter to this contact goes."""
        return self.rehearsal_to or contact.email

    def contact(self, contact_id: str) -> Contact:
        """The contact with this id.

        Raises:
            Refusal: 404, there is none.
        """
        for contact in self.contacts:
            if contact.id == contact_id:
                return contact
        raise Refusal(404, f"the delivery has no contact {contact_id}")


class Reminder(_Strict):
    """A letter more, decided by a person or a delay; ``contact`` null means all of them."""

    dispatch: UUID
    contact: Identifier | None
    reason: Lines


class Revocation(_Strict):
    """The end of a delivery."""

    reason: Lines


def content_digest(value: BaseModel, *more: str) -> str:
    """The identity of a request's content: a repeat has the same, also one from before a key was added."""
    text = canonical(value.model_dump(mode="json", exclude_unset=True)) + "".join(more)
    return hashlib.sha256(text.encode()).hexdigest()
