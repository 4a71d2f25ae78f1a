"""Tests of switches: a sub-account goes to another main account in one step, once both main accounts have agreed."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta

import pytest
import sqlalchemy as sa

from models.accounts import hierarchy
from models.accounts.accounts import Account
from models.accounts.contract_holders import ContractHolder, holder_of, put_holder
from models.calendar_days import Month, berlin_day
from models.contracts.contracts import Contract, ContractItem
from models.errors import Forbidden, NotAwaited
from models.links.invoice_membership import InvoiceOffer, offer_invoice
from models.links.links import submit_detach
from models.messages.outbox import Recipient
from models.orders.orders import cancel_and_release
from models.people.audit_log import AuditEntry, AuditEvent
from models.people.invitations import Invitation, invite
from models.people.rights import Action, Role, may
from models.people.users import User, principal_of
from models.proofs.main_consents import decide_for_main
from models.proofs.ownership import decide
from models.proofs.proofs import Consent, Decision, MainConsent
from models.proofs.replacement_codes import ask_again
from models.requests.request_rights import concerns
from models.requests.requests import Request
from models.states import AccountRole, Kind, Origin, ProofMethod, Reason, Status
from models.views.account_costs import costs_page
from tests.factories import HOLDER, PLENTY, a_link, join, make_account, make_main, make_user
from tests.tasks.conftest import Pipeline
from tests.tasks.steps.switching import (
    WAITS,
    Branch,
    answer,
    ask,
    mails,
    main_of,
    make_branch,
    standing,
)
from tests.tasks.steps.switching import branch as branch


@contextmanager
def changes_of_accounts() -> Iterator[list[str]]:
    """Yield a list to which the UPDATE statements on the table of accounts in the `with` block are added."""
    said: list[str] = []

    def listen(_: object, __: object, statement: str, *more: object) -> None:
        if statement.startswith("UPDATE accounts"):
            said.append(statement)

    sa.event.listen(sa.Engine, "before_cursor_execute", listen)
    try:
        yield said
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", listen)


def test_it_stays_until_its_main_account_has_agreed_and_goes_by_one_change_of_its_row(
    pipeline: Pipeline, branch: Branch
) -> None:
    id = ask(pipeline, branch)
    assert (standing(pipeline, id), main_of(pipeline, branch)) == (WAITS, branch.main_id)
    # Who asks sees nothing of the account meanwhile.
    assert pipeline.request(id).account_id is None
    with changes_of_accounts() as changes:
        answer(pipeline, id, branch.chief.user_id)
    assert standing(pipeline, id) == (Status.COMPLETED, None)
    moving = [change for change in changes if "main_id" in change]
    assert len(moving) == 1 and "main_id=%(main_id)s" in moving[0].replace("::BIGINT", "")
    with pipeline.runtime.database.transaction() as session:
        account, consent = session.get_one(Account, branch.id), session.get_one(MainConsent, id)
        assert (account.role, account.main_id, account.origin, account.attached_at) == (
            AccountRole.SUB, pipeline.main.id, Origin.LINK, pipeline.clock.now,
        )  # fmt: skip
        assert consent.moved_at == pipeline.clock.now
    assert pipeline.codes(id) == [
        "switch_received", "proved_credentials", "main_consent_asked", "pending", "main_consented", "attached",
        "completed", "confirmed", "confirmed", "confirmed",
    ]  # fmt: skip
    assert mails(pipeline, id) == sorted(
        [
            ("link_receipt", pipeline.manager.email),
            ("main_consent_asked", branch.chief.email),
            ("link_completed", pipeline.manager.email),
            ("switch_completed_owner", branch.owner.email),
            ("switch_completed_former", branch.chief.email),
        ]
    )


@pytest.mark.parametrize("method", [ProofMethod.CONSENT, ProofMethod.LINK_CODE])
def test_it_needs_the_proof_that_links_need(pipeline: Pipeline, branch: Branch, method: ProofMethod) -> None:
    if method is ProofMethod.LINK_CODE:
        id = ask(pipeline, branch, code="AAAAA AAAAA")
        assert standing(pipeline, id) == (Status.REJECTED, Reason.OWNERSHIP_NOT_PROVEN)
        return
    id = ask(pipeline, branch, method=method)
    assert standing(pipeline, id) == (Status.PENDING, Reason.CONSENT_AWAITED)
    with pipeline.runtime.database.transaction() as session:
        assert session.get(MainConsent, id) is None
        switch, owner = session.get_one(Request, id), session.get_one(User, branch.owner.id)
        with pytest.raises(NotAwaited):
            ask_again(session, pipeline.manager, switch, "main_consent", pipeline.clock.now, PLENTY)
        assert decide(session, pipeline.runtime.vault, switch, owner, Decision.ACCEPTED, None, pipeline.clock.now)
    pipeline.advance()
    assert standing(pipeline, id) == WAITS
    answer(pipeline, id, branch.chief.user_id)
    assert main_of(pipeline, branch) == pipeline.main.id


def test_declined_it_stays_and_all_who_agreed_are_told(pipeline: Pipeline, branch: Branch) -> None:
    id = ask(pipeline, branch)
    answer(pipeline, id, branch.chief.user_id, Decision.DECLINED)
    assert standing(pipeline, id) == (Status.REJECTED, Reason.DECLINED_BY_MAIN)
    assert main_of(pipeline, branch) == branch.main_id
    told = [(template, to) for template, to in mails(pipeline, id) if "ended" in template]
    assert told == [("main_consent_ended", branch.chief.email), ("request_ended", pipeline.manager.email)]
    with pytest.raises(NotAwaited):
        answer(pipeline, id, branch.chief.user_id)


def test_without_an_answer_it_lapses_after_reminders(pipeline: Pipeline, branch: Branch) -> None:
    id = ask(pipeline, branch)
    for days in (7, 5, 3):
        pipeline.clock.now += timedelta(days=days)
        pipeline.advance()
    assert standing(pipeline, id) == (Status.REJECTED, Reason.PROOF_EXPIRED)
    assert pipeline.codes(id).count("main_consent_reminded") == 2
    assert main_of(pipeline, branch) == branch.main_id


def test_the_job_wakes_a_switch_whose_reminder_was_missed(pipeline: Pipeline, branch: Branch) -> None:
    id = ask(pipeline, branch, method=ProofMethod.CONSENT)
    with pipeline.runtime.database.transaction() as session:
        switch, owner = session.get_one(Request, id), session.get_one(User, branch.owner.id)
        assert decide(session, pipeline.runtime.vault, switch, owner, Decision.ACCEPTED, None, pipeline.clock.now)
    pipeline.advance()
    with pipeline.runtime.database.transaction() as session:
        # The first question is over, and late in a way that no longer counts.
        session.get_one(Consent, id).asked_at -= timedelta(days=8)
        session.get_one(Request, id).make_due(pipeline.clock.now + timedelta(days=300))
    assert pipeline.findings(pipeline.run("proofs")) == []
    pipeline.clock.now += timedelta(days=8)
    [finding] = pipeline.findings(pipeline.run("proofs"))
    assert (finding.kind, finding.facts["what"]) == ("proof_overdue", ["main_consent"])
    pipeline.advance()
    assert pipeline.codes(id)[-1] == "main_consent_reminded"


def test_withdrawn_it_cannot_be_answered_any_more(pipeline: Pipeline, branch: Branch) -> None:
    id = ask(pipeline, branch)
    with pipeline.runtime.database.transaction() as session:
        switch = session.get_one(Request, id, with_for_update=True)
        cancel_and_release(switch, Reason.CANCELLED_BY_REQUESTER, pipeline.clock.now)
    with pytest.raises(NotAwaited):
        answer(pipeline, id, branch.chief.user_id)
    assert main_of(pipeline, branch) == branch.main_id


def test_only_administrators_of_the_present_main_account_answer_for_it(pipeline: Pipeline, branch: Branch) -> None:
    with pipeline.runtime.database.transaction() as session:
        main = session.get_one(Account, branch.main_id)
        location_manager = make_user(session)
        join(session, location_manager, main, Role.LOCATION_MANAGER)
    id = ask(pipeline, branch)
    for person in (pipeline.manager.user_id, branch.owner.id, location_manager.id):
        with pytest.raises(Forbidden):
            answer(pipeline, id, person)
    assert standing(pipeline, id) == WAITS


def test_a_stranger_learns_nothing_from_a_switch_without_a_proof(pipeline: Pipeline, branch: Branch) -> None:
    with pipeline.runtime.database.transaction() as session:
        alone = make_account(session, administrator=make_user(session)).customer_number
    seen = []
    for number in (branch.number, alone, "9999999"):
        ids = [pipeline.link(replace(a_link(number, email=branch.owner.email, password="wrong"), kind=Kind.SWITCH))]
        pipeline.advance()
        ids.append(pipeline.link(replace(a_link(number, method=ProofMethod.CONSENT), kind=Kind.SWITCH)))
        pipeline.advance()
        seen.append([(standing(pipeline, id), pipeline.codes(id)) for id in ids])
        with pipeline.runtime.database.transaction() as session:
            assert all(session.get(MainConsent, id) is None for id in ids)
    assert seen[0] == seen[1] == seen[2]


def test_an_account_that_was_detached_meanwhile_is_linked(pipeline: Pipeline, branch: Branch) -> None:
    id = ask(pipeline, branch)
    with pipeline.runtime.database.transaction() as session:
        account, owner = session.get_one(Account, branch.id), principal_of(session, branch.owner)
        submit_detach(session, owner, account, "de", pipeline.clock.now)
    for _ in range(2):
        pipeline.advance()
    with pytest.raises(NotAwaited):
        answer(pipeline, id, branch.chief.user_id)
    assert (standing(pipeline, id)[0], main_of(pipeline, branch)) == (Status.COMPLETED, pipeline.main.id)
    assert ("link_completed_owner", branch.owner.email) in mails(pipeline, id)
    assert branch.chief.email not in [to for template, to in mails(pipeline, id) if "completed" in template]


def test_a_consent_counts_only_for_the_main_account_that_gave_it(pipeline: Pipeline, branch: Branch) -> None:
    id = ask(pipeline, branch)
    with pipeline.runtime.database.transaction() as session:
        third, _ = make_main(session)
        switch, chief = session.get_one(Request, id), session.get_one(User, branch.chief.user_id)
        assert decide_for_main(
            session, pipeline.runtime.vault, switch, chief, Decision.ACCEPTED, None, pipeline.clock.now
        )
        hierarchy.move(session, branch.main_id, third.id, branch.id, pipeline.clock.now)
    pipeline.advance()
    assert standing(pipeline, id) == (Status.REJECTED, Reason.ALREADY_ATTACHED)
    assert main_of(pipeline, branch) == third.id


def test_a_former_main_account_answers_no_more(pipeline: Pipeline, branch: Branch) -> None:
    id = ask(pipeline, branch)
    with pipeline.runtime.database.transaction() as session:
        third, _ = make_main(session)
        hierarchy.move(session, branch.main_id, third.id, branch.id, pipeline.clock.now)
    with pytest.raises(NotAwaited):
        answer(pipeline, id, branch.chief.user_id)
    with pipeline.runtime.database.transaction() as session:
        assert session.get_one(MainConsent, id).decision is None


def test_of_two_main_accounts_that_ask_one_gets_the_account(pipeline: Pipeline, branch: Branch) -> None:
    first = ask(pipeline, branch)
    with pipeline.runtime.database.transaction() as session:
        other, manager = make_main(session)
    draft = replace(a_link(branch.number, email=branch.owner.email), kind=Kind.SWITCH)
    second = pipeline.link(draft, manager, other)
    pipeline.advance()
    with pipeline.runtime.database.transaction() as session:
        chief = session.get_one(User, branch.chief.user_id)
        for id in (first, second):
            switch = session.get_one(Request, id)
            assert decide_for_main(
                session, pipeline.runtime.vault, switch, chief, Decision.ACCEPTED, None, pipeline.clock.now
            )
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda _: pipeline.advance(), range(2)))
    pipeline.advance()
    assert {standing(pipeline, id) for id in (first, second)} == {
        (Status.COMPLETED, None), (Status.REJECTED, Reason.ALREADY_ATTACHED),
    }  # fmt: skip
    assert main_of(pipeline, branch) in (pipeline.main.id, other.id)


def test_who_waits_for_a_main_account_that_is_not_its_main_account_any_more_is_told_at_once(
    pipeline: Pipeline, branch: Branch
) -> None:
    first = ask(pipeline, branch)
    with pipeline.runtime.database.transaction() as session:
        other, manager = make_main(session)
    draft = replace(a_link(branch.number, email=branch.owner.email), kind=Kind.SWITCH)
    second = pipeline.link(draft, manager, other)
    pipeline.advance()
    answer(pipeline, second, branch.chief.user_id)
    pipeline.advance()
    assert standing(pipeline, second) == (Status.COMPLETED, None)
    assert standing(pipeline, first) == (Status.REJECTED, Reason.ALREADY_ATTACHED)


def test_who_administers_both_main_accounts_agrees_by_asking(pipeline: Pipeline, branch: Branch) -> None:
    with pipeline.runtime.database.transaction() as session:
        manager = session.get_one(User, pipeline.manager.user_id)
        join(session, manager, session.get_one(Account, branch.main_id))
    id = ask(pipeline, branch)
    assert (standing(pipeline, id)[0], main_of(pipeline, branch)) == (Status.COMPLETED, pipeline.main.id)
    assert "main_consent_asked" not in pipeline.codes(id)
    with pipeline.runtime.database.transaction() as session:
        [entry] = session.scalars(sa.select(AuditEntry).where(AuditEntry.deed == AuditEvent.SWITCH_ANSWERED))
        assert (entry.account_id, entry.user_id, entry.through_id) == (
            branch.id, pipeline.manager.user_id, branch.main_id,
        )  # fmt: skip


def test_what_goes_along_and_what_lapses(pipeline: Pipeline) -> None:
    branch = make_branch(pipeline, Origin.ORDER)
    now = pipeline.clock.now
    with pipeline.runtime.database.transaction() as session:
        put_holder(session, branch.main_id, HOLDER, now)
    with pipeline.owner.transaction() as session:
        account = session.get_one(Account, branch.id)
        to = Recipient("Ida Invitata", "ida@example.com", "de")
        invite(session, branch.chief, account, to, Role.LOCAL_MEMBER, now)
        offer_invoice(session, branch.chief, account, now)
        contract = Contract(account_id=branch.id, started_at=now - timedelta(days=100))
        session.add(contract)
        session.flush()
        session.add(ContractItem(contract_id=contract.id, product_key="trunk-10", monthly_cents=990, one_off_cents=0))
        day = berlin_day(now) + timedelta(days=30)
        planned = submit_detach(session, branch.chief, account, "de", now, day).id
    id = ask(pipeline, branch)
    answer(pipeline, id, branch.chief.user_id)
    assert standing(pipeline, id) == (Status.COMPLETED, None)
    assert standing(pipeline, planned) == (Status.REJECTED, Reason.NOT_ATTACHED)
    with pipeline.runtime.database.transaction() as session:
        account = session.get_one(Account, branch.id)
        holder = holder_of(session, account)
        assert holder is not None and (holder.account_id, holder.name) == (branch.id, HOLDER.name)
        assert session.get(ContractHolder, pipeline.main.id) is None
        assert session.scalars(sa.select(Invitation.id)).all() == []
        assert session.scalars(sa.select(InvoiceOffer.account_id)).all() == []
        # A linked one now: the new main account's people do not change its contracts, the former one's see nothing.
        new, former = pipeline.manager, principal_of(session, session.get_one(User, branch.chief.user_id))
        assert [may(new, action, account) for action in (Action.VIEW, Action.CHANGE_CONTRACT)] == [True, False]
        assert not may(former, Action.VIEW, account)
        switch = session.get_one(Request, id)
        assert concerns(session, new, switch) and not concerns(session, former, switch)
        # Months before the switch are no affair of the new main account, and none is one of the former.
        former_main = session.get_one(Account, branch.main_id)
        for main, month, is_listed in (
            (pipeline.main, Month.of(berlin_day(now)), True),
            (pipeline.main, Month.of(berlin_day(now) - timedelta(days=40)), False),
            (former_main, Month.of(berlin_day(now)), False),
        ):
            listed = [cost.account.customer_number for cost in costs_page(session, main, month).items]
            assert (branch.number in listed) is is_listed
