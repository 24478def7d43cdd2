"""The documents of a job (PWG 5100.5): each is a row, shown as the job that it would be alone.

One rule: what is true of a document is said by :mod:`printerd.listener.jobs`
and given the names that documents have; nothing is known here besides.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from printerd.ipp.attributes import attribute, select
from printerd.ipp.codec import encode
from printerd.ipp.message import Attribute, Group, GroupTag
from printerd.ipp.registry import JobState
from printerd.listener import jobs as shown
from printerd.listener.control import document_of
from printerd.listener.printer import PATH, web
from printerd.listener.service import Answer, Call, Service
from printerd.storage.jobs import Job

DEFAULT: Final = ("document-number", "document-state", "document-state-reasons", "document-state-message")
"""What Get-Documents answers when nothing is requested."""
_STATES: Final[Mapping[JobState, int]] = {JobState.PENDING_HELD: JobState.PENDING}
"""A document is not held: its job is (PWG 5100.5 section 9.1.9)."""
_RENAMED: Final[Mapping[str, str]] = {
    "job-hold-until-specified": "none",
    "job-held-for-release": "none",
    "job-suspended-by-operator": "processing-to-stop-point",
    "printer-stopped": "none",
    "job-incoming": "incoming",
}
_PRIVATE: Final = frozenset({"document-name", "document-state-message", "more-info"})
"""What only the owner of the job sees."""


def group(job: Job, number: int, viewer: shown.Viewer, requested: tuple[str, ...]) -> Group:
    """The Document Attributes that ``viewer`` asked for and may see."""
    told = _facts(job, number, viewer)
    visible = {name: data for name, data in told.items() if viewer.owns(job) or name not in _PRIVATE}
    return select(Group(GroupTag.DOCUMENT, tuple(_build(name, data) for name, data in visible.items())), requested)


def _build(name: str, data: Any) -> Attribute:
    return data if isinstance(data, Attribute) else attribute(name, *(data if isinstance(data, tuple) else (data,)))


def _facts(job: Job, number: int, viewer: shown.Viewer) -> dict[str, Any]:
    document = job.documents[number - 1]
    alone = shown.group(document, viewer, _OF_JOB)
    standing = shown.standing(document, viewer.now, viewer.report_within)
    options, printer = document.ticket.options, viewer.base + PATH
    told: dict[str, Any] = {
        "attributes-charset": "utf-8",
        "attributes-natural-language": viewer.printer.language,
        "document-number": number,
        "document-job-id": job.number,
        "document-job-uri": f"{printer}/{job.number}",
        "document-printer-uri": printer,
        "document-uuid": f"urn:uuid:{document.id}",
        "document-state": _STATES.get(standing.state, standing.state),
        "document-state-reasons": tuple(dict.fromkeys(map(_reason, standing.reasons))),
        "document-state-message": alone.text("job-state-message"),
        "document-name": options.get("document-name", document.ticket.title),
        "document-format": document.ticket.media_type,
        "document-format-detected": document.ticket.media_type,
        "k-octets": min(-(-document.size // 1024), 2**31 - 1),
        "last-document": not job.is_open and number == len(job.documents),
        "printer-up-time": viewer.printer.up_time(viewer.now),
    }
    told |= {name: given for name in _TIMES if (given := alone.get(name))}
    told |= {name: options[name] for name in ("document-charset", "document-natural-language") if name in options}
    return told | (
        {"more-info": f"{web(viewer.base)}{viewer.printer.console}jobs/{document.number}"}
        if viewer.printer.console
        else {}
    )


_TIMES: Final = (
    "time-at-creation",
    "time-at-processing",
    "time-at-completed",
    "date-time-at-creation",
    "date-time-at-processing",
    "date-time-at-completed",
)
_OF_JOB: Final = ("job-state-message", *_TIMES)


def _reason(of_job: str) -> str:
    """``job-completed-successfully`` is ``completed-successfully`` of a document."""
    return _RENAMED.get(of_job, of_job.removeprefix("job-"))


async def get_documents(service: Service, call: Call) -> Answer:
    """PWG 5100.5 section 4.4."""
    job, viewer, requested = await service.job(call), service.viewer(call), call.request.requested or DEFAULT
    limit = call.request.attributes.number("limit", len(job.documents))
    numbers = range(1, min(limit, len(job.documents)) + 1)
    return Answer(encode(service.ok(call, *(group(job, number, viewer, requested) for number in numbers))))


async def get_document_attributes(service: Service, call: Call) -> Answer:
    """PWG 5100.5 section 4.3."""
    job = await service.job(call)
    document_of(job, call)
    number = call.request.attributes.number("document-number")
    return Answer(encode(service.ok(call, group(job, number, service.viewer(call), call.request.requested))))
