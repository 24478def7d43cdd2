"""The pages of the mail catcher: the list, and each message as HTML, as text and as it came.

One rule: a message is foreign. Its HTML is shown in a frame without scripts,
without an origin, and without anything fetched from elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route

from printerd.demo.mail import Mail

FOLDER = Path(__file__).parent / "templates"
HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; frame-src 'self'; form-action 'none'; base-uri 'none'; "
        "frame-ancestors 'none'"
    ),
}
FRAMED = HEADERS | {
    "Content-Security-Policy": (
        "sandbox allow-popups allow-popups-to-escape-sandbox; default-src 'none'; style-src 'unsafe-inline'; "
        "img-src data:; frame-ancestors 'self'"
    )
}
"""For the message itself: links open a page of their own, and nothing else happens."""
HEADER_LINES = ("From", "To", "Reply-To", "Subject", "Date", "Message-ID")


def application(mails: Sequence[Mail]) -> Starlette:
    """The pages over a list of messages that may grow while they are shown."""
    pages = _Pages(mails)
    return Starlette(
        routes=[
            Route("/", pages.index),
            Route("/{number:int}", pages.message),
            Route("/{number:int}/html", pages.html),
            Route("/{number:int}/source", pages.source),
            Route("/mails.css", pages.style),
        ],
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost"])],
    )


class _Pages:
    def __init__(self, mails: Sequence[Mail]) -> None:
        self._mails = mails
        self._templates = Environment(loader=FileSystemLoader(FOLDER), autoescape=True, undefined=StrictUndefined)

    async def index(self, _: Request) -> Response:
        return self._page("mails.html", mails=list(reversed(self._mails)))

    async def message(self, request: Request) -> Response:
        mail = self._mail(request)
        lines = [(name, str(mail.message[name])) for name in HEADER_LINES if mail.message[name]]
        return self._page("mail.html", mail=mail, lines=lines, last=len(self._mails))

    async def html(self, request: Request) -> Response:
        """The HTML part; its links get a page of their own, for the frame shows no other."""
        opened = self._mail(request).html.replace("<head>", '<head><base target="_blank">', 1)
        return HTMLResponse(opened, headers=FRAMED)

    async def source(self, request: Request) -> Response:
        return PlainTextResponse(self._mail(request).message.as_bytes(), headers=HEADERS)

    async def style(self, _: Request) -> Response:
        return Response((FOLDER / "mails.css").read_bytes(), headers=HEADERS, media_type="text/css")

    def _mail(self, request: Request) -> Mail:
        number = int(request.path_params["number"])
        if not 1 <= number <= len(self._mails):
            raise HTTPException(404)
        return self._mails[number - 1]

    def _page(self, template: str, **words: Any) -> Response:
        return HTMLResponse(self._templates.get_template(template).render(words), headers=HEADERS)
