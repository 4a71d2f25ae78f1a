"""Tests of what else happens while a request waits for an approval: other people, other deeds, other times."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from uuid import UUID

import pytest
import sqlalchemy as sa

from models.accounts.accounts import Account
from models.accounts.hierarchy import attach, detach
from models.calendar_days import berlin_day, first_moment
from models.errors import Forbidden, InvalidField, NotAwaited
from models.links.links import submit_detach
from models.messages.outbox import Message
from models.orders.orders import cancel_and_release
from models.people.members import change_role, remove_user
from models.people.rights import Principal, Role
from models.people.users import User, principal_of
from models.requests.approvals import approvals_to_decide, decide_approval, decide_orders, orders_to_decide
from models.requests.requests import Request
from models.staff.erasing_people import ERASED_NAME, ask_for_erasure
from models.states import Actor, Origin, Reason, Status
from models.telephony.numbers import NumberBlock
from models.telephony.trunks import SipTrunk
from tests.factories import an_order, join, make_account, make_bulk, make_user, sites
from tests.tasks.conftest import Pipeline
from tests.tasks.steps.asking_numbers import ask as ask_numbers
from tests.tasks.steps.test_approvals import AWAITED, DAY, MISSING, decide, remove, second, set_limit, subjects, waits
from tests.tasks.steps.test_change import ask as ask_change
from tests.tasks.steps.test_change import channels_of, go_to, in_days, trunk_id

__all__ = ["second", "trunk_id"]


def waiting_order(pipeline: Pipeline) -> UUID:
    """Order, and let the workers ask for the approval; return the order's id."""
    id = pipeline.order(an_order())
    go_to(pipeline, pipeline.clock.now)
    assert waits(pipeline, id) == AWAITED
    return id


def cancel(pipeline: Pipeline, id: UUID) -> None:
    """Take the request back, as the person who made it."""
    with pipeline.runtime.database.transaction() as session:
        request = session.get_one(Request, id, with_for_update=True)
        cancel_and_release(request, Reason.CANCELLED_BY_REQUESTER, pipeline.clock.now)


def expire(pipeline: Pipeline, id: UUID) -> None:
    """Let the time for the approval pass, and the workers see it."""
    until = pipeline.request(id).approval_until
    assert until is not None
    go_to(pipeline, until)


def leave(pipeline: Pipeline, person: Principal) -> None:
    """Remove the person from the main account, as its administrator does."""
    with pipeline.runtime.database.transaction() as session:
        account = session.get_one(Account, pipeline.main.id)
        remove_user(session, pipeline.manager, account, person.user_id, pipeline.clock.now)


def degrade(pipeline: Pipeline, person: Principal) -> None:
    """Make the person a local member of the main account."""
    with pipeline.runtime.database.transaction() as session:
        account = session.get_one(Account, pipeline.main.id)
        change_role(session, pipeline.manager, account, person.user_id, Role.LOCAL_MEMBER, pipeline.clock.now)


def erase(pipeline: Pipeline, person: Principal) -> None:
    """Erase the person, at their own demand."""
    with pipeline.runtime.database.transaction() as session:
        ask_for_erasure(session, session.get_one(User, person.user_id), pipeline.clock.now)
    pipeline.send()
    pipeline.clock.advance(timedelta(minutes=5))
    pipeline.run("erasures")


@pytest.mark.parametrize("meanwhile", [cancel, expire, decide])
def test_who_decides_on_an_old_page_changes_nothing(
    pipeline: Pipeline, second: Principal, meanwhile: Callable[..., None]
) -> None:
    id, seen = waiting_order(pipeline), pipeline.clock.now
    with pipeline.runtime.database.transaction() as session:
        as_seen = session.get_one(Request, id)
        assert as_seen.reason is Reason.APPROVAL_AWAITED
        meanwhile(pipeline, id, *([second] if meanwhile is decide else []))
        before = pipeline.request(id)
        with pytest.raises(NotAwaited):
            decide_approval(session, second, as_seen, approved=False, note=None, now=seen)
    after = pipeline.request(id)
    assert (after.status, after.reason, after.approved) == (before.status, before.reason, before.approved)


