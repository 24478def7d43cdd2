"""Back up, send, lose everything, restore: nothing is mailed twice, and all that is in doubt is shown."""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyrage
import pytest
from aiosmtpd.smtp import SMTP, Envelope, Session

from printerd.demo import trade
from printerd.model import Contact, Route
from tests.instance import PROGRAM, Instance, Mailbox, buyers, link_of, press, printed_samples, request, served
from tests.waiting import until

SINGLE = ("facture-simple-fr", "invoice-simple-en", "facture-cid-fr", "facture-deux-pages-fr", "avoir-fr")
ON_THE_EDGE = ("facture-simple-fr", "lot-40-fr")
STILL_HERE = (
    "invoice-simple-en",
    "facture-cid-fr",
    "facture-deux-pages-fr",
    "avoir-fr",
    "factures-texte-fr",
    "facture-postscript-fr",
    "facture-client-inconnu-fr",
)


class Door(Mailbox):
    """A relay that takes nothing while it is shut (421: later)."""

    shut = False

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        return "421 4.3.2 come back later" if self.shut else await super().handle_DATA(server, session, envelope)


def mails(mailbox: Mailbox) -> Counter[tuple[str, str]]:
    """How often each addressee got mail about each invoice: the subject names the number."""
    return Counter((str(message["To"]), str(message["Subject"])) for message in mailbox.messages())


def settle(mailbox: Mailbox, seconds: float = 4.0) -> Counter[tuple[str, str]]:
    """What was mailed once nothing has come for some seconds: a second copy would have had time."""
    deadline, seen = time.monotonic() + seconds, len(mailbox.envelopes)
    while time.monotonic() < deadline:
        time.sleep(0.2)
        if len(mailbox.envelopes) != seen:
            deadline, seen = time.monotonic() + seconds, len(mailbox.envelopes)
    return mails(mailbox)


@dataclass(frozen=True)
class Lock:
    """The words with which backups are locked, and those with which they are opened."""

    lock: tuple[str, ...]
    opening: tuple[str, ...]


def private(file: Path, text: str) -> str:
    file.touch(mode=0o600)
    file.write_text(text)
    return str(file)


@pytest.fixture
def passphrase(tmp_path: Path) -> Lock:
    """One that people keep in mind; it costs a second of computing, by design."""
    words = ("--passphrase-file", private(tmp_path / "passphrase", "correct horse battery staple\n"))
    return Lock(words, words)


@pytest.fixture
def recipient(tmp_path: Path) -> Lock:
    """The key pair of somebody who has age."""
    identity: Any = pyrage.x25519.Identity.generate()
    return Lock(
        ("--recipient", str(identity.to_public())), ("--identity", private(tmp_path / "key.txt", str(identity)))
    )


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return printed_samples(tmp_path_factory.mktemp("samples"))


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Instance]:
    with served(tmp_path / "state", mailbox=Door()) as instance:
        yield instance


def restore(folder: Path, new: Path, lock: Lock) -> str:
    words = ["restore", str(folder), "--state", str(new), *lock.opening]
    return subprocess.run([*PROGRAM, *words], capture_output=True, text=True, check=True, timeout=120).stdout


def numbers(rows: list[dict[str, Any]], *kinds: str) -> list[str]:
    return sorted(row["number"] for row in rows if not kinds or row["kind"] in kinds)


def archived(instance: Instance) -> dict[str, str]:
    """Where each archived invoice stands, by number."""
    return {
        one["number"]: one["delivery"]
        for one in instance.json("invoices", "--limit", "500")
        if one["state"] == "archived"
    }


def everyone_by_mail(instance: Instance, folder: Path) -> None:
    """Every customer of the samples has accepted mail, the newcomer too: all fifty invoices are mailed."""
    someone = trade.BUYERS[0].customer
    people = [one.customer for one in (*trade.BUYERS, trade.LATECOMER)]
    mailed = [
        replace(
            one,
            route=Route.MAIL,
            consent=someone.consent,
            contacts=one.contacts or (Contact(f"c-{one.code}", "", f"{one.code.lower()}@clients.example"),),
        )
        for one in people
    ]
    buyers(instance, folder / "all.csv", [replace(trade.BUYERS[0], customer=one) for one in mailed])


