"""Tests that the pages of sign-in, logins, users, API tokens and second factors are accessible."""

from __future__ import annotations

from datetime import timedelta

import sqlalchemy as sa
from playwright.sync_api import Page

from models.messages.outbox import Recipient
from models.people.api_tokens import ApiToken
from models.people.invitations import invite
from models.people.login_sessions import begin_login
from models.people.password_links import ask_for_reset
from models.people.rights import Role
from models.people.users import User
from tests.browser.accessibility.looks import look, look_after, look_as_it_is, look_wrong, shows
from tests.browser.conftest import Portal
from tests.browser.test_portal import sign_in
from tests.browser.test_proofs import CONTACT, asked_owner, waiting_order
from tests.factories import NOW, PASSWORD, give_app, join, make_account, make_user
from tests.fakes import FakeClock
from tests.second_factor import enter_code_in_browser
from tests.web.portal.people.forms import link_to


@shows(
    "people.sign_in", "logins.forgotten", "logins.asked", "logins.reset", "users.invitation", "letters.confirm",
    "emails.confirm", "consents.answer_by_code", "carrier.show",
)  # fmt: skip
def test_pages_without_a_login(page: Page, portal: Portal, clock: FakeClock) -> None:
    back, _ = waiting_order(portal, clock)
    consent, owner, _ = asked_owner(portal, clock)
    with portal.database.transaction() as session:
        ask_for_reset(session, portal.manager.email, NOW)
        main = session.merge(portal.main)
        to = Recipient("Hanna Palmer", "hanna@example.com", "de")
        invite(session, portal.manager, main, to, Role.ADMINISTRATOR, NOW)
    reset, invitation = link_to(back, portal.manager.email), link_to(back, "hanna@example.com")
    email, agree = back.mail_to(CONTACT)[0], consent.mail_to(owner.email)[0]
    for path in ("/impressum", "/hilfe", "/passwort/unterwegs", "/nowhere", reset + "x", invitation + "x"):
        look(page, portal.url + path)
    for path in ("/anmelden", "/passwort", "/brief", reset, invitation, email, agree):
        look(page, portal.url + path)
        look_wrong(page)


def test_a_password_that_is_wrong(page: Page, portal: Portal) -> None:
    page.goto(portal.url)
    page.get_by_label("E-Mail-Adresse").fill(portal.manager.email)
    page.get_by_label("Passwort").fill("wrong")
    look_wrong(page)


@shows(
    "portal.history", "logins.overview", "logins.change", "logins.own_data", "logins.erase", "logins.end",
    "logins.end_others", "users.listed", "users.edit", "users.remove", "users.ask",
)  # fmt: skip
def test_logins_users_and_history(page: Page, portal: Portal) -> None:
    with portal.database.transaction() as session:
        main = session.merge(portal.main)
        to = Recipient("Hanna Palmer", "hanna@example.com", "de")
        invite(session, portal.manager, main, to, Role.ADMINISTRATOR, NOW)
        manager = session.get_one(User, portal.manager.user_id)
        join(session, manager, make_account(session))
        phone, _secret = begin_login(session, manager, "Firefox/1 (Android)", "192.0.2.1", NOW)
    sign_in(page, portal)
    users = f"/benutzer/{portal.main.customer_number}"
    own = f"{users}/{portal.manager.user_id}"
    logins = ("/anmeldung", "/anmeldung/daten", "/anmeldung/loeschen", "/anmeldung/andere/beenden")
    for path in ("/anfragen", "/anfragen?suche=nichts", *logins, "/nowhere", users, own):
        look(page, portal.url + path)
    for path in ("/anmeldung/passwort", f"/anmeldung/{phone.id}/beenden", users + "/einladen", own + "/entfernen"):
        look(page, portal.url + path)
        look_wrong(page)
    page.locator("summary").first.click()
    look_as_it_is(page)


@shows("users.tokens", "users.make_token", "users.end_token")
def test_api_tokens(page: Page, portal: Portal) -> None:
    sign_in(page, portal)
    tokens = f"{portal.url}/benutzer/{portal.main.customer_number}/api-token"
    look(page, tokens)
    look(page, tokens + "/neu")
    look_wrong(page)
    page.get_by_label("Name des Tokens").fill("Warenwirtschaft")
    page.get_by_label("Lesen, bestellen, ändern, kündigen, verknüpfen und lösen").check()
    page.get_by_label("Ihr Passwort").fill(PASSWORD)
    look_after(page, page.get_by_role("main").locator("form .primary"))
    look(page, tokens)
    with portal.database.transaction() as session:
        token = session.scalars(sa.select(ApiToken.id).order_by(ApiToken.id.desc()).limit(1)).one()
    look(page, f"{tokens}/{token}/widerrufen")
    look_after(page, page.get_by_role("main").locator("form .danger"))


@shows(
    "people.second_step", "people.confirm", "logins.set_up_app", "logins.set_up_passkey", "logins.remove_own_factor",
    "users.company_factor", "users.approval_limit",
)  # fmt: skip
def test_the_second_factor(page: Page, portal: Portal, clock: FakeClock) -> None:
    with portal.database.transaction() as session:
        for _ in range(2):
            give_app(session, session.get_one(User, portal.manager.user_id))
    page.goto(portal.url)
    page.get_by_label("E-Mail-Adresse").fill(portal.manager.email)
    page.get_by_label("Passwort").fill(PASSWORD)
    look_after(page, page.get_by_role("button", name="Anmelden"))
    look(page, portal.url + "/anmelden/faktor")
    look_wrong(page)
    enter_code_in_browser(page, clock.now)
    for path in ("/anmeldung/app", "/anmeldung/passkey", f"/benutzer/{portal.main.customer_number}/zweiter-faktor"):
        look(page, portal.url + path)
    setting = f"{portal.url}/benutzer/{portal.main.customer_number}/freigabe"
    look(page, setting)
    with portal.database.transaction() as session:
        join(session, make_user(session), session.merge(portal.main), Role.LOCATION_MANAGER)
    look(page, setting)
    look_wrong(page)
    look(page, portal.url + "/anmeldung/app")
    look_wrong(page)
    page.goto(portal.url + "/anmeldung")
    look_after(page, page.get_by_role("link", name="Entfernen").first)
    look_after(page, page.get_by_role("button", name="Entfernen"))
    look_after(page, page.get_by_role("button", name="Neue Wiederherstellungscodes erstellen"))
    clock.advance(timedelta(minutes=11))
    page.goto(portal.url + "/anmeldung")
    look_after(page, page.get_by_role("button", name="Neue Wiederherstellungscodes erstellen"))
    look_wrong(page)
    enter_code_in_browser(page, clock.now)
    look_as_it_is(page)
    look(page, portal.url + "/anmeldung/bestaetigen")
