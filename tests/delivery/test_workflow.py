"""Collecting on a real database: pages that come twice, strangers, late acts, and a long history."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from printerd.delivery.contract import GENESIS, Status
from printerd.delivery.workflow import Delivering
from printerd.model import DeliveryId, Digest, Event
from printerd.storage.database import Database
from printerd.storage.schema import edges, events, receipts, rfc3339
from tests import archive_rows

NOW = archive_rows.NOW
DOCUMENT = {"sha256": "ab" * 32, "size": 1200}
WHOLE = {"sha256": "ab" * 32, "size": "1200", "bytes_sent": "1200"}
CONTACT = archive_rows.contact()["id"]


@dataclass
class Edge:
    """Stands in for the delivery server: a chain, and what happens while its page is on the way."""

    chain: list[Event] = field(default_factory=list)
    meanwhile: Callable[[], object] = lambda: None

    def status(self) -> Status:
        return Status("edge-1", 0, "", 0, "1")

    def events(self, after: int, _head: Digest, _wait: int) -> tuple[Event, ...]:
        found = tuple(self.chain[after : after + 500])
        self.meanwhile()
        return found

    def tell(self, name: str, delivery: str, at: datetime, **data: str) -> None:
        seq = len(self.chain) + 1
        previous = self.chain[-1].digest if self.chain else GENESIS
        digest = Digest(f"{seq:064x}")
        self.chain.append(Event("edge-1", seq, name, at, DeliveryId(delivery), CONTACT, data, previous, digest))


@dataclass
class Room:
    """The delivery room with its clock, and one delivery that went out."""

    database: Database
    edge: Edge
    delivering: Delivering
    delivery: str
    clock: list[datetime]

    def collect(self, at: datetime) -> int:
        self.clock[0] = at
        return self.delivering.collect(0)

    def receipts(self) -> list[Any]:
        with self.database.read() as connection:
            return list(connection.execute(sa.select(receipts).order_by(receipts.c.number)))


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    database, blobs = archive_rows.opened(tmp_path)
    edge, clock = Edge(), [NOW]
    facts = {"contacts": [archive_rows.contact()], "document": DOCUMENT, "mode": "live"}
    with database.write() as connection:
        job = archive_rows.job(connection)
        delivery = archive_rows.delivery(connection, archive_rows.invoice(connection, blobs, job), facts=facts)
    delivering = Delivering(
        database=database,
        blobs=blobs,
        edge=edge,  # type: ignore[arg-type]  # a chain that the test writes
        sealers=None,  # type: ignore[arg-type]  # nothing is sealed here
        issuers=(),
        language="en",
        out_tray=tmp_path / "out-tray",
        rehearsal_to="",
        zone="Europe/Paris",
        now=lambda: clock[0],
    )
    yield Room(database, edge, delivering, delivery, clock)
    database.close()


def pressed(room: Room, at: datetime, act: str = "a") -> None:
    room.edge.tell("ConsignmentAcceptance", room.delivery, at, act=act)


def test_a_page_that_another_worker_has_kept_is_dropped(room: Room) -> None:
    """Two workers ask for the same page: one keeps it, the other keeps nothing and goes on from there."""
    pressed(room, NOW)
    room.edge.tell("ContentHandover", room.delivery, NOW, act="a", **WHOLE)

    def other() -> None:
        room.edge.meanwhile = lambda: None
        assert room.collect(NOW) == 2

    room.edge.meanwhile = other
    assert room.collect(NOW) == 0
    assert room.collect(NOW) == 0
    assert [row.number for row in room.receipts()] == [1]
    with room.database.read() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(events)) == 2
        assert connection.scalar(sa.select(edges.c.seq)) == 2


def test_an_act_without_handover_gets_its_receipt_after_the_hour(room: Room) -> None:
    """However long nothing else comes: the receipt that says so is due once the hour is over, and once only."""
    pressed(room, NOW)
    assert room.collect(NOW + timedelta(minutes=1)) == 1
    assert room.receipts() == []
    for later in (timedelta(minutes=61), timedelta(minutes=62), timedelta(days=9)):
        room.collect(NOW + later)
        assert [row.handover for row in room.receipts()] == [None]


def test_an_act_is_not_forgotten_while_the_worker_is_away(room: Room) -> None:
    """The worker stops after it collected the act and comes back days later: the receipt is due at once."""
    pressed(room, NOW)
    room.collect(NOW + timedelta(minutes=1))
    room.collect(NOW + timedelta(days=9))
    assert len(room.receipts()) == 1


def test_a_clock_that_went_wrong_delays_a_receipt_and_loses_none(room: Room) -> None:
    """The clock is a day ahead, is set back, and time goes on: every act has its receipt in the end."""
    pressed(room, NOW + timedelta(days=1))
    room.collect(NOW + timedelta(days=1, minutes=1))
    for hour in range(30):
        room.edge.tell("NotificationAccessTracking", room.delivery, NOW + timedelta(hours=hour))
        room.collect(NOW + timedelta(hours=hour))
    assert len(room.receipts()) == 1


def test_strangers_are_kept_and_told_once(room: Room, caplog: pytest.LogCaptureFixture) -> None:
    """Events of a delivery that is not ours are kept, logged once, and make nothing."""
    room.edge.tell("ConsignmentAcceptance", archive_rows.identity("stranger"), NOW, act="x")
    for hour in range(5):
        room.collect(NOW + timedelta(hours=hour))
    assert len([record for record in caplog.records if "not ours" in record.message]) == 1
    assert room.receipts() == []


def test_a_claim_that_does_not_count_is_told(room: Room, caplog: pytest.LogCaptureFixture) -> None:
    """A handover of other bytes than the document's makes no receipt, and the log says why."""
    pressed(room, NOW)
    room.edge.tell("ContentHandover", room.delivery, NOW, act="a", **WHOLE | {"bytes_sent": "7"})
    room.collect(NOW)
    room.collect(NOW)
    assert [record.message for record in caplog.records] == [
        "event 2 of edge-1 does not count: the bytes handed over are not the document's"
    ]


def test_a_long_history_of_acts_costs_a_turn_nothing(room: Room) -> None:
    """With 100,000 acts behind it, a turn of collecting reads no more rows than with none."""
    pressed(room, NOW)
    room.edge.tell("ContentHandover", room.delivery, NOW, act="a", **WHOLE)
    room.collect(NOW)
    old = rfc3339(NOW - timedelta(days=300))
    with room.database.write() as connection:
        connection.execute(
            sa.text(
                "WITH RECURSIVE n(i) AS (SELECT 3 UNION ALL SELECT i + 1 FROM n WHERE i < 100000) INSERT INTO events"
                " SELECT 'edge-1', i, name, uri, CASE i WHEN 100000 THEN time ELSE :old END,"
                " 'delivery-' || i, contact, data, previous, digest, collected_at FROM n, events WHERE seq = 1"
            ),
            {"old": old},
        )
        connection.execute(edges.update().values(seq=100_000))
        ticks: list[int] = []
        raw = connection.connection.driver_connection
        assert raw is not None
        raw.set_progress_handler(lambda: ticks.append(1), 1000)  # and the pool has no other connection
    room.collect(NOW + timedelta(hours=2))
    assert len(ticks) < 20
