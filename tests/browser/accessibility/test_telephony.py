"""Tests that the pages of suspension, release, registrations, calls, forwarding and numbers are accessible."""

from __future__ import annotations

import psycopg
import pytest
import sqlalchemy as sa
from playwright.sync_api import Page, expect

from models.accounts.accounts import Account
from models.contracts.contracts import ContractItem
from models.people.rights import Role
from models.people.users import User
from models.requests.requests import Request
from models.states import Kind
from models.telephony.numbers import NumberBlock
from models.telephony.suspension import suspend_for_carrier
from models.telephony.trunks import SipTrunk
from tests.browser.accessibility.conftest import is_of
from tests.browser.accessibility.looks import OVERVIEW, look, look_after, look_wrong, shows, sign_in_as
from tests.browser.conftest import Portal
from tests.browser.test_portal import sign_in
from tests.factories import NOW, fill_pool, join, make_account
from tests.web.portal.accounts.sites import Site, give_numbers, make_site
from tests.web.portal.telephony.network import Network
from tests.web.portal.telephony.test_registrations_and_calls import RESULTS, page_of
from web.portal.telephony.inventory import TABLES
from workers.gateways.registrar import plain_url


@shows("locations.show", "locations.suspend", "locations.resume", "locations.release", "locations.log")
def test_suspending_a_trunk_and_giving_numbers_back(page: Page, portal: Portal, site: Site) -> None:
    with portal.database.transaction() as session:
        give_numbers(session, site)
        last = session.scalars(sa.select(NumberBlock.id).where(NumberBlock.size == 100)).one()
        other = session.scalars(sa.select(NumberBlock.id).where(NumberBlock.size == 10, is_of(site))).one()
        contract = session.get_one(SipTrunk, site.trunk).contract_id
        facts = {"product_key": "block-10", "monthly_cents": 290, "one_off_cents": 0}
        session.add(ContractItem(contract_id=contract, **facts))
    sign_in(page, portal)
    trunk = f"{portal.url}{site.path}/sip/{site.trunk}"
    look(page, trunk + "/entsperren")
    look(page, trunk + "/sperren")
    look_after(page, page.get_by_role("button", name="SIP-Trunk sperren"))
    look(page, trunk + "/sperren")
    with portal.database.transaction() as session:
        suspend_for_carrier(session, "t000000000001", "Rechnung offen", NOW)
    look(page, trunk + "/entsperren")
    look_after(page, page.get_by_role("button", name="Sperre aufheben"))
    look(page, trunk + "/entsperren")
    for block in (other, last):
        look(page, f"{portal.url}{site.path}/rufnummern/{block}/zurueckgeben")
        look_wrong(page)
        page.get_by_label("Ja, diese Rufnummern zurückgeben").check()
        look_after(page, page.get_by_role("button", name="Rufnummern zurückgeben"))
    sign_in_as(page, portal, site.administrator)
    look(page, portal.url + site.path + "/protokoll")


@shows("locations.change_contract", "locations.show", "portal.show_request")
def test_changing_a_contract(page: Page, portal: Portal, site: Site) -> None:
    with portal.database.transaction() as session:
        contract = session.get_one(SipTrunk, site.trunk).contract_id
        session.add(ContractItem(contract_id=contract, product_key="trunk-10", monthly_cents=2990, one_off_cents=0))
    sign_in_as(page, portal, site.administrator)
    change = f"{portal.url}{site.path}/sip/{site.trunk}/vertrag"
    for day in ("2026-04-01", "2026-05-01"):
        look(page, change)
        page.get_by_label("SIP-Trunk mit 50 Kanälen").check()
        page.get_by_label("Gleichzeitige Gespräche").fill("51")
        look_wrong(page)
        page.get_by_label("Gleichzeitige Gespräche").fill("50" if "04" in day else "20")
        page.get_by_label("Ab welchem Tag").fill(day)
        look_after(page, page.get_by_role("button", name="Preise anzeigen"))
        look_after(page, page.get_by_role("button", name="Zahlungspflichtig ändern"))
    look(page, portal.url + site.path)


@shows("locations.order_numbers", "locations.show", "portal.show_request")
def test_adding_numbers(page: Page, portal: Portal, site: Site) -> None:
    with portal.database.transaction() as session:
        # It has a hundred numbers, the most that are possible.
        session.execute(sa.update(NumberBlock).where(NumberBlock.trunk_id == site.trunk).values(trunk_id=None))
        contract = session.get_one(SipTrunk, site.trunk).contract_id
        session.add(ContractItem(contract_id=contract, product_key="trunk-10", monthly_cents=2990, one_off_cents=0))
    sign_in_as(page, portal, site.administrator)
    for day in ("2026-04-01", "2026-05-01"):
        look(page, f"{portal.url}{site.path}/sip/{site.trunk}/rufnummern")
        page.get_by_label("Rufnummernblock mit 10 Nummern").check()
        page.get_by_label("Vorwahl").fill("x")
        look_wrong(page)
        page.get_by_label("Vorwahl").fill("0521")
        page.get_by_label("Ab welchem Tag").fill(day)
        look_after(page, page.get_by_role("button", name="Preise anzeigen"))
        look_after(page, page.get_by_role("button", name="zahlungspflichtig bestellen"))
    look(page, portal.url + site.path)


