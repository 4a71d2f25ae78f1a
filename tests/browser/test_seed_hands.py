"""Tests of ordering and linking as the specification describes, with the keyboard alone and with repeated presses."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Locator, expect

from tests.browser.test_portal import tab_to
from tests.browser.test_seed import fill_in_the_order
from tests.browser.visit import DESKTOP, Device, Visit
from tests.factories import PASSWORD

TWICE = "button => { button.click(); button.click(); }"


def press(visit: Visit, target: Locator, key: str = "Enter") -> None:
    """Press Tab until `target` has the focus, then press `key`; fail if the focus is invisible on the way."""
    tab_to(visit.page, target)
    visit.page.keyboard.press(key)


def write(visit: Visit, words: str, typed: str) -> None:
    """Press Tab until the field with the label `words` has the focus, then type `typed`.

    `words` is German; the label is looked for in the visit's language.
    """
    tab_to(visit.page, visit.field(words))
    visit.page.keyboard.type(typed)


@pytest.mark.parametrize("visit", [DESKTOP, Device("en")], indirect=True, ids=str)
def test_an_order_by_the_keyboard_alone(visit: Visit) -> None:
    page = visit.page
    page.goto(visit.url)
    write(visit, "E-Mail-Adresse", visit.person.email)
    write(visit, "Passwort", PASSWORD)
    page.keyboard.press("Enter")
    visit.sees("Unternehmensstandorte")
    press(visit, page.locator("summary").filter(has_text=visit.say("Mein Produkt")))
    press(visit, visit.link("Standortverwaltung"))
    visit.sees("Unternehmensstandorte")
    press(visit, visit.link("Nebenaccount hinzufügen"))
    visit.sees("Nebenaccount hinzufügen")
    press(visit, visit.choice("Neuen Nebenaccount erstellen"))
    visit.sees("Produkt und Optionen")
    # Tab reaches the first choice; the arrow key selects the second.
    tab_to(page, page.get_by_role("radio").first)
    page.keyboard.press("ArrowDown")
    expect(page.get_by_label(visit.say("SIP-Trunk mit 10 Kanälen"))).to_be_checked()
    press(visit, page.get_by_role("checkbox").first, "Space")
    expect(page.get_by_role("checkbox").first).to_be_checked()
    # The option shows the field that it needs.
    write(visit, "Mobilfunknummer für die Notfall-Umleitung", "0151 23456789")
    page.keyboard.press("Enter")
    visit.sees("Standort")
    write(visit, "Name des Standorts", "Filiale Mitte")
    write(visit, "Straße und Hausnummer", "Brückenstr. 5")
    write(visit, "Postleitzahl", "10179")
    write(visit, "Ort", "Berlin")
    # Enter in a field submits the step, not a link of the list of steps.
    page.keyboard.press("Enter")
    visit.sees("Rufnummern")
    tab_to(page, page.get_by_role("radio").first)
    page.keyboard.press("ArrowDown")
    press(visit, visit.button("Weiter"))
    visit.sees("Ansprechperson")
    # Going back by the list of steps and forward again loses no input.
    press(visit, visit.button("Standort (erledigt)"))
    visit.sees("Standort")
    expect(visit.field("Name des Standorts")).to_have_value("Filiale Mitte")
    press(visit, visit.button("Ansprechperson"))
    visit.sees("Ansprechperson")
    press(visit, visit.button("Meine Angaben übernehmen"))
    expect(visit.field("E-Mail-Adresse der Ansprechperson")).to_have_value(visit.person.email)
    press(visit, visit.button("Weiter: alles prüfen"))
    visit.sees("Zusammenfassung")
    press(visit, visit.button("zahlungspflichtig bestellen"))
    visit.sees("Unternehmensstandorte")
    [order] = visit.requests()
    press(visit, visit.link("Verlauf von {} anzeigen", order.customer_number))
    visit.sees("Verlauf")
    press(visit, visit.button("Abmelden"))
    visit.sees("Anmelden")


def test_however_often_one_presses_it_is_one_order(visit: Visit) -> None:
    visit.add_account("Neuen Nebenaccount erstellen")
    fill_in_the_order(visit)
    summary, tabs = visit.page.url, [visit.page.context.new_page() for _ in range(2)]
    for tab in tabs:
        tab.goto(summary)
    # Pressed twice in each tab, in all tabs at once.
    for tab in (visit.page, *tabs):
        tab.get_by_role("button", name="zahlungspflichtig bestellen").evaluate(TWICE)
    for tab in (visit.page, *tabs):
        expect(tab).to_have_url(re.compile(r"/standortverwaltung#konto-\d{7}$"))
    [order] = visit.requests()
    for tab in tabs:
        tab.reload()
        cards = tab.get_by_role("main").get_by_role("listitem")
        expect(cards.filter(has_text="Kundennummer:")).to_have_count(2)
        expect(cards.filter(has_text=f"Kundennummer: {order.customer_number}")).to_have_count(1)
    visit.page.go_back()
    visit.sees("Unternehmensstandorte")
    already = "Diese Bestellung ist schon aufgegeben. Der neue Nebenaccount hat die Kundennummer {}."
    expect(visit.text(already, order.customer_number)).to_be_visible()
    assert len(visit.requests()) == 1
