"""Tests that requests for consent which no person can receive go to the back office.

Requesters see no difference to other requests.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa

from models.accounts.accounts import Account
from models.errors import AlreadyUser, Forbidden, NotFound, SeveralAdministrators
from models.messages.outbox import Recipient
from models.people.audit_log import entries_of
from models.people.invitation_acceptance import accept
from models.people.invitations import Invitation
from models.people.rights import Principal, Role
from models.people.users import principal_of
from models.proofs.consent_reach import wake_questions
from models.proofs.ownership import Credentials, prove_ownership
from models.proofs.proofs import Consent, MainConsent
from models.requests.requests import Request
from models.staff.administrators import name_administrator
from models.states import AccountState, ProofMethod, Reason, Status
from models.views.back_office import Matter, MatterFilter, matter_counts, page_of, request_details
from tasks.ports import GatewayRefused
from tests.factories import NOW, PASSWORD, a_link, join, make_account, make_user
from tests.tasks.conftest import Pipeline
from tests.tasks.steps.switching import WAITS, Branch, answer, make_branch, standing
from tests.tasks.steps.switching import ask as ask_for_switch

PROOF = "Handelsregisterauszug per Post, Rückruf unter der Nummer im Register"
HANNA = Recipient("Hanna Palmer", "hanna@example.com", "de")


def ask(pipeline: Pipeline, account: Account | str) -> UUID:
    """Request a link by consent to the account (or customer number), and run the workers' code.

    Return the request's id.
    """
    id = pipeline.link(a_link(account, method=ProofMethod.CONSENT))
    pipeline.advance()
    pipeline.send()
    return id


def cases(pipeline: Pipeline) -> list[UUID]:
    """Return the ids of the requests for consent that wait for the back office.

    Fails unless the back office's list, counts and details agree about them.
    """
    with pipeline.runtime.database.transaction() as session:
        listed = [item.request.id for item in page_of(session, MatterFilter(matter=Matter.CONSENT)).items]
        assert matter_counts(session).matters.get(Matter.CONSENT, 0) == len(listed)
        for id in listed:
            details = request_details(session, id, pipeline.clock.now)
            assert details is not None and details.matter is Matter.CONSENT
        return listed


def alone(pipeline: Pipeline, **facts: Any) -> Account:
    """Create an account without users; `facts` are its columns."""
    with pipeline.runtime.database.transaction() as session:
        return make_account(session, **facts)


@pytest.fixture
def staff(pipeline: Pipeline) -> Principal:
    with pipeline.runtime.database.transaction() as session:
        return principal_of(session, make_user(session, name="Bo Backoffice", is_staff=True))


def told(pipeline: Pipeline, id: UUID) -> tuple[object, ...]:
    """Return what the requester sees: status, reason, who must act, until when, and the timeline's codes."""
    request = pipeline.request(id)
    return (request.status, request.reason, request.waiting_for, request.waiting_until, *pipeline.codes(id))


def test_only_a_question_that_somebody_could_answer_is_a_case_and_all_look_alike(pipeline: Pipeline) -> None:
    with pipeline.runtime.database.transaction() as session:
        reached = make_account(session, administrator=make_user(session))
    lonely = alone(pipeline)
    nowhere, closed, fine = ask(pipeline, "9999999"), ask(pipeline, alone(pipeline, state=AccountState.CLOSED)), None
    case, fine = ask(pipeline, lonely), ask(pipeline, reached)
    assert cases(pipeline) == [case]
    assert told(pipeline, case) == told(pipeline, nowhere) == told(pipeline, closed) == told(pipeline, fine)
    with pipeline.runtime.database.transaction() as session:
        session.get_one(Request, case).cancel(pipeline.request(case).reason, NOW)  # type: ignore[arg-type]
    assert cases(pipeline) == []


def test_a_case_ends_with_its_request(pipeline: Pipeline) -> None:
    ended, running = ask(pipeline, alone(pipeline)), ask(pipeline, alone(pipeline))
    with pipeline.runtime.database.transaction() as session:
        session.get_one(Request, ended).cancel(Reason.CANCELLED_BY_REQUESTER, NOW)
    pipeline.run("proofs")
    with pipeline.runtime.database.transaction() as session:
        unreached = sa.select(Consent.request_id).where(Consent.unreached_since.is_not(None))
        assert session.scalars(unreached).all() == [running]


