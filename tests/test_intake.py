"""The door: what it answers for is durable, what it refuses leaves nothing but the reason."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import subprocess
import sys
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from printerd import formats
from printerd.errors import TransientError
from printerd.intake import Intake
from printerd.model import JobId, JobState, Ticket
from printerd.refusals import Refused
from printerd.storage import instance, jobs, schema
from printerd.storage.blobs import Blobs
from printerd.storage.database import Database
from printerd.storage.instance import Switches
from printerd.storage.jobs import Wait
from printerd.storage.spool import AHEAD, PIECE

PDF = b"%PDF-1.7\n" + bytes(60_000)
TICKET = Ticket("inv", "anna", "192.0.2.7", "FA-1", "application/pdf", "ipp")
LIMIT = 4_000_000


@dataclass
class House:
    """An intake on a database and a store of its own, with a clock that the test turns."""

    folder: Path
    limit: int = LIMIT
    free: int = 0
    clock: datetime = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
    woken: int = 0
    database: Database = field(init=False)
    blobs: Blobs = field(init=False)

    def __post_init__(self) -> None:
        self.database = Database(f"sqlite:///{self.folder / 'printerd.db'}")
        schema.metadata.create_all(self.database.engine)
        self.blobs = Blobs(self.folder)

    def intake(self) -> Intake:
        return Intake(
            self.database,
            self.blobs,
            document_limit=self.limit,
            free_space=self.free,
            committed=self._wake,
            language="fr",
            now=lambda: self.clock,
        )

    def _wake(self) -> None:
        self.woken += 1

    def run(self, work: Callable[[Intake], Awaitable[object]]) -> None:
        async def inside() -> None:
            async with self.intake() as intake:
                await work(intake)

        asyncio.run(inside())

    def jobs(self) -> list[jobs.Job]:
        with self.database.read() as connection:
            return jobs.listed(connection, self.clock)[::-1]

    def spooled(self) -> list[Path]:
        return list(self.blobs.spool.iterdir())


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path)
    yield house
    house.database.close()


async def sent(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


async def cut(*chunks: bytes, error: type[Exception] = ConnectionResetError) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk
    raise error


def test_a_document_is_durable_when_it_is_accepted(house: House) -> None:
    """The bytes lie under their digest, the row is there, the spool is empty and the worker is woken."""

    async def work(intake: Intake) -> None:
        job = await intake.accept(TICKET, sent(PDF[:100], PDF[100:]))
        assert house.blobs.read(job.original.digest) == PDF
        assert (job.original.digest, job.original.size) == (hashlib.sha256(PDF).hexdigest(), len(PDF))
        await asyncio.sleep(0)
        assert house.woken == 1

    house.run(work)
    (job,) = house.jobs()
    assert (job.number, job.state, job.ticket) == (1, JobState.RECEIVED, TICKET)
    assert house.spooled() == []


@pytest.mark.parametrize(("compression", "compress"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
def test_compressed_documents_are_kept_inflated(house: House, compression: str, compress: Callable[..., bytes]) -> None:
    """The archive holds what the sender meant to print, whatever the cuts of the transport."""
    document = PDF + bytes(3 * PIECE)
    packed = compress(document)

    async def work(intake: Intake) -> None:
        chunks = (packed[i : i + 97] for i in range(0, len(packed), 97))
        job = await intake.accept(TICKET, sent(*chunks), compression=compression)
        assert house.blobs.read(job.original.digest) == document

    house.run(work)


BOMB = gzip.compress(PDF + bytes(LIMIT))
REFUSALS = [
    pytest.param(TICKET, [b"GIF89a" + bytes(9)], {}, "format-error", id="not the declared PDF"),
    pytest.param(replace(TICKET, media_type=""), [b"\x89PNG\r\n\x1a\n\0"], {}, "picture", id="PNG"),
    pytest.param(replace(TICKET, media_type=""), [b"\0\1\2\3"], {}, "unknown-format", id="no format"),
    pytest.param(replace(TICKET, media_type=""), [b"\x1bE\x1b&l26A"], {}, "pcl", id="PCL"),
    pytest.param(
        replace(TICKET, media_type=""),
        [b"\x1b%-12345X@PJL ENTER LANGUAGE = PCLXL\n) HP-PCL XL;2;0"],
        {},
        "pcl-xl",
        id="XL",
    ),
    pytest.param(
        replace(TICKET, media_type=""), ["FACTURE 42 \x25TOTAL 1.200,00".encode("cp037")], {}, "ebcdic", id="EBCDIC"
    ),
    pytest.param(
        replace(TICKET, media_type=""), [b"\x2b\xd2\x04\x29\x00\x00", "FA 42".encode("cp037")], {}, "ebcdic", id="SCS"
    ),
    pytest.param(replace(TICKET, media_type=""), [b"\x5a\x00\x10\xd3\xa8\xa8" + bytes(11)], {}, "ebcdic", id="AFP"),
    pytest.param(replace(TICKET, media_type=""), [b"\x1b@FA-2026-0042"], {}, "esc-p", id="ESC/P"),
    pytest.param(replace(TICKET, media_type=""), [b"RaS3" + bytes(2000)], {}, "cups-raster", id="CUPS raster"),
    pytest.param(replace(TICKET, media_type=""), [b"PK\x03\x04\x14\0\6\0"], {}, "zip", id="office file"),
    pytest.param(replace(TICKET, media_type="image/png"), [b"\x89PNG"], {}, "format-error", id="declared PNG"),
    pytest.param(TICKET, [], {}, "empty", id="no bytes"),
    pytest.param(TICKET, [b""], {"compression": "gzip"}, "empty", id="no compressed bytes"),
    pytest.param(TICKET, [PDF] * 70, {}, "too-large", id="too large"),
    pytest.param(TICKET, [], {"expected": LIMIT + 1}, "too-large", id="known to be too large"),
    pytest.param(TICKET, [BOMB], {"compression": "gzip"}, "too-large", id="inflates to too much"),
    pytest.param(TICKET, [b"%PDF-1.7"], {"compression": "gzip"}, "compression-error", id="not gzip"),
    pytest.param(TICKET, [gzip.compress(PDF)[:-9]], {"compression": "gzip"}, "compression-error", id="cut gzip"),
    pytest.param(
        TICKET, [gzip.compress(PDF), b"more"], {"compression": "gzip"}, "compression-error", id="more than gzip"
    ),
]


@pytest.mark.parametrize(("ticket", "chunks", "options", "code"), REFUSALS)
def test_what_is_refused_leaves_its_reason(
    house: House,
    ticket: Ticket,
    chunks: list[bytes],
    options: dict[str, object],
    code: str,
) -> None:
    """A refused document is an aborted job that says why in the operator's language; no byte of it is kept."""

    async def work(intake: Intake) -> None:
        with pytest.raises(Refused) as refused:
            await intake.accept(ticket, sent(*chunks), **options)  # type: ignore[arg-type]
        assert refused.value.code == code

    house.run(work)
    (job,) = house.jobs()
    assert (job.state, job.reason and job.reason["code"]) == (JobState.ABORTED, code)
    assert job.message.startswith(("Le document", "Les données"))
    assert house.spooled() == []
    assert list(house.blobs.digests()) == []
    assert house.woken == 0


