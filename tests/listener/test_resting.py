"""When a file is whole: by its name, its rest and its end; with a clock that the test turns."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from printerd.listener.resting import MOST, TAIL, Heard, Lookout, Patience, has_end, is_looked_at, shown, stem

PDF = b"%PDF-1.7\n1 0 obj\nendobj\nstartxref\n9\n%%EOF\n"
PATIENCE = Patience(at_rest=2, sidecar=0, end=600)


class Looks:
    """A folder that is looked at, at moments of our choice."""

    def __init__(self, folder: Path, patience: Patience) -> None:
        self.folder = folder
        self._lookout = Lookout(patience)
        self._here = os.open(folder, os.O_RDONLY)

    def at(self, now: float, **heard: Heard) -> list[tuple[str, ...]]:
        told = {name.replace("_", "."): kind for name, kind in heard.items()}
        return self._lookout.look(self._here, now, told)

    def close(self) -> None:
        os.close(self._here)


@pytest.fixture
def looks(tmp_path: Path) -> Iterator[Looks]:
    looks = Looks(tmp_path, PATIENCE)
    yield looks
    looks.close()


NAMES = {
    "FA-1.pdf": True,
    "FA 1~1.PDF": True,
    "document": True,
    "résumé.tmp.pdf": True,
    ".FA-1.pdf": False,
    ".": False,
    "FA-1.pdf.part": False,
    "FA-1.pdf.PART": False,
    "FA-1.tmp": False,
    "FA-1.pdf~": False,
}


@pytest.mark.parametrize("name", NAMES)
def test_names_that_are_passed_over(name: str) -> None:
    """A dot before the name, .tmp, .part and ~ behind it: somebody else's."""
    assert is_looked_at(name) == NAMES[name]


ENDS = {
    "a PDF": (PDF, True),
    "a PDF with a comment behind it": (PDF + b"% signed\n" * 50, True),
    "a PDF cut short": (PDF[:-7], False),
    "the first part of a linearised PDF": (PDF.replace(b"\n9\n", b"\n0\n"), False),
    "a PDF without a table": (b"%PDF-1.7\n%%EOF\n", False),
    "a PDF whose end is far": (PDF + bytes(TAIL), False),
    "PostScript": (b"%!PS-Adobe-3.0\nshowpage\n%%EOF\n", True),
    "PostScript that ends with Ctrl-D": (b"\x04%!PS\nshowpage\n\x04", True),
    "PostScript in PJL": (b"\x1b%-12345X@PJL\n%!PS\nshowpage\n\x1b%-12345X", True),
    "PostScript cut short": (b"%!PS-Adobe-3.0\nshowpa", False),
    "PJL cut short": (b"\x1b%-12345X@PJL ENTER LANGUAGE=POSTSCRIPT\n%!PS\nshow", False),
    "text": (b"Facture\n", True),
    "what is no format": (b"GIF89a\0", True),
}


@pytest.mark.parametrize("what", ENDS)
def test_what_an_end_is(what: str) -> None:
    """PDF and PostScript end with a mark; text does not, and what is refused need not."""
    data, whole = ENDS[what]
    assert has_end(data[:1024], data[-TAIL:], "a.pdf") == whole


def test_sidecars_have_ends() -> None:
    """JSON ends with a brace and XML with an angle; of CSV nobody knows."""
    told = {name: has_end(b"", tail, name) for name, tail in [("a.json", b'"}\n'), ("a.xml", b"</i>"), ("a.csv", b"u")]}
    assert all(told.values())
    assert not has_end(b"", b'{"user":', "a.JSON") and not has_end(b"", b"<i><us", "a.xml")


def test_a_file_is_taken_when_it_rests(looks: Looks) -> None:
    """Not at the first look, not while it changes; two seconds after its last change, by our own clock."""
    file = looks.folder / "a.pdf"
    file.write_bytes(PDF[:20])
    assert looks.at(0) == looks.at(1.9) == []
    file.write_bytes(PDF)
    assert looks.at(2) == looks.at(3.9) == []
    assert looks.at(4) == [("a.pdf",)]


def test_the_times_of_a_file_server_do_not_count(looks: Looks) -> None:
    """A file of last year and one of next year rest as long as any other."""
    for name, moment in (("old.pdf", 0), ("new.pdf", 4e9)):
        (looks.folder / name).write_bytes(PDF)
        os.utime(looks.folder / name, (moment, moment))
    assert looks.at(0) == []
    assert looks.at(2) == [("old.pdf",), ("new.pdf",)]


def test_what_was_renamed_to_its_name_is_taken_at_once(looks: Looks) -> None:
    """Whoever renames says that it is complete; a PDF must have its end all the same."""
    (looks.folder / "a.pdf").write_bytes(PDF)
    (looks.folder / "b.pdf").write_bytes(PDF[:20])
    assert looks.at(0, a_pdf=Heard.RENAMED, b_pdf=Heard.RENAMED) == [("a.pdf",)]
    assert looks.at(599) == [("a.pdf",)]


