"""The check of names and parts of addresses: no unprintable characters, web addresses or spreadsheet errors (#N/A)."""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

from models.printable_text import unprintable

# What mail programs make a link of: an address with a scheme, with "www.", with a path or port, of numbers, of e-mail.
# "Dr.Meier/Schulz" and "1.OG/links" are none.
_WEB_OR_EMAIL_ADDRESS = re.compile(
    r"://"
    r"|\bwww\s?\.\s?\w"
    r"|(?<![\w.-])(?!(?:(?:dipl|dr|fr|geb|hr|ing|inh|med|prof|st|str)\.)+[\w-]+/)(?![0-9]+\.[deou]g/)"
    r"[\w.-]+\.[a-z]{2,24}(?:[/?#]\w|:[0-9])"
    r"|\b[0-9]{1,3}(?:\.[0-9]{1,3}){3}\b"
    r"|[^\s@]@[^\s@]+\.[^\W\d_]{2}",
    re.IGNORECASE,
)

# In all languages: #REF!, #BEZUG!, #NOM?. Without a mark at the end only those that are no words, LibreOffice's, and
# what stands for a number in too narrow a column.
_ERROR_VALUE = re.compile(
    r"#(?:NULL|LEER|NUL|DIV/0|VALUE|WERT|VALEUR|REF|BEZUG|NUM|ZAHL|NOMBRE|SPILL|ÜBERLAUF|CALC|KALK|FIELD|FELD|BLOCKED"
    r"|CONNECT|UNKNOWN|BUSY|EXTERNAL|PYTHON)!|#(?:NAME|NOM)\?|#N/?[AVD]|#N/DISP|#GETTING_DATA|#DATEN_ABRUFEN"
    r"|Err:[0-9]{3}|#{3,}",
    re.IGNORECASE,
)

# What mail programs decode in a header (RFC 2047, encoded-word): a text that says another one than it shows.
_ENCODED_WORD = re.compile(r"=\?[^?]+\?[bq]\?", re.IGNORECASE)


def is_error_value(text: str) -> bool:
    """Return whether the text is an error value of a spreadsheet program, such as #N/A, in any language."""
    return text[:1] in ("#", "E", "e") and _ERROR_VALUE.fullmatch(text) is not None


class NameFault(NamedTuple):
    """Why a text is forbidden as a name: the code of the broken rule, and the character if the code is `unprintable`.

    `character` is the first one that cannot be printed in a postal letter, with its code points: 'ᚠ (U+16A0)'.
    """

    code: Literal["unprintable", "error_value", "web_address"]
    character: str | None = None


def name_fault(text: str) -> NameFault | None:
    """Return the rule that a text breaks as a name or a part of an address; None if the text is allowed.

    `unprintable`: it cannot be printed in a postal letter. `error_value`: it is a spreadsheet's error, such as #N/A.
    `web_address`: it contains a web or e-mail address, which would become a link in mails to other people, or the
    encoding of mail headers (`=?utf-8?q?…?=`), which can hide an address. A domain alone is allowed: `Beispiel24.de
    GmbH`.
    """
    if character := unprintable(text):
        return NameFault("unprintable", character)
    if is_error_value(text):
        return NameFault("error_value")
    hides = _WEB_OR_EMAIL_ADDRESS.search(text) or _ENCODED_WORD.search(text)
    return NameFault("web_address") if hides else None
