"""How the client takes the answers of a server, one real HTTP exchange each."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from printerd.delivery import edge
from printerd.delivery.contract import GENESIS, ContractError
from printerd.delivery.edge import EdgeClient
from printerd.errors import ConfigurationError, Failure, IntegrityError, RequestError, TransientError
from printerd.model import DeliveryId, Digest

ONE = DeliveryId("7d444840-9dc0-11d1-b245-5ffdce74fad2")


class Server(ThreadingHTTPServer):
    """Answers every request with ``status``, ``headers`` and ``body``, and keeps what it was asked."""

    status = 200
    headers: dict[str, str] = {}  # noqa: RUF012 - a test replaces it, nobody changes it
    body = b"{}"
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[tuple[str, str, dict[str, str], bytes]] = []


class Handler(BaseHTTPRequestHandler):
    server: Server

    def answer(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.asked.append((self.command, self.path, headers, self.rfile.read(length)))
        self.send_response(self.server.status)
        for name, value in {"Content-Length": str(len(self.server.body)), **self.server.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(self.server.body)

    do_GET = do_PUT = do_POST = answer

    def log_message(self, *_args: Any) -> None:
        """The test reads ``asked`` instead."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def client(server: Server) -> Iterator[EdgeClient]:
    with EdgeClient(f"http://127.0.0.1:{server.server_port}", "s3cret", timeout=5) as client:
        yield client


CALLS = {
    "status": lambda client: client.status(),
    "put_document": lambda client: client.put_document(Digest("ab" * 32), io.BytesIO(b"%PDF"), 4),
    "put_delivery": lambda client: client.put_delivery(ONE, {"mode": "live"}),
    "remind": lambda client: client.remind(ONE, "d1", "", "asked by phone"),
    "revoke": lambda client: client.revoke(ONE, "wrong customer"),
    "put_receipt": lambda client: client.put_receipt(ONE, "c1", io.BytesIO(b"%PDF"), 4),
    "events": lambda client: client.events(0, GENESIS),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    ("status", "meaning"),
    [
        (302, ContractError),
        (400, ContractError),
        (401, ContractError),
        (403, ContractError),
        (408, TransientError),
        (413, ContractError),
        (422, ContractError),
        (429, TransientError),
        (500, TransientError),
        (503, TransientError),
    ],
)
def test_a_refusal_has_one_meaning_in_every_call(
    server: Server, client: EdgeClient, call: str, status: int, meaning: type[Failure]
) -> None:
    """What passes by itself is tried again; what does not is told to IT. A redirect is never followed."""
    server.status, server.body = status, b'{"detail": "because"}'
    server.headers = {"Location": f"http://127.0.0.1:{server.server_port}/elsewhere"}
    with pytest.raises(meaning):
        CALLS[call](client)
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("call", "status", "meaning"),
    [
        ("put_delivery", 409, IntegrityError),
        ("put_delivery", 424, TransientError),
        ("remind", 404, RequestError),
        ("remind", 409, RequestError),
        ("revoke", 404, RequestError),
        ("put_receipt", 404, RequestError),
        ("events", 409, IntegrityError),
    ],
)
def test_some_refusals_are_particular_to_a_call(
    server: Server, client: EdgeClient, call: str, status: int, meaning: type[Failure]
) -> None:
    """The server's own words are in the message, on one line."""
    server.status, server.body = status, json.dumps({"detail": "because\nof this"}).encode()
    with pytest.raises(meaning, match="because of this"):
        CALLS[call](client)


@pytest.mark.parametrize("body", [b"", b"<html>", b"[" * 100_000, b"[]", b'{"edge_id": "e", "events": [1]}'])
def test_an_answer_that_is_no_page_of_events_is_refused(server: Server, client: EdgeClient, body: bytes) -> None:
    """A proxy's page, an empty body or a bomb of brackets is a :class:`ContractError`."""
    server.body = body
    with pytest.raises(ContractError):
        client.events(0, GENESIS)


def test_an_endless_answer_is_cut(server: Server, client: EdgeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """No more than the limit is read into memory."""
    monkeypatch.setattr(edge, "ANSWER_LIMIT", 1000)
    server.body = b" " * 2000
    with pytest.raises(ContractError, match="longer than 1000"):
        client.events(0, GENESIS)


def test_the_requests_are_those_of_the_contract(server: Server, client: EdgeClient) -> None:
    """Method, path, secret and body of each call; a file goes with its length."""
    for call in ("put_document", "put_delivery", "remind", "revoke", "put_receipt"):
        CALLS[call](client)
    assert [(method, path, body) for method, path, _, body in server.asked] == [
        ("PUT", f"/api/v1/documents/{'ab' * 32}", b"%PDF"),
        ("PUT", f"/api/v1/deliveries/{ONE}", b'{"mode":"live"}'),
        (
            "POST",
            f"/api/v1/deliveries/{ONE}/reminders",
            b'{"dispatch":"d1","contact":null,"reason":"asked by phone"}',
        ),
        ("POST", f"/api/v1/deliveries/{ONE}/revoke", b'{"reason":"wrong customer"}'),
        ("PUT", f"/api/v1/deliveries/{ONE}/receipt?contact=c1", b"%PDF"),
    ]
    assert all(headers["authorization"] == "Bearer s3cret" for _, _, headers, _ in server.asked)
    assert "transfer-encoding" not in server.asked[0][2]


def test_a_server_that_is_away_is_tried_again_later(server: Server) -> None:
    """Nobody listens: that passes by itself."""
    free = Server()
    free.server_close()
    with EdgeClient(f"http://127.0.0.1:{free.server_port}", "s") as client, pytest.raises(TransientError):
        client.status()


@pytest.mark.parametrize(
    "address", ["http://edge.example", "http://192.0.2.1:8633", "ftp://127.0.0.1", "https://", "edge.example:8633", ""]
)
def test_the_secret_never_leaves_the_machine_in_the_clear(address: str) -> None:
    """Without TLS only loopback and unix sockets are spoken to; the service does not start otherwise."""
    with pytest.raises(ConfigurationError, match="cannot be used"):
        EdgeClient(address, "s3cret")


@pytest.mark.parametrize(
    "address",
    ["https://edge.example/", "http://[::1]:8633", "http://localhost:8633", "unix:///run/edge.sock", "/run/edge.sock"],
)
def test_addresses_that_are_safe_are_taken(address: str) -> None:
    """https anywhere, http on this machine, a socket by its path."""
    EdgeClient(address, "s3cret").close()


def test_a_missing_certificate_is_named(tmp_path: Any) -> None:
    """A pinned certificate that cannot be read is a wrong setting, not a server that is away."""
    with pytest.raises(ConfigurationError, match="certificate"):
        EdgeClient("https://edge.example", "s", certificate=str(tmp_path / "none.pem"))
