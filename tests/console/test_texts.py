"""The console's words, in both languages."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from string import Formatter

import pytest

import printerd.console
from printerd import reasons
from printerd.console import formats, sheets, texts
from printerd.delivery import routes
from printerd.evidence import acts
from printerd.model import Box, InvoiceState, JobState
from printerd.storage import archive

FORBIDDEN = (
    "recommandé", "LRE", "qualifié", "valeur légale", "lu par", "registered", "qualified", "certified",
    "legally binding", "proof of reading", "cher client",
)  # fmt: skip


def places(words: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(words) if name}


def test_both_languages_say_the_same_things() -> None:
    """A key, and the facts that it shows, exist in both or in none."""
    english, french = texts.TEXTS["en"], texts.TEXTS["fr"]
    assert english.keys() == french.keys()
    assert [key for key in english if places(english[key]) != places(french[key])] == []


def test_no_word_promises_what_the_product_cannot_show() -> None:
    """notes on evidence list the words that must not be used; nothing is exclaimed either."""
    for language, table in texts.TEXTS.items():
        for key, words in table.items():
            assert not [word for word in FORBIDDEN if re.search(rf"\b{word}\b", words, re.I)], (language, key)
            assert "!" not in words


def test_every_text_is_used_and_every_used_text_exists() -> None:
    """No page can stumble over a missing word, and no word is left over."""
    folder = Path(printerd.console.__file__).parent
    pages = [*(folder / "templates").glob("*.html"), *(path for path in folder.glob("*.py") if path.stem != "texts")]
    source = "\n".join(path.read_text() for path in pages)
    quoted = set(re.findall(r"[\"']([a-z][\w.?-]*)[\"']", source)) | {"place"}
    prefixes = (
        *re.findall(r"[\"']([a-z][a-z.-]*\.)[\"']", source),
        "place.",
        "event.",
        "visitor.",
        "why.",
        "refusal.",
    )
    suffixed = {f"{key}.{end}" for key in quoted for end in ("title", "body", "remedy", "next")}
    suffixed |= {f"{key}.detail" for key in sheets.LOOKS}
    known = texts.TEXTS["en"].keys()
    assert [key for key in known if key not in quoted | suffixed and not key.startswith(prefixes)] == []
    assert set(re.findall(r"\bt\([\"']([\w.-]+)[\"'][,)]", source)) <= known


def test_every_state_step_event_and_remedy_has_a_look_and_words() -> None:
    """A new state cannot reach a page without its icon and its word."""
    wanted = {f"state.{state}" for state in InvoiceState} | {f"job.{state}" for state in JobState}
    wanted |= {f"step.{step}" for step in archive.STEPS} | {f"event.{name}" for name in archive.CHANGES}
    assert wanted <= sheets.LOOKS.keys()
    assert sheets.LOOKS.keys() <= texts.TEXTS["en"].keys()
    assert sheets.REMEDIES.keys() <= reasons.REASONS.keys()
    assert {code for code in reasons.REASONS if reasons.REASONS[code].acceptable} <= sheets.REMEDIES.keys()
    assert set(sheets.REMEDIES.values()) <= texts.TEXTS["en"].keys()


def test_every_rule_of_the_route_has_words() -> None:
    """The page says why an invoice went by mail or on paper, in the reader's language."""
    assert {f"why.{decision.why}" for _, decision in routes.RULES} <= texts.TEXTS["fr"].keys()


@pytest.mark.parametrize("name", ["correct", "release", "reject", "resend", "retry_job"])
def test_every_act_has_a_place_in_the_time_line(name: str) -> None:
    """What a person did is shown with who and why."""
    assert callable(getattr(acts, name))
    assert f"event.ledger.act.{name.removesuffix('_job')}" in sheets.LOOKS


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("", "fr"),
        ("en-GB,en;q=0.9,fr;q=0.8", "en"),
        ("fr-CA", "fr"),
        ("de, en;q=0.5, fr;q=0.7", "fr"),
        ("de", "fr"),
        ("en;q=0", "fr"),
        ("en;q=nonsense", "fr"),
        ("EN", "en"),
    ],
)
def test_the_browser_chooses_the_language(header: str, language: str) -> None:
    """By weight; a browser that wants neither gets the firm's."""
    assert texts.preferred(header, "fr") == language


def test_dates_and_amounts_are_written_as_each_language_writes_them() -> None:
    """French with its no-break spaces, English with the sign first; what cannot be read stands as it is."""
    assert formats.day("fr", "2026-11-24") == "24 novembre 2026"
    assert formats.day("en", "2026-11-24") == "24 November 2026"
    assert formats.money("fr", "1234.56", "EUR") == "1\N{NARROW NO-BREAK SPACE}234,56\N{NO-BREAK SPACE}€"
    assert formats.money("en", "1234.56", "EUR") == "€1,234.56"
    assert formats.day("en", "31.13.2026") == "31.13.2026"
    assert formats.money("en", "12,3x", "EUR") == "12,3x"
    assert formats.size("fr", 62_000) == "62\N{NO-BREAK SPACE}ko"
    assert formats.count("en", 10_000) == "10,000+"
    assert formats.moment("en", datetime(2026, 11, 24, 9, 5, 1, tzinfo=UTC)).startswith("24 November 2026, ")


def test_french_punctuation_never_begins_a_line() -> None:
    """A no-break space stands before : ; ? and inside guillemets."""
    assert texts.text("fr", "reason.correct").endswith("\N{NO-BREAK SPACE}?")
    assert "«\N{NO-BREAK SPACE}x\N{NO-BREAK SPACE}»" in texts.text("fr", "empty.search", search="x")


@pytest.mark.parametrize(
    ("box", "where"),
    [
        (Box(1, 400, 780, 480, 792), "page 1, top right"),
        (Box(2, 60, 200, 120, 212), "page 2, bottom left"),
        (Box(1, 250, 400, 320, 412), "page 1, middle centre"),
        (Box(1, 900, 900, 950, 950), "page 1, top right"),
    ],
)
def test_a_place_on_the_page_is_said_in_words(box: Box, where: str) -> None:
    """A person finds it on paper too."""
    assert formats.place("en", box) == where
