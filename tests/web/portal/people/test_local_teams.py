"""Tests of the users of a location: the main account invites the first administrator, who then manages the others.

An account always keeps an administrator.
"""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
import sqlalchemy as sa

from models.accounts.accounts import Account
from models.accounts.hierarchy import attach
from models.errors import Forbidden, RuleBroken
from models.links.links import submit_detach
from models.messages.outbox import Recipient
from models.orders.orders import LocalUser
from models.people import invitations
from models.people.audit_log import AuditEntry, AuditEvent, record
from models.people.invitations import Invitation
from models.people.rights import Action, Role
from models.people.users import Membership, User, administrators_of, principal_of
from models.requests.requests import Request
from models.states import Origin, Reason, Status
from models.telephony.forwarding import CallForwarding, Condition
from models.telephony.holdings import trunks_of
from tests.factories import NOW, PASSWORD, an_order, join, make_account, make_user, submit_order
from tests.web.conftest import Back, Front
from tests.web.html import assert_valid
from tests.web.portal.accounts.sites import Site, come_in, get, make_site, make_trunk
from tests.web.portal.page.test_portal import csrf
from tests.web.portal.people.forms import NEW, link_to, post

HANNA = Recipient("Hanna Palmer", "hanna@example.com", "de")


@pytest.fixture
def alone(front: Front) -> Account:
    """Create a sub-account that was ordered, with a trunk and without users."""
    with front.database.transaction() as session:
        account = make_account(session, name="Filiale Köln")
        attach(session, front.main.id, account.id, Origin.ORDER, NOW)
        make_trunk(session, account)
        return account


@pytest.fixture
def site(front: Front) -> Site:
    """Create a location that was linked: a sub-account with a trunk, an administrator and a local member."""
    with front.database.transaction() as session:
        return make_site(session, session.get_one(Account, front.main.id))


def as_location_manager(front: Front) -> User:
    """Create a location manager of the main account and sign that person in."""
    with front.database.transaction() as session:
        user = make_user(session, name="Lars Leiter")
        join(session, user, session.get_one(Account, front.main.id), Role.LOCATION_MANAGER)
    come_in(front, user.email)
    return user


def invite(front: Front, account: Account, role: Role = Role.ADMINISTRATOR, email: str = HANNA.address) -> int:
    """Invite Hanna Palmer to the account on its page for invitations, and return the status of the answer."""
    path = f"/benutzer/{account.customer_number}/einladen"
    return post(front.client, path, name="Hanna Palmer", email=email, role=role).status_code


def dashboard(account: Account) -> str:
    return f"/standortverwaltung/{account.customer_number}"


def test_the_dashboard_announces_an_invitation_only_to_a_person_who_gets_one(front: Front) -> None:
    named = {"Hanna Palmer": HANNA.address, "Maxi Selbst": front.manager.email.upper()}
    come_in(front, front.manager.email)
    for name, email in named.items():
        with front.database.transaction() as session:
            main = session.get_one(Account, front.main.id)
            order = an_order(local_user=LocalUser(name, email))
            account = submit_order(session, front.manager, main, order, NOW).account
        assert account is not None
        announced = f"{name} wird eingeladen, sobald der Standort aktiv ist." in get(front, dashboard(account))
        assert announced is (email == HANNA.address)


