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
from collections.abc import Mapping, MutableMapping
from contextlib import AbstractContextManager
from typing import Any, TextIO

import structlog
from structlog.typing import Processor

from printerd.terminal import plain

QUIET = ("alembic", "dbos", "httpx", "httpcore", "pikepdf", "pyhanko", "pyhanko_certvalidator", "uvicorn.error")
"""Loggers of libraries that are heard from warnings on."""

SECRETS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"/(l|login)/[\w~.-]{16,}"), r"/\1/…"),  # links of customers and of the console
    (re.compile(r"\b(Bearer|Basic) +\S+", re.IGNORECASE), r"\1 …"),  # RFC 6750, RFC 7617
    (re.compile(r"(?<=://)[^/\s@]*:[^/\s@]*(?=@)"), "…"),  # userinfo of a URL (RFC 3986 section 3.2.1)
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(-----END|$)", re.DOTALL), "…"),  # RFC 7468
)
"""Secrets by their form, and what is written in their place: a second wall, for none is meant to come here."""
NAMES = frozenset({"authorization", "passphrase", "password", "secret", "token"})
"""Names whose values are not written, whatever they are."""

_FIRST = ("timestamp", "level", "logger", "event")


def bound(**ids: Any) -> AbstractContextManager[None]:
    """Every record made inside carries these ids: ``with bound(job=job.id): …`` (this thread or task only)."""
    return structlog.contextvars.bound_contextvars(**ids)


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


class Lines(structlog.stdlib.ProcessorFormatter):
    """One record begins one line. Lines that follow are indented, so that none of them passes for a record."""

    def __init__(self, renderer: Processor) -> None:
        super().__init__(
            foreign_pre_chain=[
                structlog.contextvars.merge_contextvars,
                structlog.stdlib.add_log_level,
                structlog.stdlib.add_logger_name,
                structlog.stdlib.ExtraAdder(),
                structlog.processors.TimeStamper(fmt="iso", utc=True),
            ],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                veil,
                renderer,
            ],
        )

    def format(self, record: logging.LogRecord) -> str:
        return plain(super().format(record)).replace("\n", "\n    ")


def veil(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
    """Take out what has the form, or the name, of a secret."""
    return {name: "…" if name.lower() in NAMES else _veiled(value) for name, value in event.items()}


def _veiled(value: Any) -> Any:
    if isinstance(value, Mapping):
        return veil(None, "", dict(value))
    if isinstance(value, list | tuple):
        return [_veiled(item) for item in value]
    if isinstance(value, int | float | None):
        return value
    text = str(value)
    for pattern, instead in SECRETS:
        text = pattern.sub(instead, text)
    return text


def as_json(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> str:
    """One object on one line, the time first, the rest as it was given."""
    ordered = {name: event.pop(name) for name in _FIRST if name in event} | dict(event)
    return json.dumps(ordered, ensure_ascii=False)


def words(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> str:
    """``12:34:56 info    job settled  number=12 user=marie``: the same for people who look on."""
    time, level, trace = event.pop("timestamp", "")[11:19], event.pop("level", ""), event.pop("exception", "")
    what, _ = event.pop("event", ""), event.pop("logger", "")
    beside = " ".join(f"{name}={_word(value)}" for name, value in event.items())
    return f"{time} {level:8} {what}  {beside}".rstrip() + (f"\n{trace}" if trace else "")


def _word(value: Any) -> str:
    """A value as it is when it is one word, else as JSON has it: where it ends is seen."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if re.fullmatch(r"[^\s\"={}]+", text) else json.dumps(value, ensure_ascii=False)
