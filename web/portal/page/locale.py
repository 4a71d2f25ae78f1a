"""The language of the page, and functions that format times, counts and phone numbers in that language."""

from __future__ import annotations

from datetime import date, datetime, timedelta

from flask_babel import get_locale

from models.values import Locale, as_locale
from tasks.wording.formats import count_text, day_text, last_day_text, long_date, moment_text, number_text, time_text


def locale() -> Locale:
    """Return the language of the current page, German or English."""
    return as_locale(str(get_locale()))


def counted(count: int) -> str:
    """Format a number of things in the page's language: '10.000', in English '10,000'."""
    return count_text(count, locale())


def moment(at: datetime) -> str:
    """Format day and time in Berlin in the page's language: '16. März 2026, 09:00 Uhr', '16 March 2026, 09:00'."""
    return moment_text(at, locale())


def clock_time(at: datetime) -> str:
    """Format the time of day in Germany in the page's language, rounded up to a full minute: '14:32 Uhr'."""
    return time_text(at if at == at.replace(second=0, microsecond=0) else at + timedelta(minutes=1), locale())


def day(at: datetime) -> str:
    """Format the day, in German time, on which the moment `at` lies, in the page's language: '16. März 2026'."""
    return day_text(at, locale())


def calendar_day(date: date) -> str:
    """Format a date in the page's language: '16. März 2026', in English '16 March 2026'."""
    return long_date(date, locale())


def last_day(end: datetime) -> str:
    """Format the last day on which something that ends at the moment `end` is valid, in the page's language.

    If `end` is midnight in Germany, that is the day before.
    """
    return last_day_text(end, locale())


def phone(e164: str) -> str:
    """Format an E.164 number for reading: "030 23125901"; a foreign number gets its country code."""
    return number_text(e164)
