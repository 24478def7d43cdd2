"""The language of templates: how a firm's layout says where its fields stand. TOML in, values out; no document here.

One rule: whatever is wrong in a template is a ConfigurationError that names the file and the key. A template::

    locale = "fr_FR"                          # of its dates and numbers; or { dates = "fr_FR", numbers = "en_GB" }
    page = 'Page (?P<number>\\d+)/(?P<count>\\d+)'

    [fingerprint]                             # regular expressions over the text of a page
    all = ['Au bon moulin', 'N° client']      # each must be found
    none = ['Bon de livraison']               # none may be

    [constants]
    currency = "EUR"

    [fields.number]                           # or [[fields.number]] more than once: the first that finds wins
    label = '^Facture N°'                     # the anchor; ^ is the start of a line
    direction = "right"                       # or "below"; where the value stands, seen from the label
    zone = [300, 700, 560, 800]               # left, bottom, right, top in points: the value's words stand in it
    pattern = 'FA-\\d{4}-\\d{4}'                # the value in what stands there; its first group when it has one
    values = { FACTURE = "invoice" }          # what the product calls that value
    pages = "last"                            # where to begin: "first" (default) or "last"

Without a label the value is looked for in the zone, without a zone in the whole page.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from babel import Locale, UnknownLocaleError

from printerd.errors import ConfigurationError

FIELDS = frozenset({
    "number", "kind", "issued_on", "due_on", "customer_code", "net", "vat", "total", "currency", "iban",
    "seller_siren", "seller_vat_id", "seller_name", "buyer_name", "buyer_vat_id",
})  # fmt: skip

LONGEST = 2_000
"""Characters of a field; what is longer is none."""
LARGEST = 1 << 20
"""Bytes of a template; ours have a thousandth of that."""

Zone = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Rule:
    """One way to find a field."""

    label: re.Pattern[str] | None = None
    direction: Literal["right", "below"] = "right"
    zone: Zone | None = None
    pattern: re.Pattern[str] | None = None
    values: Mapping[str, str] = field(default_factory=dict)
    pages: Literal["first", "last"] = "first"


@dataclass(frozen=True, slots=True)
class Template:
    """One layout. ``dates`` and ``numbers`` are locales; ``page`` has the groups ``number`` and, perhaps, ``count``."""

    name: str
    all: tuple[re.Pattern[str], ...]
    none: tuple[re.Pattern[str], ...]
    dates: Locale
    numbers: Locale
    page: re.Pattern[str] | None
    constants: Mapping[str, str]
    fields: Mapping[str, tuple[Rule, ...]]

    def matches(self, text: str) -> bool:
        """Whether a page with this text has this layout."""
        return all(p.search(text) for p in self.all) and not any(p.search(text) for p in self.none)


def templates(folder: Path) -> list[dict[str, str]]:
    """The shipped templates, then those of the state's ``folder``, as :func:`read_templates` takes them."""
    return [*shipped(), *in_folder(folder)]


def shipped() -> list[dict[str, str]]:
    """The templates that come with the product."""
    return in_folder(Path(__file__).parent / "templates")


def in_folder(folder: Path) -> list[dict[str, str]]:
    """The templates of a folder by name; an absent folder has none. Raises :class:`ConfigurationError`."""
    return [{"name": file.stem, "toml": _text(file)} for file in sorted(folder.glob("*.toml"))]


def _text(file: Path) -> str:
    try:
        if not file.is_file() or file.stat().st_size > LARGEST:  # a pipe or a device would never end
            raise OSError(f"it is no file of at most {LARGEST >> 10} KB")
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"Template {file.stem} cannot be read: {error}.",
            where=f"templates/{file.name}",
            remedy="Save it as UTF-8, readable by the service, or take it out of the folder.",
        ) from error


def read_templates(sources: Sequence[Mapping[str, str]]) -> tuple[Template, ...]:
    """Reads ``{"name", "toml"}`` each. Of two with one name the later replaces the earlier: the state's the shipped."""
    by_name = {source["name"]: read_template(source["name"], source["toml"]) for source in sources}
    return tuple(by_name.values())


