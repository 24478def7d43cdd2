"""The facts of ``small_disk.py``, in a mount namespace: anybody may mount there, and the mounts end with it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

FACTS = Path(__file__).with_name("small_disk.py")


def test_a_disk_of_which_little_is_left(tmp_path: Path) -> None:
    """Below the limit no job is taken, a full disk loses nothing, and thirty large jobs leave free what must be."""
    namespace = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"])]
    facts = ["-q", "-p", "no:cacheprovider", f"--basetemp={tmp_path / 'in'}", str(FACTS)]
    done = subprocess.run(
        [*namespace, sys.executable, "-m", "pytest", *facts], capture_output=True, text=True, timeout=400, check=False
    )
    assert done.returncode == 0 and "3 passed" in done.stdout, done.stdout + done.stderr
