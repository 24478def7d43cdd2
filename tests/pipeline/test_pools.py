from __future__ import annotations

import errno
import importlib
import os
import signal
import socket
import stat
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from printerd.errors import ConfigurationError, DocumentError, TransientError
from printerd.pipeline.confine import landlock_version
from printerd.pipeline.pools import Handlers, Limits, Pool, PoolBroken

Start = Callable[..., Handlers]
LIMITS = Limits(address_space=1 << 30, cpu=1, file_size=4 << 20, open_files=32)


@pytest.fixture(scope="module")
def start() -> Iterator[Start]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parent)
        yield importlib.import_module("pool_tasks").start


@pytest.fixture(scope="module")
def pool(start: Start, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pool]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("INVOICE_PRINTER_SECRET", "swordfish")
        with Pool(start, {"word": "moulin"}, size=2, limits=LIMITS, folder=tmp_path_factory.mktemp("pool")) as made:
            yield made


def calls(pool: Pool) -> list[Path]:
    """What is left of calls: their folders, and what lies in the folder for temporary files that each child has."""
    private = set(pool._calls.glob("*/.tmp"))
    left = (file for folder in private for file in folder.iterdir())
    return [*left, *(path for path in pool._calls.glob("*/*") if path not in private), *pool._kept.iterdir()]


def works(pool: Pool) -> bool:
    with pool.call("word", {}) as answer:
        return answer.values == {"word": "moulin"}


def gone(pid: int) -> bool:
    """Whether a process has ended; one that nobody has waited for yet is a zombie."""
    status = Path(f"/proc/{pid}/stat")
    for _ in range(200):
        if not status.exists() or status.read_text().rpartition(")")[2].split()[0] == "Z":
            return True
        time.sleep(0.01)
    return False


def test_values_and_files_reach_the_child_and_come_back(pool: Pool, tmp_path: Path) -> None:
    """A call hands over JSON and open files, and returns JSON."""
    (tmp_path / "a").write_text("été")
    (tmp_path / "b").write_text("€")
    with (tmp_path / "b").open("rb") as opened:
        opened.read()
        with pool.call("echo", {"n": 1, "text": "œ"}, [tmp_path / "a", opened]) as answer:
            assert answer.values.items() >= {"n": 1, "text": "œ", "files": ["été", "€"]}.items()


def test_an_output_file_lives_as_long_as_the_answer(pool: Pool) -> None:
    """Files of a call are in a private folder that is removed when the answer is left."""
    with pool.call("write", {"name": "0.pdf", "text": "%PDF"}) as answer:
        path = answer.file("0.pdf")
        assert path.read_text() == "%PDF"
        assert answer.file("0.pdf") == path
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert calls(pool) == []


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "/etc/passwd", "a\0b", "absent", "symbolic", "hard", "folder"])
def test_a_name_that_is_no_plain_file_is_refused(pool: Pool, name: str) -> None:
    """A child cannot make us read through a link, a folder or a path of its choice."""
    with pool.call("link", {"target": "/etc/passwd"}) as answer, pytest.raises(PoolBroken):
        answer.file(name)
    assert calls(pool) == []


def test_a_link_in_the_place_of_its_folder_gains_a_child_nothing(start: Start, tmp_path: Path) -> None:
    """A reader that was taken over cannot have us take our own files for its output, nor have them removed."""
    (tmp_path / "seal.key").write_text("key")
    asked = {"target": str(tmp_path), "name": "seal.key"}
    with Pool(start, {"word": "moulin"}, size=1, limits=LIMITS, folder=tmp_path / "pool") as pool:
        with pytest.raises(PoolBroken, match="in the place of its folder"):
            pool.call("swap", asked)
        assert works(pool)
    assert (tmp_path / "seal.key").read_text() == "key"


@pytest.mark.parametrize(("before", "act"), [("word", "mkdir"), ("die", "mkdir"), ("die", "rename")])
def test_a_full_disk_blames_no_document(pool: Pool, monkeypatch: pytest.MonkeyPatch, before: str, act: str) -> None:
    """A call, a new child or an answer finds no room: it is tried again later, and goes on as soon as there is some."""

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with suppress(PoolBroken), pool.call(before, {}):
        pass  # after ``die`` the child that is asked next has to be forked anew
    with monkeypatch.context() as patched:
        patched.setattr(Path, act, full)
        for _ in range(4):
            with pytest.raises(TransientError, match="No space left") as told:
                pool.call("word", {})
            assert not isinstance(told.value, PoolBroken)
    assert [works(pool) for _ in range(4)] == [True] * 4
    assert calls(pool) == []