def test_what_waited_in_the_backup_and_was_sent_since_is_shown_and_not_sent_again(
    running: Instance, files: dict[str, Any], recipient: Lock, tmp_path: Path
) -> None:
    """Fifty wait when the backup is made, on the edge and before it; all leave; restored, none leaves again by itself.

    Each is listed as in doubt; the archive is whole; what a person keeps back never leaves.
    """
    mailbox, backups = running.mailbox, tmp_path / "backups"
    assert isinstance(mailbox, Door)
    everyone_by_mail(running, tmp_path)
    mailbox.shut = True
    for name in ON_THE_EDGE:
        running.delivered(running.print(files[name].file).number, "pending", seconds=120)
    running.kill("receipts", signal.SIGSTOP)
    for name in STILL_HERE:
        running.settled(running.print(files[name].file).number)
    running.run("backup", str(backups), *recipient.lock, "--with-private-key")
    waited = {number for number, step in archived(running).items() if step in ("due", "pending")}
    assert len(waited) == 50 and set(archived(running).values()) == {"due", "pending"}
    # All of it is sent after the backup, then everything is lost.
    mailbox.shut = False
    running.kill("receipts", signal.SIGCONT)
    until(lambda: not {"due", "pending"} & set(archived(running).values()), 120)
    before = settle(mailbox)
    assert set(before.values()) == {1}
    running.stop()
    said = restore(backups, tmp_path / "new", recipient)
    assert "Nothing is sent until you decide" in said
    new = Instance(tmp_path / "new", mailbox)
    try:
        new.start()
        listed = until(lambda: found if len((found := new.json("resume"))["in_doubt"]) >= len(waited) else None)
        assert set(numbers(listed["in_doubt"])) == waited
        assert {row["kind"] for row in listed["in_doubt"]} == {"held", "uncertain"}
        assert settle(mailbox) == before, "mailed twice after the restore"
        assert "was restored from the backup" in (new.state / "log").read_text()
        assert new.run("verify", "--all").stdout.startswith("CLEAN")
        _resumed(new, files, before, mailbox)
    finally:
        new.stop()


def _resumed(new: Instance, files: dict[str, Any], before: Counter[tuple[str, str]], mailbox: Mailbox) -> None:
    """Reprints change nothing; what is kept back never leaves."""
    again = new.settled(new.print(files["lot-40-fr"].file).number, 120)
    assert {one["state"] for one in again["invoices"]} == {"reprint"}
    new.run("resume", "--keep", "all", "--reason", "the relay's log has them all")
    assert new.json("resume")["in_doubt"] == []
    assert settle(mailbox) == before
    assert new.run("verify", "--all").stdout.startswith("CLEAN")
    kinds = {entry["kind"] for entry in new.json("invoices", "show", _any(new))["time_line"]}
    assert "ledger.act.resume.keep" in kinds


def _any(instance: Instance) -> str:
    return next(number for number, step in archived(instance).items() if step == "elsewhere")


def test_a_released_letter_goes_out_once(
    running: Instance, files: dict[str, Any], recipient: Lock, tmp_path: Path
) -> None:
    """What a person releases leaves with a link of its own, once, whether it waited here or on the edge.

    What is printed before somebody resumes is held too.
    """
    mailbox, backups = running.mailbox, tmp_path / "backups"
    assert isinstance(mailbox, Door)
    mailbox.shut = True
    running.delivered(running.print(files["facture-simple-fr"].file).number, "pending")
    running.kill("receipts", signal.SIGSTOP)
    running.settled(running.print(files["facture-cid-fr"].file).number)
    running.run("backup", str(backups), *recipient.lock, "--with-private-key")
    running.kill("receipts", signal.SIGCONT)
    running.stop()
    mailbox.shut = False
    restore(backups, tmp_path / "new", recipient)
    new = Instance(tmp_path / "new", mailbox)
    try:
        new.start()
        listed = until(lambda: found if len((found := new.json("resume"))["in_doubt"]) == 3 else None)
        assert sorted(row["kind"] for row in listed["in_doubt"]) == ["held", "uncertain", "uncertain"]
        assert mailbox.envelopes == []
        for number in set(numbers(listed["in_doubt"])):
            new.run("resume", "--release", number, "--reason", "never left")
        until(lambda: set(archived(new).values()) == {"accepted"})
        assert set(settle(mailbox).values()) == {1} and len(mailbox.envelopes) == 3
        assert new.json("resume")["in_doubt"] == []
        new.delivered(new.print(files["avoir-fr"].file).number, "held")
        new.run("resume", "--release", "all", "--reason", "nothing else was printed")
        until(lambda: set(archived(new).values()) == {"accepted"})
        for message in mailbox.messages():
            assert press(link_of(message)).body.startswith(b"%PDF-")
        until(lambda: set(archived(new).values()) == {"acknowledged"})
        until(lambda: new.run("verify", "--all", check=False).stdout.startswith("CLEAN"), 30)
    finally:
        new.stop()


