"""The customer's pages: GET and HEAD show, POST acts, and nothing but a person's POST makes a receipt.

An unknown, an expired and a revoked link get the same answer, byte for byte.
No page needs a script, sets a cookie, or asks anything of another host.
"""

from __future__ import annotations

import asyncio
import re
import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs
from uuid import uuid4

from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from . import deliveries, documents, events, look, outbox
from .contract import Contact, Delivery
from .database import Database, now, stamp
from .guard import Guard, Network, too_many, within
from .handover import Handed, HandOver, attachment
from .letters import Office
from .limits import Buckets
from .links import (
    agent_family,
    fingerprint,
    make_nonce,
    mask_address,
    open_nonce,
    signs_of_automation,
    truncate_address,
    visitor_class,
)
from .render import facts

LARGEST_FORM = 32 * 1024
"""A question of 2000 characters, four bytes each, each byte escaped as three, and some more."""
SLOWEST_FORM = 30.0
"""Seconds for all of a form to arrive."""
LONGEST_QUESTION = 2000
_ACCENT = re.compile(r"accent-([0-9a-f]{6})\.css")
_STATIC = Path(__file__).parent / "static"


@dataclass(frozen=True, slots=True)
class Link:
    """What a living link leads to, and what has become of it. ``receipt`` is the digest of the sealed receipt."""

    token_hash: str
    message: str
    delivery_id: str
    delivery: Delivery
    contact: Contact
    sent_to: str
    available: bool
    acknowledged_at: datetime | None
    receipt: str | None


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, as far as it is recorded. ``staff`` presses never count."""

    address: str
    agent: str
    staff: bool

    def as_data(self) -> dict[str, str]:
        """What events say of it."""
        return {"address": self.address, "agent": self.agent}


@dataclass(frozen=True, slots=True)
class Counter:
    """What the pages work with."""

    database: Database
    documents: Path
    office: Office
    nonce_secret: bytes
    staff_networks: Sequence[Network]


# -- what is read and written ---------------------------------------------------------------------


def follow(connection: sqlite3.Connection, token_hash: str, at: datetime) -> Link | None:
    """Where a link leads; ``None`` when it is unknown, expired or revoked."""
    row = connection.execute(
        """SELECT links.*, outbox.recipient, deliveries.body, deliveries.document, receipts.sha256 AS receipt
           FROM links JOIN outbox ON outbox.id = links.message JOIN deliveries ON deliveries.id = links.delivery
           LEFT JOIN receipts ON receipts.delivery = links.delivery AND receipts.contact = links.contact
           WHERE token_hash = ? AND revoked_at IS NULL AND expires_at > ?""",
        (token_hash, stamp(at)),
    ).fetchone()
    if row is None:
        return None
    delivery = Delivery.model_validate_json(row["body"])
    return Link(
        token_hash,
        row["message"],
        row["delivery"],
        delivery,
        delivery.contact(row["contact"]),
        row["recipient"],
        documents.size_of(connection, row["document"]) is not None,
        events.first_time(connection, "ConsignmentAcceptance", row["delivery"], row["contact"]),
        row["receipt"],
    )


def record(connection: sqlite3.Connection, link: Link, name: events.Name, at: datetime, data: dict[str, str]) -> None:
    """An event of this link's contact; using a link also settles a doubt about its letter."""
    outbox.link_was_used(connection, link.message)
    marked = data | deliveries.mark(link.delivery.specimen)
    events.append(connection, name, link.delivery_id, link.contact.id, at, marked)


def record_visit(
    connection: sqlite3.Connection, link: Link, visitor: str, at: datetime, caller: dict[str, str]
) -> None:
    """That the page was asked for: once a link, class and hour."""
    hour = stamp(at)[:13]
    new = connection.execute("INSERT OR IGNORE INTO visits VALUES (?, ?, ?)", (link.token_hash, visitor, hour))
    if new.rowcount:
        record(connection, link, "NotificationAccessTracking", at, caller | {"class": visitor})


def record_acceptance(connection: sqlite3.Connection, link: Link, at: datetime, data: dict[str, str]) -> None:
    """The button: the first press of a contact, and every later one, each with its own ``act``."""
    known = events.first_time(connection, "ConsignmentAcceptance", link.delivery_id, link.contact.id)
    record(connection, link, "ConsignmentAcceptance", at, data | {"first": "no" if known else "yes"})


# -- what is answered -----------------------------------------------------------------------------


