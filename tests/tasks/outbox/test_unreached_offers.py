"""Tests that the back office lists an offer of a collective invoice if all mails about the offer were refused."""

from __future__ import annotations

from datetime import timedelta

import pytest

from models.accounts.accounts import Account
from models.accounts.hierarchy import attach
from models.links.invoice_membership import answer_offer, offer_invoice, withdraw_offer
from models.messages.outbox import Recipient
from models.people.users import User, principal_of
from models.staff.administrators import name_administrator
from models.states import Origin
from models.views.unreached_offers import unreached_offers
from tasks.ports import GatewayRefused
from tests.factories import join, make_account, make_user
from tests.tasks.conftest import Pipeline


def make_site(pipeline: Pipeline, people: int = 1) -> tuple[Account, list[User]]:
    """Create a linked sub-account with `people` administrators, and make the mail server refuse the next mail to each.

    Return the account and the administrators.
    """
    with pipeline.runtime.database.transaction() as session:
        account, owners = make_account(session), [make_user(session) for _ in range(people)]
        for owner in owners:
            join(session, owner, account)
            pipeline.mailer.failures[owner.email] = [GatewayRefused("550")]
        attach(session, pipeline.main.id, account.id, Origin.LINK, pipeline.clock.now)
        return account, owners


def offer(pipeline: Pipeline, account: Account) -> None:
    """Offer to pay for the account by collective invoice, and let the workers send the mails.

    The main account's manager makes the offer.
    """
    with pipeline.runtime.database.transaction() as session:
        offer_invoice(session, pipeline.manager, session.get_one(Account, account.id), pipeline.clock.now)
    pipeline.send()


def cases(pipeline: Pipeline) -> list[int]:
    """Return the ids of the accounts whose offers are listed in the back office."""
    with pipeline.runtime.database.transaction() as session:
        found = unreached_offers(session, pipeline.clock.now)
        assert all(case.main.id == pipeline.main.id and case.since <= pipeline.clock.now < case.until for case in found)
        return [case.account.id for case in found]


def test_an_offer_whose_mails_are_all_refused_is_a_case(pipeline: Pipeline) -> None:
    account, _ = make_site(pipeline, 2)
    offer(pipeline, account)
    assert cases(pipeline) == [account.id]
    pipeline.clock.advance(timedelta(days=15))
    assert cases(pipeline) == []


def test_an_offer_that_reaches_one_of_two_is_none(pipeline: Pipeline) -> None:
    account, owners = make_site(pipeline, 2)
    del pipeline.mailer.failures[owners[0].email]
    offer(pipeline, account)
    assert cases(pipeline) == []


def test_an_administrator_who_joins_later_gets_the_offer_once(pipeline: Pipeline) -> None:
    account, [first] = make_site(pipeline)
    offer(pipeline, account)
    with pipeline.runtime.database.transaction() as session:
        newcomer = make_user(session, name="Ida Neu")
        join(session, newcomer, session.get_one(Account, account.id))
    for _ in range(2):
        pipeline.run("proofs")
        pipeline.send()
    [mail] = [mail for mail in pipeline.mailer.sent if mail.recipient_address == newcomer.email]
    assert account.customer_number in mail.text and "/sammelrechnung" in mail.text
    assert "Ida Neu" in mail.text and first.name not in mail.text
    assert cases(pipeline) == []


@pytest.mark.parametrize("end", ["answered", "withdrawn", "named", "joined", "asked again"])
def test_the_case_ends_with_its_cause(pipeline: Pipeline, end: str) -> None:
    account, [owner] = make_site(pipeline)
    offer(pipeline, account)
    now = pipeline.clock.now
    with pipeline.runtime.database.transaction() as session:
        own, person = session.get_one(Account, account.id), principal_of(session, session.get_one(User, owner.id))
        match end:
            case "answered":
                answer_offer(session, person, own, now, agrees=False)
            case "withdrawn" | "asked again":
                withdraw_offer(session, pipeline.manager, own, now)
            case "named":
                staff = principal_of(session, make_user(session, is_staff=True))
                name_administrator(session, staff, own, Recipient("Ida", "ida@example.com", "de"), "Register", now)
            case "joined":
                join(session, make_user(session), own)
    if end == "asked again":
        pipeline.clock.advance(timedelta(days=2))
        offer(pipeline, account)
    assert cases(pipeline) == []
