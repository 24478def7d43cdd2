"""What customers and their machines do with a link, and what of it becomes a receipt."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import sync_playwright

from tests.instance import Instance, link_of, press, printed_samples, request, served
from tests.waiting import until

CHROMIUM = "/usr/bin/chromium"
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PREFETCHES = (
    {"Sec-Purpose": "prefetch"},
    {"Sec-Purpose": "prefetch;prerender"},
    {"Purpose": "prefetch"},
    {"X-Moz": "prefetch"},
)


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    with served(tmp_path_factory.mktemp("acts") / "state") as running:
        yield running


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return printed_samples(tmp_path_factory.mktemp("samples"))


def mailed(instance: Instance, file: Path, number: str) -> list[str]:
    """Print a file and return the links that the customer got for that invoice."""
    sent = instance.print(file)
    instance.delivered(sent.number, "accepted")
    return [link_of(message) for message in instance.mailbox.messages(about=number)]


def number_of(sample: Any) -> str:
    number: str = sample.expected[0].invoice.number
    return number


def events_of(instance: Instance, number: str, name: str) -> list[dict[str, Any]]:
    told = instance.json("invoices", "show", number)["time_line"]
    return [entry for entry in told if entry["kind"] == name]


def receipts_of(instance: Instance, number: str) -> list[dict[str, Any]]:
    detail = instance.json("invoices", "show", number)["invoice"]
    return [c["receipt"] for d in detail["deliveries"] for c in d["contacts"] if c["receipt"]]


def test_looking_never_makes_a_receipt_and_one_press_makes_one(instance: Instance, files: dict[str, Any]) -> None:
    """200 GETs, HEADs and prefetches and a browser left open for a minute leave no receipt; one press leaves one."""
    sample = files["invoice-simple-en"]
    number = number_of(sample)
    link = mailed(instance, sample.file, number)[0]
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page()
        page.goto(link)
        opened = time.monotonic()
        assert number in page.inner_text("h1")
        for turn in range(200):
            headers = PREFETCHES[turn % len(PREFETCHES)] if turn % 3 == 2 else {}
            assert request("HEAD" if turn % 3 == 1 else "GET", link, headers=headers).status in (200, 429)
        page.wait_for_timeout(max(0.0, 60 - (time.monotonic() - opened)) * 1000)
        assert receipts_of(instance, number) == []
        assert events_of(instance, number, "ConsignmentAcceptance") == []
        with page.expect_download() as download:
            page.get_by_role("button", name="download").click()
        served_bytes = download.value.path().read_bytes()
        browser.close()
    receipt = until(lambda: receipts_of(instance, number))
    assert len(receipt) == 1
    sealed = instance.json("invoices", "show", number)["invoice"]["sealed"]
    assert hashlib.sha256(served_bytes).hexdigest() == sealed
    (handover,) = events_of(instance, number, "ContentHandover")
    assert handover["facts"]["sha256"] == sealed


def test_twenty_presses_at_once_make_one_receipt(instance: Instance, files: dict[str, Any]) -> None:
    """However often and however fast a customer presses, there is one receipt; each press gives the whole file."""
    sample = files["facture-cid-fr"]
    number = number_of(sample)
    link = mailed(instance, sample.file, number)[0]
    with ThreadPoolExecutor(20) as hands:
        answers = list(hands.map(lambda _: press(link), range(20)))
    sealed = instance.json("invoices", "show", number)["invoice"]["sealed"]
    digests = {hashlib.sha256(answer.body).hexdigest() for answer in answers if answer.status == 200}
    assert digests == {sealed}
    until(lambda: receipts_of(instance, number))
    until(lambda: len(events_of(instance, number, "ContentHandover")) == sum(a.status == 200 for a in answers))
    assert len(receipts_of(instance, number)) == 1


def test_each_contact_has_a_receipt_of_its_own(instance: Instance, files: dict[str, Any]) -> None:
    """Two contacts of one customer are two links and two receipts."""
    sample = files["facture-simple-fr"]
    number = number_of(sample)
    links = mailed(instance, sample.file, number)
    assert len(set(links)) == 2
    for link in links:
        assert press(link).status == 200
    until(lambda: len(receipts_of(instance, number)) == 2)
    numbers = {receipt["number"] for receipt in receipts_of(instance, number)}
    assert len(numbers) == 2


def test_the_customer_can_download_the_sealed_receipt(instance: Instance, files: dict[str, Any]) -> None:
    """The receipt that is filed in the archive is the one that the customer gets from the page."""
    sample = files["avoir-fr"]
    number = number_of(sample)
    link = mailed(instance, sample.file, number)[0]
    press(link)
    receipt = until(lambda: [one for one in receipts_of(instance, number) if one["state"] == "pushed"])[0]
    answer = request("GET", f"{link}/receipt")
    assert answer.status == 200
    assert hashlib.sha256(answer.body).hexdigest() == receipt["pdf"]
