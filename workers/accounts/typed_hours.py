"""Read a weekly schedule from a cell: the part of OpenStreetMap's `opening_hours` that has days and times of day.

"Mo-Fr 18:00-08:00; Sa,Su 00:00-24:00" is every working night and the whole weekend. A time that ends no later than it
begins goes on the next day. "24/7", or nothing, is the whole week.
https://wiki.openstreetmap.org/wiki/Key:opening_hours
"""

from __future__ import annotations

import re

from models.errors import InvalidField
from models.telephony.weekly_hours import ALL_WEEK, DAY, Hours, Window, hours_of

_DAYS = ("mo", "tu", "we", "th", "fr", "sa", "su")
_RULE = re.compile(r"([a-z][a-z, -]*?) (\d[\d:, -]*)")
_SPAN = re.compile(r"(\d{1,2}):(\d\d) ?- ?(\d{1,2}):(\d\d)")


def typed_hours(cell: str) -> Hours:
    """Return the weekly schedule that a cell describes, in minutes of the week.

    Raises `InvalidField` (`hours`, `not_hours`) for anything but days (`Mo`, `Mo-Fr`, `Sa,Su`), each followed by times
    (`18:00-08:00`), in rules that are separated by `;`.
    """
    text = " ".join(cell.lower().split())
    if text in ("", "24/7"):
        return ALL_WEEK
    try:
        return hours_of(_windows(text))
    except ValueError as error:
        raise InvalidField("hours", "not_hours") from error


def _windows(text: str) -> list[Window]:
    windows = []
    for rule in text.split(";"):
        found = _RULE.fullmatch(rule.strip())
        if found is None:
            raise ValueError(rule)
        days = tuple(day for part in found[1].split(",") for day in _days(part.strip()))
        windows += [Window(days, *_span(part.strip())) for part in found[2].split(",")]
    return windows


def _days(part: str) -> list[int]:
    """Return the days of the week (0 is Monday) from the first to the last one that `part` names, over Sunday, too."""
    named = [_DAYS.index(day.strip()) for day in part.split("-")]
    if len(named) > 2:
        raise ValueError(part)
    first, last = named[0], named[-1]
    return [day % 7 for day in range(first, last + 1 if last >= first else last + 8)]


def _span(part: str) -> tuple[int, int]:
    """Return the first minute of the day of a span of time, and the minute at which it ends."""
    found = _SPAN.fullmatch(part)
    if found is None:
        raise ValueError(part)
    hour, minute, last_hour, last_minute = map(int, found.groups())
    start, end = hour * 60 + minute, last_hour * 60 + last_minute
    if start >= DAY or end > DAY or minute > 59 or last_minute > 59:
        raise ValueError(part)
    return start, end % DAY
