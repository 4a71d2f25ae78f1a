"""Tests that a locked row delays only the work on itself, and one customer's orders do not delay those of others."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa

from models.accounts.accounts import Account
from models.db.work_queue import WorkKind, claim_due
from models.requests.requests import Request
from models.states import Status
from tasks.engine.advance import advance
from tests.factories import an_order, fill_pool, make_main, prove_contact
from tests.tasks.conftest import Pipeline


@contextmanager
def locked(pipeline: Pipeline, row: sa.Select[Any]) -> Iterator[None]:
    """Lock the row that the query `row` selects, in a transaction of its own, for the time of the `with` block."""
    with pipeline.runtime.database.transaction() as session:
        session.execute(row.with_for_update())
        yield


def verify(pipeline: Pipeline) -> None:
    """Run one batch of due steps that need only the database."""
    advance(pipeline.runtime, WorkKind.VERIFY, lambda: None)


def other_main(pipeline: Pipeline) -> tuple[Account, object]:
    """Create a second main account with the proofs that the example order needs; return it and its manager."""
    with pipeline.runtime.database.transaction() as session:
        main, manager = make_main(session)
        prove_contact(session, main)
    return main, manager


@pytest.mark.parametrize("what", ["the main account", "the ordered account", "the request"])
@pytest.mark.parametrize("becoming_main", [True, False], ids=["the first order", "a later order"])
def test_a_locked_row_holds_up_only_itself(pipeline: Pipeline, what: str, becoming_main: bool) -> None:
    if not becoming_main:
        pipeline.order(an_order())
        pipeline.advance()
    main, manager = other_main(pipeline)
    stuck = pipeline.order(an_order())
    pipeline.manager = manager  # type: ignore[assignment]
    free = pipeline.order(an_order(), main)
    row = pipeline.request(stuck)
    held = {
        "the main account": sa.select(Account).where(Account.id == row.main_id),
        "the ordered account": sa.select(Account).where(Account.id == row.account_id),
        "the request": sa.select(Request).where(Request.id == row.id),
    }
    with locked(pipeline, held[what]):
        pipeline.advance()
        assert pipeline.request(free).status is Status.COMPLETED
        assert pipeline.request(stuck).status is Status.ACKNOWLEDGED
    pipeline.clock.advance(timedelta(seconds=1))
    pipeline.advance()
    stuck_row = pipeline.request(stuck)
    assert (stuck_row.status, stuck_row.attempts) == (Status.COMPLETED, 0)


def test_a_row_locked_after_the_claim_holds_up_only_itself(pipeline: Pipeline) -> None:
    stuck, free = pipeline.order(an_order()), pipeline.order(an_order())
    verify(pipeline)
    real = pipeline.registrar.put_trunks
    with pipeline.runtime.database.transaction() as session:

        def lock_meanwhile(records: object) -> object:
            # As somebody who cancels the order while the registrar is called.
            session.get_one(Request, stuck, with_for_update=True)
            return real(records)  # type: ignore[arg-type]

        pipeline.registrar.put_trunks = lock_meanwhile  # type: ignore[method-assign, assignment]
        advance(pipeline.runtime, WorkKind.PROVISION, lambda: None)
        assert pipeline.request(free).status is Status.COMPLETED
        assert pipeline.request(stuck).status is Status.IN_PROGRESS
    pipeline.registrar.put_trunks = real  # type: ignore[method-assign]


def test_a_customer_with_many_orders_does_not_hold_up_the_others(pipeline: Pipeline) -> None:
    with pipeline.runtime.database.transaction() as session:
        fill_pool(session, first="23200000", count=80)
    batch = pipeline.runtime.batch
    for _ in range(2 * batch):
        pipeline.order(an_order())
    pipeline.clock.advance(timedelta(seconds=1))
    main, manager = other_main(pipeline)
    pipeline.manager = manager  # type: ignore[assignment]
    single = pipeline.order(an_order(), main)
    pipeline.advance()
    assert pipeline.request(single).status is Status.COMPLETED


def test_a_batch_is_shared_and_full_all_the_same(pipeline: Pipeline) -> None:
    mains = [pipeline.main, *(other_main(pipeline)[0] for _ in range(2))]
    for main, orders in zip(mains, (10, 10, 3), strict=True):
        with pipeline.runtime.database.transaction() as session:
            for _ in range(orders):
                session.execute(COPY, {"main": main.id})
    with pipeline.runtime.database.transaction() as session:
        now = pipeline.clock.now
        claimed = claim_due(session, Request, now=now, lease=UUID(int=1), until=now, limit=16)
        owners = session.scalars(sa.select(Request.main_id).where(Request.id.in_(claimed))).all()
    assert len(claimed) == 16
    assert owners.count(mains[2].id) == 3


COPY = sa.text(
    "INSERT INTO requests (kind, status, step, main_id, account_id, customer_number, locale, product_key, channels,"
    " area_code, block_size, option_keys, attempts, created_at, updated_at, due_at)"
    " SELECT 'order', 'acknowledged', 'verify', id, id, customer_number, 'de', 'trunk-10', 4, '030', 1, '{}', 0, at,"
    " at, at FROM accounts, (VALUES (TIMESTAMPTZ '2026-03-01 00:00Z' + make_interval(secs => :main))) AS times (at)"
    " WHERE id = :main"
)
