"""Tests of detaching a sub-account at once: what it keeps, and which mails go to whom."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from models.accounts.accounts import Account
from models.links.links import submit_detach
from models.messages.outbox import Message
from models.people.rights import Role
from models.people.users import User, principal_of
from models.staff.sign_in_access import disable
from models.states import AccountRole, Kind, Status
from tests.factories import a_link, join, make_main, make_user
from tests.tasks.conftest import Pipeline


def test_a_detached_account_keeps_what_is_its_own_and_both_sides_are_told(
    pipeline: Pipeline, owned: tuple[Account, User, User]
) -> None:
    account, one, two = owned
    link = pipeline.link(a_link(account, email=one.email))
    pipeline.advance()
    pipeline.mailer.sent.clear()
    with pipeline.runtime.database.transaction() as session:
        attached = session.get_one(Account, account.id)
        address = (attached.street, attached.postal_code, attached.city)
        detach = submit_detach(session, pipeline.manager, attached, "de", pipeline.clock.now)
        assert detach.kind is Kind.DETACH
        id = detach.id
    pipeline.advance()
    assert pipeline.request(link).status is pipeline.request(id).status is Status.COMPLETED
    assert pipeline.codes(id)[:3] == ["detach_received", "detached", "completed"]
    assert {mail.recipient_address for mail in pipeline.mailer.but_receipts} == {
        pipeline.manager.email,
        one.email,
        two.email,
    }
    with pipeline.runtime.database.transaction() as session:
        free = session.get_one(Account, account.id)
        assert (free.role, free.main_id, free.origin) == (AccountRole.STANDALONE, None, None)
        assert (free.street, free.postal_code, free.city) == address
    # It can be attached again, and by somebody else too.
    with pipeline.runtime.database.transaction() as session:
        elsewhere, manager = make_main(session)
    moved = pipeline.link(a_link(account, email=one.email), manager, elsewhere)
    pipeline.advance()
    assert pipeline.request(moved).status is Status.COMPLETED


def test_whichever_side_asks_for_a_detach_each_side_reads_what_is_true_for_it(
    pipeline: Pipeline, owned: tuple[Account, User, User]
) -> None:
    account, one, two = owned
    with pipeline.runtime.database.transaction() as session:
        local = make_user(session)
        join(session, local, account, Role.LOCATION_MANAGER)
        colleague = make_user(session)
        join(session, colleague, pipeline.main, Role.LOCATION_MANAGER)
        head = session.get_one(User, pipeline.manager.user_id)
        asking = [
            (one, {head.email}, {one.email, two.email}),
            (local, {head.email}, {local.email, one.email, two.email}),
            (colleague, {head.email, colleague.email}, {one.email, two.email}),
            (head, {head.email}, {one.email, two.email}),
        ]
    for person, ours, theirs in asking:
        pipeline.link(a_link(account, email=one.email))
        pipeline.advance()
        with pipeline.runtime.database.transaction() as session:
            principal = principal_of(session, session.get_one(User, person.id))
            attached = session.get_one(Account, account.id)
            id = submit_detach(session, principal, attached, "de", pipeline.clock.now).id
        pipeline.advance()
        with pipeline.runtime.database.transaction() as session:
            query = sa.select(Message.template, Message.recipient_address).where(Message.request_id == id)
            told = sorted((template, to) for template, to in session.execute(query) if "completed" in template)
        expected = [("detach_completed", to) for to in ours] + [("detach_completed_owner", to) for to in theirs]
        assert told == sorted(expected)


@pytest.mark.parametrize("of_main", [True, False])
def test_who_is_shut_out_gets_no_mail_about_the_detachment_that_they_asked_for(
    pipeline: Pipeline, owned: tuple[Account, User, User], of_main: bool
) -> None:
    account, one, two = owned
    pipeline.link(a_link(account, email=one.email))
    pipeline.advance()
    with pipeline.runtime.database.transaction() as session:
        asking = session.get_one(User, pipeline.manager.user_id if of_main else one.id)
        attached = session.get_one(Account, account.id)
        id = submit_detach(session, principal_of(session, asking), attached, "de", pipeline.clock.now).id
        disable(session, asking, pipeline.clock.now)
    pipeline.advance()
    with pipeline.runtime.database.transaction() as session:
        told = set(session.scalars(sa.select(Message.recipient_address).where(Message.request_id == id)))
    assert pipeline.request(id).status is Status.COMPLETED
    assert told == ({one.email, two.email} if of_main else {pipeline.manager.email, two.email})
