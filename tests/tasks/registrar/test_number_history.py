"""Tests of the history of numbers: an order adds a row for its number block; the row is kept for a fixed time."""

from __future__ import annotations

from datetime import UTC, datetime

import sqlalchemy as sa

from models.accounts.accounts import Account
from models.accounts.contract_holders import holder_of, put_holder
from models.accounts.hierarchy import attach
from models.links.links import submit_detach
from models.states import Origin, Status
from models.telephony.number_history import NumberAssignment
from models.telephony.number_pool import NumberPool, release_block
from models.telephony.numbers import NumberBlock
from tasks.ports import NumberTaken
from tests.factories import HOLDER, NOW, an_order, join, make_account, make_main, make_user
from tests.models.telephony.test_number_history import told
from tests.tasks.conftest import Pipeline


def test_an_order_writes_one_row_and_linking_or_detaching_changes_none(pipeline: Pipeline) -> None:
    with pipeline.runtime.database.transaction() as session:
        put_holder(session, pipeline.main.id, HOLDER, pipeline.clock.now)
    id = pipeline.order(an_order())
    pipeline.advance()
    request = pipeline.request(id)
    assert request.status is Status.COMPLETED and request.account_id is not None
    before = told(pipeline.runtime.database)
    assert [(row[0], row[1], row[3]) for row in before] == [(request.customer_number, HOLDER.name, None)]
    with pipeline.runtime.database.transaction() as session:
        account = session.get_one(Account, request.account_id)
        join(session, make_user(session), account)
        submit_detach(session, pipeline.manager, account, "de", pipeline.clock.now)
    pipeline.advance()
    with pipeline.runtime.database.transaction() as session:
        account = session.get_one(Account, request.account_id)
        assert account.main_id is None
        found = holder_of(session, account)
        assert found is not None and found.data == HOLDER
        other, _ = make_main(session)
        attach(session, other.id, request.account_id, Origin.LINK, NOW)
    assert told(pipeline.runtime.database) == before


def test_a_block_that_the_registrar_gave_to_somebody_else_is_ended_and_the_next_begun(pipeline: Pipeline) -> None:
    id = pipeline.order(an_order())
    pipeline.registrar.failures = [NumberTaken("taken")]
    pipeline.advance()
    assert pipeline.request(id).status is Status.COMPLETED
    with pipeline.runtime.database.transaction() as session:
        owned = session.scalars(sa.select(NumberBlock.id).where(NumberBlock.account_id.is_not(None))).all()
        still = sa.select(NumberAssignment.block_id).where(NumberAssignment.until.is_(None))
        assert session.scalars(still).all() == owned
        assert session.scalar(sa.select(sa.func.count()).select_from(NumberAssignment)) == 2


def test_a_row_is_kept_to_the_end_of_the_next_year_in_berlin(pipeline: Pipeline) -> None:
    """Release a block in the last minute of 2026 in Berlin.

    Its row in the history must be deleted when 2027 has ended there, and not before.
    """
    with pipeline.runtime.database.transaction() as session:
        account = make_account(session)
        pool = NumberPool(session, NOW, {("030", 10): 2})
        block, _kept = pool.take("030", 10, account.id), pool.take("030", 10, account.id)
        release_block(block, datetime(2026, 12, 31, 22, 59, tzinfo=UTC))
    pipeline.clock.now = datetime(2027, 12, 31, 22, 59, tzinfo=UTC)
    assert pipeline.run("leftovers").counts["number_assignments"] == 0
    pipeline.clock.now = datetime(2027, 12, 31, 23, 0, tzinfo=UTC)
    assert pipeline.run("leftovers").counts["number_assignments"] == 1
    with pipeline.runtime.database.transaction() as session:
        assert session.scalars(sa.select(NumberAssignment.until)).all() == [None]
