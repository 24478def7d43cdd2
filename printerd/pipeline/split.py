"""Which pages are one invoice, and a PDF of just these.

One rule: in doubt a page begins an invoice of its own, which then waits for a person. The other way round a page
would reach somebody else's customer.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import pikepdf

from printerd.model import PageRange
from printerd.pipeline.layouts import Template
from printerd.pipeline.pages import Page
from printerd.pipeline.parse import choose, read_field


@dataclass(frozen=True, slots=True)
class Seen:
    """What one page says about its place: its layout, its invoice number, and "page ``position`` of …" (0: nothing)."""

    template: Template | None
    number: str
    position: int
    heads: bool
    """Whether it looks like the head of an invoice in a layout that nobody knows."""


@dataclass(frozen=True, slots=True)
class Part:
    """The pages of one invoice and the layout of its first page that has one."""

    pages: PageRange
    template: Template | None


_HEAD = re.compile(
    r"\b(?:facture|avoir|invoice|credit note|rechnung|gutschrift)\s*(?:n°|nº|no\b|number|num[ée]ro|nr)[\s.:]*\S*\d",
    re.IGNORECASE,
)


def look(pages: Sequence[Page], templates: Sequence[Template]) -> tuple[Seen, ...]:
    """Reads the marks of each page by which documents are told apart."""
    seen: list[Seen] = []
    for page in pages:
        seen.append(_look(page, choose(page.text, templates)) or _look_after(page, seen[-1:]))
    return tuple(seen)


def _look(page: Page, template: Template | None) -> Seen | None:
    if template is None:
        return None
    number = read_field(template, "number", [page])
    position = template.page.search(page.text) if template.page else None
    return Seen(template, number.value if number else "", int(position["number"]) if position else 0, False)


def _look_after(page: Page, before: Sequence[Seen]) -> Seen:
    """A page without a layout may go on the one before: a second page has less of the form, but the same number."""
    for earlier in before:
        going_on = _look(page, earlier.template)
        if going_on and going_on.number and going_on.number == earlier.number:
            return going_on
    return Seen(None, "", 0, bool(_HEAD.search(page.text)))


def split(seen: Sequence[Seen]) -> tuple[Part, ...]:
    """The invoices of a document, in the order of its pages; every page is in exactly one."""
    starts = [index for index in range(len(seen)) if index == 0 or _begins(seen, index)]
    ends = [*starts[1:], len(seen)]
    return tuple(
        Part(PageRange(start + 1, end), next((page.template for page in seen[start:end] if page.template), None))
        for start, end in zip(starts, ends, strict=True)
    )


def _begins(seen: Sequence[Seen], index: int) -> bool:
    """Whether another invoice begins here: another number, a page that says 1 or does not follow, an unknown head."""
    page, before = seen[index], seen[index - 1]
    number = next((earlier.number for earlier in reversed(seen[:index]) if earlier.number), "")
    if page.number and not number:
        return before.position > 0 and page.position != before.position + 1  # else a cover sheet goes before
    if page.number and page.number != number:
        return True
    if page.position:
        return page.position == 1 or (not page.number and page.position != before.position + 1)
    return page.heads


# What a reader of the page would not see, and a viewer would run, open or hand out (ISO 32000-1 sections 12.6, 7.11.4).
_KEYS = ("/OpenAction", "/AA", "/JavaScript", "/JS", "/EmbeddedFiles", "/EF", "/AF", "/XFA", "/RichMediaContent")
_ACTIONS = frozenset({
    "/JavaScript", "/Launch", "/SubmitForm", "/ImportData", "/GoToE", "/GoToR", "/Movie", "/Sound", "/Rendition",
    "/RichMediaExecute",
})  # fmt: skip


def write_parts(pdf: bytes, parts: Sequence[Part], folder: Path) -> tuple[list[str | None], list[str]]:
    """Writes ``0.pdf``, ``1.pdf``, … into ``folder``, without anything that acts when it is opened.

    Returns their names and what was removed. A document of one invoice with nothing to remove is not rewritten: its
    name is None. The same document gives the same bytes.
    """
    with pikepdf.open(BytesIO(pdf)) as document:
        removed = strip(document)
        if len(parts) == 1 and not removed:
            return [None], []
        shared = _share_resources(document)
        names: list[str | None] = []
        for index, part in enumerate(parts):
            names.append(f"{index}.pdf")
            _write_part(document, part.pages, folder / f"{index}.pdf", shared=shared)
        return names, removed


def _write_part(document: pikepdf.Pdf, pages: PageRange, file: Path, *, shared: bool) -> None:
    """Copies pages as they are: nothing is decoded or compressed again."""
    with pikepdf.new() as part:
        part.pages.extend(document.pages[pages.first - 1 : pages.last])
        if shared:
            part.remove_unreferenced_resources()
        part.save(
            file,
            stream_decode_level=pikepdf.StreamDecodeLevel.none,
            compress_streams=False,
            deterministic_id=True,
        )


def _share_resources(document: pikepdf.Pdf) -> bool:
    """Whether pages share a dictionary of resources: each part would carry the pictures of all the others."""
    owners = [page.obj.get("/Resources") for page in document.pages]
    if any(owner is None for owner in owners):
        return len(owners) > 1  # inherited from the page tree
    places = [owner.objgen for owner in owners if owner is not None and owner.is_indirect]
    return len(set(places)) < len(places)


def strip(document: pikepdf.Pdf) -> list[str]:
    """Takes actions, scripts and embedded files out of every object; returns what was there, sorted."""
    removed = {"/Encrypt"} if document.is_encrypted else set()
    for thing in document.objects:
        _strip(thing, removed)
    return sorted(removed)


def _strip(thing: pikepdf.Object, removed: set[str]) -> None:
    """One object and what stands directly in it; what it refers to comes by itself."""
    if isinstance(thing, pikepdf.Array):
        for item in thing:
            if isinstance(item, pikepdf.Object) and not item.is_indirect:
                _strip(item, removed)
    elif isinstance(thing, pikepdf.Dictionary | pikepdf.Stream):
        _strip_keys(thing, removed)
        for value in dict(thing.items()).values():
            if isinstance(value, pikepdf.Object) and not value.is_indirect:
                _strip(value, removed)


def _strip_keys(thing: pikepdf.Dictionary | pikepdf.Stream, removed: set[str]) -> None:
    action = str(thing.get("/S", ""))
    doomed: Mapping[str, str] = {key: key for key in _KEYS if key in thing}
    if action in _ACTIONS:
        doomed = {str(key): action for key in thing.keys() if key != "/Type"}  # noqa: SIM118 - a PDF object is no dict
    for key, name in doomed.items():
        removed.add(name)
        del thing[key]
