"""The whole table of ways."""

from __future__ import annotations

import itertools

import pytest

from printerd.choices import MAILED, Way
from printerd.delivery.routes import Decision, decide
from printerd.model import Consent, ConsentState, Contact, Customer, Reason, Route

AT_HOME = (Contact("c1", "", "a@b.example"),)


@pytest.mark.parametrize(("consent", "route", "contacts"), list(itertools.product(ConsentState, Route, [(), AT_HOME])))
def test_consent_comes_first_then_the_wish_then_the_address(
    consent: ConsentState, route: Route, contacts: tuple[Contact, ...]
) -> None:
    """Nobody gets mail without consent; nobody who agreed to mail gets paper for want of an address: that waits."""
    decision = decide(Customer("C1", "Name", "", "fr", route, Consent(consent), contacts))
    if consent in (ConsentState.REFUSED, ConsentState.UNKNOWN):
        assert decision == Decision(Route.PAPER, "no consent")
    elif route is Route.PAPER:
        assert decision == Decision(Route.PAPER, "paper is the customer's route")
    elif contacts:
        assert decision == Decision(Route.MAIL, "consent")
    else:
        assert decision == Reason("no-address", {"code": "C1"})


LAWFUL = (ConsentState.EXPRESS, ConsentState.TACIT)


@pytest.mark.parametrize(
    ("way", "consent", "route", "contacts"), list(itertools.product(Way, ConsentState, Route, [(), AT_HOME]))
)
def test_the_sender_chooses_within_the_law(
    way: Way, consent: ConsentState, route: Route, contacts: tuple[Contact, ...]
) -> None:
    """Mail that was chosen for who has not agreed is paper, and says so; what was chosen goes before the record."""
    customer = Customer("C1", "Name", "", "fr", route, Consent(consent), contacts)
    decision = decide(customer, way)
    if way not in {*MAILED, Way.PAPER}:
        assert decision == decide(customer)
    elif way is Way.PAPER:
        assert decision == Decision(Route.PAPER, "paper was chosen")
    elif consent not in LAWFUL:
        assert decision == Decision(Route.PAPER, "mail was chosen, no consent")
    elif not contacts:
        assert decision == Reason("no-address", {"code": "C1"})
    elif way is Way.MAIL:
        assert decision == Decision(Route.MAIL, "mail was chosen")
    else:
        assert decision == Decision(Route.MAIL, "both was chosen", Route.PAPER)


@pytest.mark.parametrize(("way", "consent"), list(itertools.product(Way, ConsentState)))
def test_nobody_is_mailed_without_consent(way: Way, consent: ConsentState) -> None:
    """Whatever a sender chooses (directive 2006/112/EC article 232)."""
    decision = decide(Customer("C1", "Name", "", "fr", Route.MAIL, Consent(consent), AT_HOME), way)
    assert isinstance(decision, Decision)
    assert Route.MAIL not in decision.routes or consent in LAWFUL
