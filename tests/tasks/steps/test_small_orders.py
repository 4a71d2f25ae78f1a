"""Tests that many small requests need an approval as one large one does: what one person asks for within 24 hours."""

from __future__ import annotations

import threading
from datetime import timedelta
from uuid import UUID

import pytest
import sqlalchemy as sa

from models.accounts.accounts import Account
from models.people.rights import Principal, Role
from models.people.users import principal_of
from models.requests.approvals import COUNTED_TOGETHER
from models.requests.requests import Request
from models.states import Origin, Status
from models.telephony.trunks import SipTrunk
from tests.factories import an_order, join, make_bulk, make_main, make_user, prove_contact, sites
from tests.tasks.conftest import Pipeline
from tests.tasks.steps.asking_numbers import ask as ask_numbers
from tests.tasks.steps.test_approvals import decide, second, set_limit
from tests.tasks.steps.test_approvals_meanwhile import cancel
from tests.tasks.steps.test_change import ask as ask_change
from tests.tasks.steps.test_change import go_to, trunk_id

__all__ = ["second", "trunk_id"]


@pytest.fixture
def cost(pipeline: Pipeline, second: Principal) -> int:
    """Let orders wait from three times the example order's monthly cost on; return that cost."""
    with pipeline.runtime.database.transaction() as session:
        session.get_one(Account, pipeline.main.id).approval_from_cents = None
    id = pipeline.order(an_order())
    found: int = sum(line["monthly_cents"] for line in pipeline.request(id).price_lines or ())
    set_limit(pipeline, 3 * found)
    return found


def waits(pipeline: Pipeline, id: UUID) -> bool:
    """Return whether the request needs an approval."""
    return pipeline.request(id).approval_until is not None


def orders(pipeline: Pipeline, count: int) -> list[bool]:
    """Place so many orders, one after the other; return of each whether it needs an approval."""
    return [waits(pipeline, pipeline.order(an_order())) for _ in range(count)]


def test_the_order_with_which_the_sum_is_reached_waits_and_each_later_one(pipeline: Pipeline, cost: int) -> None:
    assert orders(pipeline, 5) == [False, False, True, True, True]


def test_after_24_hours_it_begins_anew(pipeline: Pipeline, cost: int) -> None:
    assert orders(pipeline, 2) == [False, False]
    pipeline.clock.advance(COUNTED_TOGETHER - timedelta(seconds=1))
    assert orders(pipeline, 1) == [True]
    pipeline.clock.advance(timedelta(seconds=1))
    assert orders(pipeline, 3) == [False, False, True]


def test_each_person_is_counted_alone(pipeline: Pipeline, cost: int, second: Principal) -> None:
    assert orders(pipeline, 3) == [False, False, True]
    pipeline.manager = second
    assert orders(pipeline, 3) == [False, False, True]


def test_each_company_is_counted_alone(pipeline: Pipeline, cost: int) -> None:
    assert orders(pipeline, 2) == [False, False]
    with pipeline.runtime.database.transaction() as session:
        other, _ = make_main(session)
        prove_contact(session, other)
        other.approval_from_cents = 3 * cost
        session.flush()
        person = make_user(session)
        for account in (other, session.get_one(Account, pipeline.main.id)):
            join(session, person, account, Role.LOCATION_MANAGER)
        pipeline.manager = principal_of(session, person)
    assert orders(pipeline, 2) == [False, False]
    asked = [waits(pipeline, pipeline.order(an_order(), other)) for _ in range(3)]
    assert asked == [False, False, True] and orders(pipeline, 1) == [True]


def test_what_is_taken_back_does_not_count(pipeline: Pipeline, cost: int) -> None:
    first = pipeline.order(an_order())
    assert orders(pipeline, 2) == [False, True]
    cancel(pipeline, first)
    assert orders(pipeline, 2) == [False, True]


def test_what_was_approved_does_not_count(pipeline: Pipeline, cost: int, second: Principal) -> None:
    set_limit(pipeline, cost)
    id = pipeline.order(an_order())
    go_to(pipeline, pipeline.clock.now)
    decide(pipeline, id, second)
    assert pipeline.request(id).status is Status.COMPLETED
    set_limit(pipeline, 3 * cost)
    assert orders(pipeline, 3) == [False, False, True]


def test_orders_changes_and_numbers_count_together(pipeline: Pipeline, trunk_id: int, second: Principal) -> None:
    set_limit(pipeline, 7100)
    # From 29.90 to 99.90 a month.
    assert not waits(pipeline, ask_change(pipeline, trunk_id, "trunk-50"))
    go_to(pipeline, pipeline.clock.now)
    numbers = [waits(pipeline, ask_numbers(pipeline, trunk_id)) for _ in range(2)]
    assert numbers[-1] and orders(pipeline, 1) == [True]


def test_what_costs_less_makes_no_room_for_more(pipeline: Pipeline, trunk_id: int, second: Principal) -> None:
    set_limit(pipeline, 7100)
    ask_change(pipeline, trunk_id, "trunk-50")
    go_to(pipeline, pipeline.clock.now)
    less = ask_change(pipeline, trunk_id, "trunk-10")
    go_to(pipeline, pipeline.clock.now)
    assert pipeline.request(less).status is Status.COMPLETED
    assert waits(pipeline, ask_change(pipeline, trunk_id, "trunk-50"))


def test_the_rows_of_a_file_count_together(pipeline: Pipeline, cost: int) -> None:
    with pipeline.runtime.database.transaction() as session:
        bulk = make_bulk(session, pipeline.manager, session.get_one(Account, pipeline.main.id), sites(6))
        bulk.send(pipeline.clock.now)
        id = bulk.id
    go_to(pipeline, pipeline.clock.now)
    with pipeline.runtime.database.transaction() as session:
        rows = sa.select(Request.raise_cents, Request.approval_until).where(Request.bulk_id == id)
        placed = session.execute(rows).all()
    rises = [cents or 0 for cents, _ in placed]
    free = [cents or 0 for cents, until in placed if until is None]
    assert len(placed) == 6 and 0 < len(free) < 6
    assert sum(free) < 3 * cost <= sum(free) + max(rises)
    assert orders(pipeline, 1) == [sum(free) + cost >= 3 * cost]


def test_two_orders_at_once_see_each_other(pipeline: Pipeline, cost: int) -> None:
    assert orders(pipeline, 1) == [False]
    together = threading.Barrier(4)
    found: list[bool] = []

    def order() -> None:
        together.wait()
        found.append(waits(pipeline, pipeline.order(an_order())))

    threads = [threading.Thread(target=order) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [False, True, True, True]


def test_a_local_team_counts_for_the_company_that_pays(pipeline: Pipeline, trunk_id: int, second: Principal) -> None:
    with pipeline.runtime.database.transaction() as session:
        account = session.get_one(Account, session.get_one(SipTrunk, trunk_id).account_id)
        person = make_user(session)
        join(session, person, account)
        local = principal_of(session, person)
        assert account.origin is Origin.ORDER
    first = ask_numbers(pipeline, trunk_id, person=local)
    assert waits(pipeline, first)
    rise = pipeline.request(first).raise_cents
    assert rise is not None
    set_limit(pipeline, rise + 1)
    asked = [waits(pipeline, ask_numbers(pipeline, trunk_id, person=local)) for _ in range(2)]
    assert asked == [False, True]
