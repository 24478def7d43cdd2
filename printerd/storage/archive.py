"""What people may look up: jobs, invoices and what became of them. Reads only; every list is bounded.

Where a mail stands is derived from the events of the edge (:func:`standings`),
so that it can never disagree with them. How far each delivery's mail came is also
kept beside it, for the sentences that count them: :func:`follow` writes it in the
transaction that brings the events. Counts stop at :data:`COUNTED`, because nobody
reads further and a million rows would.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from printerd.choices import IN_VAIN, TWICE
from printerd.errors import RequestError
from printerd.model import (
    Box,
    DeliveryState,
    Digest,
    Found,
    InvoiceState,
    JobState,
    MailState,
    PageRange,
    Reason,
    Route,
    Timestamp,
)
from printerd.storage import database
from printerd.storage.schema import (
    customers,
    deliveries,
    dispatches,
    events,
    invoices,
    jobs,
    ledger,
    ledger_records,
    receipts,
)

COUNTED = 10_000
"""A count that reaches this number means "so many or more"."""
SHORTEST_PREFIX = 8
"""Characters of an id that are needed to name a row by its beginning."""


# What a person sees -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class JobLine:
    """A print job in a list. ``invoices`` counts what was found in it; ``size`` is in bytes.

    ``trouble`` is why the last attempt failed, while it is tried again.
    """

    id: str
    number: int
    user: str
    host: str
    title: str
    source: str
    media_type: str
    size: int
    state: str
    message: str
    reason: Reason | None
    original: Digest | None
    created_at: datetime
    received_at: datetime | None
    completed_at: datetime | None
    invoices: int
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class InvoiceLine:
    """An invoice in a list. Dates and amounts are text as they were read; ``delivery`` is a value of :data:`STEPS`."""

    id: str
    job: str
    state: str
    kind: str
    number: str
    issued_on: str
    due_on: str
    customer_code: str
    customer_name: str
    total: str
    currency: str
    reasons: tuple[Reason, ...]
    created_at: datetime
    updated_at: datetime
    delivery: str = ""


STEPS = (
    "failed",
    "uncertain",
    "held",
    "refused",
    "due",
    "pending",
    "accepted",
    "opened",
    "acknowledged",
    "paper",
    "revoked",
    "elsewhere",
)
"""How far a delivery came for one contact, what needs a person first. A list shows the first of all contacts."""


@dataclass(frozen=True, slots=True)
class ReceiptLine:
    """A receipt of the register; ``pdf`` is missing until it is sealed."""

    id: str
    number: int
    state: str
    created_at: datetime
    sealed_at: datetime | None
    pdf: Digest | None
    timestamp: Timestamp | None


@dataclass(frozen=True, slots=True)
class ContactStanding:
    """Where one contact's mail and act stand. Times are those the edge recorded.

    ``reply`` is the mail server's last answer, or why the message failed;
    ``refusal`` is "paper" or "not-for-me".
    """

    id: str
    name: str
    email: str
    mail: MailState = MailState.PENDING
    reply: str = ""
    mailed_at: datetime | None = None
    opened_at: datetime | None = None
    acknowledged_at: datetime | None = None
    handed_over_at: datetime | None = None
    refusal: str = ""
    question: str = ""
    receipt: ReceiptLine | None = None

    @property
    def step(self) -> str:
        if self.acknowledged_at:
            return "acknowledged"
        if self.refusal:
            return "refused"
        return "opened" if self.opened_at and self.mail is MailState.ACCEPTED else self.mail.value


@dataclass(frozen=True, slots=True)
class DeliveryLine:
    """One way that an invoice was sent, and where each contact stands. ``why`` says why this route was chosen."""

    id: str
    invoice: str
    route: str
    why: str
    state: str
    mode: str
    paper: str
    expires_at: datetime | None
    created_at: datetime
    sent_at: datetime | None
    contacts: tuple[ContactStanding, ...]
    trouble: str = ""

    @property
    def step(self) -> str:
        if self.state != DeliveryState.SENT:
            return self.state
        return "paper" if self.route == Route.PAPER else _mail_step(self.contacts)


def _mail_step(contacts: Iterable[ContactStanding]) -> str:
    return min((contact.step for contact in contacts), key=STEPS.index, default="pending")


@dataclass(frozen=True, slots=True)
class TimeLineEntry:
    """One thing that happened. ``kind`` is a word of ours ("printed", "sealed") or the name of an event, an act.

    ``contact`` is the address that it concerns, else empty; ``facts`` are strings to fill a sentence with.
    """

    time: datetime
    kind: str
    facts: Mapping[str, str] = field(default_factory=dict)
    contact: str = ""


@dataclass(frozen=True, slots=True)
class InvoiceDetail:
    """All there is to know of one invoice. ``fields`` is what was read; ``corrections`` go before it."""

    line: InvoiceLine
    job: JobLine
    pages: PageRange
    fields: Mapping[str, Found]
    corrections: Mapping[str, str]
    accepted: tuple[str, ...]
    template: str
    issuer: str
    net: str
    vat: str
    iban: str
    pdf: Digest
    sealed: Digest | None
    certificate: Digest | None
    sealed_at: datetime | None
    timestamp: Timestamp | None
    reprint_of: str | None
    ledger_index: int | None
    deliveries: tuple[DeliveryLine, ...]
    trouble: str = ""

    def value(self, name: str) -> str:
        """A field as it counts now: corrected, else as read, else empty."""
        read = self.fields.get(name)
        return self.corrections.get(name, read.value if read else "")


@dataclass(frozen=True, slots=True)
class Tally:
    """How the invoices of a job stand, each standing with how many there are, the most first.

    A standing is a value of :data:`STEPS` for what is archived, else the invoice's state. ``reasons`` are the first of
    each of the first three invoices that wait, ``number`` is that of the only invoice, if there is but one. ``notes``
    say of a standing what became of the sender's choice: :data:`printerd.choices.IN_VAIN` or ``TWICE``.
    """

    standings: Mapping[str, int]
    number: str
    reasons: tuple[Reason, ...]
    notes: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Counts:
    """How many jobs and invoices are in each state, each at most :data:`COUNTED`. States without any are 0."""

    jobs: Mapping[str, int]
    invoices: Mapping[str, int]


# Lists --------------------------------------------------------------------------------------------------------------


def list_jobs(
    conn: sa.Connection,
    *,
    state: str | Collection[str] | None = None,
    limit: int = 50,
    before: int | None = None,
) -> tuple[JobLine, ...]:
    """The latest jobs, newest first, in one state or several; ``before`` is the number of the last one already seen."""
    query = _job_query().order_by(jobs.c.number.desc()).limit(limit)
    if state:
        query = query.where(jobs.c.state.in_(_several(state)))
    if before is not None:
        query = query.where(jobs.c.number < before)
    return tuple(_job_line(row) for row in conn.execute(query))


def list_invoices(
    conn: sa.Connection,
    *,
    state: str | Collection[str] | None = None,
    search: str = "",
    customer: str | None = None,
    limit: int = 50,
    offset: int = 0,
) -> tuple[InvoiceLine, ...]:
    """Invoices, newest first, in one state or several, of one customer, and matching a search.

    ``search`` finds the beginning of a number, a customer's code or a part of
    his name, and words of the text (at most 200 documents of these).
    """
    query = sa.select(invoices).order_by(invoices.c.created_at.desc(), invoices.c.position).limit(limit).offset(offset)
    column: sa.ColumnElement[str] = invoices.c.state
    if customer is not None:
        query = query.where(invoices.c.customer_code == customer)
    if words := search.strip():
        query = query.where(_matches(conn, words))
        column = sa.func.coalesce(column, "")  # the search finds few, so its indexes go first: hide that of the state
    if state:
        query = query.where(column.in_(_several(state)))
    return _with_delivery(conn, [_invoice_line(row) for row in conn.execute(query)])


def invoices_of(conn: sa.Connection, job_id: str, most: int | None = None) -> tuple[InvoiceLine, ...]:
    """The invoices of one job, in the order of its pages; all of them, or the first."""
    rows = conn.execute(_OF_JOB.limit(most), {"job": job_id})
    return _with_delivery(conn, [_invoice_line(row) for row in rows])


def tallies(conn: sa.Connection, of: Collection[str]) -> dict[str, Tally]:
    """How the invoices of some jobs stand: it counts in the database, however many there are."""
    found: dict[str, dict[str, int]] = {job_id: {} for job_id in of}
    notes: dict[str, dict[str, str]] = {job_id: {} for job_id in of}
    for row in conn.execute(_STANDING, {"jobs": list(of)}):
        standing = STEPS[row.rank] if row.state == InvoiceState.ARCHIVED else row.state
        found[row.job][standing] = row.many
        if row.note:
            notes[row.job][standing] = row.note
    alone = _numbers(conn, [job_id for job_id, standings in found.items() if sum(standings.values()) == 1])
    why = {job_id: _why(conn, job_id) for job_id, standings in found.items() if InvoiceState.WAITING in standings}
    return {
        job_id: Tally(standings, alone.get(job_id, ""), why.get(job_id, ()), notes[job_id])
        for job_id, standings in found.items()
    }


def _why(conn: sa.Connection, job_id: str) -> tuple[Reason, ...]:
    """The first reason of each of the first invoices that wait."""
    waiting = conn.execute(_WAITING, {"job": job_id})
    return tuple(line.reasons[0] for line in map(_invoice_line, waiting) if line.reasons)


def _numbers(conn: sa.Connection, of: Collection[str]) -> dict[str, str]:
    """The numbers of jobs with one invoice, as lists show them."""
    rows = conn.execute(_NUMBERS, {"jobs": list(of)}) if of else ()
    return {row.job: row.number or row.corrections.get("number", row.read or "") for row in rows}


_JOBS: sa.BindParameter[Any] = sa.bindparam("jobs", expanding=True)
_NUMBERS = sa.select(
    *(invoices.c.job, invoices.c.number, invoices.c.corrections),
    invoices.c.reading[("fields", "number", "value")].as_string().label("read"),
).where(invoices.c.job.in_(_JOBS))
_OF_JOB = sa.select(invoices).where(invoices.c.job == sa.bindparam("job")).order_by(invoices.c.position)
_WAITING = _OF_JOB.where(invoices.c.state == InvoiceState.WAITING).limit(3)


def _several(state: str | Collection[str]) -> list[str]:
    return [state] if isinstance(state, str) else list(state)


def counts(conn: sa.Connection) -> Counts:
    """How many there are in each state: one bounded walk along the index a state."""
    return Counts(
        jobs={state: _count(conn, jobs, state) for state in JobState},
        invoices={state: _count(conn, invoices, state) for state in InvoiceState},
    )


def _count(conn: sa.Connection, table: sa.Table, state: str) -> int:
    some = sa.select(sa.literal(1)).where(table.c.state == state).limit(COUNTED).subquery()
    return conn.execute(sa.select(sa.func.count()).select_from(some)).scalar_one()


def _matches(conn: sa.Connection, words: str) -> sa.ColumnElement[bool]:
    """Three searches that each have an index, united by id."""
    begins = sa.or_(*(_begins(invoices.c.number, text) for text in {words, words.upper()}))
    named = sa.select(customers.c.code).where(customers.c.name.icontains(words, autoescape=True)).limit(100)
    of_customer = sa.or_(invoices.c.customer_code.in_({words, words.upper()}), invoices.c.customer_code.in_(named))
    found = sa.union(sa.select(invoices.c.id).where(begins), sa.select(invoices.c.id).where(of_customer))
    return sa.or_(invoices.c.id.in_(found), invoices.c.id.in_(database.search_text(conn, words)))


def _begins(column: sa.Column[str], text: str) -> sa.ColumnElement[bool]:
    """A range instead of LIKE: the index serves it whatever the database's idea of upper and lower case is."""
    return sa.and_(column >= text, column < text + "\U0010ffff")


