"""The usual typeface of printed PDFs, as ReportLab knows it. `shaping` prints characters that this typeface lacks."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from functools import cache, lru_cache
from threading import Lock
from typing import Any

from models.typefaces import FAMILY, WEIGHTS, font_file

_SUBSETS = 64
"""How many subsets of the typeface a process keeps: two PDFs with the same letters embed the same subset."""


@cache
def font_name(weight: int) -> str:
    """Return the name by which ReportLab knows the weight 400 or 600 of the typeface, read once in each process."""
    from reportlab import rl_config  # large: only where something is printed
    from reportlab.pdfbase.pdfmetrics import registerFont
    from reportlab.pdfbase.ttfonts import TTFont

    # Mails and files carry bytes; as text, each page would be a quarter longer.
    rl_config.useA85 = 0
    name = f"{FAMILY} {WEIGHTS[weight]}"
    # Shaped text goes another way.
    font = TTFont(name, str(font_file(weight)), shapable=False)
    _keep_subsets(font.face)
    registerFont(font)
    return name


def _keep_subsets(face: Any) -> None:
    """Let the typeface (ReportLab's `TTFontFace`) make and compress each subset once: half the time of a short PDF."""
    make, add = face.makeSubset, face.addSubsetObjects

    # The typeface reads its file from one position, which the threads of the front would move for each other.
    alone = Lock()

    @lru_cache(_SUBSETS)
    def made(characters: tuple[int, ...]) -> bytes:
        with alone:
            subset: bytes = make(list(characters))
        return subset

    def added(document: Any, name: str, characters: Sequence[int]) -> Any:
        descriptor = add(document, name, characters)
        file = document.idToObject[f"fontFile:{face.filename}({name})"]
        file.filters = [_CompressedOnce] if document.compression else []
        return descriptor

    face.makeSubset = lambda characters: made(tuple(characters))
    face.addSubsetObjects = added


class _CompressedOnce:
    """ReportLab's filter for compressed streams, which remembers what it compressed."""

    pdfname = "FlateDecode"
    encode = staticmethod(lru_cache(2 * _SUBSETS)(zlib.compress))
