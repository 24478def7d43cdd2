"""The list of customers as spreadsheets write it: CSV in some encoding.

One rule: a file is customers, or a :class:`CustomerFileError` that names every fault; what is exported again is read
again as the same, and no cell of it starts a formula.
"""

from __future__ import annotations

import csv
import io
from random import Random

from printerd.delivery.customers import FORMULA, OPTIONAL, REQUIRED, CustomerFileError, difference, read, write
from tests.fuzz.mutation import octets
from tests.fuzz.target import Target


def once(data: bytes) -> None:
    try:
        customers = read(data)
    except CustomerFileError as error:
        assert error.faults
        assert error.where
        return
    written = write(customers)
    assert read(written) == customers
    assert not any(one.fields for one in difference(customers, customers))
    for row in csv.reader(io.StringIO(written.decode("utf-8-sig"), newline="")):
        assert not any(cell.startswith(FORMULA) for cell in row), row


ROWS = (
    (
        "C0042",
        "Boulangerie Martin",
        "FR44732829320",
        "fr",
        "mail",
        "express",
        "2026-11-24",
        "contract",
        "Marie Martin <marie@client.fr>; b@client.fr",
        "",
    ),
    ("C0043", "Mill & Sons Ltd", "GB980780684", "en", "paper", "unknown", "", "", "", ""),
    ("C0044", "=1+1", "", "", "both", "tacit", "24/11/2026", "'=mail", '"Jos\u00e9" <jose@client.es>', "scan.pdf"),
)


def table(separator: str, encoding: str, rows: tuple[tuple[str, ...], ...] = ROWS) -> bytes:
    text = io.StringIO(newline="")
    out = csv.writer(text, delimiter=separator)
    out.writerow(REQUIRED + OPTIONAL)
    out.writerows(rows)
    return text.getvalue().encode(encoding, "replace")


def seeds() -> dict[str, bytes]:
    return {
        "comma": table(",", "utf-8"),
        "semicolon": table(";", "cp1252"),
        "tab": table("\t", "utf-16"),
        "marked": table(",", "utf-8-sig", ROWS[:1]),
        "heading": table(",", "utf-8", ()),
        "nothing": b"",
    }


WORDS = (
    b",", b";", b"\t", b'"', b'""', b"\r\n", b"\r", b"\n", b"=", b"'=", b"'", b"+", b"@", b"<", b">", b"<a@b.fr>",
    b"; ", b"code", b"consent_proof", b"express", b"tacit", b"mail", b"paper", b"2026-02-30", b"20261124",
    b"2026-W01-1", b"31.12.2026", b"FR44732829320", b"EL123456789", b"CHE107787577IVA", b"XI980780684",
    "\u0663".encode(), "\u00b2".encode(), "\u00a0".encode(), "\u2028".encode(), "\u00df@stra\u00dfe.de".encode(),
    b"a@xn--a.fr", b"\0", b"\xff", b"\xff\xfe",
)  # fmt: skip
_bytewise = octets(WORDS)


def mutate(data: bytes, random: Random) -> bytes:
    """Another cell, or other bytes."""
    if random.random() < 0.4:
        return _bytewise(data, random)
    rows = [list(row) for row in random.choices(ROWS, k=random.randint(1, 3))]
    row = random.choice(rows)
    at = random.randrange(len(row))
    row[at] = _bytewise(row[at].encode(), random).decode("utf-8", "replace")
    return table(
        random.choice(",;\t"), random.choice(("utf-8", "utf-8-sig", "cp1252", "utf-16")), tuple(map(tuple, rows))
    )


TARGET = Target(once, seeds, mutate, WORDS)
