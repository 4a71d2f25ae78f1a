"""Tests of the tables of all locations' numbers in the browser: search for a number in every spelling, downloads."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from models.accounts.accounts import Account
from models.telephony.numbers import NumberBlock
from tests.browser.conftest import Portal
from tests.browser.test_portal import open_overview, sign_in
from tests.factories import NOW
from tests.web.portal.accounts.sites import Site, make_site
from tests.workbooks import read_xlsx


@pytest.fixture
def site(portal: Portal) -> Site:
    """Create a location: a sub-account with the numbers 0221 70034200 to 70034299 and a trunk."""
    with portal.database.transaction() as session:
        site = make_site(session, session.get_one(Account, portal.main.id), city="Köln")
        block = {"area_code": "0221", "first_number": 4922170034200, "size": 100, "trunk_id": site.trunk}
        session.add(NumberBlock(account_id=site.account.id, available_from=NOW, **block))
        return site


def test_a_number_is_found_in_every_usual_spelling(page: Page, portal: Portal, site: Site) -> None:
    open_overview(page, portal)
    page.get_by_text("Mein Produkt").click()
    page.get_by_role("navigation", name="Hauptmenü").get_by_role("link", name="Rufnummern").click()
    expect(page.get_by_role("heading", name="Rufnummern aller Standorte")).to_be_visible()
    found = page.get_by_role("row").filter(has_text="0221 700342-00 … -99")
    for typed in (
        "0221 / 700342-17",
        "+49 221 70034217",
        "0049 (0)221 700 342 17",
        "(0221) 70034217",
        "003421",
        "Köln 700342",
    ):
        page.get_by_role("searchbox").fill(typed)
        page.get_by_role("button", name="Suchen").click()
        expect(page.get_by_role("searchbox")).to_have_value(typed)
        expect(found).to_be_visible()
    page.get_by_role("searchbox").fill("0221 / 700343")
    page.keyboard.press("Enter")
    expect(page.get_by_text("Nichts entspricht Ihrer Suche.")).to_be_visible()
    expect(found).to_have_count(0)
    page.get_by_role("link", name="Alle anzeigen").click()
    found.get_by_role("link", name=site.account.customer_number).click()
    expect(page.get_by_role("note")).to_contain_text("Filiale Köln")


def test_each_table_and_its_files(page: Page, portal: Portal, site: Site, tmp_path: Path) -> None:
    sign_in(page, portal)
    for kind, title, said in (
        ("rufnummern", "Rufnummern", "0221 700342-00 … -99"),
        ("trunks", "SIP-Trunks", "t000000000001"),
        ("vertraege", "Verträge", "02.03.2026"),
    ):
        page.goto(f"{portal.url}/standortverwaltung/{kind}?suche=filiale")
        expect(page.get_by_role("heading", name=f"{title} aller Standorte")).to_be_visible()
        expect(page.get_by_role("row").filter(has_text=said)).to_be_visible()
        for name in ("CSV", "Excel (XLSX)"):
            with page.expect_download() as download:
                page.get_by_role("link", name=name).click()
            file = tmp_path / download.value.suggested_filename
            download.value.save_as(file)
            if file.suffix == ".csv":
                rows = list(csv.reader(file.read_text("utf-8-sig").splitlines(), delimiter=";"))
            else:
                rows = [[str(cell) for cell in row] for row in read_xlsx(file.read_bytes())]
            assert [row[0] for row in rows] == ["Kundennummer", site.account.customer_number]
            assert said in rows[1]
