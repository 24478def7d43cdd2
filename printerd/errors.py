"""The failures, sorted by who must act. Each carries its translation and its advice.

    Failure
    ├── IppError             the sender acts: IPP status and the attributes in question
    ├── DocumentError        sender or accounting acts: kept, never retried blindly
    ├── TransientError       time acts: retried with back-off
    ├── ConfigurationError   IT acts: refuse to start
    ├── RequestError         the person at the command line or console acts
    └── IntegrityError       the auditor acts: evidence does not agree with itself

Anything else is ours: logged once, the job is held, never lost. A new class
needs someone new who must act; a new cause is a message of an old class.
Exit codes are those of sysexits.h where it has one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar


class Failure(Exception):
    """Something could not be done: what is wrong, where it comes from, what to do."""

    exit_code: ClassVar[int] = 70
    ipp_status: ClassVar[int] = 0x0500

    def __init__(self, what: str, *, where: str = "", remedy: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.remedy = remedy

    def lines(self) -> tuple[str, ...]:
        """The message as people read it: at most three short lines."""
        return tuple(line for line in (self.what, self.where, self.remedy) if line)


class IppError(Failure):
    """The request cannot be answered as asked. The sender's print system shows the message; nothing was stored."""

    exit_code = 65

    def __init__(self, status: int, what: str, *, unsupported: tuple[object, ...] = ()) -> None:
        super().__init__(what)
        self.status = status
        self.unsupported = unsupported


class DocumentError(Failure):
    """The document cannot be used as it is (unreadable, encrypted, not an invoice).

    Its bytes are kept; print it again once the cause is mended.
    """

    exit_code = 65
    ipp_status = 0x040A  # client-error-document-format-not-supported (RFC 8011 appendix B)

    def __init__(self, what: str, *, code: str = "unreadable", where: str = "", remedy: str = "") -> None:
        super().__init__(what, where=where, remedy=remedy)
        self.code = code


class TransientError(Failure):
    """A part is away for the moment (disk, key, timestamp authority, mail, edge).

    It is tried again by itself; nothing is lost.
    """

    exit_code = 75
    ipp_status = 0x0505  # server-error-temporary-error

    @classmethod
    @contextmanager
    def of_disk(cls, what: str, then: str = "the document is tried again") -> Iterator[None]:
        """Within it an ``OSError`` says that ``what`` could not be written; ``then`` is what follows by itself."""
        try:
            yield
        except OSError as error:
            raise cls(
                f"{what} could not be written: {error.strerror}.",
                where=str(error.filename or ""),
                remedy=f"Make room on the disk or mend it; {then}.",
            ) from error


class ConfigurationError(Failure):
    """A setting is wrong or missing. The service does not start until the named key is mended."""

    exit_code = 78
    ipp_status = 0x0500


class RequestError(Failure):
    """What was asked does not fit the state of things. Nothing was changed; the message says what would be possible."""

    exit_code = 2
    ipp_status = 0x0404  # client-error-not-possible


class IntegrityError(Failure):
    """Evidence does not agree with itself. Stop, keep everything as it is, compare with a backup."""

    exit_code = 1
