"""Whoever watches over the service is told what is wrong and what to do, while it is wrong and no longer."""

from __future__ import annotations

import json
import os
import signal
import stat
from collections.abc import Iterator
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.authority import granted, make, reply, serving
from tests.instance import Instance, Page, printed_samples, request, served
from tests.waiting import until


@pytest.fixture(scope="module")
def away() -> list[bool]:
    """The timestamp authority is out of order while this holds anything."""
    return []


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory, away: list[bool]) -> Iterator[Instance]:
    folder = make(tmp_path_factory.mktemp("authority"))

    def answer(query: bytes) -> tuple[int, dict[str, str], bytes]:
        return (503, {}, b"") if away else granted(reply(folder, query))

    with serving(answer) as url:
        state = tmp_path_factory.mktemp("health") / "state"
        with served(state, {"timestamp.url": url}) as running:
            yield running


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return printed_samples(tmp_path_factory.mktemp("samples"))


def asked(instance: Instance, path: str, **headers: str) -> Page:
    return request("GET", f"http://{instance.address('health')}{path}", headers=headers)


def wrong(instance: Instance) -> dict[str, dict[str, Any]]:
    """What /healthz says is wrong, by name; its status fits."""
    page = asked(instance, "/healthz")
    told = json.loads(page.body)
    failing = {check["name"]: check for check in told["checks"] if not check["ok"]}
    assert page.status == (503 if failing else 200)
    assert told["status"] == ("failing" if failing else "ok")
    return failing


def test_an_authority_that_is_away_is_named_until_it_is_back(
    instance: Instance, samples: dict[str, Any], away: list[bool]
) -> None:
    """200 while all is well; 503 with what is wrong and what to do while documents wait; then 200 again."""
    until(lambda: not wrong(instance), 30)
    away.append(True)
    sent = instance.print(samples["facture-simple-fr"].file)
    found = until(lambda: wrong(instance).get("timestamp"), 30)
    assert "1" in found["what"]
    assert found["remedy"]
    away.clear()
    instance.settled(sent.number)
    until(lambda: not wrong(instance), 30)


def test_metrics_are_for_prometheus(instance: Instance) -> None:
    """Every family parses, has a help text and a name of ours or of the process."""
    page = asked(instance, "/metrics")
    assert page.status == 200
    families = list(text_string_to_metric_families(page.body.decode()))
    assert len(families) > 5
    assert all(family.documentation for family in families)


def test_a_foreign_name_gets_nothing(instance: Instance) -> None:
    """A page of somebody else cannot read the health of the service by a name that leads here."""
    assert asked(instance, "/healthz", Host="evil.example").status == 421
    assert asked(instance, "/nothing").status == 404


def test_the_log_has_ids_and_no_secret(instance: Instance, samples: dict[str, Any]) -> None:
    """Every line of ours is JSON; a job's line names it; neither the contract's secret nor a link's token is there."""
    sent = instance.print(samples["avoir-fr"].file, user="m\nr\x1b[2J")
    instance.delivered(sent.number, "accepted", "paper")
    text = (instance.state / "log").read_text()
    lines = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    job = instance.job(sent.number)["job"]["id"]
    assert any(job in json.dumps(line) for line in lines)
    assert "\x1b" not in text
    assert (instance.state / "keys" / "contract.secret").read_text().strip() not in text
    assert "/l/" not in text


def test_doctor_finds_what_is_broken(instance: Instance) -> None:
    """A key that others may read is found, named with its remedy, and the exit status is 1."""
    key = instance.state / "keys" / "seal.key"
    mode = stat.S_IMODE(key.stat().st_mode)
    before = {check["name"] for check in doctor(instance) if not check["ok"]}
    key.chmod(0o644)
    try:
        found = [check for check in doctor(instance) if not check["ok"] and check["name"] not in before]
        assert instance.run("doctor", check=False).returncode == 1
    finally:
        key.chmod(mode)
    assert found
    assert any("seal.key" in json.dumps(check) for check in found)
    assert all(check["remedy"] for check in found)


def doctor(instance: Instance) -> list[dict[str, Any]]:
    told: list[dict[str, Any]] = json.loads(instance.run("doctor", "--json", check=False).stdout)
    return told


def test_processes_that_hang_or_loop_and_a_layout_that_is_wrong(instance: Instance) -> None:
    """A worker that stands still is named until it goes on; one that is killed again and again is a loop."""
    until(lambda: not wrong(instance), 30)
    instance.kill("worker", signal.SIGSTOP)
    assert until(lambda: wrong(instance).get("worker"), 20)["remedy"]
    assert 'invoice_printer_up{role="worker"} 0.0' in asked(instance, "/metrics").body.decode()
    instance.kill("worker", signal.SIGCONT)
    until(lambda: not wrong(instance), 30)
    (instance.state / "templates" / "own.toml").write_text("locale =")
    assert "own" in until(lambda: wrong(instance).get("templates"), 10)["what"]
    (instance.state / "templates" / "own.toml").unlink()
    until(lambda: not wrong(instance), 30)
    for _ in range(3):
        killed = until(lambda: worker_of(instance))
        os.kill(killed, signal.SIGKILL)
        until(lambda killed=killed: worker_of(instance) not in (None, killed), 20)
    found = until(lambda: wrong(instance).get("children"), 20)
    assert "The process worker ended 3 times" in found["what"] and "status -9" in found["what"]


def worker_of(instance: Instance) -> int | None:
    """The worker's process, as the supervisor writes it down."""
    told: int | None = json.loads((instance.state / "run" / "children.json").read_text())["worker"]["pid"]
    return told


def test_a_stopped_service_is_told(instance: Instance) -> None:
    """doctor works on an instance that does not run, and says so first."""
    instance.stop()
    first = doctor(instance)[0]
    assert (first["name"], first["ok"]) == ("service", False)