def test_a_delivery_server_that_lives_on_tells_what_was_really_sent(
    running: Instance, files: dict[str, Any], recipient: Lock, tmp_path: Path
) -> None:
    """Only our side is lost: what left since is shown as mailed or by its number, and reprints are held.

    The receipts of links that were pressed in the lost time are made after all.
    """
    mailbox, backups = running.mailbox, tmp_path / "backups"
    assert isinstance(mailbox, Door)
    running.kill("receipts", signal.SIGSTOP)
    running.settled(running.print(files["facture-simple-fr"].file).number)
    running.run("backup", str(backups), *recipient.lock, "--with-private-key")
    running.kill("receipts", signal.SIGCONT)
    for name in SINGLE[1:]:
        running.delivered(running.print(files[name].file).number, "accepted", "paper")
    until(lambda: "due" not in archived(running).values())
    forgotten = {number for number, step in archived(running).items() if step == "accepted"}
    (known,) = {entry["number"] for entry in running.json("invoices") if entry["number"] == "FA-2026-0101"}
    before = settle(mailbox)
    old_link = link_of(mailbox.messages(about=known)[0])
    running.stop()
    restore(backups, tmp_path / "new", recipient)
    _edge_lives_on(running.state, tmp_path / "new")
    new = Instance(tmp_path / "new", mailbox)
    try:
        new.start()
        until(lambda: archived(new)[known] == "accepted")
        assert request("GET", new.address("public_url") + old_link[old_link.index("/l/") :]).status == 200
        listed = new.json("resume")
        assert set(numbers(listed["forgotten"])) == forgotten - {known}
        assert listed["in_doubt"] == []
        for name in SINGLE:
            new.settled(new.print(files[name].file).number)
        new.run("resume", "--release", "all", "--reason", "the server has told all")
        assert settle(mailbox) == before, "mailed twice by a reprint"
        listed = new.json("resume")["in_doubt"]
        assert set(numbers(listed)) == forgotten - {known} and all(row["sent_before"] for row in listed)
        assert new.run("verify", "--all").stdout.startswith("CLEAN")
    finally:
        new.stop()


def _edge_lives_on(old: Path, new: Path) -> None:
    """The delivery server's part of the old folder, as it is at the end: it was never lost."""
    (new / "receipts.db.restored").unlink()
    for path in old.glob("receipts.db*"):
        shutil.copy(path, new / path.name)
    shutil.rmtree(new / "edge", ignore_errors=True)
    shutil.copytree(old / "edge", new / "edge")
    shutil.copy(old / "keys" / "outbox.key", new / "keys" / "outbox.key")


def test_without_the_sealing_key_sealing_waits_until_it_is_put_back(
    running: Instance, files: dict[str, Any], passphrase: Lock, tmp_path: Path
) -> None:
    """No other key is made; what was sealed is verified; what is printed is sealed once the key is there."""
    backups, new_state = tmp_path / "backups", tmp_path / "new"
    running.delivered(running.print(files["facture-simple-fr"].file).number, "accepted")
    running.run("backup", str(backups), *passphrase.lock)
    running.stop()
    assert "sealing waits until you put seal.key and tsa.key back" in restore(backups, new_state, passphrase)
    new = Instance(new_state, running.mailbox)
    try:
        new.start()
        assert new.run("verify", "--all").stdout.startswith("CLEAN")
        number = new.print(files["facture-cid-fr"].file).number
        shown = until(lambda: found if (found := new.job(number)["invoices"]) else None)
        trouble = until(lambda: new.json("invoices", "show", shown[0]["number"])["invoice"]["trouble"])
        assert "its key is not" in trouble
        assert list((new_state / "keys").glob("*.key")) in ([], [new_state / "keys" / "outbox.key"])
        for name in ("seal.key", "tsa.key"):
            shutil.copy(running.state / "keys" / name, new_state / "keys" / name)
        new.delivered(number, "held", seconds=90)
        assert new.run("verify", "--all").stdout.startswith("CLEAN")
    finally:
        new.stop()
