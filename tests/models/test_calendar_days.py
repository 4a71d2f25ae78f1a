"""Tests of deadlines that are shown as a day: they end with that day in Berlin."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from models.calendar_days import end_of_day


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
