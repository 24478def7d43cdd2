"""What a page says: its text, and where each word of it stands (pdfium).

One rule: a document is opened and its text taken once; split and parse work on these values.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from operator import attrgetter

import pypdfium2 as pdfium  # type: ignore[import-untyped]  # ships no types
import pypdfium2.raw as fpdf  # type: ignore[import-untyped]  # the same

from printerd.errors import DocumentError
from printerd.model import Box, PageRange

PAGE_LIMIT = 10_000
_TAIL = 2048
"""Acrobat looks for the end mark in the last 1024 bytes (ISO 32000-1 annex H 3.18); printer drivers add a few."""


@dataclass(frozen=True, slots=True)
class Word:
    """A word, its place in points, and where it begins and ends in the text of its page."""

    text: str
    left: float
    bottom: float
    right: float
    top: float
    start: int
    end: int

    @property
    def height(self) -> float:
        return self.top - self.bottom

    @property
    def middle(self) -> float:
        return (self.top + self.bottom) / 2


@dataclass(frozen=True, slots=True)
class Page:
    """``number`` counts from 1. Lines of ``text`` end with a newline. ``levels`` are the words from bottom to top."""

    number: int
    text: str
    words: tuple[Word, ...]
    levels: tuple[Word, ...]

    def covered(self, start: int, end: int) -> tuple[Word, ...]:
        """The words of a piece of the text."""
        first = bisect_right(self.words, start, key=_end_of)
        return self.words[first : bisect_left(self.words, end, lo=first, key=_start_of)]

    def between(self, bottom: float, top: float) -> tuple[Word, ...]:
        """The words whose middles are at these heights."""
        first = bisect_left(self.levels, bottom, key=_middle_of)
        return self.levels[first : bisect_right(self.levels, top, lo=first, key=_middle_of)]


_start_of, _end_of, _middle_of = attrgetter("start"), attrgetter("end"), attrgetter("middle")


def read_pages(pdf: bytes, *, page_limit: int = PAGE_LIMIT) -> tuple[Page, ...]:
    """Takes text and words of every page. Raises :class:`DocumentError` for what is no readable PDF."""
    with opened(pdf, page_limit=page_limit) as document:
        return document.read(document.all)


class Document:
    """An open PDF, of which pages are read as they are asked for."""

    def __init__(self, pdf: pdfium.PdfDocument) -> None:
        self._pdf = pdf
        self.pages = len(pdf)

    @property
    def all(self) -> PageRange:
        return PageRange(1, self.pages)

    def page(self, number: int) -> Page:
        return self.read(PageRange(number, number))[0]

    def read(self, pages: PageRange) -> tuple[Page, ...]:
        """Text and words of some pages. Raises :class:`DocumentError` when one cannot be read, or is not there."""
        try:
            return tuple(_page(self._pdf, index) for index in range(pages.first - 1, pages.last))
        except pdfium.PdfiumError as error:
            raise DocumentError(f"A page cannot be read: {error}", code="unreadable", remedy=_AGAIN) from error


@contextmanager
def opened(pdf: bytes, *, page_limit: int = PAGE_LIMIT) -> Iterator[Document]:
    """A document as long as the context lasts. Raises :class:`DocumentError` for what is no readable PDF."""
    require_whole(pdf)
    with closing(_opened(pdf)) as document:
        if len(document) > page_limit:
            raise DocumentError(
                f"The document has {len(document)} pages; {page_limit} is the limit.",
                code="too-many-pages",
                remedy="Print it in several jobs.",
            )
        if len(document) == 0:
            raise DocumentError("The document has no pages.", code="empty", remedy="Print it again from the ERP.")
        yield Document(document)


_AGAIN = "Print it again from the ERP; if it fails again, look at its PDF export."


def require_whole(pdf: bytes) -> None:
    """Refuses at once what is empty, no PDF, or cut short: a viewer would repair it and show the half."""
    if not pdf.strip(b"\0\r\n\t "):
        raise DocumentError("The document is empty.", code="empty", remedy="Print it again from the ERP.")
    if b"%PDF-" not in pdf[:1024]:
        raise DocumentError("The document is not a PDF.", code="not-pdf", remedy="Choose PDF as the output format.")
    if b"%%EOF" not in pdf.rstrip(b"\0\r\n\t ")[-_TAIL:]:
        raise DocumentError("The document ends too soon: its end mark is missing.", code="truncated", remedy=_AGAIN)


def _opened(pdf: bytes) -> pdfium.PdfDocument:
    try:
        return pdfium.PdfDocument(pdf)
    except pdfium.PdfiumError as error:
        if error.err_code == fpdf.FPDF_ERR_PASSWORD:
            raise DocumentError(
                "The document is encrypted.", code="encrypted", remedy="Print it without a password."
            ) from error
        raise DocumentError(f"The document cannot be read: {error}", code="unreadable", remedy=_AGAIN) from error


def _page(document: pdfium.PdfDocument, index: int) -> Page:
    with closing(document[index]) as page:
        if not _flatten(page):
            return _read(page, index + 1)
    with closing(document[index]) as page:  # the handle from before does not show what was flattened
        return _read(page, index + 1)


def _flatten(page: pdfium.PdfPage) -> bool:
    """Makes notes, stamps and form fields part of the page, in memory: a reader of the page sees their words too."""
    if fpdf.FPDFPage_GetAnnotCount(page) == 0:
        return False
    done = fpdf.FPDFPage_Flatten(page, fpdf.FLAT_NORMALDISPLAY)
    if done == fpdf.FLATTEN_FAIL:
        raise pdfium.PdfiumError("its annotations cannot be drawn")
    return bool(done == fpdf.FLATTEN_SUCCESS)


def _read(page: pdfium.PdfPage, number: int) -> Page:
    with closing(page.get_textpage()) as textpage:
        text = _text(textpage)
        words = tuple(_words(textpage, text))
        return Page(number, text, words, tuple(sorted(words, key=_middle_of)))


def _text(textpage: pdfium.PdfTextPage) -> str:
    """The text, one character for each of pdfium's: places in it are places on the page."""
    count = textpage.count_chars()
    text = str(textpage.get_text_range()) if count else ""
    if len(text) != count:  # pdfium left some out, or one takes two UTF-16 units
        text = "".join(_character(textpage, index) for index in range(count))
    return text.replace("\r\n", " \n").replace("\0", " ")


