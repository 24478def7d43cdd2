"""Every look at a running service finds what is really broken, says it in words, and finds nothing when all is well."""

from __future__ import annotations

import json
import os
import socket
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from printerd import metrics
from printerd.delivery.contract import Status
from printerd.delivery.edge import EdgeClient
from printerd.delivery.workflow import Delivering
from printerd.errors import TransientError
from printerd.evidence import timestamp
from printerd.health import checks, rows, service
from printerd.health.findings import Finding, Level, ask_all
from printerd.health.site import Site
from printerd.metrics import Told
from printerd.pipeline.workflow import Pipeline
from printerd.storage import instance, schema
from printerd.storage.blobs import Blobs
from printerd.storage.database import BUSY_TIMEOUT
from printerd.storage.instance import Restored
from tests import archive_rows
from tests.archive_rows import NOW
from tests.edge import running

from .site import finding


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who does not answer is waited for only shortly."""
    monkeypatch.setattr(service, "PATIENCE", 0.3)


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def silent() -> Iterator[str]:
    """A process that hangs: the kernel takes its connections, nobody answers."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"127.0.0.1:{listening.getsockname()[1]}"


@contextmanager
def http_answer() -> Iterator[str]:
    with subprocess.Popen(
        ["python3", "-c", "import http.server as h; s = h.HTTPServer(('127.0.0.1', 0), h.BaseHTTPRequestHandler);"
         "print(s.server_port, flush=True); s.serve_forever()"],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    ) as process:  # fmt: skip
        assert process.stdout
        try:
            yield f"127.0.0.1:{process.stdout.readline().strip()}"
        finally:
            process.kill()


def test_all_is_well_with_a_whole_site(site: Site) -> None:
    """On an instance without a fault no check but that of the absent printer finds anything."""
    with http_answer() as address:
        found = ask_all(checks.ALWAYS, replace(site, printer=address))
    assert [(one.name, one.what) for one in found if one.level is not Level.FINE] == []


# Processes


def test_a_printer_that_is_away_or_hangs(site: Site) -> None:
    """A closed port and a process that takes connections and says nothing are both told, with the address."""
    away = f"127.0.0.1:{closed_port()}"
    assert away in finding(site, "printer", printer=away).what
    with silent() as hung:
        found = finding(site, "printer", printer=hung)
    assert not found.ok
    assert hung in found.what


def test_a_worker_that_is_away_or_stopped(site: Site, tmp_path: Path) -> None:
    """No socket, and a socket at which nobody answers (as of a process that was sent SIGSTOP), are told alike."""
    place = tmp_path / "metrics.sock"
    assert not finding(site, "worker", worker=partial(metrics.ask, place, 0.3)).ok
    with socket.socket(socket.AF_UNIX) as stopped:
        stopped.bind(str(place))
        stopped.listen()
        found = finding(site, "worker", worker=partial(metrics.ask, place, 0.3))
    assert "does not answer" in found.what
    assert found.remedy


def test_a_batch_that_is_stuck(site: Site) -> None:
    """A batch that is at work for a quarter of an hour is told with its stage; a slow one is not."""
    found = finding(site, "worker", worker=lambda: Told("", {"seal": 20.0, "process": service.STUCK + 60}))
    assert "“process” for 16 min" in found.what
    assert finding(site, "worker", worker=lambda: Told("", {"process": 300.0})).ok


def test_a_process_that_is_started_again_and_again(site: Site) -> None:
    """Three ends in five minutes are a loop, whatever the wall clock does; older ends and single ones are not."""
    now = time.monotonic()
    cases: list[tuple[list[float], bool]] = [
        ([], True),
        ([now - 1, now - 2], True),
        ([now - 1, now - 400, now - 500, now - 600], True),
        ([now - 1, now - 20, now - 200], False),
    ]
    for deaths, fine in cases:
        told = {
            "worker": {"pid": 7, "deaths": deaths, "status": 78},
            "capture": {"pid": 8, "deaths": [], "status": None},
        }
        site.children.write_text(json.dumps(told))
        assert finding(site, "children").ok is fine
    assert "worker ended 3 times within five minutes, the last time with status 78" in finding(site, "children").what
    site.children.unlink()
    assert finding(site, "children").ok


