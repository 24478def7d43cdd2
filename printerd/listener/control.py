"""What senders do with their jobs after they are made: hold, release, change, end, and begin again.

One rule: a job is acted on while the pipeline has not taken it up; afterwards
there may be an invoice, and an invoice is made once. The rows decide, not what
was read a moment before.
"""

from __future__ import annotations

from functools import partial
from typing import Final

from printerd.errors import IppError
from printerd.ipp.codec import encode
from printerd.ipp.message import Attribute, Group, GroupTag, Tag, not_settable
from printerd.ipp.registry import Status
from printerd.listener import printer as claims
from printerd.listener.service import Answer, Call, Service, not_possible, refused
from printerd.listener.submission import wait
from printerd.model import Blob, JobState
from printerd.storage import jobs

TOO_LATE: Final = "The job is being worked on, or has ended already."
OPERATORS: Final = frozenset({"job-suspended-by-operator", "job-held-for-release"})
"""What a job waits for that its sender can neither end nor replace."""
ONCE: Final = "An invoice is made once: print it again from the ERP if it has changed."


# Holding


async def hold_job(service: Service, call: Call) -> Answer:
    """RFC 8011 section 4.3.5: until the named time, or (without one) until it is released."""
    job, operation = await service.own_job(call), call.request.attributes
    named = [given for name in ("job-hold-until", "job-hold-until-time") if (given := operation.get(name))]
    for given in named:
        if not claims.takes(given, service.printer.policy):
            raise refused(Status.CLIENT_ERROR_ATTRIBUTES_OR_VALUES_NOT_SUPPORTED, operation, given.name)
    asked = {given.name: claims.option_text(given) for given in named} or {"job-hold-until": "indefinite"}
    _require_free(service, call, job)
    await _wait_as(service, job, _without_hold(job) | asked)
    return Answer(encode(service.ok(call)))


def _require_free(service: Service, call: Call, job: jobs.Job) -> None:
    if job.state is JobState.PENDING and job.code in OPERATORS and not service.is_operator(call):
        raise IppError(Status.CLIENT_ERROR_NOT_AUTHORIZED, "The operator keeps this job waiting.")


async def _wait_as(service: Service, job: jobs.Job, options: dict[str, str]) -> None:
    """Keep what the sender wants now, and hold or release the job accordingly."""
    reason = claims.wanted(options, service.now(), service.zone)
    await _describe(service, job, options=options)
    if job.is_open:
        return  # it waits for its documents first
    if reason is None:
        await service.intake.release(job.id)
    elif not await _held(service, job, reason):
        raise not_possible(TOO_LATE)


async def _held(service: Service, job: jobs.Job, reason: jobs.Wait) -> bool:
    """An end is an end: what the queue has let go of is not held any more (RFC 8011 section 5.3.7)."""
    return await service.intake.act(lambda connection, _now: jobs.wait(connection, job.id, reason, service.cutoff()))


def _without_hold(job: jobs.Job) -> dict[str, str]:
    return {name: text for name, text in job.ticket.options.items() if not name.startswith("job-hold-until")}


async def _describe(
    service: Service, job: jobs.Job, title: str | None = None, options: dict[str, str] | None = None
) -> None:
    change = partial(jobs.describe, job=job.id, title=title, options=options)
    if not await service.intake.act(lambda connection, _now: change(connection)):
        raise not_possible(TOO_LATE)


async def release_job(service: Service, call: Call) -> Answer:
    """RFC 8011 section 4.3.6. Releasing what does not wait changes nothing."""
    job = await service.own_job(call)
    if job.state is JobState.RECEIVED:
        return Answer(encode(service.ok(call)))
    if job.state is not JobState.PENDING or job.is_open:
        raise not_possible("The job does not wait for its release.")
    _require_free(service, call, job)
    await _wait_as(service, job, _without_hold(job))
    return Answer(encode(service.ok(call)))


# Changing


async def set_job_attributes(service: Service, call: Call) -> Answer:
    """RFC 3380 section 4.2: all of them or none."""
    job, wanted = await service.own_job(call), call.request.job_attributes
    _require_settable(service, wanted)
    held = any(given.name.startswith("job-hold-until") for given in wanted)
    if held:
        _require_free(service, call, job)
    options = dict(job.ticket.options)
    for given in wanted:
        options.pop(given.name, None)
        if given.name != "job-name" and given.values[0].tag != Tag.DELETE_ATTRIBUTE:
            options[given.name] = claims.option_text(given)
    title = wanted.text("job-name") if "job-name" in wanted else None
    await _describe(service, job, title=title, options=options)
    if held:
        await _wait_as(service, job, options)
    service.tell_change(job)
    return Answer(encode(service.ok(call)))


