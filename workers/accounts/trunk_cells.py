"""Parse the cells of a file of trunks: prices, days, months and phone numbers."""

from __future__ import annotations

import re
from datetime import date, datetime

from models.calendar_days import berlin_day, read_day
from models.phone_numbers import BadPhoneNumber, typed_phone_number

_PRICE = re.compile(r"([0-9]{1,6})(?:[.,]([0-9]{2}))?")
_OLDEST = date(1990, 1, 1)


def cents_of(cell: str) -> int | None:
    """Convert a price in euros, such as 19,90 or 19.90 or 20, to cents; return None if the text is no price."""
    found = _PRICE.fullmatch(cell)
    return int(found[1]) * 100 + int(found[2] or 0) if found else None


def day_of(cell: str, now: datetime) -> date | None:
    """Return the day that a text such as 2019-04-01 or 01.04.2019 names.

    Returns None if the text names no day, or a day before 1990 or after today in Berlin. `now` is the current time.
    """
    day = read_day(cell)
    return day if day is not None and _OLDEST <= day <= berlin_day(now) else None


def months_of(cell: str, most: int) -> int | None:
    """Return the number of months that the text states; None if the text is no whole number from 0 to `most`."""
    months = int(cell) if re.fullmatch("[0-9]{1,2}", cell) else most + 1
    return months if months <= most else None


def numbers_of(cell: str, most: int) -> frozenset[int] | None:
    """Return the phone numbers that the text lists, each in E.164 without the plus sign, as an integer.

    The text separates numbers by commas and may spell them in any usual form. A range is its first number, a slash and
    the count of its numbers: +49521999980/100. Returns None if a part is no phone number, or if the text lists more
    than `most` numbers.
    """
    found = set[int]()
    for part in cell.split(","):
        typed, slash, count = part.rpartition("/")
        if not slash or not re.fullmatch(r" *[1-9][0-9]{0,4} *", count):
            typed, count = part, "1"
        try:
            first = int(typed_phone_number(typed))
        except BadPhoneNumber:
            return None
        if len(found) + int(count) > most:
            return None
        found.update(range(first, first + int(count)))
    return frozenset(found)
