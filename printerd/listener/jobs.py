"""What a job's row means in IPP: its state, the reasons, and who may see what.

One rule: the queue tells the truth as the row knows it. A job is processing
until each of its invoices is archived or waits for a person, but never longer
than ``report_within``: then the queue may let go of it, and says
queued-in-device. Its name, its user and its message are for its owner alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import lru_cache, partial
from itertools import islice
from typing import Any, Final

from printerd.formats import FOREIGN
from printerd.ipp.attributes import attribute, select
from printerd.ipp.message import Attribute, Group, GroupTag, no_value
from printerd.ipp.registry import JobState
from printerd.listener.printer import CHOICES, OPTIONS, PATH, Printer, option, web
from printerd.model import InvoiceState
from printerd.model import JobState as RowState
from printerd.storage import messages
from printerd.storage.archive import InvoiceLine
from printerd.storage.jobs import OPEN, Job

INVOICES: Final = "invoice-printer-invoices"
"""Our own attribute: a collection for each invoice of the job (docs/clients.md)."""
MOST_INVOICES: Final = 200

_ABORTED: Final[Mapping[str, str]] = {
    "cut": "submission-interrupted",
    "no-end": "submission-interrupted",
    "unknown-format": "unsupported-document-format",
    **dict.fromkeys(FOREIGN, "unsupported-document-format"),
    "format-error": "document-format-error",
    "unreadable": "document-format-error",
    "empty": "document-format-error",
    "encrypted": "document-password-error",
    "compression-error": "compression-error",
    "too-large": "document-unprintable-error",
}
"""Why a job was aborted, beside aborted-by-system (RFC 8011 section 5.3.8, IANA "job-state-reasons")."""

_WAITS: Final[Mapping[str, JobState]] = {
    OPEN: JobState.PENDING_HELD,
    "job-hold-until-specified": JobState.PENDING_HELD,
    "job-held-for-release": JobState.PENDING_HELD,
    "job-suspended-by-operator": JobState.PROCESSING_STOPPED,
    "printer-stopped": JobState.PENDING,
}
"""The state of a job by the reason for which it waits (RFC 8011 section 5.3.8, RFC 3998 section 4)."""

_MESSAGES: Final[Mapping[str, Mapping[str, str]]] = {
    "incoming": {"en": "Waiting for the document.", "fr": "En attente du document."},
    OPEN: {"en": "Waiting for more documents.", "fr": "En attente d’autres documents."},
    "job-hold-until-specified": {
        "en": "Waiting for its sender's release, or for its hour.",
        "fr": "En attente de la libération par son expéditeur, ou de son heure.",
    },
    "job-held-for-release": {
        "en": "Waiting for the operator's release.",
        "fr": "En attente de la libération par l’opérateur.",
    },
    "job-suspended-by-operator": {
        "en": "Suspended by the operator.",
        "fr": "Suspendu par l’opérateur.",
    },
    "printer-stopped": {"en": "Waiting: the printer is paused.", "fr": "En attente\u00a0: l’imprimante est en pause."},
    "processing": {"en": "Received; being read.", "fr": "Reçu, en cours de lecture."},
    "queued": {
        "en": "Received; the work goes on after the queue has let go of it.",
        "fr": "Reçu, le traitement se poursuit après la fin de l’impression.",
    },
    "archived": {"en": "Invoices archived: {archived}.", "fr": "Factures archivées\u00a0: {archived}."},
    "waiting": {
        "en": "Invoices archived: {archived}; waiting for accounting: {waiting}.",
        "fr": "Factures archivées\u00a0: {archived}\u00a0; en attente de la comptabilité\u00a0: {waiting}.",
    },
    "canceled": {"en": "The job was canceled.", "fr": "Le travail a été annulé."},
    "aborted": {"en": "The document could not be used.", "fr": "Le document est inutilisable."},
}
"""What is said while the pipeline has said nothing of its own."""


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a job stands: its IPP state, the reasons, and the key of its message."""

    state: JobState
    reasons: tuple[str, ...]
    message: str


def standing(job: Job, now: datetime, within: timedelta) -> Standing:
    """The truth about a job at ``now``; ``within`` that time after it came, the queue lets go of it."""
    found = _standing(job.whole(), now - within)
    if found.state is JobState.ABORTED and _was_let_go(job, within):
        why = (reason for reason in found.reasons if reason != "aborted-by-system")
        return replace(found, state=JobState.COMPLETED, reasons=("job-completed-with-errors", *why))
    if found.state is JobState.COMPLETED and any(one.state is RowState.ABORTED for one in job.parts or ()):
        return replace(found, reasons=(*found.reasons, "job-completed-with-errors"))
    return found


