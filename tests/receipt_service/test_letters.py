"""A letter is complete, says what it must in the order people expect, and shows its link to its reader only."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from receipt_service import links, render
from receipt_service.contract import Delivery
from receipt_service.letters import MASKED, Letter, Office, compose

from .harness import delivery

NOW = datetime(2026, 11, 24, 9, 5, tzinfo=UTC)
OFFICE = Office(render.environment(), "Comptabilité <compta@moulin.example>", "https://f.example", "", bytes(32))
TOKEN = links.new_token()


def letter(again: bool = False, **changes: Any) -> Letter:
    body = Delivery.model_validate(delivery(**changes))
    return compose(OFFICE, body, body.contacts[0], TOKEN, NOW, again=again)


def parsed(made: Letter) -> EmailMessage:
    return message_from_bytes(made.wire, policy=policy.default)  # type: ignore[return-value]


def part(message: EmailMessage, kind: str) -> str:
    found = message.get_body((kind,))
    assert found is not None
    content: str = found.get_content()
    return content


def test_the_headers_are_those_of_an_automatic_letter_from_accounting() -> None:
    """From, To, Reply-To, Date, Message-ID on the links' domain, Auto-Submitted; no list, no copy."""
    message = parsed(letter())
    assert (
        message["From"] == "Comptabilité <compta@moulin.example>" and message["To"] == "Marie Martin <marie@client.fr>"
    )
    assert message["Reply-To"] == "compta@moulin.example" and message["Auto-Submitted"] == "auto-generated"
    assert message["Date"].datetime == NOW and re.fullmatch(r"<[0-9a-f]{32}@f\.example>", message["Message-ID"])
    assert not [name for name in message if name.lower().startswith("list-") or name.lower() in ("cc", "bcc")]


@pytest.mark.parametrize(
    ("language", "subject"),
    [
        ("fr", "Facture FA-2026-0042 – Au bon moulin – échéance 31 décembre 2026"),
        ("en", "Invoice FA-2026-0042 – Au bon moulin – due 31 December 2026"),
    ],
)
def test_the_subject_says_what_from_whom_and_until_when(language: str, subject: str) -> None:
    found = parsed(letter(language=language))["Subject"]
    assert found.replace("\u00a0", " ") == subject


@pytest.mark.parametrize(
    ("language", "order"),
    [
        ("fr", ["la facture FA-2026-0042", "Télécharger ma facture", "/l/", "fonctionne jusqu’au",
                "vaut accusé de réception", "préférez le papier", "SIREN", "racine abababab"]),
        ("en", ["invoice FA-2026-0042", "Download my invoice", "/l/", "works until", "acknowledges receipt",
                "prefer paper", "SIREN", "root abababab"]),
    ],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["plain", "html"])
def test_the_body_keeps_its_order(language: str, order: list[str], kind: str) -> None:
    """What it is, the button, the link, until when it works and what its use means, paper, the firm, the root."""
    body = part(parsed(letter(language=language)), kind)
    body = body if kind == "plain" else re.sub(r"<style>.*?</style>|<[^>]*>", "", body, flags=re.DOTALL)
    places = [body.index(words) for words in order]
    assert places == sorted(places)


def test_the_link_is_the_only_one_and_nothing_is_fetched() -> None:
    """The same link as button and in full, on our own domain; no image, no pixel, no script, no web font."""
    message = parsed(letter())
    html = part(message, "html")
    assert set(re.findall(r'href="(http[^"]+)"', html)) == {f"https://f.example/l/{TOKEN}"}
    assert f">https://f.example/l/{TOKEN}</a>" in html
    assert not re.search(r"<img|<script|<link|@import|url\(|background=", html)
    assert re.findall(r"https?://\S+", part(message, "plain")) == [f"https://f.example/l/{TOKEN}"]


def test_french_spaces_do_not_break() -> None:
    """Before : ; ? ! and within guillemets, dates and amounts."""
    for kind in ("plain", "html"):
        body = part(parsed(letter(again=True)), kind)
        text = re.sub(r"<style>.*?</style>|<[^>]*>", "", body, flags=re.DOTALL)
        assert not re.search(r" [:;?!»]|« ", text)
        assert "1\u202f234,56\u00a0€" in text and "24\u00a0novembre\u00a02026" in text


