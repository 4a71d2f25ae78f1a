"""Tests of approvals by a second person: which requests wait for one, who may give it, and what ends the wait."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from models.accounts.accounts import Account
from models.calendar_days import end_of_day, first_moment
from models.changes.cancellations import submit_cancellation
from models.errors import Forbidden, NotAwaited, SecondPersonNeeded, TooEarly
from models.people.audit_log import AuditEntry, AuditEvent
from models.people.rights import Principal, Role, Scope
from models.people.users import Membership, User, principal_of
from models.proofs.proof_status import ProofKind, ProofState, proof_statuses
from models.proofs.proofs import EmailProof
from models.requests.approvals import (
    approvals_to_decide,
    decide_approval,
    set_approval_limit,
)
from models.requests.requests import Request
from models.states import Actor, Origin, Reason, Status
from models.telephony.numbers import NumberBlock
from models.telephony.trunks import SipTrunk
from tests.factories import an_order, join, make_account, make_user
from tests.tasks.conftest import Pipeline
from tests.tasks.steps.asking_numbers import ask as ask_numbers
from tests.tasks.steps.test_change import ask as ask_change
from tests.tasks.steps.test_change import channels_of, go_to, in_days, trunk_id

__all__ = ["trunk_id"]
DAY = timedelta(days=1)
AWAITED, MISSING = (Actor.APPROVER, Reason.APPROVAL_AWAITED), (Actor.REQUESTER, Reason.APPROVER_MISSING)


@pytest.fixture
def second(pipeline: Pipeline) -> Principal:
    """Add a location manager to the main account, let orders from 1 euro a month on wait, and return that person."""
    with pipeline.runtime.database.transaction() as session:
        person = make_user(session, email="zweite@firma.example")
        join(session, person, session.get_one(Account, pipeline.main.id), Role.LOCATION_MANAGER)
        found = principal_of(session, person)
    set_limit(pipeline, 100)
    return found


def set_limit(pipeline: Pipeline, cents: int | None) -> None:
    """Set the sum of the main account, in cents a month, as its administrator."""
    with pipeline.runtime.database.transaction() as session:
        account = session.get_one(Account, pipeline.main.id)
        set_approval_limit(session, pipeline.manager, account, cents, pipeline.clock.now)


def decide(pipeline: Pipeline, id: UUID, person: Principal, *, approved: bool = True, note: str | None = None) -> None:
    """Approve or refuse the request as `person`, and let the workers run."""
    with pipeline.runtime.database.transaction() as session:
        request, now = session.get_one(Request, id), pipeline.clock.now
        decide_approval(session, person, request, approved=approved, note=note, now=now)
    go_to(pipeline, pipeline.clock.now)


def waits(pipeline: Pipeline, id: UUID) -> tuple[Actor | None, Reason | None]:
    """Return who has to act on the request, and why it waits."""
    request = pipeline.request(id)
    return request.waiting_for, request.reason


def subjects(pipeline: Pipeline, address: str) -> list[str]:
    """Return the subjects of the mails sent to the address, the oldest first."""
    return [mail.subject for mail in pipeline.mailer.sent if mail.recipient_address == address]


def remove(pipeline: Pipeline, person: Principal) -> None:
    """Take the person's role in the main account away."""
    with pipeline.runtime.database.transaction() as session:
        session.delete(session.get_one(Membership, (person.user_id, pipeline.main.id)))


def test_an_order_waits_until_another_person_approves_it(pipeline: Pipeline, second: Principal) -> None:
    id = pipeline.order(an_order())
    go_to(pipeline, pipeline.clock.now)
    assert waits(pipeline, id) == AWAITED
    assert pipeline.request(id).waiting_until == end_of_day(pipeline.clock.now + 14 * DAY)
    [asked] = subjects(pipeline, second.email)
    assert "Bitte freigeben" in asked or "Please approve" in asked
    [receipt] = [mail for mail in pipeline.mailer.sent if mail.recipient_address == pipeline.manager.email]
    assert "zweite Person" in " ".join(receipt.text.split())
    with pipeline.runtime.database.transaction() as session:
        request = session.get_one(Request, id)
        [asked_for] = proof_statuses(session, [request], pipeline.clock.now)[id]
        assert (asked_for.kind, asked_for.state) == (ProofKind.APPROVAL, ProofState.OPEN)
        assert approvals_to_decide(session, second, pipeline.clock.now) == [request]
        assert approvals_to_decide(session, pipeline.manager, pipeline.clock.now) == []
    decide(pipeline, id, second)
    assert pipeline.request(id).status is Status.COMPLETED
    assert pipeline.codes(id)[:4] == ["order_received", "pending", "approval_given", "order_verified"]
    assert len([one for one in subjects(pipeline, pipeline.manager.email) if "freigegeben" in one.lower()]) == 1
    with pipeline.runtime.database.transaction() as session:
        [entry] = session.scalars(sa.select(AuditEntry).where(AuditEntry.deed == AuditEvent.APPROVAL_GIVEN))
        assert (entry.user_id, entry.account_id) == (second.user_id, pipeline.main.id)


