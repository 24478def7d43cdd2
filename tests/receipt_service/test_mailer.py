"""Never twice, and never "sent" when it was not: the mailer against relays that behave and relays that do not."""

from __future__ import annotations

import time
from collections.abc import Callable
from email import message_from_bytes, policy
from email.message import EmailMessage
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receipt_service.mailer import dotted, judge, xtext
from receipt_service.outbox import Deferred, Patience, Refused, queue_id
from tests.waiting import until

from .harness import DELIVERY, Edge, ScriptedRelay, delivery, path_in

Start = Callable[..., Edge]
STATE = "SELECT state, phase, attempt, wire IS NULL FROM outbox"


def contact(email: str, contact_id: str = "k1", name: str = "Marie") -> dict[str, str]:
    return {"id": contact_id, "name": name, "email": email, "role": ""}


def test_250_after_the_dot_is_accepted_and_the_bytes_are_erased(start: Start, scripted: ScriptedRelay) -> None:
    """The event has the relay's answer and queue id; digest and masked copy stay, the link does not."""
    edge = start(scripted.port)
    edge.deliver()
    data = edge.wait_for("ConsignmentNotification")[0]["data"]
    assert (data["to"], data["queue_id"], data["reply"]) == ("marie@client.fr", "ABC", "250 2.0.0 Ok: queued as ABC")
    assert edge.rows(STATE) == [("ACCEPTED", "", 1, 1)]
    message = message_from_bytes(scripted.messages[0], policy=policy.default)
    assert data["message_id"] == message["Message-ID"]
    assert edge.api.get("/status").json()["mail_backlog"] == 0


@pytest.mark.parametrize("answer", ["close", "garbage", "xyz what"])
def test_silence_after_the_dot_is_uncertain_and_never_sent_again(
    start: Start, scripted: ScriptedRelay, answer: str
) -> None:
    """The relay has the message, its answer is lost: UNCERTAIN is said, and no second copy ever leaves."""
    scripted.replies["dot"] = [answer]
    edge = start(scripted.port, smtp={"timeout": 0.5})
    edge.deliver()
    assert edge.wait_for("MailUncertain")[0]["data"]["to"] == "marie@client.fr"
    time.sleep(0.4)
    assert len(scripted.messages) == 1
    assert edge.rows(STATE) == [("UNCERTAIN", "", 1, 0)]


@pytest.mark.parametrize(
    ("verb", "reply"),
    [
        ("connect", "close"),
        ("connect", "554 no service"),
        ("EHLO", "close"),
        ("MAIL", "451 4.3.0 try later"),
        ("MAIL", "550 5.7.1 you may not send as this"),
        ("RCPT", "450 4.2.1 mailbox busy"),
        ("RCPT", "close"),
        ("DATA", "451 not now"),
        ("DATA", "close"),
        ("dot", "452 4.3.1 disk full"),
        ("dot", "421 4.3.2 shutting down"),
    ],
)
def test_what_fails_before_the_dot_or_is_put_off_is_tried_again(
    start: Start, scripted: ScriptedRelay, verb: str, reply: str
) -> None:
    """A broken connection, a 4xx anywhere, or trouble with the account: one more attempt, one letter in the end."""
    scripted.replies[verb] = [reply]
    edge = start(scripted.port)
    edge.deliver()
    edge.wait_for("ConsignmentNotification")
    assert edge.rows(STATE) == [("ACCEPTED", "", 2, 1)]
    assert {event["name"] for event in edge.events()} == {"ConsignmentNotification"}


@pytest.mark.parametrize(
    ("verb", "reply", "reason"),
    [
        ("RCPT", "550 5.1.1 unknown user", "5.1.1"),
        ("DATA", "554 no", "refused in data"),
        ("dot", "554 5.6.0 spam", "5.6.0"),
    ],
)
def test_a_permanent_refusal_fails_with_its_reason(
    start: Start, scripted: ScriptedRelay, verb: str, reply: str, reason: str
) -> None:
    """5xx about the recipient or the message: FAILED at once, with the relay's words."""
    scripted.replies[verb] = [reply]
    edge = start(scripted.port)
    edge.deliver()
    data = edge.wait_for("ConsignmentNotificationFailure")[0]["data"]
    assert (data["reply"], data["reason"]) == (reply, reason)
    assert edge.rows(STATE) == [("FAILED", "", 1, 1)]


