"""Tests in the browser that a sub-account can be ordered, with the mouse and on a phone.

Nothing that was typed is lost: not before the script is loaded, not by the button Back, not when the session ends.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import sqlalchemy as sa
from playwright.sync_api import Page, Route, expect

from models.orders.drafts import Draft
from models.requests.requests import Request
from tests.browser.axe import assert_accessible
from tests.browser.conftest import Portal
from tests.browser.test_portal import SEED, assert_no_sideways_scrolling, card, sign_in
from tests.browser.visit import Pages
from tests.factories import PASSWORD
from tests.fakes import wait_until

NEW = "/standortverwaltung/neu"


def orders_in(portal: Portal) -> Sequence[str]:
    """Return the customer numbers of the orders that the test has placed; the fixture's order is left out."""
    with portal.database.transaction() as session:
        numbers = session.scalars(sa.select(Request.customer_number).order_by(Request.id))
        return [number for number in numbers if number != portal.ordered]


def chosen_product(portal: Portal) -> str:
    """Return the product key that is saved in the only draft."""
    with portal.database.transaction() as session:
        chosen: str = session.scalars(sa.select(Draft)).one().data["product"]
        return chosen


def go_on(page: Page, name: str = "Weiter") -> None:
    """Press the button with this name below the form of the order's current step."""
    page.locator(".order-main").get_by_role("button", name=name, exact=True).click()


def step(page: Page, title: str) -> None:
    """Expect the page of the order's step with this title.

    The title must be the page's heading, and be marked as the current one in the list of steps.
    """
    expect(page.get_by_role("heading", name=title, exact=True).first).to_be_visible()
    expect(page.locator("[aria-current=step]")).to_contain_text(title)


def fill_location(page: Page) -> None:
    """Fill in the fields of the connection address with valid values."""
    page.get_by_label("Name des Standorts").fill("Filiale Hafen")
    page.get_by_label("Straße und Hausnummer").fill("Brückenstr. 5")
    page.get_by_label("Postleitzahl").fill("10179")
    page.get_by_label("Ort", exact=True).fill("Berlin")


def fill_up_to_the_summary(page: Page, portal: Portal) -> None:
    """Fill in every step of an order with valid values, by mouse, until the summary is shown."""
    page.goto(portal.url + NEW)
    page.get_by_label("SIP-Trunk mit 2 Kanälen").check()
    go_on(page)
    fill_location(page)
    go_on(page)
    page.get_by_label("Rufnummernblock mit 10 Nummern").check()
    go_on(page)
    page.get_by_role("button", name="Meine Angaben übernehmen").click()
    expect(page.get_by_label("Name der Ansprechperson")).not_to_have_value("")
    go_on(page, "Weiter: alles prüfen")
    step(page, "Zusammenfassung")


