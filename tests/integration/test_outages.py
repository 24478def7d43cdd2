"""The world outside is away: the print queue of the firm does not notice, and everything is done afterwards."""

from __future__ import annotations

import signal
import threading
from datetime import date
from pathlib import Path

from tests import documents
from tests.authority import granted, make, reply, serving
from tests.cups import Cups
from tests.faults import FIRST_NUMBER, Books, batch, settle
from tests.instance import served
from tests.relay import Relay


def test_twenty_prints_leave_their_queue_while_authority_and_edge_are_away(cupsd: Cups, tmp_path: Path) -> None:
    """The authority refuses, the delivery server is silent: CUPS lets go of every job, and later all are mailed."""
    (tmp_path / "authority").mkdir()
    make(tmp_path / "authority")
    away, relay, alone = [True], Relay(), threading.Lock()

    def answer(request: bytes) -> tuple[int, dict[str, str], bytes]:
        with alone:  # openssl counts its serial numbers in a file
            return (503, {}, b"") if away else granted(reply(tmp_path / "authority", request))

    today = date.today()  # noqa: DTZ011 - a calendar day
    sales = [documents.another_sale(FIRST_NUMBER + n, today=today) for n in range(20)]
    files = [batch(tmp_path / f"{sale.invoice.number}.pdf", [sale]) for sale in sales]
    with (
        serving(answer) as url,
        served(tmp_path / "state", {"timestamp.url": url, "jobs.report_within": 0.5}, mailbox=relay) as instance,
    ):
        cupsd.add_queue("outage", instance.printer)
        edge = instance.role("receipts")
        edge.send_signal(signal.SIGSTOP)
        for printed in files:
            cupsd.send("outage", printed.file, printed.file.name)
        cupsd.finish("outage", 90)
        books = Books(instance.state)
        assert books.rows("SELECT count(*) FROM invoices WHERE state = 'archived'")[0][0] == 0
        away.clear()
        edge.send_signal(signal.SIGCONT)
        settle(instance, 90)
        archived = [row["number"] for row in books.rows("SELECT number FROM invoices WHERE state = 'archived'")]
        assert sorted(archived) == [sale.invoice.number for sale in sales]
        assert len(books.outbox("ACCEPTED")) == len(relay.envelopes) == 20
