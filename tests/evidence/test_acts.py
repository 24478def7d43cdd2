"""Each act of a person changes what is wanted, stands in the ledger with who and why, or changes nothing at all."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from printerd.errors import RequestError
from printerd.evidence import acts
from printerd.model import Mode
from printerd.storage import instance
from printerd.storage.blobs import Blobs
from printerd.storage.database import Database
from printerd.storage.schema import deliveries, dispatches, invoices, jobs, ledger, ledger_records
from tests import archive_rows as rows

NOW = rows.NOW
Act = Callable[[sa.Connection, str], object]


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[tuple[Database, Blobs]]:
    archive = rows.opened(tmp_path)
    yield archive
    archive[0].close()


@pytest.fixture
def database(archive: tuple[Database, Blobs]) -> Database:
    return archive[0]


def filed(database: Database) -> list[tuple[str, str, dict[str, Any]]]:
    """Kind, subject and record of every ledger entry."""
    query = sa.select(ledger.c.kind, ledger.c.subject, ledger_records.c.body).join(ledger_records)
    with database.read() as connection:
        return [(row.kind, row.subject, json.loads(row.body)) for row in connection.execute(query)]


def row_of(database: Database, table: sa.Table, identity: str) -> Any:
    with database.read() as connection:
        return connection.execute(sa.select(table).where(table.c.id == identity)).one()


def waiting(archive: tuple[Database, Blobs], *codes: str, number: int = 1) -> str:
    database, blobs = archive
    reasons = [{"code": code, "facts": {}, "box": None} for code in codes]
    with database.write() as connection:
        return rows.invoice(connection, blobs, rows.job(connection, number), state="waiting", reasons=reasons)


def archived(archive: tuple[Database, Blobs], **delivery: Any) -> tuple[str, str]:
    database, blobs = archive
    with database.write() as connection:
        invoice = rows.invoice(connection, blobs, rows.job(connection), state="archived")
        return invoice, rows.delivery(connection, invoice, **delivery)


def test_a_correction_is_laid_over_the_reading(archive: tuple[Database, Blobs], database: Database) -> None:
    """The reading stays; the corrections are beside it; the invoice is checked again."""
    invoice = waiting(archive, "unknown-customer")
    reading = row_of(database, invoices, invoice).reading
    with database.write() as connection:
        acts.correct(connection, invoice, {"customer_code": "C1"}, "claire", "misread", NOW)
        acts.correct(connection, invoice, {"total": "12.00"}, "claire", "misread", NOW)
    row = row_of(database, invoices, invoice)
    assert (row.state, row.reading) == ("checking", reading)
    assert row.corrections == {"customer_code": "C1", "total": "12.00"}
    assert [kind for kind, _, _ in filed(database)] == ["act.correct", "act.correct"]
    assert filed(database)[0][1:] == (
        invoice,
        {"who": "claire", "reason": "misread", "fields": {"customer_code": "C1"}},
    )


def test_a_release_answers_only_for_what_a_person_may_accept(
    archive: tuple[Database, Blobs], database: Database
) -> None:
    """A date may be accepted, a foreign account never."""
    invoice = waiting(archive, "dates", "foreign-iban")
    with database.write() as connection:
        acts.release(connection, invoice, "claire", "printed late", NOW)
    row = row_of(database, invoices, invoice)
    assert (row.state, row.accepted) == ("checking", ["dates"])
    assert filed(database)[0][2]["accepted"] == ["dates"]


def test_a_rejection_ends_an_invoice(archive: tuple[Database, Blobs], database: Database) -> None:
    """A rejected invoice stays unsealed, and the reason stays with it."""
    invoice = waiting(archive, "dates")
    with database.write() as connection:
        acts.reject(connection, invoice, "claire", "wrong month", NOW)
    assert row_of(database, invoices, invoice).state == "rejected"
    assert filed(database) == [("act.reject", invoice, {"who": "claire", "reason": "wrong month"})]


def test_a_job_is_read_again(database: Database) -> None:
    """A job that is done, aborted or held becomes received again."""
    with database.write() as connection:
        job = rows.job(connection, state="held", attempts=3)
        acts.retry_job(connection, job, "it", "template added", NOW)
    row = row_of(database, jobs, job)
    assert (row.state, row.attempts) == ("received", 0)


def test_a_resend_is_a_dispatch_with_a_reason(archive: tuple[Database, Blobs], database: Database) -> None:
    """A person's resend becomes a row that the worker takes up."""
    invoice, delivery = archived(archive)
    with database.write() as connection:
        dispatch = acts.resend(connection, invoice, "claire", "not received", NOW)
    row = row_of(database, dispatches, dispatch)
    assert (row.delivery, row.state, row.who, row.reason) == (delivery, "due", "claire", "not received")


