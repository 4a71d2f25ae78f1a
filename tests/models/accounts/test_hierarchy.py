"""Tests that the database enforces the account hierarchy, even for code that bypasses the model, and in races."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from models.accounts.accounts import Account
from models.accounts.hierarchy import (
    attach,
    detach,
    move,
    promote,
)
from models.db.session import Database
from models.errors import AlreadyAttached, IsMainAccount, RuleBroken
from models.states import AccountRole, Origin, Reason
from tests.factories import NOW, make_account, make_main

ATTACH = "UPDATE accounts SET role = 'sub', main_id = :main, origin = 'link', attached_at = now() WHERE id = :id"


def refused_by(database: Database, statement: str, **values: object) -> str | None:
    """Run a plain SQL statement that must fail; return the name of the constraint or trigger that refused it."""
    with pytest.raises(sa.exc.IntegrityError) as caught, database.transaction() as session:
        session.execute(sa.text(statement), values)
    assert isinstance(caught.value.orig, psycopg.Error)
    return caught.value.orig.diag.constraint_name


@pytest.fixture
def ids(database: Database) -> dict[str, int]:
    """Create a main account with a sub-account, a main account without one, and two standalone accounts.

    Return their ids by name: main, sub, childless, one and two.
    """
    with database.transaction() as session:
        main, _ = make_main(session, subs=1)
        sub = session.scalars(sa.select(Account).where(Account.main_id == main.id)).one()
        childless = make_account(session)
        promote(session, childless.id)
        return {
            "main": main.id,
            "sub": sub.id,
            "childless": childless.id,
            "one": make_account(session).id,
            "two": make_account(session).id,
        }


@pytest.mark.parametrize(
    ("account", "main", "constraint"),
    [
        ("one", "sub", "fk_accounts_main_is_main"),
        ("one", "two", "fk_accounts_main_is_main"),
        ("one", "one", "ck_accounts_no_self_link"),
        ("main", "childless", "accounts_main_never_sub"),
        ("childless", "main", "accounts_main_never_sub"),
    ],
)
def test_sql_cannot_build_a_tree(
    database: Database, ids: dict[str, int], account: str, main: str, constraint: str
) -> None:
    assert refused_by(database, ATTACH, id=ids[account], main=ids[main]) == constraint


@pytest.mark.parametrize(
    ("change", "constraint"),
    [
        ("role = 'sub', origin = 'link', attached_at = now()", "ck_accounts_sub_has_main"),
        ("main_id = :main", "ck_accounts_sub_has_main"),
        ("role = 'sub', main_id = :main, attached_at = now()", "ck_accounts_sub_has_origin"),
        ("role = 'sub', main_id = :main, origin = 'link'", "ck_accounts_sub_has_time"),
        ("customer_number = '7654321'", "accounts_keep_number"),
        ("role = 'chief'", "ck_accounts_role"),
    ],
)
def test_sql_cannot_leave_an_account_half_attached(
    database: Database, ids: dict[str, int], change: str, constraint: str
) -> None:
    statement = f"UPDATE accounts SET {change} WHERE id = :id"
    values = {"id": ids["one"]} | ({"main": ids["main"]} if ":main" in change else {})
    assert refused_by(database, statement, **values) == constraint


def test_sql_cannot_take_a_main_account_from_its_sub_accounts(database: Database, ids: dict[str, int]) -> None:
    demote = "UPDATE accounts SET role = 'standalone' WHERE id = :id"
    assert refused_by(database, demote, id=ids["main"]) == "fk_accounts_main_is_main"


def test_customer_numbers_are_never_reused(database: Database, ids: dict[str, int]) -> None:
    with database.transaction() as session:
        number = session.get_one(Account, ids["one"]).customer_number
    assert refused_by(database, "DELETE FROM accounts WHERE id = :id", id=ids["one"]) == "accounts_never_deleted"
    delete = "DELETE FROM customer_numbers WHERE number = :number"
    assert refused_by(database, delete, number=number) == "customer_numbers_never_reused"
    again = "INSERT INTO customer_numbers VALUES (:number)"
    assert refused_by(database, again, number=number) == "pk_customer_numbers"
    assert refused_by(database, again, number="0123456") == "ck_customer_numbers_seven_digits"


def test_attach_says_which_rule_was_broken(database: Database, ids: dict[str, int]) -> None:
    def try_to(main: str, account: str) -> None:
        with database.transaction() as session:
            attach(session, ids[main], ids[account], Origin.LINK, NOW)

    try_to("main", "sub")  # attached already: changes nothing
    with pytest.raises(AlreadyAttached):
        try_to("childless", "sub")
    with pytest.raises(IsMainAccount):
        try_to("childless", "main")
    with pytest.raises(RuleBroken) as broken:
        try_to("sub", "one")
    assert broken.value.reason is Reason.IS_SUB_ACCOUNT
    with pytest.raises(RuleBroken) as broken:
        try_to("one", "one")
    assert broken.value.reason is Reason.SAME_ACCOUNT


def test_a_sub_account_leaves_only_the_main_account_that_it_has(database: Database, ids: dict[str, int]) -> None:
    def reason_against(leave: str, to: str | None) -> Reason:
        with database.transaction() as session:
            with pytest.raises(RuleBroken) as broken:
                leaves(session, leave, to)
            return broken.value.reason

    def leaves(session: Session, leave: str, to: str | None) -> Account:
        if to is None:
            return detach(session, ids[leave], ids["sub"])
        return move(session, ids[leave], ids[to], ids["sub"], NOW)

    assert reason_against("childless", None) is Reason.NOT_ATTACHED
    assert reason_against("childless", "one") is Reason.NOT_ATTACHED
    assert reason_against("main", "main") is Reason.NOT_ATTACHED
    assert reason_against("main", "sub") is Reason.SAME_ACCOUNT
    with database.transaction() as session:
        sub = session.get_one(Account, ids["sub"])
        assert (sub.main_id, sub.role) == (ids["main"], AccountRole.SUB)


def test_of_many_main_accounts_exactly_one_wins(database: Database) -> None:
    with database.transaction() as session:
        account = make_account(session).id
        mains = [make_main(session, subs=1)[0].id for _ in range(12)]
    barrier = Barrier(len(mains), timeout=30)

    def try_to_attach(main: int) -> str:
        with database.transaction() as session:
            session.connection()
            barrier.wait(10)
            try:
                attach(session, main, account, Origin.LINK, NOW)
            except AlreadyAttached:
                return "already_attached"
            return "attached"

    with ThreadPoolExecutor(len(mains)) as pool:
        answers = list(pool.map(try_to_attach, mains))
    assert sorted(answers) == ["already_attached"] * 11 + ["attached"]
    with database.transaction() as session:
        assert session.get_one(Account, account).main_id == mains[answers.index("attached")]


def test_two_accounts_that_want_each_other_end_with_depth_one(database: Database) -> None:
    for _ in range(5):
        with database.transaction() as session:
            pair = make_account(session).id, make_account(session).id
        barrier = Barrier(2, timeout=30)

        def try_to_attach(main: int, account: int, barrier: Barrier = barrier) -> str:
            try:
                with database.transaction() as session:
                    session.connection()
                    barrier.wait(10)
                    attach(session, main, account, Origin.LINK, NOW)
            except (RuleBroken, sa.exc.OperationalError, sa.exc.IntegrityError) as error:
                return type(error).__name__
            return "attached"

        with ThreadPoolExecutor(2) as pool:
            answers = [
                future.result()
                for future in (pool.submit(try_to_attach, *pair), pool.submit(try_to_attach, pair[1], pair[0]))
            ]
        assert answers.count("attached") == 1
        with database.transaction() as session:
            roles = {session.get_one(Account, id).role for id in pair}
        assert roles == {AccountRole.MAIN, AccountRole.SUB}
