"""The fixtures of this folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from printerd.health.site import Site

from .site import whole


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = whole(tmp_path)
    yield made
    made.database.close()