def test_patience_ends(start: Start, scripted: ScriptedRelay) -> None:
    """After ``give_up_after`` a letter that is put off again and again has failed, and says so."""
    scripted.replies["RCPT"] = ["450 later"] * 50
    edge = start(scripted.port, retry={"first": 0.05, "most": 0.1, "give_up_after": 2})
    edge.deliver()
    assert edge.wait_for("ConsignmentNotificationFailure")[0]["data"]["reason"] == "retries exhausted"
    assert edge.rows("SELECT attempt > 1 FROM outbox") == [(1,)]


def test_421_stops_the_whole_account(start: Start, scripted: ScriptedRelay) -> None:
    """When the relay says 421, no other letter is tried until the pause is over."""
    scripted.replies["MAIL"] = ["421 4.7.0 too many"]
    edge = start(scripted.port, retry={"first": 1.0, "most": 1.0, "give_up_after": 60})
    edge.deliver()
    until(lambda: "QUIT" in scripted.lines or len(scripted.lines) >= 2)
    until(lambda: edge.rows("SELECT 1 FROM outbox WHERE state = 'PENDING' AND attempt = 1"))
    edge.deliver(delivery_id=str(uuid4()))
    time.sleep(0.3)
    assert edge.rows("SELECT sum(attempt) FROM outbox") == [(1,)]
    edge.wait_for("ConsignmentNotification", 2)


def test_450_about_one_mailbox_stops_no_other(start: Start, scripted: ScriptedRelay) -> None:
    """A busy mailbox is its own trouble: the next letter leaves at once."""
    scripted.replies["RCPT"] = ["450 4.2.1 busy"]
    edge = start(scripted.port, retry={"first": 30, "most": 30, "give_up_after": 600})
    edge.deliver()
    until(lambda: edge.rows("SELECT 1 FROM outbox WHERE state = 'PENDING' AND attempt = 1"))
    edge.deliver(delivery_id=str(uuid4()))
    assert len(edge.wait_for("ConsignmentNotification")) == 1


def test_a_relay_that_takes_no_mail_is_told_until_it_does(start: Start, scripted: ScriptedRelay) -> None:
    """The status says why mail waits, without an address; once the relay takes a letter it says nothing."""
    scripted.replies["MAIL"] = ["451 4.3.0 <compta@aubonmoulin.example> not now"]
    edge = start(scripted.port, retry={"first": 1, "most": 1, "give_up_after": 600})
    edge.deliver()
    told = until(lambda: edge.api.get("/status").json()["mail_trouble"])
    assert "451 4.3.0" in told and "@" not in told
    edge.wait_for("ConsignmentNotification")
    assert (status := edge.api.get("/status").json())["mail_trouble"] == ""
    assert (status["mail_backlog"], status["last_event"]) == (0, len(edge.events()))


def test_a_letter_that_no_attempt_brings_away_is_told(start: Start, scripted: ScriptedRelay) -> None:
    """A mailbox that is busy for long is trouble too, though the account is not stopped."""
    scripted.replies["RCPT"] = ["450 4.2.1 <claire@client.fr> busy"] * 20
    edge = start(scripted.port, retry={"first": 0.1, "most": 0.1, "give_up_after": 600})
    edge.deliver(delivery(contacts=[contact("claire@client.fr", "k1")]))
    told = until(lambda: edge.api.get("/status").json()["mail_trouble"])
    assert told == "450 4.2.1 <…> busy"
    assert edge.rows("SELECT attempt FROM outbox")[0][0] >= 4


def test_the_rate_of_the_account_is_kept(start: Start, scripted: ScriptedRelay) -> None:
    """At two a minute the third letter waits, whatever the number of connections."""
    edge = start(scripted.port, smtp={"per_minute": 2})
    people = [contact(f"p{number}@client.fr", f"k{number}") for number in range(4)]
    edge.deliver(delivery(contacts=people))
    edge.wait_for("ConsignmentNotification", 2)
    time.sleep(0.3)
    assert len(scripted.messages) == 2 and edge.api.get("/status").json()["mail_backlog"] == 2


def test_a_connection_carries_one_letter_after_the_other(start: Start, scripted: ScriptedRelay) -> None:
    """Eight letters use at most the two pooled connections at once, each transaction one recipient."""
    edge = start(scripted.port)
    edge.deliver(delivery(contacts=[contact(f"p{number}@client.fr", f"k{number}") for number in range(8)]))
    edge.wait_for("ConsignmentNotification", 8)
    verbs = [line.split(":")[0] for line in scripted.lines]
    assert scripted.at_once <= 2 and scripted.connections < 8  # one that has rested is closed, and made anew
    assert verbs.count("RCPT TO") == verbs.count("MAIL FROM") == 8


