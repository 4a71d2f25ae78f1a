"""Tests of suspending a trunk, releasing numbers and closing an account: the rules, and the rows they leave."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from models.accounts.accounts import Account
from models.accounts.hierarchy import (
    attach,
    detach,
)
from models.contracts.contracts import Contract, ContractItem
from models.db.session import Database
from models.errors import CannotClose, Forbidden, NotFound, RuleBroken, StillOnOrder, SuspendedByCarrier, TrunkClosed
from models.links.account_closing import close_account
from models.links.collective_invoices import put_on_invoice
from models.links.links import submit_link
from models.messages.outbox import Recipient
from models.orders.number_release import look_at_release, release_numbers
from models.orders.orders import submit_order
from models.people.api_tokens import ApiToken, create_token
from models.people.audit_log import AuditEntry, AuditEvent
from models.people.invitations import invite
from models.people.rights import Principal, Role, Scope
from models.people.users import User, principal_of
from models.requests.requests import Request
from models.states import AccountState, Kind, Origin, ProofMethod, Reason
from models.telephony.forwarding import CallForwarding, Condition, ForwardingDraft, add_forwarding
from models.telephony.holdings import holdings_of
from models.telephony.inventory import contracts_of
from models.telephony.number_pool import (
    QUARANTINE,
    pool_has,
)
from models.telephony.numbers import NumberBlock
from models.telephony.suspension import resume, resume_for_carrier, suspend, suspend_for_carrier
from models.telephony.trunks import SipTrunk, SuspendedBy, TrunkState, close_trunk
from tests.factories import NOW, VAULT, a_link, an_order, join, make_account, make_bulk, make_main, make_user, sites
from tests.fakes import wait_until
from tests.web.portal.accounts.test_dashboard import make_trunk

LATER = NOW + timedelta(hours=1)
MONTHLY = {"trunk-10": 2990, "block-10": 290, "block-1": 100}


class Company:
    """An account with a trunk, a contract, a block of ten numbers, a single number, and an administrator."""

    def __init__(self, session: Session) -> None:
        account, self.person = make_main(session, name="Filiale Köln")
        self.id, self.number = account.id, account.customer_number
        self.trunk = make_trunk(session, account)
        self.contract = session.get_one(SipTrunk, self.trunk).contract_id
        for key, cents in MONTHLY.items():
            facts = {"product_key": key, "monthly_cents": cents, "one_off_cents": 0}
            session.add(ContractItem(contract_id=self.contract, **facts))
        self.ten, self.one = (self.give(session, 493050000000, 10), self.give(session, 493050000010, 1))

    def give(self, session: Session, first: int, size: int) -> int:
        """Add a number block to the account and its trunk; return the block's id."""
        facts = {"area_code": "030", "first_number": first, "size": size, "trunk_id": self.trunk}
        block = NumberBlock(account_id=self.id, available_from=NOW, **facts)
        session.add(block)
        session.flush()
        return block.id

    def account(self, session: Session) -> Account:
        """Return the account, loaded in the given session."""
        return session.get_one(Account, self.id)


@pytest.fixture
def company(database: Database) -> Company:
    """Create a `Company`: an account with a trunk, a contract, numbers and an administrator."""
    with database.transaction() as session:
        return Company(session)


def state(database: Database, company: Company) -> tuple[TrunkState, bool]:
    """Return the trunk's state and whether the trunk is due to be sent to the registrar; then mark it as sent."""
    with database.transaction() as session:
        trunk = session.get_one(SipTrunk, company.trunk)
        is_due = trunk.due_at is not None
        trunk.rest()
        return trunk.state, is_due


def deeds(session: Session) -> list[tuple[AuditEvent, int | None, dict[str, Any]]]:
    """Return deed, user id and facts of every audit entry, the oldest first."""
    entries = session.scalars(sa.select(AuditEntry).order_by(AuditEntry.id))
    return [(entry.deed, entry.user_id, entry.facts) for entry in entries]


def suspended(database: Database, company: Company, person: Principal | None = None) -> bool:
    """Suspend the company's trunk as `person` (None: its administrator); return whether that changed the trunk."""
    with database.transaction() as session:
        return suspend(session, person or company.person, company.account(session), company.trunk, LATER)


