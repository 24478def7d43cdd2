"""Whether what was read is an invoice of ours. Pure: no document, no database, no clock.

One rule: an :class:`Invoice` exists only when every check held or a person answered for the exception; otherwise all
reasons come at once, so that one visit mends them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from stdnum.exceptions import ValidationError
from stdnum.fr import siren as siren_number
from stdnum.util import get_cc_module

from printerd.choices import MAILED, Way
from printerd.model import (
    Box,
    ConsentState,
    Customer,
    Found,
    Invoice,
    InvoiceKind,
    Issuer,
    Money,
    Party,
    Reason,
    Route,
)
from printerd.pipeline.accounts import is_iban
from printerd.reasons import ACCEPTABLE

MANDATORY = ("number", "kind", "issued_on", "customer_code", "net", "vat", "total", "currency")
AHEAD, BEHIND = timedelta(days=1), timedelta(days=400)
"""How far from today an invoice may be dated: a night run may print tomorrow's; a year and a month covers reprints
after the year's end and corrections of the year before. Older paper is nearly always the wrong file."""


def found(stored: Mapping[str, Any]) -> Found:
    """A field as the invoices table keeps it: ``{"value": str, "box": [page, left, bottom, right, top] | None}``."""
    return Found(stored["value"], Box(*stored["box"]) if stored.get("box") else None)


def overlay(fields: Mapping[str, Found], corrections: Mapping[str, str]) -> dict[str, Found]:
    """The fields with a person's corrections over them; a correction to nothing takes the field away."""
    corrected = {name: Found(value.strip()) for name, value in corrections.items()}
    return {name: found for name, found in {**fields, **corrected}.items() if found.value}


def check(
    fields: Mapping[str, Found],
    ibans: Sequence[Found],
    issuers: Sequence[Issuer],
    today: date,
    accepted: Collection[str] = (),
    *,
    found_by: str = "",
    text: str = "?",
) -> Invoice | tuple[Reason, ...]:
    """The invoice, or why it waits. ``fields`` are corrected already; ``accepted`` are the codes of a release.

    ``ibans`` are all of the document; ``found_by`` is the template; ``text`` is the page's, blank when it is a
    picture. A release silences :data:`printerd.reasons.ACCEPTABLE` and nothing else.
    """
    if not any(name in fields for name in MANDATORY):  # nine missing fields would only hide the cause
        return (Reason("unknown-layout" if text.strip() else "no-text"),)
    facts = _Facts(fields, ibans, _issuer(fields, issuers), today)
    reasons = [reason for judge in _CHECKS for reason in judge(facts)]
    standing = tuple(reason for reason in reasons if reason.code not in ACCEPTABLE or reason.code not in accepted)
    return standing or _invoice(facts, found_by)


def customer(
    invoice: Invoice, known: Customer | None, accepted: Collection[str] = (), way: Way = Way.AS_CUSTOMER
) -> tuple[Reason, ...]:
    """Whether the invoice can reach its customer: one whose code is on file, with an address when it goes by mail.

    ``way`` is what its sender chose.
    """
    if known is None:
        reasons = (Reason("unknown-customer", {"code": invoice.customer_code}),)
    elif _is_mailed(known, way) and not any(contact.email for contact in known.contacts):
        reasons = (Reason("no-address", {"code": invoice.customer_code}),)
    else:
        return ()
    return tuple(reason for reason in reasons if reason.code not in ACCEPTABLE or reason.code not in accepted)


def _is_mailed(known: Customer, way: Way) -> bool:
    wanted = way in MAILED or (way is not Way.PAPER and known.route is Route.MAIL)
    return wanted and known.consent.state in {ConsentState.EXPRESS, ConsentState.TACIT}


@dataclass(frozen=True, slots=True)
class _Facts:
    """What there is to judge. ``issuer`` is who issued it, None when it is nobody of ours."""

    fields: Mapping[str, Found]
    ibans: Sequence[Found]
    issuer: Issuer | None
    today: date

    def text(self, name: str) -> str:
        return self.fields[name].value if name in self.fields else ""

    def reason(self, code: str, *names: str, **facts: str) -> Reason:
        """A reason with the values of the named fields as facts, at the place of the first that has one."""
        box = next((self.fields[n].box for n in names if n in self.fields and self.fields[n].box), None)
        return Reason(code, facts or {name: self.text(name) for name in names}, box)

    def amount(self, name: str) -> Decimal | None:
        return Decimal(self.text(name)) if _PLAIN.fullmatch(self.text(name)) else None

    def day(self, name: str) -> date | None:
        return date.fromisoformat(self.text(name)) if _is_date(self.text(name)) else None


_PLAIN = re.compile(r"-?\d{1,12}(\.\d{1,2})?")


def _is_date(value: str) -> bool:
    try:
        return re.fullmatch(r"\d{4}-\d\d-\d\d", value) is not None and bool(date.fromisoformat(value))
    except ValueError:
        return False


