"""Forty kills in one run: what somebody was told is there, once."""

from __future__ import annotations

import time
from pathlib import Path

from tests.faults import TARGETS, run
from tests.relay import PHASES


def test_forty_kills_lose_nothing_and_send_nothing_twice(tmp_path: Path) -> None:
    """Supervisor, capture, worker, readers, sealers and mailer die, the mailer in every SMTP phase: the account holds.

    Every acknowledged job is archived once; every mail was taken at most once, or is in doubt and resent by a person;
    every file that a customer has has its receipt; the archive verifies; no process is left.
    """
    report = run(tmp_path / "state", kills=40, invoices=60, seed=int(time.time()))
    print(*report.lines(), sep="\n")
    assert report.account.problems == []
    assert sum(report.kills.values()) == 40
    assert all(report.kills[target] for target in TARGETS)
    assert all(report.phases[phase] for phase in PHASES)
    assert report.account.figures["invoices archived"] == 60
