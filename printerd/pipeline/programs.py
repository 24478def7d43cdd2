"""Programs that are not ours: one place each, with a probe, limits and a typed result.

One rule: a program is believed when it ended by itself with status 0 and its output was counted. Ghostscript is run,
never linked (AGPL); it gets the document on its standard input and one folder, which is also its TMPDIR.
"""

from __future__ import annotations

import re
import resource
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from printerd.errors import ConfigurationError, DocumentError
from printerd.pipeline.confine import die_with_parent, lower

GHOSTSCRIPT = "gs"
TIMEOUT = 45.0
"""Seconds for one document: less than a reader has, so that the program is blamed and not its reader."""
SAID = 4000
"""Bytes that are kept of what a program said."""
_MEMORY, _OUTPUT, _FILES = 1 << 30, 512 << 20, 64
_LIMITS = ((resource.RLIMIT_AS, _MEMORY), (resource.RLIMIT_FSIZE, _OUTPUT), (resource.RLIMIT_NOFILE, _FILES),
           (resource.RLIMIT_CORE, 0))  # fmt: skip

_OPTIONS = (
    "-dSAFER", "-dBATCH", "-dNOPAUSE", "-dQUIET", "-sDEVICE=pdfwrite", "-dCompatibilityLevel=1.7",
    "-sPAPERSIZE=a4",  # where the document names none: else /etc/papersize, which a confined process cannot read
    "-dAutoRotatePages=/None", "-dEmbedAllFonts=true", "-dSubsetFonts=true",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Distilled:
    """A PDF that Ghostscript made, and its pages."""

    file: Path
    pages: int


@dataclass(frozen=True, slots=True)
class Ended:
    """How Ghostscript ended: its exit status, and the end of what it said."""

    status: int
    words: str


OUT_OF_TIME, ABSENT = 124, 127
"""The statuses of timeout(1) for a program that it ended, and of sh(1) for one that is not there."""


def probe_ghostscript() -> str:
    """The version of Ghostscript; raises :class:`ConfigurationError` when it is not installed."""
    path = shutil.which(GHOSTSCRIPT)
    if path is None:
        raise ConfigurationError("Ghostscript is not installed.", remedy="apt install ghostscript")
    told = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=10, check=False)  # noqa: S603 - found on PATH
    if told.returncode != 0:
        raise ConfigurationError(
            "Ghostscript does not start.", where=path, remedy="apt install --reinstall ghostscript"
        )
    return told.stdout.strip()


def distill(postscript: BinaryIO, folder: Path, *, timeout: float = TIMEOUT) -> Distilled:
    """PostScript to PDF in ``folder``. Raises :class:`DocumentError` when the program fails, hangs or draws nothing."""
    output = folder / "distilled.pdf"
    return judged(draw(postscript, output, timeout=timeout), output)


def draw(postscript: BinaryIO, output: Path, *, timeout: float = TIMEOUT) -> Ended:
    """Runs Ghostscript. What lies at ``output`` then is worth nothing before it was :func:`judged`.

    ``-dSAFER`` is void when TMPDIR is set and empty, and lets a job write under /tmp when it is unset, hence a folder
    of its own beside the output.
    """
    private = output.with_name(".gs")
    private.mkdir(mode=0o700)
    try:
        return _run([GHOSTSCRIPT, *_OPTIONS, f"-sOutputFile={output}", "-_"], postscript, private, timeout)
    finally:
        shutil.rmtree(private, ignore_errors=True)


def judged(ended: Ended, output: Path) -> Distilled:
    """The PDF, if it is one: a failing Ghostscript leaves a file that looks complete, hence status and pages."""
    if ended.status == OUT_OF_TIME:
        raise DocumentError(ended.words, code="unreadable", remedy=_REMEDY)
    if ended.status == ABSENT:
        raise ConfigurationError("Ghostscript is not installed.", remedy="apt install ghostscript")
    if ended.status != 0:
        raise DocumentError(f"The PostScript has an error: {_summary(ended.words)}", code="unreadable", remedy=_REMEDY)
    pages = _count(output)
    if pages == 0:
        raise DocumentError("The PostScript draws no page.", code="empty", remedy=_REMEDY)
    return Distilled(output, pages)


_REMEDY = "Print it again, or choose PDF as the output format of the ERP."


def _run(command: list[str], source: BinaryIO, private: Path, timeout: float) -> Ended:
    """Runs a program under limits; returns its status and the end of what it said, which is limited as a file is."""
    said = private / "said"
    environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "TMPDIR": str(private), "HOME": str(private), "LANG": "C"}
    with said.open("wb") as words:
        try:
            ended = subprocess.run(  # noqa: S603 - the command is a list of ours
                command,
                stdin=source,
                stdout=words,
                stderr=subprocess.STDOUT,
                cwd=private,
                env=environment,
                timeout=timeout,
                check=False,
                preexec_fn=_limited,  # safe: a reader has one thread
            )
        except subprocess.TimeoutExpired:
            return Ended(OUT_OF_TIME, f"The document was still being drawn after {timeout:.0f} seconds.")
        except FileNotFoundError:
            return Ended(ABSENT, "")
    return Ended(ended.returncode, _end_of(said))


def _limited() -> None:
    for which, value in _LIMITS:
        lower(which, value)
    die_with_parent()


def _end_of(file: Path, size: int = SAID) -> str:
    with file.open("rb") as opened:
        opened.seek(max(file.stat().st_size - size, 0))
        return opened.read().decode("utf-8", "replace")


def _summary(words: str) -> str:
    """Ghostscript's own error line, in a few words."""
    error = re.search(r"Error: /(\w+) in (\S+)", words)
    return f"{error[1]} in {error[2]}" if error else "Ghostscript gave up"


def _count(file: Path) -> int:
    import pypdfium2 as pdfium  # type: ignore[import-untyped]  # not for those who only draw; ships no types

    try:
        with pdfium.PdfDocument(file) as document:
            return len(document)
    except (pdfium.PdfiumError, FileNotFoundError):
        return 0
