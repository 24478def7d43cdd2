"""What the log has of a batch: a line for each job of which nothing is at work any more, and for each archived invoice.

One rule: it is read from the rows inside the transaction, and told after the commit: the log never runs ahead.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from printerd.model import InvoiceState, JobState
from printerd.storage import jobs
from printerd.storage.schema import invoices

ENDS: Mapping[JobState, int] = {
    JobState.DONE: logging.INFO,
    JobState.ABORTED: logging.INFO,
    JobState.HELD: logging.ERROR,
}
"""States in which nothing of a job moves by itself, and how loud they are: a held job waits for us."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Line:
    """One record of the log; ``facts`` stand beside the words."""

    level: int
    words: str
    facts: Mapping[str, Any]


def lines(connection: sa.Connection, of: Collection[str], archived: Collection[str] = ()) -> tuple[Line, ...]:
    """The lines of the jobs ``of`` a batch, and of those of its invoices that are ``archived`` by now."""
    return (*_archived(connection, archived), *_settled(connection, of))


def tell(told: Collection[Line]) -> None:
    """Write them; call it when the batch's transaction has been committed."""
    for line in told:
        log.log(line.level, line.words, extra=dict(line.facts))


def _settled(connection: sa.Connection, of: Collection[str]) -> Iterator[Line]:
    for job in jobs.several(connection, of):
        if job.state in ENDS and not any(job.invoices.get(state) for state in jobs.AT_WORK):
            facts = {"job": job.id, "number": job.number, "user": job.ticket.user, "title": job.ticket.title}
            more = {"state": job.state, "invoices": {str(state): count for state, count in job.invoices.items()}}
            reason = {"reason": job.reason["code"]} if job.reason else {}
            yield Line(ENDS[job.state], "job settled", facts | more | reason)


def _archived(connection: sa.Connection, among: Collection[str]) -> Iterator[Line]:
    columns = (invoices.c.id.label("invoice"), invoices.c.job, invoices.c.number, invoices.c.customer_code)
    query = sa.select(*columns).where(invoices.c.id.in_(list(among)), invoices.c.state == InvoiceState.ARCHIVED)
    for row in connection.execute(query) if among else ():
        yield Line(logging.INFO, "invoice archived", row._asdict())
