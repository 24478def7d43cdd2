"""What we claim to be: the Printer object of RFC 8011 section 5.4, as tables.

One rule: only what is true is claimed. The formats are those that can be
turned into a PDF whose text survives, the operations are those that have a
handler, the job options are those that are kept with the job. An archive
prints nothing, so paper, colour and resolution are what applications need in
order to lay out a page, no more.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, tzinfo
from functools import lru_cache
from itertools import pairwise
from typing import Any, Final

from printerd import __version__, choices, formats
from printerd.choices import ANYTHING, Policy
from printerd.ipp.attributes import ATTRIBUTES, TEMPLATES, Kind, attribute
from printerd.ipp.message import Attribute, Group, GroupTag, Range, Resolution, Tag, Value
from printerd.ipp.registry import VERSIONS, Finishing, Orientation, PrinterState, Quality
from printerd.listener.events import EVENT_LIFE, EVENTS, LEASE, LONGEST_LEASE
from printerd.listener.periods import PERIODS, begin
from printerd.listener.resources import ICONS
from printerd.storage.jobs import Wait

PATH: Final = "/ipp/print"
"""Where printers live in IPP (RFC 8010 section 4.1, PWG 5100.14 section 4.2)."""
COMPRESSIONS: Final = ("none", "gzip", "deflate")
FEATURES: Final = (
    "document-object",
    "ipp-everywhere",
    "ipp-everywhere-server",
    "page-overrides",
    "subscription-object",
)
"""PWG 5100.13 section 6.5.11."""
WHICH_JOBS: Final = ("completed", "not-completed", "all", "aborted", "canceled", "pending-held", "proof-print")
"""PWG 5100.7 section 6.1. No job is a proof print, so that list is always empty."""
IDENTIFY: Final = "display"
_DEVICE: Final = "MFG:Invoice Printer;MDL:{name};CMD:PDF,PS,PWGRaster,URF,JPEG,TXT;CLS:PRINTER;"
"""IEEE 1284 device ID."""
MODEL: Final = "Invoice Printer"
LANGUAGES: Final = ("en", "fr")
"""In which the names of our own attributes are told (printer-strings-uri)."""

_SIZES: Final[Mapping[str, tuple[int, int]]] = {
    "iso_a4_210x297mm": (21000, 29700),
    "na_letter_8.5x11in": (21590, 27940),
    "iso_a5_148x210mm": (14800, 21000),
    "iso_a3_297x420mm": (29700, 42000),
    "na_legal_8.5x14in": (21590, 35560),
    "na_index-4x6_4x6in": (10160, 15240),
}
"""PWG 5101.1 names, in hundredths of a millimetre; the default first."""
_MARGINS: Final = ("media-bottom-margin", "media-left-margin", "media-right-margin", "media-top-margin")
_MARGIN: Final = 1
"""Hundredths of a millimetre. Pages may be filled to their edges; with a margin of 0 CUPS offers nothing but
"A4.Borderless", which no application asks for.
"""
_SOURCE: Final = "auto"
_TYPE: Final = "stationery"
_RASTERS: Final = ("black_1", "sgray_8", "srgb_8")
_URF: Final = ("V1.4", "CP255", "W8", "SRGB24", "RS300-600", "DM1", "IS1", "MT1", "OB9", "PQ3-4-5")
"""What AirPrint clients may send as image/urf: grey and colour of 8 bits, 300 and 600 dots per inch, both sides."""
_YEAR: Final = 365 * 24 * 3600


def _media_size(name: str) -> dict[str, int]:
    width, height = _SIZES[name]
    return {"x-dimension": width, "y-dimension": height}


def _media_col(name: str) -> dict[str, Any]:
    """A page of that size that may be filled to its edges: nothing here has rollers."""
    margins = dict.fromkeys(_MARGINS, _MARGIN)
    return {"media-size": _media_size(name), **margins, "media-source": _SOURCE, "media-type": _TYPE}


@dataclass(frozen=True, slots=True)
class Option:
    """One Job Template attribute: what a job gets without it (nothing: ``None``), and what may be asked for."""

    default: Any
    supported: tuple[Any, ...]

    def takes(self, value: Value) -> bool:
        """Whether the value is one of those supported; of a collection, whether each member is."""
        if isinstance(value.data, tuple):
            return all(member.name in self.supported for member in value.data)
        for known in self.supported:
            if isinstance(known, Range) and isinstance(value.data, int):
                return known.lower <= value.data <= known.upper
        return value.data in self.supported


_RESOLUTIONS: Final = tuple(Resolution(dots, dots) for dots in (150, 300, 600))

OPTIONS: Final[Mapping[str, Option]] = {
    "copies": Option(1, (Range(1, 999),)),
    "finishings": Option(Finishing.NONE, (Finishing.NONE,)),
    "job-hold-until": Option("no-hold", ("no-hold", "indefinite", *PERIODS)),
    "job-hold-until-time": Option(None, (Range(0, _YEAR),)),
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
    "overrides": Option(
        None,
        (
            "pages",
            "document-numbers",
            "document-number",  # as the suite of CUPS 2.4 spells it
            "media",
            "media-col",
            "orientation-requested",
            "print-color-mode",
            "print-quality",
            "sides",
        ),
    ),
    "page-ranges": Option(None, (True,)),
    "print-color-mode": Option("auto", ("auto", "color", "monochrome")),
    "print-content-optimize": Option("auto", ("auto",)),
    "print-quality": Option(Quality.NORMAL, tuple(Quality)),
    "print-rendering-intent": Option("auto", ("auto",)),
    "print-scaling": Option("auto", ("auto", "auto-fit", "fill", "fit", "none")),
    "printer-resolution": Option(Resolution(600, 600), _RESOLUTIONS),
    "sides": Option("one-sided", ("one-sided", "two-sided-long-edge", "two-sided-short-edge")),
}
"""The job options that are accepted and kept.