# One of them --------------------------------------------------------------------------------------------------------


def job(conn: sa.Connection, key: str) -> JobLine:
    """A job by its number, its id or the unique beginning of its id; else :class:`RequestError` with what fits."""
    by_number = [jobs.c.number == int(key)] if key.isdecimal() and len(key) < SHORTEST_PREFIX else []
    rows = _named(conn, _job_query(), jobs.c.id, key, by_number)
    if len(rows) != 1:
        candidates = tuple(f"{row.id}  {row.number}  {row.state}  {row.title}" for row in rows)
        raise _not_one("job", key, candidates, "invoice-printer jobs")
    return _job_line(rows[0])


def invoice(conn: sa.Connection, key: str) -> InvoiceDetail:
    """An invoice by its id, the unique beginning of it (8 characters or more) or its exact number.

    Reprints and rejected invoices give way to the one that has the number in
    force. Raises :class:`RequestError` with the candidates when none or several fit.
    """
    rows = _named(conn, sa.select(invoices), invoices.c.id, key, [invoices.c.number == key])
    gone = (InvoiceState.REPRINT, InvoiceState.REJECTED)
    rows = [row for row in rows if row.state not in gone] or rows
    if len(rows) != 1:
        candidates = tuple(f"{row.id}  {row.number or '–'}  {row.state}  {row.customer_name}" for row in rows)
        raise _not_one("invoice", key, candidates, "invoice-printer invoices")
    return _detail(conn, rows[0])


