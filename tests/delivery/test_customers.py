"""The customer list: what a spreadsheet writes is read, and a doubtful file changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from printerd.delivery import customers
from printerd.delivery.customers import Change, CustomerFileError, Fault
from printerd.model import Consent, ConsentState, Contact, Customer, Route
from printerd.storage import customers as storage
from printerd.storage.database import Database
from printerd.storage.schema import metadata

NOW = datetime(2026, 11, 24, 9, tzinfo=UTC)
HEADING = "code;name;vat_id;language;route;consent;consent_date;consent_source;contacts"
LINE = 'C0042;Boulangerie Lefèvre & Fils;FR40102003043;fr;mail;express;24/11/2025;CGV signées;"Hélène L’Été <Helene@Lefevre.example>; compta@lefevre.example"'  # noqa: E501 - one line of a file
LEFEVRE = Customer(
    "C0042",
    "Boulangerie Lefèvre & Fils",
    "FR40102003043",
    "fr",
    Route.MAIL,
    Consent(ConsentState.EXPRESS, date(2025, 11, 24), "CGV signées"),
    (
        Contact("2c7bc97d-9f6d-579f-808d-c0195f31ffaa", "Hélène L’Été", "Helene@lefevre.example"),
        Contact("baf86757-7086-5359-a62b-1f96abb7256a", "", "compta@lefevre.example"),
    ),
)


def faults(text: str) -> tuple[Fault, ...]:
    with pytest.raises(CustomerFileError) as caught:
        customers.read(text.encode())
    return caught.value.faults


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252", "utf-16"])
@pytest.mark.parametrize("separator", [";", ",", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_what_spreadsheets_write_is_read(encoding: str, separator: str, end: str, tmp_path: Path) -> None:
    """French Excel's Windows-1252 with semicolons, UTF-8 with commas, "Unicode text" with tabs: the same customers."""
    line = LINE.replace(";", separator, 8)
    text = end.join([HEADING.replace(";", separator), "", line, ""])
    file = tmp_path / "clients.csv"
    file.write_bytes(text.encode(encoding))
    assert customers.read(file) == (LEFEVRE,)


def test_every_fault_is_named_at_once_by_line_and_column() -> None:
    """A person mends the file once, not once a fault; a cell over several lines does not shift the numbers."""
    text = "\n".join(
        [
            HEADING,
            LINE,
            'C1;"two',
            'lines";FR40102003044;de;fax;maybe;2026-02-30;;A <a@b>',
            "C0042;;;fr;mail;express;;;b@c.example; B@c.example",
            "C2;x;;;;;;;",
            "C2",
        ]
    )
    assert [(fault.line, fault.column) for fault in faults(text)] == [
        (3, "name"),
        (3, "vat_id"),
        (3, "language"),
        (3, "route"),
        (3, "consent"),
        (3, "consent_date"),
        (3, "contacts"),
        (5, ""),
        (5, "name"),
        (5, "consent_date"),
        (5, "consent_source"),
        (5, "code"),
        (7, ""),
        (7, "name"),
        (7, "code"),
    ]


def test_the_message_says_what_where_and_what_to_do() -> None:
    """The command line prints these lines as they are."""
    with pytest.raises(CustomerFileError) as caught:
        customers.read(f"{HEADING}\nC1;Name;FR00;fr;mail;;;;\n".encode())
    assert caught.value.lines() == (
        "The customer file has a fault; nothing was imported.",
        "line 2, vat_id: 'FR00' is not a VAT id (country code and number with a right check digit).",
        "Mend the file and import it again; --dry-run shows what would change.",
    )


@pytest.mark.parametrize(
    ("text", "column"),
    [
        ("", "code"),
        (HEADING.replace("contacts", "contact"), "contact"),
        (HEADING + ";code", "code"),
        (HEADING + '\n"C1', ""),
        (HEADING.replace("vat_id;", ""), "vat_id"),
    ],
)
def test_a_heading_that_is_not_ours_is_refused(text: str, column: str) -> None:
    """A column that is missing, unknown or double could empty what is known: nothing is guessed."""
    assert column in {fault.column for fault in faults(text)}


def test_bytes_that_are_no_text_are_refused() -> None:
    """A workbook given in place of its CSV export is told so."""
    with pytest.raises(CustomerFileError, match="fault"):
        customers.read(b"PK\x03\x04\x81\x8d")


@pytest.mark.parametrize(
    ("vat_id", "compact"),
    [
        ("FR 40 102 003 043", "FR40102003043"),
        ("ie9904217s", "IE9904217S"),
        ("NL999004207B01", "NL999004207B01"),
        ("EL094259216", "EL094259216"),
        ("GB 999 0042 31", "GB999004231"),
        ("CHE-107.787.577 MWST", "CHE107787577MWST"),
        ("", ""),
    ],
)
def test_vat_ids_are_checked_by_the_rules_of_their_country(vat_id: str, compact: str) -> None:
    """They are kept compact; one wrong digit is a fault."""
    row = f"{HEADING}\nC1;Name;{{}};en;mail;;;;"
    assert customers.read(row.format(vat_id).encode())[0].vat_id == compact
    if vat_id:
        digit = next(n for n, letter in enumerate(vat_id) if n > 4 and letter.isdigit())
        wrong = vat_id[:digit] + str((int(vat_id[digit]) + 1) % 10) + vat_id[digit + 1 :]
        assert faults(row.format(wrong))[0].column == "vat_id"


