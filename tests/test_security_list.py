"""SECURITY.md is kept honest: each threat names tests that exist; and what holds for every module of ours."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def threats() -> dict[str, tuple[str, list[str]]]:
    """The rows of the table: what stands against a threat, and the tests named for it."""
    section = (ROOT / "SECURITY.md").read_text("utf-8").partition("\n## Threats\n")[2].partition("\n## ")[0]
    rows = [line.strip("|").split(" | ") for line in section.splitlines() if line.startswith("| ")]
    return {row[0].strip(): (row[1], re.findall(r"`([^`]+)`", row[2])) for row in rows[2:]}


THREATS = threats()


@cache
def functions_of(path: str) -> frozenset[str]:
    """The test functions of a file."""
    tree = ast.parse((ROOT / path).read_text("utf-8"))
    return frozenset(node.name for node in tree.body if isinstance(node, ast.FunctionDef))


def test_the_threats_are_listed() -> None:
    """The table is read, each threat stands in it once, and none is without what stands against it."""
    rows = (ROOT / "SECURITY.md").read_text("utf-8").count("` |\n")
    assert len(THREATS) == rows > 30
    assert all(wall.strip() for wall, _ in THREATS.values())


@pytest.mark.parametrize("threat", THREATS)
def test_a_threat_names_tests_that_exist(threat: str) -> None:
    """Every row has a test, and each is a function of the file that is named."""
    named = THREATS[threat][1]
    assert named
    for place in named:
        path, _, name = place.partition("::")
        assert (ROOT / path).is_file(), place
        assert name.startswith("test_") and name in functions_of(path), place


MODULES = sorted(path for folder in ("printerd", "receipt_service", "tools") for path in (ROOT / folder).rglob("*.py"))
UNTRUSTED = {
    "xml",
    "lxml",
    "xmlrpc",
    "pyexpat",
    "pickle",
    "marshal",
    "shelve",
    "dill",
    "cloudpickle",
    "yaml",
    "plistlib",
}
"""Modules that follow entities, or make objects of what they read."""


def imported(source: str) -> set[str]:
    """The top-level names of the modules that a source imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return found


def test_nothing_of_ours_parses_xml_or_unpickles() -> None:
    """What comes from outside is JSON, CSV, TOML, IPP or bytes for a library in a process of its own.

    A sidecar of the hot folder is XML for defusedxml, and for no other module.
    """
    assert imported("def f():\n    from xml.dom import minidom\n    import pickle as p") == {"xml", "pickle"}
    assert len(MODULES) > 100
    assert [path.name for path in MODULES if "defusedxml" in imported(path.read_text("utf-8"))] == ["sidecar.py"]
    assert {str(path): bad for path in MODULES if (bad := imported(path.read_text("utf-8")) & UNTRUSTED)} == {}
