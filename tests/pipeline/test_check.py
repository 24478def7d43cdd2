from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest

from printerd.choices import Way
from printerd.model import (
    Box,
    Consent,
    ConsentState,
    Contact,
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
from printerd.pipeline.check import check, customer, found, is_vat_id, overlay
from printerd.reasons import REASONS, sentence

TODAY = date(2026, 11, 24)
IBAN, OTHER_IBAN, FOREIGN_IBAN = "FR7630006000011234567890189", "DE89370400440532013000", "GB82WEST12345698765432"
MILL = Issuer("mill", Party("Au bon moulin SAS", "123456782", "FR11123456782"), frozenset({IBAN, OTHER_IBAN}))
FARM = Issuer("farm", Party("La Ferme SARL", "102003043", "FR40102003043"), frozenset({"BE68539007547034"}))
GOOD = {
    "number": "FA-2026-0042",
    "kind": "invoice",
    "issued_on": "2026-11-24",
    "due_on": "2026-12-24",
    "customer_code": "C0042",
    "net": "100.00",
    "vat": "20.00",
    "total": "120.00",
    "currency": "EUR",
    "iban": IBAN,
    "seller_siren": "123456782",
    "seller_vat_id": "FR11123456782",
    "buyer_name": "Boulangerie Lefèvre",
    "buyer_vat_id": "FR40102003043",
}


def judged(
    changes: dict[str, str] | None = None, ibans: tuple[str, ...] = (IBAN,), accepted: tuple[str, ...] = ()
) -> Invoice | list[tuple[str, dict[str, str]]]:
    fields = overlay({name: Found(value) for name, value in GOOD.items()}, changes or {})
    result = check(fields, [Found(iban) for iban in ibans], [FARM, MILL], TODAY, accepted, found_by="mill-fr")
    return result if isinstance(result, Invoice) else [(reason.code, dict(reason.facts)) for reason in result]


def test_an_invoice_in_order_is_an_invoice() -> None:
    """When every check holds, the fields become the noun that may be sealed; the seller is the issuer on file."""
    assert judged() == Invoice(
        number="FA-2026-0042",
        kind=InvoiceKind.INVOICE,
        issued_on=date(2026, 11, 24),
        due_on=date(2026, 12, 24),
        seller=MILL.party,
        buyer=Party("Boulangerie Lefèvre", vat_id="FR40102003043"),
        customer_code="C0042",
        net=Money(Decimal("100.00")),
        vat=Money(Decimal("20.00")),
        total=Money(Decimal("120.00")),
        iban=IBAN,
        found_by="mill-fr",
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"due_on": ""},
        {"iban": ""},
        {"buyer_vat_id": "", "buyer_name": ""},
        {"seller_siren": ""},
        {"seller_vat_id": ""},
        {"kind": "credit-note", "due_on": ""},
        {"kind": "credit-note", "net": "-100.00", "vat": "-20.00", "total": "-120.00"},
        {"vat": "0.00", "total": "100.00"},
        {"net": "100", "vat": "20.0"},
        {"issued_on": "2026-11-25"},
        {"issued_on": "2025-10-20", "due_on": "2025-10-20"},
        {"buyer_vat_id": "IE9904217S"},
        {"buyer_vat_id": "US123456789"},
        {"iban": OTHER_IBAN},
    ],
)
def test_what_may_differ(changes: dict[str, str]) -> None:
    """Due date, account and buyer may be missing; credit notes have either sign; tomorrow and last year are dates."""
    assert isinstance(judged(changes), Invoice)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        *[({name: ""}, ("field-missing", {"field": name})) for name in
          ("number", "kind", "issued_on", "customer_code", "net", "vat", "total", "currency")],
        ({"seller_siren": "", "seller_vat_id": ""}, ("field-missing", {"field": "seller"})),
        *[({name: "?"}, ("bad-field", {"field": name, "value": "?"})) for name in
          ("kind", "issued_on", "due_on", "net", "vat", "total", "currency")],
        ({"number": "FA\n1"}, ("bad-field", {"field": "number", "value": "FA\n1"})),
        *[({"number": number}, ("bad-field", {"field": "number", "value": number})) for number in
          ("FA\x7f1", "FA\x9b31m", "FA-1\u202efdp.exe", "FA\u200b1", "FA\u20281", "FA\ue0001")],
        ({"number": "9" * 65}, ("bad-field", {"field": "number", "value": "9" * 65})),
        ({"issued_on": "24/11/2026"}, ("bad-field", {"field": "issued_on", "value": "24/11/2026"})),
        ({"issued_on": "20261124"}, ("bad-field", {"field": "issued_on", "value": "20261124"})),
        ({"total": "1e2"}, ("bad-field", {"field": "total", "value": "1e2"})),
        ({"total": "120,00"}, ("bad-field", {"field": "total", "value": "120,00"})),
        ({"total": "120.01"}, ("amounts-differ", {"total": "120.01", "net": "100.00", "vat": "20.00"})),
        ({"vat": "-20.00"}, ("amounts-differ", {"total": "120.00", "net": "100.00", "vat": "-20.00"})),
        ({"buyer_vat_id": "FR41102003043"}, ("bad-vat-id", {"field": "buyer_vat_id", "value": "FR41102003043"})),
        ({"issued_on": "2026-11-26"}, ("dates", {"issued_on": "2026-11-26", "due_on": "2026-12-24"})),
        ({"issued_on": "2025-10-19"}, ("dates", {"issued_on": "2025-10-19", "due_on": "2026-12-24"})),
        ({"due_on": "2026-11-23"}, ("dates", {"issued_on": "2026-11-24", "due_on": "2026-11-23"})),
        ({"iban": "FR7630006000011234567890188"}, ("bad-iban", {"iban": "FR7630006000011234567890188"})),
        ({"iban": FOREIGN_IBAN}, ("foreign-iban", {"iban": FOREIGN_IBAN})),
        ({"iban": "BE68539007547034"}, ("foreign-iban", {"iban": "BE68539007547034"})),
        ({"seller_siren": "101836450", "seller_vat_id": ""}, ("foreign-seller", {"seller": "101836450"})),
        ({"seller_siren": "102003043"}, ("foreign-seller", {"seller": "102003043"})),
    ],
)  # fmt: skip
def test_what_must_hold(changes: dict[str, str], reason: tuple[str, dict[str, str]]) -> None:
    """One thing wrong is one reason, with the values that a person needs, and it can be said."""
    assert judged(changes) == [reason]
    assert sentence(Reason(*reason), "fr")


