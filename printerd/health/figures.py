"""The metrics: what the findings and the rows amount to in numbers, in Prometheus' text format.

One rule: a number that cannot be had is left out, never guessed; that something is wrong stands in
``invoice_printer_check_ok``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from printerd import __version__
from printerd.errors import Failure
from printerd.health import rows, service
from printerd.health.findings import Finding
from printerd.health.site import Site
from printerd.model import InvoiceState, JobState
from printerd.storage import instance
from printerd.storage.schema import invoices, jobs

PREFIX = "invoice_printer_"
ROLES: Mapping[str, str] = {"printer": "capture", "worker": "worker", "edge": "receipts"}
"""The check that tells whether a role answers."""


def text(site: Site, findings: Sequence[Finding]) -> bytes:
    """All metrics: the worker's own, if it answers, and those that are made here."""
    registry = CollectorRegistry()
    site = site.once()
    registry.register(_Once(lambda: families(site, findings)))
    worker = b""
    with suppress(Failure):
        worker = site.worker().metrics.encode()
    return worker + generate_latest(registry)


class _Once(Collector):
    """A collector for one scrape; describing it costs nothing."""

    def __init__(self, collect: Callable[[], Iterable[Metric]]) -> None:
        self._collect = collect

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterable[Metric]:
        return self._collect()


def families(site: Site, findings: Sequence[Finding]) -> Iterator[Metric]:
    ok = {finding.name: finding.ok for finding in findings}
    up = {(role,): int(ok[check]) for check, role in ROLES.items() if check in ok}
    yield _gauge("up", "Whether a process answers as it should.", ("role",), up)
    checks = {(name,): int(fine) for name, fine in ok.items()}
    yield _gauge("check_ok", "The checks of /healthz: 1 is fine.", ("check",), checks)
    for part in (_of_rows, _of_edge, _of_machine):
        with suppress(Failure, OSError, ValueError):
            yield from part(site)


def _of_rows(site: Site) -> Iterator[Metric]:
    now = site.now()
    with site.database.read() as connection:
        info = {(__version__, str(instance.mode(connection))): 1}
        of_jobs = _states(JobState, rows.counts(connection, jobs))
        of_invoices = _states(InvoiceState, rows.counts(connection, invoices))
        due = {stage: rows.due(connection, work, now) for stage, work in rows.STAGES.items()}
        cursors = {(row.edge,): row.seq for row in rows.cursors(connection)}
    yield _gauge("info", "Version and mode of the instance.", ("version", "mode"), info)
    yield _gauge("jobs", "Print jobs by state.", ("state",), of_jobs)
    yield _gauge("invoices", "Invoices by state.", ("state",), of_invoices)
    yield _gauge("due_rows", "Work that is due, by stage.", ("stage",), {(s,): one.count for s, one in due.items()})
    ages = {(stage,): _seconds(one.since, now) for stage, one in due.items()}
    yield _gauge("oldest_due_seconds", "How long the oldest due work has waited, by stage.", ("stage",), ages)
    yield _gauge("collected_events", "The last event that was collected, by delivery server.", ("edge",), cursors)


def _of_edge(site: Site) -> Iterator[Metric]:
    told = site.edge()
    with site.database.read() as connection:
        seen = {row.edge: row.seq for row in rows.cursors(connection)}
    yield _gauge("mail_backlog", "Messages that wait for the mail relay.", (), {(): told.mail_backlog})
    lag = {(told.edge_id,): max(0, told.last_event - seen.get(told.edge_id, 0))}
    yield _gauge("events_lag", "Events of the delivery server that are not collected yet.", ("edge",), lag)


def _of_machine(site: Site) -> Iterator[Metric]:
    yield _gauge("disk_free_bytes", "Free space of the state folder.", (), {(): service.disk_free(site.root)})
    yield _gauge("disk_limit_bytes", "limits.free_space: below it no new job is taken.", (), {(): site.free_space})
    days = {(path.name,): service.days_left(path, site.now()) for path in service.certificates(site)}
    yield _gauge("certificate_days_left", "Days until a certificate in force ends.", ("certificate",), days)


def _states(known: Iterable[str], found: Mapping[str, int]) -> dict[tuple[str, ...], float]:
    """Every state has a number: a series that comes and goes cannot be watched."""
    return {(str(state),): found.get(state, 0) for state in known}


def _seconds(since: datetime | None, now: datetime) -> float:
    return max(0.0, (now - since).total_seconds()) if since else 0.0


def _gauge(name: str, words: str, labels: Sequence[str], values: Mapping[Any, float]) -> Metric:
    """One gauge; ``values`` by the tuple of its labels' values."""
    family = GaugeMetricFamily(PREFIX + name, words, labels=labels)
    for key, value in values.items():
        family.add_metric(key, value)
    return family