page-ranges chooses what is read, job-hold-until when. The others say how paper would look: they rest with the job,
and so do overrides, which say it of single pages (PWG 5100.6).
"""


CHOICES: Final = tuple(choices.DEFAULTS)
"""The job options that say what becomes of the invoices: each printer has its own policy."""
SETTABLE: Final = ("job-name", *OPTIONS, *CHOICES)
"""What Set-Job-Attributes changes (RFC 3380 section 4.2)."""
SAID: Final = ("printer-info", "printer-location", "printer-message-from-operator")
"""What an operator may set in words of his own (RFC 3380 section 4.1)."""
HELD: Final = "job-hold-until-specified"
MOST_VALUES: Final = 500
"""Values of one option: each is kept with the job, and shown with it."""
_OF_DOCUMENTS: Final = ("document-name", *(name for name in OPTIONS if not name.startswith("job-")))


def _is_priority(given: Attribute) -> bool:
    """RFC 8011 section 5.2.1: job-priority-supported says how many levels there are."""
    return isinstance(given.value, int) and 1 <= given.value <= 100


def _are_pages(given: Attribute) -> bool:
    """RFC 8011 section 5.2.7: in ascending order, and no page twice."""
    ranges = [one for one in given.data if isinstance(one, Range)]
    apart = all(before.upper < after.lower for before, after in pairwise(ranges))
    rising = all(1 <= one.lower <= one.upper for one in ranges)
    return len(ranges) == len(given.values) and rising and apart


def _is_moment(given: Attribute) -> bool:
    return isinstance(given.value, datetime)


_JUDGES: Final[Mapping[str, Callable[[Attribute], bool]]] = {
    "job-priority": _is_priority,
    "page-ranges": _are_pages,
    "job-hold-until-time": _is_moment,
}
"""Options whose values are more than a list."""


def takes(given: Attribute, policy: Policy) -> bool:
    """Whether a job may ask for this: an option of ours, with as many values as it takes and supported ones, or what
    the ``policy`` lets choose.
    """
    if given.name in CHOICES:
        return policy.takes(given.name, option_text(given))
    option = OPTIONS.get(given.name)
    if option is None or len(given.values) > (MOST_VALUES if TEMPLATES[given.name].many else 1):
        return False
    judge = _JUDGES.get(given.name)
    return judge(given) if judge else all(option.takes(value) for value in given.values)


def is_name(given: Attribute) -> bool:
    """Whether this is what a job or a document is called, as the standard bounds it."""
    return given.name in ("job-name", "document-name") and ATTRIBUTES[Kind.OPERATION][given.name].accepts(given)


def wanted(options: Mapping[str, str], now: datetime, zone: tzinfo) -> Wait | None:
    """What a job waits for by its own options (RFC 8011 section 5.2.2, PWG 5100.11 section 6.1.2)."""
    if moment := options.get("job-hold-until-time"):
        until = datetime.fromisoformat(moment)
        return Wait(HELD, until) if until > now else None
    word = options.get("job-hold-until", "no-hold")
    if word == "indefinite":
        return Wait(HELD)
    begins = begin(word, now.astimezone(zone)) if word in PERIODS else None
    return Wait(HELD, begins) if begins else None


@dataclass(frozen=True, slots=True)
class Printer:
    """What is particular to this printer. ``uuid`` is the instance's and never changes; ``started_at`` is this run's.

    ``console`` is the path of the pages for people on the same address, empty when there are none;
    ``document_limit`` is in bytes, ``document_timeout`` in seconds; ``notice`` is the operator's to all, ``policy`` is
    what senders may choose for their invoices; ``dns_sd_name`` is the name that others on the network see, where it is
    not the printer's.
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
    notice: str = ""
    changed_at: datetime | None = None
    policy: Policy = ANYTHING
    dns_sd_name: str = ""

    @property
    def seen_as(self) -> str:
        """The name that others on the network see."""
        return self.dns_sd_name or self.name

    def page(self, base: str) -> str:
        """Where people read more, for a client that reaches us under ``base``; else the printer's own address."""
        return web(base) + (self.console or PATH)

    def up_time(self, now: datetime) -> int:
        """Seconds since the start, counted from 1 (RFC 8011 section 5.4.29)."""
        return max(1, int((now - self.started_at).total_seconds()) + 1)


