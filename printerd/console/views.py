"""The pages: each looks something up, or does one act of :mod:`printerd.evidence.acts` and goes back to its page."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote, urlencode

import sqlalchemy as sa
from starlette.requests import Request
from starlette.responses import FileResponse, RedirectResponse, Response
from starlette.routing import Route

from printerd.console import sheets, texts, ways
from printerd.console.pages import Pages
from printerd.errors import Failure, RequestError
from printerd.evidence import acts
from printerd.model import Digest, InvoiceId, InvoiceState, JobId, JobState, Mode
from printerd.storage import archive, instance, messages
from printerd.storage.blobs import Blobs
from printerd.storage.database import Database

ROWS = 50
"""Lines of a list on one page."""

INVOICE_TABS: Mapping[str, tuple[str, ...]] = {
    "all": (),
    "waiting": (InvoiceState.WAITING,),
    "progress": (InvoiceState.CHECKING, InvoiceState.READY),
    "archived": (InvoiceState.ARCHIVED,),
    "reprint": (InvoiceState.REPRINT,),
    "rejected": (InvoiceState.REJECTED,),
    "specimen": (InvoiceState.SPECIMEN,),
}
JOB_TABS: Mapping[str, tuple[str, ...]] = {
    "all": (),
    "attention": (JobState.HELD, JobState.ABORTED),
    "progress": (JobState.INCOMING, JobState.PENDING, JobState.RECEIVED, JobState.PROCESSING),
    "done": (JobState.DONE,),
    "canceled": (JobState.CANCELED,),
}
"""The states behind each tab; none means all of them."""
SELDOM = frozenset({"specimen"})
"""Tabs that are there only when something is behind them."""


DOCUMENT_POLICY = "default-src 'none'; style-src 'unsafe-inline'; object-src 'self'; frame-ancestors 'self'"
"""For the PDF in an invoice's page: the browser's own viewer may style itself, no script runs."""


@dataclass(frozen=True, slots=True)
class Tab:
    name: str
    count: int
    address: str
    current: bool


@dataclass(frozen=True, slots=True)
class Act:
    """What a person asked for in a form: on which invoice, with what, who and why."""

    detail: archive.InvoiceDetail
    form: Mapping[str, str]
    who: str
    reason: str
    now: datetime
    language: str

    @property
    def invoice(self) -> InvoiceId:
        return InvoiceId(self.detail.line.id)


def _correct(conn: sa.Connection, act: Act) -> None:
    changed = sheets.corrections(act.detail, dict(act.form))
    if not changed:
        raise _refusal(act.language, "correct.nothing")
    acts.correct(conn, act.invoice, changed, act.who, act.reason, act.now)


def _release(conn: sa.Connection, act: Act) -> None:
    acts.release(conn, act.invoice, act.who, act.reason, act.now)


def _reject(conn: sa.Connection, act: Act) -> None:
    acts.reject(conn, act.invoice, act.who, act.reason, act.now)


def _resend(conn: sa.Connection, act: Act) -> None:
    acts.resend(conn, act.invoice, act.who, act.reason, act.now, contact=act.form.get("contact", ""))


ACTS: Mapping[str, Callable[[sa.Connection, Act], None]] = {
    "correct": _correct,
    "release": _release,
    "reject": _reject,
    "resend": _resend,
}
"""What may be done to an invoice, by the last part of the form's address."""


