"""German spellings for searching and comparing: without accents, and with umlauts spelled out. Needs no database."""

from __future__ import annotations

import unicodedata

SPELLINGS = {"ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss"}

MARKED, PLAIN = "äöüßáàâãåéèêëíìîïóòôõúùûñç", "aousaaaaaeeeeiiiioooouuunc"
"""Accented letters, and the plain letter for each position. Database indexes depend on both strings."""


def fold(text: str) -> str:
    """Return the text in lower case without accents: 'München' is 'munchen'. `plain_sql` does the same in SQL."""
    return _small(text).translate(str.maketrans(MARKED, PLAIN))


def spell(text: str) -> str:
    """Return the text in lower case with umlauts and ß spelled out in two letters: 'München' is 'muenchen'."""
    spelled = _small(text)
    for letter, spelling in SPELLINGS.items():
        spelled = spelled.replace(letter, spelling)
    return spelled


def _small(text: str) -> str:
    # macOS writes an umlaut as two characters, the letter and a combining mark; NFC joins them.
    return unicodedata.normalize("NFC", text).lower()
