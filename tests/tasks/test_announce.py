"""New number blocks on their way to the registrar, which has to know which numbers are ours."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from uuid import uuid4

import pytest
import sqlalchemy as sa

from models.due import claim_due
from models.states import Status
from models.telephony import NumberBlock, stock_pool
from tasks import announce
from tasks.announce import announce_due
from tasks.ports import Block, GatewayUnavailable
from tests.factories import an_order
from tests.fakes import wait_until
from tests.tasks.conftest import Pipeline


@pytest.fixture
def stocked(pipeline: Pipeline) -> dict[int, Block]:
    """Blocks of all sizes in the pool, and nothing announced yet."""
    with pipeline.runtime.database.transaction() as session:
        for first, size in (("30000000", 100), ("40000000", 1)):
            stock_pool(session, "030", first, size, 3, pipeline.clock.now)
        blocks = session.execute(sa.select(NumberBlock.first_number, NumberBlock.size))
        return {first: Block(first, size) for first, size in blocks}


def due(pipeline: Pipeline) -> int:
    with pipeline.runtime.database.transaction() as session:
        waiting = sa.select(sa.func.count()).select_from(NumberBlock).where(NumberBlock.due_at.is_not(None))
        return session.scalars(waiting).one()


def test_what_was_stocked_is_announced_a_batch_at_a_time(
    pipeline: Pipeline, stocked: dict[int, Block], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(announce, "AT_ONCE", 20)
    hints: list[str] = []
    announce_due(pipeline.runtime, more_due=lambda: hints.append("more"))
    assert (len(pipeline.registrar.blocks), due(pipeline), hints) == (20, len(stocked) - 20, ["more"])
    announce_due(pipeline.runtime, more_due=lambda: hints.append("more"))
    assert (pipeline.registrar.blocks, due(pipeline), hints) == (stocked, 0, ["more"])


def test_an_order_waits_for_blocks_that_are_being_claimed_to_be_announced(
    pipeline: Pipeline, stocked: dict[int, Block]
) -> None:
    id, database = pipeline.order(an_order()), pipeline.runtime.database

    def waits() -> bool:
        locked = "wait_event_type = 'Lock' AND query LIKE 'SELECT number_blocks.id%'"
        with database.transaction() as session:
            return bool(session.scalar(sa.text(f"SELECT count(*) FROM pg_stat_activity WHERE {locked}")))

    with ThreadPoolExecutor() as pool:
        with database.transaction() as session:
            now = pipeline.clock.now
            claim_due(session, NumberBlock, now=now, lease=uuid4(), until=now + timedelta(minutes=1), limit=1000)
            ordering = pool.submit(pipeline.advance)
            wait_until(waits)
        ordering.result()
    assert pipeline.request(id).status is Status.COMPLETED


def test_a_registrar_that_is_away_is_asked_again_at_growing_distances(
    pipeline: Pipeline, stocked: dict[int, Block]
) -> None:
    pipeline.registrar.away = GatewayUnavailable("down")
    pauses = []
    for attempts in (1, 2, 3):
        announce_due(pipeline.runtime, more_due=lambda: None)
        with pipeline.runtime.database.transaction() as session:
            [(due_at, lease, tried)] = session.execute(
                sa.select(NumberBlock.due_at, NumberBlock.lease, NumberBlock.attempts).distinct()
            )
        assert due_at is not None and (lease, tried) == (None, attempts)
        pauses.append(due_at - pipeline.clock.now)
        pipeline.clock.now = due_at
    assert pauses == sorted(pauses) and timedelta(0) < pauses[0] < pauses[-1]
    pipeline.registrar.away = None
    announce_due(pipeline.runtime, more_due=lambda: None)
    assert (pipeline.registrar.blocks, due(pipeline)) == (stocked, 0)


def test_what_a_worker_has_in_hand_is_left_to_it_until_its_lease_ends(
    pipeline: Pipeline, stocked: dict[int, Block], monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(_blocks: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as dying:
        dying.setattr(pipeline.registrar, "put_blocks", die)
        with pytest.raises(KeyboardInterrupt):
            announce_due(pipeline.runtime, more_due=lambda: None)
    announce_due(pipeline.runtime, more_due=lambda: None)
    assert pipeline.registrar.blocks == {}
    pipeline.clock.advance(pipeline.runtime.lease)
    announce_due(pipeline.runtime, more_due=lambda: None)
    assert (pipeline.registrar.blocks, due(pipeline)) == (stocked, 0)
