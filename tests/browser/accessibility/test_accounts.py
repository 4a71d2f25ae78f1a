"""Tests that the pages of accounts are accessible.

Among them are the overview, an account's dashboard and audit log, SIP passwords, the contract holder, and linking.
"""

from __future__ import annotations

from datetime import timedelta

import sqlalchemy as sa
from playwright.sync_api import Page, expect

from models.accounts.accounts import Account
from models.accounts.hierarchy import attach, detach
from models.contracts.contracts import ContractItem
from models.links.account_closing import close_account
from models.links.collective_invoices import put_on_invoice, take_off_invoice
from models.messages.outbox import Recipient
from models.people.invitations import invite
from models.people.rights import Role
from models.people.users import User
from models.requests.requests import Request
from models.states import Actor, Origin, Reason
from models.telephony.numbers import NumberBlock
from models.telephony.trunks import SipTrunk
from models.vault import Vault
from tests.browser.accessibility.conftest import is_of
from tests.browser.accessibility.looks import (
    ADD,
    NEW,
    OVERVIEW,
    look,
    look_after,
    look_as_it_is,
    look_wrong,
    shows,
    sign_in_as,
)
from tests.browser.conftest import Portal
from tests.browser.test_portal import sign_in
from tests.factories import NOW, PASSWORD, an_order, join, make_account, make_user, submit_order
from tests.web.conftest import SECRET
from tests.web.portal.accounts.sites import Site


@shows("portal.overview", "locations.add", "locations.groups", "locations.show_map")
def test_the_overview(page: Page, portal: Portal) -> None:
    with portal.database.transaction() as session:
        person = session.get_one(User, portal.manager.user_id)
        empty = make_account(session, administrator=person).customer_number
        running = session.scalars(sa.select(Request)).one()
        running.wait_for(
            Actor.REQUESTER, Reason.ADDRESS_NOT_PROVED, NOW + timedelta(days=14), NOW, NOW + timedelta(days=7)
        )
        member = make_user(session)
        join(session, member, session.merge(portal.main), Role.LOCAL_MEMBER)
    sign_in(page, portal)
    own = f"?konto={portal.main.customer_number}"
    for query in ("&ansicht=tabelle", "&suche=nichts", "&suche=nichts&ansicht=karten", "&sortierung=name", ""):
        look(page, portal.url + OVERVIEW + own + query)
    for path in ("/gruppen/ort", "/gruppen/status", "/landkarte"):
        look(page, portal.url + OVERVIEW + path + own)
    for path in (f"?konto={empty}", "/nebenaccount", f"/nebenaccount?konto={empty}"):
        look(page, portal.url + OVERVIEW + path)
    sign_in_as(page, portal, member)
    for path in (OVERVIEW, NEW, ADD):
        look(page, portal.url + path)


@shows("locations.costs")
def test_the_costs_of_a_month(page: Page, portal: Portal, site: Site) -> None:
    with portal.database.transaction() as session:
        trunk = session.get_one(SipTrunk, site.trunk)
        for key, ended in (("trunk-10", None), ("block-100", NOW + timedelta(days=9))):
            prices = {"monthly_cents": 2990, "one_off_cents": 9900, "ended_at": ended}
            session.add(ContractItem(contract_id=trunk.contract_id, product_key=key, **prices))
    sign_in(page, portal)
    for query in ("?monat=2026-03", "?monat=2026-05", "?monat=2026-01", "?suche=nichts"):
        look(page, f"{portal.url}{OVERVIEW}/kosten{query}")


