"""Tests of the rules for call forwardings.

Some targets are refused, such as the account's own numbers. Hours of one condition never overlap. Changes are recorded
in the audit log. Of two changes at once that exclude each other, the second waits and is refused.
"""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
import sqlalchemy as sa

from models.accounts.accounts import Account
from models.accounts.hierarchy import (
    attach,
    detach,
)
from models.db.session import Database
from models.errors import Forbidden, InvalidField, NotFound
from models.people.audit_log import AuditEntry, AuditEvent, entries_of
from models.people.rights import Principal, Role
from models.people.users import principal_of
from models.states import AccountState, Origin
from models.telephony.forwarding import CallForwarding, Condition, ForwardingDraft, forwardings_of
from models.telephony.forwarding_changes import add_forwarding, change_forwarding, remove_forwarding, target_of
from models.telephony.forwarding_precedence import in_force
from models.telephony.numbers import NumberBlock
from models.telephony.trunks import SipTrunk, SuspendedBy, TrunkState
from models.telephony.weekly_hours import ALL_WEEK, Hours, Window, hours_of
from tests.factories import NOW, fill_pool, join, make_account, make_main, make_user

MOBILE = "+491711234567"
WORK = hours_of([Window((0, 1, 2, 3, 4), 8 * 60, 18 * 60)])
NIGHT = hours_of([Window((0, 1, 2, 3, 4), 18 * 60, 8 * 60), Window((5, 6), 0, 0)])
BUSY = ForwardingDraft(Condition.BUSY, MOBILE)


@pytest.fixture
def site(database: Database) -> tuple[Account, Principal]:
    """Create a sub-account and a local member of it; return both."""
    with database.transaction() as session:
        main, _ = make_main(session)
        account, member = make_account(session), make_user(session)
        join(session, member, account, Role.LOCAL_MEMBER)
        attach(session, main.id, account.id, Origin.LINK, NOW)
        return account, principal_of(session, member)


def add(database: Database, site: tuple[Account, Principal], draft: ForwardingDraft) -> int:
    """Add a call forwarding to the site as its local member, in a separate transaction; return its id."""
    with database.transaction() as session:
        return add_forwarding(session, site[1], session.get_one(Account, site[0].id), draft, NOW).id


def refused(database: Database, site: tuple[Account, Principal], draft: ForwardingDraft) -> tuple[str, str]:
    """Try to add a forwarding that must be refused; return field and code of the error."""
    with pytest.raises(InvalidField) as error:
        add(database, site, draft)
    return error.value.field, error.value.code


@pytest.mark.parametrize(
    "typed",
    ["0171 1234567", "+49 171 1234567", "0049 171/1234567", "(0171) 123-45-67", "+49 (0)171 1234567", "0171.1234567"],
)
def test_a_target_is_typed_in_any_usual_spelling(typed: str) -> None:
    assert target_of(typed) == MOBILE


@pytest.mark.parametrize(
    ("typed", "code"),
    [
        ("110", "emergency_number"), ("1 1 2", "emergency_number"), ("+49 112", "emergency_number"),
        ("0049110", "emergency_number"), ("0112", "emergency_number"), ("0900 1234567", "costly_number"),
        ("0137 1234567", "costly_number"), ("0180 5 123456", "costly_number"), ("+1 900 234 5678", "costly_number"),
        ("0700 12345678", "costly_number"), ("901820", "needs_area_code"), ("11833", "needs_area_code"),
        ("", "needs_area_code"), ("Kim", "needs_area_code"), ("0", "not_a_phone_number"),
        ("+999 12345", "not_a_phone_number"), ("0171", "not_a_phone_number"),
        ("030 " + "1" * 300, "not_a_phone_number"),
        # "App. 12" would be read as 277 12 on the keys of a phone.
        ("030 901820 App. 12", "not_as_dialled"), ("0521 99998 / 12", "not_as_dialled"),
        ("030 110", "emergency_number"), ("+43 112", "emergency_number"),
        ("030 115", "costly_number"), ("030 116117", "costly_number"), ("0190 123456", "costly_number"),
    ],
)  # fmt: skip
def test_where_nothing_may_be_forwarded(typed: str, code: str) -> None:
    with pytest.raises(InvalidField) as error:
        target_of(typed)
    assert (error.value.field, error.value.code) == ("target", code)


