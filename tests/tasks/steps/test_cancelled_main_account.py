"""Tests of cancelling main accounts: only those without sub-accounts and open orders, which pay for no other account.

A cancellation is held if the account gets a sub-account before its last day.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy.orm import Session

from models.accounts.accounts import Account
from models.accounts.hierarchy import attach, detach
from models.errors import CannotClose
from models.links.collective_invoices import put_on_invoice
from models.people.users import principal_of
from models.states import AccountRole, AccountState, Origin, Reason, Status
from tests.factories import an_order, join, make_account, make_main, make_user, submit_order
from tests.tasks.conftest import Pipeline
from tests.tasks.steps.test_cancel import ask, go_to


def with_a_sub_account(pipeline: Pipeline, session: Session, account: Account) -> None:
    attach(session, account.id, make_account(session).id, Origin.LINK, pipeline.clock.now)


def with_an_order(pipeline: Pipeline, session: Session, account: Account) -> None:
    person = make_user(session)
    join(session, person, account)
    submit_order(session, principal_of(session, person), account, an_order(), pipeline.clock.now)


def with_an_invoice(pipeline: Pipeline, session: Session, account: Account) -> None:
    put_on_invoice(session, "SR-9", account, make_account(session), pipeline.clock.now)


LEADING: dict[str, Callable[[Pipeline, Session, Account], None]] = {
    "has_sub_accounts": with_a_sub_account,
    "request_runs": with_an_order,
    "billed_together": with_an_invoice,
}


@pytest.mark.parametrize("code", LEADING)
def test_a_main_account_ends_only_when_no_sub_account_is_left(pipeline: Pipeline, code: str) -> None:
    with pipeline.owner.transaction() as session:
        account, person = make_main(session)
        LEADING[code](pipeline, session, account)
    with pytest.raises(CannotClose) as refused:
        ask(pipeline, account.customer_number, person=person)
    assert refused.value.code == code


def test_who_becomes_a_main_account_meanwhile_waits_for_us_and_ends_when_it_leads_nobody(pipeline: Pipeline) -> None:
    with pipeline.owner.transaction() as session:
        account, person = make_main(session)
    id = ask(pipeline, account.customer_number, person=person)
    with pipeline.owner.transaction() as session:
        sub = make_account(session)
        attach(session, account.id, sub.id, Origin.LINK, pipeline.clock.now)
    ends = pipeline.request(id).effective_at
    go_to(pipeline, ends)
    request = pipeline.request(id)
    assert (request.status, request.reason) == (Status.HELD, Reason.ACCOUNT_IN_USE)
    assert "Hauptaccount" in pipeline.mailer.sent[-1].text
    with pipeline.owner.transaction() as session:
        detach(session, account.id, sub.id)
    go_to(pipeline, ends + timedelta(minutes=15))
    assert pipeline.request(id).status is Status.COMPLETED
    with pipeline.owner.transaction() as session:
        assert session.get_one(Account, account.id).state is AccountState.CLOSED


def test_a_main_account_on_its_own_collective_invoice_can_be_cancelled(pipeline: Pipeline) -> None:
    with pipeline.owner.transaction() as session:
        main = session.get_one(Account, pipeline.main.id)
        put_on_invoice(session, "SR-1", main, main, pipeline.clock.now)
        main.role = AccountRole.STANDALONE
    id = ask(pipeline, pipeline.main.customer_number)
    go_to(pipeline, pipeline.request(id).effective_at)
    assert pipeline.request(id).status is Status.COMPLETED
