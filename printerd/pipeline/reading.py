"""The reader: one document in, its invoices out. It runs in a child of :mod:`printerd.pipeline.pools`.

One rule: a document is taken apart here and judged elsewhere. What stands in it may be a lie; that is for
:mod:`printerd.pipeline.check`, which opens no document.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from printerd.model import Box, Found
from printerd.pipeline import distiller
from printerd.pipeline.convert import convert, font
from printerd.pipeline.forkserver import Handlers
from printerd.pipeline.layouts import Template, read_templates, templates
from printerd.pipeline.pages import PAGE_LIMIT, Page, read_pages
from printerd.pipeline.parse import find_ibans, read_fields
from printerd.pipeline.programs import TIMEOUT
from printerd.pipeline.split import Part, look, split, write_parts

__all__ = ["start", "templates"]

TEXT_LIMIT = 200_000
"""Characters of an invoice's text that are kept for the search."""
CONVERTED = "converted.pdf"


def start(
    templates: Sequence[Mapping[str, str]], program_timeout: float = TIMEOUT, page_limit: int = PAGE_LIMIT
) -> Handlers:
    """Reads the templates and loads the font, once. Raises :class:`printerd.errors.ConfigurationError`.

    Task ``read``: values ``{"media_type"}`` and the document as its file; where PostScript was drawn elsewhere
    (:mod:`printerd.pipeline.distiller`) also ``"drawn"`` and the PDF as a second file →
    ``{"pages", "converted", "removed", "invoices": [{"first", "last", "template", "fields", "ibans", "text", "words",
    "pdf"}]}``. ``words`` is the digest of the whole text, however it is spaced, and empty when there is none.
    ``converted`` and ``pdf`` are names of output files: of the whole document when it was no PDF, and of one invoice
    when it is not the whole document; ``removed`` names what was taken out because it would act (scripts, files).
    """
    layouts = read_templates(templates)
    font()

    def read(values: dict[str, Any], files: Sequence[BinaryIO], folder: Path) -> dict[str, Any]:
        source, *drawn = files
        distilled = (lambda _source, into: distiller.fetched(values["drawn"], drawn[0], into)) if drawn else None
        pdf = convert(values["media_type"], source, folder, timeout=program_timeout, distilled=distilled)
        pages = read_pages(pdf, page_limit=page_limit)
        converted = values["media_type"] != "application/pdf"
        if converted:
            (folder / CONVERTED).write_bytes(pdf)
        parts = split(look(pages, layouts))
        names, removed = write_parts(pdf, parts, folder)
        return {
            "pages": len(pages),
            "converted": CONVERTED if converted else None,
            "removed": removed,
            "invoices": [_invoice(part, pages, name) for part, name in zip(parts, names, strict=True)],
        }

    return {"read": read}


def _invoice(part: Part, pages: Sequence[Page], pdf: str | None) -> dict[str, Any]:
    own = pages[part.pages.first - 1 : part.pages.last]
    text = "\n".join(page.text for page in own)
    words = " ".join(text.split())
    return {
        "first": part.pages.first,
        "last": part.pages.last,
        "template": part.template.name if part.template else "",
        "fields": _fields(part.template, own),
        "ibans": [_found(found, own) for found in find_ibans(own)],
        "text": text[:TEXT_LIMIT],
        "words": hashlib.sha256(words.encode("utf-8", "replace")).hexdigest() if words else "",
        "pdf": pdf,
    }


def _fields(template: Template | None, pages: Sequence[Page]) -> dict[str, Any]:
    if template is None:
        return {}
    return {name: _found(found, pages) for name, found in read_fields(template, pages).items()}


def _found(found: Found, pages: Sequence[Page]) -> dict[str, Any]:
    """A field as the invoices table keeps it; its page counts within the invoice, whose PDF people look at."""
    return {"value": found.value, "box": _box(found.box, pages[0].number) if found.box else None}


def _box(box: Box, first: int) -> list[float]:
    sides = (box.left, box.bottom, box.right, box.top)
    return [box.page - first + 1, *(round(side, 1) for side in sides)]
