"""Tests in the browser that the portal can be used by keyboard, in English, and on a narrow screen.

After a wrong password the sign-in page keeps the typed e-mail address.
"""

from __future__ import annotations

import re

from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import Portal
from tests.browser.signing_in import sign_in_without_form
from tests.factories import PASSWORD

SEED = "Wir haben den Auftrag erhalten und beginnen zeitnah mit der Umsetzung"

# The visible focus: the outline's style and width, and whether the element is on the screen.
_OUTLINE = """element => {
    const style = getComputedStyle(element), box = element.getBoundingClientRect();
    // A page scrolls by whole pixels, but boxes have fractions of them.
    const on_screen = box.width > 0 && box.left > -1 && box.top > -1
        && box.right < innerWidth + 1 && box.bottom < innerHeight + 1;
    return [style.outlineStyle, parseFloat(style.outlineWidth), on_screen];
}"""


def send_form(page: Page, portal: Portal, password: str, email: str | None = None) -> None:
    """Submit the sign-in form with this e-mail address (None: the manager's) and this password."""
    page.goto(portal.url)
    page.get_by_label("E-Mail-Adresse").fill(email or portal.manager.email)
    page.get_by_label("Passwort").fill(password)
    page.get_by_role("button", name="Anmelden").click()


def sign_in_by_form(page: Page, portal: Portal) -> None:
    """Sign in as the manager with the mouse, and expect the overview."""
    send_form(page, portal, PASSWORD)
    expect(page).to_have_url(portal.url + "/standortverwaltung")


def sign_in(page: Page, portal: Portal) -> None:
    """Sign in as the manager without the form. Opens no page."""
    sign_in_without_form(page, portal.app, portal.url, portal.manager.email)


def open_overview(page: Page, portal: Portal) -> None:
    """Sign in as the manager without the form, and open the overview."""
    sign_in(page, portal)
    page.goto(portal.url + "/standortverwaltung")


def card(page: Page, customer_number: str) -> Locator:
    """Return the card of the account with this customer number on the overview."""
    return page.get_by_role("listitem").filter(has_text=customer_number)


def tab_to(page: Page, target: Locator) -> None:
    """Press Tab until the target has the focus. Fails if the focus is not visible at any stop."""
    page.wait_for_load_state("load")
    for _ in range(40):
        page.keyboard.press("Tab")
        focused = page.locator(":focus")
        # The calendar's button inside a date field has the browser's own outline, and is not seen from here.
        if focused.count():
            style, width, on_screen = focused.evaluate(_OUTLINE)
            assert style == "solid" and width >= 2 and on_screen, focused.inner_text()
        if target.evaluate("element => element === document.activeElement"):
            return
    raise AssertionError(f"the keyboard does not reach {target}")


def assert_no_sideways_scrolling(page: Page) -> None:
    """Fail if the page is wider than the screen, once its styles are loaded."""
    page.wait_for_load_state("load")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), page.url


def test_the_skip_link_leads_past_the_menu(page: Page, portal: Portal) -> None:
    open_overview(page, portal)
    tab_to(page, page.get_by_role("link", name="Zum Inhalt springen"))
    page.keyboard.press("Enter")
    expect(page.get_by_role("main")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Nebenaccount hinzufügen")).to_be_focused()


def test_a_wrong_password_is_said_and_the_address_kept(page: Page, portal: Portal) -> None:
    send_form(page, portal, "wrong")
    summary = page.get_by_role("alert")
    expect(summary).to_contain_text("Bitte prüfen Sie Ihre Eingaben")
    expect(page.get_by_label("E-Mail-Adresse")).to_have_value(portal.manager.email)
    expect(page.get_by_label("Passwort")).to_have_value("")
    summary.get_by_role("link", name="E-Mail-Adresse oder Passwort stimmt nicht.").click()
    expect(page.get_by_label("E-Mail-Adresse")).to_be_focused()


def test_a_visit_in_english(page: Page, portal: Portal) -> None:
    sign_in_by_form(page, portal)
    page.get_by_role("button", name="English").click()
    expect(page.locator("html")).to_have_attribute("lang", "en")
    expect(page.get_by_role("heading", name="Company locations")).to_be_visible()
    expect(card(page, portal.ordered).get_by_text("New", exact=True)).to_be_visible()
    page.get_by_role("link", name=f"Show progress of {portal.ordered}").click()
    expect(page).to_have_url(re.compile(r"/anfragen/[0-9a-f-]{36}$"))
    expect(page.get_by_role("heading", name="Timeline")).to_be_visible()
    [entry] = page.locator(".timeline").get_by_role("listitem").all()
    # In German time, whatever the machine's time zone is.
    expect(entry).to_contain_text("2 March 2026, 09:00")
    expect(entry).to_contain_text(f"Customer number {portal.ordered} is reserved.")
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    page.go_back()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


def test_nothing_runs_out_of_a_narrow_screen(page: Page, portal: Portal) -> None:
    page.set_viewport_size({"width": 320, "height": 640})
    page.goto(portal.url)
    assert_no_sideways_scrolling(page)
    send_form(page, portal, "wrong")
    expect(page.get_by_role("alert")).to_be_visible()
    assert_no_sideways_scrolling(page)
    sign_in_by_form(page, portal)
    assert_no_sideways_scrolling(page)
    page.get_by_role("link", name=f"Verlauf von {portal.ordered} anzeigen").click()
    expect(page.get_by_role("heading", name="Verlauf")).to_be_visible()
    assert_no_sideways_scrolling(page)
    page.get_by_role("link", name="Verlauf", exact=True).click()
    expect(page.get_by_role("heading", name="Verlauf")).to_be_visible()
    expect(page.get_by_role("link", name=f"Kundennummer: {portal.ordered}")).to_be_visible()
    assert_no_sideways_scrolling(page)
    page.goto(portal.url + "/nowhere")
    expect(page.get_by_role("heading", name="Diese Seite finden wir nicht")).to_be_visible()
    assert_no_sideways_scrolling(page)
