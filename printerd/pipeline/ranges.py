"""One document read by all readers: a large one by ranges of its pages, and what stands over their seams once more.

One rule: what comes out is what one reader finds in the whole. Each range is read as if it were the document, then one
reader hears what every page says of its place, and reads again the invoices for which the ranges were too short.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO

from printerd.model import PageRange
from printerd.pipeline import answers
from printerd.pipeline.pools import Answer, Pool

AT_ONCE = 50
"""Pages that a reader reads at once: a document of so many, or a range of a larger one."""
MOST = 16
"""Ranges of a document: each costs its reader a look at the whole, so that those of large ones are longer."""

Source = Path | BinaryIO


def cut(pages: int) -> list[PageRange]:
    """The ranges of a document: as few as may be, and as equal as can be."""
    many = min(-(-pages // AT_ONCE), MOST)
    ends = [pages * number // many for number in range(many + 1)]
    return [PageRange(before + 1, end) for before, end in pairwise(ends)]


@dataclass(frozen=True, slots=True)
class Found:
    """One invoice: what its reader says of it, and its PDF, which is missing when it is the whole document."""

    reading: Mapping[str, Any]
    pdf: Path | None

    @property
    def pages(self) -> range:
        return range(self.reading["first"], self.reading["last"] + 1)


@dataclass(frozen=True, slots=True)
class Reading:
    """The invoices of a document in the order of its pages, and its PDF when it was none."""

    converted: Path | None
    invoices: Sequence[Found]


@contextmanager
def read(readers: Pool, asked: Mapping[str, Any], files: Sequence[Source], seconds: float) -> Iterator[Reading]:
    """Reads a document as the task ``read`` is ``asked``; the files last as long as the context.

    Each call may take ``seconds``. Raises what a reader raises, of several the one with the first pages.
    """
    most = AT_ONCE if readers.size > 1 else answers.MOST
    with ExitStack() as opened:
        answer = opened.enter_context(readers.call("read", {**asked, "most": most}, files, seconds))
        values = answers.checked(answer.values, most)
        converted = answer.file(values["converted"]) if values["converted"] else None
        invoices: Sequence[Found] = _found(values, answer)
        if not invoices:
            shared = _Shared(readers, converted or files[0], asked.get("template", ""), seconds, opened)
            invoices = shared.invoices(PageRange(1, values["pages"]))
        yield Reading(converted, invoices)


def _found(values: Mapping[str, Any], answer: Answer) -> list[Found]:
    return [Found(one, answer.file(one["pdf"]) if one["pdf"] else None) for one in values["invoices"]]


@dataclass(frozen=True, slots=True)
class _Shared:
    """A PDF that all readers have before them. ``template`` is the one that its sender named; ``written`` are the bytes
    of parts that each range came to.
    """

    readers: Pool
    document: Source
    template: str
    seconds: float
    opened: ExitStack
    written: list[int] = field(default_factory=list)

    def invoices(self, pages: PageRange) -> list[Found]:
        ranges = cut(pages.last)
        with ThreadPoolExecutor(self.readers.size) as threads:  # one that fails keeps the rest from being begun
            told = list(threads.map(self._range, ranges))
        seen = [page for marks, _ in told for page in marks]
        found = [one for _, some in told for one in some]
        mended = self._mended(pages, seen, [own.first for own in ranges[1:]], found)
        again = {page for one in mended for page in one.pages}
        kept = [one for one in found if again.isdisjoint(one.pages)]
        return sorted([*kept, *mended], key=lambda one: one.pages.start)

    def _range(self, own: PageRange) -> tuple[Sequence[Mapping[str, Any]], list[Found]]:
        """What its pages say of their place, and its invoices if the document had no other pages."""
        answer = self._call("read range", {"first": own.first, "last": own.last, "template": self.template})
        values = answers.checked_range(answer.values, own)
        found = _found(values, answer)
        self.written.append(sum(one.pdf.stat().st_size for one in found if one.pdf))
        return values["seen"], found

    def _mended(
        self, pages: PageRange, seen: Sequence[Mapping[str, Any]], seams: Sequence[int], found: Sequence[Found]
    ) -> list[Found]:
        """The invoices that nobody has found yet: they stand over a seam."""
        known = [[one.reading[name] for name in ("first", "last", "template")] for one in found]
        answer = self._call("mend", {"seen": seen, "seams": seams, "found": known})
        return _found(answers.checked_mending(answer.values, pages), answer)

    def _call(self, task: str, values: Mapping[str, Any]) -> Answer:
        values = {**values, "written": sum(self.written)}
        return self.opened.enter_context(self.readers.call(task, values, [self.document], self.seconds))
