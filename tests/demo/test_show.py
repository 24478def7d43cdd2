"""The tour: what a newcomer sees, in a folder of its own, and what is left when it ends."""

from __future__ import annotations

import http.client
import os
import re
import signal
import smtplib
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from email.message import EmailMessage
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest

from printerd.demo import folder, samples
from printerd.demo.catcher import Catcher
from printerd.demo.following import Following, Way, expected
from printerd.demo.setting import free_port
from printerd.errors import RequestError
from printerd.storage.blobs import Blobs
from printerd.storage.database import Database

DEMO = [sys.executable, "-m", "printerd", "demo"]
USUAL = 8631
LONGEST = 150
"""Seconds that a tour may take on a machine that is busy with other things."""


@dataclass(frozen=True)
class Tour:
    """What a finished tour left behind."""

    state: Path
    code: int
    said: str
    left: list[str]


def spawned(state: Path, *options: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*DEMO, "--state", str(state), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"TOUR": str(state), "COLUMNS": "100"},
    )


def remaining(state: Path) -> list[str]:
    """The processes that a tour in this folder started and that still run."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("TOUR") == str(state) or str(state) in " ".join(process.cmdline()):
                found.append(" ".join(process.cmdline()))
        except psutil.Error:
            continue
    return found


@pytest.fixture(scope="module")
def tour(tmp_path_factory: pytest.TempPathFactory) -> Tour:
    """One ``demo --once``, while something else has the printer's usual port."""
    state = tmp_path_factory.mktemp("tour") / "state"
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if free_port(USUAL) == USUAL:
            taken.bind(("127.0.0.1", USUAL))
            taken.listen()
        process = spawned(state, "--once")
        said, _ = process.communicate(timeout=LONGEST)
    return Tour(state, process.returncode, said, remaining(state))


def test_every_sample_goes_the_whole_way(tour: Tour) -> None:
    """``demo --once`` ends with status 0: every sample is archived and acknowledged or on paper, and verified."""
    assert tour.code == 0, tour.said
    assert "✓ 50 invoices went the whole way" in tour.said
    assert "38 by mail, 12 on paper, 52 receipts filed" in tour.said
    assert "verify --all" in tour.said


def test_nothing_runs_when_it_has_ended(tour: Tour) -> None:
    """The demo leaves no process behind."""
    assert tour.left == []


def test_a_busy_port_moves_and_is_told(tour: Tour) -> None:
    """When the usual port is taken, the printer listens on another one, and the demo says which."""
    moved = re.search(rf"port {USUAL} is busy: printer and console at (127\.0\.0\.1:\d+)", tour.said)
    assert moved
    assert f"ipp://{moved[1]}/ipp/print" in tour.said


def test_the_table_goes_from_the_job_to_the_receipt(tour: Tour) -> None:
    """Each row names job, invoice, customer, seal, archive digest, mail and receipt; addresses are masked."""
    head, _, rest = tour.said.partition("From the print job to the receipt")[2].partition("sealed   time")
    assert re.search(r"job +invoice +customer +sealed +archive +mail accepted for +receipt", head)
    first = re.search(
        r"^ +1  FA-\d{4}-0101 +C0042.* +\d\d:\d\d:\d\d +([0-9a-f]{12}) +h\*\*\*@lefevre\.example +\d+  L3",
        head,
        re.MULTILINE,
    )
    assert first, head
    assert [blob for blob in Blobs(tour.state).digests() if blob.startswith(first[1])]
    assert "… 37 more" in head
    assert "paper, out-tray (no consent)" in head
    assert "helene@" not in head
    assert all(len(line.rstrip()) <= 100 for line in head.splitlines())
    assert "local authority: order, not time" in rest


def test_the_held_sample_is_helped_by_a_person(tour: Tour) -> None:
    """One invoice waits; the demo shows why and what to do, and the commands with which it is let go."""
    assert re.search(r"FA-\d{4}-0149 waits for a person", tour.said)
    assert "Customer C0099 is not among the customers." in tour.said
    assert "customers-late.csv --who claire --state" in tour.said
    assert re.search(r"invoices release FA-\d{4}-0149 --reason 'customer entered'", tour.said)
    assert re.search(r"^ +9  FA-\d{4}-0149 .* n\*\*\*@kerouedan\.example +\d+  L3", tour.said, re.MULTILINE)


