"""What the processes of an instance agree on before they work."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from threading import Barrier

import pytest

from printerd import supervisor
from printerd.config import Listen, Receipts, Settings
from printerd.errors import ConfigurationError
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


def refused() -> None:
    raise ConfigurationError("The database is newer than this program.", remedy="Install the newer program.")


def test_what_hinders_the_start_is_told_once_and_ends_it(capfd: pytest.CaptureFixture[str]) -> None:
    """The instance is prepared in a process of its own; what that refuses ends the service with the same code."""
    with pytest.raises(SystemExit) as ended:
        supervisor._apart(refused)
    assert ended.value.code == ConfigurationError.exit_code
    assert capfd.readouterr().err == "The database is newer than this program.\nInstall the newer program.\n"


def test_the_supervisor_keeps_no_library_of_others() -> None:
    """It lives as long as the service: neither database nor web libraries stay in its memory."""
    code = "import sys, printerd.cli, printerd.logs, printerd.config, printerd.supervisor; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert {"sqlalchemy", "alembic", "starlette", "uvicorn", "dbos", "httpx"}.isdisjoint(loaded)


def test_a_state_folder_whose_path_is_too_long_is_refused_at_once(tmp_path: Path) -> None:
    """A socket's path holds 107 bytes: who is beyond that is told so, and nothing is made."""
    root = tmp_path / ("d" * 100)
    with pytest.raises(ConfigurationError, match="too long"):
        Layout(root).make()
    assert not root.exists()


@pytest.mark.parametrize("opened", [{}, {"raw": "127.0.0.1:0", "lpd": "127.0.0.1:0"}])
def test_doors_without_an_address_are_closed(tmp_path: Path, opened: dict[str, str]) -> None:
    """Raw printing and LPD are off until somebody names an address; then capture inherits their sockets."""
    settings = Settings(
        listen=Listen(ipp="127.0.0.1:0", health="", **opened),
        receipts=Receipts(public="127.0.0.1:0", api="127.0.0.1:0"),
    )
    one = supervisor.Supervisor(Layout(tmp_path), settings, (), ("capture", "receipts"))
    with ExitStack() as sockets:
        one._bind()
        for listening in one._sockets.values():
            sockets.enter_context(listening)
        command, inherited = one._command("capture")
        assert set(one._sockets) == {"ipp", "public", "api", *opened}
        named = {word.partition("=")[0] for word in command if "fd://" in word}
        assert named == {"listen.ipp", *(f"listen.{door}" for door in opened)}
        assert inherited == [one._sockets[name].fileno() for name in ("ipp", *opened)]
