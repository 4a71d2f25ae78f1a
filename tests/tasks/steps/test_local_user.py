"""Tests that the local user, whom an order names, is invited once, when the account is active."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

import pytest
import sqlalchemy as sa

from models.accounts.accounts import Account
from models.messages.outbox import Recipient
from models.orders.orders import LocalUser
from models.people import invitations
from models.people.invitations import Invitation, invite
from models.people.members import remove_user
from models.people.rights import Role
from models.people.users import User, principal_of
from models.states import Status
from tasks.bulk.place import place_due
from tests.factories import NOW, an_order, join, make_bulk, make_user, sites
from tests.tasks.conftest import Pipeline

ANNA = LocalUser("Anna Filiale", "Anna@Filiale.example")
ORDER = an_order(local_user=ANNA)


def invited(pipeline: Pipeline) -> list[Invitation]:
    """Return all invitations in the database."""
    with pipeline.runtime.database.transaction() as session:
        return list(session.scalars(sa.select(Invitation)))


def work(pipeline: Pipeline) -> list[str]:
    """Do one batch of all due work; return the texts of all mails so far to Anna, the local user."""
    pipeline.advance()
    pipeline.send()
    return [mail.text for mail in pipeline.mailer.sent if mail.recipient_address == "anna@filiale.example"]


def completion_mails(pipeline: Pipeline) -> list[str]:
    """Return the texts of the mails which tell that the account is set up, without line breaks."""
    texts = [" ".join(mail.text.split()) for mail in pipeline.mailer.sent]
    return [text for text in texts if "ist eingerichtet" in text]


def test_the_named_person_is_invited_once_as_administrator_when_the_account_is_active(pipeline: Pipeline) -> None:
    id = pipeline.order(ORDER)
    assert invited(pipeline) == []
    [mail] = work(pipeline)
    request = pipeline.request(id)
    assert request.status is Status.COMPLETED
    assert pipeline.codes(id).count("local_user_invited") == 1
    [found] = invited(pipeline)
    assert (found.account_id, found.email, found.role) == (request.account_id, ANNA.email.lower(), Role.ADMINISTRATOR)
    assert (found.invited_by, found.by_order) == (pipeline.manager.user_id, True)
    text = " ".join(mail.split())
    said = f"{pipeline.manager.name} vom Hauptaccount {pipeline.main.customer_number} ({pipeline.main.name}) hat Sie"
    assert said in text and request.customer_number in text
    assert work(pipeline) == [mail] and len(invited(pipeline)) == 1
    completed = completion_mails(pipeline)
    told = "Anna Filiale erhält eine E-Mail mit einer Einladung, sich an diesem Standort anzumelden."
    assert len(completed) == 2 and all(told in one for one in completed)


def test_an_order_that_names_nobody_invites_nobody(pipeline: Pipeline) -> None:
    pipeline.order(an_order())
    work(pipeline)
    assert invited(pipeline) == []
    completed = completion_mails(pipeline)
    assert completed and not any("Einladung" in one for one in completed)


def test_the_contact_reads_what_concerns_the_location_and_not_the_order(pipeline: Pipeline) -> None:
    contact = ORDER.contact
    pipeline.order(replace(ORDER, local_user=LocalUser(contact.name, contact.email.upper())))
    pipeline.order(an_order())
    work(pipeline)
    ordered = [text for text in completion_mails(pipeline) if "SIP-Benutzer" in text]
    own = [text for text in completion_mails(pipeline) if "SIP-Benutzer" not in text]
    assert len(ordered) == len(own) == 2
    assert all(text.startswith(f"Guten Tag {pipeline.manager.name}") and "€" in text for text in ordered)
    for text in own:
        assert text.startswith(f"Guten Tag {contact.name}") and pipeline.main.name in text
        assert "€" not in text and "Nebenaccount" not in text and "110 und 112" in text
    assert sorted("Sie brauchen dafür nichts zu tun." in text for text in own) == [False, True]
    assert sorted("lädt Sie ein, sich im Kundenportal anzumelden" in text for text in own) == [False, True]


def test_a_person_of_the_main_account_is_not_invited(pipeline: Pipeline) -> None:
    id = pipeline.order(an_order(local_user=LocalUser("Selbst", pipeline.manager.email.upper())))
    work(pipeline)
    assert invited(pipeline) == [] and "local_user_leads" in pipeline.codes(id)


@pytest.mark.parametrize("left", ["another", "nobody"])
def test_an_order_keeps_its_word_after_the_person_who_ordered_has_left(pipeline: Pipeline, left: str) -> None:
    with pipeline.runtime.database.transaction() as session:
        other = make_user(session, name="Olga Zweite")
        main = session.get_one(Account, pipeline.main.id)
        join(session, other, main)
        boss = principal_of(session, other)
    id = pipeline.order(ORDER)
    with pipeline.runtime.database.transaction() as session:
        main = session.get_one(Account, pipeline.main.id)
        remove_user(session, boss, main, pipeline.manager.user_id, NOW)
        session.flush()
        if left == "nobody":
            session.execute(sa.text("DELETE FROM memberships"))
    mails = work(pipeline)
    assert pipeline.request(id).status is Status.COMPLETED
    if left == "nobody":
        assert mails == [] and "local_user_not_invited" in pipeline.codes(id)
    else:
        assert "Olga Zweite vom Hauptaccount" in " ".join(mails[0].split())


def test_the_invitations_of_orders_do_not_count_against_the_limit(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(invitations, "OPEN_PER_INVITER", 1)
    with pipeline.runtime.database.transaction() as session:
        main = session.get_one(Account, pipeline.main.id)
        drafts = [replace(site, local_user=LocalUser("A", f"{site.location.name[-1]}@x.example")) for site in sites(3)]
        make_bulk(session, pipeline.manager, main, drafts).send(NOW)
    place_due(pipeline.runtime, lambda: None)
    pipeline.advance()
    assert [found.by_order for found in invited(pipeline)] == [True] * 3
    with pipeline.runtime.database.transaction() as session:
        main = session.get_one(Account, pipeline.main.id)
        invite(session, pipeline.manager, main, Recipient("B", "b@x.example", "de"), Role.LOCAL_MEMBER, NOW)


def test_a_removed_manager_keeps_no_invitation_but_an_orders_person_keeps_theirs(pipeline: Pipeline) -> None:
    id: UUID = pipeline.order(ORDER)
    work(pipeline)
    with pipeline.runtime.database.transaction() as session:
        boss = principal_of(session, _second(session, pipeline))
        site = session.get_one(Account, pipeline.request(id).account_id)
        invite(session, pipeline.manager, site, Recipient("P", "private@x.example", "de"), Role.ADMINISTRATOR, NOW)
    with pipeline.runtime.database.transaction() as session:
        remove_user(session, boss, session.get_one(Account, pipeline.main.id), pipeline.manager.user_id, NOW)
    assert [found.email for found in invited(pipeline)] == ["anna@filiale.example"]


def _second(session: sa.orm.Session, pipeline: Pipeline) -> User:
    other = make_user(session)
    join(session, other, session.get_one(Account, pipeline.main.id))
    return other
