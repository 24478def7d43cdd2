"""What becomes of an invoice that was read: a reprint of another, ready, or waiting and why.

One rule: invoices are judged in their order, each as if those before it were in the database already. What is there is
asked once for all of them, by whoever holds the transaction that writes them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import Any

import sqlalchemy as sa

from printerd import choices
from printerd.choices import Choice, Way
from printerd.model import Customer, Invoice, InvoiceState, Issuer, Reason
from printerd.pipeline import check, issuing
from printerd.storage import customers
from printerd.storage.schema import invoices

IN_FORCE = (InvoiceState.WAITING, InvoiceState.CHECKING, InvoiceState.READY, InvoiceState.ARCHIVED)
"""An invoice in one of these states is the first of its number; the same again is a reprint."""

FACTS = (
    *("issuer", "kind", "number", "issued_on", "due_on", "customer_code", "customer_name"),
    *("net", "vat", "total", "currency", "iban"),
)
"""The columns that a check fills in."""
BLANK: Mapping[str, Any] = {**dict.fromkeys(FACTS, ""), "reprint_of": None}

Row = Mapping[str, Any]
"""Columns of ``invoices``."""
Checked = Invoice | tuple[Reason, ...]


def checked(row: Row, issuers: Sequence[Issuer], today: date) -> Checked:
    """The invoice of a row, if it agrees with itself, or why it waits. It asks no database.

    The row has ``reading``, ``template``, and the ``corrections`` and what was ``accepted`` of a person.
    """
    return check.check(
        check.overlay({name: check.found(one) for name, one in row["reading"]["fields"].items()}, row["corrections"]),
        [check.found(one) for one in row["reading"]["ibans"]],
        issuers,
        today,
        row["accepted"],
        found_by=row["template"],
        text=row["reading"]["text"],
    )


def judge(
    connection: sa.Connection,
    rows: Sequence[tuple[Row, Checked]],
    issuers: Sequence[Issuer],
    now: datetime,
    asked: Mapping[str, Mapping[str, str]],
) -> list[dict[str, Any]]:
    """The columns that say what became of each row, of all the same. Rows have ``id``, ``job``, ``content``,
    ``created_at`` too; ``asked`` are the options of each job.

    An invoice that agrees with itself must also agree with what we know: its customer, and earlier numbers.
    """
    chosen = {job: choices.chosen(options) for job, options in asked.items()}
    sound = [found for _, found in rows if isinstance(found, Invoice)]
    known = _known(connection, [row["content"] for row, _ in rows], {invoice.number for invoice in sound})
    people = customers.find(connection, {_named(invoice) for invoice in sound})
    judged = []
    for row, found in rows:
        columns = {**BLANK, "updated_at": now, **_judged(row, found, known, people, issuers, chosen[row["job"]])}
        known.add({**{name: row[name] for name in ("id", "content", "created_at")}, **columns})
        judged.append(columns)
    return judged


def _judged(
    row: Row,
    found: Checked,
    known: _Known,
    people: Mapping[tuple[str, str], Customer],
    issuers: Sequence[Issuer],
    choice: Choice,
) -> dict[str, Any]:
    if first := known.same_content(row, _in_force):
        copied = {name: first[name] for name in FACTS}  # a reprint shows the facts of the invoice that it repeats
        return {"state": InvoiceState.REPRINT, "reprint_of": first["id"], "reasons": []} | copied
    if not isinstance(found, Invoice):
        return waiting(*found, *_as_chosen(row, choice))
    issuer, customer = issuing.issuer_of(found, issuers), people.get(_named(found))
    why = [
        *check.customer(found, customer, row["accepted"], choice.way),
        *_used(row, issuer, found, known),
        *_rejected(row, known),
        *_as_chosen(row, choice),
    ]
    facts = issuing.columns(found, issuer)
    if customer:
        facts |= {"customer_code": customer.code, "customer_name": customer.name}
    return facts | (waiting(*why) if why else {"state": InvoiceState.READY, "reasons": []})


def waiting(*why: Reason) -> dict[str, Any]:
    """The columns of an invoice that waits for a person."""
    return {"state": InvoiceState.WAITING, "reasons": [_stored(reason) for reason in why]}


def _stored(reason: Reason) -> dict[str, Any]:
    box = reason.box
    place = [box.page, box.left, box.bottom, box.right, box.top] if box else None
    return {"code": reason.code, "facts": dict(reason.facts), "box": place}


def _named(invoice: Invoice) -> tuple[str, str]:
    return invoice.customer_code, invoice.buyer.vat_id


def _as_chosen(row: Row, choice: Choice) -> list[Reason]:
    """Its sender wants a person to look; or named a template, and it has another."""
    review = [Reason("review")] if choice.way is Way.REVIEW else []
    if choice.template and row["template"] not in ("", choice.template):
        review.append(Reason("other-template", {"template": row["template"], "chosen": choice.template}))
    return [reason for reason in review if reason.code not in row["accepted"]]


def _used(row: Row, issuer: Issuer, invoice: Invoice, known: _Known) -> list[Reason]:
    """The number of another invoice with another content is nobody's guess to make."""
    first = known.same_number(row, issuer.key, invoice.number)
    return [Reason("number-used", {"number": invoice.number, "first": first["id"][:8]})] if first else []


