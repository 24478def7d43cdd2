"""The readers' pool with the layouts in force: a template added to the folder counts from the next batch on.

One rule: templates that cannot be read change nothing. The last good set goes
on, and the fault is logged each time it is seen anew.
"""

from __future__ import annotations

import logging
import threading
from pathlib import Path

from printerd.errors import ConfigurationError
from printerd.pipeline import layouts
from printerd.pipeline.pools import Limits, Pool

START = "printerd.pipeline.reading:start"
"""By name: the PDF libraries are loaded in the readers and nowhere else."""
Sources = list[dict[str, str]]

log = logging.getLogger(__name__)


class Readers:
    """One pool at a time; a replaced one is closed at the next change, when nobody works in it any more.

    Raises :class:`ConfigurationError` when the templates cannot be read at the start.
    """

    def __init__(self, templates: Path, *, size: int, limits: Limits, folder: Path) -> None:
        self._templates = templates
        self._size = size
        self._limits = limits
        self._folder = folder
        self._lock = threading.Lock()
        self._made = 0
        self._fault = ""
        self._seen = layouts.templates(templates)
        layouts.read_templates(self._seen)
        self._pools = [self._make(self._seen)]

    def pool(self) -> Pool:
        """The pool that knows the templates as they are now, or as they were when they could be read last."""
        with self._lock:
            try:
                self._look()
            except ConfigurationError as error:
                fault = " ".join(error.lines())
                if fault != self._fault:
                    log.error("templates left as they were: %s", fault)
                self._fault = fault
            return self._pools[-1]

    def _look(self) -> None:
        found = layouts.templates(self._templates)
        if found != self._seen:
            self._seen, self._fault = found, ""
            layouts.read_templates(found)
            self._change(found)

    def _change(self, found: Sources) -> None:
        self._pools.append(self._make(found))
        while len(self._pools) > 2:
            self._pools.pop(0).close()

    def _make(self, found: Sources) -> Pool:
        self._made += 1
        folder = self._folder / f"readers-{self._made}"
        return Pool(START, {"templates": found}, size=self._size, limits=self._limits, folder=folder)

    def close(self) -> None:
        for pool in self._pools:
            pool.close()
