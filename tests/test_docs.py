"""The documents are kept honest: what they say of keys, failures, commands and states is compared with the code."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
import shlex
import tomllib
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
import typer
from pydantic import BaseModel

import printerd
from printerd import cli, reasons, refusals
from printerd.config import IssuerSection, Section, Settings
from printerd.errors import Failure, IppError
from printerd.ipp.registry import words
from printerd.listener.operations import OPERATIONS
from printerd.model import DeliveryState, InvoiceState, JobState, ReceiptState

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
PROGRAM = "invoice-printer"
NOT_REACHED = {DeliveryState.REVOKED}
"""The contract knows it, and the page says that no command of this version leads there."""


def read(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


def table(name: str, heading: str) -> dict[str, list[str]]:
    """The rows of the first table under a heading, by the name in their first cell."""
    section = read(name).partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| `")]
    cells = [[cell.strip() for cell in row.strip("|").split(" | ")] for row in rows]
    return {first.strip(" `"): rest for first, *rest in cells}


def fenced(text: str) -> list[str]:
    """The contents of the fenced blocks."""
    return re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


# Settings


def keys(section: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, type[BaseModel], str]]:
    """Every key of the settings with the model and the name that define it."""
    for name, field in section.model_fields.items():
        if isinstance(field.default, Section):
            yield from keys(type(field.default), f"{prefix}{name}.")
        elif name == "issuers":
            yield from keys(IssuerSection, "issuers.NAME.")
        else:
            yield f"{prefix}{name}", section, name


KEYS = {key: (section, name) for key, section, name in keys(Settings)}


def test_configuration_lists_exactly_the_settings() -> None:
    """Every setting stands in docs/configuration.md, and no other."""
    assert set(table("docs/configuration.md", "Settings")) == set(KEYS)


@pytest.mark.parametrize("key", KEYS)
def test_a_setting_is_described_as_it_is(key: str) -> None:
    """Default and meaning of a setting in the document are those of the model."""
    section, name = KEYS[key]
    field = section.model_fields[name]
    default, meaning = table("docs/configuration.md", "Settings")[key]
    assert meaning == field.description
    if field.is_required():
        assert default == "required"
    else:
        written = tomllib.loads(f"value = {default.strip('`')}")["value"]
        others = {"name": "N", "email": "n@n.example"} if section is IssuerSection else {}
        assert getattr(section(**{**others, name: written}), name) == field.default


def test_the_example_settings_are_in_order() -> None:
    """The example of docs/configuration.md is accepted as it stands."""
    (example,) = re.findall(r"```toml\n(.*?)```", read("docs/configuration.md"), re.DOTALL)
    assert Settings(**tomllib.loads(example)).issuers["moulin"].ibans


# Failures


def failures() -> dict[str, type[Failure]]:
    """Every kind of failure that any module of the program defines."""
    for module in pkgutil.walk_packages(printerd.__path__, "printerd."):
        if module.name.rpartition(".")[2] not in ("__main__", "env") and ".versions" not in module.name:
            importlib.import_module(module.name)
    found: dict[str, type[Failure]] = {}
    rest: list[type[Failure]] = [Failure]
    while rest:
        below = rest.pop().__subclasses__()
        found |= {cls.__name__: cls for cls in below}
        rest += below
    return found


def test_every_failure_is_documented_as_it_is() -> None:
    """docs/failures.md has each class of failure with its exit status, its IPP status and its advice."""
    told = {name: cells[1:] for name, cells in table("docs/failures.md", "Classes").items()}
    assert told == {
        name: [
            str(cls.exit_code),
            "its own" if issubclass(cls, IppError) else f"`0x{cls.ipp_status:04X}`",
            " ".join((inspect.getdoc(cls) or "").split()),
        ]
        for name, cls in failures().items()
    }


def test_every_cause_of_refusal_is_documented() -> None:
    """docs/failures.md has each cause for which a document is not taken, with the status and the sentence."""
    assert table("docs/failures.md", "Why a document is not taken") == {
        code: [f"`0x{cause.status:04X}`", cause.sentences["en"]] for code, cause in refusals.CAUSES.items()
    }


def test_every_reason_to_wait_is_documented() -> None:
    """docs/failures.md has each reason code with sentence, remedy and whether it may be accepted."""
    assert table("docs/failures.md", "Why an invoice waits, or a job ended") == {
        code: [*wording.english, "yes" if code in reasons.ACCEPTABLE else "no"]
        for code, wording in reasons.REASONS.items()
    }


# Commands


def commands(text: str) -> Iterator[str]:
    """What a page tells people to type: in fenced blocks a line each, elsewhere what stands in backticks."""
    for block in fenced(text):
        for line in block.replace("\\\n", " ").splitlines():
            if line.startswith(f"{PROGRAM} "):
                yield line
    prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    yield from re.findall(rf"`({PROGRAM} [^`]+)`", prose)
    yield from re.findall(rf"(?<!`)\b({PROGRAM} (?:jobs|invoices|customers) [^|`]*?)(?=[.,;] | \|)", prose)


QUOTED = sorted({(name, command) for name in NAMES for command in commands(read(name))})


def test_the_documents_quote_commands() -> None:
    """The documents show commands of every group, so the test of them tests something."""
    named = {shlex.split(command, comments=True)[1] for _, command in QUOTED}
    assert named >= {"serve", "print", "jobs", "invoices", "customers", "console", "config", "verify", "go-live"}


@pytest.mark.parametrize(("page", "command"), QUOTED)
def test_a_quoted_command_exists(page: str, command: str) -> None:
    """A command that a document shows has that name, those options and room for those arguments."""
    current: Any = typer.main.get_command(cli.app)
    tokens = iter(shlex.split(command, comments=True)[1:])
    arguments = 0
    for token in tokens:
        if token.startswith("-"):
            option = next((one for one in current.params if token.partition("=")[0] in one.opts), None)
            assert option is not None, f"{page}: {command}: no option {token}"
            if "=" not in token and not option.is_flag:
                next(tokens)
        elif hasattr(current, "commands"):
            found = current.commands.get(token)
            assert found is not None, f"{page}: {command}: no command {token}"
            current = found
        else:
            arguments += 1
    takes = [one for one in current.params if one.param_type_name == "argument"]
    assert arguments <= len(takes), f"{page}: {command}: too many arguments"
    assert arguments >= sum(one.required for one in takes), f"{page}: {command}: an argument is missing"


@pytest.mark.parametrize("name", NAMES)
def test_a_quoted_make_target_exists(name: str) -> None:
    """Each ``make TARGET`` of a document is one of the Makefile."""
    targets = set(re.findall(r"^([a-z-]+):", read("Makefile"), re.MULTILINE))
    assert set(re.findall(r"(?:^|`)make ([a-z-]+)", read(name), re.MULTILINE)) <= targets


# Links and files


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", NAMES)
def test_every_link_leads_somewhere(name: str) -> None:
    """Each relative link of a document leads to a file of the repository, and its anchor to a heading there."""
    page = ROOT / name
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text("utf-8")):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = unquote(link).partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{name}: {link}"
        assert not anchor or anchor in anchors(target), f"{name}: {link}"


@pytest.mark.parametrize("name", NAMES)
def test_every_file_that_is_named_exists(name: str) -> None:
    """Each path of the source tree in backticks is there, in the tree or in the package."""
    roots = (ROOT, ROOT / "printerd")
    places = r"printerd|receipt_service|tests|docs|requirements|listener|pipeline|evidence|delivery|storage|console"
    for path in re.findall(rf"`((?:{places})/[\w./-]*)`", read(name)):
        assert any((root / path).exists() for root in roots), f"{name}: {path}"


def test_standards_are_quoted_where_the_page_says() -> None:
    """Each file that docs/standards.md names quotes at least one of the standards of its row."""
    for line in read("docs/standards.md").splitlines():
        if line.startswith("| ") and "`" in line:
            standards, _, where = (cell.strip() for cell in line.strip("|").split(" | "))
            numbers = re.findall(r"\d[\d.-]+\d", standards)
            for path in re.findall(r"`([^`]+)`", where):
                files = [ROOT / path] if path.endswith(".py") else sorted((ROOT / path).glob("*.py"))
                quoted = "".join(file.read_text("utf-8") for file in files)
                assert any(number in quoted for number in numbers), (path, standards)


def test_the_operations_are_those_of_the_printer() -> None:
    """The operations that docs/standards.md lists are the keys of ``OPERATIONS``."""
    listed = read("docs/standards.md").partition("\nOperations: ")[2].partition(".\n")[0]
    assert {name.lower() for name in re.split(r",\s+", listed)} == {words(code) for code in OPERATIONS}


# States


DIAGRAMS: Mapping[str, type] = {
    "1. In: from bytes to a durable row": JobState,
    "2. Through: from a job to sealed invoices": InvoiceState,
    "3. Out: from the archive to the customer": DeliveryState,
    "4. Back: from a press to the filed receipt": ReceiptState,
}


@pytest.mark.parametrize("heading", DIAGRAMS)
def test_a_diagram_has_every_state(heading: str) -> None:
    """The first state diagram of a section has exactly the states of its noun."""
    section = read("docs/way-of-a-document.md").partition(f"\n## {heading}\n")[2]
    diagram = section.partition("```mermaid")[2].partition("```")[0]
    drawn = {state for arrow in re.findall(r"(\S+) --> (\w+|\[\*\])", diagram) for state in arrow} - {"[*]"}
    states: Any = DIAGRAMS[heading]
    assert drawn == {state.value for state in states if state not in NOT_REACHED}


# Two languages, and what is not said


def test_both_readmes_show_the_same() -> None:
    """README.md and README.fr.md have the same sections, commands, pictures and links (but those to each other)."""
    english, french = read("README.md"), read("README.fr.md")
    for part in (_outline, _commands, _targets):
        assert part(english) == part(french)


def _outline(text: str) -> list[str]:
    return re.findall(r"^(#+) ", text, re.MULTILINE)


def _commands(text: str) -> list[str]:
    return [line.partition("  #")[0].rstrip() for block in fenced(text) for line in block.splitlines()]


def _targets(text: str) -> list[str]:
    return [link for link in re.findall(r"\]\(([^)]+)\)", text) if not link.startswith("README")]


PROMISES = re.compile(
    r"recommandé|\bLRE\b|qualifi|valeur légale|\blu par\b|registered|certified|legally binding|proof of reading", re.I
)


@pytest.mark.parametrize("name", NAMES)
def test_no_document_promises_what_a_receipt_cannot_hold(name: str) -> None:
    """Words that claim more than a receipt shows stand in no document."""
    assert PROMISES.findall(read(name)) == []


def test_french_is_spaced_as_french() -> None:
    """In README.fr.md a no-break space stands before : ; ? ! and inside « », outside commands."""
    prose = re.sub(r"^```.*?^```|`[^`]*`", "", read("README.fr.md"), flags=re.MULTILINE | re.DOTALL)
    assert re.findall(r".{0,20}(?: [:;?!»](?=\s|$)|« ).{0,10}", prose) == []


def test_decisions_are_numbered_without_a_gap() -> None:
    """docs/decisions counts from 0001, and each page bears its number in its title."""
    pages = sorted((DOCS / "decisions").glob("*.md"))
    numbers = [int(page.name[:4]) for page in pages]
    assert numbers[0] == 1
    assert all(after == before + 1 for before, after in pairwise(numbers))
    assert all(page.read_text("utf-8").startswith(f"# {page.name[:4]} ") for page in pages)
