"""The line printer daemon (RFC 1179): queues, jobs in files, one byte for an answer.

One rule: the zero byte that lets a client forget a document is sent when the intake has made it durable. Behind the
control file that is the byte of each data file. Data files that come before it wait in a file without a name, and the
byte that lets the client forget them is the control file's: until then there is no job (section 6.2).

Each data file is a job of ours (docs/decisions/0001). A peer's word is not proof of who it is, so a job belongs to
the user *and* the address that it came from, as everywhere.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from enum import IntEnum
from pathlib import Path
from typing import IO, Final

from printerd.errors import TransientError
from printerd.intake import Intake
from printerd.listener.connections import IDLE
from printerd.listener.door import PIECE, Line
from printerd.listener.framing import End
from printerd.listener.printer import MODEL
from printerd.listener.rfc1179 import (
    FILES,
    TAKEN,
    Announced,
    Command,
    Control,
    Order,
    Part,
    Printed,
    announced,
    control,
    order,
)
from printerd.listener.streams import Documents, Source, listen
from printerd.model import JobId, JobState, Ticket
from printerd.refusals import Refused
from printerd.storage import jobs
from printerd.storage.database import Database

log = logging.getLogger(__name__)


class Answer(IntEnum):
    """The byte behind a command or a file. The standard knows zero and not zero; LPRng and BSD know more, and so wait
    or give the job up.
    """

    TAKEN = 0
    LATER = 2
    REFUSED = 3


class _Answered(Exception):
    """What came cannot be used: the answer, and what the log says. Nothing more is read."""

    def __init__(self, answer: Answer, why: str) -> None:
        super().__init__(why)
        self.answer = answer


class Lpd:
    """Serves connections. ``queues`` are the names that clients print to, each with the printer behind it; ``spool`` is
    the folder for data files that come before their control file, ``idle`` as for raw printing.
    """

    def __init__(self, intake: Intake, database: Database, queues: Mapping[str, str], spool: Path, idle: float) -> None:
        self.intake = intake
        self.spool = spool
        self.idle = idle
        self._database = database
        self._queues = queues

    async def serve(self, line: Line) -> None:
        """One connection: one command (section 3.1)."""
        try:
            asked = order(await line.line())
            printer = self._queues.get(asked.queue)
            if printer is None:
                raise _Answered(Answer.REFUSED, f"there is no queue {asked.queue!r}")
            await _COMMANDS[asked.command](self, line, asked, printer)
        except _Answered as refused:
            await _refuse(line, refused.answer, str(refused))
        except ValueError as malformed:
            await _refuse(line, Answer.REFUSED, f"it sent {malformed}")
        except TransientError as away:
            await _refuse(line, Answer.LATER, " ".join(away.lines()))

    async def _print_waiting(self, line: Line, _order: Order, _printer: str) -> None:
        """Section 5.1. Nothing ever waits to be started."""
        await line.write(bytes((Answer.TAKEN,)))

    async def _receive(self, line: Line, _order: Order, printer: str) -> None:
        """Section 5.2."""
        await line.write(bytes((Answer.TAKEN,)))
        receiving = _Receiving(self, line, printer)
        try:
            await receiving.run()
        finally:
            receiving.forget()

    async def _short_state(self, line: Line, order: Order, printer: str) -> None:
        """Section 5.3."""
        await line.write(_listing(await self._waiting(printer, order.words), line, _short))

    async def _long_state(self, line: Line, order: Order, printer: str) -> None:
        """Section 5.4."""
        await line.write(_listing(await self._waiting(printer, order.words), line, _long))

    async def _remove(self, line: Line, order: Order, printer: str) -> None:
        """Section 5.5: the agent's own jobs by number, or all by the agent's name; without a list the first of them."""
        agent, *names = order.words or ("",)
        own = [job for job in await self._waiting(printer, names) if _owner(job) == (agent, line.host)]
        for job in own if names else own[:1]:
            ended = await self.intake.cancel(job.id)
            told = "canceled" if ended else "is at work and cannot be canceled"
            log.info("lpd: job %d, asked by %s: %s", job.number, line.host, told)
            await line.write(f"job {job.number} {told}\n".encode())

    async def _waiting(self, printer: str, names: Collection[str]) -> list[jobs.Job]:
        """The jobs of the printer that are not done, the oldest first: all, or those of the numbers and users named."""

        def inside() -> list[jobs.Job]:
            with self._database.read() as connection:
                return jobs.listed(connection, jobs.EVER, settled=False)

        found = [job for job in await asyncio.to_thread(inside) if job.ticket.printer == printer]
        return [job for job in found if not names or {str(job.number), job.ticket.user} & set(names)]


Handler = Callable[[Lpd, Line, Order, str], Awaitable[None]]

_COMMANDS: Final[Mapping[Command, Handler]] = {
    Command.PRINT_WAITING: Lpd._print_waiting,
    Command.RECEIVE_JOB: Lpd._receive,
    Command.SHORT_STATE: Lpd._short_state,
    Command.LONG_STATE: Lpd._long_state,
    Command.REMOVE_JOBS: Lpd._remove,
}


async def _refuse(line: Line, answer: Answer, why: str) -> None:
    log.warning("lpd: %s is refused: %s", line.host, why)
    await line.write(bytes((answer,)))


# Receiving a job


class _File:
    """A file on the line: so many bytes, then one octet of zero, which says that the sender means it (section 6.2)."""

    def __init__(self, line: Line, size: int) -> None:
        self.size = size
        self._line = line
        self._over = False
        self._left = size
        line.begin()

    async def pieces(self) -> AsyncIterator[bytes]:
        """What is left of it. Raises :class:`ConnectionError` when it is cut or the sender says so.

        CUPS leaves the last octet out when it streams, and closes: the length says that all is there.
        """
        while self._left:
            data = await self._line.read(min(PIECE, self._left))
            if not data:
                raise ConnectionResetError("the connection ended in a file")
            self._left -= len(data)
            yield data
        if not self._over:
            self._over = True
            if await self._line.read(1) not in (b"\0", b""):
                raise ConnectionResetError("its sender says that a file is not good")


class _Receiving:
    """What one connection sends behind the command to receive: files in any order, of one job after another."""

    def __init__(self, lpd: Lpd, line: Line, printer: str) -> None:
        self._lpd = lpd
        self._line = line
        self._printer = printer
        self._control: Control | None = None
        self._settled: set[str] = set()
        """Data files of the job that is coming of which it is known what became."""
        self._kept: dict[str, IO[bytes]] = {}
        """Data files that came before their control file."""
        self._kept_bytes = 0
        self._taken: list[JobId] = []
        """Of the job that is coming, for its sender may still abort it."""
        self._fresh: list[JobId] = []
        """Not answered yet."""
        self._told: list[JobId] = []
        """Whose answer is on its way: whoever goes on, or closes in order, has it."""

    async def run(self) -> None:
        try:
            while line := await self._line.line(within=IDLE):
                self._confirm()
                file = announced(line)
                await _PARTS[file.part](self, file)
            self._confirm()
        finally:
            await self._give_up()

    def forget(self) -> None:
        """Drop what was kept."""
        for file in self._kept.values():
            file.close()
        self._kept, self._kept_bytes = {}, 0

    def _confirm(self) -> None:
        for job in self._told:
            self._lpd.intake.answered(job)
        self._told = []

    async def _answer(self, answer: Answer) -> None:
        await self._line.write(bytes((answer,)))

    async def _give_up(self) -> None:
        """Record what was announced and did not come, or came and was not announced: no invoice is lost in silence."""
        for name in [*self._missing(), *self._kept]:
            await self._record(name, Refused("cut"))

    def _missing(self) -> list[str]:
        """Files that the control file prints and that have not come. Some clients call them otherwise when they do."""
        files = self._control.files if self._control is not None else {}
        return [name for name in files if name not in self._settled] if len(files) > len(self._settled) else []

    def _is_early(self, name: str) -> bool:
        """Whether a data file belongs to a control file that is still to come."""
        return self._control is None or (name not in self._control.files and not self._missing())

    async def _abort(self, _file: Announced) -> None:
        """Section 6.1: the job is not to be printed."""
        self.forget()
        ended = [await self._lpd.intake.cancel(job) for job in self._taken]
        self._control, self._settled, self._taken, self._told = None, set(), [], []
        await self._answer(Answer.TAKEN if all(ended) else Answer.REFUSED)

    async def _read_control(self, announced: Announced) -> None:
        """Section 6.2. Data files that wait for it become jobs."""
        await self._answer(Answer.TAKEN)
        octets = b"".join([piece async for piece in _File(self._line, announced.size or 0).pieces()])
        for name in self._missing():  # of the job before
            await self._record(name, Refused("cut"))
        self._control, self._settled, self._taken = control(octets), set(self._kept), []
        answers = [await self._print(name, _contents(file)) for name, file in self._kept.items()]
        self.forget()
        await self._settle(max(answers, default=Answer.TAKEN))

    async def _read_data(self, announced: Announced) -> None:
        """Section 6.3."""
        name, early, limit = announced.name, self._is_early(announced.name), self._lpd.intake.document_limit
        if announced.size is not None and announced.size > limit:
            await self._record(name, Refused("too-large", limit=limit))
            raise _Answered(Answer.REFUSED, f"a data file of {announced.size} bytes is too large")
        if not self._lpd.intake.is_ready():
            self._settled.add(name)
            raise _Answered(Answer.LATER, "the disk is nearly full, or the printer closed")
        if announced.size is None:
            await self._read_until_close(name, early)
            return
        await self._answer(Answer.TAKEN)
        file = _File(self._line, announced.size)
        await self._settle(await (self._keep(name, file) if early else self._print(name, file.pieces())))

    async def _read_until_close(self, name: str, early: bool) -> None:
        """What comes until the close, in documents that say themselves where they end. Some clients do not close, and
        wait for an answer: they have it after a while of silence."""
        if early:
            raise _Answered(Answer.REFUSED, "a data file without a length came before its control file")
        await self._answer(Answer.TAKEN)
        documents = Documents(self._lpd.intake, self._ticket(name))
        answer = await self._take(name, documents, _until_silence(listen(self._line, documents, self._lpd.idle)))
        if answer is Answer.LATER or documents.broken:
            raise _Answered(answer, "not all of it could be taken")
        self._told, self._fresh = self._told + self._fresh, []  # to close was its way to end
        await self._answer(answer)

    async def _settle(self, answer: Answer) -> None:
        """Answer a file. Whoever has closed before that does not know what became of it."""
        if answer is Answer.TAKEN and not self._line.left:
            self._told += self._fresh
        self._fresh = []
        await self._answer(answer)

    async def _keep(self, name: str, file: _File) -> Answer:
        """Until the control file comes. Nothing of it has a name on the disk."""
        self._kept_bytes += file.size
        if len(self._kept) >= FILES or self._kept_bytes > self._lpd.intake.document_limit or name in self._kept:
            raise _Answered(Answer.REFUSED, "too much data came before its control file")
        try:
            kept = self._kept[name] = await asyncio.to_thread(_nameless, self._lpd.spool)
            async for piece in file.pieces():
                if not self._lpd.intake.has_room():
                    raise TransientError("The disk is nearly full.")
                await asyncio.to_thread(_write, kept, piece)
        except TransientError as error:
            log.warning("lpd: %s waits: %s", self._line.host, " ".join(error.lines()))
            if name in self._kept:
                self._kept.pop(name).close()
            await _drop(file.pieces())
            return Answer.LATER
        return Answer.TAKEN

    async def _print(self, name: str, pieces: AsyncIterator[bytes]) -> Answer:
        """A data file becomes a job, or several: CUPS sends the copies of a document one behind the other."""
        if self._printed(name).kind not in TAKEN:
            await self._record(name, Refused("unknown-format"))
            await _drop(pieces)
            return Answer.REFUSED
        documents = Documents(self._lpd.intake, self._ticket(name))
        answer = await self._take(name, documents, _counted(pieces))
        if documents.refused is not None and documents.refused.code == "cut":
            raise _Answered(answer, "a data file did not come whole")
        await _drop(pieces)
        if not documents.taken and not documents.refused and answer is Answer.TAKEN:
            await self._record(name, Refused("empty"))
            return Answer.REFUSED
        return answer

    async def _take(self, name: str, documents: Documents, source: Source) -> Answer:
        """The answer once all that came is settled, or the disk is full."""
        try:
            await documents.take(source)
        except TransientError as error:
            log.warning("lpd: %s waits: %s", self._line.host, " ".join(error.lines()))
            self._settled.add(name)
            return Answer.LATER
        finally:
            self._taken += documents.taken
            self._fresh += documents.taken
            self._settled |= {name} if documents.taken or documents.refused else set()
        return Answer.REFUSED if documents.refused else Answer.TAKEN

    async def _record(self, name: str, refused: Refused) -> None:
        """The row of a data file of which nothing is taken."""
        self._settled.add(name)
        with contextlib.suppress(Refused):
            await self._lpd.intake.accept(self._ticket(name), _raises(refused))
        log.warning("lpd: a data file of %s is refused: %s", self._line.host, refused.sentence("en"))

    def _printed(self, name: str) -> Printed:
        """What the control file says of a data file; it is taken when nothing is said of it."""
        return (self._control or Control()).files.get(name, Printed(name, "l"))

    def _ticket(self, name: str) -> Ticket:
        control, printed = self._control or Control(), self._printed(name)
        options = {
            "copies": str(printed.copies) if printed.copies > 1 else "",
            "document-name": printed.source,
            "job-originating-host-name": control.host,
        }
        return Ticket(
            printer=self._printer,
            user=control.user,
            host=self._line.host,
            title=control.title or printed.source,
            media_type="",
            source="lpd",
            options={key: value for key, value in options.items() if value},
        )


_PARTS: Final[Mapping[Part, Callable[[_Receiving, Announced], Awaitable[None]]]] = {
    Part.ABORT: _Receiving._abort,
    Part.CONTROL_FILE: _Receiving._read_control,
    Part.DATA_FILE: _Receiving._read_data,
}


async def _counted(pieces: AsyncIterator[bytes]) -> Source:
    async for piece in pieces:
        yield piece
    yield End.COUNTED


async def _until_silence(source: Source) -> Source:
    """Without the octet of zero that ends a data file (section 6.3): it is no byte of the document."""
    octet = b""
    async for came in source:
        if isinstance(came, End):
            yield came
            if came is End.SILENT:
                return
            continue
        data = octet + came
        octet = b"\0" if data.endswith(b"\0") else b""
        if data := data.removesuffix(octet):
            yield data


async def _drop(rest: AsyncIterator[object]) -> None:
    """What is left of a file that is not taken: its sender reads no answer before its end."""
    async for _ in rest:
        continue


async def _raises(error: Exception) -> AsyncIterator[bytes]:
    raise error
    yield b""


async def _contents(file: IO[bytes]) -> AsyncIterator[bytes]:
    file.seek(0)
    while piece := await asyncio.to_thread(file.read, PIECE):
        yield piece


def _nameless(folder: Path) -> IO[bytes]:
    """A file that is gone with its process. Raises :class:`TransientError`, as writing does."""
    with TransientError.of_disk("The spool", "the client sends it again"):
        return tempfile.TemporaryFile(dir=folder)


def _write(file: IO[bytes], piece: bytes) -> None:
    with TransientError.of_disk("The spool", "the client sends it again"):
        file.write(piece)
        file.flush()


# Telling the state of a queue


def _owner(job: jobs.Job) -> tuple[str, str]:
    return job.ticket.user, job.ticket.host


def _listing(found: Sequence[jobs.Job], line: Line, shown: Callable[[str, jobs.Job, str, str], str]) -> bytes:
    """As lpq(1) prints it. Who owns a job and how it is called is told to the machine that it came from."""
    rows = []
    for rank, job in enumerate(found, 1):
        told = (job.ticket.user, job.ticket.title) if job.ticket.host == line.host else ("", "")
        active = "active" if job.state is JobState.PROCESSING else str(rank)
        rows.append(shown(active, job, *(_plain(words) or "-" for words in told)))
    head = f"{MODEL} is ready" + (" and printing" if rows else "") + "\n"
    return (head + "".join(rows) if rows else head + "no entries\n").encode()


def _short(rank: str, job: jobs.Job, user: str, title: str) -> str:
    return f"{rank:<7}{user:<11}{job.number:<6}{title:<38}{job.size} bytes\n"


def _long(rank: str, job: jobs.Job, user: str, title: str) -> str:
    where = f"[job {job.number} {job.ticket.host}]"
    return f"{user}: {rank:<32}{where}\n        {title:<38}{job.size} bytes\n"


def _plain(words: str) -> str:
    """One line that commands no terminal."""
    return "".join(sign if sign.isprintable() else "?" for sign in words)
