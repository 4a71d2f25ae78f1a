"""Tests of weekly schedules that are typed in a cell."""

from __future__ import annotations

import pytest

from models.errors import InvalidField
from models.telephony.weekly_hours import ALL_WEEK, DAY, Hours
from workers.accounts.typed_hours import typed_hours


@pytest.mark.parametrize(
    ("cell", "hours"),
    [
        ("", ALL_WEEK),
        ("24/7", ALL_WEEK),
        ("Mo-Su 00:00-24:00", ALL_WEEK),
        ("Mo 8:00-12:00,13:00-17:30", ((480, 720), (780, 1050))),
        ("tu 08:00 - 09:00;  TU 09:00-10:00", ((DAY + 480, DAY + 600),)),
        # Over midnight, and over the end of the week.
        ("Su 22:00-06:00", ((0, 360), (6 * DAY + 1320, 7 * DAY))),
        ("Sa-Mo 10:00-11:00", ((600, 660), (5 * DAY + 600, 5 * DAY + 660), (6 * DAY + 600, 6 * DAY + 660))),
    ],
)
def test_a_schedule_is_read(cell: str, hours: Hours) -> None:
    assert typed_hours(cell) == hours


@pytest.mark.parametrize(
    "cell",
    [
        "always",
        "Mo",
        "08:00-17:00",
        "Mo 25:00-26:00",
        "Mo 24:00-25:00",
        "Mo 08:60-09:00",
        "Mo 08:00",
        "Mo-Mi 08:00-17:00",
        "Mo-We-Fr 08:00-17:00",
        "Mo 08:00-17:00;",
        "Mo 08:00-17:00 PH off",
        "٤",
    ],
)
def test_what_is_no_schedule_is_refused(cell: str) -> None:
    with pytest.raises(InvalidField, match="not_hours"):
        typed_hours(cell)
