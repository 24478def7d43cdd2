"""What the staff see and do."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any
from urllib.parse import unquote

import pytest
import sqlalchemy as sa

from printerd.model import Mode
from printerd.storage import archive, instance
from printerd.storage.schema import dispatches, invoices, jobs
from tests import archive_rows as rows

WAITING = {
    "state": "waiting",
    "fields": {"total": "1334.56", "customer_code": "C004Z"},
    "reasons": [
        {"code": "unknown-customer", "facts": {"code": "C004Z"}, "box": [1, 400.0, 721.0, 430.0, 734.0]},
        {"code": "amounts-differ", "facts": {"net": "1028.80", "vat": "205.76", "total": "1334.56"}, "box": None},
    ],
}


@pytest.fixture
def waiting(console: Any) -> str:
    """An invoice that waits for a person, and that person."""
    console.enter("marie")
    with console.db.write() as conn:
        return rows.invoice(conn, console.blobs, rows.job(conn), **WAITING)


@pytest.fixture
def archived(console: Any) -> str:
    console.enter("marie")
    with console.db.write() as conn:
        return rows.invoice(conn, console.blobs, rows.job(conn))


def row(console: Any, key: str) -> sa.Row[Any]:
    with console.db.read() as conn:
        return conn.execute(sa.select(invoices).where(invoices.c.id == key)).one()


@pytest.mark.parametrize("tab", ["all", "waiting", "progress", "archived", "reprint", "rejected", "nonsense"])
def test_an_empty_list_says_what_will_appear_and_how(console: Any, tab: str) -> None:
    """A newcomer learns from every empty page what it is for."""
    console.enter()
    page = console.get("/invoices", state=tab)
    assert page.status_code == 200
    page = console.get(f"/invoices?state={tab}").text
    assert 'class="empty-title"' in page
    assert "appear" in page or "pass through" in page


def test_the_list_shows_state_reason_and_one_next_step(console: Any, waiting: str) -> None:
    """A waiting invoice says why in the list, and its one action is to review it."""
    page = console.get("/invoices").text
    assert "Customer C004Z is not among the customers." in page
    assert f'href="/invoices/{waiting}">Review' in page
    assert "To review" in page


def test_tabs_carry_counts_and_keep_the_search(console: Any, waiting: str) -> None:
    """Changing the tab does not forget what was looked for."""
    page = console.get("/invoices?search=FA-2026").text
    assert 'href="/invoices?state=waiting&amp;search=FA-2026"' in page
    assert '<span class="tab-count">1</span>' in page
    assert 'value="FA-2026"' in page


def test_a_search_that_finds_nothing_says_how_to_search(console: Any, waiting: str) -> None:
    """What was typed comes back escaped."""
    page = console.get("/invoices?search=%3Cscript%3E").text
    assert "Nothing matches “&lt;script&gt;”." in page
    assert "<script>" not in page


def test_long_lists_have_pages(console: Any) -> None:
    """Fifty on each; older and newer lead on and back, for invoices and for jobs."""
    console.enter()
    with console.db.write() as conn:
        for number in range(1, 53):
            key = rows.job(conn, number)
        for position in range(52):
            changes = {"fields": {"number": f"FA-{position:03}"}, "at": rows.NOW + timedelta(seconds=position)}
            rows.invoice(conn, console.blobs, key, position, **changes)
    first = console.get("/invoices").text
    second = console.get("/invoices?page=2").text
    assert ("FA-051" in first, "FA-001" in first, "page=2" in first) == (True, False, True)
    assert ("FA-001" in second, "FA-002" in second, ">Newer<" in second, ">Older<" in second) == (
        True,
        False,
        True,
        False,
    )
    assert 'href="/jobs?before=3"' in console.get("/jobs").text
    assert 'href="/jobs/2"' in console.get("/jobs?before=3").text


def test_the_words_follow_the_browser(console: Any, waiting: str) -> None:
    """French and English, declared to screen readers."""
    french, english = console.get("/invoices", language="fr"), console.get("/invoices", language="en")
    assert '<html lang="fr">' in french.text
    assert "1\N{NARROW NO-BREAK SPACE}334,56\N{NO-BREAK SPACE}€" in french.text
    assert '<html lang="en">' in english.text
    assert "€1,334.56" in english.text


def test_a_waiting_invoice_shows_reasons_places_remedies_and_a_form(console: Any, waiting: str) -> None:
    """Each reason has its place on the page and what to do; the suspect fields are marked, the others not."""
    page = console.get(f"/invoices/{waiting}").text
    assert "The total does not add up: 1,028.80 net + 205.76 VAT ≠ 1,334.56." in page
    assert "Show on page 1, top right" in page
    assert "&amp;page=1&amp;zoom=160,340,48" in page
    for name in ("customer_code", "net", "vat", "total"):
        assert f'aria-describedby="field-{name}-mark"' in page, name
    assert 'aria-describedby="field-number' not in page
    assert 'value="C004Z"' in page


def test_the_pdf_may_be_framed_by_our_page_only(console: Any, archived: str) -> None:
    """It is the sealed document, shown in place, never stored by the browser."""
    answer = console.get(f"/invoices/{archived}/pdf")
    assert answer.content == console.blobs.read(row(console, archived).sealed)
    assert answer.headers["content-type"] == "application/pdf"
    assert answer.headers["content-disposition"] == 'inline; filename="FA-2026-0042.pdf"'
    assert "frame-ancestors 'self'" in answer.headers["content-security-policy"]
    assert answer.headers["cache-control"] == "no-store"


def test_a_number_makes_no_header_and_no_path(console: Any) -> None:
    """Whatever stands on an invoice, its file is offered under one plain name, in one header."""
    console.enter()
    with console.db.write() as conn:
        fields = {"number": 'FA"\r\nX-Evil: 1\r\n\r\n<script>/../..\\é\u202efdp.exe'}
        key = rows.invoice(conn, console.blobs, rows.job(conn), fields=fields)
    answer = console.get(f"/invoices/{key}/pdf")
    assert (answer.status_code, "x-evil" in answer.headers) == (200, False)
    told = unquote(answer.headers["content-disposition"])
    assert re.fullmatch(r"inline; filename\*?=(?:utf-8''|\")[\w.-]+\.pdf\"?", told), told


@pytest.mark.parametrize(
    "path", ["..%2fapp.py", "%2e%2e/app.py", "..%5capp.py", "%2fetc%2fpasswd", "/etc/passwd", "vendor/..%2f..%2fapp.py"]
)
def test_static_files_come_from_their_folder_only(console: Any, path: str) -> None:
    """No spelling of a path leads out of it."""
    console.enter()
    assert console.get("/static/console.css").status_code == 200
    answer = console.get(f"/static/{path}")
    assert (answer.status_code, "import" in answer.text, "root:" in answer.text) == (404, False, False)


def test_a_document_that_the_archive_lost_is_no_empty_page(console: Any, archived: str) -> None:
    """The page says which digest is missing and that the backup has it."""
    digest = row(console, archived).sealed
    console.blobs.path(digest).unlink()
    answer = console.get(f"/invoices/{archived}/pdf")
    assert answer.status_code == 503
    assert digest in answer.text
    assert "backup" in answer.text


def test_a_correction_writes_only_what_was_changed(console: Any, waiting: str) -> None:
    """Fields that were left alone are no corrections; the act is in the ledger with who and why; the worker wakes."""
    form = {"customer_code": " C0042 ", "total": "1234.56", "number": "FA-2026-0042", "reason": "misread"}
    answer = console.post(f"/invoices/{waiting}/correct", form)
    assert (answer.status_code, answer.headers["location"]) == (303, f"/invoices/{waiting}?done=correct")
    after = row(console, waiting)
    assert after.corrections == {"customer_code": "C0042", "total": "1234.56"}
    assert after.state == "checking"
    assert console.woken == [console.now]
    page = console.get(answer.headers["location"]).text
    assert "Corrected by marie" in page
    assert "misread" in page
    assert "is being checked again" in page


def test_a_correction_that_changes_nothing_is_refused_in_words(console: Any, waiting: str) -> None:
    """The form comes back with what was typed."""
    answer = console.post(f"/invoices/{waiting}/correct", {"total": "1334.56", "reason": "just so"})
    assert answer.status_code == 409
    assert "No field was changed." in answer.text
    assert 'value="just so"' in answer.text
    assert console.woken == []


@pytest.mark.parametrize("act", ["correct", "release", "reject", "resend"])
def test_no_act_without_a_reason(console: Any, waiting: str, act: str) -> None:
    """Blank is no reason."""
    answer = console.post(f"/invoices/{waiting}/{act}", {"reason": "  ", "total": "1.00"})
    assert answer.status_code == 409
    assert "A reason is needed." in answer.text
    assert row(console, waiting).state == "waiting"


def test_release_and_reject_change_the_state(console: Any, waiting: str) -> None:
    """A release is checked again; a rejection ends it, and a second act on it is refused."""
    assert console.post(f"/invoices/{waiting}/reject", {"reason": "issued twice"}).status_code == 303
    assert row(console, waiting).state == "rejected"
    with console.db.read() as conn:
        said = conn.scalar(sa.select(jobs.c.message).where(jobs.c.id == row(console, waiting).job))
    assert said == "FA-2026-0042 écartée"  # the print queue says so too
    refused = console.post(f"/invoices/{waiting}/release", {"reason": "no, wait"})
    assert refused.status_code == 409
    assert 'role="alert"' in refused.text
    assert row(console, waiting).state == "rejected"


def test_a_release_goes_back_to_the_checks(console: Any, console_release: str) -> None:
    """It is not sealed by the press itself."""
    assert console.post(f"/invoices/{console_release}/release", {"reason": "rounding"}).status_code == 303
    assert row(console, console_release).state == "checking"
    assert 'hx-trigger="every 2s"' in console.get(f"/invoices/{console_release}").text


@pytest.fixture
def console_release(console: Any) -> str:
    console.enter("marie")
    reason = {"code": "dates", "facts": {"issued_on": "2026-11-24", "due_on": "2026-01-01"}, "box": None}
    with console.db.write() as conn:
        return rows.invoice(conn, console.blobs, rows.job(conn), state="waiting", reasons=[reason])


def test_a_release_is_not_offered_where_it_cannot_help(console: Any) -> None:
    """A missing field is corrected or the invoice rejected."""
    console.enter()
    reason = {"code": "field-missing", "facts": {"field": "number"}, "box": None}
    with console.db.write() as conn:
        changes = {"state": "waiting", "reasons": [reason], "fields": {"number": ""}}
        key = rows.invoice(conn, console.blobs, rows.job(conn), **changes)
    page = console.get(f"/invoices/{key}").text
    assert f'action="/invoices/{key}/release"' not in page
    assert f'action="/invoices/{key}/reject"' in page
    assert "Not found on the page." in page


def test_an_archived_invoice_shows_seal_hashes_and_what_the_timestamp_is_worth(console: Any, archived: str) -> None:
    """Digests stand in groups of eight; a local authority is called what it is."""
    with console.db.write() as conn:
        rows.ledger(conn, 17, "invoice", archived, {})
    page = console.get(f"/invoices/{archived}").text
    sealed = row(console, archived).sealed
    assert f"<span>{sealed[:8]}</span> <span>{sealed[8:16]}</span>" in page
    assert "local authority: order, not time" in page
    assert "entry 17" in page
    assert "FR76 3000 6000" in page


def test_delivery_stands_per_contact_with_reply_and_receipt(console: Any, archived: str) -> None:
    """Who got it, what the server said, when it was acknowledged, and the receipt to download."""
    other = rows.contact("chef", "Paul Roux")
    with console.db.write() as conn:
        sent = rows.delivery(conn, archived, facts={"contacts": [rows.contact(), other]})
        rows.event(conn, sent, "ConsignmentNotification", 1, reply="250 2.0.0 Ok: queued as 4F2A")
        rows.event(conn, sent, "ConsignmentAcceptance", 2, identified_by="link sent to c***@canal.example")
        rows.event(conn, sent, "MailUncertain", 3, contact=other["id"], reason="connection lost")
        rows.receipt(conn, console.blobs, sent, 12)
    page = console.get(f"/invoices/{archived}").text
    for words in (
        "compta@canal.example",
        "queued as 4F2A",
        "Acknowledged 24 November 2026",
        "never repeated by itself",
    ):
        assert words in page.replace("\n", " "), words
    receipt = console.get(f"/invoices/{archived}/receipts/12")
    assert receipt.headers["content-disposition"] == 'attachment; filename="receipt-12.pdf"'
    assert receipt.content.startswith(b"%PDF")
    assert console.get(f"/invoices/{archived}/receipts/13").status_code == 404


def test_a_mail_is_sent_again_to_one_contact_with_a_reason(console: Any, archived: str) -> None:
    """The dispatch names who decided it and why."""
    with console.db.write() as conn:
        sent = rows.delivery(conn, archived)
        rows.event(conn, sent, "ConsignmentNotificationFailure", 1, reply="550 5.1.1 unknown")
    form = {"contact": rows.contact()["id"], "reason": "address mended"}
    assert console.post(f"/invoices/{archived}/resend", form).status_code == 303
    with console.db.read() as conn:
        dispatch = conn.execute(sa.select(dispatches)).one()
    assert (dispatch.delivery, dispatch.contact, dispatch.who, dispatch.reason) == (
        sent,
        rows.contact()["id"],
        "marie",
        "address mended",
    )


def test_what_came_from_outside_is_escaped_everywhere(console: Any) -> None:
    """A job's title, a customer's name, a mail server's reply and a question run no script."""
    console.enter()
    evil = "<img src=x onerror=alert(1)>"
    with console.db.write() as conn:
        job = rows.job(conn, title=evil, message=evil, user=evil)
        key = rows.invoice(conn, console.blobs, job, fields={"buyer_name": evil})
        sent = rows.delivery(conn, key)
        rows.event(conn, sent, "ConsignmentNotification", 1, reply=evil)
        rows.event(conn, sent, "Question", 2, text=evil)
    for path in ("/invoices", "/jobs", "/jobs/1", f"/invoices/{key}"):
        page = console.get(path).text
        assert "<img" not in page, path
        assert "&lt;img" in page, path


