"""Read the cells of a file of trunks: prices, days, months and phone numbers."""

from __future__ import annotations

import re
from datetime import date, datetime

from models.calendar_days import berlin_day, read_day
from models.phone_numbers import BadPhoneNumber, typed_phone_number

_PRICE = re.compile(r"([0-9]{1,6})(?:[.,]([0-9]{2}))?")
_OLDEST = date(1990, 1, 1)


def cents_of(cell: str) -> int | None:
    """Return a price in euros, such as 19,90 or 19.90 or 20, in cents; None if the text is no price."""
    found = _PRICE.fullmatch(cell)
    return int(found[1]) * 100 + int(found[2] or 0) if found else None


def day_of(cell: str, now: datetime) -> date | None:
    """Return the day of a text such as 2019-04-01 or 01.04.2019; None if it is none, in the future or before 1990."""
    day = read_day(cell)
    return day if day is not None and _OLDEST <= day <= berlin_day(now) else None


def months_of(cell: str, most: int) -> int | None:
    """Return a number of months from 0 to `most`; None if the text is none."""
    months = int(cell) if re.fullmatch("[0-9]{1,2}", cell) else most + 1
    return months if months <= most else None


def numbers_of(cell: str, most: int) -> frozenset[int] | None:
    """Return the phone numbers of a text, in E.164 without the plus sign; None if it has others, or more than `most`.

    They are divided by commas, and in any usual spelling. After a slash stands how many numbers follow each other from
    this one on: +49521999980/100.
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
