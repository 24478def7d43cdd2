"""The console as one ASGI application: who may ask, under which name, and what every answer carries.

Checked in this order, before any page runs: the Host (421), the login (the same
404 for everything), then origin and form token of what changes something (403).
"""

from __future__ import annotations

import hashlib
import ipaddress
import re
from base64 import b64encode
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from printerd.console import login, texts, views, ways
from printerd.console.pages import Pages
from printerd.errors import DocumentError, RequestError, TransientError
from printerd.storage.blobs import Blobs
from printerd.storage.database import Database

HERE = Path(__file__).parent
FORM_LIMIT = 64 << 10
"""Bytes of a form; ours are far smaller."""

POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; frame-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    # Under no-referrer browsers send "Origin: null" with our own forms. This one tells other sites nothing either.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Robots-Tag": "noindex",
}


def application(
    database: Database,
    blobs: Blobs,
    *,
    names: Sequence[str],
    language: str,
    firm: str,
    doors: Mapping[str, str],
    wake: Callable[[], None],
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> ASGIApp:
    """The console. ``names`` are this machine's host names in lower case, which may change, and the first is what
    others call it; ``doors`` are the ways in that are open, by their settings in ``listen``, as HOST:PORT or
    ``unix:///PATH``.

    ``language`` is that of the print queue, and for browsers that ask for none of ours.
    ``wake`` tells the worker that there is something to do; ``clock`` gives aware times.
    """
    pages = Pages(HERE / "templates", HERE / "static", firm=firm)
    place = ways.Place(doors, names)
    desk = views.Desk(database, blobs, pages, place, wake, clock, language)
    door = Door(database, pages, clock)
    static = GZipMiddleware(Static(directory=HERE / "static"))
    inside = Starlette(
        routes=[*views.routes(desk), Route("/logout", door.leave, methods=["POST"]), Mount("/static", static)],
        exception_handlers={
            404: desk.missing,
            405: desk.missing,
            RequestError: desk.missing,
            DocumentError: desk.away,
            TransientError: desk.away,
        },
    )
    inside.router.redirect_slashes = False  # one address for each page, and none made from what a request says
    outside = Starlette(
        routes=[Route("/login/{token}", door.login, methods=["GET", "POST"])],
        exception_handlers={404: door.missing, 405: door.missing},
    )
    outside.router.redirect_slashes = False  # a link to log in would stand in a Location
    return Guard(inside, outside, door, names=names, language=language)


class Static(StaticFiles):
    """Front-end files. Their addresses carry a digest of the content, so browsers may keep them."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers["Cache-Control"] = "private, max-age=31536000, immutable"
        return response


class Door:
    """Login, logout, and the answer to everybody else."""

    def __init__(self, database: Database, pages: Pages, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._pages = pages
        self._clock = clock
        self._attempts = login.Attempts()
        style = b64encode(hashlib.sha256(pages.door_style.encode()).digest()).decode()
        self._policy = POLICY.replace("style-src 'self'", f"style-src 'sha256-{style}'")

    def session(self, token: str) -> login.Session | None:
        return login.session(self._database, token, self._clock())

    async def login(self, request: Request) -> Response:
        """GET shows whom the link is for and a button; POST uses the link up."""
        client = request.client.host if request.client else ""
        if not self._attempts.allow(client, self._clock()):
            return PlainTextResponse("Too many attempts. Wait a minute.\n", 429, {"Retry-After": "60"})
        if request.method == "POST":
            return await self._enter(request)
        link = request.path_params["token"]
        who = await run_in_threadpool(login.link_holder, self._database, link, self._clock())
        return self.nothing(request) if who is None else self._page(request, "login.html", 200, who=who)

    async def _enter(self, request: Request) -> Response:
        link, old = request.path_params["token"], request.cookies.get(login.COOKIE, "")
        begun = await run_in_threadpool(login.enter, self._database, link, old, self._clock())
        if begun is None:
            return self.nothing(request)
        response = RedirectResponse("/invoices", 303)
        response.set_cookie(
            login.COOKIE,
            begun.token,
            max_age=int(login.SESSION_LIFE.total_seconds()),
            httponly=True,
            samesite="strict",
            secure=request.url.scheme == "https",
        )
        return response

    async def leave(self, request: Request) -> Response:
        await run_in_threadpool(login.leave, self._database, request.state.session)
        response = RedirectResponse("/", 303)
        response.delete_cookie(login.COOKIE)
        return response

    async def missing(self, request: Request, _error: Exception) -> Response:
        return self.nothing(request)

    def nothing(self, request: Request) -> Response:
        """One body for every address: it does not tell what there is."""
        return self._page(request, "nothing.html", 404)

    def _page(self, request: Request, template: str, status: int, **values: str) -> Response:
        response = self._pages.render(template, request.state.language, status, **values)
        response.headers["Content-Security-Policy"] = self._policy
        return response


class Guard:
    """Lets requests through to the pages ``inside`` once they may; the login itself is ``outside``."""

    def __init__(self, inside: ASGIApp, outside: ASGIApp, door: Door, *, names: Collection[str], language: str) -> None:
        self._inside = inside
        self._outside = outside
        self._door = door
        self._names = names
        self._language = language

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        request = Request(scope, receive)
        request.state.language = texts.preferred(request.headers.get("accept-language", ""), self._language)
        app = await self._admit(request)
        await app(scope, request.receive, _with_headers(send))

    async def _admit(self, request: Request) -> ASGIApp:
        if not own_host(request, self._names):
            return PlainTextResponse("This server does not answer to that name.\n", 421)
        changes = request.method not in ("GET", "HEAD")
        if request.url.path.startswith("/login/"):
            return self._outside if not changes or same_origin(request) else self._door.nothing(request)
        session = await run_in_threadpool(self._door.session, request.cookies.get(login.COOKIE, ""))
        if session is None:
            return self._door.nothing(request)
        request.state.session = session
        ours = not changes or (same_origin(request) and await _form_is_ours(request, session))
        return self._inside if ours else _stale(request)


def own_host(request: Request, names: Collection[str]) -> bool:
    """Whether the Host is a name of ours or the very address that was called.

    Any other may belong to a foreign page that made its name point at us (DNS rebinding).
    """
    host = _host_name(request.headers.get("host", ""))
    server = request.scope.get("server") or ("", None)
    if host in names:
        return True
    try:
        own = ipaddress.ip_address(server[0])
    except ValueError:
        return False
    return host == server[0] or (own.is_loopback and host == "localhost")


_HOST = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+))(?::\d{1,5})?")


def _host_name(host: str) -> str:
    """The name in a Host header, without port and final dot; empty when it is none (RFC 9110 section 7.2)."""
    found = _HOST.fullmatch(host)
    return (found[1] or found[2]).lower().rstrip(".") if found else ""


def same_origin(request: Request) -> bool:
    """Browsers say where a form was sent from (RFC 6454 section 7); the port counts, the scheme may be a proxy's."""
    return urlsplit(request.headers.get("origin", "")).netloc == request.headers.get("host")


async def _form_is_ours(request: Request, session: login.Session) -> bool:
    """Read a form, once and bounded, and check its token. The pages find it in ``request.state.form``."""
    if request.headers.get("content-type", "").partition(";")[0] != "application/x-www-form-urlencoded":
        return False
    if int(request.headers.get("content-length") or FORM_LIMIT + 1) > FORM_LIMIT:
        return False
    form = await request.form(max_fields=64)
    request.state.form = {name: value for name, value in form.items() if isinstance(value, str)}
    return session.owns(request.state.form.get("form_token", ""))


def _stale(request: Request) -> Response:
    return PlainTextResponse(texts.text(request.state.language, "stale"), 403)


def _with_headers(send: Send) -> Send:
    """Every answer carries :data:`HEADERS` and a policy; what a page set itself stays."""

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            there = {name.lower() for name, _ in message["headers"]}
            wanted = HEADERS | {"Content-Security-Policy": POLICY}
            message["headers"] = [*message["headers"]] + [
                (name.lower().encode(), value.encode())
                for name, value in wanted.items()
                if name.lower().encode() not in there
            ]
        await send(message)

    return sending
