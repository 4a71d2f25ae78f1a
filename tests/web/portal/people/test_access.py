"""Tests of the console commands with which the carrier gives people access, or takes it away.

A person who is given access gets a mail with a link to set the first password.
"""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
import sqlalchemy as sa

from models.accounts.accounts import Account
from models.db.session import Database
from models.messages.outbox import Recipient
from models.people.audit_log import AuditEntry
from models.people.invitations import Invitation
from models.people.login_sessions import begin_login
from models.people.rights import Role
from models.people.users import User, administrators_of, principal_of
from models.proofs.link_codes import create_link_code
from models.proofs.proofs import LinkCode
from models.staff.sign_in_access import add_first_administrator, create_staff, disable, enable, mail_access
from tests.factories import NOW, PASSWORD, give_app, join, make_account, make_user
from tests.second_factor import app_codes
from tests.web.api.calls import a_link
from tests.web.conftest import Back, Front
from tests.web.html import assert_valid
from tests.web.portal.page.test_portal import csrf, sign_in
from tests.web.portal.people.forms import NEW, invite, link_to, post
from web.resources import resources


def shut_out(back: Back, user_id: int) -> None:
    with back.runtime.database.transaction() as session:
        assert disable(session, session.get_one(User, user_id), back.clock())
        assert not disable(session, session.get_one(User, user_id), back.clock())


def let_in_again(back: Back, user_id: int) -> None:
    with back.runtime.database.transaction() as session:
        assert enable(session, session.get_one(User, user_id), back.clock())


@pytest.mark.parametrize("is_staff", [True, False])
def test_the_link_sets_the_first_password_for_seven_days(front: Front, back: Back, is_staff: bool) -> None:
    to = Recipient("Jo Neu", "jo@example.com", "de")
    with back.runtime.database.transaction() as session:
        account = None if is_staff else session.get_one(Account, make_account(session).id)
        if account is None:
            user = create_staff(session, to, NOW).user
        else:
            user = add_first_administrator(session, account, to, NOW).user
        mail_access(session, user, account, NOW)
    path = link_to(back, to.address)
    back.clock.advance(timedelta(days=7, seconds=-1))
    shown = front.client.get(path)
    assert shown.status_code == 200
    assert_valid(shown.text)
    assert post(front.client, path, password=NEW).location == "/anmelden"
    assert front.client.get(path).status_code == 404
    assert sign_in(front, to.address, NEW)[0] == 302
    where = front.client.get("/backoffice" if is_staff else "/standortverwaltung", follow_redirects=True)
    # Staff reach nothing before they have a second factor.
    assert ("zweiten Faktor" in where.text) is is_staff


def test_the_link_ends_after_seven_days_and_others_fit_nobody(front: Front, back: Back) -> None:
    to = Recipient("Jo Neu", "jo@example.com", "de")
    with back.runtime.database.transaction() as session:
        user = create_staff(session, to, NOW).user
        mail_access(session, user, None, NOW)
    path = link_to(back, to.address)
    later = re.sub(r"/(\d+)/([^/]+)$", lambda found: f"/{int(found[1]) + 60}/{found[2]}", path)
    assert front.client.get(later).status_code == 404
    back.clock.advance(timedelta(days=7))
    assert front.client.get(path).status_code == 404
    # The usual way to a password is left, whose link is good for an hour only.
    assert post(front.client, "/passwort", email=to.address).status_code == 303
    path = link_to(back, to.address)
    assert front.client.get(path).status_code == 200
    back.clock.advance(timedelta(hours=1))
    assert front.client.get(path).status_code == 404


