"""What ``make check`` says of the packages that the product stands on: vulnerabilities and licences."""

from __future__ import annotations

import json
from email.message import Message
from pathlib import Path
from typing import Any

import pytest

from tools import audit, licences

FLAW = {"id": "PYSEC-2026-1", "fix_versions": ["2.1"], "aliases": [], "description": ""}
CLEAN: dict[str, Any] = {"name": "b", "version": "1.0", "vulns": []}
VULNERABLE = {"name": "a", "version": "2.0", "vulns": [FLAW]}
SKIPPED = {"name": "c", "skip_reason": "Dependency not found"}


@pytest.mark.parametrize(
    ("dependencies", "code", "said"),
    [
        ([CLEAN], 0, ["audited: 1 of 1 pinned requirements, vulnerabilities: 0"]),
        ([SKIPPED], 0, [audit.NOBODY.format(count=1, why="c: Dependency not found")]),
        (
            [VULNERABLE, CLEAN],
            1,
            [
                "vulnerable: a 2.0: PYSEC-2026-1, mended in 2.1",
                "audited: 2 of 2 pinned requirements, vulnerabilities: 1",
            ],
        ),
        (
            [CLEAN, SKIPPED],
            0,
            ["not audited: c: Dependency not found", "audited: 1 of 2 pinned requirements, vulnerabilities: 0"],
        ),
    ],
)
def test_an_audit_fails_on_what_was_found_and_names_what_was_not_asked(
    dependencies: list[dict[str, Any]], code: int, said: list[str]
) -> None:
    """A requirement that nobody answered for never counts as one without a vulnerability."""
    report = audit.read({"dependencies": dependencies, "fixes": []})
    assert audit.told(report, len(dependencies)) == (said, code)


def test_an_audit_that_gets_no_answer_says_so() -> None:
    """Without a network ``make check`` goes on, and says that nothing is known."""
    lines, code = audit.told("Name or service not known", 7)
    assert (lines, code) == ([audit.NOBODY.format(count=7, why="Name or service not known")], 0)
    assert lines[0].startswith("not audited: no answer")


def test_every_pinned_requirement_is_asked_about() -> None:
    """The names with their versions are those of the lock files; hashes and comments are none."""
    lock = "a==1.0 \\\n    --hash=sha256:00\n    # via b==3\nB-c==2.0.post1 ; python_version < '4' \\\n"
    assert audit.pinned(lock, lock) == ["B-c==2.0.post1", "a==1.0"]
    assert len(audit.pinned(*(file.read_text() for file in audit.LOCKS))) > 100


@pytest.mark.parametrize(
    ("licence", "allowed"),
    [
        ("MIT", True),
        ("Apache-2.0 AND MIT", True),
        ("GPL-3.0-only OR MIT", True),
        ("GPL-3.0-only AND MIT", False),
        ("AGPL-3.0-or-later", False),
        ("", False),
    ],
)
def test_only_licences_that_can_be_kept_to_are_allowed(licence: str, allowed: bool) -> None:
    """One side of an OR is enough, all sides of an AND are needed, and silence is no licence."""
    assert licences.is_allowed(licence) is allowed


@pytest.mark.parametrize(
    ("fields", "licence"),
    [
        ([("License-Expression", "MIT-0"), ("License", "Proprietary")], "MIT-0"),
        ([("License", "Apache 2.0"), ("Classifier", "License :: OSI Approved :: BSD License")], "Apache-2.0"),
        ([("Classifier", "License :: OSI Approved :: MIT License")], "MIT"),
        ([("License", "do as you like"), ("Classifier", "License :: OSI Approved :: BSD License")], ""),
    ],
)
def test_a_licence_is_what_the_package_says(fields: list[tuple[str, str]], licence: str) -> None:
    """Expression before word before classifier (PEP 639); words that could mean several licences mean none."""
    metadata: Any = Message()
    for name, value in fields:
        metadata[name] = value
    assert licences.stated(metadata) == licence


def test_the_page_of_licences_is_what_is_installed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """docs/licences.md has each package of the product; a page that differs, or a licence we cannot keep, fails."""
    assert licences.main([]) == 0
    monkeypatch.setattr(licences, "PAGE", tmp_path / "licences.md")
    assert licences.main([]) == 1
    monkeypatch.setitem(licences.READ, "jinja2", "AGPL-3.0-only")
    assert licences.main(["--write"]) == 1
    assert not licences.PAGE.exists()
    assert "jinja2: AGPL-3.0-only; not allowed" in capsys.readouterr().out


def test_front_end_packages_of_tests_alone_are_not_listed() -> None:
    """What the pages load counts; what only the tests load does not."""
    lock = {"packages": {"": {}, "node_modules/a": {"license": "MIT"}, "node_modules/b": {"dev": True}}}
    assert list(licences.front_packages(json.dumps(lock))) == [licences.Part("a", "MIT")]
