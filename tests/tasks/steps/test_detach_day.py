"""Tests of detaching a sub-account on a day: planned, shown, moved to another day, cancelled, and done once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from uuid import UUID

import pytest
import sqlalchemy as sa

from models.accounts.accounts import Account
from models.accounts.hierarchy import detach as detach_now
from models.calendar_days import first_moment
from models.errors import AlreadyRequested, InvalidField, TooLate
from models.people.rights import Role
from models.people.users import Membership, User, principal_of
from models.requests.request_rights import concerns, may_change
from models.requests.requests import Request
from models.states import ENDED, Origin, Reason, Status
from models.views import request_lists
from models.views.locations import LocationFilter, page_of
from tests.factories import join
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
    told,
)
from tests.tasks.steps.detaching import branch as branch


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
    for id, gone, is_back in zip(ids, branches, taken_back, strict=True):
        end = (Status.CANCELLED, pipeline.main.id) if is_back else (Status.COMPLETED, None)
        assert (pipeline.request(id).status, main_of(pipeline, gone)) == end
        templates = {template for template, _ in told(pipeline, id)}
        assert ("detach_completed" in templates) is not is_back
