"""Tests of the portal's top menu in the browser: every entry can be reached at every screen width.

The menu also works without JavaScript. The pages load everything from the portal itself.
"""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Portal
from tests.browser.test_portal import open_overview, sign_in, sign_in_by_form, tab_to
from tests.browser.visit import Device, Pages


def test_my_product_leads_to_the_locations(page: Page, portal: Portal) -> None:
    sign_in(page, portal)
    page.goto(portal.url + "/anfragen")
    entry = page.get_by_role("link", name="Standortverwaltung", exact=True)
    expect(entry).to_be_hidden()
    tab_to(page, page.locator(".menu summary"))
    page.keyboard.press("Enter")
    expect(entry).to_be_visible()
    tab_to(page, entry)
    page.keyboard.press("Escape")
    expect(entry).to_be_hidden()
    expect(page.locator(".menu summary")).to_be_focused()
    page.locator(".menu summary").click()
    page.get_by_role("heading", level=1).click()
    expect(entry).to_be_hidden()
    page.locator(".menu summary").click()
    entry.click()
    expect(page).to_have_url(portal.url + "/standortverwaltung")


def test_the_portal_needs_no_javascript(pages: Pages, portal: Portal) -> None:
    page = pages.open(Device(scripts=False))
    sign_in(page, portal)
    page.goto(portal.url + "/anfragen")
    page.locator(".menu summary").click()
    page.get_by_role("link", name="Standortverwaltung", exact=True).click()
    expect(page.get_by_role("heading", name="Unternehmensstandorte")).to_be_visible()


def test_everything_is_served_by_the_portal_itself(page: Page, portal: Portal) -> None:
    elsewhere: list[str] = []
    page.on("request", lambda asked: None if asked.url.startswith(portal.url) else elsewhere.append(asked.url))
    sign_in_by_form(page, portal)
    assert elsewhere == []


@pytest.mark.parametrize("width", [320, 390, 768, 1920])
def test_every_item_can_be_reached_at_every_width(page: Page, portal: Portal, width: int) -> None:
    open_overview(page, portal)
    page.set_viewport_size({"width": width, "height": 740})
    page.locator(".menu summary").click()
    for name in ("Standortverwaltung", "Verlauf", "Benutzer"):
        box = page.get_by_role("link", name=name, exact=True).bounding_box()
        assert box is not None and box["x"] >= 0 and box["x"] + box["width"] <= width and box["height"] >= 44