def _named(
    conn: sa.Connection,
    query: sa.Select[Any],
    identity: sa.Column[str],
    key: str,
    otherwise: Sequence[sa.ColumnElement[bool]],
) -> Sequence[sa.Row[Any]]:
    """The rows that a key may mean, by the first of its meanings that fits any."""
    meanings = [identity == key, *otherwise]
    if len(key) >= SHORTEST_PREFIX:
        meanings.append(_begins(identity, key.lower()))
    found = (conn.execute(query.where(meaning).limit(10)).all() for meaning in meanings if key)
    return next((rows for rows in found if rows), [])


def _not_one(noun: str, key: str, candidates: Sequence[str], lister: str) -> RequestError:
    if candidates:
        return RequestError(
            f"“{key}” may mean {len(candidates)} {noun}s.",
            where="\n".join(candidates),
            remedy="Name one of them by its id.",
        )
    return RequestError(
        f"There is no {noun} “{key}”.",
        where=f"Looked for an id, the first {SHORTEST_PREFIX} or more characters of one, and a number.",
        remedy=f"See what there is: {lister}",
    )


def _detail(conn: sa.Connection, row: sa.Row[Any]) -> InvoiceDetail:
    sent = _deliveries(conn, [row.id])
    entry = sa.select(sa.func.min(ledger.c.index)).where(ledger.c.subject == row.id, ledger.c.kind == "invoice")
    return InvoiceDetail(
        line=replace(_invoice_line(row), delivery=_first_step(sent)),
        job=_job_line(conn.execute(_job_query().where(jobs.c.id == row.job)).one()),
        pages=PageRange(row.first_page, row.last_page),
        fields={name: _found(value) for name, value in row.reading.get("fields", {}).items()},
        corrections=dict(row.corrections),
        accepted=tuple(row.accepted),
        template=row.template,
        issuer=row.issuer,
        net=row.net,
        vat=row.vat,
        iban=row.iban,
        pdf=Digest(row.pdf),
        sealed=row.sealed,
        certificate=row.certificate,
        sealed_at=row.sealed_at,
        timestamp=_timestamp(row.timestamp),
        reprint_of=row.reprint_of,
        ledger_index=conn.execute(entry).scalar(),
        deliveries=sent,
        trouble=row.trouble,
    )


