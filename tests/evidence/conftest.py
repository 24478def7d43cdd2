"""Keys made once for the whole run, a database and blobs for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from printerd.evidence import keys, timestamp
from printerd.evidence.sign import Sealer
from printerd.storage.blobs import Blobs
from printerd.storage.database import SEARCH_TABLE, Database
from printerd.storage.schema import metadata

FIRM = "Atelier Dupont & Fils"


@pytest.fixture(scope="session")
def key_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``STATE/keys`` of a firm: a seal and the built-in timestamp authority."""
    folder = tmp_path_factory.mktemp("state") / "keys"
    keys.seal(folder, FIRM)
    keys.authority(folder, FIRM)
    return folder


@pytest.fixture(autouse=True)
def small_keys(key_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The firm has its keys of the proper size; whatever else a test needs is made in a fifth of the time."""
    monkeypatch.setattr(keys, "KEY_BITS", 2048)


@pytest.fixture(scope="session")
def sealer(key_folder: Path) -> Sealer:
    return Sealer(keys.seal(key_folder, FIRM), timestamp.connect("local:", key_folder, FIRM))


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{tmp_path / 'printerd.db'}")
    metadata.create_all(database.engine)
    with database.write() as connection:
        connection.exec_driver_sql(SEARCH_TABLE)
    yield database
    database.close()


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return Blobs(tmp_path)