class Pages:
    """The handlers of ``/l/…``."""

    def __init__(self, counter: Counter) -> None:
        self._counter = counter
        self._nowhere = counter.office.templates.get_template("nowhere.html").render()
        self._noted: tuple[str, set[tuple[str, str]]] = "", set()
        self._visits = Buckets(capacity=300, per_second=2)
        self._acts = Buckets(capacity=60, per_second=0.2)
        self._actions: dict[str, Callable[[Request, Link, datetime, dict[str, str]], Awaitable[ASGIApp]]] = {
            "accept": self._accept,
            "paper": self._reject,
            "not-for-me": self._reject,
            "question": self._question,
        }

    def nowhere(self) -> Response:
        """The one answer to everything that is not here."""
        return HTMLResponse(self._nowhere, 404)

    async def _follow(self, request: Request, limit: Buckets) -> Link | Response:
        token_hash = fingerprint(request.path_params["token"])
        if token_hash is None:
            return self.nowhere()
        if not limit.take(token_hash):
            return too_many()
        return await self._counter.database.read(follow, token_hash, now()) or self.nowhere()

    async def link(self, request: Request) -> ASGIApp:
        """``/l/{token}``: the page, or the act."""
        acting = request.method == "POST"
        found = await self._follow(request, self._acts if acting else self._visits)
        if isinstance(found, Response):
            return found
        return await (self._act if acting else self._show)(request, found)

    async def receipt(self, request: Request) -> Response:
        """``/l/{token}/receipt``: the sealed receipt, once it is there."""
        found = await self._follow(request, self._visits)
        if isinstance(found, Response):
            return found
        file = documents.path_of(self._counter.documents, found.receipt or "")
        if found.receipt is None or not file.exists():
            return self.nowhere()
        name = {"fr": "accuse-de-reception", "en": "acknowledgement"}[found.delivery.language]
        headers = {"Content-Disposition": attachment(f"{name}-{found.delivery.invoice.number}.pdf")}
        return Response(file.read_bytes(), 200, headers, "application/pdf")

    def _caller(self, request: Request) -> Caller:
        address = request.state.address
        return Caller(
            truncate_address(address),
            agent_family(request.headers.get("user-agent", "")),
            within(address, self._counter.staff_networks),
        )

    async def _show(self, request: Request, link: Link) -> Response:
        caller, at = self._caller(request), now()
        if request.method == "GET" and not caller.staff:
            await self._note(link, visitor_class(request.headers), caller, at)
        return self._page(request, link, at)

    async def _note(self, link: Link, visitor: str, caller: Caller, at: datetime) -> None:
        """Record a visit, and remember for the hour that it is recorded: a flood of GETs costs no transaction."""
        hour = stamp(at)[:13]
        if self._noted[0] != hour:
            self._noted = hour, set()
        if (link.token_hash, visitor) not in self._noted[1]:
            await self._counter.database.write(record_visit, link, visitor, at, caller.as_data())
            self._noted[1].add((link.token_hash, visitor))

    def _page(self, request: Request, link: Link, at: datetime, notice: str = "", status: int = 200) -> Response:
        words = facts(link.delivery, link.contact) | {
            "nonce": make_nonce(self._counter.nonce_secret, link.token_hash, at),
            "masked": mask_address(link.contact.email),
            "available": link.available,
            "acknowledged": look.moment(link.acknowledged_at, link.delivery.language) if link.acknowledged_at else "",
            "receipt": link.receipt is not None,
            "receipt_path": f"{request.url.path}/receipt",
            "staff": self._caller(request).staff,
            "notice": notice,
            "longest_question": LONGEST_QUESTION,
        }
        return self._html(f"{link.delivery.language}/page.html", words, status)

    def _html(self, template: str, words: dict[str, Any], status: int = 200) -> Response:
        return HTMLResponse(self._counter.office.templates.get_template(template).render(words), status)

    async def _act(self, request: Request, link: Link) -> ASGIApp:
        at, form = now(), await _form(request)
        shown_at = open_nonce(self._counter.nonce_secret, link.token_hash, form.get("nonce", ""), at)
        action = self._actions.get(form.get("action", ""))
        if shown_at is None or action is None:
            return self._page(request, link, at, "stale", 400)
        return await action(request, link, shown_at, form)

    async def _accept(self, request: Request, link: Link, shown_at: datetime, _: dict[str, str]) -> ASGIApp:
        """Hand the document over; that it was asked for is durable before its first byte leaves."""
        caller, at, act = self._caller(request), now(), str(uuid4())
        file = documents.path_of(self._counter.documents, link.delivery.document.sha256)
        if not link.available or not file.exists():
            return self._page(request, link, at, "gone", 410)
        if not caller.staff:
            data = _acceptance(link, caller, act, shown_at, at - shown_at, request.headers)
            await self._counter.database.write(record_acceptance, link, at, data)

        async def tell(handed: Handed) -> None:
            if not caller.staff:
                await self._counter.database.write(_record_handover, link, act, handed)

        document = link.delivery.document
        return HandOver(file, document.size, document.sha256, document.file_name, tell)

    async def _reject(self, request: Request, link: Link, _: datetime, form: dict[str, str]) -> ASGIApp:
        caller, reason = self._caller(request), form["action"]
        if not caller.staff:
            data = {"reason": reason} | caller.as_data()
            await self._counter.database.write(record, link, "ConsignmentRejection", now(), data)
        return self._answer(link, caller, reason)

    async def _question(self, request: Request, link: Link, _: datetime, form: dict[str, str]) -> ASGIApp:
        caller, text = self._caller(request), _readable(form.get("text", ""))
        if not text:
            return self._page(request, link, now(), "empty", 400)
        if not caller.staff:
            await self._counter.database.write(record, link, "Question", now(), {"text": text})
        return self._answer(link, caller, "question")

    def _answer(self, link: Link, caller: Caller, what: str) -> Response:
        words = facts(link.delivery, link.contact) | {"what": what, "staff": caller.staff}
        return self._html(f"{link.delivery.language}/answer.html", words)


