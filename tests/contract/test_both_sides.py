"""printerd's client and the receipt service, each as it is: every call, both ways."""

from __future__ import annotations

import hashlib
import io
import socket
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import httpx
import pytest

from printerd import config
from printerd.choices import COPY_TO, Policy
from printerd.delivery import collect, contract
from printerd.delivery.contract import GENESIS, ContractError
from printerd.delivery.edge import EdgeClient
from printerd.errors import IntegrityError, RequestError, TransientError
from printerd.model import (
    Blob,
    Consent,
    ConsentState,
    Contact,
    Customer,
    DeliveryId,
    Digest,
    Event,
    InvoiceKind,
    Issuer,
    Mode,
    Money,
    Party,
    Route,
)
from receipt_service.contract import Delivery, content_digest
from receipt_service.events import canonical
from tests.edge import SECRET, Running, running
from tests.waiting import until

PDF = b"%PDF-1.7\n" + bytes(range(256)) * 200 + b"\n%%EOF\n"
RECEIPT = b"%PDF-1.7\n% a sealed receipt\n%%EOF\n"
DOCUMENT = Blob(Digest(hashlib.sha256(PDF).hexdigest()), len(PDF), "application/pdf")
ISSUER = Issuer("moulin", Party("Au bon moulin", "732829320", email="contact@moulin.example"), frozenset())


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("edge")) as started:
        yield started


def customer(*addresses: str) -> Customer:
    contacts = tuple(Contact(f"c{n}", f"Contact {n}", address) for n, address in enumerate(addresses))
    return Customer("C0042", "Boulangerie", "", "fr", Route.MAIL, Consent(ConsentState.EXPRESS), contacts)


def order(*addresses: str, document: Blob = DOCUMENT, **changes: Any) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        "issuer": ISSUER,
        "customer": customer(*addresses),
        "number": "FA-2026-0042",
        "kind": InvoiceKind.INVOICE,
        "issued_on": date(2026, 11, 24),
        "due_on": date(2026, 12, 31),
        "total": Money(Decimal("1234.56")),
        "document": document,
        "pages": 1,
        "file_name": "FA-2026-0042 été.pdf",
        "expires_at": datetime.now(UTC) + timedelta(days=90),
        "head": (7, Digest("cd" * 32)),
        "mode": Mode.LIVE,
        "rehearsal_to": "",
    }
    return contract.delivery_facts(**arguments | changes)


def deliver(edge: Running, *addresses: str, content: bytes = PDF, **changes: Any) -> tuple[DeliveryId, dict[str, Any]]:
    document = Blob(Digest(hashlib.sha256(content).hexdigest()), len(content), "application/pdf")
    facts = order(*addresses, document=document, **changes)
    delivery = DeliveryId(str(uuid4()))
    edge.client.put_document(document.digest, io.BytesIO(content), len(content))
    edge.client.put_delivery(delivery, facts)
    return delivery, facts


def chain(client: EdgeClient) -> tuple[Event, ...]:
    """All events, page by page, each page checked against the head before it."""
    events: tuple[Event, ...] = ()
    while page := client.events(*((events[-1].seq, events[-1].digest) if events else (0, GENESIS))):
        events += page
    return events


def names(edge: Running, delivery: DeliveryId) -> list[str]:
    return [event.name for event in chain(edge.client) if event.delivery == delivery]


def happened(edge: Running, delivery: DeliveryId, name: str) -> Event:
    """The first event of this name; waits for it."""

    def first() -> Event | None:
        return next((e for e in chain(edge.client) if e.delivery == delivery and e.name == name), None)

    return until(first)


def unique(name: str) -> str:
    return f"{name}@{uuid4().hex[:12]}.example"


def test_the_whole_way(edge: Running) -> None:
    """Ordered, mailed, visited, pressed, handed over; the claims fit the order, make one receipt, and it is fetched."""
    to = unique("helene")
    ordered_at = datetime.now(UTC)
    delivery, facts = deliver(edge, to)
    link = edge.link(to)
    assert edge.act(link).content == PDF
    happened(edge, delivery, "ContentHandover")
    events = [event for event in chain(edge.client) if event.delivery == delivery]
    assert [event.name for event in events] == [
        "ConsignmentNotification",
        "NotificationAccessTracking",
        "ConsignmentAcceptance",
        "ContentHandover",
    ]
    ordered = collect.ordered(delivery, facts, ordered_at)
    now = datetime.now(UTC)
    assert [collect.objection(event, ordered, now) for event in events] == ["", "", "", ""]
    (due,) = collect.due_receipts(events, ordered, now)
    assert (due.acceptance, due.handover, due.specimen) == (events[2], events[3], False)
    for _ in range(2):
        edge.client.put_receipt(delivery, due.contact, io.BytesIO(RECEIPT), len(RECEIPT))
    assert httpx.get(f"{link}/receipt").content == RECEIPT


