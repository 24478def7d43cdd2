"""Sidecars of the hot folder: JSON, CSV and XML.

One rule: bytes are fields, each of them one line, or they are :class:`Refused`. An input begins with an octet for the
form.
"""

from __future__ import annotations

import json
from random import Random

from printerd.listener import sidecar
from printerd.refusals import Refused
from tests.fuzz.mutation import octets, of_json
from tests.fuzz.target import Target

FORMS = tuple(sidecar.FORMS)
DOCUMENT = "FA-1.pdf"


def once(data: bytes) -> None:
    form, body = FORMS[(data[:1] or b"\0")[0] % len(FORMS)], data[1:]
    try:
        said = sidecar.read(f"FA-1{form}", body, DOCUMENT)
    except Refused as refused:
        for language in ("en", "fr"):
            assert len(refused.sentence(language).splitlines()) == 1
        return
    assert len(said.options) <= sidecar.MOST
    for name, value in {"user": said.user, "title": said.title, **said.options}.items():
        assert value.strip() == value, (name, value)
        assert len(value.encode()) <= sidecar.LONGEST, (name, value)
        assert value.isprintable() or not {"\n", "\r", "\0", "\x1b"} & set(value), (name, value)
    assert all(name.startswith(sidecar.OPTION) for name in said.options)


FIELDS = {"document": DOCUMENT, "user": "marie", "title": "FA-1", "customer-number": "C0042", "invoice_number": "0012"}


def seeds() -> dict[str, bytes]:
    forms = {
        "json": (0, json.dumps(FIELDS).encode()),
        "json-numbers": (0, b'{"a": 00.10, "b": 1e400}'.replace(b"00", b"0")),
        "json-twice": (0, b'{"user": "a", "user": "b"}'),
        "json-deep": (0, b"[" * 2000),
        "csv": (1, b"user;customer-number\r\nmarie;C0042\r\n"),
        "csv-quoted": (1, b'\xef\xbb\xbf"user","title"\n"a ""b""","c\nd"\n'),
        "csv-windows": (1, b"user\ttitle\nh\xe9l\xe8ne\tFA\n"),
        "xml": (2, b"<invoice><user>marie</user><customer-number>C0042</customer-number></invoice>"),
        "xml-entities": (2, b"<?xml version='1.0'?><!DOCTYPE a [<!ENTITY b 'c'>]><a><user>&b;</user></a>"),
        "xml-latin": (2, b"<?xml version='1.0' encoding='iso-8859-1'?><a><user>\xe9 &#233;</user></a>"),
        "xml-nested": (2, b"<a><b c='1'/><d><e/></d></a>"),
    }
    return {name: bytes([form]) + body for name, (form, body) in forms.items()}


WORDS = (
    b'{"', b'":"', b'"}', b'","', b"\\u0000", b"\\ud800", b";", b",", b"\t", b'"', b'""', b"\r\n", b"<", b"</", b"/>",
    b"<!DOCTYPE a>", b"<![CDATA[", b"]]>", b"<!--", b"-->", b"<?xml version='1.0' encoding='", b"utf-16", b"utf-7",
    b"cp037", b"?>", b"&#0;", b"&#x1F600;", b"&amp;", b"xmlns='a'", b"\xef\xbb\xbf", b"\xff\xfe", b"user", b"title",
    b"document", DOCUMENT.encode(), b"FA-1.pdf\xcc\x81", b"NaN", b"Infinity",
)  # fmt: skip
_bytewise, _json = octets(WORDS), of_json((*FIELDS, *FIELDS.values()))


def mutate(data: bytes, random: Random) -> bytes:
    if data[:1] == b"\0" and random.random() < 0.6:
        return b"\0" + _json(data[1:], random)
    return data[:1] + _bytewise(data[1:], random)


TARGET = Target(once, seeds, mutate, WORDS)