def _acceptance(
    link: Link, caller: Caller, act: str, shown_at: datetime, waited: timedelta, headers: Headers
) -> dict[str, str]:
    return caller.as_data() | {
        "act": act,
        "requested_at": stamp(shown_at),
        "signs": ";".join(signs_of_automation(headers, waited)),
        "level": link.delivery.policy.level,
        "identified_by": f"link sent to {mask_address(link.sent_to)}",
    }


def _record_handover(connection: sqlite3.Connection, link: Link, act: str, handed: Handed) -> None:
    data = {"act": act, "bytes_sent": str(handed.bytes_sent)}
    if handed.reason:
        record(connection, link, "ContentHandoverFailure", handed.at, data | {"reason": handed.reason})
        return
    size = str(link.delivery.document.size)
    record(connection, link, "ContentHandover", handed.at, data | {"sha256": handed.sha256, "size": size})


def _readable(text: str) -> str:
    """A question as it is kept: no control characters but the line's end, at most 2000 characters."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n")
    kept = "".join(c for c in lines if c == "\n" or c.isprintable() or c in "\N{NO-BREAK SPACE}\u202f")
    return kept.strip()[:LONGEST_QUESTION]


async def _form(request: Request) -> dict[str, str]:
    """The fields of a form, each once. Raises 413 for a body that is too large, before it is read."""
    body = bytearray()
    try:
        async with asyncio.timeout(SLOWEST_FORM):
            async for chunk in request.stream():
                body += chunk
                if len(body) > LARGEST_FORM:
                    raise HTTPException(413)
    except TimeoutError:
        raise HTTPException(408) from None
    try:
        fields = parse_qs(body.decode("utf-8"), max_num_fields=8, keep_blank_values=True)
    except ValueError:
        return {}
    return {name: values[0] for name, values in fields.items()}


# -- the application ------------------------------------------------------------------------------


async def _static(request: Request) -> Response:
    """The style sheet, and one small file for each issuer's colour."""
    name = request.path_params["name"]
    accent = _ACCENT.fullmatch(name)
    headers = {"Cache-Control": "public, max-age=86400"}
    if accent:
        return Response(look.accent_css(f"#{accent[1]}"), 200, headers, "text/css")
    if name != "page.css":
        raise HTTPException(404)
    return Response((_STATIC / name).read_bytes(), 200, headers, "text/css")


async def _robots(_: Request) -> Response:
    return PlainTextResponse("User-agent: *\nDisallow: /\n")


async def _too_large(_: Request, __: Exception) -> Response:
    return PlainTextResponse("Trop long : raccourcissez votre texte.\nToo long: shorten your text.\n", 413)


async def _left(_: Request, __: Exception) -> Response:
    """Nobody is there to read this; it ends the request without a trace in the log."""
    return Response(status_code=400)


def create(counter: Counter, public_url: str, trusted_proxies: Sequence[Network]) -> Starlette:
    """The public application: it has no other paths than these, and no description of itself."""
    pages = Pages(counter)

    async def nowhere(_: Request, __: Exception) -> Response:
        return pages.nowhere()

    application = Starlette(
        routes=[
            Route("/l/{token}", _dispatch(pages.link), methods=["GET", "POST"]),
            Route("/l/{token}/receipt", _dispatch(pages.receipt), methods=["GET"]),
            Route("/static/{name}", _static, methods=["GET"]),
            Route("/robots.txt", _robots, methods=["GET"]),
        ],
        exception_handlers={404: nowhere, 405: nowhere, 413: _too_large, ClientDisconnect: _left},
        middleware=[Middleware(Guard, public_url=public_url, trusted_proxies=trusted_proxies)],
    )
    application.router.redirect_slashes = False  # it would repeat the token in a Location, without https
    return application


def _dispatch(handler: Callable[[Request], Awaitable[ASGIApp]]) -> Callable[[Request], Awaitable[Response]]:
    """Starlette takes any ASGI application as an answer, but its types speak of Response alone."""

    async def endpoint(request: Request) -> Response:
        return await handler(request)  # type: ignore[return-value]

    return endpoint
