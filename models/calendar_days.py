"""Calendar days in Berlin: on which day a moment lies, and when a deadline that is given as a day ends.

Needs no database.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

BERLIN = ZoneInfo("Europe/Berlin")
"""The time zone in which the portal's calendar days begin and end."""


def berlin_day(at: datetime) -> date:
    """Return the date that it is in Berlin at the moment `at`."""
    return at.astimezone(BERLIN).date()


def end_of_day(at: datetime) -> datetime:
    """Return the end, in UTC, of the day in Berlin on which `at` lies: a deadline given as a day ends with that day."""
    next_day = berlin_day(at) + timedelta(days=1)
    return datetime.combine(next_day, time(), BERLIN).astimezone(UTC)


def start_of_day(at: datetime) -> datetime:
    """Return the start of the day in Berlin on which `at` lies, in UTC."""
    return first_moment(berlin_day(at))


def first_moment(day: date) -> datetime:
    """Return the moment at which the day begins in Berlin, in UTC."""
    return datetime.combine(day, time(), BERLIN).astimezone(UTC)


def last_day(end: datetime) -> date:
    """Return the last day in Berlin on which a deadline that ends at the moment `end` has not passed.

    If `end` is a midnight in Berlin, this is the day before, otherwise the day in which `end` lies.
    """
    return berlin_day(end - timedelta(microseconds=1))