@pytest.mark.parametrize("error", [ConnectionResetError, TimeoutError])
def test_a_cut_document_is_never_a_short_one(house: House, error: type[Exception]) -> None:
    """A sender that goes away in the middle leaves an aborted job and no bytes."""

    async def work(intake: Intake) -> None:
        with pytest.raises(Refused, match="ended before"):
            await intake.accept(TICKET, cut(PDF, bytes(2 * PIECE), error=error))

    house.run(work)
    assert [job.state for job in house.jobs()] == [JobState.ABORTED]
    assert house.spooled() == []
    assert list(house.blobs.digests()) == []


def test_formats_are_told_by_their_first_bytes(house: House) -> None:
    """What was not declared is looked at, and the row says what it is."""
    postscript = b"\x1b%-12345X@PJL ENTER LANGUAGE=POSTSCRIPT\n%!PS-Adobe-3.0\n"
    documents = {formats.PDF: b"\n\n" + PDF, formats.POSTSCRIPT: postscript, formats.TEXT: "Facture n° 1\f".encode()}

    async def work(intake: Intake) -> None:
        for media_type, document in documents.items():
            for declared in (media_type, "application/octet-stream", f"{media_type}; charset=utf-8"):
                job = await intake.accept(replace(TICKET, media_type=declared), sent(document))
                assert job.original.media_type == job.ticket.media_type == media_type

    house.run(work)


@pytest.mark.parametrize("text", ["Remise +£50 net\n", "Solde +\u00a012,00\n", "@ @@ contact@client.fr\n"])
def test_text_is_not_taken_for_ebcdic(text: str) -> None:
    """UTF-8 has bytes that SCS and EBCDIC have, too: a plus before a pound, an at sign."""
    assert formats.sniff(text.encode()) == formats.TEXT


