"""Health and metrics over HTTP: true, quick, for monitors only, whoever asks and however."""

from __future__ import annotations

import http.client
import json
import math
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from printerd import metrics
from printerd.delivery.contract import Status
from printerd.errors import TransientError
from printerd.health import server
from printerd.health.findings import Finding, Level
from printerd.health.server import Server, Watch, health, known
from printerd.health.site import Site
from printerd.metrics import Told
from printerd.storage import schema
from printerd.storage.blobs import Blobs
from tests import archive_rows

from .test_service import closed_port


@dataclass
class Running:
    """A server over a site whose parts a test may replace."""

    port: int
    asked: list[float]

    def get(self, path: str, method: str = "GET", **headers: str) -> tuple[int, http.client.HTTPMessage, bytes]:
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)) as connection:
            connection.request(method, path, headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()


@pytest.fixture
def running(site: Site, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    monkeypatch.setattr(server, "LONGEST", 1.0)
    asked: list[float] = []

    def edge() -> Status:
        asked.append(time.monotonic())
        return Status("edge-1", 3, "", 9, "1")

    with site.database.write() as connection:
        job = archive_rows.job(connection)
        archive_rows.invoice(connection, Blobs(site.root), job)
        archive_rows.job(connection, 2, state="received", at=archive_rows.NOW - timedelta(minutes=5))
        connection.execute(schema.edges.insert().values(edge="edge-1", seq=4, head="0" * 64, alert=""))
    watched = replace(site, edge=edge, worker=lambda: Told(OWN, {}), printer=f"127.0.0.1:{closed_port()}")
    serving = Server(socket.create_server(("127.0.0.1", 0)), Watch(watched), ("print.moulin.example",), lambda: None)
    thread = threading.Thread(target=serving.serve_forever, args=(0.02,))
    thread.start()
    yield Running(serving.socket.getsockname()[1], asked)
    serving.shutdown()
    thread.join()
    serving.server_close()


OWN = "# HELP own A number of the worker.\n# TYPE own gauge\nown 7.0\n"


def test_healthz_says_503_and_what_to_do(running: Running) -> None:
    """One fault makes it 503; the body names every check, and for the fault what is wrong and the remedy."""
    status, headers, body = running.get("/healthz")
    told = json.loads(body)
    wrong = [check for check in told["checks"] if not check["ok"]]
    assert (status, told["status"]) == (503, "failing")
    assert [check["name"] for check in wrong] == ["printer"]
    assert "does not answer" in wrong[0]["what"] and "journalctl" in wrong[0]["remedy"]
    assert (headers["Content-Type"], headers["Cache-Control"]) == ("application/json", "no-store")


def test_a_warning_is_no_fault() -> None:
    """200 while nothing is to be mended, whatever is worth knowing."""
    status, body = health([Finding("a", Level.FINE, "x"), Finding("b", Level.WARNING, "y", "", "z")])
    assert (status, json.loads(body)["status"]) == (200, "ok")
    assert json.loads(body)["checks"][1] == {"name": "b", "ok": True, "level": "warning", "what": "y", "remedy": "z"}


def test_metrics_parse_and_tell_what_the_rows_tell(running: Running) -> None:
    """Prometheus' own parser reads them: the worker's numbers beside ours, each state with a number."""
    status, headers, body = running.get("/metrics")
    assert status == 200 and headers["Content-Type"].startswith("text/plain")
    found = {
        (sample.name.removeprefix("invoice_printer_"), *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(body.decode())
        for sample in family.samples
    }
    assert found["own",] == 7
    assert (found["jobs", "done"], found["jobs", "received"], found["jobs", "held"]) == (1, 1, 0)
    assert found["invoices", "archived"] == 1
    assert (found["due_rows", "process"], found["oldest_due_seconds", "process"]) == (1, 300)
    assert (found["mail_backlog",], found["events_lag", "edge-1"]) == (3, 5)
    assert (found["up", "capture"], found["up", "worker"], found["check_ok", "printer"]) == (0, 1, 0)
    assert found["disk_free_bytes",] > found["disk_limit_bytes",] == 1
    assert not any(math.isnan(value) for value in found.values())


def test_every_metric_is_documented(site: Site) -> None:
    """The table of docs/operations.md has exactly the metrics that there are."""
    watched = replace(site, worker=lambda: Told(generate_latest(metrics.REGISTRY).decode(), {}))
    metrics.STAGE_SECONDS.labels("seal").observe(1)
    told = {family.name for family in text_string_to_metric_families(Watch(watched).metrics().decode())}
    page = (Path(__file__).parents[2] / "docs" / "operations.md").read_text("utf-8")
    section = page.partition("\n## Metrics\n")[2].partition("\n## ")[0]
    cells = [line.split(" | ")[0] for line in section.splitlines() if line.startswith("| `")]
    documented = {
        f"invoice_printer_{name.removesuffix('_total')}" for cell in cells for name in re.findall(r"`(\w+)`", cell)
    }
    assert {name for name in told if not name.endswith("_created")} == documented


def test_numbers_that_cannot_be_had_are_left_out(site: Site) -> None:
    """With worker and edge away the rest is told, and that they are away."""

    def away() -> Told:
        raise TransientError("away")

    watch = Watch(replace(site, worker=away, edge=lambda: away()))  # type: ignore[arg-type, return-value]
    names = {family.name for family in text_string_to_metric_families(watch.metrics().decode())}
    assert "invoice_printer_jobs" in names and "invoice_printer_mail_backlog" not in names
    up = 'invoice_printer_up{role="worker"} 0.0'
    assert up in watch.metrics().decode()


def test_many_who_ask_cost_one_look(running: Running) -> None:
    """Two hundred requests in a second are answered; the delivery server is asked about once a second."""
    began = time.monotonic()
    statuses: list[int] = []

    def ask() -> None:
        statuses.extend(running.get("/healthz")[0] for _ in range(20))

    threads = [threading.Thread(target=ask) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [503] * 200
    assert len(running.asked) <= time.monotonic() - began + 2


def test_who_dawdles_is_cut_and_holds_nobody_up(running: Running) -> None:
    """As many silent connections as are served at a time are closed within the limit; then the next is answered."""
    slow = [socket.create_connection(("127.0.0.1", running.port)) for _ in range(server.MOST)]
    for one in slow:
        one.sendall(b"GET /healthz HT")
    assert running.get("/healthz")[0] == 503
    for one in slow:
        one.settimeout(5)
        assert one.recv(100) == b""
        one.close()


def test_one_who_drips_is_cut_too(running: Running) -> None:
    """A byte now and then keeps no connection open beyond the limit."""
    with socket.create_connection(("127.0.0.1", running.port)) as one, pytest.raises(OSError):
        for _ in range(20):
            one.sendall(b"x")
            time.sleep(0.2)


@pytest.mark.parametrize(
    ("host", "ours"),
    [
        ("127.0.0.1:8635", True),
        ("[::1]:8635", True),
        ("::1", False),
        ("localhost", True),
        ("PRINT.moulin.example:8635", True),
        ("evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("", True),
    ],
)
def test_a_foreign_name_is_refused(host: str, ours: bool) -> None:
    """A page that was led here by a foreign name (DNS rebinding) reads nothing."""
    assert known(host, ("print.moulin.example",)) is ours


def test_other_paths_methods_and_names(running: Running) -> None:
    """HEAD has no body, other paths are not found, other methods not taken, foreign names misdirected."""
    assert running.get("/healthz", "HEAD")[::2] == (503, b"")
    assert running.get("/")[0] == 404
    assert running.get("/healthz", "POST")[0] == 501
    assert running.get("/metrics", Host="evil.example")[0] == 421


def test_nothing_of_a_library_is_told(running: Running) -> None:
    """The Server header names the product, not the language's version."""
    assert running.get("/healthz")[1]["Server"].strip().startswith("invoice-printer/")
    assert "Python" not in running.get("/healthz")[1]["Server"]


def test_the_worker_tells_its_numbers(tmp_path: Path) -> None:
    """What is counted can be asked for over the socket, with the age of the oldest batches."""
    place = tmp_path / "metrics.sock"
    metrics.tell(place, lambda: {"seal": 2.5})
    metrics.failed("seal", TransientError(f"{metrics.AUTHORITY} did not answer."))
    metrics.failed("seal", ValueError("bug"))
    metrics.POOL_RESTARTS.labels("sealing").inc()
    told = metrics.ask(place, 2)
    assert told.batches == {"seal": 2.5}
    names = {
        sample.name + str(sample.labels) for f in text_string_to_metric_families(told.metrics) for sample in f.samples
    }
    for cause in ("timestamp", "bug"):
        assert "invoice_printer_stage_failures_total" + str({"cause": cause, "stage": "seal"}) in names
    assert "invoice_printer_pool_restarts_total{'pool': 'sealing'}" in names


def test_no_place_for_a_socket_stops_no_worker(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A disk that takes no socket costs the numbers, nothing else; the log says so."""
    metrics.tell(tmp_path / "absent" / "metrics.sock", dict)
    assert "no metrics of the worker" in caplog.text
