"""What people look up in the archive."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa

from printerd.errors import RequestError
from printerd.model import MailState
from printerd.storage import archive
from printerd.storage.blobs import Blobs
from printerd.storage.database import Database
from printerd.storage.schema import dispatches, metadata
from tests import archive_rows as rows

NOW = rows.NOW
ME = rows.contact()


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[tuple[Database, Blobs]]:
    db, blobs = rows.opened(tmp_path)
    yield db, blobs
    db.close()


@pytest.fixture
def conn(opened: tuple[Database, Blobs]) -> Iterator[sa.Connection]:
    with opened[0].write() as connection:
        yield connection


@pytest.fixture
def blobs(opened: tuple[Database, Blobs]) -> Blobs:
    return opened[1]


def numbers(lines: tuple[archive.InvoiceLine, ...]) -> list[str]:
    return [line.number for line in lines]


def test_jobs_are_listed_newest_first_and_page_by_number(conn: sa.Connection) -> None:
    """The next page begins below the last number seen, so that new jobs never shift it."""
    for number in (1, 2, 3):
        rows.job(conn, number, state="held" if number == 2 else "done")
    assert [job.number for job in archive.list_jobs(conn, limit=2)] == [3, 2]
    assert [job.number for job in archive.list_jobs(conn, limit=2, before=2)] == [1]
    assert [job.number for job in archive.list_jobs(conn, state="held")] == [2]


def test_a_job_tells_its_reason_and_how_many_invoices_it_held(conn: sa.Connection, blobs: Blobs) -> None:
    """One line says what became of a job."""
    key = rows.job(conn, 7, state="aborted", reason={"code": "encrypted", "facts": {"file": "a.pdf"}, "box": None})
    rows.invoice(conn, blobs, key)
    job = archive.job(conn, "7")
    assert (job.id, job.invoices) == (key, 1)
    assert job.reason is not None
    assert (job.reason.code, job.reason.facts) == ("encrypted", {"file": "a.pdf"})
    assert archive.job(conn, key[:8]) == job


def test_counts_are_by_state_and_name_the_empty_ones(conn: sa.Connection, blobs: Blobs) -> None:
    """A tab without invoices shows 0."""
    key = rows.job(conn)
    rows.invoice(conn, blobs, key, 0)
    rows.invoice(conn, blobs, key, 1, state="waiting")
    rows.invoice(conn, blobs, key, 2, state="waiting")
    found = archive.counts(conn)
    assert found.jobs["done"] == 1
    assert {state: n for state, n in found.invoices.items() if n} == {"archived": 1, "waiting": 2}
    assert found.invoices["rejected"] == 0


@pytest.mark.parametrize("search", ["FA-2026-01", "fa-2026-0107", "C0107", "c0107", "boulangerie du", "Lilas  siren"])
def test_a_search_finds_number_code_name_and_text(conn: sa.Connection, blobs: Blobs, search: str) -> None:
    """One box searches all that a person may have at hand; upper case and accents do not matter in the text."""
    key = rows.job(conn)
    rows.invoice(conn, blobs, key, 0)
    wanted = {"number": "FA-2026-0107", "customer_code": "C0107", "buyer_name": "Boulangerie du Lilas SIREN"}
    rows.invoice(conn, blobs, key, 1, fields=wanted)
    assert numbers(archive.list_invoices(conn, search=search)) == ["FA-2026-0107"]


def test_a_search_takes_its_words_literally(conn: sa.Connection, blobs: Blobs) -> None:
    """Wild cards and query syntax of the database find nothing by accident."""
    rows.invoice(conn, blobs, rows.job(conn))
    syntax = ("%", "_", '"', "OR", "NEAR(", "number:FA", "'", "*", "' OR 1=1 --", "') OR ('1'='1")
    union = "x' UNION SELECT id FROM invoices --"
    for words in (*syntax, union, '" OR "" = "', "'; DROP TABLE invoices; --", "\\' OR TRUE #"):
        assert archive.list_invoices(conn, search=words) == (), words
    assert len(archive.list_invoices(conn, search="FA-2026")) == 1


def test_invoices_are_filtered_by_states_and_customer_and_paged(conn: sa.Connection, blobs: Blobs) -> None:
    """Filters add up; the order is newest first."""
    key = rows.job(conn)
    for position, state in enumerate(["archived", "waiting", "checking", "waiting"]):
        fields = {"number": f"FA-{position}", "customer_code": f"C{position % 2}"}
        rows.invoice(conn, blobs, key, position, state=state, fields=fields, at=NOW + timedelta(seconds=position))
    assert numbers(archive.list_invoices(conn)) == ["FA-3", "FA-2", "FA-1", "FA-0"]
    assert numbers(archive.list_invoices(conn, state=("waiting", "checking"))) == ["FA-3", "FA-2", "FA-1"]
    assert numbers(archive.list_invoices(conn, state="waiting", limit=1, offset=1)) == ["FA-1"]
    assert numbers(archive.list_invoices(conn, customer="C0")) == ["FA-0"]


def test_an_invoice_is_named_by_id_prefix_or_number(conn: sa.Connection, blobs: Blobs) -> None:
    """What a person can copy from any list names the invoice."""
    key = rows.invoice(conn, blobs, rows.job(conn))
    for name in (key, key[:8], key[:8].upper(), "FA-2026-0042"):
        assert archive.invoice(conn, name).line.id == key, name
    for name in ("", key[:7], "FA-2026", "00000000"):
        with pytest.raises(RequestError):
            archive.invoice(conn, name)


def test_a_number_means_the_invoice_in_force_not_its_reprint(conn: sa.Connection, blobs: Blobs) -> None:
    """A reprint keeps its own id, but the number belongs to the first print."""
    key = rows.job(conn)
    first = rows.invoice(conn, blobs, key, 0)
    again = rows.invoice(conn, blobs, key, 1, state="reprint", reprint_of=first)
    assert archive.invoice(conn, "FA-2026-0042").line.id == first
    assert archive.invoice(conn, again).reprint_of == first


def test_a_name_that_fits_several_is_answered_with_the_candidates(conn: sa.Connection, blobs: Blobs) -> None:
    """The error lists what was meant, so that the next try succeeds."""
    key = rows.job(conn)
    both = [rows.invoice(conn, blobs, key, n, issuer=f"firm{n}") for n in (0, 1)]
    with pytest.raises(RequestError, match="2 invoices") as error:
        archive.invoice(conn, "FA-2026-0042")
    assert all(one in error.value.where for one in both)


def test_a_correction_counts_before_the_reading(conn: sa.Connection, blobs: Blobs) -> None:
    """What a person put in stands in the list and in the facts; the reading is still there."""
    fields = {"customer_code": "C004Z"}
    corrected = {"customer_code": "C0042"}
    key = rows.invoice(conn, blobs, rows.job(conn), fields=fields, corrections=corrected, state="waiting")
    detail = archive.invoice(conn, key)
    assert (detail.value("customer_code"), detail.fields["customer_code"].value) == ("C0042", "C004Z")
    assert archive.list_invoices(conn)[0].customer_code == "C0042"
    assert detail.value("nothing") == ""


def test_a_reason_keeps_its_place_on_the_page(conn: sa.Connection, blobs: Blobs) -> None:
    """Who corrects is shown where the page says it."""
    reason = {"code": "unknown-customer", "facts": {"code": "C9"}, "box": [1, 400.0, 721.0, 430.0, 734.0]}
    rows.invoice(conn, blobs, rows.job(conn), state="waiting", reasons=[reason])
    box = archive.list_invoices(conn)[0].reasons[0].box
    assert box is not None
    assert (box.page, box.left, box.top) == (1, 400.0, 734.0)


# (events in order, mail state, step)
MAILS = [
    ([], MailState.PENDING, "pending"),
    (["ConsignmentNotification"], MailState.ACCEPTED, "accepted"),
    (["ConsignmentNotificationFailure"], MailState.FAILED, "failed"),
    (["ConsignmentNotification", "ConsignmentNotificationFailure"], MailState.FAILED, "failed"),
    (["MailUncertain"], MailState.UNCERTAIN, "uncertain"),
    (["MailUncertain", "NotificationAccessTracking automatic"], MailState.ACCEPTED, "accepted"),
    (["MailUncertain", "ConsignmentNotificationFailure superseded"], MailState.PENDING, "pending"),
    (["ConsignmentNotification", "NotificationAccessTracking automatic"], MailState.ACCEPTED, "accepted"),
    (["ConsignmentNotification", "NotificationAccessTracking person?"], MailState.ACCEPTED, "opened"),
    (["ConsignmentNotification", "ConsignmentAcceptance"], MailState.ACCEPTED, "acknowledged"),
    (["ConsignmentNotification", "ConsignmentRejection paper"], MailState.ACCEPTED, "refused"),
    (["ConsignmentNotification", "SomethingNew"], MailState.ACCEPTED, "accepted"),
]


@pytest.mark.parametrize(("names", "mail", "step"), MAILS)
def test_where_a_mail_stands_follows_from_the_events(names: list[str], mail: MailState, step: str) -> None:
    """Opened by a machine is not opened; a doubtful mail whose link was used has arrived; a failure is never hidden."""
    told = []
    for name in names:
        kind, _, detail = name.partition(" ")
        data = {"class": detail, "reason": detail, "reply": detail or "250 ok"}
        told.append(SimpleNamespace(name=kind, time="2026-11-24T09:00:00.000000Z", contact=ME["id"], data=data))
    (standing,) = archive.standings([ME], told)
    assert (standing.mail, standing.step) == (mail, step)


def test_each_contact_stands_alone_and_the_list_shows_what_needs_a_person(conn: sa.Connection, blobs: Blobs) -> None:
    """One failed mail is not hidden by a sister that was acknowledged."""
    other = rows.contact("chef", "Paul Roux")
    key = rows.invoice(conn, blobs, rows.job(conn))
    sent = rows.delivery(conn, key, facts={"contacts": [ME, other]})
    rows.event(conn, sent, "ConsignmentNotification", 1, reply="250 2.0.0 Ok: queued as 4F2A")
    rows.event(conn, sent, "ConsignmentNotificationFailure", 2, contact=other["id"], reply="550 5.1.1 unknown")
    rows.event(conn, sent, "ConsignmentAcceptance", 3)
    rows.event(conn, sent, "ContentHandover", 4)
    rows.receipt(conn, blobs, sent, 12)
    first, second = archive.invoice(conn, key).deliveries[0].contacts
    assert (first.step, second.step, second.reply) == ("acknowledged", "failed", "550 5.1.1 unknown")
    assert first.receipt is not None
    assert (first.receipt.number, second.receipt) == (12, None)
    assert archive.list_invoices(conn)[0].delivery == "failed"


def test_paper_and_what_is_not_sent_yet_have_words_of_their_own(conn: sa.Connection, blobs: Blobs) -> None:
    """Paper is never called mailed."""
    key = rows.job(conn)
    ways: list[dict[str, Any]] = [{"route": "paper", "facts": {}}, {"state": "due"}, {"state": "revoked"}]
    for position, changes in enumerate(ways):
        one = rows.invoice(conn, blobs, key, position, fields={"number": f"FA-{position}"})
        rows.delivery(conn, one, **changes)
    assert {line.number: line.delivery for line in archive.list_invoices(conn)} == {
        "FA-0": "paper",
        "FA-1": "due",
        "FA-2": "revoked",
    }


def test_the_time_line_holds_every_source_in_order(conn: sa.Connection, blobs: Blobs) -> None:
    """From the print to the receipt, with who did what and why."""
    job = rows.job(conn)
    key = rows.invoice(conn, blobs, job)
    rows.ledger(
        conn, 0, "act.retry", job, {"who": "it", "reason": "new template"}, NOW - timedelta(minutes=9, seconds=30)
    )
    facts = {"who": "marie", "reason": "misread", "fields": {"total": "1234.56"}}
    rows.ledger(conn, 1, "act.correct", key, facts, NOW - timedelta(minutes=8, seconds=30))
    sent = rows.delivery(conn, key)
    values = {"id": rows.identity("d"), "delivery": sent, "contact": ME["id"], "reason": "unopened"}
    values |= {"state": "due", "created_at": NOW}
    conn.execute(sa.insert(dispatches).values(values))
    conn.execute(sa.insert(dispatches).values(values | {"id": rows.identity("d2"), "who": "paul"}))
    rows.ledger(conn, 2, "act.resend", key, {"who": "paul", "reason": "asked again", "contact": ME["id"]}, NOW)
    rows.event(conn, sent, "ConsignmentNotification", 1, reply="250 ok")
    rows.receipt(conn, blobs, sent, 12)
    line = archive.time_line(conn, key)
    assert [entry.kind for entry in line] == [
        "printed",
        "ledger.act.retry",
        "read",
        "sealed",
        "ledger.act.correct",
        "sent.mail",
        "ConsignmentNotification",
        "receipt",
        "ledger.act.resend",
        "dispatch",
    ]
    assert line[4].facts == {"who": "marie", "reason": "misread", "fields": "total = 1234.56", "index": "1"}
    assert [line[place].contact for place in (6, 8, 9)] == [ME["email"]] * 3


def test_lists_and_counts_read_indexes_not_tables(conn: sa.Connection) -> None:
    """A history of a million invoices does not slow down what people look at (EXPLAIN QUERY PLAN shows no scan)."""
    plans: list[str] = []

    def explain(connection: sa.Connection, _cursor: object, statement: str, parameters: Any, *_rest: object) -> None:
        if statement.startswith("SELECT") and "invoice_text" not in statement:
            raw = connection.connection.cursor()
            raw.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
            plans.extend(row[3] for row in raw.fetchall())

    sa.event.listen(conn, "before_cursor_execute", explain)
    archive.counts(conn)
    archive.list_invoices(conn)
    archive.list_jobs(conn)
    sa.event.remove(conn, "before_cursor_execute", explain)
    scans = [plan for plan in plans if plan.startswith("SCAN") and plan.split()[1] in metadata.tables]
    assert any("SEARCH invoices USING" in plan for plan in plans)
    assert not [plan for plan in scans if "INDEX" not in plan], scans