@pytest.mark.parametrize("local", ["a", "a.b", "!#$%&'*+/=?^_`{|}~-", "a" * 64, "-", "0"])
def test_an_address_that_a_sender_may_name_is_taken(edge: Running, local: str) -> None:
    """One that the service refused would keep the invoice from leaving. Its copy is mailed."""
    (domain,) = config.Choices(copies=("firm.example",)).copies
    address = f"{local}@{domain}"
    assert Policy(copies=(domain,)).takes(COPY_TO, address)
    delivery, _ = deliver(edge, unique("helene"), copies=(address,))
    assert happened(edge, delivery, "ConsignmentNotification")


def test_a_delivery_without_copies_is_the_one_from_before(edge: Running) -> None:
    """Whoever knows it from an earlier version gets the same body; repeated, it makes nothing new."""
    facts = order(unique("helene"))
    assert "copies" not in facts
    told = Delivery.model_validate(facts)
    assert told.copies == ()
    assert (
        content_digest(told)
        == hashlib.sha256(canonical(told.model_dump(mode="json", exclude={"copies"})).encode()).hexdigest()
    )


def test_every_event_of_the_service_is_understood(edge: Running) -> None:
    """Each kind that the contract names is made by the service, and passes the client's strict check."""
    big = PDF + bytes(24 * 2**20)
    addresses = [unique("anne"), unique("nobody"), unique("lost"), unique("paul")]
    delivery, _ = deliver(edge, *addresses, content=big)
    link = edge.link(addresses[0])
    edge.act(link, "paper")
    edge.act(link, "question", text="Où est le bon de livraison ?\nMerci.")
    _break_off(edge.link(addresses[3]))
    assert edge.act(link).content == big
    for name in contract.KINDS:
        happened(edge, delivery, name)


def _break_off(link: str) -> None:
    """Press, take the first bytes, and go away (RST)."""
    with httpx.Client() as browser:
        nonce = browser.get(link).text.split('name="nonce" value="')[1].split('"')[0]
    body = f"nonce={nonce}&action=accept".encode()
    host = urlsplit(link).netloc
    head = f"POST {urlsplit(link).path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(body)}\r\n"
    head += "Content-Type: application/x-www-form-urlencoded\r\n\r\n"
    with socket.create_connection((host.split(":")[0], int(host.split(":")[1]))) as connection:
        connection.sendall(head.encode() + body)
        assert connection.recv(1000)


def test_repeating_an_order_makes_nothing_new(edge: Running) -> None:
    """A step that runs twice uploads and orders once: one message, one event."""
    to = unique("helene")
    delivery, facts = deliver(edge, to)
    edge.client.put_document(DOCUMENT.digest, io.BytesIO(PDF), len(PDF))
    edge.client.put_delivery(delivery, facts)
    happened(edge, delivery, "ConsignmentNotification")
    until(lambda: edge.client.status().mail_backlog == 0)
    assert len(edge.mail.links(to)) == 1


def test_an_id_never_changes_its_content(edge: Running) -> None:
    """The same id with other facts is a sign of two histories: nothing is changed."""
    to = unique("helene")
    delivery, facts = deliver(edge, to)
    with pytest.raises(IntegrityError, match="another delivery"):
        edge.client.put_delivery(delivery, facts | {"customer": {"code": "C1", "name": "Other"}})


def test_a_document_comes_before_its_delivery(edge: Running) -> None:
    """A missing document passes by itself: the step uploads again."""
    missing = Blob(Digest("9" * 64), 10, "application/pdf")
    with pytest.raises(TransientError, match="misses the document"):
        edge.client.put_delivery(DeliveryId(str(uuid4())), order(unique("a"), document=missing))


def test_a_document_is_what_its_name_says(edge: Running) -> None:
    """Other bytes than the digest names are refused, and repeating would not help."""
    with pytest.raises(ContractError):
        edge.client.put_document(Digest("8" * 64), io.BytesIO(PDF), len(PDF))


@pytest.mark.parametrize("place", ["", "issuer", "customer", "invoice", "document", "policy", "checkpoint"])
def test_unknown_keys_are_refused_by_the_service(edge: Running, place: str) -> None:
    """A newer printerd is told that the service does not understand it, in every part of an order."""
    facts = order(unique("a"))
    target = facts[place] if place else facts
    target["unheard_of"] = "1"
    with pytest.raises(ContractError, match="unheard_of"):
        edge.client.put_delivery(DeliveryId(str(uuid4())), facts)


def test_a_wrong_secret_opens_nothing(edge: Running) -> None:
    """Every call is refused with the same meaning."""
    with EdgeClient(edge.address, SECRET + "x") as stranger:
        with pytest.raises(ContractError, match="secret"):
            stranger.status()
        with pytest.raises(ContractError, match="secret"):
            stranger.events(0, GENESIS)


