"""A delivery server that forgot its deliveries: lost with its disk, replaced, or restored from an old backup."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
import sqlalchemy as sa

from printerd.delivery.workflow import Delivering
from printerd.evidence import acts
from printerd.model import DeliveryId
from printerd.storage import archive, claims
from printerd.storage.blobs import Blobs
from printerd.storage.database import Database
from printerd.storage.schema import deliveries, dispatches, receipts
from tests import archive_rows
from tests.contract.test_both_sides import PDF, order
from tests.edge import Running, running
from tests.waiting import until

NOW = datetime.now(UTC)
ANNE, PAUL = "anne@canal.example", "paul@canal.example"


@dataclass
class House:
    """An instance with one invoice that was mailed to two contacts, and the edge that it knows."""

    database: Database
    blobs: Blobs
    out_tray: Path
    edge: Running
    invoice: str
    delivery: str
    clock: list[datetime] = field(default_factory=lambda: [NOW])

    def work(self, stage: int) -> None:
        """One turn of a stage of the delivery room."""
        room = Delivering(
            database=self.database,
            blobs=self.blobs,
            edge=self.edge.client,
            sealers=None,  # type: ignore[arg-type]  # nothing is sealed here
            issuers=(),
            language="en",
            out_tray=self.out_tray,
            rehearsal_to="",
            zone="Europe/Paris",
            now=lambda: self.clock[0],
        )
        chosen = room.stages()[stage]
        with self.database.write() as connection:
            batch = claims.claim(connection, chosen, self.clock[0])
        if batch is not None:
            chosen.run(batch)

    def resend(self, contact: str = "") -> str:
        with self.database.write() as connection:
            return acts.resend(connection, self.invoice, "claire", "not received", self.clock[0], contact)

    def row(self, table: sa.Table, identity: str) -> Any:
        with self.database.read() as connection:
            return connection.execute(sa.select(table).where(table.c.id == identity)).one()


@pytest.fixture
def edges(tmp_path: Path) -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def house(tmp_path: Path, edges: ExitStack) -> Iterator[House]:
    (tmp_path / "first").mkdir()
    first = edges.enter_context(running(tmp_path / "first"))
    database, blobs = archive_rows.opened(tmp_path)
    document = blobs.put(PDF, "application/pdf")
    facts = order(ANNE, PAUL, document=document)
    with database.write() as connection:
        invoice = archive_rows.invoice(connection, blobs, archive_rows.job(connection), sealed=document.digest)
        delivery = archive_rows.delivery(connection, invoice, facts=facts, state="due", sent_at=None, at=NOW)
    house = House(database, blobs, tmp_path / "out-tray", first, invoice, delivery)
    house.work(0)
    first.link(ANNE), first.link(PAUL)
    yield house
    database.close()


@pytest.fixture
def replaced(house: House, tmp_path: Path, edges: ExitStack) -> House:
    (tmp_path / "second").mkdir()
    house.edge = edges.enter_context(running(tmp_path / "second"))
    return house


def test_a_resend_makes_the_delivery_whole_and_writes_to_the_chosen_contact_alone(replaced: House) -> None:
    """The new server gets document and delivery; nobody else is written to again, and the link hands the file over."""
    dispatch = replaced.resend("c1")
    replaced.work(1)
    assert replaced.row(dispatches, dispatch).state == "sent"
    link = replaced.edge.link(PAUL)
    assert replaced.edge.act(link).content == PDF
    until(lambda: replaced.edge.client.status().mail_backlog == 0)
    assert [to for to, _ in replaced.edge.mail.taken] == [PAUL]


def test_a_receipt_is_handed_back_to_a_server_that_did_not_know_the_delivery(replaced: House) -> None:
    """The customer finds it on the page of the next link."""
    with replaced.database.write() as connection:
        receipt = archive_rows.receipt(connection, replaced.blobs, replaced.delivery, contact="c0", state="filed")
    replaced.work(3)
    assert replaced.row(receipts, receipt).state == "pushed"
    replaced.resend("c0")
    replaced.work(1)
    assert httpx.get(replaced.edge.link(ANNE) + "/receipt").content == replaced.blobs.read(
        replaced.row(receipts, receipt).pdf
    )


def test_a_receipt_is_not_handed_back_for_ever(replaced: House) -> None:
    """When the links have ended nobody can come for it: it stays in the archive, and nothing is tried again."""
    with replaced.database.write() as connection:
        receipt = archive_rows.receipt(connection, replaced.blobs, replaced.delivery, contact="c0", state="filed")
    replaced.clock[0] = NOW + timedelta(days=91)
    replaced.work(3)
    row = replaced.row(receipts, receipt)
    assert (row.state, row.attempts, row.next_at) == ("pushed", 0, None)


def test_a_resend_that_is_refused_for_good_is_told_and_not_repeated(house: House) -> None:
    """The delivery was withdrawn at the server: the dispatch ends, and the invoice's time line says why."""
    house.edge.client.revoke(DeliveryId(house.delivery), "wrong customer")
    dispatch = house.resend()
    house.work(1)
    row = house.row(dispatches, dispatch)
    assert (row.state, row.next_at) == ("revoked", None)
    with house.database.read() as connection:
        told = [entry for entry in archive.time_line(connection, house.invoice) if entry.kind == "refused"]
    assert [entry.facts["reason"] for entry in told] == [row.trouble]
    assert "withdrawn" in row.trouble


def test_the_server_makes_no_letter_when_it_only_gets_to_know_a_delivery(house: House) -> None:
    """Neither for a delivery that it has nor for one that it has not."""
    facts = house.row(deliveries, house.delivery).facts
    for identity in (house.delivery, str(uuid4())):
        for _ in range(2):
            house.edge.client.put_delivery(DeliveryId(identity), facts, letters=False)
    assert house.edge.client.status().mail_backlog == 0
    assert sorted(to for to, _ in house.edge.mail.taken) == [ANNE, PAUL]
