"""The customer's page: looking never makes a receipt, a press makes one, and every press gives the whole file."""

from __future__ import annotations

import asyncio
import hashlib
import re
import socket
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from email.message import EmailMessage
from ipaddress import ip_network
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.responses import PlainTextResponse

from receipt_service.database import now
from receipt_service.guard import Guard, client_address, hosts_of
from receipt_service.handover import attachment
from receipt_service.limits import Buckets
from receipt_service.links import make_nonce
from receipt_service.pages import LONGEST_QUESTION
from tests.waiting import until

from .harness import DELIVERY, DIGEST, NO_AUTHORITY, PDF, Edge, delivery, nonce_of, path_in

Start = Callable[..., Edge]
Letters = Callable[[int], list[EmailMessage]]
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0"
SIGNATURE = "Ce clic vaut accusé de réception. Il ne vaut ni acceptation de la facture ni reconnaissance de dette."


def delivered(edge: Edge, letters: Letters, **changes: Any) -> str:
    edge.deliver(delivery(**changes)).raise_for_status()
    return path_in(letters(1)[-1])


def test_looking_never_makes_a_receipt(edge: Edge, path: str) -> None:
    """200 GETs, HEADs and prefetches: no acceptance, and one tracking event a class, for the hour."""
    for number in range(200):
        if number % 4 == 1:
            edge.public.head(path)
        else:
            purpose = {"Sec-Purpose": "prefetch"} if number % 4 == 2 else {}
            agent = {"User-Agent": FIREFOX} if number % 4 == 3 else {}
            assert edge.public.get(path, headers=purpose | agent).status_code == 200
    visits = edge.events("NotificationAccessTracking")
    assert 3 <= len(visits) <= 6  # 6 when an hour ended meanwhile
    assert {event["data"]["class"] for event in visits} == {"person?", "automatic", "speculative"}
    assert {event["name"] for event in edge.events()} <= {"ConsignmentNotification", "NotificationAccessTracking"}


def test_one_press_hands_the_document_over(edge: Edge, path: str) -> None:
    """The act is on record before the handover, the handover names the bytes, and the act ties them together."""
    answer = edge.press(path)
    assert answer.status_code == 200 and answer.content == PDF
    assert answer.headers["content-type"] == "application/pdf"
    assert "filename*=UTF-8''FA-2026-0042%20%C3%A9t%C3%A9.pdf" in answer.headers["content-disposition"]
    handover = edge.wait_for("ContentHandover")[0]
    (act,) = edge.events("ConsignmentAcceptance")
    assert act["seq"] < handover["seq"] and act["data"]["act"] == handover["data"]["act"]
    assert UUID(act["data"]["act"]) and act["data"]["first"] == "yes" and act["data"]["level"] == "L3"
    assert act["data"]["identified_by"] == "link sent to m***@client.fr"
    assert act["data"]["address"] == "127.0.0.0/24" and act["data"]["requested_at"] < act["time"]
    assert "user agent: program" in act["data"]["signs"].split(";")
    data = handover["data"]
    assert (data["sha256"], data["size"], data["bytes_sent"]) == (DIGEST, str(len(PDF)), str(len(PDF)))


def test_twenty_presses_at_once_each_give_the_file(edge: Edge, path: str) -> None:
    """Scanners and colleagues burn nothing: each press gets every byte; one is the first."""
    nonce = nonce_of(edge.public.get(path).text)
    with ThreadPoolExecutor(20) as people:
        form = {"nonce": nonce, "action": "accept"}
        answers = list(people.map(lambda _: edge.public.post(path, data=form), range(20)))
    assert [answer.content == PDF for answer in answers] == [True] * 20
    edge.wait_for("ContentHandover", 20)
    firsts = [event["data"]["first"] for event in edge.events("ConsignmentAcceptance")]
    assert len(firsts) == 20 and firsts.count("yes") == 1


def test_a_press_sends_the_whole_file_whatever_range_is_asked(edge: Edge, path: str) -> None:
    nonce = nonce_of(edge.public.get(path).text)
    form = {"nonce": nonce, "action": "accept"}
    answer = edge.public.post(path, data=form, headers={"Range": "bytes=0-9"})
    assert answer.status_code == 200 and answer.content == PDF


