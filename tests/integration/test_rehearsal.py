"""A new instance rehearses: everything runs, nothing counts, and go-live ends it for good."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pypdfium2  # type: ignore[import-untyped]
import pytest

from tests.instance import Instance, link_of, press, printed_samples, request, served
from tests.waiting import until

STAFF = "it@aubonmoulin.example"


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[Instance]:
    with served(tmp_path / "state", {"rehearsal.to": STAFF}, live=False) as running:
        yield running


def test_a_rehearsal_reaches_nobody_and_counts_for_nothing(instance: Instance, tmp_path: Path) -> None:
    """Mail goes to rehearsal.to and names the true addressee; page and receipt say SPECIMEN; paper stays blank.

    After go-live the same invoice, printed again, goes to its customer.
    """
    files = printed_samples(tmp_path / "samples")
    sample = files["facture-cid-fr"]
    number = sample.expected[0].invoice.number
    job = instance.delivered(instance.print(sample.file).number, "accepted")
    (message,) = instance.mailbox.messages(about=number)
    assert [envelope.rcpt_tos for envelope in instance.mailbox.envelopes] == [[STAFF]]
    assert "SPECIMEN" in str(message["Subject"])
    body = message.get_body(("plain",))
    assert body is not None
    assert "marche-couvert.example" in body.get_content()
    link = link_of(message)
    assert "SPECIMEN" in request("GET", link).body.decode()
    assert press(link).status == 200
    assert "SPECIMEN" in text_of(receipt(instance, link))

    listing = instance.delivered(instance.print(files["factures-texte-fr"].file).number, "accepted", "paper")
    assert "paper" in {one["delivery"] for one in listing["invoices"]}
    assert not (instance.state / "out-tray").exists()

    instance.run("go-live")
    assert instance.run("go-live", check=False).returncode == 2
    assert instance.json("invoices", "show", job["invoices"][0]["id"])["invoice"]["line"]["state"] == "specimen"
    before = len(instance.mailbox.envelopes)
    real = instance.delivered(instance.print(sample.file).number, "accepted")
    assert [one["state"] for one in real["invoices"]] == ["archived"]
    recipients = [envelope.rcpt_tos for envelope in instance.mailbox.envelopes[before:]]
    assert recipients == [["benoit@marche-couvert.example"]]
    assert instance.run("verify", "--all").returncode == 0


def receipt(instance: Instance, link: str) -> bytes:
    """The sealed receipt, once it can be downloaded from the page."""
    return until(lambda: (lambda page: page.body if page.status == 200 else b"")(request("GET", f"{link}/receipt")), 30)


def text_of(pdf: bytes) -> str:
    document: Any = pypdfium2.PdfDocument(pdf)
    text = "\n".join(page.get_textpage().get_text_range() for page in document)
    document.close()
    return text
