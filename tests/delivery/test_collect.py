"""When a claim of the delivery server counts, and when it makes a receipt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from printerd.delivery.collect import Due, Ordered, due_receipts, objection, ordered
from printerd.model import DeliveryId, Digest, Event

SENT = datetime(2026, 11, 24, 9, tzinfo=UTC)
LATER = SENT + timedelta(days=1)
DELIVERY = DeliveryId("7d444840-9dc0-11d1-b245-5ffdce74fad2")
DOCUMENT = Digest("ab" * 32)
ORDER = Ordered(DELIVERY, frozenset({"a", "b"}), DOCUMENT, 1200, SENT, specimen=False)
WHOLE = {"sha256": DOCUMENT, "size": "1200", "bytes_sent": "1200"}


def event(seq: int, name: str, contact: str = "a", minutes: float = 0, **data: str) -> Event:
    time = SENT + timedelta(minutes=minutes)
    return Event("edge-1", seq, name, time, DELIVERY, contact, data, Digest("0" * 64), Digest("1" * 64))


def press(seq: int, act: str, contact: str = "a", minutes: float = 1) -> Event:
    return event(seq, "ConsignmentAcceptance", contact, minutes, act=act)


def handover(seq: int, act: str, contact: str = "a", minutes: float = 1, **changes: str) -> Event:
    return event(seq, "ContentHandover", contact, minutes, act=act, **WHOLE | changes)


def test_the_first_complete_handover_after_its_act_makes_the_receipt() -> None:
    """A press that broke off makes none; the next one that gets the whole file does, and later ones are events only."""
    events = [
        press(1, "x"),
        event(2, "ContentHandoverFailure", act="x", bytes_sent="17", reason="closed"),
        press(3, "y"),
        handover(4, "y"),
        press(5, "z"),
        handover(6, "z"),
    ]
    assert due_receipts(events, ORDER, LATER) == (Due("a", events[2], events[3], specimen=False),)


def test_parallel_presses_make_one_receipt() -> None:
    """Twenty presses whose handovers end in another order: the handover that ended first, with its own act."""
    presses = [press(n, f"act{n}") for n in range(1, 21)]
    handovers = [handover(20 + n, f"act{21 - n}") for n in range(1, 21)]
    assert due_receipts(presses + handovers, ORDER, LATER) == (Due("a", presses[-1], handovers[0], specimen=False),)


def test_an_act_is_the_first_event_of_its_name() -> None:
    """A server that tells one act twice changes no receipt that was due before."""
    events = [press(1, "x"), handover(2, "x"), press(3, "x"), handover(4, "x")]
    assert due_receipts(events, ORDER, LATER) == due_receipts(events[:2], ORDER, LATER)


def test_each_contact_has_a_receipt_of_its_own() -> None:
    """One delivery, two contacts, two receipts; who has one already gets no other."""
    events = [press(1, "x", "b"), press(2, "y", "a"), handover(3, "x", "b"), handover(4, "y", "a")]
    both = due_receipts(events, ORDER, LATER)
    assert [due.contact for due in both] == ["a", "b"]
    assert due_receipts(events, ORDER, LATER, receipted={"a"}) == both[1:]


def test_an_act_without_handover_makes_a_receipt_after_an_hour() -> None:
    """The first act counts, and the receipt has no handover; before the hour is over nothing is due."""
    events = [press(1, "x", minutes=10), press(2, "y", minutes=50)]
    assert due_receipts(events, ORDER, SENT + timedelta(minutes=69)) == ()
    assert due_receipts(events, ORDER, SENT + timedelta(minutes=70)) == (Due("a", events[0], None, specimen=False),)


@pytest.mark.parametrize(
    "events",
    [
        [event(n, "NotificationAccessTracking") for n in range(1, 201)],
        [event(1, "ConsignmentNotification"), event(2, "ConsignmentRejection", reason="paper"), event(3, "Question")],
        [handover(1, "x")],
        [press(1, "x", "b", minutes=1430), handover(2, "x", "a")],
        [press(1, "x", "c"), handover(2, "x", "c")],
        [handover(1, "x"), press(2, "x", minutes=1430)],
        [press(1, "x", minutes=1430), handover(2, "x", sha256="cd" * 32)],
        [press(1, "x", minutes=1430), handover(2, "x", bytes_sent="1199")],
    ],
    ids=["gets", "other events", "no act", "act of another", "stranger", "before its act", "other bytes", "cut short"],
)
def test_what_makes_no_receipt(events: Sequence[Event]) -> None:
    """Only an act and the whole document, both of one contact and in this order."""
    assert due_receipts(events, ORDER, LATER) == ()


@pytest.mark.parametrize(
    ("claim", "words"),
    [
        (press(1, "x"), ""),
        (press(1, "x", minutes=-4), ""),
        (replace(press(1, "x"), delivery=DeliveryId("other")), "another delivery"),
        (press(1, "x", "c"), "contact"),
        (press(1, "x", minutes=-6), "before"),
        (press(1, "x", minutes=1446), "not come"),
        (handover(1, "x", size="7"), "bytes"),
        (replace(press(1, "x"), data={"act": "x", "mode": "rehearsal"}), "rehearsal"),
    ],
)
def test_a_claim_must_fit_the_order_and_the_clock(claim: Event, words: str) -> None:
    """The objection says why; five minutes of difference between the clocks are allowed."""
    found = objection(claim, ORDER, LATER)
    assert words in found
    assert bool(found) == bool(words)


def test_a_rehearsal_makes_specimens_only() -> None:
    """Its events carry the mark, and its receipts are marked; an unmarked event counts for nothing there."""
    order = replace(ORDER, specimen=True)
    events = [press(1, "x"), handover(2, "x")]
    marked = [replace(each, data={**each.data, "mode": "rehearsal"}) for each in events]
    assert due_receipts(events, order, LATER) == ()
    assert due_receipts(marked, order, LATER) == (Due("a", marked[0], marked[1], specimen=True),)
    assert due_receipts(marked, ORDER, LATER) == ()


def test_an_order_is_read_from_the_facts_that_were_sent() -> None:
    """The row's facts hold all that a claim is held against."""
    facts = {
        "mode": "live",
        "contacts": [{"id": "a"}, {"id": "b"}],
        "document": {"sha256": DOCUMENT, "size": 1200},
    }
    assert ordered(DELIVERY, facts, SENT) == ORDER


ANY_EVENT = st.builds(
    lambda name, act, contact, minutes, changes: event(0, name, contact, minutes, act=act, **WHOLE | changes),
    st.sampled_from(["ConsignmentAcceptance", "ContentHandover", "ContentHandoverFailure", "Question"]),
    st.sampled_from("xyz"),
    st.sampled_from("abc"),
    st.integers(-10, 1500),
    st.sampled_from([{}, {}, {"bytes_sent": "1"}, {"sha256": "cd" * 32}]),
)


@given(st.lists(ANY_EVENT, max_size=20))
def test_what_is_due_stays_due(claims: list[Event]) -> None:
    """Events that come later change no receipt: the same one is due, whenever the worker looks."""
    events = [replace(claim, seq=seq) for claim, seq in zip(claims, count(1), strict=False)]
    final = {due.contact: due for due in due_receipts(events, ORDER, LATER)}
    for end in range(len(events)):
        for due in due_receipts(events[:end], ORDER, LATER):
            if due.handover:
                assert final[due.contact] == due
    assert final.keys() <= ORDER.contacts
