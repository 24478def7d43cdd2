"""Links and those who follow them: tokens, nonces, masks, classes. Pure: nothing here reads or writes.

A token is 256 random bits. Only its SHA-256 is stored, so neither the database
nor a backup of it opens a door. A nonce says "this page was shown at that time"
and is an HMAC (RFC 2104) over the token's hash and the time: showing a page stores nothing.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import re
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Literal

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

InternetAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
Visitor = Literal["person?", "automatic", "speculative"]

NONCE_LIFE = timedelta(hours=12)
HASTE = timedelta(seconds=2)
"""A press sooner than this after the page was shown is noted as a sign of automatic traffic."""

_TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")
_NONCE = re.compile(r"([0-9a-f]{1,12})\.([0-9a-f]{64})")

# The first that matches names the family: later products carry the names of the earlier ones.
_FAMILIES = (
    ("Googlebot", re.compile(r"Googlebot|Google-", re.I)),
    ("bingbot", re.compile(r"bingbot|BingPreview", re.I)),
    ("robot", re.compile(r"bot\b|crawl|spider|scan|preview|monitor|headless", re.I)),
    ("program", re.compile(r"^(curl|wget|python|java|go-http|okhttp|libwww|axios|node|php|ruby|perl)", re.I)),
    ("Outlook", re.compile(r"Microsoft Outlook|Microsoft Office", re.I)),
    ("Edge", re.compile(r"\bEdgA?/|\bEdgiOS/")),
    ("Opera", re.compile(r"\bOPR/|\bOpera")),
    ("Samsung Internet", re.compile(r"SamsungBrowser/")),
    ("Firefox", re.compile(r"Firefox/|FxiOS/")),
    ("Chrome", re.compile(r"Chrome/|CriOS/|Chromium/")),
    ("Safari", re.compile(r"Version/[\d.]+ .*Safari/")),
)
_AUTOMATIC = frozenset({"Googlebot", "bingbot", "robot", "program", "none"})


def derive(key: bytes, purpose: str) -> bytes:
    """A 32-byte key for one purpose from the key file (HKDF, RFC 5869)."""
    return HKDF(SHA256(), length=32, salt=None, info=f"receipt_service {purpose}".encode()).derive(key)


def new_token() -> str:
    """256 random bits as 43 characters that need no escaping in a URL (RFC 4648 section 5)."""
    return secrets.token_urlsafe(32)


def fingerprint(token: str) -> str | None:
    """The stored form of a token: its SHA-256 in hex; ``None`` when it is no token at all."""
    return hashlib.sha256(token.encode()).hexdigest() if _TOKEN.fullmatch(token) else None


def _mac(secret: bytes, token_hash: str, stamp: str) -> str:
    return hmac.new(secret, f"{token_hash}.{stamp}".encode(), hashlib.sha256).hexdigest()


def make_nonce(secret: bytes, token_hash: str, shown_at: datetime) -> str:
    """Bind a form to the visit that it was shown in: milliseconds since 1970 in hex, a dot, the HMAC."""
    stamp = f"{int(shown_at.timestamp() * 1000):x}"
    return f"{stamp}.{_mac(secret, token_hash, stamp)}"


def open_nonce(secret: bytes, token_hash: str, nonce: str, now: datetime) -> datetime | None:
    """When the page was shown; ``None`` when the nonce is forged, of another link, or older than ``NONCE_LIFE``."""
    found = _NONCE.fullmatch(nonce)
    if not found or not hmac.compare_digest(found[2], _mac(secret, token_hash, found[1])):
        return None
    shown_at = datetime.fromtimestamp(int(found[1], 16) / 1000, UTC)
    return shown_at if timedelta(seconds=-5) <= now - shown_at <= NONCE_LIFE else None


def mask_address(address: str) -> str:
    """``marie@client.fr`` → ``m***@client.fr``: enough for its owner to know it, too little for others."""
    local, _, domain = address.rpartition("@")
    return f"{local[:1]}***@{domain}"


def truncate_address(address: str) -> str:
    """The network of an internet address, /24 or /48, as printed in receipts; empty when unknown."""
    parsed = parse_address(address)
    if parsed is None:
        return ""
    return str(ipaddress.ip_network(f"{parsed}/{24 if parsed.version == 4 else 48}", strict=False))


def parse_address(text: str) -> InternetAddress | None:
    """An internet address; IPv4 written as IPv6 (RFC 4291 section 2.5.5.2) comes back as IPv4."""
    try:
        parsed = ipaddress.ip_address(text.strip().strip("[]").partition("%")[0])
    except ValueError:
        return None
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return mapped or parsed


def agent_family(user_agent: str) -> str:
    """The family of a browser or program; ``none`` without a User-Agent, ``other`` when it is not known."""
    if not user_agent.strip():
        return "none"
    return next((family for family, pattern in _FAMILIES if pattern.search(user_agent)), "other")


def visitor_class(headers: Mapping[str, str]) -> Visitor:
    """Who seems to ask. It grades an entry in the record; it never decides anything."""
    purposes = " ".join(headers.get(name, "") for name in ("sec-purpose", "purpose", "x-purpose", "x-moz")).lower()
    if any(word in purposes for word in ("prefetch", "prerender", "preview")):
        return "speculative"
    return "automatic" if signs_of_automation(headers) else "person?"


def signs_of_automation(headers: Mapping[str, str], waited: timedelta | None = None) -> tuple[str, ...]:
    """What in a request hints at a program, in words for the receipt; ``waited`` is the time from page to press."""
    family = agent_family(headers.get("user-agent", ""))
    signs = (
        (family in _AUTOMATIC, f"user agent: {family}"),
        (not headers.get("accept-language"), "no Accept-Language"),
        ("sec-fetch-site" in headers and headers.get("sec-fetch-user") != "?1", "no user activation reported"),
        (waited is not None and waited < HASTE, f"pressed {(waited or HASTE).total_seconds():.1f} s after the page"),
    )
    return tuple(words for present, words in signs if present)