def read_template(name: str, toml: str) -> Template:
    """Reads one template; raises :class:`ConfigurationError`."""
    try:
        table = tomllib.loads(toml)
    except (ValueError, RecursionError) as error:  # of the tables, of a number of 5,000 digits, of 1,000 brackets
        raise ConfigurationError(f"Template {name} is not TOML: {error}", where=f"templates/{name}.toml") from error
    reader = _Reader(name)
    reader.only(table, "", "locale", "page", "fingerprint", "constants", "fields")
    dates, numbers = reader.locales(table.get("locale"))
    fingerprint = reader.table(table, "fingerprint")
    reader.only(fingerprint, "fingerprint", "all", "none")
    fields = {key: reader.rules(key, value) for key, value in reader.table(table, "fields").items()}
    constants = {key: str(value) for key, value in reader.table(table, "constants").items()}
    for key in (key for key, value in constants.items() if len(value) > LONGEST):
        raise reader.wrong(f"constants.{key}", f"is longer than {LONGEST} characters")
    for key in {*fields, *constants} - FIELDS:
        raise reader.wrong(f"fields.{key}", f"is no field; there are {', '.join(sorted(FIELDS))}")
    every = reader.patterns(fingerprint, "all")
    if not every:
        raise reader.wrong("fingerprint.all", "is missing: a template without it would match every page")
    page = reader.pattern("page", table.get("page"))
    if page and "number" not in page.groupindex:
        raise reader.wrong("page", "needs a group (?P<number>…)")
    return Template(name, every, reader.patterns(fingerprint, "none"), dates, numbers, page, constants, fields)


class _Reader:
    """Reads the parts of one template and knows its name for the messages."""

    def __init__(self, name: str) -> None:
        self.name = name

    def wrong(self, key: str, what: str) -> ConfigurationError:
        return ConfigurationError(
            f"Template {self.name}: {key} {what}.",
            where=f"templates/{self.name}.toml",
            remedy="Mend the template, then start again.",
        )

    def only(self, table: Mapping[str, Any], place: str, *known: str) -> None:
        for key in table.keys() - set(known):
            raise self.wrong(f"{place}.{key}".lstrip("."), f"is unknown; known are {', '.join(known)}")

    def table(self, table: Mapping[str, Any], key: str) -> dict[str, Any]:
        value = table.get(key, {})
        if not isinstance(value, dict):
            raise self.wrong(key, "must be a table")
        return value

    def locales(self, value: Any) -> tuple[Locale, Locale]:
        names = value if isinstance(value, dict) else {"dates": value, "numbers": value}
        self.only(names, "locale", "dates", "numbers")
        try:
            return Locale.parse(names["dates"]), Locale.parse(names["numbers"])
        except (KeyError, TypeError, ValueError, UnknownLocaleError) as error:
            raise self.wrong("locale", 'must be a locale, as "fr_FR"') from error

    def patterns(self, table: Mapping[str, Any], key: str) -> tuple[re.Pattern[str], ...]:
        sources = table.get(key, [])
        if not isinstance(sources, list):
            raise self.wrong(f"fingerprint.{key}", "must be a list")
        return tuple(p for source in sources if (p := self.pattern(f"fingerprint.{key}", source)))

    def pattern(self, key: str, source: Any) -> re.Pattern[str] | None:
        if source is None:
            return None
        try:
            return re.compile(source, re.MULTILINE)
        except (re.error, TypeError, ValueError, OverflowError, RecursionError) as error:
            raise self.wrong(key, f"is no regular expression: {error}") from error

    def rules(self, key: str, value: Any) -> tuple[Rule, ...]:
        return tuple(self.rule(f"fields.{key}", table) for table in (value if isinstance(value, list) else [value]))

    def rule(self, key: str, table: Any) -> Rule:
        if not isinstance(table, dict):
            raise self.wrong(key, "must be a table")
        self.only(table, key, "label", "direction", "zone", "pattern", "values", "pages")
        label, pattern = (self.pattern(f"{key}.{name}", table.get(name)) for name in ("label", "pattern"))
        zone = self.zone(f"{key}.zone", table.get("zone"))
        if not (label or zone or pattern):
            raise self.wrong(key, "needs a label, a zone or a pattern")
        direction, pages = table.get("direction", "right"), table.get("pages", "first")
        if direction not in ("right", "below") or pages not in ("first", "last"):
            raise self.wrong(key, 'has direction "right" or "below", and pages "first" or "last"')
        values = self.table(table, "values")
        if not all(isinstance(value, str) for value in values.values()):
            raise self.wrong(f"{key}.values", "must be text in quotes")
        return Rule(label, direction, zone, pattern, values, pages)

    def zone(self, key: str, value: Any) -> Zone | None:
        if value is None:
            return None
        try:
            left, bottom, right, top = map(float, value)
        except (TypeError, ValueError) as error:
            raise self.wrong(key, "must be [left, bottom, right, top] in points") from error
        if left >= right or bottom >= top:
            raise self.wrong(key, "is empty: left < right and bottom < top")
        return left, bottom, right, top