def test_a_refused_job_says_why_and_what_to_do(console: Any) -> None:
    """Reason in the list, next step on its page, and the bytes to download."""
    console.enter()
    original = console.blobs.put(b"not a pdf", "application/octet-stream")
    with console.db.write() as conn:
        reason = {"code": "broken", "facts": {}}
        changes = {
            "state": "aborted",
            "reason": reason,
            "message": "The PDF is broken.",
            "original": original.digest,
        }
        rows.job(conn, 3, **changes)
    assert "The PDF is broken." in console.get("/jobs?state=attention").text
    assert "print it again from the ERP" in console.get("/jobs/3").text
    answer = console.get("/jobs/3/original")
    assert answer.content == b"not a pdf"
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"].startswith("attachment")


def test_a_job_speaks_the_reader_s_language_where_its_reason_is_known(console: Any) -> None:
    """The message was written for the print queue; the page says it again, with what to do."""
    console.enter()
    with console.db.write() as conn:
        rows.job(conn, 5, state="aborted", reason={"code": "encrypted", "facts": {}}, message="Protégé.")
    page = console.get("/jobs/5").text
    assert "The document is protected by a password." in page
    assert "Print it without a password." in page


def test_a_rehearsal_is_announced_on_every_page(console: Any) -> None:
    """Nobody takes a rehearsal for the real thing."""
    console.enter()
    assert "Rehearsal" not in console.get("/invoices").text
    with console.db.write() as conn:
        instance.set_mode(conn, Mode.REHEARSAL)
    for path in ("/invoices", "/jobs"):
        assert "invoice-printer go-live" in console.get(path).text


