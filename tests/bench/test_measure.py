"""What the bench counts, on figures that are known."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import load, measure
from bench.measure import Sample
from bench.peers import PEERS, Kind
from bench.table import Row


def test_memory_that_caches_took_is_none_that_jobs_leave() -> None:
    """The slope is that of the second half: a start that fills caches does not count, a steady leak does."""
    used = [10.0, 50.0, 60.0, 62.0, 64.0, 66.0]
    samples = [Sample(100 * n, {"capture": 40.0, "worker": figure}) for n, figure in enumerate(used)]
    assert measure.slopes(samples) == pytest.approx({"capture": 0.0, "worker": 0.02})


def test_a_job_is_lost_when_it_was_accepted_and_is_not_there(tmp_path: Path) -> None:
    """Refused and unanswered jobs are turned away, not lost."""
    files = [tmp_path / name for name in ("one", "two")]
    for file in files:
        file.write_text(file.name)
    sent = load.Sent(0.0, 2.0, [str(file) for file in files], refused=3, failed=4)
    assert (sent.lost({load.digest(files[0])}), sent.turned_away, sent.total, sent.rate) == (1, 7, 9, 1.0)


def test_a_peer_that_cannot_run_says_what_it_lacks() -> None:
    """A program or a file that is not here is named; one that has all it needs lacks nothing."""
    start = PEERS["cupsd"].start
    assert Kind(start, ("sh", "/etc/passwd")).lack() == ""
    assert Kind(start, ("sh", "/no/such/header.h")).lack() == "no /no/such/header.h"


@pytest.mark.parametrize(
    ("promise", "reached", "broken"), [(True, True, False), (True, False, True), (False, False, False)]
)
def test_only_a_promise_fails_the_run(promise: bool, reached: bool, broken: bool) -> None:
    """A target that this machine misses is told; a promise that is not kept is a failure."""
    assert Row("part", "what", 1, "jobs", reached=reached, promise=promise).broken is broken
