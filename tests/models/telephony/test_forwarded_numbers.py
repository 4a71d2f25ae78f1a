"""Tests of call forwardings for single numbers and ranges of an account.

Two ranges are equal, separate, or one lies in the other. The forwarding of the smaller range applies. When numbers are
released, their forwardings are removed.
"""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
import sqlalchemy as sa

from models.db.session import Database
from models.errors import InvalidField
from models.links.account_closing import close_account
from models.orders.number_release import look_at_release, release_numbers
from models.people.audit_log import AuditEvent
from models.telephony.forwarded_numbers import Numbers
from models.telephony.forwarding import CallForwarding, Condition, ForwardingDraft
from models.telephony.forwarding_changes import add_forwarding, change_forwarding
from models.telephony.forwarding_precedence import applying, in_force
from models.telephony.numbers import NumberBlock
from models.telephony.trunks import SipTrunk, TrunkState
from models.telephony.weekly_hours import ALL_WEEK, Hours, Window, hours_of
from tasks.registrar.trunks import forwardings_of
from tests.factories import NOW, make_account
from tests.models.telephony.conftest import LATER, Company, deeds, state

MOBILE = "+491711234567"
FIRST, EXTRA = 493050000000, 493050000010
NIGHT = hours_of([Window((0, 1, 2, 3, 4, 5, 6), 18 * 60, 8 * 60)])


@pytest.fixture
def company(database: Database) -> Company:
    """Create an account with the numbers 030 50000000 to 50000010, in a block of ten and a block of one."""
    with database.transaction() as session:
        return Company(session)


def a_draft(
    first: str | None, last: str = "", condition: Condition = Condition.ALWAYS, hours: Hours = ALL_WEEK
) -> ForwardingDraft:
    """Return the draft of a forwarding to a mobile number, for calls to the numbers from `first` to `last`.

    Both are texts as a user types them. `first` None: for calls to all numbers of the account.
    """
    return ForwardingDraft(condition, MOBILE, hours=hours, first=first, last=last)


def add(database: Database, company: Company, draft: ForwardingDraft) -> int:
    """Add the forwarding as the company's administrator, in a separate transaction; return its id."""
    with database.transaction() as session:
        return add_forwarding(session, company.person, company.account(session), draft, LATER).id


def refused(database: Database, company: Company, draft: ForwardingDraft) -> tuple[str, str]:
    """Try to add a forwarding that must be refused; return field and code of the error."""
    with pytest.raises(InvalidField) as error:
        add(database, company, draft)
    return error.value.field, error.value.code


@pytest.mark.parametrize(
    ("first", "last", "numbers"),
    [
        ("030 50000003", "", (FIRST + 3, FIRST + 3)),
        ("+49 30 5000000-3", "+49 30 5000000-3", (FIRST + 3, FIRST + 3)),
        ("030/5000000-0", "-9", (FIRST, FIRST + 9)),
        ("030 50000002", "08", (FIRST + 2, FIRST + 8)),
        ("0049 30 50000000", "030 50000010", (FIRST, EXTRA)),
    ],
)
def test_numbers_are_typed_in_any_usual_spelling(
    database: Database, company: Company, first: str, last: str, numbers: Numbers
) -> None:
    id = add(database, company, a_draft(first, last))
    assert state(database, company) == (TrunkState.ACTIVE, True)
    with database.transaction() as session:
        assert session.get_one(CallForwarding, id).numbers == numbers
        [told] = forwardings_of(session, [company.id])[company.id]
        assert (told.id, told.numbers) == (id, numbers)
        assert deeds(session)[-1][2]["numbers"] == list(numbers)


@pytest.mark.parametrize(
    ("first", "last", "code"),
    [
        ("", "", "not_a_phone_number"),
        ("Kim", "", "not_a_phone_number"),
        ("5000000", "", "not_a_phone_number"),
        ("030 50000000", "neun", "not_a_phone_number"),
        ("030 50000000", "²", "not_a_phone_number"),
        ("030 50000005", "3", "backwards"),
        ("030 50000011", "", "not_own"),
        ("030 50000000", "11", "not_own"),
        ("030 4999999", "030 50000000", "not_own"),
    ],
)
def test_only_numbers_of_the_account_are_forwarded(
    database: Database, company: Company, first: str, last: str, code: str
) -> None:
    with database.transaction() as session:
        other = make_account(session)
        facts = {"area_code": "030", "first_number": EXTRA + 1, "size": 1, "available_from": NOW}
        session.add(NumberBlock(account_id=other.id, **facts))
    assert refused(database, company, a_draft(first, last)) == ("numbers", code)


def test_ranges_are_equal_apart_or_one_inside_the_other(database: Database, company: Company) -> None:
    middle = add(database, company, a_draft("030 50000002", "6"))
    for first, last in (("030 50000000", "2"), ("030 50000006", "10"), ("030 50000003", "7")):
        assert refused(database, company, a_draft(first, last, Condition.BUSY)) == ("numbers", "crosses")
    add(database, company, a_draft("030 50000002", "6", Condition.BUSY))
    for first, last in (("030 50000000", "10"), ("030 50000003", "4"), ("030 50000002", ""), ("030 50000007", "9")):
        add(database, company, a_draft(first, last))
    # Its own numbers are not in the way of a change.
    with database.transaction() as session:
        session.execute(sa.delete(CallForwarding).where(CallForwarding.id != middle))
        change_forwarding(
            session, company.person, company.account(session), middle, a_draft("030 50000003", "7"), LATER
        )


