"""The page of a receipt: one A4 sheet that looks like a deed, prints well in grey, and never overflows.

A :class:`Pen` draws from the top down and everything on it grows with one
scale; the page is drawn at the largest scale at which it holds everything.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import reportlab  # type: ignore[import-untyped]  # reportlab comes without types
from babel.dates import format_date, format_datetime
from babel.numbers import format_currency, format_decimal
from reportlab.graphics.barcode.qrencoder import (  # type: ignore[import-untyped]  # the same
    QRCode,
    QRErrorCorrectLevel,
)
from reportlab.lib.pagesizes import A4  # type: ignore[import-untyped]  # the same
from reportlab.pdfbase import pdfmetrics  # type: ignore[import-untyped]  # the same
from reportlab.pdfbase.ttfonts import TTFont  # type: ignore[import-untyped]  # the same
from reportlab.pdfgen.canvas import Canvas  # type: ignore[import-untyped]  # the same

from printerd.evidence.receipt_words import WORDS, N, T
from printerd.model import Timestamp

WIDTH, HEIGHT = A4
MARGIN = 50.0
INNER = WIDTH - 2 * MARGIN
BOTTOM = 66.0
"""Where the foot begins; all lengths are in points."""
SCALES = tuple(1 - step * 0.02 for step in range(25))
PLAIN, BOLD = "receipt-plain", "receipt-bold"
DEJAVU = Path("/usr/share/fonts/truetype/dejavu")
VERA = Path(reportlab.__file__).parent / "fonts"
FACES = (
    {PLAIN: DEJAVU / "DejaVuSans.ttf", BOLD: DEJAVU / "DejaVuSans-Bold.ttf"},
    {PLAIN: VERA / "Vera.ttf", BOLD: VERA / "VeraBd.ttf"},
)
"""DejaVu where it is installed (fonts-dejavu-core), else Vera, from which it grew and which reportlab brings along."""
INK, QUIET, RULE, TINT, WATERMARK = 0.0, 0.36, 0.6, 0.95, 0.86
"""Greys from black to white: text, labels (7.6:1 on white), lines, the level's frame, SPECIMEN."""
TEXT, SMALL, LARGE, TITLE = 7.0, 6.2, 9.5, 19.0
LABEL = 104.0
TIMES = (222.0, 348.0)
"""Where the values of the record begin, and the second and third cell of the table of times, from the margin."""
SHOWN_EVENTS = 6
MOST_LINES = 3
MISSING = "□"


Column = Sequence[tuple[str, dict[str, Any]]]
"""Texts, one below the other, each with its way of writing (the named arguments of :meth:`Pen.write`)."""


@cache
def _register() -> bool:
    """Tell reportlab the two faces, once; true when it is DejaVu."""
    face = next(files for files in FACES if all(file.exists() for file in files.values()))
    for name, file in face.items():
        pdfmetrics.registerFont(TTFont(name, str(file)))
    return face is FACES[0]


def drawable(text: str) -> str:
    """The text in characters that the typeface has; what it lacks becomes ``□`` (in Vera ``?``)."""
    glyphs = pdfmetrics.getFont(PLAIN).face.charToGlyph
    instead = MISSING if ord(MISSING) in glyphs else "?"
    narrow = T if ord(T) in glyphs else N
    shown = (narrow if sign == T else " " if sign.isspace() and sign != N else sign for sign in text)
    return "".join(sign if ord(sign) in glyphs else instead for sign in shown)


def wrap(text: str, font: str, size: float, width: float, most: int = MOST_LINES) -> list[str]:
    """Break a text at its spaces (never at no-break ones) into at most ``most`` lines that fit ``width``.

    A word that is too long alone is broken anywhere; what does not fit ends in ``…``.
    """
    lines: list[str] = []
    for word in drawable(text).split(" "):
        for piece in _pieces(word, font, size, width):
            joined = f"{lines[-1]} {piece}" if lines and piece is not None else piece
            if lines and not _glued(word, piece) and _fits(joined, font, size, width):
                lines[-1] = joined
            else:
                lines.append(piece)
    if len(lines) <= most:
        return lines
    last = lines[most - 1]
    while last and not _fits(last + "…", font, size, width):
        last = last[:-1]
    return [*lines[: most - 1], last + "…"]


def _glued(word: str, piece: str) -> bool:
    """Whether the piece goes on inside its word, and so begins a line."""
    return not word.startswith(piece)


def _pieces(word: str, font: str, size: float, width: float) -> Iterator[str]:
    while word and not _fits(word, font, size, width):
        end = next(n for n in range(len(word) - 1, 0, -1) if n == 1 or _fits(word[:n], font, size, width))
        yield word[:end]
        word = word[end:]
    yield word


