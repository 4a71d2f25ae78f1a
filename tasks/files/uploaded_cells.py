"""Convert cells of uploaded tables to text, and recognise damaged cells."""

from __future__ import annotations

import re

from models.invisible_characters import typed_text
from models.name_rules import is_error_value
from models.text_cutting import shortened
from tasks.files.text_encoding import UNREADABLE

_LONGEST = 1_000
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")
_FORMULA_GUARD = re.compile(r"^'(?=[=+\-@])")
_SHORTENED = re.compile(r"[0-9]+[.,][0-9]+E[+-][0-9]+|[0-9]+E\+[0-9]{2}", re.IGNORECASE)
_LOST_LETTER = re.compile(r"[^\W\d_]\?[a-z]")


def cell_text(value: object) -> str:
    """Return the value of a cell as text, without invisible characters and unneeded white space.

    A whole number of a spreadsheet loses its ".0". Control characters become U+FFFD (`UNREADABLE`). An apostrophe
    before a character that can begin a formula is removed, because the portal's exports add one. Text is cut to 1,000
    characters.
    """
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = str(value)
    if not (text.isascii() and text.isprintable()):
        text = _CONTROL.sub(UNREADABLE, _without_controls_around(typed_text(text)))
    text = " ".join(text.split())
    return shortened(_FORMULA_GUARD.sub("", text), _LONGEST)


def cell_fault(text: str) -> str | None:
    """Return the code of the damage that makes a cell unusable in any column; None if there is none.

    `unreadable_character`: a character was lost, when the file was read or before. `error_value`: an error of the
    spreadsheet, such as #N/A. `shortened_number`: a number in the form 4.93E+11, whose last digits are lost.
    """
    if UNREADABLE in text or ("?" in text and _LOST_LETTER.search(text)):
        return "unreadable_character"
    if is_error_value(text):
        return "error_value"
    if ("+" in text or "-" in text) and _SHORTENED.fullmatch(text):
        return "shortened_number"
    return None


def _without_controls_around(text: str) -> str:
    # By hand: an expression that looks for the end anew at each character takes seconds for one cell of blanks.
    begin, end = 0, len(text)
    while begin < end and _is_blank(text[begin]):
        begin += 1
    while end > begin and _is_blank(text[end - 1]):
        end -= 1
    return text[begin:end]


def _is_blank(character: str) -> bool:
    return character.isspace() or _CONTROL.match(character) is not None
