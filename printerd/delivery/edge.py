"""The calls of the contract with the delivery server: one client, each refusal with its meaning for us.

What is sent and what comes back is in :mod:`printerd.delivery.contract`; here
is only the way: https (or this machine), a bearer secret, no redirects, no
proxies, an answer of bounded length.
"""

from __future__ import annotations

import ipaddress
import json
import ssl
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, BinaryIO, Self
from urllib.parse import urlsplit

import httpx

from printerd.delivery.contract import ContractError, Status, malformed, parse_events, parse_number, parse_status
from printerd.errors import ConfigurationError, Failure, IntegrityError, RequestError, TransientError
from printerd.model import DeliveryId, Digest, Event

LONGEST_WAIT = 30
"""Seconds that the server holds a question for events open."""
ANSWER_LIMIT = 16 * 2**20
"""Bytes of the longest answer that is read: 500 events with the longest questions fit twice."""

Refusal = Callable[[str], Failure]


def _incompatible(detail: str) -> Failure:
    return ContractError(
        f"The delivery server refuses what it was sent: {detail}",
        remedy="Bring both sides to the same version, then send again.",
    )


def _unauthorised(_detail: str) -> Failure:
    return ContractError(
        "The delivery server does not accept our secret.",
        remedy="Give both sides the same keys/contract.secret.",
    )


def _too_large(detail: str) -> Failure:
    return ContractError(
        f"The document is larger than the delivery server takes: {detail}",
        remedy="Raise its document limit, or send this invoice on paper.",
    )


def _document_gone(detail: str) -> Failure:
    return TransientError(f"The delivery server misses the document: {detail}", remedy="It is sent again by itself.")


def _other_content(detail: str) -> Failure:
    return IntegrityError(
        f"The delivery server holds another delivery under this id: {detail}",
        remedy="Nothing was changed. One side was restored or changed: compare both databases with their backups.",
    )


def _other_history(detail: str) -> Failure:
    return IntegrityError(
        f"The delivery server does not know our last event: {detail}",
        remedy="Collecting stops. One side was restored or changed: compare both databases with their backups.",
    )


def _unknown(detail: str) -> Failure:
    return RequestError(
        f"The delivery server does not know this delivery: {detail}",
        remedy="Resend the invoice: the server is given the whole delivery again.",
    )


def _revoked(detail: str) -> Failure:
    return RequestError(
        f"The delivery was withdrawn, or its links have ended: {detail}",
        remedy="Send the sealed PDF in another way.",
    )


COMMON: Mapping[int, Refusal] = {401: _unauthorised, 403: _unauthorised, 413: _too_large}
"""What a refusal means in every call; a call adds its own. Any other 3xx or 4xx is :func:`_incompatible`."""
AWAY = frozenset({408, 425, 429})
"""Refusals that pass by themselves (RFC 9110 section 15.5.9, RFC 8470, RFC 6585), as every 5xx does."""
DELIVERY: Mapping[int, Refusal] = {409: _other_content, 424: _document_gone}
REMINDER: Mapping[int, Refusal] = {404: _unknown, 409: _revoked}
ONE_DELIVERY: Mapping[int, Refusal] = {404: _unknown}
EVENTS: Mapping[int, Refusal] = {409: _other_history}