class Desk:
    """The pages of somebody who is in (``request.state.session``)."""

    def __init__(
        self,
        database: Database,
        blobs: Blobs,
        pages: Pages,
        place: ways.Place,
        wake: Callable[[], None],
        clock: Callable[[], datetime],
        language: str,
    ) -> None:
        self._database = database
        self._blobs = blobs
        self._pages = pages
        self._place = place
        self._wake = wake
        self._clock = clock
        self._language = language

    def home(self, _request: Request) -> Response:
        return RedirectResponse("/invoices", 303)

    def invoices(self, request: Request) -> Response:
        tab = _one_of(INVOICE_TABS, request.query_params.get("state", ""))
        search = request.query_params.get("search", "").strip()[:200]
        page = _number(request.query_params.get("page"), 1)
        with self._database.read() as conn:
            lines = archive.list_invoices(
                conn, state=INVOICE_TABS[tab] or None, search=search, limit=ROWS + 1, offset=(page - 1) * ROWS
            )
            counts = archive.counts(conn).invoices
        here = {"state": tab, "search": search}
        return self._page(
            request,
            "invoices.html",
            lines=lines[:ROWS],
            tab=tab,
            tabs=_tabs("/invoices", INVOICE_TABS, counts, tab, {"search": search}),
            search=search,
            here=_address("/invoices", here | {"page": page}),
            newer=_address("/invoices", here | {"page": page - 1}) if page > 1 else "",
            older=_address("/invoices", here | {"page": page + 1}) if len(lines) > ROWS else "",
        )

    def jobs(self, request: Request) -> Response:
        tab = _one_of(JOB_TABS, request.query_params.get("state", ""))
        before = _number(request.query_params.get("before"), 0) or None
        with self._database.read() as conn:
            lines = archive.list_jobs(conn, state=JOB_TABS[tab] or None, limit=ROWS + 1, before=before)
            counts = archive.counts(conn).jobs
        more = len(lines) > ROWS
        return self._page(
            request,
            "jobs.html",
            lines=lines[:ROWS],
            tab=tab,
            tabs=_tabs("/jobs", JOB_TABS, counts, tab, {}),
            here=_address("/jobs", {"state": tab, "before": before or ""}),
            newer=_address("/jobs", {"state": tab}) if before else "",
            older=_address("/jobs", {"state": tab, "before": lines[ROWS - 1].number}) if more else "",
        )

    def add_printer(self, request: Request) -> Response:
        told = self._place.told(request.url.hostname or "")
        return self._page(request, "add-printer.html", ways=told, near=self._place.is_listening_near("ipp"))

    def invoice(self, request: Request) -> Response:
        return self._invoice_page(request, self._detail(request), 200)

    def _detail(self, request: Request) -> archive.InvoiceDetail:
        with self._database.read() as conn:
            return archive.invoice(conn, request.path_params["invoice"])

    def _invoice_page(
        self,
        request: Request,
        detail: archive.InvoiceDetail,
        status: int,
        refused: RequestError | None = None,
        typed: dict[str, str] | None = None,
    ) -> Response:
        with self._database.read() as conn:
            happened = archive.time_line(conn, detail.line.id)
        done = request.query_params.get("done", "")
        return self._page(
            request,
            "invoice.html",
            status,
            detail=detail,
            line=detail.line,
            days=sheets.days(happened, request.state.language),
            fields=sheets.form(detail, typed),
            typed_reason=(typed or {}).get("reason", ""),
            done=done if done in ACTS else "",
            refused=refused,
            releasable=sheets.releasable(detail.line.reasons),
            in_progress=sheets.in_progress(detail),
            remedy=sheets.remedy,
        )

    def pdf(self, request: Request) -> Response:
        """The sealed document, or before that the page as it was read, for the frame beside the facts."""
        detail = self._detail(request)
        name = _file_name(detail.line.number or detail.line.id[:8])
        return self._document(detail.sealed or detail.pdf, name)

    def receipt(self, request: Request) -> Response:
        number = request.path_params["number"]
        contacts = (contact for sent in self._detail(request).deliveries for contact in sent.contacts)
        filed = [contact.receipt for contact in contacts if contact.receipt and contact.receipt.number == number]
        if not filed or filed[0].pdf is None:
            raise RequestError(f"There is no receipt no. {number} of this invoice.")
        return self._document(filed[0].pdf, f"receipt-{number}.pdf", attached=True)

    def act(self, request: Request) -> Response:
        """One act of a person; refused, the page comes back with what was typed and why."""
        detail, name, form = self._detail(request), request.path_params["act"], request.state.form
        act = ACTS.get(name)
        if act is None:
            raise RequestError(f"There is no act “{name}”.")
        try:
            asked = self._asked(request, detail)
            with self._database.write() as conn:
                act(conn, asked)
                messages.refresh(conn, [detail.line.job], self._language)
        except RequestError as refused:
            return self._invoice_page(request, detail, 409, refused, form if name == "correct" else None)
        self._wake()
        return RedirectResponse(f"/invoices/{detail.line.id}?done={name}", 303)

    def _asked(self, request: Request, detail: archive.InvoiceDetail) -> Act:
        language = request.state.language
        reason = _reason(request)
        return Act(detail, request.state.form, request.state.session.who, reason, self._clock(), language)

    def job(self, request: Request) -> Response:
        return self._job_page(request, 200)

    def _job_page(self, request: Request, status: int, refused: RequestError | None = None) -> Response:
        with self._database.read() as conn:
            job = archive.job(conn, str(request.path_params["number"]))
            found = archive.invoices_of(conn, job.id)
        done = "retry" if request.query_params.get("done") == "retry" else ""
        return self._page(request, "job.html", status, job=job, lines=found, refused=refused, done=done)

    def original(self, request: Request) -> Response:
        """The bytes as they came in: never shown, only saved, whatever they are."""
        with self._database.read() as conn:
            job = archive.job(conn, str(request.path_params["number"]))
        if job.original is None:
            raise RequestError(f"Print job {job.number} has no document.")
        return self._document(job.original, f"job-{job.number}.bin", "application/octet-stream", attached=True)

    def retry(self, request: Request) -> Response:
        try:
            reason = _reason(request)
            with self._database.write() as conn:
                job = archive.job(conn, str(request.path_params["number"]))
                acts.retry_job(conn, JobId(job.id), request.state.session.who, reason, self._clock())
        except RequestError as refused:
            return self._job_page(request, 409, refused)
        self._wake()
        return RedirectResponse(f"/jobs/{job.number}?done=retry", 303)

    async def missing(self, request: Request, error: Exception) -> Response:
        return self._message(request, 404, "missing", error)

    async def away(self, request: Request, error: Exception) -> Response:
        return self._message(request, 503, "away", error)

    def _message(self, request: Request, status: int, key: str, error: Exception) -> Response:
        """A page that asks nothing of the database: it may be what failed."""
        lines = error.lines() if isinstance(error, Failure) else ()
        return self._render(request, "message.html", status, rehearsal=False, key=key, lines=lines)

    def _page(self, request: Request, template: str, status: int = 200, **values: Any) -> Response:
        with self._database.read() as conn:
            rehearsal = instance.mode(conn) is Mode.REHEARSAL
        return self._render(request, template, status, rehearsal=rehearsal, **values)

    def _render(self, request: Request, template: str, status: int, **values: Any) -> Response:
        common = {"session": request.state.session, "path": request.url.path, "looks": sheets.LOOKS}
        return self._pages.render(template, request.state.language, status, **common, **values)

    def _document(
        self, digest: Digest, name: str, media_type: str = "application/pdf", *, attached: bool = False
    ) -> Response:
        self._blobs.open(digest).close()  # says what to do when the archive has lost it
        way = "attachment" if attached else "inline"
        headers = {"Cache-Control": "no-store", "Content-Security-Policy": DOCUMENT_POLICY}
        path = self._blobs.path(digest)
        return FileResponse(path, 200, headers, media_type, filename=name, content_disposition_type=way)