def test_an_own_number_would_be_a_loop(database: Database, site: tuple[Account, Principal]) -> None:
    with database.transaction() as session:
        fill_pool(session, count=2)
        first, second = session.scalars(sa.select(NumberBlock).order_by(NumberBlock.first_number))
        first.account_id, own, others = site[0].id, first.numbers, second.numbers
    for number in (own[0], own[5], own[-1]):
        assert refused(database, site, ForwardingDraft(Condition.BUSY, number)) == ("target", "own_number")
    add(database, site, ForwardingDraft(Condition.BUSY, others[0]))


def test_hours_of_one_condition_never_overlap(database: Database, site: tuple[Account, Principal]) -> None:
    add(database, site, ForwardingDraft(Condition.BUSY, MOBILE, hours=WORK))
    night = add(database, site, ForwardingDraft(Condition.BUSY, MOBILE, hours=NIGHT))
    assert refused(database, site, BUSY) == ("hours", "overlap")
    add(database, site, ForwardingDraft(Condition.NOT_REGISTERED, MOBILE))
    # A disabled forwarding conflicts with no other forwarding until it is enabled.
    off = add(database, site, ForwardingDraft(Condition.BUSY, MOBILE, enabled=False))
    with database.transaction() as session:
        account = session.get_one(Account, site[0].id)
        change_forwarding(
            session, site[1], account, night, ForwardingDraft(Condition.BUSY, MOBILE, hours=NIGHT[:1]), NOW
        )
        with pytest.raises(InvalidField, match="overlap"):
            change_forwarding(session, site[1], account, off, BUSY, NOW)


def write(database: Database, account_id: int, *all_hours: Hours) -> None:
    """Insert one call forwarding for each schedule in `all_hours` into the table, without the checks of the model."""
    with database.transaction() as session:
        for hours in all_hours:
            session.add(CallForwarding(account_id=account_id, condition=Condition.BUSY, target=MOBILE, hours=hours))


def test_the_database_keeps_hours_apart_too(database: Database, site: tuple[Account, Principal]) -> None:
    with pytest.raises(sa.exc.IntegrityError, match="call_forwardings_hours"):
        write(database, site[0].id, WORK, ALL_WEEK)
    for hours in ((), ((0, 10081),), ((-1, 5),)):
        with pytest.raises(sa.exc.IntegrityError, match="ck_call_forwardings_hours"):
            write(database, site[0].id, hours)


def test_only_no_answer_waits_and_not_for_ever(database: Database, site: tuple[Account, Principal]) -> None:
    for seconds in (None, 4, 121):
        draft = ForwardingDraft(Condition.NO_ANSWER, MOBILE, seconds)
        assert refused(database, site, draft) == ("after_seconds", "not_in_range")
    add(database, site, ForwardingDraft(Condition.NO_ANSWER, MOBILE, 20))
    add(database, site, ForwardingDraft(Condition.BUSY, MOBILE, 20))
    assert refused(database, site, ForwardingDraft(Condition.ALWAYS, MOBILE, hours=())) == ("hours", "none")
    with database.transaction() as session:
        assert [found.after_seconds for found in forwardings_of(session, site[0])] == [None, 20]