# Where deliveries stand ---------------------------------------------------------------------------------------------


def _deliveries(conn: sa.Connection, of: Collection[str]) -> tuple[DeliveryLine, ...]:
    """All deliveries of some invoices, oldest first, with the standing of each contact."""
    return _of(conn, deliveries.c.invoice.in_(of))


def _of(conn: sa.Connection, which: sa.ColumnElement[bool]) -> tuple[DeliveryLine, ...]:
    rows = conn.execute(sa.select(deliveries).where(which).order_by(deliveries.c.created_at)).all()
    ids = [row.id for row in rows]
    told = _grouped(conn.execute(_events_query(ids)))
    filed = _grouped(conn.execute(sa.select(receipts).where(receipts.c.delivery.in_(ids)).order_by(receipts.c.number)))
    return tuple(_delivery_line(row, told[row.id], filed[row.id]) for row in rows)


def follow(conn: sa.Connection, of: Collection[str]) -> None:
    """Keep beside some deliveries how far their mail came, after events of theirs were added."""
    told = [{"own": one.id, "mail": _mail_step(one.contacts)} for one in _of(conn, deliveries.c.id.in_(of))]
    if told:
        conn.execute(_FOLLOW, told)


_FOLLOW = deliveries.update().where(deliveries.c.id == sa.bindparam("own"))


