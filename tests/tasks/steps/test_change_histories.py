"""Tests of random histories of changes of a contract.

On each day the contract must have the terms that a simple model says, and each month must cost what was shown before.
"""

from __future__ import annotations

import os
import random
from datetime import date, timedelta
from uuid import UUID

import pytest
import sqlalchemy as sa

from models.accounts.accounts import Account
from models.calendar_days import Month, berlin_day, first_moment
from models.contracts.contracts import Contract, ContractItem
from models.orders.orders import cancel_and_release
from models.requests.requests import Request
from models.states import Reason
from models.telephony.trunks import SipTrunk
from models.views.account_costs import costs_of_account
from tests.factories import NOW, make_main
from tests.tasks.conftest import Pipeline
from tests.tasks.steps.test_change import CHANNELS, MONTHLY, ask, channels_of, go_to, in_days, tariffs_of
from tests.tasks.steps.test_change import trunk_id as trunk_id
from tests.web.portal.accounts.sites import make_trunk

HISTORIES = int(os.environ.get("HISTORIES", "6"))
"""How many random histories the test runs through; `make test-long` sets a high number."""


def is_waiting(pipeline: Pipeline) -> bool:
    """Return whether a request waits for the workers, now or at a later time."""
    with pipeline.runtime.database.transaction() as session:
        return session.scalars(sa.select(Request.id).where(Request.due_at.is_not(None)).limit(1)).first() is not None


def test_histories_of_changes_leave_on_every_day_what_a_simple_model_says(pipeline: Pipeline) -> None:
    """Run through random histories: changes, changes taken back, and weeks in which no worker runs.

    On every day, the contract must have the tariff of the last change until then.
    """
    for seed in range(HISTORIES):
        chance = random.Random(seed)
        with pipeline.owner.transaction() as session:
            account, person = make_main(session)
            trunk_id = make_trunk(session, account, f"t{seed:012}")
            trunk = session.get_one(SipTrunk, trunk_id)
            trunk.channels, trunk.secret = 2, pipeline.runtime.vault.seal("secret")
            session.get_one(Contract, trunk.contract_id).started_at = pipeline.clock.now
            facts = {"monthly_cents": MONTHLY["trunk-2"], "one_off_cents": 0}
            session.add(ContractItem(contract_id=trunk.contract_id, product_key="trunk-2", **facts))
        began = berlin_day(pipeline.clock.now)
        wanted: dict[date, str] = {}
        waiting: dict[date, UUID] = {}
        for _ in range(8):
            today = berlin_day(pipeline.clock.now)
            waiting = {day: id for day, id in waiting.items() if day > today}
            if waiting and chance.random() < 0.3:
                day = max(waiting)
                with pipeline.runtime.database.transaction() as session:
                    request = session.get_one(Request, waiting.pop(day))
                    cancel_and_release(request, Reason.CANCELLED_BY_REQUESTER, pipeline.clock.now)
                del wanted[day]
            day = max([today, *wanted]) + timedelta(days=chance.randint(1, 9))
            product = chance.choice([key for key in CHANNELS if key != _model(wanted, day)])
            waiting[day] = ask(pipeline, trunk_id, product, day, person=person)
            wanted[day] = product
            if chance.random() < 0.6:
                go_to(pipeline, pipeline.clock.now + timedelta(days=chance.randint(0, 25), hours=chance.randint(0, 23)))
        pipeline.clock.now = max(pipeline.clock.now, first_moment(max(wanted)))
        # Those that are due each wait for the one before.
        for _ in range(36):
            if not is_waiting(pipeline):
                break
            pipeline.clock.advance(timedelta(seconds=3))
            pipeline.advance()
        days = [began + timedelta(days=number) for number in range((max(wanted) - began).days + 2)]
        noons = {day: first_moment(day) + timedelta(hours=12) for day in days}
        tariffs = tariffs_of(pipeline, trunk_id, list(noons.values()))
        for day, noon in noons.items():
            expected = _model(wanted, day)
            assert tariffs[noon] == [(expected, MONTHLY[expected])], (seed, day)
        last = CHANNELS[_model(wanted, max(wanted))]
        assert (channels_of(pipeline, trunk_id), pipeline.registrar.trunks[f"t{seed:012}"].channels) == (last, last)


def _model(wanted: dict[date, str], day: date) -> str:
    """Return the tariff on a day by a simple model: that of the last change until then, or the first tariff.

    `wanted` has the tariff of each change by its day.
    """
    return next((wanted[one] for one in sorted(wanted, reverse=True) if one <= day), "trunk-2")


@pytest.mark.parametrize("seed", range(3))
def test_a_month_costs_what_was_shown_before_its_changes_were_made(
    pipeline: Pipeline, trunk_id: int, seed: int
) -> None:
    dice = random.Random(seed)
    months = [Month.of(berlin_day(pipeline.clock.now)).later(place) for place in range(4)]
    days = sorted(dice.sample(range(1, 90), 4))
    present = "trunk-10"
    for days_ahead in days:
        present = dice.choice([key for key in CHANNELS if key != present])
        ask(pipeline, trunk_id, present, in_days(pipeline, days_ahead))
    shown = costs_of_months(pipeline, trunk_id, months)
    # Workers that were away for weeks change nothing of it.
    for days_ahead in (days[1], days[3] + 5):
        pipeline.clock.now = first_moment(berlin_day(NOW) + timedelta(days=days_ahead))
        for _ in range(5):
            go_to(pipeline, pipeline.clock.now + timedelta(seconds=3))
        assert costs_of_months(pipeline, trunk_id, months) == shown
    assert len(shown[1]) > 1 and channels_of(pipeline, trunk_id) == CHANNELS[present]


def costs_of_months(pipeline: Pipeline, trunk_id: int, months: list[Month]) -> list[list[tuple[str, range, int]]]:
    """Return what the trunk's account costs in each of the months, as a list of lines.

    A line is product key, days of the month for which it is charged, and net cents.
    """
    with pipeline.runtime.database.transaction() as session:
        account = session.get_one(Account, session.get_one(SipTrunk, trunk_id).account_id)
        return [
            [
                (charge.line.price.product_key, charge.days, charge.net)
                for charge in costs_of_account(session, account, month).charges
            ]
            for month in months
        ]
