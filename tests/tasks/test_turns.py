"""Tests that workers serve companies in turn.

A company with many due mails or trunks must not delay the single mail or trunk of another company.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from models.accounts.accounts import Account
from models.accounts.hierarchy import attach
from models.messages.outbox import Recipient, queue_message
from models.people.rights import Principal
from models.states import Origin
from models.telephony.trunks import SipTrunk
from tests.due_work import sync_registrar
from tests.factories import an_order, make_account, make_main, prove_contact
from tests.tasks.conftest import Pipeline
from tests.tasks.outbox.test_send import SlowMailer
from tests.web.portal.accounts.sites import make_trunk

Company = tuple[Account, Principal]


@pytest.fixture
def companies(pipeline: Pipeline) -> list[Company]:
    """Create a second main account with the proofs that the example order needs.

    Return the pipeline's main account and this one, each with its manager.
    """
    with pipeline.runtime.database.transaction() as session:
        main, manager = make_main(session)
        prove_contact(session, main)
    return [(pipeline.main, pipeline.manager), (main, manager)]


def queue(pipeline: Pipeline, company: Company, name: str, count: int) -> None:
    """Place an order of the company, and queue `count` mails about it to NAME@example.com.

    They are a second newer than all mails so far.
    """
    pipeline.manager = company[1]
    request = pipeline.order(an_order(), company[0])
    now = pipeline.clock.advance(timedelta(seconds=1))
    with pipeline.runtime.database.transaction() as session:
        to = Recipient(name, f"{name}@example.com", "de")
        facts = {"path": "/", "email": to.address}
        for place in range(count):
            queue_message(session, request, "password_reset", to, facts, now, occasion=str(place))


def make_due(pipeline: Pipeline, company: Company | None, first: int, count: int) -> list[str]:
    """Create `count` sub-accounts of the company, each with a trunk that is due to be written to the registrar.

    The trunks are due a second after all others so far. `company` None: the accounts have no main account. `first` is
    the number in the first trunk's SIP user. Return the SIP users.
    """
    now = pipeline.clock.advance(timedelta(seconds=1))
    users = [f"t{number:012d}" for number in range(first, first + count)]
    with pipeline.runtime.database.transaction() as session:
        for user in users:
            account = make_account(session)
            if company is not None:
                attach(session, company[0].id, account.id, Origin.LINK, now)
            trunk = session.get_one(SipTrunk, make_trunk(session, account, user))
            trunk.secret = pipeline.runtime.vault.seal("a secret")
            trunk.changed(now)
    return users


def test_a_company_with_many_mails_does_not_hold_up_those_of_others(
    pipeline: Pipeline, companies: list[Company]
) -> None:
    many, one = companies
    queue(pipeline, many, "many", 2 * pipeline.runtime.batch)
    queue(pipeline, one, "one", 1)
    pipeline.send()
    assert "one@example.com" in {mail.recipient_address for mail in pipeline.mailer.sent}
    # The batch was full all the same.
    assert len(pipeline.mailer.sent) == pipeline.runtime.batch


@pytest.mark.parametrize("count", [28, 200], ids=["in one batch", "in several"])
def test_a_slow_mail_server_sends_the_mails_of_companies_in_turns(
    pipeline: Pipeline, companies: list[Company], count: int
) -> None:
    mailer = SlowMailer(clock=pipeline.clock)
    pipeline.runtime = replace(pipeline.runtime, ports=replace(pipeline.runtime.ports, mailer=mailer))
    many, one = companies
    queue(pipeline, many, "many", count)
    queue(pipeline, one, "one", 1)
    sent = 0
    while not any(mail.recipient_name == "one" for mail in mailer.sent):
        pipeline.send()
        sent += 1
        # Each claim begins with the one or the other by chance. The order's receipt comes before this mail.
        assert len(mailer.sent) == sent < 28


def test_a_company_with_many_changed_trunks_does_not_hold_up_those_of_others(
    pipeline: Pipeline, companies: list[Company]
) -> None:
    many, one = companies
    make_due(pipeline, many, 1, 2 * pipeline.runtime.batch)
    singles = {*make_due(pipeline, one, 1001, 1), *make_due(pipeline, None, 1002, 1)}
    sync_registrar(pipeline.runtime)
    assert singles <= pipeline.registrar.trunks.keys()
    assert len(pipeline.registrar.trunks) == pipeline.runtime.batch