class EdgeClient:
    """The calls of the contract. It may be used from several threads.

    Args:
        address: ``https://HOST[:PORT]``, ``http://`` to loopback only, or ``unix:///PATH`` (also a bare path).
        secret: the bearer secret that both sides share.
        certificate: a PEM file; when given, only a server that it vouches for is spoken to.
        timeout: seconds to wait for a connection, and for each piece of an answer.

    Every call raises :class:`TransientError` when the server is away or busy, and :class:`ContractError` when it
    refuses what repeating will not mend. Redirects are not followed and proxies of the environment not used.
    """

    def __init__(self, address: str, secret: str, *, certificate: str = "", timeout: float = 30.0) -> None:
        base, socket = _endpoint(address)
        verify = _trust(certificate) if certificate else True
        self._address = address
        self._timeout = timeout
        self._client = httpx.Client(
            base_url=f"{base}/api/v1/",
            headers={"Authorization": f"Bearer {secret}"},
            transport=httpx.HTTPTransport(verify=verify, uds=socket, trust_env=False),
            timeout=timeout,
            follow_redirects=False,
            trust_env=False,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._client.close()

    def status(self) -> Status:
        """Who the delivery server is, and its backlog."""
        return parse_status(self._call("GET", "status"))

    def put_document(self, digest: Digest, file: BinaryIO, size: int) -> None:
        """Upload the ``size`` bytes of a PDF; durable there when this returns. Repeating it is harmless."""
        self._put_file(f"documents/{digest}", file, size, {})

    def put_delivery(self, delivery: DeliveryId, facts: Mapping[str, Any], *, letters: bool = True) -> None:
        """Order a delivery (:func:`delivery_facts`). Repeating it makes nothing new.

        Without ``letters`` the server only gets to know it, should it not, and writes to nobody.

        Raises:
            IntegrityError: the id is taken by other facts.
            TransientError: also when the document is not there (any more); upload it and repeat.
        """
        parameters = None if letters else {"letters": "false"}
        self._call("PUT", f"deliveries/{delivery}", DELIVERY, parameters=parameters, body=facts)

    def number_of(self, delivery: DeliveryId) -> str:
        """The number of the invoice that a delivery is of: for one that a restored instance has forgotten."""
        return parse_number(self._call("GET", f"deliveries/{delivery}", ONE_DELIVERY))

    def remind(self, delivery: DeliveryId, dispatch: str, contact: str, reason: str) -> None:
        """One more message with a link of its own, to one contact or (``contact`` empty) to all.

        ``dispatch`` is a UUID: the same one makes one message. Raises :class:`RequestError` when the delivery is
        unknown or withdrawn.
        """
        body = {"dispatch": dispatch, "contact": contact or None, "reason": reason}
        self._call("POST", f"deliveries/{delivery}/reminders", REMINDER, body=body)

    def revoke(self, delivery: DeliveryId, reason: str) -> None:
        """End a delivery: its links stop, mail that waits is dropped. Repeating it is harmless."""
        self._call("POST", f"deliveries/{delivery}/revoke", ONE_DELIVERY, body={"reason": reason})

    def put_receipt(self, delivery: DeliveryId, contact: str, file: BinaryIO, size: int) -> None:
        """Give the sealed receipt of one contact back, for the customer to download."""
        self._put_file(f"deliveries/{delivery}/receipt", file, size, ONE_DELIVERY, {"contact": contact})

    def events(self, after: int, head: Digest, wait: int = 0) -> tuple[Event, ...]:
        """At most 500 events after number ``after``, checked; waits up to ``wait`` seconds (0 to 30) for the first.

        Raises:
            IntegrityError: the server does not know our ``head``, or its chain is broken: both sides stop and alert.
        """
        asked = {"after": str(after), "head": head, "wait": str(min(wait, LONGEST_WAIT))}
        answer = self._call("GET", "events", EVENTS, parameters=asked, timeout=self._timeout + wait)
        return parse_events(answer, after, head)

    def _put_file(
        self,
        path: str,
        file: BinaryIO,
        size: int,
        refusals: Mapping[int, Refusal],
        parameters: Mapping[str, str] | None = None,
    ) -> None:
        headers = {"Content-Type": "application/pdf", "Content-Length": str(size)}
        self._call("PUT", path, refusals, parameters=parameters, headers=headers, content=file)

    def _call(
        self,
        method: str,
        path: str,
        refusals: Mapping[int, Refusal] | None = None,
        *,
        parameters: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        content: BinaryIO | None = None,
        timeout: float | None = None,
    ) -> object:
        """One request and its JSON answer; a refusal becomes the failure that it means for us."""
        try:
            with self._client.stream(
                method,
                path,
                params=parameters,
                headers=headers,
                json=body,
                content=content,
                timeout=timeout or self._timeout,
            ) as response:
                answer = _read(response)
        except httpx.HTTPError as error:
            raise self._away(str(error) or type(error).__name__) from error
        if response.is_success:
            return _json(answer)
        if response.is_server_error or response.status_code in AWAY:
            raise self._away(f"it answered {response.status_code}")
        detail = _detail(response.status_code, answer)
        raise ({**COMMON, **(refusals or {})}.get(response.status_code, _incompatible))(detail)

    def _away(self, why: str) -> TransientError:
        return TransientError(
            f"The delivery server did not answer: {why}",
            where=self._address,
            remedy="It is tried again by itself; see that the receipt service runs and can be reached.",
        )


def _read(response: httpx.Response) -> bytes:
    parts = bytearray()
    for part in response.iter_bytes():
        parts += part
        if len(parts) > ANSWER_LIMIT:
            raise malformed(f"it is longer than {ANSWER_LIMIT} bytes")
    return bytes(parts)


def _json(answer: bytes) -> object:
    if not answer:
        return None
    try:
        return json.loads(answer)
    except (ValueError, RecursionError):
        raise malformed(f"it is no JSON but {answer[:80]!r}") from None


def _detail(status: int, answer: bytes) -> str:
    """What the server says is wrong, on one line; it may hold nothing that we can use."""
    try:
        said = json.loads(answer)["detail"]
    except (ValueError, TypeError, KeyError, RecursionError):
        said = ""
    text = said if isinstance(said, str) else json.dumps(said, ensure_ascii=False)
    return " ".join(f"{status} {text}".split())[:400]


def _endpoint(address: str) -> tuple[str, str | None]:
    """The base URL and, for a unix socket, its path."""
    if address.startswith(("unix://", "/")):
        return "http://localhost", address.removeprefix("unix://")
    parts = urlsplit(address)
    if parts.scheme == "https" and parts.hostname:
        return address.rstrip("/"), None
    if parts.scheme == "http" and _is_loopback(parts.hostname or ""):
        return address.rstrip("/"), None
    raise ConfigurationError(
        f"The delivery server's address {address!r} cannot be used.",
        where="receipts.url",
        remedy="Give https://HOST[:PORT], unix:///PATH, or http:// to an address of this machine.",
    )


def _trust(certificate: str) -> ssl.SSLContext:
    """A context that trusts this certificate and no public authority."""
    try:
        return ssl.create_default_context(cafile=certificate)
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(
            f"The delivery server's certificate cannot be read: {error.strerror or error}.",
            where=certificate,
            remedy="Give a PEM file with the server's certificate.",
        ) from error


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
