"""The customers' pages: requests of anybody to the public side of the receipt service, with links right and wrong.

One rule: a request is answered by a page, never by a failure; looking makes no receipt, only a press with the nonce of
a visit does; what is recorded is of the contract; and nothing that was sent stands in a page as markup. An input is a
head and a body as HTTP has them, in which ``{token}`` and ``{nonce}`` stand for right ones.
"""

from __future__ import annotations

import asyncio
import re
import sqlite3
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from ipaddress import ip_network
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import unquote

from printerd.delivery.contract import parse_event
from receipt_service import deliveries, documents, events, pages
from receipt_service.contract import Delivery
from receipt_service.database import Database, now
from receipt_service.handover import CONNECTION, Connection
from receipt_service.letters import Office
from receipt_service.links import derive, fingerprint, make_nonce
from receipt_service.render import environment
from tests.fuzz.mutation import octets
from tests.fuzz.target import Target
from tests.fuzz.world import IN_MEMORY, PATIENCE
from tests.receipt_service.harness import DELIVERY, DIGEST, PDF, delivery

TOKEN = "A" * 43
URL = "https://receipts.example"
SECRET = derive(b"k" * 32, "nonce")
STATUSES = frozenset({200, 400, 404, 410, 413, 421, 429})
MADE_BY_A_PRESS = frozenset(
    {"ConsignmentAcceptance", "ContentHandover", "ContentHandoverFailure", "ConsignmentRejection", "Question"}
)
_METHOD, _HEADER = re.compile(r"[A-Z]{1,20}"), re.compile(r"[a-z0-9-]{1,40}")
_UNSENT = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
"""What no server hands on in a header."""