def test_only_another_person_who_leads_the_company_can_approve_and_no_token(
    pipeline: Pipeline, second: Principal
) -> None:
    id = pipeline.order(an_order())
    go_to(pipeline, pipeline.clock.now)
    with pipeline.runtime.database.transaction() as session:
        main = session.get_one(Account, pipeline.main.id)
        local, stranger = make_user(session), make_user(session)
        join(session, local, main, Role.LOCAL_MEMBER)
        join(session, stranger, make_account(session))
        token = replace(second, token_id=1, token_account_id=main.id, scopes=frozenset({Scope.WRITE, Scope.READ}))
        people = [pipeline.manager, token, principal_of(session, local), principal_of(session, stranger)]
    for person in people:
        with pytest.raises(Forbidden):
            decide(pipeline, id, person)
    remove(pipeline, second)
    with pipeline.runtime.database.transaction() as session:
        former = principal_of(session, session.get_one(User, second.user_id))
    with pytest.raises(Forbidden):
        decide(pipeline, id, former)
    assert pipeline.request(id).status is Status.PENDING


def test_the_database_takes_no_approval_by_the_person_who_asked(pipeline: Pipeline, second: Principal) -> None:
    id = pipeline.order(an_order())
    go_to(pipeline, pipeline.clock.now)
    with pipeline.runtime.database.transaction() as session:
        request = session.get_one(Request, id)
        request.approved, request.approval_by, request.approval_at = True, pipeline.manager.user_id, pipeline.clock.now
        with pytest.raises(IntegrityError, match="four_eyes"):
            session.flush()
        session.rollback()


def test_a_refusal_ends_the_order_with_its_reason(pipeline: Pipeline, second: Principal) -> None:
    id = pipeline.order(an_order())
    go_to(pipeline, pipeline.clock.now)
    decide(pipeline, id, second, approved=False, note="Zu teuer.")
    request = pipeline.request(id)
    assert (request.status, request.reason) == (Status.REJECTED, Reason.APPROVAL_REFUSED)
    assert request.approval_note == "Zu teuer."
    assert pipeline.codes(id)[-2:] == ["approval_refused", "rejected"] or "rejected" in pipeline.codes(id)
    [ended] = [mail for mail in pipeline.mailer.sent if "nicht abgeschlossen" in mail.subject]
    text = " ".join(ended.text.split())
    assert "Eine zweite Person" in text and "Zu teuer." in text
    with pytest.raises(NotAwaited):
        decide(pipeline, id, second)


def test_without_an_answer_it_is_reminded_and_lapses(pipeline: Pipeline, second: Principal) -> None:
    begun = pipeline.clock.now
    id = pipeline.order(an_order())
    go_to(pipeline, begun)
    for day in (8, 13):
        go_to(pipeline, begun + day * DAY)
        go_to(pipeline, begun + day * DAY)
    assert len(subjects(pipeline, second.email)) == 3
    go_to(pipeline, end_of_day(begun + 14 * DAY))
    request = pipeline.request(id)
    assert (request.status, request.reason) == (Status.REJECTED, Reason.APPROVAL_EXPIRED)
    with pytest.raises(NotAwaited):
        decide(pipeline, id, second)


def test_switching_the_sum_off_lets_no_waiting_request_through(pipeline: Pipeline, second: Principal) -> None:
    id = pipeline.order(an_order())
    set_limit(pipeline, None)
    go_to(pipeline, pipeline.clock.now)
    assert waits(pipeline, id) == AWAITED
    free = pipeline.order(an_order())
    go_to(pipeline, pipeline.clock.now + DAY)
    assert pipeline.request(free).status is Status.COMPLETED and waits(pipeline, id) == AWAITED


