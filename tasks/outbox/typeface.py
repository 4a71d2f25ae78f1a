"""The typeface of printed PDFs, which covers all languages written in Latin, Greek or Cyrillic."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING
from unicodedata import normalize

if TYPE_CHECKING:
    from fontTools.ttLib import TTFont
    from fpdf import FPDF

FAMILY = "Source Sans Pro"
_FILES = {"": "SourceSansPro-Regular.ttf", "B": "SourceSansPro-Bold.ttf"}


def add_typeface(pdf: FPDF) -> None:
    """Add the font `FAMILY`, regular and bold, to a PDF document."""
    for style, name in _FILES.items():
        pdf.add_font(FAMILY, style, str(files("font_source_sans_pro") / "files" / name))
    for font in pdf.fonts.values():
        _make_light(font.ttfont)  # type: ignore[union-attr]


def _make_light(font: TTFont) -> None:
    """Leave out what embedding a font does not need, and what takes half of the time: layout tables, bounding boxes."""
    font.recalcBBoxes = False
    for table in ("GDEF", "GPOS", "GSUB"):
        if table in font:
            del font[table]


def printable(text: str) -> str:
    """Normalise text to composed characters (NFC): the typeface cannot place combining accents."""
    return normalize("NFC", text)
