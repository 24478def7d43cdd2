"""Nobody sees anything without a login, and nobody changes anything from elsewhere."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from printerd.console import login
from printerd.storage.schema import logins
from tests import archive_rows as rows

PATHS = (
    "/",
    "/invoices",
    "/jobs",
    "/invoices/x/pdf",
    "/static/console.css",
    "/login/",
    "/login/x",
    "/login/x/y",
    "/zzz",
)


def test_without_a_login_every_address_gives_the_same_404(console: Any) -> None:
    """What exists cannot be told from what does not, by body, status or headers."""
    answers = [console.get(path) for path in PATHS]
    answers += [console.post(path, token=False) for path in ("/invoices", "/logout", "/login/x")]
    assert {answer.status_code for answer in answers} == {404}
    assert len({answer.text for answer in answers}) == 1
    assert len({tuple(sorted(answer.headers.items())) for answer in answers}) == 1
    assert "invoice-printer console open" in answers[0].text


def test_looking_at_a_link_does_not_use_it_up(console: Any) -> None:
    """A mail scanner or a prefetching browser opens links; the person's press still works after it."""
    link = console.link()
    for _ in range(3):
        page = console.get(link)
        assert (page.status_code, "marie" in page.text, "set-cookie" in page.headers) == (200, True, False)
    answer = console.post(link, token=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/invoices")
    assert console.get("/invoices").status_code == 200


def test_a_link_works_once(console: Any) -> None:
    """The second press, and a look after the first, find nothing."""
    link = console.link()
    assert console.post(link, token=False).status_code == 303
    assert console.post(link, token=False).status_code == 404
    assert console.get(link).status_code == 404


def test_a_link_lasts_ten_minutes_and_a_session_twelve_hours(console: Any) -> None:
    """Both end by themselves."""
    link = console.link()
    console.pass_time(timedelta(minutes=10))
    assert console.get(link).status_code == 404
    console.enter()
    console.pass_time(timedelta(hours=12, seconds=-1))
    assert console.get("/invoices").status_code == 200
    console.pass_time(timedelta(seconds=1))
    assert console.get("/invoices").status_code == 404


def test_the_cookie_is_out_of_reach_of_scripts_and_of_other_sites(console: Any) -> None:
    """HttpOnly, SameSite=Strict, and Secure as soon as the connection is."""
    plain = console.post(console.link(), token=False).headers["set-cookie"]
    assert "HttpOnly" in plain
    assert "SameSite=strict" in plain
    assert "Secure" not in plain
    console.client.http.base_url = "https://printer.test"
    secure = console.post(console.link(), token=False, origin="https://printer.test").headers["set-cookie"]
    assert "Secure" in secure


def test_the_database_holds_no_token(console: Any) -> None:
    """A stolen database opens no session: only SHA-256 digests are kept."""
    link = console.link()
    console.enter()
    with console.db.read() as conn:
        kept = " ".join(str(row) for row in conn.execute(sa.select(logins)))
    assert link.rpartition("/")[2] not in kept
    assert console.client.http.cookies[login.COOKIE] not in kept


def test_a_login_gives_a_new_session_and_ends_the_old_one(console: Any) -> None:
    """A token planted in a browser before its login is worth nothing after it (session fixation)."""
    console.client.http.cookies.set(login.COOKIE, "planted")
    console.enter()
    first = console.client.http.cookies.get(login.COOKIE, domain="printer.test")
    console.client.http.cookies.clear()
    console.client.http.cookies.set(login.COOKIE, first)
    console.enter("paul")
    console.client.http.cookies.clear()
    for stale in ("planted", first):
        assert console.get("/invoices", cookie=f"{login.COOKIE}={stale}").status_code == 404


def test_signing_out_ends_the_session_on_the_server(console: Any) -> None:
    """A copy of the cookie is worth nothing afterwards."""
    console.enter()
    token = console.client.http.cookies[login.COOKIE]
    assert console.post("/logout").status_code == 303
    assert console.get("/invoices", cookie=f"{login.COOKIE}={token}").status_code == 404


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("printer.test", 200),
        ("PRINTER.test:8631", 200),
        ("evil.example", 421),
        ("127.0.0.1.evil.example", 421),
        ("evil.example@printer.test", 421),
        ("printer.test/evil", 421),
        ("printer.test?evil", 421),
        ("printer.test:80:80", 421),
        ("[printer.test]", 421),
        ("", 421),
    ],
)
def test_a_foreign_host_name_is_misdirected(console: Any, host: str, status: int) -> None:
    """A page that rebinds its own name to our address reads nothing (DNS rebinding)."""
    console.enter()
    assert console.get("/invoices", host=host).status_code == status


