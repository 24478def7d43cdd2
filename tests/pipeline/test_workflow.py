"""The stages of the pipeline on a real database: what runs twice, halfway, or while a person acts.

Readers and sealers are stood in for by functions, so that a test decides what they find and what happens meanwhile.
"""

from __future__ import annotations

import errno
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import event

from printerd.choices import COPY_TO, ROUTE, TEMPLATE
from printerd.errors import DocumentError
from printerd.evidence import acts, ledger
from printerd.model import InvoiceState, Issuer, JobId, JobState, Party
from printerd.pipeline.workflow import Pipeline
from printerd.storage import claims, database, instance
from printerd.storage import jobs as storage_jobs
from printerd.storage.blobs import Blobs
from printerd.storage.claims import Stage
from printerd.storage.database import Database
from printerd.storage.jobs import Wait
from printerd.storage.schema import customers, deliveries, invoices, jobs, ledger_records
from printerd.storage.schema import ledger as entries
from tests import archive_rows

NOW = datetime(2026, 11, 24, 9, 5, tzinfo=UTC)
ISSUER = Issuer(
    "moulin",
    Party("Au bon moulin", "732829320", "FR44732829320", "1 rue du Moulin", "compta@moulin.example"),
    frozenset({"FR7630006000011234567890189"}),
)


def invoice(number: str, first: int = 1, last: int = 1, **fields: str) -> dict[str, Any]:
    """What a reader answers about one invoice."""
    read = archive_rows.FIELDS | {"number": number} | fields
    found = {name: {"value": value, "box": None} for name, value in read.items()}
    words = hashlib.sha256(repr(sorted(read.items())).encode()).hexdigest()
    reading = {"fields": found, "ibans": [found["iban"]], "text": f"Facture {number}", "template": "moulin-fr"}
    return {"first": first, "last": last, "words": words, "pdf": None, **reading}


@dataclass
class Answer:
    """What a pool's child answers, its files beside it."""

    values: dict[str, Any]
    folder: Path

    def file(self, name: str) -> Path:
        return self.folder / name


@dataclass
class Children:
    """Stands in for readers and sealers. ``found`` is the reader's answer by job number."""

    folder: Path
    size: int = 1
    found: dict[str, list[dict[str, Any]] | Exception] = field(default_factory=dict)
    meanwhile: Callable[[], object] = lambda: None
    signed: list[tuple[int, str]] = field(default_factory=list)
    asked: list[Mapping[str, Any]] = field(default_factory=list)
    """What the readers were told beside the document."""
    opened: list[bytes] = field(default_factory=list)
    """What the sealers were given."""

    def pool(self) -> Children:
        return self

    @contextmanager
    def call(
        self, task: str, values: Mapping[str, Any], files: Sequence[Path] = (), timeout: float = 0
    ) -> Iterator[Answer]:
        if task == "checkpoint":
            self.signed.append((values["size"], values["root"]))
            yield Answer({"signature": "AA==", "timestamp": "AA=="}, self.folder)
        else:
            if task == "read":
                self.asked.append(values)
            yield {"read": self._read, "seal": self._seal}[task](files[0])

    def _read(self, file: Path) -> Answer:
        found = self.found[file.name]
        if isinstance(found, Exception):
            raise found
        pages = max(one["last"] for one in found)
        return Answer({"pages": pages, "converted": None, "removed": [], "invoices": found}, self.folder)

    def _seal(self, file: Path) -> Answer:
        self.meanwhile()
        self.opened.append(file.read_bytes())
        (self.folder / "sealed.pdf").write_bytes(file.read_bytes() + b"% sealed")
        seal = {"certificate": "c" * 64, "timestamp": archive_rows.stamp(NOW), "sealed_at": NOW.isoformat()}
        return Answer(seal | {"file": "sealed.pdf"}, self.folder)