def test_an_order_below_the_sum_does_not_wait(pipeline: Pipeline, second: Principal) -> None:
    id = pipeline.order(an_order())
    cost = sum(line["monthly_cents"] for line in pipeline.request(id).price_lines or ())
    set_limit(pipeline, cost + 1)
    below = pipeline.order(an_order())
    set_limit(pipeline, cost)
    exactly = pipeline.order(an_order())
    go_to(pipeline, pipeline.clock.now)
    assert pipeline.request(below).status is Status.COMPLETED
    assert waits(pipeline, id) == waits(pipeline, exactly) == AWAITED


def test_a_change_waits_before_its_day_and_takes_effect_on_it(
    pipeline: Pipeline, trunk_id: int, second: Principal
) -> None:
    day = in_days(pipeline, 5)
    id = ask_change(pipeline, trunk_id, "trunk-50", day)
    go_to(pipeline, pipeline.clock.now)
    assert waits(pipeline, id) == AWAITED and pipeline.request(id).waiting_until == first_moment(day)
    decide(pipeline, id, second)
    assert pipeline.request(id).is_scheduled(pipeline.clock.now)
    go_to(pipeline, first_moment(day))
    assert pipeline.request(id).status is Status.COMPLETED and channels_of(pipeline, trunk_id) == 50


def test_a_change_that_nobody_approves_before_its_day_lapses_with_it(
    pipeline: Pipeline, trunk_id: int, second: Principal
) -> None:
    day = in_days(pipeline, 5)
    id, before = ask_change(pipeline, trunk_id, "trunk-50", day), channels_of(pipeline, trunk_id)
    go_to(pipeline, first_moment(day))
    assert pipeline.request(id).reason is Reason.APPROVAL_EXPIRED and channels_of(pipeline, trunk_id) == before


def test_a_change_that_costs_less_does_not_wait(pipeline: Pipeline, trunk_id: int, second: Principal) -> None:
    id = ask_change(pipeline, trunk_id, "trunk-2")
    go_to(pipeline, pipeline.clock.now)
    assert pipeline.request(id).status is Status.COMPLETED


def test_numbers_stay_reserved_while_they_wait_and_are_free_after_a_refusal(
    pipeline: Pipeline, trunk_id: int, second: Principal
) -> None:
    id, other = ask_numbers(pipeline, trunk_id), ask_numbers(pipeline, trunk_id)
    go_to(pipeline, pipeline.clock.now)
    assert waits(pipeline, id) == AWAITED
    blocks = [pipeline.request(one).reserved_block_id for one in (id, other)]
    assert None not in blocks and len(set(blocks)) == 2
    decide(pipeline, id, second)
    assert pipeline.request(id).status is Status.COMPLETED
    decide(pipeline, other, second, approved=False)
    with pipeline.runtime.database.transaction() as session:
        freed = session.get_one(NumberBlock, blocks[1])
        assert freed.account_id is None and freed.available_from < pipeline.clock.now + 365 * DAY


def test_a_request_says_that_nobody_is_left_to_approve_it_until_somebody_is(
    pipeline: Pipeline, second: Principal
) -> None:
    id = pipeline.order(an_order())
    go_to(pipeline, pipeline.clock.now)
    remove(pipeline, second)
    assert pipeline.run("proofs").counts["approvers_changed"] == 1
    go_to(pipeline, pipeline.clock.now)
    assert waits(pipeline, id) == MISSING
    assert pipeline.run("proofs").counts.get("approvers_changed", 0) == 0
    with pipeline.runtime.database.transaction() as session:
        third = make_user(session)
        join(session, third, session.get_one(Account, pipeline.main.id))
        found = principal_of(session, third)
    pipeline.run("proofs")
    go_to(pipeline, pipeline.clock.now)
    assert waits(pipeline, id) == AWAITED and len(subjects(pipeline, third.email)) == 1
    decide(pipeline, id, found)
    assert pipeline.request(id).status is Status.COMPLETED


def test_the_sum_takes_two_people_and_is_logged(pipeline: Pipeline) -> None:
    with pytest.raises(SecondPersonNeeded):
        set_limit(pipeline, 100)
    set_limit(pipeline, None)
    with pipeline.runtime.database.transaction() as session:
        person = make_user(session)
        join(session, person, session.get_one(Account, pipeline.main.id), Role.LOCATION_MANAGER)
    for cents in (100, 100, 200, None):
        set_limit(pipeline, cents)
    with pipeline.runtime.database.transaction() as session:
        deeds = sa.select(AuditEntry.facts).where(AuditEntry.deed == AuditEvent.APPROVAL_LIMIT_SET)
        assert session.scalars(deeds.order_by(AuditEntry.id)).all() == [
            {"before": None, "cents": 100}, {"before": 100, "cents": 200}, {"before": 200, "cents": None},
        ]  # fmt: skip
        manager = principal_of(session, session.get_one(User, person.id))
        account = session.get_one(Account, pipeline.main.id)
        with pytest.raises(Forbidden):
            set_approval_limit(session, manager, account, 300, pipeline.clock.now)
    for cents in range(100, 800, 100):
        set_limit(pipeline, cents)
    with pytest.raises(TooEarly):
        set_limit(pipeline, None)