def test_an_answer_outlives_its_child(start: Start, tmp_path: Path) -> None:
    """What a child has returned is not lost when its next document breaks it."""
    with (
        Pool(start, {"word": "moulin"}, size=1, limits=LIMITS, folder=tmp_path) as pool,
        pool.call("write", {"name": "0.pdf", "text": "%PDF"}) as answer,
    ):
        with pytest.raises(PoolBroken):
            pool.call("die", {})
        assert works(pool)
        assert answer.file("0.pdf").read_text() == "%PDF"


def test_children_do_not_see_one_another(pool: Pool) -> None:
    """Where the kernel has Landlock, a reader that was taken over finds no document but its own."""
    with pool.call("neighbours", {}) as answer:
        assert answer.values["seen"] == ("PermissionError" if landlock_version() >= 1 else "done")


def test_a_child_holds_one_socket_and_no_secret(pool: Pool, tmp_path: Path) -> None:
    """A reader has one channel, no other open file, and an environment without our secrets; its TMPDIR is its own."""
    with (tmp_path / "printerd.db").open("w") as database, socket.socket() as listener:
        assert database.fileno() and listener.fileno()
        with pool.call("look", {}) as answer:
            targets = [t for t in answer.values["descriptors"].values() if t != "gone"]
            assert sum(t.startswith("socket:") for t in targets) == 1
            assert {t for t in targets if not t.startswith("socket:")} <= {"/dev/null"}
            assert set(answer.values["environment"]) <= {"PATH", "LANG", "HOME", "TZ", "TMPDIR", "LC_CTYPE"}
            assert answer.values["temporary_is_private"]


def temptations(folder: Path, server: socket.socket) -> dict[str, object]:
    (folder / "seal.key").write_text("key")
    return {
        "secret": str(folder / "seal.key"),
        "outside": str(folder / "outside"),
        "port": server.getsockname()[1],
        "pid": os.getpid(),
    }


def test_a_child_reaches_neither_state_nor_network(pool: Pool, tmp_path: Path) -> None:
    """A reader that was taken over opens no socket, also no unix one, and looks into no other process; where the kernel
    has Landlock it cannot read the state folder, write outside its own, or send us a signal."""
    version = landlock_version()
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        pool.call("reach", temptations(tmp_path, server)) as answer,
    ):
        assert answer.values["memory"] == "PermissionError"
        assert {name for name, outcome in answer.values.items() if outcome == "done"} == {
            name for name, since in {"read": 1, "write": 1, "signal": 6}.items() if version < since
        }


def test_a_failure_is_raised_as_what_it_was(pool: Pool) -> None:
    """A handler's DocumentError arrives with code, place and remedy, and its child goes on."""
    with pytest.raises(DocumentError) as caught:
        pool.call("refuse", {})
    assert caught.value.code == "encrypted"
    assert caught.value.lines() == ("It is encrypted.", "page 1", "Print it without a password.")
    assert works(pool)


@pytest.mark.parametrize("task", ["die", "mistake", "eat_memory", "eat_time", "eat_disk", "unheard-of"])
def test_a_child_that_breaks_costs_one_call(pool: Pool, task: str) -> None:
    """A crash, a bug, and too much memory, time or disk break one call; the next one finds a new child."""
    with pytest.raises(PoolBroken):
        pool.call(task, {}, timeout=20)
    assert all(works(pool) for _ in range(3))
    assert calls(pool) == []


@pytest.mark.parametrize("sent", [b"\xff\xff\xff\xff", b"\0\0\0\2[]", b"\0\0\0\2{}", b"\0\0\0\2{{", b"\0\0\0\x04null"])
def test_a_child_that_babbles_is_replaced(pool: Pool, sent: bytes) -> None:
    """An answer that is too long, no object, or no JSON ends its child."""
    with pytest.raises(PoolBroken):
        pool.call("babble", {"bytes": sent.hex()})
    assert works(pool)


def test_deep_json_is_no_answer(pool: Pool) -> None:
    """JSON nested deeper than the parser allows breaks the call, not us."""
    depth = 100_000
    with pytest.raises(PoolBroken):
        pool.call("babble", {"bytes": (depth.to_bytes(4, "big") + b"[" * depth).hex()})
    assert works(pool)


