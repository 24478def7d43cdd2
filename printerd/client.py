"""A print client: sends one file by IPP, as any system would, and asks what became of it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyipp import IPP
from pyipp.enums import IppOperation
from pyipp.exceptions import IPPError

from printerd.errors import RequestError, TransientError
from printerd.ipp.registry import JobState, words

FORMATS: Mapping[str, str] = {".pdf": "application/pdf", ".ps": "application/postscript", ".txt": "text/plain"}
"""What a file's ending says of its format; the printer looks for itself when it says nothing."""


@dataclass(frozen=True, slots=True)
class Sent:
    """A job as its printer answered: IPP job-id, job-uuid, state and message."""

    number: int
    uuid: str
    state: str
    message: str


def print_file(address: str, file: Path, *, user: str, title: str) -> Sent:
    """Print a file to ``ipp://HOST:PORT/PATH``.

    Raises :class:`RequestError` when the printer refuses it, :class:`TransientError` when it cannot be reached.
    """
    attributes = {
        "requesting-user-name": user,
        "job-name": title,
        "document-format": FORMATS.get(file.suffix.lower(), "application/octet-stream"),
    }
    message = {"operation-attributes-tag": attributes, "data": file.read_bytes()}
    return _job(_asked(address, IppOperation.PRINT_JOB, message))


def job(address: str, number: int, *, user: str) -> Sent:
    """What became of a job (Get-Job-Attributes, RFC 8011 section 4.3.4)."""
    attributes = {"job-id": number, "requesting-user-name": user}
    return _job(_asked(address, IppOperation.GET_JOB_ATTRIBUTES, {"operation-attributes-tag": attributes}))


def _asked(address: str, operation: IppOperation, message: dict[str, Any]) -> dict[str, Any]:
    async def ask() -> dict[str, Any]:
        async with IPP(address, request_timeout=60) as printer:
            return await printer.execute(operation, message)

    try:
        return asyncio.run(ask())
    except IPPError as error:
        if len(error.args) > 1:  # the printer's own answer, with its status
            raise RequestError(
                f"The printer refused: {_status(error.args[1])}.",
                where=address,
                remedy="See the jobs and why they ended: invoice-printer jobs",
            ) from None
        raise TransientError(
            f"The printer does not answer: {error}", where=address, remedy="Is the service running?"
        ) from None


def _status(told: Mapping[str, Any]) -> str:
    from printerd.ipp.registry import Status

    code = told.get("status-code", 0)
    return words(Status(code)) if code in Status._value2member_map_ else f"status {code}"


def _job(answer: Mapping[str, Any]) -> Sent:
    (told,) = answer["jobs"]
    state = words(JobState(told["job-state"]))
    return Sent(told["job-id"], str(told.get("job-uuid", "")), state, str(told.get("job-state-message", "")))