def test_a_dead_mailbox_is_a_case_once_every_mail_is_refused(pipeline: Pipeline) -> None:
    with pipeline.runtime.database.transaction() as session:
        one, two = make_user(session), make_user(session)
        account = make_account(session, administrator=one)
        join(session, two, account)
    pipeline.mailer.failures[one.email] = [GatewayRefused("550"), GatewayRefused("550")]
    first = ask(pipeline, account)
    assert cases(pipeline) == []
    with pipeline.runtime.database.transaction() as session:
        session.execute(sa.text("DELETE FROM memberships WHERE user_id = :id"), {"id": two.id})
        session.get_one(Request, first).cancel(pipeline.request(first).reason, NOW)  # type: ignore[arg-type]
    second = ask(pipeline, account)
    assert cases(pipeline) == [second]


def test_staff_name_an_administrator_who_is_asked_without_the_outsider_noticing(
    pipeline: Pipeline, staff: Principal
) -> None:
    account = alone(pipeline)
    id = ask(pipeline, account)
    before = told(pipeline, id)
    with pipeline.runtime.database.transaction() as session:
        invited = name_administrator(session, staff, session.get_one(Account, account.id), HANNA, PROOF, NOW)
        assert (invited.role, invited.by_order) == (Role.ADMINISTRATOR, False)
        session.flush()
        [entry] = entries_of(session, account)
        assert (entry.entry.by_staff, entry.entry.user_id, entry.entry.facts["proof"]) == (True, staff.user_id, PROOF)
    # Nothing is left to do until somebody accepts.
    assert cases(pipeline) == []
    pipeline.send()
    [mail] = [mail.text for mail in pipeline.mailer.sent if mail.recipient_address == HANNA.address]
    assert "Unser Kundenservice hat Sie eingeladen" in " ".join(mail.split()) and staff.name not in mail
    with pipeline.runtime.database.transaction() as session:
        found = session.scalars(sa.select(Invitation)).one()
        accept(session, found, PASSWORD, NOW)
        wake_questions(session, account, pipeline.clock.now)
    for _ in range(2):
        pipeline.advance()
        pipeline.send()
    mails = [mail.text for mail in pipeline.mailer.sent if mail.recipient_address == HANNA.address]
    assert len(mails) == 2 and f"/zustimmung/{id}/" in mails[1]
    assert told(pipeline, id) == before and cases(pipeline) == []


def test_an_invitation_that_lapses_makes_the_reminder_a_case_again(pipeline: Pipeline, staff: Principal) -> None:
    account = alone(pipeline)
    id = ask(pipeline, account)
    with pipeline.runtime.database.transaction() as session:
        name_administrator(session, staff, session.get_one(Account, account.id), HANNA, PROOF, NOW)
    pipeline.clock.advance(timedelta(days=7))
    pipeline.advance()
    assert cases(pipeline) == [id] and pipeline.request(id).status is Status.PENDING


def test_staff_name_somebody_only_where_nobody_else_can(pipeline: Pipeline, staff: Principal) -> None:
    with pipeline.runtime.database.transaction() as session:
        present, member = make_user(session), make_user(session, email="mia@example.com")
        account = make_account(session, administrator=present)
        join(session, member, account, Role.LOCAL_MEMBER)
        closed = make_account(session, state=AccountState.CLOSED)
        to = Recipient("P", present.email, "de")
        with pytest.raises(AlreadyUser):
            name_administrator(session, staff, account, to, PROOF, NOW)
        with pytest.raises(Forbidden):
            name_administrator(session, principal_of(session, present), account, HANNA, PROOF, NOW)
        with pytest.raises(NotFound):
            name_administrator(session, staff, closed, HANNA, PROOF, NOW)
        # The only administrator is out of reach; the member of the local team rises and the other one stays.
        name_administrator(session, staff, account, Recipient("Mia", member.email, "de"), PROOF, NOW)
        accept(session, session.scalars(sa.select(Invitation)).one(), None, NOW)
        roles = {principal_of(session, user).roles[account.id] for user in (present, member)}
        assert roles == {Role.ADMINISTRATOR}
        with pytest.raises(SeveralAdministrators):
            name_administrator(session, staff, account, HANNA, PROOF, NOW)