def test_an_order_in_german_with_the_mouse(page: Page, portal: Portal) -> None:
    sign_in(page, portal)
    page.goto(portal.url + NEW)
    step(page, "Produkt und Optionen")
    basket = page.get_by_role("region", name="Ihr Warenkorb")
    expect(basket).to_contain_text("Noch ist nichts ausgewählt.")
    go_on(page)
    page.get_by_role("alert").get_by_role("link", name="Wählen Sie ein Produkt.").click()
    expect(page.get_by_label("SIP-Trunk mit 2 Kanälen")).to_be_focused()
    page.get_by_text("SIP-Trunk mit 10 Kanälen").click()
    # The basket and the draft are updated before the step is submitted.
    expect(basket.get_by_role("row", name="Brutto")).to_contain_text("35,58")
    expect(page.get_by_role("status").filter(has_text="Gespeichert.")).to_be_visible()
    fallback = page.get_by_label("Mobilfunknummer für die Notfall-Umleitung")
    expect(fallback).to_be_hidden()
    page.get_by_label("Notfall-Umleitung auf Mobilfunk").check()
    fallback.fill("0151 23456789")
    go_on(page)
    step(page, "Standort")
    fill_location(page)
    expect(page.get_by_text("Vorwahl für Berlin: 030 (Berlin)")).to_be_visible()
    go_on(page)
    step(page, "Rufnummern")
    expect(page.get_by_label("Vorwahl")).to_have_value("030")
    page.get_by_label("Vorwahl").fill("089")
    wrong = "Diese Vorwahl passt nicht zur Adresse. Passende Vorwahlen: 030 (Berlin)"
    expect(page.get_by_role("status").filter(has_text=wrong)).to_be_visible()
    page.get_by_label("Vorwahl").fill("030")
    expect(page.get_by_text("030 ist die Vorwahl von Berlin und passt zu Berlin.")).to_be_visible()
    page.get_by_label("Rufnummernblock mit 10 Nummern").check()
    expect(page.get_by_text("Unter 030 sind 20 Blöcke mit je 10 Rufnummern frei.")).to_be_visible()
    go_on(page)
    step(page, "Ansprechperson")
    page.get_by_label("Name der Ansprechperson").fill("Hanna Palmer")
    page.get_by_label("E-Mail-Adresse der Ansprechperson").fill("hanna.palmer@example.com")
    go_on(page, "Weiter: alles prüfen")
    step(page, "Zusammenfassung")
    expect(page.get_by_role("main")).to_contain_text("hanna.palmer@example.com. Die Adresse muss")
    page.get_by_role("link", name="Ändern: Standort").click()
    expect(page.get_by_label("Name des Standorts")).to_have_value("Filiale Hafen")
    page.get_by_label("Name des Standorts").fill("Filiale Spree")
    page.get_by_role("button", name="Zusammenfassung").click()
    expect(page.get_by_role("main")).to_contain_text("Filiale Spree")
    page.get_by_role("button", name="zahlungspflichtig bestellen").click()
    expect(page).to_have_url(re.compile(r"/standortverwaltung#konto-\d{7}$"))
    [number] = orders_in(portal)
    expect(page.locator(".notice")).to_contain_text(f"Kundennummer {number}")
    expect(card(page, f"Kundennummer: {number}")).to_contain_text(SEED)
    expect(card(page, f"Kundennummer: {number}")).to_contain_text("Filiale Spree")


def test_what_is_typed_before_the_script_has_arrived_is_saved_and_answered(page: Page, portal: Portal) -> None:
    sign_in(page, portal)
    page.goto(portal.url + NEW)
    page.get_by_label("SIP-Trunk mit 2 Kanälen").check()
    held: list[Route] = []
    page.route("**/js/orders.js", lambda route: held.append(route))
    go_on(page)
    fill_location(page)
    while not held:
        page.wait_for_event("request")
    held[0].continue_()
    expect(page.get_by_text("Vorwahl für Berlin: 030 (Berlin)")).to_be_visible()
    expect(page.get_by_role("status").filter(has_text="Gespeichert.")).to_be_visible()


def test_the_browsers_back_button_loses_nothing(page: Page, portal: Portal) -> None:
    sign_in(page, portal)
    fill_up_to_the_summary(page, portal)
    page.go_back()
    expect(page.get_by_label("E-Mail-Adresse der Ansprechperson")).to_have_value(portal.manager.email)
    while "/produkt" not in page.url:
        page.go_back()
    expect(page.get_by_label("SIP-Trunk mit 2 Kanälen")).to_be_checked()
    page.get_by_label("SIP-Trunk mit 50 Kanälen").check()
    # Leaving the page saves the input, without a submit or a wait.
    page.go_forward()
    wait_until(lambda: chosen_product(portal) == "trunk-50", what="the save on leaving the page")
    step(page, "Standort")
    page.reload()
    expect(page.get_by_label("Name des Standorts")).to_have_value("Filiale Hafen")
    expect(page.get_by_role("region", name="Ihr Warenkorb")).to_contain_text("SIP-Trunk mit 50 Kanälen")
    page.get_by_role("button", name="Zusammenfassung").click()
    page.get_by_role("button", name="zahlungspflichtig bestellen").click()
    expect(page).to_have_url(re.compile(r"/standortverwaltung#konto-\d{7}$"))
    page.go_back()
    expect(page.locator(".notice")).to_contain_text("Diese Bestellung ist schon aufgegeben.")
    assert len(orders_in(portal)) == 1