def test_a_contact_keeps_its_id() -> None:
    """The receipt names a contact: a second import, another name or capital letters do not make a new one."""
    again = LINE.replace("Hélène L’Été <Helene", "H. Lefèvre <hELENE")
    first, second = (customers.read(f"{HEADING}\n{line}".encode())[0].contacts for line in (LINE, again))
    assert [contact.id for contact in first] == [contact.id for contact in second]
    assert customers.contact_id("C0043", "helene@lefevre.example") != first[0].id


def test_the_difference_shows_each_cell_that_changes() -> None:
    """Added, changed and same; a customer who is absent from the file stays and is not mentioned."""
    moved = replace(LEFEVRE, route=Route.PAPER)
    new = replace(LEFEVRE, code="C2", contacts=())
    absent = replace(LEFEVRE, code="C3")
    rows = customers.difference([LEFEVRE, absent], [moved, new, absent])
    assert [(row.change, row.customer.code) for row in rows] == [
        (Change.CHANGED, "C0042"),
        (Change.ADDED, "C2"),
        (Change.SAME, "C3"),
    ]
    assert rows[0].fields == {"route": ("mail", "paper")}
    assert rows[1].fields["name"] == ("", "Boulangerie Lefèvre & Fils")
    assert "contacts" not in rows[1].fields


def test_no_cell_of_an_export_starts_a_formula() -> None:
    """A customer called =HYPERLINK(…) is text to a spreadsheet, and comes back as it was."""
    evil = [replace(LEFEVRE, code=f"{start}C", name=f"{start}1", contacts=()) for start in "=+-@"]
    written = customers.write(evil)
    assert b",=" not in written
    assert b"\n=" not in written
    assert written.count(b"'") >= 8
    assert customers.read(written) == tuple(evil)


NAMES = st.text(st.characters(categories=["L", "N", "P", "S"], exclude_characters='<>;"'), min_size=1, max_size=40)


@given(code=NAMES, name=NAMES, source=NAMES)
def test_an_export_is_an_import(code: str, name: str, source: str) -> None:
    """What was written is read as the same customer, whatever the names hold."""
    customer = replace(
        LEFEVRE,
        code=code,
        name=name,
        consent=replace(LEFEVRE.consent, source=source),
        contacts=(Contact(customers.contact_id(code, "a@b.example"), "", "a@b.example"),),
    )
    guarded = any(text.startswith("'") and text[1:].startswith(customers.FORMULA) for text in (code, name, source))
    assert guarded or customers.read(customers.write([customer])) == (customer,)


@pytest.fixture
def conn(tmp_path: Path) -> Iterator[sa.Connection]:
    database = Database(f"sqlite:///{tmp_path / 'printerd.db'}")
    metadata.create_all(database.engine)
    with database.write() as connection:
        yield connection
    database.close()


def test_an_import_writes_what_differs_and_keeps_the_rest(conn: sa.Connection) -> None:
    """The rows are those of the file, and a second import of it writes nothing."""
    absent = replace(LEFEVRE, code="C3", contacts=())
    storage.put(conn, absent, NOW)
    assert customers.apply(conn, customers.difference(storage.every(conn), [LEFEVRE]), NOW) == 1
    assert storage.every(conn) == (LEFEVRE, absent)
    assert customers.apply(conn, customers.difference(storage.every(conn), [LEFEVRE]), NOW) == 0
    changed = replace(LEFEVRE, contacts=LEFEVRE.contacts[1:], consent=Consent(ConsentState.REFUSED))
    assert customers.apply(conn, customers.difference(storage.every(conn), [changed]), NOW) == 1
    assert storage.every(conn) == (changed, absent)


def test_a_customer_is_found_exactly_or_not_at_all(conn: sa.Connection) -> None:
    """By code, then by a VAT id that one customer alone has; never by likeness."""
    coded, by_vat_id, lower, nobody = ("C0042", ""), ("C9", "FR40102003043"), ("c0042", ""), ("", "")
    storage.put(conn, LEFEVRE, NOW)
    wanted = [coded, by_vat_id, lower, nobody]
    assert storage.find(conn, wanted) == {coded: LEFEVRE, by_vat_id: LEFEVRE}
    assert [storage.find(conn, [one]).get(one) for one in wanted] == [LEFEVRE, LEFEVRE, None, None]
    other, second = ("C2", "FR40102003043"), replace(LEFEVRE, code="C2", contacts=())
    storage.put(conn, second, NOW)
    assert storage.find(conn, [by_vat_id, other, coded]) == {other: second, coded: LEFEVRE}
    assert storage.find(conn, []) == {}
