"""What IPP Everywhere clients do beside plain printing, with the whole service behind the printer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from printerd.ipp.attributes import attribute
from printerd.ipp.codec import decode, encode
from printerd.ipp.message import Attribute, Group, GroupTag, Message, Range
from printerd.ipp.registry import JobState, Operation, Status
from tests.conformance.raster import raster
from tests.instance import Instance, printed_samples, request, served
from tests.waiting import until


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    with served(tmp_path_factory.mktemp("everywhere") / "state") as running:
        yield running


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return printed_samples(tmp_path_factory.mktemp("samples"))


def ask(
    instance: Instance, code: Operation, *more: Attribute, job: tuple[Attribute, ...] = (), document: bytes = b""
) -> Message:
    given = (
        attribute("attributes-charset", "utf-8"),
        attribute("attributes-natural-language", "en"),
        attribute("printer-uri", instance.printer),
        *more,
        attribute("requesting-user-name", "marie"),
    )
    groups = (Group(GroupTag.OPERATION, given), *((Group(GroupTag.JOB, job),) if job else ()))
    body = encode(Message((2, 2), code, 1, groups)) + document
    url = f"http://{instance.address('ipp')}/ipp/print"
    answer = decode(request("POST", url, headers={"Content-Type": "application/ipp"}, body=body).body)
    assert answer.code == Status.SUCCESSFUL_OK, answer
    return answer


def number(answer: Message) -> int:
    return answer.first(GroupTag.JOB).number("job-id")


def shown(instance: Instance, job: int) -> Group:
    return ask(instance, Operation.GET_JOB_ATTRIBUTES, attribute("job-id", job)).first(GroupTag.JOB)


def test_a_raster_waits_for_a_person(instance: Instance) -> None:
    """The bytes are kept, the job is held, and the queue says how to print instead."""
    sent = ask(
        instance,
        Operation.PRINT_JOB,
        attribute("document-format", "image/pwg-raster"),
        document=raster("sgray_8", 300),
    )
    held = until(
        lambda: instance.job(number(sent))["job"] if instance.job(number(sent))["job"]["state"] == "held" else None
    )
    assert held["state"] == "held"
    assert "choose PDF in the print queue" in shown(instance, number(sent)).text("job-state-message")


def test_a_held_job_is_read_when_it_is_released(instance: Instance, files: dict[str, Any]) -> None:
    """The worker leaves a held job alone and does what came after it; released, it goes the whole way."""
    sample = files["facture-simple-fr"]
    hold = (attribute("job-hold-until", "indefinite"),)
    sent = number(ask(instance, Operation.PRINT_JOB, job=hold, document=sample.file.read_bytes()))
    other = number(ask(instance, Operation.PRINT_JOB, document=files["facture-cid-fr"].file.read_bytes()))
    instance.settled(other)
    assert (instance.job(sent)["job"]["state"], instance.job(sent)["invoices"]) == ("pending", [])
    ask(instance, Operation.RELEASE_JOB, attribute("job-id", sent))
    settled = instance.settled(sent)
    assert [one["state"] for one in settled["invoices"]] == ["archived"]
    assert shown(instance, sent).number("job-state") == JobState.COMPLETED


def test_documents_of_one_job_become_invoices(instance: Instance, files: dict[str, Any]) -> None:
    """Two documents are one job in the queue; each is read, and the job tells the invoices of both."""
    sent = attribute("job-id", number(ask(instance, Operation.CREATE_JOB)))
    samples = files["facture-deux-pages-fr"], files["facture-postscript-fr"]
    for sample, last in zip(samples, (False, True), strict=True):
        more = (sent, attribute("last-document", last))
        ask(instance, Operation.SEND_DOCUMENT, *more, document=sample.file.read_bytes())
    own = sent.values[0].data
    assert isinstance(own, int)
    until(lambda: shown(instance, own).number("job-state") == JobState.COMPLETED or None)
    for job in (own, own + 1):
        assert [one["state"] for one in instance.settled(job)["invoices"]] == ["archived"]
    told = shown(instance, own)
    assert told.number("number-of-documents") == 2
    found = told.get("invoice-printer-invoices")
    assert found is not None
    numbers = [value.data[0].value for value in found.values if isinstance(value.data, tuple)]
    assert numbers == [sample.expected[0].invoice.number for sample in samples]


def test_only_the_pages_that_were_asked_for_become_invoices(instance: Instance, files: dict[str, Any]) -> None:
    """A sender who asks for the second page of several prints the invoice on it, and no other."""
    sample = files["factures-texte-fr"]
    pages = (attribute("page-ranges", Range(2, 2)),)
    sent = number(ask(instance, Operation.PRINT_JOB, job=pages, document=sample.file.read_bytes()))
    settled = instance.settled(sent)
    assert [one["number"] for one in settled["invoices"]] == [sample.expected[1].invoice.number]
