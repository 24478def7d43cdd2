"""The firm's customer list as a CSV file: read whole or refused whole, with every fault named at once.

One row a customer. The file says what is; a customer who does not stand in it
stays as he is. :func:`read` knows the ways in which spreadsheets write CSV:
UTF-8 with or without a mark, UTF-16, Windows-1252, comma, semicolon or tab.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from pathlib import Path
from uuid import UUID, uuid5

import sqlalchemy as sa
import stdnum
from email_validator import EmailNotValidError, validate_email
from stdnum.eu.vat import MEMBER_STATES

from printerd.errors import RequestError
from printerd.model import Consent, ConsentState, Contact, Customer, Route
from printerd.storage import customers as storage

REQUIRED = ("code", "name", "vat_id", "language", "route", "consent", "consent_date", "consent_source", "contacts")
OPTIONAL = ("consent_proof",)
LANGUAGES = ("fr", "en")
CONTACT_IDS = UUID("6d3b0e0c-6a0f-5c43-9d0e-3c1f6f0a7b52")
"""The name space of contact ids (RFC 9562 section 5.5): the same customer and address give the same id for ever."""
LONGEST = 200
"""Characters of a cell that becomes one line of a letter or a mail header; a code has at most 64."""
SEPARATORS = ",;\t"
FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""How a cell starts that a spreadsheet would run as a formula."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong in one cell. ``line`` counts from 1 with the heading; ``column`` is empty for a whole line."""

    line: int
    column: str
    what: str

    def __str__(self) -> str:
        return f"line {self.line}, {self.column}: {self.what}" if self.column else f"line {self.line}: {self.what}"


