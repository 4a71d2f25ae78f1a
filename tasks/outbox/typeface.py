"""The typeface of what is printed, with the letters of all languages that are written in Latin, Greek or Cyrillic."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING
from unicodedata import normalize

if TYPE_CHECKING:
    from fpdf import FPDF

FAMILY = "Source Sans Pro"
_FILES = {"": "SourceSansPro-Regular.ttf", "B": "SourceSansPro-Bold.ttf"}


def add_typeface(pdf: FPDF) -> None:
    """Have `FAMILY` at hand, regular and bold."""
    for style, name in _FILES.items():
        pdf.add_font(FAMILY, style, str(files("font_source_sans_pro") / "files" / name))


def printable(text: str) -> str:
    """The text with each accented letter as one: the typeface sets no accents on letters."""
    return normalize("NFC", text)
