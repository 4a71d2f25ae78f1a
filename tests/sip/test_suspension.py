"""Tests that suspending a trunk, releasing numbers and closing an account apply from the next SIP message on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from models.accounts.accounts import Account
from models.accounts.hierarchy import detach
from models.links.account_closing import close_account
from models.orders.number_release import release_numbers
from models.telephony.forwarding import Condition
from models.telephony.numbers import NumberBlock
from models.telephony.suspension import resume, resume_for_carrier, suspend, suspend_for_carrier
from models.telephony.trunks import SipTrunk
from tests.sip.conftest import Sites
from tests.sip.phones import Phone, call_in
from workers.gateways.registrar import plain_url


@contextmanager
def at_the_portal(sites: Sites, phone: Phone) -> Iterator[tuple[Session, Account, SipTrunk]]:
    """Yield a session, and the account and the trunk of a phone system, so that the `with` block can change them.

    At the end of the block the changes are saved, and what became due is written to the registrar.
    """
    with sites.runtime.database.transaction() as session:
        trunk = session.scalars(sa.select(SipTrunk).where(SipTrunk.sip_user == phone.user)).one()
        yield session, session.get_one(Account, trunk.account_id), trunk
    sites.tell()


def suspended(sites: Sites, phone: Phone) -> None:
    """Suspend the phone's trunk as the portal does, and write this to the registrar."""
    with at_the_portal(sites, phone) as (session, account, trunk):
        assert suspend(session, sites.manager, account, trunk.id, sites.runtime.clock())


def test_a_suspended_site_is_out_at_once_and_comes_back_by_itself(
    sites: Sites, berlin: Phone, hamburg: Phone, registrar_url: str
) -> None:
    suspended(sites, berlin)
    with psycopg.connect(plain_url(registrar_url)) as connection:
        assert connection.execute("SELECT username FROM location").fetchall() == [(hamburg.user,)]
    assert "503 Your Trunk Is Suspended" in berlin.register(gets=503).messages
    assert "403 Your Trunk Is Suspended" in berlin.call(hamburg.numbers[0], gets=403).messages
    assert "480 Temporarily Unavailable" in call_in(sites.line, berlin.numbers[0], gets=480).messages
    hamburg.call(berlin.numbers[0], gets=480)
    with at_the_portal(sites, berlin) as (session, account, trunk):
        resume(session, sites.manager, account, trunk.id, sites.runtime.clock())
    berlin.register()
    berlin.answer()
    call_in(sites.line, berlin.numbers[0])
    hamburg.answer()
    berlin.call(hamburg.numbers[0])


def test_a_suspended_site_forwards_nothing_and_takes_nothing_that_is_forwarded(
    sites: Sites, berlin: Phone, hamburg: Phone
) -> None:
    sites.forward(berlin, Condition.ALWAYS, hamburg.numbers[0])
    suspended(sites, berlin)
    # A forwarding set up during the suspension applies only when the suspension is lifted.
    sites.forward(berlin, Condition.NOT_REGISTERED, hamburg.numbers[1])
    call_in(sites.line, berlin.numbers[0], gets=480)
    sites.forward(hamburg, Condition.ALWAYS, berlin.numbers[0])
    call_in(sites.line, hamburg.numbers[0], gets=480)


def test_a_suspension_by_the_carrier_lasts_until_the_carrier_lifts_it(
    sites: Sites, berlin: Phone, hamburg: Phone
) -> None:
    now = sites.runtime.clock()
    with at_the_portal(sites, berlin) as (session, _, trunk):
        suspend_for_carrier(session, trunk.sip_user, "Missbrauch", now)
    # Not 403, at which phone systems such as Asterisk give up for good.
    assert "Retry-After: 60" in berlin.register(gets=503).messages
    with at_the_portal(sites, berlin) as (session, _, trunk):
        resume_for_carrier(session, trunk.sip_user, now)
    berlin.register()
    berlin.answer()
    hamburg.call(berlin.numbers[0])


@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM usr_preferences WHERE attribute = 'suspended'",
        "DELETE FROM subscriber",
        "UPDATE usr_preferences SET attribute = 'x' WHERE attribute = 'suspended'",
    ],
)
def test_a_suspension_that_was_lifted_by_hand_is_back_after_reconciliation(
    sites: Sites, berlin: Phone, registrar_url: str, damage: str
) -> None:
    suspended(sites, berlin)
    with psycopg.connect(plain_url(registrar_url)) as connection:
        connection.execute(damage.encode())
    sites.reconcile()
    assert "503 Your Trunk Is Suspended" in berlin.register(gets=503).messages
    call_in(sites.line, berlin.numbers[0], gets=480)


def test_a_number_that_was_given_back_is_nobodys_for_the_next_call(sites: Sites, berlin: Phone, hamburg: Phone) -> None:
    with at_the_portal(sites, berlin) as (session, account, trunk):
        block = session.scalars(sa.select(NumberBlock).where(NumberBlock.trunk_id == trunk.id)).one()
        release_numbers(session, sites.manager, account, block.id, sites.runtime.clock())
    call_in(sites.line, berlin.numbers[0], gets=404)
    hamburg.call(berlin.numbers[0], gets=404)
    # The trunk continues to work without a number, and shows none.
    hamburg.answer()
    berlin.call(hamburg.numbers[0])
    berlin.call(hamburg.numbers[0], gets=403, sender=berlin.numbers[0])


def test_a_closed_account_cannot_register_nor_call_for_anything(sites: Sites, berlin: Phone) -> None:
    with at_the_portal(sites, berlin) as (session, account, _):
        detach(session, sites.main.id, account.id)
        session.flush()
        assert close_account(session, account, sites.runtime.clock())
    assert "403 Wrong User Or Password" in berlin.register(gets=403).messages
    berlin.call("112", gets=403)
    call_in(sites.line, berlin.numbers[0], gets=404)
