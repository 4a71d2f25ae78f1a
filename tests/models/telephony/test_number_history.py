"""Tests of the history of numbers: who had a number from when to when, and how long that is kept."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
import sqlalchemy as sa

from models.accounts.accounts import Account
from models.db.session import Database
from models.links.account_closing import close_account
from models.telephony import number_history
from models.telephony.number_history import NumberAssignment, assignments_of, block_of, complete_history
from models.telephony.number_pool import QUARANTINE, NumberPool, release_block
from models.telephony.numbers import NumberBlock
from tests.factories import NOW, fill_pool, make_account
from tests.models.accounts.test_hierarchy import refused_by

FIRST = 493020000000


def told(database: Database, number: int = FIRST) -> list[tuple[str, str, datetime, datetime | None]]:
    """Return the assignments of the block that contains `number`, the newest first.

    Each is customer number, name of the contract holder, beginning and end (None: it has not ended). `number` is in
    E.164, as an integer.
    """
    with database.transaction() as session:
        block = block_of(session, number)
        assert block is not None
        rows = assignments_of(session, block)
        return [(customer_number, one.holder_name, one.since, one.until) for one, customer_number in rows]


def test_owners_follow_each_other_with_the_names_of_their_time(database: Database) -> None:
    with database.transaction() as session:
        fill_pool(session, count=1)
        one = make_account(session, name="Alt GmbH", street="Am Tor 1")
        other = make_account(session, name="Neu AG")
        block = NumberPool(session, NOW, {}).take("030", 10, one.id)
        block_id, numbers = block.id, (one.customer_number, other.customer_number)
    with database.transaction() as session:
        session.get_one(Account, one.id).name = "Alt umbenannt"
    assert told(database, FIRST + 9) == [(numbers[0], "Alt GmbH", NOW, None)]
    given_back, again = NOW + timedelta(days=5), NOW + timedelta(days=5) + QUARANTINE
    with database.transaction() as session:
        release_block(session.get_one(NumberBlock, block_id), given_back)
    with database.transaction() as session:
        NumberPool(session, again, {}).take("030", 10, session.get_one(Account, other.id).id)
    assert told(database) == [(numbers[1], "Neu AG", again, None), (numbers[0], "Alt GmbH", NOW, given_back)]
    with database.transaction() as session:
        assert block_of(session, FIRST + 10) is None
        close_account(session, session.get_one(Account, other.id), again)
    assert [until for *_, until in told(database)] == [again, given_back]


def test_blocks_taken_together_are_recorded_with_one_statement_and_one_given_back_at_once_has_an_end(
    database: Database,
) -> None:
    seen: list[str] = []
    with database.transaction() as session:
        fill_pool(session, count=3)
        account = make_account(session, name="Alt GmbH")
        sa.event.listen(database.engine, "before_cursor_execute", lambda *found: seen.append(found[2]))
        pool = NumberPool(session, NOW, {("030", 10): 3})
        for _ in range(2):
            pool.take("030", 10, account.id)
        release_block(pool.take("030", 10, account.id), NOW)
    assert sum("INSERT INTO number_assignments" in statement for statement in seen) == 1
    assert [told(database, FIRST + place)[0][3] for place in (0, 10, 20)] == [None, None, NOW]


@pytest.mark.parametrize(
    ("since", "until", "rule"),
    [
        ("2026-03-05", None, "ex_number_assignments_overlap"),
        ("2026-01-01", "2026-03-10", "ex_number_assignments_overlap"),
        ("2026-03-05", "2026-03-04", "ends_after_start"),
    ],
)
def test_no_number_has_two_owners_at_a_time(database: Database, since: str, until: str | None, rule: str) -> None:
    with database.transaction() as session:
        fill_pool(session, count=1)
        account_id = make_account(session).id
        block_id = NumberPool(session, NOW, {}).take("030", 10, account_id).id
    insert = (
        "INSERT INTO number_assignments (block_id, account_id, since, until, holder_name, holder_street,"
        " holder_postal_code, holder_city, street, postal_code, city)"
        " VALUES (:block, :account, CAST(:since AS date), CAST(:until AS date), '', '', '', '', '', '', '')"
    )
    found = refused_by(database, insert, block=block_id, account=account_id, since=since, until=until)
    assert found is not None and rule in found


def test_the_history_is_completed_a_page_of_blocks_at_a_time(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(number_history, "_PAGE", 2)
    with database.transaction() as session:
        fill_pool(session, count=3)
        account = make_account(session)
        take = NumberPool(session, NOW, {("030", 10): 3}).take
        blocks = [take("030", 10, account.id).id for _ in range(3)]
    with database.transaction() as session:
        session.execute(sa.delete(NumberAssignment))
    with database.transaction() as session:
        assert complete_history(session, NOW) == (2, blocks[1])
        assert complete_history(session, NOW, blocks[1]) == (1, blocks[2])
        assert complete_history(session, NOW, blocks[2]) == (0, None)


def test_what_an_older_program_left_out_is_written_later(database: Database) -> None:
    with database.transaction() as session:
        fill_pool(session, count=3)
        kept, lost, gone = (make_account(session) for _ in range(3))
        take = NumberPool(session, NOW, {("030", 10): 3}).take
        blocks = [take("030", 10, account.id) for account in (kept, lost, gone)]
    with database.transaction() as session:
        session.execute(sa.update(NumberBlock).where(NumberBlock.id == blocks[1].id).values(account_id=kept.id))
        session.execute(sa.update(NumberBlock).where(NumberBlock.id == blocks[2].id).values(account_id=None))
    later = NOW + timedelta(hours=1)
    with database.transaction() as session:
        assert complete_history(session, later) == (3, blocks[-1].id)
        assert complete_history(session, later) == (0, blocks[-1].id)
    with database.transaction() as session:
        rows = session.execute(
            sa.select(NumberAssignment.account_id, NumberAssignment.since, NumberAssignment.until).order_by(
                NumberAssignment.block_id, NumberAssignment.since
            )
        )
        assert [tuple(row) for row in rows] == [
            (kept.id, NOW, None), (lost.id, NOW, later), (kept.id, later, None), (gone.id, NOW, later),
        ]  # fmt: skip
