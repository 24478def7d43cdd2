"""Customers and their contacts: found exactly or not at all.

A customer is found by the code that stands on the invoice, then by a VAT id
that one customer alone has. There is no search by likeness: an invoice is
never mailed on a guess.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from datetime import date, datetime
from functools import cache
from typing import Any

import sqlalchemy as sa

from printerd.model import Consent, ConsentState, Contact, Customer, Route
from printerd.storage.schema import contacts, customers


def find(connection: sa.Connection, wanted: Collection[tuple[str, str]]) -> dict[tuple[str, str], Customer]:
    """For each code and VAT id (compact, upper case; it may be empty) whom they mean: the customer with exactly this
    code, else the only one with this VAT id. Those that mean nobody are left out."""
    by_code = {one.code: one for one in _load(connection, _queries("code"), {code for code, _ in wanted})}
    others = {vat_id for code, vat_id in wanted if vat_id and code not in by_code}
    by_vat_id = _load(connection, _queries("vat_id"), others)
    many = Counter(one.vat_id for one in by_vat_id)
    alone = {one.vat_id: one for one in by_vat_id if many[one.vat_id] == 1}
    found = {(code, vat_id): by_code.get(code) or alone.get(vat_id) for code, vat_id in wanted}
    return {pair: customer for pair, customer in found.items() if customer}


def every(connection: sa.Connection) -> tuple[Customer, ...]:
    """All customers, by code."""
    return _load(connection, _queries(), None)


def put(connection: sa.Connection, customer: Customer, now: datetime) -> None:
    """Write a customer with all of its contacts; what was there under its code is replaced."""
    values = {
        "name": customer.name,
        "vat_id": customer.vat_id,
        "language": customer.language,
        "route": customer.route.value,
        "consent": customer.consent.state.value,
        "consent_on": customer.consent.given_on.isoformat() if customer.consent.given_on else "",
        "consent_source": customer.consent.source,
        "consent_proof": customer.consent.proof,
        "updated_at": now,
    }
    same = customers.c.code == customer.code
    if not connection.execute(customers.update().where(same).values(values)).rowcount:
        connection.execute(customers.insert().values(code=customer.code, **values))
    connection.execute(contacts.delete().where(contacts.c.customer == customer.code))
    if customer.contacts:
        connection.execute(contacts.insert(), list(_contact_rows(customer)))


def _contact_rows(customer: Customer) -> Iterable[dict[str, object]]:
    for position, contact in enumerate(customer.contacts):
        yield {
            "id": contact.id,
            "customer": customer.code,
            "position": position,
            "name": contact.name,
            "email": contact.email,
            "role": contact.role,
        }


@cache
def _queries(column: str = "") -> tuple[sa.Select[Any], sa.Select[Any]]:
    """Customers and their contacts, all or those with one of ``values`` in a column. Built once: each batch asks."""
    condition = customers.c[column].in_(sa.bindparam("values", expanding=True)) if column else sa.true()
    chosen = sa.select(customers.c.code).where(condition)
    whose = sa.select(contacts).where(contacts.c.customer.in_(chosen))
    return (
        sa.select(customers).where(condition).order_by(customers.c.code),
        whose.order_by(contacts.c.customer, contacts.c.position),
    )


def _load(
    connection: sa.Connection, queries: tuple[sa.Select[Any], sa.Select[Any]], values: Collection[str] | None
) -> tuple[Customer, ...]:
    """All that the queries mean; with ``values`` those that have one of them."""
    if values is not None and not values:
        return ()
    asked = None if values is None else {"values": list(values)}
    rows, found = (connection.execute(query, asked).all() for query in queries)
    people: dict[str, list[Contact]] = {row.code: [] for row in rows}
    for row in found:
        people[row.customer].append(Contact(row.id, row.name, row.email, row.role))
    return tuple(_customer(row, people[row.code]) for row in rows)


def _customer(row: sa.Row[tuple[object, ...]], people: Iterable[Contact]) -> Customer:
    return Customer(
        code=row.code,
        name=row.name,
        vat_id=row.vat_id,
        language=row.language,
        route=Route(row.route),
        consent=Consent(
            state=ConsentState(row.consent),
            given_on=date.fromisoformat(row.consent_on) if row.consent_on else None,
            source=row.consent_source,
            proof=row.consent_proof,
        ),
        contacts=tuple(people),
    )