def test_who_is_shut_out_is_nowhere_in_and_has_no_way_back(front: Front, back: Back) -> None:
    person = front.manager
    sign_in(front, person.email)
    assert invite(front, "own.other.address@example.com", Role.ADMINISTRATOR).status_code == 303
    invitation = link_to(back, "own.other.address@example.com")
    stranger = front.client.application.test_client()
    assert post(stranger, "/passwort", email=person.email).status_code == 303
    reset = link_to(back, person.email)
    assert front.get("/accounts").status_code == 200
    shut_out(back, person.user_id)
    assert front.client.get("/standortverwaltung").status_code == 302
    assert front.get("/accounts").status_code == 401
    assert sign_in(front, person.email)[0] == 422
    assert stranger.get(reset).status_code == 404
    assert stranger.get(invitation).status_code == 404
    back.clock.advance(timedelta(minutes=20))
    back.advance()
    before = len(back.mailer.sent)
    assert post(stranger, "/passwort", email=person.email).status_code == 303
    back.advance()
    assert [mail.subject for mail in back.mailer.sent[before:]] == []
    with back.runtime.database.transaction() as session:
        entry = session.scalars(sa.select(AuditEntry).where(AuditEntry.deed == "login_disabled")).one()
        assert (entry.account_id, entry.by_staff, entry.user_id) == (front.main.id, True, None)
        assert entry.facts == {"user_id": person.user_id}
        # The account counts as one that nobody can administer, so that staff can name somebody.
        assert administrators_of(session, front.main.id) == []
        assert session.scalars(sa.select(Invitation)).all() == []
        assert enable(session, session.get_one(User, person.user_id), back.clock())
        assert not enable(session, session.get_one(User, person.user_id), back.clock())
    # A link from before stays void, and a new one is good.
    assert stranger.get(reset).status_code == 404
    assert post(stranger, "/passwort", email=person.email).status_code == 303
    assert stranger.get(link_to(back, person.email)).status_code == 200
    assert sign_in(front, person.email)[0] == 302
    page = front.client.get(f"/benutzer/{front.main.customer_number}").text
    assert person.email in page
    # What has ended stays so.
    assert front.get("/accounts").status_code == 401
    back.advance()
    subjects = [mail.subject for mail in back.mailer.sent if mail.recipient_address == person.email]
    assert "Ihr Zugang zum Kundenportal ist gesperrt" in subjects
    assert "Ihr Zugang zum Kundenportal ist wieder frei" in subjects


def test_who_is_shut_out_between_password_and_second_factor_does_not_get_in(
    front: Front, back: Back, owner_database: Database
) -> None:
    with owner_database.transaction() as session:
        give_app(session, session.get_one(User, front.manager.user_id))
    form = front.client.get("/anmelden").text
    fields = {"csrf_token": csrf(form), "email": front.manager.email, "password": PASSWORD}
    second = front.client.post("/anmelden", data=fields)
    assert "/anmelden/faktor" in second.text
    token = csrf(second.text)
    shut_out(back, front.manager.user_id)
    with front.client.application.app_context():
        code = app_codes(resources().clock())[0]
    answer = front.client.post("/anmelden/faktor", data={"csrf_token": token, "code": code})
    assert answer.status_code == 302 and answer.location.startswith("/anmelden")
    assert front.client.get("/standortverwaltung").status_code == 302


def test_a_login_that_begins_while_its_person_is_shut_out_is_none(front: Front, back: Back) -> None:
    shut_out(back, front.manager.user_id)
    with back.runtime.database.transaction() as session:
        _, secret = begin_login(session, session.get_one(User, front.manager.user_id), "", "", back.clock())
    with front.client.session_transaction() as kept:
        kept["_user_id"] = secret
    assert front.client.get("/standortverwaltung").status_code == 302


def test_an_invitation_does_not_let_in_who_is_shut_out(front: Front, back: Back) -> None:
    with back.runtime.database.transaction() as session:
        member = make_user(session)
        id, email = member.id, member.email
    sign_in(front, front.manager.email)
    invite(front, email, Role.ADMINISTRATOR)
    path = link_to(back, email)
    shut_out(back, id)
    stranger = front.client.application.test_client()
    assert stranger.get(path).status_code == 404
    invite(front, email, Role.ADMINISTRATOR)
    later = link_to(back, email)
    assert stranger.post(later, data={"csrf_token": csrf(stranger.get(later).text)}).status_code == 404
    let_in_again(back, id)
    assert stranger.get(path).status_code == 404
    assert stranger.get(later).status_code == 200


def test_the_mailed_question_and_the_link_code_of_who_was_shut_out_stay_void(front: Front, back: Back) -> None:
    with back.runtime.database.transaction() as session:
        owner = make_user(session)
        account = make_account(session, administrator=owner)
        code = create_link_code(session, principal_of(session, owner), account, back.clock()).id
        id, email, number = owner.id, owner.email, account.customer_number
    assert a_link(front, number).status_code == 202
    back.advance()
    path, _ = back.mail_to(email)
    stranger = front.client.application.test_client()
    assert stranger.get(path).status_code == 200
    shut_out(back, id)
    let_in_again(back, id)
    assert stranger.get(path).status_code == 404
    with back.runtime.database.transaction() as session:
        assert session.get_one(LinkCode, code).ended_at is not None


def test_an_account_keeps_an_administrator_who_can_sign_in(front: Front, back: Back) -> None:
    with back.runtime.database.transaction() as session:
        other = make_user(session)
        join(session, other, session.get_one(Account, front.main.id))
        id = other.id
    shut_out(back, id)
    sign_in(front, front.manager.email)
    own = f"/benutzer/{front.main.customer_number}/{front.manager.user_id}/entfernen"
    assert post(front.client, own).status_code == 409
    assert post(front.client, f"/benutzer/{front.main.customer_number}/{id}/entfernen").status_code == 303
