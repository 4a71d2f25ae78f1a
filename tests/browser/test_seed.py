"""Tests in a browser of ordering a sub-account, from the menu Mein Produkt to the active account.

Also of orders that are cancelled, expire or are retried, and of detaching.
"""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Locator, expect

from models.accounts.hierarchy import attach
from models.calendar_days import end_of_day
from models.people.users import principal_of
from models.proofs.deadlines import VALID_FOR
from models.requests.requests import Request
from models.states import Origin
from tasks.ports import GatewayRefused
from tests.browser.test_portal import SEED
from tests.browser.visit import EVERYWHERE, ONCE_EACH, Device, Visit
from tests.browser.working import code_in, link_in
from tests.factories import NOW, ORDER, make_account, make_user, prove_contact, submit_order

CONTACT = "hanna@mustermensch.example"


def ordered(visit: Visit, *, proved: bool = False) -> Request:
    """Place an order for the visit's main account without the browser, and return it.

    With `proved`, record first that the contact's e-mail address and the connection address are proved.
    """
    with visit.database.transaction() as session:
        main = session.merge(visit.main)
        if proved:
            prove_contact(session, main)
        order = submit_order(session, principal_of(session, visit.person), main, ORDER, NOW)
    return order


def reads(card: Locator, *lines: str) -> None:
    """Expect that the card contains these texts in this order; other text may stand between them."""
    expect(card).to_contain_text(re.compile(".*".join(map(re.escape, lines)), re.DOTALL))


def fill_in_the_order(visit: Visit) -> None:
    """Fill in the order's five steps, up to the summary."""
    visit.sees("Produkt und Optionen")
    visit.page.get_by_label(visit.say("SIP-Trunk mit 10 Kanälen")).check()
    visit.button("Weiter").click()
    visit.sees("Standort")
    for words, typed in (
        ("Name des Standorts", "Filiale Mitte"),
        ("Straße und Hausnummer", "Brückenstr. 5"),
        ("Postleitzahl", "10179"),
        ("Ort", "Berlin"),
    ):
        visit.field(words).fill(typed)
    visit.button("Weiter").click()
    visit.sees("Rufnummern")
    expect(visit.field("Vorwahl")).to_have_value("030")
    visit.page.get_by_label(visit.say("Rufnummernblock mit 10 Nummern")).check()
    visit.button("Weiter").click()
    visit.sees("Ansprechperson")
    visit.field("Name der Ansprechperson").fill("Hanna Palmer")
    visit.field("E-Mail-Adresse der Ansprechperson").fill(CONTACT)
    visit.button("Weiter: alles prüfen").click()
    visit.sees("Zusammenfassung")


def confirm_by_code(hanna: Visit, number: str) -> None:
    """Prove an order's e-mail address and connection address with the codes from the order's mail and letter.

    `hanna` is the visit of the order's contact, `number` the customer number of the ordered account.
    """
    mail = hanna.workers.mail_to(CONTACT)
    hanna.page.goto(link_in(mail))
    hanna.sees("E-Mail-Adresse bestätigen")
    hanna.field("Code").fill(code_in(mail))
    hanna.button("Adresse bestätigen").click()
    hanna.sees("Die E-Mail-Adresse ist bestätigt")
    letter = hanna.workers.letter_to(number)
    hanna.page.goto(link_in(letter))
    hanna.sees("Anschlussadresse bestätigen")
    hanna.field("Kundennummer").fill(number)
    hanna.field("Code").fill(code_in(letter))
    hanna.button("Adresse bestätigen").click()
    hanna.sees("Die Anschlussadresse ist bestätigt")


@pytest.mark.parametrize("visit", [*EVERYWHERE, Device(scripts=False)], indirect=True, ids=str)
def test_a_new_account_is_ordered_and_listed_and_comes_to_life(visit: Visit) -> None:
    visit.add_account("Neuen Nebenaccount erstellen", by_form=True)
    fill_in_the_order(visit)
    visit.button("zahlungspflichtig bestellen").click()
    visit.sees("Unternehmensstandorte")
    [order] = visit.requests()
    number = order.customer_number
    expect(
        visit.text("Vielen Dank für Ihre Bestellung. Der neue Nebenaccount hat die Kundennummer {}.", number)
    ).to_be_visible()
    main, fresh = visit.card(visit.main.customer_number), visit.card(number)
    say = visit.say
    reads(
        main,
        say("Hauptaccount"),
        say("Kundennummer: {}", visit.main.customer_number),
        "Maxi Mustermensch",
        "Oranienplatz 1, Berlin",
        say("Dashboard anzeigen {}", visit.main.customer_number),
    )
    reads(
        fresh,
        say("Nebenaccount"),
        say("Kundennummer: {}", number),
        "Hanna Palmer",
        "Brückenstr. 5, Berlin",
        say("Dashboard anzeigen {}", number),
        say(SEED),
    )
    expect(fresh.get_by_text(say("Neu"), exact=True)).to_be_visible()
    expect(main.get_by_text(say("Neu"), exact=True)).to_have_count(0)

    visit.workers.work()
    visit.page.reload()
    expect(fresh.get_by_text(visit.say("Neu"), exact=True)).to_be_visible()
    visit.link("Ansehen, was noch fehlt {}", number).click()
    visit.sees("Verlauf")
    confirm_by_code(visit.of(visit.person), number)
    visit.workers.work()
    visit.waits_for("Der Anschluss ist bereit, und der Account steht in Ihrer Übersicht.")
    for address in (visit.person.email, CONTACT):
        assert number in visit.workers.mail_to(address)
    visit.link("Zurück zur Standortverwaltung").click()
    expect(fresh.get_by_text(visit.say("Neu"), exact=True)).to_have_count(0)
    visit.link("Dashboard anzeigen {}", number).click()
    visit.sees("Filiale Mitte")


