"""Text in printed letters and offers: which characters can be printed, and what replaces those that cannot."""

from __future__ import annotations

import re
import unicodedata

from models.invisible_characters import without_invisible
from models.text_direction import END_ISOLATE, ISOLATE
from models.typefaces import clusters, is_plain, lacking, typeface_of

_ISOLATES = (ISOLATE, END_ISOLATE)
_KEPT_IN_PRINT = (*_ISOLATES, "\n")
_PRINTED_AS = str.maketrans({"\u2010": "-", "\u2011": "-", "\u2002": " ", "\u2003": " ", "\u2009": " ", "\u202f": " "})


def in_print(text: str) -> str:
    """Return the text as it is printed in letters and offers: composed characters (NFC), plain hyphens and spaces.

    A character that no installed typeface has becomes a question mark. Invisible characters are removed, except FSI and
    PDI (U+2068, U+2069), which set the direction of the text between them.
    """
    if text.isascii():
        return text
    parts = re.split(f"([{ISOLATE}{END_ISOLATE}])", text)
    composed = unicodedata.normalize(
        "NFC", "".join(part if part in _ISOLATES else without_invisible(part) for part in parts)
    )
    shown = composed.translate(_PRINTED_AS)
    if is_plain(shown):
        return shown
    return "".join(part if part in _KEPT_IN_PRINT or typeface_of(part) else "?" for part in clusters(shown))


def unprintable(text: str) -> str:
    """Return the first character that cannot be printed in a postal letter, with its code points: 'ᚠ (U+16A0)'.

    Only the code points are returned if the character cannot be displayed either. The result is empty if the whole text
    can be printed: each character, with its combining marks, is in one of the typefaces.
    """
    lacks = lacking(unicodedata.normalize("NFC", text).translate(_PRINTED_AS))
    numbers = " ".join(f"U+{ord(part):04X}" for part in lacks[:3])
    return f"{lacks} ({numbers})" if lacks.isprintable() and lacks else numbers
