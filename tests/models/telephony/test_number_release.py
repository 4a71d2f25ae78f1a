"""Tests of releasing numbers of an account: their contract lines end with them.

Numbers of another account, and numbers of an order that is still running, cannot be released.
"""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from models.contracts.contracts import ContractItem
from models.db.session import Database
from models.errors import NotFound, StillOnOrder
from models.orders.number_release import look_at_release, release_numbers
from models.people.audit_log import AuditEvent
from models.telephony.holdings import holdings_of
from models.telephony.inventory import contracts_of
from models.telephony.number_pool import QUARANTINE, pool_has
from models.telephony.numbers import NumberBlock
from models.telephony.trunks import TrunkState
from tests.factories import NOW, an_order, make_main, submit_order
from tests.models.telephony.conftest import LATER, Company, deeds, state


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