@dataclass
class House:
    """One pipeline and the hands that print, act and look."""

    database: Database
    blobs: Blobs
    children: Children
    pipeline: Pipeline

    def print(self, number: int, *found: dict[str, Any], options: Mapping[str, str] | None = None) -> str:
        """A received job whose reader finds these invoices."""
        original = self.blobs.put(b"%%PDF-1.7 job %d" % number, "application/pdf").digest
        self.children.found[original] = list(found)
        with self.database.write() as connection:
            at = NOW + timedelta(seconds=number)
            columns = {"state": JobState.RECEIVED, "original": original, "at": at, "options": options or {}}
            return archive_rows.job(connection, number, **columns)

    def reads_as(self, number: int, *found: dict[str, Any]) -> None:
        """From now on, as after a new template."""
        original = hashlib.sha256(b"%%PDF-1.7 job %d" % number).hexdigest()
        self.children.found[original] = list(found)

    def fails(self, number: int, error: Exception) -> None:
        """No reader reads it."""
        self.children.found[hashlib.sha256(b"%%PDF-1.7 job %d" % number).hexdigest()] = error

    def turn(self, *names: str) -> None:
        """Claim and run one batch of each stage."""
        for name in names:
            stage = self.stage(name)
            with self.database.write() as connection:
                batch = claims.claim(connection, stage, NOW)
            if batch is not None:
                stage.run(batch)

    def later(self, seconds: float) -> None:
        """What the pipeline does from now on is so much later."""
        self.pipeline = replace(self.pipeline, now=lambda: NOW + timedelta(seconds=seconds))

    def stage(self, name: str) -> Stage:
        return next(stage for stage in self.pipeline.stages() if stage.name == name)

    def act(self, do: Callable[..., Any], *words: Any) -> None:
        with self.database.write() as connection:
            do(connection, *words, NOW)

    def rows(self, job: str) -> list[Any]:
        with self.database.read() as connection:
            query = sa.select(invoices).where(invoices.c.job == job).order_by(invoices.c.first_page)
            return list(connection.execute(query))

    def states(self, job: str) -> list[str]:
        return [row.state for row in self.rows(job)]

    def job_state(self, job: str) -> str:
        with self.database.read() as connection:
            return str(connection.scalar(sa.select(jobs.c.state).where(jobs.c.id == job)))


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    database, blobs = archive_rows.opened(tmp_path)
    children = Children(tmp_path)
    pipeline = Pipeline(
        database=database,
        blobs=blobs,
        readers=children,  # type: ignore[arg-type]  # what a test decides they read
        sealers=children,  # type: ignore[arg-type]
        issuers=(ISSUER,),
        language="en",
        archived=_deliver,
        threads=1,
        now=lambda: NOW,
    )
    with database.write() as connection:
        _customer(connection, "C0042")
    yield House(database, blobs, children, pipeline)
    database.close()


def _customer(connection: sa.Connection, code: str) -> None:
    values = {"name": "Épicerie", "language": "fr", "route": "mail", "consent": "refused"}
    connection.execute(customers.insert().values(code=code, updated_at=NOW, **values))


def _deliver(connection: sa.Connection, fresh: Sequence[sa.Row[Any]], now: datetime) -> None:
    """As the delivery room does: a customer that has gone is nobody's guess."""
    for row in fresh:
        if connection.scalar(sa.select(customers.c.code).where(customers.c.code == row.customer_code)) is None:
            raise DocumentError("The customer left the list.", code="unknown-customer")
        archive_rows.delivery(connection, row.id, mode=instance.mode(connection), state="due", sent_at=None)


# Read again


def test_a_job_is_read_again_although_a_reprint_points_at_it(house: House) -> None:
    """A doubtful invoice was printed twice; after the layout was mended its job is read again, and all goes on."""
    first = house.print(1, invoice("FA-1", total="1.00"))
    second = house.print(2, invoice("FA-1", total="1.00"))
    house.turn("process", "process")
    assert (house.states(first), house.states(second)) == (["waiting"], ["reprint"])
    house.reads_as(1, invoice("FA-1"))
    house.act(acts.retry_job, first, "marie", "template mended")
    house.turn("process", "seal")
    assert (house.states(first), house.states(second)) == (["archived"], ["reprint"])


def test_a_reprint_of_what_is_rejected_stands_for_itself(house: House) -> None:
    """Once the first of three prints is rejected, the second waits and says so, and the third repeats that one.

    Nothing is sent on a guess, and nothing says that it was sent before.
    """
    first, second, third = (house.print(n, invoice("FA-1", total="1.00")) for n in (1, 2, 3))
    house.turn("process", "process", "process")
    assert [house.states(job) for job in (first, second, third)] == [["waiting"], ["reprint"], ["reprint"]]
    house.act(acts.reject, house.rows(first)[0].id, "marie", "issued in error")
    assert house.states(second) == ["checking"]
    house.act(acts.correct, house.rows(second)[0].id, {"total": archive_rows.FIELDS["total"]}, "marie", "misread")
    house.turn("check")
    (waiting,), (repeated,) = house.rows(second), house.rows(third)
    assert [reason["code"] for reason in waiting.reasons] == ["first-rejected"]
    assert waiting.reasons[0]["facts"] == {"first": house.rows(first)[0].id[:8]}
    assert (repeated.state, repeated.reprint_of) == ("reprint", waiting.id)
    house.act(acts.release, waiting.id, "marie", "it is right after all")
    house.turn("check", "seal")
    assert [house.states(job) for job in (first, second, third)] == [["rejected"], ["archived"], ["reprint"]]