def test_no_answer_repeats_an_address(console: Any) -> None:
    """A slash behind a link to log in, or behind a page, is an unknown address: no Location holds what was asked."""
    answers = [console.get(f"{console.link()}/")]
    console.enter()
    answers += [console.get("/invoices/"), console.get("/jobs/")]
    assert [(answer.status_code, "location" in answer.headers) for answer in answers] == [(404, False)] * 3


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "", "http://printer.test.evil.example"])
def test_a_form_from_another_site_changes_nothing(console: Any, origin: str) -> None:
    """Neither a session nor a login is begun or used from elsewhere, even with the right token."""
    console.enter()
    with console.db.write() as conn:
        key = rows.invoice(conn, console.blobs, rows.job(conn), state="waiting")
    answer = console.post(f"/invoices/{key}/reject", {"reason": "no"}, origin=origin)
    assert answer.status_code == 403
    assert console.post(console.link(), token=False, origin=origin).status_code == 404
    assert console.woken == []


@pytest.mark.parametrize("token", ["", "0" * 64, "é"])
def test_a_form_without_its_token_changes_nothing(console: Any, token: str) -> None:
    """The token belongs to the session; another session's does not do."""
    console.enter()
    assert console.post("/logout", {"form_token": token}, token=False).status_code == 403
    assert console.get("/invoices").status_code == 200


def test_a_form_of_another_kind_or_size_is_not_read(console: Any) -> None:
    """Files, JSON and large bodies are refused before they are parsed."""
    console.enter()
    origin = {"origin": "http://printer.test"}
    token = console.form_token()
    large = console.client.request("POST", "/logout", data={"form_token": token, "x": "x" * 70_000}, headers=origin)
    files = console.client.request("POST", "/logout", data={"form_token": token}, files={"f": b"x"}, headers=origin)
    json = console.client.request("POST", "/logout", json={"form_token": token}, headers=origin)
    assert [answer.status_code for answer in (large, files, json)] == [403, 403, 403]


def test_logins_are_limited_by_address_and_minute(console: Any) -> None:
    """Guessing is slow; after a minute a person may try again."""
    statuses = [console.get("/login/guess").status_code for _ in range(12)]
    assert statuses == [404] * 10 + [429] * 2
    console.pass_time(timedelta(minutes=1))
    assert console.get(console.link()).status_code == 200


def test_of_many_addresses_only_so_many_are_remembered() -> None:
    """A flood from many addresses does not fill the memory."""
    attempts = login.Attempts()
    for number in range(login.ADDRESSES + 10):
        assert attempts.allow(str(number), rows.NOW)
    assert len(attempts._tried) == login.ADDRESSES


def test_every_answer_carries_the_headers_that_protect_it(console: Any) -> None:
    """Pages, errors, the login and the door are not stored, not framed by others, and load nothing from elsewhere."""
    answers = [console.get("/zzz"), console.get(console.link()), console.get("/", host="evil.example")]
    console.enter()
    answers += [console.get("/invoices"), console.get("/zzz"), console.post("/logout", token=False)]
    for answer in answers:
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "same-origin"
