from __future__ import annotations

import io
import os
from dataclasses import replace
from pathlib import Path

import pikepdf
import pytest

from printerd.errors import DocumentError
from printerd.model import PageRange
from printerd.pipeline import split as splitting
from printerd.pipeline.layouts import read_template
from printerd.pipeline.pages import read_pages
from printerd.pipeline.split import Part, Seen, look, split, strip, write_parts
from tests.pipeline import paper

TEMPLATE = read_template(
    "firm",
    """
    locale = "fr_FR"
    page = 'Page (?P<number>\\d+)/(?P<count>\\d+)'
    fingerprint.all = ['^Firm']
    [fields]
    number = { label = '^Facture N°', pattern = '\\S+' }
    customer_code = { label = '^Client' }
    """,
)
OTHER = read_template("other", "locale = 'fr_FR'\nfingerprint.all = ['Other']")


def page(marks: str) -> Seen:
    """``A1`` is page 1 of invoice A, ``A`` has no page number, ``-2`` no invoice number, ``?`` an unknown head."""
    if marks in {"?", "."}:
        return Seen(heads=marks == "?")
    number, customer = (marks[0] if marks[0] != "-" else ""), (marks[2:] if len(marks) > 2 else "")
    return Seen(TEMPLATE, number, customer, int(marks[1]) if len(marks) > 1 else 0)


@pytest.mark.parametrize(
    ("marks", "expected"),
    [
        ("A", [1]),
        ("A B C", [1, 1, 1]),
        ("A A B", [2, 1]),
        ("A1 A2 B1 C1 C2 C3", [2, 1, 3]),
        ("A1 A1", [1, 1]),  # a second copy in one file
        ("A1 -2 B1 -2", [2, 2]),  # further pages need not repeat the number
        ("A1 -1", [1, 1]),  # a first page whose number was not read is nobody's second page
        ("A1 -3", [1, 1]),  # page 2 is missing: page 3 may be another's
        ("A1 . B1 .", [2, 2]),  # the small print on the back
        (". A B", [2, 1]),  # a cover sheet goes with what follows
        (". A1 A2", [3]),
        ("-1 A1", [1, 1]),
        ("-1 A2", [2]),  # the number stands on the second page only
        ("A ? B", [1, 1, 1]),  # the head of an unknown layout
        ("? A", [1, 1]),
        ("? .", [2]),
        ("A0x A0y", [1, 1]),  # one number, two customers: a misreading must not mix their pages
        ("A0x -0y", [1, 1]),
        ("A0x -0x", [2]),
        (" ".join(["A"] * 500), [500]),
    ],
)
def test_which_pages_are_one_invoice(marks: str, expected: list[int]) -> None:
    """Another number or customer begins an invoice, and so does a page that cannot be the next one."""
    parts = split([page(mark) for mark in marks.split()])
    assert [len(part.pages) for part in parts] == expected
    assert [part.pages.first for part in parts] == [1 + sum(expected[:n]) for n in range(len(expected))]


def test_a_part_has_the_layout_of_its_first_page_that_has_one() -> None:
    """A cover sheet before an invoice does not hide its layout."""
    (part,) = split([Seen(), Seen(TEMPLATE, "A"), Seen(OTHER)])
    assert part == Part(PageRange(1, 3), TEMPLATE)
    assert split([Seen()])[0].template is None


def test_the_marks_of_a_page_are_read_by_its_layout() -> None:
    """Number, customer and place come from the template; a page of no layout may show that it is a head."""
    pages = read_pages(
        paper.pdf(
            [(72, 800, "Firm"), (72, 700, "Facture N° F-1"), (72, 680, "Client C7"), (72, 20, "Page 1/2")],
            [(72, 700, "Facture N° F-1"), (72, 20, "Page 2/2")],  # less of the form, but the same number
            [(72, 700, "Conditions générales de vente")],
            [(72, 700, "Autre société"), (72, 600, "Facture n° 2026-7")],
        )
    )
    assert look(pages, [TEMPLATE, OTHER]) == (
        Seen(TEMPLATE, "F-1", "C7", 1),
        Seen(TEMPLATE, "F-1", "", 2),
        Seen(),
        Seen(heads=True),
    )