@dataclass(frozen=True, slots=True)
class Condition:
    """How the printer is at a moment: jobs not yet done and those of them that wait for their release, whether the
    disk has room for another, how many percent of it are free, and what the operator has set.
    """

    queued: int
    has_room: bool
    since: datetime
    waiting: int = 0
    level: int = 100
    accepting: bool = True
    paused: bool = False

    @property
    def state(self) -> PrinterState:
        if self.paused:
            return PrinterState.STOPPED
        return PrinterState.PROCESSING if self.queued > self.waiting else PrinterState.IDLE

    @property
    def reasons(self) -> tuple[str, ...]:
        """Print clients wait while the spool area is full instead of failing the job (RFC 8011 section 5.4.12)."""
        found = (*(("paused",) if self.paused else ()), *(() if self.has_room else ("spool-area-full",)))
        return found or ("none",)

    @property
    def standing(self) -> tuple[object, ...]:
        """What a change of state is a change of."""
        return (self.state, self.reasons, self.accepting)


def web(base: str) -> str:
    """The address by which browsers reach what print clients reach under ``base``: ipp is http on this port."""
    return "http" + base[len("ipp") :]


def group(printer: Printer, base: str, language: str, condition: Condition, now: datetime) -> Group:
    """Every attribute of the Printer, for clients that reach it under ``base`` (``ipp://host:port``) and read
    ``language``.
    """
    lasting = standing(printer, base, language) + _choices(printer.policy)
    return Group(GroupTag.PRINTER, lasting + _changing(printer, condition, now))


def _changing(printer: Printer, condition: Condition, now: datetime) -> tuple[Attribute, ...]:
    """What differs from one minute to the next."""
    return (
        attribute("printer-state", condition.state),
        attribute("printer-state-reasons", *condition.reasons),
        attribute("printer-state-message", _said(STATES, printer.language, condition.reasons[0])),
        *_alert(printer, condition),
        attribute("printer-supply", _SUPPLY.format(level=condition.level).encode()),
        attribute("printer-state-change-time", printer.up_time(condition.since)),
        attribute("printer-state-change-date-time", condition.since),
        attribute("printer-is-accepting-jobs", condition.accepting),
        attribute("printer-up-time", printer.up_time(now)),
        attribute("printer-current-time", now),
        attribute("queued-job-count", condition.queued),
    )


STATES: Final[Mapping[str, Mapping[str, str]]] = {
    "none": {"en": "Ready.", "fr": "Prête."},
    "paused": {
        "en": "Paused by its operator: jobs are taken and wait.",
        "fr": "Mise en pause par son opérateur\u00a0: les travaux sont pris et attendent.",
    },
    "spool-area-full": {
        "en": "The disk is nearly full: new jobs wait.",
        "fr": "Le disque est presque plein\u00a0: les nouveaux travaux attendent.",
    },
}
_DISK: Final = {"en": "Free space on the disk", "fr": "Espace libre sur le disque"}
_SUPPLY: Final = "index=1;class=supplyThatIsConsumed;type=other;unit=percent;maxcapacity=100;level={level};"
"""PWG 5100.13 section 6.6.31: what an archive consumes is the disk."""
_ALERT: Final = "code=other;severity=critical;training=other;group=generalPrinter;groupindex=1;location=1"
"""PWG 5100.9 section 5.1."""


