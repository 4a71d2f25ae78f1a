"""Tests of the overview of locations in the browser, on a desktop and a phone, by keyboard, and without JavaScript.

Users find a location, open its dashboard, download the list, and detach the location. The progress of requests is
updated without a reload.
"""

from __future__ import annotations

import csv
import re
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from playwright.sync_api import Page, expect

from models.accounts.hierarchy import attach
from models.people.users import User
from models.requests.requests import Request
from models.states import Actor, Origin, Reason
from tests.browser.conftest import Portal
from tests.browser.test_portal import assert_no_sideways_scrolling, card, open_overview, sign_in, tab_to
from tests.browser.visit import Device, Pages
from tests.factories import NOW, make_account, make_user
from tests.workbooks import read_xlsx


@pytest.fixture
def koeln(portal: Portal) -> str:
    """Create a sub-account in Köln with which tests search and detach; return its customer number."""
    with portal.database.transaction() as session:
        facts = {"name": "Lager Köln-Süd", "city": "Köln", "contact_name": "Hanna Palmer"}
        account = make_account(session, administrator=make_user(session), **facts)
        attach(session, portal.main.id, account.id, Origin.LINK, NOW)
        session.flush()
        return account.customer_number


def test_cards_lead_to_the_dashboard_and_back(page: Page, portal: Portal, koeln: str) -> None:
    open_overview(page, portal)
    expect(page.get_by_text("3 Nebenaccounts")).to_be_visible()
    expect(card(page, koeln)).to_contain_text("Hanna Palmer")
    card(page, koeln).get_by_role("link", name="Dashboard anzeigen").click()
    expect(page.get_by_role("heading", name="Lager Köln-Süd")).to_be_visible()
    expect(page.get_by_role("note")).to_contain_text(f"Sie sehen den Nebenaccount {koeln}")
    page.get_by_role("link", name="Zurück zur Übersicht").click()
    expect(page.get_by_role("heading", name="Unternehmensstandorte")).to_be_visible()
    page.get_by_role("link", name="Nebenaccount hinzufügen").click()
    expect(page.get_by_role("link", name="Neuen Nebenaccount erstellen")).to_be_visible()
    expect(page.get_by_role("link", name="Bestehendes Konto hinzufügen")).to_be_visible()


def test_search_filter_and_table(page: Page, portal: Portal, koeln: str) -> None:
    open_overview(page, portal)
    page.get_by_role("searchbox").fill("koeln palmer")
    page.keyboard.press("Enter")
    expect(page.get_by_text("1 Nebenaccount", exact=False).first).to_be_visible()
    expect(card(page, koeln)).to_be_visible()
    expect(card(page, portal.ordered)).to_have_count(0)
    page.get_by_role("link", name="Tabelle").click()
    expect(page.get_by_role("row")).to_have_count(3)
    expect(page.get_by_role("searchbox")).to_have_value("koeln palmer")
    page.get_by_role("link", name="Alle anzeigen").click()
    expect(page.get_by_role("row")).to_have_count(5)
    page.get_by_text("Filtern und sortieren").click()
    page.get_by_label("Status", exact=True).select_option(label="Neue Bestellungen")
    page.get_by_role("button", name="Anwenden").click()
    expect(page.get_by_role("row")).to_have_count(3)
    expect(page.get_by_role("row").last).to_contain_text(portal.ordered)
    expect(page.get_by_role("row").last).to_contain_text("Neu")


def test_the_files_open_and_hold_what_is_shown(page: Page, portal: Portal, koeln: str, tmp_path: Path) -> None:
    sign_in(page, portal)
    page.goto(portal.url + "/standortverwaltung?ort=köln")
    for name in ("CSV", "Excel (XLSX)"):
        with page.expect_download() as download:
            page.get_by_role("link", name=name).click()
        download.value.save_as(tmp_path / download.value.suggested_filename)
    [table] = tmp_path.glob("*.csv")
    rows = list(csv.reader(table.read_text("utf-8-sig").splitlines(), delimiter=";"))
    assert [row[0] for row in rows] == ["Kundennummer", portal.main.customer_number, koeln]
    [book] = tmp_path.glob("*.xlsx")
    assert read_xlsx(book.read_bytes())[2][2] == "Lager Köln-Süd"


def test_progress_arrives_by_itself_and_keeps_the_focus(page: Page, portal: Portal) -> None:
    open_overview(page, portal)
    fresh = card(page, portal.ordered)
    link = fresh.get_by_role("link", name="Verlauf von")
    link.focus()
    with portal.database.transaction() as session:
        found = session.scalars(sa.select(Request)).one()
        found.wait_for(Actor.REQUESTER, Reason.ADDRESS_NOT_PROVED, NOW, NOW, NOW + timedelta(days=7))
    expect(fresh).to_contain_text("Wartet auf Antwort")
    expect(fresh.get_by_role("link", name="Jetzt erledigen")).to_be_focused()
    expect(page.locator("#said")).to_have_text(f"Kundennummer: {portal.ordered}: Wartet auf Antwort.")
    expect(fresh.get_by_text("Neu", exact=True)).to_be_visible()


def test_nothing_runs_out_of_a_phone(page: Page, portal: Portal, koeln: str) -> None:
    page.set_viewport_size({"width": 320, "height": 640})
    sign_in(page, portal)
    for path in ("", "?sortierung=name", "?ansicht=tabelle", "?suche=nichts", "/nebenaccount", f"/{koeln}"):
        page.goto(portal.url + "/standortverwaltung" + path)
        assert_no_sideways_scrolling(page)
    page.goto(f"{portal.url}/standortverwaltung/{koeln}/loesen")
    page.get_by_role("button", name="Account lösen").click()
    assert_no_sideways_scrolling(page)


def test_the_keyboard_alone_finds_and_detaches(page: Page, portal: Portal, koeln: str) -> None:
    open_overview(page, portal)
    tab_to(page, page.get_by_role("searchbox", name="Suche nach"))
    page.keyboard.type(koeln)
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("suche="))
    tab_to(page, page.get_by_role("link", name=f"Dashboard anzeigen {koeln}"))
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(koeln + "$"))
    tab_to(page, page.get_by_role("link", name="Lösen"))
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("loesen$"))
    tab_to(page, page.get_by_role("textbox", name="Kundennummer"))
    page.keyboard.type(koeln)
    page.keyboard.press("Enter")
    expect(page.get_by_text(f"Der Account {koeln} wird gelöst.")).to_be_visible()


def test_everything_works_without_scripts(pages: Pages, portal: Portal, koeln: str) -> None:
    plain = pages.open(Device(scripts=False))
    open_overview(plain, portal)
    plain.get_by_role("searchbox").fill("süd")
    plain.get_by_role("button", name="Suchen").click()
    expect(card(plain, koeln)).to_be_visible()
    expect(card(plain, portal.ordered)).to_have_count(0)


def test_several_accounts_are_switched(page: Page, portal: Portal) -> None:
    with portal.database.transaction() as session:
        person = session.get_one(User, portal.manager.user_id)
        other = make_account(session, administrator=person, name="Zweite GmbH").customer_number
    open_overview(page, portal)
    page.get_by_label("Ihr Account").select_option(other)
    page.get_by_role("button", name="Account wechseln").click()
    expect(page.get_by_role("heading", name="Noch keine Nebenaccounts")).to_be_visible()
    expect(card(page, other)).to_be_visible()