def test_a_page_of_another_layout_is_nobodys_second_page() -> None:
    """The sender named a template: where several match it is that one, but a page of another keeps its own."""
    twin = replace(OTHER, name="twin", all=TEMPLATE.all)
    pages = read_pages(paper.pdf([(72, 800, "Firm"), (72, 700, "Facture N° F-1")], [(72, 700, "Other")]))
    assert [seen.template for seen in look(pages, [TEMPLATE, OTHER, twin], "firm")] == [TEMPLATE, OTHER]
    assert [seen.template for seen in look(pages, [TEMPLATE, OTHER, twin], "twin")] == [twin, OTHER]


def batch() -> bytes:
    """Three pages with a picture each, all in one shared dictionary of resources, linked to one another, one layer."""
    pages = [
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents %d 0 R /Resources 6 0 R"
        b" /Annots [<< /Type /Annot /Subtype /Link /Rect [0 0 9 9] /Dest [%d 0 R /Fit] >>] >>"
        % (7 + n, 3 + (n + 1) % 3)
        for n in range(3)
    ]
    pictures = b" ".join(b"/I%d %d 0 R" % (n, 10 + n) for n in range(3))
    contents = [b"BT /F 12 Tf 72 700 Td (Page %d only) Tj ET /I%d Do" % (n, n) for n in range(3)]
    image = b"/Type /XObject /Subtype /Image /Width 100 /Height 100 /BitsPerComponent 8 /ColorSpace /DeviceGray"
    return paper.raw_pdf(
        b"<< /Type /Catalog /Pages 2 0 R /OCProperties << /OCGs [] /D << /OFF [] >> >> >>",
        b"<< /Type /Pages /Count 3 /Kids [3 0 R 4 0 R 5 0 R] >>",
        *pages,
        b"<< /XObject << %s >> /Font << /F << /Type /Font /Subtype /Type1 /BaseFont /Helvetica >> >> >>" % pictures,
        *[paper.stream(content) for content in contents],
        *[paper.stream(bytes([n]) * 10_000, image) for n in range(3)],
    )


def test_a_part_holds_its_own_pages_and_nothing_of_others(tmp_path: Path) -> None:
    """Neither text nor picture nor link target of another customer's page is in the file; hidden layers stay hidden."""
    parts = [Part(PageRange(n, n), None) for n in (1, 2, 3)]
    names, removed = write_parts(batch(), parts, tmp_path)
    assert (names, removed) == (["0.pdf", "1.pdf", "2.pdf"], [])
    for n, name in enumerate(names):
        data = (tmp_path / str(name)).read_bytes()
        assert [b"Page %d only" % other in data for other in range(3)] == [other == n for other in range(3)]
        assert bytes([n]) * 10_000 in data
        assert len(data) < 12_000
        assert [p.text.strip() for p in read_pages(data)] == [f"Page {n} only"]
        with pikepdf.open(io.BytesIO(data)) as pdf:
            assert "/OFF" in pdf.Root.OCProperties.D