def test_an_edge_that_is_away_or_does_not_know_us(site: Site, tmp_path: Path) -> None:
    """A closed port, a wrong secret and a server that is well are told apart."""
    with EdgeClient(f"http://127.0.0.1:{closed_port()}", "x", timeout=1) as client:
        away = finding(site, "edge", edge=client.status)
        assert (away.ok, finding(site, "mail", edge=client.status).ok) == (False, True)
    with running(tmp_path) as edge, EdgeClient(edge.address, "wrong") as stranger:
        refused = finding(site, "edge", edge=stranger.status)
        assert finding(site, "edge", edge=edge.client.status).ok
        assert finding(site, "mail", edge=edge.client.status).what == "Mail: nothing waits."
    assert "did not answer" in away.what
    assert "secret" in refused.what and "contract.secret" in refused.remedy


def test_mail_that_is_not_taken(site: Site) -> None:
    """A backlog alone is no fault; one that the relay does not take is, with its words."""
    assert finding(site, "mail", edge=lambda: Status("edge-1", 12, "", 0, "1")).what == "Mail: 12 waiting."
    found = finding(site, "mail", edge=lambda: Status("edge-1", 12, "535 5.7.8 bad {credentials}", 0, "1"))
    assert "(12 waiting): 535 5.7.8 bad {credentials}" in found.what


# What they stand on


def test_a_database_that_somebody_locks(site: Site) -> None:
    """Another program's transaction is told within the patience, and all is well when it has ended."""
    other = sqlite3.connect(site.root / "printerd.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    began = time.monotonic()
    found = finding(site, "database")
    assert time.monotonic() - began < BUSY_TIMEOUT / 1000 / 2  # its own patience, not that of writers
    other.execute("ROLLBACK")
    other.close()
    assert "locked" in found.what and "another program" in found.remedy
    assert finding(site, "database").ok


def test_a_disk_that_is_full(site: Site, tmp_path: Path) -> None:
    """A small file system that is filled falls below the limit; so does any disk below a limit beyond its size."""
    assert not finding(site, "disk", free_space=1 << 60).ok
    small = tmp_path / "small"
    small.mkdir()
    mounted = (
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(small)], check=False).returncode == 0
    )
    if mounted:
        try:
            assert finding(site, "disk", root=small, free_space=500_000).ok
            (small / "file").write_bytes(bytes(800_000))
            found = finding(site, "disk", root=small, free_space=500_000)
        finally:
            subprocess.run(["umount", str(small)], check=True)
        assert "less than limits.free_space (488.3 KiB)" in found.what


def test_a_clock_that_runs_backwards(site: Site) -> None:
    """A clock before the ledger's last entry is told with both times; a second is forgiven."""
    with site.database.write() as connection:
        archive_rows.ledger(connection, 0, "invoice", "i", {}, NOW)
    assert finding(site, "clock", now=lambda: NOW - timedelta(seconds=1)).ok
    found = finding(site, "clock", now=lambda: NOW - timedelta(hours=2))
    assert "shows 2026-11-24 07:05:00 UTC, the ledger's last entry is of 2026-11-24 09:05:00 UTC" in found.what


def certificate(path: Path, begins: datetime, ends: datetime) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Au bon moulin")])
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), begins, ends)
        .sign(key, hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM)
    )
    path.write_bytes(made)
    return path


LONG_AGO, FAR = NOW - timedelta(days=400), NOW + timedelta(days=4000)


@pytest.mark.parametrize(
    ("begins", "ends", "days", "fine"),
    [
        (LONG_AGO, NOW + timedelta(days=30, hours=1), 30, True),
        (LONG_AGO, NOW + timedelta(days=29, hours=23), 29, False),
        (LONG_AGO, NOW - timedelta(hours=1), -1, False),
        (NOW + timedelta(days=1), FAR, -1, False),
    ],
)
def test_a_certificate_that_ends(site: Site, begins: datetime, ends: datetime, days: int, fine: bool) -> None:
    """A certificate is told in its last thirty days, when it is over, and before it begins."""
    certificate(site.keys / "seal.crt", begins, ends)
    found = finding(site, "certificate")
    assert found.ok is fine
    assert f"{days} days left" in found.what


