"""Backups: what they hold, what breaks them, and what a restored instance knows of itself."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyrage
import pytest
import sqlalchemy as sa

from printerd.backup import manifest, restoring, saving, vault
from printerd.errors import ConfigurationError, IntegrityError, RequestError
from printerd.evidence import cms, keys, resume
from printerd.model import Mode
from printerd.storage import instance, migrations, schema
from printerd.storage.blobs import Blobs
from printerd.storage.database import Database
from receipt_service import database as edges
from tests import archive_rows as rows

NOW = datetime.now(UTC).replace(microsecond=0)
"""The certificates of these tests are made now, and not valid before."""
PROGRAM = [sys.executable, "-m", "printerd"]
KILLED_AT = """
import os, signal, sys
from printerd import cli
steps = {"left": int(sys.argv.pop(1))}
def counted(name):
    real = getattr(os, name)
    def call(*args, **options):
        steps["left"] -= 1
        if steps["left"] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*args, **options)
    setattr(os, name, call)
for name in ("fsync", "sync", "rename", "replace", "mkdir", "open"):
    counted(name)
try:
    cli.main()
finally:
    print(1_000_000 - steps["left"], file=sys.stderr)
"""
"""The command line in a process that kills itself (-9) at the n-th step that changes a disk."""


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keys")
    keys.seal(folder, "Au bon moulin")
    return folder


@pytest.fixture
def state(tmp_path: Path, key: Path) -> Path:
    """A small live instance: one invoice mailed, one about to be sent, one order for a second mail, one on paper."""
    state = tmp_path / "state"
    for folder in ("run", "templates", "out-tray", "edge/documents"):
        (state / folder).mkdir(parents=True)
    shutil.copytree(key, state / "keys")
    (state / "keys" / "contract.secret").write_text("a secret of the contract")
    (state / "config.toml").write_text('language = "fr"\n')
    (state / "templates" / "moulin.toml").write_text("# Épicerie du Canal\n")
    (state / "out-tray" / "2026-11-24 FA-4.pdf").touch()
    fill(state)
    return state


def fill(state: Path) -> None:
    database, blobs = Database(f"sqlite:///{state / 'printerd.db'}"), Blobs(state)
    migrations.upgrade(database)
    with database.write() as connection:
        instance.set_mode(connection, Mode.LIVE)
        instance.identity(connection)
        original = blobs.put(b"%PDF-1.7 as it was printed", "application/pdf").digest
        job = rows.job(connection, original=original)
        made = [
            rows.invoice(connection, blobs, job, n, fields={"number": f"FA-{n}", "total": f"{n}.00"}) for n in range(4)
        ]
        mailed = rows.delivery(connection, made[0])
        rows.event(connection, mailed, "ConsignmentNotification", 1, reply="250 Ok", to="c@canal.example")
        rows.receipt(connection, blobs, mailed, number=7)
        rows.delivery(connection, made[1], state="due", sent_at=None, batch=rows.identity("batch"))
        rows.delivery(connection, made[2], state="due", sent_at=None, route="paper", facts={})
        order = {"id": rows.identity("order"), "delivery": mailed, "contact": "", "who": "marie", "reason": "lost"}
        connection.execute(schema.dispatches.insert().values(order | {"state": "due", "created_at": NOW}))
    database.close()
    (handed,) = [path for path in state.glob("blobs/*/*") if path.name == original]
    target = state / "edge" / "documents" / handed.parent.name / handed.name
    target.parent.mkdir()
    shutil.copyfile(handed, target)
    edge = edges.connect(state / "receipts.db")
    edges.make_tables(edge, "edge-1")
    edge.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    saving.prepare(tmp_path / "backups")
    return tmp_path / "backups"


@pytest.fixture(scope="module")
def identity() -> Any:
    return pyrage.x25519.Identity.generate()


def recipients(folder: Path, identity: Any) -> vault.Recipients:
    return vault.recipients(folder, [str(identity.to_public())], None)


def save(state: Path, folder: Path, identity: Any, now: datetime = NOW, private_key: bool = False) -> saving.Report:
    pair = keys.seal(state / "keys", "Au bon moulin")
    source = saving.Source(state, state / "config.toml", private_key)
    return saving.save(source, folder, recipients(folder, identity), lambda d: cms.sign(pair, "data", d), now)


def restore(folder: Path, state: Path, identity: Any, **options: Any) -> restoring.Report:
    opener = vault.Opener([identity])
    return restoring.restore(
        folder, manifest.choose(folder), state, opener, "it", NOW, language_of=lambda _: "fr", **options
    )


def private(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o600)
    return path


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Any]:
    """The database of a restored state folder."""
    made: list[Database] = []

    def open_(state: Path) -> Database:
        made.append(Database(f"sqlite:///{state / 'printerd.db'}"))
        return made[-1]

    yield open_
    for database in made:
        database.close()


# What it holds


def test_what_was_saved_comes_back(state: Path, folder: Path, identity: Any, tmp_path: Path) -> None:
    """Documents, settings, templates and certificates are byte for byte what they were; files are their owner's."""
    report = save(state, folder, identity)
    restore(folder, tmp_path / "new", identity)
    assert report.faults == () and report.documents == 6
    for place in ("blobs", "edge", "templates", "config.toml", "keys/seal.crt", "keys/contract.secret"):
        for path in [state / place, *(state / place).rglob("*")]:
            if path.is_file():
                again = tmp_path / "new" / path.relative_to(state)
                assert again.read_bytes() == path.read_bytes()
                assert again.stat().st_mode & 0o077 == 0


