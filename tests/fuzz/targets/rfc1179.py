"""The lines and control files of LPD (RFC 1179), as values.

One rule: bytes are a value or a :class:`ValueError`; a name that is given back is none that leads into a folder.
"""

from __future__ import annotations

import contextlib
from random import Random

from printerd.listener.rfc1179 import FILES, announced, control, order
from tests.fuzz.mutation import lines
from tests.fuzz.target import Target


def once(data: bytes) -> None:
    with contextlib.suppress(ValueError):
        assert order(data).queue
    with contextlib.suppress(ValueError):
        found = announced(data)
        assert found.size is None or 0 <= found.size < 10**18
        _require_plain(found.name)
    with contextlib.suppress(ValueError):
        said = control(data)
        assert 0 < len(said.files) <= FILES
        for name in said.files:
            _require_plain(name)


def _require_plain(name: str) -> None:
    assert not {"/", "\\", "\0"} & set(name), name


CONTROL = b"Hmill\nPmarie\nJFA-2026-0042\nldfA042mill\nldfA042mill\nUdfA042mill\nNFA-2026-0042.pdf\n"
LINES = (
    b"\x01invoices", b"\x02invoices", b"\x03invoices marie 12", b"\x04invoices", b"\x05invoices marie 12", b"\x01",
    b"\x0269 cfA042mill", b"\x0362526 dfA042mill.local", b"\x030 dfA042mill", b"\x03125899906843000 dfA042MILL",
    b"Hmill", b"Pmarie", b"JFA\xe9", b"Lmarie", b"N\xff", b"odfB042mill", b"pdfC042mill", b"tdfD042mill", b"Mmarie",
)  # fmt: skip


def seeds() -> dict[str, bytes]:
    named = ("print-waiting", "receive", "short", "long", "remove", "abort", "control", "data", "uncounted", "stream")
    return {"control-file": CONTROL} | {name: line + b"\n" for name, line in zip(named, LINES, strict=False)}


_linewise = lines(LINES)


def mutate(data: bytes, random: Random) -> bytes:
    return _linewise(data, random)


TARGET = Target(once, seeds, mutate, LINES)
