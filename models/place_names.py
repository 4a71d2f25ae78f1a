"""Comparison of place names: can the town of an address lie in the Ortsnetz (local exchange area) of a given name?"""

from __future__ import annotations

import re
from collections.abc import Sequence

from models.spelling import spell

_ABBREVIATIONS = {"st": "sankt", "hann": "hannoversch", "b": "bei", "a": "am", "d": "der", "i": "in"}
_CARRY_NO_PLACE = {"am", "an", "der", "im", "in", "bei"}


def same_place(city: str, area_name: str) -> bool:
    """Return whether the city of an address can lie in the local exchange area (Ortsnetz) called `area_name`.

    True if the words of one name are the leading words of the other: 'Frankfurt' is in 'Frankfurt am Main',
    'Bielefeld-Senne' in 'Bielefeld'. Usual spellings agree: 'Muenchen', 'Freiburg i. Br.', 'Halle (Saale)'. False if
    either name is empty.
    """
    return same_place_words(place_words(city), place_words(area_name))


def same_place_words(ours: Sequence[str], theirs: Sequence[str]) -> bool:
    """Return whether two names, split into words by `place_words`, can mean the same place.

    They can if their first words are equal and each further word of the shorter name equals, or abbreviates, the word
    at its place in the longer one, or is abbreviated by it. The order of the two names does not matter. False if either
    has no words.
    """
    if not ours or not theirs or ours[0].removesuffix(".") != theirs[0].removesuffix("."):
        return False
    return all(map(_same_word, ours[1:], theirs[1:]))


def place_words(name: str) -> tuple[str, ...]:
    """Return the words that identify a place, in one spelling: 'Freiburg i. Br.' is ('freiburg', 'br.').

    Known abbreviations are spelled out, and words like "am" and "bei" are dropped. Every other abbreviation keeps its
    dot ('br.'); a single letter, as in 'Frankfurt/M', gets one.
    """
    words = (
        _ABBREVIATIONS.get(word, word + "." if dot or len(word) == 1 else word)
        for word, dot in re.findall(r"([a-z]+)(\.?)", spell(name))
    )
    return tuple(word for word in words if word not in _CARRY_NO_PLACE)


def _same_word(one: str, other: str) -> bool:
    return one == other or _abbreviates(one, other) or _abbreviates(other, one)


def _abbreviates(short: str, word: str) -> bool:
    return short.endswith(".") and word.startswith(short.removesuffix("."))
