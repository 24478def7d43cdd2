"""What the worker counts, and the socket over which it tells.

One rule: counting costs microseconds and can fail for no reason of its own: numbers stay in the worker's memory, and
whoever wants them asks. Nothing is written into the state folder, whose disk may be full (a counter in a mapped file
would then kill its process).
"""

from __future__ import annotations

import contextlib
import json
import logging
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from printerd.errors import Failure, TransientError

ANSWER_LIMIT = 1 << 20
"""Bytes that are read of an answer."""
PATIENCE = 2.0
"""Seconds that one who asks may take to listen."""

AUTHORITY = "The timestamp authority"
"""How every failure of an authority begins: counters tell it from others by that, and so do those who read rows."""

REGISTRY = CollectorRegistry()
STAGE_SECONDS = Histogram(
    "invoice_printer_stage_seconds",
    "How long a batch was in a stage.",
    ["stage"],
    registry=REGISTRY,
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300),
)
FAILURES = Counter(
    "invoice_printer_stage_failures",
    "Attempts that failed, by stage and cause: the class of the failure, timestamp for the authority, bug for ours.",
    ["stage", "cause"],
    registry=REGISTRY,
)
POOL_RESTARTS = Counter(
    "invoice_printer_pool_restarts",
    "Processes of a pool that died, hung or babbled, and were replaced.",
    ["pool"],
    registry=REGISTRY,
)

log = logging.getLogger(__name__)


def failed(stage: str, error: Exception) -> None:
    """Count a failed attempt."""
    FAILURES.labels(stage, _cause(error)).inc()


def _cause(error: Exception) -> str:
    if not isinstance(error, Failure):
        return "bug"
    return "timestamp" if error.what.startswith(AUTHORITY) else type(error).__name__


@dataclass(frozen=True, slots=True)
class Told:
    """The worker's answer: its metrics in Prometheus' text format, and how old its oldest batch is in each stage."""

    metrics: str
    batches: Mapping[str, float]


def tell(place: Path, batches: Callable[[], Mapping[str, float]]) -> None:
    """Answer at a socket from now on, in a thread of its own. Where there is no place for one, nobody is told."""
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        place.unlink(missing_ok=True)
        listening.bind(str(place))
        listening.listen()
    except OSError as error:
        listening.close()
        log.warning("no metrics of the worker: %s", error.strerror, extra={"place": str(place)})
        return
    threading.Thread(target=_answer_all, args=(listening, batches), name="metrics", daemon=True).start()


def _answer_all(listening: socket.socket, batches: Callable[[], Mapping[str, float]]) -> None:
    while True:
        connection, _ = listening.accept()
        with connection, contextlib.suppress(OSError):
            connection.settimeout(PATIENCE)
            told = {"metrics": generate_latest(REGISTRY).decode(), "batches": dict(batches())}
            connection.sendall(json.dumps(told).encode())


def ask(place: Path, seconds: float) -> Told:
    """What the worker says. :class:`TransientError` when it says nothing within ``seconds``."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
            asking.settimeout(seconds)
            asking.connect(str(place))
            told = json.loads(_whole(asking))
            return Told(told["metrics"], told["batches"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TransientError(f"The worker does not answer ({error or type(error).__name__}).") from error


def _whole(asking: socket.socket) -> bytes:
    parts = bytearray()
    while part := asking.recv(65536):
        parts += part
        if len(parts) > ANSWER_LIMIT:
            raise ValueError("more than its metrics")
    return bytes(parts)