def write(database: Database, company: Company, *ranges: tuple[int | None, int | None], enabled: bool = True) -> None:
    """Insert forwardings with the condition "when busy" into the table, without the checks of the model.

    Each of `ranges` is the first and the last number (E.164, as integers) of a forwarding; None and None: all numbers
    of the account. `enabled` says whether the forwardings are enabled.
    """
    facts = {"account_id": company.id, "condition": Condition.BUSY, "target": MOBILE, "enabled": enabled}
    with database.transaction() as session:
        session.add_all(CallForwarding(**facts, first_number=first, last_number=last) for first, last in ranges)


def test_the_database_refuses_ranges_that_overlap_partly(database: Database, company: Company) -> None:
    write(database, company, (FIRST, FIRST + 4), (FIRST + 1, FIRST + 4), (None, None))
    for enabled in (True, False):
        with pytest.raises(sa.exc.IntegrityError, match="call_forwardings_nested"):
            write(database, company, (FIRST + 3, FIRST + 5), enabled=enabled)
    change = sa.update(CallForwarding).where(CallForwarding.first_number == FIRST)
    with pytest.raises(sa.exc.IntegrityError, match="call_forwardings_nested"), database.transaction() as session:
        session.execute(change.values(first_number=FIRST + 2, last_number=EXTRA))
    with pytest.raises(sa.exc.IntegrityError, match="call_forwardings_hours"):
        write(database, company, (FIRST, FIRST + 4))
    for numbers in ((FIRST, None), (None, FIRST), (FIRST, FIRST - 1)):
        with pytest.raises(sa.exc.IntegrityError, match="ck_call_forwardings_numbers"):
            write(database, company, numbers)


def test_hours_are_kept_apart_for_the_same_numbers_only(database: Database, company: Company) -> None:
    add(database, company, a_draft(None))
    add(database, company, a_draft("030 50000000", hours=NIGHT))
    assert refused(database, company, a_draft(None, hours=NIGHT)) == ("hours", "overlap")
    assert refused(database, company, a_draft("030 50000000")) == ("hours", "overlap")
    add(database, company, a_draft("030 50000000", "9", hours=NIGHT))


def a_forwarding(condition: Condition, numbers: Numbers | None = None, hours: Hours = ALL_WEEK) -> CallForwarding:
    """Return an enabled call forwarding that is not saved in the database.

    `numbers` are its first and last number; None: all numbers of the account.
    """
    first, last = numbers or (None, None)
    return CallForwarding(condition=condition, hours=hours, enabled=True, first_number=first, last_number=last)


def test_the_more_exact_one_wins() -> None:
    account, line, desk = None, (FIRST, FIRST + 9), (FIRST + 5, FIRST + 5)
    always, busy, silent = Condition.ALWAYS, Condition.BUSY, Condition.NO_ANSWER
    general, busy_line, busy_desk = a_forwarding(busy, account), a_forwarding(busy, line), a_forwarding(busy, desk)
    listed = [general, busy_line, busy_desk]
    assert applying(listed, FIRST + 5) == [busy_desk]
    assert applying(listed, FIRST + 6) == [busy_line]
    assert applying(listed, FIRST + 10) == applying(listed, None) == [general]
    # Conditions that are not set for a number itself are those of its range or account.
    silent_for_all = a_forwarding(silent, account)
    assert applying([silent_for_all, busy_desk], FIRST + 5) == [busy_desk, silent_for_all]
    # "Always" beats the others for the same numbers and for more, not for fewer.
    all_calls, line_calls = a_forwarding(always, account), a_forwarding(always, line)
    assert applying([all_calls, silent_for_all, busy_line], FIRST) == [busy_line, silent_for_all]
    assert applying([all_calls, general, silent_for_all], FIRST) == [all_calls]
    assert applying([all_calls, line_calls, busy_line], FIRST) == [line_calls]
    assert applying([], FIRST) == []


def test_what_is_in_force_for_no_number_is_not_in_force() -> None:
    evening, noon = datetime(2026, 3, 2, 17, 0, tzinfo=UTC), datetime(2026, 3, 2, 11, 0, tzinfo=UTC)
    trunk = SipTrunk(state=TrunkState.ACTIVE)
    general = a_forwarding(Condition.ALWAYS)
    line = a_forwarding(Condition.BUSY, (FIRST, FIRST + 1))
    desks = [a_forwarding(Condition.ALWAYS, (FIRST + n, FIRST + n), NIGHT) for n in (0, 1)]
    assert in_force([general, line, *desks], [trunk], noon) == [general, line]
    assert in_force([general, line, *desks], [trunk], evening) == [general, *desks]
    assert in_force([general, line, desks[0]], [trunk], evening) == [general, line, desks[0]]


def test_numbers_that_are_given_back_take_their_forwardings_with_them(database: Database, company: Company) -> None:
    kept = [add(database, company, a_draft(None)), add(database, company, a_draft("030 50000010"))]
    add(database, company, a_draft("030 50000003"))
    add(database, company, a_draft("030 50000000", "10", Condition.BUSY))
    with database.transaction() as session:
        account = company.account(session)
        assert len(look_at_release(session, company.person, account, company.ten, LATER).forwardings) == 2
        release_numbers(session, company.person, account, company.ten, LATER)
    with database.transaction() as session:
        assert list(session.scalars(sa.select(CallForwarding.id).order_by(CallForwarding.id))) == kept
        removed = [facts["numbers"] for deed, _, facts in deeds(session) if deed is AuditEvent.FORWARDING_REMOVED]
        assert sorted(removed) == [[FIRST, EXTRA], [FIRST + 3, FIRST + 3]]
        close_account(session, company.account(session), LATER)
        assert session.scalars(sa.select(CallForwarding)).all() == []
