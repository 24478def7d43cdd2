"""Templates that cannot be read change nothing, whatever lies in their folder."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from printerd.pipeline import readers
from printerd.pipeline.pools import Limits
from printerd.pipeline.readers import Readers

GOOD = "locale='fr_FR'\nfingerprint.all=['mine']"


class Stub:
    """Stands in for a pool: which templates it was made with is all that counts here."""

    def __init__(self, _start: str, arguments: dict[str, list[dict[str, str]]], **_: object) -> None:
        self.names = [source["name"] for source in arguments["templates"]]

    def close(self) -> None:
        self.names = []


@pytest.fixture
def watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], list[str]]]:
    """The names of the templates in force, looked up anew each time."""
    monkeypatch.setattr(readers, "Pool", Stub)
    made = Readers(tmp_path, size=1, limits=Limits(), folder=tmp_path / "run")
    yield lambda: made.pool().names  # type: ignore[attr-defined]
    made.close()


def big(path: Path) -> None:
    path.write_text(f"{GOOD}\n#{'x' * (1 << 20)}")


@pytest.mark.parametrize(
    "lay",
    [
        lambda path: path.write_bytes("# modèle".encode("latin-1")),
        lambda path: path.mkdir(),
        lambda path: path.symlink_to("/nowhere"),
        lambda path: path.symlink_to("/dev/zero"),
        os.mkfifo,
        big,
        lambda path: path.write_text("fingerprint.all=3"),
    ],
    ids=["latin-1", "folder", "dangling", "device", "pipe", "big", "wrong"],
)
def test_what_is_no_template_changes_nothing(
    watched: Callable[[], list[str]],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    lay: Callable[[Path], object],
) -> None:
    """The last good set goes on, the log says once which file is meant, and mending it is enough."""
    before = watched()
    lay(tmp_path / "firm.toml")
    with caplog.at_level(logging.ERROR):
        assert [watched() for _ in range(3)] == [before] * 3
    assert [record.getMessage().count("templates/firm.toml") for record in caplog.records] == [1]
    path = tmp_path / "firm.toml"
    path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
    path.write_text(GOOD)
    assert watched() == [*before, "firm"]
