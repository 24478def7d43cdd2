"""A printer for each test that asks for one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from .printing import RunningPrinter


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., RunningPrinter]]:
    """Start printers with settings of their own; all of them end with the test."""
    numbers = count(1)
    with ExitStack() as stack:

        def begin(*, claims: dict[str, Any] | None = None, doors: Any = None, **settings: Any) -> RunningPrinter:
            folder = tmp_path / f"state-{next(numbers)}"
            printer = RunningPrinter(folder, settings, claims or {}, **({"doors": doors} if doors else {}))
            stack.callback(printer.stop)
            return printer

        yield begin


@pytest.fixture
def printer(start: Callable[..., RunningPrinter]) -> RunningPrinter:
    return start()
