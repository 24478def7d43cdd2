"""The contract, as printerd meets it: idempotent, strict, durable, and closed to everybody else."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Callable
from email.message import EmailMessage
from typing import Any

import pytest

from .harness import DELIVERY, DIGEST, PDF, Edge, delivery, path_in

Letters = Callable[[int], list[EmailMessage]]
DISPATCH = "0d0f6a52-9b77-4f55-a9a5-5d7f0f9d2b10"
TWO = [
    {"id": "k1", "name": "Marie Martin", "email": "marie@client.fr", "role": "comptabilité"},
    {"id": "k2", "name": "Jean Dupont", "email": "jean@client.fr", "role": ""},
]


def test_nothing_is_said_without_the_secret(edge: Edge) -> None:
    """Not even whether a path exists."""
    for path in ("/status", "/events?after=0&head=" + "0" * 64, "/openapi.json", "/nothing-here"):
        for given in ("", "Bearer wrong", "Basic YTpi"):
            assert edge.api.get(path, headers={"Authorization": given}).status_code == 401


def test_the_contract_describes_itself_to_its_holder(edge: Edge) -> None:
    """The calls of the contract are in the OpenAPI description, behind the secret."""
    paths = edge.api.get("/openapi.json").json()["paths"]
    assert "/api/v1/deliveries/{delivery_id}/reminders" in paths


def test_a_document_is_stored_once_under_its_digest(edge: Edge) -> None:
    """201, then 200; the bytes rest under their own digest, readable by the service alone."""
    assert [edge.api.put(f"/documents/{DIGEST}", content=PDF).status_code for _ in range(2)] == [201, 200]
    file = edge.settings.documents / DIGEST[:2] / DIGEST
    assert file.read_bytes() == PDF and file.stat().st_mode & 0o077 == 0


def test_a_document_that_is_not_what_was_announced_is_refused(edge: Edge) -> None:
    """Another digest, or no PDF: 422, and no file stays behind."""
    gif = hashlib.sha256(b"GIF89a").hexdigest()
    for digest, body in (("0" * 64, PDF), (gif, b"GIF89a"), ("not-a-digest", PDF)):
        assert edge.api.put(f"/documents/{digest}", content=body).status_code == 422
    assert [path for path in edge.settings.documents.rglob("*") if path.is_file()] == []


def test_a_document_over_the_limit_is_refused(edge: Edge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("receipt_service.documents.LIMIT", 1000)
    assert edge.api.put(f"/documents/{DIGEST}", content=PDF).status_code == 413
    assert [path for path in edge.settings.documents.rglob("*") if path.is_file()] == []


def test_repeating_a_delivery_makes_nothing_new(edge: Edge, letters: Letters) -> None:
    """201, 200, 200: one letter; the same id with other content is 409 and changes nothing."""
    assert [edge.deliver().status_code for _ in range(3)] == [201, 200, 200]
    other = delivery(invoice=delivery()["invoice"] | {"total": "1.00"})
    assert edge.deliver(other).status_code == 409
    edge.wait_for("ConsignmentNotification")
    assert edge.rows("SELECT count(*) FROM outbox") == [(1,)] and len(letters(1)) == 1


def test_a_delivery_waits_for_its_document(edge: Edge) -> None:
    """424 when the document has not been uploaded; nothing is mailed on a promise."""
    assert edge.api.put(f"/deliveries/{DELIVERY}", json=delivery()).status_code == 424
    assert edge.api.get("/status").json()["mail_backlog"] == 0


def changed(key: str, **values: Any) -> dict[str, Any]:
    return delivery(**{key: delivery()[key] | values})


REFUSED = {
    "unknown key": delivery(extra=1),
    "unknown key inside": changed("issuer", fax="1"),
    "line break in a name": delivery(contacts=[TWO[0] | {"name": "Marie\r\nBcc: all@world.example"}]),
    "line break in an address": delivery(contacts=[TWO[0] | {"email": "marie@client.fr\nx"}]),
    "line break in the number": changed("invoice", number="FA\n1"),
    "line break in the issuer": changed("issuer", name="Moulin\rX"),
    "no address": delivery(contacts=[TWO[0] | {"email": "marie"}]),
    "no contact": delivery(contacts=[]),
    "one contact twice": delivery(contacts=[TWO[0], TWO[0]]),
    "rehearsal to nobody": delivery(mode="rehearsal"),
    "path as file name": changed("document", file_name="../x.pdf"),
    "other size": changed("document", size=1),
    "past expiry": changed("policy", expires_at="2020-01-01T00:00:00Z"),
    "time without zone": changed("policy", expires_at="2099-01-01T00:00:00"),
    "another level": changed("policy", level="L5"),
    "amount as a number": changed("invoice", total=1234.56),
    "colour as CSS": changed("issuer", colour="red;}"),
}


def test_what_is_not_of_the_contract_is_refused(edge: Edge) -> None:
    """422 with the key's name, never the value; CR and LF end here, long before a mail header."""
    for what, body in REFUSED.items():
        answer = edge.deliver(body)
        assert answer.status_code == 422, what
        assert "world.example" not in answer.text
    assert edge.rows("SELECT count(*) FROM outbox") == [(0,)]


