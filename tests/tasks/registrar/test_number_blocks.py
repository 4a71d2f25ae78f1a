"""Tests that new number blocks are written to the registrar, which has to know the carrier's own numbers."""

from __future__ import annotations

from uuid import uuid4

import pytest
import sqlalchemy as sa

from models.db.work_queue import claim_due
from models.jobs.outages import SHORTEST, ExternalSystem, Outage
from models.states import Status
from models.telephony.number_pool import stock_pool
from models.telephony.numbers import BlockAnnouncement, NumberBlock
from tasks.ports import Block, GatewayUnavailable
from tasks.registrar import number_blocks
from tasks.registrar.number_blocks import announce_due_blocks
from tests.factories import an_order
from tests.tasks.conftest import Pipeline


@pytest.fixture
def stocked(pipeline: Pipeline) -> dict[int, Block]:
    """Add blocks of 100 numbers and of one number to the pool of area code 030, not yet written to the registrar.

    Return all blocks in the database by their first number.
    """
    with pipeline.runtime.database.transaction() as session:
        for first, size in (("30000000", 100), ("40000000", 1)):
            stock_pool(session, "030", first, size, 3, pipeline.clock.now)
        blocks = session.execute(sa.select(NumberBlock.first_number, NumberBlock.size))
        return {first: Block(first, size) for first, size in blocks}


def due(pipeline: Pipeline) -> int:
    with pipeline.runtime.database.transaction() as session:
        waiting = sa.select(sa.func.count()).select_from(BlockAnnouncement)
        return session.scalars(waiting).one()


def test_what_was_stocked_is_announced_a_batch_at_a_time(
    pipeline: Pipeline, stocked: dict[int, Block], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(number_blocks, "AT_ONCE", 20)
    hints: list[str] = []
    announce_due_blocks(pipeline.runtime, lambda: hints.append("more"))
    assert (len(pipeline.registrar.blocks), due(pipeline), hints) == (20, len(stocked) - 20, ["more"])
    announce_due_blocks(pipeline.runtime, lambda: hints.append("more"))
    assert (pipeline.registrar.blocks, due(pipeline), hints) == (stocked, 0, ["more"])


def test_orders_get_their_numbers_while_these_are_announced(pipeline: Pipeline, stocked: dict[int, Block]) -> None:
    id, now = pipeline.order(an_order()), pipeline.clock.now
    with pipeline.runtime.database.transaction() as session:
        claimed = claim_due(session, BlockAnnouncement, now=now, lease=uuid4(), until=now, limit=1000)
        assert len(claimed) == len(stocked)
        pipeline.advance()
    assert pipeline.request(id).status is Status.COMPLETED


def test_a_registrar_that_is_away_is_asked_again_at_growing_distances(
    pipeline: Pipeline, stocked: dict[int, Block]
) -> None:
    pipeline.registrar.away = GatewayUnavailable("down")
    pauses = []
    for failures in (1, 2, 3):
        announce_due_blocks(pipeline.runtime, lambda: None)
        with pipeline.runtime.database.transaction() as session:
            outage = session.get_one(Outage, ExternalSystem.REGISTRAR)
        assert outage.failures == failures
        pauses.append(outage.try_again_at - pipeline.clock.now)
        # Until then nobody asks.
        announce_due_blocks(pipeline.runtime, lambda: None)
        pipeline.clock.now = outage.try_again_at
    assert pauses == [SHORTEST, 2 * SHORTEST, 4 * SHORTEST]
    pipeline.registrar.away = None
    announce_due_blocks(pipeline.runtime, lambda: None)
    assert len(pipeline.registrar.blocks) == 1
    announce_due_blocks(pipeline.runtime, lambda: None)
    assert (pipeline.registrar.blocks, due(pipeline)) == (stocked, 0)


def test_what_a_worker_has_in_hand_is_left_to_it_until_its_lease_ends(
    pipeline: Pipeline, stocked: dict[int, Block], monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(_blocks: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as dying:
        dying.setattr(pipeline.registrar, "put_blocks", die)
        with pytest.raises(KeyboardInterrupt):
            announce_due_blocks(pipeline.runtime, lambda: None)
    announce_due_blocks(pipeline.runtime, lambda: None)
    assert pipeline.registrar.blocks == {}
    pipeline.clock.advance(pipeline.runtime.lease)
    announce_due_blocks(pipeline.runtime, lambda: None)
    assert (pipeline.registrar.blocks, due(pipeline)) == (stocked, 0)
