"""Makes ppd/invoice-printer.ppd, the driver of the CUPS queue, from what the printer claims to be.

One rule: what the PPD offers is what the daemon honours. Sizes and choices are those of the IPP printer, and documents
are handed on as they are: its filters do nothing, and their costs are such that CUPS prefers them to any conversion of
its own. A choice has the name and the words of its IPP attribute, and the backend hands it on; templates and addresses,
which a file cannot know, are written by hand.

Written as Adobe's PPD specification 4.3 wants it, with CUPS's extensions (https://www.cups.org/doc/spec-ppd.html).
Run ``python tools/ppd.py`` after a change; a test compares.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path

from printerd.choices import COPY_TO, DEFAULTS, ROUTE, TEMPLATE, Way
from printerd.listener.printer import MODEL, OPTIONS
from printerd.listener.resources import NAMES

PAGE = Path(__file__).parent.parent / "ppd" / "invoice-printer.ppd"

FILTERS: Mapping[str, int] = {
    "application/pdf": 100,
    "application/postscript": 0,
    "text/plain": 0,
    "image/png": 0,
    "image/jpeg": 0,
}
"""What is handed on as it is, and its cost. PostScript must be cheaper than PDF, else CUPS converts it to PDF itself.
Pictures are refused or held by the daemon, which says so; CUPS would wrap them in a PDF without text."""

UNITS: Mapping[str, Decimal] = {"mm": Decimal(72) / Decimal("25.4"), "in": Decimal(72)}
"""Points of a unit (PWG 5101.1 section 5)."""

MARGIN = Decimal("0.03")
"""Points, as little as the IPP printer claims: with none at all, CUPS would call every size borderless."""

HEAD = """\
*PPD-Adobe: "4.3"
*% Invoice Printer: made by tools/ppd.py, not to be edited.
*FormatVersion: "4.3"
*FileVersion: "1.0"
*LanguageVersion: English
*LanguageEncoding: ISOLatin1
*cupsLanguages: "fr"
*PCFileName: "INVOICEP.PPD"
*Manufacturer: "{model}"
*Product: "({model})"
*ModelName: "{model}"
*ShortNickName: "{model}"
*NickName: "{model}"
*1284DeviceID: "MFG:{model};MDL:{model};CMD:PDF,PS,TXT;CLS:PRINTER;"
*PSVersion: "(3010.000) 0"
*LanguageLevel: "3"
*ColorDevice: True
*DefaultColorSpace: RGB
*FileSystem: False
*Throughput: "600"
*LandscapeOrientation: Plus90
*TTRasterizer: Type42
*cupsVersion: 2.4
*% A job of several files, and each job with a banner page, is one start of the backend for each file.
*cupsSingleFile: True
"""

TAIL = """
*DefaultFont: Courier
*Font Courier: Standard "(1.05)" Standard ROM
"""


def sizes() -> dict[str, tuple[str, str]]:
    """PPD's name of a size → its width and height in points, the default first."""
    return {_name(size): _points(size) for size in OPTIONS["media"].supported}


def _name(size: str) -> str:
    """``iso_a4_210x297mm`` is ``A4``, ``na_index-4x6_4x6in`` ``4x6`` (PWG 5101.1)."""
    return size.split("_")[1].rpartition("-")[2].capitalize()


def _points(size: str) -> tuple[str, str]:
    found = re.search(r"([\d.]+)x([\d.]+)(mm|in)$", size)
    if found is None:
        raise ValueError(f"no PWG size name: {size}")
    width, height = (str((Decimal(side) * UNITS[found[3]]).quantize(Decimal(1))) for side in found.groups()[:2])
    return width, height