def test_what_is_printed_after_a_rejection_is_a_first(house: House) -> None:
    """The cause was mended here, and the invoice is printed again as it was: it goes its way."""
    first = house.print(1, invoice("FA-1", customer_code="C9"))
    house.turn("process")
    house.act(acts.reject, house.rows(first)[0].id, "marie", "not a customer yet")
    with house.database.write() as connection:
        _customer(connection, "C9")
    house.later(60)
    second = house.print(2, invoice("FA-1", customer_code="C9"))
    house.turn("process")
    assert (house.states(first), house.states(second)) == (["rejected"], ["ready"])


def test_what_another_split_no_longer_finds_is_gone(house: House) -> None:
    """Three pages were one unknown thing and become two invoices, or the other way: no row is left over, none lost."""
    job = house.print(1, invoice("", 1, 3))
    again = house.print(2, invoice("", 1, 3))
    house.turn("process")
    house.reads_as(1, invoice("FA-1", 1, 1), invoice("FA-2", 2, 3))
    house.act(acts.retry_job, job, "marie", "template added")
    house.turn("process", "check")
    assert [(row.first_page, row.last_page, row.state) for row in house.rows(job)] == [(1, 1, "ready"), (2, 3, "ready")]
    assert house.states(again) == ["waiting"]


def test_pages_of_a_rejected_invoice_may_hold_others(house: House) -> None:
    """Several invoices were taken for one and rejected: read again with the right layout, each of them is there."""
    job = house.print(1, invoice("", 1, 2))
    house.turn("process")
    house.act(acts.reject, house.rows(job)[0].id, "marie", "not one invoice")
    house.reads_as(1, invoice("FA-1", 1, 1), invoice("FA-2", 2, 2))
    house.act(acts.retry_job, job, "marie", "template added")
    house.turn("process")
    assert sorted(house.states(job)) == ["ready", "ready", "rejected"]


@pytest.mark.parametrize("ended", [InvoiceState.ARCHIVED, InvoiceState.SPECIMEN, InvoiceState.REJECTED])
def test_what_ended_stays_as_it_is(house: House, ended: InvoiceState) -> None:
    """An archived, rehearsed or rejected invoice does not change when its job is read again; its sister does."""
    job = house.print(1, invoice("FA-1", 1, 1), invoice("FA-2", 2, 2, total="1.00"))
    house.turn("process", "seal")
    with house.database.write() as connection:
        connection.execute(invoices.update().where(invoices.c.state == "archived").values(state=ended))
    before = house.rows(job)[0]
    house.reads_as(1, invoice("FA-1", 1, 1, due_on="2027-01-31"), invoice("FA-2", 2, 2))
    house.act(acts.retry_job, job, "marie", "template mended")
    house.turn("process")
    assert house.rows(job)[0] == before
    assert house.states(job) == [ended, "ready"]


def test_an_invoice_is_read_again_while_it_is_sealed(house: House) -> None:
    """Its job is retried while the sealers work on the earlier reading: what is archived is the later one."""
    job = house.print(1, invoice("FA-1"))
    house.turn("process")
    house.reads_as(1, invoice("FA-1", due_on="2027-01-31"))
    house.children.meanwhile = lambda: _read_again(house, job)
    house.turn("seal")
    assert house.states(job) == ["ready"]
    house.turn("seal")
    assert [(row.state, row.due_on) for row in house.rows(job)] == [("archived", "2027-01-31")]


def test_what_leaves_the_batch_keeps_nobody_back(house: House) -> None:
    """One of three jobs is read again while all are sealed: the others are archived."""
    jobs_ = [house.print(number, invoice(f"FA-{number}")) for number in (1, 2, 3)]
    house.turn("process")
    house.children.meanwhile = lambda: _read_again(house, jobs_[1])
    house.turn("seal")
    assert [house.states(job) for job in jobs_] == [["archived"], ["ready"], ["archived"]]
    with house.database.read() as connection:
        sealed = set(connection.scalars(sa.select(entries.c.subject).where(entries.c.kind == "invoice")))
    assert sealed == {house.rows(job)[0].id for job in (jobs_[0], jobs_[2])}


