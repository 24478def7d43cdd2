"""What the processes of an instance agree on before they work."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

from printerd.config import Settings
from printerd.storage import migrations
from printerd.storage.database import Database
from printerd.supervisor import Layout, prepare


def test_roles_that_start_at_once_share_one_secret(tmp_path: Path) -> None:
    """Each role prepares the instance by itself; whoever is first, all of them work with one schema and one secret."""
    layout, settings, start = Layout(tmp_path), Settings(), Barrier(8)
    layout.make()

    def role(_: int) -> str:
        start.wait()
        prepare(layout, settings)
        return layout.secret.read_text()

    with ThreadPoolExecutor(8) as roles:
        assert len(set(roles.map(role, range(8)))) == 1
    assert [file.name for file in layout.keys.iterdir()] == [layout.secret.name]
    assert layout.secret.stat().st_mode & 0o777 == 0o600
    database = Database(layout.database_url(settings))
    assert migrations.current(database) == migrations.HEAD
    database.close()
