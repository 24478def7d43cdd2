"""How jobs are made, and how documents come to them.

One rule: what is asked for is judged before the first byte of a document is
taken, and what is taken is the intake's to answer for.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Final

from printerd import choices, formats
from printerd.errors import IppError
from printerd.ipp.attributes import attribute
from printerd.ipp.codec import encode
from printerd.ipp.message import Attribute, Group, GroupTag, unsupported
from printerd.ipp.registry import Status
from printerd.listener import printer as claims
from printerd.listener.service import Answer, Call, Service, not_possible, refused
from printerd.listener.subscriptions import subscribed
from printerd.model import CapturedJob, JobId, JobState, Ticket
from printerd.refusals import CAUSES, Refused
from printerd.storage import jobs

KEPT: Final = frozenset(
    {"document-name", "document-format", "document-charset", "document-natural-language", "job-impressions"}
)
"""Operation attributes that are kept with the job's options."""
PRINT_AS: Final = "Print as PDF or PostScript."


def checked(service: Service, call: Call) -> tuple[Attribute, ...]:
    """What will be ignored of the request; raises for what cannot be (RFC 8011 section 4.2.1.1)."""
    operation = call.request.attributes
    compression, media_type = operation.text("compression", "none"), operation.text("document-format")
    if compression not in claims.COMPRESSIONS:
        raise refused(Status.CLIENT_ERROR_COMPRESSION_NOT_SUPPORTED, operation, "compression")
    if not formats.known(media_type):
        raise refused(Status.CLIENT_ERROR_DOCUMENT_FORMAT_NOT_SUPPORTED, operation, "document-format", PRINT_AS)
    policy = service.printer.policy
    ignored = tuple(unsupported_of(given) for given in _template(call) if not claims.takes(given, policy))
    if ignored and operation.number("ipp-attribute-fidelity"):
        status = Status.CLIENT_ERROR_ATTRIBUTES_OR_VALUES_NOT_SUPPORTED
        raise IppError(status, "The job asks for what this printer does not do.", unsupported=ignored)
    return ignored


def _template(call: Call) -> Group:
    """What a job, or one document of it (PWG 5100.5), is asked to look like."""
    return call.request.job_attributes or call.request.message.first(GroupTag.DOCUMENT)


def unsupported_of(given: Attribute) -> Attribute:
    """As it was given when only its value is unsupported, else with the value 'unsupported'."""
    known = given.name in claims.OPTIONS or given.name in claims.CHOICES
    return given if known else Attribute.of(given.name, unsupported())


def _ticket(service: Service, call: Call) -> Ticket:
    """What the sender said, as it was said; of what the printer does, what it takes."""
    operation = call.request.attributes
    options = claims.options(_template(call), service.printer.policy, KEPT, operation)
    if (compression := operation.text("compression", "none")) != "none":
        options["compression"] = compression
    return Ticket(
        printer=service.printer.name,
        user=call.request.user,
        host=call.host,
        title=operation.text("job-name") or operation.text("document-name"),
        media_type=operation.text("document-format"),
        source="ipp",
        options=options,
    )


def wait(service: Service, ticket: Ticket) -> jobs.Wait | None:
    """What the job waits for, because its sender wants it."""
    return claims.wanted(ticket.options, service.now(), service.zone)


async def _accepted(
    service: Service, call: Call, ticket: Ticket, job: JobId | None = None, *, last: bool = True
) -> CapturedJob:
    operation = call.request.attributes
    try:
        return await service.intake.accept(
            ticket,
            aiter(call.document),
            job_id=job,
            compression=operation.text("compression", "none"),
            expected=call.document.length,
            wait=wait(service, ticket),
            last=last,
        )
    except Refused as error:
        given = operation.get("document-format")
        if error.status == CAUSES["unknown-format"].status and given:
            error.unsupported = (given,)
        raise