def test_low_disk_space_refuses_before_it_is_full(tmp_path: Path) -> None:
    """Below the free space that must stay, a job gets the temporary error and leaves no row."""
    house = House(tmp_path, free=1 << 60)

    async def work(intake: Intake) -> None:
        assert not intake.has_room()
        with pytest.raises(TransientError, match="nearly full"):
            await intake.accept(TICKET, sent(PDF))
        with pytest.raises(TransientError, match="nearly full"):
            await intake.open_job(TICKET)

    house.run(work)
    assert house.jobs() == []
    assert house.spooled() == []
    house.database.close()


def test_uploads_at_the_same_time_share_the_disk(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Space promised to one upload is not promised to the next, and comes back when the first one ends."""
    monkeypatch.setattr(house.blobs, "free_space", lambda: AHEAD + len(PDF))
    going_on = asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield PDF
        await going_on.wait()

    async def work(intake: Intake) -> None:
        first = asyncio.create_task(intake.accept(TICKET, slow()))
        await asyncio.sleep(0)
        with pytest.raises(TransientError):
            await intake.accept(TICKET, sent(PDF))
        going_on.set()
        await first
        await intake.accept(replace(TICKET, title="other"), sent(PDF))

    house.run(work)


def test_space_is_asked_for_again_while_a_document_grows(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """A long upload of unknown length ends with the temporary error when the disk fills meanwhile."""
    house.limit = 4 * AHEAD
    free = [AHEAD, 0]
    monkeypatch.setattr(house.blobs, "free_space", lambda: free.pop(0))

    async def work(intake: Intake) -> None:
        with pytest.raises(TransientError):
            await intake.accept(TICKET, sent(PDF, *[bytes(PIECE)] * 40))

    house.run(work)
    assert house.spooled() == []


def test_what_some_bytes_inflate_to_needs_room(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """A small compressed document that is a large one does not eat the space that is to stay free."""
    house.limit = 16 * AHEAD
    disk, least = 4 * AHEAD, []

    def free() -> int:
        least.append(disk - sum(file.stat().st_size for file in house.spooled()))
        return least[-1]

    monkeypatch.setattr(house.blobs, "free_space", free)
    packed = gzip.compress(PDF + bytes(15 * AHEAD))

    async def work(intake: Intake) -> None:
        with pytest.raises(TransientError):
            await intake.accept(TICKET, sent(packed), compression="gzip", expected=len(packed))

    house.run(work)
    assert min(least) >= 0
    assert house.spooled() == []


def test_many_at_once_share_commits(house: House) -> None:
    """A hundred jobs at once are all there, numbered densely, in far fewer transactions."""

    async def work(intake: Intake) -> None:
        tickets = [replace(TICKET, title=str(i)) for i in range(100)]
        captured = await asyncio.gather(*(intake.accept(t, sent(PDF, t.title.encode())) for t in tickets))
        assert sorted(job.number for job in captured) == list(range(1, 101))
        assert all(house.blobs.path(job.original.digest).exists() for job in captured)

    house.run(work)
    assert 0 < house.woken < 50


def test_one_bad_row_does_not_hurt_its_group(house: House) -> None:
    """A job that the database cannot take fails alone; those of the same group are durable."""

    async def work(intake: Intake) -> None:
        tickets = [replace(TICKET, title=title) for title in ("good", "half a character \ud800", "also good")]
        streams = (intake.accept(ticket, sent(PDF, bytes(i))) for i, ticket in enumerate(tickets))
        first, bad, last = await asyncio.gather(*streams, return_exceptions=True)
        assert isinstance(bad, UnicodeEncodeError)
        assert not isinstance(first, BaseException)
        assert not isinstance(last, BaseException)

    house.run(work)
    assert sorted(job.ticket.title for job in house.jobs()) == ["also good", "good"]


def test_one_wrong_document_does_not_hurt_its_group(house: House) -> None:
    """Of documents that come at once, each that is no PDF is refused for itself; who goes away harms nobody."""

    async def work(intake: Intake) -> None:
        bodies = [PDF + b"1", b"GIF89a", PDF + b"2", b"", PDF + b"3"]
        tasks = [asyncio.create_task(intake.accept(TICKET, sent(body))) for body in bodies]
        await asyncio.sleep(0)
        tasks[4].cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert [getattr(one, "code", type(one).__name__) for one in outcomes] == [
            *("CapturedJob", "format-error", "CapturedJob", "empty", "CancelledError")
        ]

    house.run(work)
    assert house.woken >= 1
    assert house.spooled() == []


def test_a_broken_archive_is_a_temporary_error(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the rename fails the sender may try again; no row speaks of bytes that are not there."""

    def broken(_files: Iterable[object]) -> None:
        raise TransientError("The archive could not be written.")

    monkeypatch.setattr(house.blobs, "adopt", broken)

    async def work(intake: Intake) -> None:
        with pytest.raises(TransientError):
            await intake.accept(TICKET, sent(PDF))

    house.run(work)
    assert house.jobs() == []
    assert house.spooled() == []


@pytest.mark.parametrize(
    ("switches", "state"), [([True, False], JobState.RECEIVED), ([True], JobState.PENDING)], ids=["resume", "pause"]
)
def test_a_switch_and_an_arrival_at_once(house: House, switches: list[bool], state: JobState) -> None:
    """What comes while a switch is being written is not left behind by it, and not worked on in spite of it."""

    async def work(intake: Intake) -> None:
        for before in switches[:-1]:
            await intake.operate({}, jobs.EVER, paused=before)
        with house.database.write():  # the writer waits for us, with the switch
            switching = asyncio.create_task(intake.operate({}, jobs.EVER, paused=switches[-1]))
            await asyncio.sleep(0.1)
            arriving = asyncio.create_task(intake.accept(TICKET, sent(PDF)))
            await asyncio.sleep(0.1)
        await asyncio.gather(switching, arriving)

    house.run(work)
    assert [job.state for job in house.jobs()] == [state]


def test_two_switches_at_once(house: House) -> None:
    """Neither of two operators undoes what the other does at the same time."""
    words = {"printer-location": "Cave"}

    async def work(intake: Intake) -> None:
        await asyncio.gather(
            intake.operate({}, jobs.EVER, paused=True),
            intake.operate({}, jobs.EVER, accepting=False),
            intake.operate(words, jobs.EVER, holding=True),
        )
        expected = Switches(accepting=False, paused=True, holding=True, said=tuple(words.items()))
        with house.database.read() as connection:
            assert instance.switches(connection) == intake.switches == expected

    house.run(work)


def test_two_parts_of_one_document_are_two_jobs(house: House) -> None:
    """The same bytes are sent twice at once, each time for other pages: both are there."""
    parts = [replace(TICKET, options={"page-ranges": pages}) for pages in ("1-1", "2-2")]
    house.run(lambda intake: asyncio.gather(*(intake.accept(part, sent(PDF)) for part in parts)))
    assert [job.ticket for job in house.jobs()] == parts


def test_a_repetition_is_the_same_job(house: House) -> None:
    """The same again without an answer is the first job; after the answer it is another."""

    async def work(intake: Intake) -> None:
        first = await intake.accept(TICKET, sent(PDF))
        assert (await intake.accept(TICKET, sent(PDF))) == first
        intake.answered(first.id)
        assert (await intake.accept(TICKET, sent(PDF))).number == 2

    house.run(work)


def test_a_sender_key_counts_once_even_at_the_same_moment(house: House) -> None:
    """Ten copies of one keyed document at once are one job."""

    async def work(intake: Intake) -> None:
        same = (intake.accept(TICKET, sent(PDF), sender_key="job:1") for _ in range(10))
        assert {job.number for job in await asyncio.gather(*same)} == {1}
        assert (await intake.accept(TICKET, sent(PDF), sender_key="job:2")).number == 2

    house.run(work)


def test_an_open_job_takes_its_document_once(house: House) -> None:
    """Sending again what was not answered is harmless; a second document is one too many."""

    async def work(intake: Intake) -> None:
        job = await intake.open_job(TICKET)
        captured = await intake.accept(TICKET, sent(PDF), job_id=job.id)
        assert captured.number == job.number
        assert (await intake.accept(TICKET, sent(PDF), job_id=job.id)) == captured
        with pytest.raises(Refused, match="no more documents"):
            await intake.accept(TICKET, sent(PDF, b"other"), job_id=job.id)
        intake.answered(job.id)
        with pytest.raises(Refused, match="no more documents"):
            await intake.accept(TICKET, sent(PDF), job_id=job.id)

    house.run(work)
    assert [job.state for job in house.jobs()] == [JobState.RECEIVED]


def test_an_open_job_survives_a_cut_and_not_a_wrong_document(house: House) -> None:
    """A cut Send-Document may be sent again; one that can never be taken ends the job."""

    async def work(intake: Intake) -> None:
        job = await intake.open_job(TICKET)
        with pytest.raises(Refused, match="ended before"):
            await intake.accept(TICKET, cut(PDF), job_id=job.id)
        assert house.jobs()[0].state is JobState.INCOMING
        with pytest.raises(Refused, match="announced as"):
            await intake.accept(TICKET, sent(b"GIF89a"), job_id=job.id)
        assert house.jobs()[0].state is JobState.ABORTED

    house.run(work)


@pytest.mark.parametrize(("end", "code"), [("cancel", "canceled"), ("close_job", "no-document")])
def test_a_job_that_ended_takes_no_document(house: House, end: str, code: str) -> None:
    """What was canceled or closed before its document arrived stays so, and the sender is told."""

    async def work(intake: Intake) -> None:
        job = await intake.open_job(TICKET)
        await getattr(intake, end)(job.id)
        with pytest.raises(Refused) as refused:
            await intake.accept(TICKET, sent(PDF), job_id=job.id)
        assert refused.value.code == code

    house.run(work)


def test_each_document_gives_the_next_one_its_time(house: House) -> None:
    """multiple-operation-time-out counts from the last document, for all that came before it, too."""

    async def work(intake: Intake) -> None:
        job = await intake.open_job(TICKET)
        for number in range(4):
            house.clock += timedelta(seconds=50)
            await intake.sweep()
            await intake.accept(TICKET, sent(PDF, b"%d" % number), job_id=job.id, last=False)
        house.clock += timedelta(seconds=61)
        await intake.sweep()

    house.run(work)
    (job,) = house.jobs()
    assert [one.state for one in job.documents] == [JobState.RECEIVED] * 4


def test_a_cut_document_releases_no_hold(house: House) -> None:
    """What is sent to a job that takes no more leaves the job as it waits."""

    async def work(intake: Intake) -> None:
        job = await intake.accept(TICKET, sent(PDF), wait=Wait("job-hold-until-specified"))
        with pytest.raises(Refused):
            await intake.accept(TICKET, cut(PDF), job_id=job.id)
        house.clock += timedelta(minutes=2)
        await intake.sweep()

    house.run(work)
    assert [job.state for job in house.jobs()] == [JobState.PENDING]


def test_open_jobs_are_swept_unless_their_document_is_arriving(house: House) -> None:
    """multiple-operation-time-out aborts a forgotten job, never one in the middle of a slow upload."""
    going_on = asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield PDF
        await going_on.wait()

    async def work(intake: Intake) -> None:
        forgotten, slowly = await intake.open_job(TICKET), await intake.open_job(TICKET)
        upload = asyncio.create_task(intake.accept(TICKET, slow(), job_id=slowly.id))
        await asyncio.sleep(0)
        house.clock += timedelta(seconds=61)
        await intake.sweep()
        going_on.set()
        await upload
        assert _states(house) == {forgotten.id: JobState.ABORTED, slowly.id: JobState.RECEIVED}

    house.run(work)
    assert house.jobs()[0].message == "Aucun document n’est arrivé en 60 secondes. Relancez l’impression."


def _states(house: House) -> dict[JobId, JobState]:
    return {job.id: job.state for job in house.jobs()}


def test_a_crash_leaves_nothing_behind(house: House) -> None:
    """At the start, what was arriving is removed, late jobs are aborted, other programs' spool files stay."""
    mine, other = house.blobs.spool / "incoming-cafe", house.blobs.spool_file()
    for path in (mine, other):
        path.write_bytes(PDF)

    async def forget(intake: Intake) -> None:
        await intake.open_job(TICKET)

    async def nothing(_intake: Intake) -> None:
        assert house.spooled() == [other]

    house.run(forget)
    house.clock += timedelta(minutes=2)
    house.run(nothing)
    assert [job.state for job in house.jobs()] == [JobState.ABORTED]


def test_answers_are_remembered_across_a_restart(house: House) -> None:
    """What was answered before an orderly stop is a reprint after it."""

    async def first(intake: Intake) -> None:
        intake.answered((await intake.accept(TICKET, sent(PDF))).id)

    async def second(intake: Intake) -> None:
        assert (await intake.accept(TICKET, sent(PDF))).number == 2

    house.run(first)
    house.run(second)


def test_a_canceled_task_leaves_nothing(house: House) -> None:
    """A server that stops in the middle of an upload removes what had arrived."""

    async def endless() -> AsyncIterator[bytes]:
        yield PDF + bytes(PIECE)
        await asyncio.sleep(60)

    async def work(intake: Intake) -> None:
        task = asyncio.create_task(intake.accept(TICKET, endless()))
        await asyncio.sleep(0.05)
        assert house.spooled() != []
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert house.spooled() == []

    house.run(work)


def test_capture_is_light() -> None:
    """The door and the listener load neither the engine, nor migrations, nor a library that parses documents."""
    heavy = ("dbos", "alembic", "pypdfium2", "pikepdf", "pypdf", "reportlab", "pyhanko")
    program = f"import sys, printerd.listener.http; print(*[name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
