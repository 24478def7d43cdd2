"""What is sent to the delivery server, and what is taken from it, as pure values."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from printerd.delivery import contract
from printerd.delivery.contract import GENESIS, ContractError
from printerd.errors import IntegrityError
from printerd.evidence import canonical
from printerd.model import (
    Blob,
    Consent,
    ConsentState,
    Contact,
    Customer,
    Digest,
    InvoiceKind,
    Issuer,
    Mode,
    Money,
    Party,
    Route,
)

DELIVERY = "7d444840-9dc0-11d1-b245-5ffdce74fad2"
ACT = "0b9e1c1e-6f4f-4bd0-8a52-0d2b6f5a7c11"
DATA: dict[str, dict[str, str]] = {
    "ConsignmentNotification": {
        "message": "m1",
        "message_id": "<1@firm.example>",
        "to": "helene@lefevre.example",
        "reply": "250 2.0.0 Ok: queued as 4F2",
        "queue_id": "4F2",
    },
    "ConsignmentNotificationFailure": {
        "message": "m1",
        "message_id": "",
        "to": "a@b.example",
        "reply": "550 5.1.1",
        "reason": "refused",
    },
    "MailUncertain": {"message": "m1", "message_id": "<1@f.example>", "to": "a@b.example", "reason": "cut off"},
    "NotificationAccessTracking": {"address": "192.0.2.0/24", "agent": "Firefox", "class": "person?"},
    "ConsignmentAcceptance": {
        "act": ACT,
        "requested_at": "2026-11-24T09:04:41.000000Z",
        "address": "192.0.2.0/24",
        "agent": "Firefox",
        "signs": "",
        "level": "L3",
        "identified_by": "link sent to h***@lefevre.example",
        "first": "yes",
    },
    "ContentHandover": {"act": ACT, "sha256": "ab" * 32, "size": "1200", "bytes_sent": "1200"},
    "ContentHandoverFailure": {"act": ACT, "bytes_sent": "17", "reason": "connection closed"},
    "ConsignmentRejection": {"reason": "paper", "address": "2001:db8::/48", "agent": "Chrome"},
    "Question": {"text": "Où est le bon de livraison ?\nMerci."},
}


def raw(name: str, seq: int = 1, previous: str = GENESIS, /, **changes: Any) -> dict[str, Any]:
    """An event as the edge writes it, with its digest made over whatever was changed."""
    event = {
        "edge": "edge-1",
        "seq": seq,
        "name": name,
        "uri": contract.event_uri(name) if name in contract.KINDS else "",
        "time": "2026-11-24T09:05:00.123456Z",
        "delivery": DELIVERY,
        "contact": "c1",
        "data": DATA.get(name, {}),
        "previous": previous,
    } | changes
    return {**event, "digest": changes.get("digest") or canonical.event_digest(event)}


def chain(*names: str) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = []
    for seq, name in enumerate(names, start=1):
        events.append(raw(name, seq, events[-1]["digest"] if events else GENESIS))
    return events


def test_each_kind_of_event_has_an_example_here() -> None:
    """The table of kinds and the examples name the same events."""
    assert DATA.keys() == contract.KINDS.keys()


@pytest.mark.parametrize("name", contract.KINDS)
def test_an_event_can_be_written_again_as_it_came(name: str) -> None:
    """What was parsed gives the same JSON, so its digest can be checked years later."""
    event = raw(name)
    assert contract.wire(contract.parse_event(event)) == event


@pytest.mark.parametrize("name", contract.KINDS)
@pytest.mark.parametrize("key", sorted({key for data in DATA.values() for key in data} | {"user_agent"}))
def test_the_keys_of_an_events_data_are_exact(name: str, key: str) -> None:
    """A key that its kind does not know is refused; so is a missing one, unless it is optional."""
    data = dict(DATA[name])
    if key in data and key in contract.KINDS[name].optional:
        del data[key]
        assert contract.parse_event(raw(name, data=data)).data == data
        return
    data = {k: v for k, v in data.items() if k != key} if key in data else {**data, key: "1"}
    with pytest.raises(ContractError):
        contract.parse_event(raw(name, data=data))


@pytest.mark.parametrize(
    "changes",
    [
        {"seq": 0},
        {"seq": True},
        {"seq": "1"},
        {"name": "ContentHandedOver"},
        {"name": ["ContentHandover"]},
        {"uri": "https://example.com/ContentHandover"},
        {"time": "2026-11-24T09:05:00Z"},
        {"time": "2026-11-24 09:05:00.123456Z"},
        {"time": "2026-13-24T09:05:00.123456Z"},
        {"time": "2026-11-24T09:05:00.123456+01:00"},
        {"delivery": DELIVERY.upper()},
        {"delivery": "1"},
        {"contact": None},
        {"contact": "x" * 37},
        {"edge": ""},
        {"edge": "a\nb"},
        {"previous": "0" * 63},
        {"data": []},
        {"data": DATA["ContentHandover"] | {"size": 1200}},
        {"data": DATA["ContentHandover"] | {"size": "-1"}},
        {"data": DATA["ContentHandover"] | {"size": "١٢"}},
        {"data": DATA["ContentHandover"] | {"sha256": "AB" * 32}},
        {"data": DATA["ContentHandover"] | {"act": "x"}},
        {"extra": "1"},
    ],
)
def test_an_event_of_another_shape_is_refused(changes: dict[str, Any]) -> None:
    """The edge is not trusted: each value has its shape, and other keys are not there."""
    with pytest.raises(ContractError):
        contract.parse_event(raw("ContentHandover", **changes))


def test_a_lone_surrogate_is_refused() -> None:
    """Text that has no UTF-8 form cannot be hashed; it is refused and nothing breaks."""
    answer = json.loads('{"text": "\\ud800"}')
    with pytest.raises(ContractError):
        contract.parse_event(raw("Question") | {"data": answer})


def test_a_changed_event_is_found_by_its_digest() -> None:
    """An event whose content was changed after its digest was made stops the collecting."""
    event = raw("ContentHandover") | {"contact": "c2"}
    with pytest.raises(IntegrityError):
        contract.parse_event(event)


def answer(events: list[dict[str, Any]]) -> dict[str, Any]:
    return {"edge_id": "edge-1", "events": events}


def test_a_chain_is_taken_as_far_as_it_goes_on_from_what_is_known() -> None:
    """The same chain can be taken whole, or in two answers."""
    events = chain("ConsignmentNotification", "ConsignmentAcceptance", "ContentHandover")
    whole = contract.parse_events(answer(events), 0, GENESIS)
    assert [event.seq for event in whole] == [1, 2, 3]
    assert contract.parse_events(answer(events[1:]), 1, whole[0].digest) == whole[1:]
    assert contract.parse_events(answer([]), 3, whole[2].digest) == ()


@pytest.mark.parametrize(
    "broken",
    [
        lambda events: events[1:],
        lambda events: [events[0], events[2]],
        lambda events: [events[0], events[2], events[1]],
        lambda events: [events[0], events[0]],
        lambda events: [events[0], raw("ContentHandover", 2, "f" * 64)],
        lambda events: [events[0], raw("ContentHandover", 2, events[0]["digest"], edge="edge-2")],
    ],
    ids=["first left out", "one left out", "order", "twice", "foreign link", "foreign edge"],
)
def test_a_broken_chain_stops_both_sides(broken: Any) -> None:
    """An event left out, moved, doubled or put in is found, and nothing of the answer is used."""
    events = chain("ConsignmentNotification", "ConsignmentAcceptance", "ContentHandover")
    with pytest.raises(IntegrityError):
        contract.parse_events(answer(broken(events)), 0, GENESIS)


@pytest.mark.parametrize(
    "bad", [None, [], {}, {"edge_id": "edge-1"}, answer([]) | {"more": 1}, {"edge_id": "e", "events": {}}]
)
def test_an_answer_of_another_shape_is_refused(bad: object) -> None:
    """The answer has two keys and a list."""
    with pytest.raises(ContractError):
        contract.parse_events(bad, 0, GENESIS)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda children: (
        st.lists(children, max_size=3) | st.dictionaries(st.sampled_from(sorted(raw("Question"))), children)
    ),
    max_leaves=12,
)


@given(JSON)
def test_any_json_gives_an_event_or_one_of_two_failures(value: object) -> None:
    """Whatever the server sends, the collector sees a value or a failure that it knows."""
    with pytest.raises((ContractError, IntegrityError)):
        contract.parse_event(value)


CUSTOMER = Customer(
    "C0042",
    "Boulangerie Lefèvre",
    "FR40102003043",
    "fr",
    Route.MAIL,
    Consent(ConsentState.EXPRESS, date(2025, 9, 1), "CGV"),
    (Contact("c1", "Hélène", "helene@lefevre.example"),),
)
ISSUER = Issuer("moulin", Party("Au bon moulin", "123456782", email="c@moulin.example"), frozenset())


def facts(**changes: Any) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        "issuer": ISSUER,
        "customer": CUSTOMER,
        "number": "FA-1",
        "kind": InvoiceKind.INVOICE,
        "issued_on": date(2026, 11, 24),
        "due_on": None,
        "total": Money(Decimal("1234.5")),
        "document": Blob(Digest("ab" * 32), 1200, "application/pdf"),
        "pages": 2,
        "file_name": "FA-1.pdf",
        "expires_at": datetime(2027, 2, 22, 9, tzinfo=UTC),
        "head": (7, Digest("cd" * 32)),
        "mode": Mode.LIVE,
        "rehearsal_to": "",
    }
    return contract.delivery_facts(**arguments | changes)


def test_the_facts_of_a_delivery_are_those_of_the_contract() -> None:
    """Amounts have two decimals, times end in Z, and what is not known is null or empty."""
    assert facts() == {
        "mode": "live",
        "rehearsal_to": None,
        "language": "fr",
        "issuer": {
            "name": "Au bon moulin",
            "siren": "123456782",
            "vat_id": "",
            "address": "",
            "email": "c@moulin.example",
            "reply_to": "",
            "phone": "",
            "colour": "#1f4e79",
        },
        "customer": {"code": "C0042", "name": "Boulangerie Lefèvre"},
        "contacts": [{"id": "c1", "name": "Hélène", "email": "helene@lefevre.example", "role": ""}],
        "invoice": {
            "number": "FA-1",
            "kind": "invoice",
            "issued_on": "2026-11-24",
            "due_on": None,
            "total": "1234.50",
            "currency": "EUR",
        },
        "document": {"sha256": "ab" * 32, "size": 1200, "pages": 2, "file_name": "FA-1.pdf"},
        "policy": {"level": "L3", "expires_at": "2027-02-22T09:00:00.000000Z"},
        "checkpoint": {"size": 7, "root": "cd" * 32},
    }


def test_a_rehearsal_names_where_its_mail_goes() -> None:
    """The mode follows from the rehearsal's address; one cannot be had without the other."""
    rehearsal = facts(mode=Mode.REHEARSAL, rehearsal_to="it@firm.example")
    assert (rehearsal["mode"], rehearsal["rehearsal_to"]) == ("rehearsal", "it@firm.example")