def _said(sentences: Mapping[str, Mapping[str, str]], language: str, key: str) -> str:
    words = sentences[key]
    return words.get(language, words["en"])


def _alert(printer: Printer, condition: Condition) -> tuple[Attribute, ...]:
    """One alert for what keeps jobs waiting; without, one that is empty (PWG 5100.12 section 6.4 wants it there)."""
    reason = condition.reasons[0]
    words = "" if reason == "none" else _said(STATES, printer.language, reason)
    return (
        attribute("printer-alert", _ALERT.encode() if words else b""),
        attribute("printer-alert-description", words),
    )


@lru_cache(maxsize=64)
def standing(printer: Printer, base: str, language: str) -> tuple[Attribute, ...]:
    """What stays as it is while the service runs."""
    return (
        _identity(printer, base)
        + _help(printer, base, language)
        + _protocol(printer)
        + _documents(printer)
        + _pictures(printer)
        + _templates()
        + _media()
    )


def _help(printer: Printer, base: str, language: str) -> tuple[Attribute, ...]:
    """Where clients fetch icons, words and pages. Names of our own attributes come in the client's language."""
    spoken = next((known for known in (language[:2], printer.language) if known in LANGUAGES), LANGUAGES[0])
    return (
        attribute("printer-icons", *(f"{web(base)}{PATH}/icon-{size}.png" for size in ICONS)),
        attribute("printer-strings-languages-supported", *LANGUAGES),
        attribute("printer-strings-uri", f"{web(base)}{PATH}/{spoken}.strings"),
        attribute("printer-more-info", printer.page(base)),
        attribute("printer-supply-info-uri", printer.page(base)),
        attribute("printer-supply-description", _DISK.get(printer.language, _DISK["en"])),
        attribute("printer-message-from-operator", printer.notice),
    )


def _identity(printer: Printer, base: str) -> tuple[Attribute, ...]:
    scheme = base.partition(":")[0]
    return (
        attribute("printer-uri-supported", base + PATH),
        attribute("uri-authentication-supported", "requesting-user-name"),
        attribute("uri-security-supported", "tls" if scheme == "ipps" else "none"),
        attribute("printer-uuid", f"urn:uuid:{printer.uuid}"),
        attribute("printer-name", printer.name),
        attribute("printer-dns-sd-name", printer.seen_as),
        attribute("printer-info", printer.info),
        attribute("printer-location", printer.location),
        attribute("printer-geo-location", Value(Tag.UNKNOWN, None)),
        attribute("printer-organization", printer.organization),
        attribute("printer-organizational-unit", ""),
        attribute("printer-make-and-model", MODEL),
        attribute("printer-device-id", _DEVICE.format(name=printer.name)),
        attribute("printer-kind", "document"),
        attribute("printer-firmware-name", MODEL),
        attribute("printer-firmware-string-version", __version__),
        attribute("printer-firmware-version", __version__.encode()),
        attribute("printer-firmware-patches", ""),
        attribute("printer-config-change-time", printer.up_time(printer.changed_at or printer.started_at)),
        attribute("printer-config-change-date-time", printer.changed_at or printer.started_at),
        attribute("mopria-certified", None),
        attribute("mopria_certified", None),
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
        attribute("ipp-features-supported", *FEATURES),
        attribute("multiple-document-jobs-supported", True),
        attribute("multiple-operation-time-out", printer.document_timeout),
        attribute("multiple-operation-time-out-action", "process-job"),
        attribute("identify-actions-default", IDENTIFY),
        attribute("identify-actions-supported", IDENTIFY),
        attribute("printer-get-attributes-supported", "document-format"),
        attribute("job-privacy-scope", "default"),
        attribute("job-privacy-attributes", "default"),
        attribute("preferred-attributes-supported", True),
        attribute("job-spooling-supported", "spool"),
        attribute("job-settable-attributes-supported", *SETTABLE),
        attribute("printer-settable-attributes-supported", *SAID),
        attribute("ippget-event-life", EVENT_LIFE),
        attribute("notify-events-default", EVENTS[0]),
        attribute("notify-events-supported", *EVENTS),
        attribute("notify-lease-duration-default", LEASE),
        attribute("notify-lease-duration-supported", Range(1, LONGEST_LEASE)),
        attribute("notify-max-events-supported", len(EVENTS)),
        attribute("notify-pull-method-supported", "ippget"),
    )