def test_what_is_missing_is_told(tour: Tour, tmp_path: Path) -> None:
    """Without its customers' downloads an invoice counts as incomplete, so does one whose archived bytes changed."""
    database, blobs, catcher = Database(f"sqlite:///{tour.state / 'printerd.db'}"), Blobs(tour.state), Catcher(tmp_path)
    printed = samples.generate(tmp_path / "samples", today=_day_of(tour))
    with Following(database, blobs, tour.state / "out-tray", catcher) as following:
        for job, sample in enumerate(printed, start=1):
            following.add(sample, job)
        ways = {way.number[-4:]: way for way in following.ways()}
        assert _kinds(ways["0101"]) == {"it was not downloaded", "the customer did not get the receipt"}
        assert ways["0146"].on_paper and ways["0146"].missing() == ()
        detail = ways["0146"].detail
        assert detail and detail.sealed
        path = blobs.path(detail.sealed)
        whole = path.read_bytes()
        path.write_bytes(whole[:-1] + b"?")
        damaged = {way.number[-4:]: way for way in following.ways()}["0146"]
        path.write_bytes(whole)
    assert _kinds(damaged) == {
        "the archived file is not the one that was sealed",
        "the out-tray does not hold the sealed document",
    }
    database.close()
    catcher.stop()


def _day_of(tour: Tour) -> date:
    """The day on which the tour's samples were issued."""
    found = re.search(r"issued_on +(\S+)", tour.said)
    assert found
    return date.fromisoformat(found[1])


def _kinds(way: Way) -> set[str]:
    return {words.rpartition(": ")[2] for words in way.missing()}


def test_it_serves_on_until_ctrl_c(tour: Tour) -> None:
    """In the same folder again, without ``--once``: it prints where to look, that answers, Ctrl-C ends all."""
    process = spawned(tour.state)
    try:
        said, found = _told(process)
        assert "lpadmin -p invoices -E -v ipp://" in said
        family = psutil.Process(process.pid).children(recursive=True)
        assert len(family) > 3
        assert _get(found["Console"]).status == 200
        assert _get(found["Mails"]).status == 200
        assert b"/receipt" in _get(found["Customer"]).body
        refused = subprocess.run([*DEMO, "--state", str(tour.state)], capture_output=True, text=True, check=False)
        assert refused.returncode == 2
        assert "another demo runs in it" in refused.stderr
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()
    assert psutil.wait_procs(family, 5)[1] == []
    assert remaining(tour.state) == []


def _told(process: subprocess.Popen[str]) -> tuple[str, Mapping[str, str]]:
    """What the demo says until it serves on, and the addresses in it by name."""
    assert process.stdout is not None
    said, deadline = "", time.monotonic() + LONGEST
    for line in process.stdout:
        said += line
        if line.startswith("  Print ") or time.monotonic() > deadline:
            break
    return said, dict(re.findall(r"^  (Console|Mails|Customer|Printer) +(\S+)$", said, re.MULTILINE))


@dataclass(frozen=True)
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes


def _get(url: str, host: str = "") -> Answer:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=10)
    try:
        connection.request("GET", parts.path, headers={"Host": host} if host else {})
        answer = connection.getresponse()
        return Answer(answer.status, answer.headers, answer.read())
    finally:
        connection.close()


# The folder


