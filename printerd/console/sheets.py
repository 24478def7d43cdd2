"""What an invoice's page shows, worked out before any template runs: looks, marks, remedies, time line (pure)."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from itertools import groupby

from printerd import reasons
from printerd.console import formats, texts
from printerd.model import InvoiceState, Reason
from printerd.storage.archive import InvoiceDetail, JobLine, TimeLineEntry


@dataclass(frozen=True, slots=True)
class Look:
    """An icon of ``icons.html`` and a tone: never the tone alone, the word stands beside it."""

    icon: str
    tone: str


LOOKS = {
    "add.tested": Look("check", "good"),
    "add.documented": Look("book", "quiet"),
    "add.shut": Look("ban", "quiet"),
    "state.waiting": Look("hand", "warn"),
    "state.checking": Look("clock", "quiet"),
    "state.ready": Look("clock", "quiet"),
    "state.archived": Look("seal", "good"),
    "state.reprint": Look("copy", "quiet"),
    "state.rejected": Look("ban", "bad"),
    "state.specimen": Look("copy", "quiet"),
    "job.incoming": Look("clock", "quiet"),
    "job.pending": Look("clock", "quiet"),
    "job.received": Look("clock", "quiet"),
    "job.processing": Look("clock", "quiet"),
    "job.done": Look("check", "good"),
    "job.aborted": Look("cross", "bad"),
    "job.canceled": Look("ban", "quiet"),
    "job.held": Look("hand", "warn"),
    "step.failed": Look("cross", "bad"),
    "step.uncertain": Look("question", "warn"),
    "step.held": Look("question", "warn"),
    "step.refused": Look("ban", "warn"),
    "step.due": Look("clock", "quiet"),
    "step.pending": Look("clock", "quiet"),
    "step.accepted": Look("mail", "quiet"),
    "step.opened": Look("eye", "quiet"),
    "step.acknowledged": Look("check", "good"),
    "step.paper": Look("paper", "quiet"),
    "step.revoked": Look("ban", "quiet"),
    "step.elsewhere": Look("mail", "quiet"),
    "event.printed": Look("printer", "quiet"),
    "event.read": Look("scan", "quiet"),
    "event.unread": Look("scan", "warn"),
    "event.sealed": Look("seal", "good"),
    "event.ledger.invoice": Look("book", "quiet"),
    "event.ledger.act.correct": Look("pen", "quiet"),
    "event.ledger.act.release": Look("check", "quiet"),
    "event.ledger.act.reject": Look("ban", "bad"),
    "event.ledger.act.retry": Look("again", "quiet"),
    "event.ledger.act.resend": Look("again", "quiet"),
    "event.ledger.act.resume.send": Look("check", "quiet"),
    "event.ledger.act.resume.keep": Look("ban", "quiet"),
    "event.sent.mail": Look("send", "quiet"),
    "event.sent.paper": Look("paper", "quiet"),
    "event.dispatch": Look("again", "quiet"),
    "event.refused": Look("cross", "bad"),
    "event.ConsignmentNotification": Look("mail", "quiet"),
    "event.ConsignmentNotificationFailure": Look("cross", "bad"),
    "event.MailUncertain": Look("question", "warn"),
    "event.NotificationDelivered": Look("mail", "quiet"),
    "event.NotificationAccessTracking": Look("eye", "quiet"),
    "event.ConsignmentAcceptance": Look("press", "good"),
    "event.ContentHandover": Look("down", "quiet"),
    "event.ContentHandoverFailure": Look("cross", "warn"),
    "event.ConsignmentRejection": Look("ban", "warn"),
    "event.AcceptanceRejectionExpiry": Look("clock", "warn"),
    "event.PaperHandover": Look("paper", "quiet"),
    "event.Question": Look("question", "warn"),
    "event.receipt": Look("check", "good"),
}
"""How each state, step and event looks. What happens without a look has no words either, and is not shown."""

REMEDIES = {
    "no-text": "remedy.unread",
    "unknown-layout": "remedy.unread",
    "field-missing": "remedy.correct",
    "bad-field": "remedy.correct",
    "amounts-differ": "remedy.accept",
    "bad-siren": "remedy.accept",
    "bad-vat-id": "remedy.accept",
    "bad-iban": "remedy.correct",
    "foreign-seller": "remedy.seller",
    "foreign-iban": "remedy.iban",
    "dates": "remedy.accept",
    "number-used": "remedy.number",
    "first-rejected": "remedy.rejected",
    "review": "remedy.review",
    "other-template": "remedy.accept",
    "unknown-customer": "remedy.customer",
    "no-address": "remedy.contact",
    "reader-died": "remedy.retry",
}
"""What to do on this page about each reason that an invoice waits for; the command line has remedies of its own."""

FIELDS = (
    "number",
    "kind",
    "issued_on",
    "due_on",
    "customer_code",
    "net",
    "vat",
    "total",
    "currency",
    "iban",
    "seller_siren",
    "seller_vat_id",
)
"""The fields that a person may correct, in the order of the form."""

SUSPECTS = {
    "amounts-differ": ("net", "vat", "total"),
    "bad-siren": ("seller_siren",),
    "bad-iban": ("iban",),
    "foreign-iban": ("iban",),
    "foreign-seller": ("seller_siren", "seller_vat_id"),
    "dates": ("issued_on", "due_on"),
    "number-used": ("number",),
    "unknown-customer": ("customer_code",),
    "no-address": ("customer_code",),
    "no-text": ("number", "issued_on", "customer_code", "net", "vat", "total"),
    "unknown-layout": ("number", "issued_on", "customer_code", "net", "vat", "total"),
}
"""The fields that a reason casts doubt on, where its facts do not name one."""

SELLER = ("seller_siren", "seller_vat_id")


@dataclass(frozen=True, slots=True)
class Field:
    """One input of the correction form. ``input`` is its HTML type; ``mark`` a key of the texts when it is suspect."""

    name: str
    value: str
    input: str
    mark: str
    read: str


@dataclass(frozen=True, slots=True)
class Happening:
    """One entry of the time line, in words."""

    time: datetime
    look: Look
    title: str
    detail: str
    contact: str


def said(language: str, reason: Reason) -> str:
    """What is wrong, in words; a reason of another version is shown by its code."""
    return reasons.sentence(reason, language) if reason.code in reasons.REASONS else reason.code


def why(language: str, route: str) -> str:
    """Why an invoice went its way, in the reader's words for each rule of :mod:`printerd.delivery.routes`."""
    key = f"why.{route}"
    return texts.text(language, key) if texts.knows(language, key) else route


