"""How every process of ours speaks to the journal: one JSON object a line on standard error.

One rule: the message says what happened, in fixed words; what it happened to stands beside it under a name of its own
(``job``, ``invoice``, ``number``, …). Records keep to :mod:`logging`, with ``extra``; ids that hold for a whole piece
of work are bound with :func:`bound`. No value commands the terminal, begins a line, or is a secret that we know by
its form. On a terminal the same records are plain words.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, TextIO

from printerd.terminal import plain

QUIET = ("alembic", "dbos", "httpx", "httpcore", "pikepdf", "pyhanko", "pyhanko_certvalidator", "uvicorn.error")
"""Loggers of libraries that are heard from warnings on."""

SECRETS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"/(l|login)/[\w~.-]{16,}"), r"/\1/…"),  # links of customers and of the console
    (re.compile(r"\b(Bearer|Basic) +\S+", re.IGNORECASE), r"\1 …"),  # RFC 6750, RFC 7617
    (re.compile(r"(?<=://)[^/\s@:]*:[^/\s@]*(?=@)"), "…"),  # userinfo of a URL (RFC 3986 section 3.2.1)
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(-----END|$)", re.DOTALL), "…"),  # RFC 7468
)
"""Secrets by their form, and what is written in their place: a second wall, for none is meant to come here."""
NAMES = frozenset({"authorization", "passphrase", "password", "secret", "token"})
"""Names whose values are not written, whatever they are."""

_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
"""What every record has; whatever else it has was given with ``extra``."""
_bound: ContextVar[Mapping[str, Any]] = ContextVar("bound", default=MappingProxyType({}))


@contextmanager
def bound(**ids: Any) -> Iterator[None]:
    """Every record made inside carries these ids: ``with bound(job=job.id): …`` (this thread or task only)."""
    token = _bound.set({**_bound.get(), **ids})
    try:
        yield
    finally:
        _bound.reset(token)


def to_stderr(stream: TextIO | None = None) -> None:
    """Send the records of this process to standard error, which the journal takes up: JSON, or words on a terminal."""
    stream = stream or sys.stderr
    handler = logging.StreamHandler(stream)
    handler.setFormatter(Lines(words if stream.isatty() else as_json))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    for noisy in QUIET:
        logging.getLogger(noisy).setLevel(logging.WARNING)
    # The engine writes to standard error by itself unless its logger has a handler (dbos._logger.init_logger).
    logging.getLogger("dbos").addHandler(logging.NullHandler())


class Lines(logging.Formatter):
    """One record begins one line. Lines that follow are indented, so that none of them passes for a record."""

    def __init__(self, render: Callable[[dict[str, Any]], str]) -> None:
        super().__init__()
        self._render = render

    def format(self, record: logging.LogRecord) -> str:
        return plain(self._render(veil(self._facts(record)))).replace("\n", "\n    ")

    def _facts(self, record: logging.LogRecord) -> dict[str, Any]:
        """Time, level, logger and words; then what is bound, what was given, and the trace of a failure."""
        facts = {
            "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat().replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
            **_bound.get(),
            **{name: value for name, value in vars(record).items() if name not in _OWN},
        }
        return facts | ({"exception": self.formatException(record.exc_info)} if record.exc_info else {})


def veil(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Take out what has the form, or the name, of a secret."""
    return {name: "…" if name.lower() in NAMES else _veiled(value) for name, value in facts.items()}


def _veiled(value: Any) -> Any:
    if isinstance(value, Mapping):
        return veil({str(name): item for name, item in value.items()})
    if isinstance(value, list | tuple):
        return [_veiled(item) for item in value]
    if isinstance(value, int | float | None):
        return value
    text = str(value)
    for pattern, instead in SECRETS:
        text = pattern.sub(instead, text)
    return text


def as_json(facts: dict[str, Any]) -> str:
    """One object on one line."""
    return json.dumps(facts, ensure_ascii=False)


def words(facts: dict[str, Any]) -> str:
    """``12:34:56 info     job settled  number=12 user=marie``: the same for people who look on."""
    time, level, _, what = (facts.pop(name) for name in ("timestamp", "level", "logger", "event"))
    trace = facts.pop("exception", "")
    beside = " ".join(f"{name}={_word(value)}" for name, value in facts.items())
    return f"{time[11:19]} {level:8} {what}  {beside}".rstrip() + (f"\n{trace}" if trace else "")


def _word(value: Any) -> str:
    """A value as it is when it is one word, else as JSON has it: where it ends is seen."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if re.fullmatch(r"[^\s\"={}]+", text) else json.dumps(value, ensure_ascii=False)