def test_the_masked_copy_is_the_letter_without_its_key() -> None:
    """Same Message-ID, Date and boundary; dots where the token was."""
    made = letter()
    copy = message_from_bytes(made.masked.encode(), policy=policy.default)
    assert TOKEN not in made.masked and copy["Message-ID"] == made.message_id
    assert copy.get_boundary() == parsed(made).get_boundary()
    assert f"https://f.example/l/{MASKED}" in part(copy, "plain")  # type: ignore[arg-type]


@pytest.mark.parametrize("width", range(1, 77))
def test_the_token_is_masked_wherever_its_line_is_broken(width: int) -> None:
    """Quoted-printable breaks lines after 75 characters: with every length of address, the token is gone and nothing
    else is, however it was cut."""
    office = replace(OFFICE, public_url=f"https://{'f' * width}.example")
    body = Delivery.model_validate(delivery())
    made = compose(office, body, body.contacts[0], TOKEN, NOW, again=False)
    copy = message_from_bytes(made.masked.encode(), policy=policy.default)
    for kind in ("plain", "html"):
        assert part(copy, kind) == part(parsed(made), kind).replace(TOKEN, MASKED)  # type: ignore[arg-type]


def test_every_line_fits_smtp() -> None:
    """At most 998 octets, CRLF throughout, seven bits (RFC 5321 section 4.5.3.1.6)."""
    long = delivery()["issuer"] | {"address": "rue " * 400, "name": "É" * 200}
    wire = letter(issuer=long).wire
    assert max(len(line) for line in wire.split(b"\r\n")) <= 998
    assert wire.isascii() and b"\n" not in wire.replace(b"\r\n", b"")


NAMES = st.text(st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp")), min_size=1, max_size=60)


@settings(max_examples=40, deadline=None)
@given(NAMES, NAMES)
def test_no_name_makes_a_header(name: str, number: str) -> None:
    """Whatever the contract lets through as a name or a number stays inside its own header."""
    person = delivery()["contacts"][0] | {"name": name}
    message = parsed(letter(contacts=[person], invoice=delivery()["invoice"] | {"number": number}))
    assert message.keys() == ["From", "To", "Reply-To", "Date", "Message-ID", "Auto-Submitted", "Subject",
                              "MIME-Version", "Content-Type"]  # fmt: skip
    assert [address.addr_spec for address in message["To"].addresses] == ["marie@client.fr"]


@pytest.mark.parametrize(
    "hidden",
    [
        "=?utf-8?q?A=0D=0ABcc:_evil@example.org?=",
        "=?utf-8?b?QQ0KUmVwbHktVG86IGV2aWxAZXhhbXBsZS5vcmc=?=",
        "=?us-ascii?q?x=0D=0A=0D=0A=3Ca_href=3Dhttps=3A//evil.example=3E?=",
        "FA-1 =?utf-8?q?=2C_evil=40example=2Eorg=2C?=",
        "==??utf-8?q?=0AX-Evil:_1?=",
    ],
)
@pytest.mark.parametrize("recipient", ["marie@client.fr", "mär.ie@client.fr"])
def test_an_encoded_word_in_a_name_stays_text(hidden: str, recipient: str) -> None:
    """RFC 2047 can hide CR, LF and commas; a number or a name that tries makes no header, no body, no addressee."""
    person = delivery()["contacts"][0] | {"name": hidden, "email": recipient}
    issuer = delivery()["issuer"] | {"name": hidden}
    made = letter(contacts=[person], invoice=delivery()["invoice"] | {"number": hidden}, issuer=issuer)
    head = message_from_bytes(made.wire)
    assert len(head.keys()) == 9 and not {"Bcc", "X-Evil"} & set(head.keys())
    assert head["Reply-To"] == "compta@moulin.example"
    assert made.recipient == recipient and len(parsed(made)["To"].addresses) == 1
    assert parsed(made)["Subject"].count(hidden.replace("=?", "= ?")) == 2


FORBIDDEN = ("recommandé", "LRE", "qualifié", "valeur légale", "lu par", "registered", "certified", "legally binding")


def test_no_word_promises_what_cannot_be_kept() -> None:
    """None of the forbidden words stands in any template."""
    for template in OFFICE.templates.list_templates():
        assert OFFICE.templates.loader is not None
        source = OFFICE.templates.loader.get_source(OFFICE.templates, template)[0]
        assert not [word for word in FORBIDDEN if word.lower() in source.lower()], template
