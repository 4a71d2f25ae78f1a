"""Texts that describe call forwardings: condition, number and hours."""

from __future__ import annotations

from itertools import groupby

import phonenumbers
from flask_babel import get_locale
from flask_babel import gettext as _

from models.telephony.forwarded_numbers import Numbers
from models.telephony.forwarding import CallForwarding, Condition
from models.telephony.weekly_hours import ALL_WEEK, Hours, Window, windows_of


def condition_text(condition: Condition, after_seconds: int | None = None) -> str:
    """Describe on which condition calls are forwarded: "When busy".

    `after_seconds` are the seconds before a call counts as not answered; None leaves them out of the text.
    """
    match condition:
        case Condition.ALWAYS:
            return str(_("Always"))
        case Condition.BUSY:
            return str(_("When busy"))
        case Condition.NOT_REGISTERED:
            return str(_("When not registered"))
        case Condition.NO_ANSWER if after_seconds is not None:
            return str(_("When not answered after %(seconds)s seconds", seconds=after_seconds))
        case Condition.NO_ANSWER:
            return str(_("When not answered"))


def number_text(number: str) -> str:
    """Format an E.164 number for reading, German numbers without the country code."""
    parsed = phonenumbers.parse(number)
    form = phonenumbers.PhoneNumberFormat
    return phonenumbers.format_number(parsed, form.NATIONAL if parsed.country_code == 49 else form.INTERNATIONAL)


def numbers_text(numbers: Numbers) -> str:
    """Describe for which numbers a forwarding is: "030 123451", or "030 123450 to 030 123459"."""
    first, last = (number_text(f"+{number}") for number in numbers)
    return first if first == last else str(_("%(first)s to %(last)s", first=first, last=last))


def forwarding_text(found: CallForwarding) -> str:
    """Describe a forwarding for certain numbers in one line: "030 123451: Always → 0171 1234567 · All week"."""
    condition = condition_text(found.condition, found.after_seconds)
    numbers = f"{numbers_text(found.numbers)}: " if found.numbers else ""
    return f"{numbers}{condition} → {number_text(found.target)} · {hours_text(found.hours)}"


def hours_text(hours: Hours) -> str:
    """Describe the weekly hours of a forwarding: "Mo–Fr 18:00–08:00, Sa 00:00–24:00", or "All week"."""
    if hours == ALL_WEEK:
        return str(_("All week"))
    return ", ".join(map(_window_text, windows_of(hours)))


def time_text(minute: int) -> str:
    """Format a minute of the day (0 is midnight) as a time: 510 gives "08:30"."""
    return f"{minute // 60:02d}:{minute % 60:02d}"


def day_names(width: str = "abbreviated") -> dict[int, str]:
    """Return the names of the days of the week in the user's language; the keys are 0 (Monday) to 6 (Sunday).

    `width` is Babel's: "abbreviated" ("Mo") or "wide" ("Monday").
    """
    names = get_locale().days["stand-alone"][width]
    return {day: names[day].rstrip(".") for day in range(7)}


def _window_text(window: Window) -> str:
    return f"{_days_text(window)} {time_text(window.start)}–{_end_text(window.end)}"


def _end_text(minute: int) -> str:
    return time_text(minute) if minute else "24:00"


def _days_text(window: Window) -> str:
    names = day_names()
    runs = []
    for _place, run in groupby(enumerate(window.days), lambda pair: pair[1] - pair[0]):
        days = [day for _index, day in run]
        runs.append(names[days[0]] if len(days) == 1 else f"{names[days[0]]}–{names[days[-1]]}")
    return ", ".join(runs)