def test_which_certificate_counts(site: Site) -> None:
    """Of keys from elsewhere the one that came last; certificates of others that lie beside them never."""
    old = certificate(site.keys / "0123456789abcdef.crt", LONG_AGO, NOW)
    new = certificate(site.keys / "fedcba9876543210.crt", LONG_AGO, FAR)
    os.utime(old, (1, 1))
    for name in ("seal", "independent"):
        certificate(site.keys / f"{name}.crt", LONG_AGO, NOW)
    assert str(new) in finding(site, "certificate", own_key=True, timestamp_url="https://tsa.example").what
    certificate(site.keys / "seal.crt", LONG_AGO, FAR)
    certificate(site.keys / "tsa.crt", LONG_AGO, NOW)
    assert "tsa.crt has" in finding(site, "certificate").what


def test_no_certificate_yet_is_no_fault(site: Site) -> None:
    """Before the first start of a sealer there is nothing to renew."""
    assert finding(site, "certificate").ok


# Others


def test_an_authority_that_is_away(site: Site) -> None:
    """Without work the way to it is tried; the built-in one needs none."""
    url = f"http://127.0.0.1:{closed_port()}/tsr"
    found = finding(site, "timestamp", timestamp_url=url, reach=_reach)
    assert "127.0.0.1 (0): it cannot be reached" in found.what
    with silent() as there:
        assert finding(site, "timestamp", timestamp_url=f"http://{there}", reach=_reach).ok
    assert finding(site, "timestamp", reach=_reach).ok


def _reach(host: str, port: int) -> None:
    socket.create_connection((host, port), timeout=1).close()


def test_documents_that_wait_for_the_authority(site: Site) -> None:
    """An authority that answers without stamping is told by the rows that wait for it, in its client's own words."""
    with pytest.raises(TransientError, match="did not answer") as failure:
        timestamp.connect(f"http://127.0.0.1:{closed_port()}", site.keys, "").stamp(b"")
    with site.database.write() as connection:
        job = archive_rows.job(connection)
        for position in range(2):
            waits = {"state": "ready", "attempts": 1, "trouble": str(failure.value), "number": f"F{position}"}
            archive_rows.invoice(
                connection, Blobs(site.root), job, position, **waits, fields={"number": f"F{position}"}
            )
    found = finding(site, "timestamp", timestamp_url="https://tsa.example")
    assert "tsa.example (2): The timestamp authority did not answer" in found.what
    assert finding(site, "retries").ok


def test_collecting_that_stopped(site: Site) -> None:
    """An alert beside a cursor is told with the edge's name and the reason."""
    with site.database.write() as connection:
        values = {"edge": "edge-1", "seq": 3, "head": "0" * 64, "alert": "It does not know our last event.\nStop."}
        connection.execute(schema.edges.insert().values(values))
    assert "edge-1 any more: It does not know our last event." in finding(site, "collecting").what


# The work


def test_work_that_waits_too_long(site: Site) -> None:
    """Due work of eleven minutes is a backlog; what was postponed is not due before its time."""
    with site.database.write() as connection:
        archive_rows.job(connection, 1, state="received", at=NOW - timedelta(minutes=9))
        archive_rows.job(
            connection, 2, state="received", at=NOW - timedelta(days=1), next_at=NOW + timedelta(minutes=1)
        )
    assert finding(site, "backlog").what == "Due work: 1."
    found = finding(site, "backlog", now=lambda: NOW + timedelta(minutes=2))
    assert "for 11 min in the stage “process”; due in all: 2" in found.what


def test_work_that_fails_again_and_again(site: Site) -> None:
    """Three attempts in vain are told with the reason that most rows name; one is not, nor what other checks tell."""
    with site.database.write() as connection:
        often = {"state": "received", "attempts": 3}
        archive_rows.job(connection, 1, **often, trouble="No room.")
        archive_rows.job(connection, 2, **often, trouble="No room.")
        archive_rows.job(connection, 3, **often, trouble="Something else.")
        archive_rows.job(connection, 4, state="received", attempts=1, trouble="Once.")
        archive_rows.job(connection, 5, **often, trouble=f"{rows.AWAY}: no route")
    assert "“process” 2 fail again and again: No room." in finding(site, "retries").what


