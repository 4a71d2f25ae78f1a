"""Calendar days and months in Berlin: the day on which a moment lies, and the moments at which a day begins and ends.

Needs no database.
"""

from __future__ import annotations

import re
from calendar import monthrange
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

BERLIN = ZoneInfo("Europe/Berlin")
"""The time zone in which the portal's calendar days begin and end."""
_GERMAN = re.compile(r"(\d{1,2})\.\s?(\d{1,2})\.\s?(\d{4})", re.ASCII)
_ISO = re.compile(r"(\d{4})-(\d{2})-(\d{2})", re.ASCII)
_MONTH = re.compile("(20[0-9]{2})-(0[1-9]|1[0-2])")


def read_day(typed: str) -> date | None:
    """Parse a typed date such as 31.01.2027, 31. 1. 2027 or 2027-01-31; return None if the text is no valid date.

    Spaces around the date are ignored.
    """
    text = typed.strip()
    try:
        if german := _GERMAN.fullmatch(text):
            return date(int(german[3]), int(german[2]), int(german[1]))
        if iso := _ISO.fullmatch(text):
            return date(int(iso[1]), int(iso[2]), int(iso[3]))
    except ValueError:
        pass
    return None


def berlin_day(at: datetime) -> date:
    """Return the calendar date in Berlin at the moment `at`, which must be an aware datetime."""
    return at.astimezone(BERLIN).date()


def end_of_day(at: datetime) -> datetime:
    """Return the end of the day in Berlin on which `at` lies: the following midnight, as a time in UTC.

    A deadline that is given as a day ends with that day.
    """
    next_day = berlin_day(at) + timedelta(days=1)
    return datetime.combine(next_day, time(), BERLIN).astimezone(UTC)


def start_of_day(at: datetime) -> datetime:
    """Return the start of the day in Berlin on which `at` lies: the midnight before or at `at`, as a time in UTC."""
    return first_moment(berlin_day(at))


def first_moment(day: date) -> datetime:
    """Return the start of the day in Berlin (its midnight), as a time in UTC."""
    return datetime.combine(day, time(), BERLIN).astimezone(UTC)


def last_day(end: datetime) -> date:
    """Return the last day, in Berlin, of a period that ends at the moment `end`; that moment is no longer part of it.

    If `end` is a midnight in Berlin, this is the day before, otherwise the day that contains `end`.
    """
    return berlin_day(end - timedelta(microseconds=1))


@dataclass(frozen=True, order=True, slots=True)
class Month:
    """A month of the calendar, `number` 1 to 12; written as '2026-11'."""

    year: int
    number: int

    def __str__(self) -> str:
        """Return the month as '2026-11'."""
        return f"{self.year:04}-{self.number:02}"

    @classmethod
    def of(cls, day: date) -> Month:
        """Return the month in which the day lies."""
        return cls(day.year, day.month)

    @classmethod
    def read(cls, text: str) -> Month:
        """Parse a month such as '2026-11'. Raises `ValueError` for any other format, or a year outside 2000 to 2099."""
        found = _MONTH.fullmatch(text)
        if found is None:
            raise ValueError(text)
        return cls(int(found[1]), int(found[2]))

    @property
    def days(self) -> int:
        """Return how many days the month has."""
        return monthrange(self.year, self.number)[1]

    @property
    def first(self) -> date:
        """Return the first day of the month."""
        return date(self.year, self.number, 1)

    @property
    def after(self) -> date:
        """Return the first day of the next month."""
        return self.later(1).first

    def later(self, months: int) -> Month:
        """Return the month that is `months` months later; earlier if `months` is negative."""
        year, place = divmod(self.year * 12 + self.number - 1 + months, 12)
        return Month(year, place + 1)
