"""Tests that requests and costs of an account's contracts are shown to its present main account, not to former ones."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest
import sqlalchemy as sa

from models.accounts.accounts import Account
from models.calendar_days import Month, berlin_day, first_moment
from models.changes.cancellations import submit_cancellation
from models.contracts.contracts import Contract, ContractItem
from models.links.links import submit_detach
from models.orders.restocking import restock
from models.people.rights import Principal
from models.people.users import User, principal_of
from models.proofs.main_consents import decide_for_main
from models.proofs.proofs import Decision
from models.requests.batch_locks import lock_claimed
from models.requests.request_rights import concerns
from models.requests.requests import Request
from models.states import Kind, Reason, Status
from models.telephony.trunks import SipTrunk
from models.views.account_costs import costs_page, total_costs
from models.views.request_history import HistoryFilter, history_of
from models.views.request_lists import requests_of
from tests.factories import a_link, an_order, join, make_account, make_main, make_user
from tests.tasks.conftest import Pipeline
from tests.tasks.reconcile.job_findings import finds
from tests.tasks.steps.asking_numbers import ask
from tests.tasks.steps.test_change import go_to


@pytest.fixture
def owner(pipeline: Pipeline) -> User:
    """Complete the order of a sub-account with ten numbers, and return its administrator."""
    pipeline.order(an_order())
    pipeline.advance()
    with pipeline.runtime.database.transaction() as session:
        owner = make_user(session)
        join(session, owner, session.scalars(sa.select(Account).where(Account.main_id == pipeline.main.id)).one())
        return owner


def site_id(pipeline: Pipeline) -> int:
    """Return the id of the account with the only trunk."""
    with pipeline.runtime.database.transaction() as session:
        return session.scalars(sa.select(SipTrunk.account_id)).one()


def ask_for_one(pipeline: Pipeline, person: Principal | None = None) -> UUID:
    """Request one more number, of which the pool has none; return the request's id.

    `person` requests it (None: the main account's manager).
    """
    with pipeline.runtime.database.transaction() as session:
        trunk_id = session.scalars(sa.select(SipTrunk.id)).one()
    id = ask(pipeline, trunk_id, size=1, person=person)
    pipeline.advance()
    assert pipeline.request(id).reason is Reason.NO_NUMBERS_AVAILABLE
    return id


def stock(pipeline: Pipeline) -> None:
    """Put a single number into the pool, and let the workers run."""
    with pipeline.owner.transaction() as session:
        restock(session, "030", "77000001", 1, 1, pipeline.clock.now)
    go_to(pipeline, pipeline.clock.now)


def switch(pipeline: Pipeline, owner: User) -> tuple[Account, Principal]:
    """Switch the account to a new main account, with all consents; return the new main account and its manager."""
    with pipeline.runtime.database.transaction() as session:
        new, manager = make_main(session)
        number = session.get_one(Account, site_id(pipeline)).customer_number
    id = pipeline.link(replace(a_link(number, email=owner.email), kind=Kind.SWITCH), manager, new)
    pipeline.advance()
    with pipeline.runtime.database.transaction() as session:
        asked, chief = session.get_one(Request, id), session.get_one(User, pipeline.manager.user_id)
        vault = pipeline.runtime.vault
        assert decide_for_main(session, vault, asked, chief, Decision.ACCEPTED, None, pipeline.clock.now)
    pipeline.advance()
    assert pipeline.request(id).status is Status.COMPLETED
    return new, manager


def sees(pipeline: Pipeline, main: Account, person: Principal, id: UUID) -> bool:
    """Return whether the main account's person sees the request. Fails unless page, history and API's list agree."""
    with pipeline.runtime.database.transaction() as session:
        found, account = session.get_one(Request, id), session.get_one(Account, main.id)
        person = principal_of(session, session.get_one(User, person.user_id))
        seen = concerns(session, person, found)
        listed = [past.request.id for past in history_of(session, account, HistoryFilter())]
        assert (id in listed) == (found.main_id == main.id) == (found in requests_of(session, account))
        assert seen or id not in listed
        return seen


def test_numbers_that_come_after_a_switch_are_told_to_the_new_main_account(pipeline: Pipeline, owner: User) -> None:
    id = ask_for_one(pipeline)
    assert sees(pipeline, pipeline.main, pipeline.manager, id)
    new, manager = switch(pipeline, owner)
    assert not sees(pipeline, pipeline.main, pipeline.manager, id)
    pipeline.mailer.sent.clear()
    stock(pipeline)
    assert pipeline.request(id).status is Status.COMPLETED
    assert not sees(pipeline, pipeline.main, pipeline.manager, id)
    assert sees(pipeline, new, manager, id)
    told = {mail.recipient_address for mail in pipeline.mailer.sent}
    assert owner.email in told and pipeline.manager.email not in told


def test_numbers_that_come_after_a_detachment_are_told_to_the_account_alone(pipeline: Pipeline, owner: User) -> None:
    with pipeline.runtime.database.transaction() as session:
        person = principal_of(session, session.get_one(User, owner.id))
    id = ask_for_one(pipeline, person)
    assert pipeline.request(id).main_id == pipeline.main.id
    with pipeline.runtime.database.transaction() as session:
        account = session.get_one(Account, site_id(pipeline))
        submit_detach(session, person, account, "de", pipeline.clock.now)
    pipeline.advance()
    assert not sees(pipeline, pipeline.main, pipeline.manager, id)
    stock(pipeline)
    done = pipeline.request(id)
    assert (done.status, done.main_id) == (Status.COMPLETED, done.account_id)
    assert not sees(pipeline, pipeline.main, pipeline.manager, id)
    assert sees(pipeline, account, person, id)


def switch_while_in_use(pipeline: Pipeline, owner: User) -> tuple[UUID, Account, Principal]:
    """Ask for a number, and switch the account while another transaction has locked that request.

    Return the request's id, the new main account and its manager.
    """
    id = ask_for_one(pipeline)
    with pipeline.runtime.database.transaction() as other:
        other.get_one(Request, id, with_for_update=True)
        new, manager = switch(pipeline, owner)
    assert pipeline.request(id).main_id == pipeline.main.id
    return id, new, manager


def test_a_request_that_was_in_use_at_the_moment_is_handed_over_when_it_goes_on(
    pipeline: Pipeline, owner: User
) -> None:
    id, _, _ = switch_while_in_use(pipeline, owner)
    stock(pipeline)
    assert not sees(pipeline, pipeline.main, pipeline.manager, id)


def test_a_request_that_was_in_use_at_the_moment_does_not_wait_for_its_day_to_be_handed_over(
    pipeline: Pipeline, owner: User
) -> None:
    id, new, manager = switch_while_in_use(pipeline, owner)
    with pipeline.runtime.database.transaction() as other:
        other.get_one(Request, id, with_for_update=True)
        assert finds(pipeline, "requests") == []
    with pipeline.runtime.database.transaction() as other:
        other.get_one(Account, new.id, with_for_update=True)
        assert finds(pipeline, "requests") == []
    [finding] = finds(pipeline, "requests", "left_behind")
    assert (finding.subject, finding.repaired) == (str(id), True)
    assert not sees(pipeline, pipeline.main, pipeline.manager, id)
    assert sees(pipeline, new, manager, id)
    assert finds(pipeline, "requests") == []


def test_a_worker_waits_for_no_main_account_to_which_a_request_goes(pipeline: Pipeline, owner: User) -> None:
    id, new, _ = switch_while_in_use(pipeline, owner)
    lease = UUID(int=1)
    with pipeline.runtime.database.transaction() as session:
        request = session.get_one(Request, id)
        request.lease, request.due_at = lease, pipeline.clock.now + timedelta(minutes=5)
    with pipeline.runtime.database.transaction() as other:
        other.get_one(Account, new.id, with_for_update=True)
        with pipeline.runtime.database.transaction() as session:
            assert lock_claimed(session, [id], lease) == []
    with pipeline.runtime.database.transaction() as session:
        assert [request.id for request in lock_claimed(session, [id], lease)] == [id]


def test_what_is_planned_for_an_account_that_is_linked_stands_in_the_list_of_its_main_account(
    pipeline: Pipeline,
) -> None:
    with pipeline.runtime.database.transaction() as session:
        owner = make_user(session)
        account = make_account(session, administrator=owner)
        person = principal_of(session, owner)
        last = berlin_day(pipeline.clock.now) + timedelta(days=60)
        id = submit_cancellation(session, person, account, last, "de", pipeline.clock.now).id
    assert pipeline.request(id).main_id == account.id
    pipeline.link(a_link(account, email=owner.email))
    pipeline.advance()
    assert sees(pipeline, pipeline.main, pipeline.manager, id)
    assert pipeline.request(id).main_id == pipeline.main.id


def listed(pipeline: Pipeline, main: Account, month: Month) -> list[str]:
    """Return the customer numbers in the main account's list of costs. Fails unless list and total agree."""
    with pipeline.runtime.database.transaction() as session:
        account = session.get_one(Account, main.id)
        page = costs_page(session, account, month).items
        assert total_costs(session, account, month).net == sum(cost.net for cost in page)
        return [cost.account.customer_number for cost in page]


def test_each_month_s_costs_belong_to_the_main_account_of_that_month(pipeline: Pipeline, owner: User) -> None:
    first, clock = Month.of(berlin_day(pipeline.clock.now)), pipeline.clock
    with pipeline.runtime.database.transaction() as session:
        account = session.get_one(Account, site_id(pipeline))
        last = first.later(4).first - timedelta(days=1)
        id = submit_cancellation(session, pipeline.manager, account, last, "de", clock.now).id
    number = account.customer_number
    clock.now = first_moment(first.later(1).first + timedelta(days=9))
    new, _ = switch(pipeline, owner)
    # Until it is closed, its own people see the months before.
    assert [number in listed(pipeline, main, first) for main in (pipeline.main, new, account)] == [False, False, True]
    go_to(pipeline, first_moment(first.later(4).first))
    assert pipeline.request(id).status is Status.COMPLETED
    seen = [
        [number in listed(pipeline, main, first.later(place)) for main in (pipeline.main, new)] for place in range(5)
    ]
    # The month of the switch is the new one's; with the first day of the fifth, the contract's line ends.
    assert seen == [[True, False], [False, True], [False, True], [False, True], [False, True]]


def test_an_account_that_is_linked_after_its_cancellation_is_in_the_list_of_its_main_account(
    pipeline: Pipeline,
) -> None:
    first, clock = Month.of(berlin_day(pipeline.clock.now)), pipeline.clock
    with pipeline.runtime.database.transaction() as session:
        owner = make_user(session)
        account = make_account(session, administrator=owner)
        contract = Contract(account_id=account.id, started_at=clock.now)
        session.add(contract)
        session.flush()
        session.add(ContractItem(contract_id=contract.id, product_key="trunk-10", monthly_cents=990, one_off_cents=0))
        last = first.later(3).first - timedelta(days=1)
        submit_cancellation(session, principal_of(session, owner), account, last, "de", clock.now)
    clock.now = first_moment(first.later(1).first)
    pipeline.link(a_link(account, email=owner.email))
    pipeline.advance()
    go_to(pipeline, first_moment(first.later(3).first))
    listing = [account.customer_number in listed(pipeline, pipeline.main, first.later(place)) for place in range(3)]
    assert listing == [False, True, True]