_ranks = {step: rank for rank, step in enumerate(STEPS)}
_step = sa.case(
    (deliveries.c.state != DeliveryState.SENT, deliveries.c.state),
    (deliveries.c.route == Route.PAPER, "paper"),
    else_=deliveries.c.mail,
)
_first_rank = sa.func.coalesce(sa.func.min(sa.case(_ranks, value=_step)), _ranks["due"])
_note = sa.func.max(sa.case((deliveries.c.why.in_((IN_VAIN, TWICE)), deliveries.c.why)))
_one = (
    sa.select(
        invoices.c.job,
        invoices.c.state,
        invoices.c.position,
        sa.case((invoices.c.state == InvoiceState.ARCHIVED, _first_rank)).label("rank"),
        _note.label("note"),
    )
    .outerjoin(deliveries, deliveries.c.invoice == invoices.c.id)
    .where(invoices.c.job.in_(_JOBS))
    .group_by(invoices.c.id)
    .subquery()
)
_STANDING = (
    sa.select(
        *(_one.c.job, _one.c.state, _one.c.rank),
        sa.func.count().label("many"),
        sa.func.max(_one.c.note).label("note"),
    )
    .group_by(_one.c.job, _one.c.state, _one.c.rank)
    .order_by(sa.func.count().desc(), sa.func.min(_one.c.position))
)
"""The invoices of each job counted by state and, once archived, by how far their deliveries came."""

_first = events.alias()
_begun = sa.select(_first.c.collected_at).where(_first.c.edge == events.c.edge).order_by(_first.c.seq).limit(1)
CHAINED = (_begun.scalar_subquery(), events.c.edge, events.c.seq)
"""The order of events: chain after chain as we came to know them (a restored edge begins a new one), then by number."""


def _events_query(of: Collection[str]) -> sa.Select[Any]:
    return sa.select(events).where(events.c.delivery.in_(of)).order_by(*CHAINED)


def _grouped(rows: Iterable[sa.Row[Any]]) -> defaultdict[str, list[sa.Row[Any]]]:
    groups: defaultdict[str, list[sa.Row[Any]]] = defaultdict(list)
    for row in rows:
        groups[row.delivery].append(row)
    return groups