@pytest.mark.parametrize("meanwhile", [leave, degrade, erase])
def test_who_leads_the_company_no_more_decides_nothing_with_an_old_page(
    pipeline: Pipeline, second: Principal, meanwhile: Callable[[Pipeline, Principal], None]
) -> None:
    id = waiting_order(pipeline)
    meanwhile(pipeline, second)
    # As the page has read the roles a moment before.
    assert second.roles[pipeline.main.id] is Role.LOCATION_MANAGER
    with pytest.raises(Forbidden):
        decide(pipeline, id, second)
    with pipeline.runtime.database.transaction() as session:
        assert decide_orders(session, second, [id], approved=True, note=None, now=pipeline.clock.now) == 0
    assert pipeline.request(id).approved is None


def test_two_people_at_once_decide_once(pipeline: Pipeline, second: Principal) -> None:
    with pipeline.runtime.database.transaction() as session:
        person = make_user(session)
        join(session, person, session.get_one(Account, pipeline.main.id))
        third = principal_of(session, person)
    for _ in range(5):
        id = waiting_order(pipeline)
        said = at_once(pipeline, id, second, third)
        go_to(pipeline, pipeline.clock.now)
        request = pipeline.request(id)
        assert sorted(said) == sorted(["too late", "yes" if request.approved else "no"])
        assert request.status is (Status.COMPLETED if request.approved else Status.REJECTED)
        assert request.approval_by == (second if request.approved else third).user_id


