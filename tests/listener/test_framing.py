"""Where documents begin and end is the same however a stream is cut, and none is whole before its end."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from printerd.listener.framing import EXIT, PJL_LINES, Asked, Began, End, Ended, Event, Foreign, Framing, Header, Piece

from .doors import PDF, POSTSCRIPT, TEXT

LINEAR = b"%PDF-1.4\n<</Linearized 1>>\nstartxref\n0\n%%EOF\n" + bytes(2000) + b"startxref\n216\n%%EOF"
EPS = b"%!PS-Adobe-3.0\n%%BeginDocument: logo\n%!PS-Adobe EPSF-3.0\n%%EOF\n%%EndDocument\nshowpage\n%%EOF\n"
SERIAL = b"%!\n(by hand) show showpage\n\x04"
"""PostScript without comments ends with the end of file of a serial line."""
DOCUMENTS = {"PDF": PDF, "linearised": LINEAR, "PostScript": POSTSCRIPT, "EPS within": EPS, "serial": SERIAL}
PJL = b'@PJL JOB NAME="FA-2026-0042"\r\n@PJL SET USERNAME = "h\xc3\xa9l\xc3\xa8ne"\r\n@PJL SET COPIES=2\r\n'
WRAPPED = EXIT + PJL + b"@PJL ENTER LANGUAGE=POSTSCRIPT\r\n" + POSTSCRIPT + EXIT + b"@PJL EOJ\r\n" + EXIT


def events(pieces: Iterable[bytes], end: End = End.CLOSED) -> list[Event]:
    """What a stream comes to, with the pieces of a document as one."""
    framing, found = Framing(), list[Event]()
    for piece in pieces:
        found += framing.feed(piece)
    joined: list[Event] = []
    for event in [*found, *framing.end(end)]:
        if isinstance(event, Piece) and joined and isinstance(last := joined[-1], Piece):
            joined[-1] = Piece(last.data + event.data)
        else:
            joined.append(event)
    return joined


def documents(stream: bytes, end: End = End.CLOSED) -> list[tuple[bytes, bool]]:
    """The documents of a stream, and whether each is whole."""
    found: list[tuple[bytes, bool]] = []
    data = b""
    for event in events([stream], end):
        if isinstance(event, Began):
            data = b""
        elif isinstance(event, Piece):
            data = event.data
        elif isinstance(event, Ended):
            found.append((data, event.whole))
    return found


def cut_up(stream: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)})
    return [stream[first:last] for first, last in pairwise(places)]


MARKS = (b"%%EOF", b"\x04", b"\x14", b"%!PS", b"%PDF-", b"\n", b"\0", b" ", b"startxref\n9\n%%EOF", b"%%BeginDocument")
SAID = (EXIT, PJL, WRAPPED, b"@PJL INFO ID\r\n", b"GET / HTTP/1.1\r\n", b"\x1b%-1234")
FRAGMENTS = st.sampled_from([*DOCUMENTS.values(), TEXT, *MARKS, *SAID])
STREAMS = st.lists(FRAGMENTS | st.binary(max_size=40), max_size=8).map(b"".join)


@given(STREAMS, st.lists(st.integers(0, 1 << 16), max_size=12), st.sampled_from(list(End)))
def test_the_cuts_of_the_network_change_nothing(stream: bytes, cuts: list[int], end: End) -> None:
    """Any bytes in any pieces: no failure, and the same documents as from one piece."""
    assert events(cut_up(stream, cuts), end) == events([stream], end)


@given(STREAMS, st.sampled_from(list(End)))
def test_every_document_that_begins_ends(stream: bytes, end: End) -> None:
    """Began, bytes, ended, in this order, whatever comes."""
    shape = "".join(
        {Began: "b", Piece: "p", Ended: "e", Asked: "", Foreign: "f"}[type(one)] for one in events([stream], end)
    )
    assert re.fullmatch(r"(bp?e)*f?", shape)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_no_beginning_of_a_document_is_whole(name: str) -> None:
    """A PDF or PostScript document that lacks anything but blanks at its end is cut, wherever it was."""
    document = DOCUMENTS[name]
    least = len(document.rstrip(b"\r\n"))
    assert documents(document) == [(document, True)]
    for end in (End.CLOSED, End.SILENT):
        assert not any(whole for size in range(1, least) for _, whole in documents(document[:size], end))


@pytest.mark.parametrize("first", DOCUMENTS)
@pytest.mark.parametrize("second", DOCUMENTS)
@pytest.mark.parametrize(
    "between", [b"", b"\r\n", b"\x04", b"\0\x1a\n", EXIT, EXIT + PJL + b"@PJL ENTER LANGUAGE=PDF\n"]
)
def test_documents_are_parted_by_their_own_marks(first: str, second: str, between: bytes) -> None:
    """One behind the other through one connection, they are two."""
    found = documents(DOCUMENTS[first] + between + DOCUMENTS[second])
    assert [whole for _, whole in found] == [True, True]
    assert found[0][0].startswith(DOCUMENTS[first]) and found[1][0] == DOCUMENTS[second]


def test_copies_of_a_cut_document_do_not_mend_it() -> None:
    """A document that broke off is not ended by the one behind it."""
    assert [whole for _, whole in documents(PDF[:-8] + EXIT + PDF)] == [False, True]


@pytest.mark.parametrize(
    ("text", "end", "whole"),
    [
        (TEXT, End.CLOSED, True),
        (b"a line\n", End.CLOSED, True),
        (b"a line\n\0\0", End.CLOSED, True),
        (b"half a li", End.CLOSED, False),
        (TEXT, End.SILENT, True),
        (b"a line\n", End.SILENT, False),
        (b"a line\n\x04", End.SILENT, True),
        (b"half a li", End.COUNTED, True),
        (EXIT + b"@PJL ENTER LANGUAGE=TEXT\n" + TEXT, End.CLOSED, False),
        (EXIT + b"@PJL ENTER LANGUAGE=TEXT\n" + TEXT + EXIT, End.CLOSED, True),
    ],
)
def test_text_ends_with_its_line_and_in_silence_with_its_page(text: bytes, end: End, whole: bool) -> None:
    """Text has no mark of its own: a broken line is never whole, and what PJL opened, PJL ends."""
    assert [found for _, found in documents(text, end)] == [whole]


def test_the_margin_of_a_text_stays() -> None:
    assert documents(TEXT) == [(TEXT, True)]


def test_pjl_names_the_document_and_is_no_part_of_it() -> None:
    """Name, user and copies come from the header; what is archived begins and ends with the document."""
    began, piece, ended = events([WRAPPED])
    assert began == Began(Header("FA-2026-0042", "hélène", "2"))
    assert piece == Piece(POSTSCRIPT) and ended == Ended(whole=True)


def test_a_name_holds_for_its_job_and_no_longer() -> None:
    """@PJL JOB counts until @PJL EOJ, for each document between them; what stood alone counts once."""
    job = EXIT + PJL + EXIT + PDF + EXIT + PDF + EXIT + b"@PJL EOJ\n" + EXIT + PDF
    alone = EXIT + b'@PJL SET JOBNAME="x"\n' + EXIT + PDF + EXIT + PDF
    titles = [[one.header.title for one in events([stream]) if isinstance(one, Began)] for stream in (job, alone)]
    assert titles == [["FA-2026-0042", "FA-2026-0042", ""], ["x", ""]]


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        (EXIT + b"@PJL INFO ID\r\n" + EXIT, b'@PJL INFO ID\r\n"Invoice Printer"\r\n\f'),
        (
            EXIT + b"@PJL\r\n@PJL INFO STATUS\n",
            b'@PJL INFO STATUS\r\nCODE=10001\r\nDISPLAY="Ready"\r\nONLINE=TRUE\r\n\f',
        ),
        (EXIT + b"@PJL ECHO 17:04 a\r\n", b"@PJL ECHO 17:04 a\r\n\f"),
        (b"\x14", b"%%[ status: idle ]%%\n"),
    ],
)
def test_what_is_asked_before_a_document_is_answered(question: bytes, answer: bytes) -> None:
    assert events([question]) == [Asked(answer)]
    assert events([question + PDF])[0] == Asked(answer)


@pytest.mark.parametrize(
    "stream", [b"GET / HTTP/1.1\r\n\r\n", b"POST /x HTTP/1.1\r\n\r\n" + PDF, b"PRI * HTTP/2.0\r\n\r\n"]
)
def test_what_a_browser_sends_is_no_document(stream: bytes) -> None:
    (event,) = events(cut_up(stream, [1, 2, 3, 4, 5]))
    assert isinstance(event, Foreign) and "HTTP" in event.what


def test_a_text_may_begin_as_a_method_does() -> None:
    assert documents(b"HEAD OFFICE\n") == [(b"HEAD OFFICE\n", True)]


@pytest.mark.parametrize("stream", [b"@PJL " + b"x" * 5000, b"@PJL COMMENT\n" * (PJL_LINES + 1)])
def test_pjl_without_end_is_not_kept(stream: bytes) -> None:
    assert isinstance(events([stream])[-1], Foreign)
