"""kill -9 at the worst moment: what was acknowledged is archived exactly once, and nothing is mailed twice."""

from __future__ import annotations

import http.client
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from printerd.errors import TransientError
from tests.instance import Instance, print_job, printed_samples, served, words
from tests.waiting import until


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    with served(tmp_path_factory.mktemp("killed") / "state") as running:
        yield running


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return printed_samples(tmp_path_factory.mktemp("samples"))


def states(instance: Instance) -> Counter[str]:
    found: list[dict[str, Any]] = instance.json("invoices", "--limit", "500")
    return Counter(one["state"] for one in found)


def mails_by_recipient(instance: Instance) -> Counter[tuple[str, str]]:
    return Counter((str(message["To"]), str(message["Subject"])) for message in instance.mailbox.messages())


def test_a_worker_killed_in_a_batch_of_forty_archives_each_once(instance: Instance, files: dict[str, Any]) -> None:
    """The worker dies twice in the middle of a batch: forty invoices are archived, each once, each mailed once."""
    before = states(instance)
    sent = instance.print(files["lot-40-fr"].file)
    for patience in (0.3, 1.5):
        until(lambda: instance.job(sent.number)["job"]["state"] != "received", 20)
        time.sleep(patience)
        family = instance.role("worker").children(recursive=True)
        killed = instance.kill("worker")
        psutil.wait_procs(family, 10)
        assert not any(process.is_running() for process in family), "the worker's children outlived it"
        until(lambda killed=killed: instance.role("worker").pid != killed, 20)
    job = instance.delivered(sent.number, "accepted", "paper", seconds=120)
    assert [one["state"] for one in job["invoices"]] == ["archived"] * 40
    assert states(instance) - before == {"archived": 40}
    assert len({one["number"] for one in job["invoices"]}) == 40
    assert set(mails_by_recipient(instance).values()) == {1}
    assert instance.run("verify", "--all").returncode == 0


def test_capture_killed_in_an_upload_loses_only_what_it_never_acknowledged(
    instance: Instance, files: dict[str, Any]
) -> None:
    """Capture dies in mid-body: the acknowledged jobs are archived, the cut one left nothing, the next one is taken."""
    before = len(instance.json("jobs"))
    acknowledged = [instance.print(files[name].file).number for name in ("facture-simple-fr", "avoir-fr")]
    connection = half_a_job(instance)
    instance.kill("capture")
    with pytest.raises((http.client.HTTPException, OSError)):
        connection.send(b"0" * 100_000)
        connection.getresponse()
    connection.close()
    sent = until(lambda: again(instance, files["facture-cid-fr"].file), 30)
    for number in (*acknowledged, sent.number):
        job = instance.delivered(number, "accepted", "paper")
        assert [one["state"] for one in job["invoices"]] == ["archived"]
    assert len(instance.json("jobs")) == before + 3
    assert list((instance.state / "spool").iterdir()) == []
    assert instance.run("verify", "--all").returncode == 0


def test_the_whole_service_killed_goes_on_where_it_was(instance: Instance, files: dict[str, Any]) -> None:
    """The supervisor dies right after the answer: all its processes end, and the next start archives and mails once."""
    sent = instance.print(files["facture-deux-pages-fr"].file)
    family = instance.family()
    instance.kill("supervisor")
    psutil.wait_procs(family, 10)
    assert not any(process.is_running() for process in family)
    assert instance.process is not None
    instance.process.wait(10)
    instance.start()
    job = instance.delivered(sent.number, "accepted")
    assert [one["state"] for one in job["invoices"]] == ["archived"]
    assert set(mails_by_recipient(instance).values()) == {1}
    assert instance.run("verify", "--all").returncode == 0


def test_a_document_is_not_blamed_for_a_service_that_is_stopped(instance: Instance, tmp_path: Path) -> None:
    """The service is stopped again and again while a long document is read: it is read anew each time, never held."""
    (tmp_path / "endless.ps").write_text("%!PS-Adobe-3.0\n{} loop\n")
    sent = instance.print(tmp_path / "endless.ps")
    for _ in range(3):
        until(lambda: instance.job(sent.number)["job"]["state"] == "processing", 20)
        until(lambda: any(words(process).partition(" ")[0].endswith("gs") for process in instance.family()), 20)
        instance.stop()
        instance.start()
        job = instance.job(sent.number)["job"]
        assert (job["state"], job["trouble"]) in (("processing", ""), ("received", "interrupted"))


def half_a_job(instance: Instance) -> http.client.HTTPConnection:
    """A Print-Job whose body stops in the middle."""
    head = print_job(instance.printer, "cut")
    connection = http.client.HTTPConnection(instance.address("ipp"), timeout=10)
    connection.putrequest("POST", "/ipp/print")
    connection.putheader("Content-Type", "application/ipp")
    connection.putheader("Content-Length", str(len(head) + 5_000_000))
    connection.endheaders(head + b"%PDF-1.7\n" + b"0" * 2_000_000)
    until(lambda: any((instance.state / "spool").iterdir()), 10)
    return connection


def again(instance: Instance, file: Path) -> Any:
    """What a print client does when nobody answers: it tries again."""
    try:
        return instance.print(file)
    except TransientError:
        return None