def test_a_press_without_the_visits_nonce_does_nothing(edge: Edge, path: str) -> None:
    """Missing, forged, of another link or too old: the page is shown again, and nothing is on record."""
    foreign = make_nonce(bytes(32), "00" * 32, now())
    for nonce in ("", "1.2", foreign):
        answer = edge.public.post(path, data={"nonce": nonce, "action": "accept"})
        assert answer.status_code == 400 and "Appuyez de nouveau" in answer.text
    unknown = edge.public.post(path, data={"nonce": nonce_of(edge.public.get(path).text), "action": "other"})
    assert unknown.status_code == 400
    assert edge.events("ConsignmentAcceptance") == []


def test_unknown_expired_and_revoked_links_are_the_same(edge: Edge, letters: Letters, path: str) -> None:
    """Byte for byte and header for header: nobody learns whether a link ever was."""
    unknown = edge.public.get("/l/" + "A" * 43)
    with closing(sqlite3.connect(edge.settings.database)) as connection, connection:
        connection.execute("UPDATE deliveries SET expires_at = '2020-01-01T00:00:00.000000Z'")
    expired = edge.public.get(path)
    with closing(sqlite3.connect(edge.settings.database)) as connection, connection:
        connection.execute("UPDATE deliveries SET expires_at = '2099-01-01T00:00:00.000000Z'")
    edge.api.post(f"/deliveries/{DELIVERY}/revoke", json={"reason": ""}).raise_for_status()
    revoked = edge.public.get(path)
    others = [edge.public.get(where) for where in ("/", "/l/x", f"{path}/receipt", "/docs", "/openapi.json")]
    others += [edge.public.get("/api/v1/status"), edge.public.put(path), edge.public.get("/static/other.css")]
    for answer in (expired, revoked, *others):
        assert (answer.status_code, answer.text) == (404, unknown.text)
    assert {key for key in revoked.headers} == {key for key in unknown.headers}


def test_the_host_of_a_request_is_not_believed(edge: Edge, path: str) -> None:
    """Another Host is 421, so no page is ever built from one."""
    for host in ("evil.example", "127.0.0.1", ""):
        assert edge.public.get(path, headers={"Host": host}).status_code == 421


HEADERS = {
    "referrer-policy": "no-referrer",
    "x-robots-tag": "noindex",
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    "content-security-policy": "default-src 'none'; style-src 'self'; form-action 'self'; frame-ancestors 'none'",
}


def test_every_answer_keeps_the_link_private(start: Start, mailbox: tuple[Any, int], letters: Letters) -> None:
    """The headers stand on pages, refusals, files and errors alike; with https, HSTS too; no Server header."""
    edge = start(mailbox[1], public_url="https://factures.example")
    edge.public.headers["Host"] = "factures.example"
    edge.deliver()
    (letter,) = letters(1)
    body = letter.get_body(("plain",))
    assert body is not None and "https://factures.example/l/" in body.get_content()
    path = path_in(letter)
    answers = [edge.public.get(path), edge.press(path), edge.public.get("/nothing"), edge.press(path, "paper")]
    answers.append(edge.public.get(path, headers={"Host": "other.example"}))
    for answer in answers:
        for name, value in HEADERS.items():
            assert answer.headers[name].startswith(value)
        assert answer.headers["strict-transport-security"] == "max-age=31536000"
        assert "server" not in answer.headers and "set-cookie" not in answer.headers


def test_the_page_is_light_and_needs_no_script(edge: Edge, path: str) -> None:
    """Below 30 kB with its styles; no script, no inline style, nothing from elsewhere; no amount in the title."""
    page = edge.public.get(path).text
    styles = [edge.public.get(href) for href in re.findall(r'<link rel="stylesheet" href="([^"]+)"', page)]
    assert len(styles) == 2 and {style.headers["content-type"] for style in styles} == {"text/css; charset=utf-8"}
    assert len(page.encode()) + sum(len(style.content) for style in styles) < 30_000
    assert "<script" not in page and "style=" not in page and "http://" not in page and "https://" not in page
    assert re.findall(r"<title>(.*?)</title>", page) == ["Facture FA-2026-0042"]
    assert "og:" not in page and SIGNATURE in page and "marie@client.fr" not in page
    assert "Télécharger ma facture et en accuser réception" in page
    assert "1\u202f234,56\u00a0€" in page and "31\u00a0décembre\u00a02026" in page


