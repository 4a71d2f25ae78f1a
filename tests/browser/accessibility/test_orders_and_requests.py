"""Tests that the pages of orders, bulk files and requests are accessible.

Requests are shown in every kind and status, and with every proof they can wait for.
"""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta

import pytest
from playwright.sync_api import Page, expect
from sqlalchemy.orm import Session

from models.accounts.accounts import Account
from models.accounts.hierarchy import attach
from models.changes.cancellations import submit_cancellation
from models.changes.changes import ChangeDraft, submit_change
from models.changes.more_numbers import NumbersDraft, submit_numbers
from models.changes.moves import MoveDraft, submit_move
from models.contracts.contracts import ContractItem
from models.db.session import Database
from models.links.links import submit_detach, submit_link
from models.orders.orders import submit_orders
from models.people.rights import Role
from models.people.users import User, principal_of
from models.requests.requests import Request
from models.same_address import Place
from models.states import ATTACHING, Actor, Kind, Origin, Reason, Status
from models.telephony.trunks import SipTrunk
from models.vault import Vault
from tasks.ports import GatewayRefused
from tests.browser.accessibility.looks import NEW, look, look_after, look_as_it_is, look_wrong, shows, sign_in_as
from tests.browser.conftest import Portal
from tests.browser.test_orders import fill_location
from tests.browser.test_portal import sign_in
from tests.browser.test_proofs import CONTACT, asked_owner, waiting_order
from tests.factories import NOW, a_link, an_order, join, make_account, make_bulk, make_main, make_user, submit_order
from tests.fakes import FakeClock
from tests.web.conftest import SECRET, back_of
from tests.web.portal.accounts.sites import make_trunk
from tests.web.portal.bulk.test_change_files import HEAD as CHANGES
from tests.web.portal.bulk.test_change_files import make_location
from tests.web.portal.bulk.uploading import HEAD, as_csv, row


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


@shows("bulks.show")
def test_changes_by_file(page: Page, portal: Portal, database: Database) -> None:
    numbers = [make_location(database, portal.main, count) for count in (1, 2)]
    sign_in(page, portal)
    page.goto(portal.url + "/standortverwaltung/sammelauftrag")
    content = as_csv([CHANGES, [numbers[0], "", "trunk-50", "30", ""], [numbers[1], "", "trunk-7", "", "01.04.2026"]])
    page.get_by_label("Sammeländerung", exact=True).check()
    page.get_by_label("Datei (CSV oder XLSX)").set_input_files(
        {"name": "Tarife.csv", "mimeType": "", "buffer": content}
    )
    page.get_by_role("button", name="Hochladen und prüfen").click()
    expect(page.get_by_role("alert")).to_be_visible()
    look(page, page.url)
    page.get_by_label("Produkt, Zeile 3", exact=True).fill("trunk-2")
    page.get_by_label("Auslassen, Zeile 3", exact=True).check()
    page.get_by_role("button", name="Speichern und erneut prüfen").first.click()
    button = page.get_by_role("button", name="1 Vertrag zahlungspflichtig ändern")
    expect(button).to_be_visible()
    expect(page.get_by_text("bisher 29,90")).to_be_visible()
    look(page, page.url)
    button.click()
    expect(page.get_by_role("progressbar")).to_be_visible()
    look(page, page.url)


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


def becomes(request: Request, status: Status) -> None:
    """Move the new request to `status` by its own methods.

    A pending, held, rejected, failed or cancelled request gets a reason that fits its kind.
    """
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


