"""The front door beside its peers: prints that are accepted, and the question that every client asks first.

One rule: whatever a peer refuses or loses is counted as our own is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import floors, load, peers, wrk
from bench.instance import Ours, served
from bench.peers import Peer
from bench.run import HELD, Bench, percentiles, warm
from bench.table import Row
from printerd.ipp.registry import Operation

AHEAD = 10
"""How many times faster than cups-pdf a job is to come to its end."""
QUICKER = 5
"""How many times faster than :data:`SLOWER` Get-Printer-Attributes is to be answered."""
SLOWER = ("ippeveprinter", "cupsd")


@dataclass(frozen=True, slots=True)
class Taken:
    """What one printer made of some jobs: ``lost`` were accepted, and are not there afterwards."""

    sent: load.Sent
    lost: int


COUNTS: Mapping[str, Callable[[Taken], int]] = {
    "refused": lambda taken: taken.sent.turned_away,
    "lost": lambda taken: taken.lost,
}


# Accepting


def capture(bench: Bench) -> Iterator[Row]:
    """Accepted Print-Jobs a second, what was refused and what was lost; and how many come to their end."""
    with peers.started(bench.folder) as others, served(bench.folder, "capture") as ours:
        warm(bench, ours)
        completed = 0.0
        for clients in bench.clients:
            files = bench.book.singles(bench.jobs)
            theirs = {peer.name: _taken(peer, files, clients) for peer in others}
            with ours.held_worker():
                alone = load.send(ours.printer, bench.book.singles(min(bench.jobs, HELD)), clients)
            ours.rest()
            whole, rate = _completed(ours, files, clients)
            completed = max(completed, rate)
            floor = floors.acceptance(bench.folder / f"acceptance-{clients}", files[0].read_bytes(), clients)
            yield _rate(f"Print-Job, {clients} clients", whole, theirs, floor)
            yield _rate(f"the same, worker held, {clients} clients", alone, theirs, floor)
            yield from _bare(bench, files, clients)
            kept = ours.kept()
            yield from _counted(clients, [Taken(sent, sent.lost(kept)) for sent in (whole, alone)], theirs)
        ended = {peer.name: peer.complete() for peer in others if peer.complete}
        yield _ended(completed, ended)


def _taken(peer: Peer, files: Sequence[Path], clients: int) -> Taken:
    sent = load.send(peer.printer, files, clients)
    peer.rest()
    return Taken(sent, sent.lost(peer.kept()))


def _completed(ours: Ours, files: Sequence[Path], clients: int) -> tuple[load.Sent, float]:
    """With everything at work: what was sent, and the invoices archived a second from the first to the last."""
    before = ours.archived()
    sent = load.send(ours.printer, files, clients)
    ours.wait_archived(before + len(sent.accepted))
    rate = len(sent.accepted) / (ours.archived_at() - sent.began)
    ours.rest()
    return sent, rate


def _rate(what: str, sent: load.Sent, theirs: Mapping[str, Taken], floor: float) -> Row:
    rates = {name: other.sent.rate for name, other in theirs.items()}
    middle, late = (1000 * figure for figure in percentiles(sent.taken))
    lacking = "".join(f"; without {name}: {lack}" for name, lack in peers.absent().items())
    note = f"answered in {middle:.1f} ms, p95 {late:.1f} ms{lacking}"
    ahead = all(sent.rate > rate for rate in rates.values())
    return Row("capture", what, sent.rate, "jobs/s", rates, "faster than every peer", ahead, floor, note)


def _bare(bench: Bench, files: Sequence[Path], clients: int) -> Iterator[Row]:
    """What the same client gets from a Python server that does next to nothing."""
    for what, kept in (
        (f"bare uvicorn, {clients} clients", None),
        (f"the same and a synced file each, {clients} clients", bench.folder / f"bare-{clients}"),
    ):
        sent = floors.http(files, clients, kept)
        middle, late = (1000 * figure for figure in percentiles(sent.taken))
        note = f"answered in {middle:.1f} ms, p95 {late:.1f} ms; a floor, no printer"
        yield Row("capture", what, sent.rate, "requests/s", note=note)


def _counted(clients: int, runs: Sequence[Taken], theirs: Mapping[str, Taken]) -> Iterator[Row]:
    note = f"of {sum(run.sent.total for run in runs)}; peers of {runs[0].sent.total}"
    for what, count in COUNTS.items():
        ours, others = sum(map(count, runs)), {name: count(taken) for name, taken in theirs.items()}
        yield Row(
            "capture", f"{what}, {clients} clients", ours, "jobs", others, "0", ours == 0, note=note, promise=True
        )


def _ended(figure: float, theirs: Mapping[str, float]) -> Row:
    """Not only accepted: printed to PDF by cups-pdf, sealed and archived by us."""
    reached = all(figure >= AHEAD * rate for rate in theirs.values()) if theirs else None
    note = "archived with its seal and timestamp; the best of the levels"
    return Row("capture", "brought to the end", figure, "jobs/s", theirs, f">= {AHEAD} × cups-pdf", reached, note=note)


# Asking


def attributes(bench: Bench) -> Iterator[Row]:
    """Get-Printer-Attributes a second, all attributes, over connections that are kept."""
    with peers.started(bench.folder) as others, served(bench.folder, "attributes") as ours:
        warm(bench, ours)
        printers = {peer.name: peer.printer for peer in others} | {"ours": ours.printer}
        for clients in bench.clients:
            asked = {
                name: wrk.ask(printer, Operation.GET_PRINTER_ATTRIBUTES, clients, bench.seconds)
                for name, printer in printers.items()
            }
            yield _answered(clients, asked)


def _answered(clients: int, asked: Mapping[str, wrk.Asked]) -> Row:
    own = asked["ours"]
    rates = {name: other.rate for name, other in asked.items() if name != "ours"}
    reached = all(own.rate >= QUICKER * rates[name] for name in SLOWER if name in rates)
    failed = "".join(f"; {name}: {one.failed} not answered well" for name, one in asked.items() if one.failed)
    note = f"answered in {own.middle / 1000:.1f} ms, p95 {own.late / 1000:.1f} ms{failed}"
    what = f"Get-Printer-Attributes, {clients} connections"
    return Row(
        "attributes", what, own.rate, "answers/s", rates, f">= {QUICKER} × {' and '.join(SLOWER)}", reached, note=note
    )
