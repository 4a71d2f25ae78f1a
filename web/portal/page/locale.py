"""In which language the page speaks, and how it says when."""

from __future__ import annotations

from datetime import datetime

import phonenumbers
from flask_babel import format_datetime, get_locale

from models.values import Locale, as_locale


def locale() -> Locale:
    """The page's language."""
    return as_locale(str(get_locale()))


def moment(at: datetime) -> str:
    """Day and time in Berlin, as one says it in a sentence."""
    said: str = format_datetime(at, "MMMM d, y, HH:mm" if locale() == "en" else "d. MMMM y, HH:mm 'Uhr'")
    return said


def phone(e164: str) -> str:
    """A phone number as people read it: +49 30 23125901."""
    number = phonenumbers.parse(e164)
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.INTERNATIONAL)