def submitted(session: Session, portal: Portal, kind: Kind, place: int) -> Request:
    """Submit a request of this kind as the portal's manager, and return it.

    Each call needs another `place`, a number that makes the SIP user of the account's trunk unique.
    """
    main, person = session.merge(portal.main), session.get_one(User, portal.manager.user_id)
    if kind is Kind.ORDER:
        return submit_order(session, portal.manager, main, an_order(), NOW)
    account = make_account(session, administrator=person)
    if kind in ATTACHING:
        if kind is Kind.SWITCH:
            attach(session, make_main(session)[0].id, account.id, Origin.LINK, NOW)
        return submit_link(session, Vault(SECRET), portal.manager, main, replace(a_link(account), kind=kind), NOW)
    attach(session, main.id, account.id, Origin.LINK, NOW)
    trunk = session.get_one(SipTrunk, make_trunk(session, account, f"t{place:012d}"))
    facts = {"product_key": "trunk-10", "monthly_cents": 2990, "one_off_cents": 0}
    session.add(ContractItem(contract_id=trunk.contract_id, **facts))
    session.flush()
    manager = principal_of(session, person)
    match kind:
        case Kind.DETACH:
            return submit_detach(session, manager, account, "de", NOW)
        case Kind.CHANGE:
            return submit_change(session, manager, account, trunk.id, ChangeDraft("trunk-50", 30, None, "de"), NOW)
        case Kind.NUMBERS:
            return submit_numbers(session, manager, account, trunk.id, NumbersDraft("0521", 10, None, "de"), NOW)
        case Kind.MOVE:
            draft = MoveDraft(Place("Alter Markt 1", "50667", "Köln"), None, None, "de")
            return submit_move(session, manager, account, draft, NOW)
        case _:
            return submit_cancellation(session, manager, account, None, "de", NOW)


@shows("portal.show_request")
@pytest.mark.parametrize("kind", Kind)
def test_requests_of_every_kind_and_state(page: Page, portal: Portal, kind: Kind) -> None:
    ids = []
    with portal.database.transaction() as session:
        for place, status in enumerate(Status):
            request = submitted(session, portal, kind, place)
            assert request.kind is kind
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
    sign_in(page, portal)
    for path in ("/zustimmungen", "/verknuepfungscode"):
        look(page, portal.url + path)


@shows("approvals.listed", "approvals.decide", "approvals.decide_file_orders", "portal.show_request")
def test_approvals(page: Page, portal: Portal, clock: FakeClock) -> None:
    back = back_of(portal.database, clock)
    with portal.database.transaction() as session:
        main = session.get_one(Account, portal.main.id)
        second = make_user(session)
        join(session, second, main, Role.LOCATION_MANAGER)
        main.approval_from_cents = 100
        session.flush()
        id = submit_order(session, portal.manager, main, an_order(), NOW).id
        file = make_bulk(session, portal.manager, main, [an_order()])
        submit_orders(session, portal.manager, main, [an_order()], NOW, file.id)
        file_id = file.id
    for _ in range(2):
        back.advance()
    sign_in(page, portal)
    for path in ("/freigaben", f"/anfragen/{id}"):
        look(page, portal.url + path)
    sign_in_as(page, portal, second)
    for path in ("/standortverwaltung", "/freigaben", f"/anfragen/{id}", f"/freigaben/datei/{file_id}"):
        look(page, portal.url + path)
    look_wrong(page, page.get_by_role("button", name="Entscheidung absenden"))
    page.goto(f"{portal.url}/freigaben/{id}")
    look(page, page.url)
    look_wrong(page, page.get_by_role("button", name="Entscheidung absenden"))
    page.get_by_label("Ich lehne ab").check()
    look_after(page, page.get_by_role("button", name="Entscheidung absenden"))


@shows("consents.answer", "portal.show_request")
def test_the_question_of_a_switch(page: Page, portal: Portal, clock: FakeClock) -> None:
    back = back_of(portal.database, clock)
    with portal.database.transaction() as session:
        former, chief = make_main(session)
        owner = make_user(session)
        account = make_account(session, administrator=owner)
        attach(session, former.id, account.id, Origin.LINK, NOW)
        draft = replace(a_link(account, email=owner.email), kind=Kind.SWITCH)
        main = session.merge(portal.main)
        id = submit_link(session, back.runtime.vault, portal.manager, main, draft, NOW).id
        person = session.get_one(User, chief.user_id)
    back.advance()
    sign_in(page, portal)
    look(page, f"{portal.url}/anfragen/{id}")
    look(page, f"{portal.url}/standortverwaltung/hinzufuegen/{account.customer_number[::-1]}/zustimmung?wechsel=ja")
    sign_in_as(page, portal, person)
    look(page, portal.url + "/zustimmungen")
    look_after(page, page.get_by_role("link", name=re.compile("Ansehen und entscheiden")))
    look_wrong(page, page.get_by_role("button", name="Antwort absenden"))
    page.get_by_label("Ich lehne ab").check()
    look_after(page, page.get_by_role("button", name="Antwort absenden"))