def test_a_reminder_is_one_message_with_a_link_of_its_own(edge: Running) -> None:
    """To one contact or all; the same dispatch makes no second one."""
    first, second = unique("anne"), unique("paul")
    delivery, _ = deliver(edge, first, second)
    edge.link(second)
    dispatch = str(uuid4())
    for _ in range(2):
        edge.client.remind(delivery, dispatch, "c0", "asked by phone")
    assert edge.link(first, 1) != edge.link(first)
    edge.client.remind(delivery, str(uuid4()), "", "unopened")
    edge.link(second, 1)
    edge.link(first, 2)
    until(lambda: edge.client.status().mail_backlog == 0)
    assert (len(edge.mail.links(first)), len(edge.mail.links(second))) == (3, 2)


def test_a_revoked_delivery_has_ended(edge: Running) -> None:
    """Its link answers as an unknown one, it cannot be reminded, and revoking it again is harmless."""
    to = unique("helene")
    delivery, _ = deliver(edge, to)
    link = edge.link(to)
    for _ in range(2):
        edge.client.revoke(delivery, "sent to the wrong customer")
    assert httpx.get(link).status_code == 404
    with pytest.raises(RequestError, match="withdrawn"):
        edge.client.remind(delivery, str(uuid4()), "", "again")


def test_what_was_ordered_can_be_asked_for(edge: Running) -> None:
    """A printerd that was restored learns of which invoice a delivery was that it has forgotten."""
    delivery, facts = deliver(edge, unique("fabienne"))
    assert edge.client.number_of(delivery) == facts["invoice"]["number"]


def test_an_unknown_delivery_is_named(edge: Running) -> None:
    """Asking for, reminding, revoking or giving a receipt for what the service never saw."""
    nowhere = DeliveryId(str(uuid4()))
    with pytest.raises(RequestError):
        edge.client.number_of(nowhere)
    with pytest.raises(RequestError):
        edge.client.remind(nowhere, str(uuid4()), "", "again")
    with pytest.raises(RequestError):
        edge.client.revoke(nowhere, "again")
    with pytest.raises(RequestError):
        edge.client.put_receipt(nowhere, "c0", io.BytesIO(RECEIPT), len(RECEIPT))


def test_a_head_that_the_service_does_not_know_stops_both(edge: Running) -> None:
    """Another digest, or a number that is not there yet."""
    deliver(edge, to := unique("helene"))
    edge.link(to)
    last = chain(edge.client)[-1]
    for after, head in ((last.seq, Digest("f" * 64)), (last.seq + 1, last.digest), (0, last.digest)):
        with pytest.raises(IntegrityError):
            edge.client.events(after, head)


def test_waiting_ends_with_the_first_event(edge: Running) -> None:
    """A long poll answers as soon as something happens, and in time when nothing does."""
    until(lambda: edge.client.status().mail_backlog == 0)
    events = chain(edge.client)
    after, head = (events[-1].seq, events[-1].digest) if events else (0, GENESIS)
    begun = time.monotonic()
    assert edge.client.events(after, head, wait=1) == ()
    assert 0.9 < time.monotonic() - begun < 5
    deliver(edge, unique("helene"))
    begun = time.monotonic()
    assert edge.client.events(after, head, wait=20)
    assert time.monotonic() - begun < 10


def test_a_rehearsal_is_marked_in_every_event(edge: Running) -> None:
    """Its mail goes to the rehearsal's address alone, and its claims can only make specimens."""
    to, rehearsal = unique("helene"), unique("it")
    delivery, facts = deliver(edge, to, mode=Mode.REHEARSAL, rehearsal_to=rehearsal)
    edge.act(edge.link(rehearsal))
    happened(edge, delivery, "ContentHandover")
    assert edge.mail.links(to) == []
    events = [event for event in chain(edge.client) if event.delivery == delivery]
    ordered = collect.ordered(delivery, facts, datetime.now(UTC))
    (due,) = collect.due_receipts(events, ordered, datetime.now(UTC))
    assert due.specimen


def test_a_changed_event_in_the_services_database_is_found(tmp_path: Path) -> None:
    """Whoever rewrites one event of the service stops the collecting; the API may be a unix socket."""
    with running(tmp_path, api=f"unix://{tmp_path}/api.sock") as edge:
        to = unique("helene")
        deliver(edge, to)
        edge.link(to)
        until(lambda: edge.client.events(0, GENESIS))
        with closing(sqlite3.connect(edge.settings["database"])) as database, database:
            database.execute("DROP TRIGGER IF EXISTS events_are_not_changed")
            database.execute("UPDATE events SET body = replace(body, 'helene@', 'marie@')")
        with pytest.raises(IntegrityError):
            edge.client.events(0, GENESIS)
