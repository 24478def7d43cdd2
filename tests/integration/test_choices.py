"""What a sender chooses, with the whole service: mail, paper, both, held; and what the law and the firm forbid."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from datetime import date
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from printerd.choices import COPY_TO, ROUTE, TEMPLATE
from printerd.ipp.attributes import attribute
from printerd.ipp.codec import decode, encode
from printerd.ipp.message import Group, GroupTag, Message
from printerd.ipp.registry import Operation, Status
from tests import documents
from tests.cups import PPD, Cups
from tests.faults import FIRST_NUMBER, Books
from tests.instance import Instance, request, served
from tests.waiting import until

TODAY = date.today()  # noqa: DTZ011 - the day on the paper
AGREED, AGREED_TO = "C0055", "regis@grand-coeur.example"
NOT_AGREED, NOT_TO = "C0013", "maelle@creperie-mouettes.example"
ANNE = "anne@aubonmoulin.example"
numbers = count(FIRST_NUMBER + 500)


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory, cupsd: Cups) -> Iterator[Instance]:
    settings = {
        "choices.copies": ["aubonmoulin.example"],
        "listen.backend": f"unix://{cupsd.root}/choices.sock",
        "folders.path": tmp_path_factory.mktemp("hot"),
        "folders.rest": 0.5,
        "folders.look_every": 1,
    }
    with served(tmp_path_factory.mktemp("choices") / "state", settings) as running:
        yield running


def sale(customer: str = AGREED) -> tuple[str, bytes]:
    """A new invoice: its number, and its page."""
    made = documents.another_sale(next(numbers), customer, today=TODAY)
    return made.invoice.number, documents.printed(made)


def send(instance: Instance, document: bytes, faithful: bool = True, **chosen: str) -> Message:
    """Print-Job with choices, by IPP."""
    said = {"attributes-charset": "utf-8", "attributes-natural-language": "en", "printer-uri": instance.printer}
    operation = [attribute(name, value) for name, value in said.items()]
    operation.append(attribute("ipp-attribute-fidelity", faithful))
    job = tuple(attribute(name, value) for name, value in chosen.items())
    groups = (Group(GroupTag.OPERATION, tuple(operation)), Group(GroupTag.JOB, job))
    octets = encode(Message((2, 0), Operation.PRINT_JOB, 1, groups)) + document
    address = f"http://{instance.address('ipp')}/ipp/print"
    return decode(request("POST", address, headers={"Content-Type": "application/ipp"}, body=octets).body)


def printed(instance: Instance, document: bytes, **chosen: str) -> int:
    answer = send(instance, document, **chosen)
    assert answer.code == Status.SUCCESSFUL_OK, answer
    return answer.first(GroupTag.JOB).number("job-id")


def papers(instance: Instance, number: str) -> list[Path]:
    return list((instance.state / "out-tray").rglob(f"*{number}*.pdf"))


def mails(instance: Instance, number: str) -> list[str]:
    return sorted(one["To"].addresses[0].addr_spec for one in instance.mailbox.messages(about=number))


def message(instance: Instance, job: int) -> str:
    return str(instance.job(job)["job"]["message"])


def recorded(instance: Instance, number: str) -> Any:
    """What the ledger says that was chosen for an invoice."""
    rows = Books(instance.state).rows("SELECT body FROM ledger_records")
    bodies = (json.loads(row["body"]) for row in rows)
    return next(body.get("chosen") for body in bodies if body.get("number") == number and "sealed" in body)


def test_by_mail(instance: Instance) -> None:
    """To the customer, and a copy without the link to whom the sender named."""
    number, document = sale()
    job = printed(instance, document, **{ROUTE: "mail", COPY_TO: ANNE})
    instance.delivered(job, "accepted")
    assert until(lambda: len(mails(instance, number)) == 2)
    assert mails(instance, number) == [ANNE, AGREED_TO]
    (copy,) = instance.mailbox.messages(ANNE, number)
    assert AGREED_TO in copy.get_content() and "/l/" not in copy.get_content()
    assert papers(instance, number) == []
    assert message(instance, job) == f"{number} mailed"
    assert recorded(instance, number) == {ROUTE: "mail", COPY_TO: ANNE}


def test_on_paper(instance: Instance) -> None:
    """Nobody is mailed, though the customer would be."""
    number, document = sale()
    job = printed(instance, document, **{ROUTE: "paper"})
    instance.delivered(job, "paper")
    assert len(papers(instance, number)) == 1
    assert mails(instance, number) == []
    assert recorded(instance, number) == {ROUTE: "paper"}


def test_both(instance: Instance) -> None:
    """One invoice, two deliveries, each once."""
    number, document = sale()
    job = printed(instance, document, **{ROUTE: "both"})
    instance.delivered(job, "accepted")
    assert mails(instance, number) == [AGREED_TO]
    assert len(papers(instance, number)) == 1
    assert until(lambda: message(instance, job) == f"{number} mailed (and on paper)")
    detail = instance.json("invoices", "show", number)["invoice"]
    assert sorted(one["route"] for one in detail["deliveries"]) == ["mail", "paper"]


def test_held_for_review(instance: Instance) -> None:
    """Nothing leaves before a person has looked, and then it goes as the customer's record says."""
    number, document = sale()
    job = printed(instance, document, **{ROUTE: "hold-for-review"})
    (invoice,) = instance.settled(job)["invoices"]
    assert (invoice["state"], [one["code"] for one in invoice["reasons"]]) == ("waiting", ["review"])
    assert "The sender asked for a review" in message(instance, job)
    assert mails(instance, number) == papers(instance, number) == []
    instance.here("invoices", "release", invoice["id"], "--reason", "looked at")
    instance.delivered(job, "accepted")
    assert mails(instance, number) == [AGREED_TO]
    assert recorded(instance, number) == {ROUTE: "hold-for-review"}