def _read_again(house: House, job: str) -> None:
    house.children.meanwhile = lambda: None
    house.act(acts.retry_job, job, "marie", "template mended")
    house.turn("process")


# Invoices of one batch


def test_prints_of_one_batch_are_judged_in_their_order(house: House) -> None:
    """The same invoice twice is one and its reprint, its number on another waits: in a job, and from job to job."""
    one = house.print(
        1,
        invoice("FA-1", 1, 1),
        invoice("FA-1", 2, 2),
        invoice("FA-1", 3, 3, due_on="2027-01-31"),
        invoice("FA-2", 4, 4, total="1.00"),
    )
    two = house.print(2, invoice("FA-2", 1, 1, total="1.00"), invoice("FA-3", 2, 2), invoice("FA-1", 3, 3))
    three = house.print(3, invoice("FA-3", due_on="2027-01-31"))
    house.turn("process")
    first, again, other, doubtful = house.rows(one)
    assert house.states(one) == ["ready", "reprint", "waiting", "waiting"]
    assert again.reprint_of == first.id
    assert (again.number, again.total) == ("FA-1", archive_rows.FIELDS["total"])
    assert [reason["code"] for reason in other.reasons] == ["number-used"]
    assert other.reasons[0]["facts"] == {"number": "FA-1", "first": first.id[:8]}
    assert [(row.state, row.reprint_of) for row in house.rows(two)] == [
        ("reprint", doubtful.id),
        ("ready", None),
        ("reprint", first.id),
    ]
    (last,) = house.rows(three)
    assert last.reasons[0]["facts"] == {"number": "FA-3", "first": house.rows(two)[1].id[:8]}


def test_corrections_of_one_batch_are_judged_in_their_order(house: House) -> None:
    """Two invoices that wait get the same number from people: the first that is checked has it, the other waits."""
    jobs_ = [house.print(n, invoice(f"FA-{n}", total="1.00", due_on=f"2027-01-0{n}")) for n in (1, 2)]
    house.turn("process")
    for job in jobs_:
        (row,) = house.rows(job)
        house.act(acts.correct, row.id, {"total": archive_rows.FIELDS["total"], "number": "FA-9"}, "marie", "misread")
    house.turn("check")
    by_id = sorted((row for job in jobs_ for row in house.rows(job)), key=lambda row: row.id)
    assert [row.state for row in by_id] == ["ready", "waiting"]
    assert by_id[1].reasons[0]["facts"] == {"number": "FA-9", "first": by_id[0].id[:8]}


def test_a_job_that_is_read_again_beside_others_sees_what_they_left(house: House) -> None:
    """Of two jobs that are read again in one batch the first loses an invoice, and the second is no reprint of it."""
    one, two = house.print(1, invoice("FA-1", total="1.00")), house.print(2, invoice("FA-1", total="1.00"))
    house.turn("process")
    house.reads_as(1, invoice("FA-5"))
    house.reads_as(2, invoice("FA-1"))
    for job in (one, two):
        house.act(acts.retry_job, job, "marie", "template mended")
    fresh = house.print(3, invoice("FA-5"))
    house.turn("process")
    assert [house.states(job) for job in (one, two, fresh)] == [["ready"], ["ready"], ["reprint"]]
    assert [row.number for job in (one, two) for row in house.rows(job)] == ["FA-5", "FA-1"]


@pytest.mark.parametrize("several", [True, False], ids=["in jobs of their own", "in one job"])
def test_an_invoice_more_costs_no_statement_more(house: House, several: bool) -> None:
    """Reading and sealing ask the database as often for twelve invoices as for three."""

    def asked(numbers: range) -> int:
        if several:
            for number in numbers:
                house.print(number, invoice(f"FA-{number}"))
        else:
            house.print(numbers[0], *(invoice(f"FA-{n}", place, place) for place, n in enumerate(numbers, start=1)))
        counted.clear()
        house.turn("process", "seal")
        return len(counted)

    counted: list[str] = []
    event.listen(house.database.engine, "before_cursor_execute", lambda *call: counted.append(call[2]))
    house.pipeline = replace(house.pipeline, archived=lambda *_: None)
    asked(range(1, 4))  # the ledger's first entries join no others
    assert asked(range(10, 13)) == asked(range(20, 32))


# What the sender chose