def test_the_private_key_is_in_it_only_when_asked_for(state: Path, folder: Path, identity: Any, tmp_path: Path) -> None:
    """Without it, checking works and no other key is made; with it, the instance seals again."""
    assert not save(state, folder, identity).private_key
    assert not restore(folder, tmp_path / "without", identity).private_key
    assert [path.name for path in (tmp_path / "without/keys").glob("*.key")] == []
    with pytest.raises(ConfigurationError, match="its key is not"):
        keys.seal(tmp_path / "without/keys", "Au bon moulin")
    save(state, folder, identity, NOW + timedelta(hours=1), private_key=True)
    assert restore(folder, tmp_path / "with", identity).private_key
    assert (tmp_path / "with/keys/seal.key").read_bytes() == (state / "keys/seal.key").read_bytes()


def test_a_document_is_stored_once(state: Path, folder: Path, identity: Any) -> None:
    """The next backup adds what is new; a stored file that has gone, or another size, is stored again."""
    first = save(state, folder, identity)
    assert first.stored_now == first.documents
    assert save(state, folder, identity, NOW + timedelta(hours=1)).stored_now == 0
    stored = sorted(folder.glob("objects/*/*.age"))
    stored[0].unlink()
    stored[1].write_bytes(b"cut")
    third = save(state, folder, identity, NOW + timedelta(hours=2))
    assert (third.stored_now, third.documents) == (2, first.documents)
    assert list(manifest.damaged(folder, manifest.choose(folder))) == []


def test_nothing_can_be_read_without_the_key(state: Path, folder: Path, identity: Any) -> None:
    """No customer, number or name of a file stands in the folder of backups."""
    save(state, folder, identity, private_key=True)
    everything = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    for word in (b"picerie du Canal", b"canal.example", b"PRIVATE KEY", b"a secret of the contract", b"FA-4", b"%PDF"):
        assert word not in everything


def test_a_damaged_archive_is_saved_and_named(state: Path, folder: Path, identity: Any, tmp_path: Path) -> None:
    """A document that is missing or changed is named; the rest is saved, and can be restored."""
    first, second, *_ = sorted(path for path in state.glob("blobs/*/*") if b"as it was" not in path.read_bytes())
    first.unlink()
    second.write_bytes(b"changed")
    report = save(state, folder, identity)
    assert report.faults == (f"document {first.name} is missing", f"document {second.name} is damaged")
    assert restore(folder, tmp_path / "new", identity).faults == report.faults


# What breaks it


def test_a_flipped_byte_is_named(state: Path, folder: Path, identity: Any, tmp_path: Path) -> None:
    """Any changed byte of any stored file: the file is named, by the check without a key too, and nothing is left."""
    save(state, folder, identity)
    backup = manifest.choose(folder)
    stored = [*sorted((backup / "files").iterdir()), *sorted(folder.glob("objects/*/*.age"))]
    for path in stored:
        good = path.read_bytes()
        for place in (5, len(good) // 2, len(good) - 1):
            path.write_bytes(good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :])
            assert list(manifest.damaged(folder, backup)) == [f"{path} is damaged"]
            with pytest.raises(IntegrityError) as caught:
                restore(folder, tmp_path / "new", identity)
            assert str(path) in caught.value.where and caught.value.where.count("\n") == 0
        path.write_bytes(good)
    for name in (manifest.MANIFEST, manifest.SIGNATURE, manifest.OBJECTS):
        good = (backup / name).read_bytes()
        (backup / name).write_bytes(good[:200] + bytes([good[200] ^ 1]) + good[201:])
        with pytest.raises(IntegrityError):
            restore(folder, tmp_path / "new", identity)
        (backup / name).write_bytes(good)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["backups", "state"]
    restore(folder, tmp_path / "new", identity)