def test_a_wrong_siren_is_named_as_well_as_the_foreign_seller() -> None:
    """A misread SIREN is nobody's: both reasons are told at once."""
    wrong = judged({"seller_siren": "123456783", "seller_vat_id": ""})
    assert wrong == [
        ("bad-siren", {"field": "seller_siren", "value": "123456783"}),
        ("foreign-seller", {"seller": "123456783"}),
    ]


def test_every_account_in_the_document_must_be_the_issuers() -> None:
    """One account of another's anywhere on the pages holds the invoice, though the right one stands beside it."""
    assert judged(ibans=(IBAN, OTHER_IBAN)) == judged()
    assert judged(ibans=(IBAN, FOREIGN_IBAN)) == [("foreign-iban", {"iban": FOREIGN_IBAN})]
    assert judged(ibans=("BE68539007547034",)) == [("foreign-iban", {"iban": "BE68539007547034"})]


def test_reasons_come_all_at_once_with_their_places() -> None:
    """One visit mends everything: each reason points at the page."""
    box = Box(1, 10, 20, 30, 40)
    fields = {name: Found(value, box) for name, value in GOOD.items()} | {"total": Found("1.00", box)}
    del fields["number"]
    reasons = check(fields, [Found(FOREIGN_IBAN, replace(box, page=2))], [MILL], TODAY)
    assert not isinstance(reasons, Invoice)
    assert [(reason.code, reason.box) for reason in reasons] == [
        ("field-missing", None),
        ("amounts-differ", box),
        ("foreign-iban", replace(box, page=2)),
    ]


@pytest.mark.parametrize(("text", "code"), [("some text", "unknown-layout"), (" \n", "no-text")])
def test_a_page_of_which_nothing_was_read_has_one_reason(text: str, code: str) -> None:
    """An unknown layout, or a picture, is told as such and not as nine missing fields."""
    assert check({}, [], [MILL], TODAY, text=text) == (Reason(code),)