def _rejected(row: Row, known: _Known) -> list[Reason]:
    """Who rejected an invoice did not know of the prints of it that were here already; a later print is meant."""
    if "first-rejected" in row["accepted"]:
        return []
    first = known.same_content(
        row, lambda one: one["state"] == InvoiceState.REJECTED and one["updated_at"] >= row["created_at"]
    )
    return [Reason("first-rejected", {"first": first["id"][:8]})] if first else []


# What is there


class _Known:
    """Invoices by their content and by their number, as they stand when the next one is judged."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self._rows: dict[str, Row] = {}
        self._places: defaultdict[tuple[str, ...], dict[str, None]] = defaultdict(dict)
        for row in rows:
            self.add(row)

    def add(self, row: Row) -> None:
        """It stands like this from now on."""
        self._rows[row["id"]] = row
        for key in _keys(row):
            self._places[key][row["id"]] = None

    def same_content(self, row: Row, holds: Callable[[Row], bool]) -> Row | None:
        return self._first(row, (row["content"],), holds)

    def same_number(self, row: Row, issuer: str, number: str) -> Row | None:
        return self._first(row, (issuer, number), _in_force)

    def _first(self, row: Row, key: tuple[str, ...], holds: Callable[[Row], bool]) -> Row | None:
        """The oldest other one."""
        there = (self._rows[one] for one in self._places.get(key, ()) if one != row["id"])
        found = (one for one in there if key in _keys(one) and holds(one))
        return min(found, key=lambda one: one["created_at"], default=None)


def _in_force(row: Row) -> bool:
    return row["state"] in IN_FORCE


def _keys(row: Row) -> tuple[tuple[str, ...], ...]:
    return (row["content"],), (row["issuer"], row["number"])


def _known(connection: sa.Connection, contents: Sequence[str], numbers: Collection[str]) -> _Known:
    found = [*connection.execute(_SAME_NUMBER, {"numbers": list(numbers)})] if numbers else []
    found += connection.execute(_SAME_CONTENT, {"contents": contents})
    return _Known(row._mapping for row in sorted(found, key=lambda row: (row.created_at, row.position)))


_NAMES = ("id", "content", "state", "position", "created_at", "updated_at", *FACTS)
_STANDING: sa.Select[Any] = sa.select(*(invoices.c[name] for name in _NAMES))
_SAME_CONTENT = _STANDING.where(
    invoices.c.content.in_(sa.bindparam("contents", expanding=True)),
    invoices.c.state.in_((*IN_FORCE, InvoiceState.REJECTED)),
)
_SAME_NUMBER = _STANDING.where(
    invoices.c.number.in_(sa.bindparam("numbers", expanding=True)), invoices.c.state.in_(IN_FORCE)
)