def at_once(pipeline: Pipeline, id: UUID, approves: Principal, refuses: Principal) -> list[str]:
    """Let two people decide on a request at the same time; return what came of each: "yes", "no" or "too late"."""
    said: list[str] = []
    together = threading.Barrier(2)

    def decide_on(person: Principal, approved: bool) -> None:
        together.wait()
        try:
            with pipeline.runtime.database.transaction() as session:
                request, now = session.get_one(Request, id), pipeline.clock.now
                decide_approval(session, person, request, approved=approved, note=None, now=now)
        except NotAwaited:
            said.append("too late")
        else:
            said.append("yes" if approved else "no")

    threads = [threading.Thread(target=decide_on, args=one) for one in ((approves, True), (refuses, False))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return said


def test_an_approved_order_can_be_taken_back_before_a_worker_goes_on(pipeline: Pipeline, second: Principal) -> None:
    id = waiting_order(pipeline)
    with pipeline.runtime.database.transaction() as session:
        decide_approval(session, second, session.get_one(Request, id), approved=True, note=None, now=pipeline.clock.now)
    cancel(pipeline, id)
    go_to(pipeline, pipeline.clock.now + DAY)
    request = pipeline.request(id)
    assert (request.status, request.approved) == (Status.CANCELLED, True)
    assert [one for one in subjects(pipeline, pipeline.manager.email) if "freigegeben" in one.lower()] == []


def test_people_of_another_company_neither_see_nor_decide(pipeline: Pipeline, second: Principal) -> None:
    id = waiting_order(pipeline)
    with pipeline.runtime.database.transaction() as session:
        other, person = make_account(session), make_user(session)
        join(session, person, other, Role.LOCATION_MANAGER)
        foreign = principal_of(session, person)
        assert approvals_to_decide(session, foreign, pipeline.clock.now) == []
    with pytest.raises(Forbidden):
        decide(pipeline, id, foreign)


def test_the_person_who_asked_cannot_approve_with_another_role_or_a_token(
    pipeline: Pipeline, second: Principal
) -> None:
    id = waiting_order(pipeline)
    as_location_manager = replace(pipeline.manager, roles={pipeline.main.id: Role.LOCATION_MANAGER})
    by_token = replace(second, token_id=7, token_account_id=pipeline.main.id)
    for person in (pipeline.manager, as_location_manager, by_token):
        with pytest.raises(Forbidden):
            decide(pipeline, id, person)
        with pipeline.runtime.database.transaction() as session:
            assert decide_orders(session, person, [id], approved=True, note=None, now=pipeline.clock.now) == 0


@pytest.mark.parametrize("what", ["numbers", "change"])
def test_what_a_main_account_has_asked_for_ends_with_a_planned_detachment(
    pipeline: Pipeline, trunk_id: int, second: Principal, what: str
) -> None:
    day = in_days(pipeline, 2)
    with pipeline.runtime.database.transaction() as session:
        account = session.get_one(Account, session.get_one(SipTrunk, trunk_id).account_id)
        member = make_user(session)
        join(session, member, account)
        local = principal_of(session, member)
        submit_detach(session, pipeline.manager, account, "de", pipeline.clock.now, day)
    id = ask_numbers(pipeline, trunk_id) if what == "numbers" else ask_change(pipeline, trunk_id, "trunk-50")
    go_to(pipeline, pipeline.clock.now)
    assert waits(pipeline, id) == AWAITED
    block, before = pipeline.request(id).reserved_block_id, channels_of(pipeline, trunk_id)
    pipeline.mailer.sent.clear()
    go_to(pipeline, first_moment(day))
    request = pipeline.request(id)
    assert (request.status, request.reason) == (Status.REJECTED, Reason.NOT_ATTACHED)
    assert not [one for one in subjects(pipeline, local.email) if "freigeben" in one.lower()]
    for person in (second, local):
        with pytest.raises((Forbidden, NotAwaited)):
            decide(pipeline, id, person)
    assert channels_of(pipeline, trunk_id) == before
    if block is not None:
        with pipeline.runtime.database.transaction() as session:
            assert session.get_one(NumberBlock, block).account_id is None


def test_nobody_detaches_an_account_of_which_a_main_account_waits_for_an_approval(
    pipeline: Pipeline, trunk_id: int, second: Principal
) -> None:
    ask_change(pipeline, trunk_id, "trunk-50")
    go_to(pipeline, pipeline.clock.now)
    with pipeline.runtime.database.transaction() as session:
        account = session.get_one(Account, session.get_one(SipTrunk, trunk_id).account_id)
        join(session, make_user(session), account)
        with pytest.raises(InvalidField) as lost:
            submit_detach(session, pipeline.manager, account, "de", pipeline.clock.now)
    assert lost.value.code == "change_is_lost"


def test_a_local_teams_request_goes_to_those_who_pay_after_a_detachment(
    pipeline: Pipeline, trunk_id: int, second: Principal
) -> None:
    with pipeline.runtime.database.transaction() as session:
        account = session.get_one(Account, session.get_one(SipTrunk, trunk_id).account_id)
        people = [make_user(session), make_user(session)]
        for person in people:
            join(session, person, account)
        asks, other = (principal_of(session, person) for person in people)
    id = ask_change(pipeline, trunk_id, "trunk-50", person=asks)
    go_to(pipeline, pipeline.clock.now)
    assert subjects(pipeline, other.email) == []
    with pipeline.runtime.database.transaction() as session:
        submit_detach(session, pipeline.manager, session.get_one(Account, account.id), "de", pipeline.clock.now)
    go_to(pipeline, pipeline.clock.now)
    assert waits(pipeline, id) == AWAITED
    assert [one for one in subjects(pipeline, other.email) if "freigeben" in one.lower()] != []
    with pytest.raises(Forbidden):
        decide(pipeline, id, second)
    decide(pipeline, id, other)
    assert pipeline.request(id).status is Status.COMPLETED and channels_of(pipeline, trunk_id) == 50


def test_an_account_that_is_linked_while_its_request_waits_still_approves_it_itself(
    pipeline: Pipeline, trunk_id: int, second: Principal
) -> None:
    with pipeline.runtime.database.transaction() as session:
        account = session.get_one(Account, session.get_one(SipTrunk, trunk_id).account_id)
        detach(session, pipeline.main.id, account.id)
        people = [make_user(session), make_user(session)]
        for person in people:
            join(session, person, account)
        asks, other = (principal_of(session, person) for person in people)
        account.approval_from_cents = 100
    id = ask_change(pipeline, trunk_id, "trunk-50", person=asks)
    go_to(pipeline, pipeline.clock.now)
    with pipeline.runtime.database.transaction() as session:
        attach(session, pipeline.main.id, account.id, Origin.LINK, pipeline.clock.now)
        session.get_one(Request, id).main_id = pipeline.main.id
    with pipeline.runtime.database.transaction() as session:
        assert approvals_to_decide(session, second, pipeline.clock.now) == []
        assert [one.id for one in approvals_to_decide(session, other, pipeline.clock.now)] == [id]
    with pytest.raises(Forbidden):
        decide(pipeline, id, second)
    decide(pipeline, id, other)
    assert pipeline.request(id).status is Status.COMPLETED


def test_who_joins_a_collective_invoice_meanwhile_is_approved_by_who_pays(
    pipeline: Pipeline, trunk_id: int, second: Principal
) -> None:
    with pipeline.runtime.database.transaction() as session:
        account = session.get_one(Account, session.get_one(SipTrunk, trunk_id).account_id)
        detach(session, pipeline.main.id, account.id)
        people = [make_user(session), make_user(session)]
        for person in people:
            join(session, person, account)
        asks, other = (principal_of(session, person) for person in people)
        account.approval_from_cents = 100
    id = ask_change(pipeline, trunk_id, "trunk-50", person=asks)
    go_to(pipeline, pipeline.clock.now)
    with pipeline.runtime.database.transaction() as session:
        attach(session, pipeline.main.id, account.id, Origin.COLLECTIVE_INVOICE, pipeline.clock.now)
        request = session.get_one(Request, id)
        request.main_id = pipeline.main.id
        request.make_due(pipeline.clock.now)
    go_to(pipeline, pipeline.clock.now)
    assert len([one for one in subjects(pipeline, second.email) if "freigeben" in one.lower()]) == 1
    with pipeline.runtime.database.transaction() as session:
        assert [one.id for one in approvals_to_decide(session, second, pipeline.clock.now)] == [id]
    with pytest.raises(Forbidden):
        decide(pipeline, id, other)


def test_a_later_change_cannot_carry_out_what_was_refused(pipeline: Pipeline, trunk_id: int, second: Principal) -> None:
    """Nobody gets from 10 to 50 channels alone by asking for more first and then for less than that."""
    with pipeline.runtime.database.transaction() as session:
        session.get_one(SipTrunk, trunk_id).channels = 2
    high = ask_change(pipeline, trunk_id, "trunk-50", in_days(pipeline, 5), channels=50)
    low = ask_change(pipeline, trunk_id, "trunk-50", in_days(pipeline, 6), channels=40)
    go_to(pipeline, pipeline.clock.now)
    assert waits(pipeline, high) == waits(pipeline, low) == AWAITED
    assert pipeline.request(low).raise_cents == pipeline.request(high).raise_cents
    decide(pipeline, high, second, approved=False)
    go_to(pipeline, pipeline.clock.now + 7 * DAY)
    assert pipeline.request(low).reason is Reason.APPROVAL_EXPIRED
    assert channels_of(pipeline, trunk_id) == 2


def test_an_approved_change_is_what_a_later_one_is_compared_with(
    pipeline: Pipeline, trunk_id: int, second: Principal
) -> None:
    high = ask_change(pipeline, trunk_id, "trunk-50", in_days(pipeline, 5), channels=50)
    go_to(pipeline, pipeline.clock.now)
    decide(pipeline, high, second)
    low = ask_change(pipeline, trunk_id, "trunk-50", in_days(pipeline, 6), channels=40)
    assert pipeline.request(low).approval_until is None


def test_who_has_left_gets_no_reminder_and_who_has_come_does(pipeline: Pipeline, second: Principal) -> None:
    begun = pipeline.clock.now
    with pipeline.runtime.database.transaction() as session:
        person = make_user(session)
        join(session, person, session.get_one(Account, pipeline.main.id))
    waiting_order(pipeline)
    remove(pipeline, second)
    asked = len(subjects(pipeline, second.email))
    for day in (8, 13):
        go_to(pipeline, begun + day * DAY)
    assert len(subjects(pipeline, second.email)) == asked == 1
    assert len(subjects(pipeline, person.email)) == 3


def test_the_last_other_person_who_is_erased_leaves_the_order_waiting_for_somebody(
    pipeline: Pipeline, second: Principal
) -> None:
    id = waiting_order(pipeline)
    erase(pipeline, second)
    pipeline.run("proofs")
    go_to(pipeline, pipeline.clock.now)
    assert waits(pipeline, id) == MISSING


def names_in_mails(pipeline: Pipeline, name: str) -> list[str]:
    """Return the templates of the mails whose facts have this name."""
    with pipeline.runtime.database.transaction() as session:
        mails = session.scalars(sa.select(Message)).all()
        return [mail.template for mail in mails if name in mail.facts.values()]


def test_the_name_of_who_has_approved_goes_with_the_person(pipeline: Pipeline, second: Principal) -> None:
    id = waiting_order(pipeline)
    decide(pipeline, id, second)
    assert sorted(names_in_mails(pipeline, second.name)) == ["approval_asked", "approval_given"]
    erase(pipeline, second)
    assert names_in_mails(pipeline, second.name) == []
    with pipeline.runtime.database.transaction() as session:
        request = session.get_one(Request, id)
        assert session.get_one(User, request.approval_by).name == ERASED_NAME


def test_the_name_of_who_has_sent_a_file_goes_with_the_person(pipeline: Pipeline, second: Principal) -> None:
    with pipeline.runtime.database.transaction() as session:
        main = session.get_one(Account, pipeline.main.id)
        person = make_user(session, name="Sie Sendet")
        join(session, person, main)
        bulk = make_bulk(session, principal_of(session, person), main, sites(2))
        bulk.send(pipeline.clock.now)
        sender = principal_of(session, person)
    go_to(pipeline, pipeline.clock.now)
    assert set(names_in_mails(pipeline, "Sie Sendet")) == {"approval_asked_file", "bulk_receipt"}
    erase(pipeline, sender)
    # The receipt is a business letter.
    assert names_in_mails(pipeline, "Sie Sendet") == ["bulk_receipt"]


def waiting_file(pipeline: Pipeline, rows: int) -> UUID:
    """Send a file of orders, and let the workers ask for the approvals; return the file's id."""
    with pipeline.runtime.database.transaction() as session:
        bulk = make_bulk(session, pipeline.manager, session.get_one(Account, pipeline.main.id), sites(rows))
        bulk.send(pipeline.clock.now)
        id = bulk.id
    go_to(pipeline, pipeline.clock.now)
    return id


def test_rows_that_are_taken_out_of_a_file_are_not_approved_with_it(pipeline: Pipeline, second: Principal) -> None:
    bulk = waiting_file(pipeline, 4)
    with pipeline.runtime.database.transaction() as session:
        ids = orders_to_decide(session, second, bulk, pipeline.clock.now)
    assert len(ids) == 4
    cancel(pipeline, ids[1])
    decide(pipeline, ids[2], second, approved=False)
    with pipeline.runtime.database.transaction() as session:
        assert list(orders_to_decide(session, second, bulk, pipeline.clock.now)) == [ids[0], ids[3]]
        # As the page has read them before.
        assert decide_orders(session, second, ids, approved=True, note=None, now=pipeline.clock.now) == 2
    go_to(pipeline, pipeline.clock.now)
    assert [pipeline.request(id).status for id in ids] == [
        Status.COMPLETED, Status.CANCELLED, Status.REJECTED, Status.COMPLETED,
    ]  # fmt: skip


def test_orders_that_a_file_brings_after_the_page_was_read_are_not_decided_on(
    pipeline: Pipeline, second: Principal
) -> None:
    bulk = waiting_file(pipeline, 3)
    with pipeline.runtime.database.transaction() as session:
        seen = orders_to_decide(session, second, bulk, pipeline.clock.now)[:2]
        assert decide_orders(session, second, seen, approved=True, note=None, now=pipeline.clock.now) == 2
    with pipeline.runtime.database.transaction() as session:
        assert len(orders_to_decide(session, second, bulk, pipeline.clock.now)) == 1


@pytest.fixture(params=[datetime(2027, 3, 20, 9, tzinfo=UTC), datetime(2027, 10, 25, 9, tzinfo=UTC)], ids=str)
def before_time_change(request: pytest.FixtureRequest, pipeline: Pipeline) -> datetime:
    """Set the clock to a day less than 14 days before clocks are changed in Germany, and provide that time."""
    now: datetime = request.param
    pipeline.clock.now = now
    return now


def test_the_time_ends_with_the_fourteenth_day_across_a_change_of_clocks(
    pipeline: Pipeline, second: Principal, before_time_change: datetime
) -> None:
    id = waiting_order(pipeline)
    until = pipeline.request(id).approval_until
    assert until is not None
    last: date = berlin_day(until - timedelta(seconds=1))
    assert (last - berlin_day(before_time_change)).days == 14 and berlin_day(until) > last
    go_to(pipeline, until - timedelta(seconds=1))
    assert waits(pipeline, id) == AWAITED
    decide(pipeline, id, second)
    assert pipeline.request(id).status is Status.COMPLETED


def test_a_switched_off_sum_and_a_new_one_do_not_touch_what_was_asked_for(
    pipeline: Pipeline, second: Principal
) -> None:
    id = waiting_order(pipeline)
    cost = pipeline.request(id).raise_cents
    assert cost is not None
    set_limit(pipeline, None)
    set_limit(pipeline, cost * 10)
    pipeline.run("proofs")
    go_to(pipeline, pipeline.clock.now + DAY)
    assert waits(pipeline, id) == (Actor.APPROVER, Reason.APPROVAL_AWAITED)
