"""The fuzzer in seconds: every input that is kept and the same mutations each time, without atheris.

Each target is tried in a process of its own, as the long run (``make fuzz``) does: one that dies takes nobody along.
"""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.fuzz import __main__ as long_run
from tests.fuzz.__main__ import LIVES, NEVER, read
from tests.fuzz.target import CORPORA, KEPT, corpus, load, names

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", names())
def test_no_input_gets_through(name: str, tmp_path: Path) -> None:
    """What a target is given is answered or refused as it says, in time and in bounds."""
    words = [sys.executable, "-m", "tests.fuzz.plain", name, "--into", str(tmp_path)]
    ended = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr[-4000:]
    assert ended.stdout.startswith(f"{name}: ")


@pytest.mark.parametrize("name", names())
def test_a_corpus_is_what_its_target_makes_and_what_was_found(name: str) -> None:
    """``python -m tests.fuzz.seeds`` writes it; no input is too long to be tried."""
    made, kept = set(load(name).seeds()), corpus(name)
    assert made == {one for one in kept if not one.startswith(KEPT)}
    assert max(map(len, kept.values())) <= load(name).longest


def test_there_is_a_corpus_for_each_target() -> None:
    """And small ones: what the fuzzer finds by itself is not kept here."""
    assert [folder.name for folder in sorted(CORPORA.iterdir())] == names()
    assert sum(file.stat().st_size for file in CORPORA.rglob("*")) < 400_000


# The fuzzer finds


def tried(tmp_path: Path, once: str) -> subprocess.CompletedProcess[str]:
    """A target that does this with its input, tried with one input."""
    program = f"""
        import os, sys, time
        from pathlib import Path
        from tests.fuzz import plain
        from tests.fuzz.target import Target

        def once(data):
            {once}

        plain.SECONDS = 0.5
        target = Target(once, dict, lambda data, random: data, (b"",))
        sys.exit(plain.Trial(target, Path({str(tmp_path)!r})).fails(b"an input"))
    """
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], cwd=ROOT, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    ("once", "said"),
    [("raise KeyError(7)", "KeyError: 7"), ("assert not data", "AssertionError"), ("time.sleep(60)", "Timeout")],
)
def test_what_is_let_out_or_hangs_is_a_find(tmp_path: Path, once: str, said: str) -> None:
    """It ends with 1 and tells where; the input lies in the folder."""
    ended = tried(tmp_path, once)
    assert ended.returncode == 1
    assert said in ended.stderr
    assert (tmp_path / "current").read_bytes() == b"an input"


def test_what_kills_the_process_is_a_find(tmp_path: Path) -> None:
    """The input outlives the process."""
    assert tried(tmp_path, "os.abort()").returncode < 0
    assert (tmp_path / "current").read_bytes() == b"an input"


def test_what_is_answered_is_none(tmp_path: Path) -> None:
    assert tried(tmp_path, "return None").returncode == 0


LOG = """\
INFO: Seed: 1
#8	INITED cov: 50 ft: 60 corp: 7/1Kb exec/s: 0 rss: 40Mb
#900	NEW    cov: 54 ft: 71 lim: 4096 corp: 8/1Kb exec/s: 9 rss: 41Mb L: 3/9 MS: 1 Custom-
#1000	DONE   cov: 55 ft: 80 lim: 4096 corp: 8/1Kb exec/s: 9 rss: 41Mb
stat::number_of_executed_units: 1000
"""
FOUND = "artifact_prefix='build/fuzz/ipp/'; Test unit written to build/fuzz/ipp/crash-0a\n"


@pytest.mark.parametrize(
    ("said", "ended", "well"),
    [(LOG, 0, True), (LOG + FOUND, 77, False), (LOG, 1, False), (LOG, NEVER, False), ("", 0, False)],
)
def test_a_target_went_well_when_it_was_tried_and_nothing_was_found(said: str, ended: int, well: bool) -> None:
    """A target that could not begin, or did not end, counts as one that found."""
    outcome = read("ipp", said, 10, ended)
    assert outcome.is_well is well
    assert ("FOUND" in outcome.line()) is not well
    if said:
        assert (outcome.executions, outcome.coverage, outcome.features) == (1000, (50, 55), (60, 80))


@pytest.mark.parametrize(("ends", "code"), [(0, 0), (3, 1)])
def test_one_find_makes_the_long_run_fail(
    ends: int, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every target is told in a line, and the sum at the end."""
    program = f"import sys; print('executions: 20'); sys.exit({ends} if sys.argv[1] == 'lpd' else 0)"
    monkeypatch.setattr(long_run, "BUILD", tmp_path)
    monkeypatch.setattr(long_run, "command", lambda name, *_: [sys.executable, "-c", program, name])
    assert long_run.main(["--minutes", "0.1", "lpd", LIVES]) == code
    told = capsys.readouterr().out
    assert [line.split()[0] for line in told.splitlines()[2:4]] == ["lpd", LIVES]
    assert f"executions: 40; finds: {ends and 1}" in told
