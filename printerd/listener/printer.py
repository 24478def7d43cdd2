"""What we claim to be: the Printer object of RFC 8011 section 5.4, as tables.

One rule: only what is true is claimed. The formats are those that can be
turned into a PDF whose text survives, the operations are those that have a
handler, the job options are those that are kept with the job. An archive
prints nothing, so paper, colour and resolution are what applications need in
order to lay out a page, no more.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

from printerd import __version__, formats
from printerd.ipp.attributes import attribute
from printerd.ipp.message import Attribute, Group, GroupTag, Range, Resolution, Tag, Value
from printerd.ipp.registry import VERSIONS, Finishing, Orientation, PrinterState, Quality

PATH: Final = "/ipp/print"
"""Where printers live in IPP (RFC 8010 section 4.1, PWG 5100.14 section 4.2)."""
COMPRESSIONS: Final = ("none", "gzip", "deflate")
WHICH_JOBS: Final = ("completed", "not-completed", "all")
MODEL: Final = "Invoice Printer"

_SIZES: Final[Mapping[str, tuple[int, int]]] = {
    "iso_a4_210x297mm": (21000, 29700),
    "na_letter_8.5x11in": (21590, 27940),
    "iso_a5_148x210mm": (14800, 21000),
    "iso_a3_297x420mm": (29700, 42000),
    "na_legal_8.5x14in": (21590, 35560),
}
"""PWG 5101.1 names, in hundredths of a millimetre; the default first."""
_MARGINS: Final = ("media-bottom-margin", "media-left-margin", "media-right-margin", "media-top-margin")
_MARGIN: Final = 1
"""Hundredths of a millimetre. Pages may be filled to their edges; with a margin of 0 CUPS offers nothing but
"A4.Borderless", which no application asks for.
"""
_SOURCE: Final = "auto"
_TYPE: Final = "stationery"


def _media_size(name: str) -> dict[str, int]:
    width, height = _SIZES[name]
    return {"x-dimension": width, "y-dimension": height}


def _media_col(name: str) -> dict[str, Any]:
    """A page of that size that may be filled to its edges: nothing here has rollers."""
    margins = dict.fromkeys(_MARGINS, _MARGIN)
    return {"media-size": _media_size(name), **margins, "media-source": _SOURCE, "media-type": _TYPE}


@dataclass(frozen=True, slots=True)
class Option:
    """One Job Template attribute: what a job gets without it, and what may be asked for."""

    default: Any
    supported: tuple[Any, ...]

    def takes(self, value: Value) -> bool:
        """Whether the value is one of those supported; a collection is taken as it is."""
        if value.tag == Tag.COLLECTION:
            return True
        for known in self.supported:
            if isinstance(known, Range) and isinstance(value.data, int):
                return known.lower <= value.data <= known.upper
        return value.data in self.supported


OPTIONS: Final[Mapping[str, Option]] = {
    "copies": Option(1, (Range(1, 999),)),
    "finishings": Option(Finishing.NONE, (Finishing.NONE,)),
    "job-hold-until": Option("no-hold", ("no-hold",)),
    "job-priority": Option(50, (100,)),
    "job-sheets": Option("none", ("none",)),
    "media": Option(next(iter(_SIZES)), tuple(_SIZES)),
    "media-col": Option(
        _media_col(next(iter(_SIZES))), ("media-size", "media-source", "media-type", *_MARGINS, "media-size-name")
    ),
    "multiple-document-handling": Option(
        "separate-documents-collated-copies",
        ("separate-documents-collated-copies", "separate-documents-uncollated-copies"),
    ),
    "number-up": Option(1, (1,)),
    "orientation-requested": Option(Orientation.PORTRAIT, tuple(Orientation)),
    "output-bin": Option("face-down", ("face-down",)),  # with face-up CUPS sends the last page first
    "print-color-mode": Option("auto", ("auto", "color", "monochrome")),
    "print-content-optimize": Option("auto", ("auto",)),
    "print-quality": Option(Quality.NORMAL, tuple(Quality)),
    "print-rendering-intent": Option("auto", ("auto",)),
    "print-scaling": Option("auto", ("auto", "auto-fit", "fill", "fit", "none")),
    "printer-resolution": Option(Resolution(600, 600), (Resolution(300, 300), Resolution(600, 600))),
    "sides": Option("one-sided", ("one-sided", "two-sided-long-edge", "two-sided-short-edge")),
}
"""The job options that are accepted and kept. job-priority says 100 levels (RFC 8011 section 5.2.1)."""


def takes(given: Attribute) -> bool:
    """Whether a job may ask for this: an option of ours with supported values."""
    option = OPTIONS.get(given.name)
    if option is None:
        return False
    if given.name == "job-priority":
        return isinstance(given.value, int) and 1 <= given.value <= 100
    return all(option.takes(value) for value in given.values)


@dataclass(frozen=True, slots=True)
class Printer:
    """What is particular to this printer. ``uuid`` is the instance's and never changes; ``started_at`` is this run's.

    ``console`` is the address of the page for people, empty when there is none;
    ``document_limit`` is in bytes, ``document_timeout`` in seconds.
    """

    name: str
    uuid: str
    language: str
    operations: tuple[int, ...]
    document_limit: int
    document_timeout: int
    started_at: datetime
    info: str = MODEL
    location: str = ""
    organization: str = ""
    console: str = ""

    def up_time(self, now: datetime) -> int:
        """Seconds since the start, counted from 1 (RFC 8011 section 5.4.29)."""
        return max(1, int((now - self.started_at).total_seconds()) + 1)


@dataclass(frozen=True, slots=True)
class Condition:
    """How the printer is at a moment: jobs not yet done, and whether the disk has room for another."""

    queued: int
    has_room: bool
    since: datetime

    @property
    def state(self) -> PrinterState:
        return PrinterState.PROCESSING if self.queued else PrinterState.IDLE

    @property
    def reason(self) -> str:
        """Print clients wait while the spool area is full instead of failing the job (RFC 8011 section 5.4.12)."""
        return "none" if self.has_room else "spool-area-full"


def group(printer: Printer, base: str, condition: Condition, now: datetime) -> Group:
    """Every attribute of the Printer, for clients that reach it under ``base`` (``ipp://host:port``)."""
    return Group(GroupTag.PRINTER, _standing(printer, base) + _changing(printer, condition, now))


def _changing(printer: Printer, condition: Condition, now: datetime) -> tuple[Attribute, ...]:
    """What differs from one minute to the next."""
    return (
        attribute("printer-state", condition.state),
        attribute("printer-state-reasons", condition.reason),
        attribute("printer-state-change-time", printer.up_time(condition.since)),
        attribute("printer-state-change-date-time", condition.since),
        attribute("printer-is-accepting-jobs", True),
        attribute("printer-up-time", printer.up_time(now)),
        attribute("printer-current-time", now),
        attribute("queued-job-count", condition.queued),
    )


@lru_cache(maxsize=64)
def _standing(printer: Printer, base: str) -> tuple[Attribute, ...]:
    """What stays as it is while the service runs."""
    return _identity(printer, base) + _protocol(printer) + _documents(printer) + _templates() + _media()


def _identity(printer: Printer, base: str) -> tuple[Attribute, ...]:
    scheme = base.partition(":")[0]
    return (
        attribute("printer-uri-supported", base + PATH),
        attribute("uri-authentication-supported", "requesting-user-name"),
        attribute("uri-security-supported", "tls" if scheme == "ipps" else "none"),
        attribute("printer-uuid", f"urn:uuid:{printer.uuid}"),
        attribute("printer-name", printer.name),
        attribute("printer-dns-sd-name", printer.name),
        attribute("printer-info", printer.info),
        attribute("printer-location", printer.location),
        attribute("printer-geo-location", Value(Tag.UNKNOWN, None)),
        attribute("printer-organization", printer.organization),
        attribute("printer-organizational-unit", ""),
        attribute("printer-make-and-model", MODEL),
        attribute("printer-device-id", f"MFG:{MODEL};MDL:{printer.name};CMD:PDF,PS,TXT;CLS:PRINTER;"),
        attribute("printer-kind", "document"),
        attribute("printer-more-info", printer.console or "http" + base[len("ipp") :] + PATH),
        attribute("printer-firmware-name", MODEL),
        attribute("printer-firmware-string-version", __version__),
        attribute("printer-firmware-version", __version__.encode()),
        attribute("printer-firmware-patches", ""),
        attribute("printer-config-change-time", 1),
        attribute("printer-config-change-date-time", printer.started_at),
    )


def _protocol(printer: Printer) -> tuple[Attribute, ...]:
    return (
        attribute("charset-configured", "utf-8"),
        attribute("charset-supported", "utf-8", "us-ascii"),
        attribute("natural-language-configured", printer.language),
        attribute("generated-natural-language-supported", printer.language),
        attribute("ipp-versions-supported", *(f"{major}.{minor}" for major, minor in VERSIONS)),
        attribute("operations-supported", *printer.operations),
        attribute("which-jobs-supported", *WHICH_JOBS),
        attribute("job-ids-supported", True),
        attribute("multiple-document-jobs-supported", False),
        attribute("multiple-operation-time-out", printer.document_timeout),
        attribute("multiple-operation-time-out-action", "abort-job"),
        attribute("identify-actions-default", "display"),
        attribute("identify-actions-supported", "display"),
        attribute("printer-get-attributes-supported", "document-format"),
        attribute("job-privacy-scope", "default"),
        attribute("job-privacy-attributes", "default"),
        attribute("preferred-attributes-supported", False),
        attribute("job-spooling-supported", "spool"),
    )


def _documents(printer: Printer) -> tuple[Attribute, ...]:
    kilobytes = Range(0, min(printer.document_limit // 1024, 2**31 - 1))
    return (
        attribute("compression-supported", *COMPRESSIONS),
        attribute("document-format-default", formats.PDF),
        attribute("document-format-preferred", formats.PDF),
        attribute("document-format-supported", *formats.FORMATS, formats.UNDECLARED),
        attribute("document-password-supported", 0),
        attribute("job-k-octets-supported", kilobytes),
        attribute("pdf-k-octets-supported", kilobytes),
        attribute("pdf-versions-supported", "adobe-1.7", "iso-32000-1_2008", "iso-19005-3_2012"),
        attribute("pdl-override-supported", "attempted"),
        attribute("color-supported", True),
        attribute("page-ranges-supported", False),
        attribute("pages-per-minute", 600),
        attribute("pages-per-minute-color", 600),
    )


def _templates() -> tuple[Attribute, ...]:
    names = ["ipp-attribute-fidelity", "job-name", *OPTIONS]
    built = [attribute("job-creation-attributes-supported", *names)]
    for name, option in OPTIONS.items():
        built.append(attribute(f"{name}-default", option.default))
        built.append(attribute(f"{name}-supported", *option.supported))
    return tuple(built)


def _media() -> tuple[Attribute, ...]:
    cols = [_media_col(name) for name in _SIZES]
    return (
        attribute("media-ready", *_SIZES),
        attribute("media-col-ready", *cols),
        attribute("media-col-database", *cols),
        attribute("media-size-supported", *(_media_size(name) for name in _SIZES)),
        *(attribute(f"{name}-supported", _MARGIN) for name in _MARGINS),
        attribute("media-source-supported", _SOURCE),
        attribute("media-type-supported", _TYPE),
    )


def option_text(given: Attribute) -> str:
    """A job option as it is kept with the job: its values, separated by commas; collections are left out."""
    return ",".join(_plain(value) for value in given.values if not isinstance(value.data, tuple))


def _plain(value: Value) -> str:
    match value.data:
        case Resolution(cross_feed, feed, _):
            return f"{cross_feed}x{feed}"
        case Range(lower, upper):
            return f"{lower}-{upper}"
        case bytes(octets):
            return octets.hex()
        case None:
            return ""
        case int(number):
            return str(int(number))
    return value.text or ""


def options(given: Group, also: Collection[str], operation: Group) -> dict[str, str]:
    """What the sender asked for, by name: Job Template attributes, and those operation attributes named in ``also``."""
    chosen = [*given, *(attribute for attribute in operation if attribute.name in also)]
    return {attribute.name: text for attribute in chosen if (text := option_text(attribute))}
