"""Weekly schedules: days and times of day in Germany. Uses no database.

A schedule is stored as minutes of the week, counted from Monday 00:00 German local time, and shown as time windows. A
window that ends no later than it begins continues on the next day: 18:00 to 08:00 is a night, 00:00 to 00:00 a whole
day.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

from models.calendar_days import BERLIN

DAY = 24 * 60
WEEK = 7 * DAY

Hours = tuple[tuple[int, int], ...]
"""A weekly schedule: pairs of first minute and end minute (excluded) of the week, in order, with gaps between them."""
ALL_WEEK: Hours = ((0, WEEK),)


@dataclass(frozen=True, slots=True)
class Window:
    """A time window on each of `days` (0 is Monday), from `start` to `end`, both in minutes of the day.

    An `end` that is not later than `start` is on the following day.
    """

    days: tuple[int, ...]
    start: int
    end: int


def hours_of(windows: Iterable[Window]) -> Hours:
    """Return the weekly schedule (minutes of the week) of all minutes that at least one of the windows covers."""
    found = []
    for window in windows:
        length = (window.end - window.start) % DAY or DAY
        for day in window.days:
            start = day * DAY + window.start
            found.append((start, min(start + length, WEEK)))
            if start + length > WEEK:
                found.append((0, start + length - WEEK))
    return _joined(found)


def windows_of(hours: Hours) -> list[Window]:
    """Return a weekly schedule as time windows, in the order of the week; days with the same times share a window.

    A span of more than 24 hours is split at each midnight.
    """
    times: dict[tuple[int, int], list[int]] = defaultdict(list)
    for start, end in _around_sunday(hours):
        for begins, ends in _days(start, end):
            times[begins % DAY, ends % DAY].append(begins // DAY % 7)
    windows = [Window(tuple(sorted(days)), start, end) for (start, end), days in times.items()]
    return sorted(windows, key=lambda window: (window.days, window.start))


def minute_of(at: datetime) -> int:
    """Return the minute of the week in Germany (0 is Monday 00:00) at the time `at`."""
    there = at.astimezone(BERLIN)
    return there.weekday() * DAY + there.hour * 60 + there.minute


def covers(hours: Hours, at: datetime) -> bool:
    """Return whether the weekly schedule includes the time `at`."""
    minute = minute_of(at)
    return any(start <= minute < end for start, end in hours)


def overlap(one: Hours, other: Hours) -> bool:
    """Return whether two weekly schedules have a minute in common."""
    return any(start < end_too and start_too < end for start, end in one for start_too, end_too in other)


def _joined(found: Iterable[tuple[int, int]]) -> Hours:
    joined: list[tuple[int, int]] = []
    for start, end in sorted(found):
        if joined and start <= joined[-1][1]:
            joined[-1] = joined[-1][0], max(joined[-1][1], end)
        else:
            joined.append((start, end))
    return tuple(joined)


def _around_sunday(hours: Hours) -> Sequence[tuple[int, int]]:
    # What goes on from Sunday to Monday stands at both ends of the week.
    if len(hours) > 1 and hours[0][0] == 0 and hours[-1][1] == WEEK:
        return [*hours[1:-1], (hours[-1][0], WEEK + hours[0][1])]
    return hours


def _days(start: int, end: int) -> Sequence[tuple[int, int]]:
    if end - start <= DAY:
        return [(start, end)]
    cuts = [start, *range((start // DAY + 1) * DAY, end, DAY), end]
    return list(pairwise(cuts))
