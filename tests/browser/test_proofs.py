"""Tests in the browser of giving proofs, from the mail or letter that asks for one until it is accepted.

They prove an e-mail address, a connection address, or the consent to a link.
"""

from __future__ import annotations

import re
from uuid import UUID

from playwright.sync_api import Page, expect

from models.links.links import submit_link
from models.people.users import User
from models.requests.requests import Request
from models.states import ProofMethod
from tests.browser.conftest import Portal
from tests.browser.test_portal import assert_no_sideways_scrolling, sign_in, tab_to
from tests.factories import NOW, PASSWORD, a_link, an_order, make_account, make_user, submit_order
from tests.fakes import FakeClock
from tests.web.conftest import Back, back_of

CONTACT = an_order().contact.email


def waiting_order(portal: Portal, clock: FakeClock) -> tuple[Back, Request]:
    """Create an order that waits for its proofs, and send the mail and the letter with the codes.

    Return the workers' code, from whose fakes a test reads the mail and the letter; and the order.
    """
    back = back_of(portal.database, clock)
    with portal.database.transaction() as session:
        order = submit_order(session, portal.manager, session.merge(portal.main), an_order(), NOW)
    back.advance()
    return back, order


def asked_owner(portal: Portal, clock: FakeClock) -> tuple[Back, User, UUID]:
    """Create a link request that waits for the consent of another account's administrator, and send the mail about it.

    Return the workers' code, from whose fakes a test reads the mail; the administrator; and the request's id.
    """
    back = back_of(portal.database, clock)
    with portal.database.transaction() as session:
        owner = make_user(session)
        account = make_account(session, administrator=owner)
        draft = a_link(account, method=ProofMethod.CONSENT)
        main = session.merge(portal.main)
        id = submit_link(session, back.runtime.vault, portal.manager, main, draft, NOW).id
    back.advance()
    return back, owner, id


def status(portal: Portal, back: Back, id: UUID) -> str:
    """Run the workers, then return the status of the request with this id."""
    back.advance()
    with portal.database.transaction() as session:
        return session.get_one(Request, id).status


def test_the_contact_confirms_the_address(page: Page, portal: Portal, clock: FakeClock) -> None:
    back, _ = waiting_order(portal, clock)
    path, code = back.mail_to(CONTACT)
    page.goto(portal.url + path)
    expect(page.get_by_role("heading", name="E-Mail-Adresse bestätigen")).to_be_visible()
    page.get_by_role("button", name="Adresse bestätigen").click()
    page.get_by_role("alert").get_by_role("link", name="Geben Sie den Code ein.").click()
    expect(page.get_by_label("Code")).to_be_focused()
    page.get_by_label("Code").fill("AAAAA AAAAA")
    page.get_by_role("button", name="Adresse bestätigen").click()
    expect(page.get_by_label("Code")).to_have_value("AAAAA AAAAA")
    expect(page.get_by_label("Code")).to_have_accessible_description(re.compile("stimmt nicht"))
    page.get_by_label("Code").fill(code.lower())
    page.get_by_role("button", name="Adresse bestätigen").click()
    expect(page.get_by_role("heading", name="Die E-Mail-Adresse ist bestätigt")).to_be_visible()
    page.reload()
    expect(page.get_by_role("heading", name="Die E-Mail-Adresse ist bestätigt")).to_be_visible()


def test_the_letters_code_with_the_keyboard_alone(page: Page, portal: Portal, clock: FakeClock) -> None:
    back, order = waiting_order(portal, clock)
    page.goto(portal.url + "/brief")
    tab_to(page, page.get_by_label("Kundennummer"))
    page.keyboard.type(order.customer_number)
    tab_to(page, page.get_by_label("Code"))
    page.keyboard.type("wrong")
    page.keyboard.press("Enter")
    expect(page.get_by_label("Kundennummer")).to_have_value(order.customer_number)
    tab_to(page, page.get_by_role("alert").get_by_role("link"))
    page.keyboard.press("Enter")
    expect(page.get_by_label("Code")).to_be_focused()
    page.keyboard.press("Control+A")
    page.keyboard.type(back.letter_code())
    tab_to(page, page.get_by_role("button", name="Adresse bestätigen"))
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Die Anschlussadresse ist bestätigt")).to_be_visible()


def test_the_letters_code_and_a_document_on_the_orders_page(page: Page, portal: Portal, clock: FakeClock) -> None:
    back, order = waiting_order(portal, clock)
    sign_in(page, portal)
    page.goto(f"{portal.url}/anfragen/{order.id}")
    png = {"name": "Anmeldung.png", "mimeType": "image/png", "buffer": b"\x89PNG\r\n\x1a\n and more"}
    page.get_by_label(re.compile("^Dokument")).set_input_files(png)  # type: ignore[arg-type]
    page.get_by_role("button", name="Dokument einreichen").click()
    expect(page.get_by_text("Wir haben das Dokument „Anmeldung.png“")).to_be_visible()
    page.get_by_label("Code").fill(back.letter_code())
    page.get_by_role("button", name="Adresse bestätigen").click()
    expect(page.get_by_text("Erledigt.")).to_be_visible()
    page.get_by_role("link", name="Anfrage stornieren").click()
    page.get_by_role("link", name="Anfrage behalten").click()
    page.get_by_role("link", name="Anfrage stornieren").click()
    page.get_by_role("button", name="Anfrage stornieren").click()
    expect(page.locator(".timeline")).to_contain_text("Storniert: auf Ihren Wunsch.")