def routes(desk: Desk) -> list[Route]:
    """Every address of the console that needs a login."""
    post = ["POST"]
    return [
        Route("/", desk.home),
        Route("/invoices", desk.invoices),
        Route("/invoices/{invoice}", desk.invoice),
        Route("/invoices/{invoice}/pdf", desk.pdf),
        Route("/invoices/{invoice}/receipts/{number:int}", desk.receipt),
        Route("/invoices/{invoice}/{act}", desk.act, methods=post),
        Route("/add-printer", desk.add_printer),
        Route("/jobs", desk.jobs),
        Route("/jobs/{number:int}", desk.job),
        Route("/jobs/{number:int}/original", desk.original),
        Route("/jobs/{number:int}/retry", desk.retry, methods=post),
    ]


def _reason(request: Request) -> str:
    reason: str = request.state.form.get("reason", "").strip()
    if not reason:
        raise _refusal(request.state.language, "reason.needed")
    return reason


def _refusal(language: str, key: str) -> RequestError:
    return RequestError(texts.text(language, key), remedy=texts.text(language, f"{key}.next"))


def _one_of(tabs: Mapping[str, tuple[str, ...]], asked: str) -> str:
    return asked if asked in tabs else "all"


def _number(asked: str | None, otherwise: int) -> int:
    return int(asked) if asked and re.fullmatch(r"[1-9]\d{0,8}", asked) else otherwise


def _tabs(
    base: str, tabs: Mapping[str, tuple[str, ...]], counts: Mapping[str, int], current: str, keep: Mapping[str, str]
) -> list[Tab]:
    """The tabs with how many are behind each."""
    numbers = {name: sum(counts[state] for state in states or counts) for name, states in tabs.items()}
    return [
        Tab(name, number, _address(base, {"state": name, **keep}), name == current)
        for name, number in numbers.items()
        if number or name == current or name not in SELDOM
    ]


def _address(base: str, values: Mapping[str, Any]) -> str:
    """An address without what would be empty or the default."""
    usual = (("state", "all"), ("page", 1))
    asked = {name: value for name, value in values.items() if value and (name, value) not in usual}
    return f"{base}?{urlencode(asked, quote_via=quote)}" if asked else base


def _file_name(number: str) -> str:
    return re.sub(r"[^\w.-]+", "-", number).strip("-.")[:80] + ".pdf"
