"""The terms of a contract (first term, notice period, extension), and the days on which they let it end.

Needs no database.
"""

from __future__ import annotations

import calendar
from dataclasses import dataclass
from datetime import date, timedelta

LONGEST_TERM = 24
"""The longest first term of a contract in months (§ 56 (1) TKG)."""
LONGEST_NOTICE = 1
"""The longest notice period in months (§ 56 (3) TKG, § 309 no. 9 c BGB)."""


@dataclass(frozen=True, slots=True)
class ContractTerms:
    """The agreed terms of a contract, in months. By default there is no first term, and the notice period is one month.

    `term_months` is the first term, 0 for none. `notice_months` is the notice period. `renewal_months` is the extension
    after the first term unless the contract is cancelled, 0 for an indefinite one; during an extension of any length
    the contract can be cancelled at any time.
    """

    term_months: int = 0
    notice_months: int = 1
    renewal_months: int = 0


OPEN_TERMS = ContractTerms()
"""The terms of a contract if nothing else was agreed: no first term, and one month's notice."""


def earliest_end(started_on: date, terms: ContractTerms, noticed_on: date) -> date:
    """Return the earliest last day of a contract that began on `started_on`, if the notice arrives on `noticed_on`.

    All are days in Berlin. The contract ends with the last day of its first term if the notice arrives at least a
    notice period before that day. Otherwise it ends one notice period after the notice (§ 56 (3) TKG: after a tacit
    extension a contract can be terminated at any time with at most one month's notice).

    A first term of 12 months that begins on 15 March ends with 14 March of the next year (§§ 187 (2), 188 (2) BGB). The
    day of the notice does not count: a notice period of one month from 15 March ends with 15 April (§§ 187 (1), 188 (2)
    BGB). If the last month has no such day, both end with the last day of that month (§ 188 (3) BGB). Sundays and
    holidays make no difference: § 193 BGB does not apply to notice periods.
    """
    by_notice = months_later(noticed_on, terms.notice_months)
    first_term = end_of_term(started_on, terms)
    return by_notice if first_term is None else max(first_term, by_notice)


def end_of_term(started_on: date, terms: ContractTerms) -> date | None:
    """Return the last day of the first term of a contract that began on `started_on`; None if it has no first term."""
    if terms.term_months == 0:
        return None
    if started_on.day == 1:
        return months_later(started_on, terms.term_months) - timedelta(days=1)
    # Not a day before the same day of the last month, which is another one if that month is too short.
    return months_later(started_on - timedelta(days=1), terms.term_months)


@dataclass(frozen=True, slots=True)
class Renewal:
    """An extension of a contract, by some months or for an indefinite time, that a notice can still prevent.

    The contract ends with `last_day` if a notice arrives on `notice_by` or earlier; otherwise it is extended after
    `last_day`. Both are days in Berlin.
    """

    last_day: date
    notice_by: date


def next_renewal(started_on: date, terms: ContractTerms, today: date) -> Renewal | None:
    """Return the contract's next extension that a notice on `today` or later can still prevent; None if there is none.

    `started_on` is the contract's first day. A contract without a first term is never extended; one whose extension is
    indefinite is extended only once. Every term is counted from the first day, so that none drifts to another day of
    the month.
    """
    if not terms.term_months:
        return None
    times = 0
    if terms.renewal_months:
        passed = (today.year - started_on.year) * 12 + today.month - started_on.month
        times = max((passed - terms.term_months) // terms.renewal_months - 1, 0)
    while times == 0 or terms.renewal_months:
        last_day = end_of_term(started_on, ContractTerms(terms.term_months + times * terms.renewal_months))
        assert last_day is not None
        notice_by = last_notice(last_day, terms)
        if notice_by >= max(today, started_on):
            return Renewal(last_day, notice_by)
        times += 1
    return None


def last_notice(last_day: date, terms: ContractTerms) -> date:
    """Return the last day on which a notice can arrive for a contract to end with `last_day`."""
    # No month is shorter.
    day = last_day - timedelta(days=28 * terms.notice_months)
    while months_later(day, terms.notice_months) > last_day:
        day -= timedelta(days=1)
    return day


def months_later(day: date, months: int) -> date:
    """Return the day with the same number `months` months later, or that month's last day if it has no such day."""
    years, month = divmod(day.month - 1 + months, 12)
    year = day.year + years
    return date(year, month + 1, min(day.day, calendar.monthrange(year, month + 1)[1]))
