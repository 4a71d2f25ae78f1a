"""Format prices, counts, dates and phone numbers for people, in German or British English."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from functools import lru_cache

import phonenumbers
from babel.dates import format_date, format_datetime
from babel.numbers import format_currency, format_decimal

from models.calendar_days import BERLIN, Month, berlin_day, last_day
from models.values import Locale

_REGIONS: Mapping[Locale, str] = {"de": "de_DE", "en": "en_GB"}
_TIMES: Mapping[Locale, str] = {"de": "HH:mm 'Uhr'", "en": "HH:mm"}
_MOMENTS: Mapping[Locale, str] = {"de": "d. MMMM y, HH:mm 'Uhr'", "en": "d MMMM y, HH:mm"}


@lru_cache(maxsize=1000)  # a few prices, in most mails
def euros(cents: int, locale: Locale) -> str:
    """Format euro cents in the language `locale`: '29,90 €', in English '€29.90'."""
    return format_currency(Decimal(cents) / 100, "EUR", locale=_REGIONS[locale])


def count_text(count: int, locale: Locale) -> str:
    """Format a number of things in the language `locale`: '10.000', in English '10,000'."""
    return format_decimal(count, locale=_REGIONS[locale])


@lru_cache(maxsize=1000)  # the same days again and again, in lists and files
def long_date(day: date, locale: Locale) -> str:
    """Format a day with the month's name in the language `locale`: '16. März 2026', in English '16 March 2026'."""
    return format_date(day, "long", locale=_REGIONS[locale])


def month_text(month: Month, locale: Locale) -> str:
    """Format a month with its name in the language `locale`: 'März 2026', in English 'March 2026'."""
    return format_date(month.first, "LLLL y", locale=_REGIONS[locale])


def day_text(at: datetime, locale: Locale) -> str:
    """Format the day that it is in Germany at the moment `at`: '16. März 2026', in English '16 March 2026'."""
    return long_date(berlin_day(at), locale)


def last_day_text(end: datetime, locale: Locale) -> str:
    """Format the last day of a period, in German local time, in the language `locale`.

    The period ends at the moment `end`; if that is midnight, its last day is the day before.
    """
    return long_date(last_day(end), locale)


def time_text(at: datetime, locale: Locale) -> str:
    """Format the time of day in Germany at the moment `at`: '09:00 Uhr', in English '09:00'."""
    return format_datetime(at, _TIMES[locale], BERLIN, _REGIONS[locale])


def moment_text(at: datetime, locale: Locale) -> str:
    """Format day and time in Germany at a moment: '16. März 2026, 09:00 Uhr', in English '16 March 2026, 09:00'."""
    return format_datetime(at, _MOMENTS[locale], BERLIN, _REGIONS[locale])


def number_text(number: str) -> str:
    """Format a phone number in E.164 for reading: '030 901820', or '+43 1 234567' for one of another country.

    Raises `phonenumbers.NumberParseException` if the text is no phone number.
    """
    parsed = phonenumbers.parse(number)
    form = phonenumbers.PhoneNumberFormat
    return phonenumbers.format_number(parsed, form.NATIONAL if parsed.country_code == 49 else form.INTERNATIONAL)


def numbers_text(first: int, last: int) -> str:
    """Format the numbers from `first` to `last`, which have the digits of E.164: '030 123450 … 030 123459'."""
    texts = [number_text(f"+{number}") for number in (first, last)]
    return texts[0] if first == last else " … ".join(texts)


def forwarding_text(numbers: tuple[int, int] | None, target: str) -> str:
    """Format a call forwarding: '030 123450 … 030 123459 → 0221 123456', or '→ 0221 123456' for all numbers."""
    return f"{numbers_text(*numbers)} → {number_text(target)}" if numbers is not None else f"→ {number_text(target)}"


def are_several(numbers: str) -> bool:
    """Return whether a text names more than one phone number: a block ('030 2312551-0 … -9') or a list.

    The numbers are in German notation.
    """
    return "…" in numbers or ", " in numbers