@dataclass(frozen=True, slots=True)
class Edge:
    """A service with one delivery, one contact and one link; ``pristine`` is its database."""

    loop: asyncio.AbstractEventLoop
    database: Database
    pristine: sqlite3.Connection
    folder: Path
    office: Office

    def fresh(self) -> Any:
        """The public application on the database as it was. (``Database`` writes by the connection that is used.)"""
        self.pristine.backup(self.database._write)
        counter = pages.Counter(self.database, self.folder, self.office, SECRET, [ip_network("198.51.100.0/24")])
        return pages.create(counter, URL, [ip_network("192.0.2.0/24")])

    def events(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.loop.run_until_complete(self.database.read(events.after, 0, events.FIRST))
        return found


@cache
def edge() -> Edge:
    folder = Path(tempfile.mkdtemp(prefix="fuzz-", dir=IN_MEMORY if IN_MEMORY.is_dir() else None))
    file = documents.path_of(folder, DIGEST)
    file.parent.mkdir()
    file.write_bytes(PDF)
    database, loop = Database(folder / "receipts.db", "edge-1"), asyncio.new_event_loop()
    office = Office(environment(), "Compta <compta@moulin.example>", URL, "", derive(b"k" * 32, "outbox"))
    database.prepare(_delivered, folder, office)
    pristine = sqlite3.connect(":memory:")
    database._write.backup(pristine)
    return Edge(loop, database, pristine, folder, office)


def _delivered(connection: sqlite3.Connection, folder: Path, office: Office) -> None:
    documents.record(connection, folder, DIGEST, len(PDF), now())
    deliveries.accept(connection, office, DELIVERY, Delivery.model_validate(delivery()), now())
    connection.execute("UPDATE links SET token_hash = ?", (fingerprint(TOKEN),))


def once(data: bytes) -> None:
    app, nonce = edge().fresh(), make_nonce(SECRET, fingerprint(TOKEN) or "", now())
    head, _, body = data.replace(b"{token}", TOKEN.encode()).partition(b"\n\n")
    scope = _scope(head)
    sent = body.replace(b"{nonce}", nonce.encode())
    status, headers, answer = edge().loop.run_until_complete(_ask(app, scope, sent))
    assert status in STATUSES, status
    assert headers[b"referrer-policy"] == b"no-referrer"
    assert b"<script" not in answer.lower()
    assert status != 404 or len(answer) in (0, _nowhere()), answer
    told = edge().events()
    for event in told:
        parse_event(event)
    pressed = MADE_BY_A_PRESS & {event["name"] for event in told}
    assert not pressed or (scope["method"] == "POST" and nonce.encode() in sent)


@cache
def _nowhere() -> int:
    """Bytes of the one page for all that is not here."""
    return len(environment().get_template("nowhere.html").render().encode())


def _scope(head: bytes) -> dict[str, Any]:
    """The request as a server hands it on, once it has refused what is no HTTP."""
    first, *lines = head.split(b"\n")
    method, _, path = first.decode("latin-1").partition(" ")
    path, _, query = path.partition("?")
    headers = [(name.strip().lower(), value.strip()) for name, _, value in (line.partition(b":") for line in lines)]
    return {
        "type": "http",
        "http_version": "1.1",
        "method": method if _METHOD.fullmatch(method) else "GET",
        "path": unquote(path),
        "raw_path": path.encode("latin-1"),
        "root_path": "",
        "query_string": query.encode("latin-1"),
        "scheme": "https",
        "headers": [
            (name, _UNSENT.sub(b"", value)) for name, value in headers if _HEADER.fullmatch(name.decode("latin-1"))
        ],
        "client": ("192.0.2.7", 49152),
        "server": ("192.0.2.1", 443),
        "extensions": {CONNECTION: Connection()},
    }


async def _ask(app: Any, scope: Mapping[str, Any], body: bytes) -> tuple[int, dict[bytes, bytes], bytes]:
    said = [{"type": "http.request", "body": body, "more_body": False}]
    answer: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return said.pop() if said else {"type": "http.disconnect"}

    async def send(event: dict[str, Any]) -> None:
        answer.append(event)

    async with asyncio.timeout(PATIENCE):
        await app(scope, receive, send)
    return answer[0]["status"], dict(answer[0]["headers"]), b"".join(event.get("body", b"") for event in answer[1:])


# Inputs

HEADERS = b"host: receipts.example\naccept-language: fr\nuser-agent: Mozilla/5.0 Firefox/128.0\n"
FORM = b"content-type: application/x-www-form-urlencoded\n"


def seeds() -> dict[str, bytes]:
    press = b"POST /l/{token}\n" + HEADERS + FORM + b"\nnonce={nonce}&action="
    return {
        "page": b"GET /l/{token}\n" + HEADERS + b"\n",
        "head": b"HEAD /l/{token}\n" + HEADERS + b"sec-purpose: prefetch\n\n",
        "receipt": b"GET /l/{token}/receipt\n" + HEADERS + b"\n",
        "accept": press + b"accept",
        "paper": press + b"paper",
        "not-for-me": press + b"not-for-me",
        "question": press + b"question&text=O%C3%B9+est+le+bon%3F%0D%0AMerci%00",
        "empty-question": press + b"question&text=%20",
        "stale": press.replace(b"{nonce}", b"18f.%s" % (b"0" * 64)) + b"accept",
        "staff": (press + b"accept").replace(b"\n\n", b"\nx-forwarded-for: 198.51.100.7\n\n"),
        "unknown": b"GET /l/" + b"B" * 43 + b"\n" + HEADERS + b"\n",
        "style": b"GET /static/accent-1f4e79.css\n" + HEADERS + b"\n",
        "robots": b"GET /robots.txt?a=b\n" + HEADERS + b"\n",
        "foreign": b"GET /l/{token}\nhost: evil.example\n\n",
    }


WORDS = (
    b"{token}", b"{nonce}", b"GET ", b"POST ", b"HEAD ", b"OPTIONS ", b"DELETE ", b"/l/", b"/receipt",
    b"/static/page.css", b"/static/accent-<script>.css", b"%2e%2e/", b"%00", b"%ff", b"/", b"?", b"\n\n",
    b"host: receipts.example:443\n", b"x-forwarded-for: 2001:db8::1, ::ffff:198.51.100.7\n",
    b"x-forwarded-for: ,%,[::1]\n", b"user-agent: <script>curl/8\n", b"user-agent: \n", b"sec-fetch-site: none\n",
    b"purpose: preview\n", b"&action=accept", b"&action=question", b"&text=", b"&text=<script>", b"&nonce=",
    b"&" * 20, b"=", b"%ED%A0%80", b"%C2%85", b"%E2%80%A8", b"+" * 3000, b"a" * 3000, b"%F0%9F%92%A9", b"&amp;",
    b"range: bytes=1-2\n", b"content-length: 5\n",
)  # fmt: skip
_bytewise = octets(WORDS)


def mutate(data: bytes, random: Random) -> bytes:
    """Another line of the head, or another field of the form."""
    head, gap, body = data.partition(b"\n\n")
    if random.random() < 0.5:
        lines = head.split(b"\n")
        at = random.randrange(len(lines))
        lines[at : at + 1] = random.choice(
            ([], [lines[at]] * 2, [_bytewise(lines[at], random)], [lines[at], random.choice(WORDS).strip()])
        )
        return b"\n".join(lines) + gap + body
    fields = body.split(b"&")
    at = random.randrange(len(fields))
    fields[at : at + 1] = random.choice(
        ([], [fields[at]] * 2, [_bytewise(fields[at], random)], [fields[at], random.choice(WORDS)])
    )
    return head + gap + b"&".join(fields)


TARGET = Target(once, seeds, mutate, WORDS, longest=40 * 1024, mutations=800)