def test_what_is_tried_again_says_what_is_in_the_way(console: Any) -> None:
    """A dead timestamp authority is no mystery."""
    console.enter()
    with console.db.write() as conn:
        key = rows.invoice(
            conn, console.blobs, rows.job(conn), state="ready", trouble="The timestamp authority is away."
        )
    assert "What is in the way: The timestamp authority is away." in console.get(f"/invoices/{key}").text


def test_a_held_job_is_read_again_with_a_reason(console: Any) -> None:
    """The button gives the job back to the worker."""
    console.enter("marie")
    with console.db.write() as conn:
        key = rows.job(conn, 4, state="held", message="The reader was stopped.")
    assert console.post("/jobs/4/retry", {"reason": ""}).status_code == 409
    answer = console.post("/jobs/4/retry", {"reason": "new template"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/jobs/4?done=retry")
    with console.db.read() as conn:
        assert conn.execute(sa.select(jobs.c.state).where(jobs.c.id == key)).scalar() == "received"
    assert len(console.woken) == 1


@pytest.mark.parametrize("path", ["/zzz", "/invoices/zzz", "/jobs/99", "/invoices/zzz/pdf", "/jobs/99/original"])
def test_what_is_not_there_is_said_inside_the_console(console: Any, path: str) -> None:
    """Somebody who is in gets a page with a way on."""
    console.enter()
    answer = console.get(path)
    assert answer.status_code == 404
    assert 'href="/invoices"' in answer.text


def test_a_database_that_does_not_answer_is_said_in_words(console: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A person reads what is wrong and that it is tried again, never a traceback."""
    console.enter()
    with console.db.write() as conn:
        conn.exec_driver_sql("ALTER TABLE jobs RENAME TO lost")
    answer = console.get("/jobs")
    assert answer.status_code == 503
    assert "The database did not answer" in answer.text


def test_static_files_are_kept_by_the_browser_under_a_digest(console: Any) -> None:
    """A new version has a new address."""
    console.enter()
    page = console.get("/invoices").text
    address = page.partition('href="/static/console.css')[2].partition('"')[0]
    answer = console.get(f"/static/console.css{address}")
    assert "immutable" in answer.headers["cache-control"]
    assert console.get("/static/../app.py").status_code == 404


def test_the_time_line_tells_a_program_from_a_person(console: Any, archived: str) -> None:
    """A visit by a scanner is called one, and the list does not count it."""
    with console.db.write() as conn:
        sent = rows.delivery(conn, archived)
        rows.event(conn, sent, "ConsignmentNotification", 1, reply="250 ok")
        rows.event(conn, sent, "NotificationAccessTracking", 2, **{"class": "automatic"}, agent="Safe Links")
    assert "a program – Safe Links" in console.get(f"/invoices/{archived}").text
    with console.db.read() as conn:
        assert archive.list_invoices(conn)[0].delivery == "accepted"