def _issuer(fields: Mapping[str, Found], issuers: Sequence[Issuer]) -> Issuer | None:
    """The issuer whose ids these are. Two ids on a page are ids of one firm."""
    read = {
        "siren": fields["seller_siren"].value if "seller_siren" in fields else "",
        "vat_id": fields["seller_vat_id"].value if "seller_vat_id" in fields else "",
    }
    for issuer in issuers:
        known = {"siren": issuer.party.siren, "vat_id": issuer.party.vat_id}
        told = [name for name, value in read.items() if value and known[name]]
        if told and all(read[name] == known[name] for name in told):
            return issuer
    return None


def _complete(facts: _Facts) -> Iterator[Reason]:
    for name in MANDATORY:
        if name not in facts.fields:
            yield facts.reason("field-missing", name, field=name)
    if not facts.text("seller_siren") and not facts.text("seller_vat_id"):
        yield facts.reason("field-missing", field="seller")


_FORMS: Mapping[str, Callable[[str], bool]] = {
    "number": lambda value: value.isprintable() and value == value.strip() and 0 < len(value) <= 64,
    "kind": lambda value: value in list(InvoiceKind),
    "issued_on": _is_date,
    "due_on": _is_date,
    "net": lambda value: _PLAIN.fullmatch(value) is not None,
    "vat": lambda value: _PLAIN.fullmatch(value) is not None,
    "total": lambda value: _PLAIN.fullmatch(value) is not None,
    "currency": lambda value: re.fullmatch(r"[A-Z]{3}", value) is not None,
}


def _well_formed(facts: _Facts) -> Iterator[Reason]:
    for name, fits in _FORMS.items():
        if name in facts.fields and not fits(facts.text(name)):
            yield facts.reason("bad-field", name, field=name, value=facts.text(name))


def _adds_up(facts: _Facts) -> Iterator[Reason]:
    """To the cent, whichever sign a credit note is printed with."""
    net, vat, total = (facts.amount(name) for name in ("net", "vat", "total"))
    if net is not None and vat is not None and total is not None and net + vat != total:
        yield facts.reason("amounts-differ", "total", "net", "vat")


def _identified(facts: _Facts) -> Iterator[Reason]:
    siren = facts.text("seller_siren")
    if siren and not siren_number.is_valid(siren):
        yield facts.reason("bad-siren", "seller_siren", field="seller_siren", value=siren)
    for name in ("seller_vat_id", "buyer_vat_id"):
        if facts.text(name) and not is_vat_id(facts.text(name)):
            yield facts.reason("bad-vat-id", name, field=name, value=facts.text(name))


def is_vat_id(value: str) -> bool:
    """Whether a VAT number can exist. Countries of which nobody wrote down the rules are believed."""
    country = {"EL": "gr"}.get(value[:2], value[:2].lower())
    if not re.fullmatch(r"[A-Z]{2}[A-Z0-9+*]{2,13}", value):
        return False
    module = get_cc_module(country, "vat")
    if module is None:
        return True
    try:
        return bool(module.validate(value))
    except ValidationError:
        return False


def _ours(facts: _Facts) -> Iterator[Reason]:
    """The seller is one of the issuers, and every account in the document is that issuer's."""
    seller = facts.text("seller_siren") or facts.text("seller_vat_id")
    if seller and facts.issuer is None:
        yield facts.reason("foreign-seller", "seller_siren", "seller_vat_id", seller=seller)
    field = facts.fields.get("iban")
    if field and not is_iban(field.value):
        yield facts.reason("bad-iban", "iban")
    elif facts.issuer is not None:
        named = {found.value: found for found in (*facts.ibans, *([field] if field else []))}
        for iban, found in named.items():
            if iban not in facts.issuer.ibans:
                yield Reason("foreign-iban", {"iban": iban}, found.box)


def _plausible(facts: _Facts) -> Iterator[Reason]:
    issued, due = facts.day("issued_on"), facts.day("due_on")
    if issued is None:
        return
    if not facts.today - BEHIND <= issued <= facts.today + AHEAD or (due is not None and due < issued):
        yield facts.reason("dates", "issued_on", "due_on")


_CHECKS = (_complete, _well_formed, _adds_up, _identified, _ours, _plausible)


def _invoice(facts: _Facts, found_by: str) -> Invoice:
    """Called when every mandatory field is there and well formed, and the issuer is known."""
    issued, net, vat, total = facts.day("issued_on"), *(facts.amount(name) for name in ("net", "vat", "total"))
    if facts.issuer is None or issued is None or net is None or vat is None or total is None:
        raise AssertionError("an invoice is made only of fields that were checked")
    currency = facts.text("currency")
    return Invoice(
        number=facts.text("number"),
        kind=InvoiceKind(facts.text("kind")),
        issued_on=issued,
        due_on=facts.day("due_on"),
        seller=facts.issuer.party,
        buyer=Party(facts.text("buyer_name"), vat_id=facts.text("buyer_vat_id")),
        customer_code=facts.text("customer_code"),
        net=Money(net, currency),
        vat=Money(vat, currency),
        total=Money(total, currency),
        iban=facts.text("iban"),
        found_by=found_by,
    )
