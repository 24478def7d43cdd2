"""The door of the CUPS backend: a unix socket, and a document on each connection.

One rule: who connects may speak for others, so only the print system may connect.
The wire is described in :mod:`printerd.cups_backend`, its other end.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import pwd
import socket
import struct
from collections.abc import AsyncIterator, Collection, Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final, Self

from printerd import formats
from printerd.errors import TransientError
from printerd.intake import Intake
from printerd.listener import peers
from printerd.listener.connections import IDLE, SLOWEST_HEAD
from printerd.listener.door import PIECE, Line
from printerd.model import JobId, Ticket
from printerd.refusals import Refused

log = logging.getLogger(__name__)

PRINT_SYSTEM: Final = "lp"
"""The user as whom CUPS of Debian runs its backends."""
LAST_CALL: Final = 5.0
"""Seconds after the order to stop in which a document may still come to its end; the backend sends others again."""
_CREDENTIALS: Final = struct.Struct("3i")
"""struct ucred of unix(7): pid, uid, gid."""
_NOBODY: Final = 65534
"""How the kernel shows users that a user namespace does not know (user_namespaces(7))."""

_HELD: Final[Mapping[str, Mapping[str, str]]] = {
    "stranger": {
        "en": "Only the print system may hand over documents here. The job is held.",
        "fr": "Seul le système d’impression peut remettre des documents ici. Le travail est retenu.",
    },
    "malformed": {
        "en": "Backend and service do not understand each other; install the same version of both. The job is held.",
        "fr": "Le pilote et le service ne se comprennent pas\u00a0; installez la même version. Le travail est retenu.",
    },
    "unknown-queue": {
        "en": "There is no printer of this name. Check the queue's address; the job is held.",
        "fr": "Aucune imprimante ne porte ce nom. Vérifiez l’adresse de la file\u00a0; le travail est retenu.",
    },
    "failed": {
        "en": "The printer could not do this; its log says why. The job is held.",
        "fr": "L’imprimante a échoué, son journal dit pourquoi. Le travail est retenu.",
    },
}
"""Why CUPS shall keep a job until somebody has mended something. Nothing of it was stored."""


class Held(Exception):
    """The document cannot be judged here and now, and time mends nothing."""


@dataclass(frozen=True, slots=True)
class Answer:
    """``verdict`` is taken, refused, held or later; ``job`` is the one that was taken."""

    verdict: str
    message: str
    job: JobId | None = None

    def octets(self) -> bytes:
        return json.dumps({"verdict": self.verdict, "message": self.message}).encode() + b"\n"


@dataclass(frozen=True, slots=True)
class Header:
    """What the backend says of a document. ``size`` is in bytes; ``language`` is the sender's."""

    queue: str
    user: str
    host: str
    title: str
    language: str
    media_type: str
    options: Mapping[str, str]
    sender_key: str | None
    size: int

    @classmethod
    def of(cls, line: bytes) -> Self:
        """Raises :class:`Held` when it is not what a backend of this version says."""
        try:
            said = json.loads(line.decode("utf-8"))
            if not isinstance(said, dict) or said.keys() != {field.name for field in fields(cls)}:
                raise ValueError("other keys")
            header = cls(**said)
            header.check()
        except (ValueError, RecursionError) as error:
            raise Held("malformed") from error
        return header

    def check(self) -> None:
        """Raises :class:`ValueError` for a value of another kind, or text that is none (lone surrogates)."""
        if not isinstance(self.options, dict) or type(self.size) is not int or self.size < 0:
            raise ValueError("options or size")
        texts = [self.queue, self.user, self.host, self.title, self.language, self.media_type]
        texts += [] if self.sender_key is None else [self.sender_key]
        for text in (*texts, *self.options, *self.options.values()):
            if not isinstance(text, str) or "\0" in text:
                raise ValueError("no text")
            text.encode("utf-8")

    def ticket(self, printer: str) -> Ticket:
        """As it was said. A format that is none of ours is left to be seen (a PNG is none, whatever its name)."""
        named = peers.address(self.host) is None and self.host
        return Ticket(
            printer=printer,
            user=self.user,
            host=self.host if named else peers.host(self.host),
            title=self.title,
            media_type=self.media_type if formats.known(self.media_type) else formats.UNDECLARED,
            source="cups",
            options=self.options,
        )


