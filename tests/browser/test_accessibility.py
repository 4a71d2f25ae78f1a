"""Every page and every form with errors: no axe-core violations, valid HTML, no horizontal scrolling."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from email.message import EmailMessage
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
import sqlalchemy as sa
from flask import Flask, render_template
from playwright.sync_api import Locator, Page, Route, expect
from werkzeug.exceptions import HTTPException
from werkzeug.routing import RequestRedirect

from models.accounts.accounts import Account
from models.accounts.hierarchy import (
    attach,
    detach,
)
from models.contracts.contracts import ContractItem
from models.jobs.findings import Finding
from models.jobs.jobs import ask_for_run, begin_run
from models.links.account_closing import close_account
from models.links.links import submit_detach, submit_link
from models.messages.outbox import Recipient
from models.orders.orders import submit_order
from models.people.api_tokens import ApiToken
from models.people.invitations import invite
from models.people.logins import ask_for_reset
from models.people.rights import Role
from models.people.users import User
from models.proofs.document_review import upload_document
from models.requests.requests import Request
from models.states import Actor, Kind, Origin, Reason, Status
from models.telephony.known_places import ask
from models.telephony.numbers import NumberBlock
from models.telephony.suspension import suspend_for_carrier
from models.telephony.trunks import SipTrunk
from models.vault import Vault
from tasks.ports import GatewayRefused
from tasks.reconcile import JOBS
from tasks.reconcile.job_run import run_job
from tests.browser.axe import assert_accessible
from tests.browser.conftest import Portal
from tests.browser.test_orders import fill_location
from tests.browser.test_portal import assert_no_sideways_scrolling, sign_in
from tests.browser.test_proofs import CONTACT, asked_owner, waiting_order
from tests.factories import NOW, PASSWORD, a_link, an_order, give_app, join, make_account, make_staff, make_user
from tests.fakes import FakeClock
from tests.second_factor import enter_code_in_browser
from tests.web.conftest import SECRET, back_of
from tests.web.html import assert_valid
from tests.web.portal.accounts.test_dashboard import Site, give_numbers, make_site
from tests.web.portal.bulk.test_bulk import HEAD, as_csv, row
from tests.web.portal.people.test_account_pages import link_to
from tests.web.portal.telephony.test_registration import RESULTS, Network, page_of
from web.portal.telephony.inventory import TABLES
from web.resources import resources
from workers.gateways.registrar import plain_url

OVERVIEW, NEW, ADD = "/standortverwaltung", "/standortverwaltung/neu", "/standortverwaltung/hinzufuegen"

NO_PAGES = {
    "static": "files",
    "openapi": "JSON",
    "api.list_accounts": "JSON",
    "api.show_account": "JSON",
    "api.list_products": "JSON",
    "api.list_requests": "JSON",
    "api.show_request": "JSON",
    "orders.show_hints": "JSON",
    "health.healthz": "for machines",
    "health.readyz": "for machines",
    "health.metrics": "for machines",
    "answers.live": "a part of portal.show_request",
    "locations.live": "a part of portal.overview",
    "locations.export": "CSV and XLSX",
    "locations.table_export": "CSV and XLSX",
    "orders.offer": "PDF",
    "answers.order_file": "PDF",
    "office.request_file": "PDF, PNG and JPEG",
    "bulks.template": "CSV and XLSX",
    "bulks.live": "a part of bulks.show",
    "telephone.live": "a part of telephone.show",
    "dev_mail.letter": "PDF",
    "typeface.show": "a font",
    "typeface.part": "a font",
    "typeface.other_scripts": "a style sheet",
    "dev_mail.source": "plain text",
    "dev_mail.html": "the mail itself: not the portal's, and shown in a frame",
    "portal.home": "leads to portal.overview",
    "users.overview": "leads to users.listed",
    "orders.begin": "leads to orders.show_step",
    "orders.resume": "leads to orders.show_step",
}
"""GET endpoints that are no pages, with the reason."""

PROMISED: dict[str, set[str]] = {}
"""The endpoints whose pages a test visits, by the test's name."""

_looked: list[str] = []


