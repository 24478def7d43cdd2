"""The hot folder of the whole service: from a file to the archived invoice, and what monitors are told of it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests import documents
from tests.faults import FIRST_NUMBER, Books
from tests.instance import Instance, printed_samples, request, served
from tests.waiting import until

TODAY = date.today()  # noqa: DTZ011 - a calendar day


@pytest.fixture(scope="module")
def hot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hot")


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory, hot: Path) -> Iterator[Instance]:
    settings = {"folders.path": hot, "folders.rest": 0.5, "folders.look_every": 1}
    with served(tmp_path_factory.mktemp("folder") / "state", settings) as running:
        yield running


def put(hot: Path, name: str, data: bytes) -> None:
    (hot / ".partial").write_bytes(data)
    (hot / ".partial").rename(hot / name)


def rows(instance: Instance) -> list[dict[str, Any]]:
    return [dict(row) for row in Books(instance.state).rows("SELECT * FROM jobs ORDER BY number")]


def check(instance: Instance) -> dict[str, Any]:
    """What /healthz says of the folder."""
    told = json.loads(request("GET", f"http://{instance.address('health')}/healthz").body)
    found: dict[str, Any] = {one["name"]: one for one in told["checks"]}["folder"]
    return found


@pytest.mark.parametrize("form", ["json", "csv", "xml"])
def test_a_file_becomes_an_archived_invoice(instance: Instance, hot: Path, form: str) -> None:
    """User, title and numbers of the sidecar are the job's; number, customer and text of the document the invoice's."""
    number = FIRST_NUMBER + 900 + ["json", "csv", "xml"].index(form)
    sale = documents.another_sale(number, today=TODAY)
    name, said = sale.invoice.number, {"user": "hélène", "title": f"Été {form}", "customer-number": "C0055"}
    sidecars = {
        "json": json.dumps(said),
        "csv": ";".join(said) + "\n" + ";".join(said.values()) + "\n",
        "xml": "<i>" + "".join(f"<{key}>{value}</{key}>" for key, value in said.items()) + "</i>",
    }
    put(hot, f"{name}.{form}", sidecars[form].encode())
    put(hot, f"{name}.pdf", documents.printed(sale))
    until(lambda: (hot / "done" / f"{name}.pdf").exists())
    job = next(row for row in rows(instance) if row["title"] == said["title"])
    wanted = ("hélène", "folder", "localhost", "Invoice Printer")
    assert (job["user"], job["source"], job["host"], job["printer"]) == wanted
    assert json.loads(job["options"]) == {"document-name": f"{name}.pdf", "sidecar.customer-number": "C0055"}
    (invoice,) = instance.settled(job["number"])["invoices"]
    assert (invoice["number"], invoice["customer_code"], invoice["state"]) == (name, "C0055", "archived")
    assert (hot / "done" / f"{name}.{form}").exists()
    assert until(lambda: check(instance)["ok"])


def test_the_same_file_again_is_a_reprint(instance: Instance, hot: Path, tmp_path: Path) -> None:
    """A file that is put there again is printed again; that the invoice is the same is seen by what is in it."""
    sample = printed_samples(tmp_path)["facture-simple-fr"]
    for count in (1, 2):
        put(hot, "again.pdf", sample.file.read_bytes())
        until(lambda count=count: len([row for row in rows(instance) if row["title"] == "again.pdf"]) == count)
        number = rows(instance)[-1]["number"]
        (invoice,) = instance.settled(number)["invoices"]
        assert invoice["state"] == ("archived" if count == 1 else "reprint")


def test_a_refusal_is_told_where_people_look(instance: Instance, hot: Path) -> None:
    """In the folder, in the list of jobs, in the log; the service goes on."""
    put(hot, "attack.xml", b'<!DOCTYPE i [<!ENTITY f SYSTEM "file:///etc/passwd">]><i><user>&f;</user></i>')
    put(hot, "attack.pdf", b"%PDF-1.7\nstartxref\n9\n%%EOF\n")
    reason = hot / "failed" / "attack.pdf.reason.txt"
    until(reason.exists)
    job = instance.json("jobs")[0]
    assert (job["state"], job["title"]) == ("aborted", "attack.pdf")
    assert job["message"] == reason.read_text("utf-8").splitlines()[1]
    assert "a document of the hot folder failed" in (instance.state / "log").read_text()
    assert "root:" not in (instance.state / "log").read_text()


def test_kills_of_capture_make_no_second_invoice(instance: Instance, hot: Path) -> None:
    """Capture is killed again and again while it takes documents: each is archived once, none is a reprint."""
    random = Random(7)  # noqa: S311 - a seed
    sales = [documents.another_sale(FIRST_NUMBER + n, today=TODAY) for n in range(24)]
    wanted = {sale.invoice.number for sale in sales}
    for n, sale in enumerate(sales):
        put(hot, f"{sale.invoice.number}.pdf", documents.printed(sale))
        if n % 4 == 3:
            time.sleep(random.uniform(0, 0.3))
            instance.kill("capture")
            until(lambda: answers(instance))
    until(lambda: wanted <= {path.stem for path in (hot / "done").glob("*.pdf")}, 120)
    for row in rows(instance):
        instance.settled(row["number"], 120)
    invoices = Books(instance.state).rows("SELECT number, state FROM invoices")
    made = [(row["number"], row["state"]) for row in invoices if row["number"] in wanted]
    assert sorted(made) == sorted((number, "archived") for number in wanted)
    assert list((hot / ".taking").iterdir()) == []


def answers(instance: Instance) -> bool:
    try:
        return request("GET", f"http://{instance.address('ipp')}/").status > 0
    except OSError:
        return False


def test_a_folder_that_is_away_is_told_by_healthz(instance: Instance, hot: Path) -> None:
    """503 with what to do, by the check of its own; when the folder is back, all is well again."""
    hot.rename(hot.with_name("away"))
    try:
        until(lambda: not check(instance)["ok"], 20)
        found = check(instance)
        assert "Make the folder, or mount it." in found["what"]
        assert "hot-folder.md" in found["remedy"]
    finally:
        hot.with_name("away").rename(hot)
    until(lambda: check(instance)["ok"], 20)
    assert "the hot folder works again" in (instance.state / "log").read_text()
