#!/usr/bin/python3 -IS
"""The CUPS backend: what a queue prints goes to the invoice printer of this machine, over its unix socket.

One rule: it ends with 0 only after the printer's durable answer, and never in a
way that stops the queue. It is installed as one file in /usr/lib/cups/backend,
so it stands on the standard library alone (backend(7), filter(7) of CUPS).

What is said, both ways, is a line of JSON; behind the backend's the document follows:

    {"queue", "user", "host", "title", "language", "media_type", "options", "sender_key", "size"} LF, size bytes
    {"verdict", "message"} LF

While the printer is away the backend waits and sends again from the start; the
sender key tells the printer that it is the same document.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from urllib.parse import parse_qs, unquote, urlsplit

DISCOVERY = (
    'direct invoice-printer:/run/invoice-printer/backend.sock?queue=invoices "Invoice Printer" "Invoice Printer"'
    ' "MFG:Invoice Printer;MDL:Invoice Printer;CMD:PDF,PS,TXT;CLS:PRINTER;"'
)
"""What ``lpinfo -v`` shows: class, address, make and model, description, IEEE 1284 device id."""
OK, FAILED, HOLD, CANCEL, RETRY_CURRENT = 0, 1, 3, 5, 7
"""Exit codes (cups/backend.h). STOP, 4, would stop the queue for everybody, and so would FAILED by its error policy."""
VERDICTS: Mapping[str, int] = {"taken": OK, "refused": CANCEL, "held": HOLD}
"""What the printer's answer means for the job. After any other it is sent again."""
FIRST_PAUSE, LAST_PAUSE = 0.2, 5.0
"""Seconds before it is sent again; the pause doubles."""
PATIENCE = 3600.0
"""Seconds after which CUPS is asked to start the job anew: it cancels one that takes three hours (MaxJobTime)."""
SILENCE = 300.0
"""Seconds that the printer may neither take nor say anything."""
LONGEST_ANSWER = 64 * 1024
KEPT = re.compile(r"invoice-printer-.*|media")
"""The options of a job that are handed on, beside its copies."""
CUSTOM = "Custom."
"""What a PPD option has before a value that people wrote themselves (https://www.cups.org/doc/spec-ppd.html)."""
SENTENCES: Mapping[str, Mapping[str, str]] = {
    "away": {
        "en": "The invoice printer is away ({why}); the job waits for it.",
        "fr": "L’imprimante de factures ne répond pas ({why})\u00a0; le travail l’attend.",
    },
    "unreadable": {
        "en": "The job is held: {why}.",
        "fr": "Le travail est retenu\u00a0: {why}.",
    },
}


@dataclass(frozen=True, slots=True)
class Job:
    """One start of the backend. Without ``file`` the document comes on standard input, from a filter."""

    uri: str
    number: str
    user: str
    title: str
    copies: str
    options: Mapping[str, str]
    file: str
    language: str
    media_type: str

    @property
    def socket(self) -> str:
        return unquote(urlsplit(self.uri).path)

    def header(self, document: IO[bytes]) -> dict[str, object]:
        """What is said before the document."""
        # A filter that writes to us has made the copies already (backend(7)).
        kept = {"copies": self.copies if self.file else "1"}
        kept |= {name: value.removeprefix(CUSTOM) for name, value in self.options.items() if KEPT.fullmatch(name)}
        return {
            "queue": parse_qs(urlsplit(self.uri).query).get("queue", [""])[-1],
            "user": self.user,
            "host": self.options.get("job-originating-host-name", ""),
            "title": self.title,
            "language": self.language,
            "media_type": self.media_type,
            "options": kept,
            "sender_key": self.key(document),
            "size": os.fstat(document.fileno()).st_size,
        }

    def key(self, document: IO[bytes]) -> str | None:
        """The same for each attempt with one document of one job, and for no other.

        The job's number belongs to it because a client may choose its job-uuid; the document's number is in the name
        of its file, and one that came through a filter is told by its bytes.
        """
        uuid = self.options.get("job-uuid")
        if uuid is None:
            return None
        name = re.search(r"d\d+-(\d+)$", self.file)
        return f"{uuid} {self.number} {name[1] if name else digest(document)}"


def digest(document: IO[bytes]) -> str:
    """SHA-256 of its bytes, from where it stands."""
    sum_ = hashlib.sha256()
    while piece := document.read(256 * 1024):
        sum_.update(piece)
    return sum_.hexdigest()


def read(argv: Sequence[str], environment: Mapping[str, str]) -> Job:
    """The job that CUPS hands over: ``program job user title copies options [file]``, and its environment."""
    number, user, title, copies, options = (_text(word) for word in argv[1:6])
    file = argv[6] if len(argv) > 6 else ""
    # Unchanged it is what the sender said it is, else what the last filter made.
    media_type = environment.get("CONTENT_TYPE" if file else "FINAL_CONTENT_TYPE", "")
    return Job(
        uri=environment.get("DEVICE_URI", ""),
        number=number,
        user=user,
        title=title,
        copies=copies,
        options=parse_options(options),
        file=file,
        language=environment.get("LANG", "")[:2],
        media_type=media_type,
    )


