"""Tests of detaching a sub-account on a day: planned, shown, moved to another day, cancelled, and done once.

Requests that contradict it are refused with the reason.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa

from models.accounts.accounts import Account
from models.accounts.hierarchy import attach
from models.accounts.hierarchy import detach as detach_now
from models.calendar_days import berlin_day, first_moment
from models.changes.cancellations import submit_cancellation
from models.changes.changes import ChangeDraft, submit_change
from models.contracts.contracts import ContractItem
from models.errors import AlreadyRequested, InvalidField, TooLate
from models.links.links import submit_detach
from models.messages.outbox import Message
from models.orders.orders import cancel_and_release
from models.people.rights import Principal, Role
from models.people.users import Membership, User, principal_of
from models.requests.request_rights import concerns, may_change
from models.requests.requests import Request
from models.states import ENDED, Origin, Reason, Status
from models.telephony.trunks import SipTrunk
from models.views import request_lists
from models.views.locations import LocationFilter, page_of
from tests.factories import join, make_account, make_user
from tests.tasks.conftest import Pipeline
from tests.web.portal.accounts.sites import make_trunk

DAY = 30


@dataclass(frozen=True, slots=True)
class Branch:
    """A sub-account of the pipeline's main account.

    `id` is its id. `owner` and `local` are the same person, its administrator: as a row, and as a principal with roles.
    """

    id: int
    owner: User
    local: Principal


@pytest.fixture
def branch(pipeline: Pipeline) -> Branch:
    """Create a sub-account that was linked, with an administrator of its own."""
    return make_branch(pipeline, Origin.LINK)


def make_branch(pipeline: Pipeline, origin: Origin) -> Branch:
    """Create a sub-account with an administrator of its own; `origin` says how it became a sub-account."""
    with pipeline.runtime.database.transaction() as session:
        owner = make_user(session)
        account = make_account(session, administrator=owner)
        attach(session, pipeline.main.id, account.id, origin, pipeline.clock.now)
        session.flush()
        return Branch(account.id, owner, principal_of(session, owner))


def day_in(pipeline: Pipeline, days: int) -> date:
    """Return the date that is `days` days from now."""
    return berlin_day(pipeline.clock.now) + timedelta(days=days)


def ask(pipeline: Pipeline, branch: Branch, day: date | None, person: Principal | None = None) -> UUID:
    """Request to detach the sub-account on `day` (None: at once); return the request's id.

    `person` requests it (None: the main account's manager).
    """
    with pipeline.runtime.database.transaction() as session:
        account = session.get_one(Account, branch.id)
        return submit_detach(session, person or pipeline.manager, account, "de", pipeline.clock.now, day).id


def take_back(pipeline: Pipeline, id: UUID) -> None:
    """Cancel the request, as the customer who made it."""
    with pipeline.runtime.database.transaction() as session:
        request = session.get_one(Request, id, with_for_update=True)
        cancel_and_release(request, Reason.CANCELLED_BY_REQUESTER, pipeline.clock.now)


def go_to(pipeline: Pipeline, at: datetime) -> None:
    """Set the clock to `at` and run the workers."""
    pipeline.clock.now = at
    for _ in range(3):
        pipeline.advance()


def main_of(pipeline: Pipeline, branch: Branch) -> int | None:
    """Return the id of the sub-account's main account in the database; None if it has none."""
    with pipeline.runtime.database.transaction() as session:
        return session.get_one(Account, branch.id).main_id


def told(pipeline: Pipeline, id: UUID) -> list[tuple[str, str]]:
    """Return template name and recipient of each message about the request, sorted."""
    with pipeline.runtime.database.transaction() as session:
        query = sa.select(Message.template, Message.recipient_address).where(Message.request_id == id)
        return sorted((template, to) for template, to in session.execute(query))


def test_the_account_is_detached_with_the_start_of_its_day_in_berlin(pipeline: Pipeline, branch: Branch) -> None:
    day = day_in(pipeline, DAY)
    id = ask(pipeline, branch, day)
    request = pipeline.request(id)
    assert (request.status, request.due_at) == (Status.ACKNOWLEDGED, first_moment(day))
    go_to(pipeline, first_moment(day) - timedelta(seconds=1))
    assert request.is_scheduled(pipeline.clock.now)
    assert (pipeline.request(id).status, main_of(pipeline, branch)) == (Status.ACKNOWLEDGED, pipeline.main.id)
    both = {pipeline.manager.email, branch.owner.email}
    assert told(pipeline, id) == sorted(("detach_planned", to) for to in both)
    for mail in pipeline.mailer.sent:
        assert pipeline.manager.name in mail.text and "zu Beginn des 1. April 2026" in mail.text
    go_to(pipeline, first_moment(day))
    assert (pipeline.request(id).status, main_of(pipeline, branch)) == (Status.COMPLETED, None)
    assert pipeline.codes(id)[:3] == ["detach_scheduled", "detached", "completed"]
    assert ("detach_completed", pipeline.manager.email) in told(pipeline, id)
    assert ("detach_completed_owner", branch.owner.email) in told(pipeline, id)


def test_the_day_is_kept_once_however_long_no_worker_ran_and_when_it_is_woken_early(
    pipeline: Pipeline, branch: Branch
) -> None:
    day = day_in(pipeline, DAY)
    id = ask(pipeline, branch, day)
    with pipeline.runtime.database.transaction() as session:
        session.get_one(Request, id).make_due(pipeline.clock.now)
        # Nobody can sign in to administer it now; on the day somebody can.
        session.execute(sa.delete(Membership).where(Membership.account_id == branch.id))
    go_to(pipeline, pipeline.clock.now)
    request = pipeline.request(id)
    assert (request.is_scheduled(pipeline.clock.now), request.due_at) == (True, first_moment(day))
    with pipeline.runtime.database.transaction() as session:
        join(session, session.get_one(User, branch.owner.id), session.get_one(Account, branch.id))
    go_to(pipeline, first_moment(day) + timedelta(days=90))
    go_to(pipeline, pipeline.clock.now + timedelta(days=1))
    assert pipeline.codes(id).count("detached") == 1
    assert (pipeline.request(id).status, main_of(pipeline, branch)) == (Status.COMPLETED, None)


def test_a_day_that_is_today_means_at_once(pipeline: Pipeline, branch: Branch) -> None:
    id = ask(pipeline, branch, day_in(pipeline, 0))
    assert pipeline.request(id).effective_on is None
    go_to(pipeline, pipeline.clock.now)
    assert main_of(pipeline, branch) is None
    assert {template for template, _ in told(pipeline, id)} == {"detach_completed", "detach_completed_owner"}


def test_the_side_that_asked_takes_it_back_and_both_sides_read_of_it(pipeline: Pipeline, branch: Branch) -> None:
    for asking, other in ((pipeline.manager, branch.local), (branch.local, pipeline.manager)):
        id = ask(pipeline, branch, day_in(pipeline, DAY), asking)
        with pipeline.runtime.database.transaction() as session:
            request = session.get_one(Request, id)
            assert concerns(session, asking, request) and concerns(session, other, request)
            assert may_change(session, asking, request) and not may_change(session, other, request)
        take_back(pipeline, id)
        both = {pipeline.manager.email, branch.owner.email}
        assert [mail for mail in told(pipeline, id) if mail[0] == "detach_taken_back"] == sorted(
            ("detach_taken_back", to) for to in both
        )
    go_to(pipeline, first_moment(day_in(pipeline, DAY + 1)))
    assert main_of(pipeline, branch) == pipeline.main.id
    assert {mail.subject for mail in pipeline.mailer.sent if "bleibt" in mail.subject}


def test_an_administrator_of_both_sides_may_take_either_back(pipeline: Pipeline, branch: Branch) -> None:
    with pipeline.runtime.database.transaction() as session:
        join(session, session.get_one(User, branch.owner.id), pipeline.main, Role.LOCATION_MANAGER)
        both = principal_of(session, session.get_one(User, branch.owner.id))
    for asking in (both, pipeline.manager, branch.local):
        id = ask(pipeline, branch, day_in(pipeline, DAY), asking)
        with pipeline.runtime.database.transaction() as session:
            assert may_change(session, both, session.get_one(Request, id))
        take_back(pipeline, id)


def test_another_day_makes_another_request_and_the_first_gives_way(pipeline: Pipeline, branch: Branch) -> None:
    first = ask(pipeline, branch, day_in(pipeline, DAY))
    later = ask(pipeline, branch, day_in(pipeline, DAY + 7))
    assert pipeline.request(first).status is Status.CANCELLED
    assert pipeline.codes(first) == ["detach_scheduled", "cancelled", "detach_moved"]
    assert {template for template, _ in told(pipeline, first)} == {"detach_planned"}
    go_to(pipeline, first_moment(day_in(pipeline, DAY)))
    assert main_of(pipeline, branch) == pipeline.main.id
    now = ask(pipeline, branch, None)
    assert pipeline.codes(later)[1:] == ["cancelled", "detach_brought_forward"]
    go_to(pipeline, pipeline.clock.now)
    assert (pipeline.request(now).status, main_of(pipeline, branch)) == (Status.COMPLETED, None)


def test_either_side_may_have_it_sooner_and_neither_may_put_off_what_the_other_planned(
    pipeline: Pipeline, branch: Branch
) -> None:
    for asking, other in ((pipeline.manager, branch.local), (branch.local, pipeline.manager)):
        planned = ask(pipeline, branch, day_in(pipeline, DAY), asking)
        with pytest.raises(InvalidField) as refused:
            ask(pipeline, branch, day_in(pipeline, DAY + 1), other)
        assert (refused.value.field, refused.value.code) == ("effective_on", "detach_planned")
        assert refused.value.allowed == day_in(pipeline, DAY)
        assert pipeline.request(planned).status is Status.ACKNOWLEDGED
        sooner = ask(pipeline, branch, day_in(pipeline, DAY - 1), other)
        assert pipeline.request(planned).status is Status.CANCELLED
        with pipeline.runtime.database.transaction() as session:
            assert may_change(session, other, session.get_one(Request, sooner))
            assert not may_change(session, asking, session.get_one(Request, sooner))
        take_back(pipeline, sooner)
        take_back(pipeline, running(pipeline, branch).id)


def running(pipeline: Pipeline, branch: Branch) -> Request:
    """Return the only request about the sub-account that has not ended."""
    with pipeline.runtime.database.transaction() as session:
        asked = sa.select(Request).where(Request.account_id == branch.id, Request.status.not_in(ENDED))
        return session.scalars(asked).one()


@pytest.mark.parametrize("by_main", [True, False], ids=["the main account", "the sub-account"])
@pytest.mark.parametrize("sooner", [DAY - 1, None], ids=["on a day", "at once"])
def test_bringing_it_forward_and_taking_that_back_annuls_nothing_of_the_other_side(
    pipeline: Pipeline, branch: Branch, by_main: bool, sooner: int | None
) -> None:
    asking, other = (pipeline.manager, branch.local) if by_main else (branch.local, pipeline.manager)
    ask(pipeline, branch, day_in(pipeline, DAY), asking)
    brought = ask(pipeline, branch, day_in(pipeline, sooner) if sooner is not None else None, other)
    take_back(pipeline, brought)
    restored = running(pipeline, branch)
    assert (restored.effective_on, restored.by_sub_account) == (day_in(pipeline, DAY), not by_main)
    assert restored.requested_by == asking.user_id
    assert pipeline.codes(restored.id) == ["detach_restored"]
    both = {("detach_planned", pipeline.manager.email), ("detach_planned", branch.owner.email)}
    assert set(told(pipeline, restored.id)) == both
    assert "detach_taken_back" not in {template for template, _ in told(pipeline, brought)}
    with pipeline.runtime.database.transaction() as session:
        request = session.get_one(Request, restored.id)
        assert may_change(session, asking, request) and not may_change(session, other, request)
    go_to(pipeline, first_moment(day_in(pipeline, DAY)))
    assert main_of(pipeline, branch) is None


def test_an_earlier_day_is_not_moved_beyond_that_of_the_other_side(pipeline: Pipeline, branch: Branch) -> None:
    ask(pipeline, branch, day_in(pipeline, DAY), branch.local)
    ask(pipeline, branch, day_in(pipeline, 10))
    with pytest.raises(InvalidField) as refused:
        ask(pipeline, branch, day_in(pipeline, DAY + 1))
    assert (refused.value.code, refused.value.allowed) == ("detach_planned", day_in(pipeline, DAY))
    later = ask(pipeline, branch, day_in(pipeline, 20))
    sooner = ask(pipeline, branch, day_in(pipeline, 5), branch.local)
    # Each gives way to the one before it.
    take_back(pipeline, sooner)
    assert pipeline.request(later).status is Status.CANCELLED
    assert running(pipeline, branch).effective_on == day_in(pipeline, 20)
    take_back(pipeline, running(pipeline, branch).id)
    last = running(pipeline, branch)
    assert (last.effective_on, last.by_sub_account) == (day_in(pipeline, DAY), True)
    # The side that has asked for it gets rid of it.
    take_back(pipeline, last.id)
    go_to(pipeline, first_moment(day_in(pipeline, DAY + 1)))
    assert main_of(pipeline, branch) == pipeline.main.id


def test_an_earlier_day_that_is_rejected_leaves_the_other_sides_day(pipeline: Pipeline, branch: Branch) -> None:
    day = day_in(pipeline, DAY)
    ask(pipeline, branch, day, branch.local)
    brought = ask(pipeline, branch, day_in(pipeline, 10))
    with pipeline.owner.transaction() as session:
        session.execute(sa.delete(Membership).where(Membership.account_id == branch.id))
    go_to(pipeline, first_moment(day_in(pipeline, 10)))
    assert pipeline.request(brought).reason is Reason.NO_ADMINISTRATOR
    assert running(pipeline, branch).effective_on == day


def test_the_same_day_twice_is_one_request(pipeline: Pipeline, branch: Branch) -> None:
    id = ask(pipeline, branch, day_in(pipeline, DAY))
    for person in (pipeline.manager, branch.local):
        with pytest.raises(AlreadyRequested) as running:
            ask(pipeline, branch, day_in(pipeline, DAY), person)
        assert running.value.request_id == str(id)
    take_back(pipeline, id)
    at_once = ask(pipeline, branch, None)
    with pytest.raises(AlreadyRequested) as running:
        ask(pipeline, branch, day_in(pipeline, DAY))
    assert running.value.request_id == str(at_once)


@pytest.mark.parametrize(("days", "code"), [(-1, "day_passed"), (367, "day_too_far")])
def test_a_day_that_is_over_or_too_far_away_is_refused(
    pipeline: Pipeline, branch: Branch, days: int, code: str
) -> None:
    with pytest.raises(InvalidField) as refused:
        ask(pipeline, branch, day_in(pipeline, days))
    assert (refused.value.field, refused.value.code) == ("effective_on", code)


def test_an_account_that_was_detached_otherwise_ends_the_plan_with_a_mail(pipeline: Pipeline, branch: Branch) -> None:
    day = day_in(pipeline, DAY)
    id = ask(pipeline, branch, day)
    with pipeline.runtime.database.transaction() as session:
        detach_now(session, pipeline.main.id, branch.id)
    go_to(pipeline, first_moment(day))
    request = pipeline.request(id)
    assert (request.status, request.reason) == (Status.REJECTED, Reason.NOT_ATTACHED)
    assert ("request_ended", pipeline.manager.email) in told(pipeline, id)


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


def test_until_its_day_the_account_is_in_service_and_both_sides_list_the_request(
    pipeline: Pipeline, branch: Branch
) -> None:
    id = ask(pipeline, branch, day_in(pipeline, DAY))
    with pipeline.runtime.database.transaction() as session:
        main, own = session.get_one(Account, pipeline.main.id), session.get_one(Account, branch.id)
        [item] = page_of(session, main, LocationFilter(), after=None, limit=10).items
        assert (item.request, item.state) == (None, "in_service")
        for account in (main, own):
            assert [request.id for request in request_lists.requests_of(session, account)] == [id]


def test_a_day_that_comes_while_it_is_taken_back_leaves_no_doubt(pipeline: Pipeline) -> None:
    branches = [make_branch(pipeline, Origin.LINK) for _ in range(8)]
    day = day_in(pipeline, 1)
    ids = [ask(pipeline, branch, day) for branch in branches]
    pipeline.clock.now = first_moment(day)

    def withdraw(id: UUID) -> bool:
        try:
            take_back(pipeline, id)
        except TooLate:
            return False
        return True

    with ThreadPoolExecutor(3) as pool:
        worker = pool.submit(pipeline.advance)
        taken_back = list(pool.map(withdraw, ids))
        worker.result()
    for _ in range(3):
        pipeline.advance()
    for id, branch, is_back in zip(ids, branches, taken_back, strict=True):
        end = (Status.CANCELLED, pipeline.main.id) if is_back else (Status.COMPLETED, None)
        assert (pipeline.request(id).status, main_of(pipeline, branch)) == end
        templates = {template for template, _ in told(pipeline, id)}
        assert ("detach_completed" in templates) is not is_back


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
