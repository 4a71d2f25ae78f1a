"""Load into ReportLab the typeface that PDFs usually have, and reuse the parts of it that PDFs embed.

`tasks.outbox.shaping` handles characters that this typeface lacks.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from functools import cache, lru_cache
from threading import Lock
from typing import Any

from models.typefaces import FAMILY, WEIGHTS, font_file

_SUBSETS = 64
"""How many subsets of the typeface a process keeps for reuse: PDFs with the same letters embed the same subset."""


@cache
def font_name(weight: int) -> str:
    """Register the PDFs' usual typeface with ReportLab in the weight 400 or 600, and return its name there.

    The font file is read once in each process.
    """
    from reportlab import rl_config  # large: only where something is printed
    from reportlab.pdfbase.pdfmetrics import registerFont
    from reportlab.pdfbase.ttfonts import TTFont

    # Mails and files carry bytes; as text, each page would be a quarter longer.
    rl_config.useA85 = 0
    name = f"{FAMILY} {WEIGHTS[weight]}"
    # Shaped text goes another way.
    font = TTFont(name, str(font_file(weight)), shapable=False)
    _keep_subsets(font.face)
    _keep_objects(font)
    registerFont(font)
    return name


def _keep_objects(font: Any) -> None:
    """Patch ReportLab's `font` (a `TTFont`) so that two of its PDF objects are formatted once and reused in later PDFs.

    These are the widths of a subset's characters, and the map from glyphs to text, for copying. Formatting a hundred
    widths for each PDF takes as long as drawing its text.
    """
    add = font.addObjects

    def added(document: Any) -> None:
        names = [font.getSubsetInternalName(place, document)[1:] for place in range(len(font.state[document].subsets))]
        add(document)
        for name in names:
            subset = document.idToObject["BasicFonts"].dict[name]
            subset.Widths = _array(tuple(subset.Widths.sequence))
            letters = document.idToObject[subset.ToUnicode.name]
            letters.content = letters.content.encode()
            letters.filters = [_CompressedOnce] if document.compression else []

    font.addObjects = added


@lru_cache(2 * _SUBSETS)
def _array(numbers: tuple[float, ...]) -> bytes:
    return f"[ {' '.join(f'{number:g}' for number in numbers)} ]".encode()


def _keep_subsets(face: Any) -> None:
    """Patch ReportLab's typeface `face` (a `TTFontFace`) so that it keeps the font subsets that it has made.

    PDFs with the same letters embed the same subset; not making it again halves the time for a short PDF.
    """
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
    """A ReportLab stream filter that compresses with zlib, and caches results for PDFs that embed the same data."""

    pdfname = "FlateDecode"
    encode = staticmethod(lru_cache(2 * _SUBSETS)(zlib.compress))