@pytest.mark.parametrize("way", ["mail", "both"])
def test_mail_without_consent_stays_paper(instance: Instance, way: str) -> None:
    """The law goes before the sender's choice, and the print queue says so."""
    number, document = sale(NOT_AGREED)
    job = printed(instance, document, **{ROUTE: way, COPY_TO: ANNE})
    instance.delivered(job, "paper")
    assert len(papers(instance, number)) == 1
    assert mails(instance, number) == []
    said = "put into the out-tray for paper (mail was chosen, but the customer has not agreed to electronic invoices)"
    assert message(instance, job) == f"{number} {said}"
    assert recorded(instance, number) == {ROUTE: way, COPY_TO: ANNE}


def test_the_named_template(instance: Instance) -> None:
    """The one that it has: it goes its way. Another: a person looks."""
    number, document = sale()
    assert instance.delivered(printed(instance, document, **{TEMPLATE: "moulin-classic-fr"}), "accepted")
    other, document = sale()
    (invoice,) = instance.settled(printed(instance, document, **{TEMPLATE: "moulin-modern-fr"}))["invoices"]
    assert [one["code"] for one in invoice["reasons"]] == ["other-template"]
    assert mails(instance, number) == [AGREED_TO] and mails(instance, other) == []


@pytest.mark.parametrize(("name", "value"), [(COPY_TO, "eve@elsewhere.example"), (TEMPLATE, "absent")])
def test_what_is_forbidden_is_refused(instance: Instance, name: str, value: str) -> None:
    """With fidelity the job, else the attribute: the invoice then goes as if nothing had been chosen."""
    number, document = sale()
    refused = send(instance, document, **{name: value})
    assert refused.code == Status.CLIENT_ERROR_ATTRIBUTES_OR_VALUES_NOT_SUPPORTED
    assert refused.first(GroupTag.UNSUPPORTED).text(name) == value
    ignored = send(instance, document, faithful=False, **{name: value})
    assert ignored.code == Status.SUCCESSFUL_OK_IGNORED_OR_SUBSTITUTED_ATTRIBUTES
    assert ignored.first(GroupTag.UNSUPPORTED).text(name) == value
    instance.delivered(ignored.first(GroupTag.JOB).number("job-id"), "accepted")
    assert mails(instance, number) == [AGREED_TO]
    assert recorded(instance, number) is None