def test_a_missing_file_is_named(state: Path, folder: Path, identity: Any, tmp_path: Path) -> None:
    """Every missing document is named at once."""
    save(state, folder, identity)
    gone = sorted(folder.glob("objects/*/*.age"))[:2]
    for path in gone:
        path.unlink()
    with pytest.raises(IntegrityError, match="2 of its files") as caught:
        restore(folder, tmp_path / "new", identity)
    assert caught.value.where == "\n".join(f"{path}: It is missing." for path in gone)


def test_a_backup_sealed_by_somebody_else_is_refused(
    state: Path, folder: Path, identity: Any, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Who can encrypt to the recipient cannot make a backup of this instance, nor one that --trust accepts."""
    stranger = tmp_path_factory.mktemp("stranger")
    pair = keys.seal(stranger, "Somebody")
    source = saving.Source(state, None, False)
    saving.save(source, folder, recipients(folder, identity), lambda d: cms.sign(pair, "data", d), NOW)
    with pytest.raises(IntegrityError, match="not the instance's"):
        restore(folder, tmp_path / "new", identity)
    save(state, folder, identity, NOW + timedelta(hours=1))
    with pytest.raises(IntegrityError, match="that you trust"):
        restore(folder, tmp_path / "new", identity, anchors=(stranger / "seal.crt",))
    restore(folder, tmp_path / "new", identity, anchors=(state / "keys/seal.crt",))


def test_a_path_outside_the_folder_is_refused(state: Path, folder: Path, identity: Any) -> None:
    """A manifest cannot write elsewhere."""
    save(state, folder, identity)
    backup = manifest.choose(folder)
    raw = json.loads((backup / manifest.MANIFEST).read_bytes())
    for path in ("../outside", "/etc/passwd", ""):
        raw["files"][0]["path"] = path
        with pytest.raises(IntegrityError, match="outside"):
            manifest.decode(json.dumps(raw).encode(), "here")


# Keys and passphrases


def test_a_passphrase_is_needed_once_to_begin_and_then_to_open(state: Path, folder: Path, tmp_path: Path) -> None:
    """The nightly backup needs no secret; a wrong passphrase says so."""
    right, wrong = private(tmp_path / "right", "correct horse\n"), private(tmp_path / "wrong", "battery\n")
    first = vault.recipients(folder, (), right)
    assert vault.recipients(folder, (), None).names == first.names
    with pytest.raises(RequestError, match="passphrase does not open"):
        vault.unlock(folder, wrong, None)
    with pytest.raises(RequestError, match="passphrase does not open"):
        vault.recipients(folder, (), wrong)
    pair = keys.seal(state / "keys", "")
    saving.save(saving.Source(state, None, False), folder, first, lambda d: cms.sign(pair, "data", d), NOW)
    opener = vault.unlock(folder, right, None)
    restoring.restore(folder, manifest.choose(folder), tmp_path / "new", opener, "it", NOW, language_of=lambda _: "en")
    assert b"correct horse" not in b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


def test_what_opens_a_folder_is_chosen_once(folder: Path, identity: Any, tmp_path: Path) -> None:
    """A new folder needs a passphrase or a recipient; a known one takes no other."""
    with pytest.raises(RequestError, match="one way to open"):
        vault.recipients(folder, (), None)
    with pytest.raises(RequestError, match="is no recipient"):
        vault.recipients(folder, ["age1nonsense"], None)
    recipients(folder, identity)
    with pytest.raises(RequestError, match="for somebody else"):
        vault.recipients(folder, [str(pyrage.x25519.Identity.generate().to_public())], None)
    with pytest.raises(RequestError, match="is encrypted") as caught:
        vault.unlock(folder, None, None)
    assert "--identity" in caught.value.remedy
    file = private(tmp_path / "key.txt", f"# made by age-keygen\n{identity}\n")
    assert vault.unlock(folder, None, file)
    file.chmod(0o644)
    with pytest.raises(ConfigurationError, match="Others may read"):
        vault.unlock(folder, None, file)


def test_another_key_is_not_taken_for_damage(state: Path, folder: Path, identity: Any, tmp_path: Path) -> None:
    """Whose key does not fit is told so."""
    save(state, folder, identity)
    with pytest.raises(RequestError, match="key does not open"):
        restore(folder, tmp_path / "new", pyrage.x25519.Identity.generate())
    assert not (tmp_path / "new").exists()


# Cut off


def test_a_state_folder_that_holds_anything_is_refused(state: Path, folder: Path, identity: Any) -> None:
    """A restore never writes over an instance; an empty folder is filled."""
    save(state, folder, identity)
    with pytest.raises(RequestError, match="not empty"):
        restore(folder, state, identity)
    empty = folder.parent / "empty"
    empty.mkdir()
    restore(folder, empty, identity)
    assert (empty / "printerd.db").exists()


def killed_at(step: int, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", KILLED_AT, str(step), *words], capture_output=True, text=True, check=False
    )


def steps_of(*words: str) -> int:
    """How many steps that change a disk a command takes when nothing kills it."""
    done = killed_at(1_000_000, *words)
    assert done.returncode == 0, done.stderr
    return int(done.stderr.split()[-1])


def test_killed_at_any_step_there_is_the_whole_or_nothing(
    state: Path, folder: Path, identity: Any, tmp_path: Path
) -> None:
    """kill -9 in a backup leaves no backup, in a restore no state folder; the next one finds nothing in its way."""
    recipients(folder, identity)
    file = private(tmp_path / "key.txt", f"{identity}\n")
    backup = ["backup", str(folder), "--state", str(state)]
    saving.prepare(tmp_path / "measured")
    recipients(tmp_path / "measured", identity)
    total = steps_of("backup", str(tmp_path / "measured"), "--state", str(state))
    for part in (0.3, 0.5, 0.7, 0.9, 0.99):
        done = killed_at(int(total * part), *backup)
        assert done.returncode == -9, done.stderr
        assert all(list(manifest.damaged(folder, one)) == [] for one in manifest.complete(folder))
    before = len(manifest.complete(folder))
    subprocess.run([*PROGRAM, *backup], check=True, capture_output=True)
    assert len(manifest.complete(folder)) == before + 1
    assert list(folder.glob(".*")) == [] and list((state / "run").glob("saving-*")) == []
    new = tmp_path / "new"
    options = ["restore", str(folder), "--identity", str(file), "--state"]
    total = steps_of(*options, str(tmp_path / "measured-too"))
    for part in (0.2, 0.5, 0.8, 0.95):
        done = killed_at(int(total * part), *options, str(new))
        assert done.returncode == -9, done.stderr
        assert not new.exists()
    subprocess.run([*PROGRAM, *options, str(new)], check=True, capture_output=True)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_one_backup_at_a_time(state: Path, folder: Path, identity: Any) -> None:
    """A second backup of the same instance, or into the same folder, is refused while the first is made."""
    with saving._alone(state, folder), pytest.raises(RequestError, match="Another backup"):
        save(state, folder, identity)


def test_a_folder_without_a_backup_says_so(folder: Path) -> None:
    """The beginnings of a backup are none."""
    (folder / "20261124T040509Z-1f2e").mkdir()
    with pytest.raises(RequestError, match="no backup here"):
        manifest.choose(folder)


# The new epoch


def test_what_waited_is_held_and_the_ledger_says_so(
    state: Path, folder: Path, identity: Any, tmp_path: Path, opened: Any
) -> None:
    """Deliveries and orders that were due go nowhere; who restored what is recorded; receipts' numbers leave a gap."""
    report = save(state, folder, identity)
    assert restore(folder, tmp_path / "new", identity).held == 3
    with opened(tmp_path / "new").write() as connection:
        begun = instance.restored(connection)
        assert begun is not None
        assert (begun.backup, begun.made_at) == (report.name, report.made_at)
        assert begun.out_tray == ("2026-11-24 FA-4.pdf",)
        found = resume.doubts(connection)
        assert sorted((one.kind, one.number, one.to) for one in found) == [
            ("again", "FA-0", "compta@canal.example"),
            ("held", "FA-1", "compta@canal.example"),
            ("held", "FA-2", "paper"),
        ]
        assert instance.first_receipt(connection) > 7 + 1000
        assert connection.scalar(sa.select(schema.jobs.c.message)).count("retenue") == 1
        entry = connection.execute(
            sa.select(schema.ledger.c.kind, schema.ledger_records.c.body).join_from(
                schema.ledger, schema.ledger_records
            )
        ).one()
    assert entry.kind == "act.restore"
    assert json.loads(entry.body) == {
        "who": "it",
        "backup": report.name,
        "made_at": report.made_at,
        "held": 3,
        "lost": "unknown",
    }


def test_a_person_decides_one_by_one_and_then_for_all(
    state: Path, folder: Path, identity: Any, tmp_path: Path, opened: Any
) -> None:
    """Released goes out, kept never does; "all" ends the doubt; each decision is in the ledger with its reason."""
    save(state, folder, identity)
    restore(folder, tmp_path / "new", identity)
    with opened(tmp_path / "new").write() as connection:
        with pytest.raises(RequestError, match="reason is missing"):
            resume.send(connection, ["FA-1"], "marie", " ", NOW, "fr")
        with pytest.raises(RequestError, match="Nothing in doubt"):
            resume.send(connection, ["FA-3"], "marie", "x", NOW, "fr")
        resume.send(connection, ["FA-1"], "marie", "the relay has no trace", NOW, "fr")
        assert instance.restored(connection) is not None
        resume.keep(connection, ["all"], "marie", "all the rest left", NOW, "fr")
        assert instance.restored(connection) is None and resume.doubts(connection) == ()
        states = sa.select(schema.invoices.c.number, schema.deliveries.c.state).join_from(
            schema.deliveries, schema.invoices
        )
        assert {row.number: row.state for row in connection.execute(states)} == {
            "FA-0": "sent",
            "FA-1": "due",
            "FA-2": "elsewhere",
        }
        kinds = connection.scalars(sa.select(schema.ledger.c.kind).order_by(schema.ledger.c.index)).all()
    assert kinds == ["act.restore", "act.resume.send", "act.resume.keep", "act.resume.keep", "act.resume"]


def test_what_is_known_to_have_left_is_not_released_with_the_rest(
    state: Path, folder: Path, identity: Any, tmp_path: Path, opened: Any
) -> None:
    """ "all" leaves out the numbers that the delivery server was given in the lost time; by its number, one goes."""
    save(state, folder, identity)
    restore(folder, tmp_path / "new", identity)
    with opened(tmp_path / "new").write() as connection:
        resume.remember_sent(connection, ["FA-1"])
        sent = resume.send(connection, ["all"], "marie", "the rest", NOW, "fr")
        assert {one.number for one in sent} == {"FA-0", "FA-2"}
        assert [(one.number, one.sent_before) for one in resume.doubts(connection)] == [("FA-1", True)]
        assert len(resume.send(connection, ["FA-1"], "marie", "he lost it", NOW, "fr")) == 1


def test_a_folder_put_together_from_copies_begins_anew_too(state: Path, opened: Any) -> None:
    """litestream's copies, or a disk image: resume --from-copies holds what waits."""
    done = subprocess.run(
        [*PROGRAM, "resume", "--from-copies", "--state", str(state)], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("3 held.")
    with opened(state).read() as connection:
        assert instance.restored(connection) is not None


def test_the_command_line_tells_what_counts(state: Path, folder: Path, identity: Any, tmp_path: Path) -> None:
    """backup, --check, restore and resume say in words and in JSON what was done and what is left to do."""
    recipients(folder, identity)
    file = private(tmp_path / "key.txt", f"{identity}\n")
    new = str(tmp_path / "new")

    def run(*words: str) -> str:
        done = subprocess.run([*PROGRAM, *words], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "The sealing key is not in it" in run("backup", str(folder), "--state", str(state))
    assert json.loads(run("backup", str(folder), "--check", "--json"))["damaged"] == []
    said = run("restore", str(folder), "--identity", str(file), "--state", new)
    for words in ("sealing waits until you put", "Nothing is sent until", "is lost", "Sealed by Au bon moulin"):
        assert words in said
    listed = json.loads(run("resume", "--state", new, "--json"))
    assert len(listed["in_doubt"]) == 3 and listed["forgotten"] == []
    assert "look whether it was posted: 2026-11-24 FA-4.pdf" in run("resume", "--state", new)
    assert run("resume", "--keep", "all", "--reason", "all left", "--state", new).startswith("0 released, 3 kept")


def test_documents_are_named_by_their_bytes(state: Path, folder: Path, identity: Any) -> None:
    """What a stored document decrypts to has the SHA-256 that names it."""
    save(state, folder, identity)
    for path in folder.glob("objects/*/*.age"):
        assert hashlib.sha256(pyrage.decrypt(path.read_bytes(), [identity])).hexdigest() == path.stem