@shows("locations.move_account", "locations.show", "portal.show_request")
def test_moving_an_account(page: Page, portal: Portal, site: Site) -> None:
    with portal.database.transaction() as session:
        contract = session.get_one(SipTrunk, site.trunk).contract_id
        session.add(ContractItem(contract_id=contract, product_key="trunk-10", monthly_cents=2990, one_off_cents=0))
        fill_pool(session, area_code="089", size=100, count=1)
    sign_in_as(page, portal, site.administrator)
    look(page, f"{portal.url}{site.path}/umzug")
    page.get_by_label("Straße und Hausnummer").fill("Marienplatz")
    look_wrong(page)
    page.get_by_label("Straße und Hausnummer").fill("Marienplatz 8")
    page.get_by_label("Postleitzahl").fill("80331")
    page.get_by_label("Ort", exact=True).fill("München")
    look_after(page, page.get_by_role("button", name="Zeigen, was sich ändert"))
    look_after(page, page.get_by_role("button", name="Umzug beauftragen"))
    look(page, portal.url + site.path)


@shows("locations.cancel_contracts", "locations.show", "portal.show_request", "answers.cancel")
def test_cancelling_an_account(page: Page, portal: Portal, site: Site) -> None:
    with portal.database.transaction() as session:
        contract = session.get_one(SipTrunk, site.trunk).contract_id
        session.add(ContractItem(contract_id=contract, product_key="trunk-10", monthly_cents=2990, one_off_cents=0))
    sign_in_as(page, portal, site.administrator)
    cancellation = f"{portal.url}{site.path}/kuendigung"
    look(page, cancellation)
    page.get_by_label("Letzter Tag der Verträge").fill("2026-03-03")
    look_wrong(page)
    page.get_by_label("Letzter Tag der Verträge").fill("2026-05-31")
    page.get_by_label("Ja, diese Kundennummer").check()
    look_after(page, page.get_by_role("button", name="Verträge kündigen"))
    look(page, portal.url + site.path)
    with portal.database.transaction() as session:
        asked = session.scalars(sa.select(Request.id).where(Request.kind == Kind.CANCEL)).one()
    look(page, f"{portal.url}/anfragen/{asked}/stornieren")


@shows("telephone.show", "locations.show")
def test_a_trunks_registration_and_calls(page: Page, portal: Portal, site: Site, registrar_url: str) -> None:
    with psycopg.connect(plain_url(registrar_url), autocommit=True) as connection:
        network = Network(connection)
        sign_in(page, portal)
        look(page, portal.url + page_of(site))
        network.refuse()
        look(page, portal.url + page_of(site))
        network.register()
        network.register("sip:t1@203.0.113.8:5062")
        for direction, result, status, _ in RESULTS:
            network.call(result, direction, status)
        for path in (page_of(site), site.path):
            look(page, portal.url + path)
        page.goto(portal.url + page_of(site))
        expect(page.get_by_role("cell", name="wie immer")).to_have_count(0)
        network.call("forwarded", status=181, forwarded_to="+4915112345xxx", forwarded_because="unconditional")
        # The page updates itself without a reload.
        expect(page.get_by_role("cell", name="wie immer")).to_be_visible()
        connection.execute("ALTER TABLE location RENAME TO gone")
        try:
            for path in (page_of(site), site.path):
                look(page, portal.url + path)
        finally:
            connection.execute("ALTER TABLE gone RENAME TO location")


@shows("forwardings.overview", "forwardings.listed", "forwardings.add", "forwardings.edit", "forwardings.remove")
def test_call_forwarding(page: Page, portal: Portal, site: Site) -> None:
    forwardings = site.path + "/rufweiterleitung"
    with portal.database.transaction() as session:
        second = make_account(session)
        join(session, session.get_one(User, site.member.id), second, Role.LOCAL_MEMBER)
        empty = f"{OVERVIEW}/{second.customer_number}/rufweiterleitung"
    sign_in(page, portal)
    look(page, portal.url + forwardings)
    sign_in_as(page, portal, site.member)
    one = f"{forwardings}/{site.forwarding}"
    for path in ("/rufweiterleitung", forwardings, empty, one, one + "/loeschen", forwardings + "/neu"):
        look(page, portal.url + path)
    look_wrong(page)
    page.get_by_label("Immer", exact=True).check()
    page.get_by_label("Weiterleiten an").fill("110")
    page.get_by_label("Eine Rufnummer oder ein Bereich").check()
    page.get_by_label("Nach einem Wochenplan").check()
    look_wrong(page)
    look_after(page, page.get_by_role("button", name="Weitere Zeile"))
    look(page, f"{portal.url}{forwardings}/neu?vorlage=ausserhalb")


@shows("locations.table")
@pytest.mark.parametrize("kind", TABLES)
def test_numbers_trunks_and_contracts(page: Page, portal: Portal, kind: str) -> None:
    sign_in(page, portal)
    table = f"{portal.url}{OVERVIEW}/{kind}"
    look(page, table)
    with portal.database.transaction() as session:
        main = session.get_one(Account, portal.main.id)
        make_site(session, main, name="Filiale mit einem sehr langen Namen in Garmisch-Partenkirchen")
    for query in ("", "?suche=filiale", "?suche=nirgends"):
        look(page, table + query)
