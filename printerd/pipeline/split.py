"""Which pages are one invoice, and a PDF of just these.

One rule: in doubt a page begins an invoice of its own, which then waits for a person. The other way round a page
would reach somebody else's customer.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import pikepdf

from printerd.errors import DocumentError
from printerd.model import PageRange
from printerd.pipeline.layouts import Template
from printerd.pipeline.pages import PAGE_LIMIT, Page
from printerd.pipeline.parse import choose, read_field


@dataclass(frozen=True, slots=True)
class Seen:
    """What one page says about its place; what it does not say is empty or 0.

    ``position`` is that of "page 2 of 3". ``heads``: it looks like the head of an invoice in a layout nobody knows.
    """

    template: Template | None = None
    number: str = ""
    customer: str = ""
    position: int = 0
    heads: bool = False


@dataclass(frozen=True, slots=True)
class Part:
    """The pages of one invoice and the layout of its first page that has one."""

    pages: PageRange
    template: Template | None


_HEAD = re.compile(
    r"\b(?:facture|avoir|invoice|credit note|rechnung|gutschrift)\s*(?:n°|nº|no\b|number|num[ée]ro|nr)[\s.:]*\S*\d",
    re.IGNORECASE,
)


def look(pages: Sequence[Page], templates: Sequence[Template], chosen: str = "") -> tuple[Seen, ...]:
    """Reads the marks of each page by which documents are told apart; ``chosen`` is the template that its sender named.

    A page of another template keeps that one: it would go with the invoice before it, to that one's customer.
    """
    seen: list[Seen] = []
    for page in pages:
        seen.append(_look(page, choose(page.text, templates, chosen)) or _look_after(page, seen[-1:]))
    return tuple(seen)


def _look(page: Page, template: Template | None) -> Seen | None:
    if template is None:
        return None
    number, customer = (read_field(template, name, [page]) for name in ("number", "customer_code"))
    position = template.page.search(page.text) if template.page else None
    return Seen(
        template,
        number.value if number else "",
        customer.value if customer else "",
        _position(position["number"] or "") if position else 0,
    )


def _position(shown: str) -> int:
    """A page's place as it is printed; what is no number, or beyond all documents, says nothing."""
    return int(shown) if shown.isdecimal() and len(shown) <= len(str(PAGE_LIMIT)) else 0


def _look_after(page: Page, before: Sequence[Seen]) -> Seen:
    """A page without a layout may go on the one before: a second page has less of the form, but the same number."""
    for earlier in before:
        going_on = _look(page, earlier.template)
        if going_on and going_on.number and going_on.number == earlier.number:
            return going_on
    return Seen(heads=_HEAD.search(page.text) is not None)


def look_again(seen: Sequence[Seen], seams: Collection[int], page: Callable[[int], Page]) -> tuple[Seen, ...]:
    """The marks of a whole document of which each range was looked at by itself.

    ``seams`` are the numbers of the pages with which ranges begin. One that has no layout of its own may go on the page
    before, of which its range knew nothing, and so may those that follow it: these are looked at again.
    """
    whole = list(seen)
    for seam in seams:
        for index in range(seam - 1, len(whole)):
            before = whole[max(index - 1, 0) : index]
            if whole[index].template or not any(earlier.template for earlier in before):
                break
            whole[index] = _look_after(page(index + 1), before)
    return tuple(whole)


def split(seen: Sequence[Seen], first: int = 1) -> tuple[Part, ...]:
    """The invoices of some pages, the ``first`` and those that follow, in their order; each page is in exactly one."""
    groups: list[list[Seen]] = []
    for page in seen:
        if not groups or _begins(groups[-1], page):
            groups.append([])
        groups[-1].append(page)
    parts = []
    for group in groups:
        template = next((page.template for page in group if page.template), None)
        parts.append(Part(PageRange(first, first + len(group) - 1), template))
        first += len(group)
    return tuple(parts)


def _begins(group: Sequence[Seen], page: Seen) -> bool:
    """Whether another invoice begins here: it has another number or customer, or is not the page that should follow.

    A page that says nothing goes with the pages before it: the small print on the back.
    """
    number, customer = (_first(group, name) for name in ("number", "customer"))
    follows = page.position == group[-1].position + 1
    if page.heads or (page.customer and customer and page.customer != customer):
        return True
    if page.number and number:
        return page.number != number or page.position == 1
    if page.number:  # before it are a cover sheet, or pages whose own number was not found
        return group[0].heads or (group[-1].position > 0 and not follows)
    return page.position == 1 or (page.position > 1 and not follows)


def _first(group: Sequence[Seen], name: str) -> str:
    return next((str(value) for page in group if (value := getattr(page, name))), "")


# What a reader of the page would not see, and a viewer would run, open or hand out (ISO 32000-1 sections 12.6, 7.11.4).
_KEYS = ("/OpenAction", "/AA", "/JavaScript", "/JS", "/EmbeddedFiles", "/EF", "/AF", "/XFA", "/RichMediaContent")
_ACTIONS = frozenset({
    "/JavaScript", "/Launch", "/SubmitForm", "/ImportData", "/GoToE", "/GoToR", "/Movie", "/Sound", "/Rendition",
    "/RichMediaExecute",
})  # fmt: skip


