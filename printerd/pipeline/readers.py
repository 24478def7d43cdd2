"""The readers' pool with the layouts in force: a template added to the folder counts from the next batch on."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path

from printerd.pipeline import reading
from printerd.pipeline.pools import Limits, Pool

SHIPPED = Path(__file__).with_name("templates")


class Readers:
    """One pool at a time; a replaced one is closed at the next change, when nobody works in it any more."""

    def __init__(self, templates: Path, *, size: int, limits: Limits, folder: Path) -> None:
        self._templates = templates
        self._size = size
        self._limits = limits
        self._folder = folder
        self._lock = threading.Lock()
        self._pools: list[Pool] = []
        self._seen: dict[str, str] = {}
        self._made = 0

    def pool(self) -> Pool:
        """The pool that knows the templates as they are now."""
        with self._lock:
            found = sources(self._templates)
            if found != self._seen or not self._pools:
                self._replace(found)
            return self._pools[-1]

    def _replace(self, found: dict[str, str]) -> None:
        self._made += 1
        arguments = {"templates": [{"name": name, "toml": text} for name, text in found.items()]}
        folder = self._folder / f"readers-{self._made}"
        self._pools.append(Pool(reading.start, arguments, size=self._size, limits=self._limits, folder=folder))
        self._seen = found
        while len(self._pools) > 2:
            self._pools.pop(0).close()

    def close(self) -> None:
        for pool in self._pools:
            pool.close()


def sources(folder: Path) -> dict[str, str]:
    """Every template by name: ours, and those of the instance, which replace ours of the same name."""
    files: Mapping[str, Path] = {
        file.stem: file for place in (SHIPPED, folder) for file in sorted(place.glob("*.toml"))
    }
    return {name: file.read_text("utf-8") for name, file in files.items()}
