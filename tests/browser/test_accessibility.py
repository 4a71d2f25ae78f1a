"""Every page: axe-core finds nothing, it is valid HTML, and it fits into a narrow screen."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page

from models.invitations import invite
from models.logins import ask_for_reset
from models.messages import Recipient
from models.people import Role
from tests.browser.axe import assert_accessible
from tests.browser.conftest import Portal
from tests.browser.test_portal import assert_no_sideways_scrolling, send_form, sign_in
from tests.browser.test_proofs import CONTACT, asked_owner, waiting_order
from tests.factories import NOW, PASSWORD, make_account, make_user
from tests.fakes import FakeClock
from tests.web.html import assert_valid
from tests.web.test_account_pages import link_to


def look(page: Page, address: str) -> None:
    """Look at a page from all sides."""
    answer = page.goto(address)
    assert answer is not None
    assert_valid(answer.text())
    look_as_it_is(page)


def look_as_it_is(page: Page) -> None:
    """The same, at the page that is open."""
    page.set_viewport_size({"width": 320, "height": 640})
    assert_no_sideways_scrolling(page)
    page.set_viewport_size({"width": 1280, "height": 800})
    assert_accessible(page)


@pytest.fixture(params=["de", "en"])
def spoken(request: pytest.FixtureRequest, page: Page, portal: Portal) -> None:
    """A browser that speaks this language."""
    if request.param == "en":
        page.goto(portal.url)
        page.get_by_role("button", name="English").click()
        page.get_by_role("heading", name="Sign in").wait_for()


@pytest.mark.usefixtures("spoken")
def test_pages_without_a_login(page: Page, portal: Portal, clock: FakeClock) -> None:
    back, _ = waiting_order(portal, clock)
    consent, owner, _ = asked_owner(portal, clock)
    with portal.database.transaction() as session:
        ask_for_reset(session, portal.manager.email, NOW)
        main = session.merge(portal.main)
        to = Recipient("Hanna Palmer", "hanna@example.com", "de")
        invite(session, portal.manager, main, to, Role.ADMINISTRATOR, NOW)
    reset, invitation = link_to(back, portal.manager.email), link_to(back, "hanna@example.com")
    for path in ("/anmelden", "/passwort", "/passwort/unterwegs", "/brief", "/nowhere", reset, reset + "x", invitation):
        look(page, portal.url + path)
    for path, _ in (back.mail_to(CONTACT), consent.mail_to(owner.email)):
        look(page, portal.url + path)


def test_pages_with_a_login(page: Page, portal: Portal) -> None:
    with portal.database.transaction() as session:
        main = session.merge(portal.main)
        to = Recipient("Hanna Palmer", "hanna@example.com", "de")
        invite(session, portal.manager, main, to, Role.ADMINISTRATOR, NOW)
        make_user(session)
    sign_in(page, portal)
    request = page.get_by_role("link", name=f"Verlauf von {portal.ordered} anzeigen").get_attribute("href")
    users = f"/benutzer/{portal.main.customer_number}"
    own = f"{users}/{portal.manager.user_id}"
    account = ("/anmeldung", "/anmeldung/passwort", users, users + "/einladen", own, own + "/entfernen")
    for path in ("/standortverwaltung", "/anfragen", f"{request}", f"{request}/stornieren", *account):
        look(page, portal.url + path)
    page.locator("summary").first.click()
    look_as_it_is(page)


def test_a_form_that_is_wrong(page: Page, portal: Portal) -> None:
    send_form(page, portal, "wrong")
    look_as_it_is(page)


def test_link_codes(page: Page, portal: Portal) -> None:
    with portal.database.transaction() as session:
        owner = make_user(session)
        make_account(session, administrator=owner)
    page.goto(portal.url)
    page.get_by_label("E-Mail-Adresse").fill(owner.email)
    page.get_by_label("Passwort").fill(PASSWORD)
    page.get_by_role("button", name="Anmelden").click()
    look(page, portal.url + "/verknuepfungscode")
    for _ in range(2):
        page.goto(portal.url + "/verknuepfungscode")
        page.get_by_role("button", name="Verknüpfungscode erstellen").click()
        page.get_by_role("heading", level=1).wait_for()
        look_as_it_is(page)