def test_a_person_may_enter_a_page_that_no_layout_knows() -> None:
    """With all fields entered an invoice of an unknown layout is an invoice."""
    fields = overlay({}, {name: value for name, value in GOOD.items()})
    assert isinstance(check(fields, [], [MILL], TODAY), Invoice)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"total": "130.00"}, "amounts-differ"),
        ({"issued_on": "2024-01-01", "due_on": ""}, "dates"),
        ({"buyer_vat_id": "FR41102003043"}, "bad-vat-id"),
    ],
)
def test_a_release_silences_what_a_person_looked_at(changes: dict[str, str], code: str) -> None:
    """Amounts as printed, old dates and odd ids pass when a person answered for exactly that reason."""
    assert isinstance(judged(changes, accepted=(code,)), Invoice)
    assert judged(changes, accepted=("field-missing",)) == judged(changes)


@pytest.mark.parametrize(
    ("changes", "ibans"),
    [
        ({"number": ""}, ()),
        ({"customer_code": ""}, ()),
        ({"total": "?"}, ()),
        ({"seller_siren": "101836450", "seller_vat_id": ""}, ()),
        ({}, (FOREIGN_IBAN,)),
        ({"iban": "FR00"}, ()),
    ],
)
def test_a_release_never_waves_these_through(changes: dict[str, str], ibans: tuple[str, ...]) -> None:
    """No release of all codes lets out an invoice without number or customer, of another seller, to another account."""
    assert not isinstance(judged(changes, ibans, accepted=tuple(REASONS)), Invoice)


def test_corrections_lie_over_the_reading() -> None:
    """A correction changes the reading and has no place on the page; an empty one takes the field away."""
    read = {"net": Found("1.00", Box(1, 0, 0, 1, 1)), "vat": Found("0.20")}
    assert overlay(read, {"net": " 2.00 ", "vat": "", "number": "F1"}) == {"net": Found("2.00"), "number": Found("F1")}
    assert found({"value": "x", "box": [1, 2, 3, 4, 5]}) == Found("x", Box(1, 2, 3, 4, 5))
    assert found({"value": "x", "box": None}) == Found("x")


@pytest.mark.parametrize(
    ("value", "possible"),
    [
        ("FR40102003043", True),
        ("FR41102003043", False),
        ("IE9904217S", True),
        ("NL999004207B01", True),
        ("EL094259216", True),
        ("GB999004231", True),
        ("US123", True),
        ("102003043", False),
        ("FR", False),
        ("FR40 102003043", False),
    ],
)
def test_vat_numbers_are_checked_by_their_country(value: str, possible: bool) -> None:
    """Check digits where the country has them; countries without written rules are believed."""
    assert is_vat_id(value) is possible


def known(route: Route, state: ConsentState, *emails: str) -> Customer:
    contacts = tuple(Contact(str(n), "", email) for n, email in enumerate(emails))
    return Customer("C0042", "Lefèvre", "", "fr", route, Consent(state), contacts)


@pytest.mark.parametrize(
    ("on_file", "codes"),
    [
        (None, ["unknown-customer"]),
        (known(Route.MAIL, ConsentState.EXPRESS, "a@x.example"), []),
        (known(Route.MAIL, ConsentState.EXPRESS), ["no-address"]),
        (known(Route.MAIL, ConsentState.TACIT, ""), ["no-address"]),
        (known(Route.MAIL, ConsentState.REFUSED), []),
        (known(Route.PAPER, ConsentState.EXPRESS), []),
    ],
)
def test_a_customer_must_be_on_file_and_reachable(on_file: Customer | None, codes: list[str]) -> None:
    """An unknown code waits, and mail without an address; paper needs none. No release changes that."""
    invoice = judged()
    assert isinstance(invoice, Invoice)
    assert [reason.code for reason in customer(invoice, on_file, tuple(REASONS))] == codes


@pytest.mark.parametrize(
    ("way", "route", "state", "codes"),
    [
        (Way.MAIL, Route.PAPER, ConsentState.EXPRESS, ["no-address"]),
        (Way.BOTH, Route.PAPER, ConsentState.TACIT, ["no-address"]),
        (Way.MAIL, Route.PAPER, ConsentState.REFUSED, []),  # it will be paper
        (Way.PAPER, Route.MAIL, ConsentState.EXPRESS, []),
        (Way.REVIEW, Route.MAIL, ConsentState.EXPRESS, ["no-address"]),
    ],
)
def test_who_is_mailed_by_choice_must_be_reachable(
    way: Way, route: Route, state: ConsentState, codes: list[str]
) -> None:
    """An address is needed where the sender's choice means mail, and not where it means paper."""
    invoice = judged()
    assert isinstance(invoice, Invoice)
    assert [reason.code for reason in customer(invoice, known(route, state), (), way)] == codes
