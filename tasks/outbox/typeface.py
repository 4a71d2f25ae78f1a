"""The typeface of printed PDFs, as ReportLab knows it. What it lacks is printed by `tasks/outbox/shaping.py`."""

from __future__ import annotations

from functools import cache

from models.typefaces import FAMILY, WEIGHTS, font_file


@cache
def font_name(weight: int) -> str:
    """Return the name by which ReportLab knows the weight 400 or 600 of the typeface, read once in each process."""
    from reportlab.pdfbase.pdfmetrics import registerFont  # large: only where something is printed
    from reportlab.pdfbase.ttfonts import TTFont

    name = f"{FAMILY} {WEIGHTS[weight]}"
    # Shaped text goes another way.
    registerFont(TTFont(name, str(font_file(weight)), shapable=False))
    return name
