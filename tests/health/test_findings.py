"""The table of checks: asked side by side, each question once; what is found is told to people in three lines."""

from __future__ import annotations

import re
import string
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from printerd.delivery.contract import Status
from printerd.errors import TransientError
from printerd.health import checks, findings
from printerd.health.findings import Check, Finding, Level, Seen
from printerd.health.site import Once, Site

ROOT = Path(__file__).parents[2]


def check(look: findings.Callable[[Site], Seen], **changes: object) -> Check:
    return replace(Check("name", look, "Fine: {count}.", "Wrong: {count}.", "Do it {count} times."), **changes)  # type: ignore[arg-type]


def test_a_finding_is_the_tables_sentence_with_the_facts(site: Site) -> None:
    """What is right and what is wrong are the same facts in two sentences; what is right needs no remedy."""
    fine = findings.ask(check(lambda _: Seen(True, {"count": 2})), site)
    wrong = findings.ask(check(lambda _: Seen(False, {"count": 2})), site)
    assert (fine.ok, fine.what, fine.remedy) == (True, "Fine: 2.", "")
    assert (wrong.ok, wrong.what, wrong.remedy) == (False, "Wrong: 2.", "Do it 2 times.")


def test_a_failure_speaks_for_itself_and_a_broken_check_is_a_fault(site: Site) -> None:
    """A failure brings its own words; what nobody thought of is told too, and never passes for fine."""

    def fails(_: Site) -> Seen:
        raise TransientError("It is away.", where="there", remedy="Wait.")

    def breaks(_: Site) -> Seen:
        raise KeyError("x\ny")

    assert findings.ask(check(fails), site) == Finding("name", Level.FAULT, "It is away.", "there", "Wait.")
    broken = findings.ask(check(breaks), site)
    assert not broken.ok
    assert "KeyError" in broken.what and "\n" not in broken.what


def test_a_check_that_waits_keeps_no_other(site: Site) -> None:
    """Four that wait for one another come to their end, and answer in their order."""
    all_four = threading.Barrier(4, timeout=20)

    def slow(_: Site) -> Seen:
        all_four.wait()
        return Seen(True, {"count": 1})

    found = findings.ask_all([check(slow, name=f"n{number}") for number in range(4)], site)
    assert all(one.ok for one in found)
    assert [one.name for one in found] == ["n0", "n1", "n2", "n3"]


def test_each_process_is_asked_once_a_round(site: Site) -> None:
    """However many checks want to know, the delivery server is asked once; a failure too is not repeated."""
    asked: list[int] = []

    def edge() -> Status:
        asked.append(1)
        raise TransientError("away")

    found = findings.ask_all(checks.ALWAYS, replace(site, edge=edge))
    assert len(asked) == 1
    assert not next(one for one in found if one.name == "edge").ok
    once = Once(lambda: asked.append(2))
    once()
    once()
    assert asked == [1, 2]


def test_people_read_at_most_three_lines_for_a_finding() -> None:
    """A mark and a word on the first line, where and what to do below; the end says how many there are of each."""
    found = [
        Finding("disk", Level.FINE, "Much."),
        Finding("links", Level.WARNING, "Here only.", "", "Set it."),
        Finding("edge", Level.FAULT, "Away.", "there", "Wait."),
    ]
    lines = list(findings.table(found))
    assert lines[:6] == [
        "✓ disk   Much.",
        "! links  Here only.",
        "         Set it.",
        "✗ edge   Away.",
        "         there",
        "         Wait.",
    ]
    assert lines[-1] == "3 checks: 1 to mend, 1 to know, 1 fine."
    assert findings.summary(found[:1]) == "All 1 checks are fine."


def test_every_check_has_a_name_of_its_own_and_a_remedy() -> None:
    """Names are unique; every check says what to do."""
    names = [one.name for one in checks.CHECKS]
    assert len(set(names)) == len(names)
    assert all(one.what and one.remedy and one.fine for one in checks.CHECKS)


def test_the_documents_show_the_table_of_checks() -> None:
    """docs/operations.md has each check with the sentence of its fault, its remedy, and where it is asked."""
    section = (ROOT / "docs" / "operations.md").read_text("utf-8").partition("\n## What is looked at\n")[2]
    section = section.partition("\n## ")[0]
    rows = [line.strip("|").split(" | ") for line in section.splitlines() if line.startswith("| `")]
    told = {name.strip(" `"): [cell.strip() for cell in rest] for name, *rest in rows}
    assert told == {
        one.name: [
            "both" if one.always else "doctor",
            {Level.FAULT: "✗", Level.WARNING: "!"}[one.level],
            _shown(one.what),
            _shown(one.remedy),
        ]
        for one in checks.CHECKS
    }


def _shown(sentence: str) -> str:
    """A sentence as the table has it: facts in italics."""
    return re.sub(r"\{(\w+)\}", r"*\1*", sentence).replace("|", "\\|")


@pytest.mark.parametrize("one", checks.CHECKS, ids=lambda one: one.name)
def test_sentences_name_facts_only(one: Check) -> None:
    """Braces hold the names of facts, nothing that formats or reaches into them."""
    for sentence in (one.fine, one.what, one.remedy):
        fields = [field for _, field, spec, conversion in string.Formatter().parse(sentence) if field is not None]
        assert all(field.isidentifier() for field in fields)