def shows(*endpoints: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Declare the endpoints whose pages a test visits; the test fails if it does not visit one of them."""

    def promise(test: Callable[..., None]) -> Callable[..., None]:
        PROMISED.setdefault(test.__name__, set()).update(endpoints)
        return test

    return promise


@pytest.fixture(autouse=True)
def kept_promises(request: pytest.FixtureRequest) -> Iterator[None]:
    """Check after each test that it visited the endpoints that it declared."""
    _looked.clear()
    yield
    app: Flask | None = request.node.funcargs["portal"].app if "portal" in request.node.funcargs else None
    if app is not None:
        assert PROMISED.get(request.function.__name__, set()) <= {_endpoint(app, url) for url in _looked}


def _endpoint(app: Flask, url: str) -> str | None:
    try:
        return str(app.url_map.bind("portal").match(urlsplit(url).path, method="GET")[0])
    except (HTTPException, RequestRedirect):
        return None


def test_no_page_is_forgotten(portal: Portal) -> None:
    fetched = {rule.endpoint for rule in portal.app.url_map.iter_rules() if "GET" in (rule.methods or ())}
    selected_account = set[str]().union(*PROMISED.values())
    assert fetched - set(NO_PAGES) == selected_account
    assert not set(NO_PAGES) - fetched


def look(page: Page, address: str) -> None:
    """Open the address and check the page."""
    answer = page.goto(address)
    assert answer is not None
    assert_valid(answer.text())
    look_as_it_is(page)


def look_after(page: Page, pressed: Locator) -> None:
    """Press the button or link and check the page that follows."""
    with page.expect_navigation() as navigation:
        pressed.click()
    assert_valid(navigation.value.text())
    look_as_it_is(page)


def look_wrong(page: Page, button: Locator | None = None) -> None:
    """Submit the form unchanged and check the page with its errors."""
    look_after(page, button or page.get_by_role("main").locator("form .primary, form .danger").first)
    expect(page.get_by_role("alert")).to_be_visible()


def look_as_it_is(page: Page) -> None:
    """Check the page that is open."""
    _looked.append(page.url)
    page.set_viewport_size({"width": 320, "height": 640})
    assert_no_sideways_scrolling(page)
    page.set_viewport_size({"width": 1280, "height": 800})
    assert_accessible(page)


def sign_in_as(page: Page, portal: Portal, person: User) -> None:
    """Sign in as another user than the manager."""
    page.goto(portal.url)
    page.get_by_label("E-Mail-Adresse").fill(person.email)
    page.get_by_label("Passwort").fill(PASSWORD)
    page.get_by_role("button", name="Anmelden").click()
    with portal.app.app_context():
        enter_code_in_browser(page, resources().clock())
    page.get_by_role("button", name="Abmelden").wait_for()


@shows(
    "people.sign_in", "logins.forgotten", "logins.asked", "logins.reset", "users.invitation", "letters.confirm",
    "emails.confirm", "consents.answer_by_code", "carrier.show",
)  # fmt: skip
def test_pages_without_a_login(page: Page, portal: Portal, clock: FakeClock) -> None:
    back, _ = waiting_order(portal, clock)
    consent, owner, _ = asked_owner(portal, clock)
    with portal.database.transaction() as session:
        ask_for_reset(session, portal.manager.email, NOW)
        main = session.merge(portal.main)
        to = Recipient("Hanna Palmer", "hanna@example.com", "de")
        invite(session, portal.manager, main, to, Role.ADMINISTRATOR, NOW)
    reset, invitation = link_to(back, portal.manager.email), link_to(back, "hanna@example.com")
    email, agree = back.mail_to(CONTACT)[0], consent.mail_to(owner.email)[0]
    for path in ("/impressum", "/hilfe", "/passwort/unterwegs", "/nowhere", reset + "x", invitation + "x"):
        look(page, portal.url + path)
    for path in ("/anmelden", "/passwort", "/brief", reset, invitation, email, agree):
        look(page, portal.url + path)
        look_wrong(page)


def test_a_password_that_is_wrong(page: Page, portal: Portal) -> None:
    page.goto(portal.url)
    page.get_by_label("E-Mail-Adresse").fill(portal.manager.email)
    page.get_by_label("Passwort").fill("wrong")
    look_wrong(page)


def test_answered_questions(page: Page, portal: Portal, clock: FakeClock) -> None:
    back, _ = waiting_order(portal, clock)
    path, code = back.mail_to(CONTACT)
    page.goto(portal.url + path)
    page.get_by_label("Code").fill(code)
    look_after(page, page.get_by_role("button", name="Adresse bestätigen"))
    consent, owner, _ = asked_owner(portal, clock)
    path, code = consent.mail_to(owner.email)
    page.goto(portal.url + path)
    page.get_by_label("Code").fill(code)
    page.get_by_label("Ich lehne ab").check()
    look_after(page, page.get_by_role("button", name="Antwort absenden"))


def test_an_order_whose_contact_refuses_our_question(page: Page, portal: Portal, clock: FakeClock) -> None:
    back = back_of(portal.database, clock)
    back.mailer.failures[CONTACT] = [GatewayRefused("550")]
    with portal.database.transaction() as session:
        id = submit_order(session, portal.manager, session.merge(portal.main), an_order(), NOW).id
    for _ in range(2):
        back.advance()
    sign_in(page, portal)
    look(page, f"{portal.url}/anfragen/{id}")
    page.get_by_label("E-Mail-Adresse der Ansprechperson").fill("hanna")
    look_after(page, page.get_by_role("button", name="Adresse korrigieren und neu fragen"))


@shows("bulks.start", "bulks.show")
def test_many_by_file(page: Page, portal: Portal) -> None:
    sign_in(page, portal)
    start = portal.url + "/standortverwaltung/sammelauftrag"
    look(page, start)
    look_wrong(page)
    content = as_csv([HEAD, row(1, Postleitzahl="x"), row(2)])
    page.get_by_label("Datei (CSV oder XLSX)").set_input_files(
        {"name": "Filialen.csv", "mimeType": "", "buffer": content}
    )
    page.get_by_role("button", name="Hochladen und prüfen").click()
    expect(page.get_by_role("alert")).to_be_visible()
    look(page, page.url)
    page.get_by_label("Postleitzahl, Zeile 2", exact=True).fill("10179")
    page.get_by_role("button", name="Speichern und erneut prüfen").first.click()
    expect(page.get_by_role("button", name="2 Standorte zahlungspflichtig bestellen")).to_be_visible()
    look(page, page.url)
    page.get_by_role("button", name="2 Standorte zahlungspflichtig bestellen").click()
    expect(page.get_by_role("progressbar")).to_be_visible()
    look(page, page.url)
    look(page, start)


@shows(
    "portal.history", "logins.overview", "logins.change", "logins.own_data", "logins.erase", "users.listed",
    "users.edit", "users.remove", "users.ask",
)  # fmt: skip
def test_logins_users_and_history(page: Page, portal: Portal) -> None:
    with portal.database.transaction() as session:
        main = session.merge(portal.main)
        to = Recipient("Hanna Palmer", "hanna@example.com", "de")
        invite(session, portal.manager, main, to, Role.ADMINISTRATOR, NOW)
        join(session, session.get_one(User, portal.manager.user_id), make_account(session))
    sign_in(page, portal)
    users = f"/benutzer/{portal.main.customer_number}"
    own = f"{users}/{portal.manager.user_id}"
    logins = ("/anmeldung", "/anmeldung/daten", "/anmeldung/loeschen")
    for path in ("/anfragen", "/anfragen?suche=nichts", *logins, "/nowhere", users, own):
        look(page, portal.url + path)
    for path in ("/anmeldung/passwort", users + "/einladen", own + "/entfernen"):
        look(page, portal.url + path)
        look_wrong(page)
    page.locator("summary").first.click()
    look_as_it_is(page)


@shows("users.tokens", "users.make_token", "users.end_token")
def test_api_tokens(page: Page, portal: Portal) -> None:
    sign_in(page, portal)
    tokens = f"{portal.url}/benutzer/{portal.main.customer_number}/api-token"
    look(page, tokens)
    look(page, tokens + "/neu")
    look_wrong(page)
    page.get_by_label("Name des Tokens").fill("Warenwirtschaft")
    page.get_by_label("Lesen, bestellen, verknüpfen und lösen").check()
    page.get_by_label("Ihr Passwort").fill(PASSWORD)
    look_after(page, page.get_by_role("main").locator("form .primary"))
    look(page, tokens)
    with portal.database.transaction() as session:
        token = session.scalars(sa.select(ApiToken.id).order_by(ApiToken.id.desc()).limit(1)).one()
    look(page, f"{tokens}/{token}/widerrufen")
    look_after(page, page.get_by_role("main").locator("form .danger"))


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
    page.get_by_role("button", name="Abmelden").click()
    sign_in_as(page, portal, member)
    for path in (OVERVIEW, NEW, ADD):
        look(page, portal.url + path)


@shows("locations.show", "locations.detach")
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
    look(page, f"{portal.url}{OVERVIEW}/{number}/loesen")
    look_wrong(page)
    page.get_by_label("Kundennummer").fill(number)
    look_after(page, page.get_by_role("button", name="Account lösen"))
    look(page, f"{portal.url}{OVERVIEW}/{number}/loesen")


@pytest.fixture
def site(portal: Portal) -> Site:
    """Create a sub-account with a trunk, a hundred numbers, users of its own, and a forwarding when busy."""
    with portal.database.transaction() as session:
        site = make_site(session, session.get_one(Account, portal.main.id))
        block = {"area_code": "0221", "first_number": 4922170034200, "size": 100, "trunk_id": site.trunk}
        session.add(NumberBlock(account_id=site.account.id, available_from=NOW, **block))
        return site


@shows(
    "locations.show", "locations.log", "locations.secret", "locations.renew_secret", "locations.phone_systems",
    "locations.request_uri", "locations.destinations",
)  # fmt: skip
def test_the_dashboard_its_log_and_its_secrets(page: Page, portal: Portal, site: Site) -> None:
    sign_in(page, portal)
    look(page, portal.url + site.path)
    page.get_by_role("button", name="Abmelden").click()
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


@shows("locations.show", "locations.suspend", "locations.resume", "locations.release", "locations.log")
def test_suspending_a_trunk_and_giving_numbers_back(page: Page, portal: Portal, site: Site) -> None:
    with portal.database.transaction() as session:
        give_numbers(session, site)
        last = session.scalars(sa.select(NumberBlock.id).where(NumberBlock.size == 100)).one()
        other = session.scalars(sa.select(NumberBlock.id).where(NumberBlock.size == 10, _is_of(site))).one()
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
    page.get_by_role("button", name="Abmelden").click()
    sign_in_as(page, portal, site.administrator)
    look(page, portal.url + site.path + "/protokoll")


def _is_of(site: Site) -> sa.ColumnElement[bool]:
    return NumberBlock.account_id == site.account.id


@shows("locations.release", "portal.overview")
def test_numbers_on_order_and_an_account_that_is_closed(page: Page, portal: Portal, site: Site) -> None:
    with portal.database.transaction() as session:
        block = session.scalars(sa.select(NumberBlock.id).where(_is_of(site))).one()
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
    page.get_by_role("button", name="Abmelden").click()
    sign_in_as(page, portal, site.administrator)
    look(page, portal.url + OVERVIEW)


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


@shows("locations.log")
def test_the_log_of_an_account_where_nothing_was_done(page: Page, portal: Portal) -> None:
    sign_in(page, portal)
    look(page, f"{portal.url}{OVERVIEW}/{portal.main.customer_number}/protokoll")


@shows("forwardings.overview", "forwardings.listed", "forwardings.add", "forwardings.edit", "forwardings.remove")
def test_call_forwarding(page: Page, portal: Portal, site: Site) -> None:
    forwardings = site.path + "/rufweiterleitung"
    with portal.database.transaction() as session:
        second = make_account(session)
        join(session, session.get_one(User, site.member.id), second, Role.LOCAL_MEMBER)
        empty = f"{OVERVIEW}/{second.customer_number}/rufweiterleitung"
    sign_in(page, portal)
    look(page, portal.url + forwardings)
    page.get_by_role("button", name="Abmelden").click()
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


@shows("orders.show_step", "orders.list_drafts")
def test_the_order(page: Page, portal: Portal) -> None:
    sign_in(page, portal)
    look(page, f"{portal.url}{NEW}/entwuerfe")
    look(page, portal.url + NEW)
    onward = page.locator(".order-main .primary")
    look_wrong(page, onward)
    page.get_by_label("SIP-Trunk mit 10 Kanälen").check()
    page.get_by_label("Gleichzeitige Gespräche").fill("99")
    look_wrong(page, onward)
    page.get_by_label("Gleichzeitige Gespräche").fill("")
    look_after(page, onward)
    look_wrong(page, onward)
    fill_location(page)
    look_after(page, onward)
    page.get_by_label("Vorwahl").fill("089")
    expect(page.get_by_text("Diese Vorwahl passt nicht zur Adresse.")).to_be_visible()
    look_as_it_is(page)
    look_wrong(page, onward)
    page.get_by_label("Vorwahl").fill("030")
    page.get_by_label("Rufnummernblock mit 10 Nummern").check()
    look_after(page, onward)
    look_wrong(page, onward)
    page.get_by_role("button", name="Meine Angaben übernehmen").click()
    expect(page.get_by_label("Name der Ansprechperson")).not_to_have_value("")
    look_after(page, onward)
    look(page, f"{portal.url}{NEW}/entwuerfe")
    look(page, portal.url + NEW)


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


@shows("dev_mail.overview", "dev_mail.show")
def test_caught_mails(page: Page, portal: Portal) -> None:
    look(page, portal.url + "/dev/mail")
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = "standorte@portal.example", "hanna@example.com", "Ihr Code"
    mail.set_content("Ihr Code: https://portal.example/" + "x" * 80)
    mail.add_alternative("<!doctype html><title>Ihr Code</title><p>Ihr Code</p>", subtype="html")
    (portal.mails / "20261124T120000-hanna@example.com.eml").write_bytes(mail.as_bytes())
    (portal.mails / "2846803.pdf").write_bytes(b"%PDF-1.7")
    for path in ("/dev/mail", "/dev/mail?an=nobody"):
        look(page, portal.url + path)
    page.goto(portal.url + "/dev/mail")
    look_after(page, page.get_by_role("link", name="Ihr Code"))


@shows(
    "office.todo",
    "office.request_page",
    "office.request_cancel",
    "office.request_document",
    "office.jobs",
    "office.removals",
    "office.search",
    "office.customer",
    "office.places",
    "office.place",
    "office.administrator",
    "office.reset_factors",
)
def test_the_back_office(page: Page, portal: Portal, clock: FakeClock) -> None:
    back, order = waiting_order(portal, clock)
    with portal.database.transaction() as session:
        found = session.get_one(Request, order.id)
        upload_document(session, portal.manager, found, "Auszug.pdf", "application/pdf", b"%PDF-1.7", NOW)
        main = session.merge(portal.main)
        stuck = [submit_order(session, portal.manager, main, an_order(), NOW) for _ in range(3)]
        for each, status in zip(stuck, (Status.HELD, Status.FAILED, Status.COMPLETED), strict=True):
            becomes(each, status)
        staff = make_staff(session)
    back.advance()
    with portal.database.transaction() as session:
        # The job repairs this: no worker has picked the request up.
        submit_order(session, portal.manager, session.merge(portal.main), an_order(), NOW)
    sign_in_as(page, portal, staff)
    office = f"{portal.url}/backoffice"
    look(page, f"{office}/abgleich")
    clock.advance(timedelta(days=1, minutes=1))
    run_job(back.runtime, JOBS["requests"])
    # A login of staff ends after twelve hours.
    sign_in_as(page, portal, staff)
    look(page, f"{office}/abgleich")
    page.locator("main summary").first.click()
    look_as_it_is(page)
    with portal.database.transaction() as session:
        ask_for_run(session, "registrar", clock.now)
        run = begin_run(session, "registrar", clock.now, dry=False)
        facts = {"sip_user": "t1", "domain": "sip.example", "what": ["numbers"]}
        session.add(Finding(run_id=run.id, kind="forgotten_here", subject="t1", facts=facts, repaired=False))
        run.end({}, {"forgotten_here": 60}, 60, None, clock.now)
    look(page, f"{office}/abgleich")
    look(page, f"{office}/abgleich/registrar/entfernen")
    for query in ("", f"?suche={portal.main.customer_number}", "?suche=nothing", "?art=link"):
        look(page, office + query)
    for query in ("", "?suche=st", "?suche=standort", "?suche=example.com", "?suche=nirgends", "?suche=03020000000"):
        look(page, f"{office}/suche{query}")
    for number in (portal.main.customer_number, order.customer_number):
        look(page, f"{office}/kunden/{number}")
    for id in (order.id, *(each.id for each in stuck)):
        look(page, f"{office}/anfragen/{id}")
    look(page, f"{office}/anfragen/{stuck[0].id}/stornieren")
    look(page, f"{office}/anfragen/{order.id}/dokument")
    look_wrong(page)
    page.get_by_label("Ablehnen").check()
    look_wrong(page)
    page.get_by_label("Warum wird es abgelehnt?").select_option("too_old")
    look_after(page, page.get_by_role("button", name="Entscheidung speichern"))
    look(page, f"{office}/anfragen/{order.id}")
    look(page, f"{office}/vorwahlen")
    with portal.database.transaction() as session:
        ask(session, "85221", "Dachau", "089", NOW)
    look(page, f"{office}/vorwahlen")
    look_after(page, page.get_by_role("link", name="Dachau, 85221"))
    look_wrong(page)
    page.get_by_label("Nein").check()
    look_after(page, page.get_by_role("button", name="Antwort speichern"))
    look_after(page, page.get_by_role("link", name="Dachau, 85221"))
    look(page, f"{office}/konten/{portal.main.customer_number}/administrator")
    look_wrong(page)
    reset = f"{office}/personen/{portal.manager.user_id}/zweiter-faktor"
    look(page, reset)
    with portal.database.transaction() as session:
        give_app(session, session.get_one(User, portal.manager.user_id))
    look(page, reset)
    look_wrong(page)
    page.get_by_label("Woher wissen Sie").fill("Zurückgerufen unter der bekannten Nummer")
    look_after(page, page.get_by_role("button", name="Zweiten Faktor in einem Tag zurücksetzen"))


@pytest.mark.parametrize("status", [400, 403, 405, 409, 413, 429, 500, 503])
def test_the_page_of_an_error(page: Page, portal: Portal, status: int) -> None:
    def answer(route: Route) -> None:
        with portal.app.test_request_context("/"):
            route.fulfill(status=status, content_type="text/html", body=render_template("page/error.html", **facts))

    facts: dict[str, Any] = {"status": status, "again_at": NOW}
    page.route(portal.url + "/broken", answer)
    look(page, portal.url + "/broken")


def becomes(request: Request, status: Status) -> None:
    """Set the request to this status."""
    if status in (Status.IN_PROGRESS, Status.HELD, Status.COMPLETED, Status.REJECTED, Status.FAILED):
        request.begin(NOW)
    match status:
        case Status.PENDING:
            who = Actor.REQUESTER if request.kind is Kind.ORDER else Actor.OTHER_ACCOUNT
            why = Reason.ADDRESS_NOT_PROVED if request.kind is Kind.ORDER else Reason.CONSENT_AWAITED
            request.wait_for(who, why, NOW + timedelta(days=14), NOW, NOW + timedelta(days=7))
        case Status.HELD:
            request.hold(Reason.GATEWAY_UNAVAILABLE, NOW)
        case Status.COMPLETED:
            request.complete(NOW)
        case Status.REJECTED:
            request.reject(Reason.ACCOUNT_CLOSED, NOW)
        case Status.FAILED:
            request.fail(Reason.GATEWAY_REFUSED, NOW)
        case Status.CANCELLED:
            request.cancel(Reason.CANCELLED_BY_REQUESTER, NOW)


@shows("portal.show_request")
@pytest.mark.parametrize("kind", Kind)
def test_requests_of_every_kind_and_state(page: Page, portal: Portal, kind: Kind) -> None:
    ids = []
    with portal.database.transaction() as session:
        main = session.merge(portal.main)
        person = session.get_one(User, portal.manager.user_id)
        for status in Status:
            account = make_account(session, administrator=person)
            if kind is Kind.ORDER:
                request = submit_order(session, portal.manager, main, an_order(), NOW)
            elif kind is Kind.LINK:
                request = submit_link(session, Vault(SECRET), portal.manager, main, a_link(account), NOW)
            else:
                attach(session, main.id, account.id, Origin.LINK, NOW)
                session.flush()
                request = submit_detach(session, portal.manager, account, "de", NOW)
            becomes(request, status)
            ids.append(request.id)
    sign_in(page, portal)
    for id in ids:
        look(page, f"{portal.url}/anfragen/{id}")
    look(page, portal.url + "/anfragen")


@shows("answers.cancel")
def test_what_is_proved_on_a_requests_page(page: Page, portal: Portal, clock: FakeClock) -> None:
    _, order = waiting_order(portal, clock)
    _, _, link = asked_owner(portal, clock)
    sign_in(page, portal)
    look(page, f"{portal.url}/anfragen/{order.id}/stornieren")
    for id in (order.id, link):
        look(page, f"{portal.url}/anfragen/{id}")
        for form in range(2):
            look_wrong(page, page.locator(".panel form").nth(form).locator("button"))


@shows("links.consents", "consents.answer", "link_codes.overview")
def test_consents_and_link_codes(page: Page, portal: Portal, clock: FakeClock) -> None:
    _, owner, _ = asked_owner(portal, clock)
    with portal.database.transaction() as session:
        make_account(session, administrator=session.merge(owner))
    sign_in_as(page, portal, owner)
    look(page, portal.url + "/zustimmungen")
    look_after(page, page.get_by_role("link", name=re.compile("Ansehen und entscheiden")))
    look(page, portal.url + "/verknuepfungscode")
    for _ in range(2):
        page.goto(portal.url + "/verknuepfungscode")
        look_after(page, page.get_by_role("button", name="Verknüpfungscode erstellen").first)
    page.get_by_role("button", name="Abmelden").click()
    sign_in(page, portal)
    for path in ("/zustimmungen", "/verknuepfungscode"):
        look(page, portal.url + path)


@shows(
    "people.second_step", "people.confirm", "logins.set_up_app", "logins.set_up_passkey", "logins.remove_own_factor",
    "users.company_factor",
)  # fmt: skip
def test_the_second_factor(page: Page, portal: Portal, clock: FakeClock) -> None:
    with portal.database.transaction() as session:
        for _ in range(2):
            give_app(session, session.get_one(User, portal.manager.user_id))
    page.goto(portal.url)
    page.get_by_label("E-Mail-Adresse").fill(portal.manager.email)
    page.get_by_label("Passwort").fill(PASSWORD)
    look_after(page, page.get_by_role("button", name="Anmelden"))
    look(page, portal.url + "/anmelden/faktor")
    look_wrong(page)
    enter_code_in_browser(page, clock.now)
    for path in ("/anmeldung/app", "/anmeldung/passkey", f"/benutzer/{portal.main.customer_number}/zweiter-faktor"):
        look(page, portal.url + path)
    look(page, portal.url + "/anmeldung/app")
    look_wrong(page)
    page.goto(portal.url + "/anmeldung")
    look_after(page, page.get_by_role("link", name="Entfernen").first)
    look_after(page, page.get_by_role("button", name="Entfernen"))
    look_after(page, page.get_by_role("button", name="Neue Wiederherstellungscodes erstellen"))
    clock.advance(timedelta(minutes=11))
    page.goto(portal.url + "/anmeldung")
    look_after(page, page.get_by_role("button", name="Neue Wiederherstellungscodes erstellen"))
    look_wrong(page)
    enter_code_in_browser(page, clock.now)
    look_as_it_is(page)
    look(page, portal.url + "/anmeldung/bestaetigen")
