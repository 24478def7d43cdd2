"""Sidecars: three forms of the same list of fields, and what is refused of each."""

from __future__ import annotations

import json
import time

import pytest

from printerd.listener.sidecar import LARGEST, LONGEST, MOST, Sidecar, is_sidecar, read
from printerd.refusals import Refused

SAID = Sidecar(
    "marie",
    "Facture d’été",
    {"sidecar.customer-number": "C0042", "sidecar.invoice-number": "FA-2026-0042", "sidecar.total": "0120.50"},
)
JSON = (
    '{"user": "marie", "title": " Facture d’été ", "Customer_Number": "C0042", "invoice-number": "FA-2026-0042",'
    ' "total": "0120.50", "document": "FA-1.pdf", "nothing": ""}'
)
CSV = (
    "user;title;Customer_Number;invoice-number;total;document;nothing\r\n"
    "marie;Facture d’été;C0042;FA-2026-0042;0120.50;FA-1.pdf;\r\n"
)
XML = (
    "<?xml version='1.0' encoding='{0}'?>\n<!-- of the ERP --><invoice xmlns:x='urn:x' x:version='1'>\n"
    "  <user>marie</user><title>Facture d’été</title><Customer_Number>C0042</Customer_Number>\n"
    "  <invoice-number>FA-2026-0042</invoice-number><total>0120.50</total><document>FA-1.pdf</document><nothing/>\n"
    "</invoice>"
)


@pytest.mark.parametrize(
    ("file", "data"),
    [
        ("FA-1.json", JSON.encode()),
        ("FA-1.JSON", JSON.encode("utf-8-sig")),
        ("FA-1.json", JSON.encode("utf-16")),
        ("FA-1.csv", CSV.encode()),
        ("FA-1.csv", CSV.encode("utf-8-sig")),
        ("FA-1.csv", CSV.encode("cp1252")),
        ("FA-1.csv", CSV.replace(";", "\t").encode()),
        ("FA-1.csv", CSV.replace(";", ",").replace("\r\n", "\n\n").encode()),
        ("FA-1.xml", XML.format("utf-8").encode()),
        ("FA-1.xml", XML.format("utf-16").encode("utf-16")),
        ("FA-1.xml", XML.format("iso-8859-1").replace("’", "&#8217;").encode("latin-1")),
    ],
)
def test_the_same_is_said_in_every_form(file: str, data: bytes) -> None:
    """User, title and further fields, from JSON, CSV and XML in the encodings that ERPs write."""
    assert read(file, data, "FA-1.pdf") == SAID


def test_numbers_stay_as_they_are_written() -> None:
    """A number of JSON is a text: nothing is rounded, and no number is too long to be read."""
    said = read("a.json", b'{"total": 1.10, "reference": 12345678901234567890123, "x": 1e400}', "a.pdf")
    assert list(said.options.values()) == ["1.10", "12345678901234567890123", "1e400"]