def test_the_page_speaks_the_deliverys_language(edge: Edge, letters: Letters) -> None:
    """English for an English customer, even from a French browser."""
    path = delivered(edge, letters, language="en")
    page = edge.public.get(path).text
    assert '<html lang="en">' in page and "Download my invoice and acknowledge receipt" in page
    assert "It neither accepts the invoice nor admits a debt." in page and "€1,234.56" in page


def test_a_credit_note_is_called_one(edge: Edge, letters: Letters) -> None:
    """« Télécharger mon avoir »: nobody accepts an invoice that is none."""
    invoice = delivery()["invoice"] | {"kind": "credit-note", "due_on": None, "number": "AV-7"}
    page = edge.public.get(delivered(edge, letters, invoice=invoice)).text
    assert "Télécharger mon avoir et en accuser réception" in page and "acceptation de l’avoir" in page
    assert "facture" not in page and "Échéance" not in page


def test_markup_in_names_is_text(edge: Edge, letters: Letters) -> None:
    """A customer called <script> is shown as he is called."""
    path = delivered(edge, letters, customer={"code": "", "name": "<script>alert(1)</script>"})
    page = edge.public.get(path).text
    assert "<script" not in page and "&lt;script&gt;" in page


def test_the_page_says_when_receipt_was_acknowledged(edge: Edge, path: str) -> None:
    """After the first press: the moment, in Paris time, and a button that says what it does now."""
    edge.press(path)
    page = edge.public.get(path).text
    assert "Réception accusée" in page and "(heure\u00a0de\u00a0Paris)" in page
    assert "Télécharger de&nbsp;nouveau ma facture" in page


@pytest.mark.parametrize(("action", "words"), [("paper", "vous préférez le papier"), ("not-for-me", "pas destiné")])
def test_refusals_are_of_the_way_and_are_recorded(edge: Edge, path: str, action: str, words: str) -> None:
    """A negative event with its reason; the link goes on working, and no receipt is made."""
    answer = edge.press(path, action)
    assert answer.status_code == 200 and words in answer.text
    data = edge.wait_for("ConsignmentRejection")[0]["data"]
    assert (data["reason"], data["address"]) == (action, "127.0.0.0/24")
    assert edge.events("ConsignmentAcceptance") == [] and edge.public.get(path).status_code == 200


def test_questions_are_passed_on_as_text(edge: Edge, path: str) -> None:
    """At most 2000 characters, line ends kept, control characters gone; an empty one is asked for again."""
    answer = edge.press(
        path, "question", text="Bonjour,\r\nle prix\x00 est faux \N{RIGHT-TO-LEFT OVERRIDE}" + "é" * 3000
    )
    assert answer.status_code == 200 and "Au bon moulin" in answer.text
    text = edge.wait_for("Question")[0]["data"]["text"]
    assert text.startswith("Bonjour,\nle prix est faux é") and len(text) == LONGEST_QUESTION
    assert edge.press(path, "question", text=" \r\n ").status_code == 400
    assert len(edge.events("Question")) == 1


def test_a_body_that_is_too_large_is_not_read(edge: Edge, path: str) -> None:
    assert edge.public.post(path, content=b"x" * 40_000).status_code == 413


def test_pressing_is_limited_per_link(edge: Edge, path: str) -> None:
    """A loop that presses is told to wait; other links go on."""
    codes = {edge.public.post(path, data={"nonce": "x"}).status_code for _ in range(70)}
    assert codes == {400, 429} and edge.public.get(path).status_code == 200


