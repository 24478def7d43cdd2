"""What people type: quick help, errors in three lines, exit codes that scripts can use, JSON for lists."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from printerd import cli
from printerd.model import Blob, Digest, Ticket
from printerd.storage import jobs, migrations
from printerd.storage.database import Database

ISSUER = '[issuers.mill]\nname = "Au bon moulin"\nemail = "accounts@mill.example"\n'
CUSTOMERS = (
    "code,name,vat_id,language,route,consent,consent_date,consent_source,contacts\n"
    "C1,Épicerie,,fr,mail,express,2026-01-05,form,Anne <anne@epicerie.example>\n"
    "C2,Grocer,,en,paper,refused,2026-01-05,letter,\n"
)
LISTS = (("jobs",), ("invoices",), ("customers",))


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "printerd", *words], capture_output=True, text=True, check=False)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """An instance that was served once and is empty."""
    database = Database(f"sqlite:///{tmp_path / 'printerd.db'}")
    migrations.upgrade(database)
    database.close()
    return tmp_path


def here(state: Path, *words: str) -> str:
    """Run a command in this process; its output."""
    done = CliRunner().invoke(cli.app, [*words, "--state", str(state)])
    assert done.exit_code == 0, f"{done.output}{done.exception!r}"
    return done.stdout


def test_every_command_explains_itself() -> None:
    """--help works at every level and names every command."""
    words = run("--help").stdout
    for name in ("serve", "demo", "print", "go-live", "verify", "jobs", "invoices", "customers", "console", "config"):
        assert name in words
    assert "correct" in run("invoices", "--help").stdout
    assert run("--version").stdout.startswith("invoice-printer ")


@pytest.mark.parametrize("words", LISTS)
def test_an_empty_list_says_what_to_do(state: Path, words: tuple[str, ...]) -> None:
    """An empty list is a sentence for people and [] for scripts."""
    assert here(state, *words).count("\n") == 1
    assert json.loads(here(state, *words, "--json")) == []


def test_a_folder_without_an_instance_is_told(tmp_path: Path) -> None:
    """A wrong --state says what is wrong and what to do, with the exit status of a wrong setting."""
    done = run("jobs", "--state", str(tmp_path))
    assert done.returncode == 78
    assert done.stdout == ""
    assert 2 <= len(done.stderr.splitlines()) <= 3
    assert "invoice-printer serve" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("verify",), 2),
        (("verify", "missing.pdf"), 2),
        (("invoices", "show", "FA-1"), 2),
        (("jobs", "show", "7"), 2),
        (("print", __file__), 2),
        (("invoices", "release", "FA-1", "--reason", "seen"), 2),
        (("serve", "--only", "nobody"), 2),
        (("jobs", "--set", "nope=1"), 78),
        (("config", "check", "--set", "listen.ipp=8631"), 78),
    ],
)
def test_a_failure_is_short_and_has_its_exit_status(state: Path, words: tuple[str, ...], code: int) -> None:
    """No traceback, at most a few lines, nothing on standard output, and a status by kind of failure."""
    done = run(*words, "--state", str(state))
    assert (done.returncode, done.stdout) == (code, "")
    assert 1 <= len(done.stderr.strip().splitlines()) <= 4
    assert "Traceback" not in done.stderr


def test_customers_are_imported_after_a_dry_run(state: Path) -> None:
    """--dry-run shows the difference and changes nothing; the import is an act in the ledger."""
    file = state / "customers.csv"
    file.write_text(CUSTOMERS)
    assert "Customers that would change: 2" in here(state, "customers", "import", str(file), "--dry-run")
    assert json.loads(here(state, "customers", "--json")) == []
    assert "Customers that changed: 2" in here(state, "customers", "import", str(file))
    assert "Nothing changes" in here(state, "customers", "import", str(file))
    first, second = json.loads(here(state, "customers", "--json"))
    assert (first["contacts"][0]["email"], second["route"]) == ("anne@epicerie.example", "paper")
    with Database(f"sqlite:///{state / 'printerd.db'}").read() as connection:
        kinds = connection.exec_driver_sql("SELECT kind FROM ledger").scalars().all()
    assert kinds == ["act.customers"]


def test_a_wrong_customer_file_names_line_and_column(state: Path) -> None:
    """All mistakes at once, by line and column; nothing is imported."""
    file = state / "customers.csv"
    file.write_text(CUSTOMERS.replace("anne@epicerie.example", "anne").replace(",paper,", ",pigeon,"))
    done = run("customers", "import", str(file), "--state", str(state))
    assert done.returncode == 2
    assert "2" in done.stderr
    assert "3" in done.stderr
    assert "pigeon" in done.stderr
    assert json.loads(here(state, "customers", "--json")) == []


def test_settings_are_written_checked_and_shown(tmp_path: Path) -> None:
    """config init writes a private file once; check says it is in order; show has every key, and JSON for scripts."""
    assert "Written" in here(tmp_path, "config", "init")
    file = tmp_path / "config.toml"
    assert file.stat().st_mode & 0o077 == 0
    assert run("config", "init", "--state", str(tmp_path)).returncode == 2
    assert "No issuer" in here(tmp_path, "config", "check")
    file.write_text(ISSUER)
    assert "No issuer" not in here(tmp_path, "config", "check")
    assert "issuers.mill.name" in here(tmp_path, "config", "show")
    shown = json.loads(here(tmp_path, "config", "show", "--json", "--set", "smtp.port=2525"))
    assert (shown["smtp"]["port"], shown["issuers"]["mill"]["name"]) == (2525, "Au bon moulin")


def test_going_live_happens_once(state: Path) -> None:
    """A new instance is in rehearsal; go-live ends it and says so; a second one is refused."""
    assert "live" in here(state, "go-live")
    assert run("go-live", "--state", str(state)).returncode == 2


def test_an_empty_archive_verifies(state: Path) -> None:
    """verify --all on a fresh instance is clean."""
    assert run("verify", "--all", "--state", str(state)).returncode == 0


HOSTILE = "\x1b]0;owned\x07\x1b[2J\x9b1mFA-1\u202efdp.exe\r\nERROR printerd forged"


def test_what_a_sender_wrote_commands_no_terminal(state: Path) -> None:
    """Titles and users come from whoever prints: in tables, facts and JSON their control characters are text."""
    database = Database(f"sqlite:///{state / 'printerd.db'}")
    digest = Digest("0" * 64)
    ticket = Ticket("p", user=HOSTILE, host="localhost", title=HOSTILE, media_type="application/pdf", source="ipp")
    with database.write() as connection:
        jobs.take(connection, [jobs.Arrival(ticket, Blob(digest, 1, "application/pdf"))], datetime.now(UTC))
    database.close()
    for words in (("jobs",), ("jobs", "show", "1"), ("jobs", "--json"), ("jobs", "show", "1", "--json")):
        told = here(state, *words)
        assert not [c for c in told if not c.isprintable() and c != "\n"]
        assert "\\u001b[2J\\u009b1mFA-1\\u202efdp.exe" in told
    assert json.loads(here(state, "jobs", "--json"))[0]["title"] == HOSTILE


def test_a_login_link_needs_a_running_service(state: Path) -> None:
    """console open without a service says to start it."""
    done = run("console", "open", "--state", str(state))
    assert (done.returncode, "invoice-printer serve" in done.stderr) == (2, True)


def test_help_needs_no_heavy_library() -> None:
    """Help is quick because the command line loads engine, PDF and web libraries only where they are needed."""
    code = "import sys, printerd.cli; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    heavy = {"dbos", "sqlalchemy", "pikepdf", "pypdfium2", "uvicorn", "fastapi", "pydantic", "reportlab", "pyhanko"}
    assert heavy.isdisjoint(loaded)
    assert cli.app.info.name == "invoice-printer"


def test_capture_loads_neither_engine_nor_pdf_library() -> None:
    """Capture answers two seconds after its start, because it imports no engine, no migration and no PDF library."""
    code = (
        "import sys, printerd.roles, printerd.intake, printerd.listener.http, printerd.console.app; print(*sys.modules)"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert {"dbos", "alembic", "pikepdf", "pypdfium2", "pyhanko", "reportlab"}.isdisjoint(loaded)


def test_the_worker_loads_no_pdf_library() -> None:
    """The worker has the database and opens no document: what would read one is not even loaded in it."""
    code = "import sys, printerd.roles, printerd.worker, printerd.pipeline.workflow, printerd.delivery.workflow"
    command = [sys.executable, "-c", f"{code}; print(*sys.modules)"]
    loaded = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert {"pikepdf", "pypdfium2", "pypdf", "pyhanko", "reportlab", "PIL"}.isdisjoint(loaded)
