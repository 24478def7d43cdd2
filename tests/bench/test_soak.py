"""The soak in small: what it promises is counted, and holds; what it takes is not looked at."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
SIZES = ("--accepted", "300", "--processed", "40", "--crowd", "400")
PROMISED = {
    "not processed to the end",
    "descriptors left, the whole service",
    "descriptors left, capture",
    "refused",
    "lost",
    "problems that verify --all finds",
}


def test_a_small_soak_keeps_its_promises(tmp_path: Path) -> None:
    """Hundreds of jobs beside hostile neighbours: none refused or lost, all archived, no descriptor left, clean."""
    told = tmp_path / "rows.json"
    folder = Path(tempfile.mkdtemp(prefix="soak-"))  # sockets lie in it, and their paths must be short
    command = [sys.executable, "-m", "bench", "soak", *SIZES, "--folder", str(folder), "--json", str(told)]
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stdout + done.stderr
    rows = {row["what"]: row for row in json.loads(told.read_text())["rows"]}
    assert {what for what, row in rows.items() if row["promise"]} == PROMISED
    assert all(rows[what]["reached"] for what in PROMISED)
    assert rows["lost"]["note"] == "of 700"  # 40 to begin with and 40, 4 times 30 of honest clients, 200 and 300
    neighbours = [row["note"] for row in rows.values() if row["what"].startswith("the same beside")]
    assert [note.partition(":")[0] for note in neighbours] == ["slowloris", "half-open", "garbage"]
    assert "400 open at the end, 400 in all" in rows["the same beside 400 who stop in the middle of a print"]["note"]
    folder.rmdir()  # it is empty
