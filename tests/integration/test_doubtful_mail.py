"""A relay that goes away after the final dot: nobody knows, so nothing is sent again until a person decides."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP, Envelope, Session

from tests.instance import Instance, Mailbox, printed_samples, served, until


class HangsUp(Mailbox):
    """Takes the first message and closes the connection instead of answering (RFC 5321 section 6.1)."""

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        answer = await super().handle_DATA(server, session, envelope)
        if len(self.envelopes) == 1:
            transport: Any = server.transport
            transport.abort()
            await asyncio.sleep(0.1)
        return answer


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[Instance]:
    with served(tmp_path / "state", mailbox=HangsUp()) as running:
        yield running


def test_doubt_is_shown_and_a_person_resends(instance: Instance, tmp_path: Path) -> None:
    """UNCERTAIN is shown, never resent by itself; resend --reason makes one more message with a link of its own."""
    sample = printed_samples(tmp_path / "samples")["facture-cid-fr"]
    number = sample.expected[0].invoice.number
    job = instance.delivered(instance.print(sample.file).number, "uncertain")
    said = until(lambda: instance.job(job["job"]["number"])["job"]["message"])
    assert "perhaps mailed" in said
    assert len(instance.mailbox.envelopes) == 1
    instance.run("invoices", "resend", number, "--reason", "customer did not get it")
    instance.delivered(job["job"]["number"], "accepted")
    assert len(instance.mailbox.envelopes) == 2
    told = instance.json("invoices", "show", number)["time_line"]
    acts = [entry for entry in told if entry["kind"] == "ledger.act.resend"]
    assert [act["facts"]["reason"] for act in acts] == ["customer did not get it"]
