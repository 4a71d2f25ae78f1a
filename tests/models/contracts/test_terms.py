"""Tests of a contract's terms: the earliest day on which it can end, and its extensions, also in leap years."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.calendar_days import berlin_day, first_moment
from models.contracts.contracts import Contract
from models.contracts.terms import (
    LONGEST_TERM,
    ContractTerms,
    Renewal,
    earliest_end,
    end_of_term,
    last_notice,
    months_later,
    next_renewal,
)

YEAR, TWO_YEARS, NO_TERM = ContractTerms(12), ContractTerms(24, 1, 12), ContractTerms()

days = st.dates(date(2020, 1, 1), date(2060, 12, 31))
terms = st.builds(ContractTerms, st.integers(0, LONGEST_TERM), st.integers(0, 1), st.integers(0, LONGEST_TERM))


def day(text: str) -> date:
    """Return the date that the text names, such as 2027-01-31."""
    return date.fromisoformat(text)


@pytest.mark.parametrize(
    ("started", "agreed", "noticed", "last"),
    [
        # The first term ends with the day before the one of the same number.
        ("2026-01-15", YEAR, "2026-03-01", "2027-01-14"),
        ("2026-01-01", YEAR, "2026-03-01", "2026-12-31"),
        ("2026-03-01", YEAR, "2026-03-01", "2027-02-28"),
        ("2027-03-01", YEAR, "2027-03-01", "2028-02-29"),
        ("2026-01-31", ContractTerms(1), "2026-01-10", "2026-02-28"),
        ("2024-01-31", ContractTerms(1), "2024-01-10", "2024-02-29"),
        ("2026-03-31", ContractTerms(1), "2026-03-10", "2026-04-30"),
        ("2026-08-30", ContractTerms(6), "2026-09-01", "2027-02-28"),
        ("2024-02-29", YEAR, "2024-03-01", "2025-02-28"),
        ("2024-02-29", ContractTerms(24), "2024-03-01", "2026-02-28"),
        ("2026-12-31", TWO_YEARS, "2027-01-01", "2028-12-30"),
        # The last day on which the notice still reaches the end of the first term, and the day after it.
        ("2026-01-15", YEAR, "2026-12-14", "2027-01-14"),
        ("2026-01-15", YEAR, "2026-12-15", "2027-01-15"),
        ("2026-03-01", YEAR, "2027-01-28", "2027-02-28"),
        ("2026-03-01", YEAR, "2027-01-31", "2027-02-28"),
        ("2026-03-01", YEAR, "2027-02-01", "2027-03-01"),
        # After the first term, and without one, one month after the notice, whatever the extension.
        ("2020-05-01", TWO_YEARS, "2026-11-30", "2026-12-30"),
        ("2026-01-01", NO_TERM, "2026-01-31", "2026-02-28"),
        ("2026-01-01", NO_TERM, "2028-01-31", "2028-02-29"),
        ("2026-01-01", NO_TERM, "2026-03-31", "2026-04-30"),
        ("2026-01-01", NO_TERM, "2026-02-28", "2026-03-28"),
        ("2026-01-01", NO_TERM, "2026-12-31", "2027-01-31"),
        # Without a notice period with the day of the notice.
        ("2026-01-01", ContractTerms(0, 0), "2026-05-07", "2026-05-07"),
    ],
)
def test_the_earliest_end(started: str, agreed: ContractTerms, noticed: str, last: str) -> None:
    assert earliest_end(day(started), agreed, day(noticed)) == day(last)


@given(days, terms, st.integers(0, 2000))
def test_no_contract_binds_longer_than_its_first_term_and_a_month_after_the_notice(
    started: date, agreed: ContractTerms, after: int
) -> None:
    noticed = started + timedelta(days=after)
    last = earliest_end(started, agreed, noticed)
    first_term = end_of_term(started, agreed)
    assert last >= noticed
    assert last in (first_term, months_later(noticed, agreed.notice_months))
    if first_term is None or first_term < noticed:
        assert last - noticed <= timedelta(days=31)
    if first_term is not None:
        assert started <= first_term <= last
        # It is two calendar years at most.
        assert first_term < date(started.year + 2, started.month, min(started.day, 28)) + timedelta(days=4)


@given(days, terms, st.integers(0, 2000))
def test_who_gives_notice_a_day_later_never_gets_out_earlier(started: date, agreed: ContractTerms, after: int) -> None:
    noticed = started + timedelta(days=after)
    assert earliest_end(started, agreed, noticed) <= earliest_end(started, agreed, noticed + timedelta(days=1))


@given(days, st.integers(1, LONGEST_TERM))
def test_two_terms_in_a_row_leave_no_day_between_them(started: date, months: int) -> None:
    """Begin a term of whole months on the first of a month: the day after its end is again the first of a month."""
    first = started.replace(day=1)
    ends = end_of_term(first, ContractTerms(months))
    assert ends is not None
    assert ends + timedelta(days=1) == months_later(first, months)


@pytest.mark.parametrize(
    ("started", "agreed", "today", "last", "by"),
    [
        # The first term, until the last day for a notice; then the extensions, each counted from the first day.
        ("2026-01-15", ContractTerms(12, 1, 12), "2026-03-01", "2027-01-14", "2026-12-14"),
        ("2026-01-15", ContractTerms(12, 1, 12), "2026-12-14", "2027-01-14", "2026-12-14"),
        ("2026-01-15", ContractTerms(12, 1, 12), "2026-12-15", "2028-01-14", "2027-12-14"),
        ("2026-01-15", ContractTerms(12, 1, 6), "2036-08-01", "2037-01-14", "2036-12-14"),
        ("2026-03-01", ContractTerms(24, 1, 12), "2026-03-01", "2028-02-29", "2028-01-31"),
        ("2026-03-01", ContractTerms(12, 1, 12), "2026-03-01", "2027-02-28", "2027-01-31"),
        ("2026-08-31", ContractTerms(6, 1, 6), "2026-09-01", "2027-02-28", "2027-01-31"),
        ("2026-08-31", ContractTerms(6, 1, 6), "2027-02-01", "2027-08-30", "2027-07-30"),
        # Without a notice period until the day itself.
        ("2026-01-01", ContractTerms(12, 0, 12), "2026-12-31", "2026-12-31", "2026-12-31"),
        # For an indefinite time, once.
        ("2026-01-15", ContractTerms(12, 1, 0), "2026-12-14", "2027-01-14", "2026-12-14"),
        # Too short for a notice within it.
        ("2026-01-01", ContractTerms(1, 1, 1), "2026-01-01", "2026-02-28", "2026-01-31"),
    ],
)
def test_the_next_extension_that_a_notice_prevents(
    started: str, agreed: ContractTerms, today: str, last: str, by: str
) -> None:
    assert next_renewal(day(started), agreed, day(today)) == Renewal(day(last), day(by))


@pytest.mark.parametrize(
    ("agreed", "today"),
    [
        (NO_TERM, "2026-01-01"),
        (ContractTerms(0, 1, 12), "2026-01-01"),
        # It goes on for an indefinite time: the last day for a notice was 30 November.
        (YEAR, "2026-12-01"),
        (YEAR, "2030-01-01"),
    ],
)
def test_a_contract_without_an_extension_has_none(agreed: ContractTerms, today: str) -> None:
    assert next_renewal(date(2026, 1, 1), agreed, day(today)) is None


@given(days, st.builds(ContractTerms, st.integers(1, LONGEST_TERM), st.integers(0, 1), st.integers(1, 24)), st.data())
def test_who_gives_notice_by_the_day_is_out_with_the_term_and_a_day_later_is_not(
    started: date, agreed: ContractTerms, data: st.DataObject
) -> None:
    today = started + timedelta(days=data.draw(st.integers(0, 5000)))
    found = next_renewal(started, agreed, today)
    assert found is not None and found.notice_by >= today
    assert earliest_end(started, agreed, found.notice_by) <= found.last_day
    late = found.notice_by + timedelta(days=1)
    assert earliest_end(started, agreed, late) > found.last_day
    # It is the first that can be prevented: the term before ends too early for a notice that arrives today.
    months = agreed.term_months
    while (ends := end_of_term(started, ContractTerms(months))) is not None and ends < found.last_day:
        assert last_notice(ends, agreed) < today
        months += agreed.renewal_months
    assert ends == found.last_day


@pytest.mark.parametrize(
    ("started_at", "last"),
    [
        # Just before and after midnight in Berlin, in winter and in summer time, and at both changes of the clock.
        (datetime(2026, 1, 14, 22, 59, tzinfo=UTC), "2027-01-13"),
        (datetime(2026, 1, 14, 23, 0, tzinfo=UTC), "2027-01-14"),
        (datetime(2026, 7, 14, 21, 59, tzinfo=UTC), "2027-07-13"),
        (datetime(2026, 7, 14, 22, 0, tzinfo=UTC), "2027-07-14"),
        (datetime(2026, 3, 28, 23, 0, tzinfo=UTC), "2027-03-28"),
        (datetime(2026, 3, 29, 22, 0, tzinfo=UTC), "2027-03-29"),
        (datetime(2026, 10, 24, 22, 0, tzinfo=UTC), "2027-10-24"),
        (datetime(2026, 10, 25, 23, 0, tzinfo=UTC), "2027-10-25"),
    ],
)
def test_a_contract_begins_on_its_day_in_berlin(started_at: datetime, last: str) -> None:
    contract = Contract(account_id=1, started_at=started_at, term_months=12, notice_months=1, renewal_months=0)
    assert contract.earliest_end(berlin_day(started_at)) == day(last)


@given(days)
def test_a_contract_ends_at_the_start_of_a_day_in_berlin_whatever_the_clock_does(last: date) -> None:
    ends = first_moment(last + timedelta(days=1))
    assert berlin_day(ends) == last + timedelta(days=1)
    assert berlin_day(ends - timedelta(microseconds=1)) == last
