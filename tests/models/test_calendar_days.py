"""Tests of calendar days: how they may be typed, and that a deadline shown as a day ends with that day in Berlin."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from models.calendar_days import end_of_day, read_day


@pytest.mark.parametrize(
    ("moment", "end"),
    [
        # In winter and in summer, before and after midnight in Berlin, and on the day of 23 hours.
        ("2026-01-10T12:00", "2026-01-10T23:00"),
        ("2026-01-10T23:00", "2026-01-11T23:00"),
        ("2026-07-10T21:59", "2026-07-10T22:00"),
        ("2026-03-28T23:30", "2026-03-29T22:00"),
    ],
)
def test_a_deadline_said_as_a_day_ends_with_that_day_in_berlin(moment: str, end: str) -> None:
    at = datetime.fromisoformat(moment).replace(tzinfo=UTC)
    assert end_of_day(at) == datetime.fromisoformat(end).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("typed", "day"),
    [
        ("31.1.2027", date(2027, 1, 31)),
        ("31. 01. 2027", date(2027, 1, 31)),
        (" 2027-01-31 ", date(2027, 1, 31)),
        ("20270131", None),
        ("2027-W04-7", None),
        ("31.1.27", None),
        ("30.2.2027", None),
        ("٣١.١.٢٠٢٧", None),
        ("morgen", None),
        ("", None),
    ],
)
def test_a_day_is_read_as_germans_or_browsers_write_it(typed: str, day: date | None) -> None:
    assert read_day(typed) == day