def test_delivery_reports_are_asked_for_where_they_are_offered(start: Start, scripted: ScriptedRelay) -> None:
    """With DSN in EHLO: headers only (the letter holds the link), our row as ENVID, the original recipient."""
    scripted.ehlo = "250-relay.test\r\n250-DSN\r\n250 SIZE 100000"
    edge = start(scripted.port)
    edge.deliver()
    row = edge.wait_for("ConsignmentNotification")[0]["data"]["message"]
    sender = next(line for line in scripted.lines if line.startswith("MAIL"))
    recipient = next(line for line in scripted.lines if line.startswith("RCPT"))
    assert "RET=HDRS" in sender and f"ENVID={row}" in sender and "SIZE=" in sender
    assert "ORCPT=rfc822;marie@client.fr" in recipient and "NOTIFY=FAILURE,DELAY" in recipient


def test_nothing_is_asked_of_a_relay_that_does_not_offer_it(start: Start, scripted: ScriptedRelay) -> None:
    scripted.ehlo = "250 relay.test"
    edge = start(scripted.port)
    edge.deliver()
    edge.wait_for("ConsignmentNotification")
    assert "MAIL FROM:<compta@moulin.example>" in scripted.lines and "RCPT TO:<marie@client.fr>" in scripted.lines


@pytest.mark.parametrize("offered", [True, False])
def test_a_local_part_outside_ascii_needs_smtputf8(start: Start, scripted: ScriptedRelay, offered: bool) -> None:
    """Where the relay offers it the letter leaves; where not, it fails and says why, instead of being mangled."""
    scripted.ehlo = "250-relay.test\r\n250-8BITMIME\r\n250 SMTPUTF8" if offered else "250 relay.test"
    edge = start(scripted.port)
    edge.deliver(delivery(contacts=[contact("josé@client.fr")]))
    if offered:
        assert edge.wait_for("ConsignmentNotification")[0]["data"]["to"] == "josé@client.fr"
        assert any(line.startswith("MAIL") and "SMTPUTF8" in line for line in scripted.lines)
    else:
        assert "SMTPUTF8" in edge.wait_for("ConsignmentNotificationFailure")[0]["data"]["reason"]


def test_a_domain_outside_ascii_needs_nothing(start: Start, scripted: ScriptedRelay) -> None:
    """A domain has an ASCII form that every relay knows (RFC 5891)."""
    edge = start(scripted.port)
    edge.deliver(delivery(contacts=[contact("marie@boulangerie-müller.example")]))
    edge.wait_for("ConsignmentNotification")
    assert "xn--" in next(line for line in scripted.lines if line.startswith("RCPT"))


def test_using_the_link_resolves_the_doubt(start: Start, scripted: ScriptedRelay) -> None:
    """Only the letter holds the link, so whoever opens it proves that it arrived: the bytes are erased."""
    scripted.replies["dot"] = ["close"]
    edge = start(scripted.port)
    edge.deliver()
    edge.wait_for("MailUncertain")
    edge.public.get(path_in(message_from_bytes(scripted.messages[0], policy=policy.default)))
    assert edge.rows(STATE) == [("ACCEPTED", "", 1, 1)]


def test_a_reminder_settles_the_doubt(start: Start, scripted: ScriptedRelay) -> None:
    """A person decided to write again: the doubtful letter is superseded and its bytes are erased."""
    scripted.replies["dot"] = ["close"]
    edge = start(scripted.port)
    edge.deliver()
    edge.wait_for("MailUncertain")
    body = {"dispatch": str(uuid4()), "contact": "k1", "reason": "decided"}
    edge.api.post(f"/deliveries/{DELIVERY}/reminders", json=body).raise_for_status()
    edge.wait_for("ConsignmentNotification")
    found = edge.rows("SELECT state, reply, wire FROM outbox WHERE dispatch = ?", DELIVERY)
    assert found == [("FAILED", "superseded", None)]


def test_accounting_gets_a_copy_without_the_customers_link(
    start: Start, mailbox: tuple[object, int], letters: Callable[[int], list[EmailMessage]]
) -> None:
    """The copy is a letter of its own, names whom was written to, and makes no event."""
    edge = start(mailbox[1], smtp={"bcc": "archive@moulin.example"})
    edge.deliver()
    by_address = {letter["To"].addresses[0].addr_spec: letter for letter in letters(2)}
    copy = by_address["archive@moulin.example"].get_content()
    assert "marie@client.fr" in copy and "/l/" not in copy
    assert len(edge.wait_for("ConsignmentNotification")) == 1


