"""Tests of the day on which a sub-account is detached, and of planned changes of its contracts."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa

from models.accounts.accounts import Account
from models.calendar_days import first_moment
from models.changes.cancellations import submit_cancellation
from models.changes.changes import ChangeDraft, submit_change
from models.contracts.contracts import ContractItem
from models.errors import InvalidField
from models.people.rights import Principal
from models.states import Origin
from models.telephony.trunks import SipTrunk
from tests.tasks.conftest import Pipeline
from tests.tasks.steps.detaching import (
    DAY,
    Branch,
    ask,
    day_in,
    go_to,
    main_of,
    make_branch,
    take_back,
)
from tests.tasks.steps.detaching import branch as branch
from tests.web.portal.accounts.sites import make_trunk


@pytest.fixture
def led(pipeline: Pipeline) -> Branch:
    """Create a sub-account that was ordered, with a trunk of two channels.

    People of the main account may change its contract.
    """
    branch = make_branch(pipeline, Origin.ORDER)
    with pipeline.owner.transaction() as session:
        account = session.get_one(Account, branch.id)
        trunk = session.get_one(SipTrunk, make_trunk(session, account, "led"))
        trunk.channels, trunk.secret = 2, pipeline.runtime.vault.seal("secret")
        facts = {"product_key": "trunk-2", "monthly_cents": 990, "one_off_cents": 0}
        session.add(ContractItem(contract_id=trunk.contract_id, **facts))
    return branch


def change(pipeline: Pipeline, branch: Branch, day: date | None, person: Principal) -> UUID:
    """Request the tariff for 50 channels for the sub-account on `day` (None: at once), as `person`.

    Return the request's id.
    """
    with pipeline.runtime.database.transaction() as session:
        account = session.get_one(Account, branch.id)
        trunk = session.scalars(sa.select(SipTrunk.id).where(SipTrunk.account_id == branch.id)).one()
        draft = ChangeDraft("trunk-50", 50, day, "de")
        return submit_change(session, person, account, trunk, draft, pipeline.clock.now).id


def refused(act: Callable[..., UUID], *args: Any) -> tuple[str, object]:
    """Call `act(*args)`, which must refuse its day with `InvalidField`.

    Return the error's code and the day that it offers instead.
    """
    with pytest.raises(InvalidField) as error:
        act(*args)
    assert error.value.field == "effective_on"
    return error.value.code, error.value.allowed


def test_a_change_that_its_people_would_lose_is_named_before_the_account_goes(pipeline: Pipeline, led: Branch) -> None:
    day = day_in(pipeline, DAY)
    id = change(pipeline, led, day, pipeline.manager)
    for person in (pipeline.manager, led.local):
        for earlier in (None, day - timedelta(days=1), day):
            assert refused(ask, pipeline, led, earlier, person) == ("change_is_lost", day)
    planned = ask(pipeline, led, day + timedelta(days=1))
    take_back(pipeline, planned)
    take_back(pipeline, id)
    ask(pipeline, led, None)


def test_a_change_of_the_accounts_own_people_hinders_nobody(pipeline: Pipeline, led: Branch) -> None:
    day = day_in(pipeline, DAY)
    change(pipeline, led, day, led.local)
    ask(pipeline, led, day - timedelta(days=1))
    go_to(pipeline, first_moment(day))
    assert main_of(pipeline, led) is None


def test_after_a_planned_detachment_only_the_accounts_own_people_plan_changes(pipeline: Pipeline, led: Branch) -> None:
    day = day_in(pipeline, DAY)
    ask(pipeline, led, day)
    for later in (day, day + timedelta(days=1)):
        assert refused(change, pipeline, led, later, pipeline.manager) == ("detached_before", day)
    take_back(pipeline, change(pipeline, led, day - timedelta(days=1), pipeline.manager))
    change(pipeline, led, day + timedelta(days=1), led.local)


def test_an_account_is_not_detached_after_its_contracts_have_ended_nor_cancelled_beyond_that(
    pipeline: Pipeline, led: Branch
) -> None:
    # A day after a cancellation's earliest end, a month from now.
    day = day_in(pipeline, 60)

    def cancel(last_day: date, person: Principal) -> UUID:
        with pipeline.runtime.database.transaction() as session:
            account = session.get_one(Account, led.id)
            return submit_cancellation(session, person, account, last_day, "de", pipeline.clock.now).id

    cancelled = cancel(day - timedelta(days=1), led.local)
    for later in (day, day + timedelta(days=1)):
        assert refused(ask, pipeline, led, later, led.local) == ("contract_ends", day - timedelta(days=1))
    take_back(pipeline, cancelled)
    ask(pipeline, led, day)
    with pytest.raises(InvalidField) as error:
        cancel(day, pipeline.manager)
    assert (error.value.field, error.value.code, error.value.allowed) == ("last_day", "detached_before", day)
    cancel(day, led.local)
