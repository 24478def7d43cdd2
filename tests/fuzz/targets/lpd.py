"""LPD from the connection to the rows: a command, and the files of a job in either order.

One rule: it is answered by octets of the standard or by the listing that was asked for; what is taken are bytes that
came, and what was announced and did not come is recorded.
"""

from __future__ import annotations

from random import Random

from printerd.listener.lpd import Lpd
from tests.fuzz import ipp
from tests.fuzz.mutation import octets
from tests.fuzz.target import Target
from tests.fuzz.targets.rfc1179 import CONTROL, LINES
from tests.fuzz.world import world
from tests.listener.doors import POSTSCRIPT, TEXT

QUEUES = {"invoices": "inv", "drafts": "drafts"}


def once(data: bytes) -> None:
    with world().fresh():
        lpd = Lpd(world().intake, world().database, QUEUES, world().blobs.spool, 5.0)
        answer = world().talk(data, lpd.serve)
        if data[:1] == b"\x02":
            assert set(answer) <= {0, 2, 3}, answer
        for document in world().documents():
            assert document in data, document


def job(*files: bytes) -> bytes:
    return b"\x02invoices\n" + b"".join(files)


def control_file(octets: bytes = CONTROL, name: bytes = b"cfA042mill") -> bytes:
    return b"\x02%d %s\n%s\0" % (len(octets), name, octets)


def data_file(octets: bytes, name: bytes = b"dfA042mill", size: int | None = None) -> bytes:
    return b"\x03%d %s\n%s\0" % (len(octets) if size is None else size, name, octets)


def seeds() -> dict[str, bytes]:
    several = b"Hmill\nPmarie\nldfA042mill\nldfB042mill\n"
    two = (data_file(ipp.PDF), data_file(TEXT, b"dfB042mill"))
    return {
        "control-first": job(control_file(), data_file(ipp.PDF)),
        "data-first": job(data_file(POSTSCRIPT), control_file()),
        "two-files": job(control_file(several), *two),
        "two-early": job(*two, control_file(several)),
        "several-jobs": job(control_file(), data_file(ipp.PDF), control_file(), data_file(TEXT)),
        "until-close": job(control_file(), data_file(ipp.PDF, size=0)),
        "copies": job(control_file(), data_file(ipp.PDF * 2)),
        "aborted": job(control_file(), data_file(ipp.PDF), b"\x01\n", data_file(TEXT)),
        "cut": job(control_file(), data_file(ipp.PDF)[:-10]),
        "no-good": job(control_file(), data_file(ipp.PDF)[:-1] + b"\1"),
        "state": b"\x03invoices marie 1\n",
        "long-state": b"\x04drafts\n",
        "remove": b"\x05invoices marie 1 2\n",
    }


WORDS = (*(line + b"\n" for line in LINES), b"\0", b"\x02invoices\n", b"cfA", b"dfA", b"ldfB042mill\n", b"\x1b%-12345X")
_bytewise = octets(WORDS)


def mutate(data: bytes, random: Random) -> bytes:
    """A job of files in any order, each of which may be another; or other bytes."""
    if random.random() < 0.5:
        return _bytewise(data, random)
    files = [b"\x01\n"]
    for _ in range(random.randint(1, 4)):
        name = random.choice((b"A042mill", b"B042mill", b"C042mill"))
        said = CONTROL.replace(b"A042mill", name) if random.random() < 0.5 else _bytewise(CONTROL, random)
        document = random.choice((ipp.PDF, POSTSCRIPT, TEXT, b"", ipp.PDF * 2, _bytewise(ipp.PDF, random)))
        size = random.choice((None, None, None, 0, len(document) + 1, max(1, len(document) - 1), 10**17))
        files += [control_file(said, b"cf" + name), data_file(document, b"df" + name, size)]
    return job(*random.sample(files, random.randint(1, len(files))))


TARGET = Target(once, seeds, mutate, WORDS, longest=8192, mutations=600)