def _fits(text: str, font: str, size: float, width: float) -> bool:
    return float(pdfmetrics.stringWidth(text, font, size)) <= width


class Pen:
    """Writes at ``y``, which falls; a column gives its own ``x`` and ``width``."""

    def __init__(self, canvas: Canvas, scale: float) -> None:
        self.canvas = canvas
        self.scale = scale
        self.y = HEIGHT - 58.0

    def write(
        self,
        text: str,
        *,
        x: float = MARGIN,
        width: float = INNER,
        size: float = TEXT,
        font: str = PLAIN,
        grey: float = INK,
        align: str = "left",
        most: int = MOST_LINES,
    ) -> None:
        """Lines of text from ``y`` down."""
        size *= self.scale
        for line in wrap(text, font, size, width, most):
            self.y -= size * 1.34
            shift = {"left": 0.0, "centre": 0.5, "right": 1.0}[align]
            start = x + shift * (width - pdfmetrics.stringWidth(line, font, size))
            self.canvas.setFont(font, size)
            self.canvas.setFillGray(grey)
            self.canvas.drawString(start, self.y, line)

    def skip(self, points: float) -> None:
        self.y -= points * self.scale

    def rule(self, grey: float = RULE, thick: float = 0.4) -> None:
        self.canvas.setStrokeGray(grey)
        self.canvas.setLineWidth(thick)
        self.canvas.line(MARGIN, self.y, MARGIN + INNER, self.y)

    def heading(self, text: str, x: float = MARGIN, width: float = INNER) -> None:
        self.write(text, x=x, width=width, size=TEXT + 0.6, font=BOLD)
        self.skip(1.5)

    def row(self, label: str, values: Sequence[str]) -> None:
        """A label, and its values at the right of it; the row is as high as the higher of them."""
        top = self.y
        self.write(label, width=LABEL - 6, grey=QUIET)
        after_label, self.y = self.y, top
        for value in values:
            self.write(value, x=MARGIN + LABEL, width=INNER - LABEL)
        self.y = min(self.y, after_label)
        self.skip(1.2)

    def columns(self, left: Column, right: Column, share: float = 0.5) -> None:
        """Two columns side by side; ``share`` is the left one's part of the width."""
        gap = 20.0
        width = (INNER - gap) * share
        top = self.y
        for text, how in left:
            self.write(text, width=width, **how)
        after_left, self.y = self.y, top
        for text, how in right:
            self.write(text, x=MARGIN + width + gap, width=INNER - gap - width, **how)
        self.y = min(self.y, after_left)


def draw(facts: Mapping[str, Any], stamp: Timestamp) -> bytes:
    """The page as a PDF of its own: ``facts`` are :class:`printerd.evidence.receipt.Facts`, ``stamp`` is over them."""
    _register()
    for scale in SCALES:
        page = BytesIO()
        if Page(facts, stamp, page, scale).draw() >= BOTTOM:
            break
    return page.getvalue()