def test_a_template_that_is_added_may_be_chosen(instance: Instance) -> None:
    """While the service runs, and no longer than it is there."""
    added = instance.state / "templates" / "Mon modèle.toml"
    added.write_text("locale = 'fr_FR'\nfingerprint.all = ['^Nobody prints this$']\n")
    try:
        number, document = sale()
        (invoice,) = instance.settled(printed(instance, document, **{TEMPLATE: "Mon modèle"}))["invoices"]
        assert [one["code"] for one in invoice["reasons"]] == ["other-template"]
    finally:
        added.unlink()
    assert send(instance, document, **{TEMPLATE: "Mon modèle"}).code >= 0x0400
    assert mails(instance, number) == []


def test_a_sidecar_chooses(instance: Instance) -> None:
    number, document = sale()
    hot = Path(instance.settings["folders.path"])
    for name, data in ((f"{number}.json", json.dumps({ROUTE: "paper"}).encode()), (f"{number}.pdf", document)):
        (hot / ".partial").write_bytes(data)
        (hot / ".partial").rename(hot / name)
    until(lambda: (hot / "done" / f"{number}.pdf").exists())
    job = next(one["number"] for one in instance.json("jobs") if one["title"] == f"{number}.pdf")
    instance.delivered(job, "paper")
    assert len(papers(instance, number)) == 1 and mails(instance, number) == []


def by_lp(instance: Instance, cupsd: Cups, folder: Path, uri: str, *options: str) -> tuple[str, int]:
    """An invoice that is to go on paper, printed through a queue with that address: its number, and its job."""
    number, document = sale()
    file, queue = folder / f"{number}.pdf", f"choices-{number}"
    file.write_bytes(document)
    cupsd.add_queue(queue, uri, *options)
    cupsd.send(queue, file, number, "-o", f"{ROUTE}=paper")
    cupsd.finish(queue)
    return number, next(one["number"] for one in instance.json("jobs") if one["title"] == number)


def test_lp_chooses_through_our_driver(instance: Instance, cupsd: Cups, tmp_path: Path) -> None:
    uri = f"invoice-printer:{cupsd.root}/choices.sock?queue=invoices"
    number, job = by_lp(instance, cupsd, tmp_path, uri, "-P", str(PPD))
    instance.delivered(job, "paper")
    assert len(papers(instance, number)) == 1 and mails(instance, number) == []


def test_cups_own_driver_leaves_choices_out(instance: Instance, cupsd: Cups, tmp_path: Path) -> None:
    """A queue made with -m everywhere sends only what CUPS knows: docs/clients.md warns of it."""
    number, job = by_lp(instance, cupsd, tmp_path, instance.printer)
    instance.delivered(job, "accepted")
    assert mails(instance, number) == [AGREED_TO] and recorded(instance, number) is None


def test_a_way_that_the_firm_does_not_allow(instance: Instance) -> None:
    """Started again with fewer ways, it refuses the others; all that went before stands in the books as it was."""
    instance.stop()
    instance.settings["choices.routes"] = ["mail"]
    instance.start()
    number, document = sale()
    refused = send(instance, document, **{ROUTE: "paper"})
    assert refused.code == Status.CLIENT_ERROR_ATTRIBUTES_OR_VALUES_NOT_SUPPORTED
    assert refused.first(GroupTag.UNSUPPORTED).text(ROUTE) == "paper"
    assert papers(instance, number) == []
    assert instance.run("verify", "--all").returncode == os.EX_OK
