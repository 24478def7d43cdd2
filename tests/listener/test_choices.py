"""What senders choose for their invoices: claimed, taken and refused alike, whatever way it comes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from printerd.choices import COPY_TO, DEFAULTS, ROUTE, TEMPLATE, Policy
from printerd.ipp.attributes import attribute
from printerd.ipp.message import Attribute, GroupTag, Message, Tag, delete_attribute, keyword, name
from printerd.ipp.registry import Operation, Status
from printerd.listener.framing import EXIT
from printerd.listener.printer import CHOICES, SETTABLE
from printerd.model import JobState

from .doors import PDF, POSTSCRIPT, Doors
from .dropping import Dropping
from .printing import RunningPrinter
from .test_backend import line, say
from .test_raw import sent

templates = ["moulin", "Modèle 1"]
POLICY = Policy(("mail", "hold-for-review"), ("firm.example",), lambda: tuple(templates))
WANTED = (
    attribute(ROUTE, "mail"),
    attribute(TEMPLATE, "Modèle 1"),
    attribute(COPY_TO, "anne@firm.example", "bob@firm.example"),
)
KEPT = {ROUTE: "mail", TEMPLATE: "Modèle 1", COPY_TO: "anne@firm.example,bob@firm.example"}
FORBIDDEN = [
    (ROUTE, "paper"),
    (TEMPLATE, "unknown"),
    (COPY_TO, "anne@elsewhere.example"),
]
FAITHFUL = attribute("ipp-attribute-fidelity", True)


@pytest.fixture
def printer(start: Callable[..., RunningPrinter]) -> RunningPrinter:
    return start(policy=POLICY)


def claims(printer: RunningPrinter, *requested: str) -> Any:
    asked = (attribute("requested-attributes", *requested),) if requested else ()
    return printer.ask(printer.request(Operation.GET_PRINTER_ATTRIBUTES, *asked)).first(GroupTag.PRINTER)


def told(printer: RunningPrinter, number: int, user: str = "anna") -> Any:
    asked = (attribute("job-id", number), attribute("requested-attributes", "job-template"))
    return printer.ask(printer.request(Operation.GET_JOB_ATTRIBUTES, *asked, user=user)).first(GroupTag.JOB)


def unsupported(answer: Message) -> dict[str, Any]:
    return {one.name: one.value for one in answer.first(GroupTag.UNSUPPORTED)}


def test_the_claims_are_the_policys(printer: RunningPrinter) -> None:
    """Default and values of each choice are Job Template attributes; a template that is added is claimed at once."""
    group = claims(printer, "job-template")
    assert {name: group.text(f"{name}-default") for name in DEFAULTS} == DEFAULTS
    assert group.texts(f"{ROUTE}-supported") == ("as-customer", "mail", "hold-for-review")
    assert group.texts(f"{COPY_TO}-supported") == ("none", "firm.example")
    assert group.texts(f"{TEMPLATE}-supported") == ("automatic", "moulin", "Modèle 1")
    (_, _, written) = group.get(f"{TEMPLATE}-supported").values
    assert written.tag == Tag.NAME
    templates.append("new")
    try:
        assert claims(printer, f"{TEMPLATE}-supported", "printer-name").texts(f"{TEMPLATE}-supported")[-1] == "new"
    finally:
        templates.remove("new")


def test_what_may_be_asked_for_is_claimed(printer: RunningPrinter) -> None:
    """job-creation-attributes-supported and job-settable-attributes-supported name the choices."""
    group = claims(printer)
    for which in ("job-creation-attributes-supported", "job-settable-attributes-supported"):
        assert set(CHOICES) <= set(group.texts(which))
    assert set(group.texts("job-settable-attributes-supported")) == set(SETTABLE)


def test_without_a_policy_of_its_own(start: Callable[..., RunningPrinter]) -> None:
    """Every way may be chosen, no copy may leave."""
    group = claims(start())
    assert group.texts(f"{ROUTE}-supported") == ("as-customer", "mail", "paper", "both", "hold-for-review")
    assert group.texts(f"{COPY_TO}-supported") == ("none",)


def test_choices_travel_with_the_job(printer: RunningPrinter) -> None:
    """In the ticket by their names; the owner sees them, and nobody else."""
    answer = printer.print_job(PDF, FAITHFUL, job=WANTED)
    assert answer.code == Status.SUCCESSFUL_OK
    assert printer.rows()[0].ticket.options == KEPT
    owner = told(printer, 1)
    assert (owner.text(ROUTE), owner.text(TEMPLATE)) == ("mail", "Modèle 1")
    assert owner.texts(COPY_TO) == ("anne@firm.example", "bob@firm.example")
    assert not {one.name for one in told(printer, 1, user="eve")} & set(CHOICES)


@pytest.mark.parametrize("written", [keyword, name])
def test_a_word_may_come_as_a_name(printer: RunningPrinter, written: Callable[[str], Any]) -> None:
    """CUPS writes as a name what it does not know; it is the same word."""
    job = tuple(Attribute.of(given, written(word)) for given, word in (*DEFAULTS.items(),))
    assert printer.print_job(PDF, FAITHFUL, job=job).code == Status.SUCCESSFUL_OK


@pytest.mark.parametrize(("forbidden", "value"), FORBIDDEN)
def test_what_is_forbidden_is_refused(printer: RunningPrinter, forbidden: str, value: str) -> None:
    """RFC 8011 section 4.1.7: with fidelity the job, else the attribute; either way it comes back as it was given."""
    job = (attribute(forbidden, value),)
    for operation, document in ((Operation.PRINT_JOB, PDF), (Operation.CREATE_JOB, b""), (Operation.VALIDATE_JOB, b"")):
        refused = printer.ask(printer.request(operation, FAITHFUL, job=job), document)
        assert refused.code == Status.CLIENT_ERROR_ATTRIBUTES_OR_VALUES_NOT_SUPPORTED
        assert unsupported(refused) == {forbidden: value}
    assert printer.rows() == []
    ignored = printer.print_job(job=job)
    assert ignored.code == Status.SUCCESSFUL_OK_IGNORED_OR_SUBSTITUTED_ATTRIBUTES
    assert unsupported(ignored) == {forbidden: value}
    assert printer.rows()[0].ticket.options == {}


def test_validate_job_says_what_would_be_done_instead(printer: RunningPrinter) -> None:
    """preferred-attributes (PWG 5100.13) holds what goes without saying."""
    answer = printer.ask(printer.request(Operation.VALIDATE_JOB, job=(attribute(ROUTE, "paper"),)))
    preferred = answer.operation.get("preferred-attributes")
    assert preferred is not None
    (member,) = preferred.values[0].data  # type: ignore[misc]
    assert (member.name, member.value) == (ROUTE, "as-customer")


def test_a_choice_can_be_changed_while_the_job_waits(printer: RunningPrinter) -> None:
    """Set-Job-Attributes takes what the policy allows, and takes it away again."""
    printer.print_job(job=(*WANTED, attribute("job-hold-until", "indefinite")))

    def change(*job: Attribute) -> Message:
        return printer.ask(printer.request(Operation.SET_JOB_ATTRIBUTES, attribute("job-id", 1), job=job))

    refused = change(attribute(ROUTE, "paper"))
    assert refused.code == Status.CLIENT_ERROR_ATTRIBUTES_OR_VALUES_NOT_SUPPORTED
    assert unsupported(refused) == {ROUTE: "paper"}
    changed = change(attribute(ROUTE, "hold-for-review"), Attribute.of(COPY_TO, delete_attribute()))
    assert changed.code == Status.SUCCESSFUL_OK
    options = printer.rows()[0].ticket.options
    assert options == {ROUTE: "hold-for-review", TEMPLATE: "Modèle 1", "job-hold-until": "indefinite"}


def test_each_document_of_a_job_has_its_choices(printer: RunningPrinter) -> None:
    """Those of Create-Job hold for all that follow."""
    number = printer.ask(printer.request(Operation.CREATE_JOB, job=WANTED)).first(GroupTag.JOB).number("job-id")
    for last in (False, True):
        more = (attribute("job-id", number), attribute("last-document", last))
        printer.ask(printer.request(Operation.SEND_DOCUMENT, *more), PDF + bytes([last]))
    (job,) = printer.rows()
    assert [one.ticket.options for one in job.documents] == [KEPT, KEPT]


# The other doors


@pytest.fixture
def cups(tmp_path: Path) -> Iterator[RunningPrinter]:
    running = RunningPrinter(tmp_path / "cups", {"policy": POLICY}, socket_path=tmp_path / "backend.sock")
    yield running
    running.stop()


def test_the_backend_hands_choices_on(cups: RunningPrinter) -> None:
    assert say(cups, line(options=KEPT, size=len(PDF)) + PDF)["verdict"] == "taken"
    assert cups.rows()[0].ticket.options == KEPT


@pytest.mark.parametrize(("forbidden", "value"), FORBIDDEN)
def test_the_backend_is_told_what_is_forbidden(cups: RunningPrinter, forbidden: str, value: str) -> None:
    """CUPS cancels the job and shows the sentence, in the sender's language; the row says the same."""
    answer = say(cups, line(options={forbidden: value}, language="fr", size=len(PDF)) + PDF)
    assert answer["verdict"] == "refused"
    assert answer["message"].startswith(f"L’option {forbidden} ne peut pas valoir «\u00a0{value}\u00a0» ici.")
    (job,) = cups.rows()
    assert (job.state, (job.reason or {})["code"], job.original) == (JobState.ABORTED, "choice", None)


