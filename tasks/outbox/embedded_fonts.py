"""Embed typefaces in a PDF made with ReportLab, with only the glyphs that the PDF shows."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from zlib import crc32

import uharfbuzz
from reportlab.pdfbase import pdfdoc

from models.typefaces import Typeface
from tasks.outbox.shaping import Run

_Flags = uharfbuzz.SubsetFlags
# Readers of PDFs know the format CFF, but not CFF2.
_AS_PDF = (
    _Flags.NO_LAYOUT_CLOSURE
    | _Flags.NO_HINTING
    | _Flags.DESUBROUTINIZE
    | _Flags.DOWNGRADE_CFF2
    | _Flags.CFF_IDENTITY_CHARSET
)
_NEEDED = {"CFF ", "CFF2", "glyf", "loca", "head", "hhea", "hmtx", "maxp", "gvar", "fvar", "avar", "HVAR"}


# The place of the charset, as a number of four bytes in the top dictionary of a CFF font.
_CHARSET = re.compile(rb"\x1d(.{4})\x0f", re.DOTALL)
_SYSTEM = pdfdoc.PDFDictionary(
    {"Registry": pdfdoc.PDFString("Adobe"), "Ordering": pdfdoc.PDFString("Identity"), "Supplement": 0}
)


class EmbeddedFonts:
    """The typefaces embedded in one PDF, each in the weights that the PDF uses.

    `document` is ReportLab's `PDFDocument`.
    """

    def __init__(self, document: Any) -> None:
        self._document = document
        self._fonts: dict[tuple[str, int], _Font] = {}

    def operators(self, run: Run, weight: int, size: float, x: float, y: float) -> str:
        """Return the PDF operators that print a run (text in one typeface) in the current colour.

        The text begins at `x` on the baseline `y`, both in points; `weight` is 400 or 600, `size` the font size in
        points. The run's typeface is registered, so that the PDF embeds it.
        """
        key = run.typeface.name, weight
        if key not in self._fonts:
            self._fonts[key] = _Font(f"N{len(self._fonts) + 1}", run.typeface, weight)
            # Asked for its objects when the PDF is written.
            self._document.delayedFonts.append(self._fonts[key])
        return self._fonts[key].operators(run, size, x, y)


class _Font:
    """A typeface in one weight, as one PDF embeds it, with the glyphs that the PDF has used so far."""

    def __init__(self, name: str, typeface: Typeface, weight: int) -> None:
        self._name, self._typeface, self._weight = name, typeface, weight
        self._font = typeface.font(weight)
        self._scale: float = 1000 / self._font.face.upem
        self._shown: dict[int, str] = {}

    def operators(self, run: Run, size: float, x: float, y: float) -> str:
        """Return the PDF operators that print a run of text in this typeface, beginning at `x` and `y` (points).

        The PDF can be copied and searched: if the glyphs of a cluster (a character as a reader sees it) would be copied
        as another text, the cluster is marked with its text as `ActualText`.
        """
        written: list[str] = []
        line: list[str] = []
        rise = 0.0

        def end_line() -> None:
            if line:
                written.append(f"[{' '.join(filter(None, line))}] TJ")
                line.clear()

        for cluster in run.clusters:
            known = all(self._shown.setdefault(glyph.number, glyph.text) == glyph.text for glyph in cluster.glyphs)
            says_itself = known and cluster.is_in_order and all(glyph.text for glyph in cluster.glyphs)
            if not says_itself:
                end_line()
                actual = ("\ufeff" + cluster.text).encode("utf-16-be").hex()
                written.append(f"/Span <</ActualText <{actual}>>> BDC")
            for glyph in cluster.glyphs:
                up = round(glyph.up * size / 1000, 3)
                if up != rise:
                    end_line()
                    written.append(f"{up:g} Ts")
                    rise = up
                after = self._width(glyph.number) - glyph.advance + glyph.right
                line += [_moved(-glyph.right), f"<{glyph.number:04x}>", _moved(after)]
            if not says_itself:
                end_line()
                written.append("EMC")
        end_line()
        if rise:
            written.append("0 Ts")
        return f"BT /{self._name} {size:g} Tf 1 0 0 1 {x:.3f} {y:.3f} Tm {' '.join(written)} ET"

    def _width(self, number: int) -> float:
        advance: int = self._font.get_glyph_h_advance(number)
        return advance * self._scale

    def addObjects(self, document: Any) -> None:  # ReportLab's name
        """Add the font's objects to the PDF. ReportLab calls this once, when all pages are drawn."""
        numbers = sorted(self._shown)
        file, places = self._subset(numbers)
        tag = "".join(chr(65 + crc32(repr(numbers).encode()) // 26**place % 26) for place in range(6))
        base = pdfdoc.PDFName(f"{tag}+{self._typeface.name}-{self._weight}")
        contents = file.reference_table("CFF ").data
        is_compact = bool(contents)
        stream = _stream(document, _named(contents, places) if is_compact else file.blob.data)
        if is_compact:
            stream.dictionary["Subtype"] = pdfdoc.PDFName("CIDFontType0C")
        else:
            stream.dictionary["Length1"] = len(stream.content)
        extents = self._font.get_font_extents("ltr")
        top, bottom = round(extents.ascender * self._scale), round(extents.descender * self._scale)
        descriptor = {
            "Type": pdfdoc.PDFName("FontDescriptor"),
            "FontName": base,
            "Flags": 4,
            "FontBBox": pdfdoc.PDFArray([-500, bottom, 1500, top]),
            "ItalicAngle": 0,
            "Ascent": top,
            "Descent": bottom,
            "CapHeight": 700,
            "StemV": 80 if self._weight == 400 else 120,
            "FontFile3" if is_compact else "FontFile2": document.Reference(stream),
        }
        widths = [part for number in numbers for part in (number, pdfdoc.PDFArray([round(self._width(number), 1)]))]
        descendant = {
            "Type": pdfdoc.PDFName("Font"),
            "Subtype": pdfdoc.PDFName("CIDFontType0" if is_compact else "CIDFontType2"),
            "BaseFont": base,
            "CIDSystemInfo": _SYSTEM,
            "FontDescriptor": document.Reference(pdfdoc.PDFDictionary(descriptor)),
            "DW": 1000,
            "W": pdfdoc.PDFArray(widths),
        }
        if not is_compact:
            there = (places.get(number, 0).to_bytes(2, "big") for number in range(numbers[-1] + 1))
            descendant["CIDToGIDMap"] = document.Reference(_stream(document, b"".join(there)))
        font = pdfdoc.PDFDictionary(
            {
                "Type": pdfdoc.PDFName("Font"),
                "Subtype": pdfdoc.PDFName("Type0"),
                "BaseFont": base,
                "Encoding": pdfdoc.PDFName("Identity-H"),
                "DescendantFonts": pdfdoc.PDFArray([document.Reference(pdfdoc.PDFDictionary(descendant))]),
                "ToUnicode": document.Reference(_stream(document, self._to_unicode())),
            }
        )
        document.idToObject["BasicFonts"].dict[self._name] = document.Reference(font)

    def _subset(self, numbers: list[int]) -> tuple[uharfbuzz.Face, Mapping[int, int]]:
        """Return a font file with only the glyphs `numbers`, in this weight, and a map of old to new glyph numbers."""
        face = self._typeface.face(self._weight)
        wanted = uharfbuzz.SubsetInput()
        wanted.glyph_set.update(numbers)
        wanted.flags = _AS_PDF
        wanted.drop_table_tag_set.update(_tag(table) for table in face.table_tags if table not in _NEEDED)
        if self._typeface.is_variable:
            wanted.pin_axis_location(face, "wght", self._weight)
        plan = uharfbuzz.SubsetPlan(face, wanted)
        return plan.execute(), dict(plan.old_to_new_glyph_mapping)

    def _to_unicode(self) -> bytes:
        """Return the PDF's ToUnicode CMap, which maps glyphs to the text that they stand for, for copying the text."""
        lines = [f"<{number:04x}> <{text.encode('utf-16-be').hex()}>" for number, text in sorted(self._shown.items())]
        blocks = (lines[begin : begin + 100] for begin in range(0, len(lines), 100))
        return "\n".join(
            [
                "/CIDInit /ProcSet findresource begin 12 dict begin begincmap",
                "/CMapName /Adobe-Identity-UCS def /CMapType 2 def",
                "1 begincodespacerange <0000> <ffff> endcodespacerange",
                *(f"{len(block)} beginbfchar\n" + "\n".join(block) + "\nendbfchar" for block in blocks),
                "endcmap CMapName currentdict /CMap defineresource pop end end",
            ]
        ).encode()


def _named(font: bytes, places: Mapping[int, int]) -> bytes:
    """Return a CFF font subset in which each glyph is found by the number that it has in the whole typeface.

    `places` maps those numbers to the glyphs' positions in the subset. The PDF's text uses the numbers of the whole
    typeface, because it is written before it is known which glyphs the subset has. Raises `ValueError` if the font has
    no charset.
    """
    found = _CHARSET.search(font)
    if found is None:
        raise ValueError("a CFF font without a charset")
    names = sorted(places, key=places.__getitem__)[1:]
    charset = b"\x00" + b"".join(number.to_bytes(2, "big") for number in names)
    return font[: found.start(1)] + len(font).to_bytes(4, "big") + font[found.end(1) :] + charset


def _moved(left: float) -> str:
    """Return the number for a PDF `TJ` operator that moves the following text to the left; "" if the move is too small.

    `left` is the distance in thousandths of the font size; a negative one moves the text to the right.
    """
    return f"{left:.1f}" if abs(left) >= 0.05 else ""


def _stream(document: Any, content: bytes) -> pdfdoc.PDFStream:
    stream = pdfdoc.PDFStream(content=content)
    if document.compression:
        stream.filters = [pdfdoc.PDFZCompress]
    return stream


def _tag(table: str) -> int:
    return int.from_bytes(table.encode().ljust(4), "big")
