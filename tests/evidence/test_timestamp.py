"""Timestamps: the built-in authority and independent ones, judged by openssl."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path

import pytest
from asn1crypto import tsp  # type: ignore[import-untyped]  # asn1crypto comes without types

from printerd.errors import ConfigurationError, IntegrityError, TransientError
from printerd.evidence import keys, signatures, timestamp, trust, verify
from printerd.evidence.sign import Sealer
from tests.authority import granted, make, openssl, reply, serving
from tests.evidence.conftest import FIRM
from tests.evidence.papers import page

DATA = b"what was recorded"


@pytest.fixture(scope="session")
def independent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority that openssl alone made."""
    return make(tmp_path_factory.mktemp("independent"))


@pytest.fixture
def local(key_folder: Path) -> timestamp.LocalAuthority:
    return timestamp.LocalAuthority(keys.authority(key_folder, FIRM))


def query(folder: Path, *options: str) -> bytes:
    """A request as openssl makes it."""
    (folder / "data").write_bytes(DATA)
    openssl("ts", "-query", "-data", folder / "data", "-out", folder / "query.tsq", *options)
    return (folder / "query.tsq").read_bytes()


@pytest.mark.parametrize("options", [("-cert",), (), ("-cert", "-no_nonce"), ("-cert", "-sha512")])
def test_openssl_accepts_the_built_in_authority(
    local: timestamp.LocalAuthority, key_folder: Path, tmp_path: Path, options: tuple[str, ...]
) -> None:
    """``openssl ts -verify`` takes the answer to each kind of request, by the data and by the request."""
    (tmp_path / "reply.tsr").write_bytes(local(query(tmp_path, *options)))
    anchors = ("-CAfile", key_folder / "tsa.crt", "-untrusted", key_folder / "tsa.crt")
    for against in (("-data", tmp_path / "data"), ("-queryfile", tmp_path / "query.tsq")):
        assert "Verification: OK" in openssl("ts", "-verify", "-in", tmp_path / "reply.tsr", *against, *anchors)


def test_openssl_refuses_it_for_other_data(local: timestamp.LocalAuthority, key_folder: Path, tmp_path: Path) -> None:
    """The same answer does not stand for one byte more."""
    (tmp_path / "reply.tsr").write_bytes(local(query(tmp_path, "-cert")))
    (tmp_path / "data").write_bytes(DATA + b".")
    with pytest.raises(subprocess.CalledProcessError):
        openssl(
            *("ts", "-verify", "-in", tmp_path / "reply.tsr"),
            *("-data", tmp_path / "data", "-CAfile", key_folder / "tsa.crt"),
        )


def test_the_certificate_comes_only_when_asked_for(local: timestamp.LocalAuthority, tmp_path: Path) -> None:
    """certReq of RFC 3161 section 2.4.1."""
    lengths = [len(local(query(tmp_path, *options))) for options in (("-cert",), ())]
    assert lengths[0] > lengths[1] + 800


def test_serials_are_long_and_never_twice(key_folder: Path) -> None:
    """159 random bits: no register of serials is needed, and none can be rolled back."""
    stamper = timestamp.connect("local:", key_folder, FIRM)
    serials = {int(stamper.stamp(DATA).token.timestamp.serial, 16) for _ in range(20)}
    assert len(serials) == 20
    assert {serial.bit_length() for serial in serials} == {159}


def test_a_local_timestamp_says_what_it_is_not(key_folder: Path) -> None:
    """It is marked as local by its policy, and there is a phrase for it in both languages."""
    stamp = timestamp.connect("local:", key_folder, FIRM).stamp(DATA).token.timestamp
    assert stamp.local
    assert abs(stamp.time - datetime.now(UTC)) < timedelta(minutes=1)
    assert signatures.LOCAL_PHRASE["en"] == "local authority: order, not time"
    assert signatures.LOCAL_PHRASE["fr"].startswith("autorité locale")


FAILURES = {
    "bad_alg": "unrecognized or unsupported algorithm identifier",
    "bad_request": "transaction not permitted or supported",
    "bad_data_format": "the data submitted has the wrong format",
    "unaccepted_policy": "the requested TSA policy is not supported by the TSA",
    "unaccepted_extensions": "the requested extension is not supported by the TSA",
}
"""As openssl words the bits of PKIFailureInfo."""


def asked(**changes: object) -> bytes:
    imprint = {"hash_algorithm": {"algorithm": "sha256"}, "hashed_message": hashlib.sha256(DATA).digest()}
    return bytes(tsp.TimeStampReq({"version": "v1", "message_imprint": imprint} | changes).dump())


@pytest.mark.parametrize(
    ("request_", "failure"),
    [
        (b"", "bad_data_format"),
        (b"nonsense", "bad_data_format"),
        (asked(version="v2"), "bad_request"),
        (asked(req_policy="1.2.3"), "unaccepted_policy"),
        (asked(extensions=[{"extn_id": "1.2.3", "extn_value": b""}]), "unaccepted_extensions"),
        (
            asked(message_imprint={"hash_algorithm": {"algorithm": "sha1"}, "hashed_message": bytes(20)}),
            "bad_alg",
        ),
        (
            asked(message_imprint={"hash_algorithm": {"algorithm": "sha256"}, "hashed_message": bytes(20)}),
            "bad_data_format",
        ),
    ],
)
def test_a_request_that_is_not_in_order_is_answered_with_a_rejection(
    local: timestamp.LocalAuthority, tmp_path: Path, request_: bytes, failure: str
) -> None:
    """RFC 3161 section 2.4.2: a status and a reason, and no token."""
    (tmp_path / "reply.tsr").write_bytes(local(request_))
    shown = openssl("ts", "-reply", "-in", tmp_path / "reply.tsr", "-text")
    assert "Status: Rejected." in shown
    assert "Failure info: " + FAILURES[failure] in shown
    assert "TST info:\nNot included." in shown
    with pytest.raises(IntegrityError, match=failure):
        signatures.response(local(request_), DATA)


