"""Tests of invitations to an account: who accepts one gets a login with the offered role.

A new invitation replaces an older one; a withdrawn or expired one is refused. The number of open invitations is
limited. Two invitations that are accepted at once create one login.
"""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
import sqlalchemy as sa

from models.errors import TooManyInvitations
from models.messages.outbox import Message, Recipient
from models.people import invitations
from models.people.invitation_acceptance import accept
from models.people.invitations import Invitation
from models.people.invitations import invite as invite_by_mail
from models.people.rights import Role
from models.people.users import User, principal_of
from tests.factories import NOW, join, make_account, make_user
from tests.web.conftest import Back, Front
from tests.web.html import assert_valid
from tests.web.portal.page.test_portal import csrf, sign_in
from tests.web.portal.people.forms import NEW, invite, link_to, post
from tests.web.portal.people.test_own_logins import who
from tests.web.portal.people.test_roles_of_users import wait_until_somebody_waits


def test_nobody_is_invited_under_a_name_with_an_address_in_it(front: Front, back: Back) -> None:
    sign_in(front, front.manager.email)
    path = f"/benutzer/{front.main.customer_number}/einladen"
    fields = {"email": "stranger@example.com", "role": Role.LOCATION_MANAGER}
    answer = post(front.client, path, name="Gewinn: http://evil.example", **fields)
    assert answer.status_code == 422
    assert "lassen Sie Internet- und E-Mail-Adressen weg" in answer.text and "Gewinn: http" in answer.text
    back.advance()
    assert [mail for mail in back.mailer.sent if mail.recipient_address != front.manager.email] == []


@pytest.mark.parametrize("role", Role)
def test_an_invitation_makes_a_login_with_its_role(front: Front, back: Back, role: Role) -> None:
    sign_in(front, front.manager.email)
    assert invite(front, "Hanna.Palmer@example.com", role).status_code == 303
    page = front.client.get(f"/benutzer/{front.main.customer_number}").text
    assert_valid(page)
    assert "hanna.palmer@example.com" in page and "Noch nicht angenommen" in page
    path = link_to(back, "hanna.palmer@example.com")
    client = front.client.application.test_client()
    shown = client.get(path).text
    assert_valid(shown)
    assert "Willkommen, Hanna Palmer" in shown and front.manager.name in shown
    with front.database.transaction() as session:
        assert session.scalar(sa.select(User).where(User.email == "hanna.palmer@example.com")) is None
    for refused in ("kurz", "123456789012"):
        assert post(client, path, password=refused).status_code == 422
    assert post(client, path, password=NEW).location == "/standortverwaltung"
    assert "Willkommen, Hanna Palmer" in client.get("/standortverwaltung", follow_redirects=True).text
    with front.database.transaction() as session:
        user = session.scalars(sa.select(User).where(User.email == "hanna.palmer@example.com")).one()
        assert user.email_confirmed_at == back.clock.now
        assert principal_of(session, user).roles == {front.main.id: role}
    lapsed = client.get(path)
    assert lapsed.status_code == 404 and "gilt nicht mehr" in lapsed.text
    assert_valid(lapsed.text)
    assert client.get("/benutzer").status_code == (302 if role is Role.ADMINISTRATOR else 404)


def test_an_existing_login_keeps_its_password(front: Front, back: Back) -> None:
    with front.database.transaction() as session:
        known = make_user(session)
        account = make_account(session, administrator=known)
    sign_in(front, front.manager.email)
    invite(front, known.email)
    # The page does not reveal that the login exists, and gives no rights.
    page = front.client.get(f"/benutzer/{front.main.customer_number}").text
    assert known.name not in page and "Hanna Palmer" in page
    client = front.client.application.test_client()
    path = link_to(back, known.email)
    assert_valid(client.get(path).text)
    assert post(client, path, password=NEW).location == "/anmelden"
    with front.database.transaction() as session:
        roles = principal_of(session, session.get_one(User, known.id)).roles
    assert roles == {account.id: Role.ADMINISTRATOR, front.main.id: Role.LOCATION_MANAGER}
    assert sign_in(Front(client, front.database, front.main, front.manager, ""), known.email)[0] == 302