def _character(textpage: pdfium.PdfTextPage, index: int) -> str:
    code = fpdf.FPDFText_GetUnicode(textpage, index)
    return "\N{REPLACEMENT CHARACTER}" if 0xD800 <= code < 0xE000 or code > 0x10FFFF else chr(code)


_WORD = re.compile(r"\S+")


def _words(textpage: pdfium.PdfTextPage, text: str) -> Iterator[Word]:
    """Words with the box from the first character's left to the last one's right, as high as the font."""
    handle, first, last = textpage.raw, fpdf.FS_RECTF(), fpdf.FS_RECTF()
    for match in _WORD.finditer(text):
        fpdf.FPDFText_GetLooseCharBox(handle, match.start(), first)
        fpdf.FPDFText_GetLooseCharBox(handle, match.end() - 1, last)
        yield Word(
            match[0],
            min(first.left, last.left),
            min(first.bottom, last.bottom),
            max(first.right, last.right),
            max(first.top, last.top),
            match.start(),
            match.end(),
        )


def box_around(page: int, words: Sequence[Word]) -> Box | None:
    """The box of words of one page."""
    if not words:
        return None
    return Box(
        page,
        min(word.left for word in words),
        min(word.bottom for word in words),
        max(word.right for word in words),
        max(word.top for word in words),
    )


def rows(words: Iterable[Word]) -> list[list[Word]]:
    """Words as a person reads them: rows from the top, each from the left."""
    lines: list[list[Word]] = []
    for word in sorted(words, key=lambda w: -w.middle):
        if lines and abs(lines[-1][0].middle - word.middle) < lines[-1][0].height / 2:
            lines[-1].append(word)
        else:
            lines.append([word])
    return [sorted(line, key=lambda w: w.left) for line in lines]
