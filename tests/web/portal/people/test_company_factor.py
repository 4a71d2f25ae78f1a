"""Tests of the setting by which a company demands a second factor of all its users."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
import sqlalchemy as sa

from models.accounts.accounts import Account
from models.accounts.hierarchy import attach
from models.people.audit_log import AuditEvent
from models.people.rights import Role
from models.people.second_factors import SecondFactor
from models.people.users import User
from models.proofs.proofs import OwnershipProof
from models.states import Origin
from tests.factories import NOW, PASSWORD, give_app, join, make_account, make_user
from tests.fakes import FakeClock
from tests.second_factor import enter_code
from tests.web.api.calls import a_link, owned
from tests.web.conftest import Back, Front
from tests.web.html import assert_valid
from tests.web.portal.page.test_portal import sign_in
from tests.web.portal.people.test_second_factor import OVERVIEW, browser, deeds, enter_password, press, set_up


def test_a_company_asks_all_its_persons_after_a_grace(front: Front, back: Back, clock: FakeClock) -> None:
    with front.database.transaction() as session:
        give_app(session, session.get_one(User, front.manager.user_id))
    page = f"/benutzer/{front.main.customer_number}/zweiter-faktor"
    with front.database.transaction() as session:
        member = make_user(session)
        sub = make_account(session, administrator=member)
        attach(session, front.main.id, sub.id, Origin.LINK, NOW)
    sign_in(front, front.manager.email)
    assert "2 Personen" in front.client.get(page).text and "1 von ihnen" in front.client.get(page).text
    assert member.email in front.client.get(page).text and front.manager.email not in front.client.get(page).text
    assert_valid(front.client.get(page).text)
    assert press(front.client, page, demand="yes").status_code == 303
    back.advance()
    [mail] = [mail for mail in back.mailer.sent if "einen zweiten Faktor ein" in mail.subject]
    assert mail.recipient_address == member.email
    told = " ".join(mail.text.split())
    assert "verlangt von allen, die sich anmelden, bis zum 16. März 2026 einen zweiten Faktor" in told
    assert "/anmeldung" in told
    local = browser(front)
    enter_password(local, member.email)
    overview = local.get("/standortverwaltung", follow_redirects=True).text
    assert "Ihr Unternehmen verlangt einen zweiten Faktor, spätestens bis zum 16. März 2026" in overview
    assert local.get(f"/benutzer/{sub.customer_number}/zweiter-faktor").status_code == 404
    assert "Einen zweiten Faktor" not in front.client.get("/standortverwaltung").text
    clock.advance(timedelta(days=15))
    closed = local.get(f"/benutzer/{sub.customer_number}")
    assert closed.location == OVERVIEW
    assert "fragen Sie eine Person, die Ihr Unternehmen verwaltet" in local.get(OVERVIEW).text
    assert set_up(local, clock)[0].status_code == 201
    assert local.get(f"/benutzer/{sub.customer_number}").status_code == 200
    assert press(local, _removal(front, member.email)).status_code == 409
    security = local.get(OVERVIEW).text
    assert_valid(security)
    assert "Kann nicht entfernt werden: Ihr Unternehmen verlangt einen zweiten Faktor" in security

    asked = front.client.get(page, follow_redirects=True)
    assert enter_code(front.client, asked).location == page
    assert press(front.client, page).status_code == 303
    assert press(local, _removal(front, member.email)).status_code == 303
    assert [deed for deed, account in deeds(front) if account == front.main.id] == [
        AuditEvent.FACTOR_DEMANDED, AuditEvent.FACTOR_NOT_DEMANDED,
    ]  # fmt: skip
    assert (
        "ab Ende des 16. März 2026 einen zweiten Faktor"
        in front.client.get(f"/standortverwaltung/{front.main.customer_number}/protokoll").text
    )


def test_a_demand_that_was_taken_back_can_be_made_again_on_the_same_day(front: Front, clock: FakeClock) -> None:
    page = f"/benutzer/{front.main.customer_number}/zweiter-faktor"
    with front.database.transaction() as session:
        give_app(session, session.get_one(User, front.manager.user_id))
        join(session, make_user(session), session.get_one(Account, front.main.id), Role.LOCATION_MANAGER)
    sign_in(front, front.manager.email)
    for demand in ("yes", "no", "yes"):
        assert press(front.client, page, demand=demand).status_code == 303
        clock.advance(timedelta(minutes=1))


def test_only_an_administrator_with_a_factor_can_ask_the_company(front: Front) -> None:
    page = f"/benutzer/{front.main.customer_number}/zweiter-faktor"
    sign_in(front, front.manager.email)
    shown = front.client.get(page).text
    assert "Richten Sie zuerst einen ein" in shown
    assert press(front.client, page, shown, demand="yes").status_code == 409
    with front.database.transaction() as session:
        member = make_user(session)
        join(session, member, session.get_one(Account, front.main.id), Role.LOCATION_MANAGER)
    other = browser(front)
    enter_password(other, member.email)
    assert other.get(page).status_code == 404


def test_only_an_administrator_with_a_factor_can_end_it(front: Front, clock: FakeClock) -> None:
    page = f"/benutzer/{front.main.customer_number}/zweiter-faktor"
    sign_in(front, front.manager.email)
    _demand(front, front.main, clock.now + timedelta(days=1))
    shown = front.client.get(page).text
    assert_valid(shown)
    assert "dann können Sie das beenden" in shown and "Nicht mehr verlangen" not in shown
    assert press(front.client, page, shown, demand="no").status_code == 409
    with front.database.transaction() as session:
        assert session.get_one(Account, front.main.id).factor_required_from is not None


def test_after_the_grace_the_password_alone_proves_no_ownership(front: Front, back: Back, clock: FakeClock) -> None:
    account, owner = owned(front)
    id = a_link(front, account.customer_number).get_json()["id"]
    back.advance()
    login = {"email": owner.email, "password": PASSWORD}
    for passed in (timedelta(0), timedelta(days=1)):
        _demand(front, account, clock.now - passed)
        assert front.post(f"/requests/{id}/proofs", {"kind": "credentials", **login}).status_code == 422
    _demand(front, account, clock.now + timedelta(seconds=1))
    with front.database.transaction() as session:
        elsewhere = make_account(session)
        join(session, session.get_one(User, owner.id), elsewhere, Role.LOCAL_MEMBER)
    _demand(front, elsewhere, clock.now)
    assert front.post(f"/requests/{id}/proofs", {"kind": "credentials", **login}).status_code == 422
    _demand(front, elsewhere, clock.now + timedelta(seconds=1))
    assert front.post(f"/requests/{id}/proofs", {"kind": "credentials", **login}).status_code == 200


@pytest.mark.parametrize("whose", ["asked", "other"])
def test_after_the_grace_the_mailed_link_alone_consents_for_nobody(
    front: Front, back: Back, clock: FakeClock, whose: str
) -> None:
    account, owner = owned(front)
    a_link(front, account.customer_number)
    back.advance()
    path, code = back.mail_to(owner.email)
    client = browser(front)
    page = client.get(path).text
    if whose == "other":
        # A company that neither the page nor its reader has to do with.
        with front.database.transaction() as session:
            other = make_account(session)
            join(session, session.get_one(User, owner.id), other, Role.LOCAL_MEMBER)
        _demand(front, other, clock.now)
    else:
        _demand(front, account, clock.now)
    answer = press(client, path, page, code=code, decision="accepted")
    assert answer.status_code == 303 and client.get(answer.location).location.startswith("/anmelden")
    enter_password(client, owner.email)
    assert client.get(answer.location).location == OVERVIEW
    with front.database.transaction() as session:
        assert session.scalars(sa.select(OwnershipProof)).all() == []


def _demand(front: Front, account: Account, since: datetime) -> None:
    """Make the account demand a second factor of its users from `since` on."""
    with front.database.transaction() as session:
        session.get_one(Account, account.id).factor_required_from = since


def _removal(front: Front, email: str) -> str:
    """Return the path of the page that removes this person's only second factor."""
    with front.database.transaction() as session:
        owned = sa.select(SecondFactor.id).join(User, User.id == SecondFactor.user_id).where(User.email == email)
        return f"/anmeldung/faktor/{session.scalars(owned).one()}/entfernen"