def test_an_independent_authority_over_http_is_believed(independent: Path, tmp_path: Path) -> None:
    """What ``openssl ts -reply`` answers over HTTP is taken, one call a stamp, and openssl verifies what we kept."""
    calls: list[bytes] = []

    def answer(body: bytes) -> tuple[int, dict[str, str], bytes]:
        calls.append(body)
        return granted(reply(independent, body))

    with serving(answer) as url:
        stamp = timestamp.connect(url, tmp_path, FIRM).stamp(DATA)
    assert len(calls) == 1
    assert not stamp.token.timestamp.local
    assert stamp.token.timestamp.authority == "Independent leaf"
    (tmp_path / "reply.tsr").write_bytes(stamp.response)
    (tmp_path / "data").write_bytes(DATA)
    against = ("-data", tmp_path / "data", "-CAfile", independent / "root.crt")
    assert "OK" in openssl("ts", "-verify", "-in", tmp_path / "reply.tsr", *against)


def test_sealing_calls_an_authority_once_a_document(independent: Path, key_folder: Path, tmp_path: Path) -> None:
    """Not one call more for measuring, from the first document on; the root establishes the time."""
    calls: list[int] = []

    def answer(body: bytes) -> tuple[int, dict[str, str], bytes]:
        calls.append(len(body))
        return granted(reply(independent, body))

    anchors = trust.load([key_folder / "seal.crt", independent / "root.crt"])
    with serving(answer) as url:
        sealer = Sealer(keys.seal(key_folder, FIRM), timestamp.connect(url, tmp_path, FIRM))
        for number in range(1, 4):
            out = BytesIO()
            sealer.seal(BytesIO(page()), out, "Sealed")
            assert len(calls) == number
            verdict = verify.verify(out, anchors)
            assert (verdict.exit_code, verdict.time) == (verify.VALID, True)
    assert not verify.verify(out, trust.load([key_folder / "seal.crt"])).time


def test_a_token_that_needs_more_room_gets_it(key_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A first token longer than the room kept for it costs one more call, and the seal holds."""
    monkeypatch.setattr("printerd.evidence.sign.FIRST_TOKEN", 64)
    monkeypatch.setattr("printerd.evidence.sign.MARGIN", 32)
    sealer = Sealer(keys.seal(key_folder, FIRM), timestamp.connect("local:", key_folder, FIRM))
    out = BytesIO()
    sealer.seal(BytesIO(page()), out, "Sealed")
    assert verify.verify(out, trust.load(key_folder.glob("*.crt"))).exit_code == verify.VALID


def stale(local: timestamp.LocalAuthority) -> bytes:
    """A proper answer to somebody else's request."""
    return local(asked(nonce=1, cert_req=True))


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        (lambda local: (500, {}, b"out of order"), "HTTP 500"),
        (lambda local: (302, {"Location": "http://127.0.0.1:1/"}, b""), "another address"),
        (lambda local: (200, {"Content-Type": "text/html"}, b"<p>Welcome"), "text/html"),
        (lambda local: granted(b"\x30\x00"), "not valid"),
        (lambda local: granted(b"nonsense"), "not valid"),
        (lambda local: granted(local(b"")), "bad_data_format"),
        (lambda local: granted(stale(local)), "another request"),
        (lambda local: granted(bytes(timestamp.ANSWER_LIMIT + 1)), "more than a timestamp"),
    ],
)
def test_an_authority_that_is_out_of_order_is_asked_again_later(
    local: timestamp.LocalAuthority,
    tmp_path: Path,
    answer: Callable[[timestamp.LocalAuthority], tuple[int, dict[str, str], bytes]],
    word: str,
) -> None:
    """Errors, redirects, web pages, refusals, and answers to other requests: nothing is sealed, all is tried again."""
    with serving(lambda _: answer(local)) as url, pytest.raises(TransientError, match=word):
        timestamp.connect(url, tmp_path, FIRM).stamp(DATA)


@pytest.mark.parametrize("minutes", [-60 * 24 * 365, -6, 6, 60 * 24 * 365])
def test_a_time_that_is_not_now_is_no_timestamp(key_folder: Path, tmp_path: Path, minutes: int) -> None:
    """Somebody on the way answers in the authority's place, with another certificate and a time of his choice."""
    apart = timedelta(minutes=minutes)
    forged = timestamp.LocalAuthority(keys.authority(key_folder, FIRM), lambda: datetime.now(UTC) + apart)
    with (
        serving(lambda body: granted(forged(body))) as url,
        pytest.raises(TransientError, match="minutes apart") as caught,
    ):
        timestamp.connect(url, tmp_path, FIRM).stamp(DATA)
    assert "clock" in caught.value.what


def test_an_authority_that_is_away_is_asked_again_later(tmp_path: Path) -> None:
    """A refused connection is a matter of time."""
    with serving(granted) as url:
        gone = url
    with pytest.raises(TransientError, match="did not answer"):
        timestamp.connect(gone, tmp_path, FIRM).stamp(DATA)


@pytest.mark.parametrize("url", ["", "local", "ftp://x/", "http://", "https://user:word@tsa.example/"])
def test_what_is_no_address_is_refused_at_the_start(tmp_path: Path, url: str) -> None:
    """The service does not start, and a password in the address is not repeated in the message."""
    with pytest.raises(ConfigurationError) as caught:
        timestamp.connect(url, tmp_path, FIRM)
    assert "word" not in caught.value.where