async def _captured(service: Service, captured: CapturedJob, began: datetime) -> jobs.Job:
    """The job as it is now: fresh, or further on when this was a repetition or it waits."""
    options = captured.ticket.options
    waits = service.intake.waits or "job-hold-until" in options or "job-hold-until-time" in options
    if waits or captured.received_at < began:
        known = await service.read(lambda connection: jobs.find(connection, captured.id))
        if known is not None:
            return known
    return jobs.Job(
        id=captured.id,
        number=captured.number,
        ticket=captured.ticket,
        state=JobState.RECEIVED,
        original=captured.original.digest,
        size=captured.original.size,
        answered=False,
        reason=None,
        message="",
        created_at=captured.received_at,
        received_at=captured.received_at,
        completed_at=None,
    )


async def _subscribed(service: Service, call: Call, job: jobs.Job) -> tuple[Group, ...]:
    """The subscriptions that came with the job (RFC 3995 section 11.1.3)."""
    if not call.request.message.all(GroupTag.SUBSCRIPTION):
        return ()
    return await subscribed(service, call, job)


async def print_job(service: Service, call: Call) -> Answer:
    """RFC 8011 section 4.2.1."""
    ignored, began = checked(service, call), service.now()
    captured = await _accepted(service, call, _ticket(service, call))
    job = await _captured(service, captured, began)
    return service.job_answer(call, job, ignored, more=await _subscribed(service, call, job), waits=captured.id)


async def validate_job(service: Service, call: Call) -> Answer:
    """RFC 8011 section 4.2.3; what would be ignored is answered with what would be done instead (PWG 5100.13)."""
    ignored = checked(service, call)
    answer = service.ok(call, ignored=ignored)
    instead = {name: option.default for name, option in claims.OPTIONS.items() if option.default is not None}
    instead |= choices.DEFAULTS
    preferred = {given.name: instead[given.name] for given in ignored if given.name in instead}
    if preferred:
        head, *groups = answer.groups
        head = replace(head, attributes=(*head, attribute("preferred-attributes", preferred)))
        answer = replace(answer, groups=(head, *groups))
    return Answer(encode(answer))


async def create_job(service: Service, call: Call) -> Answer:
    """RFC 8011 section 4.2.4."""
    ignored = checked(service, call)
    job = await service.intake.open_job(_ticket(service, call))
    return service.job_answer(call, job, ignored, more=await _subscribed(service, call, job))


async def send_document(service: Service, call: Call) -> Answer:
    """RFC 8011 section 4.3.1. Without data it ends the sequence, and means nothing unless it is the last one."""
    operation = call.request.attributes
    if "last-document" not in operation:
        raise IppError(Status.CLIENT_ERROR_BAD_REQUEST, "last-document is missing")
    ignored, last = checked(service, call), bool(operation.number("last-document"))
    job, began = await service.own_job(call), service.now()
    if await call.document.empty():
        if not last:
            raise IppError(Status.CLIENT_ERROR_BAD_REQUEST, "The document is empty.")
        return await _closed(service, call, job)
    captured = await _accepted(service, call, _joined(job.ticket, _ticket(service, call)), job.id, last=last)
    if last and not job.documents:
        return service.job_answer(call, await _captured(service, captured, began), ignored, waits=captured.id)
    return service.job_answer(call, await service.job(call), ignored, waits=captured.id)


def _joined(created: Ticket, sent: Ticket) -> Ticket:
    """Create-Job names the job, Send-Document describes the document."""
    options = {**created.options, **sent.options}
    return replace(created, title=created.title or sent.title, media_type=sent.media_type, options=options)


async def _closed(service: Service, call: Call, job: jobs.Job) -> Answer:
    await service.intake.close_job(job.id, wait(service, job.ticket))
    return service.job_answer(call, await service.job(call))


async def close_job(service: Service, call: Call) -> Answer:
    """PWG 5100.7 section 5.1."""
    job = await service.own_job(call)
    if job.state in (JobState.ABORTED, JobState.CANCELED, JobState.DONE):
        raise not_possible("The job has ended already.")
    return await _closed(service, call, job)


async def validate_document(service: Service, call: Call) -> Answer:
    """PWG 5100.13 section 5.2: as Validate-Job, for a document."""
    return await validate_job(service, call)
