"""Tests of linking an existing account in the browser, up to the live updates of the link request's page."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from models.accounts.accounts import Account
from models.people.users import User
from models.proofs.ownership import decide
from models.proofs.proofs import Decision
from models.requests.requests import Request
from tests.browser.conftest import Portal
from tests.browser.test_portal import assert_no_sideways_scrolling, sign_in, tab_to
from tests.browser.test_proofs import asked_owner
from tests.browser.visit import PHONE, Device, Pages
from tests.factories import NOW, PASSWORD, join, make_account, make_user
from tests.fakes import FakeClock
from tests.web.conftest import Back, back_of

START = "/standortverwaltung/hinzufuegen"


def owned(portal: Portal) -> tuple[Account, User]:
    """Create an account of another company. Return the account and its administrator."""
    with portal.database.transaction() as session:
        owner = make_user(session)
        return make_account(session, administrator=owner), owner


def begin(page: Page, portal: Portal, number: str) -> None:
    """Sign in as the manager, open the page that links an existing account, and submit `number`, a customer number."""
    sign_in(page, portal)
    page.goto(portal.url + START)
    page.get_by_label("Kundennummer").fill(number)
    page.get_by_role("button", name="Weiter").click()


def watch(page: Page, back: Back) -> None:
    """Run the workers, and expect the open page of the link request to show that the account is linked.

    Fails if the page had to be loaded again for that.
    """
    expect(page.get_by_role("heading", name="Verlauf")).to_be_visible()
    page.evaluate("window.same = true")
    back.advance()
    expect(page.get_by_text("gehört jetzt als Nebenaccount zu Ihrem Hauptaccount")).to_have_count(2)
    expect(page.get_by_text("Der Account steht jetzt in Ihrer Übersicht")).to_be_visible()
    expect(page.locator(".steps .is-done")).to_have_count(3)
    assert page.evaluate("window.same") is True


def test_with_the_other_accounts_login(page: Page, portal: Portal, clock: FakeClock) -> None:
    account, owner = owned(portal)
    begin(page, portal, account.customer_number)
    page.get_by_role("link", name="Mit den Zugangsdaten des anderen Accounts").click()
    expect(page.get_by_role("heading", name="Was bleibt, wie es ist")).to_be_visible()
    page.get_by_label("E-Mail-Adresse des anderen Zugangs").fill(owner.email)
    page.get_by_role("button", name="Account hinzufügen").click()
    page.get_by_role("alert").get_by_role("link", name="Bitte geben Sie das Passwort ein.").click()
    expect(page.get_by_label("Passwort des anderen Zugangs")).to_be_focused()
    expect(page.get_by_label("E-Mail-Adresse des anderen Zugangs")).to_have_value(owner.email)
    page.get_by_label("Passwort des anderen Zugangs").fill(PASSWORD)
    page.get_by_role("button", name="Account hinzufügen").dblclick()
    watch(page, back_of(portal.database, clock))
    with portal.database.transaction() as session:
        assert session.query(Request).filter_by(customer_number=account.customer_number).count() == 1


def test_in_english_by_the_keyboard_alone(page: Page, portal: Portal, clock: FakeClock) -> None:
    account, owner = owned(portal)
    sign_in(page, portal)
    page.goto(portal.url + START)
    tab_to(page, page.get_by_role("button", name="English"))
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Add an existing account")).to_be_visible()
    tab_to(page, page.get_by_label("Customer number"))
    page.keyboard.type("12")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_be_visible()
    tab_to(page, page.get_by_role("link", name="A customer number has seven digits."))
    page.keyboard.press("Enter")
    expect(page.get_by_label("Customer number")).to_be_focused()
    page.keyboard.press("Control+A")
    page.keyboard.type(account.customer_number)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="How do you prove")).to_be_visible()
    tab_to(page, page.get_by_role("link", name="With the other account's login"))
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="The other account's login")).to_be_visible()
    tab_to(page, page.get_by_label("E-mail address of the other login"))
    page.keyboard.type(owner.email)
    tab_to(page, page.get_by_label("Password of the other login"))
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Timeline")).to_be_visible()
    back_of(portal.database, clock).advance()
    expect(page.get_by_text("The account is now in your overview.")).to_be_visible()


def test_what_is_being_typed_stays_while_the_timeline_grows(page: Page, portal: Portal, clock: FakeClock) -> None:
    back, owner, id = asked_owner(portal, clock)
    sign_in(page, portal)
    page.goto(f"{portal.url}/anfragen/{id}")
    page.get_by_label("Code").fill("ABCDE")
    lines = page.locator(".timeline li")
    before = lines.count()
    clock.advance(NOW.resolution * 7 * 24 * 3600 * 1_000_000)
    back.advance()
    expect(lines).to_have_count(before + 1)
    expect(page.locator("[data-live-said]")).to_contain_text("Wir erinnern die Administratoren")
    expect(page.get_by_label("Code")).to_have_value("ABCDE")
    expect(page.get_by_label("Code")).to_be_focused()
    with portal.database.transaction() as session:
        link, person = session.get_one(Request, id), session.get_one(User, owner.id)
        assert decide(session, back.runtime.vault, link, person, Decision.ACCEPTED, None, clock())
    back.advance()
    expect(page.get_by_text("Der Account steht jetzt in Ihrer Übersicht")).to_be_visible()
    expect(page.get_by_label("Code")).to_be_focused()
    page.get_by_role("heading", name="Verlauf").click()
    expect(page.get_by_label("Code")).to_have_count(0)


def test_the_page_goes_on_after_a_lost_connection(page: Page, portal: Portal, clock: FakeClock) -> None:
    back, owner, id = asked_owner(portal, clock)
    sign_in(page, portal)
    page.goto(f"{portal.url}/anfragen/{id}")
    expect(page.get_by_role("heading", name="Verlauf")).to_be_visible()
    page.context.set_offline(True)
    expect(page.locator("[data-live-note]")).to_contain_text("Gerade keine Verbindung", timeout=20_000)
    with portal.database.transaction() as session:
        link, person = session.get_one(Request, id), session.get_one(User, owner.id)
        assert decide(session, back.runtime.vault, link, person, Decision.DECLINED, None, clock())
    back.advance()
    page.context.set_offline(False)
    expect(page.get_by_role("link", name="Neue Anfrage stellen")).to_be_visible()
    expect(page.locator("[data-live-note]")).to_be_hidden()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.wait_for_timeout(3000)
    assert asked == []


@pytest.mark.parametrize("device", [Device(size=PHONE), Device(size=PHONE, scripts=False)], ids=str)
def test_the_pages_fit_a_phone_and_work_without_scripts(pages: Pages, portal: Portal, device: Device) -> None:
    account, owner = owned(portal)
    with portal.database.transaction() as session:
        join(session, session.get_one(User, portal.manager.user_id), make_account(session))
    phone = pages.open(device)
    begin(phone, portal, account.customer_number)
    for proof in ("Zugangsdaten", "Verknüpfungscode", "Zustimmung"):
        assert_no_sideways_scrolling(phone)
        phone.get_by_role("main").get_by_role("link", name=re.compile(proof)).click()
        assert_no_sideways_scrolling(phone)
        phone.get_by_role("link", name="Zurück zu den Nachweisen").click()
    phone.get_by_role("link", name="Zurück zur Kundennummer").click()
    assert_no_sideways_scrolling(phone)
    expect(phone.get_by_label("Kundennummer")).to_have_value(account.customer_number)
    phone.get_by_role("button", name="Weiter").click()
    phone.get_by_role("main").get_by_role("link", name=re.compile("Zugangsdaten")).click()
    phone.get_by_label("E-Mail-Adresse des anderen Zugangs").fill(owner.email)
    phone.get_by_label("Passwort des anderen Zugangs").fill(PASSWORD)
    phone.get_by_role("button", name="Account hinzufügen").click()
    expect(phone.get_by_role("heading", name="Verlauf")).to_be_visible()
    assert_no_sideways_scrolling(phone)