def test_staff_presses_do_not_count_and_are_told_so(start: Start, mailbox: tuple[Any, int], letters: Letters) -> None:
    """From a staff network: the file, no event of any kind, and a page that says why."""
    edge = start(mailbox[1], staff_networks=["127.0.0.0/8"])
    path = delivered(edge, letters)
    assert "ne vaut pas accusé de réception" in edge.public.get(path).text
    assert edge.press(path).content == PDF
    assert "Rien n’a été enregistré" in edge.press(path, "paper").text
    assert {event["name"] for event in edge.events()} == {"ConsignmentNotification"}


def test_a_trusted_proxy_tells_the_address_and_nobody_else(
    start: Start, mailbox: tuple[Any, int], letters: Letters
) -> None:
    """X-Forwarded-For counts from a trusted proxy alone: a customer behind it is no staff, a liar stays who he is."""
    edge = start(mailbox[1], trusted_proxies=["127.0.0.1/32"], staff_networks=["10.0.0.0/8"])
    path = delivered(edge, letters)
    edge.public.headers["X-Forwarded-For"] = "10.1.2.3, 203.0.113.77"
    edge.press(path)
    assert edge.wait_for("ConsignmentAcceptance")[0]["data"]["address"] == "203.0.113.0/24"


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        ("198.51.100.9", "10.0.0.1", "198.51.100.9"),
        ("10.0.0.1", "203.0.113.7", "203.0.113.7"),
        ("10.0.0.1", "1.2.3.4, 203.0.113.7, 10.0.0.2", "203.0.113.7"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "junk", ""),
        ("", "203.0.113.7", ""),
        ("::ffff:10.0.0.1", "2001:db8::1", "2001:db8::1"),
    ],
)
def test_the_client_is_the_last_one_that_no_proxy_vouches_beyond(peer: str, forwarded: str, expected: str) -> None:
    """The chain is read from the right, and only as far as trust reaches."""
    assert client_address(peer, forwarded, [ip_network("10.0.0.0/8")]) == expected


def test_the_schemes_own_port_may_be_named_or_not() -> None:
    assert hosts_of("https://a.example") == {"a.example", "a.example:443"}
    assert hosts_of("http://a.example:8080") == {"a.example:8080"}


def big_pdf() -> bytes:
    return b"%PDF-1.7\n" + bytes(24_000_000)


def test_a_broken_off_download_is_a_failure_on_record(edge: Edge, letters: Letters) -> None:
    """The client goes after some bytes: ContentHandoverFailure, and no handover is claimed."""
    pdf = big_pdf()
    digest = hashlib.sha256(pdf).hexdigest()
    edge.api.put(f"/documents/{digest}", content=pdf).raise_for_status()
    document = {"sha256": digest, "size": len(pdf), "pages": 1, "file_name": "gros.pdf"}
    path = delivered(edge, letters, document=document)
    nonce = nonce_of(edge.public.get(path).text)
    form = f"nonce={nonce}&action=accept"
    host = edge.settings.public
    with socket.create_connection(("127.0.0.1", int(host.rpartition(":")[2]))) as customer:
        head = f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(form)}\r\n"
        customer.sendall(f"{head}Content-Type: application/x-www-form-urlencoded\r\n\r\n{form}".encode())
        customer.recv(1000)
    failure = edge.wait_for("ContentHandoverFailure")[0]
    (act,) = edge.events("ConsignmentAcceptance")
    assert failure["data"]["act"] == act["data"]["act"] and int(failure["data"]["bytes_sent"]) < len(pdf)
    assert failure["data"]["reason"] == "the client closed the connection" and edge.events("ContentHandover") == []


def test_a_damaged_file_is_never_said_to_be_handed_over(edge: Edge, path: str) -> None:
    """One flipped bit on our disk: no byte is handed over as the document."""
    file = edge.settings.documents / DIGEST[:2] / DIGEST
    file.write_bytes(PDF[:-1] + b"!")
    nonce = nonce_of(edge.public.get(path).text)
    with pytest.raises(Exception):  # noqa: B017 - httpx's kind depends on where the connection ends
        edge.public.post(path, data={"nonce": nonce, "action": "accept"})
    assert edge.wait_for("ContentHandoverFailure")[0]["data"]["reason"] == "the stored file is damaged"
    assert edge.events("ContentHandover") == []