def parse_options(text: str) -> dict[str, str]:
    r"""``name=value`` words, separated by blanks; a backslash keeps the next character (cupsParseOptions(3))."""
    words = re.findall(r"(?:\\.|[^\s\\])+", text, re.DOTALL)
    pairs = (re.sub(r"\\(.)", r"\1", word, flags=re.DOTALL).partition("=") for word in words)
    return {name: value for name, equals, value in pairs if equals}


def _text(word: str) -> str:
    """An argument as UTF-8; bytes that are none are replaced."""
    return os.fsencode(word).decode("utf-8", "replace")


def say(kind: str, text: str) -> None:
    """A line for CUPS: ``ERROR:``, ``INFO:`` and ``STATE:`` are shown to people. Raises when nobody listens."""
    print(f"{kind}: {' '.join(text.split())}", file=sys.stderr, flush=True)


def sentence(name: str, language: str, why: object) -> str:
    return SENTENCES[name].get(language, SENTENCES[name]["en"]).format(why=why)


@contextmanager
def opened(file: str) -> Iterator[IO[bytes]]:
    """The document as a file that can be read again from its start."""
    if file:
        with Path(file).open("rb") as document:
            yield document
        return
    with tempfile.TemporaryFile() as document:  # in TMPDIR, and without a name
        shutil.copyfileobj(sys.stdin.buffer, document)
        document.seek(0)
        yield document


def hand_over(job: Job) -> int:
    """Send the document until the printer has judged it; the exit code."""
    began, pause, waited = time.monotonic(), FIRST_PAUSE, False
    with opened(job.file) as document:
        header = job.header(document)
        while time.monotonic() - began < PATIENCE:
            verdict, message = attempt(job, header, document)
            if verdict in VERDICTS:
                if waited:
                    say("STATE", "-connecting-to-device")
                if message:
                    say("INFO" if verdict == "taken" else "ERROR", message)
                return VERDICTS[verdict]
            waited = True
            say("STATE", "+connecting-to-device")
            say("INFO", message)
            time.sleep(pause)
            pause = min(LAST_PAUSE, pause * 2)
    return RETRY_CURRENT


def attempt(job: Job, header: Mapping[str, object], document: IO[bytes]) -> tuple[str, str]:
    """Verdict and message of one attempt; the verdict is empty when there was no answer."""
    document.seek(0)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as printer:
        printer.settimeout(SILENCE)
        try:
            printer.connect(job.socket)
            with suppress(BrokenPipeError, ConnectionResetError):  # it has judged before the end, and says so
                printer.sendall(json.dumps(header).encode() + b"\n")
                printer.sendfile(document)
            with printer.makefile("rb") as answer:
                judged = json.loads(answer.readline(LONGEST_ANSWER))
            return judged["verdict"], judged["message"]
        except (OSError, ValueError, LookupError, TypeError) as error:
            why = error.strerror if isinstance(error, OSError) and error.strerror else "no answer"
            return "", sentence("away", job.language, why)


def told(job: Job) -> int:
    """The exit code of :func:`hand_over`, whatever happens in it."""
    try:
        return hand_over(job)
    except BrokenPipeError:  # CUPS has done with this job, and with us
        return RETRY_CURRENT
    except Exception as error:
        with suppress(OSError):
            say("ERROR", sentence("unreadable", job.language, error))
        return HOLD


def guarded(job: Job) -> int:
    """Let a child do it, and end as it ends.

    CUPS takes a backend that was killed (SIGKILL, SIGTERM) for one that has printed. So the process that CUPS knows
    does nothing but wait: when it is killed, the child goes on, and CUPS waits for it, for it holds standard error;
    when the child is killed, CUPS is asked to start the job again.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    child = os.fork()
    if child == 0:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        os._exit(told(job))
    signal.signal(signal.SIGTERM, lambda number, _frame: os.kill(child, number))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    _, status = os.waitpid(child, 0)
    if os.WIFEXITED(status):
        return os.WEXITSTATUS(status)
    if os.WTERMSIG(status) != signal.SIGTERM:
        time.sleep(LAST_PAUSE)
    return RETRY_CURRENT  # CUPS does not heed it when it has canceled the job itself


def main(argv: Sequence[str], environment: Mapping[str, str]) -> int:
    """The exit code. Without arguments CUPS asks which devices there are."""
    if len(argv) == 1:
        print(DISCOVERY)
        return OK
    if len(argv) not in (6, 7):
        print(f"usage: {argv[0]} job user title copies options [file]", file=sys.stderr)
        return FAILED
    if environment.get("CUPS_FILETYPE") == "job-sheet":  # a banner page is no document of its sender
        if len(argv) == 6:
            with Path(os.devnull).open("wb") as nowhere:  # a filter that nobody reads would fail
                shutil.copyfileobj(sys.stdin.buffer, nowhere)
        return OK
    return guarded(read(argv, environment))


if __name__ == "__main__":
    sys.exit(main(sys.argv, os.environ))
