"""What the printer does: one row of a table for each operation, one handler for each row.

One rule: *operations-supported* is the keys of :data:`OPERATIONS`, which are
those of IPP 2.2 (PWG 5100.12 section 6) and IPP Everywhere (PWG 5100.14
section 5.1) but for what fetches documents from elsewhere. The handlers that
only ask are here; the others lie with what they act on.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Final

import sqlalchemy as sa

from printerd import formats
from printerd.ipp.codec import encode
from printerd.ipp.message import Attribute
from printerd.ipp.registry import Operation as Code
from printerd.ipp.registry import Status
from printerd.listener import control, documents, managing, submission, subscriptions
from printerd.listener import jobs as shown
from printerd.listener import printer as claims
from printerd.listener.service import Answer, Call, Operation, Service, refused
from printerd.model import JobState
from printerd.storage import archive, jobs
from printerd.storage.archive import InvoiceLine

log = logging.getLogger(__name__)

JOB_DEFAULT: Final = ("job-uri", "job-id")
"""What Get-Jobs answers when nothing is requested (RFC 8011 section 4.2.6.1)."""


async def _get_job_attributes(service: Service, call: Call) -> Answer:
    """RFC 8011 section 4.3.4."""
    job, viewer, requested = await service.job(call), service.viewer(call), call.request.requested
    invoices = await _invoices(service, job) if shown.INVOICES in shown.names(requested) and viewer.owns(job) else ()
    return Answer(encode(service.ok(call, shown.group(job, viewer, requested, invoices))))


async def _invoices(service: Service, job: jobs.Job) -> tuple[Mapping[str, str], ...]:
    def lines(connection: sa.Connection) -> list[InvoiceLine]:
        most = shown.MOST_INVOICES
        return [line for one in job.documents for line in archive.invoices_of(connection, one.id, most)]

    return shown.told(await service.read(lines), service.printer.language)


async def _get_jobs(service: Service, call: Call) -> Answer:
    """RFC 8011 section 4.2.6; which-jobs of PWG 5100.7 as far as they are claimed."""
    operation, viewer = call.request.attributes, service.viewer(call)
    which = operation.text("which-jobs", "not-completed")
    if which not in claims.WHICH_JOBS:
        raise refused(Status.CLIENT_ERROR_ATTRIBUTES_OR_VALUES_NOT_SUPPORTED, operation, "which-jobs")
    if which == "proof-print":
        return Answer(encode(service.ok(call)))
    settled = {"completed": True, "not-completed": False}.get(which)
    owner = (viewer.user, viewer.host) if operation.number("my-jobs") else None
    limit, first = operation.number("limit", jobs.HISTORY), operation.number("first-job-id", 1)
    found = await service.read(
        lambda connection: jobs.listed(
            connection,
            viewer.cutoff,
            settled=settled,
            states=_STATES.get(which, ()),
            owner=owner,
            first=first,
            limit=min(limit, jobs.HISTORY),
        )
    )
    requested = call.request.requested or JOB_DEFAULT
    return Answer(encode(service.ok(call, *(shown.group(job, viewer, requested) for job in found))))


_STATES: Final[Mapping[str, tuple[JobState, ...]]] = {
    "aborted": (JobState.ABORTED,),
    "canceled": (JobState.CANCELED,),
    "pending-held": (JobState.INCOMING, JobState.PENDING),
}
"""The values of which-jobs that are a state of the row (PWG 5100.7 section 6.1)."""


async def _get_printer_attributes(service: Service, call: Call) -> Answer:
    """RFC 8011 section 4.2.5."""
    media_type = call.request.attributes.text("document-format")
    if not formats.known(media_type):
        raise refused(Status.CLIENT_ERROR_DOCUMENT_FORMAT_NOT_SUPPORTED, call.request.attributes, "document-format")
    return Answer(await service.printer_answer(call))


async def _identify_printer(service: Service, call: Call) -> Answer:
    """PWG 5100.13 section 5.1: a program has neither lamp nor bell; the operator's log says who asked."""
    actions = call.request.attributes.get("identify-actions")
    strange = tuple(value for value in actions.values if value.text != claims.IDENTIFY) if actions else ()
    log.warning("%s asks which printer this is: %s", call.host, service.printer.name)
    ignored = (Attribute("identify-actions", strange),) if strange else ()
    return Answer(encode(service.ok(call, ignored=ignored)))


OPERATIONS: Final[Mapping[Code, Operation]] = {
    Code.PRINT_JOB: Operation(submission.print_job, takes_document=True),
    Code.VALIDATE_JOB: Operation(submission.validate_job),
    Code.CREATE_JOB: Operation(submission.create_job),
    Code.SEND_DOCUMENT: Operation(submission.send_document, takes_document=True),
    Code.CANCEL_JOB: Operation(control.cancel_job),
    Code.GET_JOB_ATTRIBUTES: Operation(_get_job_attributes),
    Code.GET_JOBS: Operation(_get_jobs),
    Code.GET_PRINTER_ATTRIBUTES: Operation(_get_printer_attributes),
    Code.HOLD_JOB: Operation(control.hold_job),
    Code.RELEASE_JOB: Operation(control.release_job),
    Code.RESTART_JOB: Operation(control.restart_job),
    Code.PURGE_JOBS: Operation(control.purge_jobs),
    Code.SET_PRINTER_ATTRIBUTES: Operation(managing.set_printer_attributes),
    Code.SET_JOB_ATTRIBUTES: Operation(control.set_job_attributes),
    Code.GET_PRINTER_SUPPORTED_VALUES: Operation(managing.get_printer_supported_values),
    Code.CREATE_PRINTER_SUBSCRIPTIONS: Operation(subscriptions.create_printer_subscriptions),
    Code.CREATE_JOB_SUBSCRIPTIONS: Operation(subscriptions.create_job_subscriptions),
    Code.GET_SUBSCRIPTION_ATTRIBUTES: Operation(subscriptions.get_subscription_attributes),
    Code.GET_SUBSCRIPTIONS: Operation(subscriptions.get_subscriptions),
    Code.RENEW_SUBSCRIPTION: Operation(subscriptions.renew_subscription),
    Code.CANCEL_SUBSCRIPTION: Operation(subscriptions.cancel_subscription),
    Code.GET_NOTIFICATIONS: Operation(subscriptions.get_notifications),
    Code.REPROCESS_JOB: Operation(control.reprocess_job),
    Code.CANCEL_CURRENT_JOB: Operation(control.cancel_current_job),
    Code.SUSPEND_CURRENT_JOB: Operation(control.suspend_current_job),
    Code.RESUME_JOB: Operation(control.resume_job),
    Code.PROMOTE_JOB: Operation(control.promote_job),
    Code.SCHEDULE_JOB_AFTER: Operation(control.promote_job),
    Code.CANCEL_DOCUMENT: Operation(control.cancel_document),
    Code.GET_DOCUMENT_ATTRIBUTES: Operation(documents.get_document_attributes),
    Code.GET_DOCUMENTS: Operation(documents.get_documents),
    Code.SET_DOCUMENT_ATTRIBUTES: Operation(control.set_document_attributes),
    Code.CANCEL_JOBS: Operation(control.cancel_jobs),
    Code.CANCEL_MY_JOBS: Operation(control.cancel_my_jobs),
    Code.RESUBMIT_JOB: Operation(control.reprocess_job),
    Code.CLOSE_JOB: Operation(submission.close_job),
    Code.IDENTIFY_PRINTER: Operation(_identify_printer),
    Code.VALIDATE_DOCUMENT: Operation(submission.validate_document),
    **{code: Operation(managing.switch) for code in managing.SWITCHES},
}