class CustomerFileError(RequestError):
    """The customer file has faults; each names its line and column. Nothing was imported."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        count = f"{len(faults)} faults" if len(faults) > 1 else "a fault"
        super().__init__(
            f"The customer file has {count}; nothing was imported.",
            where="\n".join(map(str, faults)),
            remedy="Mend the file and import it again; --dry-run shows what would change.",
        )
        self.faults = tuple(faults)


# --- Reading -------------------------------------------------------------------------------------------------


def read(file: bytes | Path) -> tuple[Customer, ...]:
    """The customers of a CSV file, in its order.

    Raises:
        CustomerFileError: with every fault of the file.
    """
    text = _decode(file.read_bytes() if isinstance(file, Path) else file)
    heading, rows = _rows(text)
    faults: list[Fault] = list(_heading_faults(heading))
    if faults:
        raise CustomerFileError(faults)
    found: list[Customer] = []
    lines: dict[str, int] = {}
    for line, cells in rows:
        row = _Row(line, heading, cells)
        customer = row.customer()
        faults += row.faults
        if customer.code in lines:
            faults.append(Fault(line, "code", f"{customer.code} stands on line {lines[customer.code]} already."))
        lines.setdefault(customer.code, line)
        found.append(customer)
    if faults:
        raise CustomerFileError(faults)
    return tuple(found)


def _decode(data: bytes) -> str:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        encodings: tuple[str, ...] = ("utf-16",)
    else:
        encodings = ("utf-8-sig", "cp1252")
    for encoding in encodings:
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise CustomerFileError(
        [Fault(1, "", "The file is not text in UTF-8, UTF-16 or Windows-1252. Save it as CSV UTF-8.")]
    )


def _rows(text: str) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """The heading and the rows with the line that each starts on; empty lines are left out."""
    first = next((line for line in text.splitlines() if line.strip()), "")
    separator = max(SEPARATORS, key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    rows: list[tuple[int, list[str]]] = []
    line = 1
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                rows.append((line, cells))
            line = reader.line_num + 1
    except csv.Error as error:
        raise CustomerFileError([Fault(line, "", f"This is not CSV: {error}.")]) from error
    heading = [cell.strip().lower() for cell in rows[0][1]] if rows else []
    return heading, rows[1:]


def _heading_faults(heading: Sequence[str]) -> Iterator[Fault]:
    for name in REQUIRED:
        if name not in heading:
            yield Fault(1, name, "This column is missing.")
    for name, count in Counter(heading).items():
        if name not in REQUIRED + OPTIONAL:
            yield Fault(1, name, f"This column is unknown; known are {', '.join(REQUIRED + OPTIONAL)}.")
        elif count > 1:
            yield Fault(1, name, "This column stands there twice.")


class _Row:
    """One row on its way to a customer; a cell that cannot be used leaves a fault and an empty value."""

    def __init__(self, line: int, heading: Sequence[str], cells: Sequence[str]) -> None:
        self.line = line
        self.faults: list[Fault] = []
        if len(cells) != len(heading):
            self.fault("", f"{len(cells)} cells, but the heading has {len(heading)}.")
        self.cells = {name: _unguarded(cell.strip()) for name, cell in zip(heading, cells, strict=False)}

    def fault(self, column: str, what: str) -> None:
        self.faults.append(Fault(self.line, column, what))

    def customer(self) -> Customer:
        code = self._line("code", longest=64, needed=True)
        return Customer(
            code=code,
            name=self._line("name", needed=True),
            vat_id=self._vat_id(),
            language=self._choice("language", LANGUAGES, "fr"),
            route=Route(self._choice("route", tuple(Route), Route.MAIL)),
            consent=self._consent(),
            contacts=tuple(self._contacts(code)),
        )

    def _line(self, column: str, longest: int = LONGEST, needed: bool = False) -> str:
        value = self.cells.get(column, "")
        if needed and not value:
            self.fault(column, "This cell is empty.")
        if len(value) > longest:
            self.fault(column, f"{len(value)} characters; at most {longest} fit.")
        if not _is_one_line(value):
            self.fault(column, f"{value!r} holds a line break or a control character.")
        return value

    def _choice(self, column: str, choices: Sequence[str], default: str) -> str:
        value = self.cells.get(column, "").lower() or default
        if value in choices:
            return value
        self.fault(column, f"{value!r} is none of {', '.join(choices)}.")
        return default

    def _vat_id(self) -> str:
        value = re.sub(r"[\s.\-]", "", self.cells.get("vat_id", "")).upper()
        if value and not _is_vat_id(value):
            self.fault("vat_id", f"{value!r} is not a VAT id (country code and number with a right check digit).")
        return value

    def _consent(self) -> Consent:
        state = ConsentState(self._choice("consent", tuple(ConsentState), ConsentState.UNKNOWN))
        source = self._line("consent_source")
        given_on = self._date("consent_date")
        if state in (ConsentState.EXPRESS, ConsentState.TACIT):
            for column in ("consent_date", "consent_source"):
                if not self.cells.get(column):
                    self.fault(column, f"{state} consent needs a date and a source: who agreed, when and where.")
        return Consent(state, given_on, source, self._line("consent_proof"))

    def _date(self, column: str) -> date | None:
        value = self.cells.get(column, "")
        try:
            return _day(value) if value else None
        except ValueError:
            self.fault(column, f"{value!r} is no date; write 2026-11-24 or 24/11/2026.")
            return None

    def _contacts(self, code: str) -> Iterator[Contact]:
        seen: set[str] = set()
        for entry in filter(None, (part.strip() for part in self._cut(self.cells.get("contacts", "")))):
            name, address = self._name_and_address(entry)
            if address and address.lower() in seen:
                self.fault("contacts", f"{address} stands there twice.")
            elif address:
                seen.add(address.lower())
                yield Contact(contact_id(code, address), name, address)

    def _cut(self, value: str) -> list[str]:
        if not _is_one_line(value):
            self.fault("contacts", "The cell holds a line break or a control character; part contacts by a semicolon.")
            return []
        return value.split(";")

    def _name_and_address(self, entry: str) -> tuple[str, str]:
        match = re.fullmatch(r"(?:(?P<name>[^<>]*)<(?P<address>[^<>]*)>|(?P<bare>[^<>\s]+))", entry)
        if not match:
            self.fault("contacts", f"{entry!r} is not of the form: Name <address@domain>.")
            return "", ""
        name = (match["name"] or "").strip().strip('"').strip()
        if len(name) > LONGEST:
            self.fault("contacts", f"A name of {len(name)} characters; at most {LONGEST} fit.")
        return name, self._address((match["address"] or match["bare"] or "").strip())

    def _address(self, value: str) -> str:
        try:
            return validate_email(value, check_deliverability=False, test_environment=True).normalized
        except EmailNotValidError as error:
            self.fault("contacts", f"{value!r} is no mail address: {error}")
            return ""


def _is_one_line(value: str) -> bool:
    """Whether it holds nothing but what can be seen, so that it may stand in a mail header (RFC 5322 section 2.2)."""
    return value.replace("\u00a0", " ").replace("\u202f", " ").isprintable()


def contact_id(code: str, email: str) -> str:
    """The lasting id of a contact: a UUID of the customer's code and the address in lower case."""
    return str(uuid5(CONTACT_IDS, f"{code}\n{email.lower()}"))


