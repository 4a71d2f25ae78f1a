"""Tests of number pools: no number is given out twice, too early or outside its local exchange area (Ortsnetz).

Transactions that take numbers at the same time do not wait for each other.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from models.accounts.accounts import Account
from models.db.session import Database
from models.errors import InvalidField, NoNumbersAvailable
from models.orders.restocking import PoolLine, pool_levels
from models.telephony.area_codes import AreaCode, load_area_codes
from models.telephony.number_pool import (
    QUARANTINE,
    SET_ASIDE,
    WITHDRAWN,
    NumberPool,
    free_reserved_block,
    give_reserved_block,
    release_block,
    set_aside_block,
    stock_pool,
    withdraw_from_pool,
)
from models.telephony.numbers import NumberBlock
from tests.factories import NOW, fill_pool, make_account
from tests.models.accounts.test_hierarchy import refused_by
from tests.web.portal.accounts.sites import make_trunk

INSERT = (
    "INSERT INTO number_blocks (area_code, first_number, size, available_from) VALUES (:area, :first, :size, now())"
)


@pytest.fixture
def account_id(database: Database) -> int:
    """Create an account that gets numbers from the pool in the tests; return its id."""
    with database.transaction() as session:
        return make_account(session).id


def pool(session: Session, *, size: int = 10, wanted: int = 1) -> NumberPool:
    """Return a number pool for Berlin (030) from which `wanted` blocks of `size` numbers can be taken.

    From then on the session's transaction fails if it waits for a lock for more than 50 ms.
    """
    session.execute(sa.text("SET LOCAL lock_timeout = '50ms'"))
    return NumberPool(session, NOW, {("030", size): wanted})


def test_open_transactions_get_different_blocks_and_do_not_wait(database: Database, account_id: int) -> None:
    with database.transaction() as session:
        fill_pool(session, count=5)
    with database.transaction() as one, database.transaction() as other, database.transaction() as late:
        taken = [pool(one, wanted=3).take("030", 10, account_id)]
        mine = pool(other, wanted=2)
        taken += [mine.take("030", 10, account_id), mine.take("030", 10, account_id)]
        assert len({block.id for block in taken}) == 3
        # The two blocks that the first transaction has locked but not taken yet are not available to others either.
        nothing = pool(late)
        assert not nothing.has("030", 10)
        with pytest.raises(NoNumbersAvailable):
            nothing.take("030", 10, account_id)
    with database.transaction() as session:
        given = sa.select(NumberBlock.id).where(NumberBlock.account_id == account_id)
        assert set(session.scalars(given)) == {block.id for block in taken}
        assert pool(session).has("030", 10)


def test_what_was_taken_in_vain_is_free_again(database: Database, account_id: int) -> None:
    with database.transaction() as session:
        fill_pool(session, count=1)
    with pytest.raises(sa.exc.IntegrityError), database.transaction() as session:
        pool(session).take("030", 10, account_id=0)
    with database.transaction() as session:
        assert pool(session).take("030", 10, account_id).first_number == 493020000000


def test_a_pool_gives_only_the_size_and_the_area_code_that_is_asked_for(database: Database, account_id: int) -> None:
    with database.transaction() as session:
        fill_pool(session, size=100)
        fill_pool(session, area_code="0521")
    with database.transaction() as session:
        assert not pool(session).has("030", 10)
        block = pool(session, size=100).take("030", 100, account_id)
        assert (len(block.numbers), block.numbers[0], block.numbers[-1]) == (100, "+493020000000", "+493020000099")


def test_a_released_block_rests_before_somebody_else_gets_it(database: Database, account_id: int) -> None:
    with database.transaction() as session:
        fill_pool(session, count=1)
        block = pool(session).take("030", 10, account_id)
    with database.transaction() as session:
        release_block(session.get_one(NumberBlock, block.id), NOW)
    over = NOW + QUARANTINE
    with database.transaction() as session:
        early = NumberPool(session, over - timedelta(seconds=1), {})
        assert not early.has("030", 10)
        assert pool_levels(session, NOW) == [
            PoolLine("030", "Berlin", 10, free=0, quarantined=1, given_out=0, withdrawn=0, set_aside=0)
        ]
        assert pool_levels(session, over) == [
            PoolLine("030", "Berlin", 10, free=1, quarantined=0, given_out=0, withdrawn=0, set_aside=0)
        ]
        assert NumberPool(session, over, {}).take("030", 10, account_id).id == block.id


def test_only_a_block_that_nobody_has_had_is_free_without_rest(database: Database, account_id: int) -> None:
    with database.transaction() as session:
        fill_pool(session, count=3)
        trunk_id = make_trunk(session, session.get_one(Account, account_id))
        reserving = pool(session, wanted=3)
        unused, used, kept = (reserving.reserve("030", 10) for _ in range(3))
        for block in (used, kept):
            give_reserved_block(session, block, account_id, trunk_id, NOW)
        session.flush()
        release_block(used, NOW)
        session.flush()
        later = NOW + timedelta(days=1)
        for block in (unused, used, kept):
            free_reserved_block(block, later)
        assert (unused.available_from, used.available_from) == (later, NOW + QUARANTINE)
        assert (kept.account_id, kept.available_from) == (account_id, NOW)


def test_a_block_of_another_carrier_does_not_come_to_the_pool(database: Database, account_id: int) -> None:
    with database.transaction() as session:
        fill_pool(session, count=1)
        block = pool(session).take("030", 10, account_id)
        block.ported_in = True
        session.flush()
        release_block(block, NOW)
        assert (block.account_id, block.available_from) == (None, WITHDRAWN)


def test_a_block_that_is_withdrawn_and_comes_back_has_its_whole_rest(database: Database, account_id: int) -> None:
    these = ("030", "20000000", 10, 3)
    with database.transaction() as session:
        fill_pool(session, count=3)
        taken = pool(session, wanted=2)
        resting, aside = (taken.take("030", 10, account_id) for _ in range(2))
        release_block(resting, NOW)
        set_aside_block(aside, NOW)
    back = NOW + timedelta(days=1)
    with database.transaction() as session:
        assert withdraw_from_pool(session, *these) == (2, [])
        assert stock_pool(session, *these, back) == 2
    with database.transaction() as session:
        blocks = session.scalars(sa.select(NumberBlock).order_by(NumberBlock.first_number)).all()
        assert [block.available_from for block in blocks] == [NOW + QUARANTINE, SET_ASIDE, back]
    # One whose rest is over is free at once.
    over = NOW + QUARANTINE + timedelta(days=1)
    with database.transaction() as session:
        withdraw_from_pool(session, *these)
        stock_pool(session, *these, over)
        assert pool_levels(session, over) == [
            PoolLine("030", "Berlin", 10, free=2, quarantined=0, given_out=0, withdrawn=0, set_aside=1)
        ]


def test_who_has_rested_longest_is_given_out_first(database: Database, account_id: int) -> None:
    with database.transaction() as session:
        stock_pool(session, "030", "20000000", 10, 1, NOW)
        stock_pool(session, "030", "30000000", 10, 1, NOW - timedelta(days=1))
    with database.transaction() as session:
        assert pool(session).take("030", 10, account_id).first_number == 493030000000


def test_a_block_is_found_without_sorting_the_pool_also_before_the_statistics_know_of_it(
    database: Database, account_id: int
) -> None:
    said: list[tuple[str, Any]] = []

    def keep(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if "number_blocks" in statement:
            said.append((statement, parameters))

    with database.transaction() as session:
        fill_pool(session, count=3000)
        session.execute(sa.update(NumberBlock).values(account_id=account_id))
        session.execute(sa.text("ANALYZE number_blocks"))
        fill_pool(session, count=3000, first="30000000")
        connection = session.connection()
        sa.event.listen(connection, "before_cursor_execute", keep)
        NumberPool(session, NOW, {("030", 10): 1}).take("030", 10, account_id)
        statement, parameters = said[0]
        plan = "\n".join(row[0] for row in connection.exec_driver_sql(f"EXPLAIN {statement}", parameters))
        assert "ix_number_blocks_free" in plan and "Sort" not in plan, plan


@pytest.mark.parametrize(
    ("first", "size"),
    [(493020000000, 10), (493020000000, 100), (493020000007, 1), (493020000010, 10)],
)
def test_two_blocks_never_share_a_number(database: Database, first: int, size: int) -> None:
    with database.transaction() as session:
        fill_pool(session, count=2)
    assert refused_by(database, INSERT, area="030", first=first, size=size) == "ex_number_blocks_overlap"


def test_blocks_may_lie_side_by_side(database: Database) -> None:
    with database.transaction() as session:
        fill_pool(session, count=1)
        for first, size in ((493019999900, 100), (493020000010, 10), (493020000020, 1)):
            session.execute(sa.text(INSERT), {"area": "030", "first": first, "size": size})


@pytest.mark.parametrize(
    ("area", "first", "size", "constraint"),
    [
        ("030", 498920000000, 10, "ck_number_blocks_in_area"),
        ("030", 3020000000, 10, "ck_number_blocks_in_area"),
        ("0521", 493020000000, 10, "ck_number_blocks_in_area"),
        ("030", 493020000005, 10, "ck_number_blocks_aligned"),
        ("030", 493020000010, 100, "ck_number_blocks_aligned"),
        ("030", 493020000000, 20, "ck_number_blocks_size"),
        ("0999", 4999920000000, 10, "fk_number_blocks_area_code"),
    ],
)
def test_sql_cannot_make_a_block_outside_its_area_code(
    database: Database, area: str, first: int, size: int, constraint: str
) -> None:
    assert refused_by(database, INSERT, area=area, first=first, size=size) == constraint


def test_numbers_that_belong_to_nobody_ring_on_no_trunk(database: Database) -> None:
    with database.transaction() as session:
        fill_pool(session, count=1)
    assert refused_by(database, "UPDATE number_blocks SET trunk_id = 1") == "ck_number_blocks_trunk_needs_account"


def test_stocking_leaves_what_is_given_out_alone(database: Database, account_id: int) -> None:
    with database.transaction() as session:
        fill_pool(session, count=2)
        pool(session).take("030", 10, account_id)
    with database.transaction() as session:
        assert stock_pool(session, "030", "19999990", 10, 1200, NOW) == 1198
        assert pool_levels(session, NOW) == [
            PoolLine("030", "Berlin", 10, free=1199, quarantined=0, given_out=1, withdrawn=0, set_aside=0)
        ]
    with database.transaction() as session, pytest.raises(InvalidField, match="not_aligned"):
        stock_pool(session, "030", "20000001", 10, 1, NOW)


@pytest.mark.parametrize(
    ("code", "town"),
    [
        ("030", "Berlin"),
        ("040", "Hamburg"),
        ("069", "Frankfurt am Main"),
        ("089", "München"),
        ("0335", "Frankfurt (Oder)"),
        ("0521", "Bielefeld"),
        ("0761", "Freiburg im Breisgau"),
        ("033338", "Stolpe/Oder"),
    ],
)
def test_every_ortsnetz_of_germany_is_known_by_its_town(database: Database, code: str, town: str) -> None:
    with database.transaction() as session:
        assert session.get_one(AreaCode, code).name == town


def test_there_are_as_many_ortsnetze_as_germany_has_however_often_they_are_loaded(database: Database) -> None:
    with database.transaction() as session:
        assert 5_190 < load_area_codes(session) < 5_220
        codes = list(session.scalars(sa.select(AreaCode.code)))
        assert len(codes) == load_area_codes(session)
    for no_ortsnetz in ("0151", "0800", "0900", "0137", "032", "0180", "06215", "062199"):
        assert no_ortsnetz not in codes
