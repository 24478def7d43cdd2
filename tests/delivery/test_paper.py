"""The out-tray."""

from __future__ import annotations

import io
import os
import stat
from datetime import date
from pathlib import Path

import pytest

from printerd.delivery import paper
from printerd.errors import TransientError
from printerd.model import DeliveryId

ONE = DeliveryId("7d444840-9dc0-11d1-b245-5ffdce74fad2")
DAY = date(2026, 11, 24)


@pytest.mark.parametrize(
    ("number", "name"),
    [
        ("FA-2026-0042", "2026-11-24_FA-2026-0042_7d444840.pdf"),
        ("../../etc/passwd", "2026-11-24_etc-passwd_7d444840.pdf"),
        ("№ 12\n/é", "2026-11-24_12_7d444840.pdf"),
        ("", "2026-11-24_invoice_7d444840.pdf"),
        ("x" * 500, f"2026-11-24_{'x' * 60}_7d444840.pdf"),
    ],
)
def test_a_number_never_becomes_a_path(number: str, name: str) -> None:
    """Whatever stands on the invoice, the file lies in the tray under a short plain name."""
    assert paper.file_name(DAY, number, ONE) == name


def test_the_sealed_pdf_lies_in_the_tray_as_it_is(tmp_path: Path) -> None:
    """Byte for byte; laying it there again makes no second sheet and leaves nothing else behind."""
    tray = tmp_path / "out-tray"
    paths = {paper.put(tray, io.BytesIO(b"%PDF sealed"), day=DAY, number="FA-1", delivery=ONE) for _ in range(2)}
    assert list(tray.iterdir()) == list(paths)
    assert paths.pop().read_bytes() == b"%PDF sealed"


def test_a_tray_that_cannot_be_written_is_tried_again(tmp_path: Path) -> None:
    """A file stands where the folder should be: the failure names the place and passes when it is mended."""
    (tmp_path / "out-tray").write_text("")
    with pytest.raises(TransientError, match="out-tray"):
        paper.put(tmp_path / "out-tray", io.BytesIO(b""), day=DAY, number="FA-1", delivery=ONE)


def test_a_group_may_print_from_the_tray(tmp_path: Path) -> None:
    """The rest of the state is the service's alone; the tray and its files are also for the group of its owner."""
    before = os.umask(0o077)
    try:
        path = paper.put(tmp_path / "out-tray", io.BytesIO(b"%PDF"), day=DAY, number="FA-1", delivery=ONE)
    finally:
        os.umask(before)
    assert [stat.S_IMODE(one.stat().st_mode) for one in (path.parent, path)] == [0o750, 0o640]