def test_the_contact_has_the_whole_time_after_a_late_approval(pipeline: Pipeline, second: Principal) -> None:
    # Another order's proof of the same address, which runs out meanwhile.
    with pipeline.runtime.database.transaction() as session:
        session.execute(sa.update(EmailProof).values(proved_at=None, expires_at=pipeline.clock.now + DAY))
    id = pipeline.order(an_order())
    go_to(pipeline, pipeline.clock.now)
    go_to(pipeline, pipeline.clock.now + 3 * DAY)
    assert waits(pipeline, id) == AWAITED and pipeline.findings(pipeline.run("proofs")) == []
    decide(pipeline, id, second)
    assert waits(pipeline, id) == (Actor.CONTACT, Reason.EMAIL_NOT_CONFIRMED)
    assert pipeline.request(id).waiting_until == end_of_day(pipeline.clock.now + 14 * DAY)


def test_a_local_team_waits_for_the_people_of_its_main_account(
    pipeline: Pipeline, trunk_id: int, second: Principal
) -> None:
    with pipeline.runtime.database.transaction() as session:
        account = session.get_one(Account, session.get_one(SipTrunk, trunk_id).account_id)
        local, colleague = make_user(session), make_user(session)
        for person in (local, colleague):
            join(session, person, account)
        asks, other = principal_of(session, local), principal_of(session, colleague)
    id = ask_change(pipeline, trunk_id, "trunk-50", person=asks)
    go_to(pipeline, pipeline.clock.now)
    assert waits(pipeline, id) == AWAITED
    assert len(subjects(pipeline, second.email)) == len(subjects(pipeline, pipeline.manager.email)) == 1
    assert subjects(pipeline, colleague.email) == []
    with pytest.raises(Forbidden):
        decide(pipeline, id, other)
    decide(pipeline, id, pipeline.manager)
    assert pipeline.request(id).status is Status.COMPLETED


def test_an_account_that_was_linked_has_a_sum_of_its_own(pipeline: Pipeline, trunk_id: int, second: Principal) -> None:
    with pipeline.runtime.database.transaction() as session:
        account = session.get_one(Account, session.get_one(SipTrunk, trunk_id).account_id)
        account.origin = Origin.LINK
        local, colleague = make_user(session), make_user(session)
        for person in (local, colleague):
            join(session, person, account)
        asks, other = principal_of(session, local), principal_of(session, colleague)
    free = ask_numbers(pipeline, trunk_id, person=asks)
    go_to(pipeline, pipeline.clock.now)
    assert pipeline.request(free).status is Status.COMPLETED
    with pipeline.runtime.database.transaction() as session:
        account = session.get_one(Account, account.id)
        set_approval_limit(session, asks, account, 100, pipeline.clock.now)
    id = ask_change(pipeline, trunk_id, "trunk-50", person=asks)
    go_to(pipeline, pipeline.clock.now)
    assert waits(pipeline, id) == AWAITED
    with pipeline.runtime.database.transaction() as session:
        assert [one.id for one in approvals_to_decide(session, other, pipeline.clock.now)] == [id]
        assert approvals_to_decide(session, second, pipeline.clock.now) == []
    with pytest.raises(Forbidden):
        decide(pipeline, id, second)
    decide(pipeline, id, other)
    assert pipeline.request(id).status is Status.COMPLETED


def test_a_cancellation_does_not_wait_for_a_change_that_waits(
    pipeline: Pipeline, trunk_id: int, second: Principal
) -> None:
    id = ask_change(pipeline, trunk_id, "trunk-50")
    go_to(pipeline, pipeline.clock.now)
    with pipeline.runtime.database.transaction() as session:
        account = session.get_one(Account, session.get_one(SipTrunk, trunk_id).account_id)
        ending = submit_cancellation(session, pipeline.manager, account, None, "de", pipeline.clock.now)
        cancellation, at = ending.id, ending.effective_at
    go_to(pipeline, at)
    assert pipeline.request(cancellation).status is Status.COMPLETED
    assert pipeline.request(id).status is Status.REJECTED
