"""What line printer clients say, as values; whatever else comes is refused by one exception."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from printerd.listener.rfc1179 import (
    CONTROL,
    FILES,
    Announced,
    Command,
    Control,
    Order,
    Part,
    Printed,
    announced,
    control,
    order,
)

CUPS = b"Hmill\nPmarie\nJFacture d'ao\xc3\xbbt\nldfA042mill\nldfA042mill\nUdfA042mill\nNFA-2026-0042.pdf\n"


@pytest.mark.parametrize(
    ("line", "meant"),
    [
        (b"\x01invoices\n", Order(Command.PRINT_WAITING, "invoices")),
        (b"\x02invoices\n", Order(Command.RECEIVE_JOB, "invoices")),
        (b"\x03invoices \n", Order(Command.SHORT_STATE, "invoices")),
        (b"\x04invoices marie 12\n", Order(Command.LONG_STATE, "invoices", ("marie", "12"))),
        (b"\x05invoices\tmarie 12\r\n", Order(Command.REMOVE_JOBS, "invoices", ("marie", "12"))),
    ],
)
def test_a_command_names_its_queue(line: bytes, meant: Order) -> None:
    assert order(line) == meant


@pytest.mark.parametrize(
    "line", [b"", b"\n", b"\x02\n", b"\x02 \n", b"\x06invoices\n", b"\0invoices\n", b"GET / HTTP/1.1\r\n"]
)
def test_what_is_no_command(line: bytes) -> None:
    with pytest.raises(ValueError, match="client"):
        order(line)


@pytest.mark.parametrize(
    ("line", "meant"),
    [
        (b"\x01\n", Announced(Part.ABORT)),
        (b"\x02 69 cfA042mill\n".replace(b" ", b"", 1), Announced(Part.CONTROL_FILE, 69, "cfA042mill")),
        (b"\x0362526 dfA042mill.local\n", Announced(Part.DATA_FILE, 62526, "dfA042mill.local")),
        (b"\x030 dfA042mill\n", Announced(Part.DATA_FILE, None, "dfA042mill")),
        (b"\x03125899906843000 dfA042MILL\n", Announced(Part.DATA_FILE, None, "dfA042MILL")),
        (b"\x03999999999999 dfA042mill\n", Announced(Part.DATA_FILE, None, "dfA042mill")),
    ],
)
def test_a_file_is_announced_with_its_length(line: bytes, meant: Announced) -> None:
    """0, and what Windows and CUPS say when nobody has counted, is no length."""
    assert announced(line) == meant


@pytest.mark.parametrize(
    "line",
    [
        b"\x03-1 dfA042mill\n",
        b"\x031e9 dfA042mill\n",
        b"\x03" + b"9" * 40 + b" dfA042mill\n",
        b"\x0310\n",
        b"\x0310 ../../etc/passwd\n",
        b"\x0310 dfA042/../../x\n",
        b"\x0310 dfA042..\\x\n",
        b"\x0310 dfA042\x1b[2J\n",
        b"\x0310 cfA042mill\n",
        b"\x0210 dfA042mill\n",
        b"\x020 cfA042mill\n",
        b"\x02%d cfA042mill\n" % (CONTROL + 1),
        b"\x04 10 dfA042mill\n",
        b"\x0310 dfA" + b"x" * 4000 + b"\n",
    ],
)
def test_what_announces_no_file(line: bytes) -> None:
    """No length below zero or beyond measure, no name with a slash: nothing of it is read."""
    with pytest.raises(ValueError, match=r"subcommand|name|control file"):
        announced(line)


def test_a_control_file_is_read() -> None:
    """Who, what, how often; the letters that say nothing to an archive are left out."""
    file = Printed("dfA042mill", "l", 2, "FA-2026-0042.pdf")
    assert control(CUPS) == Control("mill", "marie", "Facture d'août", {"dfA042mill": file})


@pytest.mark.parametrize("kind", "flopr")
def test_each_file_of_a_control_file_has_its_kind_and_name(kind: str) -> None:
    lines = f"HAS400\nLQUSER\nJQPRTLIBL\nCA\nTinvoice\n{kind}dfA001AS400\nNone\nUdfA001AS400\nfdfB001AS400\nNtwo\n"
    read = control(lines.encode())
    assert (read.user, read.title) == ("QUSER", "QPRTLIBL")
    assert list(read.files.values()) == [Printed("dfA001AS400", kind, 1, "one"), Printed("dfB001AS400", "f", 1, "two")]


def test_names_may_be_in_windows_1252() -> None:
    assert control(CUPS.replace(b"\xc3\xbb", b"\xfb")).title == "Facture d'août"


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"Hmill\nPmarie\n",
        b"Hmill\nf/etc/passwd\n",
        b"Hmill\nf../x\n",
        b"Hmill\nf\n",
        b"P" + b"a" * 60_000 + b"\nfdfA1m\n",
        b"".join(b"fdfA%03dm\n" % number for number in range(FILES + 1)),
    ],
)
def test_a_broken_control_file_prints_nothing(octets: bytes) -> None:
    with pytest.raises(ValueError, match="control file"):
        control(octets)


@given(
    st.binary(max_size=300)
    | st.sampled_from([CUPS]).flatmap(lambda whole: st.integers(0, len(whole)).map(lambda cut: whole[:cut]))
)
def test_any_bytes_are_a_value_or_refused(octets: bytes) -> None:
    """Nothing but ValueError comes out of it, and no name with a slash."""
    for read in (order, announced, control):
        with suppress(ValueError):
            read(octets)
    with suppress(ValueError):
        assert not any("/" in name or "\\" in name for name in control(octets).files)
    with suppress(ValueError):
        assert "/" not in announced(octets).name
