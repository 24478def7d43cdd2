"""What every form of the firm shares: how lines fall on sheets, how figures are written, the mill on top.

One rule: a form is a function that draws one sheet; this module decides which sheet that is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from itertools import pairwise

from babel.dates import format_date

from printerd.demo.pens import Align, Pen, Point
from printerd.demo.trade import Line, Sale
from printerd.model import PageRange

NBSP = "\u00a0"


@dataclass(frozen=True, slots=True)
class Room:
    """How many lines a form takes: on a sheet that other sheets follow, and on the last, above the totals."""

    going_on: int
    last: int


@dataclass(frozen=True, slots=True)
class Sheet:
    """One page of an invoice: ``number`` of ``count``, its lines, and the amount ``carried`` from sheets before."""

    number: int
    count: int
    lines: tuple[Line, ...]
    carried: Decimal

    @property
    def is_last(self) -> bool:
        return self.number == self.count

    @property
    def subtotal(self) -> Decimal:
        return self.carried + sum((line.amount for line in self.lines), Decimal(0))


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the table of lines; ``x`` is its edge on the side of ``align``."""

    title: str
    x: float
    align: Align
    cell: Callable[[Line], str]


def sheets(lines: Sequence[Line], room: Room) -> tuple[Sheet, ...]:
    """The lines on as few sheets as hold them."""
    stacks: list[tuple[Line, ...]] = []
    rest = tuple(lines)
    while len(rest) > room.last:
        taken = min(room.going_on, len(rest) - 1)
        stacks.append(rest[:taken])
        rest = rest[taken:]
    stacks.append(rest)
    made: list[Sheet] = []
    for number, stack in enumerate(stacks, start=1):
        made.append(Sheet(number, len(stacks), stack, made[-1].subtotal if made else Decimal(0)))
    return tuple(made)


def print_all(
    pen: Pen, draw: Callable[[Pen, Sale, Sheet], None], room: Room, sales: Iterable[Sale]
) -> tuple[PageRange, ...]:
    """Draws the sales one after the other; returns the pages of each."""
    ranges: list[PageRange] = []
    for sale in sales:
        first = ranges[-1].last + 1 if ranges else 1
        pages = sheets(sale.lines, room)
        for sheet in pages:
            draw(pen, sale, sheet)
            pen.end_page()
        ranges.append(PageRange(first, first + len(pages) - 1))
    return tuple(ranges)


def rows(pen: Pen, columns: Sequence[Column], lines: Sequence[Line], *, top: float, pitch: float, size: float) -> None:
    """Writes the lines of a sheet below ``top``, a line every ``pitch`` millimetres."""
    for n, line in enumerate(lines):
        for column in columns:
            pen.text(column.x, top + n * pitch, column.cell(line), size=size, align=column.align)


def paragraph(pen: Pen, x: float, y: float, lines: Iterable[str], *, size: float, leading: float, colour: str) -> None:
    for n, line in enumerate(lines):
        pen.text(x, y + n * leading, line, size=size, colour=colour)


def french(amount: Decimal) -> str:
    """``1234.5`` → ``1 234,50`` with a no-break space."""
    return f"{amount:,.2f}".replace(",", NBSP).replace(".", ",")


def french_euros(amount: Decimal) -> str:
    return f"{french(amount)}{NBSP}€"


def english(amount: Decimal) -> str:
    return f"{amount:,.2f}"


def percent(rate: Decimal) -> str:
    """A VAT rate as French print has it: ``5,5 %``."""
    return f"{rate.normalize():f}{NBSP}%".replace(".", ",")


def short_date(day: date | None) -> str:
    """``24/11/2026``, or nothing."""
    return f"{day:%d/%m/%Y}" if day else ""


def long_date(day: date | None, language: str) -> str:
    """``24 novembre 2026`` or ``24 November 2026``, or nothing."""
    return format_date(day, "d MMMM y", locale=language) if day else ""


def in_fours(text: str) -> str:
    """An IBAN as it is printed, in groups of four (ISO 13616 part 1 section 6)."""
    return " ".join(text[n : n + 4] for n in range(0, len(text), 4))


def siren_in_threes(siren: str) -> str:
    return " ".join(siren[n : n + 3] for n in range(0, len(siren), 3))


def band(pen: Pen, x: float, y: float, width: float, height: float, colour: str) -> None:
    pen.shape(((x, y), (x + width, y), (x + width, y + height), (x, y + height)), colour=colour)


def frame(pen: Pen, x: float, y: float, width: float, height: float, colour: str, stroke: float = 0.6) -> None:
    corners = ((x, y), (x + width, y), (x + width, y + height), (x, y + height), (x, y))
    for start, end in pairwise(corners):
        pen.rule(start, end, stroke=stroke, colour=colour)


def windmill(pen: Pen, x: float, y: float, size: float, *, body: str, sails: str) -> None:
    """The firm's mark, in a square of ``size`` whose upper left corner is at (x, y)."""

    def at(*points: Point) -> tuple[Point, ...]:
        return tuple((x + px * size, y + py * size) for px, py in points)

    pen.shape(at((0.36, 0.44), (0.64, 0.44), (0.74, 1.0), (0.26, 1.0)), colour=body)
    pen.shape(at((0.34, 0.42), (0.42, 0.28), (0.58, 0.28), (0.66, 0.42)), colour=body)
    for dx, dy in ((1, 1), (-1, 1), (-1, -1), (1, -1)):
        # one sail: a slender blade from the hub outwards, and beside it the canvas, turned by quarters
        blade = [(0.02, 0.0), (0.36, 0.34), (0.34, 0.36), (0.0, 0.02)]
        sheet = [(0.11, 0.07), (0.19, 0.01), (0.41, 0.23), (0.35, 0.31)]
        turned = [(_turn(point, dx, dy)) for point in blade], [(_turn(point, dx, dy)) for point in sheet]
        for part in turned:
            pen.shape(at(*((0.5 + px, 0.4 + py) for px, py in part)), colour=sails)


def _turn(point: Point, dx: int, dy: int) -> Point:
    """A point of the first quarter, turned into the quarter of the signs ``dx``, ``dy`` without mirroring it."""
    px, py = point
    return {(1, 1): (px, py), (-1, 1): (-py, px), (-1, -1): (-px, -py), (1, -1): (py, -px)}[dx, dy]