ENTITIES = "".join(f'<!ENTITY e{n + 1} "{f"&e{n};" * 10}">' for n in range(9))
HOSTILE = {
    "a file by an entity": (
        "x.xml",
        b'<!DOCTYPE i [<!ENTITY f SYSTEM "file:///etc/passwd">]><i><user>&f;</user></i>',
        "sidecar-dtd",
    ),
    "an address by an entity": (
        "x.xml",
        b'<!DOCTYPE i [<!ENTITY % p SYSTEM "http://127.0.0.1:1/p">%p;]><i><user>u</user></i>',
        "sidecar-dtd",
    ),
    "a DTD elsewhere": ("x.xml", b'<!DOCTYPE i SYSTEM "http://127.0.0.1:1/i.dtd"><i><user>u</user></i>', "sidecar-dtd"),
    "a DTD without a use": ("x.xml", b"<!DOCTYPE i><i><user>u</user></i>", "sidecar-dtd"),
    "a billion laughs": (
        "x.xml",
        f'<!DOCTYPE i [<!ENTITY e0 "ha">{ENTITIES}]><i><user>&e9;</user></i>'.encode(),
        "sidecar-dtd",
    ),
    "an entity that nobody made": ("x.xml", b"<i><user>&nbsp;</user></i>", "sidecar-format"),
    "an inclusion": (
        "x.xml",
        b'<i><xi:include xmlns:xi="http://www.w3.org/2001/XInclude" href="/etc/passwd" parse="text"/></i>',
        "sidecar-format",
    ),
    "deep XML": ("x.xml", b"<a>" * 9000 + b"</a>" * 9000, "sidecar-format"),
    "nested XML": ("x.xml", b"<i><user><name>u</name></user></i>", "sidecar-format"),
    "text between fields": ("x.xml", b"<i>a<user>u</user></i>", "sidecar-format"),
    "a name space": ("x.xml", b'<i xmlns="urn:x"><user>u</user></i>', "sidecar-field"),
    "an encoding that nobody knows": ("x.xml", b'<?xml version="1.0" encoding="x"?><i/>', "sidecar-format"),
    "half an XML": ("x.xml", b"<i><user>u</user>", "sidecar-format"),
    "deep JSON": ("x.json", b"[" * 60_000, "sidecar-format"),
    "JSON that is a list": ("x.json", b'[["user", "u"]]', "sidecar-format"),
    "JSON that is a text": ("x.json", b'"user"', "sidecar-format"),
    "no number": ("x.json", b'{"total": NaN}', "sidecar-format"),
    "a field within a field": ("x.json", b'{"options": {"user": "u"}}', "sidecar-field"),
    "a field that is a list": ("x.json", b'{"user": ["u"]}', "sidecar-field"),
    "a field that is nothing": ("x.json", b'{"user": null}', "sidecar-field"),
    "a field that stands twice": ("x.json", b'{"customer-number": "1", "Customer_number": "2"}', "sidecar-field"),
    "a field without a name": ("x.json", b'{"": "1"}', "sidecar-field"),
    "a field with a path for a name": ("x.json", b'{"../x": "1"}', "sidecar-field"),
    "a line too many": ("x.json", json.dumps({"user": "u\r\nBcc: all@x.example"}).encode(), "sidecar-field"),
    "a line of Unicode": ("x.json", json.dumps({"user": "u\u2028v"}).encode(), "sidecar-field"),
    "half a character": ("x.json", b'{"user": "\\ud800"}', "sidecar-field"),
    "a command to a terminal": ("x.json", b'{"title": "\\u001b[2J"}', "sidecar-field"),
    "a long field": ("x.json", json.dumps({"title": "é" * 128}).encode(), "sidecar-field"),
    "too many fields": (
        "x.json",
        json.dumps({f"f{number}": "x" for number in range(MOST + 1)}).encode(),
        "sidecar-field",
    ),
    "a large one": ("x.json", b'{"user": "' + b"u" * LARGEST + b'"}', "sidecar-too-large"),
    "two rows": ("x.csv", b"user\nu\nv\n", "sidecar-format"),
    "a heading alone": ("x.csv", b"user\n", "sidecar-format"),
    "a row of another length": ("x.csv", b"user;title\nu\n", "sidecar-format"),
    "an open quote": ("x.csv", b'user\n"u\n', "sidecar-format"),
    "a line within a cell": ("x.csv", b'user;title\n"u\r\nv";t\n', "sidecar-field"),
    "a null": ("x.csv", b"user;title\nu\0;t\n", "sidecar-field"),
    "no text": ("x.csv", b"user\n\x81\xff\xfe\n", "sidecar-format"),
    "nothing": ("x.json", b"", "sidecar-format"),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_what_is_no_flat_list_is_refused(what: str) -> None:
    """Entities, DTDs, nesting, repetition, control characters, sizes: refused at once, by its cause, in one line."""
    file, data, code = HOSTILE[what]
    began = time.monotonic()
    with pytest.raises(Refused) as refused:
        read(file, data, "x.pdf")
    assert refused.value.code == code
    assert time.monotonic() - began < 2
    for language in ("en", "fr"):
        assert refused.value.sentence(language).replace("\u00a0", " ").isprintable()


PATHS = ["../FA-1.pdf", "/etc/passwd", "./FA-1.pdf", "sub/FA-1.pdf", "..\\FA-1.pdf", "FA-2.pdf", "..", "//x/FA-1.pdf"]


@pytest.mark.parametrize("path", PATHS)
def test_a_sidecar_names_no_file_but_its_own(path: str) -> None:
    """The field ``document`` is the name of the document beside it, or the sidecar is refused."""
    with pytest.raises(Refused) as refused:
        read("FA-1.json", json.dumps({"document": path}).encode(), "FA-1.pdf")
    assert refused.value.code == "sidecar-document"


def test_a_name_is_the_same_however_its_accents_are_written() -> None:
    """macOS writes é as two characters: the document is the same."""
    assert read("é.json", json.dumps({"document": "e\u0301.pdf"}).encode(), "é.pdf") == Sidecar()


def test_a_formula_is_kept_as_it_was_said() -> None:
    """Fields are data: nothing of them is cleaned or run."""
    said = read("a.csv", b"user;invoice-number\n=cmd|'/c calc'!A1;@SUM(1)\n", "a.pdf")
    assert (said.user, said.options) == ("=cmd|'/c calc'!A1", {"sidecar.invoice-number": "@SUM(1)"})


def test_what_is_a_sidecar_is_told_by_its_ending() -> None:
    """A file of these endings is never a document."""
    told = {name: is_sidecar(name) for name in ("a.json", "A.XML", "a.b.csv", "a.pdf", "csv", "a.json.pdf", "xml.")}
    assert [name for name, is_one in told.items() if is_one] == ["a.json", "A.XML", "a.b.csv"]


def test_the_longest_field_is_taken() -> None:
    """255 bytes are a field; 256 are none."""
    assert read("a.json", json.dumps({"title": "x" * LONGEST}).encode(), "a.pdf").title == "x" * LONGEST
