"""Timestamps of RFC 3161: a client for authorities by URL, and the built-in authority behind ``local:``.

An authority is a function from the bytes of a TimeStampReq to those of a
TimeStampResp; the client asks, and believes only what it has checked itself.
The built-in one says in its policy, its name and everywhere it is shown that
it proves an order of events, not their time.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
from asn1crypto import parser, tsp  # type: ignore[import-untyped]

from printerd.errors import ConfigurationError, IntegrityError, TransientError
from printerd.evidence import keys, signatures
from printerd.evidence.cms import KeyPair, sign
from printerd.metrics import AUTHORITY

Authority = Callable[[bytes], bytes]
"""TimeStampReq in, TimeStampResp out, both DER. ``TransientError`` when no answer is to be had."""

LOCAL = "local:"
TIMEOUT = httpx.Timeout(15.0, connect=5.0)
CLOCKS = timedelta(minutes=5)
"""How far an authority's clock and ours may be apart: with more, one of them is wrong, and the stamp worth nothing."""
ANSWER_LIMIT = 1 << 18
"""Bytes: a token with a whole chain of certificates is a tenth of it."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """A checked timestamp: its token, what it says, and a TimeStampResp around it that says nothing of its own.

    ``digest`` is the SHA-256 of what it was made for.
    """

    response: bytes
    content: bytes
    token: signatures.Token
    digest: bytes


class Stamper:
    """The client of one authority. Each call of :meth:`stamp` is one call of the authority."""

    def __init__(self, authority: Authority) -> None:
        self._authority = authority

    def stamp(self, data: bytes) -> Stamp:
        """A timestamp for ``data``. ``TransientError`` when the authority is away, refuses, or answers nonsense."""
        digest = hashlib.sha256(data).digest()
        request = _request(digest)
        answer = self._authority(request.dump())
        try:
            content = signatures.enclosed_token(answer)
            token = signatures.token(content, data)
            if token.nonce != request["nonce"].native:
                raise IntegrityError("The answer belongs to another request.")
            _require_now(token.timestamp.time)
        except IntegrityError as error:
            raise TransientError(
                f"{AUTHORITY}'s answer is not valid. {error.what}",
                remedy="It is asked again; if it goes on, set timestamp.url to another authority.",
            ) from error
        return Stamp(signatures.granted(content), content, token, digest)


def _require_now(time: datetime) -> None:
    """Who sits on the way to an authority may answer in its place: never with a time that nobody would believe."""
    apart = abs(time - datetime.now(UTC))
    if apart > CLOCKS:
        raise IntegrityError(f"Its clock and ours are {apart.total_seconds() / 60:.0f} minutes apart.")


def connect(url: str, folder: Path, firm: str) -> Stamper:
    """The client for ``timestamp.url``: ``local:``, ``http://...`` or ``https://...``. ``ConfigurationError`` else."""
    if url == LOCAL:
        return Stamper(LocalAuthority(keys.authority(folder, firm)))
    try:
        address = httpx.URL(url)
    except httpx.InvalidURL:
        address = httpx.URL("")
    if address.scheme not in ("http", "https") or not address.host or address.userinfo:
        raise ConfigurationError(
            "timestamp.url is not the address of a timestamp authority.",
            where=url.split("@")[-1],
            remedy="Give http://... or https://... without a password, or local: for the built-in authority.",
        )
    return Stamper(HttpAuthority(address))


def _request(digest: bytes) -> tsp.TimeStampReq:
    return tsp.TimeStampReq(
        {
            "version": "v1",
            "message_imprint": {"hash_algorithm": {"algorithm": "sha256"}, "hashed_message": digest},
            "nonce": secrets.randbits(64),
            "cert_req": True,
        }
    )


class HttpAuthority:
    """An authority over HTTP (RFC 3161 section 3.4). Redirects are refused: only the address of the settings counts."""

    def __init__(self, address: httpx.URL) -> None:
        self._address = address
        self._client = httpx.Client(timeout=TIMEOUT, follow_redirects=False, trust_env=False)

    def __call__(self, request: bytes) -> bytes:
        headers = {"Content-Type": "application/timestamp-query", "Accept": "application/timestamp-reply"}
        try:
            with self._client.stream("POST", self._address, content=request, headers=headers) as answer:
                self._accept(answer)
                return self._body(answer)
        except httpx.HTTPError as error:
            raise self._away(f"did not answer ({error or type(error).__name__})") from error

    def _accept(self, answer: httpx.Response) -> None:
        if answer.is_redirect:
            raise self._away("sends us to another address, which is not followed")
        media_type = answer.headers.get("content-type", "").split(";")[0].strip().lower()
        if answer.status_code != 200 or media_type != "application/timestamp-reply":
            raise self._away(f"answered with HTTP {answer.status_code}, {media_type or 'no type'}")

    def _body(self, answer: httpx.Response) -> bytes:
        body = bytearray()
        for piece in answer.iter_bytes():
            body += piece
            if len(body) > ANSWER_LIMIT:
                raise self._away("answered with more than a timestamp")
        return bytes(body)

    def _away(self, what: str) -> TransientError:
        return TransientError(
            f"{AUTHORITY} {what}.",
            where=str(self._address),
            remedy="It is asked again; check timestamp.url and the way to it.",
        )


class LocalAuthority:
    """RFC 3161 in this process. Its clock is this machine's: it proves order, not time."""

    def __init__(self, pair: KeyPair, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._pair = pair
        self._clock = clock

    def __call__(self, request: bytes) -> bytes:
        try:
            asked = tsp.TimeStampReq.load(request, strict=True)
            failure = _failure(asked)
        except (ValueError, TypeError, KeyError):
            failure = "bad_data_format"
        if failure:
            return _refusal(failure)
        return signatures.granted(self._token(asked))

    def _token(self, asked: tsp.TimeStampReq) -> bytes:
        info = {
            "version": "v1",
            "policy": signatures.LOCAL_POLICY,
            "message_imprint": asked["message_imprint"],
            # 159 random bits: two are never alike, whoever else signs with this key (RFC 3161 allows 160).
            "serial_number": secrets.randbits(158) | 1 << 158,
            "gen_time": self._clock(),
        }
        if asked["nonce"].native is not None:
            info["nonce"] = asked["nonce"].native
        content = tsp.TSTInfo(info).dump()
        digest = hashlib.sha256(content).digest()
        return sign(self._pair, "tst_info", digest, content=content, certificates=asked["cert_req"].native)


def _refusal(failure: str) -> bytes:
    """A TimeStampResp without a token (RFC 3161 section 2.4.2)."""
    return bytes(parser.emit(0, 1, 16, tsp.PKIStatusInfo({"status": "rejection", "fail_info": {failure}}).dump()))


def _failure(asked: tsp.TimeStampReq) -> str:
    """Why a request is refused: a PKIFailureInfo of RFC 3161 2.4.2, or nothing."""
    imprint = asked["message_imprint"]
    algorithm = imprint["hash_algorithm"]["algorithm"].native
    if asked["version"].native != "v1":
        return "bad_request"
    if algorithm not in signatures.HASHES:
        return "bad_alg"
    if len(imprint["hashed_message"].native) != hashlib.new(algorithm).digest_size:
        return "bad_data_format"
    if asked["req_policy"].native not in (None, signatures.LOCAL_POLICY):
        return "unaccepted_policy"
    if asked["extensions"].native is not None:
        return "unaccepted_extensions"
    return ""
