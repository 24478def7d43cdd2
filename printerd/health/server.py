"""/healthz and /metrics over HTTP, for monitors.

One rule: it is asked by machines on their own schedule: answers are a second old at most, whoever asks how often;
who dawdles is cut, and who comes by a name that is not ours (DNS rebinding) gets nothing.
"""

from __future__ import annotations

import ipaddress
import json
import socket
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST

from printerd import __version__
from printerd.health import figures
from printerd.health.checks import ALWAYS
from printerd.health.findings import Finding, ask_all
from printerd.health.site import Site

FRESH = 1.0
"""Seconds for which an answer is good."""
LONGEST = 10.0
"""Seconds after which a connection is cut."""
MOST = 16
"""Connections at a time; more wait in the backlog."""


class Watch:
    """The latest findings and metrics of a site. It may be asked from several threads."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._lock = threading.Lock()
        self._asked = -FRESH
        self._findings: tuple[Finding, ...] = ()
        self._metrics = b""

    def findings(self) -> tuple[Finding, ...]:
        with self._lock:
            self._refresh()
            return self._findings

    def metrics(self) -> bytes:
        """Made when they are asked for: they count rows, which /healthz need not."""
        with self._lock:
            self._refresh()
            if not self._metrics:
                self._metrics = figures.text(self._site, self._findings)
            return self._metrics

    def _refresh(self) -> None:
        if time.monotonic() - self._asked >= FRESH:
            self._findings, self._metrics = ask_all(ALWAYS, self._site), b""
            self._asked = time.monotonic()


def health(findings: Sequence[Finding]) -> tuple[HTTPStatus, bytes]:
    """200 when all is fine, 503 when something is to be mended, and in both cases what was looked at."""
    fine = all(finding.ok for finding in findings)
    told = {"status": "ok" if fine else "failing", "checks": [finding.as_json() for finding in findings]}
    body = json.dumps(told, ensure_ascii=False, indent=1).encode() + b"\n"
    return HTTPStatus.OK if fine else HTTPStatus.SERVICE_UNAVAILABLE, body


def known(host: str, names: Collection[str]) -> bool:
    """Whether a Host header is an address, localhost, or one of our names (RFC 9110 section 7.2)."""
    name = host[: host.rindex("]") + 1] if host.startswith("[") and "]" in host else host.partition(":")[0]
    if not host or name == "localhost" or name.lower() in {one.lower() for one in names}:
        return True
    with suppress(ValueError):
        ipaddress.ip_address(name.strip("[]"))
        return True
    return False


class Server(HTTPServer):
    """Serves on a socket that listens already, until :meth:`shutdown`; ``alive`` is called twice a second."""

    def __init__(
        self, listening: socket.socket, watch: Watch, names: Collection[str], alive: Callable[[], None]
    ) -> None:
        super().__init__(listening.getsockname(), _handler(watch, names), bind_and_activate=False)
        self.socket.close()
        self.socket = listening
        self._alive = alive
        self._room = threading.BoundedSemaphore(MOST)

    def service_actions(self) -> None:
        self._alive()

    def process_request(self, request: Any, client_address: Any) -> None:
        """A thread a connection; while all are taken, the next one waits, and the loop goes on."""
        if not self._room.acquire(timeout=LONGEST):
            self.shutdown_request(request)
            return
        threading.Thread(target=self._one, args=(request, client_address), daemon=True).start()

    def _one(self, request: socket.socket, client_address: Any) -> None:
        cut = threading.Timer(LONGEST, _cut, (request,))
        cut.daemon = True
        cut.start()
        try:
            with suppress(OSError):
                self.finish_request(request, client_address)
        finally:
            cut.cancel()
            self.shutdown_request(request)
            self._room.release()


def _cut(request: socket.socket) -> None:
    with suppress(OSError):
        request.shutdown(socket.SHUT_RDWR)


def _handler(watch: Watch, names: Collection[str]) -> type[BaseHTTPRequestHandler]:
    def healthz() -> tuple[HTTPStatus, str, bytes]:
        status, body = health(watch.findings())
        return status, "application/json", body

    def metrics() -> tuple[HTTPStatus, str, bytes]:
        return HTTPStatus.OK, CONTENT_TYPE_LATEST, watch.metrics()

    pages: Mapping[str, Callable[[], tuple[HTTPStatus, str, bytes]]] = {"/healthz": healthz, "/metrics": metrics}

    class Handler(BaseHTTPRequestHandler):
        timeout = LONGEST
        server_version = f"invoice-printer/{__version__}"
        sys_version = ""

        def do_GET(self) -> None:
            page = pages.get(self.path.partition("?")[0])
            if not known(self.headers.get("Host", ""), names):
                self._answer(HTTPStatus.MISDIRECTED_REQUEST, "text/plain", b"This is not our name: see listen.names.\n")
            elif page is None:
                self._answer(HTTPStatus.NOT_FOUND, "text/plain", b"There are /healthz and /metrics.\n")
            else:
                self._answer(*page())

        do_HEAD = do_GET

        def _answer(self, status: HTTPStatus, media_type: str, body: bytes) -> None:
            self.send_response(status)
            for name, value in (
                ("Content-Type", media_type),
                ("Content-Length", str(len(body))),
                ("Cache-Control", "no-store"),
                ("X-Content-Type-Options", "nosniff"),
            ):
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Monitors ask day and night: that is no news."""

    return Handler