def job_said(language: str, job: JobLine) -> str:
    """What became of a job, in the reader's words where its reason has them, else as the print queue was told."""
    known = job.reason if job.reason and job.reason.code in reasons.REASONS else None
    return said(language, known) if known else job.message


def job_next(language: str, job: JobLine) -> str:
    """What to do about a job that was refused or is on hold. Commands are for the terminal: this page has a button."""
    remedy = reasons.remedy(job.reason, language) if job.reason and job.reason.code in reasons.REASONS else ""
    return remedy if remedy and "invoice-printer" not in remedy else texts.text(language, f"job.next.{job.state}")


def remedy(reason: Reason) -> str:
    """The key of what to do about a reason."""
    return REMEDIES.get(reason.code, "remedy.correct")


def suspects(found: Iterable[Reason]) -> frozenset[str]:
    """The fields that the reasons of an invoice cast doubt on."""
    doubted: set[str] = set()
    for reason in found:
        named = reason.facts.get("field", "")
        doubted.update(SELLER if named == "seller" else (named,) if named else SUSPECTS.get(reason.code, ()))
    return frozenset(doubted)


def form(detail: InvoiceDetail, typed: dict[str, str] | None = None) -> tuple[Field, ...]:
    """The correction form, filled with what counts now, or with what a person has just ``typed``."""
    doubted = suspects(detail.line.reasons)
    return tuple(_field(detail, name, name in doubted, typed or {}) for name in FIELDS)


def _field(detail: InvoiceDetail, name: str, doubted: bool, typed: dict[str, str]) -> Field:
    value = detail.value(name)
    found = detail.fields.get(name)
    mark = ("correct.wrong" if value else "correct.missing") if doubted else ""
    shown = typed.get(name, value)
    return Field(name, shown, _input(name, shown), mark, found.value if found and found.value != shown else "")


def _input(name: str, value: str) -> str:
    """A date has the browser's calendar, unless what was read is no date: the calendar would hide it."""
    if name == "kind":
        return "select"
    return "date" if name.endswith("_on") and (not value or _is_date(value)) else "text"


def _is_date(value: str) -> bool:
    try:
        return bool(date.fromisoformat(value))
    except ValueError:
        return False


def corrections(detail: InvoiceDetail, typed: dict[str, str]) -> dict[str, str]:
    """What a person changed in the form, and nothing else: a field that was left alone is no correction."""
    given = {name: typed[name].strip() for name in FIELDS if name in typed}
    return {name: value for name, value in given.items() if value != detail.value(name)}


def releasable(found: Collection[Reason]) -> bool:
    """Whether a release alone can help: each reason may be accepted, or may be mended elsewhere by now."""
    return not any(reason.code in ("field-missing", "bad-field", "bad-iban") for reason in found)


def in_progress(detail: InvoiceDetail) -> bool:
    return detail.line.state in (InvoiceState.CHECKING, InvoiceState.READY)


def days(entries: Sequence[TimeLineEntry], language: str) -> list[tuple[str, list[Happening]]]:
    """The time line in words, by day."""
    told = [_happening(entry, language) for entry in entries if _key(entry) in LOOKS]
    by_day = groupby(told, key=lambda one: one.time.astimezone().date())
    return [(formats.day(language, on.isoformat()), list(ones)) for on, ones in by_day]


def _key(entry: TimeLineEntry) -> str:
    unread = entry.kind == "read" and not entry.facts.get("template")
    return "event.unread" if unread else f"event.{entry.kind}"


def _happening(entry: TimeLineEntry, language: str) -> Happening:
    key, facts = _key(entry), dict(entry.facts)
    for name, source in (("visitor", "class"), ("refusal", "reason")):
        if texts.knows(language, f"{name}.{facts.get(source)}"):
            facts[name] = texts.text(language, f"{name}.{facts[source]}")
    facts["why"] = why(language, facts.get("why", ""))
    if "fields" in facts:
        facts["fields"] = re.sub(r"\w+(?= = )", lambda name: _label(name[0], language), facts["fields"])
    detail = texts.text(language, f"{key}.detail", **facts) if texts.knows(language, f"{key}.detail") else ""
    return Happening(entry.time, LOOKS[key], texts.text(language, key, **facts), _trim(detail), entry.contact)


def _label(field: str, language: str) -> str:
    key = f"fact.{field}"
    return texts.text(language, key) if texts.knows(language, key) else field


def _trim(detail: str) -> str:
    """A detail whose facts are missing keeps no orphaned dash."""
    return detail.strip().removeprefix("–").removesuffix("–").strip()
