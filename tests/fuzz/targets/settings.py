"""The settings: ``config.toml`` and ``--set`` of printerd, the JSON file of the receipt service.

One rule: a file is settings or a failure that says what to mend. An input begins with a letter: ``t`` for TOML, ``s``
for assignments one a line, ``j`` for JSON.
"""

from __future__ import annotations

import json
import tempfile
from functools import cache
from pathlib import Path
from random import Random

from printerd import config
from printerd.errors import ConfigurationError, RequestError
from receipt_service.config import SettingsError, read_settings
from tests.fuzz.mutation import lines, of_json
from tests.fuzz.target import Target
from tests.fuzz.world import IN_MEMORY


@cache
def _folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="fuzz-", dir=IN_MEMORY if IN_MEMORY.is_dir() else None))


def once(data: bytes) -> None:
    kind, body = data[:1], data[1:]
    (_folder() / "config.toml").write_bytes(body if kind == b"t" else b"")
    assignments = body.decode("utf-8", "replace").splitlines() if kind == b"s" else []
    try:
        settings = config.load(_folder(), assignments)
        config.issuers(settings)
    except (ConfigurationError, RequestError) as failure:
        assert failure.lines()[0]
    if kind == b"j":
        _read_json(body)


def _read_json(body: bytes) -> None:
    file = _folder() / "settings.json"
    file.touch(mode=0o600)
    file.write_bytes(body)
    try:
        read_settings(file)
    except SettingsError as error:
        assert all(error.lines)


TOML = b"""language = "fr"
time_zone = "Europe/Paris"
database = "postgresql+psycopg://printer@db.example/printer"
[listen]
ipp = "[::1]:8631"
names = ["printer.firm.example"]
networks = ["192.0.2.0/24", "2001:db8::/32"]
[limits]
document = "64 MiB"
free_space = 536870912
[smtp]
host = "127.0.0.1"
tls = "starttls"
user = "compta"
[pools]
reader_seconds = 60.5
[issuers.main]
name = "Au bon moulin"
siren = "732 829 320"
vat_id = "FR44732829320"
email = "contact@moulin.example"
colour = "#1f4e79"
ibans = ["FR76 3000 6000 0112 3456 7890 189"]
"""
ASSIGNED = (
    b"language=fr\nlisten.ipp=127.0.0.1:0\nlisten.names=['a', 'b']\nlimits.document=1 GB\nissuers.main.name=Moulin\n"
)
EDGE = {
    "database": "/var/lib/r/receipts.db",
    "documents": "/var/lib/r/documents",
    "outbox_key": "/var/lib/r/outbox.key",
    "secret": "a-secret-of-some-length",
    "public": "127.0.0.1:8632",
    "api": "unix:///run/r/api.sock",
    "public_url": "https://receipts.example",
    "server_name": "edge-1",
    "trusted_proxies": ["192.0.2.0/24"],
    "smtp": {"host": "127.0.0.1", "port": 25, "tls": "none", "from": "Compta <compta@moulin.example>"},
    "retry": {"first": 60, "most": 21600, "give_up_after": 259200},
}


def seeds() -> dict[str, bytes]:
    return {
        "toml": b"t" + TOML,
        "template": b"t" + config.template().encode(),
        "uncommented": b"t" + config.template().encode().replace(b"# ", b"").replace(b"#", b""),
        "assigned": b"s" + ASSIGNED,
        "edge": b"j" + json.dumps(EDGE).encode(),
        "bytes": b"t\xff\xfe",
    }


WORDS = (
    b"[listen]\n", b"[[issuers]]\n", b"[issuers.main]\n", b"[a.b.c]\n", b"ipp = ", b"document = ",
    b"'999999999999999999999 PB'", b"= 'fd://9'", b"= 'unix:///a'", b"= [", b"]", b"{", b"}",
    b"= 1979-05-27T07:32:00Z", b"= inf", b"= nan", b"= 0x1F", b"= 1_000", b"= " + b"9" * 5000, b"= '0.0.0.0/33'",
    b"'http://[a'", b"'''", b'"""', b"\\u0000", b"\\ud800", b"ibans = ['", b"FR7630006000011234567890189", b"tls = ",
    b"time_zone = '../a'", b"listen=1\n", b"listen.ipp=1\n", b"listen.ipp.a=1\n", b"a=b\n", b".=\n", b"=\n",
    b"=" + b"[" * 500,
)  # fmt: skip
_linewise, _json = lines(WORDS), of_json((*EDGE, "127.0.0.1:99999", "::1", "https://a/b", "http://["))


def mutate(data: bytes, random: Random) -> bytes:
    change = _json if data[:1] == b"j" else _linewise
    return data[:1] + change(data[1:], random)


TARGET = Target(once, seeds, mutate, WORDS, longest=8192, mutations=1500)
