"""Who may read what: files, command lines, environments and logs of a running service."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator

import psutil
import pytest

from tests.instance import Instance, link_of, press, printed_samples, request, served

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


def secrets_of(instance: Instance) -> list[str]:
    token = link_of(instance.mailbox.messages()[0]).rpartition("/")[2]
    return [PASSWORD, (instance.state / "keys" / "contract.secret").read_text(), token]


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


def test_no_secret_is_written_but_into_keys_and_the_running_settings(instance: Instance) -> None:
    """Log, databases, outbox and archive hold neither the password, nor the contract's secret, nor a link's token."""
    allowed = {instance.state / "run" / "receipts.json", instance.state / "keys" / "contract.secret"}
    files = [path for path in instance.state.rglob("*") if path.is_file() and path not in allowed]
    found = [path.name for path in files for secret in secrets_of(instance) if secret.encode() in path.read_bytes()]
    assert found == []


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