PARTS_LIMIT = 1 << 30
"""Bytes of all parts together. A picture that all pages share is in each: 8 MB on 1,000 pages would fill the disk."""


def write_parts(
    pdf: bytes, parts: Sequence[Part], folder: Path, *, whole: bool = True, written: int = 0
) -> tuple[list[str | None], list[str]]:
    """Writes ``0.pdf``, ``1.pdf``, … into ``folder``, without anything that acts when it is opened.

    ``whole``: these are all parts of the document; else others are written elsewhere, and ``written`` bytes were.
    Returns their names and what was removed; what acts at the document's opening is told with its first page.
    A document of one invoice with nothing to remove is not rewritten: its name is None. The same document gives the
    same bytes. Raises :class:`DocumentError` when it cannot be taken apart.
    """
    _require(room := PARTS_LIMIT - written)
    if not parts:
        return [], []
    try:
        with pikepdf.open(BytesIO(pdf)) as document:
            clean = whole or parts[0].pages.first == 1
            removed = strip(document) if clean else []
            if whole and len(parts) == 1:
                return [_again(document, folder) if removed else None], removed
            acting = _written(document, parts, folder, clean=clean, room=room)
            return [_name(index) for index in range(len(parts))], sorted({*removed, *acting})
    except pikepdf.PdfError as error:
        raise DocumentError(
            f"The document is damaged: {error}",
            code="unreadable",
            remedy="Print it again from the ERP; if it fails again, look at its PDF export.",
        ) from error


def _name(index: int) -> str:
    return f"{index}.pdf"


def _again(document: pikepdf.Pdf, folder: Path) -> str:
    with (folder / _name(0)).open("wb") as out:
        _save(document, out)
    return _name(0)


def _written(document: pikepdf.Pdf, parts: Sequence[Part], folder: Path, *, clean: bool, room: int) -> set[str]:
    """Writes each part, within ``room`` bytes in all, and returns what acts in those of one that is not ``clean``."""
    shared, acting = _share_resources(document), set[str]()
    for index, part in enumerate(parts):
        with _taken_out(document, part.pages) as taken, (folder / _name(index)).open("wb") as out:
            if not clean:
                acting.update(strip(taken))
            if shared:
                taken.remove_unreferenced_resources()
            _save(taken, out)
            room -= out.tell()
        _require(room)
    return acting


def _require(room: int) -> None:
    if room < 0:
        raise DocumentError(
            f"The invoices of the document would take more than {PARTS_LIMIT >> 20} MB in all.",
            code="too-many-pages",
            remedy="Print it in several jobs, or with a smaller picture of the letterhead.",
        )


def _taken_out(document: pikepdf.Pdf, pages: PageRange) -> pikepdf.Pdf:
    """Copies pages as they are, and which layers are hidden; references to pages of others are not followed."""
    part = pikepdf.new()
    part.pages.extend(document.pages[pages.first - 1 : pages.last])
    if (layers := document.Root.get("/OCProperties")) is not None:
        part.Root.OCProperties = part.copy_foreign(document.make_indirect(layers))
    return part


def _save(document: pikepdf.Pdf, out: BinaryIO) -> None:
    """Nothing is decoded or compressed again: that costs twenty times the rest."""
    document.save(
        out,
        encryption=False,
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
    doomed: Mapping[str, str] = {key: key for key in _KEYS if key in thing and not _is_resource(key, thing[key])}
    if action in _ACTIONS:
        doomed = {str(key): action for key in thing.keys() if key != "/Type"}  # noqa: SIM118 - a PDF object is no dict
    for key, name in doomed.items():
        removed.add(name)
        del thing[key]


def _is_resource(key: str, value: object) -> bool:
    """Whether it is a font, a picture or the like: their names are free, and one may be called /JS.

    What says so is the document, which may lie: a /JS, /AA or /AF that does is harmless without the actions and files
    in it, which have gone, and a font of files is none.
    """
    if key not in _FREE_NAMES or not isinstance(value, pikepdf.Dictionary | pikepdf.Stream):
        return False
    if any(name in value for name in _FILES):
        return False
    return str(value.get("/Type")) in _RESOURCES or str(value.get("/Subtype")) in _RESOURCES or "/PatternType" in value


_FREE_NAMES = frozenset({"/AA", "/AF", "/EF", "/JS"})
"""Those of the keys above that are short enough for programs to make them up: F1, AA, EF."""
_FILES = ("/F", "/UF", "/DOS", "/Mac", "/Unix")
"""Where a file specification keeps its files (ISO 32000-1 section 7.11.4, table 44)."""
_RESOURCES = frozenset({"/Font", "/XObject", "/ExtGState", "/Pattern", "/Image", "/Form"})