@pytest.mark.parametrize("who", ["administrator", "location manager"])
def test_the_main_account_invites_the_first_person_who_arrives_at_the_dashboard(
    front: Front, alone: Account, back: Back, who: str
) -> None:
    if who == "administrator":
        come_in(front, front.manager.email)
        name = front.manager.name
    else:
        name = as_location_manager(front).name
    page = get(front, dashboard(alone))
    assert "Noch niemand hat einen Zugang" in page and f"/benutzer/{alone.customer_number}/einladen" in page
    form = get(front, f"/benutzer/{alone.customer_number}/einladen")
    assert "Der Account hat noch keinen Administrator." in form and 'value="administrator" checked' in form
    assert invite(front, alone) == 303
    page = get(front, dashboard(alone))
    assert "Hanna Palmer" in page and "Noch nicht angenommen" in page
    path = link_to(back, HANNA.address)
    said = f"{name} vom Hauptaccount {front.main.customer_number} ({front.main.name}) hat Sie eingeladen"
    assert said in " ".join(back.mailer.sent[-1].text.split())
    hanna = Front(front.client.application.test_client(), front.database, front.main, front.manager, "")
    shown = hanna.client.get(path).text
    assert_valid(shown)
    assert said in shown
    assert post(hanna.client, path, password=NEW).location == dashboard(alone)
    page = get(hanna, dashboard(alone))
    for words in ("Ihre ersten Schritte", "Zugangsdaten abrufen", "Rufweiterleitung einrichten", "Kollegen einladen"):
        assert words in page
    assert "Lösen" in page and "Noch niemand" not in page
    assert hanna.client.get("/standortverwaltung").location == dashboard(alone)
    for path in (dashboard(front.main), f"/benutzer/{front.main.customer_number}", "/standortverwaltung/neu"):
        assert hanna.client.get(path).status_code in (403, 404)
    # The list goes when all is done, or after two weeks.
    back.clock.advance(timedelta(days=14))
    assert "Ihre ersten Schritte" not in get(hanna, dashboard(alone))


def test_first_steps_say_who_has_done_what_already(front: Front, alone: Account, back: Back) -> None:
    come_in(front, front.manager.email)
    assert invite(front, alone) == 303
    with front.database.transaction() as session:
        [trunk] = trunks_of(session, account := session.get_one(Account, alone.id))
        record(
            session,
            front.manager,
            account,
            AuditEvent.SECRET_SEEN,
            Action.SEE_SECRET,
            back.clock(),
            {"sip_user": trunk.sip_user},
        )
        # That of the order's mobile fallback, which nobody of the log has set up.
        session.add(CallForwarding(account_id=account.id, condition=Condition.BUSY, target="+491711234567"))
    hanna = Front(front.client.application.test_client(), front.database, front.main, front.manager, "")
    post(hanna.client, link_to(back, HANNA.address), password=NEW)

    def steps() -> list[str]:
        page = get(hanna, dashboard(alone)).partition('id="first-steps"')[2].partition("</section>")[0]
        items = re.findall(r"<li>(.*?)<br>", page, re.DOTALL)
        return [" ".join(re.sub(r"<[^>]+>", " ", item).split()) for item in items]

    assert steps() == [
        f"Zugangsdaten abrufen Bereits vorhanden von {front.manager.name} am 2. März 2026",
        "Rufweiterleitung einrichten Bereits vorhanden",
        "Kollegen einladen",
    ]
    post(hanna.client, f"{dashboard(alone)}/sip/{trunk.id}/passwort", password=NEW)
    assert steps()[0] == "Zugangsdaten abrufen Erledigt"
    with front.database.transaction() as session:
        join(session, make_user(session, name="Lars Leiter"), session.get_one(Account, alone.id), Role.LOCAL_MEMBER)
    assert "Ihre ersten Schritte" not in get(hanna, dashboard(alone))


def test_a_known_person_signs_in_and_is_led_to_the_dashboard(front: Front, alone: Account, back: Back) -> None:
    with front.database.transaction() as session:
        known = make_user(session)
    come_in(front, front.manager.email)
    assert invite(front, alone, email=known.email) == 303
    client = front.client.application.test_client()
    answer = post(client, link_to(back, known.email))
    assert answer.location == f"/anmelden?next={dashboard(alone)}"
    form = {"csrf_token": csrf(client.get(answer.location).text), "email": known.email, "password": PASSWORD}
    assert client.post(answer.location, data=form).location == dashboard(alone)
    # A signed-in person needs no second sign-in.
    assert invite(front, alone, Role.LOCAL_MEMBER, front.manager.email) == 303
    assert post(front.client, link_to(back, front.manager.email)).location == "/standortverwaltung"


