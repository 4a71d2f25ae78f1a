"""The typeface of pages and printed PDFs. It has every character that `models.values.is_printable` allows."""

from __future__ import annotations

from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fontTools.ttLib import TTFont
    from fpdf import FPDF

FAMILY = "Source Sans Pro"
WEIGHTS = {400: "Regular", 600: "Semibold"}
"""The names of the typeface's weights by their CSS number."""


def font_file(weight: int) -> Traversable:
    """Return the TrueType file of a weight, one of `WEIGHTS`."""
    return files("font_source_sans_pro") / "files" / f"SourceSansPro-{WEIGHTS[weight]}.ttf"


def add_typeface(pdf: FPDF) -> None:
    """Add the font `FAMILY`, regular and bold, to a PDF document."""
    for style, weight in (("", 400), ("B", 600)):
        pdf.add_font(FAMILY, style, str(font_file(weight)))
    for font in pdf.fonts.values():
        _make_light(font.ttfont)  # type: ignore[union-attr]


def _make_light(font: TTFont) -> None:
    """Leave out what embedding a font does not need, and what takes half of the time: layout tables, bounding boxes."""
    font.recalcBBoxes = False
    for table in ("GDEF", "GPOS", "GSUB"):
        if table in font:
            del font[table]
