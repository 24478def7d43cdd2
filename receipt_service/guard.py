"""What stands before every public page: the right host, the true client address, a limit, the headers of privacy."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network, ip_network
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .limits import Buckets
from .links import parse_address

Network = IPv4Network | IPv6Network

HEADERS = {
    "Referrer-Policy": "no-referrer",
    "X-Robots-Tag": "noindex",
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
}
HSTS = {"Strict-Transport-Security": "max-age=31536000"}  # RFC 6797; only under https
_PORTS = {"http": ":80", "https": ":443"}


def hosts_of(public_url: str) -> frozenset[str]:
    """The values of Host (RFC 9110 section 7.2) that mean this service: with or without the scheme's own port."""
    parts = urlsplit(public_url)
    host, port = parts.netloc.lower(), _PORTS[parts.scheme]
    return frozenset({host, host.removesuffix(port), host if parts.port else host + port})


def client_address(peer: str, forwarded: str, trusted: Sequence[Network]) -> str:
    """Who asks: the last address in X-Forwarded-For that no trusted proxy stands behind, if the peer is one."""
    chain = [*(part.strip() for part in forwarded.split(",") if part.strip()), peer]
    while len(chain) > 1 and within(chain[-1], trusted):
        chain.pop()
    address = parse_address(chain[-1])
    return str(address) if address else ""


def within(address: str, networks: Sequence[Network]) -> bool:
    """Whether an address lies in one of the networks."""
    parsed = parse_address(address)
    return parsed is not None and any(parsed in network for network in networks)


def _one_household(address: str) -> str:
    """IPv6 clients choose among 2^64 addresses: they are limited by /64."""
    parsed = parse_address(address)
    return str(ip_network(f"{parsed}/64", strict=False)) if parsed and parsed.version == 6 else address


class Guard:
    """ASGI middleware; leaves the client's address in ``scope["state"]["address"]``."""

    def __init__(self, app: ASGIApp, public_url: str, trusted_proxies: Sequence[Network]) -> None:
        self._app = app
        self._hosts = hosts_of(public_url)
        self._trusted = trusted_proxies
        self._headers = HEADERS | (HSTS if public_url.startswith("https:") else {})
        self._limit = Buckets(capacity=600, per_second=20)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        peer = (scope.get("client") or ("", 0))[0]
        address = client_address(peer, ",".join(headers.getlist("x-forwarded-for")), self._trusted)
        scope.setdefault("state", {})["address"] = address

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                answered = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    answered.setdefault(name, value)
            await send(message)

        await (self._refusal(headers, address) or self._app)(scope, receive, send_with_headers)

    def _refusal(self, headers: Headers, address: str) -> Response | None:
        if headers.get("host", "").lower() not in self._hosts:
            return PlainTextResponse("This server does not serve that host.\n", 421)
        return None if self._limit.take(_one_household(address)) else too_many()


def too_many() -> Response:
    """The answer to a client in too much of a hurry, in both languages."""
    text = "Trop de demandes : réessayez dans une minute.\nToo many requests: try again in a minute.\n"
    return PlainTextResponse(text, 429, {"Retry-After": "60"})
