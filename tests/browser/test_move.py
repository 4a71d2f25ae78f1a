"""A test of a move in the browser, in German and English: the form, what it says, the letter's code, the dashboard."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from playwright.sync_api import Page, expect

from models.accounts.accounts import Account
from models.contracts.contracts import ContractItem
from models.states import Origin
from models.telephony.numbers import NumberBlock
from models.telephony.trunks import SipTrunk
from tests.browser.conftest import Portal
from tests.browser.signing_in import sign_in_without_form
from tests.browser.test_portal import assert_no_sideways_scrolling
from tests.factories import fill_pool
from tests.fakes import FakeClock
from tests.web.conftest import back_of
from tests.web.portal.accounts.sites import Site, give_numbers, make_site

WORDS = {
    "de": {
        "move": "Umzug an eine andere Adresse", "street": "Straße und Hausnummer", "code": "Postleitzahl",
        "city": "Ort", "show": "Zeigen, was sich ändert", "order": "Umzug beauftragen", "letter": "Code",
        "prove": "Adresse bestätigen",
        "goes": "Diese können nicht bleiben", "stays": "Bis dahin geht alles weiter wie bisher",
        "done": "Der Account ist umgezogen.", "dashboard": "Dashboard anzeigen",
    },
    "en": {
        "move": "Move to another address", "street": "Street and house number", "code": "Postal code", "city": "City",
        "show": "Show what changes", "order": "Order the move", "letter": "Code", "prove": "Confirm the address",
        "goes": "These cannot stay", "stays": "Until then everything goes on as before",
        "done": "The account has moved.", "dashboard": "Show dashboard",
    },
}  # fmt: skip


@pytest.fixture
def site(portal: Portal) -> Site:
    """Create a sub-account in Köln that was ordered, with ten numbers; the pool has numbers of München."""
    place = {"street": "Alter Markt 1", "postal_code": "50667", "city": "Köln"}
    with portal.database.transaction() as session:
        site = make_site(session, session.get_one(Account, portal.main.id), Origin.ORDER, **place)
        give_numbers(session, site)
        contract = session.get_one(SipTrunk, site.trunk).contract_id
        session.add(ContractItem(contract_id=contract, product_key="trunk-10", monthly_cents=2990, one_off_cents=0))
        fill_pool(session, area_code="089", first="4000000", count=1)
    return site


@pytest.mark.parametrize("language", WORDS)
def test_a_location_moves(page: Page, portal: Portal, site: Site, clock: FakeClock, language: str) -> None:
    words, back = WORDS[language], back_of(portal.database, clock)
    sign_in_without_form(page, portal.app, portal.url, portal.manager.email)
    page.goto(portal.url + site.path)
    if language == "en":
        page.get_by_role("button", name="English").click()
    page.get_by_role("link", name=words["move"]).click()
    page.get_by_label(words["street"]).fill("Marienplatz 8")
    page.get_by_label(words["code"]).fill("80331")
    page.get_by_label(words["city"], exact=True).fill("München")
    page.get_by_role("button", name=words["show"]).click()
    expect(page.get_by_text(words["goes"])).to_contain_text("0221 70034-0 … -9")
    expect(page.get_by_text(words["stays"], exact=False)).to_be_visible()
    expect(page.get_by_role("main")).to_contain_text("80331 München")
    assert_no_sideways_scrolling(page)
    page.get_by_role("button", name=words["order"]).click()
    back.advance()
    page.reload()
    page.get_by_label(words["letter"]).fill(back.letter_code())
    page.get_by_role("button", name=words["prove"]).click()
    back.advance_to_the_network()
    page.reload()
    expect(page.get_by_text(words["done"])).to_be_visible()
    page.get_by_role("link", name=words["dashboard"]).click()
    with portal.database.transaction() as session:
        block = session.scalars(sa.select(NumberBlock).where(NumberBlock.account_id == site.account.id)).one()
    assert block.area_code == "089"
    expect(page.get_by_text(block.display).first).to_be_visible()
    expect(page.get_by_text("Marienplatz 8").first).to_be_visible()
