"""The file beside a document that says more of it: who prints it, its title, its numbers.

One rule: a sidecar is a flat list of named lines, and nothing in it is looked up. What is nested, repeated, too long or
of another form is refused, with its document: an invoice without the fields that were given for it is a wrong one.

A sidecar is named as its document, but for the ending, which says its form (:data:`FORMS`)::

    FA-1.json   {"user": "marie", "customer-number": "C0042", "invoice-number": "FA-1"}
    FA-1.csv    user;customer-number;invoice-number
                marie;C0042;FA-1
    FA-1.xml    <invoice><user>marie</user><customer-number>C0042</customer-number></invoice>

What begins with ``invoice-printer-`` is a choice, by the name that IPP has for it (:mod:`printerd.choices`).
"""

from __future__ import annotations

import csv
import io
import json
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn

from defusedxml import DefusedXmlException  # type: ignore[import-untyped]
from defusedxml.ElementTree import fromstring  # type: ignore[import-untyped]

from printerd.choices import PREFIX
from printerd.refusals import Refused
from printerd.terminal import plain

LARGEST: Final = 64 * 1024
"""Bytes of a sidecar."""
MOST: Final = 64
"""Fields of a sidecar."""
LONGEST: Final = 255
"""Bytes of a field in UTF-8: what a name of IPP may have (RFC 8011 section 5.1.3)."""
OPTION: Final = "sidecar."
"""How the options of a ticket begin that come from a sidecar."""
_NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,39}")
_SEPARATORS: Final = ",;\t"
_UNSEEN: Final = frozenset(("Cc", "Cs", "Zl", "Zp"))
"""Categories of characters that no line of text has: controls, halves of characters, ends of lines and paragraphs."""

Pairs = Iterable[tuple[str, Any]]


@dataclass(frozen=True, slots=True)
class Sidecar:
    """What was said of a document; empty where nothing was. ``options`` bear :data:`OPTION` before their names, but for
    choices.
    """

    user: str = ""
    title: str = ""
    options: Mapping[str, str] = field(default_factory=dict)


def read(file: str, data: bytes, document: str) -> Sidecar:
    """The sidecar ``file`` of ``document``, both names as people read them. Raises :class:`Refused` with the reason."""
    form = ending(file)
    if len(data) > LARGEST:
        raise Refused("sidecar-too-large", file=file, limit=LARGEST)
    try:
        fields = _checked(file, FORMS[form](data))
    except DefusedXmlException as error:
        raise Refused("sidecar-dtd", file=file) from error
    except (ValueError, LookupError, SyntaxError, RecursionError, csv.Error) as error:
        raise Refused("sidecar-format", file=file, format=form.removeprefix(".").upper()) from error
    if not _same(named := fields.pop("document", document), document):
        raise Refused("sidecar-document", file=file, named=plain(named))
    user, title = fields.pop("user", ""), fields.pop("title", "")
    return Sidecar(user, title, {_option(name): value for name, value in fields.items()})


def _option(name: str) -> str:
    return name if name.startswith(PREFIX) else f"{OPTION}{name}"


def ending(name: str) -> str:
    """The ending of a file's name in small letters, with its dot; empty when it has none."""
    _, dot, last = name.rpartition(".")
    return f"{dot}{last}".lower() if dot else ""


def is_sidecar(name: str) -> bool:
    return ending(name) in FORMS


def _same(one: str, other: str) -> bool:
    """Whether two names are the same to people: some systems write é as one character, some as two."""
    return unicodedata.normalize("NFC", one) == unicodedata.normalize("NFC", other)


def _checked(file: str, pairs: Pairs) -> dict[str, str]:
    """The fields by name, each once and one line; those that are empty are left out. ``_`` is written for ``-`` too."""
    fields: dict[str, str] = {}
    for given, value in pairs:
        name = given.strip().lower().replace("_", "-")
        text = value.strip() if isinstance(value, str) else None
        if not _NAME.fullmatch(name) or name in fields or text is None or not _is_line(text) or len(fields) == MOST:
            raise Refused("sidecar-field", file=file, field=plain(given[:40]).replace("\n", " "))
        fields[name] = text
    return {name: text for name, text in fields.items() if text}


def _is_line(text: str) -> bool:
    visible = not any(unicodedata.category(character) in _UNSEEN for character in text)
    return visible and len(text.encode()) <= LONGEST


def _json(data: bytes) -> Pairs:
    """RFC 8259. Numbers are kept as they are written: a customer's number may begin with zeros, or be long."""
    pairs = json.loads(data, object_pairs_hook=tuple, parse_int=str, parse_float=str, parse_constant=_no_number)
    if not isinstance(pairs, tuple):
        raise ValueError("no object")
    return pairs


def _no_number(name: str) -> NoReturn:
    raise ValueError(name)


def _csv(data: bytes) -> Pairs:
    """RFC 4180, one heading and one row, as ERPs write it: comma, semicolon or tab, UTF-8 or Windows-1252."""
    text = _text(data)
    heading = text.partition("\n")[0]
    separator = max(_SEPARATORS, key=heading.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    rows = [row for row in reader if any(cell.strip() for cell in row)]
    names, values = rows  # ValueError when there are others
    return list(zip(names, values, strict=True))


def _text(data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252")


def _xml(data: bytes) -> Pairs:
    """One element, and in it one for each field. A DTD, and with it every entity, is refused before it is read."""
    root = fromstring(data, forbid_dtd=True)
    texts = [root.text, *(child.tail for child in root)]
    if any(len(child) or child.attrib for child in root) or any((text or "").strip() for text in texts):
        raise ValueError("not flat")
    return [(child.tag, child.text or "") for child in root]


FORMS: Final[Mapping[str, Callable[[bytes], Pairs]]] = {".json": _json, ".csv": _csv, ".xml": _xml}
"""The forms of a sidecar by the ending of its name. Such a file is never a document."""
