"""Tests of the scheduled job `renewals`: who is reminded before an extension of a contract, once and in one mail."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date, timedelta

import pytest
import sqlalchemy as sa

from models.accounts.accounts import Account
from models.accounts.hierarchy import attach
from models.calendar_days import first_moment
from models.changes import renewals as rules
from models.changes.cancellations import submit_cancellation
from models.changes.renewals import RENEWAL_MAIL, remind
from models.contracts.catalogue import PriceLine
from models.contracts.contracts import Contract, new_contract
from models.contracts.terms import ContractTerms
from models.messages.outbox import Recipient, queue_message
from models.orders.orders import cancel_and_release
from models.people.rights import Role
from models.people.users import User, principal_of
from models.requests.requests import Request
from models.states import AccountState, Origin, Reason
from tasks.reconcile import renewals
from tests.factories import join, make_account, make_user
from tests.tasks.conftest import Pipeline

YEARLY, INDEFINITE = ContractTerms(12, 1, 12), ContractTerms(12, 1, 0)
SUBJECTS = re.compile("verlängert sich|verlängern sich|läuft nach dem")
BEGAN = date(2026, 3, 15)
"""The day on which the contracts begin.

Their first term ends with 14 March 2027; 14 February is the last day on which notice can be given.
"""
FIRST, LAST = date(2027, 1, 15), date(2027, 2, 14)
"""The first and the last day on which the reminder is queued."""


def make_site(
    pipeline: Pipeline, origin: Origin | None = Origin.ORDER, terms: ContractTerms = YEARLY, own: int = 1
) -> tuple[Account, list[str]]:
    """Create an account with a contract that began on `BEGAN`. Return it, and the addresses of its administrators.

    `origin` is how it was attached to the pipeline's main account; None: it stands alone. `terms` are the contract's
    terms. `own` is how many administrators the account has.
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
    """Run the job at noon of the day, and send mails; return the recipients of the mails about extensions."""
    pipeline.clock.now = first_moment(day) + timedelta(hours=12)
    pipeline.mailer.sent.clear()
    pipeline.run("renewals")
    pipeline.send()
    return sorted(mail.recipient_address for mail in pipeline.mailer.sent if SUBJECTS.search(mail.subject))


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


@pytest.mark.parametrize("terms", [ContractTerms(), ContractTerms(0, 1, 12)])
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


def test_a_contract_that_goes_on_for_an_indefinite_time_is_told_of_once(pipeline: Pipeline) -> None:
    _, own = make_site(pipeline, None, INDEFINITE)
    assert told_on(pipeline, FIRST - timedelta(days=1)) == []
    assert told_on(pipeline, FIRST) == own
    [mail] = pipeline.mailer.sent
    text = " ".join(mail.text.split())
    for said in ("auf unbestimmte Zeit weiter", "Verlängerung in Monaten: unbestimmte Zeit", "14. Februar 2027"):
        assert said in text
    for day in (LAST, LAST + timedelta(days=1), date(2028, 1, 15)):
        assert told_on(pipeline, day) == []


def test_who_administers_many_sites_gets_one_mail_with_their_list(pipeline: Pipeline) -> None:
    sites = [make_site(pipeline, terms=YEARLY if place else INDEFINITE) for place in range(3)]
    assert told_on(pipeline, FIRST) == sorted([pipeline.manager.email, *(own[0] for _, own in sites)])
    [mail] = [mail for mail in pipeline.mailer.sent if mail.recipient_address == pipeline.manager.email]
    assert mail.subject.startswith("3 Verträge")
    table = [line for line in mail.text.splitlines() if "14. Februar 2027" in line]
    assert len(table) == 3 and mail.html.count("<tr") == 4
    for account, _ in sites:
        [line] = [line for line in table if line.startswith(account.customer_number)]
        assert (
            line.endswith(account.name) and f'<td style="padding:4px 12px 4px 0">{account.customer_number}' in mail.html
        )
    assert len({line.index("14. Februar 2027") for line in table}) == len(
        {line.index("14. März 2027") for line in table}
    )
    assert sum("unbestimmte Zeit" in line for line in table) == 1
    assert mail.text.count("/standortverwaltung\n") == 1
    assert told_on(pipeline, FIRST + timedelta(days=1)) == []


def test_a_long_list_goes_on_the_next_day_and_what_is_urgent_does_not_wait(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rules, "MOST_LISTED", 2)
    numbers = [make_site(pipeline, own=0)[0].customer_number for _ in range(5)]

    def listed(day: date) -> list[str]:
        told_on(pipeline, day)
        return [number for mail in pipeline.mailer.sent for number in numbers if number in mail.text]

    assert listed(FIRST) == numbers[:2]
    assert (
        "Weitere Verträge" in pipeline.mailer.sent[0].text and "der nächsten Tage: 3." in pipeline.mailer.sent[0].text
    )
    assert listed(LAST - timedelta(days=8)) == numbers[2:4]
    assert listed(LAST - timedelta(days=7)) == numbers[4:]
    assert listed(LAST) == []


def test_what_is_urgent_is_listed_however_much_it_is(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "MOST_LISTED", 2)
    for _ in range(5):
        make_site(pipeline, own=0)
    assert told_on(pipeline, LAST - timedelta(days=7)) == [pipeline.manager.email]
    assert pipeline.mailer.sent[0].subject.startswith("5 Verträge")


def test_what_an_older_version_has_told_is_not_told_again(pipeline: Pipeline) -> None:
    sites = [make_site(pipeline, own=0)[0] for _ in range(2)]
    with pipeline.runtime.database.transaction() as session:
        known = session.scalars(sa.select(Contract.id).where(Contract.account_id == sites[0].id)).one()
        to = Recipient("", pipeline.manager.email, "de")
        occasion = f"{known}/2027-03-14"
        # About one contract, as older versions have queued them.
        facts = {
            "customer_number": sites[0].customer_number, "account_name": "", "products": [], "renewal_months": 12,
            "notice_months": 1, "ends_at": pipeline.clock.now.isoformat(), "path": "/kuendigung",
            "notice_until": pipeline.clock.now.isoformat(),
        }  # fmt: skip
        at = first_moment(FIRST)
        queue_message(session, None, RENEWAL_MAIL, to, facts, at, occasion=occasion)
    told_on(pipeline, FIRST + timedelta(days=1))
    assert [sites[1].customer_number in mail.subject for mail in pipeline.mailer.sent] == [False, True]


def test_more_than_a_batch_and_a_run_that_dies_between_two(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(renewals, "BATCH", 2)
    monkeypatch.setattr(renewals, "PEOPLE", 2)
    addresses: Sequence[str] = [make_site(pipeline, None)[1][0] for _ in range(5)]
    calls = 0

    def die(*facts: object) -> int:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise RuntimeError("the worker dies")
        return remind(*facts)  # type: ignore[arg-type]

    monkeypatch.setattr(renewals, "remind", die)
    # The mails of the first two people are committed, and no others.
    assert told_on(pipeline, FIRST) == sorted(addresses[:2])
    monkeypatch.setattr(renewals, "remind", remind)
    assert told_on(pipeline, FIRST + timedelta(days=1)) == sorted(addresses[2:])
    assert told_on(pipeline, FIRST + timedelta(days=2)) == []
