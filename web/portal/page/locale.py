"""The language of the page, and times and phone numbers in that language."""

from __future__ import annotations

from datetime import datetime

from flask_babel import format_datetime, get_locale

from models import values
from models.phone_numbers import display_phone_number
from models.values import Locale, as_locale
from tasks.wording.formats import long_date


def locale() -> Locale:
    """Return the language of the current page, German or English."""
    return as_locale(str(get_locale()))


def moment(at: datetime) -> str:
    """Format date and time (German time zone) in the page's language, for use in a sentence."""
    text: str = format_datetime(at, "MMMM d, y, HH:mm" if locale() == "en" else "d. MMMM y, HH:mm 'Uhr'")
    return text


def last_day(end: datetime) -> str:
    """Format the day that ends at this moment, as the last day on which something is valid."""
    return long_date(values.last_day(end), locale())


def phone(e164: str) -> str:
    """Format an E.164 number with spaces and country code, for example +49 30 23125901."""
    return display_phone_number(e164)