def resumed(database: Database, company: Company) -> SipTrunk:
    """Resume the company's trunk as its administrator and return the trunk."""
    with database.transaction() as session:
        return resume(session, company.person, company.account(session), company.trunk, LATER)


def by_carrier(database: Database, reason: str | None) -> None:
    """Suspend the trunk as the carrier, for the given reason; None resumes the trunk as the carrier."""
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


def test_numbers_are_given_back_with_what_they_cost(database: Database, company: Company) -> None:
    with database.transaction() as session:
        account = company.account(session)
        found = look_at_release(session, company.person, account, company.ten, LATER)
        assert (found.block.id, found.is_last, found.item and found.item.monthly_cents) == (company.ten, False, 290)
        release_numbers(session, company.person, account, company.ten, LATER)
        session.flush()
        assert [item.product_key for item, _ in holdings_of(session, account, LATER).items] == ["trunk-10", "block-1"]
        assert holdings_of(session, account, LATER).monthly_cents == 3090
        # Amounts that were billed before the release do not change.
        assert holdings_of(session, account, NOW).monthly_cents == 3380
        [contract] = contracts_of(session, account, LATER).items
        assert contract.monthly_cents == 3090
        assert contracts_of(session, account, LATER, "10 Nummern").items == []
        assert not pool_has(session, "030", 10, LATER)
        assert pool_has(session, "030", 10, LATER + QUARANTINE)
        assert deeds(session) == [
            (AuditEvent.NUMBERS_RELEASED, company.person.user_id, {"numbers": "030 5000000-0 … -9"}),
        ]
        assert look_at_release(session, company.person, account, company.one, LATER).is_last
    assert state(database, company) == (TrunkState.ACTIVE, True)
    with database.transaction() as session, pytest.raises(NotFound):
        release_numbers(session, company.person, company.account(session), company.ten, LATER)


def test_a_line_for_several_blocks_ends_with_the_last_of_them(database: Database, company: Company) -> None:
    with database.transaction() as session:
        account = company.account(session)
        another = company.give(session, 493050000020, 10)
        assert look_at_release(session, company.person, account, company.ten, LATER).item is None
        release_numbers(session, company.person, account, company.ten, LATER)
        session.flush()
        assert holdings_of(session, account, LATER).monthly_cents == 3380
        assert look_at_release(session, company.person, account, another, LATER).item is not None


def test_numbers_without_trunk_or_line_are_given_back_too(database: Database, company: Company) -> None:
    with database.transaction() as session:
        account = company.account(session)
        session.get_one(NumberBlock, company.ten).trunk_id = None
        session.execute(sa.delete(ContractItem).where(ContractItem.product_key == "block-1"))
        for block in (company.ten, company.one):
            assert look_at_release(session, company.person, account, block, LATER).item is None
            release_numbers(session, company.person, account, block, LATER)
        session.flush()
        assert holdings_of(session, account, LATER).blocks == []


def test_numbers_of_somebody_else_are_not_found(database: Database, company: Company) -> None:
    with database.transaction() as session:
        stranger, person = make_main(session)
        with pytest.raises(NotFound):
            release_numbers(session, person, stranger, company.ten, NOW)


def test_numbers_of_an_order_are_kept_until_it_is_done(database: Database, company: Company) -> None:
    with database.transaction() as session:
        account = company.account(session)
        main, manager = make_main(session)
        order = submit_order(session, manager, main, an_order(), NOW)
        order.account_id = account.id
        session.flush()
        with pytest.raises(StillOnOrder):
            release_numbers(session, company.person, account, company.ten, NOW)
        order.begin(NOW)
        order.complete(NOW)
        session.flush()
        release_numbers(session, company.person, account, company.ten, NOW)


