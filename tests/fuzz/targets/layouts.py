"""Templates of a firm: TOML that says where the fields of its invoices stand.

One rule: a text is a template or a :class:`ConfigurationError` that names it; a template can be used on a page. How
long its patterns may take on a page is the reader's to limit, which is killed then.
"""

from __future__ import annotations

from random import Random

from printerd.errors import ConfigurationError
from printerd.pipeline.layouts import LONGEST, read_templates, shipped
from tests.fuzz.mutation import lines
from tests.fuzz.target import Target


def once(data: bytes) -> None:
    try:
        (template,) = read_templates([{"name": "own", "toml": data.decode("utf-8", "replace")}])
    except ConfigurationError as failure:
        assert "own" in failure.what
        return
    assert template.all
    assert template.matches("") in (True, False)
    assert all(len(value) <= LONGEST for value in template.constants.values())


def seeds() -> dict[str, bytes]:
    rules = b"""locale = { dates = "fr_FR", numbers = "en_GB" }
[fingerprint]
all = ['a']
none = ['b']
[[fields.number]]
label = '^N'
direction = "below"
zone = [1, 2.5, 3, 4]
pages = "last"
[[fields.number]]
pattern = 'FA-(\\d+)'
values = { a = "b" }
"""
    return {template["name"]: template["toml"].encode() for template in shipped()} | {"rules": rules}


WORDS = (
    b"locale = 'fr_FR'\n", b"locale = 1\n", b"locale = { dates = 'x', numbers = [] }\n", b"page = '(?P<number>a)'\n",
    b"page = 1\n", b"[fingerprint]\n", b"all = ['a']\n", b"all = 1\n", b"[constants]\n", b"currency = 1\n",
    b"[fields]\n", b"[fields.number]\n", b"[[fields.total]]\n", b"label = '('\n", b"label = 'a{99999999999}'\n",
    b"label = '" + b"(" * 500 + b"'\n", b"label = '(?P<number>'\n", b"pattern = '[[a]'\n", b"pattern = '(?i)a(?i)'\n",
    b"pattern = '\\\\N{x}'\n", b"zone = [1, 2, 3]\n", b"zone = [nan, 0, 1, 1]\n", b"zone = 'abcd'\n",
    b"zone = [1, " + b"9" * 5000 + b", 3, 4]\n", b"values = { a = 1 }\n", b"direction = []\n", b"pages = {}\n",
    b"= " + b"[" * 500,
)  # fmt: skip
_linewise = lines(WORDS)


def mutate(data: bytes, random: Random) -> bytes:
    return _linewise(data, random)


TARGET = Target(once, seeds, mutate, WORDS, longest=8192, mutations=1500)
