"""The bench runs, and what it reports can be read by people and by programs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_smallest_run_reports(tmp_path: Path) -> None:
    """One print on an idle service: its row has figure, target and floor, its steps add up, nothing is left behind."""
    rows = tmp_path / "rows.json"
    folder = Path(tempfile.mkdtemp(prefix="bench-"))  # sockets lie in it, and their paths must be short
    command = [
        sys.executable,
        "-m",
        "bench",
        "idle",
        "--prints",
        "1",
        "--seal",
        "B-B",
        "--folder",
        str(folder),
        "--json",
        str(rows),
    ]
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert "print → archived" in done.stdout
    whole, *steps = json.loads(rows.read_text())["rows"]
    assert whole["unit"] == "ms"
    assert whole["target"]
    assert whole["ratio"] == whole["figure"] / whole["floor"]
    assert abs(sum(step["figure"] for step in steps) - whole["figure"]) < 1
    folder.rmdir()  # it is empty
