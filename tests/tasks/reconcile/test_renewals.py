"""Tests of the scheduled job `renewals`: one reminder before each extension of a contract, and when there is none."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta

import pytest
import sqlalchemy as sa

from models.accounts.accounts import Account
from models.accounts.hierarchy import attach
from models.calendar_days import first_moment
from models.changes.cancellations import submit_cancellation
from models.changes.renewals import remind
from models.contracts.catalogue import PriceLine
from models.contracts.contracts import Contract, new_contract
from models.contracts.terms import ContractTerms
from models.orders.orders import cancel_and_release
from models.people.rights import Role
from models.people.users import User, principal_of
from models.requests.requests import Request
from models.states import AccountState, Origin, Reason
from tasks.reconcile import renewals
from tests.factories import join, make_account, make_user
from tests.tasks.conftest import Pipeline

YEARLY = ContractTerms(12, 1, 12)
BEGAN = date(2026, 3, 15)
"""The first term ends with 14 March 2027; the last day for a notice is 14 February."""
FIRST, LAST = date(2027, 1, 15), date(2027, 2, 14)
"""The first and the last day on which the reminder is queued."""


def make_site(
    pipeline: Pipeline, origin: Origin | None = Origin.ORDER, terms: ContractTerms = YEARLY, own: int = 1
) -> tuple[Account, list[str]]:
    """Create an account with a contract that began on `BEGAN`. Return it, and the addresses of its administrators.

    It is a sub-account of the pipeline's main account, attached in this way; `origin` None: it stands alone. `own` is
    how many administrators it has.
    """
    with pipeline.runtime.database.transaction() as session:
        people = [make_user(session) for _ in range(own)]
        account = make_account(session)
        for person in people:
            join(session, person, account)
        member = make_user(session)
        join(session, member, account, Role.LOCAL_MEMBER)
        if origin is not None:
            attach(session, pipeline.main.id, account.id, origin, pipeline.clock.now)
        session.add(new_contract(account.id, [PriceLine("trunk-10", 990, 0)], first_moment(BEGAN), None, terms))
        return account, [person.email for person in people]


def told_on(pipeline: Pipeline, day: date) -> list[str]:
    """Go to the day, run the job, send mails, and return the recipients of new mails about extensions."""
    pipeline.clock.now = first_moment(day) + timedelta(hours=12)
    pipeline.mailer.sent.clear()
    pipeline.run("renewals")
    pipeline.send()
    return sorted(mail.recipient_address for mail in pipeline.mailer.sent if "verlängert sich" in mail.subject)


def test_who_may_cancel_is_reminded_once_before_each_extension(pipeline: Pipeline) -> None:
    account, own = make_site(pipeline)
    assert told_on(pipeline, FIRST - timedelta(days=1)) == []
    assert told_on(pipeline, FIRST) == sorted([*own, pipeline.manager.email])
    [mail] = [mail for mail in pipeline.mailer.sent if mail.recipient_address == own[0]]
    text = " ".join(mail.text.split())
    for said in (
        "14. März 2027", "kündigen Sie ihn bis zum 14. Februar 2027", "SIP-Trunk mit 10 Kanälen",
        f"/standortverwaltung/{account.customer_number}/kuendigung", "Verlängerung in Monaten: 12",
    ):  # fmt: skip
        assert said in text
    for day in (FIRST + timedelta(days=1), LAST, LAST + timedelta(days=1), date(2027, 3, 15), date(2028, 1, 14)):
        assert told_on(pipeline, day) == []
    assert told_on(pipeline, date(2028, 1, 15)) == sorted([*own, pipeline.manager.email])
    assert told_on(pipeline, date(2028, 1, 16)) == []


@pytest.mark.parametrize("origin", [None, Origin.LINK])
def test_an_account_that_pays_for_itself_is_told_alone(pipeline: Pipeline, origin: Origin | None) -> None:
    _, own = make_site(pipeline, origin, own=2)
    assert told_on(pipeline, FIRST) == sorted(own)


def test_who_becomes_an_administrator_meanwhile_is_told_and_nobody_twice(pipeline: Pipeline) -> None:
    account, own = make_site(pipeline, None)
    assert told_on(pipeline, FIRST) == own
    with pipeline.runtime.database.transaction() as session:
        late = make_user(session)
        join(session, late, session.get_one(Account, account.id))
    assert told_on(pipeline, LAST) == [late.email]


@pytest.mark.parametrize("terms", [ContractTerms(), ContractTerms(12, 1, 0), ContractTerms(0, 1, 12)])
def test_a_contract_that_is_not_extended_is_not_told_of(pipeline: Pipeline, terms: ContractTerms) -> None:
    make_site(pipeline, terms=terms)
    assert told_on(pipeline, FIRST) == told_on(pipeline, LAST) == []


def test_there_is_no_reminder_while_a_cancellation_runs_and_one_when_it_was_taken_back(pipeline: Pipeline) -> None:
    account, own = make_site(pipeline, None)
    pipeline.clock.now = first_moment(FIRST - timedelta(days=10))
    with pipeline.runtime.database.transaction() as session:
        person = principal_of(session, session.scalars(sa.select(User).where(User.email == own[0])).one())
        own_account = session.get_one(Account, account.id)
        id = submit_cancellation(session, person, own_account, None, "de", pipeline.clock.now).id
    assert told_on(pipeline, FIRST) == []
    with pipeline.runtime.database.transaction() as session:
        cancelled = session.get_one(Request, id, with_for_update=True)
        cancel_and_release(cancelled, Reason.CANCELLED_BY_REQUESTER, pipeline.clock.now)
    assert told_on(pipeline, FIRST + timedelta(days=1)) == own


@pytest.mark.parametrize("gone", ["contract", "account"])
def test_what_has_ended_is_not_told_of(pipeline: Pipeline, gone: str) -> None:
    account, _ = make_site(pipeline, None)
    with pipeline.owner.transaction() as session:
        if gone == "contract":
            session.scalars(sa.select(Contract)).one().end(first_moment(FIRST))
        else:
            session.get_one(Account, account.id).state = AccountState.CLOSED
    assert told_on(pipeline, FIRST) == []


def test_an_extension_of_which_nobody_can_be_told_is_counted(pipeline: Pipeline) -> None:
    make_site(pipeline, None, own=0)
    pipeline.clock.now = first_moment(FIRST)
    assert pipeline.run("renewals").counts["nobody"] == 1


def test_more_than_a_batch_and_a_run_that_dies_between_two(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(renewals, "BATCH", 2)
    addresses: Sequence[str] = [make_site(pipeline, None)[1][0] for _ in range(5)]
    calls = 0

    def die(*facts: object) -> int | None:
        nonlocal calls
        calls += 1
        if calls == 4:
            raise RuntimeError("the worker dies")
        return remind(*facts)  # type: ignore[arg-type]

    monkeypatch.setattr(renewals, "remind", die)
    # The first batch of two is committed, and the second one is not.
    assert told_on(pipeline, FIRST) == sorted(addresses[:2])
    monkeypatch.setattr(renewals, "remind", remind)
    assert told_on(pipeline, FIRST + timedelta(days=1)) == sorted(addresses[2:])
    assert told_on(pipeline, FIRST + timedelta(days=2)) == []