@pytest.mark.parametrize("hostile", ["\x1b[2J\n", "x" * 5000, "\u202e"])
def test_what_is_refused_is_shown_harmlessly(cups: RunningPrinter, hostile: str) -> None:
    """A value of a stranger neither writes on a terminal nor fills a page."""
    message = say(cups, line(options={ROUTE: hostile}, size=len(PDF)) + PDF)["message"]
    assert message.isprintable() or "\n" in hostile
    assert len(message) < 300 and "\x1b" not in message and "\u202e" not in message


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Dropping]:
    with ExitStack() as stack:
        dropping = Dropping(tmp_path / "folder", settings={"policy": POLICY})
        stack.callback(dropping.close)
        stack.enter_context(dropping.running())
        yield dropping


def test_a_sidecar_names_choices(folder: Dropping) -> None:
    """By the names that IPP has for them; other fields stay fields."""
    said = {"user": "marie", "route": "north", **KEPT}
    folder.put("FA-1.json", json.dumps(said).encode())
    folder.put("FA-1.pdf")
    (job,) = folder.settled()
    assert job.ticket.options == {"document-name": "FA-1.pdf", "sidecar.route": "north", **KEPT}


@pytest.mark.parametrize(("forbidden", "value"), [*FORBIDDEN, ("invoice-printer-rout", "mail")])
def test_a_sidecar_that_chooses_what_is_forbidden(folder: Dropping, forbidden: str, value: str) -> None:
    """The document fails with its sidecar, and the reason names what may be chosen."""
    folder.put("FA-1.json", json.dumps({forbidden: value}).encode())
    folder.put("FA-1.pdf")
    (job,) = folder.settled()
    assert job.state is JobState.ABORTED
    reason = folder.reason("FA-1.pdf")
    assert f"option {forbidden}" in reason
    assert ("as-customer" if forbidden == ROUTE else "invoice-printer-route" if "rout" in forbidden else "") in reason


def test_pjl_names_choices(start: Callable[..., RunningPrinter]) -> None:
    """As variables of ``@PJL SET``, for as long as they hold; one that is forbidden refuses its document."""
    doors = Doors()
    printer = start(doors=doors.open, policy=POLICY)
    pjl = b'@PJL SET INVOICE_PRINTER_ROUTE=mail\r\n@PJL SET invoice_printer_template="Mod\xc3\xa8le 1"\r\n'
    sent(doors, EXIT + pjl + b"@PJL ENTER LANGUAGE=PDF\r\n" + PDF + EXIT + POSTSCRIPT)
    sent(doors, EXIT + b"@PJL SET INVOICE_PRINTER_ROUTE=paper\r\n@PJL ENTER LANGUAGE=PDF\r\n" + PDF + EXIT)
    first, second, third = printer.rows()
    assert first.ticket.options == {ROUTE: "mail", TEMPLATE: "Modèle 1"}
    assert second.ticket.options == {}
    assert (third.state, (third.reason or {})["code"]) == (JobState.ABORTED, "choice")
