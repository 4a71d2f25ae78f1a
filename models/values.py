"""Small values with rules of their own: customer numbers, phone numbers, postal codes. Pure Python."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Literal

Clock = Callable[[], datetime]
Locale = Literal["de", "en"]

LOCALES: tuple[Locale, ...] = ("de", "en")
CUSTOMER_NUMBER = re.compile(r"[1-9][0-9]{6}")
AREA_CODE = re.compile(r"0[1-9][0-9]{1,4}")
POSTAL_CODE = re.compile(r"[0-9]{5}")

_UMLAUTS = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss"})
_ABBREVIATIONS = {"st": "sankt", "b": "bei", "a": "am", "d": "der", "i": "in"}


def utc_now() -> datetime:
    """The real clock; everything that needs the time takes a `Clock`."""
    return datetime.now(UTC)


def as_locale(language: str | None) -> Locale:
    """The nearest language we speak; German unless English is asked for."""
    return "en" if (language or "").lower().startswith("en") else "de"


def random_customer_number() -> str:
    """Seven digits, the first not 0. Random, so that one number says nothing about the next customer's."""
    return str(1_000_000 + secrets.randbelow(9_000_000))


def plain_place(name: str) -> list[str]:
    """The words of a place name, folded so that usual spellings agree: 'Frankfurt (Main)' and 'Frankfurt am Main'
    differ only in a word that carries no place."""
    folded = name.casefold().translate(_UMLAUTS)
    words = re.findall(r"[a-z]+", folded)
    return [_ABBREVIATIONS.get(word, word) for word in words]


def same_place(city: str, area_name: str) -> bool:
    """Whether a city of an address can lie in an Ortsnetz of this name.

    True if the words of one are the leading words of the other: 'Frankfurt' is in 'Frankfurt am Main',
    'Bielefeld-Senne' in 'Bielefeld'. Never true for an empty name.
    """
    ours, theirs = (
        [word for word in plain_place(name) if word not in {"am", "an", "der", "im", "in", "bei"}]
        for name in (city, area_name)
    )
    shared = min(len(ours), len(theirs))
    return shared > 0 and ours[:shared] == theirs[:shared]


def national_to_e164(area_code: str) -> str:
    """The digits after the plus sign that every number of an area code starts with: '030' is '4930'."""
    return "49" + area_code.removeprefix("0")


def block_numbers(first: int, size: int) -> tuple[str, ...]:
    """Every number of a block in E.164, with the plus sign."""
    return tuple(f"+{number}" for number in range(first, first + size))


def display_block(area_code: str, first: int, size: int) -> str:
    """A block as people write it: '030 2312551-0 bis -9', a single number without the range. Digits only, a dash."""
    digits = str(first).removeprefix(national_to_e164(area_code))
    tail = len(str(size)) - 1
    if tail == 0:
        return f"{area_code} {digits}"
    return f"{area_code} {digits[:-tail]}-{'0' * tail} … -{'9' * tail}"
