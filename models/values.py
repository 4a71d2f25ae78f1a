"""Small values and their formats: clock, languages, customer numbers, area and postal codes, number blocks.

Needs no database.
"""

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


def utc_now() -> datetime:
    """Return this machine's current time in UTC. It may be wrong: programs use the database's time, `Database.now`."""
    return datetime.now(UTC)  # noqa: TID251 - the one place


def as_locale(language: str | None) -> Locale:
    """Return the portal's language for a language tag: "en" if the tag starts with "en", else "de", also for None."""
    return "en" if (language or "").lower().startswith("en") else "de"


def random_customer_number() -> str:
    """Return seven random digits, the first not 0. Random, so that no customer number reveals another one."""
    return str(1_000_000 + secrets.randbelow(9_000_000))


def typed_customer_number(text: str) -> str | None:
    """Return a typed customer number without spaces, dots, slashes and dashes.

    Return None unless exactly seven digits, the first not 0, are left.
    """
    number = re.sub(r"[\s./-]", "", text)
    return number if CUSTOMER_NUMBER.fullmatch(number) else None


def national_to_e164(area_code: str) -> str:
    """Return the E.164 digits, without the plus sign, that all numbers of an area code start with: '030' is '4930'."""
    return "49" + area_code.removeprefix("0")


def block_numbers(first: int, size: int) -> tuple[str, ...]:
    """Return all `size` numbers of a block in E.164, with the plus sign; `first` is its first number as an integer."""
    return tuple(f"+{number}" for number in range(first, first + size))


def display_block(area_code: str, first: int, size: int) -> str:
    """Return a number block in German notation: '030 2312551-0 … -9', or '030 2312551' for a block of one number.

    `area_code` has its leading zero. `first` is the block's first number as an integer, in E.164 digits without the
    plus sign. `size` is how many numbers the block has, a power of ten.
    """
    digits = str(first).removeprefix(national_to_e164(area_code))
    tail = len(str(size)) - 1
    if tail == 0:
        return f"{area_code} {digits}"
    return f"{area_code} {digits[:-tail]}-{'0' * tail} … -{'9' * tail}"
