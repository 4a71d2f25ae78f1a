"""The files of the pages' typeface, which is also that of letters and offers."""

from __future__ import annotations

import io
from functools import lru_cache

from flask import Blueprint, Response

from tasks.outbox.typeface import WEIGHTS, font_file

typeface = Blueprint("typeface", __name__)

_A_YEAR = 365 * 24 * 60 * 60


@typeface.get(f"/schrift/<any({', '.join(f'{weight!r}' for weight in map(str, WEIGHTS))}):weight>.woff")
def show(weight: str) -> Response:
    """Return the font file of a weight (400 or 600) for web/static/portal.css; browsers keep it for a year."""
    response = Response(_compressed(int(weight)), mimetype="font/woff")
    response.headers["Cache-Control"] = f"public, max-age={_A_YEAR}, immutable"
    return response


@lru_cache
def _compressed(weight: int) -> bytes:
    """Return the font in the format WOFF, half as large as the TrueType file; computed once in each process."""
    from fontTools.ttLib import TTFont  # a large import, which few processes need

    with font_file(weight).open("rb") as file, TTFont(io.BytesIO(file.read()), lazy=True) as font:
        font.flavor = "woff"
        packed = io.BytesIO()
        font.save(packed, reorderTables=None)
    return packed.getvalue()