def _is_vat_id(value: str) -> bool:
    """Whether the national rules accept it; Greece writes EL, Northern Ireland XI."""
    country = {"EL": "gr", "XI": "gb"}.get(value[:2], value[:2].lower())
    known = country in MEMBER_STATES or country in ("gb", "ch", "no")
    module = stdnum.get_cc_module(country, "vat") if known else None
    return bool(module and module.is_valid(value if country == "ch" else value[2:]))


def _day(value: str) -> date:
    """ISO 8601, or day/month/year as French spreadsheets write it."""
    match = re.fullmatch(r"(\d{1,2})[/.](\d{1,2})[/.](\d{4})", value)
    return date(int(match[3]), int(match[2]), int(match[1])) if match else date.fromisoformat(value)


# --- Comparing and applying ----------------------------------------------------------------------------------


class Change(StrEnum):
    ADDED = "added"
    CHANGED = "changed"
    SAME = "same"


@dataclass(frozen=True, slots=True)
class Difference:
    """What an import does to one customer. ``fields`` maps a column to its old and new text, where they differ."""

    change: Change
    customer: Customer
    fields: Mapping[str, tuple[str, str]]


def difference(old: Iterable[Customer], new: Iterable[Customer]) -> tuple[Difference, ...]:
    """One row for each new customer, in order; old ones that are absent from the new stay and are not mentioned."""
    before = {customer.code: customer for customer in old}
    return tuple(_compare(before.get(customer.code), customer) for customer in new)


def _compare(before: Customer | None, after: Customer) -> Difference:
    new = cells(after)
    if before is None:
        return Difference(Change.ADDED, after, {name: ("", value) for name, value in new.items() if value})
    old = cells(before)
    fields = {name: (old[name], new[name]) for name in new if old[name] != new[name]}
    return Difference(Change.CHANGED if fields else Change.SAME, after, fields)


def apply(connection: sa.Connection, rows: Iterable[Difference], now: datetime) -> int:
    """Write what was added or changed; gives the number of customers written."""
    written = [row.customer for row in rows if row.change is not Change.SAME]
    for customer in written:
        storage.put(connection, customer, now)
    return len(written)


# --- Writing -------------------------------------------------------------------------------------------------

_CELLS: Mapping[str, Callable[[Customer], str]] = {
    "code": lambda customer: customer.code,
    "name": lambda customer: customer.name,
    "vat_id": lambda customer: customer.vat_id,
    "language": lambda customer: customer.language,
    "route": lambda customer: customer.route.value,
    "consent": lambda customer: customer.consent.state.value,
    "consent_date": lambda customer: customer.consent.given_on.isoformat() if customer.consent.given_on else "",
    "consent_source": lambda customer: customer.consent.source,
    "contacts": lambda customer: "; ".join(
        f"{contact.name} <{contact.email}>" if contact.name else contact.email for contact in customer.contacts
    ),
    "consent_proof": lambda customer: customer.consent.proof,
}


def cells(customer: Customer) -> dict[str, str]:
    """A customer as the cells of the file, by column."""
    return {name: cell(customer) for name, cell in _CELLS.items()}


def write(customers: Iterable[Customer]) -> bytes:
    """The customers as a file that :func:`read` takes and Excel opens (UTF-8 with a mark, comma).

    No cell starts a formula: one that would is led by an apostrophe, which :func:`read` takes away again.
    """
    text = io.StringIO(newline="")
    out = csv.writer(text)
    out.writerow(_CELLS)
    for customer in customers:
        out.writerow(map(_guarded, cells(customer).values()))
    return text.getvalue().encode("utf-8-sig")


def _guarded(cell: str) -> str:
    return f"'{cell}" if cell.startswith(FORMULA) else cell


def _unguarded(cell: str) -> str:
    return cell[1:] if cell.startswith("'") and cell[1:].startswith(FORMULA) else cell