def _require_settable(service: Service, wanted: Group) -> None:
    if not wanted.attributes:
        raise IppError(Status.CLIENT_ERROR_BAD_REQUEST, "There are no job attributes to set.")
    fixed = tuple(Attribute.of(given.name, not_settable()) for given in wanted if given.name not in claims.SETTABLE)
    if fixed:
        status = Status.CLIENT_ERROR_ATTRIBUTES_NOT_SETTABLE
        raise IppError(status, "These attributes are not the sender's to set.", unsupported=fixed)
    wrong = tuple(given for given in wanted if not _is_settable(service, given))
    if wrong:
        status = Status.CLIENT_ERROR_ATTRIBUTES_OR_VALUES_NOT_SUPPORTED
        raise IppError(status, "The job cannot have these values.", unsupported=wrong)


def _is_settable(service: Service, given: Attribute) -> bool:
    if given.name == "job-name":
        return claims.is_name(given)
    return given.values[0].tag == Tag.DELETE_ATTRIBUTE or claims.takes(given, service.printer.policy)


async def set_document_attributes(service: Service, call: Call) -> Answer:
    """PWG 5100.5 section 4.2: the options of a document are those of its row; its name is kept with them."""
    job, wanted = await service.own_job(call), call.request.message.first(GroupTag.DOCUMENT)
    document = document_of(job, call)
    policy = service.printer.policy
    wrong = tuple(given for given in wanted if not (claims.takes(given, policy) or claims.is_name(given)))
    if wrong or not wanted.attributes:
        status = Status.CLIENT_ERROR_ATTRIBUTES_OR_VALUES_NOT_SUPPORTED
        raise IppError(status, "The document cannot have these values.", unsupported=wrong)
    options = dict(document.ticket.options) | {given.name: claims.option_text(given) for given in wanted}
    await _describe(service, document, options=options)
    service.tell_change(job)
    return Answer(encode(service.ok(call)))


def document_of(job: jobs.Job, call: Call) -> jobs.Job:
    """The document that document-number names (PWG 5100.5 section 3.1)."""
    number = call.request.attributes.number("document-number")
    if number < 1:
        raise IppError(Status.CLIENT_ERROR_BAD_REQUEST, "document-number is missing")
    if number > len(job.documents):
        raise IppError(Status.CLIENT_ERROR_NOT_FOUND, "The job has no such document.")
    return job.documents[number - 1]


# Ending


async def cancel_job(service: Service, call: Call) -> Answer:
    """RFC 8011 section 4.3.3."""
    job = await service.own_job(call)
    over = job.settled(service.viewer(call).cutoff)  # the queue has let go of it
    if over or not await service.intake.cancel(job.id):
        raise not_possible(TOO_LATE)
    return Answer(encode(service.ok(call)))


async def cancel_document(service: Service, call: Call) -> Answer:
    """PWG 5100.5 section 4.1: a document is a row of its own, but for the first, with which the job would go."""
    job = await service.own_job(call)
    document = document_of(job, call)
    if document.id == job.id and job.parts:
        raise not_possible("The first document of several ends with its job.")
    if not await service.intake.cancel(document.id):
        raise not_possible(TOO_LATE)
    return Answer(encode(service.ok(call)))


async def cancel_my_jobs(service: Service, call: Call) -> Answer:
    """PWG 5100.11 section 5.2: all of them or, when one of job-ids cannot be, none."""
    return await _all_canceled(service, call, (call.request.user, call.host))


async def cancel_jobs(service: Service, call: Call) -> Answer:
    """PWG 5100.11 section 5.1: as Cancel-My-Jobs, of all users; for the operator."""
    service.require_operator(call)
    return await _all_canceled(service, call, None)


async def purge_jobs(service: Service, call: Call) -> Answer:
    """RFC 8011 section 4.2.9. What has ended is evidence and stays: there is no history to forget."""
    service.require_operator(call)
    await service.intake.cancel_all(service.cutoff())
    return Answer(encode(service.ok(call)))