def test_a_new_invitation_a_withdrawn_one_and_one_that_is_too_old(front: Front, back: Back) -> None:
    sign_in(front, front.manager.email)
    invite(front, "hanna@example.com")
    first = link_to(back, "hanna@example.com")
    page = f"/benutzer/{front.main.customer_number}"
    [again] = re.findall(r"/benutzer/\d+/einladungen/\d+/neu", front.client.get(page).text)
    post(front.client, again, page)
    second = link_to(back, "hanna@example.com")
    assert front.client.get(first).status_code == 404
    assert front.client.get(second).status_code == 200
    back.clock.advance(timedelta(days=8))
    assert front.client.get(second).status_code == 404
    expired = front.client.get(page).text
    assert "Abgelaufen" in expired
    invite(front, "hanna@example.com")
    third = link_to(back, "hanna@example.com")
    [withdraw] = re.findall(r"/benutzer/\d+/einladungen/\d+/zurueckziehen", front.client.get(page).text)
    post(front.client, withdraw, page)
    assert front.client.get(third).status_code == 404
    with front.database.transaction() as session:
        assert session.scalars(sa.select(Invitation)).all() == []
        sent = sa.select(Message.occasion).where(Message.template == "invitation")
        assert len(set(session.scalars(sent))) == 3


def test_what_is_wrong_with_an_invitation_is_said(front: Front) -> None:
    sign_in(front, front.manager.email)
    path = f"/benutzer/{front.main.customer_number}/einladen"
    empty = post(front.client, path)
    assert empty.status_code == 422
    for said in ("Geben Sie den Namen ein.", "Geben Sie die E-Mail-Adresse ein.", "Wählen Sie eine Rolle."):
        assert said in empty.text
    assert_valid(empty.text)
    wrong = {"name": "X", "email": "x", "role": "local_member"}
    assert "Das ist keine vollständige E-Mail-Adresse" in post(front.client, path, **wrong).text
    assert "schon Benutzer" in invite(front, front.manager.email).text


@pytest.mark.parametrize("how", ["removed", "given another role"])
def test_nobody_comes_back_by_an_invitation_of_their_own(front: Front, back: Back, how: str) -> None:
    with front.database.transaction() as session:
        other = make_user(session)
        join(session, other, session.merge(front.main))
        elsewhere = make_account(session, administrator=other).customer_number
    leaver = Front(front.client.application.test_client(), front.database, front.main, front.manager, "")
    sign_in(leaver, other.email)
    invite(leaver, "private@example.com", Role.ADMINISTRATOR)
    path = link_to(back, "private@example.com")
    form = f"/benutzer/{elsewhere}/einladen"
    post(leaver.client, form, name="Hanna Palmer", email="hanna@example.com", role=Role.LOCAL_MEMBER)
    sign_in(front, front.manager.email)
    invite(front, "kim@example.com")
    member = f"/benutzer/{front.main.customer_number}/{other.id}"
    if how == "removed":
        assert "Einladungen, die diese Person" in front.client.get(member + "/entfernen").text
        post(front.client, member + "/entfernen")
    else:
        post(front.client, member, role=Role.LOCATION_MANAGER)
    assert leaver.client.get(path).status_code == 404
    # Invitations by others and to other accounts stay.
    with front.database.transaction() as session:
        assert set(session.scalars(sa.select(Invitation.email))) == {"kim@example.com", "hanna@example.com"}


