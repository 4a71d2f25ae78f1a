"""Test of a local team in the browser: the invited person accepts and sees the location, and only that."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from models.orders.orders import LocalUser, submit_order
from models.people.users import principal_of
from tests.browser.visit import DESKTOP, PHONE, Visit, Way, link_in
from tests.factories import NOW, ORDER, an_order, prove_contact

PASSWORD = "vier Wörter die bleiben"


@pytest.mark.parametrize("visit", [DESKTOP, Way("en", PHONE)], indirect=True, ids=str)
def test_the_contact_accepts_the_invitation_signs_in_and_sees_only_the_location(visit: Visit) -> None:
    contact = ORDER.contact
    with visit.database.transaction() as session:
        main = session.merge(visit.main)
        prove_contact(session, main)
        draft = an_order(local_user=LocalUser(contact.name, contact.email), locale=visit.way.language)
        number = submit_order(session, principal_of(session, visit.person), main, draft, NOW).customer_number
    visit.workers.work()
    say, hanna = visit.say, visit.of(visit.person)
    page = hanna.page
    mail = visit.workers.mail_to(contact.email)
    assert number in mail and visit.person.name in mail and visit.main.customer_number in mail
    page.goto(link_in(mail))
    hanna.sees("Willkommen, {}", contact.name)
    expect(page.get_by_role("main")).to_contain_text(visit.main.customer_number)
    hanna.field("Neues Passwort").fill(PASSWORD)
    hanna.button("Einladung annehmen").click()
    hanna.sees(ORDER.location.name)
    hanna.sees("Ihre ersten Schritte")
    hanna.button("Abmelden").click()
    hanna.field("E-Mail-Adresse").fill(contact.email)
    hanna.field("Passwort").fill(PASSWORD)
    hanna.button("Anmelden").click()
    hanna.sees(ORDER.location.name)
    expect(page).to_have_url(f"{visit.url}/standortverwaltung/{number}")
    steps = page.locator("#first-steps")
    for words in ("Zugangsdaten abrufen", "Rufweiterleitung einrichten", "Kollegen einladen"):
        steps.get_by_role("link", name=say(words), exact=True).click()
        assert number in page.url
        page.goto(f"{visit.url}/standortverwaltung/{number}")
    # The main account and its pages are not hers.
    expect(page.get_by_role("link", name=visit.main.customer_number)).to_have_count(0)
    for path in (visit.main.customer_number, "neu", "hinzufuegen"):
        answer = page.goto(f"{visit.url}/standortverwaltung/{path}")
        assert answer is not None and answer.status in (403, 404), path
    answer = page.goto(f"{visit.url}/benutzer/{visit.main.customer_number}")
    assert answer is not None and answer.status == 404