def test_every_contact_has_a_letter_and_a_link_of_his_own(edge: Edge, letters: Letters) -> None:
    """Two contacts, two letters with one recipient each, told of one another; each link names its own contact."""
    edge.deliver(delivery(contacts=TWO))
    by_name = {letter["To"].addresses[0].display_name: letter for letter in letters(2)}
    marie, jean = by_name["Marie Martin"], by_name["Jean Dupont"]
    assert path_in(marie) != path_in(jean)
    body = marie.get_body(("plain",))
    assert body is not None and "Jean Dupont" in body.get_content() and path_in(jean) not in body.get_content()
    edge.press(path_in(jean))
    assert edge.wait_for("ConsignmentAcceptance")[0]["contact"] == "k2"


def test_a_reminder_has_a_link_of_its_own_and_is_sent_once(edge: Edge, letters: Letters) -> None:
    """The dispatch id makes it idempotent; the earlier link goes on working."""
    edge.deliver(delivery(contacts=TWO))
    letters(2)
    body = {"dispatch": DISPATCH, "contact": "k1", "reason": "J+3"}
    url = f"/deliveries/{DELIVERY}/reminders"
    assert [edge.api.post(url, json=body).status_code for _ in range(2)] == [201, 200]
    assert edge.api.post(url, json=body | {"contact": "k2"}).status_code == 409
    third = letters(3)[2]
    assert third["Subject"].startswith("Rappel – Facture FA-2026-0042")
    links = {path_in(letter) for letter in letters(3)}
    assert len(links) == 3 and {edge.public.get(link).status_code for link in links} == {200}


def test_a_reminder_to_all_writes_to_all(edge: Edge, letters: Letters) -> None:
    edge.deliver(delivery(contacts=TWO))
    body = {"dispatch": DISPATCH, "contact": None, "reason": ""}
    assert edge.api.post(f"/deliveries/{DELIVERY}/reminders", json=body).status_code == 201
    assert len(letters(4)) == 4


@pytest.mark.parametrize("contact", ["k1", "k9"])
def test_reminders_of_what_is_not_here_are_refused(edge: Edge, contact: str) -> None:
    """404 for an unknown delivery, or an unknown contact of a known one."""
    if contact == "k9":
        edge.deliver()
    body = {"dispatch": DISPATCH, "contact": contact, "reason": ""}
    assert edge.api.post(f"/deliveries/{DELIVERY}/reminders", json=body).status_code == 404


def test_revocation_ends_links_letters_and_document(start: Callable[..., Edge]) -> None:
    """The letter that waits is dropped with its reason, the file is deleted, a reminder is 409; again is 200."""
    edge = start(1, retry={"first": 60, "most": 60, "give_up_after": 600})  # nobody listens on port 1
    edge.deliver()
    edge.api.get("/status").raise_for_status()
    waiting = "SELECT count(*) FROM outbox WHERE state = 'PENDING' AND attempt = 1"
    while edge.rows(waiting) != [(1,)]:
        time.sleep(0.02)
    url = f"/deliveries/{DELIVERY}/revoke"
    assert [edge.api.post(url, json={"reason": "wrong customer"}).status_code for _ in range(2)] == [200, 200]
    failures = edge.wait_for("ConsignmentNotificationFailure")
    assert [event["data"]["reason"] for event in failures] == ["revoked"]
    assert not (edge.settings.documents / DIGEST[:2] / DIGEST).exists()
    assert edge.rows("SELECT state, reply, wire FROM outbox") == [("FAILED", "revoked", None)]
    body = {"dispatch": DISPATCH, "contact": None, "reason": ""}
    assert edge.api.post(f"/deliveries/{DELIVERY}/reminders", json=body).status_code == 409