def test_a_document_no_longer_kept_is_said_to_be_gone(edge: Edge, path: str) -> None:
    """The page stays and says whom to ask; a press from an old page gives no file and records no act."""
    nonce = nonce_of(edge.public.get(path).text)
    with closing(sqlite3.connect(edge.settings.database)) as connection, connection:
        connection.execute("DELETE FROM documents")
    page = edge.public.get(path).text
    assert "n’est plus conservé ici" in page and 'value="accept"' not in page
    assert edge.public.post(path, data={"nonce": nonce, "action": "accept"}).status_code == 410
    assert edge.events("ConsignmentAcceptance") == []


def test_the_token_is_nowhere_but_in_the_letter(edge: Edge, path: str, tmp_path: Path) -> None:
    """Once the letter is accepted, no file of the service holds the token, in any spelling, nor the letter's bytes."""
    edge.press(path)
    edge.wait_for("ContentHandover")
    token = path.rpartition("/")[2].encode()
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert files and not [file for file in files if token in file.read_bytes()]
    assert edge.rows("SELECT wire FROM outbox") == [(None,)]
    ((masked,),) = edge.rows("SELECT masked FROM outbox")
    assert "Message-ID" in masked and token.decode() not in masked


def test_waiting_letters_are_unreadable_in_the_database(start: Start, tmp_path: Path) -> None:
    """While a letter waits its bytes are stored, encrypted: neither link nor text can be found in the file."""
    edge = start(1, retry={"first": 60, "most": 60, "give_up_after": 600})
    edge.deliver(delivery(customer={"code": "", "name": "Zephyrine"}))
    ((row, wire),) = edge.rows("SELECT id, wire FROM outbox")
    letter = edge.world.mailer._office.decrypt(row, wire)
    found = re.search(rb"/l/[A-Za-z0-9_=\r\n-]{43,60}", letter)
    assert found and b"multipart/alternative" in letter
    token = found[0].replace(b"=\r\n", b"")[3:46]
    for file in tmp_path.rglob("*"):
        assert not file.is_file() or token not in file.read_bytes()


@given(st.text(min_size=1))
def test_any_file_name_makes_one_header(name: str) -> None:
    """Quotes, line breaks and other scripts in a file name cannot break out of Content-Disposition."""
    encodable = name.encode("utf-8", "replace").decode()
    header = attachment(encodable)
    assert header.isascii() and header.isprintable() and header.count('"') == 2


def test_buckets_fill_again() -> None:
    """So many at once, then one for each while; other keys are not touched."""
    time = 0.0
    buckets = Buckets(2, 0.5, lambda: time)
    assert [buckets.take("a") for _ in range(3)] == [True, True, False]
    assert buckets.take("b")
    time = 2.0
    assert [buckets.take("a") for _ in range(2)] == [True, False]


def test_guessing_links_is_limited_by_household() -> None:
    """600 addresses of one /64 are one client, a header makes nobody another, and other households are not kept out."""
    guard = Guard(PlainTextResponse("not here", 404), "http://f.example", ())

    async def ask(address: str, **headers: str) -> int:
        transport = httpx.ASGITransport(guard, client=(address, 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://f.example", verify=NO_AUTHORITY) as client:
            return (await client.get(f"/l/{'a' * 43}", headers=headers)).status_code

    async def guess() -> list[int]:
        return [await ask(f"2001:db8::{number:x}") for number in range(700)] + [
            await ask("2001:db8::1", **{"X-Forwarded-For": "192.0.2.7"}),
            await ask("2001:db8:0:1::1"),
        ]

    *guesses, disguised, other = asyncio.run(guess())
    assert guesses[:600] == [404] * 600 and 429 in guesses[600:]
    assert (disguised, other) == (429, 404)


def test_unknown_tokens_cost_no_row(edge: Edge) -> None:
    """Guessing leaves nothing behind."""
    for _ in range(5):
        assert edge.public.get(f"/l/{uuid4().hex}{'a' * 11}").status_code == 404
    assert until(lambda: edge.rows("SELECT count(*) FROM visits")) == [(0,)]