def test_the_edges_failure_begins_as_the_rows_look_for_it() -> None:
    """The trouble that the check of the edge tells is recognised by how its client says it."""
    away = EdgeClient(f"http://127.0.0.1:{closed_port()}", "x", timeout=1)
    with away, pytest.raises(TransientError, match=f"^{rows.AWAY}"):
        away.status()


def test_the_stages_are_those_of_the_worker(site: Site) -> None:
    """What is watched is what the worker runs: the same stages on the same rows."""
    nothing: Any = None
    rooms = (
        Pipeline(nothing, nothing, nothing, nothing, (), "en", nothing),
        Delivering(nothing, nothing, nothing, nothing, (), "en", site.root, "", "UTC"),
    )
    run = {stage.name: (stage.table, stage.state) for room in rooms for stage in room.stages()}
    assert {name: (work.table, work.state) for name, work in rows.STAGES.items()} == run


LAYOUT = 'locale = "fr_FR"\n[fingerprint]\nall = ["Facture"]\n'


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (LAYOUT.encode() + b"[fields.nonsense]\n", "needs a label"),
        (b"not toml", "not TOML"),
        ("locale = 'é'".encode("latin-1"), "utf-8"),
    ],
)
def test_a_layout_that_cannot_be_read(site: Site, data: bytes, words: str) -> None:
    """A layout of the firm that is wrong, or no text at all, is told with its place; a good one is counted."""
    (site.templates / "own.toml").write_bytes(data)
    found = finding(site, "templates")
    assert not found.ok
    assert words in found.what and "templates" in found.what
    (site.templates / "own.toml").write_text(LAYOUT)
    assert finding(site, "templates").what == "Layouts of your own: 1."


def test_an_instance_that_was_restored(site: Site) -> None:
    """Until somebody resumes it, a restored instance says that it sends nothing, and of when its backup is."""
    with site.database.write() as connection:
        instance.set_restored(connection, Restored("b1", "2026-11-20T00:00:00Z", "2026-11-24T00:00:00Z"))
    assert "of 2026-11-20T00:00:00Z" in finding(site, "restored").what
    with site.database.write() as connection:
        instance.set_restored(connection, None)
    assert finding(site, "restored").ok


def test_a_database_that_is_gone_is_a_fault_of_every_look_at_rows(site: Site) -> None:
    """A check that cannot look is a fault, never fine."""
    with site.database.write() as connection:
        connection.execute(sa.text("DROP TABLE jobs"))
    found: Finding = finding(site, "backlog")
    assert not found.ok
    assert "no such table" in found.what


@pytest.mark.parametrize(("seconds", "words"), [(40, "40 s"), (700, "12 min"), (18_000, "5 h"), (259_200, "3 d")])
def test_an_age_in_words(seconds: float, words: str) -> None:
    """Ages are told in the unit that people would use."""
    assert service.age(seconds) == words


FOLDERS: dict[str, tuple[str | None, str]] = {
    "not looked at": (None, "It has not been looked at yet."),
    "looked at before this machine was started": ('{"looked": 1e12, "trouble": []}', "It has not been looked at yet."),
    "a file server that hangs": ('{"looked": -1e3, "trouble": []}', "It has not been looked at for"),
    "trouble": ('{"looked": 0, "trouble": ["/srv/x: Permission denied.", "more"]}', "/srv/x: Permission denied."),
    "well": ('{"looked": 0, "trouble": []}', ""),
}


@pytest.mark.parametrize("what", FOLDERS)
def test_the_hot_folder_is_seen_by_what_capture_tells(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """Its trouble in its own words, and its silence; the folder itself is not touched. None that is set is fine."""
    told, why = FOLDERS[what]
    file = tmp_path / "folders.json"
    if told is not None:
        file.write_text(told)
    monkeypatch.setattr(time, "monotonic", lambda: 100.0)
    found = finding(site, "folder", folders=file)
    assert (found.level is Level.FINE) == (what == "well")
    assert why in found.what
    assert finding(site, "folder").what == "The hot folder: none is set."
