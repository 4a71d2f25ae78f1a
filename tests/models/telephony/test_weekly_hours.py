"""Tests of weekly schedules: conversion between minutes of the week in Germany and readable time windows."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.telephony.weekly_hours import (
    ALL_WEEK,
    DAY,
    WEEK,
    Hours,
    Window,
    covers,
    hours_of,
    minute_of,
    overlap,
    windows_of,
)

MINUTES = st.integers(0, DAY - 1)
WINDOWS = st.lists(
    st.builds(
        lambda days, start, end: Window(tuple(sorted(days)), start, end),
        st.sets(st.integers(0, 6), min_size=1),
        MINUTES,
        MINUTES,
    ),
    max_size=5,
)
WORKDAYS, WEEKEND = (0, 1, 2, 3, 4), (5, 6)
EVENING, MORNING = 18 * 60, 8 * 60


def minutes(hours: Hours) -> set[int]:
    """Return every minute of the week that the hours cover: numbers from 0 (Monday 0:00) to 10,079."""
    return {minute for start, end in hours for minute in range(start, end)}


def by_hand(windows: list[Window]) -> set[int]:
    """Return every minute of the week that the windows cover (0 to 10,079), counted minute by minute."""
    found = set()
    for window in windows:
        for day in window.days:
            for passed in range((window.end - window.start) % DAY or DAY):
                found.add((day * DAY + window.start + passed) % WEEK)
    return found


@given(WINDOWS)
def test_hours_are_what_the_windows_cover_in_order_and_apart(windows: list[Window]) -> None:
    hours = hours_of(windows)
    assert minutes(hours) == by_hand(windows)
    assert all(0 <= start < end <= WEEK for start, end in hours)
    assert all(one[1] < other[0] for one, other in pairwise(hours))


@given(WINDOWS)
def test_windows_say_the_same_hours_again(windows: list[Window]) -> None:
    hours = hours_of(windows)
    assert hours_of(windows_of(hours)) == hours


@given(WINDOWS, WINDOWS)
def test_overlapping_is_having_a_minute_in_common(one: list[Window], other: list[Window]) -> None:
    assert overlap(hours_of(one), hours_of(other)) == bool(by_hand(one) & by_hand(other))


def test_people_read_what_they_have_typed() -> None:
    nights = [Window(WORKDAYS, EVENING, MORNING)]
    assert windows_of(hours_of(nights)) == nights
    sunday = [Window((6,), EVENING, MORNING)]
    assert windows_of(hours_of(sunday)) == sunday
    whole = [Window(WEEKEND, 0, 0)]
    assert windows_of(hours_of(whole)) == whole
    assert windows_of(ALL_WEEK) == [Window((0, 1, 2, 3, 4, 5, 6), 0, 0)]


@pytest.mark.parametrize(
    ("at", "there"),
    [
        (datetime(2026, 3, 2, 8, 0, tzinfo=UTC), 9 * 60),
        (datetime(2026, 3, 1, 23, 30, tzinfo=UTC), 30),
        # The nights in which daylight saving time begins (2:00 becomes 3:00) and ends (3:00 becomes 2:00).
        (datetime(2026, 3, 29, 0, 59, tzinfo=UTC), 6 * DAY + 119),
        (datetime(2026, 3, 29, 1, 0, tzinfo=UTC), 6 * DAY + 180),
        (datetime(2026, 10, 25, 0, 30, tzinfo=UTC), 6 * DAY + 150),
        (datetime(2026, 10, 25, 1, 30, tzinfo=UTC), 6 * DAY + 150),
        (datetime(2026, 7, 6, 16, 0, tzinfo=UTC), 18 * 60),
    ],
)
def test_times_of_day_are_those_on_german_clocks(at: datetime, there: int) -> None:
    assert minute_of(at) == there
    assert covers(((there, there + 1),), at) and not covers(((there + 1, there + 2),), at)