def _delivery_line(row: sa.Row[Any], told: Iterable[sa.Row[Any]], filed: Iterable[sa.Row[Any]]) -> DeliveryLine:
    by_contact = {receipt.contact: _receipt_line(receipt) for receipt in filed}
    contacts = standings(row.facts.get("contacts", ()), told) if row.route == Route.MAIL else ()
    return DeliveryLine(
        id=row.id,
        invoice=row.invoice,
        route=row.route,
        why=row.why,
        state=row.state,
        mode=row.mode,
        paper=row.paper or "",
        expires_at=row.expires_at,
        created_at=row.created_at,
        sent_at=row.sent_at,
        trouble=row.trouble,
        contacts=tuple(replace(contact, receipt=by_contact.get(contact.id)) for contact in contacts),
    )


def standings(contacts: Iterable[Mapping[str, str]], told: Iterable[Any]) -> tuple[ContactStanding, ...]:
    """Replay a delivery's events, in their order, over its contacts (pure).

    ``contacts`` are those of the delivery's facts, ``told`` has ``name``,
    ``time`` (RFC 3339), ``contact`` and ``data``. A contact that only the
    events name is listed too: nothing that happened is hidden.
    """
    standing = {who["id"]: ContactStanding(who["id"], who.get("name", ""), who.get("email", "")) for who in contacts}
    for event in told:
        change = CHANGES.get(event.name)
        if change is None or not event.contact:
            continue
        known = standing.get(event.contact) or ContactStanding(event.contact, "", event.data.get("to", ""))
        standing[event.contact] = change(known, datetime.fromisoformat(event.time), event.data)
    return tuple(standing.values())


def _mailed(known: ContactStanding, time: datetime, data: Mapping[str, str]) -> ContactStanding:
    return replace(known, mail=MailState.ACCEPTED, reply=data.get("reply", ""), mailed_at=time)


def _not_mailed(known: ContactStanding, _time: datetime, data: Mapping[str, str]) -> ContactStanding:
    """A message that a person's resend replaced is no failure: its successor is on its way."""
    replaced = "superseded" in (data.get("reason"), data.get("reply"))
    if replaced:
        return known if known.mail is MailState.ACCEPTED else replace(known, mail=MailState.PENDING, reply="")
    return replace(known, mail=MailState.FAILED, reply=data.get("reply") or data.get("reason", ""))


def _uncertain(known: ContactStanding, _time: datetime, data: Mapping[str, str]) -> ContactStanding:
    return replace(known, mail=MailState.UNCERTAIN, reply=data.get("reason", ""))


def _opened(known: ContactStanding, time: datetime, data: Mapping[str, str]) -> ContactStanding:
    """A visit settles a doubtful mail: its link arrived. Only a visit that may be a person's counts as opening."""
    known = replace(known, mail=MailState.ACCEPTED) if known.mail is MailState.UNCERTAIN else known
    person = data.get("class", "").startswith("person")
    return replace(known, opened_at=known.opened_at or time) if person else known


def _acknowledged(known: ContactStanding, time: datetime, _data: Mapping[str, str]) -> ContactStanding:
    return replace(
        known,
        mail=MailState.ACCEPTED,
        opened_at=known.opened_at or time,
        acknowledged_at=known.acknowledged_at or time,
    )


def _handed_over(known: ContactStanding, time: datetime, _data: Mapping[str, str]) -> ContactStanding:
    return replace(known, handed_over_at=known.handed_over_at or time)


def _refused(known: ContactStanding, time: datetime, data: Mapping[str, str]) -> ContactStanding:
    return replace(known, opened_at=known.opened_at or time, refusal=data.get("reason", ""))


def _asked(known: ContactStanding, _time: datetime, data: Mapping[str, str]) -> ContactStanding:
    return replace(known, question=data.get("text", ""))


CHANGES = {
    "ConsignmentNotification": _mailed,
    "ConsignmentNotificationFailure": _not_mailed,
    "MailUncertain": _uncertain,
    "NotificationAccessTracking": _opened,
    "ConsignmentAcceptance": _acknowledged,
    "ContentHandover": _handed_over,
    "ConsignmentRejection": _refused,
    "Question": _asked,
}
"""What each event of the edge changes for the contact that it names."""