async def cancel_current_job(service: Service, call: Call) -> Answer:
    """RFC 3998 section 4.2: the job that is next to be worked on, or the named one if it is that."""
    current = await current_job(service, call)
    if not service.viewer(call).owns(current):
        service.require_operator(call)
    if not await service.intake.cancel(current.id):
        raise not_possible(TOO_LATE)
    return Answer(encode(service.ok(call)))


async def current_job(service: Service, call: Call) -> jobs.Job:
    """The oldest job at work, of which job-id must be the number where it is given."""
    states = (JobState.RECEIVED, JobState.PROCESSING)
    found = await service.read(lambda connection: jobs.oldest(connection, states))
    wanted = call.request.attributes.number("job-id")
    if found is None or (wanted and wanted != found.number):
        raise not_possible("There is no such job at work.")
    return found


async def _all_canceled(service: Service, call: Call, owner: tuple[str, str] | None) -> Answer:
    """Those of job-ids, or without it all that can be, of an ``owner`` or of everybody."""
    given = call.request.attributes.get("job-ids")
    if given is None:
        await service.intake.cancel_all(service.cutoff(), owner)
    elif not await service.intake.cancel(*(job.id for job in await _named(service, call, given))):
        raise IppError(Status.CLIENT_ERROR_NOT_POSSIBLE, TOO_LATE, unsupported=(given,))
    return Answer(encode(service.ok(call)))


async def _named(service: Service, call: Call, given: Attribute) -> list[jobs.Job]:
    numbers = dict.fromkeys(number for number in given.data if isinstance(number, int))
    found = await service.read(lambda connection: [jobs.get(connection, number) for number in numbers])
    viewer = service.viewer(call)
    those = [job for job in found if job is not None]
    if len(those) < len(found):
        raise IppError(Status.CLIENT_ERROR_NOT_FOUND, "There is no such job.", unsupported=(given,))
    if not all(viewer.owns(job) or service.is_operator(call) for job in those):
        status = Status.CLIENT_ERROR_NOT_AUTHORIZED
        raise IppError(status, "One of the jobs belongs to somebody else.", unsupported=(given,))
    if any(job.settled(viewer.cutoff) for job in those):
        raise IppError(Status.CLIENT_ERROR_NOT_POSSIBLE, "One of the jobs has ended.", unsupported=(given,))
    return those


# Beginning again


async def restart_job(service: Service, call: Call) -> Answer:
    """RFC 8011 section 4.3.7, for a job that came to nothing: no invoice may be made twice."""
    job = await service.own_job(call)
    if not await service.intake.restart(job.id):
        raise not_possible(ONCE)
    return Answer(encode(service.ok(call)))


async def reprocess_job(service: Service, call: Call) -> Answer:
    """RFC 3998 section 4.1, PWG 5100.11 section 5.3 (Resubmit-Job): its document as a new job, by the same rule."""
    job = await service.own_job(call)
    if job.state not in (JobState.ABORTED, JobState.HELD) or job.original is None or job.invoices or job.parts:
        raise not_possible(ONCE)
    blob = Blob(job.original, job.size, job.ticket.media_type)
    arrival = jobs.Arrival(job.ticket, blob, wait=wait(service, job.ticket))
    new = await service.intake.again(arrival)
    found = await service.read(lambda connection: jobs.find(connection, new))
    return service.job_answer(call, found or job)


async def suspend_current_job(service: Service, call: Call) -> Answer:
    """RFC 3998 section 4.3.1: as long as the pipeline has not taken it up."""
    service.require_operator(call)
    current, reason = await current_job(service, call), jobs.Wait("job-suspended-by-operator")
    if not await _held(service, current, reason):
        raise not_possible(TOO_LATE)
    return Answer(encode(service.ok(call)))


async def resume_job(service: Service, call: Call) -> Answer:
    """RFC 3998 section 4.3.2."""
    service.require_operator(call)
    job = await service.job(call)
    if job.state is not JobState.PENDING or job.code != "job-suspended-by-operator":
        raise not_possible("The job is not suspended.")
    await service.intake.release(job.id)
    return Answer(encode(service.ok(call)))


async def promote_job(service: Service, call: Call) -> Answer:
    """RFC 3998 sections 4.4.1 and 4.4.2 (Schedule-Job-After): the queue is worked on in batches, as jobs come."""
    service.require_operator(call)
    await service.job(call)
    raise not_possible("Jobs are worked on as they come, many at a time: none goes before another.")
