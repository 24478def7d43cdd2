"""Ghostscript in a unit of its own (``systemd/invoice-printer-ghostscript@.service``): both ends of its socket.

One rule: the status comes before the bytes, for a socket carries no exit code, and Ghostscript leaves a file that
looks complete when it fails. One connection is one document: PostScript until its end, then :data:`ANSWER` and as many
bytes. Nobody opens the PDF here: that is the reader's work.
"""

from __future__ import annotations

import os
import shutil
import socket
import struct
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from printerd.errors import TransientError
from printerd.pipeline import programs
from printerd.pipeline.confine import Limits, confine
from printerd.pipeline.pools import PoolBroken
from printerd.pipeline.programs import Distilled, Ended

SOCKET = Path("/run/invoice-printer/ghostscript.sock")
ANSWER = struct.Struct("!iIQ")
"""Exit status; bytes of what Ghostscript said; bytes of the PDF that follow, none unless the status is 0."""
LARGEST = 512 << 20
"""Bytes of a PDF that is taken back."""
PATIENCE = 10.0
"""Seconds that a worker may take beyond what its document may: systemd has to start it."""
_PIECE = 1 << 20


def usable(place: Path) -> bool:
    """Whether there is a Ghostscript unit that this user may ask."""
    return os.access(place, os.R_OK | os.W_OK)


def ask(place: Path, postscript: BinaryIO, output: BinaryIO, *, timeout: float = programs.TIMEOUT) -> Ended:
    """Have PostScript drawn by the unit; the PDF is written to ``output``.

    Raises :class:`PoolBroken` when the unit ended without an answer, :class:`TransientError` when there is none.
    """
    deadline = time.monotonic() + timeout + PATIENCE
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
        try:
            asking.settimeout(timeout)
            asking.connect(str(place))
        except OSError as error:
            raise TransientError(
                f"The Ghostscript unit does not answer: {error.strerror}.",
                where=str(place),
                remedy="systemctl restart invoice-printer-ghostscript.socket",
            ) from None
        try:
            return _exchanged(asking, postscript, output, deadline)
        except (OSError, EOFError):
            raise PoolBroken("The Ghostscript unit ended before it had answered.") from None


def _exchanged(asking: socket.socket, postscript: BinaryIO, output: BinaryIO, deadline: float) -> Ended:
    while piece := postscript.read(_PIECE):
        asking.settimeout(_left(deadline))
        asking.sendall(piece)
    asking.shutdown(socket.SHUT_WR)
    status, said, size = ANSWER.unpack(b"".join(_pieces(asking, ANSWER.size, deadline)))
    if said > programs.SAID or size > LARGEST:
        raise PoolBroken("The Ghostscript unit answered with too much.")
    words = b"".join(_pieces(asking, said, deadline)).decode("utf-8", "replace")
    output.writelines(_pieces(asking, size, deadline))
    output.flush()
    return Ended(status, words)


def _pieces(asking: socket.socket, size: int, deadline: float) -> Any:
    """``size`` bytes as they come. The deadline holds for all of them."""
    while size:
        asking.settimeout(_left(deadline))
        piece = asking.recv(min(size, _PIECE))
        if not piece:
            raise EOFError
        size -= len(piece)
        yield piece


def _left(deadline: float) -> float:
    return max(deadline - time.monotonic(), 0.001)


def values(ended: Ended) -> dict[str, Any]:
    """What a reader is told of a drawing, as JSON."""
    return {"status": ended.status, "words": ended.words}


def fetched(told: Mapping[str, Any], pdf: BinaryIO, folder: Path) -> Distilled:
    """In the reader: the PDF that was drawn elsewhere, judged as one that was drawn here."""
    output = folder / "distilled.pdf"
    with output.open("xb") as file:
        shutil.copyfileobj(pdf, file)
    return programs.judged(Ended(**told), output)


def main() -> None:
    """The unit's program: standard input and output are the connection (Accept=yes). It is confined as a reader is."""
    folder = Path(tempfile.mkdtemp())  # in the unit's private /tmp, which ends with it
    output = folder / "distilled.pdf"
    confine(Limits(), folder)
    with open(0, "rb", closefd=False) as asked:
        ended = programs.draw(asked, output)
    while os.read(0, _PIECE):  # what Ghostscript left: who asks first sends all, then listens
        continue
    words = ended.words.encode()[-programs.SAID :]
    size = output.stat().st_size if ended.status == 0 and output.exists() else 0
    sys.stdout.buffer.write(ANSWER.pack(ended.status, len(words), size) + words)
    if size:
        with output.open("rb") as pdf:
            shutil.copyfileobj(pdf, sys.stdout.buffer)
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