SENT = (InvoiceState.ARCHIVED, InvoiceState.SPECIMEN)
"""The states that a delivery can be looked for in."""


def _with_delivery(conn: sa.Connection, lines: Sequence[InvoiceLine]) -> tuple[InvoiceLine, ...]:
    sent: defaultdict[str, list[DeliveryLine]] = defaultdict(list)
    for delivery in _deliveries(conn, [line.id for line in lines if line.state in SENT]):
        sent[delivery.invoice].append(delivery)
    return tuple(replace(line, delivery=_first_step(sent[line.id])) for line in lines)


def _first_step(sent: Sequence[DeliveryLine]) -> str:
    return min((delivery.step for delivery in sent), key=STEPS.index, default="")


# The time line ------------------------------------------------------------------------------------------------------


def time_line(conn: sa.Connection, invoice_id: str) -> tuple[TimeLineEntry, ...]:
    """All that happened to an invoice, oldest first: printed, read, acts, sealed, ledger, sent, events, receipts."""
    row = conn.execute(sa.select(invoices).where(invoices.c.id == invoice_id)).one_or_none()
    if row is None:
        raise _not_one("invoice", invoice_id, (), "invoice-printer invoices")
    source = conn.execute(sa.select(jobs).where(jobs.c.id == row.job)).one()
    sent = _deliveries(conn, [row.id])
    entries = [
        *_beginnings(row, source),
        *_ledger_entries(conn, [row.id, row.job], _addresses(sent)),
        *_delivery_entries(conn, sent),
        *_receipt_entries(sent),
    ]
    return tuple(sorted(entries, key=lambda entry: entry.time))


def _beginnings(row: sa.Row[Any], source: sa.Row[Any]) -> Iterable[TimeLineEntry]:
    by = {"number": str(source.number), "user": source.user, "host": source.host, "title": source.title}
    yield TimeLineEntry(source.received_at or source.created_at, "printed", by)
    yield TimeLineEntry(row.created_at, "read", {"template": row.template})
    if row.sealed_at:
        stamp = row.timestamp or {}
        yield TimeLineEntry(row.sealed_at, "sealed", {"authority": stamp.get("authority", "")})


def _addresses(sent: Sequence[DeliveryLine]) -> dict[str, str]:
    return {contact.id: contact.email for delivery in sent for contact in delivery.contacts}


def _ledger_entries(
    conn: sa.Connection, subjects: Collection[str], address: Mapping[str, str]
) -> Iterable[TimeLineEntry]:
    """Entries of the ledger with the facts of their record, or without them once these were erased."""
    query = (
        sa.select(ledger.c.index, ledger.c.recorded_at, ledger.c.kind, ledger_records.c.body)
        .outerjoin(ledger_records, ledger_records.c.index == ledger.c.index)
        .where(ledger.c.subject.in_(subjects))
        .order_by(ledger.c.index)
    )
    for row in conn.execute(query):
        body = json.loads(row.body) if row.body else {}
        facts = {name: value for name, value in body.items() if isinstance(value, str)}
        fields = body.get("fields")
        corrected = {"fields": ", ".join(f"{name} = {value}" for name, value in fields.items())} if fields else {}
        facts = {**facts, **corrected, "index": str(row.index)}
        yield TimeLineEntry(row.recorded_at, f"ledger.{row.kind}", facts, address.get(facts.get("contact", ""), ""))