def test_a_small_document_does_not_fill_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A picture on every page is copied into every part; when that is too much, the document is refused as a whole."""
    monkeypatch.setattr(splitting, "PARTS_LIMIT", 1 << 20)
    with pikepdf.open(io.BytesIO(paper.many_pages(20))) as pdf:
        picture = pdf.make_stream(os.urandom(100_000), Type=pikepdf.Name.XObject, Subtype=pikepdf.Name.Image)
        for page in pdf.pages:
            page.obj.Resources = pikepdf.Dictionary(XObject=pikepdf.Dictionary(I=picture))
            page.obj.Contents = pdf.make_stream(b"/I Do")
        pdf.save(tmp_path / "small.pdf")
    with pytest.raises(DocumentError) as caught:
        write_parts(
            (tmp_path / "small.pdf").read_bytes(), [Part(PageRange(n, n), None) for n in range(1, 21)], tmp_path
        )
    assert caught.value.code == "too-many-pages"
    assert len(list(tmp_path.glob("*.pdf"))) < 14


def test_the_same_batch_gives_the_same_bytes(tmp_path: Path) -> None:
    """A step that runs twice finds its parts in the archive already."""
    parts = [Part(PageRange(1, 2), None), Part(PageRange(3, 3), None)]
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder in folders:
        folder.mkdir()
        write_parts(batch(), parts, folder)
    assert [(folders[0] / name).read_bytes() for name in ("0.pdf", "1.pdf")] == [
        (folders[1] / name).read_bytes() for name in ("0.pdf", "1.pdf")
    ]


def test_a_document_of_one_invoice_is_not_rewritten(tmp_path: Path) -> None:
    """What has nothing to remove is sealed as the ERP wrote it."""
    data = paper.pdf([(72, 700, "one")], [(72, 700, "two")])
    assert write_parts(data, [Part(PageRange(1, 2), None)], tmp_path) == ([None], [])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("count", [1, 2])
def test_nothing_that_acts_leaves(tmp_path: Path, count: int) -> None:
    """Scripts, launches, forms that send and embedded files are gone and noted; text, fonts and web links stay."""
    data = paper.acting()
    if count == 2:
        with pikepdf.open(io.BytesIO(data)) as pdf:
            pdf.pages.append(pdf.pages[0])
            pdf.save(tmp_path / "two.pdf")
        data = (tmp_path / "two.pdf").read_bytes()
    names, removed = write_parts(data, [Part(PageRange(n, n), None) for n in range(1, count + 1)], tmp_path)
    assert set(removed) >= {"/OpenAction", "/AA", "/JavaScript", "/EmbeddedFiles", "/EF", "/Launch"}
    for name in names:
        clean = (tmp_path / str(name)).read_bytes()
        for trace in (b"app.alert", b"/JavaScript", b"/Launch", b"calc.exe", b"MZ payload", b"evil", b"/OpenAction"):
            assert trace not in clean
        assert b"https://firm.example/" in clean
        assert [page.text.strip() for page in read_pages(clean)] == ["Visible words"]
        with pikepdf.open(io.BytesIO(clean)) as pdf:
            assert "/JS" in pdf.pages[0].Resources.Font
            assert strip(pdf) == []


@pytest.mark.parametrize("disguise", [b"/Type /Font", b"/Type /XObject", b"/Subtype /Form", b"/PatternType 1"])
def test_nothing_that_acts_leaves_under_another_name(tmp_path: Path, disguise: bytes) -> None:
    """Files or scripts that call themselves a font are removed all the same; a font called /EF stays."""
    data = paper.raw_pdf(
        b"<< /Type /Catalog /Pages 2 0 R /OpenAction << %s /S /JavaScript /JS 9 0 R >> /AcroForm << /XFA 8 0 R >>"
        b" /Names << /EmbeddedFiles << %s /Names [(x.exe) 6 0 R] >> >> /AF << %s /0 6 0 R >> >>" % ((disguise,) * 3),
        b"<< /Type /Pages /Count 1 /Kids [3 0 R] >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R"
        b" /Resources << /Font << /EF 5 0 R >> >> >>",
        paper.stream(b"BT /EF 12 Tf 72 700 Td (Visible words) Tj ET"),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
        b"<< /Type /Filespec /F (x.exe) /EF << %s /F 7 0 R >> >>" % disguise,
        paper.stream(b"MZ payload", b"/Type /EmbeddedFile"),
        paper.stream(b"<xdp:xdp>app.alert</xdp:xdp>", disguise),
        paper.stream(b"app.alert", disguise),
    )
    names, _ = write_parts(data, [Part(PageRange(1, 1), None)], tmp_path)
    clean = (tmp_path / str(names[0])).read_bytes()
    assert not [trace for trace in (b"MZ payload", b"app.alert", b"/XFA", b"/JavaScript") if trace in clean]
    assert [page.text.strip() for page in read_pages(clean)] == ["Visible words"]


def test_a_document_without_a_password_to_open_is_written_plain(tmp_path: Path) -> None:
    """Encryption that only forbids copying would forbid the seal: it is removed, and noted."""
    with pikepdf.open(io.BytesIO(paper.pdf([(72, 700, "x")]))) as pdf:
        pdf.save(tmp_path / "locked.pdf", encryption=pikepdf.Encryption(user="", owner="secret", R=6))
    locked = (tmp_path / "locked.pdf").read_bytes()
    for count in (1, 2):
        parts = [Part(PageRange(1, 1), None)] * count
        names, removed = write_parts(locked, parts, tmp_path)
        assert removed == ["/Encrypt"]
        with pikepdf.open(tmp_path / str(names[0])) as plain:
            assert not plain.is_encrypted


def test_damage_is_told_as_damage(tmp_path: Path) -> None:
    """What pdfium may still show but nobody can take apart is a DocumentError."""
    with pytest.raises(DocumentError) as caught:
        write_parts(b"%PDF-1.7\n%%EOF\n", [Part(PageRange(1, 1), None)], tmp_path)
    assert caught.value.code == "unreadable"
