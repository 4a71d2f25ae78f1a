"""Tests of what ends or prevents a switch: a closed account, a collective invoice, and the limits on questions."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from models.accounts.accounts import Account
from models.calendar_days import berlin_day
from models.changes.cancellations import submit_cancellation
from models.contracts.contracts import Contract, ContractItem
from models.errors import AlreadyRequested, CannotClose, LimitReached, NotAwaited, TooEarly
from models.links.account_closing import ensure_leads_nobody
from models.links.collective_invoices import put_on_invoice
from models.links.links import submit_link
from models.people.users import User, principal_of
from models.proofs.main_consents import decide_for_main
from models.proofs.proofs import Decision, MainConsent
from models.proofs.replacement_codes import ask_again
from models.requests.requests import Request
from models.states import Kind, Reason, Status
from tests.factories import PLENTY, a_link
from tests.tasks.conftest import Pipeline
from tests.tasks.steps.switching import (
    Branch,
    answer,
    ask,
    mails,
    main_of,
    make_branch,
    standing,
)
from tests.tasks.steps.switching import branch as branch


def test_an_account_that_is_closed_meanwhile_does_not_go(pipeline: Pipeline, branch: Branch) -> None:
    id = ask(pipeline, branch)
    with pipeline.runtime.database.transaction() as session:
        contract = Contract(account_id=branch.id, started_at=pipeline.clock.now)
        session.add(contract)
        session.flush()
        session.add(ContractItem(contract_id=contract.id, product_key="trunk-10", monthly_cents=990, one_off_cents=0))
        account, owner = session.get_one(Account, branch.id), principal_of(session, branch.owner)
        cancellation = submit_cancellation(session, owner, account, None, "de", pipeline.clock.now)
        # As if its day had come.
        cancellation.effective_on = berlin_day(pipeline.clock.now)
        cancellation.make_due(pipeline.clock.now)
    for _ in range(2):
        pipeline.advance()
    assert standing(pipeline, id) == (Status.REJECTED, Reason.ACCOUNT_CLOSED)


def test_an_account_on_a_collective_invoice_stays(pipeline: Pipeline, branch: Branch) -> None:
    with pipeline.owner.transaction() as session:
        main, account = (session.get_one(Account, id) for id in (branch.main_id, branch.id))
        put_on_invoice(session, "SR-1", main, account, pipeline.clock.now)
    id = ask(pipeline, branch)
    assert standing(pipeline, id) == (Status.REJECTED, Reason.BILLED_TOGETHER)
    assert main_of(pipeline, branch) == branch.main_id


def test_one_request_at_a_time_and_five_a_day(pipeline: Pipeline, branch: Branch) -> None:
    id = ask(pipeline, branch)
    for kind in (Kind.LINK, Kind.SWITCH):
        with pytest.raises(AlreadyRequested):
            pipeline.link(replace(a_link(branch.number, email=branch.owner.email), kind=kind))
    for _ in range(4):
        answer(pipeline, id, branch.chief.user_id, Decision.DECLINED)
        id = ask(pipeline, branch)
    answer(pipeline, id, branch.chief.user_id, Decision.DECLINED)
    with pytest.raises(TooEarly):
        ask(pipeline, branch)


def test_it_counts_against_the_questions_of_a_day(pipeline: Pipeline, branch: Branch) -> None:
    ask(pipeline, branch)
    other = make_branch(pipeline)
    draft = replace(a_link(other.number, email=other.owner.email), kind=Kind.SWITCH)
    with pipeline.runtime.database.transaction() as session, pytest.raises(LimitReached):
        submit_link(
            session, pipeline.runtime.vault, pipeline.manager, pipeline.main, draft, pipeline.clock.now,
            usual=replace(PLENTY, consents=1),
        )  # fmt: skip


def test_a_new_question_voids_the_code_of_the_old_one(pipeline: Pipeline, branch: Branch) -> None:
    id = ask(pipeline, branch)
    pipeline.clock.now += timedelta(days=2)
    with pipeline.runtime.database.transaction() as session:
        ask_again(session, pipeline.manager, session.get_one(Request, id), "main_consent", pipeline.clock.now, PLENTY)
        with pytest.raises(NotAwaited):
            ask_again(session, pipeline.manager, session.get_one(Request, id), "consent", pipeline.clock.now, PLENTY)
    pipeline.advance()
    assert [to for template, to in mails(pipeline, id) if template == "main_consent_asked"] == [branch.chief.email] * 2
    with pipeline.runtime.database.transaction() as session:
        consent, chief = session.get_one(MainConsent, id), session.get_one(User, branch.chief.user_id)
        vault = pipeline.runtime.vault
        old, new = (vault.code(*consent.words(chief, issue)) for issue in (1, 2))
        switch = session.get_one(Request, id)
        for code, right in ((old, False), (new, True)):
            assert decide_for_main(session, vault, switch, chief, Decision.ACCEPTED, code, pipeline.clock.now) is right


def test_a_main_account_that_asks_for_a_switch_cannot_be_closed(pipeline: Pipeline, branch: Branch) -> None:
    id = ask(pipeline, branch)
    with pipeline.runtime.database.transaction() as session:
        main = session.get_one(Account, pipeline.main.id)
        with pytest.raises(CannotClose, match=str(id)):
            ensure_leads_nobody(session, main)
