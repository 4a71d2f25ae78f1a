"""Tests of the demo data that `standorte up` loads."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from models.accounts.accounts import (
    Account,
    account_by_number,
)
from models.accounts.hierarchy import attach
from models.db.session import Database
from models.people.passwords import authenticate
from models.people.rights import Action, Role, may
from models.people.users import (
    Membership,
    User,
    principal_of,
)
from models.place_names import same_place
from models.states import AccountRole, Origin
from models.telephony.forwarding import CallForwarding
from models.telephony.number_pool import pool_has
from models.telephony.numbers import NumberBlock
from models.telephony.trunks import SipTrunk
from models.values import utc_now
from models.vault import Vault
from tests.fakes import FakeRegistrar
from workers.demo.cast import BILLED_TOGETHER, EMPTY_POOL, EXISTING, POOLS
from workers.demo.seed import DEMO_LOGINS, Seeded, seed


def load(database: Database, registrar: FakeRegistrar | None = None) -> Seeded:
    return seed(database, Vault("a key"), "sip.example.com", utc_now(), registrar=registrar)


def counts(database: Database) -> list[int]:
    with database.transaction() as session:
        return [
            session.scalar(sa.select(sa.func.count()).select_from(table)) or 0
            for table in (Account, User, Membership, SipTrunk, NumberBlock, CallForwarding)
        ]


def test_everybody_on_the_list_can_sign_in(database: Database) -> None:
    load(database)

    with database.transaction() as session:
        for login in DEMO_LOGINS:
            assert authenticate(session, login.email, login.password) is not None, login.who


def test_loading_twice_changes_nothing(database: Database) -> None:
    registrar = FakeRegistrar()
    first = load(database, registrar)
    before, trunks = counts(database), dict(registrar.trunks)

    second = load(database, registrar)

    assert (first.new_accounts, second.new_accounts, second.new_blocks) == (13, 0, 0)
    assert counts(database) == before
    assert registrar.trunks == trunks
    assert len(trunks) == 13


def test_the_company_and_its_relatives_stand_as_the_demo_needs_them(database: Database) -> None:
    load(database)

    with database.transaction() as session:
        found = {account.customer_number: account for account in session.scalars(sa.select(Account))}
        main, munich = found["1111111"], found["2000089"]
        assert (main.contact_name, main.street, main.city) == ("Maxi Mustermensch", "Oranienplatz 5", "Berlin")
        assert (main.role, munich.role) == (AccountRole.MAIN, AccountRole.MAIN)
        assert (found["2000040"].main_id, found["2000711"].main_id) == (main.id, munich.id)
        assert sum(account.role is AccountRole.STANDALONE for account in found.values()) == 9
        maxi = session.scalar(sa.select(User).where(User.email == "maxi.mustermensch@example.com"))
        assert maxi is not None
        assert may(principal_of(session, maxi), Action.PROVE_OWNERSHIP, found["2000521"])
        assert found["2000040"].tags == ["Hafen", "Region Nord"]
        roles = set(session.scalars(sa.select(Membership.role)))
        assert roles == set(Role)
        assert session.scalar(sa.select(User.email).where(User.is_staff)) == "backoffice@example.com"


def test_every_existing_account_has_a_trunk_with_numbers_of_its_own_town(database: Database) -> None:
    registrar = FakeRegistrar()
    load(database, registrar)

    with database.transaction() as session:
        rows = session.execute(
            sa.select(Account.city, NumberBlock.area_code)
            .join(NumberBlock, NumberBlock.account_id == Account.id)
            .join(SipTrunk, SipTrunk.id == NumberBlock.trunk_id)
        ).all()
    towns = {pool.area_code: pool.city for pool in POOLS}
    assert len(rows) == len(EXISTING) + len(BILLED_TOGETHER) + 1
    assert all(same_place(city, towns[area_code]) for city, area_code in rows)
    assert all(record.numbers and len(record.secret) == 24 for record in registrar.trunks.values())


@pytest.mark.parametrize("size", [1, 10, 100])
def test_every_pool_is_stocked_but_the_one_that_is_empty_on_purpose(database: Database, size: int) -> None:
    load(database)

    with database.transaction() as session:
        assert all(pool_has(session, pool.area_code, size, utc_now()) for pool in POOLS)
        assert not pool_has(session, EMPTY_POOL.area_code, size, utc_now())


def test_an_account_that_was_linked_since_stays_linked(database: Database) -> None:
    load(database)
    with database.transaction() as session:
        main, bremen = account_by_number(session, "1111111"), account_by_number(session, "2000421")
        assert main is not None
        assert bremen is not None
        attach(session, main.id, bremen.id, Origin.LINK, utc_now())

    load(database)

    with database.transaction() as session:
        bremen = account_by_number(session, "2000421")
        assert bremen is not None
        assert bremen.role is AccountRole.SUB
