"""Which way an invoice goes: a table over what the customer has agreed to, and no exception to it.

Consent comes first (directive 2006/112/EC article 232), then what the sender
of the job chose, then the customer's wish, then whether there is an address to
write to. Whoever chose mail for a customer who has not agreed gets paper.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from printerd.choices import IN_VAIN, MAILED, TWICE, Way
from printerd.model import ConsentState, Customer, Reason, Route


@dataclass(frozen=True, slots=True)
class Decision:
    """The way, and why in the words of the ``deliveries`` row; ``also`` is the other one when both were chosen."""

    route: Route
    why: str
    also: Route | None = None

    @property
    def routes(self) -> tuple[Route, ...]:
        """One delivery each."""
        return (self.route,) if self.also is None else (self.route, self.also)


Rule = tuple[Callable[[Customer, Way], bool], Decision]

AGREED = frozenset({ConsentState.EXPRESS, ConsentState.TACIT})


def _agreed(customer: Customer) -> bool:
    return customer.consent.state in AGREED


def _reached(customer: Customer) -> bool:
    return bool(customer.contacts)


RULES: tuple[Rule, ...] = (
    (lambda _, way: way is Way.PAPER, Decision(Route.PAPER, "paper was chosen")),
    (lambda customer, way: way in MAILED and not _agreed(customer), Decision(Route.PAPER, IN_VAIN)),
    (lambda customer, _: not _agreed(customer), Decision(Route.PAPER, "no consent")),
    (lambda customer, way: way is Way.BOTH and _reached(customer), Decision(Route.MAIL, TWICE, Route.PAPER)),
    (lambda customer, way: way is Way.MAIL and _reached(customer), Decision(Route.MAIL, "mail was chosen")),
    (
        lambda customer, way: way not in MAILED and customer.route is Route.PAPER,
        Decision(Route.PAPER, "paper is the customer's route"),
    ),
    (lambda customer, _: _reached(customer), Decision(Route.MAIL, "consent")),
)
"""The first rule that holds decides."""


def decide(customer: Customer, way: Way = Way.AS_CUSTOMER) -> Decision | Reason:
    """The way of an invoice to this customer, or the reason for which it waits: mail was agreed, but there is no
    address.
    """
    for holds, decision in RULES:
        if holds(customer, way):
            return decision
    return Reason("no-address", {"code": customer.code})