def test_whom_the_sender_named_gets_a_copy_without_the_link(
    start: Start, mailbox: tuple[object, int], letters: Callable[[int], list[EmailMessage]]
) -> None:
    """Each a letter of its own beside accounting's; sent once, however often the delivery is repeated."""
    edge = start(mailbox[1], smtp={"bcc": "archive@moulin.example"})
    order = delivery(copies=["anne@moulin.example", "bob@moulin.example"])
    edge.deliver(order)
    edge.deliver(order)
    by_address = {letter["To"].addresses[0].addr_spec: letter for letter in letters(4)}
    assert len(by_address) == 4
    for address in ("anne@moulin.example", "bob@moulin.example"):
        copy = by_address[address].get_content()
        assert "marie@client.fr" in copy and "/l/" not in copy
    assert len(edge.wait_for("ConsignmentNotification")) == 1
    assert edge.rows("SELECT count(*) FROM outbox") == [(4,)]


def test_a_rehearsal_writes_to_nobody_else(
    start: Start, mailbox: tuple[object, int], letters: Callable[[int], list[EmailMessage]]
) -> None:
    """The letter goes to the rehearsal's address alone, names the true addressee, and every event is marked."""
    edge = start(mailbox[1], smtp={"bcc": "archive@moulin.example"})
    copies = ["anne@moulin.example"]
    edge.deliver(delivery(mode="rehearsal", rehearsal_to="essai@moulin.example", copies=copies))
    (letter,) = letters(1)
    assert letter["To"] == "essai@moulin.example" and letter["Subject"].startswith("SPECIMEN pour marie@client.fr")
    body = letter.get_body(("plain",))
    assert body is not None and "SPECIMEN" in body.get_content() and "marie@client.fr" in body.get_content()
    assert "SPECIMEN" in edge.public.get(path_in(letter)).text
    edge.press(path_in(letter))
    edge.wait_for("ContentHandover")
    assert {event["data"]["mode"] for event in edge.events()} == {"rehearsal"}
    assert edge.events("ConsignmentAcceptance")[0]["data"]["identified_by"] == "link sent to e***@moulin.example"


@pytest.mark.parametrize(
    ("phase", "code", "text", "expected"),
    [
        ("connect", 535, "5.7.8 bad password", Deferred("535 5.7.8 bad password", account=True)),
        ("mail", 550, "5.7.1 no", Deferred("550 5.7.1 no", account=True)),
        ("rcpt", 550, "5.1.1 who", Refused("550 5.1.1 who", "5.1.1")),
        ("rcpt", 450, "4.2.2 full", Deferred("450 4.2.2 full", account=False)),
        ("rcpt", 450, "4.7.1 greylisted", Deferred("450 4.7.1 greylisted", account=True)),
        ("rcpt", 252, "cannot verify", Deferred("252 cannot verify", account=False)),
        ("data", 421, "closing", Deferred("421 closing", account=True)),
    ],
)
def test_replies_are_judged_by_phase_and_code(phase: str, code: int, text: str, expected: object) -> None:
    """What concerns the account waits for the account; what concerns the recipient is final."""
    assert judge(phase, code, text) == expected  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ("250 2.0.0 Ok: queued as 4XyZ1k2Abc", "4XyZ1k2Abc"),
        ("250 OK id=1tFabc-0000Xy-2B", "1tFabc-0000Xy-2B"),
        ("250 2.6.0 <a@b> [InternalId=123456, Hostname=x] Queued mail for delivery", "123456"),
        ("250 2.0.0 4AO9xYz1 Message accepted for delivery", "4AO9xYz1"),
        ("250 fine", ""),
    ],
)
def test_queue_ids_are_found(reply: str, expected: str) -> None:
    """Postfix, Exim, Exchange, Sendmail; an unknown way of saying it gives none rather than a guess."""
    assert queue_id(reply) == expected


@given(st.integers(1, 10_000))
def test_pauses_grow_and_are_bounded(attempt: int) -> None:
    """From about a minute to six hours."""
    pause = Patience(60, 21600, 259200).pause(attempt)
    assert min(21600, 45 * 2.0 ** min(attempt - 1, 9)) <= pause <= 21600 or pause <= 75 * 2 ** (attempt - 1)


@given(st.binary())
def test_no_line_of_a_message_can_end_it(wire: bytes) -> None:
    """A dot alone on a line is doubled (RFC 5321 section 4.5.2): only our own dot ends the message."""
    sent = dotted(wire.replace(b"\r", b"").replace(b"\n", b"\r\n"))
    assert sent.endswith(b"\r\n") and b"\r\n.\r\n" not in b"\r\n" + sent


@given(st.text(st.characters(codec="ascii")))
def test_xtext_keeps_parameters_in_one_word(text: str) -> None:
    """RFC 3461 section 4: no space, plus or equals sign of the value survives in clear."""
    assert all("!" <= character <= "~" and character != "=" for character in xtext(text))
