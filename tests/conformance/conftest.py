"""A printer for each suite, as a client would find it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.listener.printing import RunningPrinter


@pytest.fixture
def printer(tmp_path: Path) -> Iterator[RunningPrinter]:
    running = RunningPrinter(tmp_path / "state", {}, {"report_within": 1.0, "console": "/"})
    yield running
    running.stop()
