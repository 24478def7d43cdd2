"""What others wrote is text on every page of the console, whichever column or JSON it comes from."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from html.parser import HTMLParser
from typing import Any

import pytest
import sqlalchemy as sa

from printerd.storage.schema import ledger_records, metadata
from tests import archive_rows as rows

EVIL = "\"'><x-evil onload=alert(1)><script>alert(1)</script>{{ 7 * 7 }}<!--"
OURS: Mapping[str, set[str]] = {
    "jobs": {"media_type", "source"},
    "invoices": {"kind", "currency", "issued_on", "due_on", "net", "vat", "total"},
    "deliveries": {"route", "state", "mode"},
    "events": {"name", "time", "contact"},
    "dispatches": {"contact"},
    "instance": {"value"},
}
"""Text columns whose values are words of ours, dates or amounts, or say which rows belong together."""
KEYS = {"code", "class", "id", "time", "local", "serial"}
"""The same inside JSON."""


class Elements(HTMLParser):
    """What a browser would make of a page: its elements, and the attributes that could act."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.acting: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        for name, value in attrs:
            if name.startswith("on") or (value or "").strip().lower().startswith(("javascript:", "data:", "x-evil")):
                self.acting.append(f"{tag} {name}={value}")

    def handle_data(self, data: str) -> None:
        self.text += data


def poisoned(value: Any, key: str = "") -> Any:
    """JSON with every text replaced that others could have written."""
    if isinstance(value, dict):
        return {name: poisoned(inner, name) for name, inner in value.items()}
    if isinstance(value, list):
        return [poisoned(inner, key) for inner in value]
    return EVIL if isinstance(value, str) and key not in KEYS else value


def poison(conn: sa.Connection) -> None:
    """Write :data:`EVIL` into every text of every row that is none of our own words."""
    for table in metadata.sorted_tables:
        for column in set(table.columns) - set(table.primary_key):
            if isinstance(column.type, sa.JSON) or column is ledger_records.c.body:
                _poison_json(conn, table, column)
            elif isinstance(column.type, sa.Text) and column.name not in OURS.get(table.name, ()):
                evil = sa.literal(EVIL).concat(sa.cast(next(iter(table.primary_key)), sa.Text))  # numbers are unique
                conn.execute(sa.update(table).where(column.is_not(None)).values({column.name: evil}))


def _poison_json(conn: sa.Connection, table: sa.Table, column: sa.Column[Any]) -> None:
    for *key, value in conn.execute(sa.select(*table.primary_key, column)).all():
        evil = json.dumps(poisoned(json.loads(value))) if isinstance(value, str) else poisoned(value)
        same = [one == mine for one, mine in zip(table.primary_key, key, strict=True)]
        conn.execute(sa.update(table).where(*same).values({column.name: evil}))


@pytest.fixture
def pages(console: Any) -> Iterator[dict[str, str]]:
    """Every page of a day at the printer whose rows were poisoned, in both languages."""
    ids = rows.day(console.db, console.blobs)
    console.enter()
    with console.db.write() as conn:
        poison(conn)
    paths = ["/invoices", "/invoices?search=%22%3E%3Cx-evil%20onload%3D1%3E", "/invoices?state=waiting", "/jobs"]
    paths += ["/jobs?state=attention", "/jobs/1", "/jobs/2", "/jobs/3", *(f"/invoices/{key}" for key in ids.values())]
    paths += ["/invoices/%22%3E%3Cx-evil%20onload%3D1%3E", "/invoices/x%22%3E%3Cx-evil%3E/pdf"]
    yield {f"{path} {language}": console.get(path, language).text for path in paths for language in ("fr", "en")}


def test_no_page_makes_an_element_of_what_others_wrote(pages: dict[str, str]) -> None:
    """Titles, users, names, reasons, replies, questions, facts and searches make no element, handler or script."""
    for path, page in pages.items():
        found = Elements()
        found.feed(page)
        assert "x-evil onload" in page, f"{path}: what others wrote is not shown, so nothing is seen here"
        assert "x-evil" not in found.names, path
        assert found.acting == [], path
        assert page.count("<script") == page.count('<script src="/static/vendor/htmx.min.js'), path
        assert "49" not in found.text.split(), f"{path}: a template was evaluated"
