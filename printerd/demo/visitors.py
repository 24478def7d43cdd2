"""The customers of the tour: each opens the mailed link, reads, presses the button, and later fetches the receipt.

One rule: they have nothing but the mail. What they got is compared elsewhere
with what the archive holds.
"""

from __future__ import annotations

import hashlib
import html
import io
import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urljoin

import httpx
from pypdf import PdfReader

from printerd.demo.mail import Mail
from printerd.errors import TransientError
from printerd.model import Digest

READS = 2.2
"""Seconds that a customer looks at the page: a press within two counts as a sign of a program."""
_NONCE = re.compile(r'name="nonce" value="([^"]+)"')
_RECEIPT = re.compile(r'href="(/l/[^"]+/receipt)"')
_BROWSER: Mapping[str, str] = {
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "Sec-Fetch-Dest": "document",
    "Sec-Fetch-Mode": "navigate",
    "Sec-Fetch-User": "?1",
}
"""What a browser sends with a click."""
_LANGUAGES: Mapping[str, str] = {"fr": "fr-FR,fr;q=0.9,en;q=0.5", "en": "en-GB,en;q=0.9"}


@dataclass(frozen=True, slots=True)
class Download:
    """The file that the button gave, by the digest of its bytes as they arrived."""

    sha256: Digest
    size: int


@dataclass(frozen=True, slots=True)
class Receipt:
    """The sealed receipt as the customer downloaded it; ``number`` and ``level`` stand in its own record."""

    sha256: Digest
    number: int
    level: str


def browser() -> httpx.Client:
    """One browser for all customers; many may use it at once.

    It keeps no connection: httpx, unlike a browser, does not repeat a request when an idle one was just closed.
    """
    limits = httpx.Limits(max_connections=100, max_keepalive_connections=0)
    return httpx.Client(headers=dict(_BROWSER), trust_env=False, timeout=30, limits=limits)


def download(client: httpx.Client, mail: Mail) -> Download:
    """Open the link of a mail, read the page, press its button. Raises :class:`TransientError` when that fails."""
    page = _opened(client, mail)
    nonce = _NONCE.search(page)
    if nonce is None:
        raise TransientError(f"The page for {mail.to} has no button.", where=mail.subject)
    time.sleep(READS)
    form = {"nonce": html.unescape(nonce[1]), "action": "accept"}
    origin = {"Origin": urljoin(mail.link, "/").rstrip("/"), "Sec-Fetch-Site": "same-origin"}
    content = _answer(mail, client.post(mail.link, data=form, headers=origin | _spoken(mail))).content
    return Download(Digest(hashlib.sha256(content).hexdigest()), len(content))


def receipt(client: httpx.Client, mail: Mail) -> Receipt:
    """Open the page once more and download the sealed receipt that it offers."""
    offered = _RECEIPT.search(_opened(client, mail))
    if offered is None:
        raise TransientError(f"The page for {mail.to} offers no receipt.", where=mail.subject)
    address = urljoin(mail.link, html.unescape(offered[1]))
    content = _answer(mail, client.get(address, headers={"Sec-Fetch-Site": "same-origin"} | _spoken(mail))).content
    record = json.loads(PdfReader(io.BytesIO(content)).attachments["receipt.json"][0])
    return Receipt(Digest(hashlib.sha256(content).hexdigest()), record["number"], record["act"]["level"])


def _opened(client: httpx.Client, mail: Mail) -> str:
    return _answer(mail, client.get(mail.link, headers={"Sec-Fetch-Site": "none"} | _spoken(mail))).text


def _spoken(mail: Mail) -> dict[str, str]:
    return {"Accept-Language": _LANGUAGES.get(mail.language, "en")}


def _answer(mail: Mail, answer: httpx.Response) -> httpx.Response:
    if not answer.is_success:
        raise TransientError(f"The page for {mail.to} answered {answer.status_code}.", where=mail.subject)
    return answer