def test_who_writes_and_has_not_closed_is_waited_for(looks: Looks) -> None:
    """A copy that stalls is not taken while its writer holds it open; if we hear no more of it, after a long time."""
    (looks.folder / "a.txt").write_bytes(b"Facture\n")
    (looks.folder / "b.txt").write_bytes(b"Facture\n")
    assert looks.at(0, a_txt=Heard.WRITTEN, b_txt=Heard.WRITTEN) == looks.at(300) == []
    assert looks.at(301, a_txt=Heard.CLOSED) == [("a.txt",)]
    assert looks.at(600) == [("a.txt",), ("b.txt",)]


def test_what_has_no_end_waits_longer(looks: Looks) -> None:
    """It is taken when its end has come, or ten minutes after its last change, to be told."""
    file = looks.folder / "a.pdf"
    file.write_bytes(PDF[:20])
    assert looks.at(0) == looks.at(2) == looks.at(599) == []
    file.write_bytes(PDF[:21])
    assert looks.at(601) == looks.at(1200) == []
    assert looks.at(1201) == [("a.pdf",)]


def test_a_second_name_is_waited_for(looks: Looks) -> None:
    """link(2) and unlink(2) is how some programs rename: with the second name gone, the file is taken."""
    (looks.folder / ".new").write_bytes(PDF)
    (looks.folder / "a.pdf").hardlink_to(looks.folder / ".new")
    assert looks.at(0) == looks.at(2) == looks.at(3) == []
    (looks.folder / ".new").unlink()
    assert looks.at(4) == [("a.pdf",)]


def test_a_sidecar_goes_before_its_document(looks: Looks) -> None:
    """Both rest before they are taken, together; alone, it waits for its document."""
    (looks.folder / "a.xml").write_bytes(b"<i/>")
    assert looks.at(0) == looks.at(598) == []
    (looks.folder / "a.pdf").write_bytes(PDF)
    assert looks.at(599) == looks.at(600) == []
    assert looks.at(601) == [("a.xml", "a.pdf")]
    (looks.folder / "a.pdf").unlink()
    assert looks.at(602) == [("a.xml",)]


def test_a_document_waits_for_its_sidecar_where_one_is_expected(tmp_path: Path) -> None:
    """So many seconds, then it is taken alone; with its sidecar, as soon as both rest."""
    looks = Looks(tmp_path, Patience(at_rest=2, sidecar=30, end=600))
    try:
        (tmp_path / "a.pdf").write_bytes(PDF)
        (tmp_path / "b.pdf").write_bytes(PDF)
        assert looks.at(0, b_pdf=Heard.RENAMED) == looks.at(29) == []
        (tmp_path / "b.csv").write_bytes(b"user\nu\n")
        assert looks.at(29.5) == []
        assert looks.at(30) == [("a.pdf",)]
        assert looks.at(31.5) == [("a.pdf",), ("b.csv", "b.pdf")]
    finally:
        looks.close()


def test_two_documents_share_no_sidecar(looks: Looks) -> None:
    """The first by name has it."""
    for name in ("a.ps", "a.pdf", "a.json"):
        (looks.folder / name).write_bytes(b"{}")
    assert looks.at(0) == []
    assert sorted(looks.at(2)) == [("a.json", "a.pdf"), ("a.ps",)]


def test_folders_are_not_files(looks: Looks) -> None:
    """They are named, and nothing in them is looked at."""
    (looks.folder / "2026").mkdir()
    (looks.folder / "2026" / "a.pdf").write_bytes(PDF)
    (looks.folder / "link").symlink_to(looks.folder / "2026")
    assert looks.at(0) == [("link",)]  # a link is no folder, and is told to be none of ours


def test_memory_is_bounded(looks: Looks) -> None:
    """Ten thousand names are kept in mind; more have their turn when these are gone, and none is forgotten."""
    for number in range(MOST + 5):
        (looks.folder / f"{number}.txt").write_bytes(b"F")
    looks.at(0)
    first = looks.at(2)
    assert len(first) == MOST
    for (name,) in first:
        (looks.folder / name).unlink()
    assert looks.at(3) == []
    assert len(looks.at(5)) == 5


def test_a_name_is_shown_on_one_line() -> None:
    """Control characters and bytes that are no UTF-8 are written out."""
    assert shown(os.fsdecode(b"a\n\x1b[2J\xff.pdf")) == "a\\u000a\\u001b[2J\\xff.pdf"


def test_a_stem_is_a_name_without_its_ending() -> None:
    """What a document and its sidecar share."""
    assert [stem(name) for name in ("a.pdf", "a.b.json", "a", "İ.PDF")] == ["a", "a.b", "a", "İ"]