def _was_let_go(job: Job, within: timedelta) -> bool:
    """Whether it was completed already when it came to nothing: an end is an end (RFC 8011 section 5.3.7)."""
    ends = [
        (one.completed_at, one.received_at + within) for one in job.documents if one.completed_at and one.received_at
    ]
    settled = max((min(end) for end in ends), default=None)
    return any(ended >= due and ended >= settled for ended, due in ends if settled)


def _standing(job: Job, cutoff: datetime) -> Standing:
    match job.state:
        case RowState.PENDING:
            return Standing(_WAITS[job.code], (job.code,), job.code)
        case RowState.INCOMING:
            return Standing(JobState.PENDING_HELD, ("job-incoming",), "incoming")
        case RowState.CANCELED:
            return Standing(JobState.CANCELED, ("job-canceled-by-user",), "canceled")
        case RowState.ABORTED:
            more = (_ABORTED[job.code],) if job.code in _ABORTED else ()
            return Standing(JobState.ABORTED, ("aborted-by-system", *more), "aborted")
    if not job.settled(cutoff):
        return Standing(JobState.PROCESSING, ("job-transforming",), "processing")
    if job.state is not RowState.DONE:
        doubt = ("job-completed-with-warnings",) if job.state is RowState.HELD else ()
        return Standing(JobState.COMPLETED, ("queued-in-device", *doubt), "queued")
    return _done(job)


def _done(job: Job) -> Standing:
    if job.invoices.get(InvoiceState.WAITING):
        return Standing(JobState.COMPLETED, ("job-completed-with-warnings",), "waiting")
    if job.invoices.get(InvoiceState.READY) or job.invoices.get(InvoiceState.CHECKING):
        return Standing(JobState.COMPLETED, ("queued-in-device",), "queued")
    return Standing(JobState.COMPLETED, ("job-completed-successfully",), "archived")


@dataclass(frozen=True, slots=True)
class Viewer:
    """Who asks, and in what circumstances: ``base`` is how they reach us (``ipp://host:port``)."""

    user: str
    host: str
    base: str
    now: datetime
    report_within: timedelta
    printer: Printer

    @property
    def cutoff(self) -> datetime:
        return self.now - self.report_within

    def owns(self, job: Job) -> bool:
        """The same user on the same host; names alone are not proof, an address alone may be shared."""
        return (job.ticket.user, job.ticket.host) == (self.user, self.host)


@dataclass(frozen=True, slots=True)
class _Seen:
    job: Job
    viewer: Viewer
    standing: Standing
    invoices: tuple[Mapping[str, str], ...] = ()

    def since_start(self, moment: datetime | None) -> int | None:
        """Seconds of printer-up-time; not positive for what came before this start (RFC 8011 section 5.3.14)."""
        if moment is None:
            return None
        return int((moment - self.viewer.printer.started_at).total_seconds()) + 1

    def ended_at(self) -> datetime | None:
        """When the queue could let go of the job."""
        if self.standing.state < JobState.CANCELED:
            return None
        reported = self.job.received_at and self.job.received_at + self.viewer.report_within
        return min((at for at in (self.job.completed_at, reported) if at), default=self.job.created_at)

    def message(self) -> str:
        if self.job.message:
            return self.job.message
        if self.standing.message not in _MESSAGES:
            return ""
        sentences = _MESSAGES[self.standing.message]
        counts = self.job.invoices
        return sentences.get(self.viewer.printer.language, sentences["en"]).format(
            archived=counts.get(InvoiceState.ARCHIVED, 0), waiting=counts.get(InvoiceState.WAITING, 0)
        )


def _printer_uri(seen: _Seen) -> str:
    return seen.viewer.base + PATH


def _asked(name: str, seen: _Seen) -> Attribute | None:
    """A job option as the sender asked for it."""
    return option(name, seen.job.ticket.options[name])


def _impressions(seen: _Seen) -> int | None:
    """As many as the sender announced."""
    told = seen.job.ticket.options.get("job-impressions", "")
    return int(told) if told.isdecimal() else None