@shows("locations.show", "locations.detach", "locations.collective_invoice")
def test_the_page_of_an_account_and_detaching_it(page: Page, portal: Portal) -> None:
    sign_in(page, portal)
    look(page, f"{portal.url}{OVERVIEW}/{portal.main.customer_number}")
    look(page, f"{portal.url}{OVERVIEW}/{portal.ordered}")
    with portal.database.transaction() as session:
        account = make_account(session)
        attach(session, portal.main.id, account.id, Origin.LINK, NOW)
        number = account.customer_number
    # Nobody can sign in to it yet.
    look(page, f"{portal.url}{OVERVIEW}/{number}/loesen")
    look(page, f"{portal.url}/benutzer/{number}/einladen")
    with portal.database.transaction() as session:
        joining = session.get_one(Account, account.id)
        to = Recipient("Hanna Palmer", "hanna@example.com", "de")
        invite(session, portal.manager, joining, to, Role.ADMINISTRATOR, NOW)
        join(session, make_user(session), joining)
    look(page, f"{portal.url}{OVERVIEW}/{number}")
    invoice = f"{portal.url}{OVERVIEW}/{number}/sammelrechnung"
    look(page, invoice)
    with portal.database.transaction() as session:
        main, billed = (session.get_one(Account, id) for id in (portal.main.id, account.id))
        put_on_invoice(session, "SR-1", main, billed, NOW)
    look(page, invoice)
    with portal.database.transaction() as session:
        take_off_invoice(session, "SR-1", session.get_one(Account, account.id), NOW)
    look(page, f"{portal.url}{OVERVIEW}/{number}/loesen")
    look_wrong(page)
    page.get_by_label("Kundennummer").fill(number)
    look_after(page, page.get_by_role("button", name="Account lösen"))
    look(page, f"{portal.url}{OVERVIEW}/{number}/loesen")


@shows(
    "locations.show", "locations.log", "locations.secret", "locations.renew_secret", "locations.phone_systems",
    "locations.request_uri", "locations.destinations",
)  # fmt: skip
def test_the_dashboard_its_log_and_its_secrets(page: Page, portal: Portal, site: Site) -> None:
    sign_in(page, portal)
    look(page, portal.url + site.path)
    sign_in_as(page, portal, site.administrator)
    for path in (site.path, site.path + "/protokoll"):
        look(page, portal.url + path)
    look(page, f"{portal.url}{site.path}/sip/{site.trunk}/anrufzustellung")
    look(page, f"{portal.url}{site.path}/sip/{site.trunk}/ziele")
    page.goto(f"{portal.url}{site.path}/rufweiterleitung/neu")
    page.locator("[name=condition][value=always]").check()
    page.locator("#target").fill("+881612345678")
    page.get_by_role("button", name="Speichern").last.click()
    page.locator("#confirmed").wait_for()
    look_as_it_is(page)
    look(page, f"{portal.url}{site.path}/sip/{site.trunk}/telefonanlagen")
    for summary in page.get_by_role("main").locator("summary").all():
        summary.click()
    look_as_it_is(page)
    for path in (site.secret, site.renewal):
        look(page, portal.url + path)
        look_wrong(page)
        page.get_by_label("Ihr Passwort").fill(PASSWORD)
        look_after(page, page.get_by_role("main").get_by_role("button"))
    with portal.database.transaction() as session:
        session.get_one(SipTrunk, site.trunk).secret = b"what no key opens"
    page.goto(portal.url + site.secret)
    page.get_by_label("Ihr Passwort").fill(PASSWORD)
    look_after(page, page.get_by_role("main").get_by_role("button"))
    page.goto(portal.url + site.renewal)
    with portal.database.transaction() as session:
        session.get_one(SipTrunk, site.trunk).secret = Vault(SECRET).seal("renewed by somebody else")
    page.get_by_label("Ihr Passwort").fill(PASSWORD)
    look_after(page, page.get_by_role("main").get_by_role("button"))


@shows("locations.tags", "locations.show", "portal.overview")
def test_the_tags_of_a_location(page: Page, portal: Portal, site: Site) -> None:
    sign_in(page, portal)
    look(page, f"{portal.url}{site.path}/schlagwoerter")
    page.get_by_label("Schlagwörter").fill("x" * 41)
    look_after(page, page.get_by_role("button", name="Speichern"))
    page.get_by_label("Schlagwörter").fill("Region Nord, Filiale")
    look_after(page, page.get_by_role("button", name="Speichern"))
    for view in ("karten", "tabelle"):
        look(page, f"{portal.url}{OVERVIEW}?schlagwort=Filiale&ansicht={view}")


