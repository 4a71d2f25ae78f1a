"""Tests of what contract lines cost in a month, compared with a simple model.

The model checks each day separately, and computes with exact fractions.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.calendar_days import BERLIN, Month, berlin_day, first_moment
from models.contracts.catalogue import PriceLine
from models.contracts.monthly_costs import LineChange, RunningLine, changes_in, charge_of, share

PRICES = st.integers(0, 1_000_000)
MONTHS = st.builds(Month, st.integers(2000, 2099), st.integers(1, 12))
# Months with 28, 29, 30 and 31 days, both changes of the clock, and the turn of the year.
SPAN = [Month(2027, 10).later(place) for place in range(7)]
FIRST, LAST = first_moment(SPAN[0].first), first_moment(SPAN[-1].after)


@st.composite
def moments(draw: st.DrawFn) -> datetime:
    """Draw a moment from October 2027 to April 2028: often a midnight in Berlin, or a microsecond beside one."""
    day = SPAN[0].first + timedelta(days=draw(st.integers(0, (SPAN[-1].after - SPAN[0].first).days - 1)))
    beside = draw(st.sampled_from([0, 1, -1, 10 * 3600 * 10**6, draw(st.integers(0, 86_000 * 10**6))]))
    return min(max(first_moment(day) + timedelta(microseconds=beside), FIRST), LAST)


def line(began: datetime, ended: datetime | None, monthly: int, one_off: int = 0, key: str = "trunk-10") -> RunningLine:
    """Return a contract line that begins on the day of `began` and ends on the day of `ended` (None: it has no end).

    `monthly` and `one_off` are its prices in cents, `key` is its product key.
    """
    return RunningLine(1, PriceLine(key, monthly, one_off), berlin_day(began), ended and berlin_day(ended))


def days_that_count(began: datetime, ended: datetime | None, month: Month) -> list[int]:
    """Return the days of the month, from 1 to 31, for which a contract line costs its monthly price.

    It is the simple model: a day counts if the line, which runs from `began` to `ended`, runs at the end of that day.
    """
    days = []
    for place in range(month.days):
        midnight = datetime.combine(month.first + timedelta(days=place + 1), datetime.min.time(), BERLIN)
        if began < midnight and (ended is None or ended >= midnight):
            days.append(place + 1)
    return days


@given(moments(), st.none() | moments(), PRICES, PRICES)
def test_a_line_costs_what_its_days_cost(began: datetime, ended: datetime | None, monthly: int, one_off: int) -> None:
    if ended is not None and ended < began:
        began, ended = ended, began
    once = 0
    for month in SPAN:
        charge = charge_of(line(began, ended, monthly, one_off), month)
        days = days_that_count(began, ended, month)
        assert list(charge.days) == days
        assert abs(charge.monthly_cents - Fraction(monthly * len(days), month.days)) < 1
        assert charge.monthly_cents == sum(share(monthly, month, range(day, day + 1)) for day in days)
        assert charge.is_whole == (len(days) == month.days)
        if charge.is_whole:
            assert charge.monthly_cents == monthly
        if days:
            assert (charge.first.day, charge.last.day) == (days[0], days[-1])
        assert charge.one_off_cents in (0, one_off)
        assert charge.net == charge.monthly_cents + charge.one_off_cents
        if charge.one_off_cents:
            assert Month.of(berlin_day(began)) == month
        once += charge.one_off_cents
    # A line that begins with the moment after the last month costs nothing in any.
    assert once == (one_off if began < LAST else 0)


@given(MONTHS, PRICES, st.lists(st.integers(1, 31), max_size=8))
def test_the_parts_of_a_month_add_up_to_its_price(month: Month, monthly: int, cuts: list[int]) -> None:
    borders = sorted({1, month.days + 1, *(cut for cut in cuts if cut <= month.days)})
    parts = [share(monthly, month, range(begin, end)) for begin, end in pairwise(borders)]
    assert sum(parts) == monthly == share(monthly, month, range(1, month.days + 1))
    assert share(monthly, month, range(5, 5)) == share(monthly, month, range(7, 2)) == 0


@given(st.lists(st.tuples(moments(), PRICES), min_size=1, max_size=12), st.none() | moments())
def test_of_tariffs_that_replace_each_other_each_day_has_one(
    history: list[tuple[datetime, int]], closed: datetime | None
) -> None:
    history.sort(key=lambda one: one[0])
    ends = [began for began, _ in history[1:]]
    lines = [
        (began, min(ended for ended in (*ends[place : place + 1], closed, LAST) if ended is not None), monthly)
        for place, (began, monthly) in enumerate(history)
    ]
    lines = [one for one in lines if one[0] <= one[1]]
    for month in SPAN:
        charges = [charge_of(line(*one), month) for one in lines]
        counted = [day for charge in charges for day in charge.days]
        assert len(counted) == len(set(counted))
        # The whole, from the prices of the days.
        running = {day: one[2] for one in lines for day in days_that_count(one[0], one[1], month)}
        assert sorted(counted) == sorted(running)
        assert sum(charge.net for charge in charges) == sum(
            share(monthly, month, range(day, day + 1)) for day, monthly in running.items()
        )
        exact = Fraction(sum(running.values()), month.days)
        assert abs(sum(charge.net for charge in charges) - exact) <= len([one for one in charges if one.days])


@given(st.lists(moments(), max_size=12), PRICES)
def test_the_same_price_costs_the_same_however_often_it_is_changed(changes: list[datetime], monthly: int) -> None:
    borders = [FIRST, *sorted(changes), LAST]
    by_month = [
        sum(charge_of(line(began, ended, monthly), month).net for began, ended in pairwise(borders)) for month in SPAN
    ]
    assert by_month == [monthly] * len(SPAN)
    assert sum(by_month) == sum(charge_of(line(FIRST, None, monthly), month).net for month in SPAN)


@pytest.mark.parametrize(
    ("began", "ended", "month", "days", "cents"),
    [
        # The day on which a line ends does not count, also if it is the first of the next month.
        ("2026-11-05T10:00", "2026-11-15T00:00", "2026-11", range(5, 15), 1000),
        ("2026-11-05T10:00", "2026-11-15T23:59", "2026-11", range(5, 15), 1000),
        ("2026-10-01T00:00", "2026-12-01T00:00", "2026-11", range(1, 31), 3000),
        ("2026-10-01T00:00", "2026-12-01T00:00", "2026-12", range(1, 1), 0),
        ("2026-11-30T23:59", None, "2026-11", range(30, 31), 100),
        ("2026-11-07T08:00", "2026-11-07T20:00", "2026-11", range(7, 7), 0),
        # Leap years and others.
        ("2028-02-29T12:00", None, "2028-02", range(29, 30), 103),
        ("2028-02-28T12:00", "2028-02-29T12:00", "2028-02", range(28, 29), 104),
        ("2027-02-28T12:00", None, "2027-02", range(28, 29), 107),
        # The hours that a change of the clock takes or gives change nothing.
        ("2027-03-28T03:30", None, "2027-03", range(28, 32), 387),
        ("2027-10-31T02:30", "2027-11-01T00:00", "2027-10", range(31, 32), 97),
        # Midnight in Berlin, which is the evening before in UTC.
        ("2027-07-01T00:00", None, "2027-06", range(31, 31), 0),
    ],
)
def test_days_are_those_of_berlin(began: str, ended: str | None, month: str, days: range, cents: int) -> None:
    begins, ends = (
        text and datetime.fromisoformat(text).replace(tzinfo=BERLIN).astimezone(UTC) for text in (began, ended)
    )
    assert begins
    charge = charge_of(line(begins, ends or None, 3000), Month.read(month))
    assert (list(charge.days), charge.monthly_cents) == (list(days), cents)


def test_what_changes_in_a_month_is_named_with_its_day() -> None:
    old = RunningLine(1, PriceLine("trunk-10", 2990, 0), date(2026, 3, 2), date(2026, 12, 1))
    new = RunningLine(1, PriceLine("trunk-50", 9990, 0), date(2026, 12, 1), None)
    assert changes_in([new, old], Month(2026, 12)) == [
        LineChange(date(2026, 12, 1), False, "trunk-10"),
        LineChange(date(2026, 12, 1), True, "trunk-50"),
    ]
    assert changes_in([new, old], Month(2026, 11)) == changes_in([new, old], Month(2027, 1)) == []


def test_months_are_read_counted_and_written() -> None:
    assert str(Month.read("2026-11").later(2)) == "2027-01"
    assert str(Month(2026, 1).later(-1)) == "2025-12"
    assert Month(2026, 12).after == date(2027, 1, 1)
    assert Month.of(date(2026, 2, 28)) == Month(2026, 2) < Month(2026, 3)
    for wrong in ("2026", "2026-13", "2026-00", "1999-12", "2100-01", "2026-1", " 2026-11", "2026-11\n", "२०२६-११"):
        with pytest.raises(ValueError, match=f"^{re.escape(wrong)}$"):
            Month.read(wrong)
