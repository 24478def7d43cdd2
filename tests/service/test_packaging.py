"""The package, as far as it can be judged without making it; ``make test-service`` makes and installs it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from printerd import cli

ROOT = Path(__file__).parents[2]
PACKAGING = ROOT / "packaging/deb"
SCRIPTS = ("build", "postinst", "prerm", "postrm")


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_is_posix_shell(name: str) -> None:
    """Maintainer scripts run where no other shell is installed; each can be read to its end, and ends at a failure."""
    script = PACKAGING / name
    assert re.search(r"^set -eu?$", script.read_text(), re.MULTILINE)
    done = subprocess.run(["dash", "-n", script], capture_output=True, text=True, timeout=20, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_an_upgrade_restarts_every_service() -> None:
    """The services that are restarted after an upgrade are all that ``serve``."""
    (listed,) = re.findall(r"^\s*for role in '' (.*); do$", (PACKAGING / "postinst").read_text(), re.MULTILINE)
    units = [
        unit for unit in (ROOT / "systemd/system").glob("*.service") if "invoice-printer serve" in unit.read_text()
    ]
    assert {"", *listed.split()} == {unit.stem.removeprefix("invoice-printer") for unit in units}


def test_the_manual_has_every_command() -> None:
    """invoice-printer(1) names all commands and what they take; roff, hyphens that can be copied."""
    page = subprocess.run(
        [sys.executable, PACKAGING / "manual.py"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env={"PYTHONPATH": str(ROOT), "COLUMNS": "80"},
    ).stdout
    root = typer.main.get_command(cli.app)
    groups = {name: getattr(command, "commands", {}) for name, command in getattr(root, "commands", {}).items()}
    named = {name for name, below in groups.items() if not below}
    named |= {f"{name} {child}" for name, below in groups.items() for child in below}
    sections = {words.replace("\\-", "-") for words in re.findall(r'^\.SS "(.*)"$', page, re.MULTILINE)}
    assert "queue ensure" in named <= sections
    assert "\n.B \\-\\-passphrase\\-file FILE\n" in page