def test_an_owner_agrees(page: Page, portal: Portal, clock: FakeClock) -> None:
    back, owner, id = asked_owner(portal, clock)
    path, code = back.mail_to(owner.email)
    page.goto(portal.url + path)
    expect(page.get_by_role("heading", name="Was bleibt, wie es ist")).to_be_visible()
    expect(page.get_by_label("Ich stimme zu")).not_to_be_checked()
    page.get_by_label("Code").fill(code)
    page.get_by_role("button", name="Antwort absenden").click()
    page.get_by_role("alert").get_by_role("link").click()
    expect(page.get_by_label("Ich stimme zu")).to_be_focused()
    expect(page.get_by_label("Code")).to_have_value(code)
    page.get_by_label("Ich stimme zu").check()
    page.get_by_role("button", name="Antwort absenden").click()
    expect(page.get_by_role("heading", name="Die Zustimmung ist erteilt")).to_be_visible()
    expect(page.get_by_role("main").get_by_role("button")).to_have_count(0)
    assert status(portal, back, id) == "completed"


def test_an_owner_declines_signed_in(page: Page, portal: Portal, clock: FakeClock) -> None:
    back, owner, id = asked_owner(portal, clock)
    page.goto(f"{portal.url}/zustimmung/{id}")
    page.get_by_label("E-Mail-Adresse").fill(owner.email)
    page.get_by_label("Passwort").fill(PASSWORD)
    page.get_by_role("button", name="Anmelden").click()
    page.get_by_label("Ich lehne ab").check()
    page.get_by_role("button", name="Antwort absenden").click()
    expect(page.get_by_role("heading", name="Die Anfrage ist abgelehnt")).to_be_visible()
    expect(page.get_by_text(f"{owner.name} hat am")).to_be_visible()
    assert status(portal, back, id) == "rejected"


def test_a_link_code_leads_from_one_account_to_the_other(page: Page, portal: Portal, clock: FakeClock) -> None:
    back, owner, id = asked_owner(portal, clock)
    page.goto(portal.url + "/verknuepfungscode")
    page.get_by_label("E-Mail-Adresse").fill(owner.email)
    page.get_by_label("Passwort").fill(PASSWORD)
    page.get_by_role("button", name="Anmelden").click()
    page.locator("summary").click()
    expect(page.get_by_role("link", name="Verknüpfungscode")).to_have_attribute("aria-current", "page")
    page.get_by_role("button", name="Verknüpfungscode erstellen").click()
    code = page.locator(".code").inner_text()
    page.get_by_role("link", name="Zurück zu den Verknüpfungscodes").click()
    expect(page.get_by_text("Ein Code ist offen")).to_be_visible()
    expect(page.get_by_text(code)).to_have_count(0)
    page.get_by_role("button", name="Verknüpfungscode erstellen").click()
    page.get_by_role("link", name="Den offenen Code behalten").click()
    page.get_by_role("button", name="Abmelden").click()
    sign_in(page, portal)
    page.goto(f"{portal.url}/anfragen/{id}")
    page.get_by_label("Code").fill(code)
    page.get_by_role("button", name="Code verwenden").click()
    expect(page.get_by_role("status").first).to_contain_text("Der Code ist angenommen")
    assert status(portal, back, id) == "completed"
    page.reload()
    expect(page.get_by_text("Die Berechtigung ist nachgewiesen: durch einen Verknüpfungscode")).to_be_visible()


def test_the_pages_of_proofs_fit_a_narrow_screen(page: Page, portal: Portal, clock: FakeClock) -> None:
    back, order = waiting_order(portal, clock)
    asking, owner, id = asked_owner(portal, clock)
    page.set_viewport_size({"width": 320, "height": 640})
    for path in (back.mail_to(CONTACT)[0], asking.mail_to(owner.email)[0], "/brief"):
        page.goto(portal.url + path)
        assert_no_sideways_scrolling(page)
        page.get_by_role("main").get_by_role("button").last.click()
        expect(page.get_by_role("alert")).to_be_visible()
        assert_no_sideways_scrolling(page)
    sign_in(page, portal)
    for path in (f"/anfragen/{order.id}", f"/anfragen/{order.id}/stornieren", f"/anfragen/{id}", "/verknuepfungscode"):
        page.goto(portal.url + path)
        assert_no_sideways_scrolling(page)