def test_going_live_ends_the_rehearsal_for_good(archive: tuple[Database, Blobs], database: Database) -> None:
    """Rehearsed invoices become specimens; what was not sent is withdrawn; a second time is refused."""
    invoice, delivery = archived(archive, mode="rehearsal", state="due")
    with database.write() as connection:
        instance.set_mode(connection, Mode.REHEARSAL)
        acts.go_live(connection, "it", NOW)
    assert row_of(database, invoices, invoice).state == "specimen"
    assert row_of(database, deliveries, delivery).state == "revoked"
    with database.read() as connection:
        assert instance.mode(connection) is Mode.LIVE


@pytest.mark.parametrize(
    ("table", "state"), [(jobs, "received"), (jobs, "processing"), (invoices, "checking"), (invoices, "ready")]
)
def test_nothing_of_a_rehearsal_goes_live_on_its_way(
    archive: tuple[Database, Blobs], database: Database, table: sa.Table, state: str
) -> None:
    """While a rehearsed document is read, checked or sealed, going live is refused: it would be mailed in earnest."""
    invoice = waiting(archive)
    with database.write() as connection:
        instance.set_mode(connection, Mode.REHEARSAL)
        connection.execute(table.update().values(state=state))
    with pytest.raises(RequestError, match="still on their way"), database.write() as connection:
        acts.go_live(connection, "it", NOW)
    with database.write() as connection:
        connection.execute(jobs.update().values(state="done"))
        connection.execute(invoices.update().where(invoices.c.id == invoice).values(state="waiting"))
        acts.go_live(connection, "it", NOW)
    assert [kind for kind, _, _ in filed(database)] == ["act.reject", "act.go-live"]


def test_what_waits_when_the_rehearsal_ends_never_reaches_a_customer(
    archive: tuple[Database, Blobs], database: Database
) -> None:
    """It is ended, and neither it nor its job can be taken up again; what is printed afterwards is not concerned."""
    invoice = waiting(archive, "dates")
    with database.write() as connection:
        instance.set_mode(connection, Mode.REHEARSAL)
        rehearsed = acts.go_live(connection, "it", NOW)
    (job,) = rehearsed
    assert row_of(database, invoices, invoice).state == "rejected"
    late: list[Callable[[sa.Connection], object]] = [
        lambda c: acts.release(c, invoice, "claire", "it is fine", NOW),
        lambda c: acts.correct(c, invoice, {"total": "1.00"}, "claire", "misread", NOW),
        lambda c: acts.retry_job(c, job, "it", "template added", NOW),
    ]
    for act in late:
        with pytest.raises(RequestError, match="rehearsal, which has ended") as caught, database.write() as connection:
            act(connection)
        assert "print it again" in caught.value.remedy
    fresh = waiting(archive, "dates", number=2)
    with database.write() as connection:
        acts.release(connection, fresh, "claire", "it is fine", NOW)
    assert row_of(database, invoices, fresh).state == "checking"


REFUSED: dict[str, tuple[str, Act]] = {
    "a field that does not exist": ("waiting", lambda c, i: acts.correct(c, i, {"colour": "red"}, "x", "y", NOW)),
    "an archived invoice is not corrected": ("archived", lambda c, i: acts.correct(c, i, {"net": "1"}, "x", "y", NOW)),
    "an archived invoice is not released": ("archived", lambda c, i: acts.release(c, i, "x", "y", NOW)),
    "an archived invoice is not rejected": ("archived", lambda c, i: acts.reject(c, i, "x", "y", NOW)),
    "a release needs a reason": ("waiting", lambda c, i: acts.release(c, i, "x", " ", NOW)),
    "a rejection needs a reason": ("waiting", lambda c, i: acts.reject(c, i, "x", "", NOW)),
    "what was never sent is not sent again": ("waiting", lambda c, i: acts.resend(c, i, "x", "y", NOW)),
    "an unknown contact gets nothing": ("archived", lambda c, i: acts.resend(c, i, "x", "y", NOW, contact="nobody")),
    "a link that has ended is not sent again": (
        "archived",
        lambda c, i: acts.resend(c, i, "x", "y", NOW + timedelta(days=90)),
    ),
    "a live instance does not go live": ("archived", lambda c, _: acts.go_live(c, "x", NOW)),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_fit_changes_nothing(archive: tuple[Database, Blobs], database: Database, name: str) -> None:
    """A refused act says why and leaves rows and ledger as they were."""
    state, act = REFUSED[name]
    invoice = archived(archive)[0] if state == "archived" else waiting(archive, "dates")
    before = row_of(database, invoices, invoice)
    with pytest.raises(RequestError) as caught, database.write() as connection:
        act(connection, invoice)
    assert caught.value.what
    assert row_of(database, invoices, invoice) == before
    assert filed(database) == []