@pytest.mark.parametrize("visit", ONCE_EACH, indirect=True, ids=str)
def test_an_order_is_cancelled(visit: Visit) -> None:
    number = ordered(visit).customer_number
    visit.open_locations()
    visit.link("Verlauf von {} anzeigen", number).click()
    visit.link("Anfrage stornieren").click()
    visit.link("Anfrage behalten").click()
    visit.link("Anfrage stornieren").click()
    visit.button("Anfrage stornieren").click()
    expect(visit.text("Storniert")).to_be_visible()
    expect(visit.button("Anfrage stornieren")).to_have_count(0)
    visit.workers.work()
    # Nobody is asked for a proof: the only mail is the receipt, which says that the order has ended.
    assert [to for to, _ in visit.workers.mails()] == [visit.person.email]
    receipt = visit.workers.mail_to(visit.person.email)
    assert number in receipt and visit.say("Die Bestellung ist inzwischen beendet.") in " ".join(receipt.split())
    assert list(visit.workers.letters.iterdir()) == []
    visit.link("Zurück zur Standortverwaltung").click()
    visit.sees("Unternehmensstandorte")
    expect(visit.card(number)).to_have_count(0)


@pytest.mark.parametrize("visit", ONCE_EACH, indirect=True, ids=str)
def test_an_order_that_nobody_confirms_lapses_and_is_made_anew(visit: Visit) -> None:
    number = ordered(visit).customer_number
    visit.workers.work()
    asked = visit.workers.mail_to(ORDER.contact.email)
    visit.workers.work_at(end_of_day(NOW + VALID_FOR))
    visit.page.goto(link_in(asked))
    visit.sees("Die Frist für die Bestätigung ist abgelaufen")
    told = visit.workers.mail_to(visit.person.email)
    assert visit.say("Die Frist ist abgelaufen.") in told
    visit.page.goto(link_in(told))
    visit.sign_in()
    visit.sees("Kundennummer: {}", number)
    expect(visit.text("Abgelehnt")).to_be_visible()
    expect(visit.text("Die Frist ist abgelaufen.")).to_be_visible()
    visit.link("Neu bestellen").click()
    visit.sees("Produkt und Optionen")


@pytest.mark.parametrize("visit", ONCE_EACH, indirect=True, ids=str)
def test_an_order_that_failed_is_tried_again(visit: Visit) -> None:
    number = ordered(visit, proved=True).customer_number
    visit.workers.registrar.failures.append(GatewayRefused("553"))
    visit.open_locations()
    visit.link("Verlauf von {} anzeigen", number).click()
    visit.sees("Verlauf")
    visit.workers.work()
    visit.waits_for("Fehlgeschlagen")
    visit.button("Erneut versuchen").click()
    expect(visit.page.locator(".timeline")).to_contain_text(visit.say("Wir versuchen es erneut."))
    visit.workers.work()
    visit.waits_for("Der Anschluss ist bereit, und der Account steht in Ihrer Übersicht.")


@pytest.mark.parametrize("visit", ONCE_EACH, indirect=True, ids=str)
def test_a_sub_account_is_detached(visit: Visit) -> None:
    with visit.database.transaction() as session:
        account = make_account(session, administrator=make_user(session))
        attach(session, visit.main.id, account.id, Origin.LINK, NOW)
        number = account.customer_number
    visit.open_locations()
    visit.link("Dashboard anzeigen {}", number).click()
    visit.link("Lösen").click()
    visit.sees("Was bleibt, wie es ist")
    visit.sees("Was sich ändert")
    visit.field("Kundennummer").fill("1234567")
    visit.button("Account lösen").click()
    visit.page.get_by_role("alert").get_by_role("link").click()
    expect(visit.field("Kundennummer")).to_be_focused()
    visit.field("Kundennummer").fill(number)
    visit.button("Account lösen").click()
    visit.sees("Unternehmensstandorte")
    said = "Der Account {} wird gelöst. Danach bekommen die Administratoren beider Seiten eine E-Mail."
    expect(visit.text(said, number)).to_be_visible()
    visit.link("Verlauf von {} anzeigen", number).click()
    visit.sees("Verlauf")
    visit.workers.work()
    visit.waits_for("Abgeschlossen")
    assert number in visit.workers.mail_to(visit.person.email)
    visit.link("Zurück zur Standortverwaltung").click()
    visit.sees("Unternehmensstandorte")
    expect(visit.card(number)).to_have_count(0)