def test_nobody_takes_the_account_of_a_local_team_over(front: Front, site: Site, back: Back) -> None:
    come_in(front, front.manager.email)
    page = get(front, f"/benutzer/{site.account.customer_number}/einladen")
    assert 'value="administrator"' not in page and 'value="local_member"' in page
    assert invite(front, site.account) == 422
    with front.database.transaction() as session:
        account = session.get_one(Account, site.account.id)
        with pytest.raises(Forbidden):
            invitations.invite(session, front.manager, account, HANNA, Role.ADMINISTRATOR, NOW)
    assert invite(front, site.account, Role.LOCATION_MANAGER) == 303
    # Both sides see who was invited, and by which right.
    come_in(front, site.administrator.email)
    assert "Hat Hanna Palmer eingeladen" in get(front, site.path)
    with front.database.transaction() as session:
        entry = session.scalars(sa.select(AuditEntry).where(AuditEntry.deed == AuditEvent.USER_INVITED)).one()
        assert (entry.user_id, entry.through_id) == (front.manager.user_id, front.main.id)


def test_the_local_team_removes_nobody_of_the_main_account(front: Front, site: Site) -> None:
    with front.database.transaction() as session:
        join(session, session.get_one(User, front.manager.user_id), session.get_one(Account, site.account.id))
    come_in(front, site.administrator.email)
    users = f"/benutzer/{site.account.customer_number}"
    theirs = f"{users}/{front.manager.user_id}"
    page = get(front, users)
    assert "Gehört zum Hauptaccount" in page and f'href="{theirs}"' not in page
    for path, data in ((theirs, {"role": Role.LOCAL_MEMBER}), (theirs + "/entfernen", {})):
        assert post(front.client, path, **data).location == users
        assert "gehört zum Hauptaccount" in get(front, users)
    with front.database.transaction() as session:
        assert session.get_one(Membership, (front.manager.user_id, site.account.id)).role is Role.ADMINISTRATOR
    # Once detached, the account is the local team's alone.
    with front.database.transaction() as session:
        account = session.get_one(Account, site.account.id)
        account.role, account.main_id, account.origin, account.attached_at = "standalone", None, None, None  # type: ignore[assignment]
    assert post(front.client, theirs + "/entfernen").location == users
    with front.database.transaction() as session:
        assert session.get(Membership, (front.manager.user_id, site.account.id)) is None


def test_each_side_handles_its_own_invitations(front: Front, site: Site, back: Back) -> None:
    with front.database.transaction() as session:
        account = session.get_one(Account, site.account.id)
        local = principal_of(session, session.get_one(User, site.administrator.id))
        theirs = invitations.invite(session, local, account, HANNA, Role.LOCAL_MEMBER, NOW).id
        to = Recipient("Kim", "kim@example.com", "de")
        ours = invitations.invite(session, front.manager, account, to, Role.LOCAL_MEMBER, NOW).id
    come_in(front, front.manager.email)
    page = get(front, site.path)
    handled = re.findall(r"/einladungen/(\d+)/", page)
    assert "Hanna Palmer" in page and "hanna@example.com" not in page and set(handled) == {str(ours)}
    assert invite(front, site.account, Role.LOCAL_MEMBER) == 422
    base = f"/benutzer/{site.account.customer_number}/einladungen"
    for verb in ("neu", "zurueckziehen"):
        assert post(front.client, f"{base}/{theirs}/{verb}", site.path).status_code == 404
    assert post(front.client, f"{base}/{ours}/neu", site.path).location == site.path
    assert post(front.client, f"{base}/{ours}/zurueckziehen", site.path).location == site.path
    come_in(front, site.administrator.email)
    assert post(front.client, f"{base}/{theirs}/zurueckziehen", site.path).status_code == 303
    with front.database.transaction() as session:
        assert session.scalars(sa.select(Invitation)).all() == []


NOBODY = "Bei diesem Account kann sich noch niemand anmelden, der ihn verwaltet"