@shows("locations.contract_holder", "locations.directory", "locations.withdraw_from_directory", "locations.show")
def test_the_contract_holder_and_the_directory_entry(page: Page, portal: Portal, site: Site) -> None:
    with portal.database.transaction() as session:
        contract = session.get_one(SipTrunk, site.trunk).contract_id
        for key in ("directory-entry", "mobile-backup"):
            session.add(ContractItem(contract_id=contract, product_key=key, monthly_cents=0, one_off_cents=0))
    sign_in(page, portal)
    look(page, f"{portal.url}{OVERVIEW}/{portal.main.customer_number}/vertragsinhaber")
    look_wrong(page)
    expect(page.get_by_label("Registernummer")).to_be_hidden()
    page.get_by_label("Unternehmen oder Verein mit Registereintrag").check()
    look_wrong(page)
    page.get_by_label("Registernummer").fill("HRB 4711, Amtsgericht Bielefeld")
    look_after(page, page.get_by_role("button", name="Speichern"))
    look(page, portal.url + site.path)
    look(page, f"{portal.url}{site.path}/telefonbuch")
    look_wrong(page)
    page.get_by_label("Ohne Adresse").check()
    page.get_by_label("Telefonauskunft").check()
    look_after(page, page.get_by_role("button", name="Speichern"))
    look(page, f"{portal.url}{site.path}/telefonbuch/zurueckziehen")
    look_after(page, page.get_by_role("button", name="Zurückziehen"))


@shows("locations.release", "portal.overview")
def test_numbers_on_order_and_an_account_that_is_closed(page: Page, portal: Portal, site: Site) -> None:
    with portal.database.transaction() as session:
        block = session.scalars(sa.select(NumberBlock.id).where(is_of(site))).one()
        main = session.get_one(Account, portal.main.id)
        order = submit_order(session, portal.manager, main, an_order(), NOW)
        order.account_id = site.account.id
    sign_in(page, portal)
    look(page, f"{portal.url}{site.path}/rufnummern/{block}/zurueckgeben")
    with portal.database.transaction() as session:
        session.get_one(Request, order.id).cancel(Reason.CANCELLED_BY_REQUESTER, NOW)
        account = detach(session, portal.main.id, site.account.id)
        session.flush()
        close_account(session, account, NOW)
    sign_in_as(page, portal, site.administrator)
    look(page, portal.url + OVERVIEW)


@shows("locations.log")
def test_the_log_of_an_account_where_nothing_was_done(page: Page, portal: Portal) -> None:
    sign_in(page, portal)
    look(page, f"{portal.url}{OVERVIEW}/{portal.main.customer_number}/protokoll")


@shows("links.start", "links.choose", "links.send")
def test_adding_an_account(page: Page, portal: Portal) -> None:
    with portal.database.transaction() as session:
        number = make_account(session).customer_number
        own = make_account(session)
        join(session, session.get_one(User, portal.manager.user_id), own)
        owned = own.customer_number
    sign_in(page, portal)
    look(page, portal.url + ADD)
    page.get_by_label("Kundennummer").fill("12")
    look_wrong(page)
    for wanted in (owned, number):
        page.get_by_label("Kundennummer").fill(wanted)
        look_after(page, page.get_by_role("button", name="Weiter"))
        ways = [way.get_attribute("href") for way in page.locator(".ways a").all()]
        for way in ways:
            look(page, f"{portal.url}{way}")
            if "zugangsdaten" in f"{way}" or "verknuepfungscode" in f"{way}":
                look_wrong(page)
        page.goto(portal.url + ADD)
