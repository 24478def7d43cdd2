"""Which way an invoice goes: a table over what the customer has agreed to, and no exception to it.

Consent comes first (directive 2006/112/EC article 232), then the customer's
wish, then whether there is an address to write to.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from printerd.model import ConsentState, Customer, Reason, Route


@dataclass(frozen=True, slots=True)
class Decision:
    """The way, and why in the words of the ``deliveries`` row."""

    route: Route
    why: str


Rule = tuple[Callable[[Customer], bool], Decision]

AGREED = frozenset({ConsentState.EXPRESS, ConsentState.TACIT})

RULES: tuple[Rule, ...] = (
    (lambda customer: customer.consent.state not in AGREED, Decision(Route.PAPER, "no consent")),
    (lambda customer: customer.route is Route.PAPER, Decision(Route.PAPER, "paper is the customer's route")),
    (lambda customer: bool(customer.contacts), Decision(Route.MAIL, "consent")),
)
"""The first rule that holds decides."""


def decide(customer: Customer) -> Decision | Reason:
    """The customer's way, or the reason for which the invoice waits: mail was agreed, but there is no address."""
    for holds, decision in RULES:
        if holds(customer):
            return decision
    return Reason("no-address", {"code": customer.code})