def test_a_review_holds_every_invoice_of_the_job(house: House) -> None:
    """The sound ones wait for a person, too; what a person lets go goes its way, and is not held again."""
    job = house.print(1, invoice("FA-1", 1, 1), invoice("FA-2", 2, 2, total="1.00"), options={ROUTE: "hold-for-review"})
    house.turn("process", "seal")
    first, second = house.rows(job)
    assert [reason["code"] for reason in first.reasons] == ["review"]
    assert [reason["code"] for reason in second.reasons] == ["amounts-differ", "review"]
    house.act(acts.release, first.id, "marie", "looked at")
    house.act(acts.correct, second.id, {"total": archive_rows.FIELDS["total"]}, "marie", "misread")
    house.turn("check", "seal")
    assert house.states(job) == ["archived", "waiting"]
    assert [reason["code"] for reason in house.rows(job)[1].reasons] == ["review"]


def test_another_template_than_the_sender_named_is_doubtful(house: House) -> None:
    """It was told to the reader; an invoice of another layout waits until a person answers for it."""
    options = {TEMPLATE: "moulin-fr"}
    job = house.print(1, invoice("FA-1", 1, 1), invoice("FA-2", 2, 2) | {"template": "other"}, options=options)
    house.turn("process")
    assert house.children.asked[-1]["template"] == "moulin-fr"
    first, second = house.rows(job)
    assert (first.state, second.state) == ("ready", "waiting")
    (reason,) = second.reasons
    assert (reason["code"], reason["facts"]) == ("other-template", {"template": "other", "chosen": "moulin-fr"})
    house.act(acts.release, second.id, "marie", "it is the new form")
    house.turn("check", "seal")
    assert house.states(job) == ["archived", "archived"]


def test_the_ledger_records_what_was_chosen(house: House) -> None:
    """Beside the facts of the invoice; of a job without choices nothing is said, as before there were any."""
    chosen = {ROUTE: "paper", COPY_TO: "a@firm.example"}
    jobs_of = [
        house.print(1, invoice("FA-1"), options=chosen | {TEMPLATE: "automatic"}),
        house.print(2, invoice("FA-2")),
    ]
    house.turn("process", "seal")
    with house.database.read() as connection:
        told = [
            json.loads(connection.scalars(_RECORD.where(entries.c.subject == house.rows(job)[0].id)).one())
            for job in jobs_of
        ]
    assert [one.get("chosen") for one in told] == [chosen, None]


_RECORD = sa.select(ledger_records.c.body).join(entries, entries.c.index == ledger_records.c.index)


# One row harms no other


@pytest.mark.parametrize("wrong", [{"text": "\ud800"}, {"first": None}, {"fields": {"number": "FA-1"}}], ids=str)
def test_a_reader_that_lies_costs_its_own_document(house: House, wrong: dict[str, Any]) -> None:
    """A reader that was taken over answers what no row can hold: its sisters in the batch go their way."""
    hostile, honest = house.print(1, invoice("FA-1") | wrong), house.print(2, invoice("FA-2"))
    house.turn("process")
    assert (house.states(hostile), house.states(honest)) == ([], ["ready"])


def test_a_picture_waits_for_a_person_who_reads_how_to_print(house: House) -> None:
    """A raster has no text: its job is held, with a sentence in the queue, and is not given up or tried again."""
    job = house.print(1)
    house.fails(1, DocumentError("A picture of a page has no text.", code="raster"))
    house.turn("process")
    house.turn("process")
    assert house.job_state(job) == JobState.HELD
    with house.database.read() as connection:
        row = connection.execute(sa.select(jobs).where(jobs.c.id == job)).one()
    assert row.reason == {"code": "raster", "facts": {}}
    assert "choose PDF in the print queue" in row.message


def test_a_job_that_waits_for_its_release_is_not_taken_up(house: House) -> None:
    """Held by its sender, a document rests until it is received."""
    job = house.print(1, invoice("FA-1"))
    with house.database.write() as connection:
        storage_jobs.wait(connection, JobId(job), Wait("job-hold-until-specified"), storage_jobs.EVER)
    house.turn("process")
    assert (house.job_state(job), house.rows(job)) == (JobState.PENDING, [])
    with house.database.write() as connection:
        storage_jobs.release(connection, JobId(job), NOW)
    house.turn("process")
    assert house.job_state(job) == JobState.DONE


def test_the_pages_that_were_asked_for_are_read(house: House) -> None:
    """page-ranges of an IPP job goes to the reader; through other doors a filter has chosen already."""
    for number, source in ((1, "ipp"), (2, "cups")):
        job = house.print(number, invoice(f"FA-{number}"))
        with house.database.write() as connection:
            values = {"source": source, "options": {"page-ranges": "2-3"}}
            connection.execute(jobs.update().where(jobs.c.id == job).values(values))
        house.turn("process")
    assert [one.get("pages") for one in house.children.asked] == ["2-3", None]


