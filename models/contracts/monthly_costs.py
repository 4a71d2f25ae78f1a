"""The cost of contract lines in a month, charged by the day, in integer euro cents, net. Needs no database.

A line is charged for each day at whose end it runs: for the day on which it begins, but not for the day on which it
ends. So if lines replace each other, however often on one day, exactly one of them is charged for that day.

Each day of a month has a price in whole cents (`share`); these prices add up to the monthly price.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta

from models.calendar_days import Month
from models.contracts.catalogue import PriceLine


@dataclass(frozen=True, slots=True)
class RunningLine:
    """A contract line with its price and the days in Berlin on which it runs: from `began` to the day before `ended`.

    `ended` is None while no end is known.
    """

    contract_id: int
    price: PriceLine
    began: date
    ended: date | None

    def is_open(self, day: date) -> bool:
        """Return whether the line has no end, or ends after `day`."""
        return self.ended is None or self.ended > day


@dataclass(frozen=True, slots=True)
class Charge:
    """The cost of a contract line in a month, in net euro cents.

    `days` are the days of the month that are charged, as numbers from 1; an empty range if none is charged.
    `monthly_cents` is the share of the monthly price for these days. `one_off_cents` is the one-off price if the line
    began in the month, otherwise 0.
    """

    line: RunningLine
    month: Month
    days: range
    monthly_cents: int
    one_off_cents: int

    @property
    def net(self) -> int:
        """Return the sum of the monthly share and the one-off price, in net euro cents."""
        return self.monthly_cents + self.one_off_cents

    @property
    def first(self) -> date:
        """Return the first day that is charged. Raises `IndexError` if no day is charged."""
        return self.month.first + timedelta(days=self.days[0] - 1)

    @property
    def last(self) -> date:
        """Return the last day that is charged. Raises `IndexError` if no day is charged."""
        return self.month.first + timedelta(days=self.days[-1] - 1)

    @property
    def is_whole(self) -> bool:
        """Return whether every day of the month is charged."""
        return len(self.days) == self.month.days


@dataclass(frozen=True, slots=True)
class LineChange:
    """The beginning (`begins` is true) or the end of a contract line in a month, on the day `day` in Berlin."""

    day: date
    begins: bool
    product_key: str


def charge_of(line: RunningLine, month: Month) -> Charge:
    """Return what the line costs in the month; a line that does not run in it costs nothing."""
    days = range(
        (max(line.began, month.first) - month.first).days + 1,
        (min(line.ended or month.after, month.after) - month.first).days + 1,
    )
    begins = month.first <= line.began < month.after
    return Charge(
        line, month, days, share(line.price.monthly_cents, month, days), line.price.one_off_cents if begins else 0
    )


def share(monthly_cents: int, month: Month, days: range) -> int:
    """Return the part of a monthly price for successive days of the month, numbered from 1, in whole cents.

    The rounding is cumulative. The price from the first of the month to a given day is rounded to the cent, halves up,
    and a day costs the difference to the day before. So the shares of adjoining days add up to the share of all these
    days, and the shares of a whole month add up to the monthly price. Each share differs from the exact one by less
    than a cent.
    """
    if not days:
        return 0
    return _reached(monthly_cents, month, days[-1]) - _reached(monthly_cents, month, days[0] - 1)


def _reached(monthly_cents: int, month: Month, day: int) -> int:
    return (2 * monthly_cents * day + month.days) // (2 * month.days)


def changes_in(lines: Iterable[RunningLine], month: Month) -> list[LineChange]:
    """Return the beginnings and ends of the lines in the month, sorted by day; on the same day ends come first."""
    lines = tuple(lines)
    begun = [LineChange(line.began, True, line.price.product_key) for line in lines]
    ended = [LineChange(line.ended, False, line.price.product_key) for line in lines if line.ended is not None]
    found = [change for change in (*begun, *ended) if month.first <= change.day < month.after]
    return sorted(found, key=lambda change: (change.day, change.begins))
