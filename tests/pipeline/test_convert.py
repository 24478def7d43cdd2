from __future__ import annotations

import io
import resource
import time
from pathlib import Path

import pikepdf
import pytest

from printerd.errors import ConfigurationError, DocumentError
from printerd.pipeline import programs
from printerd.pipeline.convert import chosen, convert, decode
from printerd.pipeline.pages import read_pages
from tests.pipeline import paper

TEXT, POSTSCRIPT, PDF = "text/plain", "application/postscript", "application/pdf"
FRENCH = "Facture n° 7 – Noël, cœur, 12,50 €"


def texts(pdf: bytes) -> list[str]:
    return [" ".join(page.text.split()) for page in read_pages(pdf)]


def converted(media_type: str, data: bytes, folder: Path, timeout: float = 20.0) -> bytes:
    return convert(media_type, io.BytesIO(data), folder, timeout=timeout)


def from_file(data: bytes, folder: Path, timeout: float = 20.0) -> bytes:
    """Ghostscript reads from a descriptor, so the document is a file."""
    (folder / "job.ps").write_bytes(data)
    with (folder / "job.ps").open("rb") as source:
        return convert(POSTSCRIPT, source, folder, timeout=timeout)


def test_a_pdf_stays_as_it_is(tmp_path: Path) -> None:
    """What arrives as PDF is not touched."""
    data = paper.pdf([(72, 700, "x")])
    assert converted(PDF, data, tmp_path) == data


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252", "utf-16"])
def test_text_is_read_in_the_encodings_that_erps_write(tmp_path: Path, encoding: str) -> None:
    """UTF-8 and UTF-16 by their marks, else Windows-1252; é, œ and € survive into the PDF."""
    assert texts(converted(TEXT, FRENCH.encode(encoding), tmp_path)) == [FRENCH]


def test_bytes_of_no_encoding_are_latin_1() -> None:
    """A byte that Windows-1252 does not have makes the text Latin-1, which has them all."""
    assert decode(b"\x81 caf\xe9") == "\x81 café"


def test_form_feeds_and_full_pages_make_pages(tmp_path: Path) -> None:
    """A form feed ends a page and its last one begins none; a page holds 66 lines."""
    assert texts(converted(TEXT, b"one\ftwo\n\f\n", tmp_path)) == ["one", "two"]
    lines = [f"line {n}" for n in range(67)]
    assert texts(converted(TEXT, "\r\n".join(lines).encode(), tmp_path)) == [" ".join(lines[:66]), "line 66"]


@pytest.mark.parametrize("columns", [20, 80, 81, 132, 200])
def test_every_column_is_on_the_paper(tmp_path: Path, columns: int) -> None:
    """Lines of 80 and of 132 columns fit, and longer ones too."""
    (page,) = read_pages(converted(TEXT, ("x" * columns + "\n" + "\n" * 64 + "end").encode(), tmp_path))
    assert len(page.words[0].text) == columns
    assert all(word.left > 30 and word.right < 565 and word.bottom > 30 and word.top < 812 for word in page.words)


def test_columns_stand_under_each_other(tmp_path: Path) -> None:
    """The font has one width for all characters: what is aligned in the text is aligned on the page."""
    (page,) = read_pages(converted(TEXT, "Éïœ€\tB\nwwww\tB\niiii    B".encode(), tmp_path))
    assert len({round(word.left, 1) for word in page.words if word.text == "B"}) == 1


def test_the_same_bytes_make_the_same_pdf(tmp_path: Path) -> None:
    """A step that runs twice makes one document, not two: no clock and no random name in it."""
    assert converted(TEXT, b"x", tmp_path) == converted(TEXT, b"x", tmp_path)
    first = from_file(paper.postscript("(x) show"), tmp_path)
    time.sleep(1.1)
    assert from_file(paper.postscript("(x) show"), tmp_path) == first


@pytest.mark.parametrize(
    ("ranges", "expected"),
    [("", ["1", "2", "3", "4"]), ("2-3", ["2", "3"]), ("1-1,4-9", ["1", "4"]), ("3-3", ["3"])],
)
def test_the_pages_that_were_asked_for(ranges: str, expected: list[str]) -> None:
    """page-ranges chooses pages; those beyond the end do not matter, and the same choice gives the same bytes."""
    data = paper.pdf(*([(72, 700, str(number))] for number in (1, 2, 3, 4)))
    assert texts(chosen(data, ranges)) == expected
    assert chosen(data, ranges) == chosen(data, ranges)


def protected() -> bytes:
    out = io.BytesIO()
    with pikepdf.open(io.BytesIO(paper.pdf([(72, 700, "x")]))) as pdf:
        pdf.save(out, encryption=pikepdf.Encryption(user="secret", owner="secret"))
    return out.getvalue()


def test_pages_that_are_not_there() -> None:
    with pytest.raises(DocumentError) as caught:
        chosen(paper.pdf([(72, 700, "x")]), "2-3")
    assert caught.value.code == "empty"
    for data, code in ((b"no PDF", "unreadable"), (protected(), "encrypted")):
        with pytest.raises(DocumentError) as caught:
            chosen(data, "1-1")
        assert caught.value.code == code