def test_sealers_open_only_what_a_reader_has_returned(house: House) -> None:
    """The bytes that came in stay with the readers: who holds the key sees the file that came back, or none."""
    (house.children.folder / "0.pdf").write_bytes(b"%PDF-1.7 as the reader wrote it")
    house.print(1, invoice("FA-1") | {"pdf": "0.pdf"})
    broken, waiting = house.print(2), house.print(3, invoice("FA-3", iban="FR1420041010050500013M02606"))
    house.children.found[hashlib.sha256(b"%PDF-1.7 job 2").hexdigest()] = DocumentError("Broken.", code="unreadable")
    house.turn("process", "check", "seal")
    assert house.children.opened == [b"%PDF-1.7 as the reader wrote it"]
    assert (house.states(broken), house.states(waiting)) == ([], ["waiting"])


def test_a_customer_who_left_holds_his_invoice_alone(house: House) -> None:
    """One of two customers leaves the list while both invoices are sealed: the other one's is archived."""
    with house.database.write() as connection:
        _customer(connection, "C0107")
    job = house.print(1, invoice("FA-1", 1, 1), invoice("FA-2", 2, 2, customer_code="C0107"))
    house.turn("process")
    with house.database.write() as connection:
        connection.execute(customers.delete().where(customers.c.code == "C0107"))
    house.turn("seal")
    rows = house.rows(job)
    assert [row.state for row in rows] == ["archived", "checking"]
    assert rows[1].sealed is None
    house.turn("check")
    (waiting,) = [row for row in house.rows(job) if row.state == "waiting"]
    assert [reason["code"] for reason in waiting.reasons] == ["unknown-customer"]
    with house.database.read() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(deliveries)) == 1


def test_an_invoice_that_cannot_be_filed_holds_its_job_alone(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reading that we fail to file keeps its own job back, nothing of it is left; the batch's other jobs are done."""
    index_texts = database.index_texts

    def fails(connection: sa.Connection, texts: Mapping[str, str]) -> None:
        index_texts(connection, {one: text[: 1 // text.count("FA-2")] for one, text in texts.items()})

    monkeypatch.setattr(database, "index_texts", fails)
    broken = house.print(1, invoice("FA-1"))
    sound = house.print(2, invoice("FA-2"))
    house.turn("process")
    assert (house.job_state(broken), house.states(broken)) == ("held", [])
    assert (house.job_state(sound), house.states(sound)) == ("done", ["ready"])


def test_a_full_disk_makes_invoices_wait_for_room(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be stored now is due again later, with the reason beside it, and nothing of it is in the ledger."""
    job = house.print(1, invoice("FA-1"))
    house.turn("process")

    def full(_handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("printerd.storage.blobs.os.fdatasync", full)
        house.turn("seal")
    (row,) = house.rows(job)
    assert (row.state, row.attempts, row.sealed) == ("ready", 1, None)
    assert "No space left" in row.trouble
    with house.database.read() as connection:
        assert ledger.size(connection) == 0


def test_a_step_that_runs_twice_archives_once(house: House) -> None:
    """The engine may run a step again after it had done everything: one ledger entry, one delivery."""
    job = house.print(1, invoice("FA-1"))
    house.turn("process")
    stage = house.stage("seal")
    with house.database.write() as connection:
        batch = claims.claim(connection, stage, NOW)
    assert batch is not None

    def again() -> None:
        house.children.meanwhile = lambda: None
        stage.run(batch)

    house.children.meanwhile = again
    stage.run(batch)
    stage.run(batch)
    assert house.states(job) == ["archived"]
    with house.database.read() as connection:
        assert ledger.size(connection) == 1
        assert connection.scalar(sa.select(sa.func.count()).select_from(deliveries)) == 1


def test_a_checkpoint_covers_what_came_since_the_last(house: House) -> None:
    """The ledger's head is signed when the ledger has grown, over all of it, and not again before it grows."""
    for number in (1, 2):
        house.print(number, invoice(f"FA-{number}"))
        house.turn("process", "seal")
        for _ in range(2):
            house.pipeline.checkpoint()
    with house.database.read() as connection:
        head = ledger.head(connection)
    assert [size for size, _ in house.children.signed] == [1, 2]
    assert house.children.signed[-1] == head
