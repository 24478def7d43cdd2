"""The reader: one document in, its invoices out. It runs in a child of :mod:`printerd.pipeline.pools`.

One rule: a document is taken apart here and judged elsewhere. What stands in it may be a lie; that is for
:mod:`printerd.pipeline.check`, which opens no document.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

from printerd.model import Box, Found, PageRange
from printerd.pipeline import distiller
from printerd.pipeline.convert import chosen, convert, font
from printerd.pipeline.forkserver import Handlers
from printerd.pipeline.layouts import Template, read_templates, templates
from printerd.pipeline.pages import PAGE_LIMIT, Page, opened
from printerd.pipeline.parse import find_ibans, read_fields
from printerd.pipeline.programs import TIMEOUT
from printerd.pipeline.split import Part, Seen, look, look_again, split, write_parts

__all__ = ["start", "templates"]

TEXT_LIMIT = 200_000
"""Characters of an invoice's text that are kept for the search."""
CONVERTED = "converted.pdf"

Values = dict[str, Any]


def start(
    templates: Sequence[Mapping[str, str]], program_timeout: float = TIMEOUT, page_limit: int = PAGE_LIMIT
) -> Handlers:
    """Reads the templates and loads the font, once. Raises :class:`printerd.errors.ConfigurationError`.

    Task ``read``: values ``{"media_type", "pages", "template"}`` (the page-ranges of the job and the template that its
    sender named, or nothing) and the document as its file; where PostScript was drawn elsewhere
    (:mod:`printerd.pipeline.distiller`) also ``"drawn"`` and the PDF as a second file →
    ``{"pages", "converted", "removed", "invoices": [{"first", "last", "template", "fields", "ibans", "text", "words",
    "pdf"}]}``. ``words`` is the digest of the whole text, however it is spaced, and empty when there is none.
    ``converted`` and ``pdf`` are names of output files: of the whole document when it was no PDF, and of one invoice
    when it is not the whole document; ``removed`` names what was taken out because it would act (scripts, files).
    A document of more pages than ``"most"``, where that is given, has no ``invoices`` yet: it is read by ranges.

    Task ``read range``: ``{"first", "last", "written", "template"}``, pages of a PDF and how many bytes of parts there
    are → ``{"removed", "invoices", "seen"}`` as if the document had no other pages, and what each page says of its
    place.

    Task ``mend``: ``{"seen", "seams", "found", "written"}``: of all pages, the numbers of those that begin a range, and
    the ``[first, last, template]`` of each invoice → ``{"removed", "invoices"}``: those that are in their stead.
    """
    layouts = read_templates(templates)
    font()

    def read(values: Values, files: Sequence[BinaryIO], folder: Path) -> Values:
        source, *drawn = files
        distilled = (lambda _source, into: distiller.fetched(values["drawn"], drawn[0], into)) if drawn else None
        pdf = convert(values["media_type"], source, folder, timeout=program_timeout, distilled=distilled)
        pdf = chosen(pdf, values.get("pages", ""))
        with opened(pdf, page_limit=page_limit) as document:
            pages = () if document.pages > values.get("most", page_limit) else document.read(document.all)
            answer: Values = {"pages": document.pages, "converted": None}
        if values["media_type"] != "application/pdf" or values.get("pages"):
            (folder / CONVERTED).write_bytes(pdf)
            answer["converted"] = CONVERTED
        return answer | _found(pdf, split(look(pages, layouts, values.get("template", ""))), pages, folder)

    def read_range(values: Values, files: Sequence[BinaryIO], folder: Path) -> Values:
        pdf, own = files[0].read(), PageRange(values["first"], values["last"])
        with opened(pdf, page_limit=page_limit) as document:
            pages = document.read(own)
        seen = look(pages, layouts, values.get("template", ""))
        found = _found(pdf, split(seen, own.first), pages, folder, whole=False, written=values["written"])
        return found | {"seen": [_told(page) for page in seen]}

    def mend(values: Values, files: Sequence[BinaryIO], folder: Path) -> Values:
        pdf, known = files[0].read(), {tuple(found) for found in values["found"]}
        by_name = {template.name: template for template in layouts}
        seen = [Seen(**mark | {"template": by_name.get(mark["template"])}) for mark in values["seen"]]
        with opened(pdf, page_limit=page_limit) as document:
            parts = split(look_again(seen, values["seams"], document.page))
            lacking = [part for part in parts if _key(part) not in known]
            pages = [page for part in lacking for page in document.read(part.pages)]
        return _found(pdf, lacking, pages, folder, whole=len(parts) == 1, written=values["written"])

    return {"read": read, "read range": read_range, "mend": mend}


def _key(part: Part) -> tuple[int, int, str]:
    """What tells an invoice of a document from all others, and one reading of its pages from another."""
    return part.pages.first, part.pages.last, part.template.name if part.template else ""


def _told(page: Seen) -> Values:
    return asdict(replace(page, template=None)) | {"template": page.template.name if page.template else ""}


def _found(pdf: bytes, parts: Sequence[Part], pages: Sequence[Page], folder: Path, **others: Any) -> Values:
    """The invoices of some parts, whose ``pages`` are these, and the file of each; ``others`` is for these files."""
    names, removed = write_parts(pdf, parts, folder, **others)
    following = iter(pages)
    own = [tuple(islice(following, len(part.pages))) for part in parts]
    return {"removed": removed, "invoices": list(map(_invoice, parts, own, names))}


def _invoice(part: Part, pages: Sequence[Page], pdf: str | None) -> Values:
    first, last, template = _key(part)
    text = "\n".join(page.text for page in pages)
    words = " ".join(text.split())
    return {
        "first": first,
        "last": last,
        "template": template,
        "fields": _fields(part.template, pages),
        "ibans": [_place(found, pages) for found in find_ibans(pages)],
        "text": text[:TEXT_LIMIT],
        "words": hashlib.sha256(words.encode("utf-8", "replace")).hexdigest() if words else "",
        "pdf": pdf,
    }


def _fields(template: Template | None, pages: Sequence[Page]) -> dict[str, Any]:
    if template is None:
        return {}
    return {name: _place(found, pages) for name, found in read_fields(template, pages).items()}


def _place(found: Found, pages: Sequence[Page]) -> dict[str, Any]:
    """A field as the invoices table keeps it; its page counts within the invoice, whose PDF people look at."""
    return {"value": found.value, "box": _box(found.box, pages[0].number) if found.box else None}


def _box(box: Box, first: int) -> list[float]:
    sides = (box.left, box.bottom, box.right, box.top)
    return [box.page - first + 1, *(round(side, 1) for side in sides)]
