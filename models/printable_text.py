"""Text in printed letters and offers: which characters can be printed, and how (plain hyphens and spaces)."""

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
    """Return the text as letters and offers print it: composed characters (NFC), plain hyphens and spaces.

    A character that no typeface has becomes a question mark. Invisible characters are left out, but not FSI and PDI,
    which set the direction of the text between them.
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
    """Return the first character of the text that letters cannot print, with its code points: 'ᚠ (U+16A0)'.

    A character that cannot be shown is given by its code points alone. Empty if letters can print all: for each
    character, with its marks, there is a typeface that has it.
    """
    lacks = lacking(unicodedata.normalize("NFC", text).translate(_PRINTED_AS))
    numbers = " ".join(f"U+{ord(part):04X}" for part in lacks[:3])
    return f"{lacks} ({numbers})" if lacks.isprintable() and lacks else numbers