@pytest.mark.parametrize(
    ("media_type", "data", "code"),
    [
        (TEXT, b"", "empty"),
        (TEXT, b" \n\f\n", "empty"),
        (TEXT, b"\x7fELF\0\0", "not-text"),
        (POSTSCRIPT, b"", "empty"),
        (POSTSCRIPT, b"%PDF-1.7", "not-postscript"),
        ("image/pwg-raster", b"RaS2", "raster"),
        ("image/png", b"", "unknown-format"),
    ],
)
def test_what_cannot_be_converted_says_why(tmp_path: Path, media_type: str, data: bytes, code: str) -> None:
    """Empty, mislabelled and unknown documents are refused with a code."""
    with pytest.raises(DocumentError) as caught:
        converted(media_type, data, tmp_path)
    assert caught.value.code == code
    assert caught.value.remedy


@pytest.mark.parametrize("pages", [2, "(atend)", None])
def test_postscript_becomes_pdf(tmp_path: Path, pages: int | str | None) -> None:
    """Each showpage is a page, and its text can be read."""
    data = paper.postscript("(FA-2026-0042) show", "(two) show", pages=pages)
    if pages == "(atend)":
        data = data.replace(b"%%EOF", b"%%Pages: 2\n%%EOF")
    assert texts(from_file(data, tmp_path)) == ["FA-2026-0042", "two"]


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (paper.postscript("(one) show", pages=2), "truncated"),
        (paper.postscript("(one) show", pages="(atend)"), "truncated"),
        (paper.postscript("(one) show") + b"(half a string", "unreadable"),
        (paper.postscript("(one) show", "undefined-name"), "unreadable"),
    ],
)
def test_postscript_that_fails_is_refused_though_a_pdf_is_left(tmp_path: Path, data: bytes, code: str) -> None:
    """Ghostscript leaves a file that looks complete: status and page count decide."""
    with pytest.raises(DocumentError) as caught:
        from_file(data, tmp_path)
    assert caught.value.code == code


def test_an_endless_program_is_stopped(tmp_path: Path) -> None:
    """PostScript can loop for ever; the kill timer ends it."""
    began = time.monotonic()
    with pytest.raises(DocumentError, match="1 seconds"):
        from_file(b"%!PS\n{ } loop\n", tmp_path, timeout=1)
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    "attempt",
    [
        "(/etc/passwd) (r) file 200 string readstring pop show",
        "(SECRET) (r) file 200 string readstring pop show",
        "(OUTSIDE) (w) file dup (x) writestring closefile",
        "(/tmp/invoice-printer-test) (w) file closefile",
        "(%pipe%touch OUTSIDE) (w) file closefile",
        "(SECRET) deletefile",
        "(SECRET) (OUTSIDE) renamefile",
    ],
)
def test_postscript_reads_and_writes_no_file_and_runs_no_program(tmp_path: Path, attempt: str) -> None:
    """-dSAFER holds: neither accounts, nor /tmp, nor a pipe; a job that catches the error prints without it."""
    (tmp_path / "secret").write_text("swordfish")
    (tmp_path / "job").mkdir()
    attempt = attempt.replace("SECRET", str(tmp_path / "secret")).replace("OUTSIDE", str(tmp_path / "outside"))
    with pytest.raises(DocumentError, match=r"invalidfileaccess|ioerror"):
        from_file(paper.postscript(attempt), tmp_path / "job")
    caught = f"{{ {attempt} }} stopped clear 72 700 moveto (done) show"
    assert texts(from_file(paper.postscript(caught), tmp_path / "job")) == ["done"]
    assert sorted(file.name for file in tmp_path.iterdir()) == ["job", "secret"]
    assert not Path("/tmp/invoice-printer-test").exists()  # noqa: S108 - it must not be there


def test_postscript_cannot_turn_its_output_elsewhere(tmp_path: Path) -> None:
    """Another OutputFile is refused, though Ghostscript 10.00 dies of it."""
    outside = tmp_path / "outside"
    with pytest.raises(DocumentError):
        from_file(paper.postscript(f"<< /OutputFile ({outside}) >> setpagedevice (x) show"), tmp_path)
    assert not outside.exists()


def test_a_talkative_program_fills_no_memory_and_no_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a program says goes to a file of limited size, and the file is gone afterwards."""
    monkeypatch.setattr(programs, "_LIMITS", ((resource.RLIMIT_FSIZE, 1 << 20),))
    with pytest.raises(DocumentError):
        from_file(b"%!PS\n{ (much ) print } loop\n", tmp_path, timeout=20)
    assert {file.name for file in tmp_path.iterdir()} <= {"job.ps", "distilled.pdf"}


def test_ghostscript_is_probed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its version is told; that it is missing is a setting for IT to mend, with the command."""
    assert programs.probe_ghostscript()[0].isdigit()
    monkeypatch.setattr(programs, "GHOSTSCRIPT", "gs-that-is-not-there")
    with pytest.raises(ConfigurationError, match="not installed") as caught:
        programs.probe_ghostscript()
    assert caught.value.remedy == "apt install ghostscript"
