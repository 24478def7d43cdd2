"""A composite TrueType font for reportlab, whose own TrueType fonts are simple ones of at most 256 codes.

One rule: a character code is the number of its glyph in the embedded subset, two bytes, high byte first
(Identity-H, ISO 32000-1 section 9.7.5.2), so that text can be read back by the ToUnicode map alone.
"""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

from reportlab.pdfbase import pdfdoc  # type: ignore[import-untyped]  # reportlab ships no types
from reportlab.pdfbase.ttfonts import TTFont  # type: ignore[import-untyped]  # the same

_SPACE, _NO_BREAK_SPACE = 0x20, 0xA0
_ENTRIES = 100
"""A CMap names at most 100 characters in one block (Adobe technical note 5014 section 3)."""


class CidFont(TTFont):  # type: ignore[misc]  # the base class has no types
    """A font as PDF libraries of today write it: Type0 over CIDFontType2, with a ToUnicode map.

    reportlab calls ``splitString`` for each text, then ``getSubsetInternalName``, and ``addObjects`` when it saves.
    """

    def __init__(self, name: str, file: str, **options: Any) -> None:
        super().__init__(name, file, **options)
        self._used: WeakKeyDictionary[Any, dict[int, int]] = WeakKeyDictionary()
        # for each document: glyph of the whole font → the character that first asked for it

    def splitString(self, text: str, doc: Any, encoding: str = "utf-8") -> list[tuple[int, bytes]]:
        """The text as glyph numbers. There is a single subset, number 0."""
        used = self._used.setdefault(doc, {})
        return [(0, b"".join(self._glyph(ord(char), used).to_bytes(2, "big") for char in text))]

    def getSubsetInternalName(self, subset: int, doc: Any) -> str:
        if self.fontName not in doc.fontMapping:
            doc.fontMapping[self.fontName] = f"/F{len(doc.fontMapping) + 1}"
            doc.delayedFonts.append(self)
        return str(doc.fontMapping[self.fontName])

    def addObjects(self, doc: Any) -> None:
        """Writes the font, its descendant, its subset and its ToUnicode map into the document."""
        used = list(self._used.pop(doc).values())
        name = f"CIDAAA+{self.face.name.decode('ascii')}"
        descendant = pdfdoc.PDFDictionary(
            {
                "Type": "/Font",
                "Subtype": "/CIDFontType2",
                "BaseFont": pdfdoc.PDFName(name),
                "CIDSystemInfo": pdfdoc.PDFDictionary(
                    {"Registry": pdfdoc.PDFString("Adobe"), "Ordering": pdfdoc.PDFString("Identity"), "Supplement": 0}
                ),
                "FontDescriptor": self.face.addSubsetObjects(doc, name, used),
                "DW": round(self.face.defaultWidth),
                "W": pdfdoc.PDFArray([1, pdfdoc.PDFArray([round(self.face.getCharWidth(code)) for code in used])]),
                "CIDToGIDMap": "/Identity",
            }
        )
        to_unicode = pdfdoc.PDFStream(content=_to_unicode(used))
        internal = doc.fontMapping[self.fontName][1:]
        font = pdfdoc.PDFDictionary(
            {
                "Type": "/Font",
                "Subtype": "/Type0",
                "Name": pdfdoc.PDFName(internal),
                "BaseFont": pdfdoc.PDFName(name),
                "Encoding": "/Identity-H",
                "DescendantFonts": pdfdoc.PDFArray([doc.Reference(descendant, f"cid:{name}")]),
                "ToUnicode": doc.Reference(to_unicode, f"toUnicode:{name}"),
            }
        )
        doc.idToObject["BasicFonts"].dict[internal] = doc.Reference(font, internal)

    def _glyph(self, code: int, used: dict[int, int]) -> int:
        """The number of a character's glyph: the subset numbers glyphs from 1 in the order of their first use."""
        code = _SPACE if code == _NO_BREAK_SPACE else code
        if code not in self.face.charToGlyph:
            raise ValueError(f"{self.fontName} has no glyph for U+{code:04X}")
        glyph = self.face.charToGlyph[code]
        used.setdefault(glyph, code)
        return list(used).index(glyph) + 1


def _to_unicode(used: list[int]) -> bytes:
    """The map from glyph numbers to UTF-16 (ISO 32000-1 section 9.10.3)."""
    rows = [f"<{cid:04X}> <{code:04X}>" for cid, code in enumerate(used, start=1)]
    blocks = [rows[n : n + _ENTRIES] for n in range(0, len(rows), _ENTRIES)]
    body = "\n".join(f"{len(block)} beginbfchar\n" + "\n".join(block) + "\nendbfchar" for block in blocks)
    return (
        "/CIDInit /ProcSet findresource begin\n12 dict begin\nbegincmap\n"
        "/CIDSystemInfo << /Registry (Adobe) /Ordering (UCS) /Supplement 0 >> def\n"
        "/CMapName /Adobe-Identity-UCS def\n/CMapType 2 def\n"
        f"1 begincodespacerange\n<0000> <FFFF>\nendcodespacerange\n{body}\n"
        "endcmap\nCMapName currentdict /CMap defineresource pop\nend\nend\n"
    ).encode("ascii")