def leave(pipeline: Pipeline, branch: Branch) -> None:
    """Remove the only administrator of the branch's main account, which nobody could do in the portal."""
    with pipeline.runtime.database.transaction() as session:
        session.execute(sa.text("DELETE FROM memberships WHERE user_id = :id"), {"id": branch.chief.user_id})


def test_a_main_account_that_nobody_can_answer_for_is_a_case_and_who_asks_sees_no_difference(
    pipeline: Pipeline,
) -> None:
    lonely, reached = make_branch(pipeline), make_branch(pipeline)
    leave(pipeline, lonely)
    case, fine = ask_for_switch(pipeline, lonely), ask_for_switch(pipeline, reached)
    pipeline.send()
    assert cases(pipeline) == [case]
    assert told(pipeline, case) == told(pipeline, fine)
    with pipeline.runtime.database.transaction() as session:
        details = request_details(session, case, pipeline.clock.now)
        assert details is not None and details.asked_main is not None
        # An administrator of the main account is missing, not one of the account itself.
        assert details.asks_nobody == details.asked_main.customer_number != lonely.number
        session.get_one(Request, case).cancel(Reason.CANCELLED_BY_REQUESTER, NOW)
    assert cases(pipeline) == []
    pipeline.run("proofs")
    with pipeline.runtime.database.transaction() as session:
        assert session.get_one(MainConsent, case).unreached_since is None


def test_a_main_account_s_dead_mailbox_is_a_case_and_an_answer_ends_it(pipeline: Pipeline) -> None:
    branch = make_branch(pipeline)
    pipeline.mailer.failures[branch.chief.email] = [GatewayRefused("550")]
    id = ask_for_switch(pipeline, branch)
    pipeline.send()
    assert (cases(pipeline), standing(pipeline, id)) == ([id], WAITS)
    # They sign in without the mail.
    answer(pipeline, id, branch.chief.user_id)
    assert (cases(pipeline), pipeline.request(id).status) == ([], Status.COMPLETED)


def test_staff_name_an_administrator_of_the_main_account_who_then_answers(pipeline: Pipeline, staff: Principal) -> None:
    branch = make_branch(pipeline)
    leave(pipeline, branch)
    id = ask_for_switch(pipeline, branch)
    before = told(pipeline, id)
    with pipeline.runtime.database.transaction() as session:
        main = session.get_one(Account, branch.main_id)
        name_administrator(session, staff, main, HANNA, PROOF, NOW)
    assert cases(pipeline) == []
    with pipeline.runtime.database.transaction() as session:
        found = session.scalars(sa.select(Invitation)).one()
        hanna = accept(session, found, PASSWORD, NOW)[0].id
        wake_questions(session, main, pipeline.clock.now)
    for _ in range(2):
        pipeline.advance()
        pipeline.send()
    mails = [mail.text for mail in pipeline.mailer.sent if mail.recipient_address == HANNA.address]
    assert sum(f"/zustimmung/{id}/" in mail for mail in mails) == 1
    assert (told(pipeline, id), cases(pipeline)) == (before, [])
    answer(pipeline, id, hanna)
    assert pipeline.request(id).status is Status.COMPLETED


def test_a_question_that_is_over_is_no_case_while_the_main_account_is_asked(pipeline: Pipeline) -> None:
    branch = make_branch(pipeline)
    with pipeline.runtime.database.transaction() as session:
        session.execute(sa.text("DELETE FROM memberships WHERE user_id = :id"), {"id": branch.owner.id})
    id = ask_for_switch(pipeline, branch, method=ProofMethod.CONSENT)
    assert cases(pipeline) == [id]
    with pipeline.runtime.database.transaction() as session:
        owner = make_user(session)
        account = session.get_one(Account, branch.id)
        join(session, owner, account)
        login = Credentials(owner.email, PASSWORD)
        switch = session.get_one(Request, id)
        assert prove_ownership(session, pipeline.runtime.vault, switch, login, pipeline.clock.now)
    pipeline.advance()
    assert (standing(pipeline, id), cases(pipeline)) == (WAITS, [])


def test_an_answered_question_is_no_case(pipeline: Pipeline) -> None:
    id = ask(pipeline, alone(pipeline))
    with pipeline.runtime.database.transaction() as session:
        user = make_user(session)
        consent = session.get_one(Consent, id)
        consent.decision, consent.decided_by, consent.decided_at = "declined", user.id, NOW  # type: ignore[assignment]
    assert cases(pipeline) == []