def test_only_so_many_invitations_are_open(front: Front, back: Back, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(invitations, "OPEN_PER_ACCOUNT", 2)
    sign_in(front, front.manager.email)
    page = f"/benutzer/{front.main.customer_number}"
    for name in ("one", "two"):
        assert invite(front, f"{name}@example.com").status_code == 303
    refused = invite(front, "three@example.com")
    assert refused.status_code == 422 and "2 Einladungen sind offen" in refused.text
    assert_valid(refused.text)
    # A new mail for one invitation does not open another one.
    assert invite(front, "one@example.com").status_code == 303
    back.clock.advance(timedelta(days=8))
    for name in ("three", "four"):
        assert invite(front, f"{name}@example.com").status_code == 303
    with front.database.transaction() as session:
        expired = session.scalar(sa.select(Invitation.id).where(Invitation.email == "one@example.com"))
    post(front.client, f"{page}/einladungen/{expired}/neu", page)
    assert "2 Einladungen sind offen" in front.client.get(page).text
    with front.database.transaction() as session:
        open_ones = sa.select(Invitation.email).where(Invitation.expires_at > back.clock.now)
        assert set(session.scalars(open_ones)) == {"three@example.com", "four@example.com"}


def test_who_administers_many_accounts_invites_only_so_many(front: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(invitations, "OPEN_PER_INVITER", 2)
    with front.database.transaction() as session:
        manager = session.get_one(User, front.manager.user_id)
        numbers = [make_account(session, administrator=manager).customer_number for _ in range(3)]
        other = make_user(session)
        join(session, other, session.merge(front.main))
    sign_in(front, front.manager.email)
    answers = [
        post(front.client, f"/benutzer/{number}/einladen", name="Hanna", email="h@example.com", role="administrator")
        for number in numbers
    ]
    assert [answer.status_code for answer in answers] == [303, 303, 422]
    colleague = Front(front.client.application.test_client(), front.database, front.main, front.manager, "")
    sign_in(colleague, other.email)
    assert invite(colleague, "h@example.com").status_code == 303


def test_invitations_to_two_accounts_at_once_cannot_pass_the_limit(
    front: Front, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(invitations, "OPEN_PER_INVITER", 1)
    with front.database.transaction() as session:
        user = session.get_one(User, front.manager.user_id)
        accounts = [make_account(session, administrator=user) for _ in range(2)]
        person = principal_of(session, user)
    to = Recipient("Hanna Palmer", "hanna@example.com", "de")

    def invite_too() -> None:
        with front.database.transaction() as second:
            invite_by_mail(second, person, second.merge(accounts[1]), to, Role.ADMINISTRATOR, NOW)

    with ThreadPoolExecutor(1) as pool:
        with front.database.transaction() as first:
            invite_by_mail(first, person, first.merge(accounts[0]), to, Role.ADMINISTRATOR, NOW)
            waiting = pool.submit(invite_too)
            wait_until_somebody_waits(first)
        with pytest.raises(TooManyInvitations):
            waiting.result(10)


def test_two_invitations_accepted_at_once_make_one_login(front: Front) -> None:
    to = Recipient("Hanna Palmer", "hanna@example.com", "de")
    with front.database.transaction() as session:
        user = session.get_one(User, front.manager.user_id)
        accounts = [make_account(session, administrator=user) for _ in range(2)]
        person = principal_of(session, user)
        sent = [invite_by_mail(session, person, account, to, Role.ADMINISTRATOR, NOW).id for account in accounts]

    def accept_too() -> bool:
        with front.database.transaction() as second:
            return accept(second, second.get_one(Invitation, sent[1]), "another password", NOW)[1]

    with ThreadPoolExecutor(1) as pool:
        with front.database.transaction() as first:
            assert accept(first, first.get_one(Invitation, sent[0]), NEW, NOW)[1]
            waiting = pool.submit(accept_too)
            wait_until_somebody_waits(first)
        # The slower one is not signed in, because it did not send the password of the existing login.
        assert not waiting.result(10)
    with front.database.transaction() as session:
        user = session.scalars(sa.select(User).where(User.email == "hanna@example.com")).one()
        assert set(principal_of(session, user).roles) == {account.id for account in accounts}
    assert sign_in(front, "hanna@example.com", NEW)[0] == 302


def test_an_old_page_does_not_sign_in_a_user_who_has_set_a_password_meanwhile(front: Front, back: Back) -> None:
    with front.database.transaction() as session:
        account = make_account(session, administrator=session.get_one(User, front.manager.user_id))
    sign_in(front, front.manager.email)
    invite(front, "hanna@example.com")
    first = link_to(back, "hanna@example.com")
    form = f"/benutzer/{account.customer_number}/einladen"
    post(front.client, form, name="Hanna Palmer", email="hanna@example.com", role=Role.LOCAL_MEMBER)
    second, client = link_to(back, "hanna@example.com"), front.client.application.test_client()
    shown = csrf(client.get(second).text)
    post(front.client.application.test_client(), first, password=NEW)
    answer = client.post(second, data={"csrf_token": shown, "password": "another password"})
    assert answer.location == "/anmelden" and who(client) is None
