"""The contract over HTTP, on its own address: printerd pushes deliveries and pulls events. No customer comes here.

Every path, known or not, wants the bearer secret, compared in constant time.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

from fastapi import FastAPI, Query, Request, Response
from fastapi import Path as InPath
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.types import ASGIApp, Receive, Scope, Send

from . import __version__, deliveries, documents, events, outbox
from .contract import Delivery, Identifier, Refusal, Reminder, Revocation, Sha256
from .database import Database, now, wait_for_bell
from .letters import Office

LONGEST_WAIT = 30

Sha256Path = Annotated[Sha256, InPath()]


class Status(BaseModel):
    """How the service is.

    ``mail_trouble`` is what the relay says while it takes no mail, or not some of it for long; empty when all is well.
    ``last_event`` is the number of the newest event of the chain.
    """

    edge_id: str
    mail_backlog: int
    mail_trouble: str
    last_event: int
    version: str


class Event(BaseModel):
    """One event of the chain; ``contact`` is empty when none."""

    edge: str
    seq: int
    name: str
    uri: str
    time: str
    delivery: str
    contact: str
    data: dict[str, str]
    previous: str
    digest: str


class Events(BaseModel):
    """A piece of the chain, in order."""

    edge_id: str
    events: list[Event]


class Done(BaseModel):
    """The status code says it all."""


@dataclass(frozen=True, slots=True)
class Stores:
    """What the calls work on."""

    database: Database
    documents: Path
    days_after_handover: float
    office: Office
    stopping: asyncio.Event
    mail_trouble: Callable[[], str]


class BearerOnly:
    """Answers 401 to whoever does not know the secret, whatever was asked."""

    def __init__(self, app: ASGIApp, secret: str) -> None:
        self._app = app
        self._expected = f"Bearer {secret}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        given = dict(scope.get("headers", ())).get(b"authorization", b"")
        if scope["type"] == "http" and not hmac.compare_digest(given, self._expected):
            refusal = JSONResponse({"detail": "the bearer secret is missing or wrong"}, 401)
            refusal.headers["WWW-Authenticate"] = "Bearer"
            await refusal(scope, receive, send)
            return
        await self._app(scope, receive, send)


def create(stores: Stores) -> FastAPI:
    """The application of the contract, described at ``/api/v1/openapi.json``."""
    app = FastAPI(
        title="Receipt service", version=__version__, openapi_url="/api/v1/openapi.json", docs_url=None, redoc_url=None
    )
    app.add_exception_handler(Refusal, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    _add_deliveries(app, stores)
    _add_documents(app, stores)
    _add_events(app, stores)
    return app


async def _refused(_: Request, error: Exception) -> Response:
    if not isinstance(error, Refusal):
        raise error
    return JSONResponse({"detail": error.detail}, error.status)


async def _invalid(_: Request, error: Exception) -> Response:
    """Name the key and what is wrong, and repeat no value: it may be anybody's address."""
    if not isinstance(error, RequestValidationError):
        raise error
    problems = (f"{'.'.join(str(part) for part in one['loc'][1:])}: {one['msg']}" for one in error.errors())
    return JSONResponse({"detail": "; ".join(problems)}, 422)


def _created(response: Response, new: bool) -> Done:
    response.status_code = 201 if new else 200
    return Done()


def _add_deliveries(app: FastAPI, stores: Stores) -> None:
    database, office = stores.database, stores.office

    @app.put("/api/v1/deliveries/{delivery_id}")
    async def put_delivery(
        delivery_id: UUID, delivery: Delivery, response: Response, letters: Annotated[bool, Query()] = True
    ) -> Done:
        """Take a delivery: 201 new, 200 repeated, 409 other content, 424 document missing.

        ``letters=false``: it was sent by an earlier service, so that nobody is written to; reminders and receipts come.
        """
        accepted = database.write(deliveries.accept, office, str(delivery_id), delivery, now(), letters)
        return _created(response, await accepted)

    @app.get("/api/v1/deliveries/{delivery_id}")
    async def get_delivery(delivery_id: UUID) -> Delivery:
        """A delivery as it was ordered: for a printerd that was restored from a backup and has forgotten it."""
        delivery, _ = await database.read(deliveries.find, str(delivery_id))
        return delivery

    @app.post("/api/v1/deliveries/{delivery_id}/reminders")
    async def post_reminder(delivery_id: UUID, reminder: Reminder, response: Response) -> Done:
        """Write to the contacts again, each with a new link: 201 new, 200 repeated."""
        return _created(response, await database.write(deliveries.remind, office, str(delivery_id), reminder, now()))

    @app.post("/api/v1/deliveries/{delivery_id}/revoke")
    async def post_revocation(delivery_id: UUID, revocation: Revocation) -> Done:
        """End a delivery; the reason is printerd's to keep, for it names the person."""
        await database.write(deliveries.revoke, stores.documents, str(delivery_id), now(), stores.days_after_handover)
        return Done()


def _add_documents(app: FastAPI, stores: Stores) -> None:
    database, folder = stores.database, stores.documents

    @app.put("/api/v1/documents/{sha256}")
    async def put_document(sha256: Sha256Path, request: Request, response: Response) -> Done:
        """Store a document: 201 new, 200 there already, 422 other digest, 413 too large."""
        _, size = await documents.receive(folder, request.stream(), sha256)
        return _created(response, await database.write(documents.record, folder, sha256, size, now()))

    @app.put("/api/v1/deliveries/{delivery_id}/receipt")
    async def put_receipt(
        delivery_id: UUID, contact: Annotated[Identifier, Query()], request: Request, response: Response
    ) -> Done:
        """Store the sealed receipt that a contact may download: 201 new, 200 repeated."""
        delivery, _ = await database.read(deliveries.find, str(delivery_id))
        delivery.contact(contact)
        sha256, size = await documents.receive(folder, request.stream())
        kept = await database.write(deliveries.keep_receipt, folder, str(delivery_id), contact, sha256, size, now())
        return _created(response, kept)


def _add_events(app: FastAPI, stores: Stores) -> None:
    database = stores.database

    @app.get("/api/v1/status")
    async def get_status() -> Status:
        """Who this is, how many letters wait and why, and how far the chain has come."""
        waiting = await database.read(outbox.backlog)
        trouble = stores.mail_trouble() or await database.read(outbox.trouble)
        return Status(
            edge_id=database.edge_id,
            mail_backlog=waiting,
            mail_trouble=trouble,
            last_event=await database.read(events.last),
            version=__version__,
        )

    @app.get("/api/v1/events")
    async def get_events(
        head: Annotated[Sha256, Query()],
        after: Annotated[int, Query(ge=0, le=2**62)],
        wait: Annotated[float, Query(ge=0, le=LONGEST_WAIT)] = 0,
    ) -> Events:
        """The events after one that both sides know; waits for the first when there is none yet."""
        deadline = asyncio.get_running_loop().time() + wait
        while True:
            bell = database.bell()
            found = await _after(database, after, head)
            left = deadline - asyncio.get_running_loop().time()
            if found or left <= 0 or stores.stopping.is_set():
                return Events(edge_id=database.edge_id, events=[Event(**event) for event in found])
            await wait_for_bell(bell, left)


async def _after(database: Database, seq: int, head: str) -> list[dict[str, Any]]:
    try:
        return await database.read(events.after, seq, head)
    except events.HeadMismatch as mismatch:
        raise Refusal(409, str(mismatch)) from None
