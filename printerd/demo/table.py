"""The table of the tour: a row an invoice, from its print job to the customer's receipt. A pure rendering."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby

from rich import box
from rich.table import Table
from rich.text import Text

from printerd.demo.following import Act, Way
from printerd.evidence.signatures import LOCAL_PHRASE
from printerd.model import MailState
from printerd.storage.archive import ContactStanding

COLUMNS = ("job", "invoice", "customer", "sealed", "archive", "mail accepted for", "receipt")
SHRINK = ((COLUMNS.index("customer"), len("C0042…")), (COLUMNS.index("mail accepted for"), len("mail accepted for")))
"""The columns that give way when the line is short, one after the other, and what is left of each at least."""
GAP = 2
SHOWN, FOLDED = 3, 5
"""Of a job with more than ``FOLDED`` invoices the first ``SHOWN`` have a row of their own."""
DIGEST = 12
"""Characters of a digest that are shown."""
NOTHING = Text("–", "dim")

Row = tuple[Text, ...]


def table(ways: Sequence[Way], width: int) -> Table:
    """All invoices in ``width`` columns; what is missing is marked with a cross and a word, never by colour alone."""
    rows = [row for _, of_job in groupby(ways, key=lambda way: way.job) for row in _rows(list(of_job))]
    drawn = Table(*COLUMNS, box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, GAP - 1, 0, 0))
    for column in drawn.columns:
        column.no_wrap = True
    for row in _fitted(rows, width):
        drawn.add_row(*row)
    return drawn


def legend(ways: Sequence[Way]) -> Text:
    """What the short cells mean."""
    stamps = [way.detail.timestamp for way in ways if way.detail and way.detail.timestamp]
    by = LOCAL_PHRASE["en"] if any(stamp.local for stamp in stamps) else "by the timestamp authority"
    lines = (
        f"sealed   time of the timestamp ({by})",
        f"archive  first {DIGEST} digits of the sealed PDF’s SHA-256, under which it is filed",
        "receipt  number and level; L3: a deliberate act, then the handover of the whole file",
    )
    return Text("\n".join(lines), "dim")


def mask(address: str) -> str:
    """``marie@client.example`` → ``m***@client.example``: the table may be shown to others."""
    local, _, domain = address.rpartition("@")
    return f"{local[:1]}***@{domain}"


def _fitted(rows: list[Row], width: int) -> list[Row]:
    """The same rows, with the columns that may give way cut until a line fits."""
    for column, least in SHRINK:
        widest = _widths(rows)
        excess = sum(widest) + GAP * (len(COLUMNS) - 1) - width
        room = max(least, widest[column] - excess)
        rows = [(*row[:column], _cut(row[column], room), *row[column + 1 :]) for row in rows]
    return rows


def _widths(rows: Iterable[Row]) -> list[int]:
    table = [tuple(map(Text, COLUMNS)), *rows]
    return [max(line.cell_len for row in table for line in row[n].split("\n")) for n in range(len(COLUMNS))]


def _cut(cell: Text, room: int) -> Text:
    """Each line of a cell, with an ellipsis where it was longer than ``room``."""
    lines = cell.split("\n")
    for line in lines:
        line.truncate(room, overflow="ellipsis")
    return Text("\n").join(lines)


def _rows(ways: Sequence[Way]) -> Iterable[Row]:
    folded = len(ways) > FOLDED
    for position, way in enumerate(ways[:SHOWN] if folded else ways):
        yield (Text(str(way.job) if position == 0 else "", justify="right"), *_row(way))
    if folded:
        yield (Text(""), *_sum(ways[SHOWN:]))


def _row(way: Way) -> Row:
    invoice, detail = way.true.invoice, way.detail
    number = Text(f"✗ {way.number}", "red") if way.missing() else Text(way.number)
    customer = Text(f"{invoice.customer_code} {invoice.buyer.name}")
    if detail is None or detail.sealed is None or detail.timestamp is None:
        state = Text(detail.line.state if detail else "not found", "red")
        return number, customer, state, NOTHING, NOTHING, NOTHING
    sealed = Text(f"{detail.timestamp.time.astimezone():%H:%M:%S}")
    return number, customer, sealed, Text(detail.sealed[:DIGEST]), _mail(way), _receipts(way)


def _mail(way: Way) -> Text:
    if way.delivery is None:
        return NOTHING
    if way.on_paper:
        return Text(f"paper, out-tray ({way.delivery.why})" if way.tray else "✗ not in the out-tray", "yellow")
    return Text("\n").join(_mailed(contact) for contact in way.delivery.contacts)


def _mailed(contact: ContactStanding) -> Text:
    if contact.mail is MailState.ACCEPTED:
        return Text(mask(contact.email))
    return Text(f"✗ {mask(contact.email)} {contact.mail}", "red")


def _receipts(way: Way) -> Text:
    if way.on_paper or way.delivery is None:
        return NOTHING
    return Text("\n").join(_receipt(way.acts.get(contact.email, Act())) for contact in way.delivery.contacts)


def _receipt(act: Act) -> Text:
    return Text(f"{act.receipt.number:>3}  {act.receipt.level}") if act.receipt else Text("✗ none", "red")


def _sum(ways: Sequence[Way]) -> Row:
    """The rows that are left out, added up."""
    lacking = sum(bool(way.missing()) for way in ways)
    paper = sum(way.on_paper for way in ways)
    acts = [act for way in ways for act in way.acts.values()]
    digests = {way.detail.sealed for way in ways if way.detail and way.detail.sealed}
    cells = (
        f"… {len(ways)} more",
        f"{len({way.true.invoice.customer_code for way in ways})} customers",
        f"✗ {lacking} lack" if lacking else "",
        f"{len(digests)} digests",
        f"{len(acts)} mails, {paper} on paper",
        f"{sum(act.receipt is not None for act in acts):>3}",
    )
    return tuple(Text(cell, "red" if lacking else "dim") for cell in cells)