def test_an_account_of_nobody_is_not_detached_in_the_portal(front: Front, alone: Account, back: Back) -> None:
    come_in(front, front.manager.email)
    path = dashboard(alone) + "/loesen"
    page = get(front, path)
    assert NOBODY in page and "Laden Sie zuerst einen Administrator ein" in page
    assert f"/benutzer/{alone.customer_number}/einladen" in page and 'name="customer_number"' not in page
    assert NOBODY in get(front, dashboard(alone)) and path not in get(front, dashboard(alone))
    refused = post(front.client, path, customer_number=alone.customer_number)
    assert refused.status_code == 409 and NOBODY in refused.text
    # An invitation alone is nobody, and neither is a member of the local team.
    invite(front, alone)
    with front.database.transaction() as session:
        join(session, make_user(session), session.get_one(Account, alone.id), Role.LOCAL_MEMBER)
    page = get(front, path)
    assert "Die Einladung ist noch nicht angenommen" in page
    assert post(front.client, path, customer_number=alone.customer_number).status_code == 409
    back.clock.advance(timedelta(days=8))
    assert "Laden Sie zuerst einen Administrator ein" in get(front, path)
    invite(front, alone)
    link = link_to(back, HANNA.address)
    post(front.client.application.test_client(), link, password=NEW)
    card = f"/standortverwaltung#konto-{alone.customer_number}"
    assert post(front.client, path, customer_number=alone.customer_number).location == card


def test_an_account_of_nobody_is_not_detached_by_the_api(front: Front, alone: Account) -> None:
    path = f"/accounts/{alone.customer_number}/link"
    refused = front.delete(path)
    assert (refused.status_code, refused.get_json()["type"]) == (409, "/problems/rule_broken")
    assert "Laden Sie zuerst einen Administrator ein" in refused.get_json()["detail"]
    with front.database.transaction() as session:
        account = session.get_one(Account, alone.id)
        invitations.invite(session, front.manager, account, HANNA, Role.ADMINISTRATOR, NOW)
    assert "Die Einladung ist noch nicht angenommen" in front.delete(path).get_json()["detail"]
    with front.database.transaction() as session:
        assert session.scalars(sa.select(Request)).all() == []
        join(session, make_user(session), session.get_one(Account, alone.id))
    assert front.delete(path).status_code == 202


def test_a_request_that_would_leave_an_account_to_nobody_is_rejected(front: Front, alone: Account, back: Back) -> None:
    """Request to detach an account that then loses its last administrator: the worker rejects the request.

    For an account without an administrator, the request is refused at once.
    """
    with front.database.transaction() as session:
        account = session.get_one(Account, alone.id)
        with pytest.raises(RuleBroken):
            submit_detach(session, front.manager, account, "de", NOW)
        join(session, user := make_user(session), account)
        id = submit_detach(session, front.manager, account, "de", NOW).id
        session.delete(session.get_one(Membership, (user.id, account.id)))
    back.advance()
    with front.database.transaction() as session:
        request = session.get_one(Request, id)
        assert (request.status, request.reason) == (Status.REJECTED, Reason.NO_ADMINISTRATOR)
        assert session.get_one(Account, alone.id).main_id == front.main.id


def test_a_detached_account_is_joined_by_nobody_whom_the_main_account_has_invited(
    front: Front, site: Site, back: Back
) -> None:
    with front.database.transaction() as session:
        account = session.get_one(Account, site.account.id)
        local = principal_of(session, session.get_one(User, site.administrator.id))
        invitations.invite(session, front.manager, account, HANNA, Role.LOCATION_MANAGER, NOW)
        invitations.invite(session, local, account, Recipient("K", "kim@example.com", "de"), Role.LOCAL_MEMBER, NOW)
        submit_detach(session, front.manager, account, "de", NOW)
    link = link_to(back, HANNA.address)
    with front.database.transaction() as session:
        assert session.get_one(Account, site.account.id).main_id is None
        assert session.scalars(sa.select(Invitation.email)).all() == ["kim@example.com"]
        assert [user.id for user in administrators_of(session, site.account.id)] == [site.administrator.id]
    assert front.client.get(link).status_code == 404