class Backend:
    """Serves connections of the CUPS backend. ``queues``: the name in the queue's address → Ticket.printer. ``users``
    are the numbers of those who may connect, as this process sees them; ``idle`` seconds of silence cut a document.
    """

    def __init__(
        self,
        intake: Intake,
        queues: Mapping[str, str],
        *,
        users: Collection[int],
        idle: float = IDLE,
        language: str = "en",
    ) -> None:
        self._intake = intake
        self._queues = queues
        self._users = users
        self._idle = idle
        self._language = language

    async def serve(self, line: Line) -> None:
        """One connection. An answer before the document's end is read by the backend all the same (unix(7))."""
        answer = await self._answer(line, _user(line.socket))
        with contextlib.suppress(OSError):
            await line.write(answer.octets())
            if answer.job is not None:
                self._intake.answered(answer.job)

    async def _answer(self, line: Line, user: int) -> Answer:
        """Whatever happens, one answer, and one line in the log."""
        language = self._language
        try:
            if user not in self._users:
                raise Held("stranger")
            header = Header.of(await _said(line))
            language = header.language
            return await self._taken(line, header)
        except Refused as refused:
            log.info("cups refused: %s", refused.code)
            return Answer("refused", refused.sentence(language))
        except TransientError as error:
            log.warning("cups: %s", " ".join(error.lines()))
            return Answer("later", error.what)
        except OSError:
            log.info("a backend went away before it had said what it brings")
            return Answer("later", "")
        except Held as held:
            log.warning("cups: %s (user %d)", _HELD[str(held)]["en"], user)
            return Answer("held", _held(str(held), language))
        except Exception:
            log.exception("cups failed")
            return Answer("held", _held("failed", language))

    async def _taken(self, line: Line, header: Header) -> Answer:
        if header.queue not in self._queues:
            raise Held("unknown-queue")
        job = await self._intake.accept(
            header.ticket(self._queues[header.queue]),
            _document(line, header.size, self._idle),
            sender_key=header.sender_key,
            expected=header.size,
        )
        return Answer("taken", f"{job.ticket.printer}: {job.number}", job.id)


async def _said(line: Line) -> bytes:
    """The header. Raises :class:`Held` for one without end, and :class:`OSError` when it does not come."""
    try:
        said = await line.line(within=SLOWEST_HEAD)
    except ValueError as error:
        raise Held("malformed") from error
    if not said:
        raise ConnectionResetError("the backend said nothing")
    return said


async def _document(line: Line, size: int, idle: float) -> AsyncIterator[bytes]:
    """``size`` bytes; a backend that goes away or dawdles is a failure, never the end of a document."""
    line.begin()
    while size:
        piece = await line.read(min(size, PIECE), idle)
        if not piece:
            raise ConnectionResetError("the backend went away")
        size -= len(piece)
        yield piece


def _held(name: str, language: str) -> str:
    return _HELD[name].get(language, _HELD[name]["en"])


def _user(connection: Any) -> int:
    """Who connects, by the kernel (SO_PEERCRED of unix(7))."""
    said = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    user: int = _CREDENTIALS.unpack(said)[1]
    return user


def print_system() -> frozenset[int]:
    """Root, ourselves, and the print system, by the numbers under which this process sees them.

    A unit with PrivateUsers= knows only the first two, and all others as nobody: there the socket's mode alone tells
    the print system from other users (0660, group lp).
    """
    users = {0, os.getuid()}
    with contextlib.suppress(KeyError):  # a machine without CUPS may have no such user
        users.add(seen(pwd.getpwnam(PRINT_SYSTEM).pw_uid, Path("/proc/self/uid_map").read_text().splitlines()))
    return frozenset(users)


def seen(user: int, uid_map: Iterable[str]) -> int:
    """A user's number in this user namespace: ``inside outside count`` lines of uid_map."""
    for line in uid_map:
        inside, outside, count = map(int, line.split())
        if outside <= user < outside + count:
            return inside + user - outside
    return _NOBODY
