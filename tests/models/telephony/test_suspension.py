"""Tests of suspending and resuming a trunk, by the customer and by the carrier.

Each side can lift only its own suspension. Users who may not manage the trunk change nothing.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from models.accounts.hierarchy import attach, detach
from models.db.session import Database
from models.errors import Forbidden, NotFound, SuspendedByCarrier, TrunkClosed
from models.orders.number_release import look_at_release, release_numbers
from models.people.audit_log import AuditEntry, AuditEvent
from models.people.rights import Principal, Role
from models.people.users import principal_of
from models.states import AccountState, Origin
from models.telephony.forwarding import Condition, ForwardingDraft
from models.telephony.forwarding_changes import add_forwarding
from models.telephony.suspension import resume, resume_for_carrier, suspend, suspend_for_carrier
from models.telephony.trunks import SipTrunk, SuspendedBy, TrunkState, close_trunk
from tests.factories import NOW, join, make_account, make_main, make_user
from tests.models.telephony.conftest import LATER, Company, deeds, state
from tests.web.portal.accounts.sites import make_trunk


def suspended(database: Database, company: Company, person: Principal | None = None) -> bool:
    """Suspend the company's trunk as `person` (None: its administrator); return False if it was suspended already."""
    with database.transaction() as session:
        return suspend(session, person or company.person, company.account(session), company.trunk, LATER)


def resumed(database: Database, company: Company) -> SipTrunk:
    """Resume the company's trunk as its administrator; return the trunk."""
    with database.transaction() as session:
        return resume(session, company.person, company.account(session), company.trunk, LATER)


def by_carrier(database: Database, reason: str | None) -> None:
    """Suspend the trunk t000000000001 as the carrier for this reason; with None, resume it as the carrier."""
    with database.transaction() as session:
        if reason is None:
            resume_for_carrier(session, "t000000000001", LATER)
        else:
            suspend_for_carrier(session, "t000000000001", reason, LATER)


def test_a_trunk_is_suspended_once_and_resumed_once(database: Database, company: Company) -> None:
    assert suspended(database, company)
    assert state(database, company) == (TrunkState.SUSPENDED, True)
    assert not suspended(database, company)
    assert state(database, company) == (TrunkState.SUSPENDED, False)
    assert resumed(database, company).state is TrunkState.ACTIVE
    assert state(database, company) == (TrunkState.ACTIVE, True)
    assert resumed(database, company).state is TrunkState.ACTIVE
    assert state(database, company) == (TrunkState.ACTIVE, False)
    with database.transaction() as session:
        about = (company.person.user_id, {"sip_user": "t000000000001"})
        assert deeds(session) == [(AuditEvent.TRUNK_SUSPENDED, *about), (AuditEvent.TRUNK_RESUMED, *about)]


def test_what_the_carrier_has_suspended_only_the_carrier_resumes(database: Database, company: Company) -> None:
    by_carrier(database, "Missbrauch")
    with pytest.raises(SuspendedByCarrier):
        resumed(database, company)
    assert not suspended(database, company)
    by_carrier(database, "Missbrauch")
    by_carrier(database, "Rechnung offen")
    assert state(database, company) == (TrunkState.SUSPENDED, True)
    by_carrier(database, None)
    by_carrier(database, None)
    assert state(database, company) == (TrunkState.ACTIVE, True)
    with database.transaction() as session:
        assert [(deed, user, facts.get("reason")) for deed, user, facts in deeds(session)] == [
            (AuditEvent.TRUNK_SUSPENDED, None, "Missbrauch"),
            (AuditEvent.TRUNK_SUSPENDED, None, "Rechnung offen"),
            (AuditEvent.TRUNK_RESUMED, None, None),
        ]


@pytest.mark.parametrize("customer_first", [True, False])
def test_each_side_lifts_its_own_suspension_and_no_more(
    database: Database, company: Company, customer_first: bool
) -> None:
    suspended(database, company)
    by_carrier(database, "Missbrauch")
    if customer_first:
        assert resumed(database, company).state is TrunkState.SUSPENDED
    else:
        by_carrier(database, None)
    assert state(database, company)[0] is TrunkState.SUSPENDED
    if customer_first:
        by_carrier(database, None)
    else:
        resumed(database, company)
    assert state(database, company)[0] is TrunkState.ACTIVE


def test_of_two_who_suspend_at_once_one_does(database: Database, company: Company) -> None:
    with ThreadPoolExecutor() as pool:
        done = [pool.submit(suspended, database, company) for _ in range(4)]
        assert sorted(one.result() for one in done) == [False, False, False, True]


@pytest.mark.parametrize("role", [Role.LOCAL_MEMBER, None])
def test_who_may_not_manage_the_trunk_does_nothing(database: Database, company: Company, role: Role | None) -> None:
    with database.transaction() as session:
        user = make_user(session)
        if role is not None:
            join(session, user, company.account(session), role)
        person = principal_of(session, user)
        account = company.account(session)
        for attempt in (
            lambda: suspend(session, person, account, company.trunk, NOW),
            lambda: resume(session, person, account, company.trunk, NOW),
            lambda: look_at_release(session, person, account, company.ten, NOW),
            lambda: release_numbers(session, person, account, company.ten, NOW),
        ):
            with pytest.raises(Forbidden):
                attempt()
        assert deeds(session) == []


def test_a_location_manager_of_the_main_account_does_it_in_its_name(database: Database, company: Company) -> None:
    with database.transaction() as session:
        main, _ = make_main(session)
        user = make_user(session)
        join(session, user, main, Role.LOCATION_MANAGER)
        attach(session, main.id, company.id, Origin.LINK, NOW)
        person = principal_of(session, user)
    assert suspended(database, company, person)
    with database.transaction() as session:
        [entry] = session.scalars(sa.select(AuditEntry))
        assert (entry.user_id, entry.through_id) == (person.user_id, main.id)
        detach(session, main.id, company.id)
    with pytest.raises(Forbidden):
        suspended(database, company, person)


def test_the_trunk_of_somebody_else_and_one_that_is_closed_are_not_found(database: Database, company: Company) -> None:
    with database.transaction() as session:
        other = make_trunk(session, make_account(session), "t000000000002")
        with pytest.raises(NotFound):
            suspend(session, company.person, company.account(session), other, NOW)
        trunk = session.get_one(SipTrunk, company.trunk)
        close_trunk(trunk, NOW)
        session.flush()
        for verb in (suspend, resume):
            with pytest.raises(NotFound):
                verb(session, company.person, company.account(session), company.trunk, NOW)
        with pytest.raises(TrunkClosed):
            resume_for_carrier(session, trunk.sip_user, NOW)
        with pytest.raises(TrunkClosed):
            trunk.suspend(SuspendedBy.CARRIER, NOW, "Missbrauch")
        with pytest.raises(NotFound):
            suspend_for_carrier(session, "nobody", "Missbrauch", NOW)


def test_a_trunk_of_an_account_on_order_is_left_alone(database: Database, company: Company) -> None:
    with database.transaction() as session:
        company.account(session).state = AccountState.ORDERED
    with pytest.raises(Forbidden):
        suspended(database, company)
    with pytest.raises(Forbidden):
        by_carrier(database, "Missbrauch")


def test_a_forwarding_that_is_set_up_meanwhile_reaches_the_registrar(database: Database, company: Company) -> None:
    suspended(database, company)
    state(database, company)
    with database.transaction() as session:
        draft = ForwardingDraft(Condition.ALWAYS, "+4930901820")
        add_forwarding(session, company.person, company.account(session), draft, LATER)
    assert state(database, company) == (TrunkState.SUSPENDED, True)