class Page:
    """The sections of the page, in the order in which they are read."""

    def __init__(self, facts: Mapping[str, Any], stamp: Timestamp, file: BytesIO, scale: float) -> None:
        self.facts = facts
        self.stamp = stamp
        self.words = WORDS[facts["language"]]
        self.canvas = Canvas(file, pagesize=A4, invariant=1, initialFontName=PLAIN)
        self.pen = Pen(self.canvas, scale)

    def say(self, key: str, **values: Any) -> str:
        return self.words[key].format(**values)

    def draw(self) -> float:
        """Draw everything; gives the height at which the text ended."""
        self._properties()
        self._frame()
        for section in (
            self._head,
            self._level,
            self._parties,
            self._document,
            self._times,
            self._record,
            self._limits,
            self._check,
        ):
            section()
        end: float = self.pen.y
        self._foot()
        self.canvas.showPage()
        self.canvas.save()
        return end

    def _properties(self) -> None:
        self.canvas.setTitle(f"{self.words['title']} {self._number()}")
        self.canvas.setAuthor(self.facts["issuer"]["name"])
        self.canvas.setSubject(f"{self.facts['invoice']['number']} {self.facts['document']['sha256']}")
        self.canvas.setCreator("invoice-printer")

    def _frame(self) -> None:
        if self.facts["specimen"]:
            self.canvas.saveState()
            self.canvas.translate(WIDTH / 2, HEIGHT / 2)
            self.canvas.rotate(52)
            self.canvas.setFont(BOLD, 104)
            self.canvas.setFillGray(WATERMARK)
            self.canvas.drawCentredString(0, -36, self.words["specimen"])
            self.canvas.restoreState()
        self.canvas.setStrokeGray(0.25)
        for inset, thick in ((27.0, 1.1), (30.5, 0.35)):
            self.canvas.setLineWidth(thick)
            self.canvas.rect(inset, inset, WIDTH - 2 * inset, HEIGHT - 2 * inset)

    def _number(self) -> str:
        return self.say("number", number=self.facts["number"])

    def _head(self) -> None:
        specimen = f"   {self.words['specimen']}" if self.facts["specimen"] else ""
        left = [(self.facts["issuer"]["name"], {"font": BOLD, "size": 8.5, "most": 2})]
        right = [
            (self._number() + specimen, {"font": BOLD, "size": 8.5, "align": "right"}),
            (self.facts["id"], {"size": SMALL, "grey": QUIET, "align": "right"}),
        ]
        self.pen.columns(left, right)
        self.pen.skip(9)
        self.pen.write(self.words["title"], size=TITLE, font=BOLD, align="centre")
        self.pen.skip(3)
        self.pen.write(self.words["subtitle"], size=LARGE, grey=QUIET, align="centre")
        self.pen.skip(10)

    def _level(self) -> None:
        key = "level" if self.facts["handover"] else "level_alone"
        top = self.pen.y
        self._level_text(key)
        bottom = self.pen.y - 7 * self.pen.scale
        self.canvas.setStrokeGray(0.2)
        self.canvas.setFillGray(TINT)
        self.canvas.setLineWidth(0.9)
        self.canvas.rect(MARGIN, bottom, INNER, top - bottom, fill=1)
        self.pen.y = top
        self._level_text(key)
        self.pen.y = bottom
        self.pen.skip(10)

    def _level_text(self, key: str) -> None:
        self.pen.skip(4)
        self.pen.write(self.words[key], x=MARGIN + 12, width=INNER - 24, size=LARGE, font=BOLD, align="centre")
        self.pen.skip(1)
        meaning = self.say("meaning", address=self._address())
        self.pen.write(meaning, x=MARGIN + 12, width=INNER - 24, size=TEXT + 0.4, align="centre")

    def _parties(self) -> None:
        issuer, customer, contact = (self.facts[key] for key in ("issuer", "customer", "contact"))
        ids = [self.say(key, **{key: issuer[key]}) for key in ("siren", "vat_id") if issuer[key]]
        sender = [", ".join(ids), issuer["address"].replace("\n", ", "), issuer["email"]]
        others = "; ".join(f"{other['name']} <{other['email']}>".strip() for other in self.facts["others"])
        addressee = [
            self.say("customer", code=customer["code"]),
            contact["name"],
            contact["email"],
            self.say("others", names=others) if others else "",
        ]
        self.pen.columns(
            self._party(self.words["from"], issuer["name"], sender),
            self._party(self.words["to"], customer["name"], addressee),
        )
        self.pen.skip(7)

    def _party(self, title: str, name: str, lines: Sequence[str]) -> Column:
        head: list[tuple[str, dict[str, Any]]] = [(title, {"grey": QUIET, "size": SMALL})]
        head.append((name, {"font": BOLD, "size": 8.2, "most": 2}))
        return head + [(line, {}) for line in lines if line]

    def _document(self) -> None:
        invoice, document = self.facts["invoice"], self.facts["document"]
        title = self.say(
            "invoice_line",
            kind=self.words[invoice["kind"]],
            number=invoice["number"],
            issued_on=self._day(invoice["issued_on"]),
        )
        self.pen.rule()
        self.pen.skip(3)
        amount = format_currency(Decimal(invoice["total"]), invoice["currency"], locale=self.words["locale"])
        self.pen.columns(
            [(title, {"font": BOLD, "size": LARGE, "most": 2})],
            [(self.say("total", total=amount), {"font": BOLD, "size": LARGE, "align": "right"})],
            share=0.66,
        )
        self.pen.write(f"{self._file(document)}, {self._pages(document['pages'])}", most=2)
        self.pen.skip(2)
        handed = self.facts["handover"]
        self.pen.write(self.words["digest" if handed else "digest_alone"], grey=QUIET, size=SMALL)
        self.pen.write(grouped((handed or document)["sha256"]), font=BOLD, size=7.4)
        self.pen.skip(6)

    def _file(self, document: Mapping[str, Any]) -> str:
        return self.say("file", name=document["file_name"], size=self._count(document["size"]))

    def _pages(self, pages: int) -> str:
        return self.words["page"] if pages == 1 else self.say("pages", pages=pages)

    def _times(self) -> None:
        facts = self.facts
        self.pen.rule()
        self.pen.skip(3)
        self._line(self.words["times"], self.words["utc"], self.say("local", zone=facts["zone"]), heads=True)
        moments = (
            ("mailed", facts["mail"]["time"] if facts["mail"] else ""),
            ("requested", facts["act"]["requested_at"]),
            ("acted", facts["act"]["time"]),
            ("handed", facts["handover"]["time"] if facts["handover"] else ""),
            ("made", facts["made_at"]),
            ("stamped", self.stamp.time.astimezone(UTC).isoformat()),
        )
        for key, moment in moments:
            if moment:
                self._line(self.words[key], universal(moment), self._local(moment), strong=key == "acted")
            elif key == "handed":
                self._line(self.words[key], self.words["never"])
        if self.stamp.local:
            self.pen.write(self.words["authority_local"], x=MARGIN + TIMES[0], grey=QUIET, size=SMALL)
        self.pen.skip(6)

    def _line(self, what: str, utc: str, local: str = "", *, heads: bool = False, strong: bool = False) -> None:
        """A line of the table of times; without a local time the second cell takes its place too."""
        head: dict[str, Any] = {"size": SMALL, "grey": QUIET} if heads else {}
        bold: dict[str, Any] = {"font": BOLD} if strong else {}
        first: dict[str, Any] = {"font": BOLD, "size": TEXT + 0.6} if heads else bold
        top = self.pen.y
        self.pen.write(what, width=TIMES[0] - 6, **first)
        ends = [self.pen.y]
        for text, left, right in ((utc, TIMES[0], TIMES[1] if local else INNER), (local, TIMES[1], INNER)):
            self.pen.y = top
            self.pen.write(text, x=MARGIN + left, width=right - left - 6, **head, **bold)
            ends.append(self.pen.y)
        self.pen.y = min(ends)
        self.pen.skip(1.0)

    def _record(self) -> None:
        self.pen.rule()
        self.pen.skip(3)
        self.pen.heading(self.words["record"])
        for label, *values in self._rows():
            self.pen.row(self.words[label], [value for value in values if value])
        self.pen.skip(5)

    def _rows(self) -> Iterator[tuple[str, ...]]:
        facts, act, mail = self.facts, self.facts["act"], self.facts["mail"]
        events = [event for event in (act, facts["handover"]) if event]
        yield "event", *(self.say("event_line", name=event["name"], uri=event["uri"]) for event in events)
        yield "identified", self._identified(act["identified_by"])
        yield "origin", self.say("origin_line", address=act["address"], agent=self._agent(act["agent"]))
        yield "signs", "; ".join(map(self._sign, act["signs"])) or self.words["no_signs"]
        if mail:
            yield "message", f"{mail['message_id']}, {mail['to']}"
            yield "reply", mail["reply"]
        yield "earlier", *self._history()
        yield "server", *self._claims(facts["server"])
        yield "previous", grouped(facts["previous"]) if facts["previous"] else self.words["first"]
        yield "ledger", *self._ledger(facts["ledger"])
        yield "authority", *self._authority()
        yield "certificate", grouped(facts["certificate"]) or self.words["unknown_certificate"]

    def _address(self) -> str:
        """Where the link was sent: in a rehearsal that is not the addressee's mailbox."""
        mail = self.facts["mail"]
        return str(mail["to"] if mail else self.facts["contact"]["email"])

    def _identified(self, text: str) -> str:
        start, _, address = text.rpartition(" ")
        return self.say("link sent to", address=address) if start == "link sent to" else text

    def _agent(self, family: str) -> str:
        return self.words.get(f"agent {family}", family)

    def _sign(self, sign: str) -> str:
        match = re.fullmatch(r"(user agent|pressed)[: ]+(.+?)(?: s after the page)?", sign)
        if match:
            return self.say(f"sign {match[1]}", detail=self._detail(match[2]))
        return self.words.get(f"sign {sign}", sign)

    def _detail(self, text: str) -> str:
        number = re.fullmatch(r"[0-9]+(\.[0-9]+)?", text)
        return format_decimal(Decimal(text), locale=self.words["locale"]) if number else self._agent(text)

    def _history(self) -> Iterator[str]:
        history = self.facts["history"]
        for event in history[:SHOWN_EVENTS]:
            what = self.words[event["name"]]
            yield self.say("history_line", time=universal(event["time"])[:19], seq=event["seq"], what=what)
        if len(history) > SHOWN_EVENTS:
            yield self.say("more", count=len(history) - SHOWN_EVENTS)
        if not history:
            yield self.words["none"]

    def _claims(self, server: Mapping[str, Any]) -> Iterator[str]:
        yield self.say("server_line", name=server["name"])
        for claim in (server["act"], server["handover"]):
            if claim:
                yield self.say("claim_line", seq=claim["seq"], digest=grouped(claim["digest"]))

    def _ledger(self, ledger: Mapping[str, Any]) -> Iterator[str]:
        key = "ledger_line" if ledger["invoice"] is None else "ledger_invoice"
        yield self.say(key, size=self._count(ledger["size"]), index=ledger["invoice"])
        yield self.say("ledger_root", root=grouped(ledger["root"]))

    def _authority(self) -> Iterator[str]:
        yield self.say("authority_line", authority=self.stamp.authority, serial=self.stamp.serial)
        if self.stamp.local:
            yield self.words["authority_local"]

    def _limits(self) -> None:
        facts, act = self.facts, self.facts["act"]
        handover = facts["handover"]
        proves = [
            self.say("proves_act", time=self._local(act["time"]), address=self._address()),
            self.say("proves_handover", size=self._count(handover["size"])) if handover else self.words["proves_none"],
            self.words["proves_whole"],
        ]
        proves_not = [self.words[key] for key in ("not_person", "not_agreed", "not_server")]
        if self.stamp.local:
            proves_not.append(self.words["not_time"])
        self.pen.rule()
        self.pen.skip(3)
        self.pen.columns(self._list("proves", proves), self._list("proves_not", proves_not))
        self.pen.skip(6)

    def _list(self, title: str, lines: Sequence[str]) -> Column:
        head: list[tuple[str, dict[str, Any]]] = [(self.words[title], {"font": BOLD, "size": TEXT + 0.6})]
        return head + [(f"–{N}{line}", {"most": 4}) for line in lines]

    def _check(self) -> None:
        side = 58.0 * self.pen.scale
        self.pen.rule()
        self.pen.skip(3)
        top, width = self.pen.y, INNER - side - 14
        self._qr(MARGIN + INNER - side, top - side - 1, side)
        self.pen.heading(self.words["check"], width=width)
        for key in ("check_file", "check_digest", "check_token"):
            self.pen.write(f"–{N}{self.words[key]}", width=width)
        if any(MISSING in drawable(text) for text in _texts(self.facts)):
            self.pen.write(self.words["missing"], width=width, grey=QUIET, size=SMALL)
        self.pen.y = min(self.pen.y, top - side)

    def _qr(self, x: float, y: float, side: float) -> None:
        """ISO/IEC 18004: what to run, which receipt this is, and the digest of its document."""
        facts = self.facts
        code = QRCode(None, QRErrorCorrectLevel.M)
        code.addData(f"invoice-printer verify\n{self._number()} {facts['id']}\nSHA-256 {facts['document']['sha256']}")
        code.make()
        module = side / code.getModuleCount()
        self.canvas.setFillGray(INK)
        for row in range(code.getModuleCount()):
            for column in range(code.getModuleCount()):
                if code.isDark(row, column):
                    left, bottom = x + column * module, y + side - (row + 1) * module
                    self.canvas.rect(left, bottom, module, module, stroke=0, fill=1)

    def _foot(self) -> None:
        self.pen.y = BOTTOM - 4
        self.pen.scale = 1.0
        self.pen.write(self.words["disclaimer"], font=BOLD, size=7.4, align="centre")
        kept = self.say("kept", date=self._day(self.facts["kept_until"]))
        self.pen.write(kept, size=SMALL, grey=QUIET, align="centre")

    def _day(self, text: str) -> str:
        return format_date(date.fromisoformat(text), "d MMMM y", locale=self.words["locale"])

    def _local(self, text: str) -> str:
        moment = datetime.fromisoformat(text).astimezone(ZoneInfo(self.facts["zone"]))
        return format_datetime(moment, self.words["moment"], locale=self.words["locale"])

    def _count(self, number: int) -> str:
        return format_decimal(number, locale=self.words["locale"])


def universal(text: str) -> str:
    """A time of the record as it is read in a table, to the microsecond: ``2026-11-24 09:05:00.123456``."""
    return datetime.fromisoformat(text).astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")


def grouped(digest: str) -> str:
    """Hexadecimal digits in groups of eight, which people can compare."""
    return " ".join(re.findall(".{1,8}", digest))


def _texts(value: Any) -> Iterator[str]:
    """Every text of the record, however deep."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, Sequence):
        for item in value:
            yield from _texts(item)
