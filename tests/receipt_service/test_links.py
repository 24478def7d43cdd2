"""Tokens, nonces, masks and classes hold for every input, not only for those that we thought of."""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receipt_service import links

NOW = datetime(2026, 11, 24, 9, 5, tzinfo=UTC)
KEY = bytes(32)
HASHES = st.binary(min_size=32, max_size=32).map(bytes.hex)


@given(st.integers())
def test_a_token_is_256_bits_that_need_no_escaping(_: int) -> None:
    """Every token is 43 URL-safe characters, and only its hash is ever its name."""
    token = links.new_token()
    hashed = links.fingerprint(token)
    assert hashed is not None and len(hashed) == 64 and token not in hashed


@given(st.text())
def test_what_is_no_token_has_no_fingerprint(text: str) -> None:
    """A path that is not a token is refused before the database is asked."""
    assert links.fingerprint(text + "!") is None


@given(HASHES, st.datetimes(datetime(2020, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001
def test_a_nonce_tells_when_its_page_was_shown(token_hash: str, shown: datetime) -> None:
    """The time comes back to the millisecond, from nothing but the form."""
    nonce = links.make_nonce(KEY, token_hash, shown)
    opened = links.open_nonce(KEY, token_hash, nonce, shown + timedelta(minutes=3))
    assert opened is not None and abs(opened - shown) <= timedelta(milliseconds=1)


@given(HASHES, HASHES, st.integers(0, 76), st.sampled_from("0123456789abcdef."))
def test_a_changed_or_foreign_nonce_opens_nothing(one: str, other: str, at: int, put: str) -> None:
    """A nonce is bound to one link, one time and our key: any change makes it worthless."""
    nonce = links.make_nonce(KEY, one, NOW)
    changed = nonce[:at] + put + nonce[at + 1 :]
    assert changed == nonce or links.open_nonce(KEY, one, changed, NOW) is None
    assert one == other or links.open_nonce(KEY, other, nonce, NOW) is None
    assert links.open_nonce(bytes(31) + b"x", one, nonce, NOW) is None


@pytest.mark.parametrize("age", [links.NONCE_LIFE + timedelta(seconds=1), timedelta(seconds=-6)])
def test_a_nonce_ends(age: timedelta) -> None:
    """A page left open overnight, or one from the future, makes no receipt."""
    nonce = links.make_nonce(KEY, "00" * 32, NOW - age)
    assert links.open_nonce(KEY, "00" * 32, nonce, NOW) is None


@given(st.text(min_size=1).filter(lambda text: "@" not in text), st.text(min_size=1).filter(lambda t: "@" not in t))
def test_a_mask_shows_one_letter_and_the_domain(local: str, domain: str) -> None:
    """``m***@client.fr``, whatever the length of the name: the mask does not tell it."""
    assert links.mask_address(f"{local}@{domain}") == f"{local[0]}***@{domain}"


@given(st.ip_addresses())
def test_addresses_are_kept_as_networks(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    """A /24 or a /48 is kept, never the host; IPv4 inside IPv6 counts as IPv4."""
    kept = ipaddress.ip_network(links.truncate_address(str(address)))
    mapped = isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped
    assert (mapped or address) in kept
    assert kept.prefixlen == (24 if kept.version == 4 else 48)


def test_an_unknown_address_is_kept_empty() -> None:
    assert links.truncate_address("") == links.truncate_address("not-an-address") == ""


FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0"
EDGE = "Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0 Safari/537.36 Edg/142.0"
SAFARI = "Mozilla/5.0 (iPhone; CPU iPhone OS 19_0 like Mac OS X) AppleWebKit/605 Version/19.0 Mobile/1 Safari/604"


@pytest.mark.parametrize(
    ("agent", "family"),
    [
        (FIREFOX, "Firefox"),
        (EDGE, "Edge"),
        (SAFARI, "Safari"),
        (FIREFOX + " BingPreview/1.0b", "bingbot"),
        ("Mozilla/5.0 (compatible; SomeMailScanner/2)", "robot"),
        ("python-requests/2.32", "program"),
        ("", "none"),
        ("Lynx/2.9", "other"),
    ],
)
def test_user_agents_are_kept_as_families(agent: str, family: str) -> None:
    """The family is enough for a receipt; version and system are nobody's business."""
    assert links.agent_family(agent) == family


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"user-agent": FIREFOX, "accept-language": "fr"}, "person?"),
        ({"user-agent": FIREFOX, "accept-language": "fr", "sec-purpose": "prefetch;prerender"}, "speculative"),
        ({"user-agent": FIREFOX, "accept-language": "fr", "purpose": "prefetch"}, "speculative"),
        ({"user-agent": FIREFOX}, "automatic"),
        ({"user-agent": "curl/8", "accept-language": "fr"}, "automatic"),
    ],
)
def test_visits_are_graded(headers: dict[str, str], expected: str) -> None:
    """Even a person is only ever a person with a question mark."""
    assert links.visitor_class(headers) == expected


def test_haste_is_a_sign() -> None:
    """A press half a second after the page is noted, and still is a press."""
    signs = links.signs_of_automation({"user-agent": FIREFOX, "accept-language": "fr"}, timedelta(seconds=0.5))
    assert signs == ("pressed 0.5 s after the page",)


def test_each_purpose_has_a_key_of_its_own() -> None:
    """The outbox key and the nonce key come from one file and do not tell of each other."""
    assert links.derive(KEY, "outbox") != links.derive(KEY, "nonce") != KEY
