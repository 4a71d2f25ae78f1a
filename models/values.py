"""Small values with rules of their own: customer numbers, phone numbers, postal codes. Pure Python."""

from __future__ import annotations

import re
import secrets
import unicodedata
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Literal
from zoneinfo import ZoneInfo

Clock = Callable[[], datetime]
Locale = Literal["de", "en"]

BERLIN = ZoneInfo("Europe/Berlin")
"""Where the portal's days begin and end."""
LOCALES: tuple[Locale, ...] = ("de", "en")
CUSTOMER_NUMBER = re.compile(r"[1-9][0-9]{6}")
AREA_CODE = re.compile(r"0[1-9][0-9]{1,4}")
POSTAL_CODE = re.compile(r"[0-9]{5}")

SPELLINGS = {"ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss"}
MARKED, PLAIN = "äöüßáàâãåéèêëíìîïóòôõúùûñç", "aousaaaaaeeeeiiiioooouuunc"
"""Letters with marks, and each without; an index is built with them."""

_ABBREVIATIONS = {"st": "sankt", "hann": "hannoversch", "b": "bei", "a": "am", "d": "der", "i": "in"}
_CARRY_NO_PLACE = {"am", "an", "der", "im", "in", "bei"}


def utc_now() -> datetime:
    """The real clock; everything that needs the time takes a `Clock`."""
    return datetime.now(UTC)


def as_locale(language: str | None) -> Locale:
    """The nearest language we speak; German unless English is asked for."""
    return "en" if (language or "").lower().startswith("en") else "de"


def random_customer_number() -> str:
    """Seven digits, the first not 0. Random, so that one number says nothing about the next customer's."""
    return str(1_000_000 + secrets.randbelow(9_000_000))


def typed_customer_number(text: str) -> str | None:
    """The customer number that somebody has typed, with or without spaces or dashes in it; None if it is none."""
    number = re.sub(r"[\s./-]", "", text)
    return number if CUSTOMER_NUMBER.fullmatch(number) else None


def fold(text: str) -> str:
    """Small letters without their marks, as `models.db.text.plain_sql` does: 'München' is 'munchen'."""
    return _small(text).translate(str.maketrans(MARKED, PLAIN))


def spell(text: str) -> str:
    """Small letters, umlauts in two of them: 'München' is 'muenchen'."""
    spelled = _small(text)
    for letter, spelling in SPELLINGS.items():
        spelled = spelled.replace(letter, spelling)
    return spelled


def _small(text: str) -> str:
    # A Mac writes an umlaut as a letter and its mark.
    return unicodedata.normalize("NFC", text).lower()


def same_place(city: str, area_name: str) -> bool:
    """Whether a city of an address can lie in an Ortsnetz of this name.

    True if the words of one are the leading words of the other: 'Frankfurt' is in 'Frankfurt am Main',
    'Bielefeld-Senne' in 'Bielefeld'. Usual spellings agree: 'Muenchen', 'Freiburg i. Br.', 'Halle (Saale)'.
    Never true for an empty name.
    """
    ours, theirs = _place_words(city), _place_words(area_name)
    if not ours or not theirs or ours[0].removesuffix(".") != theirs[0].removesuffix("."):
        return False
    return all(map(_same_word, ours[1:], theirs[1:]))


def _place_words(name: str) -> list[str]:
    # Spelled out, and without the words that carry no place. An abbreviation ends with a dot: 'br.', and so does the
    # single letter of 'Frankfurt/M'.
    words = (
        _ABBREVIATIONS.get(word, word + "." if dot or len(word) == 1 else word)
        for word, dot in re.findall(r"([a-z]+)(\.?)", spell(name))
    )
    return [word for word in words if word not in _CARRY_NO_PLACE]


def _same_word(one: str, other: str) -> bool:
    return one == other or _abbreviates(one, other) or _abbreviates(other, one)


def _abbreviates(short: str, word: str) -> bool:
    return short.endswith(".") and word.startswith(short.removesuffix("."))


def address_key(street: str, postal_code: str, city: str) -> str:
    """The same for the same address in usual spellings: 'Brückenstraße 5' and 'Brueckenstr. 5' agree."""
    return re.sub(r"[^a-z0-9]", "", spell(f"{street} {postal_code} {city}").replace("strasse", "str"))


def national_to_e164(area_code: str) -> str:
    """The digits after the plus sign that every number of an area code starts with: '030' is '4930'."""
    return "49" + area_code.removeprefix("0")


def block_numbers(first: int, size: int) -> tuple[str, ...]:
    """Every number of a block in E.164, with the plus sign."""
    return tuple(f"+{number}" for number in range(first, first + size))


def display_block(area_code: str, first: int, size: int) -> str:
    """A block as people write it: '030 2312551-0 … -9', a single number without the range."""
    digits = str(first).removeprefix(national_to_e164(area_code))
    tail = len(str(size)) - 1
    if tail == 0:
        return f"{area_code} {digits}"
    return f"{area_code} {digits[:-tail]}-{'0' * tail} … -{'9' * tail}"