def test_a_foreign_folder_is_refused_untouched(tmp_path: Path) -> None:
    """A folder that no demo made is never emptied, and nothing is added to it."""
    (tmp_path / "thesis.txt").write_text("years of work")
    done = subprocess.run(
        [*DEMO, "--once", "--state", str(tmp_path)], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 2
    assert "not a folder that a demo made" in done.stderr
    assert "--state DIR" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_its_own_folder_is_emptied_without_following_links(tmp_path: Path) -> None:
    """A folder of the demo's is emptied whole; a link in it goes, what it leads to stays."""
    elsewhere, own = tmp_path / "elsewhere", tmp_path / "own"
    elsewhere.mkdir()
    (elsewhere / "kept.txt").write_text("kept")
    with folder.fresh(own):
        (own / "blobs").mkdir()
        (own / "blobs" / "one").write_text("1")
        (own / "link").symlink_to(elsewhere)
    with folder.fresh(own):
        assert [path.name for path in own.iterdir()] == [folder.MARK]
    assert (elsewhere / "kept.txt").read_text() == "kept"


def test_a_folder_in_use_is_not_emptied(tmp_path: Path) -> None:
    """A second demo in the same folder is refused while the first one runs."""
    own = tmp_path / "own"
    with folder.fresh(own):
        (own / "config.toml").write_text("")
        with pytest.raises(RequestError, match="in use"), folder.fresh(own):
            pytest.fail("both had it")
        assert (own / "config.toml").exists()


# The mail catcher


@pytest.fixture
def catcher(tmp_path: Path) -> Iterator[Catcher]:
    catching = Catcher(tmp_path / "mails")
    catching.start()
    yield catching
    catching.stop()


def _letter() -> EmailMessage:
    message = EmailMessage()
    message["From"], message["To"] = "compta@aubonmoulin.example", "zoé@patisserie.example"
    message["Subject"] = "Facture <FA-1> – échéance"
    message.set_content("Bonjour <b>Zoé</b>,\nhttp://127.0.0.1:8632/l/" + "a" * 43 + "\n")
    message.add_alternative(
        '<html lang="fr"><head></head><body><script>alert(1)</script></body></html>', subtype="html"
    )
    return message


def test_the_catcher_keeps_what_it_accepts(catcher: Catcher, tmp_path: Path) -> None:
    """A message lies in the folder when it is answered with 250, one for each recipient; its link is found."""
    with smtplib.SMTP("127.0.0.1", catcher.smtp_port, timeout=10) as relay:
        relay.send_message(_letter(), to_addrs=["zoé@patisserie.example", "b@example.org"])
    assert [(mail.number, mail.to) for mail in catcher.mails] == [(1, "zoé@patisserie.example"), (2, "b@example.org")]
    assert catcher.mails[0].link.endswith("/l/" + "a" * 43)
    assert catcher.mails[0].language == "fr"
    assert sorted(path.name for path in (tmp_path / "mails").iterdir()) == ["0001.eml", "0002.eml"]


def test_a_caught_mail_cannot_act_in_the_browser(catcher: Catcher) -> None:
    """The pages escape what a mail says; its HTML comes sandboxed, without scripts or foreign content."""
    with smtplib.SMTP("127.0.0.1", catcher.smtp_port, timeout=10) as relay:
        relay.send_message(_letter(), to_addrs=["b@example.org"])
    listed, shown, framed = (_get(catcher.url + path) for path in ("", "1", "1/html"))
    assert "Facture &lt;FA-1&gt; – échéance" in listed.body.decode()
    assert "Bonjour &lt;b&gt;Zoé&lt;/b&gt;" in shown.body.decode()
    assert 'sandbox="allow-popups allow-popups-to-escape-sandbox"' in shown.body.decode()
    policy = framed.headers["Content-Security-Policy"]
    assert policy.startswith("sandbox ") and "default-src 'none'" in policy and "script" not in policy
    assert "default-src 'none'" in shown.headers["Content-Security-Policy"]
    assert _get(catcher.url + "2").status == 404


def test_the_caught_mails_answer_to_this_machine_only(catcher: Catcher) -> None:
    """A page of another site cannot read them under a name of its own (DNS rebinding)."""
    assert _get(catcher.url, host="evil.example").status == 400


def test_what_is_expected_follows_from_the_customers(tmp_path: Path) -> None:
    """Consent and contacts say beforehand how many mails, receipts and papers the samples make."""
    counts = expected(samples.generate(tmp_path, today=date(2026, 11, 24)))
    assert (counts.archived, counts.paper, counts.mailed, counts.receipted) == (50, 12, 52, 52)
