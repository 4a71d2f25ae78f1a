"""Tests that names in any script are readable in a browser on a machine without fonts for them.

The portal sends a font for such a script only when a name on the page needs it.
"""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa
from playwright.sync_api import Page

from models.accounts.accounts import Account
from models.people.users import User
from tests.browser.conftest import Portal
from tests.browser.test_portal import sign_in
from tests.world_names import WORLD_NAMES

NAMES = {
    kind: WORLD_NAMES[kind]
    for kind in ("chinese", "japanese", "korean", "persian", "hebrew", "thai", "hindi", "family")
}


@pytest.fixture
def names(portal: Portal) -> None:
    """Give the portal's accounts and their contacts names in many scripts, and all users a Chinese name."""
    with portal.database.transaction() as session:
        for place, account in enumerate(session.scalars(sa.select(Account).order_by(Account.id))):
            account.name = list(NAMES.values())[place % len(NAMES)]
            account.contact_name = " ".join(NAMES.values())
        session.execute(sa.update(User).values(name=NAMES["chinese"]))


def fonts_of(page: Page, selector: str) -> list[dict[str, Any]]:
    """Return the fonts with which Chromium has drawn the element: dictionaries with `familyName` and `isCustomFont`."""
    session = page.context.new_cdp_session(page)
    session.send("DOM.enable")
    session.send("CSS.enable")
    root = session.send("DOM.getDocument", {"depth": 0})["root"]["nodeId"]
    node = session.send("DOM.querySelector", {"nodeId": root, "selector": selector})["nodeId"]
    found: list[dict[str, Any]] = session.send("CSS.getPlatformFontsForNode", {"nodeId": node})["fonts"]
    return found


@pytest.mark.usefixtures("names")
def test_a_page_brings_the_letters_that_its_names_need(page: Page, portal: Portal) -> None:
    fetched: dict[str, int] = {}
    page.on("response", lambda answer: fetched.update({answer.url: int(answer.headers.get("content-length", 0))}))
    sign_in(page, portal)
    page.goto(f"{portal.url}/standortverwaltung")
    page.evaluate(
        "names => { const line = document.createElement('p'); line.id = 'names'; line.textContent = names;"
        " document.querySelector('main').append(line); }",
        " ".join(NAMES.values()),
    )
    page.evaluate("document.fonts.ready.then(() => true)")
    page.wait_for_load_state("networkidle")
    used = fonts_of(page, "#names")
    assert all(font["isCustomFont"] or "Emoji" in font["familyName"] for font in used), used
    assert {"Noto Sans Arabic", "Noto Sans Thai", "Noto Sans Devanagari"} <= {font["familyName"] for font in used}
    parts = {url: size for url, size in fetched.items() if "/schrift/" in url}
    assert sum(parts.values()) < 2_500_000, parts
    assert not any("Ethiopic" in url for url in parts)
