"""The history of the bench is one that the service could have left itself."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime
from pathlib import Path

from bench import history, load
from bench.documents import Book
from bench.instance import served


def test_a_written_history_is_clean_and_can_be_asked_about(tmp_path: Path) -> None:
    """Jobs that were written and not printed: ``verify --all`` finds nothing, and printing goes on behind them."""
    book = Book(tmp_path / "printed", datetime.now(UTC).date())
    with tempfile.TemporaryDirectory(prefix="history-") as folder, served(Path(folder), "state") as ours:
        load.send(ours.printer, book.small(1), 1)
        ours.wait_archived(1)
        ours.rest()
        history.grow(ours, 30)
        assert (ours.archived(), ours.last_number()) == (31, 31)
        problems, told = ours.problems()
        assert problems == 0, told
        assert "31 jobs, 31 invoices, 31 sealed invoices" in told
        assert load.send(ours.printer, book.small(1), 1).accepted
        ours.wait_archived(32)
        assert history.asked_all(ours).keys() == history.QUESTIONS.keys()  # each was answered well, or it had raised