def _kilobytes(seen: _Seen) -> int:
    return min(-(-seen.job.size // 1024), 2**31 - 1)


_ATTRIBUTES: Final[Mapping[str, Callable[[_Seen], Any]]] = {
    "job-uri": lambda seen: f"{_printer_uri(seen)}/{seen.job.number}",
    "job-id": lambda seen: seen.job.number,
    "job-uuid": lambda seen: f"urn:uuid:{seen.job.id}",
    "job-printer-uri": _printer_uri,
    "job-state": lambda seen: seen.standing.state,
    "job-state-reasons": lambda seen: seen.standing.reasons,
    "job-state-message": _Seen.message,
    "job-name": lambda seen: seen.job.ticket.title,
    "job-originating-user-name": lambda seen: seen.job.ticket.user,
    "document-name-supplied": lambda seen: seen.job.ticket.options.get("document-name", ""),
    "document-format-supplied": lambda seen: seen.job.ticket.options.get("document-format") or no_value(),
    "compression-supplied": lambda seen: seen.job.ticket.options.get("compression") or "none",
    "job-k-octets": _kilobytes,
    "job-impressions": _impressions,
    "job-impressions-completed": lambda _seen: 0,  # nothing is put on paper
    "number-of-documents": lambda seen: len(seen.job.documents),
    "time-at-creation": lambda seen: seen.since_start(seen.job.created_at),
    "time-at-processing": lambda seen: seen.since_start(seen.job.received_at),
    "time-at-completed": lambda seen: seen.since_start(seen.ended_at()),
    "date-time-at-creation": lambda seen: seen.job.created_at,
    "date-time-at-processing": lambda seen: seen.job.received_at,
    "date-time-at-completed": _Seen.ended_at,
    "job-printer-up-time": lambda seen: seen.viewer.printer.up_time(seen.viewer.now),
    "job-more-info": lambda seen: f"{web(seen.viewer.base)}{seen.viewer.printer.console}jobs/{seen.job.number}",
    "output-device-assigned": lambda seen: seen.viewer.printer.name,
    "attributes-charset": lambda _seen: "utf-8",
    "attributes-natural-language": lambda seen: seen.viewer.printer.language,
    INVOICES: lambda seen: seen.invoices,
    **{name: partial(_asked, name) for name in (*OPTIONS, *CHOICES)},
}
"""Each attribute of a job from its row, by name."""
PRIVATE: Final = frozenset(
    {
        "job-name",
        "job-originating-user-name",
        "job-state-message",
        "document-name-supplied",
        "job-more-info",
        *CHOICES,
        INVOICES,
    }
)
"""What only the owner sees."""
ALIKE: Final = frozenset({"job-state", "job-state-reasons", "job-state-message"})
"""What says the same of many jobs: built once."""
CREATED: Final = ("job-uri", "job-id", "job-uuid", "job-state", "job-state-reasons", "job-state-message")
"""The answer to every operation that makes a job (RFC 8011 section 4.2.1.2)."""


def group(job: Job, viewer: Viewer, requested: tuple[str, ...], invoices: tuple[Mapping[str, str], ...] = ()) -> Group:
    """The Job Attributes that ``viewer`` asked for and may see; ``invoices`` are what :func:`told` made of them."""
    seen = _Seen(job.whole(), viewer, standing(job, viewer.now, viewer.report_within), invoices)
    hidden: frozenset[str] = frozenset() if viewer.owns(job) else PRIVATE
    return Group(
        GroupTag.JOB,
        tuple(_build(name, seen) for name in names(requested) if name not in hidden and _exists(name, seen)),
    )


def _build(name: str, seen: _Seen) -> Attribute:
    data = _ATTRIBUTES[name](seen)
    if isinstance(data, Attribute):
        return data
    build = _alike if name in ALIKE else attribute
    return build(name, *data) if isinstance(data, tuple) else build(name, data)


_alike = lru_cache(maxsize=1024, typed=True)(attribute)


def _exists(name: str, seen: _Seen) -> bool:
    """What a job does not have is left out, where no-value is not allowed."""
    if name in OPTIONS or name in CHOICES:
        return name in seen.job.ticket.options and _asked(name, seen) is not None
    judge = _EXISTS.get(name)
    return judge is None or judge(seen)


_EXISTS: Final[Mapping[str, Callable[[_Seen], bool]]] = {
    "document-format-supplied": lambda seen: bool(seen.job.ticket.options.get("document-format")),
    "job-more-info": lambda seen: bool(seen.viewer.printer.console),
    INVOICES: lambda seen: bool(seen.invoices),
}


def told(lines: Iterable[InvoiceLine], language: str) -> tuple[Mapping[str, str], ...]:
    """What became of each invoice, as :data:`INVOICES` tells it: its number, a keyword, and the keyword in words."""
    return tuple(
        {
            "invoice-number": line.number,
            "invoice-state": (state := line.delivery or ("due" if line.state == "archived" else line.state)),
            "invoice-state-message": messages.STANDINGS[language][state][0],
        }
        for line in islice(lines, MOST_INVOICES)
    )


@lru_cache(maxsize=16)
def names(requested: tuple[str, ...]) -> tuple[str, ...]:
    """The names to build, by the rules of requested-attributes."""
    every = Group(GroupTag.JOB, tuple(Attribute.of(name, no_value()) for name in _ATTRIBUTES))
    return tuple(chosen.name for chosen in select(every, requested))