def test_always_beats_the_others_while_its_hours_last(database: Database, site: tuple[Account, Principal]) -> None:
    for draft in (
        BUSY,
        ForwardingDraft(Condition.NO_ANSWER, MOBILE, 20),
        ForwardingDraft(Condition.ALWAYS, MOBILE, hours=NIGHT),
    ):
        add(database, site, draft)
    with database.transaction() as session:
        all_of_them = forwardings_of(session, site[0])
    trunk = SipTrunk(state=TrunkState.ACTIVE)
    evening, noon = datetime(2026, 3, 2, 17, 0, tzinfo=UTC), datetime(2026, 3, 2, 16, 59, tzinfo=UTC)
    assert [found.condition for found in in_force(all_of_them, [trunk], evening)] == [Condition.ALWAYS]
    assert [found.condition for found in in_force(all_of_them, [trunk], noon)] == [Condition.BUSY, Condition.NO_ANSWER]
    trunk.suspend(SuspendedBy.CUSTOMER, noon)
    assert in_force(all_of_them, [trunk], noon) == []


def test_every_change_is_in_the_log(database: Database, site: tuple[Account, Principal]) -> None:
    account, member = site
    id = add(database, site, BUSY)
    with database.transaction() as session:
        account = session.get_one(Account, account.id)
        change_forwarding(session, member, account, id, ForwardingDraft(Condition.ALWAYS, "+4930901820"), NOW)
        session.flush()
        remove_forwarding(session, member, account, id, NOW)
        session.flush()
        told = entries_of(session, account)
        assert [one.entry.deed for one in told] == [
            AuditEvent.FORWARDING_REMOVED, AuditEvent.FORWARDING_CHANGED, AuditEvent.FORWARDING_ADDED,
        ]  # fmt: skip
        assert {(one.entry.user_id, one.through) for one in told} == {(member.user_id, None)}
        assert told[1].entry.facts["before"]["target"] == MOBILE and told[1].entry.facts["target"] == "+4930901820"
        assert list(forwardings_of(session, account)) == []


def test_nobody_else_forwards(database: Database, site: tuple[Account, Principal]) -> None:
    id = add(database, site, BUSY)
    with database.transaction() as session:
        other, stranger = make_main(session)
        with pytest.raises(Forbidden):
            add_forwarding(session, stranger, session.get_one(Account, site[0].id), BUSY, NOW)
        with pytest.raises(NotFound):
            remove_forwarding(session, stranger, other, id, NOW)
        own = make_account(session, state=AccountState.CLOSED)
        with pytest.raises(Forbidden):
            add_forwarding(session, Principal(1, "", "", "de", {own.id: Role.ADMINISTRATOR}), own, BUSY, NOW)
        assert session.scalar(sa.select(sa.func.count()).select_from(AuditEntry)) == 1


def test_a_detach_in_between_ends_the_main_accounts_right(database: Database, site: tuple[Account, Principal]) -> None:
    id = add(database, site, BUSY)
    with database.transaction() as session:
        account = session.get_one(Account, site[0].id)
        assert account.main_id is not None
        main_id = account.main_id
        manager = Principal(site[1].user_id, "", "", "de", {main_id: Role.ADMINISTRATOR})
        with database.transaction() as other:
            detach(other, main_id, site[0].id)
        with pytest.raises(Forbidden):
            add_forwarding(session, manager, account, ForwardingDraft(Condition.ALWAYS, MOBILE), NOW)
    with database.transaction() as session:
        assert [found.id for found in forwardings_of(session, site[0])] == [id]
        assert session.scalar(sa.select(sa.func.count()).select_from(AuditEntry)) == 1


def test_of_two_at_once_the_second_waits_and_is_told(database: Database, site: tuple[Account, Principal]) -> None:
    with database.transaction() as first, database.transaction() as second:
        add_forwarding(first, site[1], first.get_one(Account, site[0].id), BUSY, NOW)
        second.execute(sa.text("SET LOCAL lock_timeout = '50ms'"))
        with pytest.raises(sa.exc.OperationalError, match="LockNotAvailable"):
            add_forwarding(second, site[1], second.get_one(Account, site[0].id), BUSY, NOW)
        second.rollback()
    assert refused(database, site, BUSY) == ("hours", "overlap")