def test_a_session_that_ends_amid_an_order_loses_nothing(page: Page, portal: Portal) -> None:
    sign_in(page, portal)
    page.goto(portal.url + NEW)
    page.get_by_label("SIP-Trunk mit 2 Kanälen").check()
    go_on(page)
    page.context.clear_cookies()
    fill_location(page)
    # The page says so while the user types, and again when it is sent.
    expect(page.locator("#saved")).to_contain_text("Sie sind nicht mehr angemeldet.")
    go_on(page)
    expect(page.get_by_role("heading", name="Anmelden")).to_be_visible()
    expect(page.locator(".notice")).to_contain_text("Was Sie eingegeben haben, bleibt eine Stunde lang erhalten")
    assert_accessible(page)
    assert_no_sideways_scrolling(page)
    page.get_by_label("E-Mail-Adresse").fill(portal.manager.email)
    page.get_by_label("Passwort").fill(PASSWORD)
    page.get_by_role("button", name="Anmelden").click()
    expect(page.get_by_role("heading", name="Ihre Eingaben sind noch da")).to_be_visible()
    assert_accessible(page)
    assert_no_sideways_scrolling(page)
    page.get_by_role("button", name="Jetzt senden").click()
    step(page, "Rufnummern")
    page.locator(".order-main").get_by_role("button", name="Zurück", exact=True).click()
    expect(page.get_by_label("Name des Standorts")).to_have_value("Filiale Hafen")
    expect(page.get_by_label("Postleitzahl")).to_have_value("10179")


def test_the_offers_link_resumes_the_order(page: Page, portal: Portal, pages: Pages) -> None:
    sign_in(page, portal)
    fill_up_to_the_summary(page, portal)
    with page.expect_download() as saved:
        page.get_by_role("link", name="Angebot als PDF speichern").click()
    assert re.fullmatch(r"Angebot-\w{6}\.pdf", saved.value.suggested_filename)
    link = page.url.rsplit("/", 1)[0]
    other = pages.open()
    other.goto(link)
    expect(other.get_by_role("heading", name="Anmelden")).to_be_visible()
    other.get_by_label("E-Mail-Adresse").fill(portal.manager.email)
    other.get_by_label("Passwort").fill(PASSWORD)
    other.get_by_role("button", name="Anmelden").click()
    step(other, "Zusammenfassung")
    expect(other.get_by_role("main")).to_contain_text("Filiale Hafen")


def test_nothing_runs_out_of_a_phone(page: Page, portal: Portal) -> None:
    page.set_viewport_size({"width": 320, "height": 640})
    sign_in(page, portal)
    page.goto(portal.url + NEW)
    go_on(page)
    expect(page.get_by_role("alert")).to_be_visible()
    assert_no_sideways_scrolling(page)
    fill_up_to_the_summary(page, portal)
    draft = page.url.rsplit("/", 1)[0]
    for slug in ("produkt", "standort", "rufnummern", "kontakt", "zusammenfassung"):
        page.goto(f"{draft}/{slug}")
        assert_no_sideways_scrolling(page)
        # The price is visible without scrolling.
        expect(page.locator(".basket-bar")).to_be_in_viewport()
        expect(page.locator(".basket-bar")).to_contain_text("12,80")
    page.goto(portal.url + NEW + "/entwuerfe")
    expect(page.get_by_role("link", name="Fortsetzen: Filiale Hafen")).to_be_visible()
    assert_no_sideways_scrolling(page)