def test_a_closed_account_has_nothing_and_nobody(database: Database, company: Company) -> None:
    with database.transaction() as session:
        account = company.account(session)
        session.add(CallForwarding(account_id=account.id, condition=Condition.BUSY, target="+4930901820"))
        session.get_one(NumberBlock, company.one).trunk_id = None
        session.add(Contract(account_id=account.id, started_at=NOW))
        session.flush()
        invite(session, company.person, account, Recipient("Ida", "ida@example.com", "de"), Role.ADMINISTRATOR, NOW)
        user = session.get_one(User, company.person.user_id)
        create_token(session, account, user, "ERP", frozenset(Scope), NOW)
        assert close_account(session, account, LATER)
    with database.transaction() as session:
        account = company.account(session)
        assert account.state is AccountState.CLOSED
        holdings = holdings_of(session, account, LATER)
        assert (holdings.items, holdings.trunks, holdings.blocks) == ([], [], [])
        assert {block.available_from for block in session.scalars(sa.select(NumberBlock))} == {LATER + QUARANTINE}
        assert {contract.ended_at for contract in session.scalars(sa.select(Contract))} == {LATER}
        for table in ("call_forwardings", "invitations"):
            assert session.scalar(sa.text(f"SELECT count(*) FROM {table}")) == 0
        assert session.scalars(sa.select(ApiToken.revoked_at)).one() == LATER
        assert principal_of(session, session.get_one(User, company.person.user_id)).roles == {}
        assert deeds(session)[-1] == (AuditEvent.ACCOUNT_CLOSED, None, {})
        assert not close_account(session, account, LATER)
    assert state(database, company) == (TrunkState.CLOSED, True)


def under_a_main_account(session: Session, company: Company) -> None:
    attach(session, make_main(session)[0].id, company.id, Origin.LINK, NOW)


def over_a_sub_account(session: Session, company: Company) -> None:
    attach(session, company.id, make_account(session).id, Origin.LINK, NOW)


def asked_for_by_another(session: Session, company: Company) -> None:
    main, manager = make_main(session)
    submit_link(session, VAULT, manager, main, a_link(company.number, method=ProofMethod.CONSENT), NOW)


def with_an_order_of_its_own(session: Session, company: Company) -> None:
    submit_order(session, company.person, company.account(session), an_order(), NOW)


def with_a_file_of_its_own(session: Session, company: Company) -> None:
    make_bulk(session, company.person, company.account(session), sites(1)).send(NOW)


def billed_by_another(session: Session, company: Company) -> None:
    put_on_invoice(session, "SR-1", make_main(session)[0], company.account(session), NOW)


def paying_for_another(session: Session, company: Company) -> None:
    put_on_invoice(session, "SR-1", company.account(session), make_account(session), NOW)


def on_order(session: Session, company: Company) -> None:
    company.account(session).state = AccountState.ORDERED


OBSTACLES: dict[str, list[Callable[[Session, Company], None]]] = {
    "is_sub_account": [under_a_main_account],
    "has_sub_accounts": [over_a_sub_account],
    "request_runs": [asked_for_by_another, with_an_order_of_its_own],
    "bulk_runs": [with_a_file_of_its_own],
    "billed_together": [billed_by_another, paying_for_another],
    "ordered": [on_order],
}


@pytest.mark.parametrize(("code", "obstacle"), [(code, one) for code, them in OBSTACLES.items() for one in them])
def test_what_keeps_an_account_from_being_closed(
    database: Database, company: Company, code: str, obstacle: Callable[[Session, Company], None]
) -> None:
    with database.transaction() as session:
        obstacle(session, company)
        session.flush()
        with pytest.raises(CannotClose) as refused:
            close_account(session, company.account(session), NOW)
        assert refused.value.code == code
    assert state(database, company)[0] is TrunkState.ACTIVE


def test_a_request_about_an_account_that_is_closed_meanwhile_is_rejected(database: Database, company: Company) -> None:
    """An order that was written down while the account was being closed waits, and finds it closed."""

    def ask() -> None:
        with database.transaction() as session:
            submit_order(session, company.person, company.account(session), an_order(), NOW)

    def waits() -> bool:
        locked = "wait_event_type = 'Lock' AND query LIKE 'INSERT INTO requests%'"
        with database.transaction() as session:
            return bool(session.scalar(sa.text(f"SELECT count(*) FROM pg_stat_activity WHERE {locked}")))

    with ThreadPoolExecutor() as pool:
        with database.transaction() as session:
            assert close_account(session, company.account(session), NOW)
            session.flush()
            asking = pool.submit(ask)
            wait_until(waits)
        asking.result()
    with database.transaction() as session:
        [request] = session.scalars(sa.select(Request).where(Request.kind == Kind.ORDER))
        with pytest.raises(RuleBroken) as broken:
            attach(session, company.id, request.account_id or 0, Origin.ORDER, NOW)
        assert broken.value.reason is Reason.ACCOUNT_CLOSED