def _delivery_entries(conn: sa.Connection, sent: Sequence[DeliveryLine]) -> Iterable[TimeLineEntry]:
    """What left, what was ordered to leave again (a person's order is an act of the ledger), and what the edge told."""
    for delivery in sent:
        if delivery.sent_at:
            yield TimeLineEntry(delivery.sent_at, f"sent.{delivery.route}", {"why": delivery.why})
    ids = [delivery.id for delivery in sent]
    address = _addresses(sent)
    for row in conn.execute(sa.select(dispatches).where(dispatches.c.delivery.in_(ids), dispatches.c.who == "")):
        facts = {"reason": row.reason, "state": row.state}
        yield TimeLineEntry(row.created_at, "dispatch", facts, address.get(row.contact, ""))
    refused = sa.select(dispatches).where(dispatches.c.delivery.in_(ids), dispatches.c.state == DeliveryState.REVOKED)
    for row in conn.execute(refused.where(dispatches.c.trouble != "")):
        yield TimeLineEntry(row.created_at, "refused", {"reason": row.trouble}, address.get(row.contact, ""))
    for row in conn.execute(_events_query(ids)):
        facts = {name: str(value) for name, value in row.data.items()}
        yield TimeLineEntry(datetime.fromisoformat(row.time), row.name, facts, address.get(row.contact, ""))


def _receipt_entries(sent: Sequence[DeliveryLine]) -> Iterable[TimeLineEntry]:
    for contact in (contact for delivery in sent for contact in delivery.contacts):
        if contact.receipt and contact.receipt.sealed_at:
            number = {"number": str(contact.receipt.number)}
            yield TimeLineEntry(contact.receipt.sealed_at, "receipt", number, contact.email)


# From rows ----------------------------------------------------------------------------------------------------------


def _job_query() -> sa.Select[Any]:
    found = sa.select(sa.func.count()).where(invoices.c.job == jobs.c.id).scalar_subquery()
    return sa.select(jobs, found.label("found"))


def _job_line(row: sa.Row[Any]) -> JobLine:
    return JobLine(
        id=row.id,
        number=row.number,
        user=row.user,
        host=row.host,
        title=row.title,
        source=row.source,
        media_type=row.media_type,
        size=row.size or 0,
        state=row.state,
        message=row.message,
        reason=_reason(row.reason) if row.reason else None,
        original=row.original,
        created_at=row.created_at,
        received_at=row.received_at,
        completed_at=row.completed_at,
        invoices=row.found,
        trouble=row.trouble,
    )


def _invoice_line(row: sa.Row[Any]) -> InvoiceLine:
    """A waiting invoice has no facts yet that passed: what was read or corrected stands in for them."""
    read = {name: value.get("value", "") for name, value in row.reading.get("fields", {}).items()} | row.corrections
    return InvoiceLine(
        id=row.id,
        job=row.job,
        state=row.state,
        kind=row.kind or read.get("kind", ""),
        number=row.number or read.get("number", ""),
        issued_on=row.issued_on or read.get("issued_on", ""),
        due_on=row.due_on or read.get("due_on", ""),
        customer_code=row.customer_code or read.get("customer_code", ""),
        customer_name=row.customer_name or read.get("buyer_name", ""),
        total=row.total or read.get("total", ""),
        currency=row.currency or read.get("currency", ""),
        reasons=tuple(_reason(reason) for reason in row.reasons),
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def _receipt_line(row: sa.Row[Any]) -> ReceiptLine:
    stamp = _timestamp(row.timestamp)
    return ReceiptLine(row.id, row.number, row.state, row.created_at, row.sealed_at, row.pdf, stamp)


def _reason(row: Mapping[str, Any]) -> Reason:
    return Reason(row["code"], row.get("facts", {}), _box(row.get("box")))


def _found(row: Mapping[str, Any]) -> Found:
    return Found(row.get("value", ""), _box(row.get("box")))


def _box(row: Sequence[float] | None) -> Box | None:
    return Box(int(row[0]), *row[1:]) if row else None


def _timestamp(row: Mapping[str, Any] | None) -> Timestamp | None:
    if not row:
        return None
    return Timestamp(datetime.fromisoformat(row["time"]), str(row["serial"]), row["authority"], bool(row["local"]))