def _documents(printer: Printer) -> tuple[Attribute, ...]:
    kilobytes = _kilobytes(printer)
    return (
        attribute("compression-supported", *COMPRESSIONS),
        attribute("document-format-default", formats.PDF),
        attribute("document-format-preferred", formats.PDF),
        attribute("document-format-supported", *formats.FORMATS, formats.UNDECLARED),
        attribute("document-creation-attributes-supported", *_OF_DOCUMENTS),
        attribute("document-password-supported", 0),
        attribute("job-k-octets-supported", kilobytes),
        attribute("pdf-k-octets-supported", kilobytes),
        attribute("pdf-versions-supported", "adobe-1.7", "iso-32000-1_2008", "iso-19005-3_2012"),
        attribute("pdl-override-supported", "attempted"),
        attribute("color-supported", True),
        attribute("pages-per-minute", 600),
        attribute("pages-per-minute-color", 600),
    )


def _pictures(printer: Printer) -> tuple[Attribute, ...]:
    """What raster clients may send: it is taken, and waits for a person (PWG 5102.4, AirPrint)."""
    return (
        attribute("pwg-raster-document-resolution-supported", *_RESOLUTIONS),
        attribute("pwg-raster-document-sheet-back", "normal"),
        attribute("pwg-raster-document-type-supported", *_RASTERS),
        attribute("urf-supported", *_URF),
        attribute("jpeg-features-supported", "none"),
        attribute("jpeg-k-octets-supported", _kilobytes(printer)),
        attribute("jpeg-x-dimension-supported", Range(0, 65535)),
        attribute("jpeg-y-dimension-supported", Range(1, 65535)),
    )


def _kilobytes(printer: Printer) -> Range:
    return Range(0, min(printer.document_limit // 1024, 2**31 - 1))


def _templates() -> tuple[Attribute, ...]:
    names = ["ipp-attribute-fidelity", "job-name", *OPTIONS, *CHOICES]
    built = [attribute("job-creation-attributes-supported", *names)]
    for name, option in OPTIONS.items():
        if option.default is not None:
            built.append(attribute(f"{name}-default", option.default))
        built.append(attribute(f"{name}-supported", *option.supported))
    return tuple(built)


def _choices(policy: Policy) -> tuple[Attribute, ...]:
    """Templates come and go while the service runs."""
    built = []
    for name, offered in policy.offered().items():
        built += [attribute(f"{name}-default", offered[0]), attribute(f"{name}-supported", *offered)]
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
        case datetime() as moment:
            return moment.isoformat()
        case None:
            return ""
        case int(number):
            return str(int(number))
    return value.text or ""


@lru_cache(maxsize=64)
def option(name: str, text: str) -> Attribute | None:
    """A job option as it was asked for, from its text: the other way of :func:`option_text`. ``None`` for what comes
    from another door in words of its own.
    """
    syntax = TEMPLATES[name]
    read = next((_READERS[choice.tag] for choice in syntax.choices if choice.tag in _READERS), str)
    try:
        return attribute(name, *(read(word) for word in (text.split(",") if syntax.many else [text])))
    except (ValueError, TypeError):
        return None


_READERS: Final[Mapping[int, Callable[[str], Any]]] = {
    Tag.INTEGER: int,
    Tag.ENUM: int,
    Tag.RANGE_OF_INTEGER: lambda text: Range(*map(int, text.split("-"))),
    Tag.RESOLUTION: lambda text: Resolution(*map(int, text.split("x"))),
    Tag.DATE_TIME: datetime.fromisoformat,
}


def options(given: Group, policy: Policy, also: Collection[str], operation: Group) -> dict[str, str]:
    """What the sender asked for and gets, by name: Job Template attributes, and those operation attributes named in
    ``also``.
    """
    taken = (attribute for attribute in given if takes(attribute, policy))
    chosen = [*taken, *(attribute for attribute in operation if attribute.name in also)]
    return {attribute.name: text for attribute in chosen if (text := option_text(attribute))}
