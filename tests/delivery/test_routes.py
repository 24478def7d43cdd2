"""The whole table of ways."""

from __future__ import annotations

import itertools

import pytest

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
