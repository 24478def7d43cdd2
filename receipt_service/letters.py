"""A letter's final bytes: fixed once, when the delivery is accepted; sent unchanged, however often SMTP is tried.

Message-ID, Date and boundary are part of them, so that a doubtful second copy
could be recognised, and a bounce found again. The link stands in the bytes, so they
are stored encrypted; the masked copy is the same letter without the link's token.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8
from email.utils import format_datetime, parseaddr
from typing import Any
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from email_validator import validate_email
from jinja2 import Environment

from .contract import Contact, Delivery
from .render import facts

MASKED = "•••"
_DOTS = b"".join(b"=%02X" % octet for octet in MASKED.encode())
"""The same in quoted-printable."""
_NONCE = 12  # bytes; NIST SP 800-38D section 8.2


@dataclass(frozen=True, slots=True)
class Letter:
    """One message to one address. ``sender`` and ``recipient`` are the SMTP envelope."""

    message_id: str
    sender: str
    recipient: str
    wire: bytes
    masked: str


@dataclass(frozen=True, slots=True)
class Office:
    """What composing needs: templates, the From of the firm, the base of links, the key of the outbox."""

    templates: Environment
    sender: str
    public_url: str
    copy_to: str
    key: bytes

    def link(self, token: str) -> str:
        """The address of a link, built from the settings, never from a request."""
        return f"{self.public_url}/l/{token}"

    def encrypt(self, row: str, wire: bytes) -> bytes:
        """Encrypt the bytes of an outbox row (AES-256-GCM, bound to the row's id)."""
        nonce = secrets.token_bytes(_NONCE)
        return nonce + AESGCM(self.key).encrypt(nonce, wire, row.encode())

    def decrypt(self, row: str, box: bytes) -> bytes:
        """The bytes again; raises ``cryptography.exceptions.InvalidTag`` when key or row are others."""
        return AESGCM(self.key).decrypt(box[:_NONCE], box[_NONCE:], row.encode())


def envelope_address(address: str) -> str:
    """An address as SMTP carries it: the domain in ASCII (RFC 5891); only a local part may need SMTPUTF8."""
    checked = validate_email(address, check_deliverability=False, globally_deliverable=False)
    return checked.ascii_email or checked.normalized


def literal(text: str) -> str:
    """Text that a header shows as it is. ``email`` decodes the encoded words (RFC 2047) that it meets in a value, and
    writes what comes out, CR and LF too: so none may begin in what a document or a person has written."""
    return text.replace("=?", "= ?")


def compose(office: Office, delivery: Delivery, contact: Contact, token: str, at: datetime, *, again: bool) -> Letter:
    """The letter to a contact, with his link; ``again`` marks a reminder. ``at`` becomes its Date."""
    words = facts(delivery, contact) | {"again": again}
    recipient = envelope_address(delivery.address_of(contact))
    name = "" if delivery.specimen else contact.name
    head = _head(office, recipient, name, words["reply_to"], at)
    subject = office.templates.get_template(f"{delivery.language}/subject.txt").render(words)
    wire = _assemble(office, head, subject, delivery.language, words | {"link": office.link(token)})
    return Letter(head["Message-ID"], parseaddr(office.sender)[1], recipient, wire, _masked(wire, token).decode())


def compose_copy(office: Office, delivery: Delivery, address: str, at: datetime) -> Letter:
    """The note to accounting (``smtp.bcc``) or to whom the sender named: who was written to, without any customer's
    link.
    """
    words = facts(delivery, delivery.contacts[0]) | {"again": False}
    head = _head(office, envelope_address(address), "", words["reply_to"], at)
    subject = office.templates.get_template(f"{delivery.language}/subject.txt").render(words)
    message = _message(head, subject)
    people = [f"{person.shown} <{person.email}>" for person in delivery.contacts]
    text = office.templates.get_template(f"{delivery.language}/copy.txt").render(words | {"people": people})
    message.set_content(text, charset="utf-8", cte="quoted-printable")
    wire = bytes(message)
    return Letter(head["Message-ID"], parseaddr(office.sender)[1], head["To"].addr_spec, wire, wire.decode())


def _masked(wire: bytes, token: str) -> bytes:
    """The letter with dots where the token is, which quoted-printable may have broken into two lines (RFC 2045 6.7)."""
    broken = b"(?:=\r\n)?".join(re.escape(token[n : n + 1]).encode() for n in range(len(token)))
    return re.sub(broken, _DOTS, wire)


def _head(office: Office, recipient: str, name: str, reply_to: str, at: datetime) -> dict[str, Any]:
    host = urlsplit(office.public_url).hostname or "localhost"
    domain = f"[{host}]" if host.replace(".", "").isdigit() else host
    return {
        "From": office.sender,
        "To": Address(literal(name), *recipient.rsplit("@", 1)),
        "Reply-To": envelope_address(reply_to),
        "Date": format_datetime(at.replace(microsecond=0)),
        "Message-ID": f"<{secrets.token_hex(16)}@{domain}>",
        "Auto-Submitted": "auto-generated",  # RFC 3834 section 5
    }


def _message(head: dict[str, Any], subject: str) -> EmailMessage:
    ascii_only = head["Reply-To"].isascii() and head["To"].addr_spec.isascii()
    message = EmailMessage(SMTP if ascii_only else SMTPUTF8)
    for name, value in head.items():
        message[name] = value
    message["Subject"] = literal(" ".join(subject.split("\n")).strip())
    return message


def _assemble(office: Office, head: dict[str, Any], subject: str, language: str, words: dict[str, Any]) -> bytes:
    message = _message(head, subject)
    text, page = (office.templates.get_template(f"{language}/mail.{kind}").render(words) for kind in ("txt", "html"))
    message.set_content(text, charset="utf-8", cte="quoted-printable")
    message.add_alternative(page, subtype="html", charset="utf-8", cte="quoted-printable")
    message.set_boundary(f"=_{head['Message-ID'][1:33]}")
    return bytes(message)
