"""Who may read what: files, command lines, environments and logs of a running service."""

from __future__ import annotations

import os
import re
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing, suppress

import psutil
import pytest

from tests.instance import Instance, link_of, press, printed_samples, request, served
from tests.waiting import until

PASSWORD = "swordfish-4711"
OURS = {"config.toml", "customers.csv", "log"}
"""What the test itself put into the state folder."""


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    """An instance in a folder that others may enter, as an administrator makes it, with one invoice acknowledged."""
    folder = tmp_path_factory.mktemp("secrets")
    password = folder / "smtp.password"
    password.write_text(PASSWORD)
    password.chmod(0o600)
    (folder / "state").mkdir(mode=0o755)
    before = os.umask(0o022)
    try:
        with served(folder / "state", {"smtp.password_file": str(password)}) as running:
            sample = printed_samples(folder / "samples")["facture-cid-fr"]
            job = running.delivered(running.print(sample.file).number, "accepted")
            (message,) = running.mailbox.messages(about=job["invoices"][0]["number"])
            assert press(link_of(message)).status == 200
            running.delivered(1, "acknowledged")
            yield running
    finally:
        os.umask(before)


@pytest.fixture(scope="module")
def login(instance: Instance) -> list[str]:
    """The token of a person's link to the console, and that of the session which it became."""
    link = re.search(r"http://\S+/login/(\S+)", instance.run("console", "open").stdout)
    assert link
    origin = {"Origin": f"http://{instance.address('ipp')}", "Content-Type": "application/x-www-form-urlencoded"}
    entered = request("POST", link[0], headers=origin)
    session = re.search(r"=([\w-]{43});", entered.headers["set-cookie"])
    assert (entered.status, session is not None) == (303, True)
    return [link[1], session[1] if session else ""]


def tokens_of(instance: Instance) -> list[str]:
    """The tokens of every customer's link that was mailed."""
    return [link_of(message).rpartition("/")[2] for message in instance.mailbox.messages()]


def secrets_of(instance: Instance) -> list[str]:
    return [PASSWORD, (instance.state / "keys" / "contract.secret").read_text(), *tokens_of(instance)]


def at_rest(instance: Instance) -> dict[str, bytes]:
    """Every file of the state folder by its path, but the two that are made to hold secrets."""
    allowed = {"run/receipts.json", "keys/contract.secret"}
    found = {}
    for path in instance.state.rglob("*"):
        with suppress(FileNotFoundError):  # the service works on, and partial files come to their end
            if path.is_file() and (name := str(path.relative_to(instance.state))) not in allowed:
                found[name] = path.read_bytes()
    return found


def showing(files: dict[str, bytes], secrets: list[str]) -> list[str]:
    """The files that hold a secret, or half of one: a long line of a mail may be folded in the middle of a link."""
    halves = [half.encode() for one in secrets for half in (one[: len(one) // 2], one[len(one) // 2 :])]
    return [name for name, data in files.items() if any(half in data for half in halves)]


def letters_waiting(instance: Instance) -> int:
    with closing(sqlite3.connect(instance.state / "receipts.db")) as connection:
        found: int = connection.execute("SELECT count(*) FROM outbox WHERE state != 'ACCEPTED'").fetchone()[0]
        return found


def test_others_read_nothing(instance: Instance) -> None:
    """Databases, documents, keys, locks and sockets are their owner's alone, also where their folder is not."""
    open_to_others = [
        str(path.relative_to(instance.state))
        for path in instance.state.rglob("*")
        if path.name not in OURS and path.lstat().st_mode & (stat.S_IRWXG | stat.S_IRWXO)
    ]
    assert open_to_others == []


def test_no_secret_is_told_to_whoever_lists_processes(instance: Instance) -> None:
    """Neither command lines, which all users see, nor environments hold a secret or a customer's link."""
    assert instance.process is not None
    processes = [psutil.Process(instance.process.pid), *instance.family()]
    told = [" ".join([*one.cmdline(), *one.environ().values()]) for one in processes]
    assert len(told) >= 8
    assert not [words for words in told for secret in secrets_of(instance) if secret in words]


def test_a_letter_that_waits_shows_no_link(instance: Instance) -> None:
    """While the relay is away a letter that was ordered again lies in the outbox: nothing at rest opens its link."""
    (invoice,) = instance.job(1)["invoices"]
    before = len(instance.mailbox.messages())
    instance.mailbox.close()
    try:
        instance.run("invoices", "resend", invoice["number"], "--reason", "the customer has lost it")
        until(lambda: letters_waiting(instance))
        waiting = at_rest(instance)
    finally:
        instance.mailbox.start()
    until(lambda: len(instance.mailbox.messages()) > before and not letters_waiting(instance))
    tokens = tokens_of(instance)
    assert len(set(tokens)) == before + 1, "each letter has a link of its own"
    assert "receipts.db" in waiting and b"the customer has lost it" in b"".join(waiting.values())
    assert showing(waiting, tokens) == []


def test_no_secret_is_written_but_into_keys_and_the_running_settings(instance: Instance, login: list[str]) -> None:
    """Log, databases, outbox and archive hold no password, no contract's secret, no token of a link or a session.

    This is after a first letter, one more by a person, a receipt and a login.
    """
    files = at_rest(instance)
    assert {"printerd.db", "receipts.db", "log"} <= files.keys()
    assert len(tokens_of(instance)) >= 2
    assert showing(files, [*secrets_of(instance), *login]) == []


def test_the_contract_is_not_served_to_customers(instance: Instance) -> None:
    """On the public address the contract's paths are nowhere, whatever secret comes along."""
    secret = (instance.state / "keys" / "contract.secret").read_text()
    page = f"http://{instance.address('public')}"
    there = request("GET", f"{page}/api/v1/status", headers={"Authorization": f"Bearer {secret}"})
    assert (there.status, there.body) == (404, request("GET", f"{page}/l/{'x' * 43}").body)
    api = request("GET", f"http://{instance.address('api')}/api/v1/openapi.json")
    assert api.status == 401 and not re.search(rb"paths|Receipt", api.body)


def test_stopped_it_leaves_no_copy_of_a_secret(instance: Instance) -> None:
    """The settings of the receipt service, with the password in them, end with the service."""
    assert (instance.state / "run" / "receipts.json").exists()
    instance.stop()
    left = [path for path in (instance.state / "run").rglob("*") if path.is_file() and PASSWORD in path.read_text()]
    assert left == [] and not (instance.state / "run" / "receipts.json").exists()