def test_a_document_that_another_delivery_needs_stays(edge: Edge) -> None:
    """Two deliveries of one document: revoking one leaves the other its file."""
    edge.deliver()
    edge.deliver(delivery_id=DISPATCH)
    edge.api.post(f"/deliveries/{DELIVERY}/revoke", json={"reason": ""}).raise_for_status()
    assert (edge.settings.documents / DIGEST[:2] / DIGEST).exists()


def recomputed(event: dict[str, Any]) -> str:
    body = {key: value for key, value in event.items() if key != "digest"}
    text = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def test_the_chain_of_events_can_be_recomputed_by_anybody(edge: Edge, path: str) -> None:
    """Each event holds the digest of the one before, from 64 zeros on, and its own is that of its canonical JSON."""
    edge.press(path)
    edge.press(path, "question", text="Où est l’avoir ? « 50 € »")
    edge.wait_for("Question")
    events = edge.wait_for("", 5)
    head = "0" * 64
    for number, event in enumerate(events, 1):
        assert (event["seq"], event["previous"], event["digest"]) == (number, head, recomputed(event))
        assert event["edge"] == edge.api.get("/status").json()["edge_id"]
        head = event["digest"]


def test_another_history_is_a_conflict(edge: Edge, path: str) -> None:
    """409 when the caller's last event is not ours: both sides stop rather than invent."""
    edge.wait_for("ConsignmentNotification")
    for after, head in ((0, "1" * 64), (1, "0" * 64), (99, "0" * 64)):
        assert edge.api.get("/events", params={"after": after, "head": head}).status_code == 409


def test_events_can_be_waited_for(edge: Edge, path: str) -> None:
    """A long poll answers as soon as something happens, and with nothing when its time is over."""
    last = edge.wait_for("ConsignmentNotification")[-1]
    asked = {"after": last["seq"], "head": last["digest"]}
    assert edge.api.get("/events", params=asked | {"wait": 0.05}).json()["events"] == []
    looking = threading.Timer(0.1, edge.public.get, (path,))
    looking.start()
    began = time.monotonic()
    found = edge.api.get("/events", params=asked | {"wait": 20}, timeout=30).json()["events"]
    looking.join()
    assert found[0]["name"] == "NotificationAccessTracking" and time.monotonic() - began < 20


def test_events_are_append_only(edge: Edge, path: str) -> None:
    """The database itself refuses to change or delete an event."""
    edge.wait_for("ConsignmentNotification")
    for statement in ("UPDATE events SET body = ''", "DELETE FROM events"):
        with pytest.raises(Exception, match="append-only"):
            edge.rows(statement)


def test_the_sealed_receipt_is_offered_to_its_contact(edge: Edge, path: str) -> None:
    """The page offers it once it is there; before, its address is as unknown as any."""
    edge.press(path)
    assert edge.public.get(f"{path}/receipt").status_code == 404
    put = [
        edge.api.put(f"/deliveries/{DELIVERY}/receipt", params={"contact": "k1"}, content=PDF + b"seal")
        for _ in range(2)
    ]
    assert [answer.status_code for answer in put] == [201, 200]
    assert f"{path}/receipt" in edge.public.get(path).text
    answer = edge.public.get(f"{path}/receipt")
    assert answer.content == PDF + b"seal" and "accuse-de-reception-FA-2026-0042.pdf" in str(answer.headers)


def test_a_receipt_for_nobody_is_refused(edge: Edge, path: str) -> None:
    answer = edge.api.put(f"/deliveries/{DELIVERY}/receipt", params={"contact": "k9"}, content=PDF)
    assert answer.status_code == 404