def lines() -> Iterator[str]:
    """The PPD behind its head."""
    for media_type, cost in FILTERS.items():
        yield f'*cupsFilter2: "{media_type} {media_type} {cost} -"'
    yield ""
    for keyword in ("PageSize", "PageRegion"):
        yield from _choices(keyword)
    default = next(iter(sizes()))
    yield f"*DefaultImageableArea: {default}"
    yield f"*DefaultPaperDimension: {default}"
    for name, (width, height) in sizes().items():
        right, top = Decimal(width) - MARGIN, Decimal(height) - MARGIN
        yield f'*ImageableArea {name}: "{MARGIN} {MARGIN} {right} {top}"'
        yield f'*PaperDimension {name}: "{width} {height}"'
    yield ""
    yield from _choices_of_invoices()
    yield '*fr.Translation PageSize/Format du papier: ""'
    yield from (f'*fr.PageSize {name}/{FRENCH.get(name, name)}: ""' for name in sizes())
    yield '*fr.Translation PageRegion/Format du papier: ""'
    yield from (f'*fr.PageRegion {name}/{FRENCH.get(name, name)}: ""' for name in sizes())
    yield from _choices_in_french()


FRENCH: Mapping[str, str] = {"Letter": "Lettre US", "Legal": "Légal US", "4x6": "10 x 15 cm"}
ENGLISH: Mapping[str, str] = {"Letter": "US Letter", "Legal": "US Legal", "4x6": "4 x 6 in"}


def _choices(keyword: str) -> Iterator[str]:
    """The papers as something that people choose, each with its PostScript."""
    yield f"*OpenUI *{keyword}/Page Size: PickOne"
    yield f"*OrderDependency: 10 AnySetup *{keyword}"
    yield f"*Default{keyword}: {next(iter(sizes()))}"
    for name, (width, height) in sizes().items():
        yield f'*{keyword} {name}/{ENGLISH.get(name, name)}: "<</PageSize[{width} {height}]>>setpagedevice"'
    yield f"*CloseUI: *{keyword}"
    yield ""


CHOICES: Mapping[str, tuple[str, ...]] = {ROUTE: tuple(Way), TEMPLATE: ("automatic",), COPY_TO: ("none",)}
"""The words of each choice, the default first."""
WRITTEN: Mapping[str, tuple[str, str, str]] = {
    TEMPLATE: ("Name", "Name of the template", "Nom du modèle"),
    COPY_TO: ("Addresses", "Addresses, separated by commas", "Adresses, séparées par des virgules"),
}
"""What people write themselves: the parameter, and its name in English and French."""
GROUP, GROUP_FRENCH = "Invoices", "Factures"
OWN, OWN_FRENCH = "Other", "Autre"


def _choices_of_invoices() -> Iterator[str]:
    words = NAMES["en"]
    yield f"*OpenGroup: Invoices/{GROUP}"
    for name, values in CHOICES.items():
        yield f"*OpenUI *{name}/{words[name]}: PickOne"
        yield f"*OrderDependency: 20 AnySetup *{name}"
        yield f"*Default{name}: {DEFAULTS[name]}"
        yield from (f'*{name} {value}/{words[f"{name}.{value}"]}: ""' for value in values)
        yield f"*CloseUI: *{name}"
        if name in WRITTEN:
            parameter, called, _ = WRITTEN[name]
            yield f'*Custom{name} True/{OWN}: ""'
            yield f"*ParamCustom{name} {parameter}/{called}: 1 string 1 255"
    yield "*CloseGroup: Invoices"
    yield ""


def _choices_in_french() -> Iterator[str]:
    words = NAMES["fr"]
    yield f'*fr.Translation Invoices/{GROUP_FRENCH}: ""'
    for name, values in CHOICES.items():
        yield f'*fr.Translation {name}/{words[name]}: ""'
        yield from (f'*fr.{name} {value}/{words[f"{name}.{value}"]}: ""' for value in values)
        if name in WRITTEN:
            parameter, _, called = WRITTEN[name]
            yield f'*fr.Custom{name} True/{OWN_FRENCH}: ""'
            yield f'*fr.ParamCustom{name} {parameter}/{called}: ""'


def page() -> str:
    """The whole file. Its translations are UTF-8, whatever LanguageEncoding says of the rest (cupsLanguages)."""
    return HEAD.format(model=MODEL) + "\n".join(lines()) + TAIL


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