@contextmanager
def remembered(pool: Pool) -> Iterator[list[int]]:
    """The number of the process that a child of ``pool`` starts meanwhile, and writes into its folder."""
    found: list[int] = []

    def look() -> None:
        while not found:
            found.extend(int(text) for mark in pool._calls.glob("*/spawned") if (text := mark.read_text()))

    watcher = threading.Thread(target=look)
    watcher.start()
    yield found
    watcher.join()


@pytest.mark.parametrize("task", ["spawn", "flee"])
def test_a_hung_child_and_its_programs_are_killed(pool: Pool, task: str) -> None:
    """When the time is over, the child and what it started are gone before the call fails; none of it can flee."""
    began = time.monotonic()
    with pytest.raises(PoolBroken, match="in time"), remembered(pool) as started:
        pool.call(task, {}, timeout=0.5)
    assert time.monotonic() - began < 5
    assert gone(started[0])
    assert works(pool)


def test_an_idle_child_that_was_killed_costs_no_call(pool: Pool) -> None:
    """A child that the kernel killed between two calls is replaced before the next document."""
    for _ in range(2):
        with pool.call("echo", {}) as answer:
            os.kill(answer.values["pid"], 9)
            assert gone(answer.values["pid"])
        assert works(pool)


def test_a_stop_of_the_service_leaves_the_work_in_hand(pool: Pool) -> None:
    """SIGTERM and Ctrl-C reach the whole group; children go on until the worker, which decides, closes the pool."""
    for number in (signal.SIGTERM, signal.SIGINT):
        with pool.call("echo", {}) as answer:
            child = answer.values["pid"]
        os.kill(child, number)
        os.kill(pool._server._process.pid, number)
        with pool.call("echo", {}) as answer:
            assert answer.values["pid"] == child


def test_the_server_is_started_again(pool: Pool) -> None:
    """When the fork server dies its children die with it, and the next call starts a new one."""
    with pool.call("echo", {}) as answer:
        child = answer.values["pid"]
    pool._server._process.kill()
    assert gone(child)
    assert works(pool)


def test_threads_share_the_children(pool: Pool) -> None:
    """Eight threads get each their own answer from two children, with failures in between."""

    def one(n: int) -> int:
        if n % 5 == 0:
            with pytest.raises(PoolBroken):
                pool.call("die", {})
            return n
        with pool.call("echo", {"n": n}) as answer, pool.call("write", {"name": "x", "text": str(n)}) as written:
            assert answer.values["n"] == n
            return int(written.file("x").read_text())

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(one, range(60))) == list(range(60))
    assert calls(pool) == []


def test_a_start_that_refuses_says_why(start: Start, tmp_path: Path) -> None:
    """A wrong template or key is told as the ConfigurationError that it is, at each call."""
    with Pool(start, {"word": "refuse"}, size=1, limits=None, folder=tmp_path) as pool:
        for _ in range(2):
            with pytest.raises(ConfigurationError, match="A word is wrong"):
                pool.call("word", {})


@pytest.mark.parametrize("word", ["die", "fail"])
def test_a_child_that_cannot_start_blames_no_document(start: Start, tmp_path: Path, word: str) -> None:
    """When memory has run out no reader starts: that passes, and no document is taken for one that breaks readers."""
    with Pool(start, {"word": word}, size=1, limits=None, folder=tmp_path) as pool:
        for _ in range(2):
            with pytest.raises(TransientError, match="could not start") as caught:
                pool.call("word", {})
            assert not isinstance(caught.value, PoolBroken)


def test_without_limits_a_child_keeps_files_and_network(start: Start, tmp_path: Path) -> None:
    """A sealer reads its key and asks its timestamp authority: only readers are confined."""
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        Pool(start, {}, size=1, limits=None, folder=tmp_path) as unlimited,
        unlimited.call("reach", temptations(tmp_path, server)) as answer,
    ):
        assert {outcome for name, outcome in answer.values.items() if name != "memory"} == {"done"}


def test_closing_ends_every_process(start: Start, tmp_path: Path) -> None:
    """After close no child and no folder is left, and a call fails as one that may be tried again."""
    pool = Pool(start, {}, size=1, limits=LIMITS, folder=tmp_path)
    with pool.call("echo", {}) as answer:
        child = answer.values["pid"]
    pool.close()
    assert gone(child)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(TransientError):
        pool.call("echo", {})
