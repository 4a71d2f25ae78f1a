"""The typeface of pages and printed PDFs. It has every character that `models.values.is_printable` allows."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable

FAMILY = "Source Sans Pro"
WEIGHTS = {400: "Regular", 600: "Semibold"}
"""The names of the typeface's weights by their CSS number."""


def font_file(weight: int) -> Traversable:
    """Return the TrueType file of a weight of the typeface: 400 (regular) or 600 (semibold)."""
    return files("font_source_sans_pro") / "files" / f"SourceSansPro-{WEIGHTS[weight]}.ttf"


@cache
def font_name(weight: int) -> str:
    """Return the name by which ReportLab knows the weight 400 or 600 of the typeface, read once in each process."""
    from reportlab.pdfbase.pdfmetrics import registerFont  # large: only where something is printed
    from reportlab.pdfbase.ttfonts import TTFont

    name = f"{FAMILY} {WEIGHTS[weight]}"
    registerFont(TTFont(name, str(font_file(weight))))
    return name
